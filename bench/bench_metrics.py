"""Metrics of rankings: the kernel alone, and the whole evaluation of a model beside implicit's."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import likewise as lw
from bench import datasets, harness
from bench.peers import PeerUnavailableError
from likewise._backend import get_backend
from likewise.data import CSR
from likewise.retrieval import ranking_metrics

_METRICS = [(name, k) for name in ("precision", "recall", "ndcg", "map", "mrr") for k in (10, 20)]
_CHECKED_USERS = 20
# The metrics that implicit's evaluator computes, at its default cutoff; precision is divided otherwise there.
_CUTOFF = 10
_COMPARED = {"ndcg": f"ndcg@{_CUTOFF}", "map": f"map@{_CUTOFF}"}


def ranking_metrics_case(backend: Any, n_users: int, n_items: int = 26_744, n_relevant: int = 15) -> harness.Case:
    """Ten metrics of given lists of 20."""
    rng = harness.rng()
    counts = rng.poisson(n_relevant, n_users) + 1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    # A list is a random half of 40 neighbours in random order; every other neighbour, to the user's count, is relevant.
    first = rng.integers(0, n_items - max(40, 2 * counts.max()), n_users)
    ids = (first[:, np.newaxis] + rng.permuted(np.tile(np.arange(40), (n_users, 1)), axis=1)[:, :20]).astype(np.int32)
    indices = np.repeat(first - 2 * offsets[:-1], counts) + 2 * np.arange(offsets[-1])
    relevant = CSR(offsets, indices.astype(np.int32), np.ones(indices.size, np.float32), (n_users, n_items))
    found = np.empty((0, len(_METRICS)))

    def call() -> None:
        nonlocal found
        found = ranking_metrics(backend, ids, relevant, _METRICS)

    def check() -> dict[str, Any]:
        for user in range(_CHECKED_USERS):
            hits = np.isin(ids[user], relevant.row(user)[0])
            ideal = min(20, counts[user])
            discounts = 1 / np.log2(np.arange(2, 22))
            expected = {
                ("precision", 20): hits.mean(),
                ("recall", 20): hits.sum() / counts[user],
                ("ndcg", 20): discounts[hits].sum() / discounts[:ideal].sum(),
            }
            for metric, value in expected.items():
                assert np.isclose(found[user, _METRICS.index(metric)], value), f"user {user} has a wrong {metric}"
        return {"n_users": n_users, "n_metrics": len(_METRICS)}

    return harness.Case(call, check)


Evaluation = dict[str, float]


class Problem:
    """A model trained for two epochs, and what it is evaluated on."""

    def __init__(self, dataset: str, factors: int, threads: int) -> None:
        self.threads = threads
        self.train, self.test = lw.model_selection.random_split(datasets.load(dataset), 0.2, random_state=0)
        self.model = lw.ImplicitALS(factors=factors, iterations=2, random_state=0, n_jobs=threads).fit(self.train)


def likewise(problem: Problem) -> Callable[[], Evaluation]:
    """`likewise.evaluate` without intervals, which nobody else computes."""

    def call() -> Evaluation:
        return dict(
            lw.evaluate(
                problem.model,
                problem.train,
                problem.test,
                list(_COMPARED.values()),
                n_bootstrap=0,
                n_jobs=problem.threads,
            )
        )

    return call


def implicit(problem: Problem) -> Callable[[], Evaluation]:
    """`implicit.evaluation.ranking_metrics_at_k` over a model with the same factors."""
    try:
        evaluation = importlib.import_module("implicit.evaluation")
        als = importlib.import_module("implicit.als")
    except ImportError as error:
        raise PeerUnavailableError("implicit is not installed; install the `bench` extra") from error
    model = als.AlternatingLeastSquares(factors=problem.model.factors, use_gpu=False)
    model.user_factors, model.item_factors = problem.model.user_factors_, problem.model.item_factors_
    train, test = (part.by_user.to_scipy(copy=True) for part in (problem.train, problem.test))
    csr_matrix = importlib.import_module("scipy.sparse").csr_matrix
    train, test = csr_matrix(train), csr_matrix(test)

    def call() -> Evaluation:
        found = evaluation.ranking_metrics_at_k(
            model, train, test, K=_CUTOFF, show_progress=False, num_threads=problem.threads
        )
        return {ours: float(found[theirs]) for theirs, ours in _COMPARED.items()}

    return call


CONTESTANTS: dict[str, Callable[[Problem], Callable[[], Evaluation]]] = {"likewise": likewise, "implicit": implicit}


def evaluate_case(contestant: str, problem: Problem) -> harness.Case:
    """Ranking and metrics of every user of a test set; the check holds NDCG and MAP against NumPy on some users."""
    evaluate, found = CONTESTANTS[contestant](problem), {}

    def call() -> None:
        nonlocal found
        found = evaluate()

    return harness.Case(call, lambda: _check_evaluation(problem, found))


def _check_evaluation(problem: Problem, found: Evaluation) -> dict[str, float]:
    """The same metrics from scores in float32 and `argsort`, over every user."""
    users = np.flatnonzero(problem.test.by_user.row_counts())
    totals = np.zeros(2)
    for start in range(0, users.size, 1000):
        totals += _ndcg_and_map(problem, users[start : start + 1000])
    expected = dict(zip(_COMPARED.values(), totals / users.size, strict=True))
    for name, value in found.items():
        assert abs(value - expected[name]) < 1e-4, f"{name} is {value}, expected {expected[name]}"
    return {"n_users": int(users.size), **found}


def _ndcg_and_map(problem: Problem, users: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Sums over `users`."""
    scores = problem.model.user_factors_[users] @ problem.model.item_factors_.T
    seen, test = problem.train.by_user.take_rows(users), problem.test.by_user.take_rows(users)
    scores[seen.row_numbers(), seen.indices] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :_CUTOFF]
    relevant = np.zeros(scores.shape, dtype=bool)
    relevant[test.row_numbers(), test.indices] = True
    hits = np.take_along_axis(relevant, ids, axis=1)
    reachable = np.minimum(_CUTOFF, test.row_counts())
    discounts = 1 / np.log2(np.arange(2, _CUTOFF + 2))
    ndcg = hits @ discounts / np.cumsum(discounts)[reachable - 1]
    precisions = hits.cumsum(axis=1) / np.arange(1, _CUTOFF + 1)
    average_precision = (hits * precisions).sum(axis=1) / reachable
    return np.array([ndcg.sum(), average_precision.sum()])


