#include "metrics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
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

void check_cutoff(const char* kernel, Id k, Offset length) {
  if (k >= 1 && k <= length) return;
  throw std::invalid_argument(std::string(kernel) + ": cutoffs must be inside [1, " + std::to_string(length) +
                              "], the length of the lists, got " + std::to_string(k));
}

std::span<const Id> row_of(MatrixView<const Id> ids, Offset row) {
  return {ids.row(row), static_cast<std::size_t>(ids.n_cols)};
}

void check_ids(const char* kernel, MatrixView<const Id> ids, Offset n_items) {
  const std::span<const Id> all(ids.data, static_cast<std::size_t>(ids.n_rows * ids.n_cols));
  check_that(std::ranges::all_of(all, [&](Id id) { return -1 <= id && id < n_items; }), kernel,
             "ids must be inside [-1, n_items)");
}

/// Relevant items of a user, rising, and their grades.
struct Relevant {
  std::vector<Id> ids;
  std::vector<float> grades;

  void read(CsrView<const float> relevant, const Exclusions& exclude, Offset user) {
    ids.clear();
    grades.clear();
    const std::span<const Id> row = relevant.row_indices(user);
    const std::span<const float> values = relevant.row_values(user);
    const std::span<const Id> excluded = exclude ? exclude->row_indices(user) : std::span<const Id>{};
    for (std::size_t j = 0; j < row.size(); ++j) {
      if (!(values[j] > 0) || std::binary_search(excluded.begin(), excluded.end(), row[j])) continue;
      ids.push_back(row[j]);
      grades.push_back(values[j]);
    }
  }

  /// The grade of an item, 0 if it is not relevant.
  [[nodiscard]] float grade(Id item) const {
    const auto found = std::lower_bound(ids.begin(), ids.end(), item);
    return found != ids.end() && *found == item ? grades[static_cast<std::size_t>(found - ids.begin())] : 0;
  }
};

double discount(std::size_t rank) { return 1 / std::log2(static_cast<double>(rank) + 1); }

double linear_gain(float grade) { return grade; }
double exponential_gain(float grade) { return std::exp2(static_cast<double>(grade)) - 1; }

/// sums[j] = the gain of j relevant items at the top, j = 0, ..., n.
std::vector<double> ideal_gains(Offset n) {
  std::vector<double> sums(static_cast<std::size_t>(n) + 1, 0.0);
  for (std::size_t j = 1; j < sums.size(); ++j) sums[j] = sums[j - 1] + discount(j);
  return sums;
}

bool is_wanted(const std::vector<RankingMetric>& metrics, Metric metric) {
  return std::ranges::any_of(metrics, [&](const RankingMetric& one) { return one.metric == metric; });
}

/// Whether a metric that reads a kind of facts is wanted, and each kind that is there has an entry an item.
void check_facts(const char* kernel, const ItemFacts& facts, const std::vector<RankingMetric>& metrics,
                 Offset n_items) {
  const auto check = [&](Metric metric, const char* name, bool is_there, Offset size) {
    check_that(is_there || n_items == 0 || !is_wanted(metrics, metric), kernel,
               std::string(name) + " is missing, and a metric needs it");
    if (is_there) check_equal(kernel, name, size, "entries", "relevant", n_items, "columns");
  };
  const auto size = [](auto span) { return static_cast<Offset>(span.size()); };
  check(Metric::kNovelty, "information", !facts.information.empty(), size(facts.information));
  check(Metric::kPopularity, "popularity", !facts.popularity.empty(), size(facts.popularity));
  check(Metric::kSerendipity, "popularity_ranks", !facts.popularity_ranks.empty(), size(facts.popularity_ranks));
  check(Metric::kDiversity, "features", facts.features.has_value(), facts.features ? facts.features->n_rows : 0);
}

/// What the metrics need of one ranked list, for every cutoff at once; entry k is about the first k ranks.
class RankedList {
 public:
  RankedList(Offset length, const ItemFacts& facts, const std::vector<RankingMetric>& metrics)
      : facts_(facts),
        has_grades_(is_wanted(metrics, Metric::kGradedNdcg) || is_wanted(metrics, Metric::kExponentialNdcg)),
        has_others_(is_wanted(metrics, Metric::kFallOut) || is_wanted(metrics, Metric::kAuc)),
        has_places_(is_wanted(metrics, Metric::kSerendipity)),
        is_similar_(is_wanted(metrics, Metric::kDiversity)),
        sizes_(static_cast<std::size_t>(length) + 1),
        hits_(sizes_.size()),
        gains_(sizes_.size()),
        precisions_(sizes_.size()),
        others_(has_others_ ? sizes_.size() : 0),
        wins_(others_.size()),
        grades_(sizes_.size()),
        linear_(has_grades_ ? sizes_.size() : 0),
        exponential_(linear_.size()),
        ideal_linear_(linear_.size()),
        ideal_exponential_(linear_.size()),
        information_(facts.information.empty() ? 0 : sizes_.size()),
        popularity_(facts.popularity.empty() ? 0 : sizes_.size()),
        similarity_(is_similar_ ? sizes_.size() : 0),
        places_(has_places_ ? sizes_.size() : 0),
        sum_(is_similar_ ? static_cast<std::size_t>(facts.features->n_cols) : 0) {
    discounts_.reserve(sizes_.size());
    for (std::size_t rank = 0; rank < sizes_.size(); ++rank) discounts_.push_back(rank == 0 ? 0 : discount(rank));
  }

