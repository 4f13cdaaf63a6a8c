"""knn_ratings against a few lines of NumPy, and the promises of the header."""

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

MEASURES = ("cosine", "msd", "pearson")


def csr(dense):
    """What is not NaN is stored, zeros too."""
    dense = np.asarray(dense, np.float32)
    stored = ~np.isnan(dense)
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    return CSR(offsets, np.nonzero(stored)[1].astype(np.int32), dense[stored], dense.shape)


def knn_ratings(backend, rows, columns, asked, lists, measure="cosine", k=5, *, shrinkage=0, min_support=1, first=-1):
    kernels = backend.kernels
    asked = csr(asked)
    estimates, n_used = backend.empty((asked.nnz,)), backend.empty((asked.nnz,), np.int32)
    kernels.knn_ratings(
        backend.context,
        backend.csr(csr(rows)),
        backend.csr(csr(columns)),
        backend.csr(asked),
        backend.csr(csr(lists)),
        kernels.RatingNeighbors(getattr(kernels.RatingMeasure, measure), shrinkage, min_support, k),
        first,
        estimates,
        n_used,
    )
    return backend.to_numpy(estimates), backend.to_numpy(n_used)


def expected(rows, columns, asked, lists, measure="cosine", k=5, *, shrinkage=0, min_support=1, first=-1):
    """One estimate after the other, as the header has it."""
    estimates, n_used = [], []
    for row, things in enumerate(asked):
        similar = np.zeros(columns.shape[1])
        for v in range(columns.shape[1]):
            n = (~np.isnan(rows[row]) & ~np.isnan(columns[:, v])).sum()
            if n < max(1, min_support) or (first >= 0 and v == first + row):
                continue
            similarity = reference.rating_similarity(measure, rows[row], columns[:, v])
            similar[v] = np.float32(similarity * (n - 1) / (n - 1 + shrinkage) if shrinkage else similarity)
        for thing in np.flatnonzero(~np.isnan(things)):
            raters = np.flatnonzero(~np.isnan(lists[thing]) & (similar > 0))
            nearest = raters[np.lexsort((raters, -similar[raters]))][:k]
            weights = similar[nearest]
            estimates.append(weights @ lists[thing, nearest] / weights.sum() if nearest.size else 0)
            n_used.append(nearest.size)
    return np.array(estimates), np.array(n_used)


def ratings(rng, shape, density):
    """Whole stars, NaN where there is none."""
    return np.where(rng.random(shape) < density, rng.integers(1, 6, shape), np.nan).astype(np.float64)


def assert_agrees(found, wanted):
    assert_array_equal(found[1], wanted[1])
    assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("options", [{}, {"k": 1}, {"k": 100, "shrinkage": 20}, {"min_support": 4}], ids=str)
def test_knn_ratings_matches_reference(backend, rng, measure, options):
    columns = ratings(rng, (30, 40), 0.3)
    asked = np.where(rng.random((40, 30)) < 0.5, 1.0, np.nan)
    problem = columns.T, columns, asked, columns - 2.5
    found = knn_ratings(backend, *problem, measure, first=0, **options)
    wanted = expected(*problem, measure, first=0, **options)
    # Similarities that differ by rounding alone may stand in another order; few do.
    agree = np.isclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)
    assert_array_equal(found[1], wanted[1])
    assert agree.mean() > (0.9 if options.get("k", 5) < 40 else 0.999)


def test_knn_ratings_of_other_rows_and_lists(backend, rng):
    """Rows that are no columns, and other things than features to be asked for."""
    problem = (
        ratings(rng, (7, 30), 0.5),
        ratings(rng, (30, 40), 0.5),
        np.where(rng.random((7, 3)) < 0.7, 0, np.nan),
        ratings(rng, (3, 40), 0.5),
    )
    assert_agrees(knn_ratings(backend, *problem, k=40), expected(*problem, k=40))


def test_knn_ratings_without_neighbours(backend):
    """Nobody has rated it, nothing in common, only unlike ones, or oneself alone: 0 from no neighbour."""
    nan = np.nan
    columns = np.array([[5, 1, nan], [1, 5, nan], [nan, nan, 3], [4, nan, nan]])
    asked = np.array([[nan, nan, 0, 0], [0, nan, 0, 0], [0, nan, nan, nan]])
    estimates, n_used = knn_ratings(backend, columns.T, columns, asked, columns, "pearson", first=0)
    assert_array_equal(estimates, np.zeros(6))
    assert_array_equal(n_used, np.zeros(6))


def test_knn_ratings_takes_the_smaller_of_equals(backend):
    columns = np.array([[3.0, 3, 3, 3]])
    lists = np.array([[np.nan, 1.0, 2, 4]])
    for k, estimate in ((1, 1), (2, 1.5), (3, 7 / 3)):
        found = knn_ratings(backend, [[3.0]], columns, [[0.0]], lists, "msd", k)
        assert_allclose(found[0], [estimate], rtol=1e-6)
        assert_array_equal(found[1], [k])


