#include "slope_one.hpp"

#include <memory>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"

namespace likewise::cpu {

namespace {

constexpr Offset kGrain = 1;  // items differ much in their numbers of ratings

/// How much higher the item asked for is rated than another, by those who have rated both.
struct Deviation {
  double sum = 0, n = 0;
};

/// What items of a history have said of an item.
struct Estimate {
  double sum = 0, weights = 0;

  /// `deviations` and `n` are a sum and the number of its terms, `value` is that of the history.
  void add(double deviations, double n, double value, bool weighted) {
    sum += weighted ? deviations + n * value : deviations / n + value;
    weights += weighted ? n : 1;
  }

  [[nodiscard]] float value() const { return weights == 0 ? 0 : static_cast<float>(sum / weights); }
};

/// Deviations of an item from all others, with the scratch of one thread.
class Deviations {
 public:
  explicit Deviations(CsrView<const float> by_user)
      : by_user_(by_user), of_(static_cast<std::size_t>(by_user.n_cols)) {}

  void gather(Id item, std::span<const Id> users, std::span<const float> ratings) {
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
    Estimate found;
    n_used = 0;
    for (std::size_t e = 0; e < ids.size(); ++e) {
      const Deviation& deviation = of_[static_cast<std::size_t>(ids[e])];
      if (deviation.n == 0) continue;
      found.add(deviation.sum, deviation.n, static_cast<double>(values[e]), weighted);
      ++n_used;
    }
    estimate = found.value();
  }

  /// Tells each item what the item gathered, rated `value`, says of it: deviations in the other direction.
  void tell(double value, bool weighted, std::vector<Estimate>& estimates) const {
    for (const Id id : touched_) {
      const Deviation& deviation = of_[static_cast<std::size_t>(id)];
      if (deviation.n != 0) estimates[static_cast<std::size_t>(id)].add(-deviation.sum, deviation.n, value, weighted);
    }
  }

  void forget() {
    for (const Id item : touched_) of_[static_cast<std::size_t>(item)] = {};
    touched_.clear();
  }

 private:
  CsrView<const float> by_user_;
  std::vector<Deviation> of_;
  std::vector<Id> touched_;
};

}  // namespace

void slope_one(const Context& ctx, CsrView<const float> by_user, std::span<const Id> items, CsrView<const float> raters,
               CsrView<const float> histories, CsrView<const float> asked, bool weighted, std::span<float> estimates,
               std::span<Id> n_used) {
  constexpr const char* kName = "slope_one";
  check_equal(kName, "raters", raters.n_rows, "rows", "items", static_cast<Offset>(items.size()), "entries");
  check_equal(kName, "raters", raters.n_cols, "columns", "by_user", by_user.n_rows, "rows");
  check_equal(kName, "histories", histories.n_cols, "columns", "by_user", by_user.n_cols, "columns");
  check_equal(kName, "asked", asked.n_rows, "rows", "raters", raters.n_rows, "rows");
  check_equal(kName, "asked", asked.n_cols, "columns", "histories", histories.n_rows, "rows");
  check_equal(kName, "estimates", static_cast<Offset>(estimates.size()), "entries", "asked", asked.nnz(), "entries");
  check_equal(kName, "n_used", static_cast<Offset>(n_used.size()), "entries", "asked", asked.nnz(), "entries");
  for (const Id item : items) check_that(item >= 0 && item < by_user.n_cols, kName, "an item is outside by_user");
  std::vector<std::unique_ptr<Deviations>> scratch(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, asked.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    auto& deviations = scratch[static_cast<std::size_t>(worker)];
    if (!deviations) deviations = std::make_unique<Deviations>(by_user);
    for (Offset row = begin; row < end; ++row) {
      const std::span<const Id> users = asked.row_indices(row);
      if (users.empty()) continue;
      deviations->gather(items[static_cast<std::size_t>(row)], raters.row_indices(row), raters.row_values(row));
      auto entry = static_cast<std::size_t>(asked.indptr[row]);
      for (const Id user : users) {
        deviations->average(histories.row_indices(user), histories.row_values(user), weighted, estimates[entry],
                            n_used[entry]);
        ++entry;
      }
      deviations->forget();
    }
  });
}

void slope_one_of_rows(const Context& ctx, CsrView<const float> by_user, CsrView<const float> by_item,
                       CsrView<const float> histories, bool weighted, MatrixView<float> estimates) {
  constexpr const char* kName = "slope_one_of_rows";
  check_equal(kName, "by_item", by_item.n_rows, "rows", "by_user", by_user.n_cols, "columns");
  check_equal(kName, "by_item", by_item.n_cols, "columns", "by_user", by_user.n_rows, "rows");
  check_equal(kName, "histories", histories.n_cols, "columns", "by_user", by_user.n_cols, "columns");
  check_equal(kName, "estimates", estimates.n_rows, "rows", "histories", histories.n_rows, "rows");
  check_equal(kName, "estimates", estimates.n_cols, "columns", "by_user", by_user.n_cols, "columns");
  struct OfThread {
    Deviations deviations;
    std::vector<Estimate> estimates;
  };
  std::vector<std::unique_ptr<OfThread>> scratch(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, histories.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    auto& own = scratch[static_cast<std::size_t>(worker)];
    if (!own) own = std::make_unique<OfThread>(OfThread{Deviations(by_user), {}});
    for (Offset row = begin; row < end; ++row) {
      own->estimates.assign(static_cast<std::size_t>(by_user.n_cols), Estimate{});
      const std::span<const Id> ids = histories.row_indices(row);
      const std::span<const float> values = histories.row_values(row);
      for (std::size_t e = 0; e < ids.size(); ++e) {
        own->deviations.gather(ids[e], by_item.row_indices(ids[e]), by_item.row_values(ids[e]));
        own->deviations.tell(static_cast<double>(values[e]), weighted, own->estimates);
        own->deviations.forget();
      }
      for (Offset item = 0; item < by_user.n_cols; ++item) {
        estimates.row(row)[item] = own->estimates[static_cast<std::size_t>(item)].value();
      }
    }
  });
}

}  // namespace likewise::cpu