  void read(std::span<const Id> ids, const Relevant& relevant, std::span<const Id> excluded, Offset n_candidates) {
    n_relevant_ = relevant.ids.size();
    n_others_ = static_cast<double>(n_candidates) - static_cast<double>(n_relevant_);
    first_hit_ = 0;
    bool ended = false;
    for (std::size_t rank = 1; rank <= ids.size(); ++rank) {
      const Id item = ids[rank - 1];
      ended = ended || item < 0;
      const float grade = ended ? 0 : relevant.grade(item);
      const bool hit = grade > 0;
      const auto at = static_cast<double>(rank);
      grades_[rank] = grade;
      sizes_[rank] = sizes_[rank - 1] + (ended ? 0 : 1);
      hits_[rank] = hits_[rank - 1] + (hit ? 1 : 0);
      gains_[rank] = gains_[rank - 1] + (hit ? discounts_[rank] : 0);
      precisions_[rank] = precisions_[rank - 1] + (hit ? hits_[rank] / at : 0);
      if (has_others_) {
        const bool other = !ended && !hit && !std::binary_search(excluded.begin(), excluded.end(), item);
        others_[rank] = others_[rank - 1] + (other ? 1 : 0);
        wins_[rank] = wins_[rank - 1] + (other ? hits_[rank] : 0);
      }
      if (hit && first_hit_ == 0) first_hit_ = rank;
      read_facts(rank, item, ended);
      if (has_places_ && hit) places_[rank] = popular_place(item, excluded);
    }
    if (is_similar_) forget_sum(ids);
    if (has_grades_) read_grades(relevant);
  }

  [[nodiscard]] double value(RankingMetric wanted, std::span<const double> ideal) const {
    const auto k = static_cast<std::size_t>(wanted.k);
    switch (wanted.metric) {
      case Metric::kNovelty:
        return sizes_[k] > 0 ? information_[k] / sizes_[k] : kNaN;
      case Metric::kPopularity:
        return sizes_[k] > 0 ? popularity_[k] / sizes_[k] : kNaN;
      case Metric::kDiversity:
        return sizes_[k] > 1 ? 1 - 2 * similarity_[k] / (sizes_[k] * (sizes_[k] - 1)) : kNaN;
      default:
        return n_relevant_ == 0 ? kNaN : accuracy(wanted, ideal);
    }
  }

 private:
  [[nodiscard]] double accuracy(RankingMetric wanted, std::span<const double> ideal) const {
    const auto k = static_cast<std::size_t>(wanted.k);
    const std::size_t reachable = std::min(k, n_relevant_);
    const auto n_relevant = static_cast<double>(n_relevant_);
    switch (wanted.metric) {
      case Metric::kPrecision:
        return hits_[k] / static_cast<double>(k);
      case Metric::kRecall:
        return hits_[k] / n_relevant;
      case Metric::kHitRate:
        return hits_[k] > 0 ? 1 : 0;
      case Metric::kF1:
        return 2 * hits_[k] / (static_cast<double>(k) + n_relevant);
      case Metric::kFallOut:
        return n_others_ > 0 ? others_[k] / n_others_ : kNaN;
      case Metric::kNdcg:
        return gains_[k] / ideal[reachable];
      case Metric::kGradedNdcg:
        return linear_[k] / ideal_linear_[reachable];
      case Metric::kExponentialNdcg:
        return exponential_[k] / ideal_exponential_[reachable];
      case Metric::kMap:
        return precisions_[k] / static_cast<double>(reachable);
      case Metric::kMrr:
        return first_hit_ == 0 || first_hit_ > k ? 0 : 1 / static_cast<double>(first_hit_);
      case Metric::kRPrecision:
        return hits_[reachable] / static_cast<double>(reachable);
      case Metric::kRbp:
        return rank_biased_precision(k, wanted.parameter);
      case Metric::kErr:
        return expected_reciprocal_rank(k, wanted.parameter);
      case Metric::kAuc:
        return area(k);
      case Metric::kSerendipity:
        return serendipity(k);
      default:
        return kNaN;
    }
  }

