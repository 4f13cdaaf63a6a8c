#include "../linear.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_linear(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  m.def("sparse_gramian", &cpu::sparse_gramian, arg("ctx"), arg("by_row"), arg("by_column"), arg("out"), Release());
  m.attr("SWEPT_ROWS") = cpu::kSweptRows;
  m.def("invert_spd", &cpu::invert_spd, arg("ctx"), arg("a"), arg("first"), arg("last"), Release());
  m.def("regress_on_nearest", &cpu::regress_on_nearest, arg("ctx"), arg("correlations"), arg("floors"), arg("n_kept"),
        arg("first"), arg("k"), arg("indptr"), arg("ids"), arg("values"), Release());
  m.def("multiply_sparse", &cpu::multiply_sparse, arg("ctx"), arg("x"), arg("b"), arg("out"), Release());
}

}  // namespace likewise::bindings
