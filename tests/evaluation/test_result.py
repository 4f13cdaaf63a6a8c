"""EvaluationResult: mapping, intervals, frames, text, plot."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from likewise.evaluation import EvaluationResult


def make_result(n_bootstrap=500, confidence=0.9, **counts):
    rng = np.random.default_rng(0)
    per_user = {"ndcg@10": rng.random(200), "auc": rng.random(200)}
    per_user["auc"][:3] = np.nan
    users = np.arange(200)
    return EvaluationResult(
        users=users, per_user=per_user, n_bootstrap=n_bootstrap, confidence=confidence, seed=3, **counts
    )


def test_result_is_a_mapping_of_means():
    result = make_result()
    assert dict(result) == {"ndcg@10": result["ndcg@10"], "auc": result["auc"]}
    assert result["auc"] == result.per_user["auc"][3:].mean()
    assert (len(result), result.n_users) == (2, 200)
    with pytest.raises(KeyError, match="'ndcg@5' was not evaluated; evaluated are ndcg@10, auc"):
        result["ndcg@5"]
    with pytest.raises(KeyError, match="'ndcg@5' was not evaluated"):
        result.interval("ndcg@5")


def test_interval_is_about_that_of_the_normal_approximation():
    result = make_result(n_bootstrap=5000)
    values = result.per_user["ndcg@10"]
    half = 1.645 * values.std() / np.sqrt(values.size)
    low, high = result.interval("ndcg@10")
    assert_allclose([low, high], [values.mean() - half, values.mean() + half], rtol=0.01)
    assert result.interval("ndcg@10") == (low, high)
    wider = make_result(n_bootstrap=5000, confidence=0.99).interval("ndcg@10")
    assert wider[0] < low
    assert wider[1] > high


def test_interval_leaves_out_undefined_values():
    result = make_result()
    low, high = result.interval("auc")
    assert low < result["auc"] < high
    nothing = EvaluationResult(
        users=np.arange(2), per_user={"auc": np.full(2, np.nan)}, n_bootstrap=10, confidence=0.9, seed=0
    )
    assert np.isnan([nothing["auc"], *nothing.interval("auc")]).all()


def test_interval_without_resamples():
    result = make_result(n_bootstrap=0)
    with pytest.raises(ValueError, match=r"interval: evaluated with n_bootstrap=0"):
        result.interval("auc")
    assert "[" not in repr(result)
    assert list(result.to_frame(library="pandas").columns) == ["metric", "mean", "n_users"]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_to_frame(library):
    pytest.importorskip(library)
    result = make_result()
    frame = result.to_frame(library=library)
    assert type(frame).__module__.startswith(library)
    columns = {name: np.asarray(frame[name]).tolist() for name in ("metric", "mean", "low", "high", "n_users")}
    assert columns["metric"] == ["ndcg@10", "auc"]
    assert columns["mean"] == list(result.values())
    assert list(zip(columns["low"], columns["high"], strict=True)) == [result.interval(name) for name in result]
    assert columns["n_users"] == [200, 197]
    users = result.to_frame(per_user=True, library=library)
    assert_array_equal(np.asarray(users["user"]), np.arange(200))
    assert_array_equal(np.asarray(users["auc"]), result.per_user["auc"])


def test_repr_shows_means_intervals_and_what_was_left_out():
    text = repr(make_result(n_unknown_users=2, n_unknown_items=5))
    result = make_result()
    low, high = result.interval("auc")
    assert text.splitlines()[0] == "EvaluationResult over 200 users"
    assert f"auc      {result['auc']:.4f} [{low:.4f}, {high:.4f}]" in text
    assert "(mean, 90% bootstrap interval over users)" in text
    assert "(auc: 3 users without a value left out)" in text
    assert "(left out of test: 2 unknown users, 5 unknown items)" in text


def test_repr_html_is_a_table_with_the_same_figures():
    result = make_result()
    assert f"<tr><th>auc</th><td>{result['auc']:.4f}</td>" in result._repr_html_()


@pytest.mark.parametrize("n_bootstrap", [0, 100])
def test_plot_draws_every_mean(n_bootstrap):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    result = make_result(n_bootstrap)
    ax = result.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ndcg@10", "auc"]
    assert_array_equal(ax.lines[0].get_xdata(), list(result.values()))
    assert result.plot(ax) is ax
    plt.close(ax.figure)


def test_plot_without_matplotlib(monkeypatch):
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(ImportError, match=r'EvaluationResult.plot: needs matplotlib; pip install "likewise\[plot\]"'):
        make_result().plot()
