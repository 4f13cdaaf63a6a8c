#include "similarity.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "select.hpp"

namespace likewise::cpu {

namespace {

constexpr const char* kName = "similarity";
using simd::kFlagBytes;
using simd::kFlagColumns;
using simd::kScanColumns;

constexpr Offset kTileColumns = Offset{1} << 17;  // sums that a second-level cache holds: 512 KiB
constexpr Offset kMostFlagged = 8192;             // sums of them stay in the first-level cache
constexpr double kFlagGain = 12,
                 kCountGain = 20;                // flags that are added, or counted, in the time of a scattered product
constexpr Offset kGroup = 512;                   // flags of so many rows at a time stay near: 16 KiB
constexpr Offset kPanelBytes = Offset{1} << 24;  // sums of rows and flagged columns, kept for the latter
constexpr Offset kSelectorBytes = Offset{1} << 26;
constexpr Offset kPanelColumns = 64;               // of a task that hands the panel on
constexpr Offset kTaskProducts = Offset{1} << 15;  // outweigh the start of a task
constexpr Offset kScanGain = 8;                    // columns are scanned in the time of touching one
constexpr Offset kAhead = 16;                      // lists that are asked for ahead
constexpr int kLimitSteps = 16;
constexpr std::uint32_t kLimitStride = 1U << 20;  // an eighth of a power of two
constexpr Offset kListBytesAhead = 256;           // of each, after which the hardware has seen enough of it

Offset rounded_up(Offset n, Offset unit) { return (n + unit - 1) / unit * unit; }

std::size_t size(Offset n) { return static_cast<std::size_t>(n); }

/// The columns by falling number of entries ("places"), and what each feature's row of them holds: the first
/// `n_flagged` places as bits, in blocks of kFlagColumns with kFlagBytes a feature, the others as lists of places past
/// those.
template <class Place>
struct Columns {
  Offset n = 0, n_features = 0, n_flagged = 0, n_tail = 0, n_tiles = 1;
  std::vector<Id> place_of;  // of a column
  std::vector<Id> ids;       // of the column at a place
  Scratch<float> right;      // of the column at a place, padded by zeros: flagged ones, then the tail
  Scratch<std::uint8_t> bits;
  std::vector<Offset> begins;
  std::vector<Place> places;
  std::vector<float> values;               // of `places`, unless is_flat
  std::vector<float> constants;            // the value of each feature's row, if is_flat
  bool is_flat = false, is_count = false;  // is_count: all products are 1

  [[nodiscard]] const std::uint8_t* block_bits(Offset block) const {
    return bits.get() + block * n_features * kFlagBytes;
  }
};

/// Everything a call is asked.
struct Problem {
  const Context& ctx;
  CsrView<const float> rows, columns;
  std::span<const float> left, right;
  const Similarity& measure;
  Offset first, k;
};

/// Where the neighbours go: first those of row i from i k on and their number to indptr[i + 1], at last side by side.
struct Neighbours {
  std::span<Offset> indptr;
  std::span<Id> ids;
  std::span<float> values;

