"""slope_one against a few lines of NumPy, and the promises of the header."""

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


def slope_one(backend, ratings, histories, asked, weighted=False):
    """`asked` is a mask of users x items."""
    ratings, histories = np.asarray(ratings, np.float32), np.asarray(histories, np.float32)
    wanted = csr(np.where(asked, 1.0, NONE).T)
    estimates, n_used = backend.empty((wanted.nnz,)), backend.empty((wanted.nnz,), np.int32)
    by_user = csr(ratings)
    backend.kernels.slope_one(
        backend.context,
        backend.csr(by_user),
        backend.asarray(np.arange(by_user.n_cols), np.int32),
        backend.csr(by_user.transpose()),
        backend.csr(csr(histories)),
        backend.csr(wanted),
        weighted,
        estimates,
        n_used,
    )
    return backend.to_numpy(estimates), backend.to_numpy(n_used)


def expected(ratings, histories, asked, weighted=False):
    items, users = np.nonzero(asked.T)
    ratings = np.asarray(ratings, np.float32).astype(np.float64)
    histories = np.asarray(histories, np.float32).astype(np.float64)
    found = [
        reference.slope_one(ratings, histories[user], item, weighted) for item, user in zip(items, users, strict=True)
    ]
    return np.array([value for value, _ in found]), np.array([n for _, n in found])


EDGES = {
    "no users": (np.empty((0, 3)), np.empty((0, 3))),
    "no items": (np.empty((2, 0)), np.empty((2, 0))),
    "nothing rated": (np.full((3, 4), NONE), np.array([[1.0, NONE, 2.0, NONE]])),
    "no history": (np.ones((3, 4)), np.full((2, 4), NONE)),
    "one rating": (np.array([[7.0]]), np.array([[7.0]])),
    "the item alone": (np.array([[1.0, NONE], [2.0, NONE]]), np.array([[3.0, NONE]])),
    "nobody rated both": (np.array([[1.0, NONE], [NONE, 2.0]]), np.array([[3.0, NONE], [NONE, 3.0]])),
    "ratings of zero": (np.array([[0.0, 0.0], [0.0, 4.0]]), np.array([[0.0, NONE], [NONE, 0.0]])),
    "huge": (np.array([[1e38, -1e38], [1e38, 2e38]]), np.array([[1e38, NONE]])),
    "tiny": (np.array([[1e-30, 3e-30]]), np.array([[1e-30, NONE]])),
}


@pytest.mark.parametrize(("ratings", "histories"), EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("weighted", [False, True])
def test_slope_one_of_edges(backend, ratings, histories, weighted):
    asked = np.ones(histories.shape, bool)
    values, counts = slope_one(backend, ratings, histories, asked, weighted)
    expected_values, expected_counts = expected(ratings, histories, asked, weighted)
    assert_array_equal(counts, expected_counts)
    assert_allclose(values, expected_values, rtol=1e-6)


def of_rows(backend, ratings, histories, weighted=False):
    by_user, given = csr(ratings), csr(histories)
    estimates = backend.asarray(np.full(given.shape, 99.0))
    backend.kernels.slope_one_of_rows(
        backend.context,
        backend.csr(by_user),
        backend.csr(by_user.transpose()),
        backend.csr(given),
        weighted,
        estimates,
    )
    return backend.to_numpy(estimates)


@pytest.mark.parametrize(("ratings", "histories"), EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("weighted", [False, True])
def test_slope_one_of_rows_has_the_bits_of_slope_one_at_edges(backend, ratings, histories, weighted):
    values, _ = slope_one(backend, ratings, histories, np.ones(histories.shape, bool), weighted)
    assert_array_equal(of_rows(backend, ratings, histories, weighted), values.reshape(histories.shape[::-1]).T)


@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1), weighted=st.booleans())
def test_slope_one_of_rows_has_the_bits_of_slope_one(backend, seed, density, weighted):
    rng = np.random.default_rng(seed)
    ratings = np.where(rng.random((10, 8)) < density, rng.normal(size=(10, 8)), NONE)
    histories = np.where(rng.random((5, 8)) < density, rng.normal(size=(5, 8)), NONE)
    values, _ = slope_one(backend, ratings, histories, np.ones((5, 8), bool), weighted)
    for other in (backend, Backend(1), Backend(3)):
        assert_array_equal(of_rows(other, ratings, histories, weighted), values.reshape(8, 5).T)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"by_item": (5, 3)}, "by_item has 5 rows but by_user has 4 columns"),
        ({"by_item": (4, 2)}, "by_item has 2 columns but by_user has 3 rows"),
        ({"histories": (2, 5)}, "histories has 5 columns but by_user has 4 columns"),
        ({"estimates": (3, 4)}, "estimates has 3 rows but histories has 2 rows"),
        ({"estimates": (2, 3)}, "estimates has 3 columns but by_user has 4 columns"),
    ],
    ids=str,
)
def test_slope_one_of_rows_refuses_shapes_that_disagree(backend, sizes, message):
    shapes = {"by_user": (3, 4), "by_item": (4, 3), "histories": (2, 4)} | sizes
    given = [backend.csr(csr(np.ones(shapes[name]))) for name in ("by_user", "by_item", "histories")]
    with pytest.raises(ValueError, match=f"slope_one_of_rows: {message}"):
        backend.kernels.slope_one_of_rows(backend.context, *given, False, backend.empty(sizes.get("estimates", (2, 4))))


