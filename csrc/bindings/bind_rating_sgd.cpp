#include "../rating_sgd.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_rating_sgd(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<cpu::RatingRule>(m, "RatingRule", "How steps on ratings go.")
      .def(py::init<double, double, double>(), py::arg("mean"), py::arg("learning_rate"), py::arg("regularization"));
  // The arrays are borrowed: whoever makes one keeps them.
  py::class_<cpu::RatingFactors>(m, "RatingFactors", "Vectors and biases that are learned from ratings.")
      .def(py::init<MatrixView<float>, MatrixView<float>, std::span<float>, std::span<float>>(), arg("users"),
           arg("items"), arg("user_biases"), arg("item_biases"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>(),
           py::keep_alive<1, 4>(), py::keep_alive<1, 5>());
  m.def("n_rating_blocks", &cpu::n_rating_blocks, py::arg("n_items"), py::arg("nnz"), py::arg("d"));
  m.def("arrange_ratings", &cpu::arrange_ratings, arg("ctx"), arg("ratings"), arg("seed"), arg("n_blocks"),
        arg("users"), arg("items"), arg("values"), arg("starts"), Release());
  m.def("rating_epoch", &cpu::rating_epoch, arg("ctx"), arg("user_ids"), arg("item_ids"), arg("values"), arg("starts"),
        arg("rule"), arg("seed"), arg("epoch"), arg("factors"), Release());
  m.def("svdpp_epoch", &cpu::svdpp_epoch, arg("ctx"), arg("ratings"), arg("implicit"), arg("rule"), arg("factors"),
        arg("implicit_items"), Release());
  m.def("implicit_sums", &cpu::implicit_sums, arg("ctx"), arg("implicit"), arg("implicit_items"), arg("out"),
        Release());
  m.def("rating_fold_in", &cpu::rating_fold_in, arg("ctx"), arg("ratings"), arg("rule"), arg("iterations"),
        arg("factors"), Release());
}

}  // namespace likewise::bindings