@pytest.mark.parametrize("measure", MEASURES)
def test_knn_ratings_of_equal_ratings(backend, measure):
    """No spread is no correlation; what is the same is as near as can be."""
    rows = np.full((2, 3), 4.1)
    found = knn_ratings(backend, rows, rows.T, [[0.0, 0], [0, 0]], rows[:, :2], measure, first=0)
    assert_array_equal(found[1], np.zeros(4) if measure == "pearson" else np.ones(4))


@pytest.mark.parametrize("shape", [(0, 0, 0, 0), (0, 3, 2, 2), (2, 0, 3, 1), (2, 3, 0, 1), (1, 1, 1, 1)], ids=str)
def test_knn_ratings_of_little(backend, rng, shape):
    n, n_features, m, q = shape
    problem = (
        ratings(rng, (n, n_features), 0.8),
        ratings(rng, (n_features, m), 0.8),
        np.zeros((n, q)),
        ratings(rng, (q, m), 0.8),
    )
    assert_agrees(knn_ratings(backend, *problem), expected(*problem))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("k", [1, 4, 60])
def test_nearest_by_ratings_are_those_of_the_estimates(backend, rng, measure, k):
    """Asked what each column alone says, the estimates tell which ones are near; best first."""
    columns = ratings(rng, (30, 40), 0.3)
    kernels, matrix = backend.kernels, csr(columns)
    ids, scores = backend.empty((40, k), np.int32), backend.empty((40, k))
    spec = kernels.RatingNeighbors(getattr(kernels.RatingMeasure, measure), 0, 2, k)
    rows = backend.csr(csr(columns.T))
    kernels.nearest_by_ratings(backend.context, rows, backend.csr(matrix), spec, 0, ids, scores)
    ids, scores = backend.to_numpy(ids), backend.to_numpy(scores)
    similar = np.zeros((40, 40))
    for i, j in np.ndindex(40, 40):
        if i != j and (~np.isnan(columns[:, i]) & ~np.isnan(columns[:, j])).sum() >= 2:
            similar[i, j] = reference.rating_similarity(measure, columns[:, i], columns[:, j])
    similar[similar < 1e-7] = 0
    best = -np.sort(-similar, axis=1)[:, :k]
    best = np.pad(best, ((0, 0), (0, k - best.shape[1])))
    assert_allclose(np.where(ids < 0, 0, scores), best, atol=1e-5)
    assert_array_equal(np.isneginf(scores), ids < 0)
    rows, places = np.nonzero(ids >= 0)
    assert_allclose(similar[rows, ids[rows, places]], scores[rows, places], atol=1e-5)


@given(
    seed=st.integers(0, 2**32),
    measure=st.sampled_from(MEASURES),
    sides=st.tuples(st.integers(1, 12), st.integers(1, 25)),
    density=st.floats(0, 1),
)
def test_knn_ratings_of_any_ratings(seed, measure, sides, density):
    rng = np.random.default_rng(seed)
    columns = ratings(rng, sides, density)
    problem = columns.T, columns, np.zeros(sides[::-1]), columns
    results = [
        knn_ratings(Backend(n_threads, simd), *problem, measure, 25, first=0)
        for simd in _core.available_simd()
        for n_threads in (1, 2, 3)
    ]
    for result in results[1:]:
        assert_array_equal(result[0].view(np.int32), results[0][0].view(np.int32))
        assert_array_equal(result[1], results[0][1])
    wanted = expected(*problem, measure, 25, first=0)
    near_zero = np.abs(results[0][1] - wanted[1])  # a correlation of 0 may round to either side
    assert near_zero.max(initial=0) <= (0 if measure != "pearson" else sides[1])
    same = near_zero == 0
    assert_allclose(results[0][0][same], wanted[0][same], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.zeros((2, 4))}, "rows has 4 columns but columns has 3 rows"),
        ({"asked": np.zeros((3, 2))}, "asked has 3 rows but rows has 2 rows"),
        ({"asked": np.zeros((2, 3))}, "asked has 3 columns but lists has 2 rows"),
        ({"lists": np.zeros((2, 4))}, "lists has 4 columns but columns has 5 columns"),
        ({"k": 0}, "k must be >= 1"),
        ({"shrinkage": -1}, "shrinkage must be >= 0"),
        ({"first": 4}, "there must be a column for each row"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_knn_ratings_refuses_what_does_not_fit(backend, change, message):
    given = {
        "rows": np.zeros((2, 3)),
        "columns": np.zeros((3, 5)),
        "asked": np.zeros((2, 2)),
        "lists": np.zeros((2, 5)),
    }
    with pytest.raises(ValueError, match=f"^knn_ratings: {message}$"):
        knn_ratings(backend, **given | change)
