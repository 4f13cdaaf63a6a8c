"""The one device dispatch: ``get_backend(device)`` gives kernels, a context and array helpers.

Nothing else asks which device it is on. A kernel has the same name and arguments on every device; where a device, its
extension module or a variant is missing, the caller gets :class:`~likewise.exceptions.BackendUnavailableError`, never
a silent run elsewhere.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from . import _core
from ._validation import check_int
from .exceptions import BackendUnavailableError

if TYPE_CHECKING:
    from .data.csr import CSR

__all__ = [
    "Backend",
    "CudaBackend",
    "as_host",
    "available_cpus",
    "check_device",
    "cuda_status",
    "get_backend",
    "is_bfloat16",
    "resolve_n_jobs",
    "simd_in_use",
]

_ALIGNMENT = 64


def available_cpus() -> int:
    """Number of CPUs this process may use: affinity, cgroup quota and ``OMP_NUM_THREADS`` respected.

    Affinity and environment are looked at on every call. The quota is read once in the life of a process: its files
    take longer than a kernel call for one user, and a container that is given another one while it runs says so to
    `n_jobs`.
    """
    try:
        n_cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        n_cpus = os.cpu_count() or 1
    quota = _cgroup_quota()
    if quota is not None:
        n_cpus = min(n_cpus, max(1, math.floor(quota)))
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if limit.isdigit() and int(limit) > 0:
        n_cpus = min(n_cpus, int(limit))
    return n_cpus


@lru_cache(maxsize=1)
def _cgroup_quota(mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs that the control groups of this process grant (version 2, else 1), or None without a limit."""
    quotas = []
    try:
        group = mount / membership.read_text().rpartition("0::/")[2].strip()
    except OSError:
        group = mount
    # The tightest group on the way up counts. Inside a container the way may be out of sight; the mount itself is not.
    for folder in {group, *group.parents, mount}:
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        except (OSError, ValueError):  # no such group, or a quota of "max"
            continue
    try:
        quota, period = ((mount / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        quotas.append(int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return min((quota for quota in quotas if quota > 0), default=None)


def resolve_n_jobs(n_jobs: int | None, subject: str = "n_jobs") -> int:
    """Threads for an ``n_jobs``: None or -1 is every CPU at hand, -2 all but one, as in joblib."""
    if n_jobs is None:
        return available_cpus()
    number = check_int(subject, "n_jobs", n_jobs, maximum=2**31 - 1)
    if number == 0:
        raise ValueError(f"{subject}: n_jobs must not be 0; use None for all CPUs or a positive number of threads")
    return number if number > 0 else max(1, available_cpus() + 1 + number)


@lru_cache(maxsize=1)
def simd_in_use() -> str:
    """The instruction set chosen at import: ``LIKEWISE_SIMD``, or the best one of this machine."""
    return str(_core.Context(n_threads=1, simd=os.environ.get("LIKEWISE_SIMD", "auto") or "auto").simd)


@lru_cache(maxsize=1)
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


class Backend:
    """Kernels, context and array helpers of the CPU; `CudaBackend` has the same members over cupy.

    Parameters
    ----------
    n_threads : int
        Threads that a kernel may start, at least 1.
    simd : str, optional
        Instruction set, one of ``_core.available_simd()``; by default the one in use.

    Attributes
    ----------
    name : str
        ``"cpu"``.
    kernels : module
        The extension module with the kernels.
    context : Context
        First argument of every kernel: threads and instruction set.
    has_int8 : bool
        Whether searches gain by vectors that `quantize_items` has rounded.
    """

    name = "cpu"
    has_int8 = False

    def __init__(self, n_threads: int, simd: str | None = None) -> None:
        self.kernels: Any = _core
        self.context: Any = _core.Context(n_threads=n_threads, simd=simd or simd_in_use())
        self.has_int8 = bool(self.context.has_int8)

    def csr(self, matrix: CSR) -> Any:
        """`matrix` as the kernels take it, sharing its memory; offsets and ids are checked here."""
        return _core.CSR(matrix.indptr, matrix.indices, matrix.values, matrix.n_cols)

    def items(self, vectors: Any, scale: Any = None, bias: Any = None, quantized: Any = None) -> Any:
        """Arrays of this device as the item vectors of a search, sharing their memory; sizes are checked here."""
        return self.kernels.Items(vectors, scale, bias, quantized)

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """An uninitialized C-contiguous array on a 64-byte boundary."""
        dtype = np.dtype(dtype)
        buffer = np.empty(math.prod(shape) * dtype.itemsize + _ALIGNMENT, dtype=np.uint8)
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer.data))  # a fifth of the time of buffer.ctypes.data
        return np.ndarray(shape, dtype, buffer, -address % _ALIGNMENT)

    def zeros(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """Zeros in an array like that of `empty`."""
        out = self.empty(shape, dtype)
        out[...] = 0
        return out

    def asarray(self, array: Any, dtype: Any = np.float32) -> Any:
        """`array` as a C-contiguous array of this device; a copy only where layout, dtype or alignment ask for one."""
        given = np.ascontiguousarray(array, dtype=dtype)
        return given if given.flags.aligned else given.copy()

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """`array` on the host."""
        return np.asarray(array)

    def normal(self, rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> Any:
        """Normal starting values, drawn on the host so that every device starts from the same ones."""
        out = self.empty(shape)
        _core.fill_normal(self.context, int(rng.integers(2**63)), scale, out.reshape(-1))
        return out

    def eigh(self, matrix: Any) -> tuple[Any, Any]:
        """Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix, on one BLAS thread.

        One thread, so that the result does not depend on the number of threads that BLAS happens to have.
        """
        with _blas().limit(limits=1, user_api="blas"):
            values, vectors = np.linalg.eigh(matrix)
        return values, vectors


class _CudaKernels:
    """The CUDA extension; what only the CPU has is an error that names it, never a run on the CPU."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if hasattr(_core, name) and not hasattr(self._module, name):
            raise BackendUnavailableError(f"{name} has no CUDA variant yet. Use device='cpu'.")
        return getattr(self._module, name)


class CudaBackend(Backend):
    """Kernels, context and array helpers of one CUDA device, over cupy.

    Everything runs on the stream that is cupy's current one when the backend is made.

    Parameters
    ----------
    index : int
        Number of the device.
    """

    name = "cuda"

    def __init__(self, index: int = 0) -> None:
        module = importlib.import_module("likewise._cuda")
        self._cupy: Any = importlib.import_module("cupy")
        self._device = self._cupy.cuda.Device(index)
        with self._device:
            self._stream = self._cupy.cuda.get_current_stream()
        self.kernels = _CudaKernels(module)
        self.context = module.Context(device=index, stream=self._stream.ptr)

    def csr(self, matrix: CSR) -> Any:
        """A copy of `matrix` on the device; offsets and ids are checked on the host before."""
        super().csr(matrix)
        return self.kernels.CSR(
            self.asarray(matrix.indptr, np.int64),
            self.asarray(matrix.indices, np.int32),
            self.asarray(matrix.values, np.float32),
            matrix.n_cols,
        )

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """An uninitialized C-contiguous array on the device."""
        with self._device, self._stream:
            return self._cupy.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """Zeros on the device."""
        with self._device, self._stream:
            return self._cupy.zeros(shape, dtype=dtype)

    def asarray(self, array: Any, dtype: Any = np.float32) -> Any:
        """`array` as a C-contiguous array of this device; a copy only where device, layout or dtype ask for one."""
        with self._device, self._stream:
            return self._cupy.ascontiguousarray(self._cupy.asarray(array, dtype=dtype))

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """`array` on the host, once the work before it is done."""
        with self._device:
            return np.asarray(self._cupy.asnumpy(array, stream=self._stream))

    def normal(self, rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> Any:
        """Normal starting values, drawn on the host so that every device starts from the same ones."""
        return self.asarray(Backend(available_cpus()).normal(rng, shape, scale))

    def eigh(self, matrix: Any) -> tuple[Any, Any]:
        """Eigenvalues (ascending) and eigenvectors (columns), from the host, as on the CPU: the matrix is small."""
        values, vectors = super().eigh(self.to_numpy(matrix))
        return self.asarray(values, np.float64), self.asarray(vectors, np.float64)


def is_bfloat16(array: Any) -> bool:
    """Whether `array` is a torch tensor, or another one, of bfloat16."""
    if type(array) is np.ndarray and array.dtype.kind != "V":  # NumPy takes microseconds to spell a dtype
        return False
    return str(getattr(array, "dtype", "")).rpartition(".")[2] == "bfloat16"


def as_host(array: Any) -> NDArray[Any]:
    """An array-like, a torch tensor or a cupy array as a NumPy array; of bfloat16 the bits, as uint16.

    What is on the host already is not copied.
    """
    if type(array) is np.ndarray and array.dtype.kind != "V":
        return array
    if hasattr(array, "detach") and hasattr(array, "cpu"):  # torch
        tensor = array.detach().cpu()
        if is_bfloat16(tensor):
            torch = importlib.import_module(type(tensor).__module__.partition(".")[0])
            return np.asarray(tensor.contiguous().view(torch.int16).numpy()).view(np.uint16)
        return np.asarray(tensor.numpy())
    if hasattr(array, "__cuda_array_interface__") and hasattr(array, "get"):  # cupy
        array = array.get()
    if is_bfloat16(array):  # ml_dtypes
        return np.asarray(array).view(np.uint16)
    return np.asarray(array)


def cuda_status(index: int = 0) -> str:
    """One line on the CUDA build and device `index`: ``"available"``, or what is missing and the way out."""
    try:
        importlib.import_module("likewise._cuda")
    except ImportError:
        return (
            "not built: this installation has no CUDA extension (build from source where nvcc is found, "
            'with the extra "cuda13" or "cuda12")'
        )
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return 'cupy is not installed: pip install "likewise[cuda13]" (or "likewise[cuda12]")'
    try:
        n_devices = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device or driver was found ({error})"
    if index >= n_devices:
        return f"device {index} is outside [0, {n_devices})"
    return "available"


def check_device(device: Any, subject: str = "device") -> str:
    """Return `device` if it is ``"cpu"``, ``"cuda"`` or ``"cuda:N"``."""
    if isinstance(device, str):
        kind, _, index = device.partition(":")
        if device == "cpu" or (kind == "cuda" and (device == "cuda" or index.isdigit())):
            return device
    raise ValueError(f"{subject}: device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")


@lru_cache
def _cpu_backend(n_threads: int) -> Backend:
    """Backend of the CPU, which holds nothing that a call changes; one a number of threads is enough."""
    return Backend(n_threads)


def get_backend(device: str = "cpu", n_jobs: int | None = None, subject: str = "get_backend") -> Backend:
    """Backend of `device` with up to `n_jobs` threads (None: every CPU at hand); CUDA starts no threads.

    Raises
    ------
    ValueError
        If `device` is not ``"cpu"``, ``"cuda"`` or ``"cuda:N"``, or `n_jobs` is 0.
    BackendUnavailableError
        If the device cannot be used; the message says why and how to get one.
    """
    n_threads = resolve_n_jobs(n_jobs, subject)
    if check_device(device, subject) == "cpu":
        return _cpu_backend(n_threads)
    index = int(device.partition(":")[2] or 0)
    if (status := cuda_status(index)) != "available":
        raise BackendUnavailableError(f"{subject}: device={device!r} cannot be used: {status}. Use device='cpu'.")
    return CudaBackend(index)
