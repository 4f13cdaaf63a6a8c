#include "topk.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
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

using simd::Extent;
using simd::kTileCols;
using simd::kTileRows;

constexpr Offset kMostQueries = Offset{1} << 16;      // ranked one after another
constexpr Offset kQueryBytes = Offset{256} << 10;     // a block of queries: a share of the second-level cache
constexpr Offset kQuantizedBytes = Offset{8} << 20;   // of all threads' queries in int8, and of their items
constexpr Offset kMostQuantized = Offset{512} << 10;  // of a thread's, so that they stay in a second-level cache
constexpr Offset kSelectorBytes = Offset{16} << 20;   // of all threads' buffers, of which only the ends are touched
constexpr Offset kMergeBytes = Offset{16} << 20;      // best pairs of pieces of the items
constexpr Offset kTaskProducts = Offset{1} << 23;     // multiply-adds that outweigh the start of a thread
constexpr Offset kTaskPairs = Offset{1} << 18;        // and pairs to choose from
constexpr Offset kTasksEach = 2;                      // tasks a thread, for balance
constexpr Offset kPreparedEach = 3000;                // numbers prepared anew that outweigh a query's new thresholds
constexpr Offset kReadEach = 64;                      // queries of a thread for which it may read all rounded items
constexpr Offset kSampleRun = 64;                     // items of a sample that lie together
constexpr Offset kSampleShare = 16;                   // of which one in so many is taken
constexpr Offset kSampleStride = kSampleShare * kSampleRun;
constexpr Offset kSampledBest = 32;                 // results of a query from which a sample pays
constexpr float kLikelyError = 1.25F;               // bounds of an error by which the k-th best is mostly off at most
constexpr float kCertainError = 2.001F;             // and always
constexpr Offset kFewQueries = 4;                   // so few are not worth packing the items
constexpr Offset kFewQuantized = 64;                // nor rounding them
constexpr Offset kQuantizedGain = Offset{1} << 13;  // products saved that make up for a candidate kept
constexpr Offset kExactRows = 64;                   // items scored for one query after another
constexpr Offset kPackedBytes = Offset{64} << 10;   // packed items of a screen in float32
constexpr Offset kBlockRows = 1024;                 // quantized items screened at a time, at most,
constexpr Offset kScreenBytes = Offset{128} << 10;  // and their bytes
constexpr Offset kFirstRows = 64;                   // items screened before there are thresholds
constexpr int kUnrolled = 4;                        // places of a row of a tile written at once
constexpr Offset kExcludedWords = 8;                // of bits that ids excluded from a query share
constexpr Offset kAhead = 8;                        // candidates whose vectors are fetched before they are scored
constexpr Offset kScreenQueries = simd::kScreenQueries;
constexpr Offset kScreenItems = simd::kScreenItems;
static_assert(simd::kMostSteps * simd::kMostSteps * kMostQuantizedDepth < simd::kMostLevel &&
              simd::kMostLevel + simd::kItemZero * simd::kMostSteps * kMostQuantizedDepth < (Offset{1} << 31));
static_assert(kScreenItems == kQuantizedGroup && sizeof(simd::Extent) == kExtentFloats * sizeof(float));

constexpr Offset divide_up(Offset a, Offset b) { return (a + b - 1) / b; }
constexpr Offset round_up(Offset a, Offset b) { return divide_up(a, b) * b; }

/// The items that anybody may get: all of them, or a rising list, of both without those whose bits are set.
class Candidates {
 public:
  Candidates(Offset n_items, const IdList& allow, const Bitmap& deny)
      : size_(n_items), listed_(allow), ids_(allow.value_or(std::span<const Id>())), deny_(deny) {
    if (deny && !allow) {
      Offset n_denied = 0;
      for (const std::uint8_t byte : *deny) n_denied += std::popcount(byte);
      if (2 * n_denied > n_items) list_rest(n_items);
    }
    if (listed_) size_ = static_cast<Offset>(ids_.size());
  }

  [[nodiscard]] Offset size() const { return size_; }
  [[nodiscard]] bool listed() const { return listed_; }
  [[nodiscard]] Id id(Offset i) const { return listed_ ? ids_[static_cast<std::size_t>(i)] : static_cast<Id>(i); }
  /// Packs the vectors of candidates [at, at + n).
  void pack(const simd::MicroKernels& micro, MatrixView<const float> vectors, Offset at, Offset n, float* out) const {
    if (!listed_) return pack_rows(micro, vectors, at, at + n, out);
    pack_rows(micro, vectors, ids_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)), out);
  }
  [[nodiscard]] bool is_denied(Id id) const { return deny_ && has_bit(*deny_, id); }

 private:
  void list_rest(Offset n_items) {
    for (Offset id = 0; id < n_items; ++id) {
      if (!is_denied(static_cast<Id>(id))) rest_.push_back(static_cast<Id>(id));
    }
    ids_ = rest_;
    listed_ = true;
  }

  Offset size_;
  bool listed_;
  std::span<const Id> ids_;
  Bitmap deny_;
  std::vector<Id> rest_;
};

/// How the queries and the candidates are cut. The result does not depend on it.
struct Plan {
  Offset block_rows;  // queries of a block
  Offset n_blocks;
  Offset range_size;  // candidates of a piece, a multiple of kTileCols
  Offset n_ranges;
};

/// The precisions of a scan, each the next one's screen. The likely one goes by what errors of rounding mostly are, and
/// by what a sample of the items says of all.
enum class Precision { kLikely, kInt8, kFloat, kExact };

constexpr bool is_int8(Precision precision) { return precision <= Precision::kInt8; }

/// Rows of item vectors as float32, whatever they are stored as.
class ItemRows {
 public:
  ItemRows(const simd::MicroKernels& micro, const ItemsView& items)
      : micro_(micro), items_(items), n_cols_(items.n_cols()) {}

  [[nodiscard]] const simd::MicroKernels& micro() const { return micro_; }
  [[nodiscard]] const ItemsView& items() const { return items_; }

  /// The vectors, where they are float32.
  [[nodiscard]] const MatrixView<const float>* floats() const {
    return std::get_if<MatrixView<const float>>(&items_.vectors);
  }

