"""EASE from sparse data to weights, beside the best that scipy offers: a sparse product, then LAPACK in float32."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import lapack

import likewise as lw
from bench import datasets, harness

Weights = npt.NDArray[np.float32]
_CHECKED_ITEMS = 20
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Problem:
    """The users of the most popular items, and a penalty."""

    matrix: sp.csr_matrix
    regularization: float

    @classmethod
    def make(cls, dataset: str, n_items: int, regularization: float) -> Problem:
        """At most `n_items` items, those with the most users."""
        matrix = datasets.load_csr(dataset)
        counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
        chosen = np.sort(np.lexsort((np.arange(counts.size), -counts))[:n_items])
        return cls(sp.csr_matrix(matrix[:, chosen], dtype=np.float32), regularization)

    def check(self, weights: Weights) -> dict[str, Any]:
        """Hold the equations of some items, which have the weights for their solution, against float64.

        (X'X + regularization I) b = x_j for all rows but j, divided by their diagonals: what a weight would have to
        move by.
        """
        n_items = self.matrix.shape[1]
        items = harness.rng(1).choice(n_items, min(_CHECKED_ITEMS, n_items), replace=False)
        chosen, x = weights[:, items].astype(np.float64), self.matrix.astype(np.float64)
        residuals = x.T @ (x @ chosen - x[:, items].toarray()) + self.regularization * chosen
        squares = np.asarray(x.multiply(x).sum(axis=0)).reshape(-1)
        residuals /= (squares + self.regularization)[:, np.newaxis]
        residuals[items, np.arange(items.size)] = 0
        worst = float(np.abs(residuals).max(initial=0))
        assert np.all(chosen[items, np.arange(items.size)] == 0), "an item has a weight to itself"
        assert worst < _TOLERANCE, f"a weight misses its equation by {worst:.1e}"
        return {"n_items": n_items, "worst_residual": worst, "checked": int(items.size)}


def likewise(problem: Problem, threads: int) -> Callable[[], Weights]:
    """`EASE.fit`: the Gramian, its inverse in the same array, and the weights in that."""
    model, data = (
        lw.EASE(regularization=problem.regularization, n_jobs=threads),
        lw.Interactions.from_csr(problem.matrix),
    )
    _ = data.by_item

    def call() -> Weights:
        model.__dict__.pop("weights_", None)  # or there would be two matrices
        weights: Weights = model.fit(data).weights_
        return weights

    return call


def scipy(problem: Problem, threads: int) -> Callable[[], Weights]:
    """The sparse product, on one thread as it has no other; spotrf and spotri on all of LAPACK's."""
    x = sp.csr_matrix(problem.matrix)
    transposed = sp.csr_matrix(x.T)

    def call() -> Weights:
        gramian = np.asfortranarray((transposed @ x).toarray())
        gramian[np.diag_indices_from(gramian)] += np.float32(problem.regularization)
        factor, status = lapack.spotrf(gramian, overwrite_a=True)
        assert status == 0, "the matrix is not positive definite"
        inverse, _ = lapack.spotri(factor, overwrite_c=True)
        inverse = np.triu(inverse)
        inverse += np.triu(inverse, 1).T
        inverse /= -np.diag(inverse).copy()
        np.fill_diagonal(inverse, 0)
        weights: Weights = inverse
        return weights

    return call


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Weights]]] = {
    "likewise": likewise,
    "scipy": scipy,
}


def ease_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """A whole fit in a call; the check holds the equations of some items against float64."""
    fit, found = CONTESTANTS[contestant](problem, threads), None

    def call() -> None:
        nonlocal found
        found = None  # or there would be two matrices
        found = fit()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was fitted"
        return problem.check(found)

    return harness.Case(call, check, flops=float(problem.matrix.shape[1]) ** 3)


def run_ease(
    dataset: str,
    contestants: Sequence[str],
    *,
    n_items: int,
    regularization: float,
    threads: int,
    repeats: int,
    run: str,
) -> list[dict[str, Any]]:
    """Fit side by side, LAPACK on as many threads as we have."""
    problem = Problem.make(dataset, n_items, regularization)
    cases = {name: ease_case(name, problem, threads) for name in contestants}
    with harness.limit_threads(threads, blas_threads=threads):
        measured = harness.measure(cases, repeats=repeats, warmup=0)
    return [
        harness.make_row(
            "ease",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=f"{dataset}, {problem.matrix.shape[1]} items",
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(name),
        )
        for name, measurement in measured.items()
    ]
