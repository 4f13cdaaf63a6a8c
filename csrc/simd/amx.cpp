// AVX-512 with the tile unit for products of bf16 panels.

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

constexpr MicroKernels amx_table() {
  MicroKernels table = Micro<Avx512>::table("amx");
  table.has_bf16_tiles = true;
  table.syrk_upper_bf16 = syrk_upper_bf16;
  return table;
}

}  // namespace

constinit const MicroKernels kAmxKernels = amx_table();

}  // namespace likewise::simd
