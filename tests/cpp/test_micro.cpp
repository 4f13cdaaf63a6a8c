// The micro-kernels of every instruction set of this machine against plain double loops.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "../../csrc/philox.hpp"
#include "../../csrc/scratch.hpp"
#include "../../csrc/simd/dispatch.hpp"
#include "expect.hpp"

namespace likewise::testing {

namespace {

using simd::kPad;
using simd::kTileCols;
using simd::kTileRows;
using simd::MicroKernels;
using simd::TileUpdate;

/// Aligned floats in [-1, 1), the same in every run.
class Values {
 public:
  Values(std::int64_t n, std::uint32_t seed) : data_(static_cast<std::size_t>(n)), n_(n) {
    for (std::int64_t i = 0; i < n; ++i) {
      data_[static_cast<std::size_t>(i)] =
          2 * uniform_float(philox4x32({static_cast<std::uint32_t>(i)}, {seed})[0]) - 1;
    }
  }
  [[nodiscard]] float* get() const { return data_.get(); }
  [[nodiscard]] std::int64_t size() const { return n_; }
  float& operator[](std::int64_t i) const { return data_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] std::vector<float> copy() const { return {get(), get() + n_}; }

 private:
  Scratch<float> data_;
  std::int64_t n_;
};

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

/// `magnitude` bounds the sum of the absolute values of the terms.
bool is_close(float got, double expected, double magnitude, double tolerance = 2e-6) {
  return std::abs(static_cast<double>(got) - expected) <= tolerance * magnitude + 1e-30;
}

std::string named(const MicroKernels& micro, const std::string& what, std::int64_t n = 0, std::int64_t d = 0) {
  return std::string(micro.name) + " " + what + " n=" + std::to_string(n) + " d=" + std::to_string(d);
}

void test_dot_and_axpy(const MicroKernels& micro, std::int64_t d) {
  const Values a(d + 1, 1), b(d + 1, 2);
  double sum = 0, magnitude = 0;
  for (std::int64_t i = 0; i < d; ++i) {
    sum += static_cast<double>(a[i + 1]) * b[i];
    magnitude += std::abs(static_cast<double>(a[i + 1]) * b[i]);
  }
  expect(is_close(micro.dot(a.get() + 1, b.get(), d), sum, magnitude), named(micro, "dot", 0, d));

  const std::vector<float> before = b.copy();
  micro.axpy(0.75F, a.get(), b.get() + 1, d);
  bool holds = b[0] == before[0];
  for (std::int64_t i = 0; i < d; ++i) {
    holds = holds && is_close(b[i + 1], before[static_cast<std::size_t>(i + 1)] + 0.75 * a[i], 2);
  }
  expect(holds, named(micro, "axpy", 0, d));
}

void test_gemm_tile(const MicroKernels& micro, std::int64_t depth, int n_cols, TileUpdate update, bool by_columns) {
  const std::int64_t b_row = kTileCols + 3, c_row = kTileCols + 1, long_step = depth + 1;
  const std::int64_t a_row = by_columns ? 1 : long_step, a_depth = by_columns ? kTileRows : 1;
  const Values a(kTileRows * (long_step + 1) + kTileRows * depth + 1, 3), b((depth + 1) * b_row, 4);
  const Values c(kTileRows * c_row, 5);
  const std::vector<float> before = c.copy();
  micro.gemm_tile(depth, a.get(), a_row, a_depth, b.get(), b_row, c.get(), c_row, n_cols, update);
  bool holds = true, is_outside_kept = true;
  for (std::int64_t i = 0; i < kTileRows; ++i) {
    for (std::int64_t j = 0; j < c_row; ++j) {
      const float old = before[static_cast<std::size_t>(i * c_row + j)], now = c[i * c_row + j];
      if (j >= n_cols) {
        is_outside_kept = is_outside_kept && now == old;
        continue;
      }
      double product = 0;
      for (std::int64_t p = 0; p < depth; ++p)
        product += static_cast<double>(a[i * a_row + p * a_depth]) * b[p * b_row + j];
      const double expected =
          update == TileUpdate::kSet ? product : old + (update == TileUpdate::kAdd ? product : -product);
      holds = holds && is_close(now, expected, static_cast<double>(depth) + 1);
    }
  }
  expect(holds, named(micro, "gemm_tile", n_cols, depth));
  expect(is_outside_kept, named(micro, "gemm_tile writes inside its tile", n_cols, depth));
}

void test_syrk(const MicroKernels& micro, std::int64_t n, std::int64_t d) {
  const Values l(n * d, 6), r(n * d, 7), a(d * d, 8);
  const std::vector<float> before = a.copy();
  micro.syrk_upper(n, d, l.get(), r.get(), a.get());
  bool holds = true;
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = i; j < d; ++j) {
      double sum = before[static_cast<std::size_t>(i * d + j)];
      for (std::int64_t row = 0; row < n; ++row) sum += static_cast<double>(l[row * d + i]) * r[row * d + j];
      holds = holds && is_close(a[i * d + j], sum, static_cast<double>(n) + 1);
    }
  }
  expect(holds, named(micro, "syrk_upper", n, d));
}

