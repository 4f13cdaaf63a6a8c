"""Metrics of rankings: the kernel alone, ready lists beside RecTools and ranx, a whole evaluation beside implicit's."""

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
# implicit's evaluator computes precision, MAP, NDCG and AUC at its default cutoff; two of them are defined alike.
_CUTOFF = 10
_TEN = [
    f"{name}@{_CUTOFF}"
    for name in ("precision", "recall", "hit_rate", "f1", "ndcg", "map", "mrr", "auc", "novelty", "coverage")
]
_COMPARED = {"ndcg": f"ndcg@{_CUTOFF}", "map": f"map@{_CUTOFF}"}


def _lists(n_users: int, n_items: int, n_relevant: int) -> tuple[npt.NDArray[np.int32], CSR]:
    """Lists of 20 for users, and what is relevant to them."""
    rng = harness.rng()
    counts = rng.poisson(n_relevant, n_users) + 1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    # A list is a random half of 40 neighbours in random order; every other neighbour, to the user's count, is relevant.
    first = rng.integers(0, n_items - max(40, 2 * counts.max()), n_users)
    ids = (first[:, np.newaxis] + rng.permuted(np.tile(np.arange(40), (n_users, 1)), axis=1)[:, :20]).astype(np.int32)
    indices = np.repeat(first - 2 * offsets[:-1], counts) + 2 * np.arange(offsets[-1])
    return ids, CSR(offsets, indices.astype(np.int32), np.ones(indices.size, np.float32), (n_users, n_items))


def ranking_metrics_case(backend: Any, n_users: int, n_items: int = 26_744, n_relevant: int = 15) -> harness.Case:
    """Ten metrics of given lists of 20."""
    ids, relevant = _lists(n_users, n_items, n_relevant)
    counts = relevant.row_counts()
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

# Of ready lists. All three define them alike but for NDCG, whose ideal list RecTools never shortens, and MAP, which
# ranx divides by all relevant items.
_OF_LISTS = ("precision", "recall", "ndcg", "map")
_DEFINED_ALIKE = ("precision", "recall")


class Lists:
    """Ranked lists of 20 for many users, and what is relevant to them, in each library's own form."""

    def __init__(self, n_users: int, threads: int, n_items: int = 26_744, n_relevant: int = 15) -> None:
        self.threads = threads
        self.users = np.arange(n_users)
        self.ids, relevant = _lists(n_users, n_items, n_relevant)
        self.test = lw.Interactions.from_csr(relevant.to_scipy())

    def frame(self) -> Any:
        """A row for each user and item, in order of rank."""
        pandas = importlib.import_module("pandas")
        ranks = np.tile(np.arange(1, 21), self.users.size)
        return pandas.DataFrame({"user_id": np.repeat(self.users, 20), "item_id": self.ids.ravel(), "rank": ranks})


def _names() -> list[str]:
    return [f"{name}@{_CUTOFF}" for name in _OF_LISTS]


def likewise_lists(lists: Lists) -> Callable[[], Evaluation]:
    """`evaluate_rankings` of users beside an array."""

    def call() -> Evaluation:
        given = (lists.users, lists.ids)
        return dict(
            lw.evaluation.evaluate_rankings(given, lists.test, metrics=_names(), n_bootstrap=0, n_jobs=lists.threads)
        )

    return call


def likewise_frame(lists: Lists) -> Callable[[], Evaluation]:
    """The same of a data frame, whose order of rows is looked up."""
    frame = lists.frame()

    def call() -> Evaluation:
        return dict(
            lw.evaluation.evaluate_rankings(
                frame, lists.test, metrics=_names(), user="user_id", item="item_id", rank="rank", n_bootstrap=0,
                n_jobs=lists.threads,
            )
        )  # fmt: skip

    return call


