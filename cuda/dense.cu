#include <algorithm>
#include <cstddef>

#include "../csrc/check.hpp"
#include "buffer.cuh"
#include "check.cuh"
#include "dense.cuh"

namespace likewise::cuda {

namespace {

// A block makes a tile of 64 x 64 results with 16 x 16 threads of 4 x 4 results each: per step a thread reads 8 numbers
// of shared memory for 16 multiply-adds, and eight such blocks (2,048 threads) fill a multiprocessor.
constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 8;
constexpr int kTile = 64;
constexpr int kSide = 4;
constexpr int kThreadsPerTileRow = kTile / kSide;

// 16 steps are staged at once: 2 x 4 KiB of shared memory a block, and a 64-byte piece of a row for each read.
constexpr int kDepth = 16;
// Four floats of padding keep 16-byte alignment and spread a transposed write over the banks.
constexpr int kStride = kTile + 4;

constexpr Offset kFloatRows = 4096;  // rows summed in float32 before they join a float64 sum, as on the CPU
constexpr Offset kPartialBytes = Offset{64} << 20;
constexpr Offset kMaxPartials = 512;  // enough blocks for every multiprocessor when one tile covers the result
constexpr Offset kInPlaceRows = 32768;

constexpr Offset kPad = 16;  // columns of a bfloat16 matrix come in multiples of it, as on the CPU

constexpr Offset divide_up(Offset a, Offset b) { return (a + b - 1) / b; }

struct Staged {
  alignas(16) float left[kDepth][kStride];
  alignas(16) float right[kDepth][kStride];
};

/// sums += left' right over the staged steps, for the 4 x 4 results of this thread.
__device__ void multiply_staged(const Staged& staged, float (&sums)[kSide][kSide]) {
  const int first_row = static_cast<int>(threadIdx.x) / kThreadsPerTileRow * kSide;
  const int first_col = static_cast<int>(threadIdx.x) % kThreadsPerTileRow * kSide;
#pragma unroll
  for (int p = 0; p < kDepth; ++p) {
    float left[kSide], right[kSide];
    for (int i = 0; i < kSide; ++i) left[i] = staged.left[p][first_row + i];
    for (int j = 0; j < kSide; ++j) right[j] = staged.right[p][first_col + j];
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < kSide; ++j) sums[i][j] += left[i] * right[j];
    }
  }
}

/// Stages rows [row, row + kDepth) below `last` and columns [col, col + kTile) of y, zeros outside it.
__device__ void stage_rows(MatrixView<const float> y, Offset row, Offset last, Offset col,
                           float (&out)[kDepth][kStride]) {
  for (int e = static_cast<int>(threadIdx.x); e < kDepth * kTile; e += kThreads) {
    const int r = e / kTile, c = e % kTile;
    out[r][c] = row + r < last && col + c < y.n_cols ? y.row(row + r)[col + c] : 0.0F;
  }
}

/// Stages columns [col, col + kDepth) of rows [row, row + kTile) of y, transposed, zeros outside it.
__device__ void stage_columns(MatrixView<const float> y, Offset row, Offset col, float (&out)[kDepth][kStride]) {
  for (int e = static_cast<int>(threadIdx.x); e < kDepth * kTile; e += kThreads) {
    const int r = e / kDepth, c = e % kDepth;
    out[c][r] = row + r < y.n_rows && col + c < y.n_cols ? y.row(row + r)[col + c] : 0.0F;
  }
}

