"""Epochs over ratings against the reference, and the promises of their header."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR

MEAN, RATE, PENALTY = 3.0, 0.02, 0.1
WIDTHS = [16, 32, 48, 64, 112, 128, 144]


def random_ratings(rng, shape, density=0.3):
    """Ratings -1 to 5, zeros among them."""
    stored = rng.random(shape) < density
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    values = rng.integers(-1, 6, offsets[-1]).astype(np.float32)
    return CSR(offsets, np.nonzero(stored)[1].astype(np.int32), values, shape)


def triples(matrix):
    return list(zip(matrix.row_numbers().tolist(), matrix.indices.tolist(), matrix.values.tolist(), strict=True))


class Model:
    """Vectors on a backend, and epochs on them."""

    def __init__(self, backend, shape, d=16, biases=True, scale=0.3, seed=1):
        rng = np.random.default_rng(seed)
        self.backend = backend
        self.users, self.items, self.implicit = (backend.normal(rng, (n, d), scale) for n in (*shape, shape[1]))
        self.user_biases, self.item_biases = (backend.normal(rng, (n if biases else 0,), scale) for n in shape)
        self.view = backend.kernels.RatingFactors(self.users, self.items, self.user_biases, self.item_biases)
        self.rule = backend.kernels.RatingRule(MEAN, RATE, PENALTY)

    def arrays(self):
        parts = (self.users, self.items, self.user_biases, self.item_biases, self.implicit)
        return [self.backend.to_numpy(array).copy() for array in parts]

    def epoch(self, x, n_blocks=1, seed=5, epoch=1):
        arranged = arrange(self.backend, x, n_blocks, seed)
        return self.backend.kernels.rating_epoch(self.backend.context, *arranged, self.rule, seed, epoch, self.view)

    def svdpp_epoch(self, x, seen=None):
        given = self.backend.csr(x)
        return self.backend.kernels.svdpp_epoch(
            self.backend.context, given, given if seen is None else self.backend.csr(seen), self.rule, self.view,
            self.implicit,
        )  # fmt: skip


def arrange(backend, x, n_blocks, seed=5):
    """Users, items, values and starts of a grid."""
    out = [backend.empty((x.nnz,), dtype) for dtype in (np.int32, np.int32, np.float32)]
    out.append(backend.empty((n_blocks**2 + 1,), np.int64))
    backend.kernels.arrange_ratings(backend.context, backend.csr(x), seed, n_blocks, *out)
    return out


def assert_close(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- arranging


@pytest.mark.parametrize("n_blocks", [1, 2, 7, 128])
def test_arrange_ratings_keeps_all_and_splits_users_and_items(backend, rng, n_blocks):
    x = random_ratings(rng, (40, 30))
    users, items, values, starts = (backend.to_numpy(array) for array in arrange(backend, x, n_blocks))
    assert sorted(zip(users.tolist(), items.tolist(), values.tolist(), strict=True)) == triples(x)
    assert starts[0] == 0
    assert starts[-1] == x.nnz
    cells = np.repeat(np.arange(n_blocks**2), np.diff(starts))
    for ids, blocks in ((users, cells // n_blocks), (items, cells % n_blocks)):
        for block in range(n_blocks):
            assert not set(ids[blocks == block].tolist()) & set(ids[blocks != block].tolist())
    within = np.diff(cells) == 0
    assert (np.diff(users)[within] >= 0).all()
    if n_blocks == 2:
        assert np.bincount(cells // 2).min() > 0.3 * x.nnz
        assert np.bincount(cells % 2).min() > 0.3 * x.nnz


def test_arrange_ratings_draws_blocks_of_items_under_the_seed(backend, rng):
    x = random_ratings(rng, (40, 30))
    one, same, other = (backend.to_numpy(arrange(backend, x, 4, seed)[1]) for seed in (1, 1, 2))
    assert_array_equal(one, same)
    assert (one != other).any()


def test_n_rating_blocks_depends_on_the_data_alone(backend):
    n_blocks = backend.kernels.n_rating_blocks
    assert n_blocks(0, 0, 16) == n_blocks(1, 10**9, 16) == n_blocks(10**6, 100, 64) == 1
    assert n_blocks(1000, 10**8, 64) == 16
    assert n_blocks(100_000, 10**8, 64) == 49
    assert n_blocks(10**7, 10**10, 8192) == 128


# ---------------------------------------------------------------------- against the reference


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("d", WIDTHS, ids="d={}".format)
def test_rating_epoch_matches_reference(backend, rng, d, biases):
    x = random_ratings(rng, (20, 15))
    model = Model(backend, x.shape, d, biases)
    *before, _ = model.arrays()
    expected, squares = reference.rating_steps(triples(x), MEAN, RATE, PENALTY, *before)
    assert model.epoch(x) == pytest.approx(squares, rel=1e-5)
    assert_close(model.arrays()[:4], expected[:4])


def test_rating_epoch_takes_the_cells_in_turns_that_are_drawn(backend, rng):
    """With two blocks there are two orders, of which either comes in some epoch."""
    x = random_ratings(rng, (20, 15))
    users, items, values, starts = (backend.to_numpy(array) for array in arrange(backend, x, 2))
    listed = list(zip(users.tolist(), items.tolist(), values.tolist(), strict=True))
    cells = [listed[a:b] for a, b in pairwise(starts.tolist())]
    straight, crossed = cells[0] + cells[3], cells[1] + cells[2]
    seen = set()
    for epoch in range(12):
        model = Model(backend, x.shape)
        *before, _ = model.arrays()
        model.epoch(x, 2, epoch=epoch)
        errors = []
        for order in (straight + crossed, crossed + straight):
            expected, _ = reference.rating_steps(order, MEAN, RATE, PENALTY, *before)
            errors.append(max(np.abs(a - b).max() for a, b in zip(model.arrays()[:4], expected[:4], strict=True)))
        assert min(errors) < 1e-5 < max(errors)
        seen.add(int(np.argmin(errors)))
    assert seen == {0, 1}


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("d", WIDTHS, ids="d={}".format)
def test_svdpp_epoch_takes_the_steps_of_the_paper(backend, rng, d, biases):
    """The kernel moves each z once a user; the reference at every rating."""
    x = random_ratings(rng, (20, 15))
    model = Model(backend, x.shape, d, biases)
    *before, z = model.arrays()
    seen = [_row(x, u) for u in range(20)]
    expected, squares = reference.rating_steps(triples(x), MEAN, RATE, PENALTY, *before, implicit=(seen, z))
    assert model.svdpp_epoch(x) == pytest.approx(squares, rel=1e-5)
    assert_close(model.arrays(), expected)


def test_svdpp_epoch_takes_what_is_seen_from_another_matrix(backend, rng):
    """Ratings to be learned are some of those that are known, or none of them."""
    x, known = random_ratings(rng, (20, 15), 0.2), random_ratings(rng, (20, 15), 0.2)
    model = Model(backend, x.shape)
    *before, z = model.arrays()
    seen = [_row(known, u) for u in range(20)]
    assert [] in seen
    expected, squares = reference.rating_steps(triples(x), MEAN, RATE, PENALTY, *before, implicit=(seen, z))
    assert model.svdpp_epoch(x, known) == pytest.approx(squares, rel=1e-5)
    assert_close(model.arrays(), expected)


@pytest.mark.parametrize("d", WIDTHS, ids="d={}".format)
def test_implicit_sums_match_reference(backend, rng, d):
    x = random_ratings(rng, (20, 15), 0.1)
    z = rng.standard_normal((15, d)).astype(np.float32)
    out = backend.empty((20, d))
    backend.kernels.implicit_sums(backend.context, backend.csr(x), backend.asarray(z), out)
    expected = [z[_row(x, u)].sum(axis=0) / np.sqrt(max(1, len(_row(x, u)))) for u in range(20)]
    assert_allclose(backend.to_numpy(out), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("d", WIDTHS, ids="d={}".format)
def test_rating_fold_in_is_epochs_of_one_user_with_items_held(backend, rng, d, biases):
    x = random_ratings(rng, (20, 15))
    model = Model(backend, x.shape, d, biases)
    given, items, _, item_biases, _ = model.arrays()
    backend.kernels.rating_fold_in(backend.context, backend.csr(x), model.rule, 3, model.view)
    users, held, user_biases, held_biases, _ = model.arrays()
    assert_array_equal(held, items)
    assert_array_equal(held_biases, item_biases)
    vectors, found = given.astype(np.float64), np.zeros(20 if biases else 0)
    for u in range(20):
        own, bias = np.zeros(d), np.zeros(1 if biases else 0)
        for i, r in [(i, r) for v, i, r in triples(x) if v == u] * 3:
            rest = r - float(items[i].astype(np.float64) @ vectors[u]) - (float(item_biases[i]) if biases else 0)
            e = rest - MEAN - own @ items[i].astype(np.float64) - (bias[0] if biases else 0)
            own, bias = own + RATE * (e * items[i] - PENALTY * own), bias + RATE * (e - PENALTY * bias)
        vectors[u] += own
        if biases:
            found[u] = bias[0]
    assert_allclose(users, vectors, rtol=1e-4, atol=1e-5)
    assert_allclose(user_biases, found, rtol=1e-4, atol=1e-5)


def _row(x, u):
    return x.indices[x.indptr[u] : x.indptr[u + 1]].tolist()


# ---------------------------------------------------------------------- edges and promises


EDGES = {
    "no users": (0, 3, []),
    "no items": (3, 0, []),
    "nothing rated": (3, 4, []),
    "one rating": (1, 1, [(0, 0, 4.0)]),
    "a user without ratings": (3, 2, [(0, 0, 1.0), (0, 1, 0.0), (2, 1, -5.0)]),
    "one item": (4, 1, [(u, 0, float(u)) for u in range(4)]),
    "great values": (2, 2, [(0, 0, 1e15), (1, 1, -1e15)]),
    "tiny values": (2, 2, [(0, 0, 1e-30), (1, 1, 1e-42)]),
}


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize(("n_users", "n_items", "ratings"), EDGES.values(), ids=EDGES)
def test_epochs_of_edges(backend, n_users, n_items, ratings, n_blocks):
    counts = np.bincount([u for u, _, _ in ratings], minlength=n_users)
    x = CSR(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array([i for _, i, _ in ratings], np.int32),
        np.array([r for _, _, r in ratings], np.float32),
        (n_users, n_items),
    )
    seen = [[i for v, i, _ in ratings if v == u] for u in range(n_users)]
    for epoch in ("rating", "svdpp"):
        model = Model(backend, x.shape)
        *before, z = model.arrays()
        implicit = (seen, z) if epoch == "svdpp" else None
        listed = triples(x)
        if n_blocks > 1:  # in another order, which changes nothing where no two ratings share a side
            sides = [[t[side] for t in listed] for side in (0, 1)]
            if any(len(set(side)) < len(side) for side in sides):
                continue
        expected, squares = reference.rating_steps(listed, MEAN, RATE, PENALTY, *before, implicit=implicit)
        found = model.epoch(x, n_blocks) if implicit is None else model.svdpp_epoch(x)
        assert found == pytest.approx(squares, rel=1e-5)
        for one, other in zip(model.arrays()[: 4 if implicit is None else 5], expected, strict=False):
            assert_allclose(one, other, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(other).max(initial=0)))


@pytest.mark.parametrize("n_blocks", [1, 6])
def test_epochs_are_bitwise_the_same_on_any_number_of_threads(same_backends, rng, n_blocks):
    x = random_ratings(rng, (300, 100))
    found = []
    for backend in same_backends:
        model = Model(backend, x.shape, 64)
        squares = [model.epoch(x, n_blocks, epoch=epoch) for epoch in range(3)]
        squares.append(model.svdpp_epoch(x))
        backend.kernels.rating_fold_in(backend.context, backend.csr(x), model.rule, 3, model.view)
        found.append([np.array(squares), *model.arrays(), *map(backend.to_numpy, arrange(backend, x, n_blocks))])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            assert_array_equal(one, same)


@given(
    n_users=st.integers(1, 60), n_items=st.integers(1, 60), n_blocks=st.integers(1, 12), seed=st.integers(0, 2**32 - 1)
)
def test_every_rating_is_stepped_once_whatever_the_grid(n_users, n_items, n_blocks, seed):
    """Of vectors of zeros without penalty, biases of users move by their errors alone: each rating in its turn."""
    rng = np.random.default_rng(seed)
    x = random_ratings(rng, (n_users, n_items), 0.4)
    found = []
    for n_threads in (1, 3):
        backend = Backend(n_threads, _core.available_simd()[-1])
        model = Model(backend, x.shape, scale=0.0)
        rule = backend.kernels.RatingRule(MEAN, 2.0**-20, 0.0)
        arranged = arrange(backend, x, n_blocks, seed)
        squares = backend.kernels.rating_epoch(backend.context, *arranged, rule, seed, 7, model.view)
        found.append([squares, model.arrays()])
    errors = x.values.astype(np.float64) - MEAN
    assert found[0][0] == pytest.approx(float((errors**2).sum()), rel=1e-3, abs=1e-9)
    for ids, n, biases in ((x.row_numbers(), n_users, 2), (x.indices, n_items, 3)):
        sums = np.bincount(ids, errors, n) * 2.0**-20
        assert_allclose(found[0][1][biases], sums, atol=1e-8)
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert_array_equal(one, other)


# ---------------------------------------------------------------------- errors


def test_shapes_and_rules_are_checked(backend, rng):
    kernels, x = backend.kernels, random_ratings(rng, (6, 5))
    model = Model(backend, x.shape)
    other = Model(backend, (6, 4))
    arranged = arrange(backend, x, 2)
    ctx = backend.context

    def refused(message, call, *arguments):
        with pytest.raises(ValueError, match=message):
            call(ctx, *arguments)

    refused(
        r"rating_epoch: item_ids must be in \[0, 4\)", kernels.rating_epoch, *arranged, other.rule, 0, 0, other.view
    )
    for starts, message in (
        ([0, 1], "starts must rise from 0 to the number of ratings"),
        ([0, 1, 2], r"starts must have n\^2 \+ 1 entries for a grid of n by n"),
        ([0, 3, 2, 4, x.nnz], "starts must rise"),
        ([1, 3, 3, 4, x.nnz], "starts must rise"),
    ):
        given_starts = backend.asarray(starts, np.int64)
        refused(message, kernels.rating_epoch, *arranged[:3], given_starts, model.rule, 0, 0, model.view)
    refused(
        f"rating_epoch: user_ids has {x.nnz - 1} entries but values has {x.nnz} entries",
        kernels.rating_epoch, arranged[0][:-1], *arranged[1:], model.rule, 0, 0, model.view,
    )  # fmt: skip
    refused(r"n_blocks must be in \[1, 128\], got 0", kernels.arrange_ratings, backend.csr(x), 0, 0, *arranged)
    refused("the grid has 10 starts but starts has 5", kernels.arrange_ratings, backend.csr(x), 0, 3, *arranged)
    csr = backend.csr(x)
    refused("ratings has 5 columns but items has 4", kernels.svdpp_epoch, csr, csr, other.rule, other.view, other.items)
    refused(
        "implicit_items has 4 rows but items has 5", kernels.svdpp_epoch, csr, csr, model.rule, model.view, other.items
    )
    refused("implicit has 5 columns but implicit_items has 4", kernels.implicit_sums, csr, other.items, model.users)
    refused("ratings has 5 columns but items has 4", kernels.rating_fold_in, csr, other.rule, 1, other.view)
    for rule in ((np.nan, 0.1, 0.1), (0.0, 0.0, 0.1), (0.0, 0.1, -1.0), (0.0, 2.0, 0.5), (0.0, np.nan, 0.1)):
        refused("must be", kernels.rating_epoch, *arranged, kernels.RatingRule(*rule), 0, 0, model.view)
    uneven = [backend.zeros((n, 8)) for n in x.shape]
    view = kernels.RatingFactors(*uneven, model.user_biases, model.item_biases)
    refused("vectors must be padded to a multiple of 16", kernels.rating_fold_in, csr, model.rule, 1, view)
    view = kernels.RatingFactors(model.users, model.items, model.item_biases, model.item_biases)
    refused("users has 6 rows but user_biases has 5", kernels.rating_fold_in, csr, model.rule, 1, view)