  void close_gaps(Offset k) const {
    indptr[0] = 0;
    for (std::size_t row = 0; row + 1 < indptr.size(); ++row) {
      const auto from = static_cast<std::ptrdiff_t>(row) * k, to = static_cast<std::ptrdiff_t>(indptr[row]);
      if (from != to) {
        std::copy_n(ids.begin() + from, indptr[row + 1], ids.begin() + to);
        std::copy_n(values.begin() + from, indptr[row + 1], values.begin() + to);
      }
      indptr[row + 1] += indptr[row];
    }
  }
};

/// Whether each feature's row of `columns` holds one value, which is written down; 1 for a row that is empty.
bool find_constants(const Problem& problem, std::vector<float>& constants) {
  const CsrView<const float>& columns = problem.columns;
  constants.assign(size(columns.n_rows), 1.0F);
  std::vector<char> differs(size(problem.ctx.n_threads), 0);
  parallel_for(problem.ctx, columns.n_rows, Offset{1} << 12, [&](Offset begin, Offset end, int worker) {
    for (Offset u = begin; u < end && differs[size(worker)] == 0; ++u) {
      const std::span<const float> values = columns.row_values(u);
      if (values.empty()) continue;
      constants[size(u)] = values.front();
      for (const float value : values) differs[size(worker)] |= static_cast<char>(value != values.front());
    }
  });
  return std::none_of(differs.begin(), differs.end(), [](char is) { return is != 0; });
}

/// Whether row i and column j give the same sum as row j and column i, given that the rows are the columns and each
/// feature has one value: either that is its value in `rows` too, or all values there are equal.
bool has_symmetric_sums(const Problem& problem, const std::vector<float>& constants) {
  const CsrView<const float>& rows = problem.rows;
  if (problem.first != 0 || rows.n_rows != problem.columns.n_cols || rows.nnz() == 0) return false;
  std::vector<char> uneven(size(problem.ctx.n_threads), 0), other(size(problem.ctx.n_threads), 0);
  const float value = rows.values[0];
  parallel_for(problem.ctx, rows.nnz(), Offset{1} << 18, [&](Offset begin, Offset end, int worker) {
    bool is_uneven = false, is_other = false;
    for (Offset at = begin; at < end; ++at) {
      is_uneven |= rows.values[at] != value;
      is_other |= rows.values[at] != constants[size(rows.indices[at])];
    }
    uneven[size(worker)] |= static_cast<char>(is_uneven);
    other[size(worker)] |= static_cast<char>(is_other);
  });
  const auto is_set = [](char is) { return is != 0; };
  return std::none_of(uneven.begin(), uneven.end(), is_set) || std::none_of(other.begin(), other.end(), is_set);
}

/// Columns by falling number of entries, equal ones by rising id.
std::vector<Id> order_by_count(const CsrView<const float>& columns, std::vector<Offset>& counts) {
  counts.assign(size(columns.n_cols), 0);
  for (Offset at = 0; at < columns.nnz(); ++at) ++counts[size(columns.indices[at])];
  std::vector<Id> order(size(columns.n_cols));
  std::iota(order.begin(), order.end(), Id{0});
  std::stable_sort(order.begin(), order.end(), [&](Id a, Id b) { return counts[size(a)] > counts[size(b)]; });
  return order;
}

/// How many of the columns, ordered by falling count, are cheaper to add as flags than to scatter.
Offset count_flagged(const Problem& problem, const std::vector<Id>& order, const std::vector<Offset>& counts,
                     double n_products, bool is_symmetric, bool is_count) {
  const auto nnz = static_cast<double>(std::max<Offset>(1, problem.columns.nnz()));
  // What symmetry saves, the scattering of their own rows, comes on top.
  const double gain = (is_count ? kCountGain : kFlagGain) * (is_symmetric ? 2 : 1) * n_products / nnz;
  const auto n_rows_entries = static_cast<double>(problem.rows.nnz());
  const auto pays = [&](Offset place) {
    return static_cast<double>(counts[size(order[size(place)])]) * gain > n_rows_entries;
  };
  Offset n = 0;
  while (n < problem.columns.n_cols && pays(n)) {
    ++n;
  }
  const Offset most = 64 * problem.columns.nnz() / std::max<Offset>(1, problem.columns.n_rows);  // no more than lists
  n = std::min({n, most, kMostFlagged, problem.columns.n_cols});
  return n / kFlagColumns * kFlagColumns;
}

/// Fills `bits`, or the lists: what each feature's row of the columns holds.
template <class Place>
void fill_lists(const Problem& problem, Columns<Place>& out) {
  const CsrView<const float>& columns = problem.columns;
  const Offset n_features = columns.n_rows, n_flagged = out.n_flagged;
  out.begins.assign(size(n_features) + 1, 0);
  out.bits = Scratch<std::uint8_t>(size(n_features * n_flagged / 8));
  parallel_for(problem.ctx, n_features, Offset{1} << 11, [&](Offset begin, Offset end, int) {
    for (Offset block = 0; block < n_flagged / kFlagColumns; ++block) {
      std::fill_n(out.bits.get() + (block * n_features + begin) * kFlagBytes, (end - begin) * kFlagBytes,
                  std::uint8_t{0});
    }
    for (Offset u = begin; u < end; ++u) {
      Offset n_listed = 0;
      for (const Id id : columns.row_indices(u)) {
        const Offset place = out.place_of[size(id)];
        n_listed += static_cast<Offset>(place >= n_flagged);
        if (place >= n_flagged) continue;
        const Offset within = place % kFlagColumns;
        std::uint8_t* flags = out.bits.get() + (place / kFlagColumns * n_features + u) * kFlagBytes;
        flags[within / 8] |= static_cast<std::uint8_t>(1U << (within % 8));
      }
      out.begins[size(u) + 1] = n_listed;
    }
  });
  std::partial_sum(out.begins.begin(), out.begins.end(), out.begins.begin());
  out.places.resize(size(out.begins.back()));
  if (!out.is_flat) out.values.resize(out.places.size());
  parallel_for(problem.ctx, n_features, Offset{1} << 11, [&](Offset begin, Offset end, int) {
    std::vector<std::pair<Place, float>> sorted;
    for (Offset u = begin; u < end; ++u) {
      const std::span<const Id> ids = columns.row_indices(u);
      const std::span<const float> values = columns.row_values(u);
      sorted.clear();
      for (std::size_t e = 0; e < ids.size(); ++e) {
        const Offset place = out.place_of[size(ids[e])];
        if (place >= n_flagged) sorted.emplace_back(static_cast<Place>(place - n_flagged), values[e]);
      }
      if (out.n_tiles > 1) std::sort(sorted.begin(), sorted.end());
      std::size_t at = size(out.begins[size(u)]);
      for (const auto& [place, value] : sorted) {
        out.places[at] = place;
        if (!out.is_flat) out.values[at] = value;
        ++at;
      }
    }
  });
}

/// The least sum that a column needs for a similarity above some threshold: slope * right + offset, a little too low.
struct Screen {
  float slope = 0, offset = 0;