void test_syrk_bf16(const MicroKernels& micro, std::int64_t n, std::int64_t d, int terms) {
  const Values p(n * d, 9), a(d * d, 10), scale(n, 20);
  const std::vector<float> before = a.copy();
  const Scratch<std::byte> scratch(static_cast<std::size_t>(simd::syrk_scratch_bytes(n, d)));
  micro.syrk_upper_bf16(n, d, p.get(), scale.get(), a.get(), terms, scratch.get());
  bool holds = true;
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = i; j < d; ++j) {
      double sum = before[static_cast<std::size_t>(i * d + j)];
      for (std::int64_t row = 0; row < n; ++row) {
        const double weight = static_cast<double>(scale[row]) * scale[row];
        sum += weight * p[row * d + i] * p[row * d + j];
      }
      holds = holds && is_close(a[i * d + j], sum, static_cast<double>(n) + 1, terms == 1 ? 8e-3 : 3e-5);
    }
  }
  expect(holds, named(micro, "syrk_upper_bf16 of " + std::to_string(terms) + " terms", n, d));
}

void test_panels(const MicroKernels& micro, std::int64_t n, std::int64_t d) {
  const Values panel(n * d, 11), x(d, 12), w(n, 13), v(n, 14), dots(n, 15), out(d, 16), diagonal(d, 17);
  std::vector<double> products(static_cast<std::size_t>(n));
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < d; ++i)
      products[static_cast<std::size_t>(j)] += static_cast<double>(panel[j * d + i]) * x[i];
  }
  micro.panel_dot(n, d, panel.get(), x.get(), dots.get());
  bool holds = true;
  for (std::int64_t j = 0; j < n; ++j) {
    holds = holds && is_close(dots[j], products[static_cast<std::size_t>(j)], static_cast<double>(d));
  }
  expect(holds, named(micro, "panel_dot", n, d));

  std::vector<float> before = out.copy();
  micro.panel_combine(n, d, panel.get(), v.get(), out.get());
  holds = true;
  for (std::int64_t i = 0; i < d; ++i) {
    double sum = before[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < n; ++j) sum += static_cast<double>(v[j]) * panel[j * d + i];
    holds = holds && is_close(out[i], sum, static_cast<double>(n) + 1);
  }
  expect(holds, named(micro, "panel_combine", n, d));

  before = out.copy();
  const std::vector<float> diagonal_before = diagonal.copy();
  micro.panel_residual(n, d, panel.get(), w.get(), v.get(), x.get(), out.get(), diagonal.get());
  holds = true;
  for (std::int64_t i = 0; i < d; ++i) {
    double sum = before[static_cast<std::size_t>(i)], squares = diagonal_before[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < n; ++j) {
      const double entry = panel[j * d + i];
      sum += entry * (v[j] - w[j] * products[static_cast<std::size_t>(j)]);
      squares += w[j] * entry * entry;
    }
    holds = holds && is_close(out[i], sum, static_cast<double>(n * d) + 4) &&
            is_close(diagonal[i], squares, static_cast<double>(n) + 1);
  }
  expect(holds, named(micro, "panel_residual", n, d));

  before = out.copy();
  micro.panel_apply(n, d, panel.get(), w.get(), x.get(), out.get());
  const Values transposed(n * d, 20);
  micro.transpose_scaled(n, d, panel.get(), w.get(), x.get(), transposed.get());
  bool transposes = true;
  holds = true;
  for (std::int64_t i = 0; i < d; ++i) {
    double sum = before[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < n; ++j) {
      sum += static_cast<double>(panel[j * d + i]) * w[j] * products[static_cast<std::size_t>(j)];
      transposes =
          transposes && is_close(transposed[i * n + j], static_cast<double>(w[j]) * x[i] * panel[j * d + i], 2);
    }
    holds = holds && is_close(out[i], sum, static_cast<double>(n * d) + 4);
  }
  expect(holds, named(micro, "panel_apply", n, d));
  expect(transposes, named(micro, "transpose_scaled", n, d));
}

