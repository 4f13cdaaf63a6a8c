#include "avx512_vector.hpp"

namespace likewise::simd {

constinit const MicroKernels kAvx512Kernels = Micro<Avx512>::table("avx512");

}  // namespace likewise::simd
