#include "../slope_one.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_slope_one(py::module_& m) {
  m.def("slope_one", &cpu::slope_one, arg("ctx"), arg("by_user"), arg("items"), arg("raters"), arg("histories"),
        arg("asked"), arg("weighted"), arg("estimates"), arg("n_used"), py::call_guard<py::gil_scoped_release>());
  m.def("slope_one_of_rows", &cpu::slope_one_of_rows, arg("ctx"), arg("by_user"), arg("by_item"), arg("histories"),
        arg("weighted"), arg("estimates"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
