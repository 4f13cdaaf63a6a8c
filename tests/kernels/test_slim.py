"""slim against the reference, and the promises of the header."""

from __future__ import annotations

from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import ElasticNet

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR


class Solution(NamedTuple):
    ids: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    n_found: np.ndarray
    n_unconverged: int


def slim(
    backend,
    x,
    l1,
    l2,
    non_negative=True,
    *,
    capacity=None,
    targets=None,
    start=None,
    iterations=10_000,
    tolerance=1e-6,
):
    targets = np.arange(x.n_cols) if targets is None else np.asarray(targets)
    shape = (targets.size, max(1, x.n_cols) if capacity is None else capacity)
    ids, values = backend.empty(shape, np.int32), backend.empty(shape)
    counts, n_found = backend.empty(shape[:1], np.int32), backend.empty(shape[:1], np.int32)
    n_unconverged = backend.kernels.slim(
        backend.context,
        backend.csr(x),
        backend.csr(x.transpose()),
        None if start is None else backend.csr(start),
        backend.asarray(targets, np.int32),
        backend.kernels.SlimObjective(l1, l2, non_negative, iterations, tolerance),
        ids,
        values,
        counts,
        n_found,
    )
    return Solution(*(backend.to_numpy(array) for array in (ids, values, counts, n_found)), n_unconverged)


def to_dense(solution, n_items):
    """Weights by column."""
    weights = np.zeros((n_items, len(solution.ids)), np.float32)
    for column, (ids, values, count) in enumerate(zip(*solution[:3], strict=True)):
        weights[ids[:count], column] = values[:count]
    return weights


def csr(dense):
    """What is not NaN is stored, zeros too."""
    dense = np.asarray(dense, np.float32)
    stored = ~np.isnan(dense)
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    return CSR(offsets, np.nonzero(stored)[1].astype(np.int32), dense[stored], dense.shape)


def of_kind(matrix, kind, rng):
    """The matrix with other values."""
    values = matrix.values
    if kind == "ones":
        values = np.ones_like(values)
    elif kind == "negative":
        values = values * rng.choice([-1, 1], values.size).astype(np.float32)
    elif kind == "zeros":
        values = values * (rng.random(values.size) < 0.7).astype(np.float32)
    return CSR(matrix.indptr, matrix.indices, values.astype(np.float32), matrix.shape)


def assert_optimal(x, weights, l1, l2, non_negative, slack):
    """Karush, Kuhn and Tucker: the gradient balances l1 at a weight that is not 0, and does not pass it at 0."""
    dense, w = x.to_scipy().toarray().astype(np.float64), weights.astype(np.float64)
    gradient = dense.T @ (dense - dense @ w) - l2 * w
    free = ~np.eye(len(w), dtype=bool) & ((dense**2).sum(axis=0) + l2 > 0)[:, np.newaxis]
    held = gradient <= l1 + slack if non_negative else np.abs(gradient) <= l1 + slack
    balanced = np.abs(gradient - l1 * np.sign(w)) <= slack
    assert np.all(np.where(w == 0, held, balanced)[free])
    assert not np.diag(w).any()
    assert not non_negative or np.all(w >= 0)


KINDS = ("ratings", "ones", "negative", "zeros")
SIGNS = pytest.mark.parametrize("non_negative", [True, False], ids=["non-negative", "any sign"])


@SIGNS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("l1", "l2"), [(0.5, 1.0), (0.0, 5.0), (8.0, 0.1), (20.0, 0.0)])
def test_slim_matches_reference(backend, rng, kind, l1, l2, non_negative):
    x = of_kind(reference.random_csr(rng, (60, 25), 0.15), kind, rng)
    weights = reference.slim(x, l1, l2, non_negative)
    solution = slim(backend, x, l1, l2, non_negative)
    assert solution.n_unconverged == 0
    assert_allclose(to_dense(solution, 25), weights, atol=1e-4)


