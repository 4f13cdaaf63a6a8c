#include "arrays.hpp"

#include <limits>
#include <string>
#include <utility>

namespace likewise::cuda::bindings {

namespace {

[[noreturn]] void fail(const py::dtype& dtype, const std::string& rule) {
  throw py::type_error("expected a " + std::string(py::str(dtype)) + " CUDA array" + rule);
}

}  // namespace

DeviceArray read_device_array(py::handle object, const py::dtype& dtype, int n_dims, bool writable) {
  const py::object found = py::getattr(object, "__cuda_array_interface__", py::none());
  if (!py::isinstance<py::dict>(found)) fail(dtype, ", got " + std::string(py::str(py::type::of(object))));
  const auto interface = py::reinterpret_borrow<py::dict>(found);
  const py::dtype given(interface["typestr"].cast<std::string>());
  if (!given.equal(dtype)) fail(dtype, ", got one of " + std::string(py::str(given)));
  const auto shape = interface["shape"].cast<py::tuple>();
  if (static_cast<int>(shape.size()) != n_dims) {
    fail(dtype, " of " + std::to_string(n_dims) + " dimensions, got " + std::to_string(shape.size()));
  }
  const auto data = interface["data"].cast<py::tuple>();
  if (writable && data[1].cast<bool>()) fail(dtype, " that can be written, got a read-only one");

  DeviceArray out;
  out.data = reinterpret_cast<void*>(data[0].cast<std::uintptr_t>());
  for (int i = 0; i < n_dims; ++i)
    out.shape[static_cast<std::size_t>(i)] = shape[static_cast<std::size_t>(i)].cast<Offset>();
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const auto strides = interface["strides"].cast<py::tuple>();
    Offset expected = dtype.itemsize();
    for (int i = n_dims - 1; i >= 0; --i) {
      const auto dimension = static_cast<std::size_t>(i);
      if (out.shape[dimension] > 1 && strides[dimension].cast<Offset>() != expected) fail(dtype, ", C-contiguous");
      expected *= out.shape[dimension];
    }
  }
  return out;
}

CsrArrays::CsrArrays(py::object indptr, py::object indices, py::object values, Offset n_cols)
    : indptr_(std::move(indptr)), indices_(std::move(indices)), values_(std::move(values)) {
  const DeviceArray offsets = as_device_array<const Offset>(indptr_, 1);
  const DeviceArray ids = as_device_array<const Id>(indices_, 1);
  const DeviceArray entries = as_device_array<const float>(values_, 1);
  if (offsets.shape[0] < 1) throw py::value_error("CSR: indptr must have at least one entry");
  if (ids.shape[0] != entries.shape[0]) {
    throw py::value_error("CSR: indices has " + std::to_string(ids.shape[0]) + " entries but values has " +
                          std::to_string(entries.shape[0]));
  }
  if (n_cols < 0 || n_cols > std::numeric_limits<Id>::max()) {
    throw py::value_error("CSR: n_cols must be inside [0, 2^31), got " + std::to_string(n_cols));
  }
  nnz_ = ids.shape[0];
  view_ = {offsets.shape[0] - 1, n_cols, static_cast<const Offset*>(offsets.data), static_cast<const Id*>(ids.data),
           static_cast<const float*>(entries.data)};
}

}  // namespace likewise::cuda::bindings
