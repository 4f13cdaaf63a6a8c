#include "arrays.hpp"

#include <cstdint>
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

}  // namespace likewise::bindings
