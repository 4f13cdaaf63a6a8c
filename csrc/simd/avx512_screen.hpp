#pragma once
// Screens in int8 of the AVX-512 and AMX files: rounding, and what is compared once the products are there. In an
// anonymous namespace, so that each has its own.

#include "avx512_vector.hpp"

namespace likewise::simd {

namespace {

constexpr Size kByteDepth = 64;  // int8 numbers a row of a tile
constexpr auto kMostLevels = static_cast<float>(kMostSteps);

/// A value of the scaled row and the 16 lanes of it that are there.
__m512 scaled_part(const float* row, float scale, Size i, Size d) {
  const auto mask = static_cast<__mmask16>(d - i < 16 ? (1U << (d - i)) - 1 : 0xFFFFU);
  return _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_maskz_loadu_ps(mask, row + i));
}

/// The greatest sum of squares of 2 x 16 rows, kept as lanes to be summed.
float greatest_sum(const __m512* squares) {
  return _mm512_reduce_max_ps(_mm512_max_ps(Avx512::sum_each(squares), Avx512::sum_each(squares + 16)));
}

void quantize_rows(Size n, const float* const* rows, const float* scales, Size d, Size depth, std::uint8_t zero,
                   std::uint8_t* out, float* extent) {
  __m512 squares[kScreenItems], top = _mm512_setzero_ps();
  for (Size j = 0; j < kScreenItems; ++j) squares[j] = _mm512_setzero_ps();
  for (Size j = 0; j < n; ++j) {
    for (Size i = 0; i < d; i += 16) {
      const __m512 value = scaled_part(rows[j], scales[j], i, d);
      top = _mm512_max_ps(top, _mm512_abs_ps(value));
      squares[j] = _mm512_fmadd_ps(value, value, squares[j]);
    }
  }
  constexpr float kLeast = 1e-13F;  // steps whose products stay far inside float32
  const float greatest = _mm512_reduce_max_ps(top);
  const bool is_zero = !(greatest > kLeast);
  extent[0] = is_zero ? 0 : greatest / kMostLevels;
  extent[1] = is_zero ? 1 : kMostLevels / greatest;
  extent[2] = greatest_sum(squares);
  const __m512 step = _mm512_set1_ps(extent[0]), inverse = _mm512_set1_ps(is_zero ? 0 : extent[1]);
  const __m128i zeros = _mm_set1_epi8(static_cast<char>(zero));
  for (Size j = 0; j < n; ++j) {
    __m512 rest = _mm512_setzero_ps();
    std::uint8_t* row = out + kByteDepth * j;
    for (Size i = 0; i < depth; i += 16) {
      auto* at = reinterpret_cast<__m128i*>(row + i / kByteDepth * (kByteDepth * kScreenItems) + i % kByteDepth);
      if (i >= d) {
        _mm_storeu_si128(at, zeros);
        continue;
      }
      const __m512 value = scaled_part(rows[j], scales[j], i, d);
      const __m512i levels = _mm512_cvtps_epi32(_mm512_mul_ps(value, inverse));
      _mm_storeu_si128(at, _mm_add_epi8(_mm512_cvtsepi32_epi8(levels), zeros));
      const __m512 error = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(levels), step, value);
      rest = _mm512_fmadd_ps(error, error, rest);
    }
    squares[j] = rest;
  }
  extent[3] = greatest_sum(squares);
}

/// What kScreenItems items ask of the queries.
struct Bounds {
  __m512 errors[2], products[2], limits[2];  // limits of a score
  __m512i levels[2];                         // and of a product of quantized rows, with its offset
  const std::int32_t* offsets;
};

/// Sets the bounds for items of this extent; returns whether any query can have a score above its threshold.
bool set_bounds(const Extent& items, const ScreenQueries& queries, Bounds& bounds) {
  const __m512 length = _mm512_set1_ps(items.length), error = _mm512_set1_ps(items.error);
  const __m512 slack = _mm512_set1_ps(kScoreSlack), bias_slack = _mm512_set1_ps(kScoreSlack * items.bias_size);
  constexpr auto kMost = static_cast<float>(kMostLevel);
  __mmask16 any = 0;
  bounds.offsets = queries.offsets;
  for (int half = 0; half < 2; ++half) {
    const __m512 lengths = _mm512_load_ps(queries.lengths + 16 * half);
    const __m512 thresholds = _mm512_load_ps(queries.thresholds + 16 * half);
    const __m512 product = _mm512_mul_ps(lengths, length);
    __m512 sum = _mm512_fmadd_ps(slack, product, bias_slack);
    sum = _mm512_fmadd_ps(lengths, error, sum);
    sum = _mm512_fmadd_ps(_mm512_load_ps(queries.errors + 16 * half), _mm512_add_ps(length, error), sum);
    const __m512 errors = _mm512_fmadd_ps(sum, _mm512_set1_ps(1.01F), _mm512_set1_ps(kTinyScore));
    const __m512 greatest = _mm512_add_ps(_mm512_add_ps(product, _mm512_set1_ps(items.top_bias)), errors);
    any |= _mm512_cmp_ps_mask(greatest, thresholds, _CMP_GT_OQ);
    bounds.errors[half] = errors;
    bounds.products[half] = _mm512_mul_ps(_mm512_load_ps(queries.steps + 16 * half), _mm512_set1_ps(items.step));
    bounds.limits[half] = _mm512_sub_ps(thresholds, errors);
    // Whole products above a limit are those above its floor; beyond the clamps there is none.
    const __m512 inverse = _mm512_mul_ps(_mm512_load_ps(queries.inverses + 16 * half), _mm512_set1_ps(items.inverse));
    __m512 level = _mm512_mul_ps(bounds.limits[half], inverse);
    // An undefined level, infinity times 0, is that of a query which asks for nothing.
    level = _mm512_max_ps(_mm512_set1_ps(-kMost), _mm512_min_ps(level, _mm512_set1_ps(kMost)));
    bounds.levels[half] = _mm512_add_epi32(_mm512_cvt_roundps_epi32(level, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC),
                                           _mm512_load_si512(queries.offsets + 16 * half));
  }
  return any != 0;
}

