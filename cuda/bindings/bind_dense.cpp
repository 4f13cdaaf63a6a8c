#include "../dense.cuh"
#include "arrays.hpp"

namespace likewise::cuda::bindings {

void bind_dense(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  m.def("gramian", &gramian, arg("ctx"), arg("y"), arg("out"), Release());
  m.def("multiply_transposed", &multiply_transposed, arg("ctx"), arg("x"), arg("b"), arg("out"), Release());
  m.def("round_to_bf16", &round_to_bf16, arg("ctx"), arg("x"), arg("out"), Release());
}

}  // namespace likewise::cuda::bindings
