"""Top-k of item-item models: histories against the nearest neighbours of items, beside what other libraries do."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench import datasets, harness
from bench.peers import PeerUnavailableError
from likewise._backend import get_backend
from likewise.data import CSR
from likewise.retrieval import top_k_sparse

Ranking = tuple[npt.NDArray[Any], npt.NDArray[Any]]
_CHECKED_QUERIES = 50
_LEAST_PRODUCTS = 1e6  # of a sample: some milliseconds
_TOLERANCE = 1e-5  # of the greatest score: implicit sums in float64, scipy in float32


@dataclass(frozen=True)
class Problem:
    """Histories, whose items nobody gets again, and the cosines of every item's nearest neighbours."""

    histories: CSR
    weights: CSR
    k: int

    @classmethod
    def make(cls, dataset: str, neighbours: int, k: int, n_users: int, threads: int) -> Problem:
        """The first `n_users` of a random order of the users; the neighbours are those of all users' data."""
        matrix = datasets.load_csr(dataset)
        users = harness.rng().permutation(matrix.shape[0])[:n_users]
        unit = matrix / np.maximum(np.sqrt(matrix.power(2).sum(axis=0)), 1e-30)
        by_user = CSR.from_scipy(unit)
        itself = CSR.from_scipy(sp.eye_array(matrix.shape[1], format="csr"))
        ids, cosines = top_k_sparse(get_backend("cpu", threads), by_user.transpose(), by_user, neighbours, itself)
        offsets = np.concatenate([[0], np.cumsum((ids >= 0).sum(axis=1))])
        weights = CSR.from_arrays(offsets, ids[ids >= 0], cosines[ids >= 0], itself.shape)
        return cls(CSR.from_scipy(matrix[np.sort(users)]), weights, k)

    @cached_property
    def products(self) -> int:
        """Pairs of an item of a history and one of its neighbours."""
        return int(self.weights.row_counts()[self.histories.indices].sum())

    def exact(self, row: int) -> tuple[npt.NDArray[np.float64], int]:
        """Float64 scores of all items, -inf for what is no candidate, and the number of candidates."""
        scores, is_candidate = np.zeros(self.weights.n_cols), np.zeros(self.weights.n_cols, dtype=bool)
        items, values = self.histories.row(row)
        for item, value in zip(items, values, strict=True):
            ids, cosines = self.weights.row(item)
            scores[ids] += float(value) * cosines.astype(np.float64)
            is_candidate[ids] = True
        is_candidate[items] = False
        scores[~is_candidate] = -np.inf
        return scores, int(is_candidate.sum())

    def check(self, ranking: Ranking) -> dict[str, Any]:
        """Hold some queries against float64; raises AssertionError."""
        n = self.histories.n_rows
        rows = harness.rng(1).choice(n, min(_CHECKED_QUERIES, n), replace=False)
        for row in rows:
            exact, n_candidates = self.exact(row)
            length = min(self.k, n_candidates)
            best = np.sort(exact)[::-1][:length]
            ids, scores = ranking[0][row][:length], ranking[1][row][:length]
            slack = _TOLERANCE * np.abs(best).max(initial=0)
            assert len(set(ids.tolist())) == length, f"query {row} has an item twice"
            assert np.all(np.abs(exact[ids] - best) <= slack), f"query {row} misses one of its best"
            assert np.all(np.abs(scores - best) <= slack), f"query {row} has wrong scores"
        return {"n_queries": n, "products": self.products, "top": self.k, "checked": len(rows)}


def likewise(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """`retrieval.top_k_sparse`, exclusions in the kernel."""
    backend = get_backend("cpu", threads)
    weights = backend.csr(problem.weights)
    return lambda: top_k_sparse(backend, problem.histories, weights, problem.k, problem.histories)


def scipy(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """The sparse product, by blocks of 1000 queries, and `argpartition` of what each row of it stores; one thread."""
    weights, k = sp.csr_array(problem.weights.to_scipy(copy=True)), problem.k
    is_seen = np.zeros(problem.weights.n_cols, dtype=bool)

    def call() -> Ranking:
        n = problem.histories.n_rows
        ids, scores = np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32)
        for start in range(0, n, 1000):
            histories = problem.histories.take_rows(slice(start, start + 1000))
            product = histories.to_scipy() @ weights
            for row in range(histories.n_rows):
                stored = slice(product.indptr[row], product.indptr[row + 1])
                columns, values, seen = product.indices[stored], product.data[stored], histories.row(row)[0]
                is_seen[seen] = True
                unseen = ~is_seen[columns]
                is_seen[seen] = False
                columns, values = columns[unseen], values[unseen]
                if columns.size > k:
                    best = np.argpartition(values, -k)[-k:]
                    columns, values = columns[best], values[best]
                order = np.argsort(-values)
                ids[start + row, : order.size], scores[start + row, : order.size] = columns[order], values[order]
        return ids, scores

    return call


def implicit(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """``ItemItemRecommender.recommend`` with the same weights; one thread, it has no other."""
    try:
        neighbours = importlib.import_module("implicit.nearest_neighbours")
    except ImportError as error:
        raise PeerUnavailableError("implicit is not installed; install the `bench` extra") from error
    model = neighbours.ItemItemRecommender(num_threads=threads)
    model.similarity = sp.csr_matrix(problem.weights.to_scipy(copy=True), dtype=np.float64)
    model.scorer = neighbours.NearestNeighboursScorer(model.similarity)
    users = np.arange(problem.histories.n_rows)
    # As float64, which it would turn every row into.
    histories = sp.csr_matrix(problem.histories.to_scipy(copy=True), dtype=np.float64)
    return lambda: model.recommend(users, histories, N=problem.k, filter_already_liked_items=True)


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Ranking]]] = {
    "likewise": likewise,
    "scipy": scipy,
    "implicit": implicit,
}


def topk_sparse_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """The whole ranking in a call, as often as a timer needs; the check holds some queries against float64."""
    rank, found = CONTESTANTS[contestant](problem, threads), None
    calls = math.ceil(_LEAST_PRODUCTS / max(1, problem.products))

    def call() -> float:
        nonlocal found
        start = time.perf_counter()
        for _ in range(calls):
            found = rank()
        return (time.perf_counter() - start) / calls

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was ranked"
        return problem.check(found)

    # Eight bytes of weights a product.
    return harness.Case(call, check, bytes=8.0 * problem.products, self_timed=True, bytes_ceiling="gather")


def run_topk_sparse(
    dataset: str,
    contestants: Sequence[str],
    *,
    neighbours: int,
    k: int = 10,
    n_users: int,
    threads: int,
    repeats: int,
    run: str,
) -> list[dict[str, Any]]:
    """Rank side by side; those that are not installed are named and left out."""
    problem, cases = Problem.make(dataset, neighbours, k, n_users, threads), {}
    for name in contestants:
        try:
            cases[name] = topk_sparse_case(name, problem, threads)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    n = problem.histories.n_rows
    return [
        harness.make_row(
            "topk_sparse",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=f"{dataset}, {neighbours} neighbours, {n} user{'s' * (n > 1)}",
            k=k,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(name),
            queries_per_second=round(n / measurement.seconds, 1),
        )
        for name, measurement in measured.items()
    ]
