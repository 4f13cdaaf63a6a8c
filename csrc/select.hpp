#pragma once
// What every ranking stands on: the masks of its candidates, and the one bounded selector, the best k of many
// (score, id) pairs. Order is by score descending, ties by smaller id. A score of NaN or -inf is no candidate; an empty
// slot has id -1 and score -inf.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "check.hpp"
#include "scratch.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// A (score, id) pair as one integer: the greater key is the better pair, and no two pairs of a query are equal.
using Key = std::uint64_t;

constexpr Key make_key(float score, Id id) {
  constexpr std::uint32_t kSign = 0x80000000U;
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);  // -0 becomes 0: they tie
  const std::uint32_t rising = (bits & kSign) != 0 ? ~bits : bits | kSign;
  return (static_cast<Key>(rising) << 32) | ~static_cast<std::uint32_t>(id);
}

constexpr Id key_id(Key key) { return static_cast<Id>(~static_cast<std::uint32_t>(key)); }

constexpr float key_score(Key key) {
  constexpr std::uint32_t kSign = 0x80000000U;
  const auto rising = static_cast<std::uint32_t>(key >> 32);
  return std::bit_cast<float>((rising & kSign) != 0 ? rising & ~kSign : ~rising);
}

inline constexpr float kNoScore = -std::numeric_limits<float>::infinity();
inline constexpr Key kEmptyKey = make_key(kNoScore, -1);

/// Reorders `keys` so that the k greatest come first, the least of them last; 1 <= k <= size. Quickselect whose
/// partition does not branch on the keys, which for random ones costs a misprediction every other key.
inline void select_greatest(std::span<Key> keys, std::size_t k) {
  std::size_t begin = 0, end = keys.size();
  for (int rounds = 0; end - begin > 16 && rounds < 64; ++rounds) {
    Key& last = keys[end - 1];
    const Key a = keys[begin], b = keys[begin + (end - begin) / 2], c = last;
    const Key pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
    std::swap(keys[pivot == a ? begin : pivot == b ? begin + (end - begin) / 2 : end - 1], last);
    std::size_t greater = begin;
    for (std::size_t i = begin; i + 1 < end; ++i) {
      const Key key = keys[i];
      keys[i] = keys[greater];
      keys[greater] = key;
      greater += static_cast<std::size_t>(key > pivot);
    }
    std::swap(keys[greater], last);
    if (greater + 1 == k) return;
    (greater < k ? begin : end) = greater < k ? greater + 1 : greater;
  }
  const auto at = [&](std::size_t i) { return keys.begin() + static_cast<std::ptrdiff_t>(i); };
  std::nth_element(at(begin), at(k - 1), at(end), std::greater<>());
}

/// Writes the best pairs of `keys` (reordered), best first, and fills the rest of the k slots of ids and scores with
/// empty ones.
inline void write_best(std::span<Key> keys, std::span<Id> ids, std::span<float> scores) {
  const std::size_t n = std::min(keys.size(), ids.size());
  const auto end = keys.begin() + static_cast<std::ptrdiff_t>(n);
  if (0 < n && n < keys.size()) select_greatest(keys, n);
  std::sort(keys.begin(), end, std::greater<>());
  for (std::size_t j = 0; j < ids.size(); ++j) {
    const Key key = j < n ? keys[j] : kEmptyKey;
    ids[j] = key_id(key);
    scores[j] = key_score(key);
  }
}

/// Selectors for a block of queries, each with a buffer that is cut back to the best whenever it is full: O(1) a pair
/// on average, whatever k. `threshold(row)` is a score that a further pair must exceed.
/// Precondition: within a row, ids rise, or ties do not matter. A later pair then loses every tie, so that the strict
/// comparison is exact.
class SelectorBlock {
 public:
  /// Queries [0, n_rows), the best k of at most n_candidates each.
  SelectorBlock(Offset n_rows, Offset k, Offset n_candidates) : SelectorBlock(n_rows, k, k, n_candidates) {}

  /// The best `kept` >= k, of which those are left out that fall below the k-th best by the row's margin.
  SelectorBlock(Offset n_rows, Offset k, Offset kept, Offset n_candidates)
      : k_(k),
        kept_(kept),
        capacity_(capacity(k, kept, n_candidates)),
        keys_(static_cast<std::size_t>(n_rows * capacity_)),
        sizes_(static_cast<std::size_t>(n_rows)),
        thresholds_(static_cast<std::size_t>(n_rows)),
        margins_(static_cast<std::size_t>(n_rows)) {}

