#include <pybind11/stl.h>

#include "../topk.hpp"
#include "arrays.hpp"

namespace likewise::bindings {

void bind_topk(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::enum_<cpu::Score>(m, "Score")
      .value("inner_product", cpu::Score::kInnerProduct)
      .value("distance", cpu::Score::kDistance);
  m.attr("QUANTIZED_GROUP") = cpu::kQuantizedGroup;
  m.attr("EXTENT_FLOATS") = cpu::kExtentFloats;
  m.attr("MOST_QUANTIZED_DEPTH") = cpu::kMostQuantizedDepth;
  m.def("quantized_groups", &cpu::quantized_groups, arg("m"));
  m.def("quantized_bytes", &cpu::quantized_bytes, arg("d"));
  m.def("quantize_items", &cpu::quantize_items, arg("ctx"), arg("items"), arg("order"), arg("groups"), arg("tiles"),
        arg("extents"), Release());
  m.def("topk", &cpu::topk, arg("ctx"), arg("queries"), arg("items"), arg("score"), arg("exclude"), arg("candidates"),
        arg("allow"), arg("deny"), arg("ids"), arg("scores"), Release());
  m.def("topk_scores", &cpu::topk_scores, arg("ctx"), arg("all_scores"), arg("exclude"), arg("allow"), arg("deny"),
        arg("ids"), arg("scores"), Release());
}

}  // namespace likewise::bindings
