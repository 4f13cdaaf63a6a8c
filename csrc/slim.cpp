#include "slim.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "select.hpp"

namespace likewise::cpu {

namespace {

constexpr const char* kName = "slim";
constexpr double kLeastMove = 0.1;  // of the tolerance
constexpr std::size_t kFetchedAhead = 2;

/// What all columns share.
struct Problem {
  CsrView<const float> by_user, by_item;
  SlimObjective objective;
  const double* norms;  // |x_i|^2
  const double* sizes;  // of the values of an item: their root mean square, 1 if there are none
  bool is_positive;     // no gradient rises above where it was for w = 0
};

/// A weight that may leave 0, beside all that an update of it reads.
struct Coordinate {
  const Id* users;
  const float* values;
  Offset size;
  double norm, scale;  // |x_i|^2 and 1 / (|x_i|^2 + l2)
  double unit;         // what a weight is divided by, to be held against the tolerance
  float weight;
  Id item;
};

/// Solves columns one after another with the scratch of one thread. With kOnes every stored value is 1 and is not read.
template <bool kOnes>
class ColumnSolver {
 public:
  explicit ColumnSolver(const Problem& problem)
      : problem_(problem),
        residual_(static_cast<std::size_t>(problem.by_user.n_rows)),
        gradient_(static_cast<std::size_t>(problem.by_item.n_rows)),
        is_member_(static_cast<std::size_t>(problem.by_item.n_rows)) {
    std::fill_n(residual_.get(), problem.by_user.n_rows, 0.0F);
    std::fill_n(gradient_.get(), problem.by_item.n_rows, 0.0);
    std::fill_n(is_member_.get(), problem.by_item.n_rows, std::uint8_t{0});
  }

  /// Finds the weights of a target; returns whether they converged.
  bool solve(Id target, std::span<const Id> start_ids, std::span<const float> start_weights) {
    begin(target, start_ids, start_weights);
    sweeps_ = 0;
    bool converged = minimize();
    while (converged && !problem_.is_positive && admit_violators()) converged = minimize();
    end(target);
    return converged;
  }

  /// The members of the last column; those with a weight are its solution.
  [[nodiscard]] std::span<const Coordinate> coordinates() const { return members_; }

