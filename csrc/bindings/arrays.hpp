#pragma once
// Python arrays as views, without a copy: a wrong dtype, layout or dimension is a TypeError, never converted.
// Memory safety is settled here: a CSR is checked once, when the object that owns its arrays is made.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <span>
#include <string>
#include <type_traits>

#include "../context.hpp"
#include "../topk.hpp"
#include "../types.hpp"

namespace likewise::bindings {

namespace py = pybind11;

/// A named argument that is never converted.
inline py::arg arg(const char* name) { return py::arg(name).noconvert(); }

/// Owns references to the three arrays of a CSR whose offsets and ids were checked.
class CsrArrays {
 public:
  CsrArrays(py::array indptr, py::array indices, py::array values, Offset n_cols);

  [[nodiscard]] CsrView<const float> view() const { return view_; }

 private:
  py::array indptr_, indices_, values_;
  CsrView<const float> view_;
};

/// Owns references to the arrays of item vectors, whose sizes and ids were checked.
class ItemArrays {
 public:
  /// `quantized` is None or the tuple (tiles, extents, order) that `quantize_items` has written.
  ItemArrays(py::array vectors, py::object scale, py::object bias, py::object quantized);

  [[nodiscard]] const cpu::ItemsView& view() const { return view_; }

 private:
  py::array vectors_;
  py::object scale_, bias_, quantized_;
  cpu::ItemsView view_;
};

/// `object` as an array of T with `n_dims` dimensions, C-contiguous, aligned, and writable unless T is const.
/// Throws TypeError otherwise.
template <class T>
py::array as_array(py::handle object, int n_dims) {
  using Value = std::remove_const_t<T>;
  // Named in errors only: NumPy takes microseconds to spell a dtype.
  const auto dtype = [] { return std::string(py::str(py::dtype::of<Value>())); };
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error("expected a " + dtype() + " array, got " + std::string(py::str(py::type::of(object))));
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<Value>>(array)) {
    throw py::type_error("expected a " + dtype() + " array, got one of " + std::string(py::str(array.dtype())));
  }
  if (array.ndim() != n_dims) {
    throw py::type_error("expected " + std::to_string(n_dims) + " dimensions, got " + std::to_string(array.ndim()));
  }
  constexpr int kWanted = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
  if ((array.flags() & kWanted) != kWanted)
    throw py::type_error("expected a C-contiguous, aligned " + dtype() + " array");
  if (!std::is_const_v<T> && !array.writeable()) throw py::type_error("expected a writable " + dtype() + " array");
  return array;
}

template <class T>
T* array_data(const py::array& array) {
  return static_cast<T*>(const_cast<void*>(array.data()));
}

}  // namespace likewise::bindings

namespace pybind11::detail {

template <class T>
struct type_caster<likewise::MatrixView<T>> {
  PYBIND11_TYPE_CASTER(likewise::MatrixView<T>, const_name("numpy.ndarray"));

  bool load(handle source, bool) {
    const auto array = likewise::bindings::as_array<T>(source, 2);
    value = {likewise::bindings::array_data<T>(array), array.shape(0), array.shape(1)};
    return true;
  }
};

template <class T>
  requires std::is_arithmetic_v<std::remove_const_t<T>>
struct type_caster<std::span<T>> {
  PYBIND11_TYPE_CASTER(std::span<T>, const_name("numpy.ndarray"));

  bool load(handle source, bool) {
    const auto array = likewise::bindings::as_array<T>(source, 1);
    value = {likewise::bindings::array_data<T>(array), static_cast<std::size_t>(array.shape(0))};
    return true;
  }
};

template <>
struct type_caster<likewise::CsrView<const float>> {
  PYBIND11_TYPE_CASTER(likewise::CsrView<const float>, const_name("likewise._core.CSR"));

  bool load(handle source, bool) {
    if (!isinstance<likewise::bindings::CsrArrays>(source)) return false;
    value = source.cast<const likewise::bindings::CsrArrays&>().view();
    return true;
  }
};

template <>
struct type_caster<likewise::cpu::ItemsView> {
  PYBIND11_TYPE_CASTER(likewise::cpu::ItemsView, const_name("likewise._core.Items"));

  bool load(handle source, bool) {
    if (!isinstance<likewise::bindings::ItemArrays>(source)) return false;
    value = source.cast<const likewise::bindings::ItemArrays&>().view();
    return true;
  }
};

}  // namespace pybind11::detail