def rectools(lists: Lists) -> Callable[[], Evaluation]:
    """`rectools.metrics.calc_metrics` of two data frames."""
    try:
        metrics = importlib.import_module("rectools.metrics")
    except ImportError as error:
        raise PeerUnavailableError(f"rectools cannot be imported: {error}") from error
    frame, test = lists.frame(), lists.test.by_user
    pandas = importlib.import_module("pandas")
    interactions = pandas.DataFrame({"user_id": test.row_numbers(), "item_id": test.indices, "weight": test.values})
    wanted = {
        f"{name}@{_CUTOFF}": getattr(metrics, kind)(k=_CUTOFF)
        for name, kind in zip(_OF_LISTS, ("Precision", "Recall", "NDCG", "MAP"), strict=True)
    }

    def call() -> Evaluation:
        return {name: float(value) for name, value in metrics.calc_metrics(wanted, frame, interactions).items()}

    return call


def ranx(lists: Lists) -> Callable[[], Evaluation]:
    """`ranx.evaluate` of its own dictionaries, which are made before."""
    try:
        library = importlib.import_module("ranx")
    except ImportError as error:
        raise PeerUnavailableError("ranx is not installed; install the `bench` extra") from error
    test, scores = lists.test.by_user, [float(20 - j) for j in range(20)]
    relevant = {f"{user:09}": dict.fromkeys(map(str, test.row(user)[0].tolist()), 1) for user in lists.users.tolist()}
    run = {
        f"{user:09}": dict(zip(map(str, row), scores, strict=True))
        for user, row in zip(lists.users.tolist(), lists.ids.tolist(), strict=True)
    }
    qrels, run = library.Qrels(relevant), library.Run(run)

    def call() -> Evaluation:
        return {name: float(value) for name, value in library.evaluate(qrels, run, _names()).items()}

    return call


LISTS: dict[str, Callable[[Lists], Callable[[], Evaluation]]] = {
    "likewise": likewise_lists,
    "likewise (frame)": likewise_frame,
    "rectools": rectools,
    "ranx": ranx,
}


def rankings_case(contestant: str, lists: Lists) -> harness.Case:
    """Four metrics of lists that are there; the check holds those that all define alike against NumPy."""
    measure, found = LISTS[contestant](lists), {}

    def call() -> None:
        nonlocal found
        found = measure()

    return harness.Case(call, lambda: _check_lists(lists, found))


def _check_lists(lists: Lists, found: Evaluation) -> dict[str, float]:
    test = lists.test.by_user
    keys = test.row_numbers().astype(np.int64) * test.n_cols + test.indices
    asked = lists.users[:, np.newaxis] * test.n_cols + lists.ids[:, :_CUTOFF]
    hits = np.isin(asked, keys).sum(axis=1)
    expected = {"precision": (hits / _CUTOFF).mean(), "recall": (hits / test.row_counts()).mean()}
    for name in _DEFINED_ALIKE:
        value = found[f"{name}@{_CUTOFF}"]
        assert abs(value - expected[name]) < 1e-9, f"{name} is {value}, expected {expected[name]}"
    return {"n_users": int(lists.users.size), **found}


class Problem:
    """A model trained for two epochs, and what it is evaluated on."""

    def __init__(self, dataset: str, factors: int, threads: int) -> None:
        self.threads = threads
        self.train, self.test = lw.model_selection.random_split(datasets.load(dataset), 0.2, random_state=0)
        self.model = lw.ImplicitALS(factors=factors, iterations=2, random_state=0, n_jobs=threads).fit(self.train)


def likewise(problem: Problem) -> Callable[[], Evaluation]:
    """`likewise.evaluate` with ten metrics, without intervals, which nobody else computes."""

    def call() -> Evaluation:
        return dict(
            lw.evaluate(
                problem.model,
                problem.train,
                problem.test,
                _TEN,
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
    for name, value in expected.items():
        assert abs(found[name] - value) < 1e-4, f"{name} is {found[name]}, expected {value}"
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


def run_rankings(*, n_users: int, threads: int, repeats: int, run: str) -> list[dict[str, Any]]:
    """Lists that are there already, side by side."""
    lists, cases = Lists(n_users, threads), {}
    for name in LISTS:
        try:
            cases[name] = rankings_case(name, lists)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    dataset = f"{n_users} lists of 20"
    return [
        _row("rankings", name, cases[name], found, dataset, _CUTOFF, threads, run) for name, found in measured.items()
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
    ours = contestant.startswith("likewise")
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
