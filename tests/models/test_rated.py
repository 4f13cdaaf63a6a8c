"""Neighbours with ``target="rating"``: against a few lines of NumPy, and against Surprise where it is installed."""

from __future__ import annotations

import contextlib
import io
import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
import reference
from likewise.models import base

METRICS = ("cosine", "msd", "pearson", "pearson_baseline")
NORMALIZATIONS = (None, "mean", "zscore", "baseline")
CLASSES = {"user": lw.UserKNN, "item": lw.ItemKNN}


@pytest.fixture(scope="module")
def dense():
    """Ratings 1 to 10; one user and one item have none."""
    rng = np.random.default_rng(3)
    ratings = np.where(rng.random((50, 40)) < 0.3, rng.integers(1, 11, (50, 40)), 0).astype(np.float32)
    ratings[7], ratings[:, 9] = 0, 0
    return ratings


@pytest.fixture(scope="module")
def pairs(dense):
    """Half of the pairs without a rating."""
    rng = np.random.default_rng(4)
    users, items = np.nonzero((dense == 0) & (rng.random(dense.shape) < 0.5))
    return users, items


def _baselines(ratings):
    """Mean, and biases of users and items by ten sweeps of ridge regressions."""
    known = ~np.isnan(ratings)
    mean, user, item = ratings[known].mean(), np.zeros(len(ratings)), np.zeros(ratings.shape[1])
    for _ in range(10):
        item = np.nansum(ratings - mean - user[:, None], axis=0) / (10 + known.sum(axis=0))
        user = np.nansum(ratings - mean - item, axis=1) / (15 + known.sum(axis=1))
    return mean + user[:, None] + item


def _expected(ratings, pairs, *, side, metric, normalization, k, shrinkage=0, min_support=1, min_neighbors=1):
    """Estimates of pairs, one after the other: rows of `x` are compared."""
    baselines, mean = _baselines(ratings), np.nanmean(ratings)
    x, b = (ratings, baselines) if side == "user" else (ratings.T, baselines.T)
    counts = (~np.isnan(x)).sum(axis=1)
    means = np.where(counts, np.nansum(x, axis=1) / np.maximum(1, counts), mean)
    spreads = np.sqrt(np.nansum((x - means[:, None]) ** 2, axis=1) / np.maximum(1, counts))
    spreads = np.where(spreads > 0, spreads, np.nanstd(ratings))[:, None]
    compared = x - b if metric == "pearson_baseline" else x
    similar = np.zeros((len(x), len(x)))
    for i, j in itertools.product(range(len(x)), repeat=2):
        n = (~np.isnan(x[i]) & ~np.isnan(x[j])).sum()
        if n >= min_support:
            measure = "cosine" if metric == "pearson_baseline" else metric
            similar[i, j] = reference.rating_similarity(measure, compared[i], compared[j])
            similar[i, j] *= (n - 1) / (n - 1 + shrinkage) if shrinkage else 1
    of_row = np.broadcast_to(means[:, None], x.shape)
    shift = {None: 0, "mean": of_row, "zscore": of_row, "baseline": b}[normalization]
    scale = spreads if normalization == "zscore" else np.ones_like(spreads)
    above = (x - shift) / scale
    base = {None: np.full(x.shape, mean), "baseline": b}.get(normalization, of_row)
    estimates = []
    for row, column in zip(*(pairs if side == "user" else pairs[::-1]), strict=True):
        raters = np.flatnonzero(~np.isnan(x[:, column]) & (similar[row] > 0))
        nearest = raters[np.lexsort((raters, -similar[row, raters].astype(np.float32)))][:k]
        estimate = base[row, column]
        if nearest.size >= min_neighbors:
            weights = similar[row, nearest]
            estimate = weights @ above[nearest, column] / weights.sum() * scale[row, 0]
            estimate += 0 if normalization is None else base[row, column]
        estimates.append(estimate)
    return np.clip(estimates, np.nanmin(ratings), np.nanmax(ratings))


