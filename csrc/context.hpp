#pragma once
// What every kernel is handed first: how many threads it may use and which micro-kernels.

#include "simd/kernels.hpp"

namespace likewise {

struct Context {
  int n_threads = 1;
  const simd::MicroKernels* micro = nullptr;
};

}  // namespace likewise
