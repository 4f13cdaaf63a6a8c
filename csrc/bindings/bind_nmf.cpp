#include "../nmf.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_nmf(py::module_& m) {
  m.def("nmf_half_epoch", &cpu::nmf_half_epoch, arg("ctx"), arg("ratings"), arg("y"), arg("regularization"), arg("x"),
        arg("out"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
