"""fm_epoch against the reference, and the promises of its header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chisquare

import reference
from likewise._backend import Backend
from likewise.data import CSR

LOSSES = ["regression", "logistic", "bpr", "warp"]


def csr(dense):
    return CSR.from_scipy(sp.csr_array(np.asarray(dense, np.float64)))


def shifted(dense, first, n):
    """Features in columns from `first` on, of n."""
    out = np.zeros((dense.shape[0], n))
    out[:, first : first + dense.shape[1]] = dense
    return out


class Machine:
    """Features and a table on a backend, and epochs on them."""

    def __init__(self, backend, users, items, contexts=None, k=8, seed=1, scale=0.3):
        groups = [users, items] if contexts is None else [users, items, contexts]
        widths = [group.shape[1] for group in groups]
        n = sum(widths)
        self.sides = [shifted(group, sum(widths[:at]), n) for at, group in enumerate(groups)]
        self.backend, self.k = backend, k
        arrays = [csr(side) for side in self.sides]
        if contexts is None:
            arrays.append(CSR(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), (0, n)))
        self.csr = [backend.csr(array) for array in arrays]
        shape = (n, -(-(k + 1) // 16) * 16)
        self.vectors, self.squares = backend.zeros(shape), backend.zeros(shape)
        self.vectors[:, : k + 1] = backend.normal(np.random.default_rng(seed), (n, k + 1), scale)
        self.squares[...] = 1

    def epoch(
        self, x, epoch=1, seed=5, loss="bpr", within=True, n_candidates=None, batch=1 << 20, mean=0.0, rate=0.1,
        penalty=0.01,
    ):  # fmt: skip
        kernels = self.backend.kernels
        if n_candidates is None:
            n_candidates = 32 if loss == "warp" else 1
        rule = kernels.FmRule(getattr(kernels.FmLoss, loss), within, n_candidates, batch, mean, rate, penalty)
        return kernels.fm_epoch(
            self.backend.context, self.backend.csr(x), *self.csr, rule, seed, epoch, self.vectors, self.squares, self.k
        )

    def arrays(self):
        return [self.backend.to_numpy(array)[:, : self.k + 1].copy() for array in (self.vectors, self.squares)]


def random_features(rng, n, width, density=0.4):
    return rng.normal(size=(n, width)) * (rng.random((n, width)) < density)


def two_of_three(rng, n_users):
    """Every user has two of three items: one is left to be drawn."""
    dense = np.ones((n_users, 3))
    missing = rng.integers(0, 3, n_users)
    dense[np.arange(n_users), missing] = 0
    return dense, missing


# ---------------------------------------------------------------------- against the reference


@pytest.mark.parametrize("k", [1, 8, 15, 16, 40, 64, 130], ids="k={}".format)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("within", [True, False], ids=["all pairs", "between"])
@pytest.mark.parametrize("has_contexts", [True, False], ids=["contexts", "no contexts"])
def test_epoch_matches_reference(backend, rng, loss, within, has_contexts, k):
    """All interactions in one batch, so that their order does not matter."""
    dense, missing = two_of_three(rng, 12)
    values = rng.normal(size=dense.shape) if loss in ("regression", "logistic") else np.ones(dense.shape)
    x = csr(dense * values)
    users, items = random_features(rng, 12, 7), random_features(rng, 3, 6)
    contexts = random_features(rng, x.nnz, 4) if has_contexts else None
    machine = Machine(backend, users, items, contexts, k)
    table, squares = (array.astype(np.float64) for array in machine.arrays())
    samples = []
    for e, (u, i, value) in enumerate(zip(x.row_numbers(), x.indices, x.values, strict=True)):
        left = machine.sides[0][u] + (machine.sides[2][e] if has_contexts else 0)
        rights = [machine.sides[1][i]]
        if loss in ("bpr", "warp") or (loss == "logistic" and value > 0):
            rights.append(machine.sides[1][missing[u]])
        samples.append((left, rights, float(value)))
    mean = 0.7 if loss in ("regression", "logistic") else 0.0
    expected = reference.fm_batch(loss, samples, table, squares, 0.1, 0.02, within, mean)
    total, n = machine.epoch(x, loss=loss, within=within, mean=mean, penalty=0.02)
    for found, wanted in zip(machine.arrays(), expected, strict=False):
        assert_allclose(found, wanted, rtol=1e-3, atol=2e-5)
    assert total == pytest.approx(expected[2], rel=1e-4)
    assert n == (sum(len(rights) for _, rights, _ in samples) if loss == "logistic" else x.nnz)


def test_batches_follow_one_another(backend, rng):
    """Interactions without a feature in common: as in one batch, whatever their order."""
    x = csr(np.eye(30) * rng.normal(size=30))
    found = []
    for batch in (1, 4, 30):
        machine = Machine(backend, np.eye(30), np.eye(30))
        machine.epoch(x, loss="regression", batch=batch)
        found.append(machine.arrays())
    for other in found[1:]:
        assert_array_equal(other[0], found[0][0])


def test_a_second_batch_sees_what_the_first_has_moved(backend):
    x = csr(np.array([[1.0, 1.0]]))
    found = []
    for batch in (1, 2):
        machine = Machine(backend, np.ones((1, 1)), np.eye(2))
        machine.epoch(x, loss="regression", batch=batch)
        found.append(machine.arrays()[0])
    assert (found[0] != found[1]).any()


def test_warp_weighs_by_the_draws_it_took(backend):
    """Half of the items lie out of reach, so the first within it takes the first draw, or a later one."""
    n_items, steps = 61, []
    x = csr(np.eye(1, n_items))
    weights = np.where(np.arange(n_items) % 2 == 0, 0.0, -9.0)
    for seed in range(300):
        machine = Machine(backend, np.ones((1, 1)), np.eye(n_items), scale=0.0)
        machine.vectors[1:, machine.k] = backend.asarray(weights.astype(np.float32))
        machine.epoch(x, seed=seed, loss="warp", rate=1.0, penalty=0.0)
        steps.append(float(machine.arrays()[0][1, machine.k]))
    gradients = np.array(steps) / np.sqrt(1 - np.square(steps))  # of a step g / sqrt(1 + g^2)
    of_draws = np.array([np.log(60 // t) for t in range(1, 33)])
    taken = np.argmin(np.abs(gradients[:, np.newaxis] - of_draws), axis=1)
    assert_allclose(gradients, of_draws[taken], rtol=1e-3)
    assert abs(np.mean(taken == 0) - 0.5) < 0.1
    assert abs(np.mean(taken == 1) - 0.25) < 0.1


# ---------------------------------------------------------------------- what is drawn


def _drawn(backend, x, n_epochs):
    """How often each item was drawn: of a score of zero a drawn item's weight goes down by half a step a time."""
    counts = np.zeros(x.n_cols)
    own = np.bincount(x.indices, minlength=x.n_cols)
    for epoch in range(n_epochs):
        machine = Machine(backend, np.ones((x.n_rows, 1)), np.eye(x.n_cols), scale=0.0)
        machine.squares[...] = 1e12
        machine.epoch(x, epoch, rate=1.0, penalty=0.0)
        counts += own - machine.arrays()[0][1:, machine.k] * 1e6 * 2
    return np.rint(counts)