  [[nodiscard]] double rank_biased_precision(std::size_t k, double p) const {
    double sum = 0, weight = 1 - p;
    for (std::size_t rank = 1; rank <= k; ++rank, weight *= p) sum += grades_[rank] > 0 ? weight : 0;
    return sum;
  }

  [[nodiscard]] double expected_reciprocal_rank(std::size_t k, double greatest) const {
    double sum = 0, reaches = 1;
    for (std::size_t rank = 1; rank <= k; ++rank) {
      // (2^g - 1) / 2^G without the overflow of either power.
      const double satisfies = std::exp2(grades_[rank] - greatest) - std::exp2(-greatest);
      sum += reaches * satisfies / static_cast<double>(rank);
      reaches *= 1 - satisfies;
    }
    return sum;
  }

  /// Each other item below rank k has the hits above it, and ties with the rest of the relevant ones.
  [[nodiscard]] double area(std::size_t k) const {
    if (!(n_others_ > 0)) return kNaN;
    const auto n_relevant = static_cast<double>(n_relevant_);
    const double below = n_others_ - others_[k];
    return (wins_[k] + below * (hits_[k] + n_relevant) / 2) / (n_relevant * n_others_);
  }

  [[nodiscard]] double serendipity(std::size_t k) const {
    double sum = 0;
    for (std::size_t rank = 1; rank <= k; ++rank) {
      sum += grades_[rank] > 0 && places_[rank] >= static_cast<Offset>(k) ? 1 : 0;
    }
    return sum / static_cast<double>(k);
  }

  void read_facts(std::size_t rank, Id item, bool ended) {
    const auto at = static_cast<std::size_t>(item);
    if (!information_.empty()) {
      information_[rank] = information_[rank - 1] + (ended ? 0 : facts_.information[at]);
    }
    if (!popularity_.empty()) popularity_[rank] = popularity_[rank - 1] + (ended ? 0 : facts_.popularity[at]);
    if (!is_similar_) return;
    similarity_[rank] = similarity_[rank - 1];
    if (ended) return;
    const std::span<const Id> columns = facts_.features->row_indices(item);
    const std::span<const float> values = facts_.features->row_values(item);
    double product = 0;
    for (std::size_t j = 0; j < columns.size(); ++j) {
      double& sum = sum_[static_cast<std::size_t>(columns[j])];
      product += sum * values[j];
      sum += values[j];
    }
    similarity_[rank] += product;
  }

  void forget_sum(std::span<const Id> ids) {
    for (const Id item : ids) {
      if (item < 0) return;
      for (const Id column : facts_.features->row_indices(item)) sum_[static_cast<std::size_t>(column)] = 0;
    }
  }

  void read_grades(const Relevant& relevant) {
    sorted_.assign(relevant.grades.begin(), relevant.grades.end());
    std::ranges::sort(sorted_, std::greater<>());
    for (std::size_t rank = 1; rank < grades_.size(); ++rank) {
      linear_[rank] = linear_[rank - 1] + linear_gain(grades_[rank]) * discounts_[rank];
      exponential_[rank] = exponential_[rank - 1] + exponential_gain(grades_[rank]) * discounts_[rank];
      const float best = rank <= sorted_.size() ? sorted_[rank - 1] : 0;
      ideal_linear_[rank] = ideal_linear_[rank - 1] + linear_gain(best) * discounts_[rank];
      ideal_exponential_[rank] = ideal_exponential_[rank - 1] + exponential_gain(best) * discounts_[rank];
    }
  }

  /// The place of an item, from 0, among the most popular ones that the user could get.
  [[nodiscard]] Offset popular_place(Id item, std::span<const Id> excluded) const {
    const Id place = facts_.popularity_ranks[static_cast<std::size_t>(item)];
    return place - std::ranges::count_if(excluded, [&](Id other) {
             return facts_.popularity_ranks[static_cast<std::size_t>(other)] < place;
           });
  }

