"""sparse_gramian, invert_spd, regress_on_nearest and multiply_sparse against NumPy, and the promises of the header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR

SIDES = [1, 2, 7, 8, 31, 32, 33, 100, 127, 128, 129, 160, 257, 300]


def sparse_gramian(backend, x):
    out = backend.empty((x.n_cols, x.n_cols))
    backend.kernels.sparse_gramian(backend.context, backend.csr(x), backend.csr(x.transpose()), out)
    return backend.to_numpy(out)


def invert_spd(backend, a, n_block=None):
    out = backend.empty(a.shape)
    out[...] = backend.asarray(a)
    n_block = n_block or max(1, len(a))
    for first in range(0, len(a), n_block):
        backend.kernels.invert_spd(backend.context, out, first, min(first + n_block, len(a)))
    return backend.to_numpy(out)


def multiply_sparse(backend, x, b):
    out = backend.empty((x.n_rows, b.shape[1]))
    backend.kernels.multiply_sparse(backend.context, backend.csr(x), backend.asarray(b), out)
    return backend.to_numpy(out)


def longest(correlations):
    return int(correlations.row_counts().max(initial=0))


def regress_on_nearest(backend, correlations, floors, k, first=0, n=None, n_kept=None):
    counts = np.minimum(correlations.row_counts(), k)[first:][:n]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ids, values = backend.empty((indptr[-1],), np.int32), backend.empty((indptr[-1],))
    kernel, given = backend.kernels.regress_on_nearest, (backend.csr(correlations), backend.asarray(floors))
    n_kept = longest(correlations) if n_kept is None else n_kept
    kernel(backend.context, *given, n_kept, first, k, backend.asarray(indptr, np.int64), ids, values)
    return CSR(indptr, backend.to_numpy(ids), backend.to_numpy(values), (counts.size, correlations.n_cols))


def correlations_of(rng, n_items, n_users=40, ridge=1.0, kept=None):
    """Of the columns of random data, of which each row stores `kept`; and the floors of the items."""
    x = (rng.random((n_users, n_items)) < 0.3).astype(np.float64)
    squares = (x * x).sum(axis=0) + ridge
    found = (x.T @ x / np.sqrt(squares) / np.sqrt(squares)[:, np.newaxis]).astype(np.float32)
    np.fill_diagonal(found, 0)
    if kept is not None:
        order = np.argsort(-found, axis=1, kind="stable")
        np.put_along_axis(found, order[:, kept:], 0, axis=1)
    return CSR.from_scipy(sp.csr_array(found)), (ridge / squares).astype(np.float32)


def expected_regressions(correlations, floors, k):
    return reference.regressions_on_nearest(correlations.to_scipy().toarray(), floors, k, longest(correlations))[0]


def positive_definite(rng, n, ridge=1.0):
    x = rng.standard_normal((n + 5, n))
    return (x.T @ x + ridge * np.eye(n)).astype(np.float32)


# ---- sparse_gramian ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (1, 9), (9, 1), (40, 70), (30, 200)], ids=str)
def test_sparse_gramian_matches_reference_exactly(backend, rng, shape):
    x = reference.random_csr(rng, shape, 0.3)
    assert_array_equal(sparse_gramian(backend, x), reference.gramian(x.to_scipy().toarray()))


def test_sparse_gramian_has_the_same_bits_at_any_number_of_threads(same_backends, rng):
    x = CSR.from_scipy(sp.random_array((90, 150), density=0.2, rng=rng))
    first, *others = (sparse_gramian(backend, x) for backend in same_backends)
    for other in others:
        assert_array_equal(other.view(np.int32), first.view(np.int32))


def test_sparse_gramian_of_zeros_and_negative_values(backend):
    x = CSR.from_arrays([0, 3, 5, 5], [0, 1, 3, 1, 2], [2.0, 0.0, -3.0, -1.0, 0.5], (3, 4))
    assert_array_equal(sparse_gramian(backend, x), reference.gramian(x.to_scipy().toarray()))


@given(seed=st.integers(0, 2**32), rows=st.integers(0, 40), columns=st.integers(1, 90), density=st.floats(0, 0.5))
def test_sparse_gramian_of_any_matrix(seed, rows, columns, density):
    x = reference.random_csr(np.random.default_rng(seed), (rows, columns), density)
    for simd in _core.available_simd():
        assert_array_equal(sparse_gramian(Backend(2, simd), x), reference.gramian(x.to_scipy().toarray()))


# ---- invert_spd ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIDES)
def test_invert_spd_matches_reference(backend, rng, n):
    a = positive_definite(rng, n)
    inverse, expected = invert_spd(backend, a), np.linalg.inv(a.astype(np.float64))
    assert_array_equal(inverse, inverse.T)
    error = np.abs(inverse - expected).max() / np.abs(expected).max()
    assert error < 2e-6 * np.linalg.cond(a.astype(np.float64))


def test_invert_spd_reads_the_upper_triangle_alone(backend, rng):
    a = positive_definite(rng, 150)
    spoilt = np.triu(a) + np.tril(np.full_like(a, np.nan), -1)
    assert_array_equal(invert_spd(backend, spoilt), invert_spd(backend, a))


def test_invert_spd_of_nothing_and_of_a_diagonal(backend):
    assert invert_spd(backend, np.zeros((0, 0))).shape == (0, 0)
    diagonal = np.geomspace(1e-6, 1e6, 200).astype(np.float32)
    assert_allclose(invert_spd(backend, np.diag(diagonal)), np.diag(1 / diagonal), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_invert_spd_takes_any_scale(backend, rng, scale):
    a = positive_definite(rng, 140)
    scaled = invert_spd(backend, a * np.float32(scale))
    assert_allclose(scaled * np.float64(scale), invert_spd(backend, a), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("n", "row"), [(1, 0), (40, 39), (200, 0), (200, 150)])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_invert_spd_refuses_what_is_not_positive_definite(backend, n, row, value):
    a = np.eye(n, dtype=np.float32)
    a[row, row] = value
    with pytest.raises(ValueError, match=r"^invert_spd: a is not positive definite$"):
        invert_spd(backend, a)


def test_invert_spd_has_the_same_bits_at_any_number_of_threads(same_backends, rng):
    a = positive_definite(rng, 1100)  # more columns than a task has
    assert np.abs(invert_spd(same_backends[0], a).astype(np.float64) @ a - np.eye(1100)).max() < 1e-2
    first, *others = (invert_spd(backend, a) for backend in same_backends)
    for other in others:
        assert_array_equal(other.view(np.int32), first.view(np.int32))


@given(seed=st.integers(0, 2**32), n=st.integers(1, 180), ridge=st.floats(0.1, 100))
def test_invert_spd_times_its_argument_is_the_identity(seed, n, ridge):
    a = positive_definite(np.random.default_rng(seed), n, ridge)
    for simd in _core.available_simd():
        product = invert_spd(Backend(2, simd), a).astype(np.float64) @ a
        assert_allclose(product, np.eye(n), atol=2e-6 * np.linalg.cond(a.astype(np.float64)) + 1e-4)


@pytest.mark.parametrize("n", [100, 256, 300])
def test_invert_spd_goes_in_several_calls(backend, rng, n):
    a = positive_definite(rng, n)
    assert _core.SWEPT_ROWS == 128
    for n_block in (128, 256):
        assert_array_equal(invert_spd(backend, a, n_block), invert_spd(backend, a))


def test_invert_spd_refuses_what_is_not_square(backend):
    with pytest.raises(ValueError, match=r"^invert_spd: a has 2 rows but a has 3 columns$"):
        backend.kernels.invert_spd(backend.context, backend.zeros((2, 3)), 0, 2)


@pytest.mark.parametrize(("first", "last"), [(-128, 0), (0, 100), (100, 128), (128, 0), (0, 384)])
def test_invert_spd_refuses_rows_that_are_no_blocks(backend, first, last):
    with pytest.raises(ValueError, match=r"^invert_spd: first and last must be rows of a, multiples of 128 or their"):
        backend.kernels.invert_spd(backend.context, backend.zeros((300, 300)), first, last)


# ---- regress_on_nearest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_items", [1, 2, 15, 17, 60])
@pytest.mark.parametrize("k", [1, 3, 16, 33, 1000])
def test_regressions_match_reference(backend, rng, n_items, k):
    given = correlations_of(rng, n_items)
    found = regress_on_nearest(backend, *given, k).to_scipy().toarray()
    assert_allclose(found, expected_regressions(*given, k), atol=2e-5)


def test_regressions_on_everything_are_the_closed_form(backend, rng):
    x = (rng.random((90, 40)) < 0.5).astype(np.float64)
    norms = np.sqrt((x * x).sum(axis=0) + 3)
    found = (x.T @ x / norms / norms[:, np.newaxis]).astype(np.float32)
    np.fill_diagonal(found, 0)
    weights = regress_on_nearest(backend, CSR.from_scipy(sp.csr_array(found)), 3 / norms**2, 40).to_scipy().toarray()
    assert_allclose((weights * norms[:, np.newaxis] / norms).T, reference.linear_autoencoder(x, 3.0), atol=2e-5)


def test_what_one_side_stores_counts_for_both(backend, rng):
    correlations, floors = correlations_of(rng, 30, kept=9)
    assert not np.array_equal(*(part.to_scipy().toarray() for part in (correlations, correlations.transpose())))
    found = regress_on_nearest(backend, correlations, floors, 5).to_scipy().toarray()
    assert_allclose(found, expected_regressions(correlations, floors, 5), rtol=1e-4, atol=2e-5)


def test_correlations_that_cannot_be_are_halved_until_they_can(backend):
    """Items 1 and 3 may both lack what they have in common, as no row has more entries."""
    entries = {(0, 1): 0.9, (0, 2): 0.8, (0, 3): 0.7, (1, 2): 0.99, (1, 4): 0.5, (2, 3): 0.99, (3, 4): 0.5, (4, 2): 0.1}
    impossible = np.zeros((5, 5), np.float32)
    for (row, column), correlation in entries.items():
        impossible[row, column] = correlation
        if (row, column) != (4, 2):
            impossible[column, row] = correlation
    correlations, floors = CSR.from_scipy(sp.csr_array(impossible)), np.full(5, 0.1, np.float32)
    assert_array_equal(correlations.row_counts(), 3)
    assert np.linalg.eigvalsh(impossible[1:4, 1:4] + np.eye(3)).min() < 0
    found = regress_on_nearest(backend, correlations, floors, 3).to_scipy().toarray()
    assert_allclose(found, expected_regressions(correlations, floors, 3), atol=1e-5)
    halved = impossible[1:4, 1:4] / 2 + np.eye(3)
    assert_allclose(found[0, 1:4], np.linalg.solve(halved, [0.9, 0.8, 0.7]), atol=1e-5)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.0])
def test_correlations_that_nothing_mends_are_refused(backend, value):
    full = np.full((4, 4), value, np.float32)
    np.fill_diagonal(full, 0)
    indptr = np.array([0, 3, 6, 9, 12], np.int64)
    ids = np.array([1, 2, 3, 0, 2, 3, 0, 1, 3, 0, 1, 2], np.int32)
    correlations = CSR(indptr, ids, full[full != 0], (4, 4))
    with pytest.raises(ValueError, match=r"^regress_on_nearest: correlations are (singular in float32|beyond 1)"):
        regress_on_nearest(backend, correlations, np.full(4, 0.5), 2)


def test_rows_shorter_than_what_is_kept_lack_nothing(backend):
    """Items 1 and 2 have nothing in common; whether that is known decides, for the floor is higher than it can be."""
    found = np.array([[0, 0.9, 0.9], [0.9, 0, 0], [0.9, 0, 0]], np.float32)
    given = CSR.from_scipy(sp.csr_array(found)), np.full(3, 1, np.float32)
    assert_allclose(regress_on_nearest(backend, *given, 2, n_kept=3).row(0)[1], [0.9, 0.9], atol=1e-6)


def test_ties_for_the_last_place_go_to_smaller_ids(backend):
    level = CSR.from_scipy(sp.csr_array((np.ones((9, 9)) - np.eye(9)).astype(np.float32) / 2))
    found = regress_on_nearest(backend, level, np.full(9, 0.5), 3)
    assert_array_equal(found.indices.reshape(9, 3)[[0, 2, 8]], [[1, 2, 3], [0, 1, 3], [0, 1, 2]])


def test_items_come_block_by_block(backend, rng):
    given = correlations_of(rng, 25)
    whole = regress_on_nearest(backend, *given, 7).to_scipy().toarray()
    for first, n in ((0, 10), (10, 15), (24, 1), (25, 0)):
        part = regress_on_nearest(backend, *given, 7, first, n).to_scipy().toarray()
        assert_array_equal(part, whole[first : first + n])


def test_regressions_have_the_same_bits_at_any_number_of_threads(same_backends, rng):
    given = correlations_of(rng, 90, kept=40)
    first, *others = (regress_on_nearest(backend, *given, 20) for backend in same_backends)
    for other in others:
        assert_array_equal(other.values.view(np.int32), first.values.view(np.int32))


@given(seed=st.integers(0, 2**32), n_items=st.integers(0, 50), k=st.integers(1, 60), kept=st.integers(1, 60))
def test_regressions_of_any_data(seed, n_items, k, kept):
    correlations, floors = correlations_of(np.random.default_rng(seed), n_items, ridge=5.0, kept=kept)
    dense, n_kept = correlations.to_scipy().toarray(), longest(correlations)
    expected, is_near = reference.regressions_on_nearest(dense, floors, k, n_kept)
    assume(not is_near)
    for simd in _core.available_simd():
        found = regress_on_nearest(Backend(2, simd), correlations, floors, k)
        assert_allclose(found.to_scipy().toarray(), expected, rtol=1e-3, atol=1e-4)


def test_regressions_refuse_what_does_not_fit(backend, rng):
    kernel, context, (correlations, floors) = (
        backend.kernels.regress_on_nearest,
        backend.context,
        correlations_of(rng, 6),
    )
    indptr = np.concatenate([[0], np.cumsum(np.minimum(correlations.row_counts(), 2))])
    ids, values = backend.empty((indptr[-1],), np.int32), backend.empty((indptr[-1],))
    asked = {
        "correlations": backend.csr(correlations),
        "floors": floors,
        "n_kept": 6,
        "first": 0,
        "k": 2,
        "indptr": indptr,
        "ids": ids,
        "values": values,
    }
    oblong = backend.csr(reference.random_csr(rng, (4, 5), 0.5))
    for change, message in (
        ({"correlations": oblong}, "correlations has 4 rows but correlations has 5 columns"),
        ({"floors": floors[:-1]}, "floors has 5 entries but correlations has 6 rows"),
        ({"floors": floors + 1}, r"floors must be in \[0, 1\]"),
        ({"floors": floors * np.nan}, r"floors must be in \[0, 1\]"),
        ({"k": 0}, "k must be >= 1, got 0"),
        ({"k": 1}, "indptr must count the nearest"),
        ({"first": 1}, "there must be a row for each item"),
        ({"first": -1}, "there must be a row for each item"),
        ({"indptr": indptr[:0]}, "indptr must begin with 0"),
        ({"ids": ids[:-1]}, "ids has"),
        ({"values": values[:-1]}, "values has"),
    ):
        with pytest.raises(ValueError, match=f"^regress_on_nearest: {message}"):
            kernel(context, **{**asked, **change})


# ---- multiply_sparse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (20, 30, 64), (17, 40, 65), (9, 50, 300)]
)
def test_multiply_sparse_matches_reference(backend, rng, shape):
    n, m, d = shape
    x, b = reference.random_csr(rng, (n, m), 0.3), rng.standard_normal((m, d), dtype=np.float32)
    expected = x.to_scipy().astype(np.float64) @ b.astype(np.float64)
    assert_allclose(multiply_sparse(backend, x, b), expected, rtol=1e-4, atol=1e-4)


def test_multiply_sparse_has_the_same_bits_at_any_number_of_threads(same_backends, rng):
    x, b = CSR.from_scipy(sp.random_array((50, 80), density=0.3, rng=rng)), rng.standard_normal((80, 500))
    first, *others = (multiply_sparse(backend, x, b) for backend in same_backends)
    for other in others:
        assert_array_equal(other, first)


@given(seed=st.integers(0, 2**32), sides=st.tuples(st.integers(0, 20), st.integers(0, 30), st.integers(0, 140)))
def test_multiply_sparse_of_any_matrices(seed, sides):
    rng, (n, m, d) = np.random.default_rng(seed), sides
    x, b = reference.random_csr(rng, (n, m), 0.4), rng.integers(-9, 9, (m, d)).astype(np.float32)
    for simd in _core.available_simd():
        assert_array_equal(multiply_sparse(Backend(2, simd), x, b), x.to_scipy() @ b)


def test_shapes_that_disagree_are_refused(backend, rng):
    kernels, context = backend.kernels, backend.context
    x = backend.csr(reference.random_csr(rng, (4, 5), 0.5))
    with pytest.raises(ValueError, match=r"^sparse_gramian: by_row has 4 rows but by_column has 5 columns"):
        kernels.sparse_gramian(context, x, x, backend.empty((5, 5)))
    with pytest.raises(ValueError, match=r"^multiply_sparse: x has 5 columns but b has 4 rows"):
        kernels.multiply_sparse(context, x, backend.empty((4, 2)), backend.empty((4, 2)))
    for wrong in ((3, 2), (4, 3)):
        with pytest.raises(ValueError, match=r"^multiply_sparse: out has"):
            kernels.multiply_sparse(context, x, backend.empty((5, 2)), backend.empty(wrong))