  Screen() = default;
  Screen(const Similarity& measure, float left, float threshold) {
    const double t = std::max(0.0, static_cast<double>(std::max(threshold, measure.minimum)) * (1 - 1e-5));
    if (measure.denominator == Denominator::kProduct) {
      set(t * left, t * measure.shrinkage);
      return;
    }
    const double share = 1 - t * measure.overlap;
    if (share <= 1e-5) return;  // no finite sum is too low for sure
    set(t / share, t / share * (static_cast<double>(left) + measure.shrinkage));
  }

 private:
  void set(double a, double b) {
    constexpr double kMost = 1e38;  // finite, or 0 times it would be no number
    slope = static_cast<float>(std::min(a, kMost) * (1 - 1e-6));
    offset = static_cast<float>(std::min(b, kMost) * (1 - 1e-6));
  }
};

/// The similarity of a pair; -1 where it has none.
float similarity_of(const Similarity& measure, float sum, float left, float right) {
  const float denominator = measure.denominator == Denominator::kProduct
                                ? left * right + measure.shrinkage
                                : left + right + measure.overlap * sum + measure.shrinkage;
  const float similarity = sum / denominator;
  return denominator > 0 && similarity <= std::numeric_limits<float>::max() ? similarity : -1;
}

/// Columns that are to be offered to a row.
struct Candidates {
  static constexpr Offset kRoom = 1024;
  Id places[kRoom];
  float sums[kRoom], rights[kRoom], supports[kRoom], denominators[kRoom], scores[kRoom];
  float zeros[kRoom] = {};
  Id found[kRoom];
  Offset n = 0;
  bool has_supports = false;  // or the sums are counts, if somebody asks
  std::uint32_t hint = 0;     // bits of the last limit: rows come by number of entries, and the next is like this one

  [[nodiscard]] Offset padded() const { return rounded_up(n, kScanColumns); }
};

/// Offers columns to the selector of one row, and knows what a further one needs.
class Offers {
 public:
  template <class Place>
  Offers(const Problem& problem, const Columns<Place>& columns, Offset row, SelectorBlock& best, Offset slot)
      : problem_(&problem), ids_(columns.ids.data()), best_(&best), slot_(slot), left_(problem.left[size(row)]) {
    update();
  }

  [[nodiscard]] const Screen& screen() const { return screen_; }

  /// Offers what has passed the screen, and empties `given`.
  void offer(Candidates& given) {
    score(given);
    const float limit = limit_of(given);
    const simd::MicroKernels& micro = *problem_->ctx.micro;
    const Offset n_found = micro.find_above(given.padded(), given.scores, given.zeros, 0, limit, given.found);
    for (Offset f = 0; f < n_found; ++f) {
      const Id c = given.found[f];
      best_->offer(slot_, given.scores[c], ids_[given.places[c]]);
    }
    given.n = 0;
    if (best_->threshold(slot_) > threshold_) update();
  }

  /// One column, whose sum is its count if somebody asks for support.
  void offer(Offset place, float sum, float right) {
    const float score = similarity_of(problem_->measure, sum, left_, right);
    if (!(score >= best_->threshold(slot_) && score > problem_->measure.minimum)) return;
    if (problem_->measure.min_support > 1 && sum < least_support()) return;
    best_->offer(slot_, score, ids_[place]);
    if (best_->threshold(slot_) > threshold_) update();
  }

