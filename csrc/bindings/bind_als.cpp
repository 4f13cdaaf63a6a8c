#include <pybind11/stl.h>

#include "../als.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_als(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<cpu::AlsObjective>(m, "AlsObjective", "Weights and penalties of the implicit-feedback loss.")
      .def(py::init([](float alpha, float unobserved_weight, float regularization, float regularization_exponent) {
             return cpu::AlsObjective{alpha, unobserved_weight, regularization, regularization_exponent};
           }),
           py::arg("alpha"), py::arg("unobserved_weight"), py::arg("regularization"),
           py::arg("regularization_exponent"));
  py::enum_<cpu::AlsSolver>(m, "AlsSolver")
      .value("cholesky", cpu::AlsSolver::kCholesky)
      .value("cg", cpu::AlsSolver::kCg)
      .value("block", cpu::AlsSolver::kBlock)
      .value("descent", cpu::AlsSolver::kDescent);
  py::class_<cpu::ExplicitAlsObjective>(m, "ExplicitAlsObjective", "Penalties and bounds of the loss of ratings.")
      .def(py::init([](float mean, float regularization, float regularization_exponent, float l1, bool biases,
                       bool non_negative) {
             return cpu::ExplicitAlsObjective{mean, regularization, regularization_exponent, l1, biases, non_negative};
           }),
           py::arg("mean"), py::arg("regularization"), py::arg("regularization_exponent"), py::arg("l1"),
           py::arg("biases"), py::arg("non_negative"));
  m.def("als_half_sweep", &cpu::als_half_sweep, arg("ctx"), arg("interactions"), arg("y"), arg("y_bf16"),
        arg("eigenvalues"), arg("objective"), arg("solver"), arg("steps"), arg("tolerance"), arg("block"), arg("x"),
        Release());
  m.def("als_loss", &cpu::als_loss, arg("ctx"), arg("interactions"), arg("x"), arg("y"), arg("gramian_x"),
        arg("gramian_y"), arg("objective"), Release());
  m.def("explicit_als_half_sweep", &cpu::explicit_als_half_sweep, arg("ctx"), arg("ratings"), arg("weights"), arg("y"),
        arg("y_bf16"), arg("y_biases"), arg("objective"), arg("solver"), arg("steps"), arg("tolerance"), arg("x"),
        arg("x_biases"), Release());
  m.def("explicit_als_loss", &cpu::explicit_als_loss, arg("ctx"), arg("ratings"), arg("weights"), arg("x"), arg("y"),
        arg("x_biases"), arg("y_biases"), arg("objective"), Release());
}

}  // namespace likewise::bindings
