"""What is particular to `SGDMatrixFactorization` and `SVDpp`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import likewise as lw
import reference
from likewise._backend import Backend
from likewise.data import CSR
from likewise.models.base import hide_items

N_USERS, N_ITEMS = 60, 40
EMPTY_USER, EMPTY_ITEM = 7, 9
MODELS = {
    "sgd-mf": lw.SGDMatrixFactorization(factors=8, learning_rate=0.02, iterations=15, random_state=0, n_jobs=1),
    "unbiased": lw.SGDMatrixFactorization(
        factors=8, learning_rate=0.02, iterations=15, biases=False, random_state=0, n_jobs=1
    ),
    "svdpp": lw.SVDpp(factors=8, learning_rate=0.02, iterations=15, random_state=0, n_jobs=1),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return clone(request.param)


@pytest.fixture(scope="module")
def ratings():
    """Ratings 1 to 10 of users and items with biases and tastes; one user and one item have none."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(N_USERS, 2)), rng.normal(size=(N_ITEMS, 2))
    scores = 6 + x @ y.T + rng.normal(size=(N_USERS, 1)) + rng.normal(size=N_ITEMS)
    given = np.where(rng.random(scores.shape) < 0.4, np.rint(scores).clip(1, 10), 0)
    given[EMPTY_USER], given[:, EMPTY_ITEM] = 0, 0
    return given.astype(np.float32)


def steps_of(model, matrix, previous=None):
    """What is learned by as many epochs of reference steps, from the model's own starting values, in float64."""
    rng = np.random.default_rng(model.random_state)
    d, is_svdpp = model.factors, isinstance(model, lw.SVDpp)
    sizes = (*matrix.shape, matrix.shape[1] if is_svdpp else 0)
    users, items, implicit = (Backend(1).normal(rng, (n, d), 0.1).astype(np.float64) for n in sizes)
    is_biased = getattr(model, "biases", True)
    biases = [np.zeros(n if is_biased else 0) for n in matrix.shape]
    stored = sp.coo_array(matrix)
    triples = list(zip(stored.row.tolist(), stored.col.tolist(), stored.data.tolist(), strict=True))
    seen = [np.flatnonzero(row).tolist() for row in matrix]
    mean = stored.data.mean() if is_biased else 0.0
    history = []
    for _ in range(model.iterations):
        (users, items, *biases, implicit), squares = reference.rating_steps(
            triples, mean, model.learning_rate, model.regularization, users, items, *biases,
            implicit=(seen, implicit) if is_svdpp else None,
        )  # fmt: skip
        history.append(np.sqrt(squares / len(triples)))
    if is_svdpp:
        sums = [implicit[row].sum(axis=0) / np.sqrt(max(1, len(row))) for row in seen]
        users = users + np.array(sums)
    return users, items, *biases, history


def test_a_fit_is_epochs_of_steps_from_rating_to_rating(model, ratings):
    model.fit(ratings)
    users, items, user_biases, item_biases, history = steps_of(model, ratings)
    rated, known = np.delete(np.arange(N_USERS), EMPTY_USER), np.delete(np.arange(N_ITEMS), EMPTY_ITEM)
    assert_allclose(model.user_factors_[rated], users[rated], atol=1e-4)
    assert_allclose(model.item_factors_[known], items[known], atol=1e-4)
    assert_allclose(model.rmse_history_, history, rtol=1e-4)
    if user_biases.size:
        assert_allclose(model.user_biases_, user_biases, atol=1e-4)
        assert_allclose(model.item_biases_, item_biases, atol=1e-4)
    assert not model.user_factors_[EMPTY_USER].any()
    assert not model.item_factors_[EMPTY_ITEM].any()


def test_a_prediction_is_the_product_above_mean_and_biases(model, ratings):
    model.set_params(clip=False).fit(ratings)
    users, items = np.divmod(np.arange(ratings.size), N_ITEMS)
    estimates = np.einsum("nd,nd->n", model.user_factors_[users], model.item_factors_[items])
    baselines = model.global_mean_ + model.user_biases_[users] + model.item_biases_[items]
    if getattr(model, "biases", True):
        estimates = estimates + baselines
    else:
        unknown = (users == EMPTY_USER) | (items == EMPTY_ITEM)
        estimates[unknown] = baselines[unknown]
    assert_allclose(model.predict(users, items), estimates, rtol=1e-5, atol=1e-5)


