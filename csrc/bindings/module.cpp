#include <pybind11/stl.h>

#include "../check.hpp"
#include "../philox.hpp"
#include "../simd/dispatch.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_als(py::module_& m);
void bind_biases(py::module_& m);
void bind_dense(py::module_& m);
void bind_fm(py::module_& m);
void bind_knn_ratings(py::module_& m);
void bind_linear(py::module_& m);
void bind_metrics(py::module_& m);
void bind_rating_sgd(py::module_& m);
void bind_nmf(py::module_& m);
void bind_normal(py::module_& m);
void bind_similarity(py::module_& m);
void bind_sgd(py::module_& m);
void bind_slim(py::module_& m);
void bind_slope_one(py::module_& m);
void bind_spmm(py::module_& m);
void bind_topk(py::module_& m);
void bind_topk_sparse(py::module_& m);

PYBIND11_MODULE(_core, m) {
  m.doc() = "CPU kernels of likewise.";

  py::class_<Context>(m, "Context", "Threads and instruction set that a kernel may use.")
      .def(py::init([](int n_threads, const std::string& simd) {
             check_that(n_threads >= 1, "Context", "n_threads must be >= 1, got " + std::to_string(n_threads));
             return Context{n_threads, &simd::get(simd)};
           }),
           arg("n_threads") = 1, arg("simd") = "auto")
      .def_readonly("n_threads", &Context::n_threads)
      .def_property_readonly("simd", [](const Context& ctx) { return ctx.micro->name; })
      .def_property_readonly("has_int8", [](const Context& ctx) { return ctx.micro->screen_int8 != nullptr; });

  py::class_<CsrArrays>(m, "CSR", "Checked compressed sparse rows, sharing the arrays' memory.")
      .def(py::init<py::array, py::array, py::array, Offset>(), arg("indptr"), arg("indices"), arg("values"),
           arg("n_cols"))
      .def_property_readonly("shape",
                             [](const CsrArrays& csr) { return py::make_tuple(csr.view().n_rows, csr.view().n_cols); })
      .def_property_readonly("nnz", [](const CsrArrays& csr) { return csr.view().nnz(); });

  py::class_<ItemArrays>(m, "Items", "Checked item vectors of a search, sharing the arrays' memory.")
      .def(py::init<py::array, py::object, py::object, py::object>(), arg("vectors"), arg("scale") = py::none(),
           arg("bias") = py::none(), arg("quantized") = py::none())
      .def_property_readonly("shape", [](const ItemArrays& items) {
        return py::make_tuple(items.view().n_rows(), items.view().n_cols());
      });

  m.def("available_simd", &simd::available, "Instruction sets of this build that run here, slowest first.");
  m.def("philox4x32", &philox4x32, arg("counter"), arg("key"));

  bind_als(m);
  bind_biases(m);
  bind_dense(m);
  bind_fm(m);
  bind_knn_ratings(m);
  bind_linear(m);
  bind_metrics(m);
  bind_rating_sgd(m);
  bind_nmf(m);
  bind_normal(m);
  bind_similarity(m);
  bind_sgd(m);
  bind_slim(m);
  bind_slope_one(m);
  bind_spmm(m);
  bind_topk(m);
  bind_topk_sparse(m);
}

}  // namespace likewise::bindings
