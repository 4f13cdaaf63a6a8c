// The specification: plain loops over four floats, which a compiler may turn into SSE2 or NEON as it likes.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "micro.hpp"

namespace likewise::simd {

namespace {

struct Scalar {
  struct Reg {
    float v[4];
  };
  static constexpr std::int64_t kLanes = 4;
  static constexpr int kTileRows = 4, kTileVecs = 2;

  template <class F>
  static Reg each(F f) {
    Reg out;
    for (int i = 0; i < 4; ++i) out.v[i] = f(i);
    return out;
  }
  static Reg load(const float* p) {
    return each([=](int i) { return p[i]; });
  }
  static void store(float* p, Reg a) {
    for (int i = 0; i < 4; ++i) p[i] = a.v[i];
  }
  static Reg set1(float x) {
    return each([=](int) { return x; });
  }
  static Reg zero() { return set1(0); }
  static Reg add(Reg a, Reg b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
  }
  static Reg sub(Reg a, Reg b) {
    return each([&](int i) { return a.v[i] - b.v[i]; });
  }
  static Reg mul(Reg a, Reg b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
  }
  static Reg fma(Reg a, Reg b, Reg c) {
    return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
  static Reg fnma(Reg a, Reg b, Reg c) {
    return each([&](int i) { return c.v[i] - a.v[i] * b.v[i]; });
  }
  static Reg quotients(Reg a, Reg b) {
    return each([&](int i) {
      const float q = a.v[i] / b.v[i];
      return b.v[i] > 0 && q <= kGreatestFloat ? q : -1.0F;
    });
  }
  static Reg load_bf16(const std::uint16_t* p) {
    return each([=](int i) {
      const std::uint32_t bits = static_cast<std::uint32_t>(p[i]) << 16;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    });
  }
  static Reg sum_each(const Reg* a) {
    return each([=](int i) { return (a[i].v[0] + a[i].v[2]) + (a[i].v[1] + a[i].v[3]); });
  }
  static std::uint32_t above(Reg a, Reg b) {
    std::uint32_t mask = 0;
    for (int i = 0; i < 4; ++i) mask |= static_cast<std::uint32_t>(a.v[i] > b.v[i]) << i;
    return mask;
  }
  using Bits = std::uint64_t;
  static Bits load_bits(const std::uint8_t* p) {
    Bits bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits;
  }
  static void store_bits(std::uint8_t* p, Bits a) { std::memcpy(p, &a, sizeof a); }
  static Bits no_bits() { return 0; }
  static Bits both(Bits a, Bits b) { return a & b; }
  static Bits parity(Bits a, Bits b, Bits c) { return a ^ b ^ c; }
  static Bits majority(Bits a, Bits b, Bits c) { return (a & b) | (c & (a ^ b)); }
  static Reg add_where(Reg sums, const std::uint8_t* flags, std::int64_t i, Reg x) {
    const int bits = flags[i / 2] >> (i % 2 * 4);
    return each([&](int lane) { return (bits >> lane & 1) != 0 ? sums.v[lane] + x.v[lane] : sums.v[lane]; });
  }
  static void transpose(const Reg* in, Reg* out) {
    for (int i = 0; i < 4; ++i) out[i] = each([=](int j) { return in[j].v[i]; });
  }
  static void prefetch([[maybe_unused]] const void* p) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(p);
#endif
  }
  static Reg over_root(Reg a, Reg b) {
    return each([&](int i) { return a.v[i] / std::sqrt(b.v[i]); });
  }
  static float sqrt_scalar(float x) { return std::sqrt(x); }
};

}  // namespace

constinit const MicroKernels kScalarKernels = Micro<Scalar>::table("scalar");

}  // namespace likewise::simd
