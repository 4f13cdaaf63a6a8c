#include "../knn_ratings.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_knn_ratings(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::enum_<cpu::RatingMeasure>(m, "RatingMeasure")
      .value("cosine", cpu::RatingMeasure::kCosine)
      .value("msd", cpu::RatingMeasure::kMsd)
      .value("pearson", cpu::RatingMeasure::kPearson);
  py::class_<cpu::RatingNeighbors>(m, "RatingNeighbors", "Which neighbours a rating is predicted from.")
      .def(py::init([](cpu::RatingMeasure measure, float shrinkage, Offset min_support, Offset k) {
             return cpu::RatingNeighbors{measure, shrinkage, min_support, k};
           }),
           py::arg("measure"), py::arg("shrinkage"), py::arg("min_support"), py::arg("k"));
  m.def("knn_ratings", &cpu::knn_ratings, arg("ctx"), arg("rows"), arg("columns"), arg("asked"), arg("lists"),
        arg("neighbors"), arg("first"), arg("estimates"), arg("n_used"), Release());
  m.def("nearest_by_ratings", &cpu::nearest_by_ratings, arg("ctx"), arg("rows"), arg("columns"), arg("neighbors"),
        arg("first"), arg("ids"), arg("scores"), Release());
}

}  // namespace likewise::bindings
