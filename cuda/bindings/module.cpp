#include <cstdint>

#include "../context.cuh"
#include "arrays.hpp"

namespace likewise::cuda::bindings {

void bind_dense(py::module_& m);

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "CUDA kernels of likewise.";

  py::class_<Context>(m, "Context", "Device, stream and borrowed memory of a kernel.")
      .def(py::init([](int device, std::uintptr_t stream) {
             return make_context(device, reinterpret_cast<cudaStream_t>(stream));
           }),
           arg("device"), arg("stream"))
      .def_readonly("device", &Context::device)
      .def_property_readonly("stream", [](const Context& ctx) { return reinterpret_cast<std::uintptr_t>(ctx.stream); })
      .def_readonly("n_multiprocessors", &Context::n_multiprocessors);

  py::class_<CsrArrays>(m, "CSR", "Compressed sparse rows on the device, sharing the arrays' memory.")
      .def(py::init<py::object, py::object, py::object, Offset>(), arg("indptr"), arg("indices"), arg("values"),
           arg("n_cols"))
      .def_property_readonly("shape",
                             [](const CsrArrays& csr) { return py::make_tuple(csr.view().n_rows, csr.view().n_cols); })
      .def_property_readonly("nnz", &CsrArrays::nnz);

  bind_dense(m);
}

}  // namespace likewise::cuda::bindings
