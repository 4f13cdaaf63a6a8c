#include "topk.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "check.hpp"
#include "dense.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "select.hpp"

namespace likewise::cpu {

namespace {

using simd::kTileCols;
using simd::kTileRows;

using IdList = std::optional<std::span<const Id>>;
using Exclusions = std::optional<CsrView<const float>>;
using Scale = std::optional<std::span<const float>>;

constexpr Offset kMostQueries = Offset{1} << 16;     // ranked one after another
constexpr Offset kQueryBytes = Offset{256} << 10;    // a block of queries: a share of the second-level cache
constexpr Offset kRoundedBytes = Offset{512} << 10;  // of queries in bf16
constexpr Offset kSelectorBytes = Offset{16} << 20;  // of all threads' buffers, of which only the ends are touched
constexpr Offset kMergeBytes = Offset{16} << 20;     // best pairs of pieces of the items
constexpr Offset kTaskProducts = Offset{1} << 23;    // multiply-adds that outweigh the start of a thread
constexpr Offset kTaskPairs = Offset{1} << 18;       // and pairs to choose from
constexpr Offset kTasksEach = 2;                     // tasks a thread, for balance
constexpr Offset kPreparedEach = 3000;               // numbers prepared anew that outweigh a query's new thresholds
constexpr Offset kFewQueries = 4;                    // so few are not worth packing the items
constexpr Offset kFewRounded = 64;                   // nor rounding them
constexpr Offset kRoundedGain = Offset{1} << 13;     // products saved that make up for a candidate kept
constexpr Offset kExactRows = 64;                    // items scored for one query after another
constexpr Offset kPackedBytes = Offset{64} << 10;    // packed items of a screen in float32
constexpr Offset kBlockBytes = Offset{512} << 10;    // rounded items, which stay in a second-level cache
constexpr Offset kBlockRows = 512;                   // of them, that share a bound
constexpr Offset kFirstRows = 64;                    // items screened before there are thresholds
constexpr int kUnrolled = 4;                         // places of a row of a tile written at once
constexpr Offset kScreenQueries = simd::kScreenQueries;

constexpr Offset divide_up(Offset a, Offset b) { return (a + b - 1) / b; }
constexpr Offset round_up(Offset a, Offset b) { return divide_up(a, b) * b; }

void check_ids(std::string_view kernel, std::string_view name, const IdList& ids, Offset n_items) {
  if (!ids) return;
  Offset previous = -1;
  for (const Id id : *ids) {
    if (id <= previous || id >= n_items) {
      throw std::invalid_argument(std::string(kernel) + ": " + std::string(name) + " must rise strictly inside [0, " +
                                  std::to_string(n_items) + "), got " + std::to_string(id));
    }
    previous = id;
  }
}

/// The items that may be recommended to anyone: all of them, or a rising list.
class Candidates {
 public:
  Candidates(Offset n_items, const IdList& allow, const IdList& deny) : size_(n_items), listed_(allow || deny) {
    if (!listed_) return;
    const std::span<const Id> denied = deny.value_or(std::span<const Id>{});
    auto next_denied = denied.begin();
    const auto add = [&](Id id) {
      while (next_denied != denied.end() && *next_denied < id) ++next_denied;
      if (next_denied == denied.end() || *next_denied != id) ids_.push_back(id);
    };
    if (allow) {
      for (const Id id : *allow) add(id);
    } else {
      ids_.reserve(static_cast<std::size_t>(n_items));
      for (Offset id = 0; id < n_items; ++id) add(static_cast<Id>(id));
    }
    size_ = static_cast<Offset>(ids_.size());
  }

