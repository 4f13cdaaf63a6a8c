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
      .value("f1", cpu::Metric::kF1)
      .value("fall_out", cpu::Metric::kFallOut)
      .value("ndcg", cpu::Metric::kNdcg)
      .value("graded_ndcg", cpu::Metric::kGradedNdcg)
      .value("exponential_ndcg", cpu::Metric::kExponentialNdcg)
      .value("map", cpu::Metric::kMap)
      .value("mrr", cpu::Metric::kMrr)
      .value("r_precision", cpu::Metric::kRPrecision)
      .value("rbp", cpu::Metric::kRbp)
      .value("err", cpu::Metric::kErr)
      .value("auc", cpu::Metric::kAuc)
      .value("novelty", cpu::Metric::kNovelty)
      .value("popularity", cpu::Metric::kPopularity)
      .value("diversity", cpu::Metric::kDiversity)
      .value("serendipity", cpu::Metric::kSerendipity);
  py::class_<cpu::RankingMetric>(m, "RankingMetric", "A metric, its cutoff, and its parameter.")
      .def(
          py::init([](cpu::Metric metric, Id k, double parameter) { return cpu::RankingMetric{metric, k, parameter}; }),
          py::arg("metric"), py::arg("k"), py::arg("parameter") = 0.0);
  m.def(
      "ranking_metrics",
      [](const Context& ctx, MatrixView<const Id> ids, CsrView<const float> relevant,
         std::optional<CsrView<const float>> exclude, std::span<const Id> n_candidates,
         std::span<const double> information, std::span<const double> popularity, std::span<const Id> popularity_ranks,
         std::optional<CsrView<const float>> features, const std::vector<cpu::RankingMetric>& metrics,
         MatrixView<double> out) {
        cpu::ranking_metrics(ctx, ids, relevant, exclude, n_candidates,
                             {information, popularity, popularity_ranks, features}, metrics, out);
      },
      arg("ctx"), arg("ids"), arg("relevant"), arg("exclude"), arg("n_candidates"), arg("information"),
      arg("popularity"), arg("popularity_ranks"), arg("features"), arg("metrics"), arg("out"), Release());
  m.def("count_recommended", &cpu::count_recommended, arg("ctx"), arg("ids"), arg("cutoffs"), arg("counts"), Release());
  m.def("group_metrics", &cpu::group_metrics, arg("ctx"), arg("ids"), arg("relevant"), arg("exclude"), arg("groups"),
        arg("k"), arg("exposure"), arg("hits"), arg("wanted"), Release());
  m.def("auc", &cpu::auc, arg("ctx"), arg("all_scores"), arg("relevant"), arg("exclude"), arg("out"), Release());
  m.def("concordant_pairs", &cpu::concordant_pairs, arg("ctx"), arg("ratings"), arg("estimates"), arg("comparable"),
        arg("concordant"), Release());
  m.def("bootstrap_means", &cpu::bootstrap_means, arg("ctx"), arg("values"), arg("seed"), arg("out"), Release());
}

}  // namespace likewise::bindings
