"""Multiplicative updates of non-negative factors, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise._backend import Backend
from likewise.data import CSR


def _half_epoch(backend, ratings, y, regularization, x):
    out = backend.asarray(np.full(x.shape, np.nan, np.float32))
    backend.kernels.nmf_half_epoch(
        backend.context, backend.csr(ratings), backend.asarray(y), regularization, backend.asarray(x), out
    )
    return backend.to_numpy(out)


def _uniform(rng, *shape):
    return rng.random(shape, dtype=np.float32)


@pytest.mark.parametrize("regularization", [0.0, 0.06, 3.0])
@pytest.mark.parametrize("d", [1, 15, 16, 33, 300], ids="d={}".format)
def test_nmf_half_epoch_matches_reference(backend, rng, d, regularization):
    ratings = reference.random_csr(rng, (50, 70), 0.4)
    x, y = _uniform(rng, 50, d), _uniform(rng, 70, d)
    expected = reference.nmf_half_epoch(ratings, y, regularization, x)
    assert_allclose(_half_epoch(backend, ratings, y, regularization, x), expected, rtol=1e-4, atol=1e-6)


def test_nmf_half_epoch_takes_long_rows(backend, rng):
    """Longer than what is gathered at once."""
    ratings = reference.random_csr(rng, (5, 3000), 0.9)
    x, y = _uniform(rng, 5, 15), _uniform(rng, 3000, 15)
    assert_allclose(_half_epoch(backend, ratings, y, 0.1, x), reference.nmf_half_epoch(ratings, y, 0.1, x), rtol=1e-4)


def test_nmf_half_epoch_does_not_depend_on_threads(rng):
    ratings = reference.random_csr(rng, (700, 90), 0.3)
    x, y = _uniform(rng, 700, 15), _uniform(rng, 90, 15)
    one, two, five = (_half_epoch(Backend(n), ratings, y, 0.06, x) for n in (1, 2, 5))
    assert_array_equal(one, two)
    assert_array_equal(one, five)


EDGES = {
    "no rows": CSR.from_arrays([0], [], [], (0, 3)),
    "nothing stored": CSR.from_arrays([0, 0, 0], [], [], (2, 3)),
    "one entry": CSR.from_arrays([0, 1], [2], [5], (1, 3)),
    "one column": CSR.from_arrays([0, 1, 1, 2], [0, 0], [1, 5], (3, 1)),
    "stored zeros": CSR.from_arrays([0, 2], [0, 1], [0, 0], (1, 3)),
    "huge": CSR.from_arrays([0, 2], [0, 1], [1e18, 1e18], (1, 3)),
    "tiny": CSR.from_arrays([0, 2], [0, 1], [1e-18, 1e-18], (1, 3)),
}


@pytest.mark.parametrize("ratings", EDGES.values(), ids=EDGES)
def test_nmf_half_epoch_at_the_edges(backend, rng, ratings):
    x, y = _uniform(rng, ratings.n_rows, 4), _uniform(rng, ratings.n_cols, 4)
    expected = reference.nmf_half_epoch(ratings, y, 0.1, x)
    assert_allclose(_half_epoch(backend, ratings, y, 0.1, x), expected, rtol=1e-4)


def test_nmf_half_epoch_of_factors_that_are_zero_is_zero(backend, rng):
    ratings = reference.random_csr(rng, (9, 7), 0.6)
    x, y = _uniform(rng, 9, 5), _uniform(rng, 7, 5)
    x[:, 1], y[:, 3] = 0, 0
    out = _half_epoch(backend, ratings, y, 0.0, x)
    assert_array_equal(out[:, [1, 3]], 0)
    assert_array_equal(_half_epoch(backend, ratings, np.zeros_like(y), 0.0, x), 0)


BAD = {
    "ratings has 5 columns but y has 4 rows": {"y": np.zeros((4, 2), np.float32)},
    "ratings has 3 rows but x has 2 rows": {"x": np.zeros((2, 2), np.float32)},
    "x has 2 columns but y has 3 columns": {"y": np.zeros((5, 3), np.float32)},
    "out has 2 rows but x has 3 rows": {"out": np.zeros((2, 2), np.float32)},
    "out has 1 columns but x has 2 columns": {"out": np.zeros((3, 1), np.float32)},
    "regularization must be >= 0": {"regularization": -1.0},
}


@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=BAD)
def test_nmf_half_epoch_refuses_what_does_not_fit(backend, message, change):
    arguments = {
        "y": np.zeros((5, 2), np.float32),
        "regularization": 0.1,
        "x": np.zeros((3, 2), np.float32),
        "out": np.zeros((3, 2), np.float32),
    } | change
    ratings = backend.csr(CSR.from_arrays([0, 1, 2, 3], [0, 1, 2], [1, 2, 3], (3, 5)))
    given = [backend.asarray(value) if isinstance(value, np.ndarray) else value for value in arguments.values()]
    with pytest.raises(ValueError, match=f"nmf_half_epoch: {message}"):
        backend.kernels.nmf_half_epoch(backend.context, ratings, *given)


def test_nmf_half_epoch_writes_to_an_array_of_its_own(backend):
    ratings, x = backend.csr(CSR.from_arrays([0, 1], [0], [1], (1, 1))), backend.asarray(np.ones((1, 2), np.float32))
    y = backend.asarray(np.ones((1, 2), np.float32))
    for out in (x, y):
        with pytest.raises(ValueError, match="out must be an array of its own"):
            backend.kernels.nmf_half_epoch(backend.context, ratings, y, 0.1, x, out)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    d=st.integers(1, 20),
    regularization=st.sampled_from([0.0, 0.06, 1.0]),
)
def test_nmf_half_epoch_never_raises_the_loss(seed, shape, d, regularization):
    """The update of one side, the other held fixed, is downhill (Lee and Seung's argument), and stays above 0."""
    rng = np.random.default_rng(seed)
    ratings = reference.random_csr(rng, shape, 0.6)
    x, y = _uniform(rng, shape[0], d), _uniform(rng, shape[1], d)
    out = _half_epoch(Backend(2), ratings, y, regularization, x)

    def loss(factors):
        rows, columns = ratings.row_numbers(), ratings.indices
        errors = ratings.values - np.einsum("nd,nd->n", factors[rows].astype(np.float64), y[columns])
        penalty = regularization * (ratings.row_counts() @ (factors.astype(np.float64) ** 2).sum(axis=1))
        return float((errors**2).sum() + penalty)

    assert (out >= 0).all()
    assert loss(out) <= loss(x) * (1 + 1e-5) + 1e-6