  [[nodiscard]] Offset size() const { return size_; }
  [[nodiscard]] bool listed() const { return listed_; }
  [[nodiscard]] Id id(Offset i) const { return listed_ ? ids_[static_cast<std::size_t>(i)] : static_cast<Id>(i); }
  [[nodiscard]] std::span<const Id> ids(Offset begin, Offset end) const {
    return std::span(ids_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  }

 private:
  Offset size_;
  bool listed_;
  std::vector<Id> ids_;
};

bool is_excluded(const Exclusions& exclude, Offset query, Id id) {
  if (!exclude) return false;
  const std::span<const Id> ids = exclude->row_indices(query);
  return std::binary_search(ids.begin(), ids.end(), id);
}

/// What both kernels ask of their arguments besides the scores.
void check_arguments(std::string_view kernel, std::string_view source, Offset n_queries, Offset n_items,
                     const Exclusions& exclude, const IdList& allow, const IdList& deny, MatrixView<Id> ids,
                     MatrixView<float> scores) {
  check_that(n_items <= std::numeric_limits<Id>::max(), kernel, "there must be fewer than 2^31 items");
  check_equal(kernel, source, n_queries, "rows", "ids", ids.n_rows, "rows");
  check_equal(kernel, "ids", ids.n_rows, "rows", "scores", scores.n_rows, "rows");
  check_equal(kernel, "ids", ids.n_cols, "columns", "scores", scores.n_cols, "columns");
  check_that(ids.n_cols >= 1, kernel, "ids must have at least one column");
  if (exclude) {
    check_equal(kernel, "exclude", exclude->n_rows, "rows", source, n_queries, "rows");
    check_equal(kernel, "exclude", exclude->n_cols, "columns", "the catalogue", n_items, "items");
  }
  check_ids(kernel, "allow", allow, n_items);
  check_ids(kernel, "deny", deny, n_items);
}

/// How the queries and the candidates are cut. The result does not depend on it.
struct Plan {
  Offset block_rows;  // queries of a block
  Offset n_blocks;
  Offset range_size;  // candidates of a piece, a multiple of kTileCols
  Offset n_ranges;
};

/// The precisions of a scan, each the next one's screen.
enum class Precision { kRounded, kFloat, kExact };

/// What is asked of a call.
struct Search {
  const simd::MicroKernels& micro;
  MatrixView<const float> queries, items;
  const Scale& scale;
  const Exclusions& exclude;
  const Candidates& candidates;
  Offset k;

  [[nodiscard]] float scale_of(Id id) const { return scale ? (*scale)[static_cast<std::size_t>(id)] : 1.0F; }

  /// The score that the answer is defined by.
  [[nodiscard]] float score(Offset query, Id id) const {
    const double sum = micro.dot_double(queries.row(query), items.row(id), queries.n_cols);
    return static_cast<float>(scale ? sum * static_cast<double>(scale_of(id)) : sum);
  }

