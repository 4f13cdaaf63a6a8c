#pragma once
// The vector type of the AVX-512 and AMX files; in an anonymous namespace, so that each has its own.

#include <immintrin.h>

#include "micro.hpp"

namespace likewise::simd {

namespace {

struct Avx512 {
  using Reg = __m512;
  static constexpr std::int64_t kLanes = 16;
  static constexpr int kTileRows = 8, kTileVecs = 2;  // 16 sums, 2 + 1 operands of 32 registers

  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Reg a) { _mm512_storeu_ps(p, a); }
  static Reg set1(float x) { return _mm512_set1_ps(x); }
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm512_fnmadd_ps(a, b, c); }
  static Reg load_bf16(const std::uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  /// [a0+a2, b0+b2, a1+a3, b1+b3] in each 128-bit lane.
  static Reg fold_pair(Reg a, Reg b) { return add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)); }
  /// [sum a, sum b, sum c, sum d] in each 128-bit lane.
  static Reg fold_four(const Reg* a) {
    const __m512d low = _mm512_castps_pd(fold_pair(a[0], a[1])), high = _mm512_castps_pd(fold_pair(a[2], a[3]));
    return add(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)), _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
  }
  /// Sums neighbouring 128-bit lanes: two of a, then two of b.
  static Reg fold_lanes(Reg a, Reg b) {
    return add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  }
  static Reg sum_each(const Reg* a) {
    return fold_lanes(fold_lanes(fold_four(a), fold_four(a + 4)), fold_lanes(fold_four(a + 8), fold_four(a + 12)));
  }
  static float reduce(Reg a) { return _mm512_reduce_add_ps(a); }
  static std::uint32_t above(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  /// Writes the numbers from `first` on whose bits are set, and whatever up to kLanes; returns how many are set.
  static std::int64_t list_set(std::uint32_t mask, std::int32_t first, std::int32_t* out) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i numbers = _mm512_add_epi32(lanes, _mm512_set1_epi32(first));
    // In a register: to memory it takes a hundred cycles on some.
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), numbers));
    return __builtin_popcount(mask);
  }
  static Reg quotients(Reg a, Reg b) {
    const __mmask16 is_positive = _mm512_cmp_ps_mask(b, zero(), _CMP_GT_OQ);
    const Reg q = _mm512_maskz_div_ps(is_positive, a, b), most = set1(kGreatestFloat);
    return _mm512_mask_blend_ps(_mm512_mask_cmp_ps_mask(is_positive, q, most, _CMP_LE_OQ), set1(-1), q);
  }
  using Bits = __m512i;
  static Bits load_bits(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  static void store_bits(std::uint8_t* p, Bits a) { _mm512_storeu_si512(p, a); }
  static Bits no_bits() { return _mm512_setzero_si512(); }
  static Bits both(Bits a, Bits b) { return _mm512_and_si512(a, b); }
  static Bits parity(Bits a, Bits b, Bits c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static Bits majority(Bits a, Bits b, Bits c) { return _mm512_ternarylogic_epi64(a, b, c, 0xE8); }
  static Reg add_where(Reg sums, const std::uint8_t* flags, std::int64_t i, Reg x) {
    const auto mask = static_cast<__mmask16>(flags[2 * i] | flags[2 * i + 1] << 8);
    return _mm512_mask_add_ps(sums, mask, sums, x);
  }
  static __m512d as_double(Reg a) { return _mm512_castps_pd(a); }
  static void transpose(const Reg* in, Reg* out) {
    Reg quads[kLanes];  // quads[4 g + c]: in lane l, rows 4 g .. 4 g + 3 of column 4 l + c
    for (int i = 0; i < kLanes; i += 4) {
      const Reg low01 = _mm512_unpacklo_ps(in[i], in[i + 1]), high01 = _mm512_unpackhi_ps(in[i], in[i + 1]);
      const Reg low23 = _mm512_unpacklo_ps(in[i + 2], in[i + 3]), high23 = _mm512_unpackhi_ps(in[i + 2], in[i + 3]);
      quads[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(as_double(low01), as_double(low23)));
      quads[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(as_double(low01), as_double(low23)));
      quads[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(as_double(high01), as_double(high23)));
      quads[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(as_double(high01), as_double(high23)));
    }
    for (int c = 0; c < 4; ++c) {
      const Reg low02 = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0x88);
      const Reg low13 = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0xDD);
      const Reg high02 = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0x88);
      const Reg high13 = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0xDD);
      out[c] = _mm512_shuffle_f32x4(low02, high02, 0x88);
      out[c + 4] = _mm512_shuffle_f32x4(low13, high13, 0x88);
      out[c + 8] = _mm512_shuffle_f32x4(low02, high02, 0xDD);
      out[c + 12] = _mm512_shuffle_f32x4(low13, high13, 0xDD);
    }
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static Reg over_root(Reg a, Reg b) { return _mm512_div_ps(a, _mm512_sqrt_ps(b)); }
  static float sqrt_scalar(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

}  // namespace

}  // namespace likewise::simd