constexpr int kPart = 8;  // items whose products are compared at a time, with half the queries

/// What is above its limit of the products of an item and half the queries, with their offsets.
template <bool kBias>
__mmask16 row_above(__m512i products, const Bounds& bounds, int half, const float* bias) {
  if constexpr (!kBias) return _mm512_cmpgt_epi32_mask(products, bounds.levels[half]);
  const __m512 exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(products, _mm512_load_si512(bounds.offsets + 16 * half)));
  const __m512 score = _mm512_fmadd_ps(exact, bounds.products[half], _mm512_set1_ps(*bias));
  return _mm512_cmp_ps_mask(score, bounds.limits[half], _CMP_GT_OQ);
}

/// Bytes to be fetched into the second-level cache, a part at each of some steps: all at once would wait for one
/// another.
struct Ahead {
  const std::uint8_t* at;
  Size n_bytes, n_steps;

  void fetch() {
    constexpr Size kLine = 64;
    const Size share = (n_bytes / n_steps + kLine - 1) / kLine * kLine, n = share < n_bytes ? share : n_bytes;
    for (Size i = 0; i < n; i += kLine) _mm_prefetch(reinterpret_cast<const char*>(at + i), _MM_HINT_T1);
    at += n;
    n_bytes -= n;
    --n_steps;
  }
};

constexpr int kUnrolled = 2;

/// The biases from the i-th item on, where there are any.
template <bool kBias>
const float* from(const float* biases, Size i) {
  if constexpr (kBias) return biases + i;
  return nullptr;
}

/// Appends what is above its limit in kPart rows: items from `item` on, and half the queries.
template <bool kBias>
Size append_hits(const std::int32_t* rows, const Bounds& bounds, int half, const float* biases, Size item, Hit* hits) {
  const auto* steps = reinterpret_cast<const float*>(&bounds.products[half]);
  const auto* errors = reinterpret_cast<const float*>(&bounds.errors[half]);
  Size n_hits = 0;
  for (int i = 0; i < kPart; i += 4) {
    std::uint64_t mask = 0;
    for (int j = 0; j < 4; ++j) {
      const __m512i row = _mm512_load_si512(rows + 16 * (i + j));
      const std::uint64_t above = row_above<kBias>(row, bounds, half, from<kBias>(biases, i + j));
      mask |= above << 16 * j;
    }
    const auto found = static_cast<int>(_mm_popcnt_u64(mask));
    // Up to kUnrolled are written without a branch on how many there are.
    for (int j = 0; j < kUnrolled || j < found; ++j, mask &= mask - 1) {
      const int place = 16 * i + Micro<Avx512>::lowest_bit(mask | std::uint64_t{1} << 63), query = place % 16;
      const auto product = static_cast<float>(rows[place] - bounds.offsets[16 * half + query]);
      const float score = product * steps[query] + (kBias ? biases[place / 16] : 0);
      hits[n_hits + j] = {static_cast<std::int32_t>(item + place / 16), 16 * half + query, score + errors[query]};
    }
    n_hits += found;
  }
  return n_hits;
}

/// Whether anything in kPart rows is above its limit.
template <bool kBias>
bool any_above(const __m512i* rows, const Bounds& bounds, int half, const float* biases) {
  if constexpr (kBias) {
    __mmask16 any = 0;
    for (int i = 0; i < kPart; ++i) any |= row_above<true>(rows[i], bounds, half, biases + i);
    return any != 0;
  }
  const __m512i a = _mm512_max_epi32(rows[0], rows[1]), b = _mm512_max_epi32(rows[2], rows[3]);
  const __m512i c = _mm512_max_epi32(rows[4], rows[5]), d = _mm512_max_epi32(rows[6], rows[7]);
  const __m512i top = _mm512_max_epi32(_mm512_max_epi32(a, b), _mm512_max_epi32(c, d));
  return _mm512_cmpgt_epi32_mask(top, bounds.levels[half]) != 0;
}

/// The table of AVX-512 with a screen in int8.
constexpr MicroKernels screening_table(const char* name, decltype(MicroKernels::screen_int8) screen_int8) {
  MicroKernels table = Micro<Avx512>::table(name);
  table.quantize_rows = quantize_rows;
  table.screen_int8 = screen_int8;
  return table;
}

}  // namespace

}  // namespace likewise::simd
