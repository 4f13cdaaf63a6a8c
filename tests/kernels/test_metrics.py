"""ranking_metrics, auc and bootstrap_means against the reference, scikit-learn, and by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR

NAMES = ("precision", "recall", "hit_rate", "ndcg", "map", "mrr")


def ranking_metrics(backend, ids, relevant, wanted, exclude=None):
    kernels = backend.kernels
    metrics = [kernels.RankingMetric(getattr(kernels.Metric, name), k) for name, k in wanted]
    out = backend.empty((len(ids), len(metrics)), np.float64)
    excluded = None if exclude is None else backend.csr(exclude)
    kernels.ranking_metrics(
        backend.context, backend.asarray(ids, np.int32), backend.csr(relevant), excluded, metrics, out
    )
    return backend.to_numpy(out)


def auc(backend, scores, relevant, exclude=None):
    out = backend.empty((len(scores),), np.float64)
    excluded = None if exclude is None else backend.csr(exclude)
    backend.kernels.auc(backend.context, backend.asarray(scores), backend.csr(relevant), excluded, out)
    return backend.to_numpy(out)


def bootstrap_means(backend, values, seed, n):
    out = backend.empty((n, np.shape(values)[1]), np.float64)
    backend.kernels.bootstrap_means(backend.context, backend.asarray(values, np.float64), seed, out)
    return backend.to_numpy(out)


def random_lists(rng, n, n_items, length):
    """Distinct ids in random order; some lists end early."""
    ids = rng.permuted(np.tile(np.arange(max(n_items, length)), (n, 1)), axis=1)[:, :length]
    ids[ids >= n_items] = -1
    ids = np.take_along_axis(ids, np.argsort(ids < 0, axis=1, kind="stable"), axis=1)
    for row in range(n):
        ids[row, rng.integers(0, 2 * length) :] = -1
    return ids


def with_negatives(rng, csr):
    """Some entries get a value of zero or below, and are then not relevant."""
    values = np.where(rng.random(csr.nnz) < 0.2, -rng.integers(0, 2, csr.nnz), csr.values).astype(np.float32)
    return CSR(csr.indptr, csr.indices, values, csr.shape)


def expected_metrics(ids, relevant, wanted, exclude=None):
    return [
        [reference.ranking_metric(*metric, row, reference.relevant_items(relevant, user, exclude)) for metric in wanted]
        for user, row in enumerate(ids)
    ]


@pytest.mark.parametrize("with_exclude", [False, True], ids=["", "exclude"])
@pytest.mark.parametrize("n_items", [1, 20, 300], ids="m={}".format)
def test_ranking_metrics_match_reference(backend, rng, n_items, with_exclude):
    ids = random_lists(rng, 400, n_items, 25)
    relevant = with_negatives(rng, reference.random_csr(rng, (400, n_items)))
    exclude = reference.random_csr(rng, (400, n_items), 0.1) if with_exclude else None
    wanted = [(name, k) for name in NAMES for k in (1, 3, 20, 25)]
    values = ranking_metrics(backend, ids, relevant, wanted, exclude)
    assert_allclose(values, expected_metrics(ids, relevant, wanted, exclude), rtol=1e-13)
    assert np.isnan(values).any()


def test_ranking_metrics_by_hand(backend):
    # Relevant are 1, 4 and 7; found at ranks 2 and 3.
    relevant = CSR.from_arrays([0, 3], [1, 4, 7], [1, 1, 1], (1, 9))
    ids = np.array([[0, 4, 1, 8]])
    wanted = [(name, k) for name in NAMES for k in (1, 4)]
    (values,) = ranking_metrics(backend, ids, relevant, wanted)
    gains = 1 / np.log2([3, 4])
    ideal = (1 / np.log2([2, 3, 4])).sum()
    assert_allclose(
        values, [0, 2 / 4, 0, 2 / 3, 0, 1, 0, gains.sum() / ideal, 0, (1 / 2 + 2 / 3) / 3, 0, 1 / 2], rtol=1e-15
    )


def test_ranking_metrics_of_a_perfect_list_are_one(backend):
    relevant = CSR.from_arrays([0, 3, 4], [1, 4, 7, 0], [1, 1, 1, 1], (2, 9))
    ids = np.array([[7, 1, 4, 0, 2], [0, -1, -1, -1, -1]])
    wanted = [(name, k) for name in ("ndcg", "map", "hit_rate", "mrr") for k in (1, 2, 3, 5)]
    assert_array_equal(ranking_metrics(backend, ids, relevant, wanted), np.ones((2, len(wanted))))


def test_ndcg_agrees_with_scikit_learn(backend, rng):
    scores = rng.standard_normal((50, 40))
    truth = rng.random((50, 40)) < 0.3
    relevant = CSR.from_arrays(
        np.r_[0, truth.sum(axis=1).cumsum()], np.nonzero(truth)[1], np.ones(truth.sum()), (50, 40)
    )
    ids = np.argsort(-scores, axis=1)
    for k in (1, 5, 40):
        (values,) = ranking_metrics(backend, ids, relevant, [("ndcg", k)]).T
        expected = [
            ndcg_score(t[np.newaxis], s[np.newaxis], k=k) for t, s in zip(truth.astype(float), scores, strict=True)
        ]
        assert_allclose(values, expected, rtol=1e-12)


def test_map_of_the_whole_ranking_and_auc_agree_with_scikit_learn(backend, rng):
    scores = rng.integers(0, 1000, (50, 40)).astype(np.float32)
    scores += np.linspace(0, 0.5, 40, dtype=np.float32)  # no ties
    truth = rng.random((50, 40)) < 0.3
    truth[:, 0], truth[:, 1] = True, False
    relevant = CSR.from_arrays(
        np.r_[0, truth.sum(axis=1).cumsum()], np.nonzero(truth)[1], np.ones(truth.sum()), (50, 40)
    )
    (values,) = ranking_metrics(backend, np.argsort(-scores, axis=1), relevant, [("map", 40)]).T
    assert_allclose(values, [average_precision_score(t, s) for t, s in zip(truth, scores, strict=True)], rtol=1e-12)
    ties = scores // 200
    for given_scores in (scores, ties):
        expected = [roc_auc_score(t, s) for t, s in zip(truth, given_scores, strict=True)]
        assert_allclose(auc(backend, given_scores, relevant), expected, rtol=1e-12)


@pytest.mark.parametrize("with_exclude", [False, True], ids=["", "exclude"])
@pytest.mark.parametrize("n_items", [1, 2, 60], ids="m={}".format)
def test_auc_matches_reference(backend, rng, n_items, with_exclude):
    scores = rng.integers(-3, 4, (80, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[rng.random(scores.shape) < 0.1] = np.inf
    relevant = with_negatives(rng, reference.random_csr(rng, (80, n_items)))
    exclude = reference.random_csr(rng, (80, n_items)) if with_exclude else None
    excluded = [set() if exclude is None else set(exclude.row(user)[0].tolist()) for user in range(80)]
    expected = [
        reference.auc(scores[user], reference.relevant_items(relevant, user, exclude), excluded[user])
        for user in range(80)
    ]
    assert_allclose(auc(backend, scores, relevant, exclude), expected, rtol=1e-13)


def test_auc_where_all_scores_are_equal_is_one_half(backend):
    relevant = CSR.from_arrays([0, 300], np.arange(300), np.ones(300), (1, 1000))
    assert auc(backend, np.zeros((1, 1000)), relevant) == [0.5]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30))
def test_ranking_metrics_are_between_zero_and_one(seed, n_items, length):
    rng = np.random.default_rng(seed)
    relevant = reference.random_csr(rng, (20, n_items))
    wanted = [(name, k) for name in NAMES for k in range(1, length + 1)]
    values = ranking_metrics(Backend(1), random_lists(rng, 20, n_items, length), relevant, wanted)
    has_relevant = relevant.row_counts() > 0
    assert np.isnan(values[~has_relevant]).all()
    assert np.all((values[has_relevant] >= 0) & (values[has_relevant] <= 1 + 1e-15))


def test_metrics_are_bitwise_the_same_at_any_thread_count(rng):
    ids, scores = random_lists(rng, 1500, 90, 10), rng.standard_normal((1500, 90))
    relevant, exclude = reference.random_csr(rng, (1500, 90)), reference.random_csr(rng, (1500, 90), 0.1)
    wanted = [(name, 10) for name in NAMES]
    one = Backend(1)
    for backend in (Backend(2), Backend(3)):
        assert_array_equal(
            ranking_metrics(backend, ids, relevant, wanted, exclude),
            ranking_metrics(one, ids, relevant, wanted, exclude),
        )
        assert_array_equal(auc(backend, scores, relevant, exclude), auc(one, scores, relevant, exclude))
        assert_array_equal(bootstrap_means(backend, scores, 5, 100), bootstrap_means(one, scores, 5, 100))


def test_bootstrap_means_have_the_moments_of_a_mean(backend, rng):
    values = rng.standard_normal((300, 3)) * [2, 1, 5] + 1
    means = bootstrap_means(backend, values, 2**63 - 1, 20_000)
    error = values.std(axis=0) / np.sqrt(300)
    assert np.all(np.abs(means.mean(axis=0) - values.mean(axis=0)) < 5 * error / np.sqrt(20_000))
    assert_allclose(means.std(axis=0), error, rtol=0.03)
    assert np.unique(means[:, 0]).size > 19_000
    assert not np.isin(bootstrap_means(backend, values, 1, 50), means).any()


def test_bootstrap_means_draws_alike_for_every_column(backend, rng):
    values = rng.standard_normal((50, 4))
    means = bootstrap_means(backend, values, 9, 20)
    for j in range(4):
        assert_array_equal(bootstrap_means(backend, values[:, [j]], 9, 20)[:, 0], means[:, j])


@pytest.mark.parametrize("n", [1, 2, 5], ids="n={}".format)
def test_bootstrap_means_matches_philox_word_by_word(backend, n):
    values = np.arange(1.0, n + 1)
    words = [_core.philox4x32((draw // 4, 7, 0, 0), (3, 1))[draw % 4] for draw in range(n)]
    expected = sum(values[word * n >> 32] for word in words) / n
    assert bootstrap_means(backend, values[:, np.newaxis], 3 + (1 << 32), 8)[7] == expected


def test_metrics_without_users_or_items(backend):
    nobody, nothing = CSR.from_arrays([0], [], [], (0, 5)), CSR.from_arrays([0, 0], [], [], (1, 0))
    assert ranking_metrics(backend, np.empty((0, 3)), nobody, [("ndcg", 3)]).shape == (0, 1)
    assert np.isnan(ranking_metrics(backend, np.full((1, 3), -1), nothing, [("ndcg", 3)])).all()
    assert auc(backend, np.empty((0, 5)), nobody).shape == (0,)
    assert np.isnan(auc(backend, np.empty((1, 0)), nothing)).all()


def test_metrics_refuse_wrong_arguments(backend):
    ids, relevant = np.zeros((1, 3)), CSR.from_arrays([0, 1], [0], [1], (1, 5))
    two = CSR.from_arrays([0, 1, 1], [0], [1], (2, 5))
    for k in (0, 4):
        with pytest.raises(ValueError, match=rf"ranking_metrics: cutoffs must be inside \[1, 3\], .*, got {k}"):
            ranking_metrics(backend, ids, relevant, [("ndcg", k)])
    with pytest.raises(ValueError, match="ranking_metrics: ids has 1 rows but relevant has 2 rows"):
        ranking_metrics(backend, ids, two, [("ndcg", 1)])
    with pytest.raises(ValueError, match="ranking_metrics: exclude has 2 rows but relevant has 1 rows"):
        ranking_metrics(backend, ids, relevant, [("ndcg", 1)], two)
    with pytest.raises(ValueError, match="auc: all_scores has 4 columns but relevant has 5 columns"):
        auc(backend, np.zeros((1, 4)), relevant)
    with pytest.raises(ValueError, match="auc: all_scores has 2 rows but relevant has 1 rows"):
        auc(backend, np.zeros((2, 5)), relevant)
    with pytest.raises(ValueError, match="bootstrap_means: values must have at least one row"):
        bootstrap_means(backend, np.empty((0, 1)), 0, 3)


def concordant_pairs(backend, ratings, estimates):
    comparable, concordant = backend.empty((ratings.n_rows,), np.float64), backend.empty((ratings.n_rows,), np.float64)
    backend.kernels.concordant_pairs(
        backend.context, backend.csr(ratings), backend.asarray(estimates), comparable, concordant
    )
    return backend.to_numpy(comparable), backend.to_numpy(concordant)


@pytest.mark.parametrize("n_values", [1, 2, 5, 1000], ids="values={}".format)
def test_concordant_pairs_matches_reference(backend, rng, n_values):
    """Rows without ratings, with one, and with many; ties of ratings and of estimates."""
    counts = np.array([0, 1, 2, 0, 7, 40, 3])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    ids = np.concatenate([np.arange(count) for count in counts])
    values = rng.integers(-1, n_values, ids.size)
    ratings, estimates = CSR.from_arrays(offsets, ids, values, (7, 40)), rng.integers(0, n_values, ids.size)
    comparable, concordant = concordant_pairs(backend, ratings, estimates)
    for row in range(7):
        places = slice(offsets[row], offsets[row + 1])
        expected = reference.concordant_pairs(ratings.values[places], estimates[places])
        assert (comparable[row], concordant[row]) == expected
    one = Backend(1)
    for ours, theirs in zip((comparable, concordant), concordant_pairs(one, ratings, estimates), strict=True):
        assert_array_equal(ours, theirs)


def test_concordant_pairs_refuses_shapes_that_disagree(backend):
    ratings = CSR.from_arrays([0, 2], [0, 1], [1, 2], (1, 3))
    with pytest.raises(ValueError, match="concordant_pairs: estimates has 3 entries but ratings has 2 entries"):
        concordant_pairs(backend, ratings, np.zeros(3))