void test_gather(const MicroKernels& micro, std::int64_t n, std::int64_t columns) {
  constexpr std::int64_t kRows = 40;
  const std::int64_t d = simd::padded(columns);
  const Values y(kRows * columns, 18), panel((n + 1) * d, 19);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  for (std::int64_t j = 0; j < n; ++j) ids[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(j * 17 % kRows);
  const std::vector<float> before = panel.copy();
  micro.gather(y.get(), columns, columns, ids.data(), n, n, d, panel.get());
  bool holds = std::equal(panel.get() + n * d, panel.get() + (n + 1) * d, before.begin() + n * d);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < d; ++i) {
      holds = holds && panel[j * d + i] == (i < columns ? y[ids[static_cast<std::size_t>(j)] * columns + i] : 0);
    }
  }
  expect(holds, named(micro, "gather", n, columns));

  std::vector<std::uint16_t> rounded(static_cast<std::size_t>(kRows * d));
  for (std::int64_t row = 0; row < kRows; ++row)
    micro.round_bf16(y.get() + row * columns, columns, rounded.data() + row * d);
  micro.gather_bf16(rounded.data(), d, columns, ids.data(), n, n, d, panel.get());
  holds = true;
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < d; ++i) {
      const float exact = i < columns ? y[ids[static_cast<std::size_t>(j)] * columns + i] : 0;
      std::uint32_t bits = 0;
      std::memcpy(&bits, &panel[j * d + i], sizeof bits);
      holds = holds && (bits & 0xFFFF) == 0 && is_close(panel[j * d + i], exact, std::abs(exact), 0x1p-8);
    }
  }
  expect(holds, named(micro, "gather_bf16", n, columns));
}

/// Pointers to n rows that lie one float further apart than they are long.
std::vector<const float*> rows_of(const Values& values, std::int64_t n, std::int64_t d) {
  std::vector<const float*> rows;
  for (std::int64_t j = 0; j < n; ++j) rows.push_back(values.get() + j * (d + 1));
  return rows;
}

void test_dot_rows(const MicroKernels& micro, std::int64_t n, std::int64_t d) {
  const Values items(n * d + 1, 21), x(d + 1, 22), out(n + 1, 23);
  out[n] = 7;
  const float bound = micro.dot_rows(items.get(), n, x.get(), d, out.get());
  bool holds = out[n] == 7;
  double longest = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < d; ++i) {
      const double y = items[j * d + i];
      sum += y * x[i];
      squares += y * y;
    }
    holds = holds && is_close(out[j], sum, static_cast<double>(d));
    longest = std::max(longest, squares);
  }
  expect(holds, named(micro, "dot_rows", n, d));
  const bool is_bound = bound >= longest * (1 - 1e-5) && bound <= longest * kTileCols * (1 + 1e-5) + 1e-30;
  expect(is_bound, named(micro, "dot_rows' bound", n, d));
}

