"""BPR, WARP and LogisticMF: what they learn, their parameters, streams, interrupts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import likewise as lw

MODELS = {
    "bpr": lw.BPR(factors=8, iterations=30, random_state=0),
    "dynamic": lw.BPR(factors=8, iterations=30, sampling="dynamic", n_candidates=4, random_state=0),
    "popularity": lw.BPR(factors=8, iterations=60, sampling="popularity", random_state=0),
    "warp": lw.WARP(factors=8, iterations=30, learning_rate=0.01, random_state=0),
    "k-os": lw.WARP(factors=8, iterations=30, learning_rate=0.01, k_os=2, n_positives=4, random_state=0),
    "logistic": lw.LogisticMF(factors=8, iterations=30, random_state=0),
}
N_USERS, N_ITEMS = 400, 120


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return clone(request.param)


@pytest.fixture(scope="module")
def tastes():
    """Four groups of users, each with a quarter of the items; one half of what they have, and the other."""
    rng = np.random.default_rng(11)
    users, items = np.indices((N_USERS, N_ITEMS))
    has = rng.random((N_USERS, N_ITEMS)) < np.where(users % 4 == items % 4, 0.5, 0.01)
    train = has & (rng.random(has.shape) < 0.7)
    return sp.csr_array(train.astype(np.float32)), sp.csr_array((has & ~train).astype(np.float32))


def test_models_find_tastes(model, tastes):
    train, test = tastes
    result = lw.evaluate(model.fit(train), train, test, metrics=("auc", "recall@20"))
    assert result["auc"] > 0.85
    assert result["recall@20"] > 0.7
    similar = model.similar_items(np.arange(N_ITEMS), k=5).items
    assert np.mean(similar % 4 == np.arange(N_ITEMS)[:, np.newaxis] % 4) > 0.95
    assert model.correct_history_[-1] > 0.75
    assert model.correct_history_[-1] > model.correct_history_[0]


def test_new_users_are_folded_in_as_well_as_fitted_ones(model, tastes):
    train, test = tastes
    half = N_USERS // 2
    model.fit(train[:half])
    rows = sp.vstack([train[:half], train[half:]]).tocsr()
    result = lw.evaluate(model, rows[half:], test[half:], metrics="auc")
    assert result["auc"] > 0.85
    assert model.score(train[half:]) > 0.2
    vectors = model.transform(train[half:])
    assert vectors.shape == (half, 8)
    assert_array_equal(vectors, model.transform(train[half:]))


@pytest.mark.parametrize("n_factors", [1, 7, 16, 17, 40])
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_seed_gives_the_same_bits_at_any_number_of_threads(model, tastes, n_factors, n_jobs):
    train, _ = tastes
    model.set_params(factors=n_factors, iterations=3)
    one = clone(model).set_params(n_jobs=1).fit(train)
    other = model.set_params(n_jobs=n_jobs).fit(train)
    for name in ("user_factors_", "item_factors_", "item_biases_"):
        assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.correct_history_ == other.correct_history_
    assert (clone(model).set_params(random_state=1).fit(train).item_factors_ != one.item_factors_).any()


def test_without_biases_there_are_none(model, tastes):
    model.set_params(item_biases=False, iterations=3).fit(tastes[0])
    assert_array_equal(model.item_biases_, 0)
    scores = model.predict(0, np.arange(N_ITEMS))
    assert_allclose(scores, model.item_factors_ @ model.user_factors_[0], rtol=1e-4, atol=1e-6)


def test_scores_are_products_and_biases(model, tastes):
    model.fit(tastes[0])
    assert model.item_biases_.any()
    expected = model.item_factors_ @ model.user_factors_[3] + model.item_biases_
    assert_allclose(model.predict(3, np.arange(N_ITEMS)), expected, rtol=1e-4, atol=1e-5)
    recommended = model.recommend(3, k=5, exclude_seen=False)
    assert_allclose(recommended.scores, np.sort(expected)[::-1][:5], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lw.BPR(factors=0), "BPR: factors must be >= 1, got 0"),
        (lw.BPR(learning_rate=0.0), "BPR: learning_rate must be > 0"),
        (lw.BPR(regularization=-1.0), "BPR: regularization must be >= 0"),
        (lw.BPR(learning_rate=2.0, regularization=0.5), r"BPR: learning_rate \* regularization must be < 1"),
        (lw.BPR(iterations=0), "BPR: iterations must be >= 1"),
        (lw.BPR(sampling="adaptive"), "BPR: sampling must be one of 'uniform', 'popularity', 'dynamic', got"),
        (lw.BPR(n_candidates=4), "BPR: n_candidates is of sampling='dynamic', got 4 with 'uniform'; leave it 8"),
        (lw.BPR(sampling="dynamic", n_candidates=1025), "BPR: n_candidates must be <= 1024"),
        (lw.BPR(partial_iterations=0), "BPR: partial_iterations must be >= 1"),
        (lw.WARP(max_trials=0), "WARP: max_trials must be >= 1"),
        (lw.WARP(k_os=11), "WARP: k_os must be <= 10, got 11"),
        (lw.WARP(n_positives=5), "WARP: n_positives is of k_os, got 5 without; leave it 10"),
        (lw.LogisticMF(alpha=0.0), "LogisticMF: alpha must be > 0"),
        (lw.LogisticMF(n_negatives=0), "LogisticMF: n_negatives must be >= 1"),
        (lw.LogisticMF(alpha=9e5), r"LogisticMF: alpha \* value must be <= 1e\+06, got 900000 \* 2"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value),
)
def test_fit_refuses(model, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        model.fit(2 * np.eye(4))


def test_steps_too_great_for_float32_are_refused(tastes):
    model = lw.LogisticMF(factors=4, learning_rate=999.0, regularization=0.0, alpha=9e5, random_state=0)
    with pytest.raises(ValueError, match=r"^LogisticMF: the vectors have left float32; take a smaller learning_rate$"):
        model.fit(tastes[0])
    assert not hasattr(model, "item_factors_")


def test_values_weigh_positives_of_the_logistic_loss(tastes):
    train, _ = tastes
    kwargs = {"factors": 4, "iterations": 2, "random_state": 0}
    one = lw.LogisticMF(alpha=2.0, **kwargs).fit(train)
    other = lw.LogisticMF(**kwargs).fit(2 * train)
    assert_array_equal(one.item_factors_, other.item_factors_)
    assert (lw.LogisticMF(**kwargs).fit(train).item_factors_ != other.item_factors_).any()


# ---------------------------------------------------------------------- stopping


def test_early_stopping_keeps_the_best(model, tastes):
    model.set_params(early_stopping=True, n_iter_no_change=2, iterations=60).fit(tastes[0])
    history = model.validation_history_
    assert len(history) == model.n_iter_ <= 60
    assert model.best_iteration_ == 1 + int(np.argmax(history))
    assert model.n_iter_ in (60, model.best_iteration_ + 2)


def test_early_stopping_needs_something_to_hide(model):
    with pytest.raises(ValueError, match="early_stopping needs a user with two items, got one each at most"):
        model.set_params(early_stopping=True).fit(np.eye(5))


def test_callbacks_see_a_usable_model_and_may_stop_it(model, tastes):
    seen = []

    def stop_at_three(fitted, iteration, loss):
        assert loss is None
        seen.append(fitted.recommend(0, k=3).scores[0])
        return iteration == 3

    model.set_params(callbacks=[stop_at_three]).fit(tastes[0])
    assert model.n_iter_ == 3 == len(seen)
    assert len(set(seen)) == 3
    with pytest.raises(TypeError, match="callbacks must be callable, got int"):
        model.set_params(callbacks=3).fit(tastes[0])


def test_an_interrupt_leaves_a_usable_model(model, tastes):
    def interrupt(fitted, iteration, loss):
        if iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=interrupt).fit(tastes[0])
    assert model.n_iter_ == 2
    two = clone(model).set_params(callbacks=None, iterations=2).fit(tastes[0])
    assert_array_equal(model.item_factors_, two.item_factors_)


def test_progress_is_shown_where_asked_for(model, tastes, capsys):
    model.fit(tastes[0])
    assert capsys.readouterr().err == ""
    model.set_params(verbose=True).fit(tastes[0])
    assert type(model).__name__ in capsys.readouterr().err


# ---------------------------------------------------------------------- going on


def test_warm_start_goes_on_from_what_was_learned(model, tastes):
    train, test = tastes
    model.fit(train)
    long = lw.evaluate(model, train, test, metrics="auc")["auc"]
    again = model.set_params(warm_start=True, iterations=1).fit(train)
    assert again.n_iter_ == 1
    assert lw.evaluate(again, train, test, metrics="auc")["auc"] > long - 0.05
    with pytest.raises(
        ValueError, match=f"{type(model).__name__}: warm_start needs factors=8 as in the last fit, got 4"
    ):
        model.set_params(factors=4).fit(train)


def test_warm_start_finds_users_and_items_by_id(model):
    data = lw.Interactions.from_arrays(list("aabbcc"), list("xyyzzx"))
    model.fit(data)
    known = dict(zip(data.item_ids, model.item_factors_.copy(), strict=True))
    grown = lw.Interactions.from_arrays(list("aabbccd"), ["w", "y", "y", "z", "z", "x", "w"])
    model.set_params(warm_start=True, iterations=1, learning_rate=1e-9).fit(grown)
    for item, vector in zip(grown.item_ids, model.item_factors_, strict=True):
        if item in known:
            assert_allclose(vector, known[item], rtol=1e-4, atol=1e-6)


def test_partial_fit_learns_new_users_and_items(model, tastes):
    train, test = tastes
    model.set_params(partial_iterations=20).fit(train[:300, :100])
    new = train.copy().tolil()
    new[:300, :100] = 0
    model.partial_fit(sp.csr_array(new.tocsr()))
    assert model.user_factors_.shape == (N_USERS, 8)
    assert model.item_factors_.shape == (N_ITEMS, 8)
    assert_array_equal(model.interactions_.by_user.to_scipy().toarray(), train.toarray())
    result = lw.evaluate(model, train, test, metrics="auc", users=np.arange(300, N_USERS))
    assert result["auc"] > 0.8


def test_partial_fit_before_fit_is_fit(model, tastes):
    other = clone(model).fit(tastes[0])
    assert_array_equal(model.partial_fit(tastes[0]).item_factors_, other.item_factors_)


def test_partial_fit_leaves_other_users_as_they_were(model, tastes):
    train, _ = tastes
    model.fit(train)
    before = model.user_factors_.copy()
    event = sp.csr_array(([1.0], ([7], [3])), shape=train.shape)
    model.partial_fit(event)
    changed = np.flatnonzero((model.user_factors_ != before).any(axis=1))
    assert set(changed) == {7}


def test_partial_fit_is_the_same_after_a_file(model, tastes, tmp_path):
    """Seeds and the count of epochs travel with the model."""
    train, _ = tastes
    model.fit(train)
    model.save(tmp_path / "model")
    event = sp.csr_array(([1.0, 1.0], ([7, 9], [3, 4])), shape=train.shape)
    loaded = lw.load(tmp_path / "model").partial_fit(event)
    assert_array_equal(loaded.item_factors_, model.partial_fit(event).item_factors_)
    again = model.item_factors_.copy()
    assert (model.partial_fit(event).item_factors_ != again).any()


def test_a_partial_fit_that_fails_changes_nothing(tastes):
    train, _ = tastes
    model = lw.LogisticMF(factors=4, iterations=2, random_state=0).fit(train)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="left float32"):
        model.set_params(learning_rate=999.0, regularization=0.0, alpha=9e5, partial_iterations=50).partial_fit(train)
    for name, value in before.items():
        if name.endswith("_") or name.startswith("_"):
            assert getattr(model, name) is value


def test_a_stream_keeps_up_with_a_refit(tastes):
    """Half of the events in a fit, half in batches of forty, beside a fit of all."""
    train, test = tastes
    coo = train.tocoo()
    order = np.random.default_rng(5).permutation(coo.nnz)

    def part(places):
        return sp.csr_array((np.ones(places.size, np.float32), (coo.row[places], coo.col[places])), shape=train.shape)

    model = lw.BPR(factors=8, iterations=30, random_state=0)
    streamed = clone(model).fit(part(order[: coo.nnz // 2]))
    for start in range(coo.nnz // 2, coo.nnz, 40):
        streamed.partial_fit(part(order[start : start + 40]))
    ndcg = [lw.evaluate(one, train, test, metrics="ndcg@10")["ndcg@10"] for one in (streamed, model.fit(train))]
    assert ndcg[0] > 0.95 * ndcg[1]


def test_users_and_items_with_stored_zeros_alone_are_unknown(model, tastes):
    """A zero is no positive: whoever has no other gets nothing, as one without any entry."""
    dense = tastes[0].toarray()
    rows, columns = np.nonzero(dense)
    values = np.where((rows == 3) | (columns == 5), 0, 1).astype(np.float32)
    X = sp.csr_array((values, (rows, columns)), shape=dense.shape)
    model.set_params(iterations=3).fit(X)
    assert_array_equal(model.recommend(3, k=4).items, -1)
    assert not (model.recommend(k=N_ITEMS).items == 5).any()
    assert_array_equal(model.user_factors_[3], 0)
    assert_array_equal(model.item_factors_[5], 0)
    assert_array_equal(model.partial_fit(X[:50]).item_factors_[5], 0)


def test_zeros_alone_are_refused(model):
    with pytest.raises(ValueError, match="X must hold a value above 0, got zeros alone"):
        model.fit(sp.csr_array((np.zeros(2), ([0, 1], [1, 0]))))


@pytest.mark.filterwarnings("error")
def test_steps_that_leave_float32_are_an_error_without_a_warning(tastes):
    with pytest.raises(ValueError, match="the vectors have left float32"):
        lw.WARP(8, learning_rate=100.0, regularization=0.0, iterations=60, random_state=0).fit(tastes[0])