  /// Bytes that one query needs.
  static constexpr Offset bytes_each(Offset k, Offset kept, Offset n_candidates) {
    return capacity(k, kept, n_candidates) * static_cast<Offset>(sizeof(Key)) + 16;
  }

  /// Forgets what the first n_rows rows held; their margins are unlimited.
  void reset(Offset n_rows) {
    std::fill_n(sizes_.get(), n_rows, Offset{0});
    std::fill_n(thresholds_.get(), n_rows, kNoScore);
    std::fill_n(margins_.get(), n_rows, -kNoScore);
  }

  [[nodiscard]] float threshold(Offset row) const { return thresholds_.get()[row]; }
  /// Leaves out what scores at most this.
  void raise_threshold(Offset row, float threshold) {
    thresholds_.get()[row] = std::max(thresholds_.get()[row], threshold);
  }
  void set_margin(Offset row, float margin) { margins_.get()[row] = margin; }

  /// Takes a pair with score > threshold(row).
  void offer(Offset row, float score, Id id) {
    Key* keys = keys_.get() + row * capacity_;
    Offset& size = sizes_.get()[row];
    keys[size++] = make_key(score, id);
    if (size == capacity_ && capacity_ > kept_) cut(row);
  }

  /// What is left of the best, in no order. Everything else offered, or not, scores at most threshold(row).
  [[nodiscard]] std::span<Key> best(Offset row) {
    if (sizes_.get()[row] > k_) cut(row);
    return {keys_.get() + row * capacity_, static_cast<std::size_t>(sizes_.get()[row])};
  }

 private:
  static constexpr Offset kSlack = 32;  // for small k: a cut must be paid by enough pairs

  static constexpr Offset capacity(Offset k, Offset kept, Offset n_candidates) {
    return std::max<Offset>(1, std::min(kept + k + kSlack, n_candidates));
  }

  void cut(Offset row) {
    Key* keys = keys_.get() + row * capacity_;
    Offset& size = sizes_.get()[row];
    float& threshold = thresholds_.get()[row];
    const auto keep_best = [&](Offset n) {
      select_greatest({keys, static_cast<std::size_t>(size)}, static_cast<std::size_t>(n));
      return key_score(keys[n - 1]);
    };
    const float least = keep_best(k_) - margins_.get()[row];
    if (k_ < kept_ && least > threshold) {
      size = std::remove_if(keys + k_, keys + size, [least](Key key) { return key_score(key) <= least; }) - keys;
      threshold = least;
    }
    if (size <= kept_) return;
    threshold = k_ == kept_ ? key_score(keys[k_ - 1]) : keep_best(kept_);
    size = kept_;
  }

  Offset k_, kept_, capacity_;
  Scratch<Key> keys_;
  Scratch<Offset> sizes_;
  Scratch<float> thresholds_, margins_;
};

// ---- masks ---------------------------------------------------------------------------------------------------------

/// Ids that rise strictly; a bit an item, that of item j being bit j mod 8 of byte j / 8; ids of each query, whose
/// values are not read.
using IdList = std::optional<std::span<const Id>>;
using Bitmap = std::optional<std::span<const std::uint8_t>>;
using Exclusions = std::optional<CsrView<const float>>;

/// Bytes of a bitmap of n items.
constexpr Offset bitmap_bytes(Offset n) { return (n + 7) / 8; }

inline bool has_bit(std::span<const std::uint8_t> bits, Id id) {
  return (bits[static_cast<std::size_t>(id) / 8] >> (id % 8) & 1U) != 0;
}

inline bool is_excluded(const Exclusions& exclude, Offset query, Id id) {
  if (!exclude) return false;
  const std::span<const Id> ids = exclude->row_indices(query);
  return std::binary_search(ids.begin(), ids.end(), id);
}

/// A row of what a kernel writes.
template <class T>
std::span<T> row_span(MatrixView<T> matrix, Offset row) {
  return {matrix.row(row), static_cast<std::size_t>(matrix.n_cols)};
}

inline void check_ids(std::string_view kernel, std::string_view name, const IdList& ids, Offset n_items) {
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

/// What every ranking of `n_items` items for the rows of `source` asks of masks and results.
inline void check_ranking(std::string_view kernel, std::string_view source, Offset n_queries, Offset n_items,
                          const Exclusions& exclude, const IdList& allow, const Bitmap& deny, MatrixView<Id> ids,
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
  if (deny) {
    check_equal(kernel, "deny", static_cast<Offset>(deny->size()), "bytes", "the catalogue", bitmap_bytes(n_items),
                "bytes of bits");
  }
}

}  // namespace likewise::cpu
