"""What is particular to `P3Alpha` and `RP3Beta`: their weights against a few lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw

N_USERS, N_ITEMS = 40, 25


@pytest.fixture(scope="module")
def dense():
    rng = np.random.default_rng(5)
    X = rng.integers(1, 6, (N_USERS, N_ITEMS)) * (rng.random((N_USERS, N_ITEMS)) < 0.3)
    X[4], X[:, 7] = 0, 0
    return X.astype(np.float64)


def _weights(X, alpha, beta=0.0):
    """Chances of the two steps, each to the power of alpha."""
    of_item, of_user = X.sum(axis=0), X.sum(axis=1, keepdims=True)
    to_user = np.where(X > 0, X / np.maximum(of_item, 1e-300), 0).T
    to_item = np.where(X > 0, X / np.maximum(of_user, 1e-300), 0)
    there = X > 0
    weights = np.where(there.T, to_user**alpha, 0) @ np.where(there, to_item**alpha, 0)
    weights = weights / np.where(of_item > 0, of_item, 1) ** beta
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("binary", [False, True], ids=["values", "ones"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.7])
def test_p3alpha_matches_numpy(dense, alpha, binary):
    X = (dense > 0).astype(float) if binary else dense
    found = lw.P3Alpha(k=50, alpha=alpha).fit(X).weights_.to_scipy().toarray()
    assert_allclose(found, _weights(X, alpha), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("binary", [False, True], ids=["values", "ones"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_rp3beta_matches_numpy(dense, beta, binary):
    X = (dense > 0).astype(float) if binary else dense
    found = lw.RP3Beta(k=50, alpha=0.8, beta=beta).fit(X).weights_.to_scipy().toarray()
    assert_allclose(found, _weights(X, 0.8, beta), rtol=1e-5, atol=1e-7)


def test_chances_of_two_steps_sum_to_one(dense):
    """With alpha 1 a row, with the way back to its item, holds the chances of all ends."""
    weights = lw.P3Alpha(k=50).fit(dense).weights_.to_scipy().toarray()
    back = ((dense / np.maximum(1, dense.sum(axis=0))) * (dense / np.maximum(1, dense.sum(axis=1, keepdims=True)))).sum(
        0
    )
    assert_allclose((weights.sum(axis=1) + back)[dense.any(axis=0)], 1, rtol=1e-5)


def test_beta_zero_is_p3alpha(dense):
    one, other = lw.RP3Beta(k=6, alpha=0.7, beta=0).fit(dense), lw.P3Alpha(k=6, alpha=0.7).fit(dense)
    assert_array_equal(one.weights_.indices, other.weights_.indices)
    assert_array_equal(one.weights_.values, other.weights_.values)


def _pruned(weights, k):
    """The k greatest of each row."""
    kept = np.zeros_like(weights)
    best = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    np.put_along_axis(kept, best, np.take_along_axis(weights, best, 1), 1)
    return kept


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("k", [1, 4, 1000])
def test_the_greatest_of_rows_and_then_of_columns_are_kept(dense, k, normalize):
    found = lw.RP3Beta(k=k, alpha=0.9, normalize=normalize).fit(dense).weights_.to_scipy().toarray()
    rows = _pruned(_weights(dense, 0.9, 0.6), k)
    if normalize:
        rows /= np.maximum(rows.sum(axis=1, keepdims=True), 1e-300)
    assert_allclose(found, _pruned(rows.T, k).T, rtol=1e-5)


def test_of_equal_weights_those_of_smaller_ids_are_kept():
    weights = lw.P3Alpha(k=2).fit(np.ones((3, 5))).weights_.to_scipy().toarray()
    # Each row keeps the first two others, and each of the columns 0, 1 and 2 its first two of these.
    assert_array_equal(weights > 0, [[0, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [0] * 5])


def test_scores_fold_in_explain_and_file(dense, tmp_path):
    model = lw.RP3Beta(k=9).fit(dense)
    expected = dense @ model.weights_.to_scipy().toarray()
    assert_allclose(model.transform(dense).toarray(), expected, rtol=1e-5)
    assert_array_equal(model.recommend(k=5, interactions=dense).items, model.recommend(k=5).items)
    assert model.explain(0, 3, k=N_ITEMS).score == pytest.approx(model.predict(0, 3)[0], rel=1e-6)
    model.save(tmp_path / "model")
    assert_array_equal(lw.load(tmp_path / "model").recommend(k=5).scores, model.recommend(k=5).scores)


def test_a_stored_zero_is_no_step(dense):
    users, items = np.nonzero(dense == 0)
    rows, columns = np.nonzero(dense)
    zeros = sp.csr_array(
        (np.r_[dense[rows, columns], np.zeros(100)], (np.r_[rows, users[:100]], np.r_[columns, items[:100]])),
        shape=dense.shape,
    )
    for alpha in (0.0, 1.0):
        model = lw.P3Alpha(alpha=alpha)
        plain = model.fit(dense).weights_.to_scipy().toarray()
        assert_array_equal(model.fit(zeros).weights_.to_scipy().toarray(), plain)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1)])
def test_an_item_alone_leads_nowhere(shape):
    assert lw.P3Alpha().fit(np.ones(shape)).weights_.nnz == 0


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lw.P3Alpha(k=0), ValueError, "P3Alpha: k must be >= 1, got 0"),
        (lw.P3Alpha(alpha=-1), ValueError, "P3Alpha: alpha must be >= 0, got -1"),
        (lw.RP3Beta(alpha="1"), TypeError, "RP3Beta: alpha must be a real number, got '1'"),
        (lw.P3Alpha(normalize=1), TypeError, "P3Alpha: normalize must be True or False, got 1"),
        (lw.RP3Beta(beta=-0.1), ValueError, "RP3Beta: beta must be >= 0, got -0.1"),
    ],
)
def test_parameters_out_of_range_are_refused(dense, model, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        model.fit(dense)


def test_powers_beyond_float32_are_refused(dense):
    with pytest.raises(ValueError, match=r"^P3Alpha: .* beyond float32; lower its powers, or scale the values of X$"):
        lw.P3Alpha(alpha=90).fit(dense)


@pytest.mark.parametrize(
    ("model", "x"),
    [(lw.P3Alpha(alpha=20), np.ones((20, 30))), (lw.P3Alpha(alpha=14), np.ones((6, 4)) * 1e-3)],
    ids=["many", "small"],
)
def test_weights_that_vanish_are_refused(model, x):
    message = r"^P3Alpha: all weights vanish in float32; lower its powers, or scale the values of X$"
    with pytest.raises(ValueError, match=message):
        model.fit(x)


def test_products_of_powers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"^RP3Beta: a denominator of .* is beyond float32; lower its powers"):
        lw.RP3Beta(alpha=7, beta=0.6).fit(np.ones((200, 3)) * 1e3)
