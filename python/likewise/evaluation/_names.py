"""Metrics by name: ``"ndcg@20"``, ``"auc"``, ``"rmse"``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from likewise._validation import check_int

__all__ = ["AUC", "RANKING_METRICS", "RATING_METRICS", "MetricName", "parse_metrics"]

RANKING_METRICS = ("precision", "recall", "hit_rate", "ndcg", "map", "mrr")
AUC = "auc"
RATING_METRICS = ("rmse", "mae", "fcp")
_KNOWN = ", ".join([*(f"{name}@k" for name in RANKING_METRICS), AUC, *RATING_METRICS])


class MetricName(NamedTuple):
    """A metric, and its cutoff where it has one."""

    name: str
    k: int | None

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"


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


def _parse(subject: str, text: str) -> MetricName:
    if not isinstance(text, str):
        raise TypeError(f"{subject}: a metric must be a string such as 'ndcg@20', got {text!r}")
    name, at, cutoff = text.partition("@")
    if name in (AUC, *RATING_METRICS) and not at:
        return MetricName(name, None)
    if name in RANKING_METRICS and cutoff.isascii() and cutoff.isdigit():
        return MetricName(
            name, check_int(subject, f"the cutoff of {text!r}", int(cutoff), minimum=1, maximum=2**31 - 1)
        )
    if name in RANKING_METRICS:
        raise ValueError(f"{subject}: {name} needs a cutoff, as in '{name}@20', got {text!r}")
    if name == AUC:
        raise ValueError(f"{subject}: auc is over the whole ranking and has no cutoff, got {text!r}")
    if name in RATING_METRICS:
        raise ValueError(f"{subject}: {name} is over all ratings and has no cutoff, got {text!r}")
    raise ValueError(f"{subject}: unknown metric {text!r}; known are {_KNOWN}")