 private:
  /// As `similarity_of`; -1 for what is no candidate.
  void score(Candidates& given) const {
    const Similarity measure = problem_->measure;
    const float left = left_;
    const Offset n = given.n;
    if (measure.denominator == Denominator::kProduct) {
      for (Offset c = 0; c < n; ++c) given.denominators[c] = left * given.rights[c] + measure.shrinkage;
    } else {
      for (Offset c = 0; c < n; ++c) {
        given.denominators[c] = left + given.rights[c] + measure.overlap * given.sums[c] + measure.shrinkage;
      }
    }
    const Offset n_padded = given.padded();
    std::fill(given.denominators + n, given.denominators + n_padded, 0.0F);  // of no pair, so of no score
    std::fill(given.sums + n, given.sums + n_padded, 0.0F);
    problem_->ctx.micro->quotients(n_padded, given.sums, given.denominators, given.scores);
    if (measure.min_support <= 1) return;
    const float* supports = given.has_supports ? given.supports : given.sums;
    for (Offset c = 0; c < n; ++c) given.scores[c] = supports[c] < least_support() ? -1.0F : given.scores[c];
  }

  /// A score that each of the best k exceeds, and not many others do.
  [[nodiscard]] float limit_of(Candidates& given) const {
    const auto as_bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };  // ordered as positive numbers are
    const auto as_float = [](std::uint32_t bits) { return std::bit_cast<float>(bits); };
    const float threshold = best_->threshold(slot_), minimum = problem_->measure.minimum;
    // Columns do not come by rising id, so one that ties with the threshold may yet win.
    const float least = threshold > minimum ? std::max(as_float(as_bits(threshold) - 1), minimum) : minimum;
    const Offset k = problem_->k, enough = k + k / 2;
    if (given.n <= enough) return least;
    std::uint32_t low = as_bits(least), high = as_bits(std::numeric_limits<float>::infinity());
    std::uint32_t middle = given.hint;
    for (int step = 0; step < kLimitSteps; ++step) {
      if (middle <= low || middle >= high) middle = low + (high - low) / 2;
      const Offset n_above = problem_->ctx.micro->count_above(given.padded(), given.scores, as_float(middle));
      (n_above >= k ? low : high) = middle;
      if (n_above >= k && n_above <= enough) break;
      // The hint is near: steps from it double.
      const std::uint32_t stride = kLimitStride << (2 * step);
      middle = n_above >= k ? middle + stride : middle - std::min(middle, stride);
    }
    given.hint = low;
    return as_float(low);
  }

  [[nodiscard]] float least_support() const { return static_cast<float>(problem_->measure.min_support); }

  void update() {
    threshold_ = best_->threshold(slot_);
    screen_ = Screen(problem_->measure, left_, threshold_);
  }

  const Problem* problem_;
  const Id* ids_;
  SelectorBlock* best_;
  Offset slot_;
  float left_, threshold_ = 0;
  Screen screen_;
};

/// Sorts words by the `n_bits` from bit 32 on, which differ: byte by byte, as a comparison cannot be foretold.
void sort_by_upper(std::vector<std::uint64_t>& words, std::vector<std::uint64_t>& other, int n_bits) {
  constexpr std::size_t kFew = 48;
  if (words.size() < kFew) {
    std::sort(words.begin(), words.end());
    return;
  }
  other.resize(words.size());
  for (int shift = 32; shift < 32 + n_bits; shift += 8) {
    std::uint32_t begins[257] = {};
    for (const std::uint64_t word : words) ++begins[(word >> shift & 0xFF) + 1];
    for (int digit = 0; digit < 255; ++digit) begins[digit + 1] += begins[digit];
    for (const std::uint64_t word : words) other[begins[word >> shift & 0xFF]++] = word;
    words.swap(other);
  }
}

/// Compares rows with the scratch of one thread.
template <class Place>
class Comparer {
 public:
  Comparer(const Problem& problem, const Columns<Place>& columns)
      : problem_(problem),
        columns_(columns),
        counts_(problem.measure.min_support > 1 && !columns.is_count),
        width_(std::min(columns.n_tail, kTileColumns)),
        sums_(make_sums(width_)),
        flagged_(make_sums(columns.n_flagged)),
        found_(size(std::max(width_, columns.n_flagged) + kScanColumns)),
        candidates_(std::make_unique<Candidates>()),
        best_(1, problem.k, problem.columns.n_cols) {
    candidates_->has_supports = counts_;
    if (!counts_) return;
    supports_ = make_sums(width_);
    flagged_supports_ = make_sums(columns.n_flagged);
  }

  /// The columns most similar to a row; its sums with flagged ones are written to `panel`, if that is not null.
  std::span<Key> compare(Offset row, float* panel) {
    best_.reset(1);
    Offers offers(problem_, columns_, row, best_, 0);
    start(row);
    take_flagged(offers);
    if (panel != nullptr) std::copy_n(flagged_.get(), columns_.n_flagged, panel);
    for (Offset tile = 0; tile < columns_.n_tiles; ++tile) take_tile(offers, tile);
    return best_.best(0);
  }

