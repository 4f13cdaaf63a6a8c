#pragma once
// Linear item models with dense weights: the Gramian of sparse data, its inverse in place, and scores.

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// out = X' X, both triangles, of X (n, m) given in both orders: `by_row` (n, m) and `by_column` (m, n), its transpose.
/// out (m, m) float32. Sums are float32, of the rows by rising number: exact for whole numbers below 2^24.
/// The upper triangle is summed and copied below. Bitwise independent of ctx.n_threads. 2 flops for each pair of
/// entries of a row, once. Throws std::invalid_argument when the shapes disagree.
void sparse_gramian(const Context& ctx, CsrView<const float> by_row, CsrView<const float> by_column,
                    MatrixView<float> out);

/// a <- the inverse of a symmetric positive-definite a (n, n) float32, in place; only the upper triangle is read, both
/// are written. Blocks of rows are swept (Goodnight 1979, doi:10.1080/00031305.1979.10482685) one after the other: the
/// inverse of the block in float64, then a product of rank kSweptRows over the whole upper triangle.
/// n^3 flops, as a Cholesky factorization and an inverse from it have, but all in one product; besides a,
/// 8 kSweptRows n bytes. Bitwise independent of ctx.n_threads. Throws std::invalid_argument when a is not square and
/// std::domain_error when it is not positive definite; a is lost then.
void invert_spd(const Context& ctx, MatrixView<float> a);

/// out = x b.  x (n, m) sparse, b (m, d), out (n, d) float32; sums are float32, by rising column of x.
/// 2 nnz d flops; blocks of columns of b are read once a call. Bitwise independent of ctx.n_threads.
/// Throws std::invalid_argument when the shapes disagree.
void multiply_sparse(const Context& ctx, CsrView<const float> x, MatrixView<const float> b, MatrixView<float> out);

inline constexpr Offset kSweptRows = 128;

}  // namespace likewise::cpu