@pytest.mark.parametrize("n_items", [400, 1500], ids=["all in the pool", "a pool drawn for the batch"])
def test_negatives_are_drawn_alike_from_the_unseen(backend, rng, n_items):
    n_users, n_common = 300, 10
    rows = [[*range(n_common), *(n_common + rng.choice(n_items - n_common, 5, replace=False))] for _ in range(n_users)]
    dense = np.zeros((n_users, n_items))
    for user, row in enumerate(rows):
        dense[user, row] = 1
    counts = _drawn(backend, csr(dense), 40)
    assert_allclose(counts[:n_common], 0, atol=2)
    assert counts.sum() == pytest.approx(40 * dense.sum(), rel=1e-3)
    free = n_users - dense.sum(axis=0)[n_common:]
    # Of a pool, items come together: compare eights of them, and look for their spread less closely.
    drawn, expected = counts[n_common:], free / free.sum() * counts[n_common:].sum()
    if n_items == 400:
        assert chisquare(drawn, expected).pvalue > 1e-4
    else:
        assert np.abs(drawn / expected - 1).max() < 1.2
        halves = drawn[::2].sum() / drawn.sum()
        assert abs(halves - expected[::2].sum() / expected.sum()) < 0.03


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic"])
def test_entries_of_zero_are_neither_learned_nor_drawn(backend, loss):
    """Only item 3 is left to be drawn, and only item 0 is a positive (2 a negative, to the logistic loss)."""
    x = CSR(np.array([0, 3]), np.array([0, 1, 2], np.int32), np.array([1, 0, -2], np.float32), (1, 4))
    machine = Machine(backend, np.ones((1, 1)), np.eye(4), scale=1e-3)
    before = machine.arrays()[0]
    _, n = machine.epoch(x, loss=loss)
    moved = (machine.arrays()[0] != before).any(axis=1)
    assert_array_equal(moved, [True, True, False, loss == "logistic", True])
    assert n == (3 if loss == "logistic" else 1)


def test_logistic_loss_without_drawn_items(backend):
    x = csr(np.array([[1.0, -1.0, 0.0]]))
    machine = Machine(backend, np.ones((1, 1)), np.eye(3))
    before = machine.arrays()[0]
    _, n = machine.epoch(x, loss="logistic", n_candidates=0)
    assert n == 2
    assert_array_equal(machine.arrays()[0][3], before[3])


