#include "spmm.hpp"

#include <algorithm>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "simd/kernels.hpp"

namespace likewise::cpu {

namespace {

constexpr const char* kName = "spmm";
constexpr Offset kGrain = 16;   // rows differ much in length
constexpr Offset kChunk = 256;  // entries summed up at a time
constexpr Offset kAhead = 8;    // rows of y that are asked for before they are read

}  // namespace

void spmm(const Context& ctx, CsrView<const float> x, MatrixView<const float> y, MatrixView<float> out) {
  check_equal(kName, "x", x.n_cols, "columns", "y", y.n_rows, "rows");
  check_equal(kName, "out", out.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kName, "out", out.n_cols, "columns", "y", y.n_cols, "columns");
  const Offset d = y.n_cols;
  std::vector<Scratch<float>> scratches(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, x.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    Scratch<float>& scratch = scratches[static_cast<std::size_t>(worker)];
    if (scratch.get() == nullptr) scratch = Scratch<float>(static_cast<std::size_t>(d));
    for (Offset row = begin; row < end; ++row) {
      float* total = out.row(row);
      std::fill_n(total, d, 0.0F);
      const Offset last = x.indptr[row + 1];
      for (Offset first = x.indptr[row]; first < last; first += kChunk) {
        const bool is_first = first == x.indptr[row];
        float* sum = is_first ? total : scratch.get();
        if (!is_first) std::fill_n(sum, d, 0.0F);
        const Offset stop = std::min(last, first + kChunk);
        for (Offset e = first; e < stop; ++e) {
          if (e + kAhead < last) prefetch(y.row(x.indices[e + kAhead]));
          ctx.micro->axpy(x.values[e], y.row(x.indices[e]), sum, d);
        }
        if (!is_first) ctx.micro->axpy(1.0F, sum, total, d);
      }
    }
  });
}

}  // namespace likewise::cpu
