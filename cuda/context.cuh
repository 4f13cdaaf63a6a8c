#pragma once
// What every CUDA kernel is handed first: the device, the caller's stream and the memory that launchers borrow.

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "../csrc/types.hpp"
#include "check.cuh"

namespace likewise::cuda {

struct MemoryPoolDelete {
  // What is still in use by work on a stream is released when that work is done.
  void operator()(cudaMemPool_t pool) const { cudaMemPoolDestroy(pool); }
};

/// Device memory in stream order. What is freed stays in the pool, so that an epoch asks the driver only the first
/// time.
using MemoryPool = std::unique_ptr<std::remove_pointer_t<cudaMemPool_t>, MemoryPoolDelete>;

struct Context {
  int device = 0;
  cudaStream_t stream = nullptr;
  int n_multiprocessors = 1;
  MemoryPool pool;
};

/// Makes the device of a context current and, at the end of the scope, the one before it.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check_cuda(cudaGetDevice(&previous_));
    if (previous_ != device) check_cuda(cudaSetDevice(device));
  }
  ~DeviceGuard() { cudaSetDevice(previous_); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
};

/// The context of `device` on `stream`, which the caller keeps alive. Throws std::runtime_error when there is no such
/// device.
inline Context make_context(int device, cudaStream_t stream) {
  const DeviceGuard guard(device);
  Context ctx;
  ctx.device = device;
  ctx.stream = stream;
  check_cuda(cudaDeviceGetAttribute(&ctx.n_multiprocessors, cudaDevAttrMultiProcessorCount, device));
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool = nullptr;
  check_cuda(cudaMemPoolCreate(&pool, &properties));
  ctx.pool.reset(pool);
  auto keep_all = std::numeric_limits<std::uint64_t>::max();
  check_cuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all));
  return ctx;
}

/// Blocks for a grid-stride loop over `n_items` items of one block each: no more than the device runs at once.
inline unsigned n_blocks(const Context& ctx, Offset n_items, int blocks_per_multiprocessor) {
  const Offset at_once = Offset{ctx.n_multiprocessors} * blocks_per_multiprocessor;
  return static_cast<unsigned>(std::clamp<Offset>(n_items, 1, at_once));
}

}  // namespace likewise::cuda