  const ItemFacts& facts_;
  bool has_grades_, has_others_, has_places_, is_similar_;
  std::vector<double> sizes_, hits_, gains_, precisions_, others_, wins_;
  std::vector<float> grades_, sorted_;
  std::vector<double> linear_, exponential_, ideal_linear_, ideal_exponential_;
  std::vector<double> information_, popularity_, similarity_;
  std::vector<Offset> places_;
  std::vector<double> sum_, discounts_;
  std::size_t n_relevant_ = 0, first_hit_ = 0;
  double n_others_ = 0;
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
                     std::optional<CsrView<const float>> exclude, std::span<const Id> n_candidates,
                     const ItemFacts& facts, const std::vector<RankingMetric>& metrics, MatrixView<double> out) {
  constexpr const char* kName = "ranking_metrics";
  check_users(kName, "ids", ids.n_rows, relevant, exclude);
  check_equal(kName, "ids", ids.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal(kName, "metrics", static_cast<Offset>(metrics.size()), "entries", "out", out.n_cols, "columns");
  for (const RankingMetric& wanted : metrics) check_cutoff(kName, wanted.k, ids.n_cols);
  if (!n_candidates.empty()) {
    check_equal(kName, "n_candidates", static_cast<Offset>(n_candidates.size()), "entries", "ids", ids.n_rows, "rows");
  }
  check_facts(kName, facts, metrics, relevant.n_cols);
  check_ids(kName, ids, relevant.n_cols);
  const std::vector<double> ideal = ideal_gains(ids.n_cols);
  parallel_for(ctx, ids.n_rows, kUsersEach, [&](Offset begin, Offset end, int) {
    RankedList list(ids.n_cols, facts, metrics);
    Relevant wanted_items;
    for (Offset user = begin; user < end; ++user) {
      wanted_items.read(relevant, exclude, user);
      const std::span<const Id> excluded = exclude ? exclude->row_indices(user) : std::span<const Id>{};
      const Offset n_all = n_candidates.empty() ? relevant.n_cols - static_cast<Offset>(excluded.size())
                                                : n_candidates[static_cast<std::size_t>(user)];
      list.read(row_of(ids, user), wanted_items, excluded, n_all);
      for (std::size_t j = 0; j < metrics.size(); ++j) out.row(user)[j] = list.value(metrics[j], ideal);
    }
  });
}

void count_recommended(const Context&, MatrixView<const Id> ids, std::span<const Id> cutoffs,
                       MatrixView<std::int64_t> counts) {
  constexpr const char* kName = "count_recommended";
  check_equal(kName, "cutoffs", static_cast<Offset>(cutoffs.size()), "entries", "counts", counts.n_rows, "rows");
  for (std::size_t j = 0; j < cutoffs.size(); ++j) {
    check_cutoff(kName, cutoffs[j], ids.n_cols);
    check_that(j == 0 || cutoffs[j - 1] < cutoffs[j], kName, "cutoffs must rise");
  }
  check_ids(kName, ids, counts.n_cols);
  for (Offset user = 0; user < ids.n_rows; ++user) {
    Id rank = 0;
    for (std::size_t j = 0; j < cutoffs.size(); ++j) {
      for (; rank < cutoffs[j]; ++rank) {
        const Id item = ids.row(user)[rank];
        if (item >= 0) ++counts.row(static_cast<Offset>(j))[item];
      }
    }
  }
}

void group_metrics(const Context& ctx, MatrixView<const Id> ids, CsrView<const float> relevant,
                   std::optional<CsrView<const float>> exclude, std::span<const Id> groups, Id k,
                   MatrixView<double> exposure, MatrixView<double> hits, MatrixView<double> wanted) {
  constexpr const char* kName = "group_metrics";
  check_users(kName, "ids", ids.n_rows, relevant, exclude);
  check_equal(kName, "groups", static_cast<Offset>(groups.size()), "entries", "relevant", relevant.n_cols, "columns");
  const Offset n_groups = exposure.n_cols;
  for (const MatrixView<double> out : {exposure, hits, wanted}) {
    check_equal(kName, "ids", ids.n_rows, "rows", "out", out.n_rows, "rows");
    check_equal(kName, "exposure", n_groups, "columns", "out", out.n_cols, "columns");
  }
  check_cutoff(kName, k, ids.n_cols);
  check_ids(kName, ids, relevant.n_cols);
  check_that(std::ranges::all_of(groups, [&](Id group) { return 0 <= group && group < n_groups; }), kName,
             "groups must be inside [0, n_groups)");
  parallel_for(ctx, ids.n_rows, kUsersEach, [&](Offset begin, Offset end, int) {
    Relevant wanted_items;
    for (Offset user = begin; user < end; ++user) {
      wanted_items.read(relevant, exclude, user);
      for (const MatrixView<double> out : {exposure, hits, wanted}) std::fill_n(out.row(user), n_groups, 0.0);
      for (const Id item : wanted_items.ids) wanted.row(user)[groups[static_cast<std::size_t>(item)]] += 1;
      for (Id j = 0; j < k && ids.row(user)[j] >= 0; ++j) {
        const Id item = ids.row(user)[j], group = groups[static_cast<std::size_t>(item)];
        exposure.row(user)[group] += discount(static_cast<std::size_t>(j) + 1);
        hits.row(user)[group] += wanted_items.grade(item) > 0 ? 1 : 0;
      }
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
  std::vector<Relevant> scratches(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, all_scores.n_rows, 1, [&](Offset user, Offset, int worker) {
    const float* scores = all_scores.row(user);
    const std::span<const Id> excluded = exclude ? exclude->row_indices(user) : std::span<const Id>{};
    Relevant& scratch = scratches[static_cast<std::size_t>(worker)];
    scratch.read(relevant, exclude, user);
    const std::vector<Id>& wanted = scratch.ids;
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