  /// A row; `buffer` holds it where it must be converted.
  const float* row(Id id, float* buffer) const {
    if (const auto* view = floats()) return view->row(id);
    if (const auto* view = std::get_if<MatrixView<const Bf16>>(&items_.vectors)) {
      micro_.widen_bf16(view->row(id), n_cols_, buffer);
    } else {
      micro_.widen_int8(std::get<MatrixView<const std::int8_t>>(items_.vectors).row(id), n_cols_, buffer);
    }
    return buffer;
  }

  /// Floats of a buffer for n rows.
  [[nodiscard]] Offset buffer_size(Offset n) const { return floats() != nullptr ? 0 : n * n_cols_; }

  void prefetch(Id id) const {
    if (const auto* view = floats()) {
      for (Offset i = 0; i < n_cols_; i += 16) likewise::prefetch(view->row(id) + i);
    }
  }

 private:
  const simd::MicroKernels& micro_;
  const ItemsView& items_;
  Offset n_cols_;
};

/// What is asked of a call.
struct Search {
  const simd::MicroKernels& micro;
  MatrixView<const float> queries;
  const ItemsView& items;
  ItemRows rows;
  Score score;
  const Exclusions& exclude;
  const Candidates& candidates;
  Offset k;

  [[nodiscard]] bool is_candidate(Offset query, Id id) const {
    return !candidates.is_denied(id) && !is_excluded(exclude, query, id);
  }

  /// Candidates that a scan keeps for each query: more than k where its scores are only bounds.
  [[nodiscard]] Offset kept(Precision precision) const {
    if (precision == Precision::kExact) return k;
    return precision == Precision::kFloat ? k + k / 16 + 8 : 4 * k + 32;
  }

  /// Whether the items' rounded copy, in its order, is what a scan in int8 reads.
  [[nodiscard]] bool is_quantized() const { return items.quantized && !candidates.listed(); }
};

/// The scores that the answer is defined by, of one query after another.
class Scorer {
 public:
  explicit Scorer(const Search& search)
      : search_(search), buffer_(static_cast<std::size_t>(search.rows.buffer_size(1))) {}

  void set_query(Offset query) {
    x_ = search_.queries.row(query);
    if (search_.score == Score::kDistance) square_ = dot(x_, x_);
  }

  [[nodiscard]] float score(Id id) const {
    const float* y = search_.rows.row(id, buffer_.get());
    const auto scale = static_cast<double>(search_.items.scale_of(id));
    if (search_.score == Score::kDistance) {
      return distance(square_ - 2 * (scale * dot(x_, y)) + scale * scale * dot(y, y));
    }
    double sum = scale * dot(x_, y);
    if (search_.items.bias) sum += static_cast<double>(search_.items.bias_of(id));
    return static_cast<float>(sum);
  }

  /// The greatest score of a candidate whose inner product and bias come to `upper` at most.
  [[nodiscard]] float greatest(float upper) const {
    return search_.score == Score::kDistance ? distance(square_ - 2 * static_cast<double>(upper)) : upper;
  }

 private:
  [[nodiscard]] double dot(const float* a, const float* b) const {
    return search_.micro.dot_double(a, b, search_.queries.n_cols);
  }
  static float distance(double square) { return -static_cast<float>(std::sqrt(std::max(0.0, square))); }

  const Search& search_;
  Scratch<float> buffer_;
  const float* x_ = nullptr;
  double square_ = 0;
};

/// int8 numbers of a query, or of an item: zeros after the last.
Offset quantized_depth(Offset d) { return round_up(d, kQuantizedDepth); }

/// Bytes of quantized vectors that a thread holds.
Offset quantized_budget(int n_threads) { return std::min(kMostQuantized, kQuantizedBytes / n_threads); }

