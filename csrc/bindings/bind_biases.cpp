#include "../biases.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_biases(py::module_& m) {
  m.def("bias_half_sweep", &cpu::bias_half_sweep, arg("ctx"), arg("ratings"), arg("mean"), arg("others"),
        arg("regularization"), arg("biases"), py::call_guard<py::gil_scoped_release>());
  m.def("bias_sgd_epoch", &cpu::bias_sgd_epoch, arg("ctx"), arg("ratings"), arg("mean"), arg("learning_rate"),
        arg("regularization"), arg("row_biases"), arg("column_biases"), py::call_guard<py::gil_scoped_release>());
  m.def("bias_sgd_half_epoch", &cpu::bias_sgd_half_epoch, arg("ctx"), arg("ratings"), arg("mean"), arg("learning_rate"),
        arg("regularization"), arg("others"), arg("biases"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
