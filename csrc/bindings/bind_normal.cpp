#include "../normal.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_normal(py::module_& m) {
  m.def("fill_normal", &cpu::fill_normal, arg("ctx"), arg("seed"), py::arg("scale"), arg("out"),
        py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
