#include "../dense.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_dense(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  m.def("gramian", &cpu::gramian, arg("ctx"), arg("y"), arg("out"), Release());
  m.def("multiply_transposed", &cpu::multiply_transposed, arg("ctx"), arg("x"), arg("b"), arg("out"), Release());
  m.def("round_to_bf16", &cpu::round_to_bf16, arg("ctx"), arg("x"), arg("out"), Release());
  m.def("solve_spd", &cpu::solve_spd, arg("ctx"), arg("a"), arg("b"), arg("x"), Release());
}

}  // namespace likewise::bindings
