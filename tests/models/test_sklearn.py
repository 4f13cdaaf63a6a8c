"""The models in scikit-learn's hands: its own checks, search, cross-validation, pipelines, output containers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import likewise as lw

# No check is excused. They give dense and sparse matrices and arrays of every format and index dtype.
CHECKED = [
    lw.ImplicitALS(factors=4, iterations=3),
    lw.ImplicitALS(factors=20, iterations=3, solver="cg", n_jobs=2),
    lw.ImplicitALS(factors=20, iterations=3, solver="ials++", block_size=16),
    lw.Popularity(),
    lw.Popularity(count="values"),
    lw.ItemKNN(k=5),
    lw.ItemKNN(k=5, metric="pearson", weighting="bm25", n_jobs=2),
    lw.UserKNN(k=5, weighting="tfidf"),
    lw.UserKNN(k=5, metric="tversky"),
    lw.P3Alpha(k=5),
    lw.RP3Beta(k=5),
    lw.BPR(factors=4, iterations=5),
    lw.BPR(factors=20, iterations=5, sampling="dynamic", n_candidates=3, item_biases=False, n_jobs=2),
    lw.WARP(factors=4, iterations=5),
    lw.WARP(factors=4, iterations=5, k_os=2, n_positives=4),
    lw.LogisticMF(factors=4, iterations=5),
    lw.SLIM(),
    lw.EASE(),
    lw.EDLAE(k=3),
    lw.EASE(k=3, solver="sparse"),
    lw.PureSVD(factors=4, random_state=0),
    lw.BaselinePredictor(),
    lw.BaselinePredictor("sgd", n_jobs=2),
    lw.SGDMatrixFactorization(factors=4, iterations=5),
    lw.SGDMatrixFactorization(factors=20, iterations=5, biases=False, n_jobs=2),
    lw.SVDpp(factors=4, iterations=5, n_jobs=2),
    lw.ExplicitALS(factors=4, iterations=4, random_state=0),
    lw.ExplicitALS(factors=4, biases=False, non_negative=True, random_state=0, n_jobs=2),
    lw.NMF(factors=4, random_state=0),
    lw.FactorizationMachine(factors=4, iterations=3),
    lw.FactorizationMachine(factors=20, iterations=3, loss="regression", pairs="between", n_jobs=2),
    lw.SlopeOne(),
    lw.SlopeOne(weighted=True, n_jobs=2),
]


@parametrize_with_checks(CHECKED)
def test_estimator_passes_the_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", CHECKED, ids=repr)
def test_estimator_checks_the_names_of_columns(estimator):
    """A check that scikit-learn keeps for its own estimators."""
    estimator_checks.check_dataframe_column_names_consistency(type(estimator).__name__, clone(estimator))


@pytest.fixture(scope="module")
def matrix():
    """Two tastes: even users like even items."""
    rng = np.random.default_rng(2)
    users, items = np.indices((60, 40))
    return sp.csr_array((rng.random((60, 40)) < np.where(users % 2 == items % 2, 0.5, 0.02)).astype(np.float64))


@pytest.fixture(params=["csr", "Interactions of rows", "Interactions of ids"])
def data(request, matrix):
    if request.param == "csr":
        return matrix
    if request.param == "Interactions of rows":
        return lw.Interactions.from_csr(matrix)
    users, items = matrix.nonzero()
    return lw.Interactions.from_arrays([f"u{user}" for user in users], [f"i{item}" for item in items])


def test_cross_val_score_ranks_for_users_not_seen(data):
    """Two tastes are easily told apart; popularity cannot tell them."""
    factors = cross_val_score(lw.ImplicitALS(factors=4, random_state=0), data, cv=3)
    popularity = cross_val_score(lw.Popularity(), data, cv=3)
    assert factors.shape == popularity.shape == (3,)
    assert factors.min() > popularity.max()


def test_cross_val_score_is_what_fit_and_score_give(matrix):
    model = lw.ImplicitALS(factors=4, random_state=0)
    folds = KFold(4, shuffle=True, random_state=1)
    expected = [clone(model).fit(matrix[train]).score(matrix[test]) for train, test in folds.split(matrix)]
    assert_allclose(cross_val_score(model, matrix, cv=folds), expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_finds_the_better_parameters(data, n_jobs):
    """One factor cannot hold two tastes. In two processes the arrays come as read-only maps of files."""
    grid = {"factors": [1, 4], "regularization": [0.01, 1.0]}
    search = GridSearchCV(lw.ImplicitALS(random_state=0, n_jobs=1, iterations=5), grid, cv=3, n_jobs=n_jobs).fit(data)
    assert search.best_params_["factors"] == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.recommend(k=3).items.shape == (60, 3)


def test_grid_search_over_a_model_of_ratings():
    """Ratings without noise, so that the smallest penalties predict hidden ones best."""
    rng = np.random.default_rng(0)
    ratings = 5 + rng.normal(size=(60, 1)) + rng.normal(size=40)
    X = sp.csr_array(np.where(rng.random((60, 40)) < 0.5, ratings, 0))
    grid = {"user_regularization": [1.0, 50.0], "item_regularization": [0.0, 100.0]}
    search = GridSearchCV(lw.BaselinePredictor(), grid, cv=3).fit(X)
    assert search.best_params_ == {"user_regularization": 1.0, "item_regularization": 0.0}
    assert -0.3 < search.best_score_ < 0


def test_pipeline_weighs_the_values_before_the_model(matrix):
    weighted = Pipeline([("tfidf", TfidfTransformer()), ("als", lw.ImplicitALS(factors=4, random_state=0))]).fit(matrix)
    by_hand = lw.ImplicitALS(factors=4, random_state=0).fit(TfidfTransformer().fit_transform(matrix))
    assert_array_equal(weighted["als"].item_factors_, by_hand.item_factors_)
    assert_array_equal(
        weighted.predict(matrix[:5]), by_hand.predict(TfidfTransformer().fit(matrix).transform(matrix[:5]))
    )
    assert 0 < weighted.score(matrix) < 1
    scores = cross_val_score(weighted, matrix, cv=3)
    assert np.isfinite(scores).all()


def test_pipeline_may_be_searched(matrix):
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), lw.ImplicitALS(factors=4, random_state=0, iterations=4))
    search = GridSearchCV(
        pipeline, {"implicitals__alpha": [0.1, 10.0], "functiontransformer__func": [np.sqrt, abs]}, cv=2
    )
    assert len(search.fit(matrix).cv_results_["params"]) == 4
    assert np.isfinite(search.best_score_)


def test_pipeline_feeds_a_classifier(matrix):
    """Who has which taste can be told from four numbers a user."""
    taste = np.arange(60) % 2
    pipeline = make_pipeline(lw.ImplicitALS(factors=4, random_state=0), Normalizer(), LogisticRegression())
    assert cross_val_score(pipeline, matrix, taste, cv=5).mean() > 0.95


def test_feature_union_stands_beside_other_transformers(matrix):
    union = FeatureUnion([("als", lw.ImplicitALS(factors=3)), ("svd", TruncatedSVD(2))])
    assert union.fit_transform(matrix).shape == (60, 5)
    assert list(union.get_feature_names_out())[:3] == ["als__implicitals0", "als__implicitals1", "als__implicitals2"]


def test_transform_names_its_columns(matrix):
    model = lw.ImplicitALS(factors=3).fit(matrix)
    assert_array_equal(model.get_feature_names_out(), ["implicitals0", "implicitals1", "implicitals2"])


def test_set_output_gives_data_frames(matrix):
    plain = lw.ImplicitALS(factors=3, random_state=0).fit(matrix)
    framed = clone(plain).set_output(transform="pandas")
    frame = framed.fit_transform(matrix)
    assert isinstance(frame, pd.DataFrame)
    assert_array_equal(frame.columns, plain.get_feature_names_out())
    assert_array_equal(frame.to_numpy(), plain.transform(matrix))
    polars = clone(plain).set_output(transform="polars").fit_transform(matrix)
    assert_array_equal(polars.to_numpy(), plain.transform(matrix))


def test_set_output_leaves_recommendations_alone(matrix):
    plain = lw.ImplicitALS(factors=3, random_state=0).fit(matrix)
    framed = clone(plain).set_output(transform="pandas").fit(matrix)
    for options in ({}, {"interactions": matrix[:7]}):
        assert_array_equal(framed.recommend(k=4, **options).items, plain.recommend(k=4, **options).items)


def test_repr_shows_what_differs_from_the_defaults():
    with sklearn.config_context(print_changed_only=True):
        assert repr(lw.ImplicitALS(factors=10, alpha=2.0)) == "ImplicitALS(alpha=2.0, factors=10)"
        assert repr(lw.Popularity()) == "Popularity()"


@pytest.mark.parametrize("fitted", [False, True])
def test_html_repr_shows_the_model(matrix, fitted):
    model = lw.ImplicitALS(factors=3)
    html = (model.fit(matrix) if fitted else model)._repr_html_()
    assert "ImplicitALS" in html
    assert ("Not fitted" in html) != fitted
    assert "factors" in make_pipeline(Normalizer(), model)._repr_html_()


def test_set_params_refuses_what_is_no_parameter():
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        lw.ImplicitALS().set_params(colour="red")
