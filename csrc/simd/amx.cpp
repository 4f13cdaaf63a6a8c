// AVX-512 with the tile unit for products in bf16: of panels, and of queries and items.

#include "avx512_vector.hpp"

namespace likewise::simd {

namespace {

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

constexpr Size kTileDepth = 32;  // bf16 numbers a row of a tile; 16 pairs

/// Two rows of 16 floats as 16 pairs of bf16: element i of `even` below element i of `odd`.
__m512i interleave(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even)));
}

/// x minus its bf16 rounding.
__m512 bf16_remainder(__m512 x) {
  const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
}

/// A panel as the tile unit wants it: for every 32 rows and 16 columns the 16 x 16 neighbouring pairs, the right
/// operand, and the transpose of that, the left one; each a tile without gaps.
struct TilePanel {
  std::uint32_t* right;
  std::uint32_t* left;
};

constexpr Size kTileWords = 256;

/// Packs n rows, scaled, and zeros up to a multiple of kTileDepth.
template <bool kRemainder>
void pack_panel(Size n, Size d, const float* p, const float* scale, TilePanel out) {
  const auto row_at = [=](Size row, Size c) {
    if (row >= n) return _mm512_setzero_ps();
    const __m512 x = _mm512_mul_ps(_mm512_set1_ps(scale[row]), _mm512_loadu_ps(p + row * d + c));
    return kRemainder ? bf16_remainder(x) : x;
  };
  for (Size first = 0; first < n; first += kTileDepth) {
    for (Size c = 0; c < d; c += 16) {
      Avx512::Reg pairs[16], transposed[16];
      for (Size i = 0; i < 16; ++i) {
        pairs[i] = _mm512_castsi512_ps(interleave(row_at(first + 2 * i, c), row_at(first + 2 * i + 1, c)));
      }
      Avx512::transpose(pairs, transposed);
      for (Size i = 0; i < 16; ++i) {
        _mm512_store_ps(out.right + 16 * i, pairs[i]);
        _mm512_store_ps(out.left + 16 * i, transposed[i]);
      }
      out.right += kTileWords;
      out.left += kTileWords;
    }
  }
}

/// Adds to kRows x kCols tiles of a the product of the left panel's columns at `row` and the right one's at `col`.
template <int kRows, int kCols>
void add_products(Size n, Size d, TilePanel left, TilePanel right, Size row, Size col) {
  const std::uint32_t* l = left.left + row * 16;
  const std::uint32_t* r = right.right + col * 16;
  for (Size s = 0; s < n; s += kTileDepth) {
    _tile_loadd(4, l, 64);
    if constexpr (kRows == 2) _tile_loadd(5, l + kTileWords, 64);
    _tile_loadd(6, r, 64);
    if constexpr (kCols == 2) _tile_loadd(7, r + kTileWords, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kCols == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kRows == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kRows == 2 && kCols == 2) _tile_dpbf16ps(3, 5, 7);
    l += 16 * d;
    r += 16 * d;
  }
}

template <int kRows, int kCols>
void update_tiles(Size n, Size d, TilePanel high, TilePanel low, int terms, Size row, Size col, float* a) {
  const int stride = static_cast<int>(d * 4);
  float* c = a + row * d + col;
  float* below = c + 16 * d;
  _tile_loadd(0, c, stride);
  if constexpr (kCols == 2) _tile_loadd(1, c + 16, stride);
  if constexpr (kRows == 2) _tile_loadd(2, below, stride);
  if constexpr (kRows == 2 && kCols == 2) _tile_loadd(3, below + 16, stride);
  if (terms == 3) {
    add_products<kRows, kCols>(n, d, low, high, row, col);
    add_products<kRows, kCols>(n, d, high, low, row, col);
  }
  add_products<kRows, kCols>(n, d, high, high, row, col);
  _tile_stored(0, c, stride);
  if constexpr (kCols == 2) _tile_stored(1, c + 16, stride);
  if constexpr (kRows == 2) _tile_stored(2, below, stride);
  if constexpr (kRows == 2 && kCols == 2) _tile_stored(3, below + 16, stride);
}

void syrk_upper_bf16(Size n_rows, Size d, const float* p, const float* scale, float* a, int terms, void* scratch) {
  const Size n = (n_rows + kTileDepth - 1) / kTileDepth * kTileDepth;
  auto* words = static_cast<std::uint32_t*>(scratch);
  const Size panel_words = n / 2 * d;
  const TilePanel high = {words, words + panel_words};
  const TilePanel low = {words + 2 * panel_words, words + 3 * panel_words};
  pack_panel<false>(n_rows, d, p, scale, high);
  if (terms == 3) pack_panel<true>(n_rows, d, p, scale, low);

  const TileConfig config;
  _tile_loadconfig(&config);
  const Size paired = d / 32 * 32;  // tiles go two by two; a last single one where d is an odd number of tiles
  for (Size row = 0; row < paired; row += 32) {
    for (Size col = row; col < paired; col += 32) update_tiles<2, 2>(n, d, high, low, terms, row, col, a);
    if (paired < d) update_tiles<2, 1>(n, d, high, low, terms, row, paired, a);
  }
  if (paired < d) update_tiles<1, 1>(n, d, high, low, terms, paired, paired, a);
  _tile_release();
}

