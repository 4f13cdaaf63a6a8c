#include <pybind11/stl.h>

#include "../metrics.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_metrics(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::enum_<cpu::Metric>(m, "Metric")
      .value("precision", cpu::Metric::kPrecision)
      .value("recall", cpu::Metric::kRecall)
      .value("hit_rate", cpu::Metric::kHitRate)
      .value("ndcg", cpu::Metric::kNdcg)
      .value("map", cpu::Metric::kMap)
      .value("mrr", cpu::Metric::kMrr);
  py::class_<cpu::RankingMetric>(m, "RankingMetric", "A metric and its cutoff.")
      .def(py::init([](cpu::Metric metric, Id k) { return cpu::RankingMetric{metric, k}; }), py::arg("metric"),
           py::arg("k"));
  m.def("ranking_metrics", &cpu::ranking_metrics, arg("ctx"), arg("ids"), arg("relevant"), arg("exclude"),
        arg("metrics"), arg("out"), Release());
  m.def("auc", &cpu::auc, arg("ctx"), arg("all_scores"), arg("relevant"), arg("exclude"), arg("out"), Release());
  m.def("concordant_pairs", &cpu::concordant_pairs, arg("ctx"), arg("ratings"), arg("estimates"), arg("comparable"),
        arg("concordant"), Release());
  m.def("bootstrap_means", &cpu::bootstrap_means, arg("ctx"), arg("values"), arg("seed"), arg("out"), Release());
}

}  // namespace likewise::bindings