Plan make_plan(int n_threads, const Search& search, Precision precision, Offset n) {
  const bool rounds = is_int8(precision);
  const Offset n_candidates = search.candidates.size(), kept = search.kept(precision);
  const Offset d = std::max<Offset>(1, search.queries.n_cols), row_multiple = rounds ? kScreenQueries : kTileRows;
  const Offset bits = search.exclude ? kExcludedWords * static_cast<Offset>(sizeof(std::uint64_t)) : 0;
  const Offset most_rows =
      std::min(rounds ? quantized_budget(n_threads) / (quantized_depth(d) + bits) : kQueryBytes / (4 * d),
               kSelectorBytes / n_threads / (bits + SelectorBlock::bytes_each(search.k, kept, n_candidates)));
  Offset n_blocks = divide_up(n, std::max(row_multiple, most_rows / row_multiple * row_multiple)), n_ranges = 1;
  const Offset n_tasks = n_threads == 1 ? 1 : std::min(kTasksEach * n_threads, n_candidates * d * n / kTaskProducts);
  const bool is_ready = rounds && search.is_quantized();  // a block of queries only reads the items
  if (n_tasks > n_blocks && is_ready && n >= kReadEach * n_threads) {
    // A query's thresholds begin anew in each range, and fewer queries at a time read the items more often.
    const Offset blocks_each = std::max(Offset{1}, n / (2 * kReadEach * n_threads));
    n_blocks = std::max(n_blocks, std::min(n_tasks, blocks_each * n_threads));
  } else if (n_tasks > n_blocks && n_candidates * d <= kPreparedEach * n) {
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

/// By how much a score can be off: by what its operands lost, by the sums of its products, by the bias added, and by
/// numbers too small for float32 (Cauchy and Schwarz; Higham, Accuracy and Stability of Numerical Algorithms, section
/// 3.1).
float score_error(const Extent& query, const Extent& item, Offset d) {
  const auto depth = static_cast<float>(d);
  const float sums = (1.2e-7F * depth + simd::kScoreSlack) * query.length * item.length;
  const float lost = query.error * (item.length + item.error) + query.length * item.error;
  return 1.01F * (lost + sums + simd::kScoreSlack * item.bias_size) + depth * 5e-38F;
}

/// Beyond this a score may leave float32.
constexpr float kMostProduct = 1e37F;

/// Rounds a group of n items, the j-th of them id_of(j), to int8; `buffer` is for what must be converted before.
template <class IdOf>
Extent quantize_group(const ItemRows& vectors, IdOf id_of, Offset n, float* buffer, std::uint8_t* tiles) {
  const ItemsView& items = vectors.items();
  const float* rows[kScreenItems];
  float scales[kScreenItems];
  const Offset d = items.n_cols();
  Extent extent = {.top_bias = items.bias ? kNoScore : 0.0F};
  for (Offset j = 0; j < kScreenItems; ++j) {
    const Id id = id_of(std::min(j, n - 1));
    rows[j] = vectors.row(id, buffer + j * d);
    scales[j] = items.scale_of(id);
    extent.bias_size = std::max(extent.bias_size, std::fabs(items.bias_of(id)));
    extent.top_bias = std::max(extent.top_bias, items.bias_of(id));
  }
  float known[4];
  vectors.micro().quantize_rows(kScreenItems, rows, scales, d, quantized_depth(d), simd::kItemZero, tiles, known);
  extent.step = known[0];
  extent.inverse = known[1];
  extent.length = length_bound(known[2], d);
  extent.error = length_bound(known[3], d);
  return extent;
}

// ---- scans ---------------------------------------------------------------------------------------------------------

/// Scans ranges of candidates for blocks of queries with the scratch of one thread. Every scan keeps the candidates
/// with the greatest scores, or, in less than full precision, with the greatest upper bounds of their scores.
class Scanner {
 public:
  Scanner(int n_threads, const Search& search, Precision precision, const Plan& plan)
      : search_(search),
        precision_(precision),
        d_(search.queries.n_cols),
        depth_(quantized_depth(d_)),
        selectors_(plan.block_rows, search.k, search.kept(precision),
                   std::min(plan.range_size, search.candidates.size())),
        scorer_(search),
        lost_(static_cast<std::size_t>(plan.block_rows)),
        excluded_(search.exclude ? count(plan.block_rows * kExcludedWords) : 0) {
    if (precision == Precision::kFloat) {
      queries_.resize(count(plan.block_rows));
      errors_.resize(count(plan.block_rows));
      limits_.resize(count(plan.block_rows));
      group_ = std::max(kTileCols, kPackedBytes / (4 * kTileCols * d_) * kTileCols);
    } else if (is_int8(precision)) {
      group_ = std::max(kBlockRows, quantized_budget(n_threads) / depth_ / kBlockRows * kBlockRows);
      group_ = std::min(group_, round_up(plan.range_size, kScreenItems));
      screens_.resize(count(plan.block_rows / kScreenQueries));
      margins_.resize(count(plan.block_rows));
      query_tiles_ = Scratch<std::int8_t>(count(plan.block_rows * depth_));
      hits_ = Scratch<simd::Hit>(count(kBlockRows * kScreenQueries + simd::kMoreHits));
      if (search.items.bias) biases_ = Scratch<float>(count(group_));
      if (search.is_quantized()) {
        const bool takes_sample = precision == Precision::kLikely && search.k >= kSampledBest;
        if (takes_sample && plan.range_size >= kSampleShare * kSampleRun + kSampleShare * sample_rank(search.k)) {
          sample_ = std::make_unique<SelectorBlock>(plan.block_rows, sample_rank(search.k), plan.range_size);
        }
        return;
      }
      tiles_ = Scratch<std::uint8_t>(count(group_ * depth_));
      extents_.resize(count(group_ / kScreenItems));
      widened_ = Scratch<float>(count(search.rows.buffer_size(kScreenItems)));
    }
  }

  /// Candidates [begin, end) for the queries named by `rows`.
  void scan(std::span<const Offset> rows, Offset begin, Offset end) {
    block_ = rows;
    const auto n = static_cast<Offset>(rows.size());
    selectors_.reset(n);
    std::fill(lost_.begin(), lost_.end(), char{0});
    for (Offset row = 0; row < n && search_.exclude; ++row) {
      std::fill_n(excluded_.begin() + row * kExcludedWords, kExcludedWords, std::uint64_t{0});
      for (const Id item : search_.exclude->row_indices(query(row))) {
        excluded_[count(row * kExcludedWords + item / 64 % kExcludedWords)] |= std::uint64_t{1} << (item % 64);
      }
    }
    switch (precision_) {
      case Precision::kLikely:
      case Precision::kInt8:
        return scan_quantized(n, begin, end);
      case Precision::kFloat:
        return scan_floats(n, begin, end);
      case Precision::kExact:
        return scan_exactly(n, begin, end);
    }
  }

  /// What the scan kept for a query, in no order; nothing where its scores may leave float32.
  std::span<Key> best(Offset row) { return is_lost(row) ? std::span<Key>() : selectors_.best(row); }
  /// What the scan left out of a query's candidates scores at most this.
  [[nodiscard]] float bound(Offset row) const { return selectors_.threshold(row); }
  [[nodiscard]] bool is_lost(Offset row) const { return lost_[static_cast<std::size_t>(row)] != 0; }

 private:
  [[nodiscard]] Offset query(Offset row) const { return block_[static_cast<std::size_t>(row)]; }

  /// The i-th candidate in the order of the scan.
  [[nodiscard]] Id id(Offset i) const {
    const bool ordered = is_int8(precision_) && search_.is_quantized();
    return ordered ? search_.items.quantized->order[i] : search_.candidates.id(i);
  }

  static bool can_hold(float length, const Extent& items, float error) {
    return length * items.length + items.bias_size + error < kMostProduct;
  }

  /// Bounds the errors of the scores of queries [first, last) and items of this extent.
  void bound_errors(Offset first, Offset last, const Extent& items) {
    for (Offset row = first; row < last; ++row) {
      const auto place = static_cast<std::size_t>(row);
      errors_[place] = score_error(queries_[place], items, d_);
      if (!can_hold(queries_[place].length, items, errors_[place])) lost_[place] = 1;
    }
  }

  /// What the scores of queries [first, last) and items of this extent must exceed; returns whether any can.
  bool set_limits(Offset first, Offset last, const Extent& items) {
    bool any = false;
    for (Offset row = first; row < last; ++row) {
      const auto place = static_cast<std::size_t>(row);
      const float threshold = selectors_.threshold(row), error = errors_[place];
      const bool can = queries_[place].length * items.length + items.top_bias + error > threshold;
      limits_[place] = can ? threshold - error : -kNoScore;
      any = any || can;
    }
    return any;
  }

  /// Whether the query must not get this item. Most are told by a bit of a few that stand for all ids.
  [[nodiscard]] bool is_excluded(Offset row, Id item) const {
    if (!search_.exclude) return false;
    const std::uint64_t word = excluded_[count(row * kExcludedWords + item / 64 % kExcludedWords)];
    return (word >> (item % 64) & 1U) != 0 && cpu::is_excluded(search_.exclude, query(row), item);
  }

  void offer(Offset row, float upper, Offset candidate, SelectorBlock& selectors) {
    if (!(upper > selectors.threshold(row))) return;  // it has risen since the scores were compared
    const Id item = id(candidate);
    if (!search_.candidates.is_denied(item) && !is_excluded(row, item)) selectors.offer(row, upper, item);
  }

  /// Offers what exceeds the limits in a tile of scores of rows [first, first + rows).
  void offer_tile(Offset first, Offset candidate, const float* tile, Offset rows, Offset cols) {
    std::uint32_t masks[kTileRows];
    alignas(kCacheLine) float biased[kTileRows * kTileCols];
    if (search_.items.bias) {
      add_biases(candidate, tile, cols, biased);
      tile = biased;
    }
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
      offer(row, tile[places[j]] + errors_[static_cast<std::size_t>(row)], candidate + places[j] % kTileCols,
            selectors_);
    }
    for (auto place = static_cast<std::size_t>(first); place < static_cast<std::size_t>(first + rows); ++place) {
      limits_[place] = std::max(limits_[place], selectors_.threshold(static_cast<Offset>(place)) - errors_[place]);
    }
  }

  void add_biases(Offset candidate, const float* tile, Offset cols, float* out) const {
    float biases[kTileCols] = {};
    for (Offset j = 0; j < cols; ++j) biases[j] = search_.items.bias_of(id(candidate + j));
    for (Offset i = 0; i < kTileRows * kTileCols; ++i) out[i] = tile[i] + biases[i % kTileCols];
  }

  /// Adds the biases of candidates [at, at + n) to what is known of them.
  void bound_biases(Offset at, Offset n, Extent& items) const {
    if (!search_.items.bias || n == 0) return;
    items.bias_size = 0;
    items.top_bias = kNoScore;
    for (Offset j = 0; j < n; ++j) {
      const float bias = search_.items.bias_of(id(at + j));
      items.bias_size = std::max(items.bias_size, std::fabs(bias));
      items.top_bias = std::max(items.top_bias, bias);
    }
  }

  // Full precision.

  void scan_exactly(Offset n, Offset begin, Offset end) {
    for (Offset at = begin; at < end; at += kExactRows) {
      for (Offset row = 0; row < n; ++row) {
        scorer_.set_query(query(row));
        for (Offset i = at; i < std::min(end, at + kExactRows); ++i) offer(row, scorer_.score(id(i)), i, selectors_);
      }
    }
  }

  // float32.

  Extent length_of(const float* x) const { return {.length = length_bound(search_.micro.dot(x, x, d_), d_)}; }

  /// A query after another, for few.
  void scan_rows(Offset n, Offset begin, Offset end) {
    const auto* floats = search_.candidates.listed() ? nullptr : search_.rows.floats();
    if (floats == nullptr && gathered_.get() == nullptr) gathered_ = Scratch<float>(count(kRowItems * d_));
    for (Offset row = 0; row < n; ++row) {
      queries_[static_cast<std::size_t>(row)] = length_of(search_.queries.row(query(row)));
    }
    for (Offset at = begin; at < end; at += kRowItems) {
      const Offset size = std::min(kRowItems, end - at);
      const float* items = floats != nullptr ? floats->row(at) : gather(at, size);
      float scale = search_.items.scale ? 0.0F : 1.0F;
      for (Offset j = 0; j < size && search_.items.scale; ++j) {
        scale = std::max(scale, std::fabs(search_.items.scale_of(id(at + j))));
      }
      for (Offset row = 0; row < n; ++row) scan_row(row, at, size, items, scale);
    }
  }

  /// Candidates [at, at + n) as float32, one after another.
  const float* gather(Offset at, Offset n) {
    for (Offset j = 0; j < n; ++j) {
      if (j + kAhead < n) search_.rows.prefetch(id(at + j + kAhead));
      float* to = gathered_.get() + j * d_;
      const float* from = search_.rows.row(id(at + j), to);
      if (from != to) std::copy_n(from, d_, to);
    }
    return gathered_.get();
  }

  /// A query against candidates [at, at + size), whose vectors are `items` and whose scales are at most `scale`.
  void scan_row(Offset row, Offset at, Offset size, const float* items, float scale) {
    alignas(kCacheLine) float tile[kTileRows * kTileCols];
    float limits[kTileRows];
    std::uint32_t masks[kTileRows];
    const float squares = search_.micro.dot_rows(items, size, search_.queries.row(query(row)), d_, tile);
    std::fill(tile + size, tile + kTileRows * kTileCols, kNoScore);
    for (Offset j = 0; j < size && search_.items.scale; ++j) tile[j] *= search_.items.scale_of(id(at + j));
    for (Offset j = 0; j < size && search_.items.bias; ++j) tile[j] += search_.items.bias_of(id(at + j));
    Extent extent = {.length = length_bound(squares, kTileCols * d_) * scale};
    bound_biases(at, size, extent);
    bound_errors(row, row + 1, extent);
    if (!set_limits(row, row + 1, extent)) return;
    const auto place = static_cast<std::size_t>(row);
    std::fill_n(limits, kTileRows, limits_[place]);
    if (!search_.micro.tile_above(tile, limits, masks)) return;
    for (Offset part = 0; part < kTileRows; ++part) {
      for (std::uint32_t mask = masks[part]; mask != 0; mask &= mask - 1) {
        const Offset j = part * kTileCols + std::countr_zero(mask);
        offer(row, tile[j] + errors_[place], at + j, selectors_);
      }
    }
  }

  void scan_floats(Offset n, Offset begin, Offset end) {
    if (n <= kFewQueries) return scan_rows(n, begin, end);
    if (packed_.get() == nullptr) {
      packed_ = Scratch<float>(count(packed_size(group_, d_)));
      edge_ = Scratch<float>(count(kTileRows * d_));
      rows_ = Scratch<float>(errors_.size() * static_cast<std::size_t>(d_));
      widened_ = Scratch<float>(count(search_.rows.buffer_size(group_)));
    }
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
    if (const auto* floats = search_.rows.floats()) {
      search_.candidates.pack(search_.micro, *floats, at, n, packed_.get());
    } else {
      for (Offset j = 0; j < n; ++j) search_.rows.row(id(at + j), widened_.get() + j * d_);
      pack_rows(search_.micro, {widened_.get(), n, d_}, 0, n, packed_.get());
    }
    float squares = 0;
    for (Offset col = 0; col < n; col += kTileCols) {
      float* packed = packed_.get() + col * d_;
      if (search_.items.scale) scale_packed(at + col, std::min(kTileCols, n - col), packed);
      squares = std::max(squares, search_.micro.longest_packed(packed, d_));
    }
    Extent extent = {.length = length_bound(squares, d_)};
    bound_biases(at, n, extent);
    return extent;
  }

  /// Multiplies n packed candidates, from `at` on, by their scales.
  void scale_packed(Offset at, Offset n, float* packed) const {
    float factors[kTileCols] = {};
    for (Offset j = 0; j < n; ++j) factors[j] = search_.items.scale_of(id(at + j));
    for (Offset p = 0; p < d_; ++p) {
      for (Offset j = 0; j < kTileCols; ++j) packed[p * kTileCols + j] *= factors[j];
    }
  }

  // int8.

  /// Rounded items: their numbers, what groups of them have in common, and their biases.
  struct QuantizedGroup {
    const std::uint8_t* tiles;
    const Extent* extents;
    const float* biases;
  };

  void scan_quantized(Offset n, Offset begin, Offset end) {
    quantize_queries(n);
    if (sample_ != nullptr) take_sample(n, begin, end);
    std::fill(margins_.begin(), margins_.end(), 0.0F);
    const Offset most_items = std::clamp(kScreenBytes / depth_ / kScreenItems * kScreenItems, kFirstRows, kBlockRows);
    for (Offset at = begin; at < end; at += group_) {
      const Offset size = std::min(group_, end - at);
      const QuantizedGroup group = quantized_items(at, size);
      bound_scores(n, group, size);
      for (Offset i = 0, n_items; i < size; i += n_items) {
        const Offset place = at + i - begin, within = place % kSampleStride;
        if (sample_ != nullptr && within == 0 && at + i + kSampleRun <= end) {
          n_items = kSampleRun;
          continue;
        }
        // Thresholds rise fast in the beginning.
        const Offset most = std::clamp(round_up(place / 2, kScreenItems), kFirstRows, most_items);
        n_items = std::min({size - i, most, kSampleStride - within});
        screen_items(n, group, at, i, n_items, at + i + n_items, std::min(end, at + i + n_items + most_items),
                     selectors_);
      }
    }
  }

  /// All n queries against the items [item, item + size) of a group that begins with candidate `at`, while candidates
  /// [next, last) are fetched.
  void screen_items(Offset n, const QuantizedGroup& group, Offset at, Offset item, Offset size, Offset next,
                    Offset last, SelectorBlock& selectors) {
    std::span<const std::uint8_t> ahead;
    if (search_.is_quantized() && next < last) {
      ahead = {search_.items.quantized->tiles + next * depth_, count((last - next) * depth_)};
    }
    const std::size_t lines = ahead.size() / kCacheLine;
    for (Offset row = 0; row < n; row += kScreenQueries) {
      // Each share of the queries fetches its share of the items that come next, in whole lines.
      const Offset end = std::min(n, row + kScreenQueries);
      const std::size_t from = lines * count(row) / count(n) * kCacheLine,
                        to = lines * count(end) / count(n) * kCacheLine;
      screen_block(row, end, group, at, item, size, ahead.subspan(from, to - from), selectors);
    }
  }

  /// The rank in a sample of a score that some 3 k of all items reach, and more rather than fewer.
  static Offset sample_rank(Offset k) {
    const double expected = 3.0 * static_cast<double>(k) / kSampleShare;
    return static_cast<Offset>(std::ceil(expected + 3 * std::sqrt(expected)));
  }

  /// Offers the best of a sample of the items, and lets thresholds begin where the sample says that they will soon be.
  void take_sample(Offset n, Offset begin, Offset end) {
    sample_->reset(n);
    for (Offset at = begin; at + kSampleRun <= end; at += kSampleStride) {
      const Offset next = at + kSampleStride;
      screen_items(n, quantized_items(at, kSampleRun), at, 0, kSampleRun, next, std::min(end, next + kSampleRun),
                   *sample_);
    }
    for (Offset row = 0; row < n; ++row) {
      const std::span<const Key> best = sample_->best(row);
      if (static_cast<Offset>(best.size()) == sample_rank(search_.k)) {
        selectors_.raise_threshold(row, key_score(*std::min_element(best.begin(), best.end())));
      }
      for (const Key key : best) {
        if (key_score(key) > selectors_.threshold(row)) selectors_.offer(row, key_score(key), key_id(key));
      }
    }
  }

  void quantize_queries(Offset n) {
    std::fill_n(query_tiles_.get(), round_up(n, kScreenQueries) * depth_, std::int8_t{0});
    std::vector<std::uint8_t> levels(static_cast<std::size_t>(depth_ * kScreenItems));
    for (Offset row = 0; row < n; ++row) {
      simd::ScreenQueries& screen = screens_[static_cast<std::size_t>(row / kScreenQueries)];
      const Offset j = row % kScreenQueries;
      std::int8_t* tiles = query_tiles_.get() + row / kScreenQueries * kScreenQueries * depth_;
      if (j == 0) screen = {.tiles = tiles};
      const float* x = search_.queries.row(query(row));
      const float one = 1;
      float known[4];
      search_.micro.quantize_rows(1, &x, &one, d_, depth_, 0, levels.data(), known);
      screen.steps[j] = known[0];
      screen.inverses[j] = known[1];
      screen.lengths[j] = length_bound(known[2], d_);
      screen.errors[j] = length_bound(known[3], d_);
      for (Offset p = 0; p < depth_; p += 4) {  // 16 rows of a tile, each four numbers of 16 queries
        const Offset within = p % kQuantizedDepth;
        std::int8_t* to = tiles + kScreenQueries * (p - within) + j / 16 * 1024 + within * 16 + j % 16 * 4;
        std::memcpy(to, levels.data() + kScreenItems * (p - within) + within, 4);
        screen.offsets[j] += simd::kItemZero * (to[0] + to[1] + to[2] + to[3]);
      }
    }
  }

  /// Candidates [at, at + n), rounded now or before.
  QuantizedGroup quantized_items(Offset at, Offset n) {
    QuantizedGroup group = {tiles_.get(), extents_.data(), nullptr};
    if (search_.is_quantized()) {
      const QuantizedView& kept = *search_.items.quantized;
      group.tiles = kept.tiles + at * depth_;
      group.extents = reinterpret_cast<const Extent*>(kept.extents) + at / kScreenItems;
    } else {
      for (Offset first = 0; first < n; first += kScreenItems) {
        const auto place = static_cast<std::size_t>(first / kScreenItems);
        extents_[place] = quantize_group(
            search_.rows, [&](Offset j) { return id(at + first + j); }, std::min(kScreenItems, n - first),
            widened_.get(), tiles_.get() + first * depth_);
      }
    }
    if (search_.items.bias) {
      for (Offset j = 0; j < round_up(n, kScreenItems); ++j)
        biases_[count(j)] = search_.items.bias_of(id(at + std::min(j, n - 1)));
      group.biases = biases_.get();
    }
    return group;
  }

  /// Gives up the queries whose scores may leave float32. A candidate whose greatest possible score falls below the
  /// k-th best of these by more than twice the greatest error is not among the best k.
  void bound_scores(Offset n, const QuantizedGroup& group, Offset size) {
    Extent longest = {};
    for (Offset i = 0; i < divide_up(size, kScreenItems); ++i) {
      longest.length = std::max(longest.length, group.extents[i].length);
      longest.error = std::max(longest.error, group.extents[i].error);
      longest.bias_size = std::max(longest.bias_size, group.extents[i].bias_size);
    }
    const float times = precision_ == Precision::kLikely ? kLikelyError : kCertainError;
    for (Offset row = 0; row < n; ++row) {
      const simd::ScreenQueries& screen = screens_[count(row / kScreenQueries)];
      const Extent x = {.length = screen.lengths[row % kScreenQueries], .error = screen.errors[row % kScreenQueries]};
      const float error = score_error(x, longest, d_) + simd::kTinyScore;
      if (!can_hold(x.length, longest, error)) lost_[count(row)] = 1;
      margins_[count(row)] = std::max(margins_[count(row)], times * error);
      selectors_.set_margin(row, margins_[count(row)]);
    }
  }

  /// Queries [first, last) against the items [item, item + n) of a group that begins with candidate `at`; fetches what
  /// lies `ahead`.
  void screen_block(Offset first, Offset last, const QuantizedGroup& group, Offset at, Offset item, Offset n,
                    std::span<const std::uint8_t> ahead, SelectorBlock& selectors) {
    simd::ScreenQueries& screen = screens_[count(first / kScreenQueries)];
    std::fill(screen.thresholds, screen.thresholds + kScreenQueries, -kNoScore);
    for (Offset row = first; row < last; ++row) {
      if (!is_lost(row)) screen.thresholds[row - first] = selectors.threshold(row);
    }
    const Offset n_hits = search_.micro.screen_int8(round_up(n, kScreenItems), depth_, group.tiles + item * depth_,
                                                    group.extents + item / kScreenItems,
                                                    group.biases == nullptr ? nullptr : group.biases + item, screen,
                                                    ahead.data(), static_cast<Offset>(ahead.size()), hits_.get());
    for (const simd::Hit* hit = hits_.get(); hit < hits_.get() + n_hits; ++hit) {
      if (hit->item < n) offer(first + hit->query, hit->score, at + item + hit->item, selectors);
    }
  }

  static constexpr Offset kRowItems = kTileRows * kTileCols;  // items that few queries are multiplied with at a time
  static std::size_t count(Offset n) { return static_cast<std::size_t>(n); }

  const Search& search_;
  Precision precision_;
  Offset d_, depth_;
  SelectorBlock selectors_;
  std::unique_ptr<SelectorBlock> sample_;
  Scorer scorer_;
  std::vector<char> lost_;
  std::vector<std::uint64_t> excluded_;
  std::span<const Offset> block_;
  Offset group_ = 0;  // items packed or rounded at a time
  std::vector<Extent> queries_, extents_;
  Scratch<float> packed_, edge_, rows_, widened_, gathered_, biases_;
  std::vector<float> errors_, limits_, margins_;
  std::vector<simd::ScreenQueries> screens_;
  Scratch<std::int8_t> query_tiles_;
  Scratch<std::uint8_t> tiles_;
  Scratch<simd::Hit> hits_;
};

/// What a scan, or the scans of some ranges of the items, found for a query.
struct Found {
  std::span<Key> keys;  // of the candidates kept, in no order
  float bound;          // of the scores of all others
  bool is_lost;
};

/// Writes the ranking of a query; false where a candidate that was not kept could be among the best k.
bool write_certified(const Search& search, Scorer& scorer, Precision precision, Offset query, Found found,
                     std::span<Id> ids, std::span<float> scores) {
  if (precision == Precision::kExact) {
    write_best(found.keys, ids, scores);
    return true;
  }
  if (found.is_lost) return false;
  std::span<Key> keys = found.keys;
  const auto kept = static_cast<std::size_t>(search.kept(precision));
  if (keys.size() > kept) {  // of several ranges
    select_greatest(keys, kept);
    keys = keys.first(kept);
    found.bound = std::max(found.bound, key_score(keys.back()));
  }
  scorer.set_query(query);
  float least = -kNoScore;
  std::size_t n = 0;
  const auto score_each = [&](std::span<const Key> part) {
    for (std::size_t j = 0; j < part.size(); ++j) {
      if (j + kAhead < part.size()) search.rows.prefetch(key_id(part[j + kAhead]));
      const Id id = key_id(part[j]);
      const float score = scorer.score(id);
      least = std::min(least, score);
      if (score > kNoScore) keys[n++] = make_key(score, id);
    }
  };
  // The k with the greatest upper bounds first: of the others only those matter whose bound is no less than all of
  // these.
  const auto k = std::min(keys.size(), static_cast<std::size_t>(search.k));
  if (k < keys.size()) select_greatest(keys, k);
  score_each(keys.first(k));
  const auto rest = keys.begin() + static_cast<std::ptrdiff_t>(k);
  const auto is_less = [&](Key key) { return scorer.greatest(key_score(key)) < least; };
  score_each({rest, std::remove_if(rest, keys.end(), is_less)});
  write_best(keys.first(n), ids, scores);
  return found.bound == kNoScore || scores.back() > scorer.greatest(found.bound);
}

/// Ranks the queries named by `rows`; returns those whose rankings must be made in higher precision.
std::vector<Offset> rank(const Context& ctx, const Search& search, Precision precision, std::span<const Offset> rows,
                         MatrixView<Id> ids, MatrixView<float> scores) {
  std::vector<Offset> uncertain;
  const auto n = static_cast<Offset>(rows.size()), n_candidates = search.candidates.size();
  if (n == 0) return uncertain;
  std::mutex mutex;
  std::vector<std::unique_ptr<Scorer>> scorers(static_cast<std::size_t>(ctx.n_threads));
  const auto finish = [&](Offset query, const Found& found, int worker) {
    auto& scorer = scorers[static_cast<std::size_t>(worker)];
    if (!scorer) scorer = std::make_unique<Scorer>(search);
    if (write_certified(search, *scorer, precision, query, found, row_span(ids, query), row_span(scores, query)))
      return;
    const std::lock_guard lock(mutex);
    uncertain.push_back(query);
  };
  const Plan plan = make_plan(ctx.n_threads, search, precision, n);
  const Offset kept = plan.n_ranges == 1 ? 0 : std::min(search.kept(precision), plan.range_size);
  const Scratch<Key> pieces(static_cast<std::size_t>(n * plan.n_ranges * kept));
  const Scratch<float> bounds(static_cast<std::size_t>(plan.n_ranges == 1 ? 0 : n * plan.n_ranges));
  std::vector<std::atomic<bool>> lost(static_cast<std::size_t>(plan.n_ranges == 1 ? 0 : n));
  std::vector<std::unique_ptr<Scanner>> scanners(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, plan.n_blocks * plan.n_ranges, 1, [&](Offset task, Offset, int worker) {
    auto& scanner = scanners[static_cast<std::size_t>(worker)];
    if (!scanner) scanner = std::make_unique<Scanner>(ctx.n_threads, search, precision, plan);
    const Offset first = task / plan.n_ranges * plan.block_rows, last = std::min(n, first + plan.block_rows);
    const Offset range = task % plan.n_ranges, begin = range * plan.range_size;
    scanner->scan(rows.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)), begin,
                  std::min(n_candidates, begin + plan.range_size));
    for (Offset row = first; row < last; ++row) {
      const bool is_lost = scanner->is_lost(row - first);
      const std::span<Key> keys = scanner->best(row - first);
      const float bound = scanner->bound(row - first);
      if (plan.n_ranges == 1) {
        finish(rows[static_cast<std::size_t>(row)], {keys, bound, is_lost}, worker);
      } else {
        Key* piece = pieces.get() + (row * plan.n_ranges + range) * kept;
        std::fill(std::copy(keys.begin(), keys.end(), piece), piece + kept, kEmptyKey);
        bounds.get()[row * plan.n_ranges + range] = bound;
        if (is_lost) lost[static_cast<std::size_t>(row)] = true;
      }
    }
  });
  if (plan.n_ranges == 1) return uncertain;
  const Offset grain = std::max<Offset>(1, kTaskPairs / (plan.n_ranges * kept));
  parallel_for(ctx, n, grain, [&](Offset begin, Offset end, int worker) {
    for (Offset row = begin; row < end; ++row) {
      Key* first = pieces.get() + row * plan.n_ranges * kept;
      const float* bound = bounds.get() + row * plan.n_ranges;
      const auto place = static_cast<std::size_t>(row);
      Key* last = std::remove(first, first + plan.n_ranges * kept, kEmptyKey);
      finish(rows[place], {{first, last}, *std::max_element(bound, bound + plan.n_ranges), lost[place]}, worker);
    }
  });
  return uncertain;
}

