#include "slope_one.hpp"

#include <memory>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"

namespace likewise::cpu {

namespace {

constexpr const char* kName = "slope_one";
constexpr Offset kGrain = 1;  // items differ much in their numbers of ratings

/// How much higher the item asked for is rated than another, by those who have rated both.
struct Deviation {
  double sum = 0, n = 0;
};

/// Deviations of an item from all others, with the scratch of one thread.
class Deviations {
 public:
  Deviations(CsrView<const float> by_user, CsrView<const float> by_item)
      : by_user_(by_user), by_item_(by_item), of_(static_cast<std::size_t>(by_item.n_rows)) {}

  void gather(Offset item) {
    const std::span<const Id> users = by_item_.row_indices(item);
    const std::span<const float> ratings = by_item_.row_values(item);
    for (std::size_t e = 0; e < users.size(); ++e) {
      const auto rating = static_cast<double>(ratings[e]);
      const std::span<const Id> ids = by_user_.row_indices(users[e]);
      const std::span<const float> others = by_user_.row_values(users[e]);
      for (std::size_t c = 0; c < ids.size(); ++c) {
        Deviation& deviation = of_[static_cast<std::size_t>(ids[c])];
        if (deviation.n == 0) touched_.push_back(ids[c]);
        deviation.sum += rating - static_cast<double>(others[c]);
        deviation.n += 1;
      }
    }
    of_[static_cast<std::size_t>(item)] = {};  // no item says anything of itself
  }

  void average(std::span<const Id> ids, std::span<const float> values, bool weighted, float& estimate,
               Id& n_used) const {
    double sum = 0, weights = 0;
    n_used = 0;
    for (std::size_t e = 0; e < ids.size(); ++e) {
      const Deviation& deviation = of_[static_cast<std::size_t>(ids[e])];
      if (deviation.n == 0) continue;
      const auto value = static_cast<double>(values[e]);
      sum += weighted ? deviation.sum + deviation.n * value : deviation.sum / deviation.n + value;
      weights += weighted ? deviation.n : 1;
      ++n_used;
    }
    estimate = n_used == 0 ? 0 : static_cast<float>(sum / weights);
  }

  void forget() {
    for (const Id item : touched_) of_[static_cast<std::size_t>(item)] = {};
    touched_.clear();
  }

 private:
  CsrView<const float> by_user_, by_item_;
  std::vector<Deviation> of_;
  std::vector<Id> touched_;
};

}  // namespace

void slope_one(const Context& ctx, CsrView<const float> by_user, CsrView<const float> by_item,
               CsrView<const float> histories, CsrView<const float> asked, bool weighted, std::span<float> estimates,
               std::span<Id> n_used) {
  check_equal(kName, "by_user", by_user.n_rows, "rows", "by_item", by_item.n_cols, "columns");
  check_equal(kName, "by_user", by_user.n_cols, "columns", "by_item", by_item.n_rows, "rows");
  check_equal(kName, "histories", histories.n_cols, "columns", "by_user", by_user.n_cols, "columns");
  check_equal(kName, "asked", asked.n_rows, "rows", "by_item", by_item.n_rows, "rows");
  check_equal(kName, "asked", asked.n_cols, "columns", "histories", histories.n_rows, "rows");
  check_equal(kName, "estimates", static_cast<Offset>(estimates.size()), "entries", "asked", asked.nnz(), "entries");
  check_equal(kName, "n_used", static_cast<Offset>(n_used.size()), "entries", "asked", asked.nnz(), "entries");
  std::vector<std::unique_ptr<Deviations>> scratch(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, asked.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    auto& deviations = scratch[static_cast<std::size_t>(worker)];
    if (!deviations) deviations = std::make_unique<Deviations>(by_user, by_item);
    for (Offset item = begin; item < end; ++item) {
      const std::span<const Id> users = asked.row_indices(item);
      if (users.empty()) continue;
      deviations->gather(item);
      auto entry = static_cast<std::size_t>(asked.indptr[item]);
      for (const Id user : users) {
        deviations->average(histories.row_indices(user), histories.row_values(user), weighted, estimates[entry],
                            n_used[entry]);
        ++entry;
      }
      deviations->forget();
    }
  });
}

}  // namespace likewise::cpu
