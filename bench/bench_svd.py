"""PureSVD: truncated singular value decompositions of sparse matrices, beside scikit-learn's and scipy's."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

import likewise as lw
from bench import datasets, harness

EQUAL_CAPTURE = 2e-3  # of scikit-learn's, by which ours may lie below
_OVERSAMPLING = 16
# Which capture alike, with 14 products with the matrix against 12.
_OUR_ITERATIONS, _THEIR_ITERATIONS = 6, 5
_DISTRIBUTIONS = {"scikit-learn": "scikit-learn", "scipy": "scipy"}


@dataclass(frozen=True)
class Problem:
    """The leading singular vectors of the stored values."""

    dataset: str
    factors: int

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """Stored values of users x items, float32."""
        return datasets.load_csr(self.dataset)

    def check(self, right: npt.ArrayLike) -> dict[str, Any]:
        """Hold right singular vectors, in columns, against what they must be; raises AssertionError."""
        v = np.asarray(right, dtype=np.float64)
        assert v.shape == (self.matrix.shape[1], self.factors), f"the vectors have shape {v.shape}"
        off = float(np.abs(v.T @ v - np.eye(self.factors)).max())
        assert off < 1e-3, f"the vectors are off orthonormal by {off:.3g}"
        captured = float(np.square(self.matrix.astype(np.float64) @ v).sum())
        return {"captured": captured / float(np.square(self.matrix.data.astype(np.float64)).sum())}


def likewise(problem: Problem, threads: int) -> Callable[[], Any]:
    """`likewise.PureSVD`, from a scipy matrix to both factors."""

    def call() -> Any:
        model = lw.PureSVD(problem.factors, _OUR_ITERATIONS, oversampling=_OVERSAMPLING, random_state=0, n_jobs=threads)
        return model.fit(problem.matrix).item_factors_

    return call


def scikit_learn(problem: Problem, threads: int) -> Callable[[], Any]:
    """``randomized_svd``, which `TruncatedSVD` calls; its sparse products run on one thread, the rest on BLAS's."""

    def call() -> Any:
        return randomized_svd(
            problem.matrix, problem.factors, n_oversamples=_OVERSAMPLING, n_iter=_THEIR_ITERATIONS, random_state=0
        )[2].T

    return call


def scipy(problem: Problem, threads: int) -> Callable[[], Any]:
    """``svds``, which is exact up to float32, by ARPACK."""
    return lambda: svds(problem.matrix, problem.factors, random_state=0)[2].T


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Any]]] = {
    "likewise": likewise,
    "scikit-learn": scikit_learn,
    "scipy": scipy,
}


def svd_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """One decomposition; the check is the share of the squared values that it captures."""
    decompose, found = CONTESTANTS[contestant](problem, threads), None

    def call() -> None:
        nonlocal found
        found = decompose()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was decomposed"
        return problem.check(found)

    return harness.Case(call, check)


def check_equal_captures(captured: dict[str, float]) -> None:
    """Raise `CheckError` where likewise captures less than the other randomized method."""
    ours, theirs = captured.get("likewise"), captured.get("scikit-learn")
    if ours is not None and theirs is not None and ours < theirs * (1 - EQUAL_CAPTURE):
        raise harness.CheckError(f"likewise: captures {ours:.6g}, scikit-learn {theirs:.6g}")


def run_svd(
    dataset: str, factors: int, contestants: Sequence[str], *, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """Decompose side by side."""
    problem = Problem(dataset, factors)
    cases = {name: svd_case(name, problem, threads) for name in contestants}
    with harness.limit_threads(threads):
        measured = harness.measure(cases, repeats=repeats)
    check_equal_captures({name: measurement.facts["captured"] for name, measurement in measured.items()})
    return [
        harness.make_row(
            "svd",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=dataset,
            k=factors,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(_DISTRIBUTIONS[name]),
        )
        for name, measurement in measured.items()
    ]
