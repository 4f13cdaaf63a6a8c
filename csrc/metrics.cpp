#include "metrics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "check.hpp"
#include "parallel.hpp"
#include "philox.hpp"

namespace likewise::cpu {

namespace {

using Exclusions = std::optional<CsrView<const float>>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr Offset kUsersEach = 256;

void check_users(std::string_view kernel, std::string_view source, Offset n_users, CsrView<const float> relevant,
                 const Exclusions& exclude) {
  check_equal(kernel, source, n_users, "rows", "relevant", relevant.n_rows, "rows");
  if (!exclude) return;
  check_equal(kernel, "exclude", exclude->n_rows, "rows", "relevant", relevant.n_rows, "rows");
  check_equal(kernel, "exclude", exclude->n_cols, "columns", "relevant", relevant.n_cols, "columns");
}

/// The relevant items of a user, rising.
void find_relevant(CsrView<const float> relevant, const Exclusions& exclude, Offset user, std::vector<Id>& out) {
  out.clear();
  const std::span<const Id> ids = relevant.row_indices(user);
  const std::span<const float> values = relevant.row_values(user);
  const std::span<const Id> excluded = exclude ? exclude->row_indices(user) : std::span<const Id>{};
  for (std::size_t j = 0; j < ids.size(); ++j) {
    if (values[j] > 0 && !std::binary_search(excluded.begin(), excluded.end(), ids[j])) out.push_back(ids[j]);
  }
}

/// sums[j] = the gain of j relevant items at the top, j = 0, ..., n.
std::vector<double> ideal_gains(Offset n) {
  std::vector<double> sums(static_cast<std::size_t>(n) + 1, 0.0);
  for (std::size_t j = 1; j < sums.size(); ++j) sums[j] = sums[j - 1] + 1 / std::log2(static_cast<double>(j) + 1);
  return sums;
}

/// What the metrics need of one ranked list, for every cutoff at once; entry k is about the first k ranks.
class RankedList {
 public:
  explicit RankedList(Offset length)
      : hits_(static_cast<std::size_t>(length) + 1), gains_(hits_.size()), precisions_(hits_.size()) {}

  void read(std::span<const Id> ids, std::span<const Id> relevant) {
    n_relevant_ = relevant.size();
    first_hit_ = 0;
    for (std::size_t rank = 1; rank <= ids.size(); ++rank) {
      const bool hit = std::binary_search(relevant.begin(), relevant.end(), ids[rank - 1]);
      const auto at = static_cast<double>(rank);
      hits_[rank] = hits_[rank - 1] + (hit ? 1 : 0);
      gains_[rank] = gains_[rank - 1] + (hit ? 1 / std::log2(at + 1) : 0);
      precisions_[rank] = precisions_[rank - 1] + (hit ? hits_[rank] / at : 0);
      if (hit && first_hit_ == 0) first_hit_ = rank;
    }
  }

  [[nodiscard]] double value(RankingMetric wanted, std::span<const double> ideal) const {
    if (n_relevant_ == 0) return kNaN;
    const auto k = static_cast<std::size_t>(wanted.k);
    const std::size_t reachable = std::min(k, n_relevant_);
    switch (wanted.metric) {
      case Metric::kPrecision:
        return hits_[k] / static_cast<double>(k);
      case Metric::kRecall:
        return hits_[k] / static_cast<double>(n_relevant_);
      case Metric::kHitRate:
        return hits_[k] > 0 ? 1 : 0;
      case Metric::kNdcg:
        return gains_[k] / ideal[reachable];
      case Metric::kMap:
        return precisions_[k] / static_cast<double>(reachable);
      case Metric::kMrr:
        return first_hit_ == 0 || first_hit_ > k ? 0 : 1 / static_cast<double>(first_hit_);
    }
    return kNaN;
  }

