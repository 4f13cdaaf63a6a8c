"""What is particular to `ItemKNN` and `UserKNN`: every metric and weighting against a few lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import likewise as lw
from likewise.data import CSR

N_USERS, N_ITEMS = 40, 25
ALPHA, BETA = 0.3, 0.8
METRICS = [
    "cosine",
    "asymmetric_cosine",
    "adjusted_cosine",
    "pearson",
    "jaccard",
    "dice",
    "tversky",
    "lift",
    "cooccurrence",
]
OF_VALUES = ["cosine", "asymmetric_cosine", "adjusted_cosine", "pearson", "cooccurrence"]


@pytest.fixture(scope="module")
def dense():
    rng = np.random.default_rng(3)
    X = rng.integers(1, 6, (N_USERS, N_ITEMS)) * (rng.random((N_USERS, N_ITEMS)) < 0.3)
    X[4], X[:, 7] = 0, 0
    return X.astype(np.float64)


def _weighted(X, weighting, k1=1.2, b=0.75):
    """Documents are rows, terms are columns."""
    if weighting is None:
        return X
    rarity = np.log(1 + len(X) / (1 + (X > 0).sum(axis=0)))
    if weighting == "tfidf":
        return np.sqrt(X) * rarity
    length = X.sum(axis=1, keepdims=True)
    length = length / length[length > 0].mean()
    return np.where(X > 0, X * (k1 + 1) / np.maximum(X + k1 * (1 - b + b * length), 1e-9), 0) * rarity


def _similarities(X, metric, shrinkage=0.0, weighting=None, min_support=1):
    """All rows with all rows; 0 where there is no similarity."""
    there, n = X > 0, X.shape[1]
    X = _weighted(X, weighting)
    if metric == "adjusted_cosine":
        X = np.where(there, X - X.sum(axis=0) / np.maximum(1, there.sum(axis=0)), 0)
    if metric == "pearson":
        X = np.where(there, X - X.sum(axis=1, keepdims=True) / np.maximum(1, there.sum(axis=1, keepdims=True)), 0)
    X = np.where(np.abs(X) < 1e-12, 0, X)  # a mean of equal values may be off by a rounding
    both = there.astype(float) @ there.T
    count, length = there.sum(axis=1).astype(float), np.sqrt((X**2).sum(axis=1))
    one, other = count[:, np.newaxis], count
    above, below = {
        "cosine": (X @ X.T, np.outer(length, length)),
        "adjusted_cosine": (X @ X.T, np.outer(length, length)),
        "pearson": (X @ X.T, np.outer(length, length)),
        "asymmetric_cosine": (X @ X.T, np.outer(length ** (2 * ALPHA), length ** (2 - 2 * ALPHA))),
        "jaccard": (both, one + other - both),
        "dice": (both, (one + other) / 2),
        "tversky": (both, both + ALPHA * (one - both) + BETA * (other - both)),
        "lift": (both, one * other / n),
        "cooccurrence": (X @ X.T, np.ones_like(both)),
    }[metric]
    found = np.where(below + shrinkage > 0, above / np.maximum(below + shrinkage, 1e-300), 0)
    found[(found <= 1e-12) | (both < min_support)] = 0
    np.fill_diagonal(found, 0)
    return found


def _learned(model, X):
    model = clone(model).fit(X)
    return (model.weights_ if isinstance(model, lw.ItemKNN) else model.neighbors_).to_scipy().toarray()


@pytest.fixture(params=[lw.ItemKNN, lw.UserKNN], ids=["items", "users"])
def kind(request):
    return request.param


def _rows(kind, X):
    return X.T if kind is lw.ItemKNN else X


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("binary", [False, True], ids=["values", "ones"])
def test_metric_matches_numpy(kind, dense, metric, binary):
    X = (dense > 0).astype(float) if binary else dense
    found = _learned(kind(k=50, metric=metric, alpha=ALPHA, beta=BETA), X)
    assert_allclose(found, _similarities(_rows(kind, X), metric), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric != "cooccurrence"])
def test_shrinkage_is_added_to_the_denominator(kind, dense, metric):
    found = _learned(kind(k=50, metric=metric, shrinkage=2.5, alpha=ALPHA, beta=BETA), dense)
    assert_allclose(found, _similarities(_rows(kind, dense), metric, 2.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", OF_VALUES)
@pytest.mark.parametrize("weighting", ["tfidf", "bm25"])
@pytest.mark.parametrize("binary", [False, True], ids=["values", "ones"])
def test_weighting_matches_numpy(kind, dense, metric, weighting, binary):
    X = (dense > 0).astype(float) if binary else dense
    found = _learned(kind(k=50, metric=metric, weighting=weighting, alpha=ALPHA), X)
    expected = _similarities(_rows(kind, X), metric, weighting=weighting)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_parameters_of_bm25_change_what_they_name(dense):
    found = _learned(lw.ItemKNN(k=50, metric="cooccurrence", weighting="bm25", bm25_k1=0.4, bm25_b=0.1), dense)
    weighted = _weighted(dense.T, "bm25", 0.4, 0.1)
    expected = weighted @ weighted.T
    np.fill_diagonal(expected, 0)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_min_support_leaves_out_pairs_with_less_in_common(kind, dense, metric):
    found = _learned(kind(k=50, metric=metric, min_support=4, alpha=ALPHA, beta=BETA), dense)
    expected = _similarities(_rows(kind, dense), metric, min_support=4)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert 0 < np.count_nonzero(found) < np.count_nonzero(_similarities(_rows(kind, dense), metric))


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_a_row_keeps_its_k_nearest(kind, dense, k):
    found, expected = _learned(kind(k=k), dense), _similarities(_rows(kind, dense), "cosine")
    for row, all_of_it in zip(found, expected, strict=True):
        best = np.sort(all_of_it)[::-1][:k]
        assert_allclose(np.sort(row)[::-1][: best.size], best, rtol=1e-5, atol=1e-7)
        assert np.count_nonzero(row) <= k


def test_rows_that_are_the_same_have_cosine_one():
    X = np.array([[1.0, 1, 0, 0], [2, 2, 1, 0], [3, 3, 0, 0]])
    weights = _learned(lw.ItemKNN(), X)
    assert_allclose(weights[0, 1], 1, rtol=1e-6)
    assert_array_equal(weights[0, 1], weights[1, 0])
    assert_array_equal(weights[3], 0)  # a column of zeros has no neighbours
    assert_array_equal(weights[:, 3], 0)


@pytest.mark.parametrize("metric", ["pearson", "adjusted_cosine"])
@pytest.mark.parametrize("value", [1.0, 0.1, 3e7])
def test_values_without_spread_have_no_correlation(kind, metric, value):
    X = np.full((6, 5), value)
    assert not _learned(kind(metric=metric), X).any()


@pytest.mark.parametrize("metric", METRICS)
def test_a_stored_zero_is_no_interaction(kind, dense, metric):
    stored = sp.csr_array(dense)
    users, items = np.nonzero(dense == 0)
    rows, columns = np.nonzero(dense)
    zeros = sp.coo_array(
        (np.r_[dense[rows, columns], np.zeros(100)], (np.r_[rows, users[:100]], np.r_[columns, items[:100]])),
        shape=dense.shape,
    ).tocsr()
    assert zeros.nnz == stored.nnz + 100
    model = kind(metric=metric)
    assert_array_equal(_learned(model, zeros), _learned(model, stored))


def test_one_item_has_no_neighbours():
    model = lw.ItemKNN().fit(np.ones((3, 1)))
    assert model.weights_.nnz == 0
    assert_array_equal(model.recommend(k=2, exclude_seen=False).items, -1)


# ---- scores --------------------------------------------------------------------------------------------------------


def test_item_scores_are_histories_times_weights(dense):
    model = lw.ItemKNN(k=4, weighting="tfidf").fit(dense)
    expected = dense @ model.weights_.to_scipy().toarray()
    assert_allclose(model.transform(dense).toarray(), expected, rtol=1e-5)
    users, items = np.indices(dense.shape)
    assert_allclose(model.predict(users.ravel(), items.ravel()), expected.ravel(), rtol=1e-5)


@pytest.mark.parametrize("weighting", [None, "tfidf", "bm25"])
def test_user_scores_are_similarities_times_weighted_values(dense, weighting):
    model = lw.UserKNN(k=6, weighting=weighting).fit(dense)
    expected = model.neighbors_.to_scipy().toarray() @ _weighted(dense, weighting)
    users, items = np.indices(dense.shape)
    assert_allclose(model.predict(users.ravel(), items.ravel()), expected.ravel(), rtol=1e-4)
    ids, scores = model.recommend(k=N_ITEMS, exclude_seen=False)
    for user in range(N_USERS):
        filled = ids[user] >= 0
        assert_allclose(scores[user][filled], expected[user, ids[user][filled]], rtol=1e-4)
        assert_array_equal(np.sort(ids[user][filled]), np.flatnonzero(expected[user]))


def test_fold_in_of_items_is_what_fitted_users_get(dense):
    model = lw.ItemKNN(k=4, metric="jaccard").fit(dense)
    assert_array_equal(model.recommend(k=9, interactions=dense).items, model.recommend(k=9).items)
    assert_array_equal(model.recommend(k=9, interactions=dense).scores, model.recommend(k=9).scores)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weighting", [None, "bm25"])
def test_fold_in_of_users_compares_them_as_fit_does(dense, metric, weighting):
    """With room for all, a history that a fitted user has too gets that user besides, who adds nothing unseen."""
    if weighting is not None and metric not in OF_VALUES:
        pytest.skip("a metric of sets has no weighting")
    model = lw.UserKNN(k=N_USERS, metric=metric, weighting=weighting, alpha=ALPHA, beta=BETA).fit(dense)
    folded, fitted = model.recommend(k=9, interactions=dense), model.recommend(k=9)
    assert_allclose(folded.scores, fitted.scores, rtol=1e-5)
    assert_array_equal(folded.items, fitted.items)


def test_explanation_sums_to_the_score(dense):
    model = lw.ItemKNN(k=8, shrinkage=3.0).fit(dense)
    for user, item in [(0, 3), (1, 3), (2, 9), (4, 3)]:
        why = model.explain(user, item, k=N_ITEMS)
        assert why.score == pytest.approx(model.predict(user, item)[0], rel=1e-6)
        assert why.contributions.sum() == pytest.approx(why.score)
        assert dense[user, why.items].all()


def test_what_a_model_cannot_say_names_the_one_that_can(dense):
    users, items = lw.UserKNN().fit(dense), lw.ItemKNN().fit(dense)
    for method in (users.similar_items, lambda item: users.explain(0, item)):
        with pytest.raises(NotImplementedError, match=r"^UserKNN: .*; use ItemKNN$"):
            method(1)
    with pytest.raises(NotImplementedError, match=r"^ItemKNN: .*; use UserKNN$"):
        items.similar_users(1)
    for model in (users, items):
        with pytest.raises(NotImplementedError, match="needs no index"):
            model.build_index()


def test_damage_to_the_matrix_of_the_fit_reaches_no_kernel(dense):
    """A float32 CSR is held and not copied; what is ranked by is."""
    given = sp.csr_array(dense.astype(np.float32))
    model = lw.UserKNN().fit(given)
    before = model.recommend(k=5, interactions=dense)
    given.indices[:] = 2**30
    after = model.recommend(k=5, interactions=dense)
    assert_array_equal(after.items, before.items)
    assert np.isfinite(model.predict([0], [3])).all()


# ---- time ----------------------------------------------------------------------------------------------------------

USERS, ITEMS = ["a", "a", "b", "b", "c", "c"], ["x", "y", "x", "y", "y", "z"]
DAYS = ["2026-01-01", "2026-01-11", "2026-01-11", "2026-01-21", "2026-01-21", "2026-01-31"]
AGES = np.array([30, 20, 20, 10, 10, 0])


def _decayed(half_life, values=1.0):
    X = np.zeros((3, 3))
    np.add.at(X, ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 1, 2]), values * 0.5 ** (AGES / half_life))
    return X


@pytest.mark.parametrize("times", [DAYS, -AGES, -AGES.astype(float)], ids=["dates", "integers", "floats"])
def test_half_life_counts_days_of_dates_and_units_of_numbers(kind, times):
    data = lw.Interactions.from_arrays(USERS, ITEMS, timestamps=times)
    found = _learned(kind(half_life=10), data)
    assert_allclose(found, _similarities(_rows(kind, _decayed(10)), "cosine"), rtol=1e-5)


def test_half_life_of_events_that_were_summed_is_that_of_each():
    data = lw.Interactions.from_arrays([*USERS, "a"], [*ITEMS, "x"], timestamps=[*-AGES, 0])
    X = _decayed(10)
    X[0, 0] += 1
    found = _learned(lw.ItemKNN(metric="cooccurrence", half_life=10), data)
    assert_allclose(found, _similarities(X.T, "cooccurrence"), rtol=1e-5)


def test_half_life_weighs_what_neighbours_have():
    model = lw.UserKNN(half_life=10).fit(lw.Interactions.from_arrays(USERS, ITEMS, timestamps=DAYS))
    expected = model.neighbors_.to_scipy().toarray() @ _decayed(10)
    assert_allclose(model.predict(["a", "c"], ["z", "x"]), expected[[0, 2], [2, 0]], rtol=1e-5)


def test_half_life_survives_a_file_though_the_times_do_not(tmp_path):
    model = lw.UserKNN(half_life=10, weighting="bm25").fit(lw.Interactions.from_arrays(USERS, ITEMS, timestamps=DAYS))
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    new = lw.Interactions.from_arrays(["d"], ["x"])
    for options in ({}, {"interactions": new}):
        assert_array_equal(
            loaded.recommend(k=3, exclude_seen=False, **options).scores,
            model.recommend(k=3, exclude_seen=False, **options).scores,
        )
    with pytest.raises(ValueError, match=r"^UserKNN: half_life=10 needs the time"):
        loaded.partial_fit(new)


def test_half_life_without_times_is_refused_with_the_way_out(kind, dense):
    with pytest.raises(
        ValueError, match=rf"^{kind.__name__}: half_life=3 needs the time .* timestamps=.*half_life None$"
    ):
        kind(half_life=3).fit(dense)


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 2.5}, TypeError, "k must be an integer, got 2.5"),
        ({"metric": "cosin"}, ValueError, "metric must be one of 'cosine', .*, got 'cosin'"),
        ({"shrinkage": -1}, ValueError, "shrinkage must be >= 0, got -1"),
        ({"weighting": "idf"}, ValueError, "weighting must be one of 'tfidf', 'bm25', got 'idf'"),
        ({"metric": "asymmetric_cosine", "alpha": 1.5}, ValueError, "alpha must be <= 1, got 1.5"),
        ({"metric": "tversky", "beta": -0.5}, ValueError, "beta must be >= 0, got -0.5"),
        ({"min_support": 0}, ValueError, "min_support must be >= 1, got 0"),
        ({"bm25_k1": -1}, ValueError, "bm25_k1 must be >= 0, got -1"),
        ({"bm25_b": 2}, ValueError, "bm25_b must be <= 1, got 2"),
        ({"half_life": 0}, ValueError, "half_life must be > 0, got 0"),
        ({"metric": "jaccard", "weighting": "bm25"}, ValueError, "weighting changes values, .*'jaccard'.*cosine'"),
        ({"metric": "lift", "half_life": 3}, ValueError, "half_life changes values, .*'lift'.*leave it None"),
        ({"metric": "cooccurrence", "shrinkage": 3}, ValueError, "shrinkage is added to a denominator, .*leave it 0"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, dense, parameters, error, message):
    with pytest.raises(error, match=f"^{kind.__name__}: {message}"):
        kind(**parameters).fit(dense)


def test_values_whose_products_leave_float32_are_refused(kind, dense):
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: sums of products may reach .*; scale the values of X$"):
        kind().fit(1e20 * dense)


def test_ids_and_neighbours_survive_a_file(kind, dense, tmp_path):
    users, items = np.nonzero(dense)
    data = lw.Interactions.from_arrays([f"u{user}" for user in users], [f"i{item}" for item in items])
    model = kind(k=5, weighting="bm25").fit(data)
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    for options in ({}, {"interactions": data}):
        assert_array_equal(loaded.recommend("u3", **options).items, model.recommend("u3", **options).items)
    similar = "similar_items" if kind is lw.ItemKNN else "similar_users"
    query = "i3" if kind is lw.ItemKNN else "u3"
    assert_array_equal(getattr(loaded, similar)(query).ids, getattr(model, similar)(query).ids)


def test_any_number_of_threads_finds_the_same(kind, dense):
    X = CSR.from_scipy(sp.csr_array(np.tile(dense, (20, 3))))
    one, two = (_learned(kind(k=7, weighting="bm25", n_jobs=n_jobs), X) for n_jobs in (1, 2))
    assert_array_equal(one, two)


def test_ages_may_be_longer_than_the_greatest_integer():
    """Dates of 1700 and of 2024 are more than 2^63 nanoseconds apart."""
    times = np.array(["1700-01-01"] * 4 + ["2024-01-01"] * 4, "datetime64[ns]")
    data = lw.Interactions.from_arrays([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 1, 2, 1, 2], timestamps=times)
    weights = lw.ItemKNN(metric="cooccurrence", half_life=1e4).fit(data).weights_.to_scipy().toarray()
    days = (times[-1].astype("datetime64[D]") - times[0].astype("datetime64[D]")).astype(float)
    assert weights[1, 2] == pytest.approx(2)
    assert weights[0, 1] == pytest.approx(2 * 4 ** -(days / 1e4), rel=1e-4)