def test_slope_one_of_the_example_of_the_paper(backend):
    """Lemire & Maclachlan's figure 1: who gave the first item 2 should give the other 2 + (1.5 - 1)."""
    values, _ = slope_one(backend, [[1, 1.5], [2, NONE]], [[2, NONE]], np.array([[False, True]]))
    assert_array_equal(values, [2.5])


@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.floats(0, 1),
    asked_density=st.floats(0, 1),
    weighted=st.booleans(),
)
def test_slope_one_matches_the_reference(backend, seed, density, asked_density, weighted):
    rng = np.random.default_rng(seed)
    ratings = np.where(rng.random((10, 8)) < density, rng.integers(0, 11, (10, 8)), NONE)
    histories = np.where(rng.random((5, 8)) < density, rng.normal(size=(5, 8)), NONE)
    asked = rng.random((5, 8)) < asked_density
    values, counts = slope_one(backend, ratings, histories, asked, weighted)
    expected_values, expected_counts = expected(ratings, histories, asked, weighted)
    assert_array_equal(counts, expected_counts)
    assert_allclose(values, expected_values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("simd", _core.available_simd())
@pytest.mark.parametrize("weighted", [False, True])
def test_slope_one_is_the_same_bits_at_any_number_of_threads_and_alone(rng, simd, weighted):
    ratings = np.where(rng.random((200, 50)) < 0.2, rng.normal(size=(200, 50)), NONE)
    asked = rng.random((200, 50)) < 0.5
    values, counts = slope_one(Backend(1, simd), ratings, ratings, asked, weighted)
    for n_threads in (2, 7):
        for ours, theirs in zip(
            slope_one(Backend(n_threads, simd), ratings, ratings, asked, weighted), (values, counts), strict=True
        ):
            assert_array_equal(ours, theirs)
    table = np.full(asked.T.shape, NONE)
    table[asked.T] = values
    alone, _ = slope_one(Backend(1, simd), ratings, ratings[3:4], asked[3:4], weighted)
    assert_array_equal(alone, table[asked[3], 3])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"raters": (4, 4)}, "raters has 4 columns but by_user has 3 rows"),
        ({"raters": (5, 3)}, "raters has 5 rows but items has 4 entries"),
        ({"histories": (2, 5)}, "histories has 5 columns but by_user has 4 columns"),
        ({"asked": (5, 2)}, "asked has 5 rows but raters has 4 rows"),
        ({"items": [0, 1, 2, 4]}, "an item is outside by_user"),
        ({"items": [0, 1, 2, -1]}, "an item is outside by_user"),
        ({"asked": (4, 3)}, "asked has 3 columns but histories has 2 rows"),
        ({"estimates": 7}, "estimates has 7 entries but asked has 8 entries"),
        ({"n_used": 9}, "n_used has 9 entries but asked has 8 entries"),
    ],
    ids=str,
)
def test_slope_one_refuses_shapes_that_disagree(backend, sizes, message):
    shapes = {"by_user": (3, 4), "raters": (4, 3), "histories": (2, 4), "asked": (4, 2)} | sizes
    by_user, *given = (backend.csr(csr(np.ones(shapes[name]))) for name in ("by_user", "raters", "histories", "asked"))
    items = backend.asarray(sizes.get("items", range(4)), np.int32)
    outs = backend.empty((sizes.get("estimates", 8),)), backend.empty((sizes.get("n_used", 8),), np.int32)
    with pytest.raises(ValueError, match=f"slope_one: {message}"):
        backend.kernels.slope_one(backend.context, by_user, items, *given, False, *outs)


def test_slope_one_of_some_items_is_that_of_all(backend, rng):
    ratings = np.where(rng.random((30, 12)) < 0.4, rng.integers(1, 11, (30, 12)), NONE)
    asked = np.ones((30, 12), bool)
    values, counts = (array.reshape(12, 30) for array in slope_one(backend, ratings, ratings, asked))
    items, by_user = np.array([7, 2, 7], np.int32), csr(ratings)
    estimates, n_used = backend.empty((90,)), backend.empty((90,), np.int32)
    backend.kernels.slope_one(
        backend.context,
        backend.csr(by_user),
        backend.asarray(items, np.int32),
        backend.csr(by_user.transpose().take_rows(items)),
        backend.csr(by_user),
        backend.csr(csr(np.ones((3, 30)))),
        False,
        estimates,
        n_used,
    )
    assert_array_equal(backend.to_numpy(n_used).reshape(3, 30), counts[items])
    assert_array_equal(backend.to_numpy(estimates).reshape(3, 30), values[items])
