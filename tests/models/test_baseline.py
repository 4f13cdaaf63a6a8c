"""What is particular to `BaselinePredictor`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
import reference
from likewise.data import CSR


@pytest.fixture(scope="module")
def ratings():
    """Ratings 1 to 10, NaN being none; one user and one item have none."""
    rng = np.random.default_rng(3)
    given = np.where(rng.random((50, 40)) < 0.3, rng.integers(1, 11, (50, 40)), np.nan)
    given[7], given[:, 9] = np.nan, np.nan
    return given


@pytest.fixture(scope="module")
def matrix(ratings):
    return sp.csr_array(np.nan_to_num(ratings))


@pytest.mark.parametrize("iterations", [None, 1, 3])
def test_als_sweeps_over_items_then_users(ratings, matrix, iterations):
    model = lw.BaselinePredictor(iterations=iterations, user_regularization=4, item_regularization=2).fit(matrix)
    mean, users, items = np.nanmean(ratings), np.zeros(50), np.zeros(40)
    for _ in range(iterations or 10):
        items = reference.bias_half_sweep(ratings.T, mean, users, 2)
        users = reference.bias_half_sweep(ratings, mean, items, 4)
    assert model.global_mean_ == pytest.approx(mean)
    assert_allclose(model.user_biases_, users, rtol=1e-5, atol=1e-6)
    assert_allclose(model.item_biases_, items, rtol=1e-5, atol=1e-6)
    assert_array_equal(model.user_biases_[7], 0)
    assert_array_equal(model.item_biases_[9], 0)


@pytest.mark.parametrize("iterations", [None, 1, 3])
def test_sgd_steps_from_rating_to_rating(ratings, matrix, iterations):
    model = lw.BaselinePredictor("sgd", iterations, learning_rate=0.01, regularization=0.1).fit(matrix)
    mean, users, items = np.nanmean(ratings), np.zeros(50), np.zeros(40)
    for _ in range(iterations or 20):
        users, items = reference.bias_sgd_epoch(ratings, mean, 0.01, 0.1, users, items, half=False)
    assert_allclose(model.user_biases_, users, rtol=1e-5, atol=1e-6)
    assert_allclose(model.item_biases_, items, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["als", "sgd"])
def test_a_prediction_is_the_mean_and_both_biases(ratings, matrix, method):
    model = lw.BaselinePredictor(method, clip=False).fit(matrix)
    users, items = np.divmod(np.arange(ratings.size), 40)
    expected = model.global_mean_ + model.user_biases_[users] + model.item_biases_[items]
    assert_allclose(model.predict(users, items), expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["als", "sgd"])
def test_the_fit_is_the_same_bits_at_any_number_of_threads(matrix, method):
    one, two = (lw.BaselinePredictor(method, n_jobs=n_jobs).fit(matrix) for n_jobs in (1, 2))
    assert_array_equal(one.user_biases_, two.user_biases_)
    assert_array_equal(one.item_biases_, two.item_biases_)


def test_everybody_gets_the_items_of_the_greatest_biases(matrix):
    model = lw.BaselinePredictor().fit(matrix)
    items, scores = model.recommend(k=39, exclude_seen=False)
    assert_array_equal(items, np.tile(items[0], (50, 1)))
    assert (np.diff(scores, axis=1) <= 0).all()
    assert 9 not in items
    assert 9 in model.recommend(0, k=2, items=[9, 3]).items
    assert_allclose(scores[3], model.global_mean_ + model.user_biases_[3] + model.item_biases_[items[3]], rtol=1e-6)


def test_a_new_user_has_the_bias_of_a_last_half_sweep(ratings, matrix):
    model = lw.BaselinePredictor(clip=False).fit(matrix)
    new = np.where(np.arange(40) < 5, 10.0, np.nan)
    (bias,) = reference.bias_half_sweep(new[np.newaxis], model.global_mean_, model.item_biases_, 15)
    given = model.recommend(k=1, interactions=np.nan_to_num(new)[np.newaxis], items=[20])
    assert given.scores[0, 0] == pytest.approx(model.global_mean_ + bias + model.item_biases_[20], rel=1e-6)


def test_a_new_user_by_sgd_has_the_bias_of_as_many_epochs(matrix):
    model = lw.BaselinePredictor("sgd", iterations=7, learning_rate=0.1).fit(matrix)
    new = np.where(np.arange(40) < 5, 10.0, np.nan)[np.newaxis]
    bias = np.zeros(1)
    for _ in range(7):
        bias, _ = reference.bias_sgd_epoch(new, model.global_mean_, 0.1, 0.02, bias, model.item_biases_, half=True)
    given = model.recommend(k=1, interactions=np.nan_to_num(new), items=[20])
    assert given.scores[0, 0] == pytest.approx(model.global_mean_ + bias[0] + model.item_biases_[20], rel=1e-6)


def test_steps_that_go_astray_are_an_error():
    with pytest.raises(
        ValueError, match=r"^BaselinePredictor: the biases have left float32; .*, or lower learning_rate"
    ):
        lw.BaselinePredictor("sgd", 100, learning_rate=0.99, regularization=50).fit(np.arange(1.0, 31).reshape(6, 5))


def test_partial_fit_is_a_fit_of_all_ratings(matrix):
    half = CSR.from_scipy(matrix[:25])
    model = lw.BaselinePredictor().fit(half)
    model.partial_fit(sp.vstack([sp.csr_array((25, 40)), matrix[25:]]).tocsr())
    whole = lw.BaselinePredictor().fit(matrix)
    assert_array_equal(model.user_biases_, whole.user_biases_)
    assert_array_equal(model.item_biases_, whole.item_biases_)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "adam"}, ValueError, "method must be one of 'als', 'sgd', got 'adam'"),
        ({"iterations": 0}, ValueError, "iterations must be >= 1, got 0"),
        ({"iterations": 2.5}, TypeError, "iterations must be an integer, got 2.5"),
        ({"method": "sgd", "learning_rate": 0}, ValueError, "learning_rate must be > 0, got 0"),
        ({"method": "sgd", "regularization": -1}, ValueError, "regularization must be >= 0, got -1"),
        ({"user_regularization": -1}, ValueError, "user_regularization must be >= 0, got -1"),
        ({"item_regularization": np.nan}, ValueError, "item_regularization must be finite, got nan"),
        ({"learning_rate": 0.1}, ValueError, "learning_rate is of method='sgd', got 0.1; leave it 0.005, or take"),
        ({"regularization": 1}, ValueError, "regularization is of method='sgd', got 1; leave it 0.02, or take"),
        (
            {"method": "sgd", "item_regularization": 5},
            ValueError,
            "item_regularization is of method='als', got 5; leave it 10.0, or take that method",
        ),
        ({"clip": "yes"}, TypeError, "clip must be True or False, got 'yes'"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(matrix, options, error, message):
    with pytest.raises(error, match=f"^BaselinePredictor: {message}"):
        lw.BaselinePredictor(**options).fit(matrix)
