"""EASE and EDLAE against their closed form in float64, dense and pruned."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
import reference
from likewise.models import linear
from shared_data import gowalla

MODELS = {"EASE": lw.EASE, "EDLAE": lw.EDLAE}


@pytest.fixture(scope="module")
def dense():
    """Values 1 to 4 of 80 users and 50 items; one user and one item have none."""
    rng = np.random.default_rng(5)
    values = (rng.integers(1, 5, (80, 50)) * (rng.random((80, 50)) < 0.2 * rng.random(50) * 2)).astype(np.float32)
    values[3], values[:, 11] = 0, 0
    return values


@pytest.mark.parametrize("regularization", [0.5, 20.0, 5000.0])
def test_ease_is_its_closed_form(dense, regularization):
    model = lw.EASE(regularization=regularization).fit(dense)
    assert_allclose(model.weights_, reference.linear_autoencoder(dense, regularization), atol=1e-5)


@pytest.mark.parametrize("dropout", [0, 0.3, 0.9])
def test_edlae_is_its_closed_form(dense, dropout):
    model = lw.EDLAE(regularization=2.0, dropout=dropout).fit(dense)
    penalties = 2 + dropout / (1 - dropout) * (dense.astype(np.float64) ** 2).sum(axis=0)
    assert_allclose(model.weights_, reference.linear_autoencoder(dense, penalties), atol=1e-5)
    if dropout == 0:
        assert_array_equal(model.weights_, lw.EASE(regularization=2.0).fit(dense).weights_)


def test_ease_minimizes_what_it_says(dense):
    """No small change of a weight off the diagonal makes the objective smaller."""
    weights, x = lw.EASE(regularization=3.0).fit(dense).weights_.astype(np.float64), dense.astype(np.float64)
    gradient = x.T @ (x @ weights - x) + 3 * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("k", [1, 5, 49])
def test_pruned_weights_are_the_greatest(dense, name, k):
    whole = MODELS[name](regularization=5.0).fit(dense).weights_
    pruned = MODELS[name](regularization=5.0, k=k).fit(dense).weights_
    for item in range(50):
        ids, values = pruned.row(item)
        assert_array_equal(values, whole[item, ids])
        greatest = np.sort(np.abs(whole[item]))[::-1][:k]
        assert_array_equal(np.sort(np.abs(values))[::-1], greatest[greatest > 0])


@pytest.mark.parametrize("name", MODELS)
def test_the_sparse_solver_with_all_items_is_the_dense_one(name):
    x = (np.random.default_rng(6).random((200, 30)) < 0.4).astype(np.float32)
    assert (x.T @ x > 0).all()
    whole = MODELS[name](regularization=5.0).fit(x).weights_
    weights = MODELS[name](regularization=5.0, k=29, solver="sparse").fit(x).weights_
    assert_allclose(weights.to_scipy().toarray(), whole, atol=1e-5)


def test_the_sparse_solver_predicts_an_item_from_its_nearest(dense):
    """Of the weights to each item none but its k nearest by cosine, penalty and all, are other than 0, and these are
    those of ridge regression."""
    k, penalty = 6, 5.0
    weights = lw.EASE(regularization=penalty, k=k, solver="sparse").fit(dense).weights_.to_scipy().toarray()
    x = dense.astype(np.float64)
    gramian = x.T @ x
    norms = np.sqrt(gramian.diagonal() + penalty)
    cosines = gramian / norms / norms[:, np.newaxis]
    np.fill_diagonal(cosines, 0)
    for item in range(50):
        near = np.argsort(-cosines[item], kind="stable")[:k]
        near = near[cosines[item, near] > 0]
        expected = np.zeros(50)
        expected[near] = np.linalg.solve(gramian[np.ix_(near, near)] + penalty * np.eye(near.size), gramian[near, item])
        assert_allclose(weights[:, item], expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_histories_times_weights(dense, name):
    model = MODELS[name](regularization=5.0).fit(dense)
    expected = dense.astype(np.float64) @ model.weights_.astype(np.float64)
    assert_allclose(model.transform(dense), expected, atol=1e-4)
    pruned = MODELS[name](regularization=5.0, k=4).fit(dense)
    assert_allclose(
        pruned.transform(dense).toarray(), dense @ pruned.weights_.to_scipy().toarray().astype(np.float64), atol=1e-4
    )
    items, scores = model.recommend(k=50)
    for user in range(80):
        given = items[user] >= 0
        assert given.sum() == (0 if user == 3 else 50 - 1 - (dense[user] > 0).sum())
        assert_allclose(scores[user, given], expected[user, items[user, given]], atol=1e-4)
        assert_array_equal(model.predict(user, items[user, given]), scores[user, given])


def test_predict_of_many_users_goes_by_blocks(dense, monkeypatch):
    model = lw.EASE(regularization=5.0).fit(dense)
    users, items = np.divmod(np.random.default_rng(1).permutation(80 * 50), 50)
    whole = model.predict(users, items)
    monkeypatch.setattr(linear, "_BLOCK_USERS", 7)
    assert_array_equal(model.predict(users, items), whole)


@pytest.mark.parametrize("k", [None, 49])
def test_contributions_of_an_explanation_add_up(dense, k):
    model = lw.EASE(regularization=5.0, k=k).fit(dense)
    for user, item in ((0, 3), (7, 20)):
        explained = model.explain(user, item, k=50)
        assert explained.score == pytest.approx(float(model.predict(user, item)[0]), abs=1e-5)
        assert explained.contributions.sum() == pytest.approx(explained.score)
        assert (np.diff(explained.contributions) <= 0).all()
        assert set(explained.items) <= set(np.flatnonzero(dense[user]))
    assert len(model.explain(3, 0).items) == 0
    with pytest.raises(ValueError, match="give one user and one item"):
        model.explain([0, 1], 3)


@pytest.mark.parametrize("k", [None, 5])
def test_a_saved_model_ranks_the_same_and_learns_on(dense, tmp_path, k):
    model = lw.EASE(regularization=5.0, k=k).fit(dense)
    model.save(tmp_path / "ease")
    loaded = lw.load(tmp_path / "ease")
    assert_array_equal(loaded.recommend(k=20).items, model.recommend(k=20).items)
    more = np.zeros((81, 51))
    more[80, [0, 50]] = 1
    joined = np.pad(dense, ((0, 1), (0, 1))) + more
    learned, fresh = (
        loaded.partial_fit(more).recommend(k=5),
        lw.EASE(regularization=5.0, k=k).fit(joined).recommend(k=5),
    )
    assert_array_equal(learned.items, fresh.items)


def test_columns_of_zeros_one_item_and_identical_rows():
    one = lw.EASE(regularization=1.0).fit(np.ones((3, 1)))
    assert_array_equal(one.weights_, [[0]])
    assert_array_equal(one.recommend(k=2).items, np.full((3, 2), -1))
    same = lw.EASE(regularization=1.0).fit(np.ones((4, 3)))
    assert_allclose(same.weights_, reference.linear_autoencoder(np.ones((4, 3)), 1.0), atol=1e-6)
    zeros = sp.csr_array((np.array([1.0, 0.0, 1.0, 1.0]), ([0, 0, 1, 1], [0, 1, 0, 2])), shape=(2, 3))
    model = lw.EASE(regularization=1.0).fit(zeros)  # item 1 has a stored zero alone
    assert_array_equal(model.weights_[1], np.zeros(3))
    assert 1 not in model.recommend(k=3, exclude_seen=False).items


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lw.EASE(regularization=0), "EASE: regularization must be > 0, got 0"),
        (lw.EASE(k=0), "EASE: k must be >= 1, got 0"),
        (lw.EASE(solver="sparse"), "EASE: solver='sparse' needs k, how many items each one is predicted from"),
        (lw.EDLAE(solver="lu", k=5), "EDLAE: solver must be one of 'dense', 'sparse', got 'lu'"),
        (lw.EDLAE(dropout=1.0), "EDLAE: dropout must be < 1, got 1"),
        (lw.EDLAE(dropout=-0.1), "EDLAE: dropout must be >= 0, got -0.1"),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(dense, model, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        model.fit(dense)


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_an_interrupt_leaves_the_model_as_it_was(dense, monkeypatch, solver):
    model = lw.EASE(regularization=5.0, k=7, solver=solver).fit(dense)
    weights, expected = model.weights_, model.recommend(k=5)

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(linear, "ProgressBar", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(dense[:40])
    assert model.weights_ is weights
    assert_array_equal(model.recommend(k=5).items, expected.items)


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_a_fit_shows_progress_if_it_is_asked_to(dense, capsys, solver):
    lw.EASE(k=7, solver=solver).fit(dense)
    assert not capsys.readouterr().err
    lw.EASE(k=7, solver=solver, verbose=True).fit(dense)
    assert "EASE" in capsys.readouterr().err


def test_ranking_by_dense_weights_may_show_progress(dense, monkeypatch):
    asked, rank = [], linear.top_k_scores

    def ranked(*args, **options):
        asked.append(options["verbose"])
        return rank(*args, **options)

    monkeypatch.setattr(linear, "top_k_scores", ranked)
    model = lw.EASE().fit(dense)
    model.recommend(k=3)
    model.set_params(verbose=True).recommend(k=3)
    assert asked == [False, True]


def test_values_that_leave_float32_are_refused(dense):
    with pytest.raises(ValueError, match=r"^EASE: values up to 4e\+15 leave float32 in X'X; scale the values of X$"):
        lw.EASE().fit(dense * np.float32(1e15))
    with pytest.raises(ValueError, match=r"is singular in float32; raise it$"):
        lw.EASE(regularization=1e-20).fit(np.ones((50, 300)) * 1000)
    with pytest.raises(ValueError, match=r"^EASE: X'X with a regularization of 1e-20 is singular in float32"):
        lw.EASE(regularization=1e-20, k=299, solver="sparse").fit(np.ones((50, 300)) * 1000)
    with pytest.raises(ValueError, match=r"^EASE: X'X with a regularization of 1e-40 is singular in float32"):
        lw.EASE(regularization=1e-40).fit(np.eye(3)[:, :2] * 1e-20)
    with pytest.raises(ValueError, match=r"^EDLAE: values up to 4e\+12 leave float32 in X'X; scale the values of X$"):
        lw.EDLAE(1.0, dropout=1 - 2e-16).fit(dense * np.float32(1e12))


@pytest.mark.slow
def test_weights_are_those_of_float64_on_gowalla():
    """Of the 4,000 items with the most users: what float32 sums and an inverse in place may lose."""
    data = gowalla("train").by_user.to_scipy()
    popular = np.sort(np.argsort(-np.bincount(data.indices), kind="stable")[:4000])
    x = data.tocsc()[:, popular].toarray()
    weights = lw.EASE(regularization=80).fit(x).weights_
    # Seen: 3e-6, of weights up to .3.
    assert np.abs(weights - reference.linear_autoencoder(x, 80.0)).max() < 1e-4


def test_a_fit_takes_one_array_of_items_by_items():
    pytest.importorskip("resource")
    code = """
import resource, sys
import numpy as np, scipy.sparse as sp, likewise as lw
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
rng = np.random.default_rng(0)
lw.EASE().fit(sp.random_array((300, 200), density=0.1, rng=rng))
data = lw.Interactions.from_csr(sp.random_array((3000, 3000), density=0.003, rng=rng, format="csr"))
before = peak()
lw.EASE().fit(data)
print((peak() - before) / (4 * 3000**2))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Seen: 1.09.
    assert float(found.stdout) < 1.3
