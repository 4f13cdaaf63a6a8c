#pragma once
// Biases of users and items: how far their ratings lie above the mean of all.

#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// The bias of each row u with those of the columns held fixed, half of a sweep of alternating ridge regressions:
///   biases[u] = sum_i (r_ui - mean - others[i]) / (regularization + n_u),
/// where i runs over the n_u ratings stored in row u. A row without ratings becomes 0.
/// Koren (2010), doi:10.1145/1644873.1644874, section 2.1.
///
/// ratings (n, m);  others (m);  biases (n) out, previous content ignored. All but the ratings is float64.
/// 3 flops a rating. Bitwise independent of ctx.n_threads: rows never interact.
/// Throws std::invalid_argument when shapes disagree or regularization is negative.
void bias_half_sweep(const Context& ctx, CsrView<const float> ratings, double mean, std::span<const double> others,
                     double regularization, std::span<double> biases);

/// Stochastic gradient descent with the step of a rating, e = r_ui - mean - b_u - b_i being its error:
///   b_u += learning_rate (e - regularization b_u),   b_i += learning_rate (e - regularization b_i),
/// over all ratings once, row by row. Both biases are of the state before the step.
/// Koren, Bell & Volinsky (2009), doi:10.1109/MC.2009.263.
///
/// ratings (n, m);  row_biases (n), column_biases (m) in and out, float64.
/// 10 flops a rating, one after the other: the same whatever ctx.n_threads is.
/// Throws std::invalid_argument when shapes disagree.
void bias_sgd_epoch(const Context& ctx, CsrView<const float> ratings, double mean, double learning_rate,
                    double regularization, std::span<double> row_biases, std::span<double> column_biases);

/// The same steps for the rows alone, the biases of the columns held fixed: how new rows are folded in.
/// Bitwise independent of ctx.n_threads: rows never interact.
void bias_sgd_half_epoch(const Context& ctx, CsrView<const float> ratings, double mean, double learning_rate,
                         double regularization, std::span<const double> others, std::span<double> biases);

}  // namespace likewise::cpu
