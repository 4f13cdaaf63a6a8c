#include <pybind11/stl.h>

#include "../topk_sparse.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_topk_sparse(py::module_& m) {
  m.def("topk_sparse", &cpu::topk_sparse, arg("ctx"), arg("queries"), arg("weights"), arg("exclude"), arg("allow"),
        arg("deny"), arg("ids"), arg("scores"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
