#pragma once
// The k most similar columns of every row: sparse x sparse, with the best kept on the fly.

#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// What a sum of products is divided by: l r + shrinkage, or l + r + overlap * sum + shrinkage, where l and r are
/// numbers of the row and of the column.
enum class Denominator { kProduct, kSum };

struct Similarity {
  Denominator denominator = Denominator::kProduct;
  float overlap = 0, shrinkage = 0;
  float minimum = 0;       ///< at least 0; a similarity must exceed it
  Offset min_support = 1;  ///< entries that row and column have in common, at least
};

/// For each row i the k columns j with the greatest similarities s(i, j) above measure.minimum, by rising j, as rows of
/// a CSR. Of equal ones the smaller j is kept. With
///   d(i, j) = sum_u rows[i, u] columns[u, j]
/// over the u that are stored in both, taken in float32 by rising u, s(i, j) is d / (left[i] right[j] + shrinkage) or
/// d / (left[i] + right[j] + overlap d + shrinkage), float32 at each step. A pair is left out whose denominator is not
/// positive, whose similarity is not finite, or with fewer than min_support entries in common (zeros count). Cosine is
/// the first with lengths, Jaccard's index the second with counts and overlap -1 (Tversky: left scaled by alpha, right
/// by beta, overlap 1 - alpha - beta).
///
/// rows (n, f), columns (f, m) float32, finite;  left (n), right (m) finite, >= 0;  k in [1, m];  indptr (n + 1) out,
/// ids (n k) and values (n k) out: their first indptr[n] entries, what lies beyond is not defined.
/// `first` >= 0 says that row i is column first + i, with which it is not compared; with first = 0 and n = m, `rows`
/// must have the pattern of the transpose of `columns`, and what is symmetric may be done once. Otherwise -1.
///
/// Columns are taken by falling number of entries. Where each row of `columns` holds one value (data without ratings),
/// those with the most entries are kept as bits, of which a row adds many at a time, and with values of 1 counts them
/// by carry-save adders; products of the others are scattered into sums that a second-level cache holds. Bitwise the
/// same on every instruction set and for any ctx.n_threads. 2 flops a product, of which there are sum_u (entries of u
/// in rows) (entries of u in columns); memory: 2 to 8 bytes an entry of `columns`, as many for bits, 8 + 16 k a column
/// that is kept as bits, 16 MiB, and a thread's 8 bytes a column (at most 2 MiB) and 24 k. Throws std::invalid_argument
/// when shapes disagree, k is 0, or a parameter is out of range.
void similarity(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
                std::span<const float> left, std::span<const float> right, const Similarity& measure, Offset k,
                Offset first, std::span<Offset> indptr, std::span<Id> ids, std::span<float> values);

}  // namespace likewise::cpu