/// partials (n_parts, d, d) <- the Gramians of n_parts pieces of y of rows_each rows, in the tiles that touch the upper
/// triangle.
__global__ void __launch_bounds__(kThreads)
    gramian_partials_kernel(MatrixView<const float> y, Offset rows_each, Offset n_parts, double* partials) {
  __shared__ Staged staged;
  const Offset d = y.n_cols, n_side = divide_up(d, kTile), n_tiles = n_side * (n_side + 1) / 2;
  const int thread_row = static_cast<int>(threadIdx.x) / kThreadsPerTileRow * kSide;
  const int thread_col = static_cast<int>(threadIdx.x) % kThreadsPerTileRow * kSide;
  for (Offset work = blockIdx.x; work < n_tiles * n_parts; work += gridDim.x) {
    const Offset part = work % n_parts;
    Offset tile_row = 0, tile_col = work / n_parts;  // row by row of the upper triangle of tiles
    for (Offset length = n_side; tile_col >= length; --length, ++tile_row) tile_col -= length;
    tile_col += tile_row;

    const Offset end = min(y.n_rows, (part + 1) * rows_each);
    double totals[kSide][kSide] = {};
    for (Offset first = part * rows_each; first < end; first += kFloatRows) {
      const Offset last = min(end, first + kFloatRows);
      float sums[kSide][kSide] = {};
      for (Offset row = first; row < last; row += kDepth) {
        __syncthreads();  // nobody reads the previous stage any more
        stage_rows(y, row, last, tile_row * kTile, staged.left);
        stage_rows(y, row, last, tile_col * kTile, staged.right);
        __syncthreads();
        multiply_staged(staged, sums);
      }
      for (int i = 0; i < kSide; ++i) {
        for (int j = 0; j < kSide; ++j) totals[i][j] += static_cast<double>(sums[i][j]);
      }
    }
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < kSide; ++j) {
        const Offset row = tile_row * kTile + thread_row + i, col = tile_col * kTile + thread_col + j;
        if (row < d && col < d) partials[(part * d + row) * d + col] = totals[i][j];
      }
    }
  }
}

/// out (d, d) <- the sum of the partials, in their order, from the upper triangle to both.
__global__ void __launch_bounds__(kThreads)
    sum_partials_kernel(const double* partials, Offset n_parts, MatrixView<double> out) {
  const Offset d = out.n_cols, n_threads = Offset{gridDim.x} * kThreads;
  for (Offset e = Offset{blockIdx.x} * kThreads + threadIdx.x; e < d * d; e += n_threads) {
    const Offset row = e / d, col = e % d;
    if (row > col) continue;
    double total = 0;
    for (Offset part = 0; part < n_parts; ++part) total += partials[part * d * d + e];
    out.row(row)[col] = total;
    out.row(col)[row] = total;
  }
}

__global__ void __launch_bounds__(kThreads)
    multiply_transposed_kernel(MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> out) {
  __shared__ Staged staged;
  const Offset n_tile_cols = divide_up(out.n_cols, kTile), n_tiles = divide_up(out.n_rows, kTile) * n_tile_cols;
  const int thread_row = static_cast<int>(threadIdx.x) / kThreadsPerTileRow * kSide;
  const int thread_col = static_cast<int>(threadIdx.x) % kThreadsPerTileRow * kSide;
  for (Offset work = blockIdx.x; work < n_tiles; work += gridDim.x) {
    const Offset tile_row = work / n_tile_cols * kTile, tile_col = work % n_tile_cols * kTile;
    float sums[kSide][kSide] = {};
    for (Offset p = 0; p < x.n_cols; p += kDepth) {
      __syncthreads();  // nobody reads the previous stage any more
      stage_columns(x, tile_row, p, staged.left);
      stage_columns(b, tile_col, p, staged.right);
      __syncthreads();
      multiply_staged(staged, sums);
    }
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < kSide; ++j) {
        const Offset row = tile_row + thread_row + i, col = tile_col + thread_col + j;
        if (row < out.n_rows && col < out.n_cols) out.row(row)[col] = sums[i][j];
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads) round_to_bf16_kernel(MatrixView<const float> x, MatrixView<Bf16> out) {
  const Offset n_entries = out.n_rows * out.n_cols, n_threads = Offset{gridDim.x} * kThreads;
  for (Offset e = Offset{blockIdx.x} * kThreads + threadIdx.x; e < n_entries; e += n_threads) {
    const Offset row = e / out.n_cols, col = e % out.n_cols;
    const unsigned bits = col < x.n_cols ? __float_as_uint(x.row(row)[col]) : 0;
    out.data[e] = static_cast<Bf16>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
  }
}

void launch_multiply(const Context& ctx, MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> out) {
  const Offset n_tiles = divide_up(out.n_rows, kTile) * divide_up(out.n_cols, kTile);
  multiply_transposed_kernel<<<n_blocks(ctx, n_tiles, kBlocksPerMultiprocessor), kThreads, 0, ctx.stream>>>(x, b, out);
  check_launch();
}

}  // namespace