  /// Candidates that a scan keeps for each query: more than k where its scores are only bounds.
  [[nodiscard]] Offset kept(Precision precision) const {
    if (precision == Precision::kExact) return k;
    return precision == Precision::kFloat ? k + k / 16 + 8 : k + k / 2 + 24;
  }
};

Plan make_plan(int n_threads, const Search& search, Precision precision, Offset n) {
  const bool rounds = precision == Precision::kRounded;
  const Offset n_candidates = search.candidates.size(), kept = search.kept(precision);
  const Offset d = std::max<Offset>(1, search.queries.n_cols), row_multiple = rounds ? kScreenQueries : kTileRows;
  const Offset most_rows = std::min(rounds ? kRoundedBytes / (2 * d) : kQueryBytes / (4 * d),
                                    kSelectorBytes / n_threads / SelectorBlock::bytes_each(kept, n_candidates));
  Offset n_blocks = divide_up(n, std::max(row_multiple, most_rows / row_multiple * row_multiple)), n_ranges = 1;
  const Offset n_tasks = n_threads == 1 ? 1 : std::min(kTasksEach * n_threads, n_candidates * d * n / kTaskProducts);
  if (n_tasks > n_blocks && n_candidates * d <= kPreparedEach * n) {
    n_blocks = std::min(n_tasks, divide_up(n, row_multiple));
  } else if (n_tasks > n_blocks) {
    const Offset merge_bytes = n * std::min(kept, n_candidates) * static_cast<Offset>(sizeof(Key));
    n_ranges = std::clamp(kMergeBytes / std::max<Offset>(1, merge_bytes), Offset{1}, divide_up(n_tasks, n_blocks));
  }
  const Offset block_rows = round_up(divide_up(n, n_blocks), row_multiple);
  n_blocks = divide_up(n, block_rows);
  const Offset range_size = std::max(kTileCols, round_up(divide_up(n_candidates, n_ranges), kTileCols));
  return {block_rows, n_blocks, range_size, std::max<Offset>(1, divide_up(n_candidates, range_size))};
}

// ---- bounds --------------------------------------------------------------------------------------------------------

/// A bound of a length whose squares may have vanished.
float length_bound(float squares, Offset d) { return std::sqrt(squares * 1.001F + static_cast<float>(d) * 1e-44F); }

/// How long some vectors are at most, and what rounding took from them.
struct Extent {
  float length = 0, error = 0;
};

/// By how much a score can be off: by what its operands lost, by the sums of its products, and by numbers too small for
/// float32 (Cauchy and Schwarz; Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
float score_error(const Extent& query, const Extent& item, Offset d) {
  const auto depth = static_cast<float>(d);
  const float sums = (1.2e-7F * depth + 1.5e-6F) * query.length * item.length;
  return 1.01F * (query.error * (item.length + item.error) + query.length * item.error + sums) + depth * 5e-38F;
}

/// Beyond this a score may leave float32.
constexpr float kMostProduct = 1e37F;

// ---- scans ---------------------------------------------------------------------------------------------------------

/// Scans ranges of candidates for blocks of queries with the scratch of one thread. Every scan keeps the candidates
/// with the greatest scores, or, in less than full precision, with the greatest upper bounds of their scores.
class Scanner {
 public:
  Scanner(const Search& search, Precision precision, const Plan& plan)
      : search_(search),
        precision_(precision),
        d_(search.queries.n_cols),
        depth_(round_up(d_, kDepth)),
        stride_(depth_ % 256 == 0 ? depth_ + kDepth : depth_),  // rows a power of two apart would share a cache's sets
        selectors_(plan.block_rows, search.kept(precision), std::min(plan.range_size, search.candidates.size())),
        lost_(static_cast<std::size_t>(plan.block_rows)) {
    const auto count = [](Offset n) { return static_cast<std::size_t>(n); };
    if (precision == Precision::kExact) return;
    queries_.resize(count(plan.block_rows));
    errors_.resize(count(plan.block_rows));
    limits_.resize(count(plan.block_rows));
    if (precision == Precision::kFloat) {
      group_ = std::max(kTileCols, kPackedBytes / (4 * kTileCols * d_) * kTileCols);
      packed_ = Scratch<float>(count(packed_size(group_, d_)));
      edge_ = Scratch<float>(count(kTileRows * d_));
      rows_ = Scratch<float>(count(plan.block_rows * d_));
    } else {
      group_ = std::max(kBlockRows, kBlockBytes / (2 * stride_) / kBlockRows * kBlockRows);
      group_ = std::min(group_, round_up(plan.range_size, kBlockRows));
      items_bf16_ = Scratch<Bf16>(count(group_ * stride_));
      extents_.resize(count(group_ / kBlockRows));
      queries_bf16_ = Scratch<std::uint32_t>(count(plan.block_rows / kScreenQueries * group_words()));
      hits_ = Scratch<simd::Hit>(count(kBlockRows * kScreenQueries + simd::kMoreHits));
    }
  }

  /// Candidates [begin, end) for the queries named by `rows`.
  void scan(std::span<const Offset> rows, Offset begin, Offset end) {
    block_ = rows;
    const auto n = static_cast<Offset>(rows.size());
    selectors_.reset(n);
    std::fill(lost_.begin(), lost_.end(), char{0});
    switch (precision_) {
      case Precision::kRounded:
        return scan_rounded(n, begin, end);
      case Precision::kFloat:
        return scan_floats(n, begin, end);
      case Precision::kExact:
        return scan_exactly(n, begin, end);
    }
  }

  /// What the scan kept for a query, in no order; nothing where its scores may leave float32.
  std::span<Key> best(Offset row) { return is_lost(row) ? std::span<Key>() : selectors_.best(row); }
  [[nodiscard]] bool is_lost(Offset row) const { return lost_[static_cast<std::size_t>(row)] != 0; }

 private:
  [[nodiscard]] Offset query(Offset row) const { return block_[static_cast<std::size_t>(row)]; }
  [[nodiscard]] Offset group_words() const { return depth_ / 2 * kScreenQueries; }

  /// Bounds the errors of the scores of queries [first, last) and items of this extent.
  void bound_errors(Offset first, Offset last, const Extent& items) {
    for (Offset row = first; row < last; ++row) {
      const auto place = static_cast<std::size_t>(row);
      errors_[place] = score_error(queries_[place], items, depth_);
      if (!(queries_[place].length * items.length + errors_[place] < kMostProduct)) lost_[place] = 1;
    }
  }

  /// What the scores of queries [first, last) and items of this extent must exceed; returns whether any can.
  bool set_limits(Offset first, Offset last, const Extent& items) {
    bool any = false;
    for (Offset row = first; row < last; ++row) {
      const auto place = static_cast<std::size_t>(row);
      const float threshold = selectors_.threshold(row), error = errors_[place];
      const bool can = queries_[place].length * items.length + error > threshold;
      limits_[place] = can ? threshold - error : -kNoScore;
      any = any || can;
    }
    return any;
  }

