"""What models of ratings with vectors share, shown by one whose vectors are drawn and not learned."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
from likewise._backend import get_backend
from likewise.data import CSR
from likewise.models._ratings import RatingVectorRecommender, Users, fit_baselines, user_baselines

N_USERS, N_ITEMS, EMPTY_USER, EMPTY_ITEM = 50, 40, 7, 9


class Drawn(RatingVectorRecommender):
    """Vectors by chance; a new user's vector is the mean of the rated items' vectors."""

    def __init__(self, biased=True, clip=False):
        self.biased = biased
        self.clip = clip

    @property
    def _is_biased(self):
        return self.biased

    def _fit(self, data, previous):
        self._set_scale(data.by_user)
        found = fit_baselines(self._backend(), data.by_user, data.by_item)
        self._set_biases(found.user_biases, found.item_biases)
        rng = np.random.default_rng(0)
        self.user_factors_ = rng.normal(size=(data.n_users, 5)).astype(np.float32)
        self.item_factors_ = rng.normal(size=(data.n_items, 5)).astype(np.float32)
        self.user_factors_[data.by_user.row_counts() == 0] = 0
        self.item_factors_[self._unrated] = 0

    def _users(self, histories, rows):
        if histories is None:
            return Users(self.user_biases_[rows], self.user_factors_[rows])
        given = histories.take_rows(rows)
        vectors = given.to_scipy().astype(bool) @ self.item_factors_ / np.maximum(1, given.row_counts())[:, np.newaxis]
        return Users(self._folded_biases(given).astype(np.float32), vectors.astype(np.float32))

    def _item_vectors(self):
        return self.item_factors_


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(3)
    ratings = np.where(rng.random((N_USERS, N_ITEMS)) < 0.3, rng.integers(1, 11, (N_USERS, N_ITEMS)), 0)
    ratings[EMPTY_USER], ratings[:, EMPTY_ITEM] = 0, 0
    return sp.csr_array(ratings.astype(np.float64))


@pytest.fixture(params=[True, False], ids=["biased", "unbiased"])
def model(request, matrix):
    return Drawn(request.param).fit(matrix)


def _estimates(model, biases, vectors):
    products = vectors.astype(np.float64) @ model.item_factors_.T
    baselines = model.global_mean_ + np.add.outer(biases, model.item_biases_)
    if model.biased:
        return baselines + products
    known = np.logical_and.outer(vectors.any(axis=1), np.arange(N_ITEMS) != EMPTY_ITEM)
    return np.where(known, products, baselines)


def test_predictions_are_the_estimates(model):
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    expected = _estimates(model, model.user_biases_, model.user_factors_)
    assert_allclose(model.predict(users, items), expected.ravel(), rtol=1e-5, atol=1e-5)
    mean = model.global_mean_
    assert_allclose(
        model.predict([999, 3, 999, EMPTY_USER], [3, 999, 999, 4]),
        [mean + model.item_biases_[3], mean + model.user_biases_[3], mean, mean + model.item_biases_[4]],
        rtol=1e-6,
    )


def test_ranking_is_by_the_estimates(model, matrix):
    items, scores = model.recommend(k=N_ITEMS, exclude_seen=False)
    expected = _estimates(model, model.user_biases_, model.user_factors_)
    assert_array_equal(items[:, -1], -1)
    assert EMPTY_ITEM not in items
    assert_allclose(scores[:, :-1], np.take_along_axis(expected, items[:, :-1], 1), rtol=1e-5, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    table = model._scores(None, np.arange(N_USERS))
    assert_array_equal(table[:, EMPTY_ITEM], -np.inf)
    rated = np.arange(N_ITEMS) != EMPTY_ITEM
    assert_allclose(table[:, rated], expected[:, rated], rtol=1e-5, atol=1e-5)
    seen = model.recommend(k=N_ITEMS)
    assert not (matrix.toarray()[np.nonzero(seen.items >= 0)[0], seen.items[seen.items >= 0]] > 0).any()


def test_new_users_are_folded_in(model, matrix):
    folded = model._users(CSR.from_scipy(matrix), np.arange(N_USERS))
    expected = _estimates(model, folded.biases, folded.vectors)
    items, scores = model.recommend(k=N_ITEMS - 1, exclude_seen=False, interactions=matrix)
    assert_allclose(scores, np.take_along_axis(expected, items, axis=1), rtol=1e-5, atol=1e-5)


def test_an_index_finds_what_ranking_finds(model):
    pytest.importorskip("usearch", reason="usearch is not installed")
    before = model.recommend(k=5)
    model.build_index()
    after = model.recommend(k=5)
    assert_array_equal(after.items, before.items)
    assert_allclose(after.scores, before.scores, rtol=1e-6)


def test_similar_items_are_those_of_like_vectors(model):
    given = model.similar_items(3, k=N_ITEMS)
    assert EMPTY_ITEM not in given.items
    units = model.item_factors_ / np.maximum(1e-30, np.linalg.norm(model.item_factors_, axis=1, keepdims=True))
    assert_allclose(given.scores[:5], (units[given.items[:5]] @ units[3]), rtol=1e-5)


def test_many_hidden_ratings_are_predicted_in_blocks(model, matrix, monkeypatch):
    whole = model.score(matrix)
    monkeypatch.setattr("likewise.models.base._BLOCK_ENTRIES", 5)
    assert model.score(matrix) == pytest.approx(whole, rel=1e-12)


def test_baselines_of_the_fitted_users_are_those_of_users_with_their_ratings(matrix):
    """Once sweeps change nothing any more."""
    backend, by_user = get_backend(), CSR.from_scipy(matrix)
    found = fit_baselines(backend, by_user, by_user.transpose(), iterations=200)
    again = user_baselines(backend, by_user, found.mean, found.item_biases)
    assert_allclose(again, found.user_biases, rtol=1e-9, atol=1e-12)


def test_a_model_that_ranks_predicts_no_ratings():
    model = lw.Popularity().fit(np.eye(3))
    assert not model._predicts_ratings
    with pytest.raises(NotImplementedError, match="Popularity: predicts no ratings"):
        model._predicted_ratings(None, np.zeros(1, np.int64), np.zeros(1, np.int64))