  /// Offers the flagged columns alone.
  void offer_flagged(Offset row, SelectorBlock& best, Offset slot) {
    Offers offers(problem_, columns_, row, best, slot);
    start(row);
    take_flagged(offers);
  }

  std::vector<std::uint64_t>& words() { return words_; }
  std::vector<std::uint64_t>& other_words() { return other_words_; }

 private:
  static Scratch<float> make_sums(Offset n) {
    Scratch<float> sums(size(rounded_up(n, kScanColumns)));
    std::fill_n(sums.get(), rounded_up(n, kScanColumns), 0.0F);
    return sums;
  }

  /// What each product of the row's features is, where that does not depend on the column.
  void start(Offset row) {
    self_ = problem_.first < 0 ? -1 : Offset{columns_.place_of[size(problem_.first + row)]};
    features_ = problem_.rows.row_indices(row);
    const std::span<const float> values = problem_.rows.row_values(row);
    weights_.assign(values.begin(), values.end());
    if (columns_.is_flat) {
      for (std::size_t p = 0; p < weights_.size(); ++p) weights_[p] *= columns_.constants[size(features_[p])];
    }
    if (counts_ && ones_.size() < weights_.size()) ones_.assign(weights_.size(), 1.0F);
    if (columns_.n_tiles == 1) return;
    next_.resize(features_.size());
    for (std::size_t p = 0; p < next_.size(); ++p) next_[p] = columns_.begins[size(features_[p])];
  }

  void add_flags(const float* weights, float* sums) {
    const auto n = static_cast<Offset>(features_.size());
    if (columns_.is_count && n < Offset{1} << simd::kCountBits) {
      for (Offset block = 0; block * kFlagColumns < columns_.n_flagged; ++block) {
        problem_.ctx.micro->count_flagged(n, features_.data(), columns_.block_bits(block), sums + block * kFlagColumns);
      }
      return;
    }
    std::fill_n(sums, columns_.n_flagged, 0.0F);
    for (Offset block = 0; block * kFlagColumns < columns_.n_flagged; ++block) {
      for (Offset p = 0; p < n; p += kGroup) {
        problem_.ctx.micro->add_flagged(std::min(kGroup, n - p), features_.data() + p, weights + p,
                                        columns_.block_bits(block), sums + block * kFlagColumns);
      }
    }
  }

  void take_flagged(Offers& offers) {
    if (columns_.n_flagged == 0) return;
    add_flags(weights_.data(), flagged_.get());
    if (counts_) add_flags(ones_.data(), flagged_supports_.get());
    if (self_ >= 0 && self_ < columns_.n_flagged) flagged_[size(self_)] = 0;
    scan(offers, 0, columns_.n_flagged, flagged_.get(), counts_ ? flagged_supports_.get() : flagged_.get(), 0);
  }

  /// Offers what passes the screen of n columns from place `first` on.
  void scan(Offers& offers, Offset first, Offset n, const float* sums, const float* supports, Offset place) {
    const float* right = columns_.right.get() + place;
    constexpr Offset kStep = Candidates::kRoom;  // between two looks at the threshold
    for (Offset begin = first; begin < n; begin += kStep) {
      const Offset length = std::min(kStep, rounded_up(n, kScanColumns) - begin);
      const Screen& screen = offers.screen();
      const Offset n_found = problem_.ctx.micro->find_above(length, sums + begin, right + begin, screen.slope,
                                                            screen.offset, found_.get());
      Candidates& given = *candidates_;
      given.n = n_found;
      for (Offset f = 0; f < n_found; ++f) {
        const Offset at = begin + found_.get()[f];
        given.places[f] = static_cast<Id>(place + at);
        given.sums[f] = sums[at];
        given.rights[f] = right[at];
      }
      if (counts_) {
        for (Offset f = 0; f < n_found; ++f) given.supports[f] = supports[begin + found_.get()[f]];
      }
      offers.offer(given);
    }
  }

  void take_tile(Offers& offers, Offset tile) {
    const Offset begin = tile * kTileColumns, width = std::min(kTileColumns, columns_.n_tail - begin);
    if (width <= 0) return;
    ends_.resize(features_.size());
    Offset n_products = 0;
    for (std::size_t p = 0; p < features_.size(); ++p) {
      if (p + 2 * kAhead < features_.size()) prefetch(&columns_.begins[size(features_[p + 2 * kAhead])]);
      const auto [from, to] = list(p, begin + width);
      n_products += to - from;
      ends_[p] = to;
    }
    if (n_products == 0) return;
    const bool is_sparse = n_products * kScanGain < width;
    is_sparse ? scatter<true>(begin) : scatter<false>(begin);
    const Offset self = self_ - columns_.n_flagged - begin;
    if (self_ >= columns_.n_flagged && self >= 0 && self < width) sums_[size(self)] = 0;
    if (is_sparse) {
      take_touched(offers, begin);
    } else {
      const float* supports = counts_ ? supports_.get() : sums_.get();
      scan(offers, 0, width, sums_.get(), supports, columns_.n_flagged + begin);
      std::fill_n(sums_.get(), width, 0.0F);
      if (counts_) std::fill_n(supports_.get(), width, 0.0F);
    }
    if (columns_.n_tiles > 1) next_.swap(ends_);
  }

