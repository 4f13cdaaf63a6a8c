"""What is particular to `SlopeOne`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
import reference
from likewise.models import slope_one


@pytest.fixture(scope="module")
def ratings():
    """Ratings 1 to 10, NaN being none; one user and one item have none."""
    rng = np.random.default_rng(3)
    given = np.where(rng.random((40, 30)) < 0.15, rng.integers(1, 11, (40, 30)), np.nan)
    given[7], given[:, 9] = np.nan, np.nan
    return given


@pytest.fixture(scope="module")
def matrix(ratings):
    return sp.csr_array(np.nan_to_num(ratings))


def _expected(ratings, model, weighted):
    """Estimates of all pairs."""
    estimates = np.empty(ratings.shape)
    for u, i in np.ndindex(*ratings.shape):
        history = ratings[u]
        if np.isnan(history).all() or np.isnan(ratings[:, i]).all():
            estimates[u, i] = model.global_mean_ + model.user_biases_[u] + model.item_biases_[i]
            continue
        mean = np.nanmean(history)
        above = history - mean if weighted else history * 0
        estimates[u, i] = mean + reference.slope_one(ratings, above, i, weighted)[0]
    return estimates


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_those_of_the_definition(ratings, matrix, weighted):
    model = lw.SlopeOne(weighted, clip=False).fit(matrix)
    users, items = np.divmod(np.arange(ratings.size), 30)
    expected = _expected(ratings, model, weighted)
    assert_allclose(model.predict(users, items), expected.ravel(), rtol=1e-5, atol=1e-5)
    order = np.random.default_rng(0).permutation(ratings.size)[:300]
    assert_allclose(model.predict(users[order], items[order]), expected.ravel()[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("block", [1, 64, 1 << 22])
def test_ranking_is_by_the_estimates(ratings, matrix, weighted, block, monkeypatch):
    monkeypatch.setattr(slope_one, "_BLOCK_PAIRS", block)
    model = lw.SlopeOne(weighted).fit(matrix)
    expected = _expected(ratings, model, weighted)
    items, scores = model.recommend(k=30, exclude_seen=False)
    assert_array_equal(items[:, -1], -1)
    assert_allclose(scores[:, :-1], np.take_along_axis(expected, items[:, :-1], axis=1), rtol=1e-5, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    unrated = model.recommend(0, k=1, items=[9])
    assert unrated.scores[0] == pytest.approx(expected[0, 9], rel=1e-6)


@pytest.mark.parametrize("most", [0, 1, 100, 1000])
def test_predictions_do_not_depend_on_how_items_are_grouped(matrix, most, monkeypatch):
    model = lw.SlopeOne().fit(matrix)
    users, items = np.divmod(np.arange(1200), 30)
    whole = model.predict(users, items)
    every, one = model.recommend(k=30), model.recommend(3, k=30)
    monkeypatch.setattr(slope_one, "_BLOCK_DIFFERENCES", most)
    assert_array_equal(model.predict(users, items), whole)
    assert_array_equal(model.recommend(k=30).scores, every.scores)
    assert_array_equal(model.recommend(3, k=30).scores, one.scores)


@pytest.mark.parametrize("weighted", [False, True])
def test_users_get_by_themselves_what_they_get_among_others(matrix, weighted):
    """From the items of the few, and from all items for the many, bit by bit."""
    model = lw.SlopeOne(weighted).fit(matrix)
    everybody = model.recommend(k=30)
    for user in range(40):
        alone = model.recommend(user, k=30)
        assert_array_equal(alone.items, everybody.items[user])
        assert_array_equal(alone.scores, everybody.scores[user])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fitted_users_ratings_folded_in_give_the_same(matrix, weighted):
    model = lw.SlopeOne(weighted).fit(matrix)
    rows = [0, 3, 11, 30]
    ours = model.recommend(rows, k=10, exclude_seen=False)
    folded = model.recommend(interactions=matrix[rows], k=10, exclude_seen=False)
    assert_array_equal(folded.items, ours.items)
    assert_array_equal(folded.scores, ours.scores)


def test_the_weighted_estimate_of_the_paper():
    """Two users have rated both of items 0 and 1, one both of 0 and 2: (2 (0.5 + 2) + 1 (3 + 5)) / 3."""
    model = lw.SlopeOne(weighted=True).fit(np.array([[5, 3, 2], [3, 4, 0], [0, 2, 5]]))
    assert model.predict(2, 0)[0] == pytest.approx(13 / 3)
    model = lw.SlopeOne(clip=False).fit(np.array([[5, 3, 2], [3, 4, 0], [0, 2, 5]]))
    assert model.predict(2, 0)[0] == pytest.approx(3.5 + (0.5 + 3) / 2)


@pytest.mark.parametrize("weighted", [False, True])
def test_predictions_are_the_same_bits_at_any_number_of_threads(matrix, weighted):
    users, items = np.divmod(np.arange(1200), 30)
    one, two = (lw.SlopeOne(weighted, n_jobs=n_jobs).fit(matrix).predict(users, items) for n_jobs in (1, 2))
    assert_array_equal(one, two)


def test_what_happens_to_the_matrix_after_the_fit_changes_nothing(matrix):
    given = matrix.astype(np.float32)
    model = lw.SlopeOne().fit(given)
    before = model.predict(3, np.arange(30))
    given.data[:] = 1
    assert_array_equal(model.predict(3, np.arange(30)), before)


def test_bad_parameters_are_refused(matrix):
    with pytest.raises(TypeError, match=r"^SlopeOne: weighted must be True or False, got 1$"):
        lw.SlopeOne(1).fit(matrix)


def test_surprise_predicts_the_same(ratings):
    """Whole ratings, as it takes no others; of pairs that the fit does not know."""
    surprise = pytest.importorskip("surprise", reason="scikit-surprise is not installed")
    import pandas as pd

    users, items = np.nonzero(~np.isnan(ratings))
    frame = pd.DataFrame({"user": users, "item": items, "rating": ratings[users, items]})
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 10)))
    theirs = surprise.SlopeOne().fit(data.build_full_trainset())
    rows, columns = np.nonzero(np.isnan(ratings))
    known = np.isin(rows, users) & np.isin(columns, items)
    expected = [theirs.predict(int(u), int(i)).est for u, i in zip(rows[known], columns[known], strict=True)]
    ours = lw.SlopeOne().fit(sp.csr_array(np.nan_to_num(ratings))).predict(rows[known], columns[known])
    assert_allclose(ours, expected, atol=1e-5)
