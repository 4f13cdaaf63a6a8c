#include "normal.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "check.hpp"
#include "parallel.hpp"
#include "philox.hpp"
#include "types.hpp"

namespace likewise::cpu {

namespace {

constexpr Offset kGrain = 1 << 12;  // of four numbers each
constexpr std::size_t kLayers = 256;
constexpr std::uint32_t kSign = 256;                                    // the bit of a word above those of a layer
constexpr double kTail = 3.6541528853610088, kArea = 4.92867323399e-3;  // of 256 layers: the paper's r and v

double density(double x) { return std::exp(-x * x / 2); }

/// Ends of the layers, falling from beyond the tail's to 0.
struct Ziggurat {
  std::array<float, kLayers + 1> ends;
  std::array<double, kLayers + 1> densities;

  Ziggurat() {
    std::array<double, kLayers + 1> x;
    x[0] = kArea / density(kTail), x[1] = kTail;
    for (std::size_t i = 2; i < kLayers; ++i) {
      x[i] = std::sqrt(-2 * std::log(kArea / x[i - 1] + density(x[i - 1])));
    }
    x[kLayers] = 0;
    for (std::size_t i = 0; i <= kLayers; ++i) {
      ends[i] = static_cast<float>(x[i]);
      densities[i] = density(x[i]);
    }
  }
};

double open_uniform(std::uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

/// A number for a word: 8 bits for a layer, one for the sign, 23 for the place in the layer. False where the layer's
/// rectangle does not decide.
bool from_rectangle(const Ziggurat& ziggurat, std::uint32_t word, float& out) {
  const std::size_t layer = word & (kLayers - 1);
  const float x = static_cast<float>(word >> 9) * 0x1p-23F * ziggurat.ends[layer];
  out = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) | (word & kSign) << 23);  // a branch would be guessed
  return x < ziggurat.ends[layer + 1];
}

/// Where the rectangle does not decide: below the curve, in the tail, or anew.
float from_the_rest(const Ziggurat& ziggurat, PhiloxKey key, std::uint64_t group, std::uint32_t lane,
                    std::uint32_t word) {
  const auto low = static_cast<std::uint32_t>(group), high = static_cast<std::uint32_t>(group >> 32);
  for (std::uint32_t attempt = 1;; ++attempt) {
    const PhiloxCounter words = philox4x32({low, high, attempt, lane + 1}, key);
    const std::size_t layer = word & (kLayers - 1);
    const float sign = (word & kSign) != 0 ? -1.0F : 1.0F;
    if (layer == 0) {
      const double a = -std::log(open_uniform(words[0])) / kTail, b = -std::log(open_uniform(words[1]));
      if (2 * b > a * a) return sign * static_cast<float>(kTail + a);
      continue;  // the tail again
    }
    const double x = static_cast<double>(word >> 9) * 0x1p-23 * static_cast<double>(ziggurat.ends[layer]);
    const double below = ziggurat.densities[layer], above = ziggurat.densities[layer + 1];
    if (below + open_uniform(words[0]) * (above - below) < density(x)) return sign * static_cast<float>(x);
    word = words[1];
    float out;
    if (from_rectangle(ziggurat, word, out)) return out;
  }
}

}  // namespace

void fill_normal(const Context& ctx, std::uint64_t seed, double scale, std::span<float> out) {
  check_that(std::isfinite(scale), "fill_normal", "scale must be finite");
  static const Ziggurat ziggurat;
  const PhiloxKey key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const auto n = static_cast<Offset>(out.size()), n_groups = (n + 3) / 4;
  const auto factor = static_cast<float>(scale);
  parallel_for(ctx, n_groups, kGrain, [&](Offset begin, Offset end, int) {
    for (Offset group = begin; group < end; ++group) {
      const auto number = static_cast<std::uint64_t>(group);
      const PhiloxCounter words =
          philox4x32({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32), 0, 0}, key);
      const auto n_here = static_cast<std::size_t>(std::min<Offset>(4, n - 4 * group));
      for (std::size_t lane = 0; lane < n_here; ++lane) {
        float x;
        if (!from_rectangle(ziggurat, words[lane], x)) {
          x = from_the_rest(ziggurat, key, number, static_cast<std::uint32_t>(lane), words[lane]);
        }
        out[4 * static_cast<std::size_t>(group) + lane] = factor * x;
      }
    }
  });
}

}  // namespace likewise::cpu
