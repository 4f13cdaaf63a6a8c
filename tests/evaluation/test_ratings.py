"""Metrics of ratings: definitions, what counts, pooling, intervals, the company of ranking metrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
import reference

METRICS = ["rmse", "mae", "fcp"]
MODELS = {
    "baseline": lw.BaselinePredictor(),
    "slope-one": lw.SlopeOne(),
    "item-knn": lw.ItemKNN(k=10, target="rating", normalization="mean"),
    "user-knn": lw.UserKNN(k=10, target="rating"),
}


@pytest.fixture
def split(rng):
    """Ratings of users of many lengths: user 3 has one in test, user 4 none there, user 5 none in train."""
    ratings = np.where(rng.random((40, 30)) < rng.random((40, 1)), rng.integers(-1, 6, (40, 30)), np.nan)
    hidden = rng.random(ratings.shape) < 0.4
    hidden[3], hidden[4], hidden[5] = False, False, True
    hidden[3, 8], ratings[3, 8] = True, 2
    parts = []
    for kept in (~hidden, hidden):
        users, items = np.nonzero(kept & ~np.isnan(ratings))
        parts.append(lw.Interactions.from_csr(sp.csr_array((ratings[users, items], (users, items)), shape=(40, 30))))
    return parts


def expected(model, test):
    """Per user and of all."""
    matrix, per_user = test.by_user, []
    sums = np.zeros(5)
    for user in range(test.n_users):
        items, ratings = matrix.row(user)
        estimates = model.predict(np.full(items.size, user), items) if items.size else np.empty(0)
        errors = estimates.astype(np.float64) - ratings
        comparable, concordant = reference.concordant_pairs(ratings, estimates)
        parts = np.array([(errors**2).sum(), np.abs(errors).sum(), items.size, concordant, comparable])
        per_user.append(_figures(parts))
        sums += parts
    return np.array(per_user), _figures(sums)


def _figures(parts):
    squares, magnitudes, n, concordant, comparable = parts
    return [
        np.sqrt(squares / n) if n else np.nan,
        magnitudes / n if n else np.nan,
        concordant / comparable if comparable else np.nan,
    ]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("batch_size", [3, 16384])
def test_metrics_of_ratings_match_the_definitions(model, split, batch_size):
    train, test = split
    result = lw.evaluate(model.fit(train), train, test, METRICS, batch_size=batch_size)
    per_user, of_all = expected(model, test)
    has_ratings = test.by_user.row_counts() > 0
    assert_array_equal(result.users, np.flatnonzero(has_ratings))
    for j, name in enumerate(METRICS):
        assert_allclose(result.per_user[name], per_user[has_ratings, j], rtol=1e-6)
        assert result[name] == pytest.approx(of_all[j], rel=1e-6)
    assert result["rmse"] != pytest.approx(np.nanmean(result.per_user["rmse"]), rel=1e-3)
    at = result.users.tolist().index(3)
    assert np.isnan(result.per_user["fcp"][at])
    assert result.per_user["rmse"][at] == pytest.approx(result.per_user["mae"][at])


def test_ratings_are_predicted_in_blocks(split, monkeypatch):
    train, test = split
    model = lw.BaselinePredictor().fit(train)
    whole = lw.evaluate(model, train, test, METRICS)
    monkeypatch.setitem(lw.evaluate.__globals__, "_BLOCK_RATINGS", 7)
    parts = lw.evaluate(model, train, test, METRICS)
    for name in METRICS:
        assert_array_equal(parts.per_user[name], whole.per_user[name])


def test_intervals_resample_users_and_pool_their_ratings(split):
    train, test = split
    model = lw.BaselinePredictor().fit(train)
    result = lw.evaluate(model, train, test, METRICS, n_bootstrap=4000, confidence=0.9)
    counts, rng = test.by_user.row_counts()[result.users], np.random.default_rng(0)
    squares = result.per_user["rmse"] ** 2 * counts
    drawn = rng.integers(0, counts.size, (4000, counts.size))
    means = np.sqrt(squares[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    assert_allclose(result.interval("rmse"), np.quantile(means, [0.05, 0.95]), rtol=0.02)
    for name in METRICS:
        low, high = result.interval(name)
        assert low < result[name] < high
        assert result.interval(name) == (low, high)
    alone = lw.evaluate(model, train, test, "mae", n_bootstrap=4000, confidence=0.9)
    assert alone.interval("mae") == result.interval("mae")


def test_metrics_of_ratings_and_of_rankings_stand_in_one_result(split):
    train, test = split
    model = lw.BaselinePredictor().fit(train)
    names = ["ndcg@5", "rmse", "auc", "fcp", "recall@3"]
    result = lw.evaluate(model, train, test, names)
    assert list(result) == names
    for name in names:
        alone = lw.evaluate(model, train, test, name, users=result.users)
        assert_array_equal(alone.per_user[name], result.per_user[name])
        assert alone[name] == result[name]
    frame = result.to_frame(library="pandas")
    assert frame.set_index("metric")["mean"]["rmse"] == result["rmse"]
    assert "mean or figure of all ratings, 95% bootstrap interval over users" in repr(result)
    assert "(figure of all ratings, 95%" in repr(lw.evaluate(model, train, test, METRICS))


def test_users_are_folded_in_from_what_train_says(split):
    train, test = split
    known, strangers = np.arange(40) < 20, np.arange(40) >= 20
    model = lw.BaselinePredictor().fit(train[known])
    result = lw.evaluate(model, train[strangers], test[strangers], "rmse")
    biases = model._folded_biases(train[strangers].by_user)
    coo = test[strangers].by_user.to_scipy().tocoo()
    estimates = model.global_mean_ + biases[coo.row] + model.item_biases_[coo.col]
    errors = np.clip(estimates, *model.rating_scale_) - coo.data
    assert result["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)


def test_unknown_users_and_items_are_left_out_and_counted():
    train = lw.Interactions.from_arrays(list("aabb"), list("xyxz"), [1.0, 2.0, 3.0, 4.0])
    test = lw.Interactions.from_arrays(list("abcb"), list("zyxw"), [1.0, 2.0, 5.0, 5.0])
    model = lw.BaselinePredictor().fit(train)
    result = lw.evaluate(model, train, test, "mae")
    assert (result.n_unknown_users, result.n_unknown_items) == (1, 1)
    errors = np.abs(model.predict(["a", "b"], ["z", "y"]) - [1, 2])
    assert result["mae"] == pytest.approx(errors.mean(), rel=1e-6)
    named = lw.evaluate(model, train, test, METRICS, users=["b", "a"])
    assert_allclose(named.per_user["mae"], errors[::-1], rtol=1e-6)
    assert np.isnan(named["fcp"])
    assert np.isnan(named.interval("fcp")).all()


def test_ties_are_not_in_order():
    """All estimates of one user are equal, so that none of its pairs is told apart."""
    train = lw.Interactions.from_arrays(list("aab"), list("xyx"), [3.0, 3.0, 3.0])
    test = lw.Interactions.from_arrays(list("bb"), list("xy"), [1.0, 5.0])
    assert lw.evaluate(lw.BaselinePredictor().fit(train), train, test, "fcp")["fcp"] == 0


def test_nothing_to_measure_is_an_error():
    train = lw.Interactions.from_arrays(list("aab"), list("xyx"), [3.0, 2.0, 3.0])
    model = lw.BaselinePredictor().fit(train)
    level = lw.Interactions.from_arrays(list("bb"), list("xy"), [5.0, 5.0])
    with pytest.raises(ValueError, match=r"^evaluate: no user has ratings in test that differ$"):
        lw.evaluate(model, train, level, "fcp")
    unknown = lw.Interactions.from_arrays(["z"], ["x"], [5.0])
    with pytest.raises(ValueError, match=r"^evaluate: no user has ratings in test that train and the model know of$"):
        lw.evaluate(model, train, unknown, METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_predicts_no_ratings_is_refused(split, metric):
    train, test = (part.binarize() for part in split)
    for model in (lw.Popularity(), lw.ItemKNN()):
        with pytest.raises(
            ValueError,
            match=rf"^evaluate: {metric} is a metric of ratings, and {type(model).__name__} predicts none; take a "
            r"model of ratings \(BaselinePredictor, .*ItemKNN or UserKNN with target='rating'\), or a metric of",
        ):
            lw.evaluate(model.fit(train), train, test, ["ndcg@5", metric])


def test_metrics_of_ratings_have_no_cutoff(split):
    model = lw.BaselinePredictor().fit(split[0])
    with pytest.raises(ValueError, match=r"evaluate: rmse is over all ratings and has no cutoff, got 'rmse@5'"):
        lw.evaluate(model, *split, "rmse@5")


def test_surprise_measures_the_same(split):
    """RMSE and MAE; its FCP divides counts by the users that have any, and not by those of all."""
    accuracy = pytest.importorskip("surprise.accuracy", reason="scikit-surprise is not installed")
    train, test = split
    model = lw.BaselinePredictor().fit(train)
    result = lw.evaluate(model, train, test, METRICS)
    coo = test.by_user.to_scipy().tocoo()
    estimates = model.predict(coo.row, coo.col)
    predictions = [(u, i, r, e, {}) for u, i, r, e in zip(coo.row, coo.col, coo.data, estimates, strict=True)]
    assert result["rmse"] == pytest.approx(accuracy.rmse(predictions, verbose=False), rel=1e-5)
    assert result["mae"] == pytest.approx(accuracy.mae(predictions, verbose=False), rel=1e-5)
    one = [prediction for prediction in predictions if prediction[0] == 10]
    at = result.users.tolist().index(10)
    assert result.per_user["fcp"][at] == pytest.approx(accuracy.fcp(one, verbose=False))
