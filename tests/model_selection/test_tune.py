"""`tune` on Optuna: what is found, pruned, resumed and refused; default spaces of every model."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import likewise as lw
from likewise.model_selection import Range, RollingSplit, default_space, random_split, tune

mpl.use("Agg")
optuna = pytest.importorskip("optuna", reason="optuna is not installed")

MODELS = [
    getattr(lw, name)
    for name in lw.__all__
    if isinstance(getattr(lw, name), type) and issubclass(getattr(lw, name), lw.Recommender) and name != "Recommender"
]


@pytest.fixture(scope="module")
def data():
    """Two tastes: even users like even items. One factor cannot hold them."""
    rng = np.random.default_rng(0)
    users, items = np.indices((80, 40))
    liked = rng.random((80, 40)) < np.where(users % 2 == items % 2, 0.4, 0.02)
    return lw.Interactions.from_csr(sp.csr_array(liked.astype(float)))


# ---------------------------------------------------------------------- finding


def test_the_better_parameters_are_found(data):
    model = lw.ImplicitALS(iterations=4, random_state=0, n_jobs=1)
    tuning = tune(model, {"factors": [1, 4]}, data, n_trials=6)
    assert tuning.best_params["factors"] == 4
    assert 1 <= tuning.best_params["iterations"] <= 4
    assert tuning.model.factors == 4
    assert tuning.model.interactions_.nnz == data.nnz
    assert tuning.best_score == max(trial.value for trial in tuning.study.trials if trial.value is not None)
    assert not hasattr(model, "interactions_")
    assert model.factors == 64


def test_the_score_is_that_of_the_best_iteration(data):
    train, validation = random_split(data, 0.2, per_user=True, random_state=1)
    model = lw.BPR(factors=4, iterations=12, random_state=0, n_jobs=1)
    tuning = tune(model, {"learning_rate": [0.05]}, train, validation=validation, n_trials=1, refit=False)
    curve = tuning.curve()
    assert curve.shape == (12,)
    best = tuning.best_params["iterations"]
    assert tuning.best_score == curve.max() == curve[best - 1]
    for iterations in (1, best, 12):
        fitted = clone(model).set_params(learning_rate=0.05, iterations=iterations).fit(train)
        expected = lw.evaluate(fitted, train, validation, "ndcg@10")["ndcg@10"]
        assert curve[iterations - 1] == pytest.approx(expected)
    assert not hasattr(tuning.model, "interactions_")


def test_models_without_iterations_and_averages_over_parts():
    retail = lw.datasets.load_online_retail()[np.arange(300)]
    cv = RollingSplit(2, test_duration="30D")
    tuning = tune(lw.ItemKNN(), {"k": [5, 50]}, retail, validation=cv, n_trials=4, metric="recall@20")
    k = tuning.best_params["k"]
    scores = [
        lw.evaluate(lw.ItemKNN(k=k).fit(train), train, test, "recall@20")["recall@20"]
        for train, test in cv.parts(retail)
    ]
    assert tuning.best_score == pytest.approx(np.mean(scores))
    assert "iterations" not in tuning.best_params


def test_errors_are_minimized():
    rng = np.random.default_rng(0)
    ratings = 5 + rng.normal(size=(60, 1)) + rng.normal(size=40)
    X = np.where(rng.random((60, 40)) < 0.5, ratings, 0)
    space = {"user_regularization": [0.1, 500.0], "item_regularization": [0.1]}
    tuning = tune(lw.BaselinePredictor(), space, X, n_trials=4)
    assert tuning.metric == "rmse"
    assert tuning.best_params["user_regularization"] == 0.1
    assert tuning.best_score == min(trial.value for trial in tuning.study.trials if trial.value is not None)


def test_spaces_of_every_kind(data):
    space = {
        "k": Range(2, 30, log=True),
        "shrinkage": Range(0.0, 5.0),
        "min_support": optuna.distributions.IntDistribution(1, 2),
        "weighting": [None, "bm25"],
    }
    tuning = tune(lw.ItemKNN(), space, data, n_trials=8)
    for trial in tuning.study.trials:
        assert isinstance(trial.params["k"], int)
        assert 2 <= trial.params["k"] <= 30
        assert 0 <= trial.params["shrinkage"] <= 5
    by_function = tune(lw.ItemKNN(), lambda trial: {"k": 2 * trial.suggest_int("half", 2, 3)}, data, n_trials=2)
    assert by_function.best_params["k"] in (4, 6)
    assert by_function.model.k == by_function.best_params["k"]


def test_iterations_in_the_space_are_tried_as_they_are(data):
    model = lw.ImplicitALS(factors=4, random_state=0, n_jobs=1)
    tuning = tune(model, {"iterations": [2, 5]}, data, n_trials=3)
    assert tuning.best_params["iterations"] in (2, 5)
    assert tuning.model.n_iter_ == tuning.best_params["iterations"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_has_a_default_space(model):
    space = default_space(model())
    assert space
    assert set(space) <= set(model().get_params())
    rng = np.random.default_rng(0)
    X = np.where(rng.random((30, 20)) < 0.5, rng.integers(1, 6, (30, 20)), 0)
    few = {name: value for name, value in (("iterations", 2), ("n_jobs", 1)) if name in model().get_params()}
    if model is lw.SLIM:
        few["iterations"] = 1000
    tuning = tune(model().set_params(**few), None, X, n_trials=2)
    assert set(space) <= set(tuning.best_params)
    assert np.isfinite(tuning.best_score)


def test_neighbours_of_ratings_have_a_space_of_their_own():
    assert "weighting" in default_space(lw.UserKNN())
    assert "weighting" not in default_space(lw.UserKNN(target="rating"))


# ---------------------------------------------------------------------- pruning, resuming, ending


def test_bad_trials_are_cut_short(data):
    """After five whole curves, whoever is below their median at an iteration stops there; at first, nobody does."""
    model = lw.BPR(factors=4, iterations=15, random_state=0, n_jobs=1)
    space = {"learning_rate": [0.2, 0.1, 1e-5]}
    tuning = tune(model, space, data, n_trials=14, sampler=optuna.samplers.RandomSampler(seed=1), refit=False)
    pruned = [trial for trial in tuning.study.trials if trial.state.name == "PRUNED"]
    assert pruned
    assert all(3 < len(trial.intermediate_values) < 15 for trial in pruned)
    assert any(trial.params["learning_rate"] == 1e-5 for trial in pruned)
    assert tuning.best_params["learning_rate"] != 1e-5
    assert f"{len(pruned)} pruned" in repr(tuning)


def test_a_study_goes_on_where_it_was(data, tmp_path):
    path, space = tmp_path / "study.log", {"k": Range(2, 30)}
    first = tune(lw.ItemKNN(), space, data, n_trials=3, storage=path)
    again = tune(lw.ItemKNN(), space, data, n_trials=5, storage=str(path))
    assert len(first.study.trials) == 3 or len(first.study.get_trials()) == 5
    assert [trial.number for trial in again.study.trials] == [0, 1, 2, 3, 4]
    done = tune(lw.ItemKNN(), space, data, n_trials=5, storage=path)
    assert len(done.study.trials) == 5
    assert done.best_params == again.best_params
    other = tune(lw.ItemKNN(), space, data, n_trials=1, storage=path, study_name="another")
    assert len(other.study.trials) == 1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": lw.UserKNN()}, "model"),
        ({"space": {"k": Range(2, 31)}}, "space"),
        ({"metric": "recall@5"}, "metric"),
        ({"train": np.eye(9) + np.eye(9)[::-1]}, "data"),
    ],
)
def test_a_study_of_something_else_is_refused(change, what, data, tmp_path):
    given = {"model": lw.ItemKNN(), "space": {"k": Range(2, 30)}, "train": data}
    options = {"n_trials": 1, "storage": tmp_path / "study.log"}
    tune(**given, **options)
    with pytest.raises(ValueError, match=f"tune: the stored study is of another {what}"):
        tune(**{**given, **change}, **options)


def test_an_interrupt_leaves_what_was_found(data, tmp_path):
    class Interrupting(lw.ItemKNN):
        calls = 0

        def fit(self, X, y=None):
            Interrupting.calls += 1
            if Interrupting.calls == 3:
                raise KeyboardInterrupt
            return super().fit(X, y)

    space, path = {"k": Range(2, 30)}, tmp_path / "study.log"
    with pytest.raises(KeyboardInterrupt):
        tune(Interrupting(), space, data, n_trials=4, storage=path)
    tuning = tune(Interrupting(), space, data, n_trials=4, storage=path)
    states = [trial.state.name for trial in tuning.study.trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_time_is_up(data):
    tuning = tune(lw.ItemKNN(), {"k": Range(2, 30)}, data, n_trials=10**6, timeout=0.3)
    assert 1 <= len(tuning.study.trials) < 10**4


def test_the_same_seed_proposes_the_same(data):
    found = [tune(lw.ItemKNN(), None, data, n_trials=4, random_state=3).to_frame(library="pandas") for _ in range(2)]
    assert found[0].drop(columns="seconds").equals(found[1].drop(columns="seconds"))


# ---------------------------------------------------------------------- errors, looking


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"space": {"facters": [1]}}, ValueError, "ItemKNN has no parameter 'facters'; it has"),
        ({"space": {}}, TypeError, "space must be a mapping of parameters to what is tried"),
        ({"space": {"k": 5}}, TypeError, "k must be tried from a Range, a list or a distribution of Optuna's, got 5"),
        ({"space": {"k": "ab"}}, TypeError, "k must be tried from"),
        ({"space": {"k": Range(5, 2)}}, ValueError, "the range of k is none"),
        ({"space": {"k": Range(0, 2, log=True)}}, ValueError, "the range of k is none"),
        ({"n_trials": 0}, ValueError, "n_trials must be >= 1"),
        ({"timeout": -1}, ValueError, "timeout must be > 0"),
        ({"refit": 1}, TypeError, "refit must be True or False"),
    ],
)
def test_bad_arguments(change, error, match, data):
    with pytest.raises(error, match=f"^tune: {match}"):
        tune(**{"model": lw.ItemKNN(), "space": {"k": [3]}, "train": data, "n_trials": 1, **change})


def test_an_error_of_a_fit_comes_out(data):
    with pytest.raises(ValueError, match="ItemKNN: metric must be one of"):
        tune(lw.ItemKNN(), {"metric": ["no such"]}, data, n_trials=3)


def test_tuning_shows_itself(data, capsys):
    space = {"k": Range(2, 30), "weighting": [None, "tfidf"]}
    tuning = tune(lw.ItemKNN(), space, data, n_trials=6, verbose=True)
    assert "Tuning:" in capsys.readouterr().err
    text = repr(tuning)
    assert text.startswith("Tuning of ItemKNN over 6 trials (6 whole, 0 pruned): ndcg@10 0.")
    assert len(text.splitlines()) == 8
    assert "<table>" in tuning._repr_html_()
    for library in ("pandas", "polars", "pyarrow"):
        assert tuning.to_frame(library=library).shape == (6, 6)
    ax = tuning.plot()
    assert ax.get_ylabel() == "ndcg@10"
    assert list(ax.lines[1].get_ydata()) == list(np.maximum.accumulate(ax.lines[0].get_ydata()))
    mpl.pyplot.close(ax.figure)


def test_without_optuna_the_error_says_what_to_install(data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "likewise\[tune\]"'):
        tune(lw.ItemKNN(), None, data)
