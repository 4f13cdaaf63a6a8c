#pragma once
// Products of sparse and dense matrices.

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// out = x y.  x (n, m) sparse;  y (m, d), out (n, d) float32; a row without entries becomes zero.
/// Entries of a row are summed up in float32, some hundred at a time and these sums in turn, so that the rounding of
/// long rows stays that of short ones. 2 nnz d flops. Bitwise independent of ctx.n_threads: rows never interact.
/// Scratch of a thread: 4 d bytes. Throws std::invalid_argument when the shapes disagree.
void spmm(const Context& ctx, CsrView<const float> x, MatrixView<const float> y, MatrixView<float> out);

}  // namespace likewise::cpu
