#include <pybind11/stl.h>

#include "../fm.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_fm(py::module_& m) {
  py::enum_<cpu::FmLoss>(m, "FmLoss")
      .value("regression", cpu::FmLoss::kRegression)
      .value("logistic", cpu::FmLoss::kLogistic)
      .value("bpr", cpu::FmLoss::kBpr)
      .value("warp", cpu::FmLoss::kWarp);
  py::class_<cpu::FmRule>(m, "FmRule", "What a factorization machine learns from, and how.")
      .def(py::init<cpu::FmLoss, bool, Offset, Offset, double, double, double>(), py::arg("loss"), py::arg("within"),
           py::arg("n_candidates"), py::arg("batch_size"), py::arg("mean"), py::arg("learning_rate"),
           py::arg("regularization"));
  m.def(
      "fm_epoch",
      [](const Context& ctx, CsrView<const float> by_user, CsrView<const float> users, CsrView<const float> items,
         CsrView<const float> contexts, const cpu::FmRule& rule, std::uint64_t seed, std::uint32_t epoch,
         MatrixView<float> vectors, MatrixView<float> squares, Offset n_factors) {
        return cpu::fm_epoch(ctx, by_user, {users, items, contexts}, rule, seed, epoch, {vectors, squares, n_factors});
      },
      arg("ctx"), arg("by_user"), arg("users"), arg("items"), arg("contexts"), arg("rule"), arg("seed"), arg("epoch"),
      arg("vectors"), arg("squares"), arg("n_factors"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace likewise::bindings