/// Ranks each query's own candidates, and of those the ones that are allowed.
void rank_own(const Context& ctx, const Search& search, const CsrView<const float>& own, const IdList& allow,
              MatrixView<Id> ids, MatrixView<float> scores) {
  Offset longest = 0;
  for (Offset query = 0; query < own.n_rows; ++query) longest = std::max(longest, own.row_size(query));
  const Offset cost = std::max<Offset>(1, own.nnz() * search.queries.n_cols / std::max<Offset>(1, own.n_rows));
  parallel_for(ctx, own.n_rows, std::max<Offset>(1, kTaskPairs / cost), [&](Offset begin, Offset end, int) {
    SelectorBlock best(1, search.k, longest);
    Scorer scorer(search);
    for (Offset query = begin; query < end; ++query) {
      best.reset(1);
      scorer.set_query(query);
      const std::span<const Id> candidates = own.row_indices(query);
      for (std::size_t j = 0; j < candidates.size(); ++j) {
        if (j + kAhead < candidates.size()) search.rows.prefetch(candidates[j + kAhead]);
        const Id id = candidates[j];
        if (allow && !std::binary_search(allow->begin(), allow->end(), id)) continue;
        if (!search.is_candidate(query, id)) continue;
        const float score = scorer.score(id);
        if (score > best.threshold(0)) best.offer(0, score, id);
      }
      write_best(best.best(0), row_span(ids, query), row_span(scores, query));
    }
  });
}

