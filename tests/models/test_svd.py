"""What is particular to `PureSVD`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.extmath import randomized_svd

import likewise as lw


@pytest.fixture(scope="module")
def dense():
    """Ratings of 120 users of 80 items by a few tastes and noise; one user and one item have none."""
    rng = np.random.default_rng(5)
    ratings = 3 + rng.normal(size=(120, 5)) @ rng.normal(size=(5, 80)) + rng.normal(size=(120, 80))
    ratings = np.where(rng.random((120, 80)) < 0.3, ratings, 0)
    ratings[7], ratings[:, 9] = 0, 0
    return ratings


@pytest.mark.parametrize("factors", [1, 5, 60])
def test_factors_are_those_of_the_exact_decomposition(dense, factors):
    model = lw.PureSVD(factors, iterations=30, random_state=0).fit(dense)
    u, s, vt = np.linalg.svd(dense)
    assert_allclose(model.singular_values_, s[:factors], rtol=1e-4)
    assert_allclose(np.abs(np.diag(vt[:factors] @ model.item_factors_)), 1, atol=1e-3)
    expected = dense @ vt[:factors].T @ vt[:factors]
    assert_allclose(model.user_factors_ @ model.item_factors_.T, expected, atol=1e-2)
    assert_allclose(np.abs(model.user_factors_), np.abs(u[:, :factors] * s[:factors]), atol=3e-2)
    greatest = np.abs(model.item_factors_).argmax(axis=0)
    assert (model.item_factors_[greatest, np.arange(factors)] > 0).all()
    assert not model.item_factors_[9].any()
    assert not model.user_factors_[7].any()


def test_few_iterations_capture_what_those_of_scikit_learn_do(dense):
    """Of the squared lengths, which the exact decomposition has most of; ours takes as many products or fewer."""
    ours = lw.PureSVD(10, iterations=3, oversampling=10, random_state=0).fit(dense).singular_values_
    _, theirs, _ = randomized_svd(dense, 10, n_oversamples=10, n_iter=3, random_state=0)
    most = (np.linalg.svd(dense)[1][:10] ** 2).sum()
    assert 0.995 * (theirs**2).sum() <= (ours.astype(np.float64) ** 2).sum() <= 1.000001 * most


def test_item_factors_are_orthonormal(dense):
    v = lw.PureSVD(40, random_state=0).fit(dense).item_factors_.astype(np.float64)
    assert_allclose(v.T @ v, np.eye(40), atol=1e-5)


def test_vectors_beyond_the_rank_are_zeros():
    rng = np.random.default_rng(0)
    flat = np.abs(rng.normal(size=(30, 3))) @ np.abs(rng.normal(size=(3, 20)))
    model = lw.PureSVD(8, random_state=0).fit(flat)
    assert_allclose(model.singular_values_[:3], np.linalg.svd(flat)[1][:3], rtol=1e-5)
    assert_array_equal(model.singular_values_[3:], 0)
    assert_array_equal(model.item_factors_[:, 3:], 0)
    assert_allclose(model.user_factors_ @ model.item_factors_.T, flat, rtol=1e-4)
    small = lw.PureSVD(64, random_state=0).fit(flat[:4, :5])
    assert small.item_factors_.shape == (5, 64)
    assert_array_equal(small.transform(flat[:4, :5]), small.user_factors_)


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e9, 1e30])
def test_values_of_any_size_are_decomposed(dense, scale):
    plain = lw.PureSVD(4, random_state=0).fit(dense)
    scaled = lw.PureSVD(4, random_state=0).fit(dense * scale)
    assert_allclose(scaled.item_factors_, plain.item_factors_, atol=1e-4)
    assert_allclose(scaled.singular_values_, plain.singular_values_ * scale, rtol=1e-4)


def test_factors_that_leave_float32_are_refused():
    with pytest.raises(ValueError, match=r"^PureSVD: the factors of users have left float32; scale the values of X$"):
        lw.PureSVD(1).fit(np.full((50, 50), 3e38))


def test_stored_zeros_alone_say_nothing():
    zeros = sp.csr_array((np.zeros(3), ([0, 1, 2], [0, 1, 2])), shape=(3, 3))
    assert_array_equal(lw.PureSVD(2).fit(zeros).recommend(k=2).items, -1)


def test_the_fit_is_the_same_bits_at_any_number_of_threads_and_from_one_seed(dense):
    one, two, other = (
        lw.PureSVD(12, random_state=seed, n_jobs=n_jobs).fit(dense) for seed, n_jobs in ((0, 1), (0, 2), (1, 1))
    )
    assert_array_equal(one.item_factors_, two.item_factors_)
    assert_array_equal(one.user_factors_, two.user_factors_)
    assert (one.item_factors_ != other.item_factors_).any()


def test_fitted_rows_folded_in_are_their_factors(dense):
    model = lw.PureSVD(6, random_state=0).fit(dense)
    assert_array_equal(model.transform(dense), model.user_factors_)
    assert_array_equal(model.recommend(interactions=dense, k=5).items, model.recommend(k=5).items)


def test_contributions_of_an_explanation_add_up(dense):
    model = lw.PureSVD(6, random_state=0).fit(dense)
    for user, item in ((0, 3), (5, 70)):
        explained = model.explain(user, item, k=80)
        assert explained.score == pytest.approx(float(model.predict(user, item)[0]), rel=1e-4)
        assert explained.contributions.sum() == pytest.approx(explained.score)
        assert set(explained.items) == set(np.flatnonzero(dense[user]))
        assert (np.diff(explained.contributions) <= 0).all()
    assert len(model.explain(0, 3, k=2).items) == 2
    assert model.explain(7, 3).score == 0
    with pytest.raises(ValueError, match="explain: give one user and one item, got 2 and 1"):
        model.explain([0, 1], 0)


def test_partial_fit_is_a_fit_of_all_interactions(dense):
    first, second = dense.copy(), dense.copy()
    first[60:], second[:60] = 0, 0
    model = lw.PureSVD(5, random_state=0).fit(first[:60]).partial_fit(second)
    assert_array_equal(model.item_factors_, lw.PureSVD(5, random_state=0).fit(dense).item_factors_)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"factors": 0}, ValueError, "factors must be >= 1, got 0"),
        ({"factors": 1.5}, TypeError, "factors must be an integer, got 1.5"),
        ({"iterations": 0}, ValueError, "iterations must be >= 1, got 0"),
        ({"oversampling": -1}, ValueError, "oversampling must be >= 0, got -1"),
        ({"random_state": -1}, ValueError, "random_state must be >= 0, got -1"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(dense, options, error, message):
    with pytest.raises(error, match=f"^PureSVD: {message}"):
        lw.PureSVD(**options).fit(dense)
