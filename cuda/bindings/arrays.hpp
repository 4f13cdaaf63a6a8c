#pragma once
// Device arrays as views, without a copy, through `__cuda_array_interface__`: a wrong dtype, layout or dimension is a
// TypeError, never converted. Work is ordered by the context's stream alone; whoever brings an array from another
// stream has waited for it (the backend's `asarray` does).

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <type_traits>

#include "../../csrc/types.hpp"

namespace likewise::cuda::bindings {

namespace py = pybind11;

/// A named argument that is never converted.
inline py::arg arg(const char* name) { return py::arg(name).noconvert(); }

/// Address and shape of a C-contiguous device array.
struct DeviceArray {
  void* data = nullptr;
  std::array<Offset, 2> shape{};
};

/// Reads `object`, of `n_dims` (1 or 2) dimensions. Throws TypeError when it is something else.
DeviceArray read_device_array(py::handle object, const py::dtype& dtype, int n_dims, bool writable);

template <class T>
DeviceArray as_device_array(py::handle object, int n_dims) {
  return read_device_array(object, py::dtype::of<std::remove_const_t<T>>(), n_dims, !std::is_const_v<T>);
}

/// Owns references to the three device arrays of a CSR; their content was checked on the host before it was sent.
class CsrArrays {
 public:
  CsrArrays(py::object indptr, py::object indices, py::object values, Offset n_cols);

  [[nodiscard]] CsrView<const float> view() const { return view_; }
  [[nodiscard]] Offset nnz() const { return nnz_; }

 private:
  py::object indptr_, indices_, values_;
  CsrView<const float> view_;
  Offset nnz_;  // of its own: the view's offsets are not to be read on the host
};

}  // namespace likewise::cuda::bindings

namespace pybind11::detail {

template <class T>
struct type_caster<likewise::MatrixView<T>> {
  PYBIND11_TYPE_CASTER(likewise::MatrixView<T>, const_name("CudaArray"));

  bool load(handle source, bool) {
    const auto array = likewise::cuda::bindings::as_device_array<T>(source, 2);
    value = {static_cast<T*>(array.data), array.shape[0], array.shape[1]};
    return true;
  }
};

}  // namespace pybind11::detail
