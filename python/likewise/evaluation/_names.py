"""Metrics by name: ``"ndcg@20"``, ``"auc"``, ``"rbp(0.95)@50"``, ``"rmse"``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from likewise._validation import check_float, check_int

__all__ = [
    "AUC", "CATALOGUE_METRICS", "GROUP_METRICS", "LIFT", "LIST_METRICS", "RANKING_METRICS", "RATING_METRICS",
    "R_PRECISION", "MetricName", "canonical", "cutoffs_of", "is_better", "parse_metrics",
]  # fmt: skip

AUC = "auc"
R_PRECISION = "r_precision"
LIFT = "popularity_lift"
# Of a user's ranking: what is found, and what is in the list whatever is relevant.
RANKING_METRICS = (
    "precision", "recall", "hit_rate", "f1", "fall_out", "ndcg", "graded_ndcg", "exponential_ndcg", "map", "mrr",
    R_PRECISION, "rbp", "err", AUC, "serendipity",
)  # fmt: skip
LIST_METRICS = ("novelty", "popularity", "diversity")
# Of the rankings of all users together.
CATALOGUE_METRICS = ("coverage", "gini", "entropy", "personalization")
GROUP_METRICS = ("exposure_gap", "recall_gap")
RATING_METRICS = ("rmse", "mae", "fcp")
_CUT = (*RANKING_METRICS, *LIST_METRICS, LIFT, *CATALOGUE_METRICS, *GROUP_METRICS)
_WHOLE = (AUC, R_PRECISION, *RATING_METRICS)  # may stand without a cutoff
_LOWER_IS_BETTER = {"rmse", "mae", "fall_out", "exposure_gap", "recall_gap"}
_NEITHER = {"popularity", LIFT, "gini"}
_KNOWN = ", ".join([*(f"{name}@k" for name in _CUT), *_WHOLE])
_MOST = 1_000_000  # items of a list, as in recommend
_PERSISTENCE = 0.8  # of the user who reads on, where "rbp" names none
_FORM = re.compile(r"([a-z_0-9]+?)(?:\(([^()@]*)\))?(?:@(\d+))?", re.ASCII)


class MetricName(NamedTuple):
    """A metric, its cutoff where it has one, and its parameter where one is told."""

    name: str
    k: int | None
    parameter: float | None = None

    def __str__(self) -> str:
        told = "" if self.parameter is None else f"({self.parameter!r})"
        return f"{self.name}{told}" if self.k is None else f"{self.name}{told}@{self.k}"

    @property
    def persistence(self) -> float:
        """The parameter of rank-biased precision."""
        return _PERSISTENCE if self.parameter is None else self.parameter


def parse_metrics(subject: str, metrics: str | Iterable[str]) -> list[MetricName]:
    """Return the metrics named, each once, in the order named.

    Raises
    ------
    TypeError
        A name is not a string.
    ValueError
        A name is unknown, lacks its cutoff or has a needless or bad one, or there is none; the message lists the
        known ones.
    """
    if not isinstance(metrics, Iterable):
        raise TypeError(f"{subject}: metrics must be names such as 'ndcg@20', got {metrics!r}")
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise ValueError(f"{subject}: metrics must name at least one of {_KNOWN}")
    return list(dict.fromkeys(_parse(subject, name) for name in names))


def canonical(metric: Any) -> Any:
    """The name that results have a metric by: ``"ndcg@05"`` is ``"ndcg@5"``; what is none stays."""
    try:
        return str(_parse("", metric))
    except (TypeError, ValueError):
        return metric


def is_better(metric: str, difference: float) -> bool | None:
    """Whether a figure that is greater by `difference` is better; None where it is neither, or there is none."""
    name = re.split(r"[@(]", metric, maxsplit=1)[0]
    if name in _NEITHER or not difference:
        return None
    return (difference < 0) == (name in _LOWER_IS_BETTER)


def cutoffs_of(metrics: Iterable[str]) -> dict[str, list[int]]:
    """Of each metric that is cut, the cutoffs by rising length."""
    found: dict[str, list[int]] = {}
    for metric in metrics:
        name, cut, k = metric.rpartition("@")
        if cut:
            found.setdefault(name, []).append(int(k))
    return {name: sorted(cutoffs) for name, cutoffs in found.items()}


def _parse(subject: str, text: str) -> MetricName:
    if not isinstance(text, str):
        raise TypeError(f"{subject}: a metric must be a string such as 'ndcg@20', got {text!r}")
    name = re.split(r"[@(]", text, maxsplit=1)[0]
    if name not in _CUT and name not in _WHOLE:
        raise ValueError(f"{subject}: unknown metric {text!r}; known are {_KNOWN}")
    found = _FORM.fullmatch(text)
    parameter = None if found is None else found[2]
    if parameter is not None and name != "rbp":
        raise ValueError(f"{subject}: {name} takes nothing in brackets, got {text!r}")
    if found is None or (found[3] is None and name not in _WHOLE):
        needs = "a cutoff" if name not in _WHOLE else "no cutoff, or one"
        raise ValueError(f"{subject}: {name} needs {needs}, as in '{name}@20', got {text!r}")
    if found[3] is None:
        return MetricName(name, None)
    if name in RATING_METRICS:
        raise ValueError(f"{subject}: {name} is over all ratings and has no cutoff, got {text!r}")
    k = check_int(subject, f"the cutoff of {text!r}", int(found[3]), minimum=1, maximum=_MOST)
    if parameter is None:
        return MetricName(name, k)
    try:
        number = float(parameter)
    except ValueError:
        number = float("nan")
    check_float(subject, f"the persistence of {text!r}", number, minimum=0, maximum=1, exclusive=True)
    return MetricName(name, k, number)