  void offer(Offset row, float upper, Offset candidate) {
    if (!(upper > selectors_.threshold(row))) return;  // it has risen since the scores were compared
    const Id id = search_.candidates.id(candidate);
    if (!is_excluded(search_.exclude, query(row), id)) selectors_.offer(row, upper, id);
  }

  /// Offers what exceeds the limits in a tile of scores of rows [first, first + rows).
  void offer_tile(Offset first, Offset candidate, const float* tile, Offset rows, Offset cols) {
    std::uint32_t masks[kTileRows];
    if (!search_.micro.tile_above(tile, limits_.data() + first, masks)) return;
    const std::uint32_t present = ~std::uint32_t{0} >> (kTileCols - cols);
    std::uint16_t places[kTileRows * kTileCols + kUnrolled];
    int n = 0;
    for (Offset i = 0; i < rows; ++i) {
      std::uint32_t mask = masks[i] & present;
      const int found = std::popcount(mask);
      // Up to kUnrolled are written without a branch on how many there are.
      for (int j = 0; j < kUnrolled; ++j, mask &= mask - 1) {
        places[n + j] = static_cast<std::uint16_t>(i * kTileCols + (std::countr_zero(mask) & 31));
      }
      for (int j = kUnrolled; j < found; ++j, mask &= mask - 1) {
        places[n + j] = static_cast<std::uint16_t>(i * kTileCols + std::countr_zero(mask));
      }
      n += found;
    }
    for (int j = 0; j < n; ++j) {
      const Offset row = first + places[j] / kTileCols;
      offer(row, tile[places[j]] + errors_[static_cast<std::size_t>(row)], candidate + places[j] % kTileCols);
    }
    for (auto place = static_cast<std::size_t>(first); place < static_cast<std::size_t>(first + rows); ++place) {
      limits_[place] = std::max(limits_[place], selectors_.threshold(static_cast<Offset>(place)) - errors_[place]);
    }
  }

  // Full precision.

  void scan_exactly(Offset n, Offset begin, Offset end) {
    for (Offset at = begin; at < end; at += kExactRows) {
      for (Offset row = 0; row < n; ++row) {
        for (Offset i = at; i < std::min(end, at + kExactRows); ++i) {
          offer(row, search_.score(query(row), search_.candidates.id(i)), i);
        }
      }
    }
  }

  // float32.

  Extent length_of(const float* x) const { return {length_bound(search_.micro.dot(x, x, d_), d_), 0}; }

  /// A query after another, for few.
  void scan_rows(Offset n, Offset begin, Offset end) {
    constexpr Offset kItems = kTileRows * kTileCols;
    const float* items[kItems + kTileCols];  // and the next ones, to be prefetched
    for (Offset row = 0; row < n; ++row) {
      queries_[static_cast<std::size_t>(row)] = length_of(search_.queries.row(query(row)));
    }
    for (Offset at = begin; at < end; at += kItems) {
      const Offset size = std::min(kItems, end - at);
      for (Offset j = 0; j < kItems + kTileCols; ++j) {
        items[j] = search_.items.row(search_.candidates.id(std::min(at + j, end - 1)));
      }
      float scale = search_.scale ? 0.0F : 1.0F;
      for (Offset j = 0; j < size && search_.scale; ++j) {
        scale = std::max(scale, std::fabs(search_.scale_of(search_.candidates.id(at + j))));
      }
      for (Offset row = 0; row < n; ++row) scan_row(row, at, size, items, scale);
    }
  }

  /// A query against candidates [at, at + size), whose vectors are `items`, the last one repeated, and whose scales are
  /// at most `scale`.
  void scan_row(Offset row, Offset at, Offset size, const float* const* items, float scale) {
    alignas(kCacheLine) float tile[kTileRows * kTileCols];
    float limits[kTileRows], squares = 0;
    std::uint32_t masks[kTileRows];
    for (Offset part = 0; part < size; part += kTileCols) {
      const float* const* ahead = items + part + kTileCols;
      const float longest =
          search_.micro.dot_rows(items + part, ahead, search_.queries.row(query(row)), d_, tile + part);
      squares = longest > squares || std::isnan(longest) ? longest : squares;
    }
    std::fill(tile + round_up(size, kTileCols), tile + kTileRows * kTileCols, kNoScore);
    if (search_.scale) {
      for (Offset j = 0; j < size; ++j) tile[j] *= search_.scale_of(search_.candidates.id(at + j));
    }
    const Extent extent = {length_bound(squares, kTileCols * d_) * scale, 0};
    bound_errors(row, row + 1, extent);
    if (!set_limits(row, row + 1, extent)) return;
    const auto place = static_cast<std::size_t>(row);
    std::fill_n(limits, kTileRows, limits_[place]);
    if (!search_.micro.tile_above(tile, limits, masks)) return;
    for (Offset part = 0; part < kTileRows; ++part) {
      for (std::uint32_t mask = masks[part]; mask != 0; mask &= mask - 1) {
        const Offset j = part * kTileCols + std::countr_zero(mask);
        if (j < size) offer(row, tile[j] + errors_[place], at + j);
      }
    }
  }

