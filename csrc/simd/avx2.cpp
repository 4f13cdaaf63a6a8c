#include <immintrin.h>

#include "micro.hpp"

namespace likewise::simd {

namespace {

struct Avx2 {
  using Reg = __m256;
  static constexpr std::int64_t kLanes = 8;
  static constexpr int kTileRows = 4, kTileVecs = 2;  // 8 sums, 2 + 1 operands of 16 registers

  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Reg a) { _mm256_storeu_ps(p, a); }
  static Reg set1(float x) { return _mm256_set1_ps(x); }
  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm256_fnmadd_ps(a, b, c); }
  static Reg load_bf16(const std::uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  /// [a0+a2, b0+b2, a1+a3, b1+b3] in each 128-bit lane.
  static Reg fold_pair(Reg a, Reg b) { return add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)); }
  /// [sum a, sum b, sum c, sum d] in each 128-bit lane.
  static Reg fold_four(const Reg* a) {
    const __m256d low = _mm256_castps_pd(fold_pair(a[0], a[1])), high = _mm256_castps_pd(fold_pair(a[2], a[3]));
    return add(_mm256_castpd_ps(_mm256_unpacklo_pd(low, high)), _mm256_castpd_ps(_mm256_unpackhi_pd(low, high)));
  }
  static Reg sum_each(const Reg* a) {
    const Reg first = fold_four(a), second = fold_four(a + 4);
    return add(_mm256_permute2f128_ps(first, second, 0x20), _mm256_permute2f128_ps(first, second, 0x31));
  }
  static float reduce(Reg a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
  static std::uint32_t above(Reg a, Reg b) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
  }
  static Reg quotients(Reg a, Reg b) {
    const Reg q = _mm256_div_ps(a, b), most = set1(kGreatestFloat);
    const Reg is_one = _mm256_and_ps(_mm256_cmp_ps(b, zero(), _CMP_GT_OQ), _mm256_cmp_ps(q, most, _CMP_LE_OQ));
    return _mm256_blendv_ps(set1(-1), q, is_one);
  }
  using Bits = __m256i;
  static Bits load_bits(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_bits(std::uint8_t* p, Bits a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
  static Bits no_bits() { return _mm256_setzero_si256(); }
  static Bits both(Bits a, Bits b) { return _mm256_and_si256(a, b); }
  static Bits parity(Bits a, Bits b, Bits c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  static Bits majority(Bits a, Bits b, Bits c) {
    return _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_xor_si256(a, b)));
  }
  static Reg add_where(Reg sums, const std::uint8_t* flags, std::int64_t i, Reg x) {
    const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i is_set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(flags[i]), lanes), lanes);
    return add(sums, _mm256_and_ps(_mm256_castsi256_ps(is_set), x));
  }
  static __m256d as_double(Reg a) { return _mm256_castps_pd(a); }
  static void transpose(const Reg* in, Reg* out) {
    Reg quads[kLanes];  // quads[4 g + c]: in lane l, rows 4 g .. 4 g + 3 of column 4 l + c
    for (int i = 0; i < kLanes; i += 4) {
      const Reg low01 = _mm256_unpacklo_ps(in[i], in[i + 1]), high01 = _mm256_unpackhi_ps(in[i], in[i + 1]);
      const Reg low23 = _mm256_unpacklo_ps(in[i + 2], in[i + 3]), high23 = _mm256_unpackhi_ps(in[i + 2], in[i + 3]);
      quads[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(as_double(low01), as_double(low23)));
      quads[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(as_double(low01), as_double(low23)));
      quads[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(as_double(high01), as_double(high23)));
      quads[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(as_double(high01), as_double(high23)));
    }
    for (int c = 0; c < 4; ++c) {
      out[c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x20);
      out[4 + c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x31);
    }
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static Reg over_root(Reg a, Reg b) { return _mm256_div_ps(a, _mm256_sqrt_ps(b)); }
  static float sqrt_scalar(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

}  // namespace

constinit const MicroKernels kAvx2Kernels = Micro<Avx2>::table("avx2");

}  // namespace likewise::simd
