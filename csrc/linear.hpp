#pragma once
// Linear item models with dense weights: the Gramian of sparse data, its inverse in place, and scores.

#include <span>

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
/// inverse of the block in float64, then a product of rank kSweptRows over the whole upper triangle. A call sweeps the
/// rows [first, last), multiples of kSweptRows but for n; the inverse is there when calls have gone from 0 to n.
/// n^3 flops, as a Cholesky factorization and an inverse from it have, but all in one product; besides a,
/// 8 kSweptRows n bytes. Bitwise independent of ctx.n_threads and of where calls end. Throws std::invalid_argument when
/// a is not square or the rows are not in it and std::domain_error when a is not positive definite; a is lost then.
void invert_spd(const Context& ctx, MatrixView<float> a, Offset first, Offset last);

/// out = x b.  x (n, m) sparse, b (m, d), out (n, d) float32; sums are float32, by rising column of x.
/// 2 nnz d flops; blocks of columns of b are read once a call. Bitwise independent of ctx.n_threads.
/// Throws std::invalid_argument when the shapes disagree.
void multiply_sparse(const Context& ctx, CsrView<const float> x, MatrixView<const float> b, MatrixView<float> out);

/// Regresses each item of [first, first + n) on the k items most correlated with it: solves a y = c, where a holds the
/// correlations of those with each other and 1 on the diagonal, and c their correlations with the item.
/// `correlations` (m, m) has no diagonal, and what it stores on both sides is equal there. A row of n_kept entries
/// or more may lack some: a correlation that two such rows lack counts as 0, and then the eigenvalues of a, which are
/// no less than the least of the items' `floors` (m) if nothing is left out, may be: while one is below half of that,
/// correlations in a are halved.
/// Row i of the result, the regression of item first + i: columns ids[indptr[i]..indptr[i + 1]), rising, and the
/// solution in `values`; indptr (n + 1) counts min(k, entries) an item, ids and values hold as many. Ties for the k-th
/// place go to smaller ids. O(k (k^2 + entries)) flops an item; k^2 + m floats a thread. Bitwise independent of
/// ctx.n_threads. Throws std::invalid_argument when the shapes disagree and std::domain_error when a is not positive
/// definite with everything that is stored.
void regress_on_nearest(const Context& ctx, CsrView<const float> correlations, std::span<const float> floors,
                        Offset n_kept, Offset first, Offset k, std::span<const Offset> indptr, std::span<Id> ids,
                        std::span<float> values);

inline constexpr Offset kSweptRows = 128;

}  // namespace likewise::cpu
