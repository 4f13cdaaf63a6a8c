"""ranking_epoch and ranking_fold_in against the reference, and the promises of their header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chisquare

import reference
from likewise._backend import Backend
from likewise.data import CSR

LOSSES = ["bpr", "warp", "logistic"]
PAD = 16


def rule_of(backend, loss="bpr", sampling="uniform", n_candidates=1, rate=0.05, penalty=0.01, n_positives=1, order=1):
    kernels = backend.kernels
    return kernels.RankingRule(
        getattr(kernels.RankingLoss, loss),
        getattr(kernels.NegativeSampling, sampling),
        n_candidates,
        rate,
        penalty,
        n_positives,
        order,
    )


class Model:
    """Vectors on a backend, and epochs on them."""

    def __init__(self, backend, shape, d=PAD, seed=1, scale=0.5, biases=True):
        rng = np.random.default_rng(seed)
        self.backend = backend
        self.users, self.items = (backend.normal(rng, (n, d), scale) for n in shape)
        self.biases = backend.normal(rng, (shape[1] if biases else 0,), scale)

    def epoch(self, x, epoch=1, seed=5, **rule):
        return self.backend.kernels.ranking_epoch(
            self.backend.context, self.backend.csr(x), rule_of(self.backend, **rule), seed, epoch, self.counts(x),
            self.users, self.items, self.biases,
        )  # fmt: skip

    def counts(self, x):
        counts = np.bincount(x.indices, minlength=len(self.items))
        return self.backend.asarray(counts[: len(self.items)])

    def arrays(self):
        return [self.backend.to_numpy(array).copy() for array in (self.users, self.items, self.biases)]


def sparse(rows, n_items, value=1.0):
    """Rows of ids as a CSR."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    ids = np.array([i for row in rows for i in sorted(row)], np.int32)
    return CSR(indptr, ids, np.full(ids.size, value, np.float32), (len(rows), n_items))


def random_rows(rng, shape, density=0.1):
    dense = rng.random(shape) < density
    return sparse([np.flatnonzero(row).tolist() for row in dense], shape[1])


# ---------------------------------------------------------------------- against the reference


@pytest.mark.parametrize("d", [16, 32, 48, 64, 128, 256], ids="d={}".format)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
def test_epoch_matches_reference(backend, rng, loss, d, biases):
    """Of three items a user has two, so there is one negative for each."""
    missing = rng.integers(0, 3, 40)
    x = sparse([sorted({0, 1, 2} - {j}) for j in missing], 3)
    values = rng.random(x.nnz).astype(np.float32) + 0.5 if loss == "logistic" else x.values
    x = CSR(x.indptr, x.indices, values, x.shape)
    model = Model(backend, x.shape, d, scale=0.2, biases=biases)
    triples = [(u, int(i), [int(j)]) for u, j in enumerate(missing) for i in sorted({0, 1, 2} - {j})]
    expected = reference.ranking_steps(loss, triples, 0.05, 0.02, *model.arrays(), weights=values.tolist())
    counts = model.epoch(x, loss=loss, penalty=0.02)
    assert counts[1] == 0
    for found, wanted in zip(model.arrays(), expected if biases else [*expected[:2], np.empty(0)], strict=True):
        assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_epoch_takes_the_candidate_with_the_greatest_score(backend):
    """With as many draws as make sure of every item, the negative is the best of those unseen."""
    x = sparse([[0, 1]], 6)
    model = Model(backend, x.shape)
    before = model.arrays()
    # Of the two positives the first meets the scores of the start.
    scores = before[1] @ before[0][0] + before[2]
    model.epoch(x, n_candidates=200, rate=1e-4)
    moved = model.arrays()[2] - before[2] * (1 - 1e-6)
    assert int(np.argmin(moved)) == 2 + int(np.argmax(scores[2:]))


