#pragma once
// Slope One: ratings predicted from how much higher an item is rated than the items that a user has rated, by those who
// have rated both. Deviations are summed up for the items asked for, without a matrix of all.

#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// For each entry (q, p) of `asked`, with i = items[q]: over the entries j != i of row p of `histories`, with values
/// h_pj, that n_ij >= 1 users v have rated together with item i,
///   estimate <- sum_j w_ij (d_ij + h_pj) / sum_j w_ij,   d_ij = sum_v (r_vi - r_vj) / n_ij,
/// w_ij being n_ij if `weighted` and 1 if not; n_used <- the number of these j. Without any the estimate is 0.
/// Lemire & Maclachlan (2005), doi:10.1137/1.9781611972757.43, sections 4.1 and 4.2.
///
/// by_user (n, m) ratings;  items (l) ids in [0, m);  raters (l, n): the ratings of these items, columns of by_user;
/// histories (k, m);  asked (l, k), its values are not read;  estimates (nnz of asked) float32 and n_used (nnz of
/// asked) out, in the order of the entries. For each row of `asked` that is not empty 2 flops an entry of the rows of
/// by_user that have rated the item, then some 5 an entry of the histories that ask. Scratch of a thread: 20 bytes an
/// item. Sums are float64. Bitwise independent of ctx.n_threads. Throws std::invalid_argument when shapes disagree or
/// an item is outside [0, m).
void slope_one(const Context& ctx, CsrView<const float> by_user, std::span<const Id> items, CsrView<const float> raters,
               CsrView<const float> histories, CsrView<const float> asked, bool weighted, std::span<float> estimates,
               std::span<Id> n_used);

/// The same estimates of all items for each row of `histories`, found from the items of the row: as d_ij = -d_ji, bit
/// by bit those of `slope_one`. Cheaper where the items of the rows have fewer raters together than all items have.
///
/// by_user (n, m) and by_item (m, n), the same ratings and their transpose;  histories (k, m);  estimates (k, m) out, 0
/// where there is none. 2 flops an entry of the rows of by_user that have rated an item of a row of `histories`, for
/// each such item and row. Scratch of a thread: 36 bytes an item. Bitwise independent of ctx.n_threads. Throws
/// std::invalid_argument when shapes disagree.
void slope_one_of_rows(const Context& ctx, CsrView<const float> by_user, CsrView<const float> by_item,
                       CsrView<const float> histories, bool weighted, MatrixView<float> estimates);

}  // namespace likewise::cpu