@pytest.mark.parametrize("side", CLASSES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_estimates_match_the_formulas(dense, pairs, side, metric, normalization):
    options = {"metric": metric, "normalization": normalization, "k": 6, "min_support": 2, "min_neighbors": 2}
    options["shrinkage"] = 100.0 if metric == "pearson_baseline" else 0.0
    model = CLASSES[side](target="rating", **options).fit(dense)
    wanted = _expected(np.where(dense > 0, dense, np.nan).astype(np.float64), pairs, side=side, **options)
    agree = np.isclose(model.predict(*pairs), wanted, rtol=1e-4, atol=1e-4)
    assert agree.mean() > 0.99  # rounding puts few near ties in another order


@pytest.mark.parametrize("side", CLASSES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_estimates_are_those_of_surprise(dense, pairs, side, normalization):
    surprise = pytest.importorskip("surprise", reason="scikit-surprise is not installed")
    users, items = np.nonzero(dense)
    frame = pd.DataFrame({"user": users, "item": items, "rating": dense[users, items]})
    reader = surprise.Reader(rating_scale=(float(dense[dense > 0].min()), float(dense.max())))
    known = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
    kinds = (surprise.KNNBasic, surprise.KNNWithMeans, surprise.KNNWithZScore, surprise.KNNBaseline)
    peer_class = dict(zip(NORMALIZATIONS, kinds, strict=True))[normalization]
    for metric in METRICS:
        shrinkage = 100.0 if metric == "pearson_baseline" else 0.0
        options = {"name": metric, "user_based": side == "user", "min_support": 2, "shrinkage": shrinkage}
        with contextlib.redirect_stdout(io.StringIO()):
            peer = peer_class(k=6, sim_options=options, bsl_options={"method": "als"}, verbose=False).fit(known)
        model = CLASSES[side](
            k=6, metric=metric, shrinkage=shrinkage, min_support=2, target="rating", normalization=normalization
        ).fit(dense)
        given = [(u, i) for u, i in zip(*pairs, strict=True) if u != 7 and i != 9]  # of those Surprise knows nothing
        theirs = np.array([peer.predict(u, i).est for u, i in given])
        ours = model.predict(*map(list, zip(*given, strict=True)))
        assert np.isclose(ours, theirs, atol=1e-4).mean() > 0.99


@pytest.mark.parametrize("side", CLASSES)
def test_recommend_ranks_by_the_estimates_that_rest_on_neighbours(dense, side):
    model = CLASSES[side](k=5, metric="pearson", target="rating", normalization="mean", clip=False).fit(dense)
    items, scores = model.recommend(k=40)
    for user in range(50):
        given = items[user][items[user] >= 0]
        assert not (dense[user, given] > 0).any()
        assert_allclose(model.predict(user, given), scores[user, : given.size], rtol=1e-6)
        assert (np.diff(scores[user, : given.size]) <= 0).all()
    assert_array_equal(items[7], np.full(40, -1))
    assert 9 not in items


@pytest.mark.parametrize("side", CLASSES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("metric", ["msd", "pearson_baseline"])
def test_a_fitted_users_ratings_folded_in_give_the_same(dense, side, normalization, metric):
    model = CLASSES[side](k=5, metric=metric, target="rating", normalization=normalization).fit(dense)
    rows = [0, 3, 7, 30]
    ours = model.recommend(rows, k=10, exclude_seen=False)
    folded = model.recommend(interactions=sp.csr_array(dense[rows]), k=10, exclude_seen=False)
    assert_array_equal(folded.items, ours.items)
    assert_allclose(folded.scores[ours.items >= 0], ours.scores[ours.items >= 0], rtol=1e-5)


@pytest.mark.parametrize("side", CLASSES)
def test_score_is_minus_the_error_of_hidden_ratings(dense, side):
    model = CLASSES[side](k=10, metric="msd", target="rating", normalization="baseline").fit(dense)
    visible, hidden = base.hide_items(lw.Interactions.from_csr(sp.csr_array(dense)).by_user)
    assert -4 < model.score(dense) < 0
    assert np.isnan(model.score(np.eye(40)[:3]))
    assert hidden.nnz > 0
    assert visible.nnz > hidden.nnz


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_contributions_of_an_explanation_add_up(dense, normalization):
    model = lw.ItemKNN(k=4, metric="msd", target="rating", normalization=normalization, clip=False).fit(dense)
    for user, item in ((0, 3), (5, 0), (11, 20)):
        explained = model.explain(user, item, k=40)
        assert explained.score == pytest.approx(float(model.predict(user, item)[0]), abs=1e-5)
        rated = dense[:, item][dense[:, item] > 0]
        if normalization in (None, "mean", "zscore"):
            above = 0 if normalization is None else rated.mean()
            assert explained.contributions.sum() == pytest.approx(explained.score - above, abs=1e-4)
        assert set(explained.items) <= set(np.flatnonzero(dense[user]))
        assert len(explained.items) <= 4
        assert (np.diff(explained.contributions) <= 0).all()
    assert len(model.explain(7, 3).items) == 0


@pytest.mark.parametrize(("side", "method"), [("user", "similar_users"), ("item", "similar_items")])
def test_similar_ones_are_those_of_the_measure(dense, side, method):
    model = CLASSES[side](metric="pearson", target="rating", min_support=3).fit(dense)
    x = np.where(dense > 0, dense, np.nan).astype(np.float64)
    x = x if side == "user" else x.T
    ids, scores = getattr(model, method)([0, 4], k=len(x) + 3)
    for row, query in enumerate([0, 4]):
        similar = [
            reference.rating_similarity("pearson", x[query], other)
            if v != query and (~np.isnan(x[query]) & ~np.isnan(other)).sum() >= 3
            else 0.0
            for v, other in enumerate(x)
        ]
        best = np.sort(np.array(similar)[np.array(similar) > 1e-7])[::-1]
        assert_allclose(scores[row, : best.size], best, atol=1e-5)
        assert_array_equal(ids[row, best.size :], np.full(len(x) + 3 - best.size, -1))
        assert query not in ids[row]


@pytest.mark.parametrize("side", CLASSES)
def test_ratings_of_zero_and_below_are_ratings(side):
    rows, columns = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 2]
    ratings = sp.csr_array((np.array([0, -3, 0, -2, 1, 5.0]), (rows, columns)), shape=(3, 3))
    model = CLASSES[side](metric="msd", target="rating").fit(ratings)
    if side == "user":
        assert model.predict(2, 1)[0] == -2.5  # users 0 and 1 are as like user 2 as one another
        assert model.predict(0, 2)[0] == 5
    else:
        assert model.predict(2, 1)[0] == 1
        assert model.predict(0, 2)[0] == 0  # not the mean of all, as it would be without neighbours


def test_a_saved_model_predicts_the_same_and_learns_on(dense, pairs, tmp_path):
    for name, model in CLASSES.items():
        fitted = model(k=5, metric="pearson", target="rating", normalization="zscore").fit(dense)
        fitted.save(tmp_path / name)
        loaded = lw.load(tmp_path / name)
        assert_array_equal(loaded.predict(*pairs), fitted.predict(*pairs))
        new = np.zeros((51, 40))
        new[50, :20] = 8
        assert loaded.partial_fit(new).predict(50, 30).shape == (1,)
        assert loaded.n_users_ == 51


def test_a_refit_with_another_target_forgets_the_first(dense):
    for model, attribute in ((lw.ItemKNN(), "weights_"), (lw.UserKNN(), "neighbors_")):
        model.fit(dense)
        assert hasattr(model, attribute)
        model.set_params(target="rating").fit(dense)
        assert not hasattr(model, attribute)
        model.set_params(target="implicit").fit(dense).recommend()


@pytest.mark.parametrize("side", CLASSES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "ratings"}, "target must be one of 'implicit', 'rating', got 'ratings'"),
        ({"target": "rating", "metric": "jaccard"}, "metric with target='rating' must be one of 'cosine', 'msd'"),
        ({"target": "rating", "normalization": "std"}, "normalization must be one of 'mean', 'zscore', 'baseline'"),
        ({"target": "rating", "min_neighbors": 0}, "min_neighbors must be >= 1, got 0"),
        ({"target": "rating", "weighting": "bm25"}, "weighting changes values, which target='rating' predicts"),
        ({"target": "rating", "half_life": 3.0}, "half_life changes values, which target='rating' predicts"),
        ({"metric": "msd"}, "metric must be one of"),
        ({"normalization": "mean"}, "normalization is of predicted ratings, got 'mean'; leave it None, or take"),
        ({"min_neighbors": 2}, "min_neighbors is of predicted ratings, got 2; leave it 1, or take target='rating'"),
        ({"clip": False}, "clip is of predicted ratings, got False; leave it True, or take target='rating'"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(dense, side, options, message):
    name = CLASSES[side].__name__
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        CLASSES[side](**options).fit(dense)


def test_ratings_have_no_sparse_scores(dense):
    for model in CLASSES.values():
        with pytest.raises(NotImplementedError, match="target='rating' has an estimate for every pair"):
            model(target="rating").fit(dense).transform(dense)


@pytest.mark.parametrize("side", CLASSES)
def test_what_happens_to_the_matrix_after_the_fit_changes_nothing(dense, pairs, side):
    matrix = sp.csr_array(dense)
    model = CLASSES[side](metric="pearson", target="rating", normalization="mean").fit(matrix)
    before = model.predict(*pairs)
    matrix.data[:] = 5
    assert_array_equal(model.predict(*pairs), before)


@pytest.mark.parametrize("side", CLASSES)
def test_a_device_that_is_not_there_is_an_error_of_the_fit(dense, side):
    with pytest.raises(ValueError, match=r"device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"):
        CLASSES[side](target="rating", device="tpu").fit(dense)
