"""Results as tables of text and as pages: what `EvaluationResult` and `Comparison` print and write."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from likewise._report import (
    Band,
    bar_chart,
    difference_chart,
    html_figure,
    html_page,
    html_table,
    html_text,
    interval_chart,
    line_chart,
)

from ._names import cutoffs_of

if TYPE_CHECKING:
    from ._compare import Comparison
    from ._result import EvaluationResult

__all__ = ["comparison_page", "difference_parts", "ranking_parts", "result_page", "results_table"]

_N_BINS = 10
_MOST_CHARTS = 4  # of differences; of more metrics, the first has one and the table has all


def results_table(results: Mapping[str, EvaluationResult]) -> list[list[str]]:
    """A row a metric with a column a model: the figure, and its interval where there is one; the header first."""
    metrics = dict.fromkeys(metric for result in results.values() for metric in result)
    rows = [[metric, *(_figure(result, metric) for result in results.values())] for metric in metrics]
    return [["metric", *results], *rows]


def result_page(result: EvaluationResult, title: str) -> str:
    """A page on one result."""
    return html_page(title, [*ranking_parts({title: result}), *_distributions(result), *_groups(result)])


def comparison_page(comparison: Comparison, title: str) -> str:
    """A page on several models and their differences."""
    return html_page(title, [*ranking_parts(comparison), "<h2>Differences</h2>", *difference_parts(comparison)])


def ranking_parts(results: Mapping[str, EvaluationResult]) -> Iterator[str]:
    """Charts of figures with intervals, curves over cutoffs, coverage beside accuracy, and the table of all."""
    first = next(iter(results.values()))
    n_users, shared = first.n_users, [name for name in first if all(name in result for result in results.values())]
    yield html_text(f"{n_users:,} users. " + "; ".join(dict.fromkeys(n for r in results.values() for n in r.notes())))
    curved = {family: cutoffs for family, cutoffs in cutoffs_of(shared).items() if len(cutoffs) > 1}
    with_intervals = [
        name
        for name in shared
        if name.partition("@")[0] not in curved and all(result.has_interval(name) for result in results.values())
    ]
    if with_intervals:
        panels = {name: {model: band_of(result, name) for model, result in results.items()} for name in with_intervals}
        caption = f"Figures over users; the lines are {100 * first.confidence:g} % bootstrap intervals."
        yield html_figure(interval_chart(panels, "metrics with intervals"), caption)
    for family, cutoffs in curved.items():
        curves = {model: [band_of(result, f"{family}@{k}") for k in cutoffs] for model, result in results.items()}
        label = f"{family} by number of items shown"
        yield html_figure(line_chart(cutoffs, curves, "items shown", family, label), f"{label}.")
    yield html_table(results_table(results))


def band_of(result: EvaluationResult, metric: str) -> Band:
    """A figure with its interval, or with itself where there is none."""
    if not result.has_interval(metric):
        return Band(result[metric], result[metric], result[metric])
    return Band(result[metric], *result.interval(metric))


def _figure(result: EvaluationResult, metric: str) -> str:
    if metric not in result:
        return ""
    if not result.has_interval(metric):
        return f"{result[metric]:.4f}"
    low, high = result.interval(metric)
    return f"{result[metric]:.4f} [{low:.4f}, {high:.4f}]"


def _distributions(result: EvaluationResult) -> Iterator[str]:
    """How the first metric is spread over users."""
    for metric, values in result.per_user.items():
        values = values[~np.isnan(values)]
        if values.size and np.ptp(values) > 0:
            counts, edges = np.histogram(values, _N_BINS)
            bars = {f"{low:.3g}": {"users": float(count)} for low, count in zip(edges[:-1], counts, strict=True)}
            yield "<h2>Users</h2>"
            chart = bar_chart(bars, "users", f"users by {metric}")
            yield html_figure(chart, f"Users by their own {metric}; each bar is named by where it begins.")
            return


def _groups(result: EvaluationResult) -> Iterator[str]:
    if result.item_groups is not None:
        yield "<h2>Groups of items</h2>"
        yield result.item_groups._repr_html_()


def difference_parts(comparison: Comparison) -> Iterator[str]:
    """Charts of differences with their intervals, and the table of the tests."""
    metrics = list(dict.fromkeys(each.metric for each in comparison.tests))
    for metric in metrics[: len(metrics) if len(metrics) <= _MOST_CHARTS else 1]:
        bands = {
            f"{each.model} − {each.baseline}": Band(each.difference, each.low, each.high)
            for each in comparison.tests
            if each.metric == metric and np.isfinite([each.difference, each.low, each.high]).all()
        }
        if bands:
            yield html_figure(difference_chart(bands, f"differences of {metric}"), f"Differences of {metric}.")
    yield html_table(comparison.tests_table())
    yield f'<p class="quiet">{html.escape(comparison.phrase())}</p>'