# ---------------------------------------------------------------------- promises


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch", [1, 60, 1000])
def test_bits_do_not_depend_on_threads(same_backends, rng, loss, batch):
    dense = rng.random((60, 90)) < 0.2
    x = csr(dense * rng.normal(1, 0.3, dense.shape))
    users, items = np.hstack([np.eye(60), random_features(rng, 60, 3)]), random_features(rng, 90, 10)
    contexts, results = random_features(rng, x.nnz, 3), []
    for backend in same_backends:
        machine = Machine(backend, users, items, contexts, 20)
        sums = [machine.epoch(x, epoch, loss=loss, batch=batch) for epoch in range(2)]
        results.append((sums, machine.arrays()))
    for sums, arrays in results[1:]:
        assert sums == results[0][0]
        for found, wanted in zip(arrays, results[0][1], strict=True):
            assert_array_equal(found, wanted)


def test_epochs_and_seeds_draw_anew(backend, rng):
    x, found = csr(rng.random((20, 50)) < 0.2), []
    for epoch, seed in ((1, 5), (2, 5), (1, 6), (1, 5)):
        machine = Machine(backend, np.eye(20), np.eye(50))
        machine.epoch(x, epoch, seed)
        found.append(machine.arrays()[0])
    assert_array_equal(found[0], found[3])
    assert (found[0] != found[1]).any()
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "dense",
    [np.zeros((0, 5)), np.zeros((1, 5)), np.zeros((2, 0)), np.ones((1, 1)), np.ones((2, 3)), np.eye(3)[[0, 0, 1]]],
    ids=["no users", "an empty row", "no items", "one item", "all items", "an item without"],
)
def test_epoch_edges(backend, loss, dense):
    machine = Machine(backend, np.ones((dense.shape[0], 2)), np.ones((dense.shape[1], 2)))
    before = machine.arrays()[0]
    _, n = machine.epoch(csr(dense), loss=loss)
    assert all(np.isfinite(array).all() for array in machine.arrays())
    draws = loss in ("bpr", "warp") and dense.all()
    assert (n == 0) == (draws or not dense.any())
    if n == 0:
        assert_array_equal(machine.arrays()[0], before)


@pytest.mark.parametrize("loss", LOSSES)
def test_users_and_items_without_features(backend, loss):
    """What nothing is known of scores by the rest."""
    machine = Machine(backend, np.array([[1.0], [0.0]]), np.array([[1.0], [0.0], [0.0]]))
    total, n = machine.epoch(csr(np.array([[1.0, 0, 0], [0, 1, 0]])), loss=loss)
    assert np.isfinite(total)
    assert n >= 2
    assert np.isfinite(machine.arrays()[0]).all()


def test_huge_scores_stay_finite_or_show(backend, rng):
    x = csr(rng.random((6, 8)) < 0.5)
    for loss in LOSSES[1:]:
        for scale in (1e4, 1e-30):
            machine = Machine(backend, np.eye(6), np.eye(8), scale=scale)
            machine.epoch(x, loss=loss)
            assert all(np.isfinite(array).all() for array in machine.arrays())


@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    k=st.sampled_from([1, 15, 16, 47]),
    loss=st.sampled_from(LOSSES),
    within=st.booleans(),
    batch=st.integers(1, 40),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_features_give_the_same_bits_on_one_thread_and_two(shape, k, loss, within, batch, seed):
    rng = np.random.default_rng(seed % 1000)
    x = csr((rng.random(shape) < 0.3) * rng.normal(1, 1, shape))
    users, items = (random_features(rng, n, int(rng.integers(1, 6))) for n in shape)
    results = []
    for n_threads in (1, 2):
        machine = Machine(Backend(n_threads), users, items, None, k)
        total, n = machine.epoch(x, 1, seed, loss=loss, within=within, batch=batch)
        assert n >= 0
        results.append([total, *machine.arrays()])
    assert results[0][0] == results[1][0]
    for one, other in zip(results[0][1:], results[1][1:], strict=True):
        assert np.isfinite(one).all()
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": (4, 2)}, "by_user has 3 rows but users has 4 rows"),
        ({"items": (6, 2)}, "by_user has 5 columns but items has 6 rows"),
        ({"contexts": (2, 1)}, "by_user has 3 entries but contexts has 2 rows"),
        ({"k": 16}, r"n_factors must be in \[1, columns of vectors\)"),
        ({"n_candidates": 0}, r"n_candidates must be in \[1, 1024\]"),
        ({"n_candidates": 1025}, r"n_candidates must be in \[1, 1024\]"),
        ({"batch": 0}, "batch_size must be in"),
        ({"rate": 0.0}, "learning_rate must be > 0"),
        ({"penalty": -1.0}, "regularization >= 0"),
        ({"mean": np.inf}, "mean must be finite"),
    ],
)
def test_epoch_refuses(backend, change, message):
    change = dict(change)
    users, items = (np.ones(change.pop(name, shape)) for name, shape in (("users", (3, 2)), ("items", (5, 2))))
    contexts = np.ones(change.pop("contexts")) if "contexts" in change else None
    machine = Machine(backend, users, items, contexts)
    machine.k = change.pop("k", machine.k)
    with pytest.raises(ValueError, match=message):
        machine.epoch(csr(np.eye(3, 5)), **change)
