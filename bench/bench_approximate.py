"""Approximate search: queries a second at its recall, for every library and effort, beside our exact search."""

from __future__ import annotations

import importlib.metadata
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import likewise as lw
from bench import datasets, harness
from bench.bench_topk import Problem, Ranking
from likewise.data import CSR
from likewise.retrieval import ApproximateIndex, ExactIndex

LIBRARIES = {"usearch": "usearch", "faiss": "faiss-cpu", "hnswlib": "hnswlib"}  # and what they are called on PyPI


def factor_problem(dataset: str, n_queries: int, factors: int, k: int, threads: int, seed: int = 0) -> Problem:
    """Factors of `ImplicitALS`: the items that somebody had, and random users with what they have seen."""
    data = datasets.load(dataset)
    model = lw.ImplicitALS(factors, iterations=8, random_state=seed, n_jobs=threads).fit(data)
    kept = np.flatnonzero(data.by_user.column_counts())
    users = np.flatnonzero(data.by_user.row_counts())
    chosen = harness.rng(seed).permutation(users)[:n_queries]
    seen = data.by_user.to_scipy()[chosen][:, kept]
    return Problem(model.user_factors_[chosen], model.item_factors_[kept], k, CSR.from_scipy(seen))


def recall(found: Ranking, best: Ranking) -> float:
    """Share of results whose score is not below the exact k-th, where every query has k candidates."""
    (ids, scores), (_, best_scores) = found, best
    return float(((ids >= 0) & (scores >= best_scores[:, -1:])).mean())


def _search(index: ExactIndex | ApproximateIndex, problem: Problem, batch: int) -> Ranking:
    """All queries, `batch` of them a call."""
    parts = []
    for start in range(0, len(problem.queries), batch):
        rows = slice(start, start + batch)
        seen = None if problem.seen is None else problem.seen.take_rows(rows)
        parts.append(index.search(problem.queries[rows], problem.k, seen))
    ids, scores = zip(*parts, strict=True)
    return np.concatenate(ids), np.concatenate(scores)


def approximate_case(
    problem: Problem, index: ApproximateIndex, ef_search: int, batch: int, best: Ranking, facts: dict[str, Any]
) -> harness.Case:
    """All queries, `batch` of them a call; the check holds scores and masks against float64, and has the recall."""
    found: Ranking | None = None

    def call() -> None:
        nonlocal found
        index.ef_search = ef_search
        found = _search(index, problem, batch)

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was searched for"
        ids, scores = found
        rows = harness.rng(1).choice(len(ids), min(50, len(ids)), replace=False)
        for row in rows:
            exact = problem.items[ids[row]].astype(np.float64) @ problem.queries[row].astype(np.float64)
            assert np.unique(ids[row]).size == problem.k, f"query {row} has an item twice"
            assert np.allclose(scores[row], exact, rtol=1e-5, atol=1e-6), f"query {row} has wrong scores"
            seen = () if problem.seen is None else problem.seen.row(row)[0]
            assert not np.isin(ids[row], seen).any(), f"query {row} has an item that it has seen"
        return {"recall": round(recall(found, best), 5), "ef_search": ef_search, **facts}

    return harness.Case(call, check)


def exact_case(problem: Problem, index: ExactIndex, batch: int) -> harness.Case:
    """All queries, `batch` of them a call; some are held against float64."""
    found: Ranking | None = None

    def call() -> None:
        nonlocal found
        found = _search(index, problem, batch)

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was searched for"
        return {**problem.check(found), "recall": 1.0}

    ceiling = "matmul_bf16" if harness.isa() == "amx" else "matmul_fp32"
    return harness.Case(call, check, flops=problem.flops, flops_ceiling=ceiling)


def run_approximate(
    dataset: str,
    make_problem: Callable[[], Problem],
    libraries: Sequence[str],
    efforts: Sequence[int],
    *,
    m: int = 16,
    ef_construction: int = 128,
    batch: int | None = None,
    threads: int,
    repeats: int,
    run: str,
) -> list[dict[str, Any]]:
    """Build the graphs once, then search in turn; libraries that are not installed are named and left out.

    A `batch` of None is all queries in a call.
    """
    problem = make_problem()
    n_queries, factors = problem.queries.shape
    size = n_queries if batch is None else batch
    exact = ExactIndex(problem.items, n_jobs=threads)
    best = _search(exact, problem, n_queries)
    cases, versions = {"likewise": exact_case(problem, exact, size)}, {"likewise": lw.__version__}
    for library in libraries:
        start = time.perf_counter()
        try:
            index = ApproximateIndex(
                problem.items, library=library, m=m, ef_construction=ef_construction, n_jobs=threads
            )
        except ImportError as error:
            warnings.warn(f"{library} is left out: {error}", stacklevel=2)
            continue
        facts = {"m": m, "ef_construction": ef_construction, "build_seconds": time.perf_counter() - start}
        for ef_search in efforts:
            name = f"likewise on {library}, ef {ef_search}"
            cases[name] = approximate_case(problem, index, ef_search, size, best, facts)
            versions[name] = f"{library} {importlib.metadata.version(LIBRARIES[library])}"
    with harness.limit_threads(threads):
        measured = harness.measure(cases, repeats=repeats)
    words = ("" if problem.seen is None else ", without what was seen") + ("" if batch is None else f", {batch} a call")
    return [
        harness.make_row(
            "approximate",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=f"{dataset} {n_queries} x {len(problem.items)}, top {problem.k}{words}",
            k=factors,
            isa=harness.isa(),
            version=versions[name],
            queries_per_second=round(n_queries / measurement.seconds, 1),
        )
        for name, measurement in measured.items()
    ]
