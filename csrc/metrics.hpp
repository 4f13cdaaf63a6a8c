#pragma once
// Quality of rankings, one value a user, in float64; and the means of bootstrap resamples of such values.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// With h_j = 1 if the item at rank j is relevant, else 0; H_k = h_1 + ... + h_k; R relevant items:
///   precision  H_k / k
///   recall     H_k / R
///   hit rate   1 if H_k > 0, else 0
///   ndcg       sum_{j<=k} h_j / log2(j + 1)  over  sum_{j<=min(k, R)} 1 / log2(j + 1)
///              Jarvelin & Kekalainen (2002), doi:10.1145/582415.582418, with binary gains
///   map        sum_{j<=k} h_j H_j / j  over  min(k, R)
///   mrr        1 / (the first j <= k with h_j = 1), 0 if there is none
enum class Metric { kPrecision, kRecall, kHitRate, kNdcg, kMap, kMrr };

/// A metric and its cutoff k.
struct RankingMetric {
  Metric metric = Metric::kPrecision;
  Id k = 1;
};

/// out[u][j] <- metrics[j] of user u. Relevant are the items of row u of `relevant` with a value > 0 that are not in
/// row u of `exclude`; a user without any gets NaN. ids (n, l) ranked items, distinct, ended by -1 where a list is
/// shorter;  relevant (n, m);  exclude (n, m); out (n, metrics.size()) float64. O(log R) a rank. Bitwise independent of
/// ctx.n_threads. Throws std::invalid_argument when shapes disagree or a cutoff is outside [1, l].
void ranking_metrics(const Context& ctx, MatrixView<const Id> ids, CsrView<const float> relevant,
                     std::optional<CsrView<const float>> exclude, const std::vector<RankingMetric>& metrics,
                     MatrixView<double> out);

/// out[u] <- the area under the ROC curve of row u of all_scores: the share of pairs of a relevant and another item,
/// both outside row u of `exclude`, in which the relevant one has the greater score; a tie counts half. Relevant as
/// above. A score of NaN counts as -inf. NaN without any pair. Hanley & McNeil (1982),
/// doi:10.1148/radiology.143.1.7063747. all_scores (n, m) float32;  relevant, exclude (n, m);  out (n) float64. O(m log
/// R) a user, scratch m bytes a thread. Bitwise independent of ctx.n_threads. Throws std::invalid_argument when shapes
/// disagree.
void auc(const Context& ctx, MatrixView<const float> all_scores, CsrView<const float> relevant,
         std::optional<CsrView<const float>> exclude, std::span<double> out);

/// Pairs of the ratings in a row that differ, and those of them whose estimates are in the same order; two equal
/// estimates are in none. Koren & Sill (2011), doi:10.5591/978-1-57735-516-8/IJCAI11-316.
///
/// ratings (n, m);  estimates (nnz of ratings), in the order of the entries;  comparable, concordant (n) out, counts as
/// float64. A row with n_u ratings takes n_u^2 / 2 comparisons. Bitwise independent of ctx.n_threads.
/// Throws std::invalid_argument when shapes disagree.
void concordant_pairs(const Context& ctx, CsrView<const float> ratings, std::span<const float> estimates,
                      std::span<double> comparable, std::span<double> concordant);

/// out[b][j] <- the mean of column j over n draws with replacement from the n rows of `values`, the b-th resample of
/// Efron (1979), doi:10.1214/aos/1176344552: the same draws for every column. Draws are Philox words under the counter
/// (draw, b) and the key `seed`: bitwise independent of ctx.n_threads.
/// values (n, c), out (b, c) float64. O(b n c).
/// Throws std::invalid_argument when shapes disagree or there are no rows.
void bootstrap_means(const Context& ctx, MatrixView<const double> values, std::uint64_t seed, MatrixView<double> out);

}  // namespace likewise::cpu