  void scan_floats(Offset n, Offset begin, Offset end) {
    if (n <= kFewQueries) return scan_rows(n, begin, end);
    for (Offset row = 0; row < n; ++row) {
      const float* x = search_.queries.row(query(row));
      std::copy_n(x, d_, rows_.get() + row * d_);
      queries_[static_cast<std::size_t>(row)] = length_of(x);
    }
    std::fill(limits_.begin(), limits_.end(), -kNoScore);
    for (Offset at = begin; at < end; at += group_) {
      const Offset size = std::min(group_, end - at);
      const Extent items = pack_items(at, size);
      bound_errors(0, n, items);
      if (!set_limits(0, n, items)) continue;
      multiply_block(search_.micro, rows_.get(), d_, n, packed_.get(), size, d_, edge_.get(),
                     [&](Offset row, Offset col, const float* tile, Offset tile_rows, Offset tile_cols) {
                       offer_tile(row, at + col, tile, tile_rows, tile_cols);
                     });
    }
  }

  /// Packs candidates [at, at + n), each times its scale, and bounds their lengths.
  Extent pack_items(Offset at, Offset n) {
    if (search_.candidates.listed()) {
      pack_rows(search_.micro, search_.items, search_.candidates.ids(at, at + n), packed_.get());
    } else {
      pack_rows(search_.micro, search_.items, at, at + n, packed_.get());
    }
    float squares = 0;
    for (Offset col = 0; col < n; col += kTileCols) {
      float* packed = packed_.get() + col * d_;
      if (search_.scale) scale_packed(at + col, std::min(kTileCols, n - col), packed);
      squares = std::max(squares, search_.micro.longest_packed(packed, d_));
    }
    return {length_bound(squares, d_), 0};
  }

  /// Multiplies n packed candidates, from `at` on, by their scales.
  void scale_packed(Offset at, Offset n, float* packed) const {
    float factors[kTileCols] = {};
    for (Offset j = 0; j < n; ++j) factors[j] = search_.scale_of(search_.candidates.id(at + j));
    for (Offset p = 0; p < d_; ++p) {
      for (Offset j = 0; j < kTileCols; ++j) packed[p * kTileCols + j] *= factors[j];
    }
  }

  // bfloat16, on tiles.

  void scan_rounded(Offset n, Offset begin, Offset end) {
    round_queries(n);
    for (Offset at = begin; at < end; at += group_) {
      const Offset size = std::min(group_, end - at);
      round_items(at, size);
      for (Offset row = 0; row < n; row += kScreenQueries) {
        for (Offset block = 0; block < size; block += kBlockRows) {
          screen_block(row, std::min(n, row + kScreenQueries), at, at - begin, block,
                       std::min(size, block + kBlockRows));
        }
      }
    }
  }

  /// Rounds kPad rows, of which n are there; returns what they have in common.
  Extent round(Offset n, const float* const* rows, const float* scales, Bf16* out, float* squares) const {
    search_.micro.round_rows_bf16(rows, d_, scales, depth_, out, stride_, squares);
    Extent extent;
    for (Offset j = 0; j < n; ++j) {
      extent = {std::max(extent.length, squares[j]), std::max(extent.error, squares[simd::kPad + j])};
    }
    return extent;
  }

