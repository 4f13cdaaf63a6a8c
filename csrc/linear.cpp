#include "linear.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "select.hpp"

namespace likewise::cpu {

namespace {

using simd::kTileCols;
using simd::kTileRows;

constexpr Offset kMirrored = 64;          // side of a square that is copied across the diagonal
constexpr Offset kUpdatedRows = 256;      // of a task: a multiple of kTileCols
constexpr Offset kUpdatedColumns = 1024;  // whose packed rows a second-level cache holds: 512 KiB
constexpr Offset kProductColumns = 64;    // of b at a time, for all rows of x

std::size_t size(Offset n) { return static_cast<std::size_t>(n); }

Offset n_groups(Offset n, Offset group) { return (n + group - 1) / group; }

/// Copies the upper triangle, times `factor`, to both.
void mirror(const Context& ctx, MatrixView<float> a, float factor) {
  const Offset n = a.n_rows;
  parallel_for(ctx, n_groups(n, kMirrored), 1, [&](Offset begin, Offset end, int) {
    for (Offset block = begin; block < end; ++block) {
      const Offset first = block * kMirrored, last = std::min(n, first + kMirrored);
      for (Offset start = first; start < n; start += kMirrored) {
        const Offset stop = std::min(n, start + kMirrored);
        for (Offset i = first; i < last; ++i) {
          for (Offset j = std::max(i, start); j < stop; ++j) a.row(j)[i] = a.row(i)[j] *= factor;
        }
      }
    }
  });
}

/// Replaces a positive-definite block (n, n) by its inverse: Gauss-Jordan elimination.
void invert_block(std::span<double> a, Offset n) {
  for (Offset k = 0; k < n; ++k) {
    double* pivot_row = a.data() + k * n;
    const double pivot = pivot_row[k];
    if (!(pivot > 0)) throw std::domain_error("invert_spd: a is not positive definite");
    pivot_row[k] = 1;
    for (Offset j = 0; j < n; ++j) pivot_row[j] /= pivot;
    for (Offset i = 0; i < n; ++i) {
      if (i == k) continue;
      double* row = a.data() + i * n;
      const double factor = row[k];
      row[k] = 0;
      for (Offset j = 0; j < n; ++j) row[j] -= factor * pivot_row[j];
    }
  }
}

/// The sweep of one block of rows over the upper triangle of a.
class Sweep {
 public:
  explicit Sweep(const Context& ctx, MatrixView<float> a)
      : ctx_(ctx),
        a_(a),
        n_tiles_(n_groups(a.n_rows, kTileCols)),
        rows_(size(n_tiles_ * kTileCols * kSweptRows)),
        products_(size(n_tiles_ * kTileCols * kSweptRows)),
        inverse_(size(kSweptRows * kSweptRows)),
        block_(size(kSweptRows * kSweptRows)) {}

  void run(Offset first) {
    first_ = first;
    depth_ = std::min(kSweptRows, a_.n_rows - first);
    invert();
    parallel_for(ctx_, n_tiles_, 8, [&](Offset begin, Offset end, int) {
      for (Offset tile = begin; tile < end; ++tile) {
        pack(tile);
        multiply(tile);
      }
    });
    update();
    parallel_for(ctx_, n_tiles_, 8, [&](Offset begin, Offset end, int) {
      for (Offset tile = begin; tile < end; ++tile) unpack(tile);
    });
    for (Offset p = 0; p < depth_; ++p) {
      for (Offset q = 0; q < depth_; ++q) a_.row(first_ + p)[first_ + q] = -inverse_[size(p * kSweptRows + q)];
    }
  }

 private:
  [[nodiscard]] float* tile_of(const Scratch<float>& packed, Offset tile) const {
    return packed.get() + tile * kTileCols * kSweptRows;
  }

  void invert() {
    const std::span<double> block(block_.data(), size(depth_ * depth_));
    for (Offset p = 0; p < depth_; ++p) {
      for (Offset q = p; q < depth_; ++q) {
        const auto value = static_cast<double>(a_.row(first_ + p)[first_ + q]);
        block[size(p * depth_ + q)] = block[size(q * depth_ + p)] = value;
      }
    }
    invert_block(block, depth_);
    // Rows that are not there, of the last block, are zeros: kTileRows of them are multiplied at a time.
    std::fill_n(inverse_.get(), kSweptRows * kSweptRows, 0.0F);
    for (Offset p = 0; p < depth_; ++p) {
      for (Offset q = 0; q < depth_; ++q) {
        // What rounding has left of symmetry goes.
        const double value = (block[size(p * depth_ + q)] + block[size(q * depth_ + p)]) / 2;
        inverse_[size(p * kSweptRows + q)] = static_cast<float>(value);
      }
    }
  }