/// The ranking of a query without any direction: every candidate scores 0.
void write_first(const Search& search, Offset query, std::span<Id> ids, std::span<float> scores) {
  std::size_t n = 0;
  for (Offset i = 0; i < search.candidates.size() && n < ids.size(); ++i) {
    const Id id = search.candidates.id(i);
    if (!search.is_candidate(query, id)) continue;
    ids[n] = id;
    scores[n++] = 0;
  }
  std::fill(ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(), Id{-1});
  std::fill(scores.begin() + static_cast<std::ptrdiff_t>(n), scores.end(), kNoScore);
}

/// The precision that a search for n queries begins with.
Precision first_precision(const Context& ctx, const Search& search, Offset n) {
  const Offset n_candidates = search.candidates.size(), d = search.queries.n_cols;
  if (d == 0 || 4 * search.k >= n_candidates) return Precision::kExact;
  const Offset bytes = SelectorBlock::bytes_each(search.k, search.kept(Precision::kInt8), n_candidates);
  // Rounding the items must be made up for by the queries, and the candidates that it keeps by the products it saves.
  const bool pays =
      (search.is_quantized() || n >= kFewQuantized) && n_candidates * d >= kQuantizedGain * (32 + search.k);
  const bool fits = d <= kMostQuantizedDepth && kScreenQueries * bytes <= kSelectorBytes / ctx.n_threads;
  return ctx.micro->screen_int8 != nullptr && pays && fits ? Precision::kLikely : Precision::kFloat;
}

