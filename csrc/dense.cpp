#include "dense.hpp"

#include <cstring>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "simd/denormals.hpp"

namespace likewise::cpu {

namespace {

using simd::padded;

constexpr Offset kPanelRows = 64;    // rows copied at once; a panel of 64 x 128 floats fills half a first-level cache
constexpr Offset kFloatRows = 4096;  // rows summed in float32 before they join a float64 sum
constexpr Offset kPartialBytes = Offset{32} << 20;

/// Adds the Gramian of rows [begin, end) to `sum` (dp, dp) float64, upper triangle.
void add_gramian(const simd::MicroKernels& micro, MatrixView<const float> y, Offset begin, Offset end, float* panel,
                 float* block, double* sum) {
  const Offset dp = padded(y.n_cols);
  for (Offset first = begin; first < end; first += kFloatRows) {
    const Offset last = std::min(end, first + kFloatRows);
    std::fill_n(block, dp * dp, 0.0F);
    for (Offset row = first; row < last; row += kPanelRows) {
      const Offset n = std::min(kPanelRows, last - row);
      for (Offset i = 0; i < n; ++i) {
        std::copy_n(y.row(row + i), y.n_cols, panel + i * dp);
        std::fill_n(panel + i * dp + y.n_cols, dp - y.n_cols, 0.0F);
      }
      micro.syrk_upper(n, dp, panel, panel, block);
    }
    for (Offset i = 0; i < y.n_cols; ++i) {
      for (Offset j = i; j < y.n_cols; ++j) sum[i * dp + j] += static_cast<double>(block[i * dp + j]);
    }
  }
}

/// Packs the rows row_at(0), ..., row_at(n - 1) of length `depth`; rows up to n_ahead (>= n) are there to be
/// prefetched.
template <class RowAt>
void pack_groups(const simd::MicroKernels& micro, Offset n, Offset n_ahead, Offset depth, const RowAt& row_at,
                 float* out) {
  const std::vector<float> zeros(n % simd::kTileCols == 0 ? 0 : static_cast<std::size_t>(depth), 0.0F);
  for (Offset first = 0; first < n; first += simd::kTileCols) {
    const float *rows[simd::kTileCols], *ahead[simd::kTileCols];
    for (Offset j = 0; j < simd::kTileCols; ++j) {
      rows[j] = first + j < n ? row_at(first + j) : zeros.data();
      ahead[j] = row_at(std::min(first + j + simd::kTileCols, n_ahead - 1));
    }
    micro.pack_tile(rows, ahead, depth, out);
    out += simd::kTileCols * depth;
  }
}

}  // namespace

void gramian(const Context& ctx, MatrixView<const float> y, MatrixView<double> out) {
  const Offset d = y.n_cols, dp = padded(d);
  check_equal("gramian", "y", d, "columns", "out", out.n_cols, "columns");
  check_equal("gramian", "out", out.n_rows, "rows", "out", out.n_cols, "columns");
  // As many partial sums as 32 MiB hold, 8 to 64: enough for the threads of a large machine, fixed by the shape.
  const Offset max_partials = std::clamp<Offset>(kPartialBytes / std::max<Offset>(1, dp * dp * 8), 8, 64);
  const Offset rows_each = std::max(kFloatRows, (y.n_rows + max_partials - 1) / max_partials);
  const Offset n_partials = (y.n_rows + rows_each - 1) / rows_each;
  std::vector<std::vector<double>> partials(static_cast<std::size_t>(n_partials));
  parallel_for(ctx, n_partials, 1, [&](Offset begin, Offset end, int) {
    const FlushDenormals flush;
    const Scratch<float> panel(static_cast<std::size_t>(kPanelRows * dp));
    const Scratch<float> block(static_cast<std::size_t>(dp * dp));
    for (Offset part = begin; part < end; ++part) {
      auto& sum = partials[static_cast<std::size_t>(part)];
      sum.assign(static_cast<std::size_t>(dp * dp), 0.0);
      add_gramian(*ctx.micro, y, part * rows_each, std::min(y.n_rows, (part + 1) * rows_each), panel.get(), block.get(),
                  sum.data());
    }
  });
  for (Offset i = 0; i < d; ++i) {
    for (Offset j = i; j < d; ++j) {
      double total = 0;
      for (const auto& sum : partials) total += sum[static_cast<std::size_t>(i * dp + j)];
      out.row(i)[j] = total;
      out.row(j)[i] = total;
    }
  }
}

void multiply_transposed(const Context& ctx, MatrixView<const float> x, MatrixView<const float> b,
                         MatrixView<float> out) {
  check_equal("multiply_transposed", "x", x.n_cols, "columns", "b", b.n_cols, "columns");
  check_equal("multiply_transposed", "x", x.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal("multiply_transposed", "b", b.n_rows, "rows", "out", out.n_cols, "columns");
  const Offset depth = x.n_cols;
  const Scratch<float> packed(static_cast<std::size_t>(packed_size(b.n_rows, depth)));
  pack_rows(*ctx.micro, b, 0, b.n_rows, packed.get());
  parallel_for(ctx, x.n_rows, 256, [&](Offset begin, Offset end, int) {
    const FlushDenormals flush;
    // A copy of the rows, for `out` may be `x`.
    const Scratch<float> rows(static_cast<std::size_t>(kPanelRows * depth));
    const Scratch<float> edge(static_cast<std::size_t>(simd::kTileRows * depth));
    for (Offset first = begin; first < end; first += kPanelRows) {
      const Offset n = std::min(kPanelRows, end - first);
      std::copy_n(x.row(first), n * depth, rows.get());
      multiply_block(*ctx.micro, rows.get(), depth, n, packed.get(), b.n_rows, depth, edge.get(),
                     [&](Offset row, Offset col, const float* tile, Offset n_tile_rows, Offset n_tile_cols) {
                       for (Offset i = 0; i < n_tile_rows; ++i) {
                         std::copy_n(tile + i * simd::kTileCols, n_tile_cols, out.row(first + row + i) + col);
                       }
                     });
    }
  });
}

void round_to_bf16(const Context& ctx, MatrixView<const float> x, MatrixView<Bf16> out) {
  check_equal("round_to_bf16", "x", x.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal("round_to_bf16", "x padded to 16", padded(x.n_cols), "columns", "out", out.n_cols, "columns");
  parallel_for(ctx, x.n_rows, 1024, [&](Offset begin, Offset end, int) {
    for (Offset i = begin; i < end; ++i) {
      ctx.micro->round_bf16(x.row(i), x.n_cols, out.row(i));
      std::fill(out.row(i) + x.n_cols, out.row(i) + out.n_cols, Bf16{0});
    }
  });
}

void solve_spd(const Context& ctx, MatrixView<const float> a, std::span<const float> b, std::span<float> x) {
  const Offset d = a.n_rows, dp = padded(d);
  check_equal("solve_spd", "a", d, "rows", "a", a.n_cols, "columns");
  check_equal("solve_spd", "a", d, "rows", "b", static_cast<Offset>(b.size()), "entries");
  check_equal("solve_spd", "a", d, "rows", "x", static_cast<Offset>(x.size()), "entries");
  const Scratch<float> factor(static_cast<std::size_t>(dp * dp)), solution(static_cast<std::size_t>(dp));
  std::fill_n(factor.get(), dp * dp, 0.0F);
  std::fill_n(solution.get(), dp, 0.0F);
  for (Offset i = 0; i < dp; ++i) {
    if (i < d) std::copy(a.row(i) + i, a.row(i) + d, factor.get() + i * dp + i);
    if (i >= d) factor.get()[i * dp + i] = 1;
  }
  std::copy(b.begin(), b.end(), solution.get());
  if (!ctx.micro->cholesky_upper(dp, factor.get())) {
    throw std::domain_error("solve_spd: a is not positive definite");
  }
  ctx.micro->cholesky_solve(dp, factor.get(), solution.get());
  std::copy_n(solution.get(), d, x.begin());
}

void pack_rows(const simd::MicroKernels& micro, MatrixView<const float> b, Offset begin, Offset end, float* out) {
  const auto row_at = [&](Offset i) { return b.row(begin + i); };
  pack_groups(micro, end - begin, b.n_rows - begin, b.n_cols, row_at, out);
}

void pack_rows(const simd::MicroKernels& micro, MatrixView<const float> b, std::span<const Id> rows, float* out) {
  const auto row_at = [&](Offset i) { return b.row(rows[static_cast<std::size_t>(i)]); };
  const auto n = static_cast<Offset>(rows.size());
  pack_groups(micro, n, n, b.n_cols, row_at, out);
}

}  // namespace likewise::cpu
