#include <pybind11/stl.h>

#include "../sgd.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_sgd(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::enum_<cpu::RankingLoss>(m, "RankingLoss")
      .value("bpr", cpu::RankingLoss::kBpr)
      .value("warp", cpu::RankingLoss::kWarp)
      .value("logistic", cpu::RankingLoss::kLogistic);
  py::enum_<cpu::NegativeSampling>(m, "NegativeSampling")
      .value("uniform", cpu::NegativeSampling::kUniform)
      .value("popularity", cpu::NegativeSampling::kPopularity);
  py::class_<cpu::RankingRule>(m, "RankingRule", "What a step of a ranking loss learns from, and by how much it moves.")
      .def(py::init<cpu::RankingLoss, cpu::NegativeSampling, Offset, double, double, Offset, Offset>(), py::arg("loss"),
           py::arg("sampling"), py::arg("n_candidates"), py::arg("learning_rate"), py::arg("regularization"),
           py::arg("n_positives"), py::arg("order"));
  m.def("ranking_epoch", &cpu::ranking_epoch, arg("ctx"), arg("by_user"), arg("rule"), arg("seed"), arg("epoch"),
        arg("counts"), arg("users"), arg("items"), arg("biases"), Release());
  m.def("ranking_fold_in", &cpu::ranking_fold_in, arg("ctx"), arg("by_user"), arg("rule"), arg("seed"),
        arg("iterations"), arg("counts"), arg("items"), arg("biases"), arg("users"), Release());
}

}  // namespace likewise::bindings
