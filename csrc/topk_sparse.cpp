#include "topk_sparse.hpp"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "select.hpp"

namespace likewise::cpu {

namespace {

constexpr const char* kName = "topk_sparse";
constexpr Offset kTileColumns = Offset{1} << 17;    // sums that a second-level cache holds: 1 MiB
constexpr Offset kFewColumns = Offset{1} << 13;     // for few products: fresh memory costs more than many tiles
constexpr Offset kTaskProducts = Offset{1} << 16;   // outweigh the start of a task
constexpr Offset kSplitProducts = Offset{1} << 18;  // of one query that outweigh the start of threads
constexpr Offset kRangesEach = 2;                   // ranges of columns a thread, for balance
constexpr std::size_t kAhead = 2;                   // rows that are asked for ahead
constexpr Offset kLineEntries = 16;                 // ids, or values, of a cache line
constexpr Offset kPrefetched = 512;                 // entries of a row, after which the hardware has seen enough of it

/// A sum that nothing was added to. No sum of products becomes -0: they are added to +0 first.
constexpr double kUntouched = -0.0;

bool is_untouched(double sum) { return std::bit_cast<std::uint64_t>(sum) == std::bit_cast<std::uint64_t>(kUntouched); }

/// The items that nobody gets: a bit an item, set where it is denied or not allowed.
class Blocked {
 public:
  Blocked(Offset n_items, const IdList& allow, const Bitmap& deny)
      : bits_(deny.value_or(std::span<const std::uint8_t>{})) {
    if (!allow) return;
    own_.assign(static_cast<std::size_t>(bitmap_bytes(n_items)), 0xFF);
    for (const Id id : *allow) own_[static_cast<std::size_t>(id) / 8] &= static_cast<std::uint8_t>(~(1U << (id % 8)));
    for (std::size_t i = 0; i < bits_.size(); ++i) own_[i] |= bits_[i];
    bits_ = own_;
  }

  [[nodiscard]] bool has(Id id) const { return !bits_.empty() && has_bit(bits_, id); }

 private:
  std::vector<std::uint8_t> own_;
  std::span<const std::uint8_t> bits_;
};

/// What is asked of a call.
struct Search {
  CsrView<const float> queries, weights;
  const Exclusions& exclude;
  const Blocked& blocked;
  Offset k, tile_columns;

  [[nodiscard]] Offset n_products(Offset query) const {
    Offset n = 0;
    for (const Id item : queries.row_indices(query)) n += weights.row_size(item);
    return n;
  }
};

/// Adds value * values[e] to sums[ids[e]] for each of n entries, and appends the ids whose sums were untouched; returns
/// how many of those there are now. Not inlined, for in the midst of all the rest its loop would not find registers.
[[gnu::noinline]] Offset add_row(const Id* ids, const float* values, Offset n, double value, double* sums, Id* touched,
                                 Offset n_touched) {
  for (Offset e = 0; e < n; ++e) {
    double& sum = sums[ids[e]];
    touched[n_touched] = ids[e];  // stays only if it is new: a branch would be mispredicted every other time
    n_touched += static_cast<Offset>(is_untouched(sum));
    sum += value * static_cast<double>(values[e]) + 0.0;
  }
  return n_touched;
}

/// Ranks queries with the scratch of one thread: a float64 sum for each column of a tile, and a list of those touched.
class Ranker {
 public:
  explicit Ranker(const Search& search)
      : search_(search),
        width_(search.tile_columns),
        sums_(static_cast<std::size_t>(width_)),
        touched_(static_cast<std::size_t>(width_) + 1),
        best_(1, search.k, search.weights.n_cols) {
    std::fill_n(sums_.get(), width_, kUntouched);
  }

  /// The best of columns [begin, end) for a query, in no order.
  std::span<Key> rank(Offset query, Offset begin, Offset end) {
    best_.reset(1);
    start_rows(query, begin);
    for (Offset first = begin; first < end; first += width_) {
      const Offset last = std::min(end, first + width_);
      const Offset n_touched = add_rows(query, first, last);
      leave_out(query, first, last);
      take_best(n_touched, first);
    }
    return best_.best(0);
  }

 private:
  [[nodiscard]] Offset find_column(Offset from, Offset to, Offset column) const {
    const Id* ids = search_.weights.indices;
    return std::lower_bound(ids + from, ids + to, column) - ids;
  }

  /// Sets next_ to where in `weights` the columns from `begin` on of each row that the query names lie.
  void start_rows(Offset query, Offset begin) {
    const std::span<const Id> items = search_.queries.row_indices(query);
    const Offset* indptr = search_.weights.indptr;
    next_.resize(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      next_[i] = begin == 0 ? indptr[items[i]] : find_column(indptr[items[i]], indptr[items[i] + 1], begin);
    }
  }

  /// Adds the products of columns [first, last) to their sums; returns how many columns were touched.
  Offset add_rows(Offset query, Offset first, Offset last) {
    const CsrView<const float>& weights = search_.weights;
    const std::span<const Id> items = search_.queries.row_indices(query);
    const std::span<const float> values = search_.queries.row_values(query);
    double* sums = sums_.get() - first;
    Id* touched = touched_.get();
    Offset n_touched = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i + kAhead < items.size()) prefetch_row(next_[i + kAhead], weights.indptr[items[i + kAhead] + 1]);
      const Offset end = weights.indptr[items[i] + 1];
      const bool whole = next_[i] == end || weights.indices[end - 1] < last;
      const Offset stop = whole ? end : find_column(next_[i], end, last);
      n_touched = add_row(weights.indices + next_[i], weights.values + next_[i], stop - next_[i],
                          static_cast<double>(values[i]), sums, touched, n_touched);
      next_[i] = stop;
    }
    return n_touched;
  }