void round_rows_bf16(const float* const* rows, Size d, const float* scales, Size width, std::uint16_t* out, Size stride,
                     float* squares) {
  __m512 lengths[kPad], errors[kPad];
  for (Size j = 0; j < kPad; ++j) {
    const __m512 scale = _mm512_set1_ps(scales[j]);
    __m512 length = _mm512_setzero_ps(), error = _mm512_setzero_ps();
    Size i = 0;
    for (; i < d; i += 16) {
      const auto mask = static_cast<__mmask16>(d - i < 16 ? (1U << (d - i)) - 1 : 0xFFFFU);
      const __m512 value = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(mask, rows[j] + i));
      const __m512 rest = bf16_remainder(value);
      length = _mm512_fmadd_ps(value, value, length);
      error = _mm512_fmadd_ps(rest, rest, error);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j * stride + i),
                          reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
    }
    for (; i < width; i += 16) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j * stride + i), _mm256_setzero_si256());
    }
    lengths[j] = length;
    errors[j] = error;
  }
  _mm512_storeu_ps(squares, Avx512::sum_each(lengths));
  _mm512_storeu_ps(squares + kPad, Avx512::sum_each(errors));
}

constexpr int kUnrolled = 2;

/// Scores of kScreenItems items and kScreenQueries queries: tiles of 16 items, a row each, and 16 queries.
struct alignas(64) ScoreTiles {
  float tiles[2][2][256];
};

Size collect_hits(const ScoreTiles& scores, Size first, const __m512* thresholds, Hit* hits) {
  Size n_hits = 0;
  for (int half = 0; half < 2; ++half) {
    const float *low = scores.tiles[0][half], *high = scores.tiles[1][half];
    __m512 b0 = _mm512_load_ps(low), b1 = _mm512_load_ps(low + 16), b2 = _mm512_load_ps(high),
           b3 = _mm512_load_ps(high + 16);
    for (int i = 32; i < 256; i += 32) {
      b0 = _mm512_max_ps(b0, _mm512_load_ps(low + i));
      b1 = _mm512_max_ps(b1, _mm512_load_ps(low + i + 16));
      b2 = _mm512_max_ps(b2, _mm512_load_ps(high + i));
      b3 = _mm512_max_ps(b3, _mm512_load_ps(high + i + 16));
    }
    const __m512 top = _mm512_max_ps(_mm512_max_ps(b0, b1), _mm512_max_ps(b2, b3));
    if (_mm512_cmp_ps_mask(top, thresholds[half], _CMP_GT_OQ) == 0) continue;
    for (int tile = 0; tile < 2; ++tile) {
      const float* rows = scores.tiles[tile][half];
      for (int i = 0; i < 16; i += 4) {
        std::uint64_t mask = 0;
        for (int j = 0; j < 4; ++j) {
          const std::uint64_t above =
              _mm512_cmp_ps_mask(_mm512_load_ps(rows + 16 * (i + j)), thresholds[half], _CMP_GT_OQ);
          mask |= above << 16 * j;
        }
        const int found = __builtin_popcountll(mask);
        // Up to kUnrolled are written without a branch on how many there are.
        for (int j = 0; j < kUnrolled || j < found; ++j, mask &= mask - 1) {
          const int place = 16 * i + __builtin_ctzll(mask | std::uint64_t{1} << 63);
          hits[n_hits + j] = {static_cast<std::int32_t>(first + 16 * tile + place / 16), 16 * half + place % 16,
                              rows[place]};
        }
        n_hits += found;
      }
    }
  }
  return n_hits;
}

Size screen_bf16(Size n, Size depth, const std::uint16_t* items, Size row, const std::uint32_t* queries,
                 const float* thresholds, Hit* hits) {
  const __m512 limits[2] = {_mm512_loadu_ps(thresholds), _mm512_loadu_ps(thresholds + 16)};
  const TileConfig config;
  _tile_loadconfig(&config);
  ScoreTiles scores;
  Size n_hits = 0;
  const Size stride = 2 * row;
  for (Size i = 0; i < n; i += kScreenItems) {
    const std::uint16_t* at = items + i * row;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (Size p = 0; p < depth; p += kTileDepth) {
      const std::uint32_t* packed = queries + 16 * p;
      _tile_loadd(4, at + p, stride);
      _tile_loadd(6, packed, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, packed + kTileWords, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, at + 16 * row + p, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    // The scores before these are compared while these are made.
    if (i > 0) n_hits += collect_hits(scores, i - kScreenItems, limits, hits + n_hits);
    _tile_stored(0, scores.tiles[0][0], 64);
    _tile_stored(1, scores.tiles[0][1], 64);
    _tile_stored(2, scores.tiles[1][0], 64);
    _tile_stored(3, scores.tiles[1][1], 64);
  }
  _tile_release();
  return n_hits + collect_hits(scores, n - kScreenItems, limits, hits + n_hits);
}

constexpr MicroKernels amx_table() {
  MicroKernels table = Micro<Avx512>::table("amx");
  table.has_bf16_tiles = true;
  table.syrk_upper_bf16 = syrk_upper_bf16;
  table.round_rows_bf16 = round_rows_bf16;
  table.screen_bf16 = screen_bf16;
  return table;
}

}  // namespace

constinit const MicroKernels kAmxKernels = amx_table();

}  // namespace likewise::simd