void test_retrieval(const MicroKernels& micro, std::int64_t d) {
  const Values items(kTileCols * (d + 1), 21), x(d + 1, 22);
  const auto rows = rows_of(items, kTileCols, d);
  const Scratch<float> packed(static_cast<std::size_t>(kTileCols * d));
  micro.pack_tile(rows.data(), rows.data(), d, packed.get());
  bool doubles_hold = true, packs = true;
  double longest = 0;
  for (std::int64_t j = 0; j < kTileCols; ++j) {
    const float* row = rows[static_cast<std::size_t>(j)];
    double squares = 0, sums[8] = {};
    for (std::int64_t i = 0; i < d; ++i) {
      sums[i % 8] += static_cast<double>(row[i]) * x[i];
      squares += static_cast<double>(row[i]) * row[i];
      packs = packs && packed[static_cast<std::size_t>(i * kTileCols + j)] == row[i];
    }
    const double ordered = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
    doubles_hold = doubles_hold && micro.dot_double(row, x.get(), d) == ordered;
    longest = std::max(longest, squares);
  }
  expect(doubles_hold, named(micro, "dot_double", 0, d));
  expect(packs, named(micro, "pack_tile", 0, d));
  expect(is_close(micro.longest_packed(packed.get(), d), longest, longest, 1e-5), named(micro, "longest_packed", 0, d));

  float thresholds[kTileRows];
  std::uint32_t masks[kTileRows];
  const Values tile(kTileRows * kTileCols, 24);
  for (std::int64_t i = 0; i < kTileRows; ++i) thresholds[i] = tile[i * kTileCols + i];
  tile[5] = std::nanf("");
  bool above = micro.tile_above(tile.get(), thresholds, masks);
  for (std::int64_t i = 0; i < kTileRows; ++i) {
    for (std::int64_t j = 0; j < kTileCols; ++j) {
      above = above && (masks[i] >> j & 1) == static_cast<std::uint32_t>(tile[i * kTileCols + j] > thresholds[i]);
    }
  }
  expect(above, named(micro, "tile_above"));
}

/// The number (j, p) of rows quantized around `zero`.
std::int8_t level(const std::uint8_t* tiles, std::int64_t j, std::int64_t p, std::uint8_t zero) {
  return static_cast<std::int8_t>(tiles[p / 64 * 64 * simd::kScreenItems + j * 64 + p % 64] - zero);
}

