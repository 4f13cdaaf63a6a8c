#pragma once
// Matrix factorization by stochastic gradient descent: epochs over pairs of users and items.

#include <cstdint>
#include <span>
#include <utility>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

enum class RankingLoss { kBpr, kWarp, kLogistic };
enum class NegativeSampling { kUniform, kPopularity };

/// What a step learns from, and by how much it moves.
struct RankingRule {
  RankingLoss loss = RankingLoss::kBpr;
  NegativeSampling sampling = NegativeSampling::kUniform;
  /// kBpr: of so many candidates the one with the greatest score is the negative (1: as drawn). kWarp: draws until an
  /// item comes within 1 of the positive's score. kLogistic: negatives of a positive, a step each.
  Offset n_candidates = 1;
  double learning_rate = 0.05, regularization = 0.01;
  /// In place of each positive the `order`-th best scored of `n_positives` that are drawn from the user's (1: itself).
  Offset n_positives = 1, order = 1;
};

/// How often the first look was right (the positive scored above what it was held against; kLogistic: above 0), and how
/// many positives had no candidate.
using RankingCounts = std::pair<Offset, Offset>;

/// One epoch: a step for every stored value of `by_user` above 0, a positive, against items that the user's row does
/// not hold. Values of 0 and below are no positives, and are not drawn. In place; with f the score
/// x_u'y_i + b_i of a pair, s(f) = 1 / (1 + exp(-f)), v the value of the positive i, and j a negative:
///   kBpr       ascends log s(f_i - f_j), with the regularization a share of each vector that is read:
///              Rendle et al. (2009), arXiv:1205.2618, section 4.3; with n_candidates > 1 dynamic sampling: Zhang et
///              al. (2013), doi:10.1145/2484028.2484126, with all the weight on the greatest score.
///   kWarp      ascends log(m / t) (f_i - f_j) where the t-th draw was the first within 1 of f_i, for m candidates:
///              Weston, Bengio & Usunier (2011), doi:10.5591/978-1-57735-516-8/IJCAI11-460, section 3.2; their sum over
///              1 / rank is log, and its derivative has no part beyond that factor.
///   kLogistic  ascends v log s(f_i), then log(1 - s(f_j)) for each negative.
///
/// With n_positives > 1 the k-th order statistic loss of Weston, Yee & Weiss (2013), doi:10.1145/2507157.2507210, over
/// positives of one block (below), of which there are fewer then, so that a user has about n_positives in each.
///
/// Items fall into blocks, anew in every epoch, that the cache holds. While one user's pairs are worked on, so is one
/// block, the same user's other items after other blocks: blocks of users and of items form a grid, of which cells that
/// share neither row nor column are worked on side by side (Gemulla et al. (2011), doi:10.1145/2020408.2020426). A
/// negative comes from the block of its positive: any other item alike, over the epochs. n_candidates has no part in
/// how many blocks there are.
///
/// by_user (n, m);  users (n, d), items (m, d) padded: d a multiple of kPad, 64-byte aligned rows;  biases (m), or
/// empty for none. Draws are Philox with the counters (user, positive, epoch) under `seed`: bitwise the same for any
/// ctx.n_threads. 4 bytes of scratch an entry (kLogistic: 8), 8 an item, and up to 8 an entry for lists of users.
/// O(nnz d) flops, times the candidates that are scored.
/// Throws std::invalid_argument when shapes disagree or a rule is out of range.
RankingCounts ranking_epoch(const Context& ctx, CsrView<const float> by_user, const RankingRule& rule,
                            std::uint64_t seed, std::uint32_t epoch, std::span<const float> counts,
                            MatrixView<float> users, MatrixView<float> items, std::span<float> biases);

/// Vectors of users from their rows alone, items held: `iterations` such epochs for each from zero. Row and draws
/// decide: equal rows get equal vectors, whatever stands beside them.
///
/// by_user (n, m), m < 2^24;  users (n, d) out, zero for a row without positives;  the rest as in `ranking_epoch`.
void ranking_fold_in(const Context& ctx, CsrView<const float> by_user, const RankingRule& rule, std::uint64_t seed,
                     std::uint32_t iterations, std::span<const float> counts, MatrixView<const float> items,
                     std::span<const float> biases, MatrixView<float> users);

}  // namespace likewise::cpu