@SIGNS
def test_slim_agrees_with_scikit_learn(backend, rng, non_negative):
    """ElasticNet divides the loss by the number of rows."""
    x, l1, l2 = reference.random_csr(rng, (80, 12), 0.3), 4.0, 6.0
    dense = x.to_scipy().toarray().astype(np.float64)
    weights = to_dense(slim(backend, x, l1, l2, non_negative), 12)
    for target in range(12):
        others = np.arange(12) != target
        model = ElasticNet(
            alpha=(l1 + l2) / 80, l1_ratio=l1 / (l1 + l2), fit_intercept=False, positive=non_negative, tol=1e-12,
            max_iter=100_000,
        )  # fmt: skip
        assert_allclose(weights[others, target], model.fit(dense[:, others], dense[:, target]).coef_, atol=1e-4)


def test_slim_is_zero_where_l1_passes_every_product(backend, rng):
    x = reference.random_csr(rng, (40, 20))
    dense = x.to_scipy().toarray()
    products = dense.T @ dense
    greatest = float((products - np.diag(np.diag(products))).max())
    for non_negative in (True, False):
        assert not slim(backend, x, greatest, 0.0, non_negative).n_found.any()
        assert slim(backend, x, 0.99 * greatest, 0.0, non_negative).n_found.any()


@SIGNS
def test_slim_finds_a_copy(backend, non_negative):
    """Of identical columns each is the other's prediction; without penalties its weight is 1."""
    x = csr(np.array([[1, 1, 0], [2, 2, 0], [0, 0, 3], [1, 1, 0]], float))
    weights = to_dense(slim(backend, x, 0.0, 0.0, non_negative), 3)
    assert_allclose(weights, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)
    # Three of a kind: the weights of two are not determined, their sum is.
    same = csr(np.ones((5, 3)))
    assert_allclose(to_dense(slim(backend, same, 0.0, 0.0, non_negative), 3).sum(axis=0), 1, atol=1e-5)
    assert_allclose(to_dense(slim(backend, same, 0.0, 1.0, non_negative), 3), (1 - np.eye(3)) * 5 / 11, atol=1e-5)