  [[nodiscard]] Offset begin_of(std::size_t p) const {
    return columns_.n_tiles == 1 ? columns_.begins[size(features_[p])] : next_[p];
  }

  /// Where the places below `stop` of a feature's list lie, those before this tile left out.
  [[nodiscard]] std::pair<Offset, Offset> list(std::size_t p, Offset stop) const {
    const Offset from = begin_of(p), end = columns_.begins[size(features_[p]) + 1];
    if (columns_.n_tiles == 1 || from == end || static_cast<Offset>(columns_.places[size(end - 1)]) < stop) {
      return {from, end};
    }
    const Place* places = columns_.places.data();
    return {from, std::lower_bound(places + from, places + end, stop) - places};
  }

  void prefetch_list(std::size_t p) const {
    if (p >= features_.size()) return;
    const auto* from = reinterpret_cast<const char*>(columns_.places.data() + begin_of(p));
    const auto n_bytes =
        std::min<Offset>((ends_[p] - begin_of(p)) * static_cast<Offset>(sizeof(Place)), kListBytesAhead);
    for (Offset at = 0; at < n_bytes; at += static_cast<Offset>(kCacheLine)) prefetch(from + at);
  }

  /// Adds the products of this tile to their sums, and with kTouches lists the places whose sums were 0 before.
  template <bool kTouches>
  void scatter(Offset begin) {
    float* sums = sums_.get();
    const Place* places = columns_.places.data();
    const float* values = columns_.is_flat ? nullptr : columns_.values.data();
    Id* touched = found_.get();
    Offset n_touched = 0;
    for (std::size_t p = 0; p < features_.size(); ++p) {
      prefetch_list(p + kAhead);
      const Offset to = ends_[p];
      const float weight = weights_[p];
      for (Offset at = begin_of(p); at < to; ++at) {
        const Offset place = static_cast<Offset>(places[at]) - begin;
        const float before = sums[place];
        if constexpr (kTouches) {  // stays only if it is new: a branch would be mispredicted every other time
          touched[n_touched] = static_cast<Id>(place);
          n_touched += static_cast<Offset>(std::bit_cast<std::uint32_t>(before) == 0);  // no sum becomes -0
        }
        sums[place] = before + (values == nullptr ? weight : weight * values[at]);
      }
    }
    n_touched_ = n_touched;
    if (!counts_) return;
    float* supports = supports_.get();
    for (std::size_t p = 0; p < features_.size(); ++p) {
      for (Offset at = begin_of(p), to = ends_[p]; at < to; ++at) {
        supports[static_cast<Offset>(places[at]) - begin] += 1.0F;
      }
    }
  }

  /// Offers the columns that were touched, and forgets their sums. One whose sum was 0 in between stands there twice,
  /// the second time without a sum.
  void take_touched(Offers& offers, Offset begin) {
    const Offset first = columns_.n_flagged + begin;
    const float* right = columns_.right.get() + first;
    Candidates& given = *candidates_;
    for (Offset t = 0; t < n_touched_; t += Candidates::kRoom) {
      const Offset n = std::min(Candidates::kRoom, n_touched_ - t);
      const Id* touched = found_.get() + t;
      for (Offset c = 0; c < n; ++c) {
        const Id place = touched[c];
        given.places[c] = static_cast<Id>(first) + place;
        given.sums[c] = std::exchange(sums_[size(place)], 0.0F);
        given.rights[c] = right[place];
      }
      if (counts_) {
        for (Offset c = 0; c < n; ++c) given.supports[c] = std::exchange(supports_[size(touched[c])], 0.0F);
      }
      given.n = n;
      offers.offer(given);
    }
  }

  const Problem& problem_;
  const Columns<Place>& columns_;
  bool counts_;
  Offset width_;
  Scratch<float> sums_, flagged_, supports_, flagged_supports_;
  Scratch<Id> found_;
  std::vector<float> weights_, ones_;
  std::vector<Offset> next_, ends_;
  Offset n_touched_ = 0, self_ = -1;
  std::vector<std::uint64_t> words_, other_words_;
  std::unique_ptr<Candidates> candidates_;
  SelectorBlock best_;
  std::span<const Id> features_;
};

template <class Place>
class Solver {
 public:
  Solver(const Problem& problem, const Columns<Place>& columns, const Neighbours& out)
      : problem_(problem), columns_(columns), out_(out), comparers_(size(problem.ctx.n_threads)) {}