  void round_queries(Offset n) {
    std::fill_n(queries_bf16_.get(), divide_up(n, kScreenQueries) * group_words(), 0U);
    float ones[simd::kPad], squares[2 * simd::kPad];
    std::fill_n(ones, simd::kPad, 1.0F);
    for (Offset first = 0; first < n; first += simd::kPad) {
      const float* rows[simd::kPad];
      const Offset size = std::min(simd::kPad, n - first);
      for (Offset j = 0; j < simd::kPad; ++j) rows[j] = search_.queries.row(query(first + std::min(j, size - 1)));
      Bf16* rounded = items_bf16_.get();
      round(size, rows, ones, rounded, squares);
      // Word (p, j) of a tile of 16 x 16 pairs; two tiles side by side for every 32 numbers.
      std::uint32_t* words = queries_bf16_.get() + first / kScreenQueries * group_words() + first % kScreenQueries * 16;
      for (Offset j = 0; j < size; ++j) {
        queries_[static_cast<std::size_t>(first + j)] = {length_bound(squares[j], depth_),
                                                         length_bound(squares[simd::kPad + j], depth_)};
        const Bf16* row = rounded + j * stride_;
        for (Offset p = 0; p < depth_ / 2; ++p) {
          words[p / 16 * 512 + p % 16 * 16 + j] = static_cast<std::uint32_t>(row[2 * p + 1]) << 16 | row[2 * p];
        }
      }
    }
  }

  void round_items(Offset at, Offset n) {
    float scales[simd::kPad], squares[2 * simd::kPad];
    for (Offset block = 0; block < n; block += kBlockRows) {
      Extent longest;
      const Offset last = std::min(n, block + kBlockRows);
      for (Offset first = block; first < last; first += simd::kPad) {
        const float* rows[simd::kPad];
        const Offset size = std::min(simd::kPad, last - first);
        for (Offset j = 0; j < simd::kPad; ++j) {
          const Id id = search_.candidates.id(at + first + std::min(j, size - 1));
          rows[j] = search_.items.row(id);
          scales[j] = search_.scale_of(id);
        }
        const Extent extent = round(size, rows, scales, items_bf16_.get() + first * stride_, squares);
        longest = {std::max(longest.length, extent.length), std::max(longest.error, extent.error)};
      }
      extents_[static_cast<std::size_t>(block / kBlockRows)] = {length_bound(longest.length, depth_),
                                                                length_bound(longest.error, depth_)};
    }
  }

  /// Queries [first, last) against the rounded items [begin, end), which share a bound; `seen` candidates and those
  /// before `begin` have been scanned.
  void screen_block(Offset first, Offset last, Offset at, Offset seen, Offset begin, Offset end) {
    const Extent& items = extents_[static_cast<std::size_t>(begin / kBlockRows)];
    bound_errors(first, last, items);
    float limits[kScreenQueries];
    std::fill_n(limits, kScreenQueries, -kNoScore);
    for (Offset item = begin, n; item < end; item += n) {
      if (!set_limits(first, last, items)) return;
      std::copy_n(limits_.begin() + first, last - first, limits);
      // Thresholds rise fast in the beginning.
      n = std::min(end - item, std::clamp(round_up((seen + item) / 2, simd::kScreenItems), kFirstRows, kBlockRows));
      const Offset n_hits = search_.micro.screen_bf16(
          round_up(n, simd::kScreenItems), depth_, items_bf16_.get() + item * stride_, stride_,
          queries_bf16_.get() + first / kScreenQueries * group_words(), limits, hits_.get());
      for (const simd::Hit* hit = hits_.get(); hit < hits_.get() + n_hits; ++hit) {
        const Offset row = first + hit->query;
        if (hit->item < n) offer(row, hit->score + errors_[static_cast<std::size_t>(row)], at + item + hit->item);
      }
    }
  }

  static constexpr Offset kDepth = 32;  // bf16 numbers that a tile holds of a row