void gramian(const Context& ctx, MatrixView<const float> y, MatrixView<double> out) {
  const Offset d = y.n_cols;
  check_equal("gramian", "y", d, "columns", "out", out.n_cols, "columns");
  check_equal("gramian", "out", out.n_rows, "rows", "out", out.n_cols, "columns");
  if (d == 0) return;
  const DeviceGuard guard(ctx.device);
  const Offset partial_bytes = d * d * static_cast<Offset>(sizeof(double));
  const Offset max_partials = std::clamp<Offset>(kPartialBytes / partial_bytes, 1, kMaxPartials);
  const Offset rows_each = std::max<Offset>(divide_up(y.n_rows, max_partials), kDepth);
  const Offset n_parts = divide_up(y.n_rows, rows_each);
  const Buffer<double> partials(ctx, n_parts * d * d);
  if (n_parts > 0) {
    const Offset n_side = divide_up(d, kTile), n_work = n_side * (n_side + 1) / 2 * n_parts;
    gramian_partials_kernel<<<n_blocks(ctx, n_work, kBlocksPerMultiprocessor), kThreads, 0, ctx.stream>>>(
        y, rows_each, n_parts, partials.get());
    check_launch();
  }
  sum_partials_kernel<<<n_blocks(ctx, divide_up(d * d, kThreads), kBlocksPerMultiprocessor), kThreads, 0, ctx.stream>>>(
      partials.get(), n_parts, out);
  check_launch();
}

void multiply_transposed(const Context& ctx, MatrixView<const float> x, MatrixView<const float> b,
                         MatrixView<float> out) {
  check_equal("multiply_transposed", "x", x.n_cols, "columns", "b", b.n_cols, "columns");
  check_equal("multiply_transposed", "x", x.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal("multiply_transposed", "b", b.n_rows, "rows", "out", out.n_cols, "columns");
  if (out.n_rows == 0 || out.n_cols == 0) return;
  const DeviceGuard guard(ctx.device);
  if (out.data != x.data) {
    launch_multiply(ctx, x, b, out);
    return;
  }
  // In place a tile would overwrite what its neighbours still read: slabs of rows go through a buffer.
  const Buffer<float> product(ctx, std::min(kInPlaceRows, out.n_rows) * out.n_cols);
  for (Offset first = 0; first < out.n_rows; first += kInPlaceRows) {
    const Offset n = std::min(kInPlaceRows, out.n_rows - first);
    launch_multiply(ctx, {x.row(first), n, x.n_cols}, b, {product.get(), n, out.n_cols});
    check_cuda(cudaMemcpyAsync(out.row(first), product.get(), static_cast<std::size_t>(n * out.n_cols) * sizeof(float),
                               cudaMemcpyDeviceToDevice, ctx.stream));
  }
}

void round_to_bf16(const Context& ctx, MatrixView<const float> x, MatrixView<Bf16> out) {
  check_equal("round_to_bf16", "x", x.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal("round_to_bf16", "x padded to 16", divide_up(x.n_cols, kPad) * kPad, "columns", "out", out.n_cols,
              "columns");
  const Offset n_entries = out.n_rows * out.n_cols;
  if (n_entries == 0) return;
  const DeviceGuard guard(ctx.device);
  round_to_bf16_kernel<<<n_blocks(ctx, divide_up(n_entries, kThreads), kBlocksPerMultiprocessor), kThreads, 0,
                         ctx.stream>>>(x, out);
  check_launch();
}

}  // namespace likewise::cuda
