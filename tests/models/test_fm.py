"""FactorizationMachine: what it learns of features, in contexts, from streams; its parameters."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import likewise as lw
import reference

LOSSES = ["regression", "logistic", "bpr", "warp"]
N_USERS, N_ITEMS, N_TAGS = 400, 120, 4


def machine(loss="warp", **options):
    return lw.FactorizationMachine(**{"factors": 8, "iterations": 20, "loss": loss, "random_state": 0, **options})


@pytest.fixture(params=LOSSES)
def loss(request):
    return request.param


@pytest.fixture(scope="module")
def tastes():
    """Four groups of users, each with a quarter of the items; the last items of each quarter are new."""
    rng = np.random.default_rng(11)
    users, items = np.indices((N_USERS, N_ITEMS))
    has = rng.random((N_USERS, N_ITEMS)) < np.where(users % N_TAGS == items % N_TAGS, 0.5, 0.01)
    train = has & (rng.random(has.shape) < 0.7)
    train[:, -8:] = False
    return sp.csr_array(train.astype(np.float32)), sp.csr_array((has & ~train).astype(np.float32))


@pytest.fixture(scope="module")
def tags():
    return sp.csr_array(np.eye(N_TAGS)[np.arange(N_ITEMS) % N_TAGS])


def ratings_of(shape, rng, share=0.4):
    """Ratings that two factors and biases explain, without noise."""
    users, items = rng.normal(size=(shape[0], 2)), rng.normal(size=(shape[1], 2))
    ratings = 5 + rng.normal(size=(shape[0], 1)) + rng.normal(size=shape[1]) + users @ items.T
    return sp.csr_array(np.where(rng.random(shape) < share, ratings, 0)), ratings


# ---------------------------------------------------------------------- what it is


def test_score_is_the_sum_over_pairs_of_features(loss, tastes, tags):
    """Against the definition, pair by pair, with weights that are no ones and twos."""
    rng = np.random.default_rng(0)
    X, countries = tastes[0][:30, :40], rng.normal(size=(30, 3))
    contexts = rng.normal(size=(X.nnz, 2))
    for pairs in ("all", "between"):
        model = machine(loss, pairs=pairs, iterations=3, clip=True)
        model.fit(X, user_features=countries, item_features=tags[:40].toarray() * 0.7, context_features=contexts)
        table = np.column_stack([model.feature_factors_, model.feature_weights_])
        slices, n = model.feature_slices_, len(table)
        context = np.array([[0.5, -1.0]])
        for user, item in ((0, 0), (3, 17), (29, 39)):
            left, right = np.zeros(n), np.zeros(n)
            left[slices["users"]][user] = 1
            left[slices["user_features"]] = countries[user]
            right[slices["items"]][item] = 1
            right[slices["item_features"]] = 0.7 * tags[[item]].toarray()[0]
            for part in (None, context):
                left[slices["context_features"]] = 0 if part is None else part[0]
                expected, _ = reference.fm_score(left, right, table, pairs == "all", model.global_mean_)
                if loss == "regression":
                    expected = np.clip(expected, *model.rating_scale_)
                else:  # without what is the same for all items
                    expected -= reference.fm_score(left, np.zeros(n), table, pairs == "all", model.global_mean_)[0]
                found = model.predict(user, item, **({} if part is None else {"context_features": part}))
                assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_identities_are_features_as_any_others(loss, tastes):
    """With none but identities, given or not, it is the same model: matrix factorization with biases."""
    X = tastes[0]
    ours = machine(loss, iterations=3).fit(X)
    given = machine(loss, iterations=3, user_identities=False, item_identities=False)
    given.fit(X, user_features=sp.identity(N_USERS), item_features=sp.identity(N_ITEMS))
    assert_array_equal(given.item_factors_, ours.item_factors_)
    assert_array_equal(given.user_biases_, ours.user_biases_)
    assert_array_equal(ours.user_factors_, ours.feature_factors_[ours.feature_slices_["users"]])
    assert_array_equal(ours.item_biases_, ours.feature_weights_[ours.feature_slices_["items"]])


def test_ratings_are_learned_as_matrix_factorization_learns_them():
    X, truth = ratings_of((300, 80), np.random.default_rng(5))
    train, test = lw.model_selection.random_split(lw.Interactions.from_csr(X), 0.2, random_state=0)
    options = {"factors": 2, "iterations": 60, "random_state": 0}
    sgd = lw.SGDMatrixFactorization(learning_rate=0.02, regularization=0.02, **options).fit(train)
    ours = lw.FactorizationMachine(learning_rate=0.2, regularization=0.02, loss="regression", **options).fit(train)
    figures = [lw.evaluate(model, train, test, metrics="rmse")["rmse"] for model in (sgd, ours)]
    assert figures[1] < figures[0] * 1.05
    assert figures[1] < truth.std() / 3
    assert ours.history_[-1] < ours.history_[0] / 3


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic"])
@pytest.mark.parametrize("pairs", ["all", "between"])
def test_tastes_are_found_with_tags_and_without(loss, pairs, tastes, tags):
    train, test = tastes
    for features in (None, tags):
        model = machine(loss, pairs=pairs).fit(train, item_features=features)
        result = lw.evaluate(model, train, test, metrics="auc")
        known = lw.evaluate(model, train, sp.csr_array(test.multiply(np.arange(N_ITEMS) < N_ITEMS - 8)), metrics="auc")
        assert known["auc"] > 0.85
        assert model.history_[-1] != model.history_[0]
        if features is not None:
            assert result["auc"] > 0.85


# ---------------------------------------------------------------------- cold start


@pytest.mark.parametrize("pairs", ["all", "between"])
def test_new_items_are_known_by_their_tags(loss, pairs, tastes, tags):
    """Nobody has them in train; they go to those who like their tag, and to nobody without tags."""
    train = tastes[0]
    X = train if loss != "regression" else _with_ratings(train)
    model = machine(loss, pairs=pairs).fit(X, item_features=tags)
    new = np.arange(N_ITEMS - 8, N_ITEMS)
    scores = np.array([model.predict(np.arange(N_USERS), int(item)) for item in new]).T
    fits = np.arange(N_USERS)[:, np.newaxis] % N_TAGS == new % N_TAGS
    assert np.median(scores[fits]) > np.median(scores[~fits])
    first = model.recommend(items=new, k=2).items
    assert np.mean(first % N_TAGS == np.arange(N_USERS)[:, np.newaxis] % N_TAGS) > 0.9
    assert np.isin(new, model.recommend(k=N_ITEMS).items).all()
    without = machine(loss, pairs=pairs).fit(X)
    assert not np.isin(new, without.recommend(k=N_ITEMS).items).any()
    assert_array_equal(without.item_factors_[new], 0)


def _with_ratings(train):
    """A 5 for what fits, and a 1 for some that does not."""
    users, items = np.indices(train.shape)
    rng = np.random.default_rng(3)
    low = (rng.random(train.shape) < 0.1) & (users % N_TAGS != items % N_TAGS) & (items < N_ITEMS - 8)
    return sp.csr_array(np.where(low, 1.0, 5.0 * (train.toarray() > 0)))


def test_new_users_are_known_by_their_features(tastes):
    train, _ = tastes
    groups = np.eye(N_TAGS)[np.arange(N_USERS) % N_TAGS]
    known = sp.csr_array(train.multiply((np.arange(N_USERS) < 300)[:, np.newaxis]))
    model = machine().fit(known, user_features=groups)
    first = model.recommend(np.arange(300, N_USERS), k=5).items
    assert np.mean(first % N_TAGS == np.arange(300, N_USERS)[:, np.newaxis] % N_TAGS) > 0.9
    assert_array_equal(machine().fit(known).recommend(300, k=5).items, -1)


def test_items_by_their_tags_alone(tastes, tags):
    """Without identities, items of a tag are one."""
    model = machine(item_identities=False).fit(tastes[0], item_features=tags)
    assert model.feature_factors_.shape == (N_USERS + N_TAGS, 8)
    assert_array_equal(model.item_factors_[0], model.item_factors_[N_TAGS])
    assert np.mean(model.recommend(k=1).items[:, 0] % N_TAGS == np.arange(N_USERS) % N_TAGS) > 0.95


# ---------------------------------------------------------------------- contexts


@pytest.fixture(scope="module")
def by_hour():
    """Everybody takes even items in the morning and odd ones in the evening."""
    rng = np.random.default_rng(4)
    X = sp.csr_array((rng.random((200, 40)) < 0.3).astype(np.float32))
    return X, np.eye(2)[X.indices % 2]


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic"])
@pytest.mark.parametrize("pairs", ["all", "between"])
def test_contexts_say_what_fits_them(loss, pairs, by_hour):
    X, hours = by_hour
    model = machine(loss, pairs=pairs).fit(X, context_features=hours)
    for hour in (0, 1):
        context = np.eye(2)[[hour]]
        found = model.recommend(k=5, exclude_seen=False, context_features=context)
        assert np.mean(found.items % 2 == hour) > 0.95
        again = model.predict(np.repeat(np.arange(200), 5), found.items.ravel(), context_features=context)
        assert_allclose(again, found.scores.ravel(), rtol=1e-4, atol=1e-5)
    each = np.eye(2)[np.arange(200) % 2]
    found = model.recommend(k=5, exclude_seen=False, context_features=each).items
    assert np.mean(found % 2 == np.arange(200)[:, np.newaxis] % 2) > 0.95
    single = model.recommend(7, k=5, exclude_seen=False, context_features=[[0, 1]])
    assert_array_equal(single.items, found[7])


def test_ratings_in_contexts(by_hour):
    """A point more in the evening, to all."""
    X, hours = by_hour
    X = sp.csr_array((3 + hours[:, 1] * 2.0, X.indices, X.indptr), shape=X.shape)
    model = machine("regression", clip=False).fit(X, context_features=hours)
    low, high = (model.predict(0, np.arange(40), context_features=np.eye(2)[[hour]]) for hour in (0, 1))
    assert np.mean(high - low) > 0.5
    clipped = machine("regression").fit(X, context_features=hours)
    assert clipped.predict(0, np.arange(40), context_features=[[-9, 9]]).max() <= 5
    unknown = model.predict([10_000], [0], context_features=[[0, 1]])
    assert np.isfinite(unknown).all()


def test_probabilities_are_those_of_labels():
    """With the labels alone, they come out as often as is said."""
    rng = np.random.default_rng(0)
    chance = np.where(np.arange(60) % 2 == 0, 0.8, 0.2)
    labels = np.where(rng.random((400, 60)) < chance, 1.0, -1.0) * (rng.random((400, 60)) < 0.5)
    model = machine("logistic", n_negatives=0, factors=1, regularization=0.01, user_identities=False, iterations=30)
    model.fit(labels, user_features=np.ones((400, 1)))
    found = model.probabilities(0, np.arange(60))
    assert_allclose(found, chance, atol=0.12)
    with pytest.raises(NotImplementedError, match=r"needs loss='logistic', .* fitted with 'warp'"):
        machine().fit(np.eye(5)).probabilities(0, 0)


# ---------------------------------------------------------------------- features by id


def test_features_are_matched_by_id(tastes, tags):
    train = tastes[0]
    users, items = train.nonzero()
    names = np.array([f"item {i:03}" for i in range(N_ITEMS)])
    data = lw.Interactions.from_arrays(users, names[items])
    genres = np.array(["war", "love", "crime", "music"])[np.arange(N_ITEMS) % N_TAGS]
    mixed = np.random.default_rng(0).permutation(N_ITEMS)
    given = lw.Interactions.from_arrays(names[mixed], genres[mixed])
    model = machine().fit(data, item_features=given)
    rows = np.searchsorted(names, data.item_ids)
    order = np.argsort(np.unique(genres[:N_TAGS], return_index=True)[1])
    expected = machine().fit(data, item_features=tags[rows][:, order.argsort()])
    assert_array_equal(model.item_factors_, expected.item_factors_)
    some = lw.Interactions.from_arrays(names[:10], genres[:10])
    assert machine(iterations=1).fit(data, item_features=some).item_factors_.shape == (data.n_items, 8)
    with pytest.raises(TypeError, match="item_features ids are int64 here, got string"):
        machine().fit(data, item_features=lw.Interactions.from_arrays([1, 2], ["a", "b"]))


@pytest.mark.parametrize(
    "make",
    [sp.csr_array, sp.csc_matrix, lambda dense: dense, lambda dense: dense.tolist(), pd.DataFrame],
    ids=["csr", "csc", "dense", "lists", "frame"],
)
def test_features_come_as_any_matrix(make, tastes, tags):
    expected = machine(iterations=2).fit(tastes[0], item_features=tags)
    found = machine(iterations=2).fit(tastes[0], item_features=make(tags.toarray()))
    assert_array_equal(found.item_factors_, expected.item_factors_)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"item_features": np.ones((5, 2))}, r"item_features must have 120 rows, one for each item, got 5"),
        ({"user_features": np.ones((5, 2))}, r"user_features must have 400 rows, one for each user, got 5"),
        ({"context_features": np.ones((5, 2))}, "rows, one for each stored interaction, got 5"),
        ({"item_features": np.full((N_ITEMS, 2), np.nan)}, "item_features: .*NaN"),
        ({"item_features": np.ones((N_ITEMS, 0))}, r"0 feature\(s\)"),
    ],
)
def test_fit_refuses_features_that_do_not_fit(tastes, features, message):
    model = machine(iterations=1).fit(tastes[0])
    before = model.item_factors_
    with pytest.raises(ValueError, match=message):
        model.fit(tastes[0], **features)
    assert model.item_factors_ is before
    assert not [name for name in vars(model) if "asked" in name]


@pytest.mark.parametrize("given", [pd.DataFrame({"genre": ["a"] * N_ITEMS}), "tags.csv", {"a": 1}, [["a"]] * N_ITEMS])
def test_fit_says_what_features_it_takes(tastes, given):
    with pytest.raises(TypeError, match=r"must be a matrix of numbers with a row for each item, or Interactions\.from"):
        machine().fit(tastes[0], item_features=given)


def test_contexts_are_of_models_that_were_fitted_with_them(tastes):
    with pytest.raises(ValueError, match="context_features are not known to this model, which was fitted without"):
        machine(iterations=1).fit(tastes[0]).recommend(0, context_features=[[1]])


def test_a_side_without_features_is_refused(tastes):
    with pytest.raises(ValueError, match="items must have features: give item_features, or leave item_identities True"):
        machine(item_identities=False).fit(tastes[0])


# ---------------------------------------------------------------------- promises


@pytest.mark.parametrize("n_jobs", [2, 3])
@pytest.mark.parametrize("pairs", ["all", "between"])
def test_seed_gives_the_same_bits_at_any_number_of_threads(loss, pairs, n_jobs, tastes, tags):
    options = {"iterations": 3, "pairs": pairs}
    one, other = (machine(loss, n_jobs=n, **options).fit(tastes[0], item_features=tags) for n in (1, n_jobs))
    for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_", "feature_factors_"):
        assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.history_ == other.history_
    assert (machine(loss, random_state=1, **options).fit(tastes[0]).item_factors_ != one.item_factors_).any()


def test_a_second_fit_forgets_features(tastes, tags):
    model = machine(iterations=2).fit(tastes[0], item_features=tags).fit(tastes[0])
    assert_array_equal(model.item_factors_, machine(iterations=2).fit(tastes[0]).item_factors_)
    assert model.feature_slices_["item_features"] == slice(520, 520)


def test_new_users_are_folded_in(loss, tastes, tags):
    train, test = tastes
    half = N_USERS // 2
    X = train if loss != "regression" else _with_ratings(train)
    model = machine(loss).fit(X[:half], item_features=tags)
    if loss == "regression":
        assert model.score(X[half:]) > -1.0
        return
    rows = sp.vstack([train[:half], train[half:]]).tocsr()
    assert lw.evaluate(model, rows[half:], test[half:], metrics="auc")["auc"] > 0.85
    assert model.score(train[half:]) > 0.1


def test_files_keep_all(tmp_path, loss, tastes, tags):
    contexts = np.eye(3)[np.arange(tastes[0].nnz) % 3]
    model = machine(loss, iterations=2).fit(tastes[0], item_features=tags, context_features=contexts)
    model.save(tmp_path / "fm")
    loaded = lw.load(tmp_path / "fm")
    context = np.eye(3)[[1]]
    for one, other in ((model, loaded), (copy.deepcopy(model), loaded)):
        a, b = (m.recommend(k=9, context_features=context) for m in (one, other))
        assert_array_equal(a.items, b.items)
        assert_array_equal(a.scores, b.scores)
    assert loaded.feature_slices_ == model.feature_slices_
    more = {"item_features": tags, "context_features": contexts}
    assert_array_equal(
        loaded.partial_fit(tastes[0], **more).item_factors_, model.partial_fit(tastes[0], **more).item_factors_
    )


def test_parameters_changed_after_fit_change_nothing_until_the_next(tmp_path, tastes):
    model = machine("regression", iterations=2).fit(tastes[0])
    before = model.recommend(k=5)
    model.set_params(loss="bpr", pairs="between", user_identities=False, factors=3)
    assert_array_equal(model.recommend(k=5).scores, before.scores)
    model.set_params(clip=True, factors=8)
    model.save(tmp_path / "fm")
    assert_array_equal(lw.load(tmp_path / "fm").recommend(k=5).scores, before.scores)
    with pytest.raises(ValueError, match="partial_fit needs loss='regression' as in the last fit, got 'bpr'"):
        model.partial_fit(tastes[0])


def test_search_passes_features_of_users_by_row(tastes, tags):
    groups = np.eye(N_TAGS)[np.arange(N_USERS) % N_TAGS]
    search = GridSearchCV(machine(iterations=5), {"factors": [1, 8]}, cv=2)
    search.fit(tastes[0], user_features=groups, item_features=tags)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.feature_slices_["user_features"] == slice(400, 404)


# ---------------------------------------------------------------------- streams


def test_partial_fit_learns_new_users_and_items_with_features(loss, tastes, tags):
    train = tastes[0] if loss != "regression" else _with_ratings(tastes[0])
    model = machine(loss).fit(train[:300, :100], item_features=tags[:100])
    size = model.item_factors_.shape
    model.partial_fit(train, item_features=tags)
    assert size == (100, 8)
    assert model.item_factors_.shape == (N_ITEMS, 8)
    assert model.user_factors_.shape == (N_USERS, 8)
    new = np.arange(N_ITEMS - 8, N_ITEMS)
    first = model.recommend(items=new, k=2).items
    assert np.mean(first % N_TAGS == np.arange(N_USERS)[:, np.newaxis] % N_TAGS) > 0.9
    late = model.recommend(np.arange(300, N_USERS), k=5).items
    assert np.mean(late % N_TAGS == np.arange(300, N_USERS)[:, np.newaxis] % N_TAGS) > 0.8


def test_partial_fit_in_contexts(loss, by_hour):
    X, hours = by_hour
    model = machine(loss, iterations=3).fit(X, context_features=hours)
    weights = model.feature_weights_[model.feature_slices_["context_features"]]
    model.partial_fit(X[:50], context_features=hours[: X[:50].nnz])
    vectors = model.feature_factors_[model.feature_slices_["context_features"]]
    assert np.isfinite(vectors).all()
    assert vectors.any()
    assert weights.shape == (2,)
    model.partial_fit(X[:50])  # in no context
    kept = model.feature_factors_[model.feature_slices_["context_features"]]
    assert_array_equal(kept, vectors)


def test_partial_fit_refuses_other_features(tastes, tags):
    model = machine(iterations=1).fit(tastes[0], item_features=tags)
    before = dict(vars(model))
    for options, message in (
        ({"item_features": np.ones((N_ITEMS, 3))}, "item_features must have 4 columns as in fit, got 3"),
        ({"user_features": np.ones((N_USERS, 3))}, "user_features must have 0 columns as in fit, got 3"),
        ({"context_features": np.ones((tastes[0].nnz, 3))}, "context_features must have 0 columns as in fit, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(tastes[0], **options)
    assert vars(model) == before


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": "hinge"}, ValueError, "loss must be one of"),
        ({"pairs": "some"}, ValueError, "pairs must be one of 'all', 'between', got 'some'"),
        ({"factors": 0}, ValueError, "factors must be >= 1"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be > 0"),
        ({"regularization": -1}, ValueError, "regularization must be >= 0"),
        ({"max_trials": 5, "loss": "bpr"}, ValueError, "max_trials is of loss='warp', got 5 with 'bpr'; leave it 32"),
        ({"n_negatives": 5}, ValueError, "n_negatives is of loss='logistic', got 5 with 'warp'; leave it 4"),
        ({"clip": False}, ValueError, "clip is of loss='regression', got False with 'warp'; leave it True"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1"),
        ({"user_identities": 1}, TypeError, "user_identities must be True or False"),
        ({"callbacks": "stop"}, TypeError, "callbacks must be callable"),
    ],
)
def test_fit_refuses(options, error, message):
    with pytest.raises(error, match=message):
        lw.FactorizationMachine(**options).fit(np.eye(3))


def test_contexts_of_other_shapes_are_refused(by_hour):
    X, hours = by_hour
    model = machine(iterations=1).fit(X, context_features=hours)
    for context in (np.ones((1, 3)), np.ones((5, 2))):
        with pytest.raises(ValueError, match=r"must have 2 columns as in fit, and 1 or 2 rows, got shape"):
            model.recommend([0, 1], context_features=context)
    with pytest.raises(ValueError, match="context_features go with pairs; give items, or ask recommend"):
        model.predict(X, context_features=[[0, 1]])


def test_steps_that_leave_float32_are_told_and_taken_back(tastes):
    with pytest.raises(ValueError, match="have left float32"):
        machine("regression").fit(tastes[0] * 1e30, item_features=np.full((N_ITEMS, 1), 1e30))


def test_a_callback_stops_the_fit(tastes):
    seen = []
    model = machine(callbacks=lambda fitted, n, _: seen.append(fitted.recommend(0, k=1).items) or n == 3)
    assert clone(model).fit(tastes[0]).n_iter_ == 3
    assert len(seen) == 3


@pytest.mark.parametrize(("loss", "what"), [("bpr", "above"), ("warp", "above"), ("logistic", "other than")])
def test_zeros_alone_are_refused(loss, what):
    with pytest.raises(ValueError, match=f"X must hold a value {what} 0 with loss='{loss}', got none"):
        machine(loss).fit(sp.csr_array((np.zeros(2), ([0, 1], [1, 0]))))


# ---------------------------------------------------------------------- features by id


@pytest.fixture
def by_id():
    """Items with the features "food" and "china", by id."""
    events = lw.Interactions.from_arrays(list("aabbcc"), ["f1", "f2", "f1", "f3", "c1", "c2"])
    features = lw.Interactions.from_arrays(["f1", "f2", "f3", "c1", "c2"], ["food"] * 3 + ["china"] * 2)
    return machine(iterations=2).fit(events, item_features=features), events, features


@pytest.mark.parametrize("loaded", [False, True])
def test_new_features_by_id_are_those_of_the_fit(by_id, loaded, tmp_path):
    model, _, _ = by_id
    if loaded:
        model.save(tmp_path / "m.safetensors")
        model = lw.load(tmp_path / "m.safetensors")
    new = lw.Interactions.from_arrays(["c", "c"], ["c2", "n1"])
    with pytest.raises(ValueError, match="item_features: 'glass' is none of the features of fit; fit anew"):
        model.partial_fit(new, item_features=lw.Interactions.from_arrays(["c2", "n1"], ["china", "glass"]))
    model.partial_fit(new, item_features=lw.Interactions.from_arrays(["n1"], ["food"]))
    features = model._given.items.to_scipy().toarray()
    places = model.interactions_.item_index(["f1", "c1", "c2", "n1"])
    food = model.interactions_.item_index(["f1"])[0]
    column = int(features[food].argmax())
    assert_array_equal(features[places].argmax(axis=1) == column, [True, False, False, True])
    assert_array_equal(features[places].sum(axis=1), 1)  # c2, which the table does not name, keeps its own


def test_features_of_nobody_are_refused(by_id):
    _, events, _ = by_id
    swapped = lw.Interactions.from_arrays(["food", "china"], ["f1", "c1"])
    with pytest.raises(
        ValueError, match="item_features are of items that X does not have; give ids first, then features"
    ):
        machine().fit(events, item_features=swapped)


def test_logistic_fold_in_learns_from_signs_as_the_fit_does():
    X = (np.random.default_rng(0).random((60, 20)) < 0.4) * 1.0
    model = machine("logistic", iterations=10).fit(X)
    assert_array_equal(model.transform(X[:3]), model.transform(X[:3] * 1000))


def test_an_evaluation_without_contexts_says_so(by_hour):
    X, hours = by_hour
    model = machine(iterations=1).fit(X, context_features=hours)
    with pytest.warns(UserWarning, match="evaluate: the model was fitted with contexts, and is measured without"):
        lw.evaluate(model, X, X, "ndcg@2", exclude_seen=False)