void check_items(std::string_view kernel, const ItemsView& items) {
  const auto size = [](std::span<const float> values) { return static_cast<Offset>(values.size()); };
  if (items.scale) check_equal(kernel, "scale", size(*items.scale), "entries", "items", items.n_rows(), "rows");
  if (items.bias) check_equal(kernel, "bias", size(*items.bias), "entries", "items", items.n_rows(), "rows");
}

}  // namespace

void quantize_items(const Context& ctx, const ItemsView& items, std::span<const Id> order, std::span<const Id> groups,
                    MatrixView<std::uint8_t> tiles, MatrixView<float> extents) {
  constexpr const char* kName = "quantize_items";
  const Offset m = items.n_rows(), d = items.n_cols(), n_groups = quantized_groups(m);
  check_items(kName, items);
  check_ids(kName, "groups", groups, n_groups);
  check_equal(kName, "order", static_cast<Offset>(order.size()), "entries", "items", m, "rows");
  check_equal(kName, "tiles", tiles.n_rows, "rows", "items", n_groups, "groups");
  check_equal(kName, "tiles", tiles.n_cols, "columns", "a group", quantized_bytes(d), "bytes");
  check_equal(kName, "extents", extents.n_rows, "rows", "items", n_groups, "groups");
  check_equal(kName, "extents", extents.n_cols, "columns", "an extent", kExtentFloats, "numbers");
  if (ctx.micro->quantize_rows == nullptr)
    throw std::domain_error("quantize_items: this instruction set has no products of int8");
  const bool is_inside = std::all_of(order.begin(), order.end(), [m](Id id) { return 0 <= id && id < m; });
  check_that(is_inside, kName, "order must be inside [0, " + std::to_string(m) + ")");
  const ItemRows vectors(*ctx.micro, items);
  const auto grain = std::max<Offset>(1, kTaskPairs / (kScreenItems * std::max<Offset>(1, d)));
  parallel_for(ctx, static_cast<Offset>(groups.size()), grain, [&](Offset begin, Offset end, int) {
    const Scratch<float> buffer(static_cast<std::size_t>(vectors.buffer_size(kScreenItems)));
    for (Offset i = begin; i < end; ++i) {
      const Offset group = groups[static_cast<std::size_t>(i)], first = group * kScreenItems;
      const Extent extent = quantize_group(
          vectors, [&](Offset j) { return order[static_cast<std::size_t>(first + j)]; },
          std::min(kScreenItems, m - first), buffer.get(), tiles.row(group));
      std::memcpy(extents.row(group), &extent, sizeof extent);
    }
  });
}

