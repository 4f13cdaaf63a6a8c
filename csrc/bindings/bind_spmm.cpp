#include "../spmm.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_spmm(py::module_& m) {
  m.def("spmm", &cpu::spmm, arg("ctx"), arg("x"), arg("y"), arg("out"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
