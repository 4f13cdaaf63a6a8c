#include "../similarity.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_similarity(py::module_& m) {
  py::enum_<cpu::Denominator>(m, "Denominator")
      .value("product", cpu::Denominator::kProduct)
      .value("sum", cpu::Denominator::kSum);
  py::class_<cpu::Similarity>(m, "Similarity", "How a sum of products becomes a similarity, and which are kept.")
      .def(
          py::init([](cpu::Denominator denominator, float overlap, float shrinkage, float minimum, Offset min_support) {
            return cpu::Similarity{denominator, overlap, shrinkage, minimum, min_support};
          }),
          py::arg("denominator"), py::arg("overlap"), py::arg("shrinkage"), py::arg("minimum"), py::arg("min_support"));
  m.def("similarity", &cpu::similarity, arg("ctx"), arg("rows"), arg("columns"), arg("left"), arg("right"),
        arg("measure"), py::arg("k"), py::arg("first"), arg("indptr"), arg("ids"), arg("values"),
        py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