void topk(const Context& ctx, MatrixView<const float> queries, const ItemsView& items, Score score,
          std::optional<CsrView<const float>> exclude, std::optional<CsrView<const float>> candidates,
          std::optional<std::span<const Id>> allow, std::optional<std::span<const std::uint8_t>> deny,
          MatrixView<Id> ids, MatrixView<float> scores) {
  constexpr const char* kName = "topk";
  const Offset m = items.n_rows();
  check_equal(kName, "queries", queries.n_cols, "columns", "items", items.n_cols(), "columns");
  check_items(kName, items);
  check_ranking(kName, "queries", queries.n_rows, m, exclude, allow, deny, ids, scores);
  check_that(score == Score::kInnerProduct || items.bias, kName, "distances need a bias for each item");
  const Candidates everyones(m, allow, deny);
  const Search search = {*ctx.micro, queries, items,     ItemRows(*ctx.micro, items),
                         score,      exclude, everyones, ids.n_cols};
  if (candidates) {
    check_equal(kName, "candidates", candidates->n_rows, "rows", "queries", queries.n_rows, "rows");
    check_equal(kName, "candidates", candidates->n_cols, "columns", "the catalogue", m, "items");
    return rank_own(ctx, search, *candidates, allow, ids, scores);
  }
  for (Offset first = 0; first < queries.n_rows; first += kMostQueries) {
    const Offset last = std::min(queries.n_rows, first + kMostQueries);
    std::vector<Offset> rows;
    for (Offset query = first; query < last; ++query) {
      const float* x = queries.row(query);
      if (items.bias || std::any_of(x, x + queries.n_cols, [](float value) { return value != 0; })) {
        rows.push_back(query);
      } else {
        write_first(search, query, row_span(ids, query), row_span(scores, query));
      }
    }
    const Precision precision = first_precision(ctx, search, last - first);
    if (precision == Precision::kLikely) {
      rows = rank(ctx, search, Precision::kLikely, rows, ids, scores);
      if (search.is_quantized()) rows = rank(ctx, search, Precision::kInt8, rows, ids, scores);
    }
    if (precision != Precision::kExact) rows = rank(ctx, search, Precision::kFloat, rows, ids, scores);
    rank(ctx, search, Precision::kExact, rows, ids, scores);
  }
}

void topk_scores(const Context& ctx, MatrixView<const float> all_scores, std::optional<CsrView<const float>> exclude,
                 std::optional<std::span<const Id>> allow, std::optional<std::span<const std::uint8_t>> deny,
                 MatrixView<Id> ids, MatrixView<float> scores) {
  const Offset m = all_scores.n_cols, k = ids.n_cols;
  check_ranking("topk_scores", "all_scores", all_scores.n_rows, m, exclude, allow, deny, ids, scores);
  const Candidates candidates(m, allow, deny);
  parallel_for(ctx, all_scores.n_rows, std::max<Offset>(1, kTaskPairs / std::max<Offset>(1, m)),
               [&](Offset begin, Offset end, int) {
                 SelectorBlock best(1, k, candidates.size());
                 for (Offset row = begin; row < end; ++row) {
                   const float* given = all_scores.row(row);
                   best.reset(1);
                   const auto offer = [&](Id id) {
                     if (!(given[id] > best.threshold(0)) || candidates.is_denied(id) || is_excluded(exclude, row, id))
                       return;
                     best.offer(0, given[id], id);
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
