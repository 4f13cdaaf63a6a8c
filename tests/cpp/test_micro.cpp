// The micro-kernels of every instruction set of this machine against plain double loops.

#include <algorithm>
#include <cmath>
#include <cstring>
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
  for (const std::int64_t columns : {1, 15, 16, 17, 64, 100}) {
    for (const std::int64_t n : {0, 1, 13, 40}) test_gather(micro, n, columns);
  }
}

}  // namespace

void test_micro() {
  for (const std::string& name : simd::available()) test_table(simd::get(name));
}

}  // namespace likewise::testing