void test_screen(const MicroKernels& micro, std::int64_t n, std::int64_t d) {
  const std::int64_t depth = (d + 63) / 64 * 64, n_queries = simd::kScreenQueries, group = simd::kScreenItems;
  const Values items(n * (d + 1), 25), queries(n_queries * (d + 1), 26), scales(n, 27), biases(n, 28);
  std::fill_n(items.get(), group * (d + 1), 0.0F);  // a group without a direction
  const Scratch<std::uint8_t> tiles(size(n * depth)), row(size(group * depth));
  const Scratch<std::int8_t> packed(size(n_queries * depth));
  std::vector<simd::Extent> extents;
  bool rounds = true;
  for (std::int64_t first = 0; first < n; first += group) {
    std::vector<const float*> rows;
    for (std::int64_t j = 0; j < group; ++j) rows.push_back(items.get() + (first + j) * (d + 1));
    float known[4];
    micro.quantize_rows(group, rows.data(), scales.get() + first, d, depth, simd::kItemZero,
                        tiles.get() + first * depth, known);
    double longest = 0, rest = 0, top = 0;
    for (std::int64_t j = 0; j < group; ++j) {
      double length = 0, error = 0;
      for (std::int64_t p = 0; p < depth; ++p) {
        const double exact = p < d ? scales[first + j] * rows[size(j)][p] : 0;
        const double off =
            exact - static_cast<double>(known[0]) * level(tiles.get() + first * depth, j, p, simd::kItemZero);
        rounds = rounds && std::abs(off) <= 0.5001 * static_cast<double>(known[0]);
        top = std::max(top, std::abs(exact));
        length += exact * exact;
        error += off * off;
      }
      longest = std::max(longest, length);
      rest = std::max(rest, error);
    }
    rounds = rounds && is_close(known[0], top / 127, top, 1e-7) && is_close(known[2], longest, longest, 1e-5) &&
             is_close(known[3], rest, rest + 1e-9 * longest, 1e-3);
    rounds = rounds && (top > 0 ? is_close(known[1] * known[0], 1, 1, 1e-6) : known[0] == 0 && known[1] == 1);
    simd::Extent extent;
    extent.step = known[0];
    extent.inverse = known[1];
    extent.length = std::sqrt(known[2]);
    extent.error = std::sqrt(known[3]);
    for (std::int64_t j = first; j < first + group; ++j) {
      extent.bias_size = std::max(extent.bias_size, std::abs(biases[j]));
      extent.top_bias = j == first ? biases[j] : std::max(extent.top_bias, biases[j]);
    }
    extents.push_back(extent);
  }
  expect(rounds, named(micro, "quantize_rows", n, d));

  simd::ScreenQueries screen;
  screen.tiles = packed.get();
  std::vector<std::int8_t> levels(size(n_queries * depth));
  for (std::int64_t q = 0; q < n_queries; ++q) {
    const float one = 1, *x = queries.get() + q * (d + 1);
    float known[4];
    micro.quantize_rows(1, &x, &one, d, depth, 0, row.get(), known);
    screen.steps[q] = known[0];
    screen.inverses[q] = known[1];
    screen.lengths[q] = std::sqrt(known[2]);
    screen.errors[q] = std::sqrt(known[3]);
    screen.thresholds[q] = 0.25F;
    for (std::int64_t p = 0; p < depth; ++p) {
      const std::int8_t value = level(row.get(), 0, p, 0);
      levels[size(q * depth + p)] = value;
      packed[size(p / 64 * 64 * n_queries + q / 16 * 1024 + p % 64 / 4 * 64 + q % 16 * 4 + p % 4)] = value;
      screen.offsets[q] += simd::kItemZero * value;
    }
  }
  screen.thresholds[3] = -INFINITY;
  screen.thresholds[20] = INFINITY;
  for (const bool with_biases : {false, true}) {
    std::vector<simd::Extent> given = extents;
    for (simd::Extent& extent : given) {
      if (!with_biases) extent.bias_size = extent.top_bias = 0;
    }
    std::vector<simd::Hit> hits(size(n * n_queries + simd::kMoreHits));
    const std::int64_t n_hits =
        micro.screen_int8(n, depth, tiles.get(), given.data(), with_biases ? biases.get() : nullptr, screen,
                          tiles.get(), n * depth, hits.data());
    std::vector<float> uppers(size(n * n_queries), -INFINITY);
    bool screens = true;
    for (std::int64_t i = 0; i < n_hits; ++i) {
      float& upper = uppers[size(hits[size(i)].item * n_queries + hits[size(i)].query)];
      screens = screens && upper == -INFINITY;  // each pair once
      upper = hits[size(i)].score;
    }
    std::int64_t n_needless = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t q = 0; q < n_queries; ++q) {
        double score = with_biases ? static_cast<double>(biases[i]) : 0, near = score;
        const simd::Extent& extent = given[size(i / group)];
        for (std::int64_t p = 0; p < d; ++p) {
          score +=
              static_cast<double>(scales[i] * items[i * (d + 1) + p]) * static_cast<double>(queries[q * (d + 1) + p]);
          near += static_cast<double>(extent.step) *
                  level(tiles.get() + i / group * group * depth, i % group, p, simd::kItemZero) *
                  static_cast<double>(screen.steps[q]) * levels[size(q * depth + p)];
        }
        const float upper = uppers[size(i * n_queries + q)];
        const double error =
            static_cast<double>(screen.errors[q] * (extent.length + extent.error) + screen.lengths[q] * extent.error);
        if (upper == -INFINITY) {
          screens = screens && score <= screen.thresholds[q];
        } else {
          screens = screens && score <= static_cast<double>(upper) && screen.thresholds[q] < upper + 1e-4F;
          screens = screens && is_close(upper, near + error, 1 + error, 0.02);
          n_needless += score <= static_cast<double>(screen.thresholds[q]) ? 1 : 0;
        }
      }
    }
    expect(screens, named(micro, with_biases ? "screen_int8 with biases" : "screen_int8", n, d));
    expect(n_needless < n * n_queries / 2, named(micro, "screen_int8's selection", n, d));
  }
}