  /// Every row by itself.
  void solve_each(Offset grain) {
    parallel_for(problem_.ctx, problem_.rows.n_rows, grain, [&](Offset begin, Offset end, int worker) {
      for (Offset row = begin; row < end; ++row) write(row, comparer(worker).compare(row, nullptr), worker);
    });
  }

  /// Sums of tail rows and flagged columns are those of flagged rows and tail columns: done once.
  void solve_symmetric() {
    const Offset n_flagged = columns_.n_flagged;
    SelectorBlock best(n_flagged, problem_.k, problem_.columns.n_cols);
    best.reset(n_flagged);
    parallel_for(problem_.ctx, n_flagged, 4, [&](Offset begin, Offset end, int worker) {
      for (Offset place = begin; place < end; ++place) {
        comparer(worker).offer_flagged(columns_.ids[size(place)], best, place);
      }
    });
    const Offset n_panel = std::max<Offset>(64, kPanelBytes / (n_flagged * static_cast<Offset>(sizeof(float))));
    const Scratch<float> panel(size(std::min(n_panel, columns_.n_tail) * n_flagged));
    for (Offset start = n_flagged; start < columns_.n; start += n_panel) {
      const Offset stop = std::min(columns_.n, start + n_panel);
      parallel_for(problem_.ctx, stop - start, 4, [&](Offset begin, Offset end, int worker) {
        for (Offset i = begin; i < end; ++i) {
          const Offset row = columns_.ids[size(start + i)];
          write(row, comparer(worker).compare(row, panel.get() + i * n_flagged), worker);
        }
      });
      parallel_for(problem_.ctx, n_flagged, kPanelColumns,
                   [&](Offset begin, Offset end, int) { offer_panel(panel.get(), start, stop, begin, end, best); });
    }
    parallel_for(problem_.ctx, n_flagged, 16, [&](Offset begin, Offset end, int worker) {
      for (Offset place = begin; place < end; ++place) write(columns_.ids[size(place)], best.best(place), worker);
    });
  }

 private:
  Comparer<Place>& comparer(int worker) {
    auto& one = comparers_[size(worker)];
    if (!one) one = std::make_unique<Comparer<Place>>(problem_, columns_);
    return *one;
  }

  /// Writes a row's best by rising id.
  void write(Offset row, std::span<Key> keys, int worker) {
    std::vector<std::uint64_t>& words = comparer(worker).words();
    words.clear();
    for (const Key key : keys) {
      words.push_back(static_cast<std::uint64_t>(key_id(key)) << 32 | std::bit_cast<std::uint32_t>(key_score(key)));
    }
    sort_by_upper(words, comparer(worker).other_words(), std::bit_width(static_cast<std::uint64_t>(columns_.n)));
    out_.indptr[size(row) + 1] = static_cast<Offset>(words.size());
    std::size_t at = size(row * problem_.k);
    for (const std::uint64_t word : words) {
      out_.ids[at] = static_cast<Id>(word >> 32);
      out_.values[at++] = std::bit_cast<float>(static_cast<std::uint32_t>(word));
    }
  }

  /// Offers the columns at places [start, stop) to the rows at places [begin, end), from the panel of their sums.
  void offer_panel(const float* panel, Offset start, Offset stop, Offset begin, Offset end, SelectorBlock& best) {
    std::vector<Offers> offers;
    offers.reserve(size(end - begin));
    for (Offset place = begin; place < end; ++place)
      offers.emplace_back(problem_, columns_, columns_.ids[size(place)], best, place);
    std::vector<float> slopes(offers.size()), offsets(offers.size());
    const auto look = [&](std::size_t h) {
      slopes[h] = offers[h].screen().slope;
      offsets[h] = offers[h].screen().offset;
    };
    for (std::size_t h = 0; h < offers.size(); ++h) look(h);
    for (Offset place = start; place < stop; ++place) {
      const float* sums = panel + (place - start) * columns_.n_flagged + begin;
      const float right = columns_.right.get()[place];
      for (std::size_t h = 0; h < offers.size(); ++h) {
        if (!(sums[h] > slopes[h] * right + offsets[h])) continue;
        offers[h].offer(place, sums[h], right);
        look(h);
      }
    }
  }

