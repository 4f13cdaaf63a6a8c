"""Scorers: in every search of scikit-learn, for every model, and what they give."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

import likewise as lw
from likewise.evaluation import make_scorer
from likewise.model_selection import RandomSplit, Range, TemporalSplit, default_space

MODELS = [
    getattr(lw, name)
    for name in lw.__all__
    if isinstance(getattr(lw, name), type) and issubclass(getattr(lw, name), lw.Recommender) and name != "Recommender"
]
FEW = {"iterations": 2, "factors": 4, "n_jobs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((60, 25)) < 0.4, rng.integers(1, 6, (60, 25)), 0)
    return lw.Interactions.from_csr(sp.csr_array(X.astype(float)))


def small(model):
    """Few iterations of few factors, but for models that would not settle in them."""
    known = model().get_params()
    few = {name: value for name, value in FEW.items() if name in known}
    if model in (lw.SLIM, lw.BaselinePredictor):
        few.pop("iterations")
    return model(**few)


def two_of(tried):
    return [tried.low, tried.high] if isinstance(tried, Range) else tried[:2]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_searches_work_on_every_model(model, data):
    """The four ways of scikit-learn, with a ranking scorer, on its own folds of users or on ours of interactions."""
    estimator = small(model)
    name, tried = next((pair for pair in default_space(estimator).items() if pair[0] != "factors"), ("factors", [2, 4]))
    grid, scoring = {name: two_of(tried)}, make_scorer("ndcg@10")
    cv = KFold(2, shuffle=True, random_state=0)
    try:
        clone(estimator).fit(data).recommend(k=1, interactions=data.by_user.to_scipy()[:2])
    except NotImplementedError:  # users cannot be folded in
        cv = RandomSplit(0.2, 2, random_state=0)
    scores = cross_val_score(estimator, data, scoring=scoring, cv=cv, error_score="raise")
    assert scores.shape == (2,)
    assert (scores > 0).all()
    searches = [
        GridSearchCV(estimator, grid, scoring=scoring, cv=cv, error_score="raise"),
        RandomizedSearchCV(estimator, grid, n_iter=2, scoring=scoring, cv=cv, random_state=0, error_score="raise"),
        HalvingGridSearchCV(
            estimator, grid, scoring=scoring, cv=cv, min_resources=40, random_state=0, error_score="raise"
        ),
    ]
    for search in searches:
        search.fit(data)
        assert search.best_params_[name] in grid[name]
        assert 0 < search.best_score_ <= 1
        assert search.best_estimator_.interactions_.nnz == data.nnz


def test_scores_are_those_of_evaluate(data):
    model, cv = lw.ItemKNN(k=10), RandomSplit(0.2, random_state=0)
    [(train, test)] = cv.parts(data)
    expected = lw.evaluate(model.fit(train), train, test, ["recall@5", "map@5"])
    found = cross_validate(model, data, scoring=make_scorer("recall@5", "map@5"), cv=cv)
    assert found["test_recall@5"] == pytest.approx([expected["recall@5"]])
    assert found["test_map@5"] == pytest.approx([expected["map@5"]])
    only = make_scorer("recall@5", exclude_seen=False)
    seen = lw.evaluate(model, train, test, "recall@5", exclude_seen=False)["recall@5"]
    assert cross_val_score(model, data, scoring=only, cv=cv) == pytest.approx([seen])


def test_a_scorer_of_ndcg_is_the_score_of_the_model(data):
    """On users that the model has not seen, the same part of each is hidden."""
    folds = KFold(3)
    by_scorer = cross_val_score(lw.ItemKNN(k=10), data, scoring=make_scorer("ndcg@10"), cv=folds)
    assert by_scorer == pytest.approx(cross_val_score(lw.ItemKNN(k=10), data, cv=folds))
    errors = cross_val_score(lw.BaselinePredictor(), data, scoring=make_scorer("rmse"), cv=folds)
    assert errors == pytest.approx(cross_val_score(lw.BaselinePredictor(), data, cv=folds))
    assert (errors < 0).all()


def test_pipelines_are_scored_by_their_last_step(data):
    X = data.by_user.to_scipy()
    pipeline = make_pipeline(TfidfTransformer(), lw.ItemKNN(k=10))
    scores = cross_val_score(pipeline, X, scoring=make_scorer("ndcg@10"), cv=3, error_score="raise")
    assert scores == pytest.approx(cross_val_score(pipeline, X, cv=3))


def test_distributions_of_scipy(data):
    search = RandomizedSearchCV(
        lw.EASE(n_jobs=1), {"regularization": loguniform(1, 1000)}, n_iter=3, scoring=make_scorer("ndcg@5"),
        cv=RandomSplit(0.2, random_state=0), random_state=0, n_jobs=2,
    )  # fmt: skip
    assert 1 <= search.fit(data).best_params_["regularization"] <= 1000


def test_time_decides_in_a_search():
    retail = lw.datasets.load_online_retail()
    cv = TemporalSplit(cutoff="2011-10-01")
    search = GridSearchCV(lw.ItemKNN(), {"k": [10, 200]}, scoring=make_scorer("recall@20"), cv=cv).fit(retail)
    [(train, test)] = cv.parts(retail)
    expected = [lw.evaluate(lw.ItemKNN(k=k).fit(train), train, test, "recall@20")["recall@20"] for k in (10, 200)]
    assert search.cv_results_["mean_test_score"] == pytest.approx(expected)


def test_scorers_show_and_check_themselves():
    assert repr(make_scorer("ndcg@10", "mrr@5", n_jobs=1)) == "make_scorer('ndcg@10', 'mrr@5', n_jobs=1)"
    with pytest.raises(ValueError, match="make_scorer: unknown metric 'ndgc@5'"):
        make_scorer("ndgc@5")
    with pytest.raises(ValueError, match="make_scorer: metrics must name at least one"):
        make_scorer()