def run_evaluate(
    dataset: str, factors: int, contestants: Sequence[str], *, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """Evaluate one model side by side, on a random fifth of the data."""
    problem, cases = Problem(dataset, factors, threads), {}
    for name in contestants:
        try:
            cases[name] = evaluate_case(name, problem)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    # One BLAS thread, as implicit asks.
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    return [
        _row("evaluate", name, cases[name], found, dataset, factors, threads, run) for name, found in measured.items()
    ]


def run_ranking_metrics(*, n_users: int, threads: int, repeats: int, run: str) -> list[dict[str, Any]]:
    """The kernel alone."""
    case = ranking_metrics_case(get_backend("cpu", threads), n_users)
    found = harness.measure({"likewise": case}, repeats=repeats)["likewise"]
    return [_row("ranking_metrics", "likewise", case, found, f"{n_users} lists of 20", 20, threads, run)]


def _row(
    bench: str,
    contestant: str,
    case: harness.Case,
    measurement: harness.Measurement,
    dataset: str,
    k: int,
    threads: int,
    run: str,
) -> dict[str, Any]:
    ours = contestant == "likewise"
    return harness.make_row(
        bench,
        contestant,
        case,
        measurement,
        threads=threads,
        run=run,
        dataset=dataset,
        k=k,
        isa=harness.isa() if ours else None,
        version=lw.__version__ if ours else importlib.metadata.version(contestant),
    )
