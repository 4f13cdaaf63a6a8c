#include "topk.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <memory>
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

constexpr Offset kQueryBytes = Offset{256} << 10;   // a block of queries: a share of the second-level cache
constexpr Offset kSelectorBytes = Offset{4} << 20;  // their buffers, of which only the ends are touched
constexpr Offset kPackedBytes = Offset{64} << 10;   // packed items
constexpr Offset kMergeBytes = Offset{256} << 20;   // best pairs of pieces of the items
constexpr Offset kTaskProducts = Offset{1} << 20;   // multiply-adds that outweigh the start of a thread
constexpr Offset kTasksEach = 4;                    // tasks a thread, for balance

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

Plan make_plan(int n_threads, Offset n, Offset n_candidates, Offset d, Offset k) {
  const Offset query_bytes = 4 * std::max<Offset>(1, d);
  const Offset most_rows =
      std::min(kQueryBytes / query_bytes, kSelectorBytes / SelectorBlock::bytes_each(k, n_candidates));
  const Offset n_blocks = divide_up(n, std::max(kTileRows, most_rows));
  const Offset block_rows = round_up(divide_up(n, n_blocks), kTileRows);

  const Offset wanted = n_threads == 1 ? 1 : divide_up(kTasksEach * n_threads, n_blocks);
  const Offset products = block_rows * n_candidates * d;
  const Offset merge_bytes = n * std::min(k, n_candidates) * static_cast<Offset>(sizeof(Key));
  const Offset most_ranges = std::min(products / kTaskProducts, kMergeBytes / std::max<Offset>(1, merge_bytes));
  const Offset n_ranges = std::max<Offset>(1, std::min(wanted, most_ranges));
  const Offset range_size = std::max(kTileCols, round_up(divide_up(n_candidates, n_ranges), kTileCols));
  return {block_rows, divide_up(n, block_rows), range_size, std::max<Offset>(1, divide_up(n_candidates, range_size))};
}

/// Scores blocks of queries against ranges of candidates with the scratch of one thread.
class Scanner {
 public:
  Scanner(const simd::MicroKernels& micro, MatrixView<const float> queries, MatrixView<const float> items,
          const Scale& scale, const Exclusions& exclude, const Candidates& candidates, const Plan& plan, Offset k)
      : micro_(micro),
        queries_(queries),
        items_(items),
        scale_(scale),
        exclude_(exclude),
        candidates_(candidates),
        group_(std::max(kTileCols, kPackedBytes / (4 * kTileCols * std::max<Offset>(1, items.n_cols)) * kTileCols)),
        packed_(static_cast<std::size_t>(packed_size(group_, items.n_cols))),
        edge_(static_cast<std::size_t>(kTileRows * items.n_cols)),
        selectors_(plan.block_rows, k, std::min(plan.range_size, candidates.size())) {}

  /// The selectors of queries [first, last) after candidates [begin, end).
  SelectorBlock& scan(Offset first, Offset last, Offset begin, Offset end) {
    selectors_.reset(round_up(last - first, kTileRows));
    for (Offset at = begin; at < end; at += group_) {
      const Offset n = std::min(group_, end - at);
      if (candidates_.listed()) {
        pack_rows(micro_, items_, candidates_.ids(at, at + n), packed_.get());
      } else {
        pack_rows(micro_, items_, at, at + n, packed_.get());
      }
      if (scale_) scale_packed(at, n);
      multiply_block(micro_, queries_.row(first), queries_.n_cols, last - first, packed_.get(), n, queries_.n_cols,
                     edge_.get(), [&](Offset row, Offset col, const float* tile, Offset rows, Offset cols) {
                       offer_tile(first, row, at + col, tile, rows, cols);
                     });
    }
    return selectors_;
  }

 private:
  /// Multiplies packed candidates [at, at + n) by their scales.
  void scale_packed(Offset at, Offset n) {
    for (Offset col = 0; col < n; col += kTileCols) {
      const Offset cols = std::min(kTileCols, n - col);
      float factors[kTileCols] = {};
      for (Offset j = 0; j < cols; ++j) factors[j] = (*scale_)[static_cast<std::size_t>(candidates_.id(at + col + j))];
      float* packed = packed_.get() + col * items_.n_cols;
      for (Offset p = 0; p < items_.n_cols; ++p) {
        for (Offset j = 0; j < kTileCols; ++j) packed[p * kTileCols + j] *= factors[j];
      }
    }
  }