  /// The columns of a tile of the swept rows, depth after depth; zeros beyond the last one.
  void pack(Offset tile) {
    float* out = tile_of(rows_, tile);
    const Offset start = tile * kTileCols, n = std::min(kTileCols, a_.n_rows - start);
    if (n < kTileCols) std::fill_n(out, kTileCols * kSweptRows, 0.0F);
    for (Offset j = 0; j < n; ++j) {
      const Offset column = start + j;
      for (Offset p = 0; p < depth_; ++p) {
        const Offset row = first_ + p;
        out[p * kTileCols + j] = row <= column ? a_.row(row)[column] : a_.row(column)[row];
      }
    }
  }

  void multiply(Offset tile) {
    const float* right = tile_of(rows_, tile);
    float* out = tile_of(products_, tile);
    for (Offset p = 0; p < depth_; p += kTileRows) {
      ctx_.micro->gemm_tile(depth_, inverse_.get() + p * kSweptRows, kSweptRows, 1, right, kTileCols,
                            out + p * kTileCols, kTileCols, static_cast<int>(kTileCols), simd::TileUpdate::kSet);
    }
  }

  /// a -= rows' inverse rows above the diagonal, but for the swept rows and columns.
  void update() {
    const Offset n = a_.n_rows, n_down = n_groups(n, kUpdatedRows), n_across = n_groups(n, kUpdatedColumns);
    parallel_for(ctx_, n_down * n_across, 1, [&](Offset begin, Offset end, int) {
      for (Offset task = begin; task < end; ++task) {
        const Offset top = task % n_down * kUpdatedRows, left = task / n_down * kUpdatedColumns;
        const Offset bottom = std::min(n, top + kUpdatedRows), right = std::min(n, left + kUpdatedColumns);
        for (Offset i = top; i < bottom; i += kTileRows) {
          if (i >= first_ && i < first_ + depth_) continue;
          const Offset from = std::max(left, i / kTileCols * kTileCols);
          for (Offset j = from; j < right; j += kTileCols) {
            if (j < first_ || j >= first_ + depth_) update_tile(i, j);
          }
        }
      }
    });
  }

  void update_tile(Offset i, Offset j) {
    const float* left = tile_of(rows_, i / kTileCols) + i % kTileCols;
    const float* right = tile_of(products_, j / kTileCols);
    const Offset n = a_.n_rows, n_rows = std::min(kTileRows, n - i), n_cols = std::min(kTileCols, n - j);
    if (n_rows == kTileRows && n_cols == kTileCols) {
      ctx_.micro->gemm_tile(depth_, left, 1, kTileCols, right, kTileCols, a_.row(i) + j, n, static_cast<int>(kTileCols),
                            simd::TileUpdate::kSubtract);
      return;
    }
    alignas(kCacheLine) float tile[kTileRows * kTileCols];
    ctx_.micro->gemm_tile(depth_, left, 1, kTileCols, right, kTileCols, tile, kTileCols, static_cast<int>(kTileCols),
                          simd::TileUpdate::kSet);
    for (Offset r = 0; r < n_rows; ++r) {
      for (Offset c = 0; c < n_cols; ++c) a_.row(i + r)[j + c] -= tile[r * kTileCols + c];
    }
  }

  void unpack(Offset tile) {
    const float* products = tile_of(products_, tile);
    const Offset start = tile * kTileCols, n = std::min(kTileCols, a_.n_rows - start);
    if (start >= first_ && start < first_ + depth_) return;
    for (Offset j = 0; j < n; ++j) {
      const Offset column = start + j;
      for (Offset p = 0; p < depth_; ++p) {
        const Offset row = first_ + p;
        (row <= column ? a_.row(row)[column] : a_.row(column)[row]) = products[p * kTileCols + j];
      }
    }
  }

  const Context& ctx_;
  MatrixView<float> a_;
  Offset n_tiles_, first_ = 0, depth_ = 0;
  Scratch<float> rows_, products_, inverse_;
  std::vector<double> block_;
};

/// Solves the regressions of one thread.
class Regressions {
 public:
  Regressions(const Context& ctx, CsrView<const float> correlations, std::span<const float> floors, Offset n_kept,
              Offset k)
      : micro_(*ctx.micro),
        correlations_(correlations),
        floors_(floors),
        n_kept_(n_kept),
        keys_(size(correlations.n_cols)),
        places_(size(correlations.n_cols), -1),
        matrix_(size(simd::padded(k) * simd::padded(k))),
        right_(size(simd::padded(k))) {}

