"""Exact top-k: vectors against a catalogue, with and without seen items, beside what other libraries do."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench import harness
from bench.peers import PeerUnavailableError
from likewise._backend import get_backend
from likewise.data import CSR
from likewise.retrieval import top_k

Ranking = tuple[npt.NDArray[Any], npt.NDArray[Any]]
_CHECKED_QUERIES = 50


@dataclass(frozen=True)
class Problem:
    """Normally distributed vectors, and items that each query must not get."""

    queries: npt.NDArray[np.float32]
    items: npt.NDArray[np.float32]
    k: int
    seen: CSR | None

    @classmethod
    def make(cls, n_queries: int, n_items: int, factors: int, k: int, n_seen: int = 0, seed: int = 0) -> Problem:
        """Random vectors; with `n_seen`, that many distinct random items a query are excluded."""
        rng = harness.rng(seed)
        queries = rng.standard_normal((n_queries, factors), dtype=np.float32)
        items = rng.standard_normal((n_items, factors), dtype=np.float32)
        seen = None
        if n_seen:
            # Sorted numbers below n_items - n_seen + 1, spread by their place, are distinct.
            ids = np.sort(rng.integers(0, n_items - n_seen + 1, (n_queries, n_seen)), axis=1) + np.arange(n_seen)
            offsets = np.arange(n_queries + 1, dtype=np.int64) * n_seen
            values = np.ones(ids.size, np.float32)
            seen = CSR(offsets, ids.ravel().astype(np.int32), values, (n_queries, n_items))
        return cls(queries, items, k, seen)

    @property
    def flops(self) -> float:
        """A multiply-add is two."""
        return 2.0 * len(self.queries) * self.items.size

    def check(self, ranking: Ranking) -> dict[str, Any]:
        """Hold some queries against float64, to the rounding of float32; raises AssertionError."""
        rows = harness.rng(1).choice(len(self.queries), min(_CHECKED_QUERIES, len(self.queries)), replace=False)
        for row in rows:
            exact = self.items.astype(np.float64) @ self.queries[row].astype(np.float64)
            if self.seen is not None:
                exact[self.seen.row(row)[0]] = -np.inf
            best = np.sort(exact)[::-1][: self.k]
            ids, scores = ranking[0][row], ranking[1][row]
            slack = 1e-5 * np.linalg.norm(self.queries[row]) * np.linalg.norm(self.items, axis=1).max()
            assert len(set(ids.tolist())) == self.k, f"query {row} has an item twice"
            assert np.all(np.abs(exact[ids] - best) <= slack), f"query {row} misses one of its best"
            assert np.all(np.abs(scores - best) <= slack), f"query {row} has wrong scores"
        return {"n_queries": len(self.queries), "n_items": len(self.items), "top": self.k, "checked": len(rows)}


def likewise(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """`retrieval.top_k`, exclusions in the kernel."""
    backend = get_backend("cpu", threads)
    return lambda: top_k(backend, problem.queries, problem.items, problem.k, problem.seen)


def numpy(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """A matrix product, then `argpartition`, by blocks of queries whose scores fill 64 MiB."""
    size = max(1, (1 << 24) // len(problem.items))

    def block(start: int) -> Ranking:
        scores = problem.queries[start : start + size] @ problem.items.T
        if problem.seen is not None:
            seen = problem.seen.take_rows(slice(start, start + size))
            scores[seen.row_numbers(), seen.indices] = -np.inf
        best = np.argpartition(scores, -problem.k, axis=1)[:, -problem.k :]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        ids = np.take_along_axis(best, order, axis=1)
        return ids, np.take_along_axis(scores, ids, axis=1)

    def call() -> Ranking:
        ids, scores = zip(*(block(start) for start in range(0, len(problem.queries), size)), strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    return call


def implicit(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """Implicit's `topk`, by the batches of its own `recommend_all`."""
    try:
        topk = importlib.import_module("implicit.cpu.topk").topk
    except ImportError as error:
        raise PeerUnavailableError("implicit is not installed; install the `bench` extra") from error
    seen = None if problem.seen is None else sp.csr_matrix(problem.seen.to_scipy(copy=True))
    size = 1000

    def block(start: int) -> Ranking:
        filtered = None if seen is None else seen[start : start + size]
        queries = problem.queries[start : start + size]
        ids, scores = topk(problem.items, queries, problem.k, filter_query_items=filtered, num_threads=threads)
        return ids, scores

    def call() -> Ranking:
        ids, scores = zip(*(block(start) for start in range(0, len(problem.queries), size)), strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    return call


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Ranking]]] = {
    "likewise": likewise,
    "numpy": numpy,
    "implicit": implicit,
}


def topk_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """The whole ranking in one call; the check holds some queries against float64."""
    rank, found = CONTESTANTS[contestant](problem, threads), None

    def call() -> None:
        nonlocal found
        found = rank()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was ranked"
        return problem.check(found)

    return harness.Case(call, check, flops=problem.flops)


def run_topk(
    contestants: Sequence[str],
    *,
    n_queries: int,
    n_items: int,
    factors: int,
    k: int = 10,
    n_seen: int = 0,
    threads: int,
    repeats: int,
    run: str,
) -> list[dict[str, Any]]:
    """Rank side by side; those that are not installed are named and left out."""
    problem, cases = Problem.make(n_queries, n_items, factors, k, n_seen), {}
    for name in contestants:
        try:
            cases[name] = topk_case(name, problem, threads)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads):
        measured = harness.measure(cases, repeats=repeats)
    dataset = f"normal {n_queries} x {n_items}" + (f", {n_seen} seen" if n_seen else "")
    return [
        harness.make_row(
            "topk",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=dataset,
            k=factors,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(name),
            queries_per_second=round(n_queries / measurement.seconds, 1),
            n_seen=n_seen,
        )
        for name, measurement in measured.items()
    ]
