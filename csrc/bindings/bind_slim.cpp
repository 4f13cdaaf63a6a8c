#include <pybind11/stl.h>

#include "../slim.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_slim(py::module_& m) {
  py::class_<cpu::SlimObjective>(m, "SlimObjective", "What a column of SLIM minimizes, and when it is done.")
      .def(py::init<double, double, bool, Offset, double>(), py::arg("l1"), py::arg("l2"), py::arg("non_negative"),
           py::arg("iterations"), py::arg("tolerance"));

  m.def("slim", &cpu::slim, arg("ctx"), arg("by_user"), arg("by_item"), arg("start"), arg("targets"), arg("objective"),
        arg("ids"), arg("values"), arg("counts"), arg("n_found"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
