"""Nearest neighbours of all items by cosine, beside what other libraries find."""

from __future__ import annotations

import importlib
import importlib.metadata
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
from likewise.models._sparse import Measure, nearest

Neighbours = Callable[[], Any]
_CHECKED_ITEMS = 50
_TOLERANCE = 3e-4  # float32 sums of tens of thousands of products


@dataclass(frozen=True)
class Problem:
    """The users of all items, and how many neighbours each item is to have."""

    matrix: sp.csr_matrix
    k: int

    @classmethod
    def make(cls, dataset: str, k: int) -> Problem:
        """Each entry of the data as a 1."""
        matrix = datasets.load_csr(dataset)
        ones = np.ones(matrix.nnz, np.float32)
        return cls(sp.csr_matrix((ones, matrix.indices, matrix.indptr), shape=matrix.shape), k)

    @cached_property
    def lengths(self) -> npt.NDArray[np.float32]:
        """Of the columns; 1 for an empty one."""
        counts = np.bincount(self.matrix.indices, minlength=self.matrix.shape[1])
        return np.sqrt(np.maximum(counts, 1)).astype(np.float32)

    @cached_property
    def unit(self) -> sp.csr_matrix:
        """Columns of length 1, which the peers are given: making them is not in their time."""
        return sp.csr_matrix(self.matrix @ sp.diags_array(1 / self.lengths)).astype(np.float32)

    @cached_property
    def products(self) -> int:
        """Of all items with all: what symmetry would save is not taken off."""
        return int((np.diff(self.matrix.indptr).astype(np.int64) ** 2).sum())

    def check(self, found: Any) -> dict[str, Any]:
        """Hold some items against float64, ties aside; raises AssertionError."""
        found = found.to_scipy() if isinstance(found, CSR) else sp.csr_array(found)
        columns = sp.csc_array(self.matrix).astype(np.float64)
        n_items = columns.shape[1]
        items = harness.rng(1).choice(n_items, min(_CHECKED_ITEMS, n_items), replace=False)
        for item in items:
            users = columns.indices[columns.indptr[item] : columns.indptr[item + 1]]
            counts = np.bincount(self.matrix[users].indices, minlength=n_items)
            exact = counts / (self.lengths.astype(np.float64) * self.lengths[item])
            exact[item] = 0
            best = np.sort(exact)[::-1][: self.k]
            best = best[best > 0]
            row = slice(found.indptr[item], found.indptr[item + 1])
            ids, values = found.indices[row], found.data[row]
            others = (ids != item) & (values > 0)
            order = np.argsort(-values[others], kind="stable")[: self.k]
            ids, values = ids[others][order], values[others][order]
            assert len(set(ids.tolist())) == best.size, f"item {item} has too few neighbours, or one twice"
            assert np.all(np.abs(exact[ids] - best) <= _TOLERANCE), f"item {item} misses one of its nearest"
            assert np.all(np.abs(values - best) <= _TOLERANCE), f"item {item} has wrong cosines"
        return {"n_items": n_items, "products": self.products, "checked": len(items)}


def likewise(problem: Problem, threads: int) -> Neighbours:
    """The kernel `similarity`, lengths as denominators; all that it needs to arrange is in its time."""
    backend, lengths = get_backend("cpu", threads), problem.lengths
    by_user = CSR.from_scipy(problem.matrix)
    by_item, measure = by_user.transpose(), Measure("product", lengths, lengths)
    return lambda: nearest(backend, by_item, by_user, measure, problem.k, first=0)


def sparse_dot_topn(problem: Problem, threads: int) -> Neighbours:
    """``sp_matmul_topn`` of float32, with room for the item itself."""
    try:
        library = importlib.import_module("sparse_dot_topn")
    except ImportError as error:
        raise PeerUnavailableError("sparse_dot_topn is not installed; install the `bench` extra") from error
    by_item = sp.csr_matrix(problem.unit.T)
    return lambda: library.sp_matmul_topn(by_item, problem.unit, top_n=problem.k + 1, n_threads=threads)


def implicit(problem: Problem, threads: int) -> Neighbours:
    """``all_pairs_knn``, which its `CosineRecommender` fits by; with room for the item itself; float64, as it asks."""
    try:
        library = importlib.import_module("implicit.nearest_neighbours")
    except ImportError as error:
        raise PeerUnavailableError("implicit is not installed; install the `bench` extra") from error
    unit = problem.unit.astype(np.float64)
    return lambda: library.all_pairs_knn(unit, problem.k + 1, num_threads=threads, show_progress=False)


CONTESTANTS: dict[str, Callable[[Problem, int], Neighbours]] = {
    "likewise": likewise,
    "sparse_dot_topn": sparse_dot_topn,
    "implicit": implicit,
}


def similarity_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """All items in a call; the check holds some of them against float64."""
    find, found = CONTESTANTS[contestant](problem, threads), None

    def call() -> None:
        nonlocal found
        found = find()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was compared"
        return problem.check(found)

    return harness.Case(call, check, flops=2.0 * problem.products)


def run_similarity(
    dataset: str, contestants: Sequence[str], *, k: int, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """Compare side by side; those that are not installed are named and left out."""
    problem, cases = Problem.make(dataset, k), {}
    for name in contestants:
        try:
            cases[name] = similarity_case(name, problem, threads)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    return [
        harness.make_row(
            "similarity",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=dataset,
            k=k,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(name.replace("_", "-")),
        )
        for name, measurement in measured.items()
    ]