  /// Rows lie apart, and most are too short for a hardware prefetcher to help.
  void prefetch_row(Offset begin, Offset end) const {
    end = std::min(end, begin + kPrefetched);
    for (Offset at = begin; at < end; at += kLineEntries) {
      prefetch(search_.weights.indices + at);
      prefetch(search_.weights.values + at);
    }
  }

  void leave_out(Offset query, Offset first, Offset last) {
    if (!search_.exclude) return;
    const std::span<const Id> ids = search_.exclude->row_indices(query);
    for (auto id = std::lower_bound(ids.begin(), ids.end(), first); id != ids.end() && *id < last; ++id) {
      sums_.get()[*id - first] = kUntouched;
    }
  }

  /// Offers the touched columns to the selector and forgets their sums. They do not rise, so one that ties with the
  /// threshold may yet win by its id.
  void take_best(Offset n_touched, Offset first) {
    for (Offset t = 0; t < n_touched; ++t) {
      const Id column = touched_.get()[t];
      const double sum = std::exchange(sums_.get()[column - first], kUntouched);
      const auto score = static_cast<float>(sum);
      if (score >= best_.threshold(0) && score > kNoScore && !is_untouched(sum) && !search_.blocked.has(column)) {
        best_.offer(0, score, column);
      }
    }
  }

  const Search& search_;
  Offset width_;
  Scratch<double> sums_;
  Scratch<Id> touched_;
  std::vector<Offset> next_;
  SelectorBlock best_;
};

/// One query on all threads, which share its columns.
void rank_long(const Context& ctx, std::vector<std::unique_ptr<Ranker>>& rankers, const Search& search, Offset query,
               std::span<Id> ids, std::span<float> scores) {
  const Offset n_items = search.weights.n_cols, n_ranges = kRangesEach * ctx.n_threads;
  const Offset size = std::max<Offset>(1, (n_items + n_ranges - 1) / n_ranges);
  std::vector<std::vector<Key>> found(static_cast<std::size_t>(n_ranges));
  parallel_for(ctx, n_items, size, [&](Offset begin, Offset end, int worker) {
    auto& ranker = rankers[static_cast<std::size_t>(worker)];
    if (!ranker) ranker = std::make_unique<Ranker>(search);
    const std::span<Key> best = ranker->rank(query, begin, end);
    found[static_cast<std::size_t>(begin / size)].assign(best.begin(), best.end());
  });
  std::vector<Key> keys;
  for (const std::vector<Key>& part : found) keys.insert(keys.end(), part.begin(), part.end());
  write_best(keys, ids, scores);
}

}  // namespace

void topk_sparse(const Context& ctx, CsrView<const float> queries, CsrView<const float> weights,
                 std::optional<CsrView<const float>> exclude, std::optional<std::span<const Id>> allow,
                 std::optional<std::span<const std::uint8_t>> deny, MatrixView<Id> ids, MatrixView<float> scores) {
  check_equal(kName, "queries", queries.n_cols, "columns", "weights", weights.n_rows, "rows");
  check_ranking(kName, "queries", queries.n_rows, weights.n_cols, exclude, allow, deny, ids, scores);
  const Blocked blocked(weights.n_cols, allow, deny);
  const Offset n = queries.n_rows, most_columns = std::min(weights.n_cols, kTileColumns);
  // Rows of weights are taken for ones of mean length.
  const double n_products = static_cast<double>(queries.nnz()) * static_cast<double>(weights.nnz()) /
                            static_cast<double>(std::max<Offset>(1, weights.n_rows));
  const bool few = n_products < 2 * static_cast<double>(most_columns);
  const Offset tile_columns = few ? std::min(most_columns, kFewColumns) : most_columns;
  const Search search = {queries, weights, exclude, blocked, ids.n_cols, tile_columns};
  std::vector<std::unique_ptr<Ranker>> rankers(static_cast<std::size_t>(ctx.n_threads));
  std::vector<char> is_long(static_cast<std::size_t>(n), 0);
  const auto grain = static_cast<Offset>(static_cast<double>(n) * kTaskProducts / (n_products + 1)) + 1;
  parallel_for(ctx, n, grain, [&](Offset begin, Offset end, int worker) {
    auto& ranker = rankers[static_cast<std::size_t>(worker)];
    if (!ranker) ranker = std::make_unique<Ranker>(search);
    for (Offset query = begin; query < end; ++query) {
      if (ctx.n_threads > 1 && search.n_products(query) >= kSplitProducts) {
        is_long[static_cast<std::size_t>(query)] = 1;
      } else {
        write_best(ranker->rank(query, 0, weights.n_cols), row_span(ids, query), row_span(scores, query));
      }
    }
  });
  for (Offset query = 0; query < n; ++query) {
    if (is_long[static_cast<std::size_t>(query)] == 0) continue;
    rank_long(ctx, rankers, search, query, row_span(ids, query), row_span(scores, query));
  }
}

}  // namespace likewise::cpu
