"""Tables as lists of rows of strings, the first row the header, and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from likewise.evaluation import EvaluationResult

__all__ = ["results_table", "text_table"]


def results_table(results: Mapping[str, EvaluationResult]) -> list[list[str]]:
    """A row a metric with a column a model: the mean, and its interval where there is one."""
    metrics = dict.fromkeys(metric for result in results.values() for metric in result)
    rows = [[metric, *(_figure(result, metric) for result in results.values())] for metric in metrics]
    return [["metric", *results], *rows]


def _figure(result: EvaluationResult, metric: str) -> str:
    if result.n_bootstrap == 0:
        return f"{result[metric]:.4f}"
    low, high = result.interval(metric)
    return f"{result[metric]:.4f} [{low:.4f}, {high:.4f}]"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns lined up, a rule under the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (rows[0], ["-" * width for width in widths], *rows[1:])
    ]
    return "\n".join(lines)
