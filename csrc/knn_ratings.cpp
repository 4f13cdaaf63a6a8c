#include "knn_ratings.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "select.hpp"

namespace likewise::cpu {

namespace {

constexpr const char* kName = "knn_ratings";
constexpr Offset kGrain = 4;  // rows differ much in length

/// Sums over the features that a row and a column have in common.
struct Common {
  double n = 0, x = 0, y = 0, xy = 0, xx = 0, yy = 0;

  void add(double a, double b) {
    n += 1;
    x += a;
    y += b;
    xy += a * b;
    xx += a * a;
    yy += b * b;
  }

  [[nodiscard]] double similarity(RatingMeasure measure) const {
    if (measure == RatingMeasure::kMsd) return 1 / (1 + std::max(0.0, xx - 2 * xy + yy) / n);
    const bool is_cosine = measure == RatingMeasure::kCosine;
    const double top = is_cosine ? xy : n * xy - x * y;
    const double left = is_cosine ? xx : spread(n * xx, x * x), right = is_cosine ? yy : spread(n * yy, y * y);
    return left > 0 && right > 0 ? top / (std::sqrt(left) * std::sqrt(right)) : 0;
  }

 private:
  /// A difference that is all rounding is none: equal ratings have no spread.
  static double spread(double a, double b) { return a - b > 1e-12 * a ? a - b : 0; }
};

/// Compares rows with the scratch of one thread.
class Estimator {
 public:
  Estimator(CsrView<const float> rows, CsrView<const float> columns, const RatingNeighbors& neighbors, Offset first)
      : rows_(rows),
        columns_(columns),
        neighbors_(neighbors),
        first_(first),
        common_(static_cast<std::size_t>(columns.n_cols)),
        similarities_(static_cast<std::size_t>(columns.n_cols), 0.0F),
        best_(1, neighbors.k, std::max<Offset>(1, columns.n_cols)) {}

  void estimate(Offset row, std::span<const Id> asked, CsrView<const float> lists, float* estimates, Id* n_used) {
    if (!asked.empty()) compare(row);
    for (const Id list : asked) average(lists.row_indices(list), lists.row_values(list), *estimates++, *n_used++);
    forget();
  }

  void find_nearest(Offset row, std::span<Id> ids, std::span<float> scores) {
    compare(row);
    best_.reset(1);
    best_.raise_threshold(0, 0);
    std::sort(touched_.begin(), touched_.end());  // ids have to rise
    for (const Id column : touched_) {
      const float similarity = similarities_[static_cast<std::size_t>(column)];
      if (similarity > best_.threshold(0)) best_.offer(0, similarity, column);
    }
    write_best(best_.best(0), ids, scores);
    forget();
  }

 private:
  /// Similarities of a row with all columns; those that have nothing in common with it stay 0.
  void compare(Offset row) {
    const std::span<const Id> features = rows_.row_indices(row);
    const std::span<const float> values = rows_.row_values(row);
    for (std::size_t e = 0; e < features.size(); ++e) {
      const std::span<const Id> ids = columns_.row_indices(features[e]);
      const std::span<const float> others = columns_.row_values(features[e]);
      for (std::size_t c = 0; c < ids.size(); ++c) {
        Common& common = common_[static_cast<std::size_t>(ids[c])];
        if (common.n == 0) touched_.push_back(ids[c]);
        common.add(static_cast<double>(values[e]), static_cast<double>(others[c]));
      }
    }
    for (const Id column : touched_) {
      Common& common = common_[static_cast<std::size_t>(column)];
      if (column != first_ + row || first_ < 0) similarities_[static_cast<std::size_t>(column)] = shrunk(common);
      common = {};
    }
  }

  [[nodiscard]] float shrunk(const Common& common) const {
    if (common.n < static_cast<double>(neighbors_.min_support)) return 0;
    const double similarity = common.similarity(neighbors_.measure);
    const double shrinkage = static_cast<double>(neighbors_.shrinkage);
    return static_cast<float>(shrinkage > 0 ? similarity * (common.n - 1) / (common.n - 1 + shrinkage) : similarity);
  }

