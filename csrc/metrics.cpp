#include "metrics.hpp"

#include <algorithm>
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

/// Scratch of one thread for `auc`.
struct RocScratch {
  std::vector<Id> relevant;
  std::vector<float> relevant_scores;  // rising
  std::vector<unsigned char> apart;    // relevant or excluded: not one of the other items
};

float comparable(float score) { return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score; }

/// How many at the head of `rising` satisfy the predicate, which holds up to some place; without a branch on the
/// values.
template <class Predicate>
std::size_t count_head(std::span<const float> rising, const Predicate& holds) {
  std::size_t begin = 0;
  for (std::size_t n = rising.size(); n > 0;) {
    const std::size_t half = n / 2;
    begin += holds(rising[begin + half]) ? n - half : 0;
    n = half;
  }
  return begin;
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
  std::vector<RocScratch> scratches(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, all_scores.n_rows, 1, [&](Offset user, Offset, int worker) {
    auto& [wanted, rising, apart] = scratches[static_cast<std::size_t>(worker)];
    apart.resize(static_cast<std::size_t>(all_scores.n_cols), 0);
    const float* scores = all_scores.row(user);
    const std::span<const Id> excluded = exclude ? exclude->row_indices(user) : std::span<const Id>{};
    find_relevant(relevant, exclude, user, wanted);
    rising.clear();
    for (const Id id : wanted) rising.push_back(comparable(scores[id]));
    std::sort(rising.begin(), rising.end());

    for (const Id id : excluded) apart[static_cast<std::size_t>(id)] = 1;
    for (const Id id : wanted) apart[static_cast<std::size_t>(id)] = 1;
    std::uint64_t n_others = 0, half_wins = 0;  // of the other items: two for a win, one for a tie
    for (std::size_t id = 0; id < apart.size() && !rising.empty(); ++id) {
      if (apart[id] != 0) continue;
      const float score = comparable(scores[id]);
      const std::size_t below = count_head(rising, [score](float x) { return x < score; });
      const bool ties = below < rising.size() && rising[below] == score;
      half_wins += below + (ties ? count_head(rising, [score](float x) { return x <= score; }) : below);
      ++n_others;
    }
    for (const Id id : excluded) apart[static_cast<std::size_t>(id)] = 0;
    for (const Id id : wanted) apart[static_cast<std::size_t>(id)] = 0;
    const double n_pairs = static_cast<double>(rising.size()) * static_cast<double>(n_others);
    out[static_cast<std::size_t>(user)] = n_pairs > 0 ? 1 - static_cast<double>(half_wins) / (2 * n_pairs) : kNaN;
  });
}

void bootstrap_means(const Context& ctx, std::span<const double> values, std::uint64_t seed, std::span<double> out) {
  constexpr const char* kName = "bootstrap_means";
  check_that(!values.empty(), kName, "values must have at least one entry");
  check_that(values.size() <= std::numeric_limits<std::uint32_t>::max(), kName, "there must be fewer than 2^32 values");
  const auto n = static_cast<std::uint32_t>(values.size());
  const PhiloxKey key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  parallel_for(ctx, static_cast<Offset>(out.size()), 1, [&](Offset resample, Offset, int) {
    double total = 0;
    for (std::uint32_t first = 0; first < n;) {
      for (const std::uint32_t word : philox4x32({first / 4, static_cast<std::uint32_t>(resample), 0, 0}, key)) {
        if (first < n) total += values[uniform_below(word, n)];
        ++first;
      }
    }
    out[static_cast<std::size_t>(resample)] = total / n;
  });
}

}  // namespace likewise::cpu