  const Search& search_;
  Precision precision_;
  Offset d_, depth_, stride_;
  SelectorBlock selectors_;
  std::vector<char> lost_;
  std::span<const Offset> block_;
  Offset group_ = 0;  // items packed or rounded at a time
  std::vector<Extent> queries_;
  Scratch<float> packed_, edge_, rows_;
  std::vector<float> errors_, limits_;
  Scratch<Bf16> items_bf16_;
  std::vector<Extent> extents_;  // of every kBlockRows of the rounded ones
  Scratch<std::uint32_t> queries_bf16_;
  Scratch<simd::Hit> hits_;
};

std::span<Id> row_span(MatrixView<Id> matrix, Offset row) {
  return {matrix.row(row), static_cast<std::size_t>(matrix.n_cols)};
}

std::span<float> row_span(MatrixView<float> matrix, Offset row) {
  return {matrix.row(row), static_cast<std::size_t>(matrix.n_cols)};
}

/// Writes the ranking of a query from the candidates that a scan kept; false where a candidate that it did not keep
/// could be among the best k.
bool write_certified(const Search& search, Precision precision, Offset query, std::span<Key> keys, std::span<Id> ids,
                     std::span<float> scores) {
  if (precision == Precision::kExact) {
    write_best(keys, ids, scores);
    return true;
  }
  float bound = kNoScore;  // of the scores of what was not kept
  const auto kept = static_cast<std::size_t>(search.kept(precision));
  if (keys.size() >= kept) {
    select_greatest(keys, kept);
    keys = keys.first(kept);
    bound = key_score(keys.back());
  }
  std::size_t n = 0;
  for (const Key key : keys) {
    const float score = search.score(query, key_id(key));
    if (score > kNoScore) keys[n++] = make_key(score, key_id(key));
  }
  write_best(keys.first(n), ids, scores);
  return bound == kNoScore || scores.back() > bound;
}

/// Ranks the queries named by `rows`; returns those whose rankings must be made in higher precision.
std::vector<Offset> rank(const Context& ctx, const Search& search, Precision precision, std::span<const Offset> rows,
                         MatrixView<Id> ids, MatrixView<float> scores) {
  std::vector<Offset> uncertain;
  const auto n = static_cast<Offset>(rows.size()), n_candidates = search.candidates.size();
  if (n == 0) return uncertain;
  std::mutex mutex;
  const auto finish = [&](Offset query, std::span<Key> keys, bool is_lost) {
    if (!is_lost && write_certified(search, precision, query, keys, row_span(ids, query), row_span(scores, query))) {
      return;
    }
    const std::lock_guard lock(mutex);
    uncertain.push_back(query);
  };
  const Plan plan = make_plan(ctx.n_threads, search, precision, n);
  const Offset kept = plan.n_ranges == 1 ? 0 : std::min(search.kept(precision), plan.range_size);
  const Scratch<Key> pieces(static_cast<std::size_t>(n * plan.n_ranges * kept));
  std::vector<std::atomic<bool>> lost(static_cast<std::size_t>(plan.n_ranges == 1 ? 0 : n));
  std::vector<std::unique_ptr<Scanner>> scanners(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, plan.n_blocks * plan.n_ranges, 1, [&](Offset task, Offset, int worker) {
    auto& scanner = scanners[static_cast<std::size_t>(worker)];
    if (!scanner) scanner = std::make_unique<Scanner>(search, precision, plan);
    const Offset first = task / plan.n_ranges * plan.block_rows, last = std::min(n, first + plan.block_rows);
    const Offset range = task % plan.n_ranges, begin = range * plan.range_size;
    scanner->scan(rows.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)), begin,
                  std::min(n_candidates, begin + plan.range_size));
    for (Offset row = first; row < last; ++row) {
      const bool is_lost = scanner->is_lost(row - first);
      const std::span<Key> keys = scanner->best(row - first);
      if (plan.n_ranges == 1) {
        finish(rows[static_cast<std::size_t>(row)], keys, is_lost);
      } else {
        Key* piece = pieces.get() + (row * plan.n_ranges + range) * kept;
        std::fill(std::copy(keys.begin(), keys.end(), piece), piece + kept, kEmptyKey);
        if (is_lost) lost[static_cast<std::size_t>(row)] = true;
      }
    }
  });
  if (plan.n_ranges == 1) return uncertain;
  parallel_for(ctx, n, std::max<Offset>(1, kTaskPairs / (plan.n_ranges * kept)), [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      Key* first = pieces.get() + row * plan.n_ranges * kept;
      const auto place = static_cast<std::size_t>(row);
      Key* last = std::remove(first, first + plan.n_ranges * kept, kEmptyKey);
      finish(rows[place], {first, last}, lost[place]);
    }
  });
  return uncertain;
}

/// The ranking of a query without any direction: every candidate scores 0.
void write_first(const Search& search, Offset query, std::span<Id> ids, std::span<float> scores) {
  std::size_t n = 0;
  for (Offset i = 0; i < search.candidates.size() && n < ids.size(); ++i) {
    const Id id = search.candidates.id(i);
    if (is_excluded(search.exclude, query, id)) continue;
    ids[n] = id;
    scores[n++] = 0;
  }
  std::fill(ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(), Id{-1});
  std::fill(scores.begin() + static_cast<std::ptrdiff_t>(n), scores.end(), kNoScore);
}

