#pragma once
// Quality of rankings, one value a user, in float64; and the means of bootstrap resamples of such values.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// Of the item at rank j let g_j be the grade (its value among the relevant items, else 0), h_j = 1 if g_j > 0, else 0;
/// H_k = h_1 + ... + h_k; R relevant items among N that could be ranked; n the length of the list, at most k.
/// D(x, k) = sum_{j<=k} x_j / log2(j + 1), and D*(x, k) the same of the relevant items in the best order.
///   precision         H_k / k
///   recall            H_k / R
///   hit rate          1 if H_k > 0, else 0
///   f1                2 H_k / (k + R), the harmonic mean of both; van Rijsbergen (1979), Information Retrieval, ch. 7
///   fall-out          the other items in the list / (N - R); ibid.
///   ndcg              D(h, k) / D*(h, k); Jarvelin & Kekalainen (2002), doi:10.1145/582415.582418, with binary gains
///   graded ndcg       D(g, k) / D*(g, k); ibid.
///   exponential ndcg  D(2^g - 1, k) / D*(2^g - 1, k); Burges et al. (2005), doi:10.1145/1102351.1102363
///   map               sum_{j<=k} h_j H_j / j  over  min(k, R)
///   mrr               1 / (the first j <= k with h_j = 1), 0 if there is none
///   r-precision       H_min(k,R) / min(k, R)
///   rbp               (1 - p) sum_{j<=k} h_j p^(j-1); Moffat & Zobel (2008), doi:10.1145/1416950.1416952
///   err               sum_{j<=k} q_j / j prod_{i<j} (1 - q_i), q = (2^g - 1) / 2^G for the greatest grade G;
///                     Chapelle et al. (2009), doi:10.1145/1645953.1646033
///   auc               the area under the ROC curve, all items below rank k tied
///   novelty           the mean of `information` over the list; Zhou et al. (2010), doi:10.1073/pnas.1000488107
///   popularity        the mean of `popularity` over the list
///   diversity         1 - the mean product of the features of two items of the list; Ziegler et al. (2005),
///                     doi:10.1145/1060745.1060754
///   serendipity       sum_{j<=k} h_j u_j / k, u_j = 0 if the item is one of the k most popular that the user could
///                     get, else 1; Ge et al. (2010), doi:10.1145/1864708.1864761
enum class Metric {
  kPrecision,
  kRecall,
  kHitRate,
  kF1,
  kFallOut,
  kNdcg,
  kGradedNdcg,
  kExponentialNdcg,
  kMap,
  kMrr,
  kRPrecision,
  kRbp,
  kErr,
  kAuc,
  kNovelty,
  kPopularity,
  kDiversity,
  kSerendipity
};

/// A metric and its cutoff k; p of rbp, or G of err.
struct RankingMetric {
  Metric metric = Metric::kPrecision;
  Id k = 1;
  double parameter = 0;
};

/// What some metrics ask of items; empty where none does. Each has an entry, or a row, an item.
struct ItemFacts {
  std::span<const double> information, popularity;
  std::span<const Id> popularity_ranks;          ///< 0 is the most popular item
  std::optional<CsrView<const float>> features;  ///< rows of length 1; a row of zeros is like no other
};

/// out[u][j] <- metrics[j] of user u. Relevant are the items of row u of `relevant` with a value > 0 that are not in
/// row u of `exclude`; a user without any gets NaN. Novelty, popularity and diversity do without relevant items, and
/// are NaN for an empty list (diversity: of fewer than two items); fall-out and auc are NaN where all items are
/// relevant. An item of row u of `exclude` takes a rank, and is none of the N. ids (n, l) ranked items, distinct, ended
/// by -1 where a list is shorter;  relevant (n, m);  exclude (n, m); n_candidates: N of each user, or empty where that
/// is m less the row of `exclude`; out (n, metrics.size()) float64. O(log R) a rank, and the entries of a row of
/// features. Bitwise independent of ctx.n_threads. Throws std::invalid_argument when shapes disagree, a cutoff is
/// outside [1, l], an id outside [-1, m), or a metric's facts are missing.
void ranking_metrics(const Context& ctx, MatrixView<const Id> ids, CsrView<const float> relevant,
                     std::optional<CsrView<const float>> exclude, std::span<const Id> n_candidates,
                     const ItemFacts& facts, const std::vector<RankingMetric>& metrics, MatrixView<double> out);

/// counts[j][i] += the rows of ids that have item i at a rank in (cutoffs[j - 1], cutoffs[j]], where cutoffs[-1] is 0.
/// ids (n, l), -1 for none;  cutoffs (c) rising;  counts (c, m) int64. One thread: an increment a rank.
/// Throws std::invalid_argument when shapes disagree, cutoffs do not rise within [1, l], or an id is outside [-1, m).
void count_recommended(const Context& ctx, MatrixView<const Id> ids, std::span<const Id> cutoffs,
                       MatrixView<std::int64_t> counts);

/// For the groups g of items, and the first k ranks of each list: exposure[u][g] <- sum of 1 / log2(j + 1) over the
/// ranks j that hold an item of g, Singh & Joachims (2018), doi:10.1145/3219819.3220088;  hits[u][g] and
/// wanted[u][g] <- the relevant items of g in the list, and all of them, relevant as above.
/// ids (n, l);  relevant, exclude (n, m);  groups (m) in [0, n_groups);  exposure, hits, wanted (n, n_groups) float64.
/// Bitwise independent of ctx.n_threads. Throws std::invalid_argument when shapes disagree, k is outside [1, l], or an
/// id or a group is out of range.
void group_metrics(const Context& ctx, MatrixView<const Id> ids, CsrView<const float> relevant,
                   std::optional<CsrView<const float>> exclude, std::span<const Id> groups, Id k,
                   MatrixView<double> exposure, MatrixView<double> hits, MatrixView<double> wanted);

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
