#pragma once
// Non-negative matrix factorization of ratings by multiplicative updates: one half of an epoch.

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// Multiplies every number of x by what lowers the regularized squared error of its row, y held fixed:
///   out_uf = x_uf (sum_i r_ui y_if) / (sum_i (x_u y_i) y_if + n_u regularization x_uf)
/// over the n_u items stored in row u. Luo, Zhou, Xia & Zhu (2014), doi:10.1109/TII.2014.2308433. Of ratings,
/// x and y >= 0 what comes out is >= 0 too; a denominator of 0 gives 0. A row without entries becomes zero.
///
/// An epoch is one call for the users and one for the items, both from the factors before it.
///
/// ratings (n, m) >= 0;  y (m, d);  x (n, d);  out (n, d), which may not overlap x or y.
/// 8 N d flops for N entries. Scratch a thread: about 16 KiB + 16 d bytes.
/// Bitwise independent of ctx.n_threads: rows never interact. Throws std::invalid_argument when the shapes disagree.
void nmf_half_epoch(const Context& ctx, CsrView<const float> ratings, MatrixView<const float> y, float regularization,
                    MatrixView<const float> x, MatrixView<float> out);

}  // namespace likewise::cpu
