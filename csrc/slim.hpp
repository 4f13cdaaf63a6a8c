#pragma once
// SLIM: sparse linear weights between items, each column an elastic net of its own.

#include <optional>
#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// What a column minimizes, and when it is done: `iterations` sweeps at most, fewer once one moves no weight by more
/// than `tolerance`, in the unit of a weight: the root mean square of the target's values by that of the item's, which
/// is 1 where all values are.
struct SlimObjective {
  double l1 = 0, l2 = 0;
  bool non_negative = true;
  Offset iterations = 100;
  double tolerance = 1e-4;
};

/// For every target j, row c of the results holds the weights w, w_j = 0, that minimize
///   1/2 |x_j - X w|^2 + l2 / 2 |w|^2 + l1 |w|_1,   with w >= 0 where `non_negative`,
/// of which at most as many as the results have columns are written, the greatest in magnitude (ties: smaller ids), by
/// rising id: ids and values [0, counts[c]). Slots beyond have id -1 and value 0. `n_found[c]` is the number of weights
/// that are not 0 before that choice. Returns how many targets have not converged.
///
/// by_user (n, m) and by_item (m, n), the same finite matrix X and its transpose;  start (t, m): starting weights of
/// the targets, none is zero everywhere; w_j in it is not read;  targets (t) ids in [0, m);
/// ids, values (t, capacity) out;  counts, n_found (t) out.
///
/// Ning & Karypis (2011), doi:10.1109/ICDM.2011.134; coordinate descent over an active set: Friedman, Hastie &
/// Tibshirani (2010), doi:10.18637/jss.v033.i01, sections 2.1 (naive updates) and 2.6. Screening: a weight joins only
/// when the gradient at its 0 passes l1; it is taken at the start and again at each minimum (the check of Tibshirani et
/// al. (2012), doi:10.1111/j.1467-9868.2011.01004.x, section 7), until no weight is missing. Where w >= 0 and X >= 0 no
/// gradient ever exceeds x_i'x_j, and the second check is not needed.
///
/// The gradient of weight i is a product of x_i with the residual, 2 flops an entry of x_i, and a move as many: on
/// sparse data less than the row of X'X that covariance updates would read, of which there are as many entries as items
/// that share a user with i. A move of less than a tenth of `tolerance` is not made. Residuals and weights are float32,
/// sums float64. Bitwise the same for any ctx.n_threads and however targets are grouped: columns never interact.
/// Scratch of a thread: 4 bytes a user, 9 an item and some 40 a weight; 8 bytes an item for all threads.
/// Throws std::invalid_argument when shapes disagree, a target is outside [0, m), l1 or l2 is negative or not finite,
/// `iterations` is below 1 or `tolerance` negative.
Offset slim(const Context& ctx, CsrView<const float> by_user, CsrView<const float> by_item,
            std::optional<CsrView<const float>> start, std::span<const Id> targets, const SlimObjective& objective,
            MatrixView<Id> ids, MatrixView<float> values, std::span<Id> counts, std::span<Id> n_found);

}  // namespace likewise::cpu
