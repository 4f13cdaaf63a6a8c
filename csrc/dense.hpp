#pragma once
// Dense primitives over the micro-kernels: Gramians, products with an epilogue, symmetric solves.

#include <algorithm>
#include <span>

#include "context.hpp"
#include "scratch.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// out = y' y.  y (n, d) float32;  out (d, d) float64, both triangles.
/// Blocks of rows are summed in float32 and the blocks in float64, in an order that the shape alone decides: bitwise
/// the same at any thread count. O(n d^2) flops. Throws std::invalid_argument when the shapes disagree.
void gramian(const Context& ctx, MatrixView<const float> y, MatrixView<double> out);

/// out = x b'.  x (n, d), b (m, d), out (n, m) float32. `out` may be `x` itself when m = d.
/// O(n m d) flops; bitwise independent of ctx.n_threads. Throws std::invalid_argument when the shapes disagree.
void multiply_transposed(const Context& ctx, MatrixView<const float> x, MatrixView<const float> b,
                         MatrixView<float> out);

/// out = x rounded to nearest bfloat16, ties to even, each row padded by zeros.  x (n, d) finite;
/// out (n, d rounded up to a multiple of 16). Throws std::invalid_argument when the shapes disagree.
void round_to_bf16(const Context& ctx, MatrixView<const float> x, MatrixView<Bf16> out);

/// Solves a x = b for a symmetric positive-definite a by Cholesky.  a (d, d), b (d), x (d) float32; only the upper
/// triangle of a is read. O(d^3 / 3). Throws std::invalid_argument when the shapes disagree and std::domain_error when
/// a is not positive definite.
void solve_spd(const Context& ctx, MatrixView<const float> a, std::span<const float> b, std::span<float> x);

/// Floats that `pack_rows` writes for n_rows rows of length d.
constexpr Offset packed_size(Offset n_rows, Offset d) {
  return (n_rows + simd::kTileCols - 1) / simd::kTileCols * simd::kTileCols * d;
}

/// Packs rows [begin, end) of b (m, d) for `multiply_block`: groups of kTileCols rows, transposed, with zeros beyond
/// `end`.  out holds packed_size(end - begin, d) floats.
void pack_rows(const simd::MicroKernels& micro, MatrixView<const float> b, Offset begin, Offset end, float* out);

/// The same for the named rows of b.
void pack_rows(const simd::MicroKernels& micro, MatrixView<const float> b, std::span<const Id> rows, float* out);

/// The products of `n_rows` rows of a (`a_row` apart) with `n_packed` packed rows, tile by tile: for each tile calls
///   epilogue(first_row, first_packed, tile, rows, cols)
/// where tile is a row-major buffer of rows x cols results, kTileCols apart, valid until the epilogue returns.
/// `edge` is scratch for kTileRows * depth floats. Tiles come packed group by packed group, rows inside.
template <class Epilogue>
void multiply_block(const simd::MicroKernels& micro, const float* a, Offset a_row, Offset n_rows, const float* packed,
                    Offset n_packed, Offset depth, float* edge, Epilogue&& epilogue) {
  alignas(kCacheLine) float tile[simd::kTileRows * simd::kTileCols];
  const Offset whole = n_rows / simd::kTileRows * simd::kTileRows;
  if (whole < n_rows) {
    std::fill_n(edge, simd::kTileRows * depth, 0.0F);
    for (Offset i = whole; i < n_rows; ++i) std::copy_n(a + i * a_row, depth, edge + (i - whole) * depth);
  }
  for (Offset col = 0; col < n_packed; col += simd::kTileCols) {
    const float* right = packed + col * depth;
    const Offset cols = std::min(simd::kTileCols, n_packed - col);
    for (Offset row = 0; row < n_rows; row += simd::kTileRows) {
      const bool is_edge = row >= whole;
      micro.gemm_tile(depth, is_edge ? edge : a + row * a_row, is_edge ? depth : a_row, 1, right, simd::kTileCols, tile,
                      simd::kTileCols, static_cast<int>(simd::kTileCols), simd::TileUpdate::kSet);
      epilogue(row, col, static_cast<const float*>(tile), std::min(simd::kTileRows, n_rows - row), cols);
    }
  }
}

}  // namespace likewise::cpu
