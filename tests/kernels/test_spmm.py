"""spmm against scipy in float64, and the promises of the header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR


def spmm(backend, x, y):
    out = backend.asarray(np.full((x.shape[0], y.shape[1]), 99.0))
    backend.kernels.spmm(backend.context, backend.csr(CSR.from_scipy(sp.csr_array(x))), backend.asarray(y), out)
    return backend.to_numpy(out)


def random_matrix(rng, shape, density):
    return np.where(rng.random(shape) < density, rng.standard_normal(shape), 0).astype(np.float32)


@pytest.mark.parametrize("d", [1, 2, 7, 16, 33, 80], ids="d={}".format)
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (40, 30), (3, 2000)], ids=str)
def test_spmm_of_all_sizes(backend, rng, shape, d):
    x, y = random_matrix(rng, shape, 0.3), rng.standard_normal((shape[1], d)).astype(np.float32)
    assert_allclose(spmm(backend, x, y), x.astype(np.float64) @ y, rtol=1e-5, atol=1e-4)


@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1))
def test_spmm_matches_the_product(backend, seed, density):
    rng = np.random.default_rng(seed)
    x, y = random_matrix(rng, (12, 15), density), rng.standard_normal((15, 9)).astype(np.float32)
    assert_allclose(spmm(backend, x, y), x.astype(np.float64) @ y, rtol=1e-5, atol=1e-5)


EDGES = {
    "nothing stored": np.zeros((3, 4)),
    "an empty row": np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]]),
    "huge": np.array([[3e38, 0.0], [0.0, -3e38]]),
    "tiny": np.array([[1e-38, 0.0], [0.0, -1e-38]]),
    "256 entries": np.ones((2, 256)),
    "257 entries": np.ones((2, 257)),
}


@pytest.mark.parametrize("x", EDGES.values(), ids=EDGES)
def test_spmm_of_edges(backend, x):
    y = np.eye(x.shape[1], 5) / 2 + 0.25
    assert_allclose(spmm(backend, x, y), x @ y, rtol=1e-6)


def test_spmm_of_a_long_row_rounds_like_a_short_one(backend):
    """A million times a tenth, added up one by one in float32, would be off by a hundredth."""
    product = spmm(backend, np.full((1, 1_000_000), 0.1, np.float32), np.ones((1_000_000, 1)))
    assert product[0, 0] == pytest.approx(1e5, rel=1e-4)


@pytest.mark.parametrize("simd", _core.available_simd())
def test_spmm_is_the_same_bits_at_any_number_of_threads(rng, simd):
    x, y = random_matrix(rng, (500, 700), 0.5), rng.standard_normal((700, 37)).astype(np.float32)
    one = spmm(Backend(1, simd), x, y)
    for n_threads in (2, 7):
        assert_array_equal(spmm(Backend(n_threads, simd), x, y), one)
    assert_array_equal(spmm(Backend(1, simd), x[7:9], y), one[7:9])


def test_spmm_refuses_shapes_that_disagree(backend):
    x = backend.csr(CSR.from_scipy(sp.csr_array(np.ones((3, 4)))))
    for y, out, message in (
        ((5, 2), (3, 2), "x has 4 columns but y has 5 rows"),
        ((4, 2), (4, 2), "out has 4 rows but x has 3 rows"),
        ((4, 2), (3, 3), "out has 3 columns but y has 2 columns"),
    ):
        with pytest.raises(ValueError, match=f"spmm: {message}"):
            backend.kernels.spmm(backend.context, x, backend.zeros(y), backend.zeros(out))
