"""Comparisons: what the tests give, what is noise, corrections, tables, plots and pages."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

import likewise as lw
from likewise.evaluation import Comparison, EvaluationResult, benjamini_hochberg, holm

mpl.use("Agg")


def result(values, users=None, **metrics):
    values = np.asarray(values, dtype=float)
    users = np.arange(values.size) if users is None else np.asarray(users)
    return EvaluationResult(
        users=users, per_user={"ndcg@10": values, **metrics}, n_bootstrap=200, confidence=0.95, seed=0
    )


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    users, items = np.indices((150, 40))
    X = (rng.random((150, 40)) < np.where(users % 2 == items % 2, 0.5, 0.03)).astype(float)
    return lw.model_selection.random_split(X, 0.3, random_state=0)


@pytest.fixture(scope="module")
def comparison(split):
    models = {
        "popularity": lw.Popularity(),
        "walks": lw.P3Alpha(k=10),
        "neighbours": lw.ItemKNN(k=10),
        "fitted": lw.ItemKNN(k=10).fit(split[0]),
    }
    return lw.compare(models, *split, ["ndcg@10", "recall@5", "recall@10", "coverage@10"])


# ---------------------------------------------------------------------- tests


def test_p_values_are_those_of_scipy():
    rng = np.random.default_rng(1)
    a = rng.random(80)
    b = np.clip(a + rng.normal(0.03, 0.2, 80), 0, 1)
    found = lw.compare({"a": result(a), "b": result(b)}).of("ndcg@10", "b", "a")
    assert found.difference == pytest.approx(b.mean() - a.mean())
    assert found.p_values["t"] == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert found.p_values["wilcoxon"] == pytest.approx(stats.wilcoxon(b, a).pvalue)
    half = stats.t.ppf(0.975, 79) * (b - a).std(ddof=1) / np.sqrt(80)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found.p_values["bootstrap"] == pytest.approx(found.p_values["t"], abs=0.05)


def test_users_are_paired_by_their_ids():
    a, b = np.array([0.1, 0.5, 0.9, np.nan]), np.array([0.3, 0.2, 0.6, 1.0])
    found = lw.compare({"a": result(a, list("wxyz")), "b": result(b, list("yxwz"))}).of("ndcg@10", "b", "a")
    assert found.n_users == 3
    assert found.difference == pytest.approx(np.mean([0.6 - 0.1, 0.2 - 0.5, 0.3 - 0.9]))
    with pytest.raises(ValueError, match=r"no user has a value of ndcg@10 from every model"):
        lw.compare({"a": result(a, list("wxyz")), "b": result(b, list("klmn"))})


def test_a_planted_difference_is_found_and_none_is_noise():
    rng = np.random.default_rng(2)
    a = rng.random(500)
    results = {"a": result(a), "same": result(a), "noisy": result(rng.permutation(a)), "better": result(a + 0.01)}
    for test in ("t", "wilcoxon", "bootstrap"):
        comparison = lw.compare(results, baseline="a", significance_test=test)
        assert [each.verdict for each in comparison.tests] == ["noise", "noise", "better is better"]
        assert comparison.of("ndcg@10", "same", "a").p_adjusted == 1
        turned = comparison.of("ndcg@10", "a", "better")
        assert turned.verdict == "a is worse"
        assert turned.low <= turned.difference <= turned.high < 0


@pytest.mark.parametrize("test", ["t", "wilcoxon", "bootstrap"])
def test_noise_is_rarely_taken_for_more(test):
    """At level 0.05, of 200 comparisons without a difference; 23 is the 0.9999 quantile of what should be."""
    rng = np.random.default_rng(3)
    wrong = 0
    for seed in range(200):
        a = rng.random(60)
        both = {"a": result(a), "b": result(np.where(rng.random(60) < 0.5, a, rng.random(60)))}
        found = lw.compare(both, significance_test=test, n_bootstrap=500, random_state=seed)
        wrong += not found.tests[0].is_noise
    assert wrong <= 23


def test_metrics_where_less_is_better():
    rng = np.random.default_rng(4)
    high, low = rng.random(100) + 1, rng.random(100)
    both = {
        "high": result(high, fall_out=high, popularity=high),
        "low": result(low, fall_out=low, popularity=low),
    }
    found = {each.metric: each.verdict for each in lw.compare(both).tests}
    assert found == {"ndcg@10": "low is worse", "fall_out": "low is better", "popularity": "low is lower"}


def test_ratings_are_compared_by_the_figure_of_all():
    ratings = lw.datasets.load_movietweetings()
    train, test = lw.model_selection.random_split(ratings, 0.1, random_state=0, leakage="ignore")
    models = {
        "plain": lw.BaselinePredictor(user_regularization=1e6, item_regularization=1e6),
        "biases": lw.BaselinePredictor(),
    }
    comparison = lw.compare(models, train, test, "rmse", significance_test="bootstrap", n_bootstrap=500)
    found = comparison.of("rmse", "biases", "plain")
    assert found.difference == pytest.approx(comparison["biases"]["rmse"] - comparison["plain"]["rmse"])
    assert found.low < found.difference < found.high < 0
    assert found.verdict == "biases is better"


# ---------------------------------------------------------------------- corrections


def test_holm_by_hand():
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert_allclose(holm([0.01, np.nan, 0.9]), [0.02, np.nan, 0.9])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrections_keep_order_and_bounds(p_values):
    p_values = np.array(p_values)
    order = np.argsort(p_values, kind="stable")
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p_values)
        assert (adjusted >= p_values).all()
        assert (adjusted <= 1).all()
        assert (np.diff(adjusted[order]) >= 0).all()
    assert (benjamini_hochberg(p_values) <= holm(p_values) + 1e-15).all()
    assert_allclose(benjamini_hochberg(p_values), _false_discovery(p_values))


def _false_discovery(p_values):
    """By definition: of each p-value, the least rate at which it would be a discovery."""
    ordered, n = np.sort(p_values), p_values.size
    rates = np.minimum(1, ordered * n / np.arange(1, n + 1))
    return np.array([min(rate for p, rate in zip(ordered, rates, strict=True) if p >= each) for each in p_values])


def test_corrections_are_over_all_comparisons():
    rng = np.random.default_rng(5)
    results = {name: result(rng.random(50) + shift) for name, shift in (("a", 0), ("b", 0.15), ("c", 0.1))}
    raw = [each.p_values["t"] for each in lw.compare(results).tests]
    for name, adjust in (("holm", holm), ("benjamini-hochberg", benjamini_hochberg), ("none", np.array)):
        found = lw.compare(results, correction=name)
        assert_allclose([each.p_adjusted for each in found.tests], adjust(raw))


# ---------------------------------------------------------------------- models


def test_models_are_fitted_where_they_are_not(comparison, split):
    assert list(comparison) == ["popularity", "walks", "neighbours", "fitted"]
    assert comparison.of("ndcg@10", "fitted", "neighbours").difference == 0
    assert comparison.of("ndcg@10", "neighbours", "popularity").verdict == "neighbours is better"
    expected = lw.evaluate(lw.P3Alpha(k=10).fit(split[0]), *split, "ndcg@10")
    assert comparison["walks"]["ndcg@10"] == expected["ndcg@10"]
    assert not hasattr(lw.P3Alpha(k=10), "interactions_")


def test_options_reach_the_evaluation(split):
    found = lw.compare({"a": lw.Popularity(), "b": lw.ItemKNN(k=5)}, *split, "ndcg@5", users=[1, 2, 3, 4, 5])
    assert found.tests[0].n_users == 5
    with pytest.raises(TypeError, match="no_such"):
        lw.compare({"a": lw.Popularity(), "b": lw.ItemKNN()}, *split, no_such=1)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"models": [lw.Popularity()]}, TypeError, "models must be a mapping of names to models, got list"),
        ({"models": {"a": lw.Popularity()}}, ValueError, "it takes two models to compare, got 1"),
        ({"baseline": "c"}, ValueError, "baseline 'c' is none of the models; they are a, b"),
        ({"significance_test": "z"}, ValueError, "significance_test must be one of"),
        ({"correction": "bonferroni"}, ValueError, "correction must be one of"),
        ({"level": 0}, ValueError, "level must be > 0"),
        ({"n_bootstrap": 10}, ValueError, "n_bootstrap must be >= 100"),
        ({"train": None}, ValueError, "models need train and test"),
    ],
)
def test_bad_arguments(split, options, error, match):
    given = {"models": {"a": lw.Popularity(), "b": lw.ItemKNN()}, "train": split[0], "test": split[1]} | options
    with pytest.raises(error, match=f"^compare: {match}"):
        lw.compare(**given)


def test_unknown_names_are_told(comparison):
    for call in (
        lambda: comparison["nobody"],
        lambda: comparison.of("ndcg@10", "walks", "nobody"),
        lambda: comparison.of("map@3", "walks", "popularity"),
        lambda: comparison.plot("coverage@10"),
    ):
        with pytest.raises(KeyError, match="not compared"):
            call()


def test_one_user_cannot_be_told():
    found = lw.compare({"a": result([0.1]), "b": result([0.2])})
    assert np.isnan(found.tests[0].p_adjusted)
    assert found.tests[0].verdict == "cannot be told"
    assert "cannot be told" in repr(found)


# ---------------------------------------------------------------------- looking


def test_comparison_prints(comparison):
    text = repr(comparison)
    assert text.startswith("Comparison of 4 models\nmetric       popularity  walks")
    assert "neighbours is better" in text
    assert "noise" in text
    assert "6 users" not in text
    assert "18 comparisons, Holm; noise: adjusted p above 0.05" in text
    (best,) = (line for line in text.splitlines() if line.startswith("coverage@10"))
    assert best.count("*") >= 1
    page = comparison._repr_html_()
    assert "neighbours is better" in page
    assert page.count("<table>") == 2


def test_comparison_as_frames(comparison):
    for library in ("pandas", "polars", "pyarrow"):
        frame = comparison.to_frame(library=library)
        assert frame.shape == (18, 12)
    frame = comparison.to_frame(library="pandas")
    assert isinstance(frame, pd.DataFrame)
    assert frame["is_noise"].dtype == bool
    assert (frame["p_adjusted"] >= frame["p_t"]).all()


def test_comparison_plots(comparison):
    ax = comparison.plot()
    assert len(ax.get_yticklabels()) == 6
    assert ax.get_xlabel() == "difference of ndcg@10; hollow: noise"
    assert comparison.plot("recall@5", ax=ax) is ax
    mpl.pyplot.close(ax.figure)


def test_comparison_page_is_whole(comparison):
    page = comparison.to_html("<Models>")
    assert "<title>&lt;Models&gt;</title>" in page
    assert "src=" not in page
    assert "url(" not in page
    drawings = page.split("<svg")[1:]
    assert len(drawings) == 5
    for drawing in drawings:
        ET.fromstring("<svg" + drawing.partition("</svg>")[0] + "</svg>")
    assert all(f">{name}<" in page for name in comparison)
    assert isinstance(comparison, Comparison)
