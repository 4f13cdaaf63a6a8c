#pragma once
// L0: the types that every kernel shares. Offsets and products are 64-bit, ids 32-bit, data float32.
// Members are constexpr, so that CUDA kernels may call them (--expt-relaxed-constexpr).

#include <cstddef>
#include <cstdint>
#include <span>

namespace likewise {

using Offset = std::int64_t;
using Id = std::int32_t;
using Bf16 = std::uint16_t;  // the upper half of a float32

/// Compressed sparse rows, not owned. Column ids are sorted and unique within a row.
/// T is `const float` or `float`; indptr has n_rows + 1 entries.
template <class T>
struct CsrView {
  Offset n_rows = 0;
  Offset n_cols = 0;
  const Offset* indptr = nullptr;
  const Id* indices = nullptr;
  T* values = nullptr;

  [[nodiscard]] constexpr Offset nnz() const { return indptr == nullptr ? 0 : indptr[n_rows]; }
  [[nodiscard]] constexpr Offset row_size(Offset row) const { return indptr[row + 1] - indptr[row]; }
  [[nodiscard]] constexpr std::span<const Id> row_indices(Offset row) const {
    return {indices + indptr[row], static_cast<std::size_t>(row_size(row))};
  }
  [[nodiscard]] constexpr std::span<T> row_values(Offset row) const {
    return {values + indptr[row], static_cast<std::size_t>(row_size(row))};
  }
};

/// Row-major dense matrix, not owned; consecutive rows are `n_cols` apart.
template <class T>
struct MatrixView {
  T* data = nullptr;
  Offset n_rows = 0;
  Offset n_cols = 0;

  [[nodiscard]] constexpr T* row(Offset i) const { return data + i * n_cols; }
};

}  // namespace likewise
