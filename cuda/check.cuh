#pragma once
// A failed CUDA call becomes an exception that names the call's place. Shapes are checked by csrc/check.hpp, in the
// same words on both devices.

#include <cuda_runtime_api.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace likewise::cuda {

/// Throws std::runtime_error, "CUDA: out of memory (dense.cu:88)", unless `status` is a success.
inline void check_cuda(cudaError_t status, const std::source_location& where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  const std::string_view path = where.file_name();
  throw std::runtime_error("CUDA: " + std::string(cudaGetErrorString(status)) + " (" +
                           std::string(path.substr(path.find_last_of("/\\") + 1)) + ":" + std::to_string(where.line()) +
                           ")");
}

/// To be called after each launch: whether the launch itself was accepted. What goes wrong while the kernel runs shows
/// in a later call on the stream.
inline void check_launch(const std::source_location& where = std::source_location::current()) {
  check_cuda(cudaGetLastError(), where);
}

}  // namespace likewise::cuda
