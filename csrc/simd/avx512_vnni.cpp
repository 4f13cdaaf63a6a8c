// AVX-512 with VNNI: products of queries and items in int8.

#include <cstring>

#include "avx512_screen.hpp"

namespace likewise::simd {

namespace {

/// Products of kPart items, rows of a tile at `items`, and all queries, one half after the other.
void multiply(Size depth, const std::uint8_t* items, const std::int8_t* queries, __m512i (&products)[2][kPart]) {
  __m512i sums[2][kPart];  // in registers
  for (int j = 0; j < kPart; ++j) sums[0][j] = sums[1][j] = _mm512_setzero_si512();
  for (Size p = 0; p < depth; p += kByteDepth) {
    const std::uint8_t* item = items + kScreenItems * p;
    const std::int8_t* query = queries + kScreenQueries * p;
    for (Size i = 0; i < kByteDepth; i += 4) {
      const __m512i first = _mm512_load_si512(query + 16 * i);
      const __m512i second = _mm512_load_si512(query + 16 * kByteDepth + 16 * i);
      for (int j = 0; j < kPart; ++j) {
        int numbers;
        std::memcpy(&numbers, item + kByteDepth * j + i, sizeof numbers);
        const __m512i row = _mm512_set1_epi32(numbers);
        sums[0][j] = _mm512_dpbusd_epi32(sums[0][j], row, first);
        sums[1][j] = _mm512_dpbusd_epi32(sums[1][j], row, second);
      }
    }
  }
  for (int j = 0; j < kPart; ++j) {
    products[0][j] = sums[0][j];
    products[1][j] = sums[1][j];
  }
}

template <bool kBias>
Size screen(Size n, Size depth, const std::uint8_t* items, const Extent* extents, const float* biases,
            const ScreenQueries& queries, Ahead ahead, Hit* hits) {
  Bounds bounds;
  Size n_hits = 0;
  for (Size i = 0; i < n; i += kPart) {
    const Size within = i % kScreenItems;
    if (within == 0) ahead.fetch();
    if (within == 0 && !set_bounds(extents[i / kScreenItems], queries, bounds)) {
      i += kScreenItems - kPart;
      continue;
    }
    __m512i products[2][kPart];
    multiply(depth, items + (i - within) * depth + kByteDepth * within, queries.tiles, products);
    for (int half = 0; half < 2; ++half) {
      if (!any_above<kBias>(products[half], bounds, half, from<kBias>(biases, i))) continue;
      alignas(64) std::int32_t rows[kPart * 16];
      for (int j = 0; j < kPart; ++j) _mm512_store_si512(rows + 16 * j, products[half][j]);
      n_hits += append_hits<kBias>(rows, bounds, half, from<kBias>(biases, i), i, hits + n_hits);
    }
  }
  return n_hits;
}

Size screen_int8(Size n, Size depth, const std::uint8_t* items, const Extent* extents, const float* biases,
                 const ScreenQueries& queries, const std::uint8_t* ahead, Size n_ahead, Hit* hits) {
  const Ahead rest = {ahead, n_ahead, n / kScreenItems};
  return biases != nullptr ? screen<true>(n, depth, items, extents, biases, queries, rest, hits)
                           : screen<false>(n, depth, items, extents, biases, queries, rest, hits);
}

}  // namespace

constinit const MicroKernels kVnniKernels = screening_table("avx512", screen_int8);

}  // namespace likewise::simd
