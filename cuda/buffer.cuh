#pragma once
// Device memory of one launcher: borrowed from the context's pool and given back in the order of its stream.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <type_traits>

#include "context.cuh"

namespace likewise::cuda {

/// An uninitialized array of n trivial values. The context outlives it; kernels launched before its end may use it.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer(const Context& ctx, Offset n) : stream_(ctx.stream) {
    if (n == 0) return;
    void* memory = nullptr;
    check_cuda(cudaMallocFromPoolAsync(&memory, static_cast<std::size_t>(n) * sizeof(T), ctx.pool.get(), stream_));
    data_ = static_cast<T*>(memory);
  }
  ~Buffer() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] T* get() const { return data_; }

 private:
  cudaStream_t stream_;
  T* data_ = nullptr;
};

}  // namespace likewise::cuda
