#include <pybind11/stl.h>

#include "../topk.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_topk(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  m.def("topk", &cpu::topk, arg("ctx"), arg("queries"), arg("items"), arg("scale"), arg("exclude"), arg("allow"),
        arg("deny"), arg("ids"), arg("scores"), Release());
  m.def("topk_scores", &cpu::topk_scores, arg("ctx"), arg("all_scores"), arg("exclude"), arg("allow"), arg("deny"),
        arg("ids"), arg("scores"), Release());
}

}  // namespace likewise::bindings
