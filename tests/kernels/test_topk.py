"""topk and topk_scores against the reference, and the promises of the header."""

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


def as_bits(backend, ids, m):
    if ids is None:
        return None
    mask = np.zeros(m, bool)
    mask[np.asarray(ids, int)] = True
    return backend.asarray(np.packbits(mask, bitorder="little"), np.uint8)


def as_items(backend, items, scale=None, bias=None, order=None):
    """Item vectors for a search; with `order` also rounded, where the instruction set makes use of that."""
    given = [backend.asarray(items, np.asarray(items).dtype)]
    given += [None if values is None else backend.asarray(values) for values in (scale, bias)]
    plain = backend.items(*given)
    if order is None or not backend.context.has_int8:
        return plain
    kernels, (m, d) = backend.kernels, plain.shape
    tiles = backend.empty((kernels.quantized_groups(m), kernels.quantized_bytes(d)), np.uint8)
    extents, order = backend.empty((len(tiles), kernels.EXTENT_FLOATS)), backend.asarray(order, np.int32)
    groups = backend.asarray(np.arange(len(tiles)), np.int32)
    kernels.quantize_items(backend.context, plain, order, groups, tiles, extents)
    return backend.items(*given, (tiles, extents, order))


def topk(backend, queries, items, k, exclude=None, deny=None, allow=None, *, own=None, metric="inner_product", **given):
    if isinstance(items, np.ndarray) and items.dtype not in (np.float32, np.uint16, np.int8):
        items = items.astype(np.float32)
    vectors = as_items(backend, items, **given)
    ids, scores = backend.empty((len(queries), k), np.int32), backend.empty((len(queries), k))
    backend.kernels.topk(
        backend.context,
        backend.asarray(queries),
        vectors,
        getattr(backend.kernels.Score, metric),
        None if exclude is None else backend.csr(exclude),
        None if own is None else backend.csr(own),
        None if allow is None else backend.asarray(allow, np.int32),
        as_bits(backend, deny, len(items)),
        ids,
        scores,
    )
    return backend.to_numpy(ids), backend.to_numpy(scores)


def topk_scores(backend, all_scores, k, exclude=None, deny=None, allow=None):
    ids, scores = backend.empty((len(all_scores), k), np.int32), backend.empty((len(all_scores), k))
    allow = None if allow is None else backend.asarray(allow, np.int32)
    deny = as_bits(backend, deny, all_scores.shape[1])
    excluded = None if exclude is None else backend.csr(exclude)
    backend.kernels.topk_scores(backend.context, backend.asarray(all_scores), excluded, allow, deny, ids, scores)
    return backend.to_numpy(ids), backend.to_numpy(scores)


