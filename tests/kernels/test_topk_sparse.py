"""topk_sparse against the reference, and the promises of the header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from numpy.testing import assert_array_equal

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR

EMPTY = ([0], [], [])


def topk_sparse(backend, queries, weights, k, exclude=None, deny=None, allow=None):
    ids, scores = backend.empty((queries.n_rows, k), np.int32), backend.empty((queries.n_rows, k))
    backend.kernels.topk_sparse(
        backend.context,
        backend.csr(queries),
        backend.csr(weights),
        None if exclude is None else backend.csr(exclude),
        None if allow is None else backend.asarray(allow, np.int32),
        None if deny is None else backend.asarray(bitmap(deny, weights.n_cols), np.uint8),
        ids,
        scores,
    )
    return backend.to_numpy(ids), backend.to_numpy(scores)


def bitmap(ids, n_items):
    return np.packbits(np.isin(np.arange(n_items), ids), bitorder="little")


def expected(queries, weights, k, exclude=None, deny=None, allow=None):
    return reference.top_k(reference.sparse_scores(queries, weights), k, exclude, deny, allow)


def csr(dense):
    """What is not NaN is stored, zeros too."""
    dense = np.asarray(dense, np.float32)
    stored = ~np.isnan(dense)
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    return CSR(offsets, np.nonzero(stored)[1].astype(np.int32), dense[stored], dense.shape)


def with_values(matrix, values):
    return CSR(matrix.indptr, matrix.indices, np.asarray(values, np.float32), matrix.shape)


def random_weights(rng, shape, n_each):
    """`n_each` random columns a row, with normally distributed values."""
    ids = np.sort(rng.integers(0, shape[1] - n_each + 1, (shape[0], n_each)), axis=1) + np.arange(n_each)
    values = rng.standard_normal(ids.size, dtype=np.float32)
    return CSR(np.arange(shape[0] + 1) * n_each, ids.ravel().astype(np.int32), values, shape)


def assert_same(result, wanted):
    assert_array_equal(result[0], wanted[0])
    assert_array_equal(result[1], wanted[1])


@pytest.mark.parametrize("k", [1, 10, 79, 80, 81, 300], ids="k={}".format)
@pytest.mark.parametrize("density", [0.01, 0.2, 0.5], ids="density={}".format)
def test_topk_sparse_matches_reference_exactly_with_ties(backend, rng, density, k):
    queries, weights = reference.random_csr(rng, (37, 50), density), reference.random_csr(rng, (50, 80), density)
    assert_same(topk_sparse(backend, queries, weights, k), expected(queries, weights, k))


def values_of(kind, rng, n):
    x = rng.standard_normal(n)
    if kind == "negative":
        x = -np.abs(x)
    elif kind == "ten orders of magnitude":
        x *= 10.0 ** rng.uniform(-5, 5, n)
    elif kind == "ties":
        x = rng.integers(-1, 2, n).astype(float)
    elif kind == "huge":
        x *= 1e30
    elif kind == "tiny":
        x *= 1e-25
    elif kind == "subnormal":
        x *= 1e-40
    elif kind == "cancelling":
        x = rng.choice([1e30, -1e30, 1.0, 1e-30, 0.0, -0.0], n)
    elif kind == "zeros":
        x = rng.choice([0.0, -0.0], n)
    return x.astype(np.float32)


KINDS = ("normal", "negative", "ten orders of magnitude", "ties", "huge", "tiny", "subnormal", "cancelling", "zeros")


@pytest.mark.parametrize("kind", KINDS)
def test_topk_sparse_is_exact_whatever_the_values(rng, kind):
    """The order of float64 sums rounded to float32, bitwise the same on every instruction set and number of threads."""
    queries, weights = reference.random_csr(rng, (60, 200), 0.1), reference.random_csr(rng, (200, 333), 0.05)
    queries = with_values(queries, values_of(kind, rng, queries.nnz))
    weights = with_values(weights, values_of(kind, rng, weights.nnz))
    exclude = reference.random_csr(rng, (60, 333), 0.05)
    wanted = expected(queries, weights, 20, exclude)
    for simd in _core.available_simd():
        for n_threads in (1, 2, 3):
            result = topk_sparse(Backend(n_threads, simd), queries, weights, 20, exclude)
            assert_same(result, wanted)
            assert not np.signbit(result[1][result[1] == 0]).any()


def test_topk_sparse_sums_by_rising_item(backend):
    """1e30 - 1e30 + 1 is 1, and 1 + 1e30 - 1e30 is 0: the order of the history's ids decides."""
    queries = csr([[1, 1, 1, np.nan], [np.nan, 1, 1, 1]])
    weights = csr([[1], [1e30], [-1e30], [1]])
    assert_same(topk_sparse(backend, queries, weights, 1), ([[0], [0]], [[0], [1]]))