/// The precision that a search for n queries begins with.
Precision first_precision(const Context& ctx, const Search& search, Offset n) {
  const Offset n_candidates = search.candidates.size();
  if (search.queries.n_cols == 0 || 4 * search.k >= n_candidates) return Precision::kExact;
  const Offset bytes = SelectorBlock::bytes_each(search.kept(Precision::kRounded), n_candidates);
  // Rounding the items must be made up for by the queries, and the candidates that it keeps by the products it saves.
  const bool pays = n >= kFewRounded && n_candidates * search.queries.n_cols >= kRoundedGain * (32 + search.k);
  const bool fits = kScreenQueries * bytes <= kSelectorBytes / ctx.n_threads;
  return ctx.micro->has_bf16_tiles && pays && fits ? Precision::kRounded : Precision::kFloat;
}

}  // namespace

void topk(const Context& ctx, MatrixView<const float> queries, MatrixView<const float> items,
          std::optional<std::span<const float>> scale, std::optional<CsrView<const float>> exclude,
          std::optional<std::span<const Id>> allow, std::optional<std::span<const Id>> deny, MatrixView<Id> ids,
          MatrixView<float> scores) {
  constexpr const char* kName = "topk";
  check_equal(kName, "queries", queries.n_cols, "columns", "items", items.n_cols, "columns");
  if (scale) check_equal(kName, "scale", static_cast<Offset>(scale->size()), "entries", "items", items.n_rows, "rows");
  check_arguments(kName, "queries", queries.n_rows, items.n_rows, exclude, allow, deny, ids, scores);
  const Candidates candidates(items.n_rows, allow, deny);
  const Search search = {*ctx.micro, queries, items, scale, exclude, candidates, ids.n_cols};
  for (Offset first = 0; first < queries.n_rows; first += kMostQueries) {
    const Offset last = std::min(queries.n_rows, first + kMostQueries);
    std::vector<Offset> rows;
    for (Offset query = first; query < last; ++query) {
      const float* x = queries.row(query);
      if (std::any_of(x, x + queries.n_cols, [](float value) { return value != 0; })) {
        rows.push_back(query);
      } else {
        write_first(search, query, row_span(ids, query), row_span(scores, query));
      }
    }
    const Precision precision = first_precision(ctx, search, last - first);
    if (precision == Precision::kRounded) rows = rank(ctx, search, Precision::kRounded, rows, ids, scores);
    if (precision != Precision::kExact) rows = rank(ctx, search, Precision::kFloat, rows, ids, scores);
    rank(ctx, search, Precision::kExact, rows, ids, scores);
  }
}

void topk_scores(const Context& ctx, MatrixView<const float> all_scores, std::optional<CsrView<const float>> exclude,
                 std::optional<std::span<const Id>> allow, std::optional<std::span<const Id>> deny, MatrixView<Id> ids,
                 MatrixView<float> scores) {
  const Offset m = all_scores.n_cols, k = ids.n_cols;
  check_arguments("topk_scores", "all_scores", all_scores.n_rows, m, exclude, allow, deny, ids, scores);
  const Candidates candidates(m, allow, deny);
  parallel_for(ctx, all_scores.n_rows, std::max<Offset>(1, kTaskPairs / std::max<Offset>(1, m)),
               [&](Offset begin, Offset end, int) {
                 SelectorBlock best(1, k, candidates.size());
                 for (Offset row = begin; row < end; ++row) {
                   const float* given = all_scores.row(row);
                   best.reset(1);
                   const auto offer = [&](Id id) {
                     if (given[id] > best.threshold(0) && !is_excluded(exclude, row, id)) best.offer(0, given[id], id);
                   };
                   Offset i = 0;
                   // A run of consecutive scores is a tile whose rows have one threshold.
                   for (; !candidates.listed() && i + kTileRows * kTileCols <= m; i += kTileRows * kTileCols) {
                     float thresholds[kTileRows];
                     std::uint32_t masks[kTileRows];
                     std::fill_n(thresholds, kTileRows, best.threshold(0));
                     if (!ctx.micro->tile_above(given + i, thresholds, masks)) continue;
                     for (Offset part = 0; part < kTileRows; ++part) {
                       for (std::uint32_t mask = masks[part]; mask != 0; mask &= mask - 1) {
                         offer(static_cast<Id>(i + part * kTileCols + std::countr_zero(mask)));
                       }
                     }
                   }
                   for (; i < candidates.size(); ++i) offer(candidates.id(i));
                   write_best(best.best(0), row_span(ids, row), row_span(scores, row));
                 }
               });
}

}  // namespace likewise::cpu
