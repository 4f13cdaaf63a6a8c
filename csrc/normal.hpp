#pragma once
// Normal numbers from the counter-based generator.

#include <cstdint>
#include <span>

#include "context.hpp"

namespace likewise::cpu {

/// out <- independent normal numbers with mean 0 and standard deviation `scale`, by the ziggurat of Marsaglia & Tsang
/// (2000), doi:10.18637/jss.v005.i08, on Philox words. Number i depends on the seed and i alone: bitwise the same for
/// any ctx.n_threads. |out| / scale has 23 random bits, and is at most 13. Throws std::invalid_argument where scale is
/// not finite.
void fill_normal(const Context& ctx, std::uint64_t seed, double scale, std::span<float> out);

}  // namespace likewise::cpu