def test_topk_sparse_takes_products_that_are_no_float32(backend):
    """(1 + e)^2 - 1 - 2e = e^2 is lost where products are rounded to float32."""
    e = 2.0**-20
    queries, weights = csr([[1 + e, 1]]), csr([[1 + e], [-1 - 2 * e]])
    assert_same(topk_sparse(backend, queries, weights, 1), ([[0]], [[e * e]]))


def test_topk_sparse_ranks_only_what_a_stored_weight_reaches(backend):
    """A stored zero is evidence, a sum of zero too; an item that nothing reaches fills no slot."""
    queries = csr([[1, 1, np.nan], [0, np.nan, np.nan], [-1, np.nan, np.nan], [np.nan, np.nan, 5], [np.nan] * 3])
    weights = csr([[np.nan, 2, np.nan, 0, np.nan], [np.nan, -2, np.nan, np.nan, np.nan], [np.nan] * 5])
    ids, scores = topk_sparse(backend, queries, weights, 3)
    assert_array_equal(ids, [[1, 3, -1], [1, 3, -1], [3, 1, -1], [-1, -1, -1], [-1, -1, -1]])
    assert_array_equal(scores[:3, :2], [[0, 0], [0, 0], [0, -2]])
    assert not np.signbit(scores[:2, :2]).any()
    assert_array_equal(np.isneginf(scores), ids == -1)


def test_topk_sparse_with_equal_scores_gives_the_smallest_ids(backend, rng):
    """Also where later rows of the weights reach smaller ids than earlier ones."""
    descending = sp.csr_array(np.kron(np.eye(50, dtype=np.float32)[::-1], np.ones((1, 100), np.float32)))
    weights = CSR.from_scipy(descending)
    queries = csr(np.ones((3, 50)))
    ids, scores = topk_sparse(backend, queries, weights, 130)
    assert_array_equal(ids, np.tile(np.arange(130), (3, 1)))
    assert np.all(scores == 1)


@pytest.mark.parametrize("with_exclude", [False, True], ids=["", "exclude"])
@pytest.mark.parametrize("with_deny", [False, True], ids=["", "deny"])
@pytest.mark.parametrize("with_allow", [False, True], ids=["", "allow"])
def test_topk_sparse_excludes_before_selecting(backend, rng, with_exclude, with_deny, with_allow):
    queries, weights = reference.random_csr(rng, (60, 100), 0.2), reference.random_csr(rng, (100, 333), 0.1)
    exclude = reference.random_csr(rng, (60, 333), 0.4) if with_exclude else None
    deny = np.flatnonzero(rng.random(333) < 0.3) if with_deny else None
    allow = np.flatnonzero(rng.random(333) < 0.3) if with_allow else None
    result = topk_sparse(backend, queries, weights, 40, exclude, deny, allow)
    assert_same(result, expected(queries, weights, 40, exclude, deny, allow))


@pytest.mark.parametrize(("deny", "allow"), [(None, []), (range(9), None), ([1], [1])], ids=["allow", "deny", "both"])
def test_topk_sparse_without_candidates_is_all_empty(backend, deny, allow):
    ids, scores = topk_sparse(backend, csr(np.ones((2, 4))), csr(np.ones((4, 9))), 2, None, deny, allow)
    assert np.all(ids == -1)
    assert np.all(np.isneginf(scores))


