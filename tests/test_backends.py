"""The one dispatch: devices, threads, instruction sets, and what the CUDA backend says without a device."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import reference
from likewise import _backend, _core
from likewise._backend import Backend, CudaBackend, available_cpus, check_device, get_backend, resolve_n_jobs
from likewise.exceptions import BackendUnavailableError

# ---- device strings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:11"])
def test_check_device_takes(device):
    assert check_device(device) == device


@pytest.mark.parametrize("device", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", None, 0])
def test_check_device_refuses(device):
    with pytest.raises(ValueError) as caught:
        check_device(device, "ImplicitALS")
    assert str(caught.value) == f"ImplicitALS: device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}"


def test_get_backend_of_the_cpu():
    backend = get_backend("cpu", n_jobs=3)
    assert backend.name == "cpu"
    assert backend.kernels is _core
    assert backend.context.n_threads == 3
    assert backend.context.simd == _backend.simd_in_use()


# ---- threads -------------------------------------------------------------------------------------------------------


@pytest.fixture
def four_cpus(monkeypatch):
    """Four CPUs by affinity, no quota, no environment."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(_backend, "_cgroup_quota", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_more_threads_than_an_integer_holds_are_refused():
    with pytest.raises(ValueError, match=r"n_jobs must be <= 2147483647, got 10\d+"):
        get_backend("cpu", n_jobs=10**12)


@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 4), (-1, 4), (-2, 3), (-4, 1), (-9, 1), (1, 1), (7, 7)])
@pytest.mark.usefixtures("four_cpus")
def test_resolve_n_jobs_counts_as_joblib_does(n_jobs, expected):
    assert resolve_n_jobs(n_jobs) == expected


@pytest.mark.parametrize(
    ("n_jobs", "error", "message"),
    [
        (0, ValueError, "ImplicitALS: n_jobs must not be 0; use None for all CPUs or a positive number of threads"),
        (1.5, TypeError, "ImplicitALS: n_jobs must be an integer, got 1.5"),
        (True, TypeError, "ImplicitALS: n_jobs must be an integer, got True"),
        ("all", TypeError, "ImplicitALS: n_jobs must be an integer, got 'all'"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_get_backend_refuses_n_jobs(device, n_jobs, error, message):
    with pytest.raises(error) as caught:
        get_backend(device, n_jobs, "ImplicitALS")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("limit", "expected"), [("1", 1), ("3,2", 3), (" 2 ", 2), ("9", 4), ("", 4), ("0", 4), ("-1", 4), ("many", 4)]
)
@pytest.mark.usefixtures("four_cpus")
def test_available_cpus_respects_omp_num_threads(monkeypatch, limit, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert available_cpus() == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.5, 1), (1.0, 1), (2.9, 2), (16.0, 4)])
@pytest.mark.usefixtures("four_cpus")
def test_available_cpus_respects_the_quota(monkeypatch, quota, expected):
    monkeypatch.setattr(_backend, "_cgroup_quota", lambda: quota)
    assert available_cpus() == expected