  /// The regression of an item on ids.size() others.
  void solve(Offset item, std::span<Id> ids, std::span<float> values) {
    const auto n = static_cast<Offset>(ids.size());
    if (n == 0) return;
    choose(item, ids);
    const Offset d = simd::padded(n);
    float least = 1;
    for (const Id id : ids) least = std::min(least, floors_[size(id)] / 2);
    float factor = 1;
    for (int halved = 0; form(ids, d, factor, least) && !micro_.cholesky_upper(d, matrix_.get()); factor /= 2) {
      if (++halved > 64) throw std::domain_error("regress_on_nearest: correlations are beyond 1, or no numbers");
    }
    form(ids, d, factor, 0);
    if (!micro_.cholesky_upper(d, matrix_.get())) {
      throw std::domain_error("regress_on_nearest: correlations are singular in float32");
    }
    micro_.cholesky_solve(d, matrix_.get(), right_.get());
    std::copy_n(right_.get(), n, values.begin());
  }

 private:
  /// The nearest by rising id, and their correlations on the right.
  void choose(Offset item, std::span<Id> ids) {
    const std::span<const Id> all = correlations_.row_indices(item);
    const std::span<const float> numbers = correlations_.row_values(item);
    for (std::size_t e = 0; e < all.size(); ++e) keys_[e] = make_key(numbers[e], all[e]);
    const std::span<Key> keys(keys_.data(), all.size());
    if (ids.size() < keys.size()) select_greatest(keys, ids.size());
    const auto id_less = [](Key a, Key b) { return key_id(a) < key_id(b); };
    std::sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(ids.size()), id_less);
    for (std::size_t e = 0; e < ids.size(); ++e) {
      ids[e] = key_id(keys[e]);
      right_[e] = key_score(keys[e]);
    }
    std::fill(right_.get() + ids.size(), right_.get() + simd::padded(static_cast<Offset>(ids.size())), 0.0F);
  }

  /// The upper triangle of the correlations among `ids`, times `factor`, with 1 - less on the diagonal, padded to d.
  /// Returns whether some may be left out.
  bool form(std::span<const Id> ids, Offset d, float factor, float less) {
    float* matrix = matrix_.get();
    std::fill_n(matrix, d * d, 0.0F);
    for (Offset i = 0; i < d; ++i) matrix[i * d + i] = 1 - less;
    Id place = 0;
    for (const Id id : ids) places_[size(id)] = place++;
    Offset n_long = 0, n_among_long = 0;
    for (const Id id : ids) {
      const std::span<const Id> others = correlations_.row_indices(id);
      const std::span<const float> numbers = correlations_.row_values(id);
      const bool is_long = correlations_.row_size(id) >= n_kept_;
      n_long += static_cast<Offset>(is_long);
      const Offset row = places_[size(id)];
      for (std::size_t e = 0; e < others.size(); ++e) {
        const Offset column = places_[size(others[e])];
        if (column < 0) continue;
        float& entry = matrix[std::min(row, column) * d + std::max(row, column)];
        n_among_long += static_cast<Offset>(is_long && entry == 0 && correlations_.row_size(others[e]) >= n_kept_);
        entry = factor * numbers[e];
      }
    }
    for (const Id id : ids) places_[size(id)] = -1;
    return n_among_long < n_long * (n_long - 1) / 2;
  }

  const simd::MicroKernels& micro_;
  CsrView<const float> correlations_;
  std::span<const float> floors_;
  Offset n_kept_;
  std::vector<Key> keys_;
  std::vector<Id> places_;
  Scratch<float> matrix_, right_;
};

}  // namespace

void sparse_gramian(const Context& ctx, CsrView<const float> by_row, CsrView<const float> by_column,
                    MatrixView<float> out) {
  constexpr const char* kName = "sparse_gramian";
  check_equal(kName, "by_row", by_row.n_rows, "rows", "by_column", by_column.n_cols, "columns");
  check_equal(kName, "by_row", by_row.n_cols, "columns", "by_column", by_column.n_rows, "rows");
  check_equal(kName, "out", out.n_rows, "rows", "by_row", by_row.n_cols, "columns");
  check_equal(kName, "out", out.n_cols, "columns", "by_row", by_row.n_cols, "columns");
  parallel_for(ctx, out.n_rows, 4, [&](Offset begin, Offset end, int) {
    for (Offset column = begin; column < end; ++column) {
      float* sums = out.row(column);
      std::fill(sums + column, sums + out.n_cols, 0.0F);
      const std::span<const Id> rows = by_column.row_indices(column);
      const std::span<const float> values = by_column.row_values(column);
      for (std::size_t e = 0; e < rows.size(); ++e) {
        const Offset start = by_row.indptr[rows[e]], stop = by_row.indptr[rows[e] + 1];
        const Id* ids = by_row.indices;
        const float value = values[e];
        for (Offset at = std::lower_bound(ids + start, ids + stop, column) - ids; at < stop; ++at) {
          sums[ids[at]] += value * by_row.values[at];
        }
      }
    }
  });
  mirror(ctx, out, 1);
}

