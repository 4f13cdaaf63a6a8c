#pragma once
// Factorization machines of order 2 over features of users, items and contexts, by AdaGrad on small batches.

#include <cstdint>
#include <utility>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

enum class FmLoss { kRegression, kLogistic, kBpr, kWarp };

/// What is learned from, and how.
struct FmRule {
  FmLoss loss = FmLoss::kWarp;
  /// Whether features of one side (the item's; the user's and the context's) have products with each other too.
  bool within = true;
  /// kWarp: draws until an item comes within 1 of the positive's score. kLogistic: negatives of a positive.
  Offset n_candidates = 32;
  Offset batch_size = 256;
  double mean = 0, learning_rate = 0.05, regularization = 0;
};

/// Features of each user, item and stored interaction, whose columns are rows of the one table. `contexts` has a row
/// for each stored interaction, in their order, or none at all.
struct FmFeatures {
  CsrView<const float> users, items, contexts;
};

/// What is learned. vectors (p, d) padded, d > n_factors: a row's first n_factors numbers are the vector v_l of feature
/// l, the next its weight w_l, the rest zero.  squares (p, d): sums of squared gradients, above 0.
struct FmTable {
  MatrixView<float> vectors, squares;
  Offset n_factors = 0;
};

/// One epoch over the stored interactions in an order that is drawn. With x the features of a pair (of its user, its
/// item and its context) the score is
///   f = mean + sum_l w_l x_l + sum_{l < m} x_l x_m v_l'v_m,
/// Rendle (2010), doi:10.1109/ICDM.2010.127, eq. 1; without `within` the second sum has the pairs of a feature of the
/// item with one of the user or the context alone, which is the hybrid of Kula (2015), arXiv:1507.08439.
///   kRegression  descends (value - f)^2 / 2, whatever the value.
///   kLogistic    ascends log s(f) for values above 0 and log(1 - s(f)) for those below, and for as many unseen items a
///                positive as n_candidates says; s(f) = 1 / (1 + exp(-f)). Values of 0 are left out.
///   kBpr, kWarp  ascend as `ranking_epoch` does, for values above 0, against unseen items in the same context.
/// Unseen is what the user's row does not hold.
///
/// Gradients of `batch_size` interactions are taken at the same table and summed; then each feature among them moves
/// once, by AdaGrad (Duchi, Hazan & Singer (2011), jmlr.org/papers/v12/duchi11a.html): squares += g^2,
/// v += learning_rate g / sqrt(squares). The penalty adds -regularization v for each time a feature is read. Sums are
/// taken in the order of the interactions: bitwise the same for any ctx.n_threads.
///
/// by_user (n, m);  features.users (n, p), items (m, p), contexts (nnz, p) or (0, p). Draws are Philox with the
/// counters (interaction, epoch). 8 bytes of scratch an interaction, 4 a feature, and 64 to 128 bytes for a factor and
/// interaction of a batch. O(d) flops for each feature of a pair, times the candidates that are scored.
/// Returns the sum of squared errors (kRegression), of log-losses (kLogistic), or how many positives scored above what
/// they were held against at first sight; and of how many terms, or positives, this is.
/// Throws std::invalid_argument when shapes disagree, a rule is out of range, or there are 2^31 interactions or more.
std::pair<double, Offset> fm_epoch(const Context& ctx, CsrView<const float> by_user, const FmFeatures& features,
                                   const FmRule& rule, std::uint64_t seed, std::uint32_t epoch, const FmTable& table);

}  // namespace likewise::cpu