@pytest.mark.usefixtures("four_cpus")
def test_available_cpus_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS, Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cpus() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="no control groups"),
        pytest.param({"cpu.max": "max 100000\n"}, None, id="no limit"),
        pytest.param({"cpu.max": "150000 100000\n"}, 1.5, id="at the mount"),
        pytest.param({"cpu.max": "300000 100000", "jobs/mine/cpu.max": "max 100000"}, 3.0, id="on the way up"),
        pytest.param({"jobs/cpu.max": "400000 100000", "jobs/mine/cpu.max": "200000 100000"}, 2.0, id="tightest"),
        pytest.param({"cpu.max": "what is this"}, None, id="foreign"),
        pytest.param({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5, id="version 1"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, id="version 1, none"),
    ],
)
def test_cgroup_quota_reads(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    membership = tmp_path / "membership"
    membership.write_text("0::/jobs/mine\n")
    assert _backend._cgroup_quota(tmp_path, membership) == expected


def test_cgroup_quota_without_membership(tmp_path):
    (tmp_path / "cpu.max").write_text("250000 100000")
    assert _backend._cgroup_quota(tmp_path, tmp_path / "missing") == 2.5


def test_cgroup_quota_is_read_once(tmp_path):
    (tmp_path / "cpu.max").write_text("200000 100000")
    assert _backend._cgroup_quota(tmp_path, tmp_path / "missing") == 2.0
    (tmp_path / "cpu.max").write_text("400000 100000")
    assert _backend._cgroup_quota(tmp_path, tmp_path / "missing") == 2.0


@pytest.mark.usefixtures("four_cpus")
def test_get_backend_follows_the_environment(monkeypatch):
    assert get_backend().context.n_threads == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert get_backend().context.n_threads == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert get_backend().context.n_threads == 1


# ---- contexts and instruction sets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [0, -1])
def test_context_refuses_no_threads(n_threads):
    with pytest.raises(ValueError, match=f"^Context: n_threads must be >= 1, got {n_threads}$"):
        _core.Context(n_threads=n_threads)


def test_available_simd_starts_with_the_specification():
    names = _core.available_simd()
    assert names[0] == "scalar"
    assert [name for name in ("scalar", "avx2", "avx512", "amx") if name in names] == names
    assert _core.Context().simd == names[-1]


def test_backend_takes_an_instruction_set(backend):
    if backend.name == "cpu":
        assert backend.context.simd in _core.available_simd()
        assert Backend(1, backend.context.simd).context.simd == backend.context.simd


def _simd_of_new_process(value):
    code = "from likewise._backend import get_backend; print(get_backend().context.simd)"
    environment = {**os.environ, "LIKEWISE_SIMD": value}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", _core.available_simd())
def test_likewise_simd_forces(name):
    run = _simd_of_new_process(name)
    assert (run.returncode, run.stdout.strip()) == (0, name), run.stderr


@pytest.mark.parametrize("name", ["", "auto"])
def test_likewise_simd_unset_takes_the_best(name):
    assert _simd_of_new_process(name).stdout.strip() == _core.available_simd()[-1]


def test_likewise_simd_refuses_what_is_not_here():
    run = _simd_of_new_process("sse9")
    usable = ", ".join(_core.available_simd())
    assert run.returncode == 1
    assert f"LIKEWISE_SIMD: must be auto or one of {usable} on this machine, got 'sse9'" in run.stderr


# ---- array helpers -------------------------------------------------------------------------------------------------


def test_backend_arrays(backend):
    for shape in [(0,), (3,), (5, 7), (2, 0)]:
        for dtype in (np.float32, np.float64, np.uint16, np.int64):
            empty, zeros = backend.empty(shape, dtype), backend.zeros(shape, dtype)
            assert (empty.shape, empty.dtype, empty.flags.c_contiguous) == (shape, dtype, True)
            assert_array_equal(backend.to_numpy(zeros), np.zeros(shape, dtype))


def test_backend_empty_is_aligned(backend):
    if backend.name == "cpu":
        assert all(backend.empty((n, 3)).ctypes.data % 64 == 0 for n in range(1, 50))


def test_backend_asarray_copies_only_when_it_must(backend, rng):
    given = rng.standard_normal((6, 4), dtype=np.float32)
    transposed = given.T
    assert_array_equal(backend.to_numpy(backend.asarray(transposed)), transposed)
    assert_array_equal(backend.to_numpy(backend.asarray(given.astype(np.float64))), given)
    if backend.name == "cpu":
        assert backend.asarray(given) is given
        misaligned = np.frombuffer(b"\0" + given.tobytes(), np.float32, offset=1)
        assert backend.asarray(misaligned).flags.aligned


def test_backend_normal_depends_on_the_generator_alone(backend):
    draws = [backend.to_numpy(backend.normal(np.random.default_rng(seed), (300, 40), scale=0.1)) for seed in (5, 5, 6)]
    assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()
    assert abs(draws[0].std() - 0.1) < 0.004
    rng = np.random.default_rng(5)
    assert (backend.to_numpy(backend.normal(rng, (9,))) != backend.to_numpy(backend.normal(rng, (9,)))).all()


def test_backend_eigh_takes_a_matrix_apart(backend, rng):
    y = rng.standard_normal((50, 9))
    matrix = y.T @ y
    values, vectors = (backend.to_numpy(part) for part in backend.eigh(backend.asarray(matrix, np.float64)))
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-10)


def test_backend_csr_shares_and_checks(backend, rng):
    matrix = reference.random_csr(rng, (20, 12))
    sent = backend.csr(matrix)
    assert (sent.shape, sent.nnz) == ((20, 12), matrix.indices.size)


# ---- CUDA, with and without a device -------------------------------------------------------------------------------


class _NoDeviceError(RuntimeError):
    pass


