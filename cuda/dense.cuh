#pragma once
// Dense primitives on the device: csrc/dense.hpp by name and signature. Every launcher returns before its work is done;
// the work follows what the context's stream holds already.

#include "../csrc/types.hpp"
#include "context.cuh"

namespace likewise::cuda {

/// out = y' y.  y (n, d) float32;  out (d, d) float64, both triangles.
/// Blocks of rows are summed in float32 and the blocks in float64, in an order that the shape alone decides: bitwise
/// the same on every call and every device of an architecture. O(n d^2) flops; up to 64 MiB or 8 d^2 bytes from the
/// pool. Throws std::invalid_argument when the shapes disagree.
void gramian(const Context& ctx, MatrixView<const float> y, MatrixView<double> out);

/// out = x b'.  x (n, d), b (m, d), out (n, m) float32. `out` may be `x` itself when m = d.
/// O(n m d) flops, each sum in the order of the columns; up to 32,768 rows of `out` from the pool when `out` is `x`.
/// Throws std::invalid_argument when the shapes disagree.
void multiply_transposed(const Context& ctx, MatrixView<const float> x, MatrixView<const float> b,
                         MatrixView<float> out);

/// out = x rounded to nearest bfloat16, ties to even, each row padded by zeros.  x (n, d) finite;
/// out (n, d rounded up to a multiple of 16). Bitwise what the CPU gives. Throws std::invalid_argument when the shapes
/// disagree.
void round_to_bf16(const Context& ctx, MatrixView<const float> x, MatrixView<Bf16> out);

}  // namespace likewise::cuda