  void offer_tile(Offset first, Offset row, Offset candidate, const float* tile, Offset rows, Offset cols) {
    std::uint32_t masks[kTileRows];
    if (!micro_.tile_above(tile, selectors_.thresholds() + row, masks)) return;
    const std::uint32_t present = ~std::uint32_t{0} >> (kTileCols - cols);
    for (Offset i = 0; i < rows; ++i) {
      for (std::uint32_t mask = masks[i] & present; mask != 0; mask &= mask - 1) {
        const int j = std::countr_zero(mask);
        const float score = tile[i * kTileCols + j];
        if (!(score > selectors_.threshold(row + i))) continue;  // it has risen since the tile was compared
        const Id id = candidates_.id(candidate + j);
        if (!is_excluded(exclude_, first + row + i, id)) selectors_.offer(row + i, score, id);
      }
    }
  }

  const simd::MicroKernels& micro_;
  MatrixView<const float> queries_, items_;
  const Scale& scale_;
  const Exclusions& exclude_;
  const Candidates& candidates_;
  Offset group_;
  Scratch<float> packed_, edge_;
  SelectorBlock selectors_;
};

std::span<Id> row_span(MatrixView<Id> matrix, Offset row) {
  return {matrix.row(row), static_cast<std::size_t>(matrix.n_cols)};
}

std::span<float> row_span(MatrixView<float> matrix, Offset row) {
  return {matrix.row(row), static_cast<std::size_t>(matrix.n_cols)};
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
  if (queries.n_rows == 0) return;
  const Candidates candidates(items.n_rows, allow, deny);
  const Offset n = queries.n_rows, k = ids.n_cols;
  const Plan plan = make_plan(ctx.n_threads, n, candidates.size(), items.n_cols, k);
  const Offset kept = plan.n_ranges == 1 ? 0 : std::min(k, plan.range_size);
  const Scratch<Key> pieces(static_cast<std::size_t>(n * plan.n_ranges * kept));

  std::vector<std::unique_ptr<Scanner>> scanners(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, plan.n_blocks * plan.n_ranges, 1, [&](Offset task, Offset, int worker) {
    auto& scanner = scanners[static_cast<std::size_t>(worker)];
    if (!scanner) scanner = std::make_unique<Scanner>(*ctx.micro, queries, items, scale, exclude, candidates, plan, k);
    const Offset first = task / plan.n_ranges * plan.block_rows, last = std::min(n, first + plan.block_rows);
    const Offset range = task % plan.n_ranges, begin = range * plan.range_size;
    SelectorBlock& best = scanner->scan(first, last, begin, std::min(candidates.size(), begin + plan.range_size));
    for (Offset row = first; row < last; ++row) {
      const std::span<Key> keys = best.best(row - first);
      if (plan.n_ranges == 1) {
        write_best(keys, row_span(ids, row), row_span(scores, row));
      } else {
        Key* piece = pieces.get() + (row * plan.n_ranges + range) * kept;
        std::fill(std::copy(keys.begin(), keys.end(), piece), piece + kept, kEmptyKey);
      }
    }
  });
  if (plan.n_ranges == 1) return;
  parallel_for(ctx, n, std::max<Offset>(1, kTaskProducts / (plan.n_ranges * kept)), [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      Key* first = pieces.get() + row * plan.n_ranges * kept;
      write_best({first, static_cast<std::size_t>(plan.n_ranges * kept)}, row_span(ids, row), row_span(scores, row));
    }
  });
}

void topk_scores(const Context& ctx, MatrixView<const float> all_scores, std::optional<CsrView<const float>> exclude,
                 std::optional<std::span<const Id>> allow, std::optional<std::span<const Id>> deny, MatrixView<Id> ids,
                 MatrixView<float> scores) {
  const Offset m = all_scores.n_cols, k = ids.n_cols;
  check_arguments("topk_scores", "all_scores", all_scores.n_rows, m, exclude, allow, deny, ids, scores);
  const Candidates candidates(m, allow, deny);
  parallel_for(ctx, all_scores.n_rows, std::max<Offset>(1, kTaskProducts / std::max<Offset>(1, m)),
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