def _fake_cupy(n_devices=1, driver=True):
    """As much of cupy as the backend uses, over NumPy: the dispatch can be tested without a device."""

    def count():
        if not driver:
            raise _NoDeviceError("cudaErrorNoDevice")
        return n_devices

    class Stream(contextlib.nullcontext):
        ptr = 17

    return SimpleNamespace(
        cuda=SimpleNamespace(
            Device=contextlib.nullcontext,
            get_current_stream=Stream,
            runtime=SimpleNamespace(getDeviceCount=count, CUDARuntimeError=_NoDeviceError),
        ),
        empty=np.empty,
        zeros=np.zeros,
        asarray=np.asarray,
        ascontiguousarray=np.ascontiguousarray,
        asnumpy=lambda array, stream: np.array(array),
    )


def _fake_cuda():
    return SimpleNamespace(Context=lambda device, stream: SimpleNamespace(device=device, stream=stream), gramian="here")


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        ({"likewise._cuda": None}, "not built: this installation has no CUDA extension"),
        ({"likewise._cuda": _fake_cuda(), "cupy": None}, "cupy is not installed: pip install"),
        ({"likewise._cuda": _fake_cuda(), "cupy": _fake_cupy(driver=False)}, "no CUDA device or driver was found"),
        ({"likewise._cuda": _fake_cuda(), "cupy": _fake_cupy(2)}, r"device 5 is outside \[0, 2\)"),
    ],
    ids=["no extension", "no cupy", "no driver", "no such device"],
)
def test_get_backend_says_why_there_is_no_cuda(monkeypatch, modules, why):
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    message = rf"^ImplicitALS: device='cuda:5' cannot be used: {why}.*\. Use device='cpu'\.$"
    with pytest.raises(BackendUnavailableError, match=message):
        get_backend("cuda:5", subject="ImplicitALS")


@pytest.fixture
def cuda(monkeypatch):
    """A CUDA backend over the fakes above."""
    monkeypatch.setitem(sys.modules, "likewise._cuda", _fake_cuda())
    monkeypatch.setitem(sys.modules, "cupy", _fake_cupy(4))
    return get_backend("cuda:3")


def test_cuda_backend_is_on_the_device_and_stream(cuda):
    assert isinstance(cuda, CudaBackend)
    assert (cuda.name, cuda.context.device, cuda.context.stream) == ("cuda", 3, 17)


def test_cuda_backend_names_a_kernel_without_a_variant(cuda):
    assert cuda.kernels.gramian == "here"
    with pytest.raises(BackendUnavailableError, match=r"^als_half_sweep has no CUDA variant yet\. Use device='cpu'\.$"):
        _ = cuda.kernels.als_half_sweep
    with pytest.raises(AttributeError, match="no_such_kernel"):
        _ = cuda.kernels.no_such_kernel


def test_cuda_backend_starts_from_the_same_numbers(cuda):
    draw = [backend.normal(np.random.default_rng(1), (8, 3), scale=0.5) for backend in (cuda, Backend(1))]
    assert_array_equal(*draw)


# ---- stubs ---------------------------------------------------------------------------------------------------------


def _body(stub):
    return ast.parse((Path(_backend.__file__).parent / stub).read_text(encoding="utf-8")).body


def _signatures(stub):
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in _body(stub)
        if isinstance(node, ast.FunctionDef)
    }


def _constants(stub):
    return {node.target.id for node in _body(stub) if isinstance(node, ast.AnnAssign)}


def test_cuda_kernels_have_the_signatures_of_the_cpu():
    cpu, cuda = _signatures("_core.pyi"), _signatures("_cuda.pyi")
    assert cuda
    assert {name: cpu.get(name) for name in cuda} == cuda


@pytest.mark.parametrize("module", ["_core", "_cuda"])
def test_stub_lists_what_the_extension_has(module):
    extension = pytest.importorskip(f"likewise.{module}")
    there = {
        name: getattr(extension, name)
        for name in dir(extension)
        if not name.startswith("_") and not isinstance(getattr(extension, name), type)
    }
    assert set(_signatures(f"{module}.pyi")) == {name for name, value in there.items() if callable(value)}
    assert _constants(f"{module}.pyi") == {name for name, value in there.items() if not callable(value)}


@pytest.mark.parametrize("module", ["_core", "_cuda"])
def test_stub_has_the_arguments_of_the_extension(module):
    extension = pytest.importorskip(f"likewise.{module}")
    for name, arguments in _signatures(f"{module}.pyi").items():
        signature = getattr(extension, name).__doc__.splitlines()[0]
        assert re.findall(r"(\w+): ", signature) == arguments
