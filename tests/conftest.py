"""What every test may ask for: a backend, a seeded generator, and Hypothesis without a clock or a dice."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator
from contextlib import suppress

import hypothesis
import numpy as np
import pytest

from likewise import _core
from likewise._backend import Backend, cuda_status, get_backend
from likewise.exceptions import BackendUnavailableError

with suppress(ImportError):  # before a test loads usearch by itself; likewise.retrieval._hnsw says why
    importlib.import_module("pyarrow")

# Derandomized, or a run could fail that nobody can repeat; no deadline, for a busy machine is not a wrong result.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.register_profile("few", deadline=None, derandomize=True, max_examples=10)
hypothesis.settings.register_profile("many", deadline=None, derandomize=True, max_examples=2000)
# `pytest --hypothesis-profile=few` for slow builds, `=many` for a night.
hypothesis.settings.load_profile("default")


@pytest.fixture(scope="session", params=[*(f"cpu-{simd}" for simd in _core.available_simd()), "cuda"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each instruction set of this machine on two threads, and CUDA. Stateless, so one serves the session."""
    device, _, simd = request.param.partition("-")
    if device == "cpu":
        return Backend(n_threads=2, simd=simd)
    if (status := cuda_status()) != "available":
        pytest.skip(f"CUDA: {status}")
    return get_backend("cuda")


@pytest.fixture(scope="session")
def same_backends(backend: Backend) -> list[Backend]:
    """Backends whose results must have the same bits: 1, 2 and 3 threads, or CUDA twice."""
    if backend.name == "cuda":
        return [backend, backend]
    return [Backend(n_threads, backend.context.simd) for n_threads in (1, 2, 3)]


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every test and every run."""
    return np.random.default_rng(20260214)


VAST_FACTORS = 1024
VAST_ROWS = 2**31 // VAST_FACTORS + 8


@pytest.fixture
def vast() -> np.ndarray:
    """Zeros of shape (rows, factors) with more than 2**31 entries, of which only those written to take memory.

    Linux maps one page of zeros for all that is only read.
    """
    if sys.platform != "linux":
        pytest.skip("8 GiB that take no memory are made as on Linux")
    try:
        return np.zeros((VAST_ROWS, VAST_FACTORS), np.float32)
    except MemoryError:
        pytest.skip("8 GiB of addresses are not to be had")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """On CUDA a kernel without a variant skips its tests, with the name of the kernel as the reason."""
    try:
        return (yield)
    except BackendUnavailableError as error:
        parameters = getattr(item, "callspec", None)
        if parameters is None or parameters.params.get("backend") != "cuda":
            raise
        pytest.skip(str(error))
