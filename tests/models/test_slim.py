"""What is particular to `SLIM`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import likewise as lw
import reference
from likewise.data import CSR
from likewise.models import slim


@pytest.fixture
def matrix(rng):
    return reference.random_csr(rng, (80, 30), 0.15)


def dense(model):
    return model.weights_.to_scipy().toarray()


@pytest.mark.parametrize("non_negative", [True, False], ids=["non-negative", "any sign"])
def test_weights_are_the_elastic_nets_of_the_columns(matrix, non_negative):
    model = lw.SLIM(0.5, 3.0, non_negative=non_negative, tolerance=1e-6).fit(matrix)
    assert model.weights_.shape == (30, 30)
    assert model.n_unconverged_ == 0
    assert_allclose(dense(model), reference.slim(matrix, 0.5, 3.0, non_negative), atol=1e-4)


def test_scores_are_histories_times_weights(matrix):
    model = lw.SLIM(0.1, 3.0).fit(matrix)
    scores = matrix.to_scipy().toarray().astype(np.float64) @ dense(model)
    users, items = np.nonzero(scores)
    assert_allclose(model.predict(users, items), scores[users, items], rtol=1e-6)
    assert_allclose(model.transform(matrix).toarray(), scores, rtol=1e-6)
    found = model.recommend(5, k=30, exclude_seen=False)
    assert_allclose(found.scores[found.items >= 0], np.sort(scores[5][scores[5] > 0])[::-1], rtol=1e-6)


def test_explain_adds_up_to_the_score(matrix):
    model = lw.SLIM(0.1, 3.0).fit(matrix)
    user, item = 5, int(model.recommend(5, k=1).items[0])
    explanation = model.explain(user, item)
    assert_allclose(explanation.score, model.predict([user], [item])[0], rtol=1e-6)
    assert set(explanation.items) <= set(matrix.row(user)[0])


def test_similar_items_have_the_greatest_weights(matrix):
    model = lw.SLIM(0.1, 3.0).fit(matrix)
    similar, weights = model.similar_items(3, k=4), dense(model)[3]
    assert_allclose(similar.scores, np.sort(weights)[::-1][:4])


@pytest.mark.parametrize("k", [1, 3, 100])
def test_k_keeps_the_greatest_weights_of_each_column(matrix, k):
    whole, some = dense(lw.SLIM(0.1, 3.0).fit(matrix)), dense(lw.SLIM(0.1, 3.0, k=k).fit(matrix))
    assert (np.count_nonzero(some, axis=0) == np.minimum(k, np.count_nonzero(whole, axis=0))).all()
    for kept, column in zip(some.T, whole.T, strict=True):
        assert_array_equal(np.sort(kept)[::-1][:k], np.sort(column)[::-1][:k])


@pytest.mark.parametrize("room", [1, 5, 17])
@pytest.mark.parametrize("slots", [1, 70, 1 << 20])
def test_items_with_many_weights_are_solved_again(matrix, monkeypatch, room, slots):
    """However little room there is at first, and however few targets a call has."""
    expected = lw.SLIM(0.1, 3.0).fit(matrix).weights_
    monkeypatch.setattr(slim, "_USUAL_WEIGHTS", room)
    monkeypatch.setattr(slim, "_BLOCK_SLOTS", slots)
    weights = lw.SLIM(0.1, 3.0).fit(matrix).weights_
    assert_array_equal(weights.to_scipy().toarray(), expected.to_scipy().toarray())
    assert weights.nnz == expected.nnz


@pytest.mark.parametrize("non_negative", [True, False], ids=["non-negative", "any sign"])
def test_warm_starts_lead_along_a_path(matrix, non_negative):
    """Every fit of a path ends where a cold one does, and one that is there already needs a sweep."""
    warm = lw.SLIM(non_negative=non_negative, tolerance=1e-6, warm_start=True)
    for l1 in (8.0, 2.0, 0.5):
        warm.set_params(l1_regularization=l1, l2_regularization=3.0).fit(matrix)
        cold = lw.SLIM(l1, 3.0, non_negative=non_negative, tolerance=1e-6).fit(matrix)
        assert_allclose(dense(warm), dense(cold), atol=1e-5)
    warm.set_params(iterations=1, tolerance=1e-5).fit(matrix)
    assert warm.n_unconverged_ == 0
    with pytest.warns(ConvergenceWarning, match=r"weights of \d+ of 30 items have not settled after 1 sweeps"):
        clone(warm).fit(matrix)


def test_a_warm_start_finds_items_by_id(matrix, rng):
    users, items = np.nonzero(matrix.to_scipy().toarray())
    names = np.array([f"item {i}" for i in range(40)], dtype=object)
    model = lw.SLIM(0.5, 3.0, tolerance=1e-6, warm_start=True)
    model.fit(lw.Interactions.from_arrays(users, names[items], matrix.values))
    before = {(i, j): w for i, j, w in _named_weights(model)}
    shuffled = names.copy()
    order = rng.permutation(40)
    model.set_params(iterations=1, tolerance=1e-4)
    model.fit(lw.Interactions.from_arrays(users, names[items], matrix.values, item_ids=shuffled[order]))
    assert model.n_unconverged_ == 0
    after = {(i, j): w for i, j, w in _named_weights(model)}
    assert after.keys() == before.keys()
    assert_allclose([after[pair] for pair in before], list(before.values()), atol=1e-4)


def _named_weights(model):
    coo, names = model.weights_.to_scipy().tocoo(), model.interactions_.item_map.labels
    return [(names[i], names[j], w) for i, j, w in zip(coo.row, coo.col, coo.data, strict=True)]


def test_a_fit_warns_of_items_that_have_not_converged(matrix):
    model = lw.SLIM(0.0, 0.1, iterations=1)
    with pytest.warns(ConvergenceWarning, match="raise iterations, tolerance or l2_regularization"):
        model.fit(matrix)
    assert 0 < model.n_unconverged_ <= 30


def test_fit_is_the_same_at_any_n_jobs(matrix):
    one, three = (lw.SLIM(0.1, 3.0, n_jobs=n).fit(matrix).weights_ for n in (1, 3))
    assert_array_equal(one.values, three.values)
    assert_array_equal(one.indices, three.indices)


def test_save_and_load(matrix, tmp_path):
    model = lw.SLIM(0.1, 3.0, k=7).fit(matrix)
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert_array_equal(dense(loaded), dense(model))
    assert loaded.n_unconverged_ == 0
    assert_array_equal(loaded.recommend(k=5).items, model.recommend(k=5).items)


def test_partial_fit_is_a_fit_of_all_interactions(matrix):
    first, rest = matrix.take_rows(slice(0, 50)), matrix.to_scipy().toarray()
    rest[:50] = 0
    model = lw.SLIM(0.1, 3.0).fit(CSR.from_scipy(sp.vstack([first.to_scipy(), sp.csr_array((30, 30))]).tocsr()))
    model.partial_fit(sp.csr_array(rest))
    assert_array_equal(dense(model), dense(lw.SLIM(0.1, 3.0).fit(matrix)))


def test_items_that_nobody_shares_get_no_weights():
    model = lw.SLIM(0.1, 1.0).fit(np.eye(4))
    assert model.weights_.nnz == 0
    assert_array_equal(model.recommend(k=2).items, np.full((4, 2), -1))
    assert lw.SLIM().fit(np.ones((3, 1))).weights_.nnz == 0


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"l1_regularization": -1}, ValueError, "l1_regularization must be >= 0, got -1"),
        ({"l2_regularization": -0.5}, ValueError, "l2_regularization must be >= 0, got -0.5"),
        ({"l2_regularization": "much"}, TypeError, "l2_regularization must be a"),
        ({"non_negative": 1}, TypeError, "non_negative must be True or False, got 1"),
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 2.5}, TypeError, "k must be an integer, got 2.5"),
        ({"iterations": 0}, ValueError, "iterations must be >= 1, got 0"),
        ({"tolerance": -1e-3}, ValueError, "tolerance must be >= 0, got -0.001"),
        ({"warm_start": "yes"}, TypeError, "warm_start must be True or False, got 'yes'"),
    ],
)
def test_parameters_are_checked_by_fit(parameters, error, message):
    model = lw.SLIM().set_params(**parameters)
    with pytest.raises(error, match=f"SLIM: {message}"):
        model.fit(np.eye(3))


def test_what_it_cannot_do_says_why(matrix):
    model = lw.SLIM().fit(matrix)
    with pytest.raises(NotImplementedError, match="SLIM: has no similar users"):
        model.similar_users(0)
    with pytest.raises(NotImplementedError, match="SLIM: needs no index"):
        model.build_index()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e5])
def test_weights_between_items_of_other_scales_are_found(scale):
    """A weight has the unit of the one item's values by that of the other's: a small one is not nothing."""
    rng = np.random.default_rng(0)
    x = (rng.random((200, 6)) < 0.3).astype(np.float64)
    x[:, 1] = np.maximum(x[:, 1], x[:, 0] * (rng.random(200) < 0.8))
    one = lw.SLIM(0.0, 1e-9).fit(x).weights_.to_scipy().toarray()
    scaled = x.copy()
    scaled[:, 0] *= scale
    other = lw.SLIM(0.0, 1e-9).fit(scaled).weights_.to_scipy().toarray()
    other[0] *= scale
    other[:, 0] /= scale
    assert_allclose(other, one, atol=2e-4)