void invert_spd(const Context& ctx, MatrixView<float> a, Offset first, Offset last) {
  check_equal("invert_spd", "a", a.n_rows, "rows", "a", a.n_cols, "columns");
  const auto is_end = [&](Offset row) { return row % kSweptRows == 0 || row == a.n_rows; };
  check_that(0 <= first && first <= last && last <= a.n_rows && is_end(first) && is_end(last), "invert_spd",
             "first and last must be rows of a, multiples of " + std::to_string(kSweptRows) + " or their number");
  Sweep sweep(ctx, a);
  for (Offset row = first; row < last; row += kSweptRows) sweep.run(row);
  if (last == a.n_rows && first < last) mirror(ctx, a, -1);
}

void multiply_sparse(const Context& ctx, CsrView<const float> x, MatrixView<const float> b, MatrixView<float> out) {
  constexpr const char* kName = "multiply_sparse";
  check_equal(kName, "x", x.n_cols, "columns", "b", b.n_rows, "rows");
  check_equal(kName, "out", out.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kName, "out", out.n_cols, "columns", "b", b.n_cols, "columns");
  parallel_for(ctx, n_groups(b.n_cols, kProductColumns), 1, [&](Offset begin, Offset end, int) {
    for (Offset group = begin; group < end; ++group) {
      const Offset first = group * kProductColumns, n = std::min(kProductColumns, b.n_cols - first);
      for (Offset row = 0; row < x.n_rows; ++row) {
        float* sums = out.row(row) + first;
        std::fill_n(sums, n, 0.0F);
        const std::span<const Id> ids = x.row_indices(row);
        const std::span<const float> values = x.row_values(row);
        for (std::size_t e = 0; e < ids.size(); ++e) {
          ctx.micro->axpy(values[e], b.row(ids[e]) + first, sums, n);
        }
      }
    }
  });
}

void regress_on_nearest(const Context& ctx, CsrView<const float> correlations, std::span<const float> floors,
                        Offset n_kept, Offset first, Offset k, std::span<const Offset> indptr, std::span<Id> ids,
                        std::span<float> values) {
  constexpr const char* kName = "regress_on_nearest";
  const auto length = [](const auto& span) { return static_cast<Offset>(span.size()); };
  check_equal(kName, "correlations", correlations.n_rows, "rows", "correlations", correlations.n_cols, "columns");
  check_equal(kName, "floors", length(floors), "entries", "correlations", correlations.n_rows, "rows");
  const auto is_floor = [](float x) { return x >= 0 && x <= 1; };
  check_that(std::all_of(floors.begin(), floors.end(), is_floor), kName, "floors must be in [0, 1]");
  check_that(k >= 1, kName, "k must be >= 1, got " + std::to_string(k));
  check_that(!indptr.empty() && indptr[0] == 0, kName, "indptr must begin with 0");
  const Offset n = length(indptr) - 1;
  check_that(first >= 0 && first + n <= correlations.n_rows, kName, "there must be a row for each item");
  Offset most = 0;
  for (Offset i = 0; i < n; ++i) {
    const Offset n_nearest = indptr[size(i) + 1] - indptr[size(i)];
    check_that(n_nearest == std::min(k, correlations.row_size(first + i)), kName, "indptr must count the nearest");
    most = std::max(most, n_nearest);
  }
  check_equal(kName, "ids", length(ids), "entries", "indptr", indptr.back(), "of them");
  check_equal(kName, "values", length(values), "entries", "indptr", indptr.back(), "of them");
  std::vector<std::unique_ptr<Regressions>> regressions(size(ctx.n_threads));
  parallel_for(ctx, n, 4, [&](Offset begin, Offset end, int worker) {
    auto& mine = regressions[size(worker)];
    if (!mine) mine = std::make_unique<Regressions>(ctx, correlations, floors, n_kept, most);
    for (Offset i = begin; i < end; ++i) {
      const std::size_t from = size(indptr[size(i)]), n_nearest = size(indptr[size(i) + 1]) - from;
      mine->solve(first + i, ids.subspan(from, n_nearest), values.subspan(from, n_nearest));
    }
  });
}

}  // namespace likewise::cpu