def test_taste_is_learned(model, ratings):
    """Held-out ratings are predicted better than by mean and biases."""
    train, test = lw.model_selection.random_split(lw.Interactions.from_csr(sp.csr_array(ratings)), 0.2, random_state=0)
    model.set_params(learning_rate=0.02, regularization=0.1, iterations=100).fit(train)
    ours, baseline = (
        lw.evaluate(one, train, test, "rmse")["rmse"] for one in (model, lw.BaselinePredictor("sgd", 100).fit(train))
    )
    assert ours < 0.9 * baseline


def _arrays(model):
    return [model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_]


@pytest.mark.parametrize("n_items", [40, 400])
def test_the_fit_is_the_same_bits_at_any_number_of_threads(model, n_items):
    """Of so many ratings that there are some blocks."""
    rng = np.random.default_rng(1)
    matrix = sp.random_array((400_000 // n_items, n_items), density=0.25, rng=rng, format="csr", dtype=np.float32)
    model.set_params(iterations=2)
    one, two = (clone(model).set_params(n_jobs=n_jobs).fit(matrix) for n_jobs in (1, 2))
    for left, right in zip(_arrays(one), _arrays(two), strict=True):
        assert_array_equal(left, right)
    folded = [fitted.transform(matrix[:300]) for fitted in (one, two)]
    assert_array_equal(*folded)


def test_another_seed_is_another_model_and_the_same_seed_the_same(model, ratings):
    one, same = (clone(model).fit(ratings) for _ in range(2))
    other = clone(model).set_params(random_state=1).fit(ratings)
    assert_array_equal(one.item_factors_, same.item_factors_)
    assert (one.item_factors_ != other.item_factors_).any()


# ---------------------------------------------------------------------- new users


def test_a_new_user_takes_as_many_epochs_with_items_held(model, ratings):
    model.set_params(clip=False, iterations=5).fit(ratings)
    new = np.where(np.arange(N_ITEMS) % 3 == 0, 4.0, 0).astype(np.float32)
    new[EMPTY_ITEM] = 0
    seen = np.flatnonzero(new)
    is_biased = getattr(model, "biases", True)
    given = np.zeros(8)
    if isinstance(model, lw.SVDpp):
        given = model.implicit_factors_[seen].sum(axis=0, dtype=np.float64) / np.sqrt(seen.size)
    own, bias = np.zeros(8), 0.0
    for i in np.tile(seen, 5):
        y = model.item_factors_[i].astype(np.float64)
        e = new[i] - (given + own) @ y
        if is_biased:
            e -= model.global_mean_ + bias + model.item_biases_[i]
        own, bias = own + 0.02 * (e * y - 0.02 * own), bias + 0.02 * (e - 0.02 * bias)
    assert_allclose(model.transform(new[np.newaxis])[0], given + own, atol=1e-5)
    scores = model.recommend(k=1, interactions=new[np.newaxis], items=[20], exclude_seen=False).scores
    expected = (given + own) @ model.item_factors_[20]
    if is_biased:
        expected += model.global_mean_ + bias + model.item_biases_[20]
    assert scores[0, 0] == pytest.approx(expected, rel=1e-5)


def test_equal_rows_get_equal_vectors_whatever_stands_beside_them(model, ratings):
    model.fit(ratings)
    whole = model.transform(ratings)
    assert_array_equal(model.transform(np.vstack([ratings[5], ratings[30], ratings[5]])), whole[[5, 30, 5]])
    assert not whole[EMPTY_USER].any()
    assert whole.dtype == np.float32


def test_a_fold_in_that_goes_astray_is_an_error(model, ratings):
    model.fit(ratings).set_params(learning_rate=50.0, regularization=0)
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: the vectors have left float32"):
        model.transform(np.full((1, N_ITEMS), 3e38))


# ---------------------------------------------------------------------- iterations


def test_early_stopping_keeps_the_vectors_that_predict_hidden_ratings_best(model, ratings):
    model.set_params(early_stopping=True, iterations=400, learning_rate=0.05, n_iter_no_change=5).fit(ratings)
    history = model.validation_history_
    assert model.best_iteration_ == 1 + int(np.argmin(history))
    assert model.n_iter_ == len(history) == min(400, model.best_iteration_ + 5)
    assert model.n_iter_ < 400
    _, hidden = hide_items(CSR.from_scipy(sp.csr_array(ratings)))
    users, items = hidden.row_numbers(), hidden.indices
    rmse = np.sqrt(np.mean((model.predict(users, items).astype(np.float64) - hidden.values) ** 2))
    assert rmse == pytest.approx(min(history), rel=1e-5)


def test_early_stopping_needs_something_to_hide(model):
    with pytest.raises(ValueError, match="early_stopping needs a user with two items, got one each at most"):
        model.set_params(early_stopping=True).fit(np.eye(4))


def test_a_warm_start_goes_on_where_the_last_fit_ended(model, ratings):
    model.set_params(warm_start=True).fit(ratings)
    before, error = model.item_factors_.copy(), model.rmse_history_[-1]
    model.set_params(iterations=1, learning_rate=1e-7).fit(ratings)
    assert_allclose(model.item_factors_, before, atol=1e-5)
    assert 0.8 * error < model.rmse_history_[0] < error  # the epoch before has lowered it on its way
    with pytest.raises(ValueError, match="warm_start needs factors=8 as in the last fit, got 9"):
        model.set_params(factors=9).fit(ratings)
    if isinstance(model, lw.SGDMatrixFactorization):
        had = model.biases
        with pytest.raises(ValueError, match=f"warm_start needs biases={had} as in the last fit, got {not had}"):
            model.set_params(factors=8, biases=not had).fit(ratings)


def test_callbacks_see_a_usable_model_and_stop_the_fit(model, ratings):
    seen = []

    def callback(fitted, iteration, loss):
        seen.append((iteration, loss, fitted.predict(0, 1)[0]))
        return iteration == 3

    model.set_params(callbacks=[callback]).fit(ratings)
    assert [entry[:2] for entry in seen] == [(1, None), (2, None), (3, None)]
    assert model.n_iter_ == len(model.rmse_history_) == 3
    assert model.predict(0, 1)[0] == seen[-1][2]


def test_an_interrupt_leaves_the_model_of_the_last_epoch(model, ratings):
    def callback(fitted, iteration, loss):
        if iteration == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=callback).fit(ratings)
    shorter = clone(model).set_params(callbacks=None, iterations=4).fit(ratings)
    assert model.n_iter_ == 4
    for left, right in zip(_arrays(model), _arrays(shorter), strict=True):
        assert_array_equal(left, right)
    assert_array_equal(model.recommend(k=5).items, shorter.recommend(k=5).items)


# ---------------------------------------------------------------------- partial_fit


def test_partial_fit_takes_steps_for_new_ratings(model, ratings):
    """Of a new user, of an old one, and of a new item: their ratings are met better, and others stay as they are."""
    model.set_params(clip=False, partial_iterations=40).fit(lw.Interactions.from_csr(sp.csr_array(ratings)))
    before = clone(model).fit(lw.Interactions.from_csr(sp.csr_array(ratings)))
    new = np.zeros((N_USERS + 1, N_ITEMS + 1), np.float32)
    new[N_USERS, :10], new[3, N_ITEMS] = 10, 9
    model.partial_fit(new)
    assert model.n_users_ == N_USERS + 1
    assert model.n_items_ == N_ITEMS + 1
    estimates = model.predict([N_USERS, N_USERS, 3], [0, 3, N_ITEMS])
    assert (np.abs(estimates - [10, 10, 9]) < 1.5).all()
    if not isinstance(model, lw.SVDpp):
        untouched = np.delete(np.arange(N_USERS), [3])
        assert_array_equal(model.user_factors_[untouched], before.user_factors_[untouched])
    assert_array_equal(model.item_factors_[20:40], before.item_factors_[20:40])
    if getattr(model, "biases", True):
        assert model.global_mean_ == before.global_mean_
    assert not model.user_factors_[EMPTY_USER].any()
    assert np.isfinite(model.predict(EMPTY_USER, EMPTY_ITEM)).all()


def test_partial_fit_holds_each_rating_against_the_merged_value(ratings):
    """A pair that is rated again, with `duplicates="last"`, is learned as it is now."""
    users, items = np.nonzero(ratings)
    data = lw.Interactions.from_arrays(users, items, ratings[users, items], duplicates="last")
    model = lw.SGDMatrixFactorization(factors=8, random_state=0, partial_iterations=200, learning_rate=0.02, clip=False)
    model.fit(data)
    pair = int(users[0]), int(items[0])
    model.partial_fit(lw.Interactions.from_arrays([pair[0]], [pair[1]], [1.0], duplicates="last"))
    assert model.predict(*pair)[0] == pytest.approx(1, abs=0.3)
    assert model.interactions_.nnz == data.nnz


def test_sums_of_svdpp_stay_those_of_its_vectors(ratings):
    """After `partial_fit` each user's vector holds the sum over all the items known, of the vectors as they are now."""
    model = lw.SVDpp(factors=8, iterations=5, random_state=0).fit(ratings)
    own = model._own_vectors()
    new = np.zeros_like(ratings)
    new[0, 1:6], new[EMPTY_USER, 3] = 7, 2
    model.partial_fit(new)
    joined = model.interactions_.by_user.to_scipy()
    for user in (2, 5, 30):
        seen = joined[[user]].indices
        expected = own[user] + model.implicit_factors_[seen].sum(axis=0) / np.sqrt(seen.size)
        assert_allclose(model.user_factors_[user], expected, atol=1e-5)


def test_partial_fit_that_fails_leaves_the_model(model, ratings):
    model.fit(ratings)
    before, items = model.predict([0, 1], [2, 3]), model.item_factors_.copy()
    for bad, message in (
        (np.full((1, N_ITEMS), 3e38), "the vectors have left float32"),
        (np.ones((1, N_ITEMS - 1)), f"X has {N_ITEMS - 1} features, but"),
    ):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(bad)
        assert_array_equal(model.item_factors_, items)
        assert_array_equal(model.predict([0, 1], [2, 3]), before)
    with pytest.raises(ValueError, match="partial_fit needs factors=8 as in the last fit, got 9"):
        model.set_params(factors=9).partial_fit(ratings)


# ---------------------------------------------------------------------- errors


def test_steps_that_go_astray_are_an_error(model, ratings):
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: the vectors have left float32; take a smaller"):
        model.set_params(learning_rate=2.0, regularization=0).fit(ratings * 10)
    assert not hasattr(model, "item_factors_")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"factors": 0}, ValueError, r"factors must be in \[1, 8192\], got 0|factors must be >= 1, got 0"),
        ({"factors": 2.5}, TypeError, "factors must be an integer, got 2.5"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be > 0, got 0"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate must be finite, got nan"),
        ({"regularization": -1}, ValueError, "regularization must be >= 0, got -1"),
        (
            {"learning_rate": 10, "regularization": 0.1},
            ValueError,
            "learning_rate [*] regularization must be < 1, got 10",
        ),
        ({"iterations": 0}, ValueError, "iterations must be >= 1, got 0"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be >= 1, got 0"),
        ({"partial_iterations": 0}, ValueError, "partial_iterations must be >= 1, got 0"),
        ({"early_stopping": 1}, TypeError, "early_stopping must be True or False, got 1"),
        ({"warm_start": "no"}, TypeError, "warm_start must be True or False, got 'no'"),
        ({"callbacks": 3}, TypeError, "callbacks must be callable, got int"),
        ({"random_state": "seed"}, (TypeError, ValueError), "random_state"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(model, ratings, options, error, message):
    with pytest.raises(error, match=f"^{type(model).__name__}: (?:{message})"):
        model.set_params(**options).fit(ratings)


def test_biases_must_be_true_or_false(ratings):
    with pytest.raises(TypeError, match=r"^SGDMatrixFactorization: biases must be True or False, got 2$"):
        lw.SGDMatrixFactorization(biases=2).fit(ratings)
