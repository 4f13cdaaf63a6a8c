"""The layers of the package, held against what the files import and include.

`violations(path, text)` is a function of one file, so that the checker is itself tested on small bad files. The table
is that of docs/architecture.md.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# ---- the table: Python ---------------------------------------------------------------------------------------------

# Longest prefix wins. A module that is in no layer fails the test: it has to be given a place first.
PYTHON_LAYERS = {
    "likewise": "public",
    "likewise._core": "kernels",
    "likewise._cuda": "kernels",
    "likewise._backend": "foundation",
    "likewise._validation": "foundation",
    "likewise._progress": "foundation",
    "likewise._config": "foundation",
    "likewise._space": "foundation",
    "likewise._io": "foundation",
    "likewise._files": "foundation",
    "likewise.exceptions": "foundation",
    "likewise.data": "data",
    "likewise.model_selection": "data",
    "likewise.model_selection._tune": "evaluation",
    "likewise.retrieval": "retrieval",
    "likewise.rerank": "retrieval",
    "likewise.models": "models",
    "likewise.evaluation": "evaluation",
    "likewise.torch": "edge",
    "likewise.online": "edge",
    "likewise.distributed": "edge",
    "likewise.compat": "edge",
    "likewise.cli": "edge",
    "likewise._demo": "edge",
    "likewise._report": "foundation",
    "likewise.__main__": "edge",
}

MAY_IMPORT = {
    "foundation": {"kernels", "foundation"},
    "data": {"foundation", "data"},
    "retrieval": {"foundation", "data", "retrieval"},
    "models": {"foundation", "data", "retrieval", "models"},
    "evaluation": {"foundation", "data", "retrieval", "evaluation"},
    "edge": {"public", "foundation", "data", "retrieval", "models", "evaluation", "edge"},
    "public": {"foundation", "data", "retrieval", "models", "evaluation"},
}

# What a layer below may see of a layer above it.
SHARED_MODELS = {"likewise.models", "likewise.models.base"}  # every model builds on these
PROTOCOLS = {"likewise.models.base"}  # evaluation asks for a Recommender, never for a class of them

# Public names of a module whose own module stands higher: imported when they are first asked for, never before.
FIRST_ASKED_FOR = {("likewise.model_selection", "likewise.model_selection._tune")}

ORDERING = {"argsort", "argpartition", "topk"}
SEEDED = {"default_rng", "Generator", "RandomState", "SeedSequence", "BitGenerator", "PCG64", "Philox"}

# ---- the table: C++ and CUDA ---------------------------------------------------------------------------------------

SHARED_TYPES = {"csrc/types.hpp", "csrc/philox.hpp"}
PRIMITIVES = {"dense", "grid", "select"}
CPU_COMMON = SHARED_TYPES | {"csrc/context.hpp", "csrc/check.hpp", "csrc/parallel.hpp", "csrc/scratch.hpp"}
CUDA_COMMON = SHARED_TYPES | {
    "csrc/check.hpp",  # agreement of shapes: the same words on both devices
    "cuda/context.cuh",
    "cuda/check.cuh",
    "cuda/buffer.cuh",
    "cuda/reduce.cuh",
}
THREAD_HEADERS = {"thread", "omp.h", "future", "execution", "pthread.h", "tbb/parallel_for.h"}
INTRINSICS = re.compile(
    r"\b_mm\d*_\w+|\b__m(?:128|256|512)\w*|\b_tile_\w+|\bv(?:ld|st)1q_\w+|\b__(?:AVX|AMX|ARM_NEON)\w*"
)
SELECTION = re.compile(r"\b(?:std::)?(?:ranges::)?(?:partial_sort\w*|nth_element|priority_queue|push_heap|make_heap)\b")


def violations(path: str, text: str) -> list[str]:
    """What `text`, as the file `path` of the repository, does against the table; empty when nothing."""
    found = _python_violations(path, text) if path.endswith(".py") else _native_violations(path, text)
    return [f"{path}: {what}" for what in found]


# ---- Python --------------------------------------------------------------------------------------------------------


def _module_of(path: str) -> str:
    parts = path.removeprefix("python/").removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _layer_of(module: str) -> str | None:
    """Layer of a module of likewise, or None where the table has no place for it."""
    head = module
    while head != "likewise":
        if head in PYTHON_LAYERS:
            return PYTHON_LAYERS[head]
        head = head.rpartition(".")[0]
    return "public" if module == "likewise" else None


def _imports(tree: ast.Module, path: str) -> Iterator[str]:
    """Names of imported modules, absolute; `from a import b` gives `a.b`, for b may be a module.

    Imports inside functions and `importlib.import_module("...")` count. Those under `if TYPE_CHECKING:` name types
    and are never run, so they do not.
    """
    package = _module_of(path).split(".")
    if not path.endswith("/__init__.py"):
        package = package[:-1]
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level + 1] if node.level else []
            origin = origin + (node.module.split(".") if node.module else [])
            yield from (".".join([*origin, alias.name]) for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("import_module")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def _python_violations(path: str, text: str) -> Iterator[str]:
    module = _module_of(path)
    layer = _layer_of(module)
    if layer is None:
        yield "is in no layer: give it a place in the table of docs/architecture.md and in PYTHON_LAYERS"
        return
    tree = ast.parse(text)
    for imported in _imports(tree, path):
        top = imported.split(".")[0]
        if top == "likewise":
            yield from _check_internal_import(module, layer, imported)
        elif top == "cupy" and module != "likewise._backend":
            yield "imports cupy: only _backend does"
        elif top == "torch" and not module.startswith("likewise.torch"):
            yield "imports torch: only likewise.torch does"
        elif top == "heapq" and layer != "retrieval":
            yield "imports heapq: the top-k path is likewise.retrieval"
    yield from _check_python_names(tree, module, layer, text.splitlines())


def _check_internal_import(module: str, layer: str, imported: str) -> Iterator[str]:
    target = _layer_of(imported)
    if target is None:
        # `from likewise import name`: a public name, not a module. Only the version is free of the layers above.
        target = "foundation" if imported == "likewise.__version__" else "public"
    if (module, imported) in FIRST_ASKED_FOR:
        return
    if layer == "evaluation" and any(imported == name or imported.startswith(name + ".") for name in PROTOCOLS):
        return
    if target not in MAY_IMPORT[layer]:
        yield f"imports {imported}: the {layer} layer may use {', '.join(sorted(MAY_IMPORT[layer]))}, not {target}"
    elif layer == target == "models" and module != "likewise.models":
        other = ".".join(imported.split(".")[:3])
        is_shared = other in SHARED_MODELS or other.rpartition(".")[2].startswith("_")
        if not is_shared and other != ".".join(module.split(".")[:3]):
            yield f"imports {imported}: a model does not import another model"


def _orders_no_scores(node: ast.Attribute, layer: str, lines: list[str]) -> bool:
    """The data layer sorts ids and times; elsewhere a comment has to say what is sorted, and that it is no ranking."""
    return node.attr == "argsort" and (layer == "data" or "not a ranking" in lines[node.lineno - 1])


def _check_python_names(tree: ast.Module, module: str, layer: str, lines: list[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr in ORDERING and layer != "retrieval" and not _orders_no_scores(node, layer, lines):
                yield f"line {node.lineno} uses {node.attr}: the top-k path is likewise.retrieval"
            if ast.unparse(node.value) in {"np.random", "numpy.random"} and node.attr not in SEEDED:
                yield f"line {node.lineno} uses {ast.unparse(node)}: draw from a Generator that was handed in"
        elif isinstance(node, ast.Compare) and module != "likewise._backend":
            names = {ast.unparse(side).rpartition(".")[2] for side in (node.left, *node.comparators)}
            if "device" in names:
                yield f"line {node.lineno} compares a device: get_backend is the one dispatch"


# ---- C++ and CUDA --------------------------------------------------------------------------------------------------


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def _includes(path: str, text: str) -> Iterator[tuple[str, bool]]:
    """(header, is_ours) of every include; ours as a path from the root of the repository."""
    for bracket, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text, flags=re.MULTILINE):
        if bracket == '"':
            yield posixpath.normpath(posixpath.join(posixpath.dirname(path), header)), True
        else:
            yield header, False


def _stem(path: str) -> str:
    return posixpath.basename(path).partition(".")[0]


def _is_own(path: str, header: str) -> bool:
    """Whether `header` belongs to the algorithm of `path`: als.cpp has als.hpp, and may have als_rows.hpp."""
    own, other = _stem(path), _stem(header)
    return own == other or own.startswith(other + "_") or other.startswith(own + "_")


def _native_violations(path: str, text: str) -> Iterator[str]:
    code = _without_comments(text)
    parts = path.split("/")
    device, folder = parts[0], parts[1] if len(parts) > 2 else ""
    for header, is_ours in _includes(path, text):
        if is_ours:
            reason = _check_own_include(path, device, folder, header)
        else:
            reason = _check_system_include(path, device, folder, header)
        if reason:
            yield f"includes {header}: {reason}"
    if device == "csrc" and folder != "simd" and (match := INTRINSICS.search(code)):
        yield f"uses {match.group()}: instruction sets live in csrc/simd"
    if path != "csrc/parallel.hpp" and (match := re.search(r"#\s*pragma\s+omp|\bstd::(?:j?thread|async)\b", code)):
        yield f"uses {match.group()}: threads are parallel_for's"
    if _stem(path) != "select" and (match := SELECTION.search(code)):
        yield f"uses {match.group()}: selection is select.hpp's"
    if match := re.search(r"\bs?rand\s*\(|\bstd::(?:mt19937|random_device)", code):
        yield f"uses {match.group()}: randomness is philox.hpp's"
    if (
        folder == "bindings"
        and _stem(path).startswith("bind_")
        and (match := re.search(r"\b(for|while|if)\s*\(", code))
    ):
        yield f"has a {match.group(1)}: bindings translate, they do not think"


def _check_own_include(path: str, device: str, folder: str, header: str) -> str | None:
    if path in SHARED_TYPES:
        return "shared types use the standard library alone"
    suffix = "hpp" if device == "csrc" else "cuh"
    if device == "csrc" and header.startswith("cuda/"):
        return "the CPU knows nothing of CUDA"
    if device == "cuda" and header.endswith(".cpp"):
        return "CUDA shares headers of types, never a CPU kernel"
    if folder == "bindings":
        of_kernels = header.startswith(f"{device}/") and (
            posixpath.dirname(header) in {device, f"{device}/bindings"} or header == "csrc/simd/dispatch.hpp"
        )
        if not of_kernels and header not in SHARED_TYPES:
            return "bindings use the headers of their own device"
        if _stem(path).startswith("bind_") and posixpath.dirname(header) == device:
            own = _stem(path).removeprefix("bind_")
            if _stem(header) != own and header not in CPU_COMMON | CUDA_COMMON:
                return "a binding includes the header of its own kernel"
        return None
    if folder == "simd":
        return None if header.startswith("csrc/simd/") else "micro-kernels lie below everything else"
    if posixpath.dirname(header).endswith("bindings"):
        return "kernels know nothing of Python"
    if header in (CPU_COMMON if device == "csrc" else CUDA_COMMON):
        return None
    if header in {"csrc/simd/kernels.hpp", "csrc/simd/denormals.hpp"} and device == "csrc":
        return None
    if header in {f"{device}/{name}.{suffix}" for name in PRIMITIVES}:
        return None
    if posixpath.dirname(header) == device and _is_own(path, header):
        return None
    return "a kernel uses shared types, context, check, parallel, primitives and its own header"


def _check_system_include(path: str, device: str, folder: str, header: str) -> str | None:
    if header in THREAD_HEADERS and path != "csrc/parallel.hpp":
        return "threads are parallel_for's"
    if header == "random":
        return "randomness is philox.hpp's"
    if header.startswith(("pybind11/", "Python.h")) and folder != "bindings":
        return "only bindings know Python"
    if header.endswith("intrin.h") or header in {"arm_neon.h", "cpuid.h"}:
        return None if folder == "simd" else "instruction sets live in csrc/simd"
    if device == "csrc" and header.startswith(("cuda", "cub/")):
        return "the CPU knows nothing of CUDA"
    # Files with ISA flags: an inline function of a shared header would be compiled for that ISA, and the linker may
    # keep that copy for everybody.
    if folder == "simd" and _stem(path).startswith(("avx", "amx")) and header not in {"cstdint", "cstring"}:
        return "a file with ISA flags includes its intrinsics and its own headers"
    return None


# ---- the repository ------------------------------------------------------------------------------------------------


def _sources() -> list[str]:
    patterns = ("python/likewise/**/*.py", "csrc/**/*.hpp", "csrc/**/*.cpp", "cuda/**/*.c*")
    return sorted(path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern))


def test_sources_are_found():
    assert {"python/likewise/_backend.py", "csrc/dense.cpp", "csrc/simd/avx2.cpp", "cuda/dense.cu"} <= set(_sources())


@pytest.mark.parametrize("path", _sources())
def test_file_keeps_to_its_layer(path):
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_every_cuda_kernel_has_a_cpu_twin():
    twins = {path.stem for path in (ROOT / "csrc").glob("*.cpp")}
    assert [path.name for path in (ROOT / "cuda").glob("*.cu") if path.stem not in twins] == []


def test_no_build_is_tuned_to_its_machine():
    names = ("CMakeLists.txt", "pyproject.toml")
    assert [name for name in names if re.search(r"-m(?:arch|tune|cpu)=native", (ROOT / name).read_text())] == []


# ---- the checker ---------------------------------------------------------------------------------------------------

BAD = [
    ("python/likewise/mystery.py", "", "is in no layer"),
    ("python/likewise/data/csr.py", "from likewise import _core", "imports likewise._core"),
    ("python/likewise/data/csr.py", "from ..models.als import ImplicitALS", "imports likewise.models.als"),
    ("python/likewise/_validation.py", "from .data.csr import CSR", "imports likewise.data.csr"),
    ("python/likewise/models/als.py", "from .. import _core", "imports likewise._core"),
    ("python/likewise/models/als.py", "from .._core import gramian", "imports likewise._core.gramian"),
    ("python/likewise/models/als.py", "def f():\n    import cupy as cp", "only _backend"),
    ("python/likewise/models/als.py", "import importlib\nimportlib.import_module('cupy')", "only _backend"),
    ("python/likewise/models/als.py", "import torch.nn", "only likewise.torch"),
    ("python/likewise/models/als.py", "from .popularity import Popularity", "another model"),
    ("python/likewise/models/als.py", "import likewise as lw", "imports likewise:"),
    ("python/likewise/models/als.py", "from likewise import ImplicitALS", "imports likewise.ImplicitALS"),
    ("python/likewise/models/als.py", "from ..cli import main", "imports likewise.cli"),
    ("python/likewise/models/als.py", "import numpy as np\nnp.argsort(-scores)[:k]", "top-k path"),
    ("python/likewise/models/als.py", "scores.topk(10)", "top-k path"),
    ("python/likewise/evaluation/metrics.py", "import heapq", "imports heapq"),
    ("python/likewise/evaluation/evaluate.py", "from ..models import ImplicitALS", "imports likewise.models"),
    ("python/likewise/retrieval/exact.py", "from ..models.base import Model", "imports likewise.models"),
    ("python/likewise/data/ids.py", "import numpy as np\nnp.argpartition(x, 3)", "top-k path"),
    ("python/likewise/models/als.py", "import numpy as np\nnp.random.seed(0)", "Generator"),
    ("python/likewise/models/als.py", "if self.device == 'cuda': pass", "one dispatch"),
    ("python/likewise/__init__.py", "from .torch import models", "imports likewise.torch"),
    ("csrc/types.hpp", '#include "context.hpp"', "standard library alone"),
    ("csrc/als.cpp", '#include "topk.hpp"', "its own header"),
    ("csrc/als.cpp", "#include <thread>", "parallel_for"),
    ("csrc/als.cpp", "#include <omp.h>", "parallel_for"),
    ("csrc/als.cpp", "void f() {\n#pragma omp parallel for\n}", "parallel_for"),
    ("csrc/als.cpp", "#include <pybind11/pybind11.h>", "only bindings"),
    ("csrc/als.cpp", '#include "bindings/arrays.hpp"', "nothing of Python"),
    ("csrc/als.cpp", "#include <immintrin.h>", "csrc/simd"),
    ("csrc/als.cpp", "__m256 v = _mm256_setzero_ps();", "csrc/simd"),
    ("csrc/als.cpp", '#include "../cuda/context.cuh"', "nothing of CUDA"),
    ("csrc/als.cpp", "#include <random>", "philox"),
    ("csrc/metrics.cpp", "std::nth_element(a, b, c);", "select.hpp"),
    ("csrc/simd/avx2.cpp", "#include <algorithm>", "ISA flags"),
    ("csrc/simd/avx512.cpp", '#include "../types.hpp"', "below everything"),
    ("csrc/bindings/bind_als.cpp", '#include "../topk.hpp"', "its own kernel"),
    ("csrc/bindings/bind_als.cpp", '#include "../../cuda/als.cuh"', "nothing of CUDA"),
    ("csrc/bindings/bind_als.cpp", "void f() { for (int i = 0; i < 3; ++i) {} }", "do not think"),
    ("cuda/als.cu", '#include "../csrc/als.cpp"', "never a CPU kernel"),
    ("cuda/als.cu", '#include "../csrc/parallel.hpp"', "its own header"),
    ("cuda/als.cu", '#include "topk.cuh"', "its own header"),
    ("cuda/als.cu", "#include <pybind11/numpy.h>", "only bindings"),
    ("cuda/bindings/bind_als.cpp", '#include "../../csrc/als.hpp"', "their own device"),
]

GOOD = [
    ("python/likewise/_backend.py", "from . import _core\nimport cupy\nif device == 'cpu': pass"),
    (
        "python/likewise/_backend.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .data.csr import CSR",
    ),
    ("python/likewise/data/ids.py", "import numpy as np\nnp.argsort(labels)"),
    ("python/likewise/models/als.py", "order = np.argsort(rows)  # a CSR row, not a ranking"),
    ("python/likewise/retrieval/exact.py", "import numpy as np\nnp.argpartition(x, 3)"),
    (
        "python/likewise/models/als.py",
        "from likewise import __version__\nfrom .base import Recommender\nfrom . import _results",
    ),
    ("python/likewise/models/__init__.py", "from .als import ImplicitALS\nfrom .popularity import Popularity"),
    ("python/likewise/evaluation/evaluate.py", "from ..models.base import Recommender"),
    ("python/likewise/torch/ops.py", "import torch\nimport likewise as lw\nfrom ..models.als import ImplicitALS"),
    ("csrc/als.cpp", '#include "als.hpp"\n#include "dense.hpp"\n#include "parallel.hpp"\n// #include <thread>'),
    ("csrc/parallel.hpp", '#include <thread>\n#include "context.hpp"\nstd::thread t;'),
    ("csrc/simd/amx.cpp", '#include <immintrin.h>\n#include "avx512_vector.hpp"\n__m512 v;'),
    ("csrc/bindings/bind_als.cpp", '#include "../als.hpp"\n#include "arrays.hpp"'),
    ("cuda/als.cu", '#include "als.cuh"\n#include "../csrc/types.hpp"\n#include <cub/cub.cuh>\n#include "select.cuh"'),
]


@pytest.mark.parametrize(("path", "text", "what"), BAD)
def test_checker_finds_a_violation(path, text, what):
    found = violations(path, text)
    assert len(found) == 1
    assert what in found[0]
    assert found[0].startswith(path)


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_checker_lets_good_files_pass(path, text):
    assert violations(path, text) == []
