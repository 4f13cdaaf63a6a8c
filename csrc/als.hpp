#pragma once
// Alternating least squares, for implicit feedback and for ratings: one half-sweep, and the loss.

#include <span>
#include <utility>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// The weights of the squared errors. A stored value r has confidence c = 1 + alpha |r| and preference p = 1 if r > 0,
/// else 0; every other pair has weight w0 = unobserved_weight and preference 0. The penalty of row u, with n_u stored
/// entries out of m columns, is lambda_u = regularization (n_u + w0 m)^regularization_exponent.
///   L = sum_stored c_ui (p_ui - x_u y_i)^2 + sum_others w0 (x_u y_i)^2 + sum_u lambda_u |x_u|^2 + sum_i lambda_i
///   |y_i|^2
/// w0 = 1, exponent 0: Hu, Koren & Volinsky (2008), doi:10.1109/ICDM.2008.22, eq. 3. Small w0, exponent 0..1: Rendle,
/// Krichene, Zhang & Koren (2022), doi:10.1145/3523227.3548486, eq. 4 and 6.
struct AlsObjective {
  float alpha = 1;
  float unobserved_weight = 1;
  float regularization = 0;
  float regularization_exponent = 0;
};

/// kCholesky: each row exactly. kCg: at most `steps` steps of conjugate gradients from the x given, fewer in a
/// row whose squared residual, in the norm of the preconditioner, has fallen to the share `tolerance`. kBlock: one
/// round of exact solves over blocks of `block` factors, a multiple of 16 or else rounded up to one (iALS++, Rendle et
/// al. 2021, arXiv:2110.14044). kDescent: at most `steps` sweeps of coordinate descent, fewer once one has changed the
/// row, in the norm of its system, by less than the share `tolerance`.
enum class AlsSolver { kCholesky, kCg, kBlock, kDescent };

/// Improves every row of x with y held fixed: row u solves, exactly or approximately,
///   (w0 Y'Y + sum_i (c_ui - w0) y_i y_i' + lambda_u I) x_u = sum_i c_ui p_ui y_i      over the items stored in row u,
/// Hu et al. eq. 4. A row without entries becomes zero, and so does a factor in which y vanishes and nothing is
/// penalized.
///
/// y must stand in the eigenbasis of its Gramian: Y'Y = diag(eigenvalues). Every system is then a diagonal matrix plus
/// the row's own terms, so that the dense part costs k rather than k^2 a step, and is preconditioned exactly.
///
/// interactions (n, m);  y (m, d);  y_bf16 (m, d padded to 16) a rounded copy to gather from in kCg, or no rows: then
/// rows are gathered in float32;  eigenvalues (d) >= 0;  x (n, d) in and out, the starting point in.
/// Flops, with N entries: kCg 4 (steps + 1) N d; kCholesky N d^2 + n d^3 / 3, rows of fewer than d entries by their
/// dual; kBlock N (d block + 8 d) + n d block^2 / 3. kCg gathers a row whose block of y would fill more than 1 MiB once
/// for every step, side by side with others, so that they share what a second-level cache holds of y.
/// A tile unit multiplies in bf16, so that with positive c - w0 a step of kBlock is some thousandths off; residuals are
/// not rounded, and kCholesky refines its solution, by conjugate gradients that the factored matrix preconditions.
/// Numbers below float32's normal range count as zero.
/// Scratch a thread: about 1 MiB + 8 d^2 bytes, in kCg 3 KiB d more with long rows, and in kBlock 4 block bytes an
/// entry of the longest row.
/// Bitwise independent of ctx.n_threads: rows never interact. Throws std::invalid_argument when the shapes disagree or
/// the solver is kDescent.
void als_half_sweep(const Context& ctx, CsrView<const float> interactions, MatrixView<const float> y,
                    MatrixView<const Bf16> y_bf16, std::span<const float> eigenvalues, const AlsObjective& objective,
                    AlsSolver solver, int steps, float tolerance, int block, MatrixView<float> x);

/// The loss L above in float64.
/// interactions (n, m); x (n, d); y (m, d); gramian_x and gramian_y (d, d) float64 as `gramian` gives them.
/// O(N d) flops; bitwise independent of ctx.n_threads. Throws std::invalid_argument when the shapes disagree.
double als_loss(const Context& ctx, CsrView<const float> interactions, MatrixView<const float> x,
                MatrixView<const float> y, MatrixView<const double> gramian_x, MatrixView<const double> gramian_y,
                const AlsObjective& objective);

/// The squared errors of ratings. Only stored entries count, each with a weight w:
///   L = sum_stored w_ui (r_ui - mean - b_u - b_i - x_u y_i)^2
///       + sum_u (lambda_u (|x_u|^2 + b_u^2) + l1_u |x_u|_1) + sum_i (lambda_i (|y_i|^2 + b_i^2) + l1_i |y_i|_1)
/// with lambda_u = regularization W_u^regularization_exponent, l1_u = l1 W_u^regularization_exponent and W_u the sum of
/// the row's weights. Exponent 1 is the weighted-lambda regularization of Zhou et al. (2008),
/// doi:10.1007/978-3-540-68880-8_32. Without `biases`, mean and biases are 0; `non_negative` asks for x, y >= 0.
struct ExplicitAlsObjective {
  float mean = 0;
  float regularization = 0;
  float regularization_exponent = 1;
  float l1 = 0;
  bool biases = true;
  bool non_negative = false;
};

/// Improves every row of x, and solves for its bias exactly beside it, with y and its biases held fixed:
///   (sum_i w_ui (1 y_i)' (1 y_i) + lambda_u I) (b_u x_u)' = sum_i w_ui (r_ui - mean - b_i) (1 y_i)'
/// over the items stored in row u. The bias is eliminated: what is left for x_u is a correction of rank one, by
/// s = sum_i w_ui y_i. A row without entries becomes zero. A penalty of x below 2^-20 of the greatest diagonal of a
/// row, which float32 cannot tell from none, is raised to that.
///
/// ratings (n, m);  weights, one > 0 for each stored entry in its order, or none: then each is 1;  y (m, d);  y_bf16 as
/// in `als_half_sweep`, there for kCg;  y_biases (m);  x (n, d) in and out, the starting point in;  x_biases (n) out.
/// Solvers are kCholesky, kCg, and kDescent for l1 > 0 or `non_negative`: coordinates one after another with soft
/// thresholds at l1_u / 2 and at 0, from the row's normal equations.
/// Flops, scratch and rounding as in `als_half_sweep`; kDescent N d^2 + 2 d^2 a sweep and row.
/// Bitwise independent of ctx.n_threads: rows never interact, and long ones are handed out first.
/// Throws std::invalid_argument when the shapes disagree or the solver does not serve.
void explicit_als_half_sweep(const Context& ctx, CsrView<const float> ratings, std::span<const float> weights,
                             MatrixView<const float> y, MatrixView<const Bf16> y_bf16, std::span<const float> y_biases,
                             const ExplicitAlsObjective& objective, AlsSolver solver, int steps, float tolerance,
                             MatrixView<float> x, std::span<float> x_biases);

/// The sum of squared errors, each with its weight, and the whole loss L above, in float64; arguments as there.
/// O(N d) flops; bitwise independent of ctx.n_threads. Throws std::invalid_argument when the shapes disagree.
std::pair<double, double> explicit_als_loss(const Context& ctx, CsrView<const float> ratings,
                                            std::span<const float> weights, MatrixView<const float> x,
                                            MatrixView<const float> y, std::span<const float> x_biases,
                                            std::span<const float> y_biases, const ExplicitAlsObjective& objective);

}  // namespace likewise::cpu