def whole_numbers(rng, shape):
    """Vectors whose dot products are exact in float32, with many ties."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def assert_same(result, expected):
    assert_array_equal(result[0], expected[0])
    assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("k", [1, 10, 49, 50, 51, 200], ids="k={}".format)
@pytest.mark.parametrize("d", [1, 7, 16, 33], ids="d={}".format)
def test_topk_matches_reference_exactly_with_ties(backend, rng, d, k):
    queries, items = whole_numbers(rng, (37, d)), whole_numbers(rng, (50, d))
    assert_same(topk(backend, queries, items, k), reference.top_k(queries @ items.T, k))


@pytest.mark.parametrize("n", [1, 8, 9, 1030], ids="n={}".format)
@pytest.mark.parametrize("n_items", [1, 31, 32, 33, 1000], ids="m={}".format)
def test_topk_matches_reference_at_every_edge_of_a_tile(backend, rng, n, n_items):
    queries, items = whole_numbers(rng, (n, 5)), whole_numbers(rng, (n_items, 5))
    assert_same(topk(backend, queries, items, 7), reference.top_k(queries @ items.T, 7))


@pytest.mark.parametrize("allow", [None, [1, 2, 40, 41, 99]], ids=["all", "allow"])
def test_topk_of_scaled_items_is_that_of_items_scaled_before(backend, rng, allow):
    """Scores of 0 included: the whole numbers have items and scales of 0."""
    queries, items = whole_numbers(rng, (37, 7)), whole_numbers(rng, (100, 7))
    scale = rng.integers(-1, 4, 100).astype(np.float32) / 2
    scaled = (scale[:, None] * items).astype(np.float32)
    result = topk(backend, queries, items, 20, allow=allow, scale=scale)
    assert_same(result, reference.top_k(queries @ scaled.T, 20, allow=allow))
    assert_same(result, topk(backend, queries, scaled, 20, allow=allow))


def vectors_of(kind, rng, shape):
    """Vectors that low precision tells apart badly, or not at all."""
    x = rng.standard_normal(shape)
    if kind == "ten orders of magnitude":
        x *= 10.0 ** rng.uniform(-5, 5, (shape[0], 1))
    elif kind == "ties":
        x = rng.integers(-1, 2, shape).astype(float)
    elif kind == "near duplicates":
        x = x[:1] + 1e-4 * x
    elif kind == "a few vectors":
        x = x[rng.integers(0, 3, shape[0])]
    elif kind == "one dominant dimension":
        x[:, 0] *= 1e6
    elif kind == "zeros":
        x[rng.random(shape[0]) < 0.7] = 0
    elif kind == "subnormal":
        x *= 1e-40
    elif kind == "tiny":
        x *= 1e-25
    elif kind == "huge":
        x *= 1e30
    return x.astype(np.float32)


KINDS = (
    "normal", "ten orders of magnitude", "ties", "near duplicates", "a few vectors", "one dominant dimension", "zeros",
    "subnormal", "tiny", "huge",
)  # fmt: skip


def orders(rng, items):
    """Ways to hand over items: as they are, and rounded before, the longest first or in any order."""
    lengths = np.square(items.astype(np.float64)).sum(axis=1)
    return [None, np.argsort(-lengths, kind="stable"), rng.permutation(len(items))]


@pytest.mark.parametrize("n", [3, 70], ids="n={}".format)  # items as they are are multiplied one by one, and rounded
@pytest.mark.parametrize("kind", KINDS)
def test_topk_is_exact_whatever_the_vectors(rng, kind, n):
    """The order of float64 inner products rounded to float32, bitwise the same on every instruction set."""
    for d, m, k in ((33, 11_000, 10), (64, 5500, 1), (256, 3000, 60)):
        queries, items = vectors_of(kind, rng, (n, d)), vectors_of(kind, rng, (m, d))
        exclude = reference.random_csr(rng, (n, m), 0.02)
        scale = None if k == 1 else rng.uniform(0, 2, m).astype(np.float32)
        expected = reference.top_k(reference.inner_products(queries, items, scale), k, exclude)
        for simd in _core.available_simd():
            for n_threads, order in zip((1, 2, 3), orders(rng, items), strict=True):
                backend = Backend(n_threads, simd)
                assert_same(topk(backend, queries, items, k, exclude, scale=scale, order=order), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_topk_with_biases_and_of_distances_is_exact_whatever_the_vectors(rng, kind):
    queries, items = vectors_of(kind, rng, (70, 40)), vectors_of(kind, rng, (9000, 40))
    scale = rng.uniform(0, 2, 9000).astype(np.float32)
    typical = np.clip(np.abs(items[:, 1].astype(float) * queries[3, 1]), 0, 1e36)
    bias = (rng.standard_normal(9000) * typical).astype(np.float32)
    squares = np.square(scale.astype(np.float64)) * np.square(items.astype(np.float64)).sum(axis=1)
    halves = (-0.5 * squares).clip(-3e38).astype(np.float32)
    scored = reference.top_k(reference.inner_products(queries, items, scale, bias), 9)
    apart = reference.top_k(reference.negated_distances(queries, items, scale), 9)
    for simd in _core.available_simd():
        for n_threads, order in zip((1, 2, 3), orders(rng, items), strict=True):
            backend = Backend(n_threads, simd)
            assert_same(topk(backend, queries, items, 9, scale=scale, bias=bias, order=order), scored)
            if kind != "huge":  # squares beyond float32
                result = topk(backend, queries, items, 9, metric="distance", scale=scale, bias=halves, order=order)
                assert_same(result, apart)


@pytest.mark.parametrize("n", [2, 70], ids="n={}".format)
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_topk_of_stored_vectors_is_that_of_what_is_stored(rng, dtype, n):
    queries, scale = vectors_of("normal", rng, (n, 40)), rng.uniform(0, 2, 9000).astype(np.float32)
    if dtype == "int8":
        stored = rng.integers(-127, 128, (9000, 40)).astype(np.int8)
        items = stored.astype(np.float32)
    else:
        stored = (vectors_of("normal", rng, (9000, 40)).view(np.uint32) >> 16).astype(np.uint16)
        items = (stored.astype(np.uint32) << 16).view(np.float32)
    allow = np.arange(0, 9000, 3)
    for simd in _core.available_simd():
        backend = Backend(2, simd)
        for order in orders(rng, items):
            expected = topk(backend, queries, items, 9, scale=scale)
            assert_same(topk(backend, queries, stored, 9, scale=scale, order=order), expected)
        expected = topk(backend, queries, items, 9, allow=allow, scale=scale)
        assert_same(topk(backend, queries, stored, 9, allow=allow, scale=scale), expected)
    assert_same(expected, reference.top_k(reference.inner_products(queries, items, scale), 9, None, None, allow))


@pytest.mark.parametrize("n_alike", [20, 64, 130])
def test_topk_is_exact_where_a_sample_misleads(backend, rng, n_alike):
    """The best lie together, where they all are in the sample, and where there are too few others for k."""
    items = 0.01 * vectors_of("normal", rng, (20_000, 64))
    queries = vectors_of("normal", rng, (3, 64))
    items[:n_alike] = queries[0] * rng.uniform(0.999, 1, (n_alike, 1)).astype(np.float32)
    everything = np.arange(len(items))
    exclude = CSR.from_scipy(sp.csr_array((everything % 3 == 0) & (np.arange(3) < 2)[:, np.newaxis], dtype=np.float32))
    for k in (40, 100):
        expected = reference.top_k(reference.inner_products(queries, items), k)
        assert_same(topk(backend, queries, items, k, order=everything), expected)
        expected = reference.top_k(reference.inner_products(queries, items), k, exclude, deny=everything[15_000:])
        assert_same(topk(backend, queries, items, k, exclude, everything[15_000:], order=everything), expected)


@pytest.mark.parametrize("more", [0, 31, 63, 64, 65, 1023])
def test_topk_is_exact_around_the_runs_of_a_sample(backend, rng, more):
    """A run of 64 items in 1,024 is not scanned again; the best lie on both sides of its ends, and at the very end."""
    items, queries = vectors_of("normal", rng, (16 * 1024 + more, 200)), vectors_of("normal", rng, (5, 200))
    ends = np.concatenate([start + np.array([-1, 0, 1, 62, 63, 64, 65]) for start in range(1024, 16 * 1024, 1024)])
    best = np.concatenate([ends, [0, 63, 64], np.arange(len(items) - 70, len(items))])
    items[best] = 3 * queries[rng.integers(0, 5, best.size)] + 0.1 * items[best]
    for k in (33, 100):
        expected = reference.top_k(reference.inner_products(queries, items), k)
        assert_same(topk(backend, queries, items, k, order=np.arange(len(items))), expected)


@given(st.data())
def test_topk_is_exact_for_any_mixture_of_vectors(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # From 32 on, thresholds begin with those of a sample.
    n, d, k = data.draw(st.integers(3, 70)), data.draw(st.integers(1, 70)), data.draw(st.integers(1, 50))
    least = 8192 * (32 + k) // d if d > 30 else 50  # so many are rounded
    m = data.draw(st.integers(least, least + 900))
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    pick = rng.integers(0, len(kinds), (m, 1))
    items = np.choose(pick, [vectors_of(kind, rng, (m, d)) for kind in kinds])
    queries = vectors_of(data.draw(st.sampled_from(KINDS)), rng, (n, d))
    bias = data.draw(st.sampled_from([None, rng.standard_normal(m).astype(np.float32)]))
    order = data.draw(st.sampled_from(orders(rng, items)))
    expected = reference.top_k(reference.inner_products(queries, items, None, bias), k)
    for simd in _core.available_simd():
        backend = Backend(data.draw(st.integers(1, 3)), simd)
        assert_same(topk(backend, queries, items, k, bias=bias, order=order), expected)


@pytest.mark.parametrize("with_deny", [False, True], ids=["", "deny"])
@pytest.mark.parametrize("with_allow", [False, True], ids=["", "allow"])
def test_topk_ranks_the_candidates_of_each_query(backend, rng, with_deny, with_allow):
    queries, items = whole_numbers(rng, (60, 6)), whole_numbers(rng, (333, 6))
    own, exclude = reference.random_csr(rng, (60, 333), 0.2), reference.random_csr(rng, (60, 333), 0.2)
    deny = np.flatnonzero(rng.random(333) < 0.2) if with_deny else None
    allow = np.flatnonzero(rng.random(333) < 0.5) if with_allow else None
    scores = np.where(own.to_scipy().toarray() > 0, queries @ items.T, -np.inf).astype(np.float32)
    expected = reference.top_k(scores, 20, exclude, deny, allow)
    assert_same(topk(backend, queries, items, 20, exclude, deny, allow, own=own), expected)


def test_topk_denies_most_items_or_the_best(backend, rng):
    queries, items = whole_numbers(rng, (70, 64)), whole_numbers(rng, (9000, 64))
    scores = queries @ items.T
    best = np.unique(np.argsort(-scores, axis=1)[:, :20])
    for deny in (best, np.setdiff1d(np.arange(9000), best[:50]), np.arange(9000)):
        expected = reference.top_k(scores, 10, None, deny)
        for order in (None, np.arange(9000)):
            assert_same(topk(backend, queries, items, 10, None, deny, order=order), expected)


def test_quantize_items_rounds_the_groups_named_alone(rng):
    items = rng.standard_normal((150, 70), dtype=np.float32)
    for simd in _core.available_simd():
        backend = Backend(2, simd)
        if not backend.context.has_int8:
            with pytest.raises(ValueError, match="quantize_items: this instruction set has no products of int8"):
                backend.kernels.quantize_items(
                    backend.context, backend.items(items), np.arange(150, dtype=np.int32), np.zeros(1, np.int32),
                    np.zeros((5, 4096), np.uint8), np.zeros((5, 6), np.float32),
                )  # fmt: skip
            continue
        tiles, extents = np.zeros((5, 4096), np.uint8), np.zeros((5, 6), np.float32)
        order, some = rng.permutation(150).astype(np.int32), np.array([1, 4], np.int32)
        backend.kernels.quantize_items(backend.context, backend.items(items), order, some, tiles, extents)
        assert_array_equal(np.flatnonzero(tiles.any(axis=1)), some)
        for group in some:
            rows = items[order[32 * group : 32 * group + 32]]
            whole = tiles[group].reshape(2, 32, 64).transpose(1, 0, 2).reshape(32, 128)
            levels = whole[: len(rows), :70].astype(int) - 128
            assert (whole[:, 70:] == 128).all()
            step, inverse, length, error, _, _ = extents[group]
            assert step == pytest.approx(np.abs(rows).max() / 127, rel=1e-6)
            assert inverse == pytest.approx(1 / step, rel=1e-6)
            assert np.abs(rows - step * levels).max() <= 0.501 * step
            assert np.linalg.norm(rows, axis=1).max() <= length <= 1.01 * np.linalg.norm(rows, axis=1).max()
            rest = np.linalg.norm(rows - step * levels, axis=1).max()
            assert rest <= error <= 1.01 * rest


@pytest.mark.parametrize("n", [5000, 70, 3], ids="n={}".format)
def test_topk_of_many_items_is_exact(rng, n):
    """More than a scan takes at once; threads share the queries or, where these are few, the items."""
    queries, items = vectors_of("normal", rng, (n, 16)), vectors_of("normal", rng, (300_000, 16))
    queries[1] = 0
    for simd in _core.available_simd():
        if simd == "scalar":
            continue  # minutes
        ids, scores = topk(Backend(2, simd), queries, items, 10)
        rows = np.append(rng.choice(n, min(n, 40), replace=False), 1)
        expected = reference.top_k(reference.inner_products(queries[rows], items), 10)
        assert_same((ids[rows], scores[rows]), expected)


@pytest.mark.parametrize("with_exclude", [False, True], ids=["", "exclude"])
@pytest.mark.parametrize("with_deny", [False, True], ids=["", "deny"])
@pytest.mark.parametrize("with_allow", [False, True], ids=["", "allow"])
@pytest.mark.parametrize("kernel", ["topk", "topk_scores"])
def test_topk_excludes_before_selecting(backend, rng, kernel, with_exclude, with_deny, with_allow):
    queries, items = whole_numbers(rng, (60, 6)), whole_numbers(rng, (333, 6))
    exclude = reference.random_csr(rng, (60, 333), 0.4) if with_exclude else None
    deny = np.flatnonzero(rng.random(333) < 0.3) if with_deny else None
    allow = np.flatnonzero(rng.random(333) < 0.3) if with_allow else None
    scores = queries @ items.T
    expected = reference.top_k(scores, 40, exclude, deny, allow)
    if kernel == "topk":
        assert_same(topk(backend, queries, items, 40, exclude, deny, allow), expected)
    else:
        assert_same(topk_scores(backend, scores, 40, exclude, deny, allow), expected)


def test_topk_gives_empty_slots_and_never_an_excluded_item(backend, rng):
    queries, items = whole_numbers(rng, (3, 4)), whole_numbers(rng, (5, 4))
    exclude = CSR.from_arrays([0, 5, 9, 9], [0, 1, 2, 3, 4, 0, 1, 2, 4], np.ones(9), (3, 5))
    ids, scores = topk(backend, queries, items, 4, exclude)
    assert_array_equal(ids[0], [-1, -1, -1, -1])
    assert_array_equal(ids[1], [3, -1, -1, -1])
    assert np.all(ids[2] >= 0)
    assert_array_equal(np.isneginf(scores), ids == -1)


@pytest.mark.parametrize(("deny", "allow"), [(None, []), ([0, 1, 2], None), ([1], [1])])
def test_topk_without_candidates_is_all_empty(backend, rng, deny, allow):
    ids, scores = topk(backend, whole_numbers(rng, (2, 4)), whole_numbers(rng, (3, 4)), 2, None, deny, allow)
    assert np.all(ids == -1)
    assert np.all(np.isneginf(scores))


def test_topk_without_queries_items_or_factors(backend):
    empty = np.empty
    assert topk(backend, empty((0, 4)), empty((3, 4)), 2)[0].shape == (0, 2)
    assert np.all(topk(backend, np.ones((2, 4)), empty((0, 4)), 2)[0] == -1)
    ids, scores = topk(backend, empty((2, 0)), empty((3, 0)), 2)
    assert_array_equal(ids, [[0, 1], [0, 1]])
    assert np.all(scores == 0)


def test_topk_with_equal_scores_gives_the_smallest_ids(backend):
    ids, _ = topk(backend, np.ones((9, 3)), np.ones((5000, 3)), 100)
    assert_array_equal(ids, np.tile(np.arange(100), (9, 1)))


def test_topk_treats_zero_and_minus_zero_as_equal(backend):
    scores = np.array([[-0.0, 0.0, -0.0, 0.0, -1.0]], np.float32)
    ids, found = topk_scores(backend, scores, 5)
    assert_array_equal(ids, [[0, 1, 2, 3, 4]])
    assert not np.signbit(found[0, :4]).any()


def test_topk_handles_huge_and_tiny_values(backend):
    items = np.array([[1e30], [1e-30], [-1e30], [3e38], [0]], np.float32)
    assert_array_equal(
        topk(backend, np.array([[1.0], [1e-8], [-1]]), items, 5)[0][[0, 2]], [[3, 0, 1, 4, 2], [2, 4, 1, 0, 3]]
    )
    ids, scores = topk(backend, np.array([[1e20]]), items, 5)  # overflows to inf, a tie, and to -inf, no candidate
    assert_array_equal(ids, [[0, 3, 1, 4, -1]])
    assert_array_equal(scores[0, :2], [np.inf, np.inf])


def test_topk_never_selects_nan_or_minus_infinity(backend, rng):
    scores = whole_numbers(rng, (20, 700))
    scores[rng.random(scores.shape) < 0.5] = np.nan
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[rng.random(scores.shape) < 0.1] = np.inf
    scores[0] = np.nan
    for k in (3, 700):
        assert_same(topk_scores(backend, scores, k), reference.top_k(scores, k))


@pytest.mark.parametrize("n", [1, 7, 300], ids="n={}".format)
def test_topk_is_bitwise_the_same_at_any_thread_count_and_grouping(rng, n):
    queries = rng.standard_normal((n, 33), dtype=np.float32)
    items = rng.standard_normal((20_000, 33), dtype=np.float32)
    exclude = reference.random_csr(rng, (n, 20_000), 0.01)
    for simd in _core.available_simd():
        expected = topk(Backend(1, simd), queries, items, 25, exclude)
        for n_threads in (2, 3, 16):
            assert_same(topk(Backend(n_threads, simd), queries, items, 25, exclude), expected)
        for row in (0, n // 2, n - 1):
            one = topk(Backend(2, simd), queries[row : row + 1], items, 25, exclude.take_rows([row]))
            assert_same(one, (expected[0][row : row + 1], expected[1][row : row + 1]))


def test_topk_merges_pieces_of_the_items_that_are_smaller_than_k(rng):
    queries, items = whole_numbers(rng, (1, 64)), whole_numbers(rng, (20_000, 64))
    expected = reference.top_k(queries @ items.T, 15_000)
    for simd in _core.available_simd():
        assert_same(topk(Backend(8, simd), queries, items, 15_000), expected)


def test_topk_scores_do_not_depend_on_the_list_of_candidates(backend, rng):
    queries, items = rng.standard_normal((5, 20)), rng.standard_normal((400, 20))
    ids, scores = topk(backend, queries, items, 400)
    allow = np.sort(rng.choice(400, 150, replace=False))
    some_ids, some_scores = topk(backend, queries, items, 150, allow=allow)
    for row in range(5):
        kept = np.isin(ids[row], allow)
        assert_array_equal(some_ids[row], ids[row][kept])
        assert_array_equal(some_scores[row], scores[row][kept])


@given(st.data())
def test_topk_scores_matches_reference_for_any_input(data):
    n, m = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 600))
    values = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, np.nan, np.inf, -np.inf, 1e-45, 3.4e38])
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    choices = np.array(data.draw(st.lists(values, min_size=1, max_size=6)), np.float32)
    scores = rng.choice(choices, (n, m))
    k = data.draw(st.integers(1, m + 3))
    exclude = data.draw(st.none() | st.just(reference.random_csr(rng, (n, m))))
    deny = data.draw(st.none() | st.lists(st.integers(0, m - 1), unique=True).map(sorted))
    allow = data.draw(st.none() | st.lists(st.integers(0, m - 1), unique=True).map(sorted))
    for simd in _core.available_simd():
        assert_same(
            topk_scores(Backend(1, simd), scores, k, exclude, deny, allow),
            reference.top_k(scores, k, exclude, deny, allow),
        )


@given(st.data())
def test_topk_matches_reference_for_any_input(data):
    n, m, d = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 200)), data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    queries, items = whole_numbers(rng, (n, d)), whole_numbers(rng, (m, d))
    k = data.draw(st.integers(1, m + 3))
    exclude = data.draw(st.none() | st.just(reference.random_csr(rng, (n, m))))
    deny = data.draw(st.none() | st.lists(st.integers(0, m - 1), unique=True).map(sorted))
    allow = data.draw(st.none() | st.lists(st.integers(0, m - 1), unique=True).map(sorted))
    n_threads = data.draw(st.integers(1, 3))
    for simd in _core.available_simd():
        assert_same(
            topk(Backend(n_threads, simd), queries, items, k, exclude, deny, allow),
            reference.top_k(queries @ items.T, k, exclude, deny, allow),
        )


@pytest.mark.parametrize("allow", [None, "last"], ids=["all", "allow"])
def test_topk_of_items_beyond_2_to_the_31_factors(vast, allow):
    """Rows at offsets that no 32-bit number holds; shape arithmetic, of which one backend tells enough."""
    last = len(vast) - 1
    vast[last, -1], vast[last - 2, -1] = 2, 1
    query = np.zeros((1, vast.shape[1]), np.float32)
    query[0, -1] = 3
    listed = None if allow is None else np.array([0, last - 2, last])
    ids, scores = topk(Backend(2), query, vast, 3, allow=listed)
    assert_array_equal(ids, [[last, last - 2, 0]])
    assert_array_equal(scores, [[6, 3, 0]])


def test_topk_of_queries_beyond_2_to_the_31_factors(vast):
    vast[-1, -1], vast[-3, -1] = 2, 1
    items = np.zeros((3, vast.shape[1]), np.float32)
    items[1, -1], items[2, -1] = 1, -1
    ids, scores = topk(Backend(2), vast, items, 1)
    assert_array_equal(ids[-4:, 0], [0, 1, 0, 1])
    assert_array_equal(scores[-4:, 0], [0, 1, 0, 2])
    assert not scores[:-4].any()


def test_topk_refuses_wrong_shapes_and_lists(backend):
    queries, items = np.ones((2, 3)), np.ones((4, 3))
    with pytest.raises(ValueError, match="topk: queries has 3 columns but items has 2 columns"):
        topk(backend, queries, np.ones((4, 2)), 1)
    with pytest.raises(ValueError, match="topk: ids must have at least one column"):
        topk(backend, queries, items, 0)
    with pytest.raises(ValueError, match="topk: exclude has 1 rows but queries has 2 rows"):
        topk(backend, queries, items, 1, CSR.from_arrays([0, 0], [], [], (1, 4)))
    with pytest.raises(ValueError, match="topk: exclude has 5 columns but the catalogue has 4 items"):
        topk(backend, queries, items, 1, CSR.from_arrays([0, 0, 0], [], [], (2, 5)))
    with pytest.raises(ValueError, match="topk: scale has 3 entries but items has 4 rows"):
        topk(backend, queries, items, 1, scale=np.ones(3))
    with pytest.raises(ValueError, match="topk: deny has 2 bytes but the catalogue has 1 bytes of bits"):
        backend.kernels.topk(
            backend.context,
            backend.asarray(queries),
            as_items(backend, items.astype(np.float32)),
            backend.kernels.Score.inner_product,
            *(None, None, None),
            backend.asarray([0, 0], np.uint8),
            backend.empty((2, 1), np.int32),
            backend.empty((2, 1)),
        )
    with pytest.raises(ValueError, match=r"topk: allow must rise strictly inside \[0, 4\), got 1"):
        topk(backend, queries, items, 1, allow=[2, 1])
    with pytest.raises(ValueError, match=r"topk_scores: allow must rise strictly inside \[0, 4\), got -1"):
        topk_scores(backend, np.ones((2, 4)), 1, allow=[-1])


def test_topk_refuses_wrong_dtypes(backend):
    scores = backend.asarray(np.ones((2, 4)))
    with pytest.raises(TypeError):
        backend.kernels.topk_scores(
            backend.context, scores, None, None, None, backend.empty((2, 1), np.int64), backend.empty((2, 1))
        )
    items = as_items(backend, np.ones((2, 4), np.float32))
    with pytest.raises(TypeError):
        backend.kernels.topk(
            backend.context,
            scores.astype(np.float64),
            items,
            backend.kernels.Score.inner_product,
            *(None, None, None, None),
            backend.empty((2, 1), np.int32),
            backend.empty((2, 1)),
        )
    with pytest.raises(TypeError):
        backend.items(np.ones((2, 4)))


@pytest.mark.parametrize("d", [2**15, 2**15 + 1], ids="d={}".format)
def test_topk_of_the_longest_rounded_vectors_is_exact(d):
    """Sums of products that come as near to the ends of int32 as they may, and vectors too long to be rounded."""
    signs = np.where(np.arange(70) % 3 == 0, -1, 1).astype(np.float32)
    items = np.broadcast_to(signs[:, np.newaxis], (70, d)) * np.linspace(1, 0.75, 70, dtype=np.float32)[:, np.newaxis]
    queries, bias = np.array([[1], [-1], [0.5]], np.float32) * np.ones(d, np.float32), np.linspace(-2, 2, 70)
    for simd in _core.available_simd():
        backend = Backend(2, simd)
        for order in (None, np.arange(70)) if d <= _core.MOST_QUANTIZED_DEPTH else (None,):
            for shift in (None, bias.astype(np.float32)):
                scores = reference.inner_products(queries, items, bias=shift)
                expected = reference.top_k(scores, 5)
                assert_same(topk(backend, queries, items, 5, order=order, bias=shift), expected)


def test_topk_leaves_out_the_excluded_items_alone(rng):
    """The best are excluded; what comes next has ids that differ from theirs by multiples of 512."""
    queries, first = rng.standard_normal((70, 64), dtype=np.float32), rng.standard_normal((512, 64), dtype=np.float32)
    items = np.concatenate([first * np.float32(1 - times / 16) for times in range(12)])
    scores = reference.inner_products(queries, items)
    best = np.sort(np.argsort(-scores, axis=1)[:, :6], axis=1)
    exclude = CSR.from_arrays(np.arange(0, best.size + 1, 6), best.ravel(), np.ones(best.size), scores.shape)
    expected = reference.top_k(scores, 8, exclude)
    for simd in _core.available_simd():
        for order in (None, rng.permutation(len(items))):
            assert_same(topk(Backend(2, simd), queries, items, 8, exclude, order=order), expected)