 private:
  [[nodiscard]] double dot(const Coordinate& c) const {
    // Four sums, for the additions of one would wait for each other.
    double sums[4] = {};
    const float* residual = residual_.get();
    const auto term = [&](Offset p) {
      const auto r = static_cast<double>(residual[c.users[p]]);
      if constexpr (kOnes) return r;
      return r * static_cast<double>(c.values[p]);
    };
    Offset p = 0;
    for (; p + 4 <= c.size; p += 4) {
      for (Offset q = 0; q < 4; ++q) sums[q] += term(p + q);
    }
    for (; p < c.size; ++p) sums[0] += term(p);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  void add_to_residual(const Id* users, const float* values, Offset size, float factor) {
    float* residual = residual_.get();
    for (Offset p = 0; p < size; ++p) residual[users[p]] += kOnes ? factor : factor * values[p];
  }

  [[nodiscard]] double shrink(double gradient) const {
    const double l1 = problem_.objective.l1;
    if (gradient > l1) return gradient - l1;
    if (!problem_.objective.non_negative && gradient < -l1) return gradient + l1;
    return 0;
  }

  [[nodiscard]] double unit_of(Id item) const { return target_size_ / problem_.sizes[item]; }

  /// Makes `item` a member with a weight; one that nothing determines stays 0.
  void admit(Id item, float weight) {
    const CsrView<const float>& by_item = problem_.by_item;
    const double curvature = problem_.norms[item] + problem_.objective.l2;
    if (is_member_[static_cast<std::size_t>(item)] != 0 || !(curvature > 0)) return;
    is_member_[static_cast<std::size_t>(item)] = 1;
    const Offset first = by_item.indptr[item];
    members_.push_back({by_item.indices + first, by_item.values + first, by_item.row_size(item), problem_.norms[item],
                        1 / curvature, unit_of(item), weight, item});
    if (weight != 0) {
      const Coordinate& c = members_.back();
      add_to_residual(c.users, c.values, c.size, -weight);
    }
  }

  /// Sets the residual, and makes members of what the start names and of what may leave 0.
  void begin(Id target, std::span<const Id> start_ids, std::span<const float> start_weights) {
    const CsrView<const float>& by_item = problem_.by_item;
    const Offset first = by_item.indptr[target];
    members_.clear();
    target_size_ = problem_.sizes[target];
    is_member_[static_cast<std::size_t>(target)] = 1;
    add_to_residual(by_item.indices + first, by_item.values + first, by_item.row_size(target), 1.0F);
    admit_reached(by_item.row_indices(target));
    for (std::size_t i = 0; i < start_ids.size(); ++i) {
      const float weight = problem_.objective.non_negative ? std::max(start_weights[i], 0.0F) : start_weights[i];
      const Id item = start_ids[i];
      if (weight == 0 || item == target) continue;
      const auto at = std::lower_bound(members_.begin(), members_.end(), item,
                                       [](const Coordinate& c, Id id) { return c.item < id; });
      if (at != members_.end() && at->item == item) {
        at->weight = weight;
        add_to_residual(at->users, at->values, at->size, -weight);
      } else {
        late_.push_back({item, weight});
      }
    }
    for (const auto& [item, weight] : late_) admit(item, weight);
    late_.clear();
  }

  /// Puts the scratch back to zero: where a member has moved, and where the target is.
  void end(Id target) {
    float* residual = residual_.get();
    for (const Id user : problem_.by_item.row_indices(target)) residual[user] = 0;
    is_member_[static_cast<std::size_t>(target)] = 0;
    for (const Coordinate& c : members_) {
      is_member_[static_cast<std::size_t>(c.item)] = 0;
      for (Offset p = 0; p < c.size; ++p) residual[c.users[p]] = 0;
    }
  }

  /// Admits, by rising id, the items whose gradient over `users`, outside whom the residual is 0, passes l1; returns
  /// whether there is one.
  bool admit_reached(std::span<const Id> users) {
    const CsrView<const float>& by_user = problem_.by_user;
    double* gradient = gradient_.get();
    reached_.clear();
    for (const Id user : users) {
      const auto r = static_cast<double>(residual_[static_cast<std::size_t>(user)]);
      const std::span<const Id> items = by_user.row_indices(user);
      const float* values = by_user.values + by_user.indptr[user];
      for (std::size_t p = 0; p < items.size(); ++p) {
        double& sum = gradient[items[p]];
        if (sum == 0) reached_.push_back(items[p]);
        sum += kOnes ? r : r * static_cast<double>(values[p]);
      }
    }
    const double least = least_move();
    const auto stays_out = [&](Id item) {
      const double passed = std::abs(shrink(gradient[item]));
      gradient[item] = 0;
      const double curvature = problem_.norms[item] + problem_.objective.l2;
      return is_member_[static_cast<std::size_t>(item)] != 0 || !(passed > least * curvature * unit_of(item));
    };
    reached_.erase(std::remove_if(reached_.begin(), reached_.end(), stays_out), reached_.end());
    std::sort(reached_.begin(), reached_.end());
    // A sum that came back to 0 on its way has named its item twice; `admit` takes it once.
    for (const Id item : reached_) admit(item, 0);
    return !reached_.empty();
  }

  /// Admits what the residual of a minimum calls for; returns whether there is anything.
  bool admit_violators() {
    users_.clear();
    for (Offset user = 0; user < problem_.by_user.n_rows; ++user) {
      if (residual_[static_cast<std::size_t>(user)] != 0) users_.push_back(static_cast<Id>(user));
    }
    return admit_reached(users_);
  }

  [[nodiscard]] double least_move() const { return kLeastMove * problem_.objective.tolerance; }

  /// Takes a weight to its minimum, the others held; returns by how much it moved, in its unit.
  double update(Coordinate& c) {
    const auto old = static_cast<double>(c.weight);
    const auto weight = static_cast<float>(shrink(dot(c) + c.norm * old) * c.scale);
    const double move = std::abs(static_cast<double>(weight) - old) / c.unit;
    if (!(move > least_move()) && (weight != 0 || c.weight == 0)) return 0;
    add_to_residual(c.users, c.values, c.size, c.weight - weight);
    c.weight = weight;
    return move;
  }

  /// Sweeps over the members, and between such sweeps over those that the one before has moved; returns whether it
  /// converged.
  bool minimize() {
    const SlimObjective& objective = problem_.objective;
    while (sweeps_ < objective.iterations) {
      double most = 0;
      restless_.clear();
      for (std::size_t i = 0; i < members_.size(); ++i) {
        if (i + kFetchedAhead < members_.size()) prefetch(members_[i + kFetchedAhead].users);
        const double move = update(members_[i]);
        most = std::max(most, move);
        if (move > objective.tolerance) restless_.push_back(static_cast<Id>(i));
      }
      ++sweeps_;
      if (most <= objective.tolerance) return true;
      for (; !restless_.empty() && sweeps_ < objective.iterations; ++sweeps_) {
        std::erase_if(restless_,
                      [&](Id i) { return !(update(members_[static_cast<std::size_t>(i)]) > objective.tolerance); });
      }
    }
    return false;
  }

  const Problem& problem_;
  Scratch<float> residual_;   // x_j - X w
  Scratch<double> gradient_;  // zero between uses
  Scratch<std::uint8_t> is_member_;
  std::vector<Coordinate> members_;
  std::vector<Id> reached_, restless_, users_;
  std::vector<std::pair<Id, float>> late_;
  Offset sweeps_ = 0;
  double target_size_ = 1;
};

/// Writes the greatest weights by rising id; `keys` and `kept` are scratch. Returns how many are not 0.
Id write_weights(std::span<const Coordinate> coordinates, std::vector<Key>& keys,
                 std::vector<std::pair<Id, float>>& kept, std::span<Id> ids, std::span<float> values, Id& count) {
  keys.clear();
  kept.clear();
  for (std::size_t i = 0; i < coordinates.size(); ++i) {
    const Coordinate& c = coordinates[i];
    if (c.weight != 0) kept.emplace_back(c.item, c.weight);
  }
  const auto n_found = static_cast<Id>(kept.size());
  std::sort(kept.begin(), kept.end());
  if (kept.size() > ids.size()) {
    for (const auto& [item, weight] : kept) keys.push_back(make_key(std::abs(weight), item));
    select_greatest(keys, ids.size());
    const Key least = keys[ids.size() - 1];
    const auto is_less = [least](const auto& w) { return make_key(std::abs(w.second), w.first) < least; };
    kept.erase(std::remove_if(kept.begin(), kept.end(), is_less), kept.end());
  }
  count = static_cast<Id>(kept.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = i < kept.size() ? kept[i].first : -1;
    values[i] = i < kept.size() ? kept[i].second : 0.0F;
  }
  return n_found;
}

void check(const Problem& problem, const std::optional<CsrView<const float>>& start, std::span<const Id> targets,
           MatrixView<Id> ids, MatrixView<float> values, std::span<Id> counts, std::span<Id> n_found) {
  const auto n_targets = static_cast<Offset>(targets.size());
  const Offset n_items = problem.by_item.n_rows;
  check_equal(kName, "by_user", problem.by_user.n_cols, "columns", "by_item", n_items, "rows");
  check_equal(kName, "by_user", problem.by_user.n_rows, "rows", "by_item", problem.by_item.n_cols, "columns");
  check_equal(kName, "by_user", problem.by_user.nnz(), "entries", "by_item", problem.by_item.nnz(), "entries");
  if (start) {
    check_equal(kName, "start", start->n_rows, "rows", "targets", n_targets, "entries");
    check_equal(kName, "start", start->n_cols, "columns", "by_item", n_items, "rows");
  }
  check_equal(kName, "ids", ids.n_rows, "rows", "targets", n_targets, "entries");
  check_equal(kName, "ids", ids.n_rows, "rows", "values", values.n_rows, "rows");
  check_equal(kName, "ids", ids.n_cols, "columns", "values", values.n_cols, "columns");
  check_that(ids.n_cols >= 1, kName, "ids must have at least one column");
  check_equal(kName, "counts", static_cast<Offset>(counts.size()), "entries", "targets", n_targets, "entries");
  check_equal(kName, "n_found", static_cast<Offset>(n_found.size()), "entries", "targets", n_targets, "entries");
  for (const Id target : targets) {
    check_that(0 <= target && target < n_items, kName,
               "targets must be in [0, " + std::to_string(n_items) + "), got " + std::to_string(target));
  }
  const SlimObjective& objective = problem.objective;
  for (const double penalty : {objective.l1, objective.l2}) {
    check_that(penalty >= 0 && std::isfinite(penalty), kName,
               "l1 and l2 must be finite and >= 0, got " + std::to_string(penalty));
  }
  check_that(objective.iterations >= 1, kName, "iterations must be >= 1, got " + std::to_string(objective.iterations));
  check_that(objective.tolerance >= 0, kName, "tolerance must be >= 0, got " + std::to_string(objective.tolerance));
}

template <bool kOnes>
Offset solve_all(const Context& ctx, const Problem& problem, const std::optional<CsrView<const float>>& start,
                 std::span<const Id> targets, MatrixView<Id> ids, MatrixView<float> values, std::span<Id> counts,
                 std::span<Id> n_found) {
  struct Worker {
    explicit Worker(const Problem& p) : solver(p) {}
    ColumnSolver<kOnes> solver;
    std::vector<Key> keys;
    std::vector<std::pair<Id, float>> kept;
    Offset n_unconverged = 0;
  };
  std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, static_cast<Offset>(targets.size()), 1, [&](Offset begin, Offset end, int index) {
    auto& worker = workers[static_cast<std::size_t>(index)];
    if (!worker) worker = std::make_unique<Worker>(problem);
    for (Offset row = begin; row < end; ++row) {
      const auto at = static_cast<std::size_t>(row);
      const bool converged = worker->solver.solve(targets[at], start ? start->row_indices(row) : std::span<const Id>{},
                                                  start ? start->row_values(row) : std::span<const float>{});
      worker->n_unconverged += static_cast<Offset>(!converged);
      n_found[at] = write_weights(worker->solver.coordinates(), worker->keys, worker->kept, row_span(ids, row),
                                  row_span(values, row), counts[at]);
    }
  });
  Offset n_unconverged = 0;
  for (const auto& worker : workers) n_unconverged += worker ? worker->n_unconverged : 0;
  return n_unconverged;
}

}  // namespace

Offset slim(const Context& ctx, CsrView<const float> by_user, CsrView<const float> by_item,
            std::optional<CsrView<const float>> start, std::span<const Id> targets, const SlimObjective& objective,
            MatrixView<Id> ids, MatrixView<float> values, std::span<Id> counts, std::span<Id> n_found) {
  Problem problem{by_user, by_item, objective, nullptr, nullptr, false};
  check(problem, start, targets, ids, values, counts, n_found);
  const Scratch<double> norms(static_cast<std::size_t>(by_item.n_rows)),
      sizes(static_cast<std::size_t>(by_item.n_rows));
  for (Offset item = 0; item < by_item.n_rows; ++item) {
    double sum = 0;
    for (const float x : by_item.row_values(item)) sum += static_cast<double>(x) * static_cast<double>(x);
    norms[static_cast<std::size_t>(item)] = sum;
    sizes[static_cast<std::size_t>(item)] = sum > 0 ? std::sqrt(sum / static_cast<double>(by_item.row_size(item))) : 1;
  }
  problem.norms = norms.get();
  problem.sizes = sizes.get();
  const std::span<const float> all{by_item.values, static_cast<std::size_t>(by_item.nnz())};
  problem.is_positive = objective.non_negative && std::all_of(all.begin(), all.end(), [](float x) { return x >= 0; });
  const bool is_ones = std::all_of(all.begin(), all.end(), [](float x) { return x == 1; });
  const auto run = is_ones ? solve_all<true> : solve_all<false>;
  return run(ctx, problem, start, targets, ids, values, counts, n_found);
}

}  // namespace likewise::cpu