 private:
  std::vector<double> hits_, gains_, precisions_;
  std::size_t n_relevant_ = 0, first_hit_ = 0;
};

float comparable(float score) { return std::isnan(score) ? -kInfinity : score; }

/// How many of n scores exceed the threshold.
Offset count_above(const simd::MicroKernels& micro, const float* scores, Offset n, float threshold) {
  constexpr Offset kRun = simd::kTileRows * simd::kTileCols;  // a run of scores is a tile with one threshold
  float thresholds[simd::kTileRows];
  std::fill_n(thresholds, simd::kTileRows, threshold);
  Offset count = 0, i = 0;
  for (; i + kRun <= n; i += kRun) {
    std::uint32_t masks[simd::kTileRows];
    if (!micro.tile_above(scores + i, thresholds, masks)) continue;
    for (const std::uint32_t mask : masks) count += std::popcount(mask);
  }
  for (; i < n; ++i) count += scores[i] > threshold ? 1 : 0;
  return count;
}

/// How many of n scores, -inf for NaN, are at least `score`.
Offset count_at_least(const simd::MicroKernels& micro, const float* scores, Offset n, float score) {
  return score == -kInfinity ? n : count_above(micro, scores, n, std::nextafter(score, -kInfinity));
}

}  // namespace

void ranking_metrics(const Context& ctx, MatrixView<const Id> ids, CsrView<const float> relevant,
                     std::optional<CsrView<const float>> exclude, const std::vector<RankingMetric>& metrics,
                     MatrixView<double> out) {
  constexpr const char* kName = "ranking_metrics";
  check_users(kName, "ids", ids.n_rows, relevant, exclude);
  check_equal(kName, "ids", ids.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal(kName, "metrics", static_cast<Offset>(metrics.size()), "entries", "out", out.n_cols, "columns");
  for (const RankingMetric& wanted : metrics) {
    if (wanted.k < 1 || wanted.k > ids.n_cols) {
      throw std::invalid_argument(std::string(kName) + ": cutoffs must be inside [1, " + std::to_string(ids.n_cols) +
                                  "], the length of the lists, got " + std::to_string(wanted.k));
    }
  }
  const std::vector<double> ideal = ideal_gains(ids.n_cols);
  parallel_for(ctx, ids.n_rows, kUsersEach, [&](Offset begin, Offset end, int) {
    RankedList list(ids.n_cols);
    std::vector<Id> wanted_items;
    for (Offset user = begin; user < end; ++user) {
      find_relevant(relevant, exclude, user, wanted_items);
      list.read({ids.row(user), static_cast<std::size_t>(ids.n_cols)}, wanted_items);
      for (std::size_t j = 0; j < metrics.size(); ++j) out.row(user)[j] = list.value(metrics[j], ideal);
    }
  });
}

void auc(const Context& ctx, MatrixView<const float> all_scores, CsrView<const float> relevant,
         std::optional<CsrView<const float>> exclude, std::span<double> out) {
  constexpr const char* kName = "auc";
  check_users(kName, "all_scores", all_scores.n_rows, relevant, exclude);
  check_equal(kName, "all_scores", all_scores.n_cols, "columns", "relevant", relevant.n_cols, "columns");
  check_equal(kName, "all_scores", all_scores.n_rows, "rows", "out", static_cast<Offset>(out.size()), "entries");
  const Offset n_items = all_scores.n_cols;
  std::vector<std::vector<Id>> scratches(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, all_scores.n_rows, 1, [&](Offset user, Offset, int worker) {
    const float* scores = all_scores.row(user);
    const std::span<const Id> excluded = exclude ? exclude->row_indices(user) : std::span<const Id>{};
    std::vector<Id>& wanted = scratches[static_cast<std::size_t>(worker)];
    find_relevant(relevant, exclude, user, wanted);
    const auto n_relevant = static_cast<Offset>(wanted.size());
    const Offset n_others = n_items - n_relevant - static_cast<Offset>(excluded.size());
    Offset losses = 0;  // one for a tie, two where another item has the greater score
    for (const Id id : wanted) {
      const float score = comparable(scores[id]);
      losses += count_above(*ctx.micro, scores, n_items, score) + count_at_least(*ctx.micro, scores, n_items, score);
      // Neither excluded nor relevant items are among the others.
      for (const std::span<const Id> apart : {excluded, std::span<const Id>(wanted)}) {
        for (const Id other : apart) {
          losses -= comparable(scores[other]) > score ? 1 : 0;
          losses -= comparable(scores[other]) >= score ? 1 : 0;
        }
      }
    }
    const double n_pairs = static_cast<double>(n_relevant) * static_cast<double>(n_others);
    out[static_cast<std::size_t>(user)] = n_pairs > 0 ? 1 - static_cast<double>(losses) / (2 * n_pairs) : kNaN;
  });
}

void concordant_pairs(const Context& ctx, CsrView<const float> ratings, std::span<const float> estimates,
                      std::span<double> comparable, std::span<double> concordant) {
  constexpr const char* kName = "concordant_pairs";
  const auto size = [](auto span) { return static_cast<Offset>(span.size()); };
  check_equal(kName, "estimates", size(estimates), "entries", "ratings", ratings.nnz(), "entries");
  check_equal(kName, "comparable", size(comparable), "entries", "ratings", ratings.n_rows, "rows");
  check_equal(kName, "concordant", size(concordant), "entries", "ratings", ratings.n_rows, "rows");
  parallel_for(ctx, ratings.n_rows, kUsersEach, [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      const std::span<const float> given = ratings.row_values(row);
      const float* estimated = estimates.data() + ratings.indptr[row];
      Offset n_comparable = 0, n_concordant = 0;
      for (std::size_t i = 0; i < given.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
          n_comparable += given[i] != given[j] ? 1 : 0;
          const bool rises = given[j] < given[i] && estimated[j] < estimated[i];
          const bool falls = given[j] > given[i] && estimated[j] > estimated[i];
          n_concordant += rises || falls ? 1 : 0;
        }
      }
      comparable[static_cast<std::size_t>(row)] = static_cast<double>(n_comparable);
      concordant[static_cast<std::size_t>(row)] = static_cast<double>(n_concordant);
    }
  });
}

void bootstrap_means(const Context& ctx, MatrixView<const double> values, std::uint64_t seed, MatrixView<double> out) {
  constexpr const char* kName = "bootstrap_means";
  check_equal(kName, "values", values.n_cols, "columns", "out", out.n_cols, "columns");
  check_that(values.n_rows >= 1, kName, "values must have at least one row");
  check_that(values.n_rows <= std::numeric_limits<std::uint32_t>::max(), kName, "there must be fewer than 2^32 rows");
  const auto n = static_cast<std::uint32_t>(values.n_rows);
  const PhiloxKey key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  parallel_for(ctx, out.n_rows, 1, [&](Offset resample, Offset, int) {
    std::vector<double> totals(static_cast<std::size_t>(values.n_cols), 0.0);
    for (std::uint32_t draw = 0; draw < n;) {
      for (const std::uint32_t word : philox4x32({draw / 4, static_cast<std::uint32_t>(resample), 0, 0}, key)) {
        if (draw == n) break;
        const double* row = values.row(uniform_below(word, n));
        for (std::size_t j = 0; j < totals.size(); ++j) totals[j] += row[j];
        ++draw;
      }
    }
    for (std::size_t j = 0; j < totals.size(); ++j) out.row(resample)[j] = totals[j] / n;
  });
}

}  // namespace likewise::cpu
