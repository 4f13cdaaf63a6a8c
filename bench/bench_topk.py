"""Exact top-k: vectors against a catalogue, with and without seen items, beside what other libraries do."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import time
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
from likewise import _core
from likewise._backend import Backend, get_backend, simd_in_use
from likewise.data import CSR
from likewise.retrieval import ExactIndex, top_k

Ranking = tuple[npt.NDArray[Any], npt.NDArray[Any]]
_CHECKED_QUERIES = 50
_BLOCK_ITEMS = 1 << 16  # held against float64 at a time
_SHORT_SECONDS = 0.5  # samples that begin with calls that do not count
_REST_SECONDS = 0.25  # while the threads of the library before come to rest: OpenMP's spin for .2 s
_LEAST_FLOPS = 1e9  # of a sample: some tens of milliseconds


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
    def n_seen(self) -> int:
        """Items that each query must not get."""
        return 0 if self.seen is None else len(self.seen.indices) // len(self.queries)

    @property
    def flops(self) -> float:
        """A multiply-add is two."""
        return 2.0 * len(self.queries) * self.items.size

    def check(self, ranking: Ranking, tolerance: float = 1e-5) -> dict[str, Any]:
        """Hold some queries against float64, to the rounding of `tolerance`; raises AssertionError."""
        rows = harness.rng(1).choice(len(self.queries), min(_CHECKED_QUERIES, len(self.queries)), replace=False)
        every = np.empty((len(rows), len(self.items)))
        for start in range(0, len(self.items), _BLOCK_ITEMS):
            block = slice(start, start + _BLOCK_ITEMS)
            every[:, block] = self.queries[rows].astype(np.float64) @ self.items[block].astype(np.float64).T
        longest = np.sqrt(np.einsum("nd,nd->n", self.items, self.items).max())
        for row, exact in zip(rows, every, strict=True):
            if self.seen is not None:
                exact[self.seen.row(row)[0]] = -np.inf
            best = -np.sort(np.partition(-exact, self.k - 1)[: self.k])
            ids, scores = ranking[0][row], ranking[1][row]
            slack = tolerance * np.linalg.norm(self.queries[row]) * longest
            assert len(set(ids.tolist())) == self.k, f"query {row} has an item twice"
            assert np.all(np.abs(exact[ids] - best) <= slack), f"query {row} misses one of its best"
            assert np.all(np.abs(scores - best) <= slack), f"query {row} has wrong scores"
        return {"n_queries": len(self.queries), "n_items": len(self.items), "top": self.k, "checked": len(rows)}


def likewise(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """`ExactIndex`, exclusions in the kernel; its rounded copy is made before, as peers' indexes are."""
    index = _index_of(problem, threads)
    return lambda: index.search(problem.queries, problem.k, problem.seen)


