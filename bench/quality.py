"""Ranking quality on published splits: settings are chosen on a validation part of train, the chosen one meets test."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import likewise as lw
from bench import datasets, harness

METRICS = ("recall@20", "ndcg@20")
_CHOSEN_BY = "ndcg@20"


class Setting(NamedTuple):
    """What of `likewise.ImplicitALS` is searched, in Rendle's convention: ``alpha`` is ``unobserved_weight``."""

    factors: int
    regularization: float
    unobserved_weight: float
    regularization_exponent: float


def grid(
    factors: int, regularizations: Iterable[float], weights: Iterable[float], exponents: Iterable[float]
) -> list[Setting]:
    """All combinations."""
    return [Setting(factors, *rest) for rest in itertools.product(regularizations, weights, exponents)]


def run_search(
    dataset: str, settings: Sequence[Setting], iterations: Sequence[int], *, threads: int, run: str
) -> list[dict[str, Any]]:
    """Fit all settings without the validation part, try each there after each of `iterations`, and the best on test."""
    parts = datasets.load_split(dataset)
    found = [
        row
        for setting in settings
        for row in _fit_rows("validation", dataset, parts.fitted, parts.validation, setting, iterations, threads, run)
    ]
    best = max(found, key=lambda row: row[_CHOSEN_BY])
    chosen = Setting(*(best[name] for name in Setting._fields))
    return found + _fit_rows("test", dataset, parts.train, parts.test, chosen, [best["iterations"]], threads, run)


def _fit_rows(
    part: str,
    dataset: str,
    train: lw.Interactions,
    held_out: lw.Interactions,
    setting: Setting,
    iterations: Sequence[int],
    threads: int,
    run: str,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    seconds, started = 0.0, time.perf_counter()

    def watch(model: lw.ImplicitALS, iteration: int, loss: float | None) -> None:
        nonlocal seconds, started
        seconds += time.perf_counter() - started
        if iteration in iterations:
            metrics = lw.evaluate(model, train, held_out, METRICS, n_bootstrap=0, n_jobs=threads)
            row: dict[str, Any] = {
                "bench": "quality",
                "contestant": "likewise",
                "version": lw.__version__,
                "dataset": dataset,
                "k": setting.factors,
                "threads": threads,
                "part": part,
                **setting._asdict(),
                "iterations": iteration,
                **{name: round(float(metrics[name]), 5) for name in METRICS},
                "seconds": round(seconds, 3),
                **harness.provenance(run, harness.isa()),
            }
            rows.append(row)
        started = time.perf_counter()

    model = lw.ImplicitALS(
        **setting._asdict(),
        alpha=setting.unobserved_weight,
        iterations=max(iterations),
        solver="cg",
        random_state=0,
        n_jobs=threads,
        callbacks=watch,
    )
    model.fit(train)
    return rows