  const Problem& problem_;
  const Columns<Place>& columns_;
  Neighbours out_;
  std::vector<std::unique_ptr<Comparer<Place>>> comparers_;
};

template <class Place>
void solve(const Problem& problem, const Neighbours& out) {
  const CsrView<const float>& given = problem.columns;
  Columns<Place> columns;
  columns.n = given.n_cols;
  columns.n_features = given.n_rows;
  columns.is_flat = find_constants(problem, columns.constants);
  const bool is_symmetric = columns.is_flat && has_symmetric_sums(problem, columns.constants);
  const auto is_one = [](float value) { return value == 1; };
  columns.is_count = columns.is_flat &&
                     std::all_of(problem.rows.values, problem.rows.values + problem.rows.nnz(), is_one) &&
                     std::all_of(columns.constants.begin(), columns.constants.end(), is_one);
  const bool counts = problem.measure.min_support > 1 && !columns.is_count;

  std::vector<Offset> counts_of_columns;
  columns.ids = order_by_count(given, counts_of_columns);
  double n_products = 0;
  for (Offset at = 0; at < problem.rows.nnz(); ++at) {
    n_products += static_cast<double>(given.row_size(problem.rows.indices[at]));
  }
  if (columns.is_flat) {
    columns.n_flagged =
        count_flagged(problem, columns.ids, counts_of_columns, n_products, is_symmetric, columns.is_count);
  }
  const Offset selector_bytes = SelectorBlock::bytes_each(problem.k, problem.k, given.n_cols);
  const bool once =
      is_symmetric && !counts && columns.n_flagged > 0 && columns.n_flagged * selector_bytes <= kSelectorBytes;
  columns.n_tail = columns.n - columns.n_flagged;
  columns.n_tiles = std::max<Offset>(1, (columns.n_tail + kTileColumns - 1) / kTileColumns);
  columns.right = Scratch<float>(size(columns.n_flagged + rounded_up(columns.n_tail, kScanColumns)));
  columns.place_of.resize(size(columns.n));
  for (Offset place = 0; place < columns.n; ++place) {
    columns.place_of[size(columns.ids[size(place)])] = static_cast<Id>(place);
    columns.right[size(place)] = problem.right[size(columns.ids[size(place)])];
  }
  std::fill(columns.right.get() + columns.n,
            columns.right.get() + columns.n_flagged + rounded_up(columns.n_tail, kScanColumns), 0.0F);
  fill_lists(problem, columns);

  Solver<Place> solver(problem, columns, out);
  const double each = n_products / static_cast<double>(std::max<Offset>(1, problem.rows.n_rows));
  const auto grain = static_cast<Offset>(static_cast<double>(kTaskProducts) / (each + 1)) + 1;
  if (once) {
    solver.solve_symmetric();
  } else {
    solver.solve_each(grain);
  }
}

}  // namespace

void similarity(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
                std::span<const float> left, std::span<const float> right, const Similarity& measure, Offset k,
                Offset first, std::span<Offset> indptr, std::span<Id> ids, std::span<float> values) {
  const auto length = [](const auto& span) { return static_cast<Offset>(span.size()); };
  check_equal(kName, "rows", rows.n_cols, "columns", "columns", columns.n_rows, "rows");
  check_equal(kName, "left", length(left), "entries", "rows", rows.n_rows, "rows");
  check_equal(kName, "right", length(right), "entries", "columns", columns.n_cols, "columns");
  check_that(k >= 1, kName, "k must be >= 1, got " + std::to_string(k));
  check_that(k <= std::max<Offset>(1, columns.n_cols), kName, "k must not exceed the number of columns");
  check_equal(kName, "indptr", length(indptr), "entries", "what is needed", rows.n_rows + 1, "entries");
  check_equal(kName, "ids", length(ids), "entries", "what is needed", rows.n_rows * k, "entries");
  check_equal(kName, "values", length(values), "entries", "what is needed", rows.n_rows * k, "entries");
  check_that(measure.minimum >= 0, kName, "minimum must be >= 0");
  check_that(measure.shrinkage >= 0, kName, "shrinkage must be >= 0");
  const auto is_usable = [](float x) { return x >= 0 && std::isfinite(x); };
  check_that(std::all_of(left.begin(), left.end(), is_usable), kName, "left must be finite and >= 0");
  check_that(std::all_of(right.begin(), right.end(), is_usable), kName, "right must be finite and >= 0");
  check_that(first < 0 || first + rows.n_rows <= columns.n_cols, kName, "there must be a column for each row");
  const Problem problem = {ctx, rows, columns, left, right, measure, first, k};
  const Neighbours out = {indptr, ids, values};
  if (columns.n_cols <= std::numeric_limits<std::uint16_t>::max()) {
    solve<std::uint16_t>(problem, out);
  } else {
    solve<std::uint32_t>(problem, out);
  }
  out.close_gaps(k);
}

}  // namespace likewise::cpu