  /// The mean of what the nearest columns of a list say. Places in the list stand for its columns, which rise with
  /// them.
  void average(std::span<const Id> ids, std::span<const float> values, float& estimate, Id& n_used) {
    best_.reset(1);
    best_.raise_threshold(0, 0);
    for (std::size_t e = 0; e < ids.size(); ++e) {
      const float similarity = similarities_[static_cast<std::size_t>(ids[e])];
      if (similarity > best_.threshold(0)) best_.offer(0, similarity, static_cast<Id>(e));
    }
    double weighted = 0, weights = 0;
    const std::span<Key> keys = best_.best(0);
    for (const Key key : keys) {
      const auto similarity = static_cast<double>(key_score(key));
      weighted += similarity * static_cast<double>(values[static_cast<std::size_t>(key_id(key))]);
      weights += similarity;
    }
    estimate = keys.empty() ? 0 : static_cast<float>(weighted / weights);
    n_used = static_cast<Id>(keys.size());
  }

  void forget() {
    for (const Id column : touched_) similarities_[static_cast<std::size_t>(column)] = 0;
    touched_.clear();
  }

  CsrView<const float> rows_, columns_;
  RatingNeighbors neighbors_;
  Offset first_;
  std::vector<Common> common_;
  std::vector<float> similarities_;
  std::vector<Id> touched_;
  SelectorBlock best_;
};

void check_neighbors(CsrView<const float> rows, CsrView<const float> columns, const RatingNeighbors& neighbors,
                     Offset first) {
  check_equal(kName, "rows", rows.n_cols, "columns", "columns", columns.n_rows, "rows");
  check_that(neighbors.k >= 1, kName, "k must be >= 1");
  check_that(neighbors.shrinkage >= 0, kName, "shrinkage must be >= 0");
  check_that(first < 0 || first + rows.n_rows <= columns.n_cols, kName, "there must be a column for each row");
}

/// Calls body(estimator, row) for every row, with an estimator a thread.
template <class Body>
void for_rows(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
              const RatingNeighbors& neighbors, Offset first, const Body& body) {
  std::vector<std::unique_ptr<Estimator>> estimators(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, rows.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    auto& estimator = estimators[static_cast<std::size_t>(worker)];
    if (!estimator) estimator = std::make_unique<Estimator>(rows, columns, neighbors, first);
    for (Offset row = begin; row < end; ++row) body(*estimator, row);
  });
}

}  // namespace

void knn_ratings(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
                 CsrView<const float> asked, CsrView<const float> lists, const RatingNeighbors& neighbors, Offset first,
                 std::span<float> estimates, std::span<Id> n_used) {
  check_neighbors(rows, columns, neighbors, first);
  check_equal(kName, "asked", asked.n_rows, "rows", "rows", rows.n_rows, "rows");
  check_equal(kName, "asked", asked.n_cols, "columns", "lists", lists.n_rows, "rows");
  check_equal(kName, "lists", lists.n_cols, "columns", "columns", columns.n_cols, "columns");
  check_equal(kName, "estimates", static_cast<Offset>(estimates.size()), "entries", "asked", asked.nnz(), "entries");
  check_equal(kName, "n_used", static_cast<Offset>(n_used.size()), "entries", "asked", asked.nnz(), "entries");
  for_rows(ctx, rows, columns, neighbors, first, [&](Estimator& estimator, Offset row) {
    const Offset at = asked.indptr[row];
    estimator.estimate(row, asked.row_indices(row), lists, estimates.data() + at, n_used.data() + at);
  });
}

void nearest_by_ratings(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
                        const RatingNeighbors& neighbors, Offset first, MatrixView<Id> ids, MatrixView<float> scores) {
  check_neighbors(rows, columns, neighbors, first);
  check_equal(kName, "ids", ids.n_rows, "rows", "rows", rows.n_rows, "rows");
  check_equal(kName, "scores", scores.n_rows, "rows", "rows", rows.n_rows, "rows");
  check_equal(kName, "ids", ids.n_cols, "columns", "neighbors", neighbors.k, "slots");
  check_equal(kName, "scores", scores.n_cols, "columns", "neighbors", neighbors.k, "slots");
  for_rows(ctx, rows, columns, neighbors, first, [&](Estimator& estimator, Offset row) {
    estimator.find_nearest(row, row_span(ids, row), row_span(scores, row));
  });
}

}  // namespace likewise::cpu
