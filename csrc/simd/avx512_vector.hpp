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
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static float sqrt_scalar(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

}  // namespace

}  // namespace likewise::simd