def likewise_by_256(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """The same for 256 queries a call, however many there are: against a peer at its best batch."""
    index = _index_of(problem, threads)

    def block(rows: slice) -> Ranking:
        seen = None if problem.seen is None else problem.seen.take_rows(rows)
        return index.search(problem.queries[rows], problem.k, seen)

    return lambda: _by_blocks(problem, 256, block)


def likewise_once(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """`retrieval.top_k`, for which nothing is made before: what a model's `recommend` does."""
    backend = get_backend("cpu", threads)
    return lambda: top_k(backend, problem.queries, problem.items, problem.k, problem.seen)


def likewise_avx512(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """`likewise` with AVX-512 alone, where the machine has more."""
    if "avx512" not in _core.available_simd() or simd_in_use() == "avx512":
        raise PeerUnavailableError("AVX-512 is not here, or what likewise uses anyway")
    index = _index_of(problem, threads, "avx512")
    return lambda: index.search(problem.queries, problem.k, problem.seen)


def numpy(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """A matrix product, then `argpartition`, by blocks of queries whose scores fill 64 MiB."""

    def block(rows: slice) -> Ranking:
        scores = problem.queries[rows] @ problem.items.T
        if problem.seen is not None:
            seen = problem.seen.take_rows(rows)
            scores[seen.row_numbers(), seen.indices] = -np.inf
        best = np.argpartition(scores, -problem.k, axis=1)[:, -problem.k :]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        ids = np.take_along_axis(best, order, axis=1)
        return ids, np.take_along_axis(scores, ids, axis=1)

    return lambda: _by_blocks(problem, max(1, (1 << 24) // len(problem.items)), block)


def implicit(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """Implicit's `topk`, by the batches of its own `recommend_all`."""
    topk = _imported("implicit.cpu.topk").topk
    seen = None if problem.seen is None else sp.csr_matrix(problem.seen.to_scipy(copy=True))

    def block(rows: slice) -> Ranking:
        filtered = None if seen is None else seen[rows]
        ids, scores = topk(
            problem.items, problem.queries[rows], problem.k, filter_query_items=filtered, num_threads=threads
        )
        return ids, scores

    return lambda: _by_blocks(problem, 1000, block)


def faiss(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """``IndexFlatIP``; as many more results as a query has seen items, and those left out afterwards."""
    library = _imported("faiss")
    library.omp_set_num_threads(threads)
    index = library.IndexFlatIP(problem.items.shape[1])
    index.add(problem.items)

    def block(rows: slice) -> Ranking:
        scores, ids = index.search(problem.queries[rows], problem.k + problem.n_seen)
        return _unseen(problem, rows, ids, scores)

    # In blocks as large as the batch: one call, as fast as faiss goes.
    return lambda: _by_blocks(problem, len(problem.queries), block)


def usearch(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """Its exact search by inner product; as many more results as a query has seen items."""
    index = _imported("usearch.index")

    def block(rows: slice) -> Ranking:
        found = index.search(
            problem.items,
            problem.queries[rows],
            problem.k + problem.n_seen,
            metric=index.MetricKind.IP,
            exact=True,
            threads=threads,
        )
        ids, distances = np.atleast_2d(found.keys), np.atleast_2d(found.distances)
        return _unseen(problem, rows, ids.astype(np.int64), 1 - distances)

    return lambda: _by_blocks(problem, len(problem.queries), block)


def torch(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """A matrix product in float32 and `topk`, by blocks of queries whose scores fill 64 MiB."""
    return _torch(problem, threads, "float32")


def torch_bf16(problem: Problem, threads: int) -> Callable[[], Ranking]:
    """The same in bfloat16, which is not exact."""
    return _torch(problem, threads, "bfloat16")


def _torch(problem: Problem, threads: int, dtype: str) -> Callable[[], Ranking]:
    library = _imported("torch")
    library.set_num_threads(threads)
    queries, items = (library.tensor(x).to(getattr(library, dtype)) for x in (problem.queries, problem.items))

    def block(rows: slice) -> Ranking:
        scores = queries[rows] @ items.T
        if problem.seen is not None:
            seen = problem.seen.take_rows(rows)
            scores[library.tensor(seen.row_numbers()), library.tensor(seen.indices).long()] = -library.inf
        best = library.topk(scores, problem.k)
        return best.indices.numpy(), best.values.float().numpy()

    return lambda: _by_blocks(problem, max(1, (1 << 24) // len(problem.items)), block)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PeerUnavailableError(f"{name.partition('.')[0]} is not installed; install the `bench` extra") from error


def _by_blocks(problem: Problem, size: int, block: Callable[[slice], Ranking]) -> Ranking:
    """The rankings of blocks of `size` queries, one behind another."""
    n = len(problem.queries)
    ids, scores = zip(*(block(slice(start, min(n, start + size))) for start in range(0, n, size)), strict=True)
    return np.concatenate(ids), np.concatenate(scores)


def _unseen(problem: Problem, rows: slice, ids: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Ranking:
    """The best k of longer rankings that are not among the seen items of their queries."""
    if problem.seen is None:
        return ids, scores
    seen = problem.seen.take_rows(rows).indices.reshape(len(ids), problem.n_seen)
    order = np.argsort((ids[:, :, np.newaxis] == seen[:, np.newaxis, :]).any(axis=2), axis=1, kind="stable")
    best = order[:, : problem.k]
    return np.take_along_axis(ids, best, axis=1), np.take_along_axis(scores, best, axis=1)


def _index_of(problem: Problem, threads: int, simd: str | None = None) -> ExactIndex:
    index = ExactIndex(problem.items, n_jobs=threads)
    if simd is not None:
        index._backend = Backend(threads, simd)
    for _ in range(2):
        index.search(problem.queries[:1], 1)
    return index


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Ranking]]] = {
    "likewise": likewise,
    "likewise by 256": likewise_by_256,
    "likewise once": likewise_once,
    "likewise avx512": likewise_avx512,
    "numpy": numpy,
    "implicit": implicit,
    "faiss": faiss,
    "usearch": usearch,
    "torch": torch,
    "torch bf16": torch_bf16,
}
_DISTRIBUTIONS = {"faiss": "faiss-cpu", "torch bf16": "torch"}
_TOLERANCES = {"torch bf16": 2.0**-7}


def _version(contestant: str) -> str:
    if contestant.startswith("likewise"):
        return lw.__version__
    return importlib.metadata.version(_DISTRIBUTIONS.get(contestant, contestant))


def _isa(contestant: str) -> str | None:
    if not contestant.startswith("likewise"):
        return None
    return "avx512" if contestant == "likewise avx512" else harness.isa()


def topk_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """The whole ranking in a call, as often as a timer needs; the check holds some queries against float64."""
    rank, found = CONTESTANTS[contestant](problem, threads), None

    # Calls that a timer can tell apart, and that outlast the threads which the library before has left spinning.
    calls = math.ceil(_LEAST_FLOPS / problem.flops)

    seconds = 0.0

    def call() -> float:
        nonlocal found, seconds
        start = time.perf_counter()
        while seconds < _SHORT_SECONDS and time.perf_counter() - start < _REST_SECONDS:
            rank()
        start = time.perf_counter()
        for _ in range(calls):
            found = rank()
        seconds = time.perf_counter() - start
        return seconds / calls

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was ranked"
        return problem.check(found, _TOLERANCES.get(contestant, 1e-5))

    is_ours_on_tiles = contestant.startswith("likewise") and _isa(contestant) == "amx"
    on_tiles = contestant == "torch bf16" or is_ours_on_tiles
    ceiling = "matmul_bf16" if on_tiles else "matmul_fp32"
    return harness.Case(call, check, flops=problem.flops, self_timed=True, flops_ceiling=ceiling)


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
    dataset = f"normal {n_queries} x {n_items}, top {k}" + (f", {n_seen} seen" if n_seen else "")
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
            isa=_isa(name),
            version=_version(name),
            queries_per_second=round(n_queries / measurement.seconds, 1),
            n_seen=n_seen,
        )
        for name, measurement in measured.items()
    ]
