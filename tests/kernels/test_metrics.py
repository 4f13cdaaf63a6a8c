"""ranking_metrics, auc and bootstrap_means against the reference, scikit-learn, and by hand."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

import reference
from likewise import _core, retrieval
from likewise._backend import Backend
from likewise.data import CSR
from likewise.retrieval import ItemFacts

NAMES = (
    *("precision", "recall", "hit_rate", "f1", "fall_out", "ndcg", "graded_ndcg", "exponential_ndcg", "map", "mrr"),
    *("r_precision", "rbp", "err", "auc"),
)
PARAMETERS = {"rbp": 0.8, "err": 5.0}
LISTS = ("novelty", "popularity", "diversity", "serendipity")


def with_parameters(wanted):
    return [(name, k, PARAMETERS.get(name, 0.0)) for name, k in wanted]


def ranking_metrics(backend, ids, relevant, wanted, exclude=None, **more):
    return retrieval.ranking_metrics(backend, np.asarray(ids), relevant, with_parameters(wanted), exclude, **more)


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


def rows_of(matrix, n):
    return [()] * n if matrix is None else [matrix.row(user)[0].tolist() for user in range(n)]


def expected_metrics(ids, relevant, wanted, exclude=None):
    return [
        [
            reference.ranking_metric(
                name, k, row, reference.grades_of(relevant, user, exclude), parameter, relevant.n_cols, excluded
            )
            for name, k, parameter in with_parameters(wanted)
        ]
        for user, (row, excluded) in enumerate(zip(ids, rows_of(exclude, len(ids)), strict=True))
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
    # Relevant are 1, 4 and 7, of grades 3, 1 and 2; found at ranks 2 (item 4) and 3 (item 1).
    relevant = CSR.from_arrays([0, 3], [1, 4, 7], [3, 1, 2], (1, 9))
    log3, log4 = np.log2(3), np.log2(4)
    satisfied = np.array([0, 1, 7, 0]) / 2**5
    by_hand = {
        "precision": (0, 2 / 4),
        "recall": (0, 2 / 3),
        "hit_rate": (0, 1),
        "f1": (0, 2 / (4 / 2 + 3 / 2)),
        "fall_out": (1 / 6, 2 / 6),
        "ndcg": (0, (1 / log3 + 1 / log4) / (1 + 1 / log3 + 1 / log4)),
        "graded_ndcg": (0, (1 / log3 + 3 / log4) / (3 + 2 / log3 + 1 / log4)),
        "exponential_ndcg": (0, (1 / log3 + 7 / log4) / (7 + 3 / log3 + 1 / log4)),
        "map": (0, (1 / 2 + 2 / 3) / 3),
        "mrr": (0, 1 / 2),
        "r_precision": (0, 2 / 3),
        "rbp": (0, 0.2 * (0.8 + 0.8**2)),
        "err": (0, satisfied[1] / 2 + (1 - satisfied[1]) * satisfied[2] / 3),
        # Of 6 others one stands above all; at 4 the other listed one is below two, and all else ties with the third.
        "auc": (5 * 1.5 / 18, (2 + 4 * 2.5) / 18),
    }
    assert set(by_hand) == set(NAMES)
    wanted = [(name, k) for name in by_hand for k in (1, 4)]
    (values,) = ranking_metrics(backend, [[0, 4, 1, 8]], relevant, wanted)
    assert_allclose(values, [value for pair in by_hand.values() for value in pair], rtol=1e-14)


def test_metrics_of_lists_by_hand(backend):
    relevant = CSR.from_arrays([0, 2], [1, 3], [1, 1], (1, 5))
    popularity = np.array([10.0, 40, 20, 30, 0])
    facts = ItemFacts(
        information=np.array([1.0, 2, 3, 4, 5]),
        popularity=popularity,
        popularity_ranks=np.array([3, 0, 2, 1, 4], dtype=np.int32),
        features=CSR.from_arrays([0, 1, 2, 4, 4, 5], [0, 1, 0, 1, 0], [1, 1, 0.6, 0.8, 1], (5, 2)),
    )
    wanted = [(name, k) for name in LISTS for k in (1, 2, 3)]
    values = dict(zip(wanted, *ranking_metrics(backend, [[3, 2, 1, -1]], relevant, wanted, facts=facts), strict=True))
    assert [values["novelty", k] for k in (1, 2, 3)] == [4, 3.5, 3]
    assert [values["popularity", k] for k in (1, 2, 3)] == [30, 25, 30]
    # Item 3 has no features and is like no other; items 2 and 1 have a product of 0.8.
    assert np.isnan(values["diversity", 1])
    assert_allclose([values["diversity", 2], values["diversity", 3]], [1, 1 - 0.8 / 3], rtol=1e-7)
    # Item 3 is the second most popular one, item 1 the first.
    assert [values["serendipity", k] for k in (1, 2, 3)] == [1, 0, 0]
    exclude = CSR.from_arrays([0, 1], [1], [1], (1, 5))
    (seen,) = ranking_metrics(backend, [[3, 2, -1]], relevant, [("serendipity", 1)], exclude, facts=facts)
    assert seen == [0]  # without the item that the user has, item 3 is the most popular


@pytest.mark.parametrize("with_exclude", [False, True], ids=["", "exclude"])
@pytest.mark.parametrize("n_items", [1, 20, 300], ids="m={}".format)
def test_metrics_of_lists_match_reference(backend, rng, n_items, with_exclude):
    ids = random_lists(rng, 300, n_items, 12)
    relevant = with_negatives(rng, reference.random_csr(rng, (300, n_items)))
    exclude = reference.random_csr(rng, (300, n_items), 0.1) if with_exclude else None
    features = reference.random_csr(rng, (n_items, 7), 0.4)
    popularity = rng.integers(0, 9, n_items).astype(float)
    ranks = np.empty(n_items, dtype=np.int32)
    ranks[np.lexsort((np.arange(n_items), -popularity))] = np.arange(n_items)
    facts = ItemFacts(rng.random(n_items), popularity, ranks, features)
    wanted = [(name, k) for name in LISTS for k in (1, 2, 5, 12)]
    values = ranking_metrics(backend, ids, relevant, wanted, exclude, facts=facts)
    dense = features.to_scipy().toarray()
    expected = [
        [
            reference.list_metric(
                name, k, row, reference.relevant_items(relevant, user, exclude), facts.information, popularity, dense,
                excluded,
            )
            for name, k in wanted
        ]
        for user, (row, excluded) in enumerate(zip(ids, rows_of(exclude, len(ids)), strict=True))
    ]  # fmt: skip
    assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


def test_greatest_grades_do_not_overflow(backend):
    relevant = CSR.from_arrays([0, 2], [0, 1], [900, 1], (1, 3))
    metrics = [("err", 2, 1000.0), ("exponential_ndcg", 2, 0.0)]
    (values,) = retrieval.ranking_metrics(backend, np.array([[0, 1]]), relevant, metrics)
    assert_allclose(values, [2.0**-100, 1])


@pytest.mark.parametrize("cutoffs", [[1], [1, 2, 5], [3, 4]], ids=str)
def test_count_recommended_matches_counting(backend, rng, cutoffs):
    ids = random_lists(rng, 200, 12, 5)
    counts = np.ones((len(cutoffs), 12), dtype=np.int64)
    retrieval.count_recommended(backend, ids, cutoffs, counts)
    for j, (first, last) in enumerate(zip([0, *cutoffs], cutoffs, strict=False)):
        for item in range(12):
            assert counts[j, item] == 1 + (ids[:, first:last] == item).sum()


@pytest.mark.parametrize("with_exclude", [False, True], ids=["", "exclude"])
@pytest.mark.parametrize("k", [1, 4, 9], ids="k={}".format)
def test_group_metrics_match_counting(backend, rng, k, with_exclude):
    ids = random_lists(rng, 300, 20, 9)
    relevant = with_negatives(rng, reference.random_csr(rng, (300, 20)))
    exclude = reference.random_csr(rng, (300, 20), 0.1) if with_exclude else None
    groups = rng.integers(0, 3, 20).astype(np.int32)
    exposure, hits, wanted = retrieval.group_metrics(backend, ids, relevant, groups, 4, k, exclude)
    for user in range(300):
        relevant_ids = reference.relevant_items(relevant, user, exclude)
        for group in range(4):
            ranks = [j + 1 for j, item in enumerate(ids[user, :k]) if item >= 0 and groups[item] == group]
            assert np.isclose(exposure[user, group], sum(1 / np.log2(rank + 1) for rank in ranks), rtol=1e-14)
            found = {int(ids[user, rank - 1]) for rank in ranks} & relevant_ids
            assert hits[user, group] == len(found)
            assert wanted[user, group] == sum(groups[item] == group for item in relevant_ids)


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
    seen = values[has_relevant]
    assert np.all(np.isnan(seen) | ((seen >= 0) & (seen <= 1 + 1e-15)))


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
        groups = np.arange(90, dtype=np.int32) % 4
        for ours, theirs in zip(
            retrieval.group_metrics(backend, ids, relevant, groups, 4, 7),
            retrieval.group_metrics(one, ids, relevant, groups, 4, 7),
            strict=True,
        ):
            assert_array_equal(ours, theirs)
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
    for wrong in (-2, 5):
        with pytest.raises(ValueError, match=r"ranking_metrics: ids must be inside \[-1, n_items\)"):
            ranking_metrics(backend, [[wrong]], relevant, [("ndcg", 1)])
        with pytest.raises(ValueError, match=r"count_recommended: ids must be inside \[-1, n_items\)"):
            retrieval.count_recommended(backend, np.array([[wrong]]), [1], np.zeros((1, 5), np.int64))
        with pytest.raises(ValueError, match=r"group_metrics: ids must be inside \[-1, n_items\)"):
            retrieval.group_metrics(backend, np.array([[wrong]]), relevant, np.zeros(5, np.int32), 1, 1)
    for name, facts in zip(LISTS, ("information", "popularity", "features", "popularity_ranks"), strict=True):
        with pytest.raises(ValueError, match=f"ranking_metrics: {facts} is missing, and a metric needs it"):
            ranking_metrics(backend, ids, relevant, [(name, 1)])
    with pytest.raises(ValueError, match="ranking_metrics: information has 4 entries but relevant has 5 columns"):
        ranking_metrics(backend, ids, relevant, [("novelty", 1)], facts=ItemFacts(np.zeros(4)))
    with pytest.raises(ValueError, match="ranking_metrics: n_candidates has 2 entries but ids has 1 rows"):
        ranking_metrics(backend, ids, relevant, [("auc", 1)], n_candidates=np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="count_recommended: cutoffs must rise"):
        retrieval.count_recommended(backend, ids, [2, 2], np.zeros((2, 5), np.int64))
    with pytest.raises(ValueError, match="group_metrics: groups has 4 entries but relevant has 5 columns"):
        retrieval.group_metrics(backend, ids, relevant, np.zeros(4, np.int32), 1, 1)
    with pytest.raises(ValueError, match=r"group_metrics: groups must be inside \[0, n_groups\)"):
        retrieval.group_metrics(backend, ids, relevant, np.full(5, 2, np.int32), 2, 1)
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
