"""Biases of ratings against a few lines of NumPy, and the promises of the header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR

NONE = np.nan


def csr(dense):
    """What is not NaN is stored, zeros too."""
    dense = np.asarray(dense, np.float32)
    stored = ~np.isnan(dense)
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    return CSR(offsets, np.nonzero(stored)[1].astype(np.int32), dense[stored], dense.shape)


def random_ratings(rng, shape=(30, 20), density=0.3):
    ratings = np.where(rng.random(shape) < density, rng.integers(0, 11, shape), NONE)
    ratings[0], ratings[:, -1] = NONE, NONE
    return ratings


def half_sweep(backend, ratings, mean, others, penalty):
    biases = backend.asarray(np.full(len(ratings), 99.0), np.float64)
    backend.kernels.bias_half_sweep(
        backend.context, backend.csr(csr(ratings)), mean, backend.asarray(others, np.float64), penalty, biases
    )
    return backend.to_numpy(biases)


def sgd(backend, ratings, mean, rate, penalty, rows, columns, *, half=False):
    rows, columns = backend.asarray(rows.copy(), np.float64), backend.asarray(columns.copy(), np.float64)
    kernels, given = backend.kernels, backend.csr(csr(ratings))
    if half:
        kernels.bias_sgd_half_epoch(backend.context, given, mean, rate, penalty, columns, rows)
    else:
        kernels.bias_sgd_epoch(backend.context, given, mean, rate, penalty, rows, columns)
    return backend.to_numpy(rows), backend.to_numpy(columns)


EDGES = {
    "no rows": np.empty((0, 3)),
    "no columns": np.empty((3, 0)),
    "nothing rated": np.full((3, 4), NONE),
    "one rating": np.array([[7.0]]),
    "an empty row": np.array([[1.0, 2.0], [NONE, NONE], [3.0, NONE]]),
    "ratings of zero": np.array([[0.0, 0.0], [NONE, 0.0]]),
    "huge": np.array([[3e38, -3e38], [NONE, 3e38]]),
    "tiny": np.array([[1e-30, NONE], [2e-30, 0.0]]),
}


@pytest.mark.parametrize("ratings", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("penalty", [0.0, 15.0])
def test_bias_half_sweep_of_edges(backend, ratings, penalty):
    others = np.arange(ratings.shape[1]) / 4
    expected = reference.bias_half_sweep(csr_values(ratings), 1.5, others, penalty)
    assert_allclose(half_sweep(backend, ratings, 1.5, others, penalty), expected, rtol=1e-12)


def csr_values(ratings):
    """Ratings as float32 holds them."""
    return np.asarray(ratings, np.float32).astype(np.float64)


@pytest.mark.parametrize("ratings", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("half", [False, True])
def test_bias_sgd_epoch_of_edges(backend, ratings, half):
    rows, columns = np.ones(len(ratings)), np.arange(ratings.shape[1]) / 4
    expected = reference.bias_sgd_epoch(csr_values(ratings), 1.5, 0.1, 0.02, rows, columns, half)
    for ours, theirs in zip(sgd(backend, ratings, 1.5, 0.1, 0.02, rows, columns, half=half), expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1), penalty=st.floats(0, 100))
def test_biases_match_the_reference(backend, seed, density, penalty):
    rng = np.random.default_rng(seed)
    ratings = random_ratings(rng, (12, 9), density)
    rows, columns = rng.normal(size=12), rng.normal(size=9)
    expected = reference.bias_half_sweep(ratings, 5.0, columns, penalty)
    assert_allclose(half_sweep(backend, ratings, 5.0, columns, penalty), expected, rtol=1e-9, atol=1e-9)
    for half in (False, True):
        expected = reference.bias_sgd_epoch(ratings, 5.0, 0.01, penalty, rows, columns, half)
        for ours, theirs in zip(
            sgd(backend, ratings, 5.0, 0.01, penalty, rows, columns, half=half), expected, strict=True
        ):
            assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("simd", _core.available_simd())
def test_biases_are_the_same_bits_at_any_number_of_threads(rng, simd):
    ratings = random_ratings(rng, (3000, 40))
    rows, columns = rng.normal(size=3000), rng.normal(size=40)
    found = []
    for n_threads in (1, 2, 7):
        backend = Backend(n_threads, simd)
        found.append(
            [
                half_sweep(backend, ratings, 5.0, columns, 15.0),
                *sgd(backend, ratings, 5.0, 0.005, 0.02, rows, columns),
                *sgd(backend, ratings, 5.0, 0.005, 0.02, rows, columns, half=True),
            ]
        )
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert_array_equal(ours, theirs)


def test_biases_refuse_shapes_that_disagree(backend):
    ratings = np.ones((3, 4))
    with pytest.raises(ValueError, match="bias_half_sweep: ratings has 4 columns but others has 5 entries"):
        half_sweep(backend, ratings, 0.0, np.zeros(5), 1.0)
    with pytest.raises(ValueError, match="bias_half_sweep: regularization must be >= 0"):
        half_sweep(backend, ratings, 0.0, np.zeros(4), -1.0)
    with pytest.raises(ValueError, match="bias_sgd_epoch: ratings has 3 rows but row_biases has 2 entries"):
        sgd(backend, ratings, 0.0, 0.1, 0.1, np.zeros(2), np.zeros(4))
    with pytest.raises(ValueError, match="bias_sgd_half_epoch: ratings has 4 columns but others has 3 entries"):
        sgd(backend, ratings, 0.0, 0.1, 0.1, np.zeros(3), np.zeros(3), half=True)
