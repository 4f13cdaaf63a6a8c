"""Displays: the numbers behind what is drawn, and that it is drawn."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from numpy.testing import assert_allclose

import likewise as lw
from likewise import evaluation as ev

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    X = (rng.random((80, 30)) < 0.6 / (1 + np.arange(30) / 4)).astype(float)
    return lw.model_selection.random_split(X, 0.3, random_state=0)


@pytest.fixture(scope="module")
def results(split):
    names = [f"{name}@{k}" for name in ("recall", "precision", "fall_out", "coverage") for k in (1, 5, 20)]
    models = {"popularity": lw.Popularity().fit(split[0]), "neighbours": lw.ItemKNN(k=5).fit(split[0])}
    return {name: lw.evaluate(model, *split, [*names, "ndcg@10", "coverage@10"]) for name, model in models.items()}


def test_metric_curves(results):
    display = ev.MetricCurveDisplay.from_results(results, "recall")
    assert display.cutoffs == [1, 5, 20]
    for name, curve in display.curves.items():
        assert_allclose(curve[:, 0], [results[name][f"recall@{k}"] for k in (1, 5, 20)])
        assert_allclose(curve[1, 1:], results[name].interval("recall@5"))
    assert len(display.ax_.lines) == 2
    assert len(display.ax_.collections) == 2
    assert display.figure_ is display.ax_.figure
    of_one = ev.MetricCurveDisplay.from_results(results["popularity"], "coverage", ax=display.ax_, color="k")
    assert of_one.ax_ is display.ax_
    assert np.isnan(of_one.curves["model"][:, 1:]).all()
    with pytest.raises(ValueError, match=r"a curve takes ndcg at two cutoffs at least, and there are \[10\]; evaluate"):
        ev.MetricCurveDisplay.from_results(results, "ndcg")


@pytest.mark.parametrize(
    ("display", "x", "y"),
    [(ev.PrecisionRecallDisplay, "recall", "precision"), (ev.RocCurveDisplay, "fall_out", "recall")],
)
def test_curves_of_two_metrics(display, x, y, results, split):
    drawn = display.from_results(results)
    for name, curve in drawn.curves.items():
        assert_allclose(curve[:, 0], [results[name][f"{x}@{k}"] for k in (1, 5, 20)])
        assert_allclose(curve[:, 1], [results[name][f"{y}@{k}"] for k in (1, 5, 20)])
    model = lw.Popularity().fit(split[0])
    again = display.from_estimator(model, *split, cutoffs=(1, 5, 20))
    assert_allclose(again.curves["Popularity"], drawn.curves["popularity"])
    assert again.ax_.get_legend().get_texts()[0].get_text() == "Popularity"
    with pytest.raises(ValueError, match="at two cutoffs at least"):
        display.from_estimator(model, *split, cutoffs=(5,))


def test_roc_ends_at_the_corner_and_its_area_is_auc(split):
    """With every cutoff, and everything ranked: the mean of the users' areas is that of the metric."""
    train, test = split
    model = lw.Popularity().fit(train)
    cutoffs = range(1, 31)
    result = lw.evaluate(model, train, test, [*ev.RocCurveDisplay.metrics(cutoffs), "auc"])
    curve = ev.RocCurveDisplay.from_results(result).curves["model"]
    assert_allclose(curve[-1], [1, 1])
    areas = []
    for user in range(len(result.users)):
        x, y = (
            np.array([0, *(result.per_user[f"{name}@{k}"][user] for k in cutoffs)]) for name in ("fall_out", "recall")
        )
        areas.append(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())
    # Popularity gives whole counts, so that ties are many: AUC counts them half, a ranking by row does not.
    assert np.mean(areas) == pytest.approx(result["auc"], abs=0.03)


def test_coverage_against_accuracy(results):
    display = ev.CoverageAccuracyDisplay.from_results(results)
    assert display.points["popularity"] == (results["popularity"]["coverage@10"], results["popularity"]["ndcg@10"])
    assert display.ax_.get_xlabel() == "coverage@10"
    assert len(display.ax_.texts) == 2


def test_popularity_of_what_is_recommended(split):
    """A planted bias: popularity recommends from the first bins alone."""
    train = lw.Interactions.from_csr(split[0].by_user.to_scipy())
    models = {"popularity": lw.Popularity().fit(train), "neighbours": lw.ItemKNN(k=5).fit(train)}
    display = ev.PopularityDisplay.from_estimator(models, train, k=3, n_bins=4)
    assert display.edges[0] == 0
    assert display.edges[-1] == 1
    for shares in (display.consumed, *display.recommended.values()):
        assert shares.sum() == pytest.approx(1)
    assert display.recommended["popularity"][0] > 1.5 * display.consumed[0]
    assert display.recommended["popularity"][-1] == 0
    counts = np.sort(train.by_item.row_counts())[::-1]
    ends = np.rint(display.edges * counts.size).astype(int)
    assert_allclose(display.consumed, np.add.reduceat(counts, ends[:-1]) / counts.sum())
    assert len(display.ax_.patches) == 3 * display.consumed.size


def test_loss_curves(split):
    model = lw.ImplicitALS(factors=4, iterations=5, compute_loss=True, random_state=0).fit(split[0])
    display = ev.LossCurveDisplay.from_estimator(model)
    assert_allclose(display.histories["loss"], model.loss_history_)
    assert display.ax_.get_title() == "ImplicitALS"
    stopped = lw.BPR(factors=4, iterations=3, early_stopping=True, random_state=0).fit(split[0])
    assert set(ev.LossCurveDisplay.from_estimator(stopped).histories) == {"correct", "validation"}
    machine = lw.FactorizationMachine(factors=2, iterations=3, random_state=0, n_jobs=1).fit(split[0])
    assert_allclose(ev.LossCurveDisplay.from_estimator(machine).histories["training"], machine.history_)
    with pytest.raises(ValueError, match="Popularity has recorded no iterations"):
        ev.LossCurveDisplay.from_estimator(lw.Popularity().fit(split[0]))


def test_page_of_a_result(split):
    result = lw.evaluate(
        lw.Popularity().fit(split[0]),
        *split,
        ["ndcg@5", "ndcg@10", "auc", "exposure_gap@10"],
        item_groups=np.arange(30) % 2,
    )
    page = result.to_html("One <model>")
    assert "<h1>One &lt;model&gt;</h1>" in page
    assert page.count("<svg") == 3
    assert "Groups of items" in page
    for name in result:
        assert name in page
    assert "src=" not in page


@pytest.mark.parametrize("model", [lw.ImplicitALS(factors=3), lw.Popularity(), lw.ItemKNN(k=2)], ids=repr)
def test_fitted_models_show_themselves(model, split):
    model.fit(split[0])
    assert repr(model) == repr(eval(repr(model), {type(model).__name__: type(model)}))
    shown = model._repr_html_()
    assert type(model).__name__ in shown
    assert "Fitted" in shown