@SIGNS
def test_slim_finds_weights_that_only_others_call_for(backend, non_negative):
    """Item 2 shares no user with the target 0, and helps by taking from item 1 what does not belong to it."""
    x = csr([[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
    weights = to_dense(slim(backend, x, 0.01, 0.0, non_negative), 3)
    assert_allclose(weights, reference.slim(x, 0.01, 0.0, non_negative), atol=1e-5)
    assert (weights[2, 0] < 0) != non_negative


@SIGNS
def test_slim_of_columns_without_entries_and_of_zeros(backend, non_negative):
    x = csr([[1, np.nan, 0, 2], [1, np.nan, 0, 0], [np.nan, np.nan, 0, 1]])
    for l2 in (0.0, 1.0):
        solution = slim(backend, x, 0.0, l2, non_negative)
        assert solution.n_unconverged == 0
        assert_array_equal(solution.n_found, [1, 0, 0, 1])
        start = csr(np.full((4, 4), 0.5))
        again = slim(backend, x, 0.0, l2, non_negative, start=start)
        assert_allclose(to_dense(again, 4), reference.slim(x, 0.0, l2, non_negative), atol=1e-5)


def test_slim_of_nothing(backend):
    for shape in ((0, 0), (5, 0), (0, 4), (3, 4)):
        x = CSR.from_arrays([0] * (shape[0] + 1), [], [], shape)
        for non_negative in (True, False):
            solution = slim(backend, x, 0.1, 0.1, non_negative)
            assert solution.ids.shape[0] == shape[1]
            assert not solution.n_found.any()
            assert np.all(solution.ids == -1)
            assert solution.n_unconverged == 0
    assert slim(backend, csr(np.ones((3, 2))), 0.1, 0.1, targets=[]).ids.shape[0] == 0


def test_slim_of_one_item_and_of_one_user(backend):
    assert_array_equal(slim(backend, csr([[3], [1]]), 0.0, 0.0).n_found, [0])
    x = csr([[2, 1, 4]])
    assert_allclose(to_dense(slim(backend, x, 0.5, 1.0), 3), reference.slim(x, 0.5, 1.0), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_slim_does_not_depend_on_the_scale_of_values(backend, rng, scale):
    """With penalties scaled alike; the weights have no unit."""
    x = reference.random_csr(rng, (60, 20))
    scaled = CSR(x.indptr, x.indices, x.values * np.float32(scale), x.shape)
    expected = to_dense(slim(backend, x, 2.0, 3.0), 20)
    found = to_dense(slim(backend, scaled, 2 * scale**2, 3 * scale**2), 20)
    assert_allclose(found, expected, atol=1e-5)


@SIGNS
@pytest.mark.parametrize("capacity", [1, 3, 24])
def test_slim_keeps_the_greatest_weights(backend, rng, capacity, non_negative):
    x = reference.random_csr(rng, (60, 25))
    everything = slim(backend, x, 0.1, 1.0, non_negative)
    some = slim(backend, x, 0.1, 1.0, non_negative, capacity=capacity)
    assert_array_equal(some.n_found, everything.n_found)
    assert_array_equal(some.counts, np.minimum(everything.n_found, capacity))
    wanted = to_dense(everything, 25)
    for column in wanted.T:
        column[np.lexsort((np.arange(25), -np.abs(column)))[capacity:]] = 0
    assert_array_equal(to_dense(some, 25), wanted)
    beyond = np.arange(capacity) >= some.counts[:, np.newaxis]
    assert np.all(some.ids[beyond] == -1)
    assert np.all(some.values[beyond] == 0)
    rising = np.diff(some.ids, axis=1) > 0
    assert np.all(rising[~beyond[:, 1:]])


def test_slim_keeps_the_smaller_of_equal_weights(backend):
    """Item 0 is everybody's, each of the others one user's: their weights are equal."""
    x = csr(np.concatenate([np.ones((5, 1)), np.where(np.eye(5) > 0, 1, np.nan)[::-1]], axis=1))
    solution = slim(backend, x, 0.0, 1.0, capacity=3, targets=[0])
    assert_array_equal(solution.ids, [[1, 2, 3]])
    assert_array_equal(solution.values, [[0.5, 0.5, 0.5]])


@SIGNS
def test_slim_starts_from_given_weights(backend, rng, non_negative):
    """Any start leads to the same minimum; from the minimum itself one sweep is enough."""
    x, l1, l2 = reference.random_csr(rng, (60, 20)), 1.0, 3.0
    cold = slim(backend, x, l1, l2, non_negative)
    for dense in (rng.standard_normal((20, 20)), np.full((20, 20), np.nan), to_dense(cold, 20).T):
        warm = slim(backend, x, l1, l2, non_negative, start=csr(dense))
        assert_allclose(to_dense(warm, 20), to_dense(cold, 20), atol=1e-5)
    one = slim(backend, x, l1, l2, non_negative, start=csr(to_dense(cold, 20).T), iterations=1, tolerance=1e-5)
    assert one.n_unconverged == 0


def test_slim_counts_what_has_not_converged(backend, rng):
    x = reference.random_csr(rng, (60, 20), 0.4)
    assert slim(backend, x, 0.0, 0.1, iterations=1).n_unconverged > 0
    assert slim(backend, x, 0.0, 0.1).n_unconverged == 0
    before = reference.slim_objective(x, np.zeros((20, 20)), 0.0, 0.1)
    for iterations in (1, 2, 4, 8):
        weights = to_dense(slim(backend, x, 0.0, 0.1, iterations=iterations), 20)
        after = reference.slim_objective(x, weights, 0.0, 0.1)
        assert np.all(after <= before + 1e-3)
        before = after


@SIGNS
@pytest.mark.parametrize("kind", ["ones", "negative"])
def test_slim_has_the_same_bits_for_any_threads_and_grouping(same_backends, rng, kind, non_negative):
    x = of_kind(reference.random_csr(rng, (200, 80), 0.1), kind, rng)
    wanted = slim(same_backends[0], x, 0.5, 1.0, non_negative)
    for backend in same_backends[1:]:
        for found, expected in zip(slim(backend, x, 0.5, 1.0, non_negative), wanted, strict=True):
            assert_array_equal(found, expected)
    targets = [7, 7, 0, 79, 31]
    some = slim(same_backends[-1], x, 0.5, 1.0, non_negative, targets=targets)
    assert_array_equal(some.ids, wanted.ids[targets])
    assert_array_equal(some.values, wanted.values[targets])


@given(st.data())
def test_slim_is_optimal_for_any_input(data):
    n, m = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 25))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = reference.random_csr(rng, (n, m), data.draw(st.sampled_from([0.02, 0.1, 0.4])))
    x = of_kind(x, data.draw(st.sampled_from(KINDS)), rng)
    l1, l2 = data.draw(st.sampled_from([0.0, 0.3, 5.0])), data.draw(st.sampled_from([0.5, 10.0]))
    non_negative, n_threads = data.draw(st.booleans()), data.draw(st.integers(1, 3))
    solution = slim(Backend(n_threads, _core.available_simd()[0]), x, l1, l2, non_negative)
    assert solution.n_unconverged == 0
    norms = (x.to_scipy().toarray() ** 2).sum(axis=0)
    slack = 1e-4 * (norms.max(initial=0) + l2)
    assert_optimal(x, to_dense(solution, m), l1, l2, non_negative, slack)


def test_slim_refuses_what_does_not_fit(backend):
    x = csr(np.ones((2, 3)))
    by_user, by_item = backend.csr(x), backend.csr(x.transpose())

    def call(by_user=by_user, by_item=by_item, start=None, targets=(0, 1, 2), sizes=(3, 3, 3, 3), width=(2, 2)):
        backend.kernels.slim(
            backend.context, by_user, by_item, start, backend.asarray(targets, np.int32),
            backend.kernels.SlimObjective(1.0, 1.0, True, 10, 1e-3), backend.empty((sizes[0], width[0]), np.int32),
            backend.empty((sizes[1], width[1])), backend.empty(sizes[2:3], np.int32),
            backend.empty(sizes[3:4], np.int32),
        )  # fmt: skip

    call()
    with pytest.raises(ValueError, match="slim: by_user has 3 columns but by_item has 2 rows"):
        call(by_item=by_user)
    with pytest.raises(ValueError, match="slim: by_user has 2 rows but by_item has 1 columns"):
        call(by_item=backend.csr(csr(np.ones((3, 1)))))
    with pytest.raises(ValueError, match="slim: by_user has 6 entries but by_item has 0 entries"):
        call(by_item=backend.csr(csr(np.full((3, 2), np.nan))))
    with pytest.raises(ValueError, match="slim: start has 2 rows but targets has 3 entries"):
        call(start=by_user)
    with pytest.raises(ValueError, match="slim: start has 2 columns but by_item has 3 rows"):
        call(start=by_item)
    with pytest.raises(ValueError, match="slim: ids has 2 rows but targets has 3 entries"):
        call(sizes=(2, 3, 3, 3))
    with pytest.raises(ValueError, match="slim: ids has 3 rows but values has 2 rows"):
        call(sizes=(3, 2, 3, 3))
    with pytest.raises(ValueError, match="slim: ids has 2 columns but values has 1 columns"):
        call(width=(2, 1))
    with pytest.raises(ValueError, match="slim: ids must have at least one column"):
        call(width=(0, 0))
    with pytest.raises(ValueError, match="slim: counts has 2 entries but targets has 3 entries"):
        call(sizes=(3, 3, 2, 3))
    with pytest.raises(ValueError, match="slim: n_found has 2 entries but targets has 3 entries"):
        call(sizes=(3, 3, 3, 2))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=rf"slim: targets must be in \[0, 3\), got {wrong}"):
            call(targets=(0, 1, wrong))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"l1": -1.0}, "l1 and l2 must be finite and >= 0, got -1"),
        ({"l2": float("nan")}, "l1 and l2 must be finite and >= 0, got nan"),
        ({"l2": float("inf")}, "l1 and l2 must be finite and >= 0, got inf"),
        ({"iterations": 0}, "iterations must be >= 1, got 0"),
        ({"tolerance": -0.5}, "tolerance must be >= 0, got -0.5"),
    ],
)
def test_slim_refuses_an_objective_that_is_none(backend, wrong, message):
    with pytest.raises(ValueError, match=f"slim: {message}"):
        slim(backend, csr(np.ones((2, 3))), **{"l1": 1.0, "l2": 1.0, **wrong})