def test_warp_weighs_by_the_draws_it_took(backend):
    """Half of the items lie out of reach, so the first within it takes the first draw, or a later one."""
    n_items = 60
    x = sparse([[0]], n_items)
    steps = []
    for seed in range(400):
        model = Model(backend, x.shape, scale=0.0)
        biases = np.where(np.arange(n_items) % 2 == 0, 0.0, -9.0).astype(np.float32)
        model.biases[...] = backend.asarray(biases)
        model.epoch(x, seed=seed, loss="warp", n_candidates=32, rate=0.01, penalty=0.0)
        steps.append(float(model.arrays()[2][0] - biases[0]))
    draws = np.array([np.log(59 // t) * 0.01 for t in range(1, 33)])
    taken = np.argmin(np.abs(np.array(steps)[:, np.newaxis] - draws), axis=1)
    assert_allclose(np.array(steps), draws[taken], rtol=1e-3)
    expected = 29 / 59
    assert abs(np.mean(taken == 0) - expected) < 0.1
    assert abs(np.mean(taken == 1) - expected * (1 - expected)) < 0.1


def test_order_statistic_takes_the_kth_best_positive(backend):
    """Of positives with scores far apart, drawn so often that all are there, the worst or the best alone is moved."""
    x = sparse([[0, 1, 2]], 6)
    for order, expected in ((1, 2), (64, 0)):
        model = Model(backend, x.shape, scale=0.0)
        model.biases[...] = backend.asarray(np.array([1, 2, 3, 9, 9, 9], np.float32))
        model.epoch(x, loss="warp", n_candidates=8, rate=1e-3, penalty=0.0, n_positives=64, order=order)
        moved = model.arrays()[2] - np.array([1, 2, 3, 9, 9, 9])
        assert int(np.argmax(moved)) == expected
        assert_array_equal(np.delete(moved[:3], expected), 0)


# ---------------------------------------------------------------------- what is drawn


def _negatives(backend, x, n_epochs, sampling="uniform", seed=3):
    """How often each item was drawn: vectors of zeros and tiny steps move biases by a half each."""
    rate, counts = 2.0**-20, np.zeros(x.n_cols)
    model = Model(backend, x.shape, scale=0.0)
    for epoch in range(n_epochs):
        model.biases[...] = 0
        model.epoch(x, epoch, seed, sampling=sampling, rate=rate, penalty=0.0)
        counts += np.bincount(x.indices, minlength=x.n_cols) - model.arrays()[2] / (rate / 2)
    return np.rint(counts)


@pytest.mark.parametrize(
    ("n_users", "n_common"), [(200, 10), (4000, 0)], ids=["one block, common items", "many blocks"]
)
def test_uniform_negatives_are_drawn_alike_from_the_unseen(backend, rng, n_users, n_common):
    """What all users have is never drawn, and the others come alike."""
    n_items = 400
    rows = [[*range(n_common), *(n_common + rng.choice(n_items - n_common, 5, replace=False))] for _ in range(n_users)]
    counts = _negatives(backend, sparse(rows, n_items), 40_000 // n_users)
    assert_allclose(counts[:n_common], 0, atol=2)
    free = n_users - np.bincount(np.concatenate(rows), minlength=n_items)[n_common:]
    drawn = counts[n_common:]
    assert chisquare(drawn, free / free.sum() * drawn.sum()).pvalue > 1e-4


def test_popular_negatives_are_drawn_in_proportion_to_their_users(backend, rng):
    n_users, n_items = 3000, 200
    popularity = np.where(np.arange(n_items) % 2 == 0, 0.08, 0.02)
    dense = rng.random((n_users, n_items)) < popularity
    x = sparse([np.flatnonzero(row).tolist() for row in dense], n_items)
    counts = _negatives(backend, x, 10, "popularity")
    ratio = counts[::2].sum() / counts[1::2].sum()
    assert 4 * 0.92 / 0.98 * 0.9 < ratio < 4 * 0.92 / 0.98 * 1.1


def test_entries_of_zero_are_neither_learned_nor_drawn(backend):
    """Only item 3 is left to be drawn, and only item 0 is a positive."""
    x = CSR(np.array([0, 3]), np.array([0, 1, 2], np.int32), np.array([1, 0, -2], np.float32), (1, 4))
    model = Model(backend, x.shape)
    before = model.arrays()[1]
    assert model.epoch(x)[1] == 0
    assert_array_equal((model.arrays()[1] != before).any(axis=1), [True, False, False, True])


# ---------------------------------------------------------------------- promises


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("options", [{}, {"n_candidates": 6}, {"sampling": "popularity"}, {"n_positives": 4}])
def test_bits_do_not_depend_on_threads(same_backends, rng, loss, options):
    x = random_rows(rng, (900, 700), 0.15)
    results = []
    for backend in same_backends:
        model = Model(backend, x.shape, 32)
        counts = [model.epoch(x, epoch, loss=loss, **options) for epoch in range(2)]
        results.append((counts, model.arrays()))
    for counts, arrays in results[1:]:
        assert counts == results[0][0]
        for found, wanted in zip(arrays, results[0][1], strict=True):
            assert_array_equal(found, wanted)


def test_every_positive_is_taken_once_an_epoch(backend, rng):
    """With items of zero and huge penalties of nothing, each entry moves its bias up by half a step, once."""
    x = random_rows(rng, (2000, 500), 0.1)
    counts = _negatives(backend, x, 1)
    assert_allclose(counts.sum(), x.nnz, rtol=1e-6)


def test_epochs_and_seeds_draw_anew(backend, rng):
    x = random_rows(rng, (50, 100))
    found = []
    for epoch, seed in ((1, 5), (2, 5), (1, 6), (1, 5)):
        model = Model(backend, x.shape)
        model.epoch(x, epoch, seed)
        found.append(model.arrays()[1])
    assert_array_equal(found[0], found[3])
    assert (found[0] != found[1]).any()
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("rows", "n_items"),
    [([], 5), ([[]], 5), ([[], []], 0), ([[0]], 1), ([[0, 1, 2]], 3), ([[], [1], []], 3)],
    ids=["no users", "one empty row", "no items", "one item", "all items", "empty rows"],
)
def test_epoch_edges(backend, loss, rows, n_items):
    """Where there is nothing to learn, or nothing to hold it against, nothing breaks; and rows without stay."""
    x = sparse(rows, n_items)
    model = Model(backend, x.shape)
    before = model.arrays()
    _, n_skipped = model.epoch(x, loss=loss)
    assert n_skipped == (x.nnz if n_items in (0, 1) or [0, 1, 2] in rows else 0)
    empty = np.flatnonzero(x.row_counts() == 0)
    assert_array_equal(model.arrays()[0][empty], before[0][empty])
    assert all(np.isfinite(array).all() for array in model.arrays())
    if n_skipped and loss != "logistic":
        assert_array_equal(model.arrays()[1], before[1])


def test_huge_scores_stay_finite(backend):
    x = sparse([[0, 1]] * 3, 6)
    for scale in (1e4, 1e-30):
        model = Model(backend, x.shape, scale=scale)
        for loss in LOSSES:
            model.epoch(x, loss=loss, rate=1e-6)
        assert all(np.isfinite(array).all() for array in model.arrays())


@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 300)),
    d=st.sampled_from([16, 48, 64]),
    loss=st.sampled_from(LOSSES),
    n_candidates=st.integers(1, 9),
    sampling=st.sampled_from(["uniform", "popularity"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_matrix_gives_the_same_bits_on_one_thread_and_two(shape, d, loss, n_candidates, sampling, seed):
    x = random_rows(np.random.default_rng(seed % 1000), shape, 0.3)
    results = []
    for n_threads in (1, 2):
        model = Model(Backend(n_threads), shape, d)
        counts = model.epoch(x, 1, seed, loss=loss, n_candidates=n_candidates, sampling=sampling)
        assert 0 <= counts[0] <= x.nnz
        assert 0 <= counts[1] <= x.nnz
        results.append(model.arrays())
    for one, other in zip(*results, strict=True):
        assert np.isfinite(one).all()
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": (4, 16)}, "by_user has 3 rows but users has 4 rows"),
        ({"items": (6, 16)}, "by_user has 5 columns but items has 6 rows"),
        ({"items": (5, 32)}, "users has 16 columns but items has 32 columns"),
        ({"users": (3, 15), "items": (5, 15)}, "multiple of 16"),
        ({"biases": (4,)}, "items has 5 rows but biases has 4 entries"),
        ({"n_candidates": 0}, r"n_candidates must be in \[1, 1024\], got 0"),
        ({"n_candidates": 1025}, "got 1025"),
        ({"rate": 0.0}, "learning_rate must be > 0"),
        ({"rate": 2.0, "penalty": 0.5}, "product < 1"),
        ({"order": 2}, "order in"),
    ],
)
def test_epoch_refuses(backend, change, message):
    model = Model(backend, (3, 5))
    change = dict(change)
    for name in ("users", "items", "biases"):
        if name in change:
            setattr(model, name, backend.zeros(change.pop(name)))
    with pytest.raises(ValueError, match=message):
        model.epoch(sparse([[0], [1], [2]], 5), **change)


# ---------------------------------------------------------------------- new users


def fold_in(backend, x, items, biases, *, iterations=30, seed=0, **rule):
    users = backend.empty((x.n_rows, items.shape[1]))
    counts = np.maximum(1, np.bincount(x.indices, minlength=x.n_cols)).astype(np.float32)
    backend.kernels.ranking_fold_in(
        backend.context, backend.csr(x), rule_of(backend, **rule), seed, iterations, backend.asarray(counts), items,
        biases, users,
    )  # fmt: skip
    return backend.to_numpy(users)


@pytest.mark.parametrize("loss", LOSSES)
def test_fold_in_matches_reference(backend, rng, loss):
    """Items held: the reference steps on a copy that is put back after each."""
    missing = rng.integers(0, 3, 10)
    x = sparse([sorted({0, 1, 2} - {j}) for j in missing], 3)
    model = Model(backend, x.shape, 32)
    _, items, biases = model.arrays()
    found = fold_in(backend, x, model.items, model.biases, iterations=4, loss=loss, rate=0.1)
    expected = np.zeros((10, 32))
    for u, j in enumerate(missing):
        for _ in range(4):
            for i in sorted({0, 1, 2} - {j}):
                for part in [[int(j)]] if loss != "logistic" else [[], [int(j)]]:
                    if loss == "logistic" and part:  # the negative's step alone
                        score = items[j].astype(np.float64) @ expected[u] + biases[j]
                        expected[u] = expected[u] * (1 - 0.1 * 0.01) - 0.1 * reference.logistic(score) * items[j]
                        continue
                    expected[[u]] = reference.ranking_steps(
                        loss, [(0, i, part)], 0.1, 0.01, expected[[u]], items, biases
                    )[0]
    assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_rows_get_equal_vectors(same_backends, rng, loss):
    x = random_rows(rng, (40, 60), 0.2)
    doubled = sparse([x.row(u)[0].tolist() for u in [*range(40), *range(39, -1, -1)]], 60)
    found = []
    for backend in same_backends:
        model = Model(backend, x.shape)
        found.append(fold_in(backend, doubled, model.items, model.biases, loss=loss, n_candidates=3))
    assert_array_equal(found[0][:40], found[0][:39:-1])
    for other in found[1:]:
        assert_array_equal(other, found[0])


def test_fold_in_of_nothing_is_zero(backend):
    model = Model(backend, (3, 5))
    assert_array_equal(fold_in(backend, sparse([[], [0], []], 5), model.items, model.biases)[[0, 2]], 0)
    assert fold_in(backend, sparse([], 5), model.items, model.biases).shape == (0, 16)


def test_fold_in_ranks_the_history_first(backend, rng):
    x = random_rows(rng, (20, 50), 0.1)
    model = Model(backend, x.shape, 64)
    vectors = fold_in(backend, x, model.items, model.biases, iterations=300, rate=0.1, penalty=0.0)
    scores = vectors @ model.arrays()[1].T + model.arrays()[2]
    seen = np.zeros(x.shape, bool)
    seen[x.row_numbers(), x.indices] = True
    for u in range(20):
        if seen[u].any():
            assert scores[u][seen[u]].min() > np.quantile(scores[u][~seen[u]], 0.9)
