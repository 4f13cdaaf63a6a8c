#include "nmf.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "simd/denormals.hpp"

namespace likewise::cpu {

namespace {

using simd::padded;

constexpr Offset kChunkFloats = 4096;  // of a panel, which stays in a first-level cache until it is used
constexpr Offset kChunkRows = 256;     // and rows of it, at most
constexpr Offset kGrain = 16;

/// Updates rows one after another with scratch of its own.
class RowUpdate {
 public:
  RowUpdate(const simd::MicroKernels& micro, CsrView<const float> ratings, MatrixView<const float> y,
            float regularization)
      : micro_(micro),
        ratings_(ratings),
        y_(y),
        regularization_(regularization),
        dp_(padded(y.n_cols)),
        rows_(std::clamp(kChunkFloats / dp_ / simd::kPad * simd::kPad, simd::kPad, kChunkRows)),
        panel_(count(rows_ * dp_)),
        values_(count(rows_)),
        estimates_(count(rows_)),
        x_(count(dp_)),
        numerator_(count(dp_)),
        denominator_(count(dp_)) {}

  void update(Offset row, const float* x, float* out);

 private:
  static std::size_t count(Offset n) { return static_cast<std::size_t>(n); }

  const simd::MicroKernels& micro_;
  CsrView<const float> ratings_;
  MatrixView<const float> y_;
  float regularization_;
  Offset dp_, rows_;  // factors, padded; rows gathered at once
  Scratch<float> panel_, values_, estimates_, x_, numerator_, denominator_;
};

void RowUpdate::update(Offset row, const float* x, float* out) {
  const Offset d = y_.n_cols, end = ratings_.indptr[row + 1];
  const auto n_entries = static_cast<float>(ratings_.row_size(row));
  std::copy_n(x, d, x_.get());
  std::fill(x_.get() + d, x_.get() + dp_, 0.0F);
  std::fill_n(numerator_.get(), dp_, 0.0F);
  for (Offset i = 0; i < dp_; ++i) denominator_[i] = n_entries * regularization_ * x_[i];
  for (Offset first = ratings_.indptr[row]; first < end; first += rows_) {
    const Offset n = std::min(rows_, end - first), np = padded(n);
    micro_.gather(y_.data, d, d, ratings_.indices + first, n, ratings_.nnz() - first, dp_, panel_.get());
    std::fill(panel_.get() + n * dp_, panel_.get() + np * dp_, 0.0F);
    std::copy_n(ratings_.values + first, n, values_.get());
    std::fill(values_.get() + n, values_.get() + np, 0.0F);
    micro_.panel_dot(np, dp_, panel_.get(), x_.get(), estimates_.get());
    micro_.panel_combine(np, dp_, panel_.get(), values_.get(), numerator_.get());
    micro_.panel_combine(np, dp_, panel_.get(), estimates_.get(), denominator_.get());
  }
  for (Offset i = 0; i < d; ++i) out[i] = denominator_[i] > 0 ? x[i] * (numerator_[i] / denominator_[i]) : 0;
}

}  // namespace

void nmf_half_epoch(const Context& ctx, CsrView<const float> ratings, MatrixView<const float> y, float regularization,
                    MatrixView<const float> x, MatrixView<float> out) {
  constexpr const char* kName = "nmf_half_epoch";
  check_equal(kName, "ratings", ratings.n_cols, "columns", "y", y.n_rows, "rows");
  check_equal(kName, "ratings", ratings.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kName, "x", x.n_cols, "columns", "y", y.n_cols, "columns");
  check_equal(kName, "out", out.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kName, "out", out.n_cols, "columns", "x", x.n_cols, "columns");
  check_that(y.n_cols >= 1, kName, "y must have at least one column");
  check_that(regularization >= 0, kName, "regularization must be >= 0");
  check_that(out.data != x.data && out.data != y.data, kName, "out must be an array of its own");
  std::vector<std::unique_ptr<RowUpdate>> updates(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, ratings.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    const FlushDenormals flush;
    auto& update = updates[static_cast<std::size_t>(worker)];
    if (!update) update = std::make_unique<RowUpdate>(*ctx.micro, ratings, y, regularization);
    for (Offset row = begin; row < end; ++row) update->update(row, x.row(row), out.row(row));
  });
}

}  // namespace likewise::cpu
