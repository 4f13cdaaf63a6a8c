#pragma once
// Slope One: ratings predicted from how much higher an item is rated than the items that a user has rated, by those who
// have rated both. Deviations are summed up for the items asked for, without a matrix of all.

#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// For each entry (i, p) of `asked`, over the entries j != i of row p of `histories`, with values h_pj, that n_ij >= 1
/// users v have rated together with item i:
///   estimate <- sum_j w_ij (d_ij + h_pj) / sum_j w_ij,   d_ij = sum_v (r_vi - r_vj) / n_ij,
/// w_ij being n_ij if `weighted` and 1 if not; n_used <- the number of these j. Without any the estimate is 0.
/// Lemire & Maclachlan (2005), doi:10.1137/1.9781611972757.43, sections 4.1 and 4.2.
///
/// by_user (n, m) and by_item (m, n), the same ratings r and their transpose;  histories (p, m);  asked (m, p), its
/// values are not read;  estimates (nnz of asked) float32 and n_used (nnz of asked) out, in the order of the entries.
/// For each row of `asked` that is not empty 2 flops an entry of the rows of by_user that have rated the item, then
/// some 5 an entry of the histories that ask. Scratch of a thread: 20 bytes an item. Sums are float64. Bitwise
/// independent of ctx.n_threads. Throws std::invalid_argument when shapes disagree.
void slope_one(const Context& ctx, CsrView<const float> by_user, CsrView<const float> by_item,
               CsrView<const float> histories, CsrView<const float> asked, bool weighted, std::span<float> estimates,
               std::span<Id> n_used);

}  // namespace likewise::cpu
