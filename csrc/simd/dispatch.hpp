#pragma once
// Chooses among the instruction sets that this build has and this machine runs.

#include <string>
#include <string_view>
#include <vector>

#include "kernels.hpp"

namespace likewise::simd {

/// Names of the usable tables, slowest first: "scalar", then "avx2", "avx512", "amx" where they run here.
std::vector<std::string> available();

/// The table of that name, or the best one for "auto". Throws std::invalid_argument, naming the usable ones.
const MicroKernels& get(std::string_view name);

}  // namespace likewise::simd
