#include "arrays.hpp"

#include <cstdint>
#include <cstring>
#include <limits>

namespace likewise::bindings {

namespace {

/// Offsets rise from 0 to the number of stored entries, ids are inside [0, n_cols) and rise strictly in each row.
void check_csr(const CsrView<const float>& csr, Offset n_entries) {
  const auto fail = [](const std::string& rule) { throw py::value_error("CSR: " + rule); };
  if (csr.indptr[0] != 0) fail("indptr must start at 0, got " + std::to_string(csr.indptr[0]));
  if (csr.indptr[csr.n_rows] != n_entries) {
    fail("indptr must end at the number of indices " + std::to_string(n_entries) + ", got " +
         std::to_string(csr.indptr[csr.n_rows]));
  }
  for (Offset row = 0; row < csr.n_rows; ++row) {
    const Offset begin = csr.indptr[row], end = csr.indptr[row + 1];
    if (begin > end || end > n_entries) fail("indptr must not decrease, but does after row " + std::to_string(row));
    Offset previous = -1;
    for (Offset j = begin; j < end; ++j) {
      if (csr.indices[j] <= previous || csr.indices[j] >= csr.n_cols) {
        fail("column ids must rise strictly inside [0, " + std::to_string(csr.n_cols) + "), got " +
             std::to_string(csr.indices[j]) + " in row " + std::to_string(row));
      }
      previous = csr.indices[j];
    }
  }
}

}  // namespace

CsrArrays::CsrArrays(py::array indptr, py::array indices, py::array values, Offset n_cols)
    : indptr_(as_array<const Offset>(indptr, 1)),
      indices_(as_array<const Id>(indices, 1)),
      values_(as_array<const float>(values, 1)) {
  if (indptr_.size() < 1) throw py::value_error("CSR: indptr must have at least one entry");
  if (indices_.size() != values_.size()) {
    throw py::value_error("CSR: indices has " + std::to_string(indices_.size()) + " entries but values has " +
                          std::to_string(values_.size()));
  }
  if (n_cols < 0 || n_cols > std::numeric_limits<Id>::max()) {
    throw py::value_error("CSR: n_cols must be inside [0, 2^31), got " + std::to_string(n_cols));
  }
  view_ = {indptr_.size() - 1, n_cols, array_data<const Offset>(indptr_), array_data<const Id>(indices_),
           array_data<const float>(values_)};
  const py::gil_scoped_release release;
  check_csr(view_, indices_.size());
}

namespace {

template <class T>
MatrixView<const T> as_matrix(const py::array& object) {
  const py::array array = as_array<const T>(object, 2);
  return {array_data<const T>(array), array.shape(0), array.shape(1)};
}

std::optional<std::span<const float>> as_floats(const py::object& object) {
  if (object.is_none()) return std::nullopt;
  const py::array array = as_array<const float>(object, 1);
  return std::span(array_data<const float>(array), static_cast<std::size_t>(array.size()));
}

void check_quantized(const py::array& tiles, const py::array& extents, const py::array& order, Offset m, Offset d) {
  const Offset n_groups = cpu::quantized_groups(m);
  if (tiles.shape(0) < n_groups || tiles.shape(1) != cpu::quantized_bytes(d) || extents.shape(0) < n_groups ||
      extents.shape(1) != cpu::kExtentFloats || order.size() != m) {
    throw py::value_error("Items: the quantized copy is not of " + std::to_string(m) + " items of length " +
                          std::to_string(d));
  }
  const auto* ids = array_data<const Id>(order);
  for (Offset i = 0; i < m; ++i) {
    if (ids[i] < 0 || ids[i] >= m) {
      throw py::value_error("Items: order must be inside [0, " + std::to_string(m) + "), got " +
                            std::to_string(ids[i]));
    }
  }
}

}  // namespace

ItemArrays::ItemArrays(py::array vectors, py::object scale, py::object bias, py::object quantized)
    : vectors_(std::move(vectors)),
      scale_(std::move(scale)),
      bias_(std::move(bias)),
      quantized_(std::move(quantized)),
      view_{.scale = as_floats(scale_), .bias = as_floats(bias_)} {
  if (py::isinstance<py::array_t<Bf16>>(vectors_)) {
    view_.vectors = as_matrix<Bf16>(vectors_);
  } else if (py::isinstance<py::array_t<std::int8_t>>(vectors_)) {
    view_.vectors = as_matrix<std::int8_t>(vectors_);
  } else {
    view_.vectors = as_matrix<float>(vectors_);
  }
  if (quantized_.is_none()) return;
  const auto [tiles, extents, order] = quantized_.cast<std::tuple<py::array, py::array, py::array>>();
  as_array<const std::uint8_t>(tiles, 2);
  as_array<const float>(extents, 2);
  as_array<const Id>(order, 1);
  check_quantized(tiles, extents, order, view_.n_rows(), view_.n_cols());
  view_.quantized = {array_data<const std::uint8_t>(tiles), array_data<const float>(extents),
                     array_data<const Id>(order)};
}

}  // namespace likewise::bindings