@pytest.mark.parametrize("n_items", [1, 7, 8, 9, 64, 65], ids="m={}".format)
def test_topk_sparse_reads_every_bit_of_deny(backend, n_items):
    """Bits beyond the last item are not read."""
    weights = csr(np.arange(n_items, dtype=np.float32)[np.newaxis])
    for denied in range(n_items):
        ids, _ = topk_sparse(backend, csr([[1]]), weights, n_items, None, [denied])
        assert_array_equal(ids[0, :-1], [item for item in range(n_items)[::-1] if item != denied])
    bits = backend.asarray(np.packbits(np.arange(-(-n_items // 8) * 8) >= n_items, bitorder="little"), np.uint8)
    ids, scores = backend.empty((1, n_items), np.int32), backend.empty((1, n_items))
    one, weights = backend.csr(csr([[1]])), backend.csr(weights)
    backend.kernels.topk_sparse(backend.context, one, weights, None, None, bits, ids, scores)
    assert_array_equal(backend.to_numpy(ids)[0], np.arange(n_items)[::-1])


def test_topk_sparse_of_nothing(backend):
    some = csr(np.ones((2, 3)))
    assert topk_sparse(backend, CSR.from_arrays(*EMPTY, (0, 3)), csr(np.ones((3, 4))), 2)[0].shape == (0, 2)
    for queries, weights in (
        (CSR.from_arrays([0, 0, 0], [], [], (2, 0)), CSR.from_arrays(*EMPTY, (0, 4))),
        (some, CSR.from_arrays([0] * 4, [], [], (3, 0))),
        (some, CSR.from_arrays([0] * 4, [], [], (3, 4))),
        (CSR.from_arrays([0, 0, 0], [], [], (2, 3)), csr(np.ones((3, 4)))),
    ):
        assert_same(topk_sparse(backend, queries, weights, 2), ([[-1, -1]] * 2, [[-np.inf, -np.inf]] * 2))


def test_topk_sparse_of_one_row_and_one_column(backend):
    assert_same(topk_sparse(backend, csr([[2]]), csr([[3]]), 1), ([[0]], [[6]]))
    assert_same(topk_sparse(backend, csr([[2, 1]]), csr([[3], [-7]]), 2), ([[0, -1]], [[-1, -np.inf]]))


def test_topk_sparse_handles_scores_beyond_float32(backend):
    """inf, a tie; to -inf, no candidate; and sums that pass float32 on their way."""
    queries, weights = csr([[1e20, 1e20]]), csr([[1e20, 3e38, -3e38, 3e38, 1], [np.nan, np.nan, np.nan, -3e38, np.nan]])
    ids, scores = topk_sparse(backend, queries, weights, 5)
    assert_array_equal(ids, [[0, 1, 4, 3, -1]])
    assert_array_equal(scores, [np.array([np.inf, np.inf, 1e20, 0, -np.inf], np.float32)])


def test_topk_sparse_never_selects_nan(backend):
    """The Python functions refuse NaN; a kernel that meets one has no candidate there, nor has the next query."""
    weights = CSR(np.array([0, 3, 6]), np.array([0, 1, 2] * 2, np.int32), np.ones(6, np.float32), (2, 3))
    weights = with_values(weights, [np.nan, 1, np.inf, 1, 2, -np.inf])
    queries = csr([[1, 1], [np.nan, 1]])
    ids, scores = topk_sparse(backend, queries, weights, 3)
    assert_array_equal(ids, [[1, -1, -1], [1, 0, -1]])
    assert_array_equal(scores[:, 0], [3, 2])


def test_topk_sparse_of_many_columns_and_long_histories(rng):
    """More columns than the sums of a thread cover, and queries long enough for threads to share."""
    m = 300_000
    weights = random_weights(rng, (3000, m), 100)
    long = rng.standard_normal((1, 3000))
    sparse = np.where(rng.random((6, 3000)) < 0.01, rng.standard_normal((6, 3000)), np.nan)
    queries = csr(np.concatenate([sparse, long, sparse[:2], -long]))
    exclude = random_weights(rng, (10, m), 1000)
    deny, allow = np.flatnonzero(rng.random(m) < 0.3), np.flatnonzero(rng.random(m) < 0.8)
    for given_lists in ((None, None, None), (exclude, deny, allow)):
        wanted = expected(queries, weights, 50, *given_lists)
        for simd in _core.available_simd():
            for n_threads in (1, 2, 3):
                assert_same(topk_sparse(Backend(n_threads, simd), queries, weights, 50, *given_lists), wanted)
        # Alone, a short history is summed over fewer columns at a time.
        excluded = None if given_lists[0] is None else given_lists[0].take_rows([1])
        one = topk_sparse(Backend(1), queries.take_rows([1]), weights, 50, excluded, *given_lists[1:])
        assert_same(one, (wanted[0][1:2], wanted[1][1:2]))


@pytest.mark.parametrize("n", [1, 7, 300], ids="n={}".format)
def test_topk_sparse_is_bitwise_the_same_at_any_thread_count_and_grouping(rng, n):
    queries, weights = random_weights(rng, (n, 500), 30), random_weights(rng, (500, 2000), 50)
    exclude = reference.random_csr(rng, (n, 2000), 0.01)
    for simd in _core.available_simd():
        wanted = topk_sparse(Backend(1, simd), queries, weights, 25, exclude)
        for n_threads in (2, 3, 16):
            assert_same(topk_sparse(Backend(n_threads, simd), queries, weights, 25, exclude), wanted)
        for row in (0, n // 2, n - 1):
            one = topk_sparse(Backend(2, simd), queries.take_rows([row]), weights, 25, exclude.take_rows([row]))
            assert_same(one, (wanted[0][row : row + 1], wanted[1][row : row + 1]))


@given(st.data())
def test_topk_sparse_matches_reference_for_any_input(data):
    n, h, m = (data.draw(st.integers(0, 30)), data.draw(st.integers(0, 40)), data.draw(st.integers(0, 150)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    densities = st.sampled_from([0.02, 0.2, 0.5])
    queries = reference.random_csr(rng, (n, h), data.draw(densities))
    weights = reference.random_csr(rng, (h, m), data.draw(densities))
    queries = with_values(queries, values_of(data.draw(st.sampled_from(KINDS)), rng, queries.nnz))
    weights = with_values(weights, values_of(data.draw(st.sampled_from(KINDS)), rng, weights.nnz))
    k = data.draw(st.integers(1, m + 3))
    exclude = data.draw(st.none() | st.just(reference.random_csr(rng, (n, m))))
    lists = st.none() | st.lists(st.integers(0, max(0, m - 1)), unique=True, max_size=m).map(sorted)
    deny, allow = data.draw(lists), data.draw(lists)
    n_threads = data.draw(st.integers(1, 3))
    wanted = expected(queries, weights, k, exclude, deny, allow)
    for simd in _core.available_simd():
        assert_same(topk_sparse(Backend(n_threads, simd), queries, weights, k, exclude, deny, allow), wanted)


def test_topk_sparse_refuses_wrong_shapes_and_lists(backend):
    queries, weights = csr(np.ones((2, 3))), csr(np.ones((3, 9)))
    with pytest.raises(ValueError, match="topk_sparse: queries has 3 columns but weights has 2 rows"):
        topk_sparse(backend, queries, csr(np.ones((2, 9))), 1)
    with pytest.raises(ValueError, match="topk_sparse: ids must have at least one column"):
        topk_sparse(backend, queries, weights, 0)
    with pytest.raises(ValueError, match="topk_sparse: exclude has 1 rows but queries has 2 rows"):
        topk_sparse(backend, queries, weights, 1, csr(np.ones((1, 9))))
    with pytest.raises(ValueError, match="topk_sparse: exclude has 8 columns but the catalogue has 9 items"):
        topk_sparse(backend, queries, weights, 1, csr(np.ones((2, 8))))
    for allow, wrong in (([9], 9), ([2, 1], 1), ([1, 1], 1), ([-1], -1)):
        with pytest.raises(ValueError, match=rf"topk_sparse: allow must rise strictly inside \[0, 9\), got {wrong}"):
            topk_sparse(backend, queries, weights, 1, allow=allow)


def test_topk_sparse_refuses_outputs_and_bitmaps_that_do_not_fit(backend):
    queries, weights = backend.csr(csr(np.ones((2, 3)))), backend.csr(csr(np.ones((3, 9))))

    def call(id_shape, score_shape, deny=None):
        ids, scores = backend.empty(id_shape, np.int32), backend.empty(score_shape)
        backend.kernels.topk_sparse(backend.context, queries, weights, None, None, deny, ids, scores)

    with pytest.raises(ValueError, match="topk_sparse: queries has 2 rows but ids has 3 rows"):
        call((3, 1), (3, 1))
    with pytest.raises(ValueError, match="topk_sparse: ids has 2 rows but scores has 1 rows"):
        call((2, 1), (1, 1))
    with pytest.raises(ValueError, match="topk_sparse: ids has 2 columns but scores has 1 columns"):
        call((2, 2), (2, 1))
    with pytest.raises(ValueError, match="topk_sparse: deny has 1 bytes but the catalogue has 2 bytes of bits"):
        call((2, 1), (2, 1), backend.asarray(np.zeros(1), np.uint8))
    with pytest.raises(TypeError):
        call((2, 1), (2, 1), backend.asarray(np.zeros(2), np.int32))