void test_similarity(const MicroKernels& micro, std::int64_t n) {
  const std::int64_t n_rows = 3 * n + 5;
  std::vector<std::uint8_t> bits(size(n_rows * simd::kFlagBytes + simd::kFlagBytes));
  for (std::size_t i = 0; i < bits.size(); ++i) {
    bits[i] = static_cast<std::uint8_t>(philox4x32({static_cast<std::uint32_t>(i)}, {40})[0]);
  }
  std::vector<std::int32_t> ids;
  for (std::int64_t p = 0; p < n; ++p) ids.push_back(static_cast<std::int32_t>(3 * p + 2));
  const Values weights(n, 41), sums(simd::kFlagColumns, 42), counts(simd::kFlagColumns, 43);
  std::vector<float> expected = sums.copy(), expected_counts(size(simd::kFlagColumns), 0.0F);
  for (std::int64_t p = 0; p < n; ++p) {
    for (std::int64_t j = 0; j < simd::kFlagColumns; ++j) {
      if ((bits[size(ids[size(p)] * simd::kFlagBytes + j / 8)] >> (j % 8) & 1) == 0) continue;
      expected[size(j)] += weights[p];
      expected_counts[size(j)] += 1;
    }
  }
  micro.add_flagged(n, ids.data(), weights.get(), bits.data(), sums.get());
  expect(sums.copy() == expected, named(micro, "add_flagged", n));
  micro.count_flagged(n, ids.data(), bits.data(), counts.get());
  expect(counts.copy() == expected_counts, named(micro, "count_flagged", n));
}

void test_scans(const MicroKernels& micro, std::int64_t n) {
  const Values x(n, 44), right(n, 45);
  if (n > 7) x[7] = NAN;
  std::vector<std::int32_t> found(size(n)), expected;
  std::int64_t n_above = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    if (x[j] > right[j] * 0.5F + 0.25F) expected.push_back(static_cast<std::int32_t>(j));
    n_above += x[j] > 0.25F ? 1 : 0;
  }
  found.resize(size(micro.find_above(n, x.get(), right.get(), 0.5F, 0.25F, found.data())));
  expect(found == expected, named(micro, "find_above", n));
  expect(micro.count_above(n, x.get(), 0.25F) == n_above, named(micro, "count_above", n));
  Values divisors(n, 46), quotients(n, 47);
  if (n > 12) divisors[8] = 0, divisors[9] = NAN, divisors[10] = INFINITY, divisors[11] = 1e-40F, divisors[12] = -1;
  micro.quotients(n, x.get(), divisors.get(), quotients.get());
  for (std::int64_t j = 0; j < n; ++j) {
    const float quotient = x[j] / divisors[j];
    const bool is_one = divisors[j] > 0 && quotient <= std::numeric_limits<float>::max();
    expect(quotients[j] == (is_one ? quotient : -1.0F), named(micro, "quotients", n));
  }
}

void test_table(const MicroKernels& micro) {
  for (std::int64_t d = 0; d < 140; ++d) test_dot_and_axpy(micro, d);
  for (const std::int64_t depth : {0, 1, 2, 7, 64, 257}) {
    for (const int n_cols : {16, 32}) {
      for (const auto update : {TileUpdate::kSet, TileUpdate::kAdd, TileUpdate::kSubtract}) {
        test_gemm_tile(micro, depth, n_cols, update, false);
        test_gemm_tile(micro, depth, n_cols, update, true);
      }
    }
  }
  for (const std::int64_t d : {16, 32, 48, 64, 128, 144}) {
    for (const std::int64_t n : {0, 16, 32, 48, 160}) {
      test_syrk(micro, n, d);
      test_panels(micro, n, d);
    }
    for (const std::int64_t n : {1, 5}) test_syrk(micro, n, d);
    if (!micro.has_bf16_tiles) continue;
    for (const std::int64_t n : {1, 5, 32, 96, 250}) {
      for (const int terms : {1, 3}) test_syrk_bf16(micro, n, d, terms);
    }
  }
  for (const std::int64_t d : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 100, 128, 257}) {
    test_retrieval(micro, d);
    for (const std::int64_t n : {1, 5, 16, 31, 32, 33, 70}) test_dot_rows(micro, n, d);
    if (micro.screen_int8 == nullptr || d == 0) continue;
    for (const std::int64_t n : {32, 64, 160}) test_screen(micro, n, d);
  }
  for (const std::int64_t n : {0, 1, 15, 16, 17, 31, 33, 300, 5000}) test_similarity(micro, n);
  for (const std::int64_t n : {0, 64, 128, 1024}) test_scans(micro, n);
  for (const std::int64_t columns : {1, 15, 16, 17, 64, 100}) {
    for (const std::int64_t n : {0, 1, 13, 40}) test_gather(micro, n, columns);
  }
}

}  // namespace

void test_micro() {
  for (const std::string& name : simd::available()) test_table(simd::get(name));
}

}  // namespace likewise::testing
