"""SLIM: a fit from a sparse matrix to sparse weights, beside irspack's at the same objective."""

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

_CHECKED_COLUMNS = 50
_BLOCK = 512  # columns whose dense residuals are held at a time
_FAR = 30  # tolerances by which one more update may move a weight: others have moved since it was visited
EQUAL_OBJECTIVE = 1e-5  # of a peer's, by which ours may lie above


@dataclass(frozen=True)
class Problem:
    """Non-negative elastic nets of all items; ``alpha`` and ``l1_ratio`` as scikit-learn and irspack have them."""

    dataset: str
    alpha: float
    l1_ratio: float
    tolerance: float = 1e-4

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """Stored values of users x items, float32."""
        return datasets.load_csr(self.dataset)

    @property
    def l1(self) -> float:
        """Penalty of the sum of the weights."""
        return float(self.matrix.shape[0] * self.alpha * self.l1_ratio)

    @property
    def l2(self) -> float:
        """Penalty of the squared weights."""
        return float(self.matrix.shape[0] * self.alpha * (1 - self.l1_ratio))

    def objective(self, weights: sp.csc_array) -> float:
        """1/2 |X - X W|^2 + l2/2 |W|^2 + l1 |W|_1 in float64."""
        x, total = sp.csc_array(self.matrix, dtype=np.float64), 0.0
        for start in range(0, weights.shape[1], _BLOCK):
            block = weights[:, start : start + _BLOCK].astype(np.float64)
            residual = x[:, start : start + _BLOCK].toarray() - (x @ block).toarray()
            total += 0.5 * float(np.vdot(residual, residual))
            total += 0.5 * self.l2 * float(np.vdot(block.data, block.data)) + self.l1 * float(np.abs(block.data).sum())
        return total

    def check(self, weights: Any) -> dict[str, Any]:
        """Hold the weights against what they must be, some columns against their minimum; raises AssertionError."""
        found = sp.csc_array(weights)
        n_items = self.matrix.shape[1]
        assert found.shape == (n_items, n_items), f"weights have shape {found.shape}"
        assert not found.diagonal().any(), "an item has a weight to itself"
        assert found.data.min(initial=0) >= 0, "a weight is negative"
        columns = harness.rng(1).choice(n_items, min(_CHECKED_COLUMNS, n_items), replace=False)
        moved = max(self._move_left(found, int(column)) for column in columns)
        assert moved <= _FAR * self.tolerance, f"an update would still move a weight by {moved:.3g}"
        return {"loss": self.objective(found), "n_weights": int(np.count_nonzero(found.data)), "checked": len(columns)}

    def _move_left(self, weights: sp.csc_array, column: int) -> float:
        """The most by which an exact update of one weight of a column would move it."""
        x = self.matrix.astype(np.float64)
        w = weights[:, [column]].toarray()[:, 0].astype(np.float64)
        norms = self._squared_norms
        gradient = x.T @ (x[:, [column]].toarray()[:, 0] - x @ w)
        moved = np.maximum(gradient + norms * w - self.l1, 0) / np.maximum(norms + self.l2, 1e-30) - w
        moved[column] = 0
        return float(np.abs(moved).max(initial=0))

    @cached_property
    def _squared_norms(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.matrix.astype(np.float64).power(2).sum(axis=0)).ravel()


def likewise(problem: Problem, threads: int) -> Callable[[], Any]:
    """`likewise.SLIM`, from a scipy matrix to `weights_`."""

    def call() -> Any:
        model = lw.SLIM(problem.l1, problem.l2, tolerance=problem.tolerance, n_jobs=threads)
        return model.fit(problem.matrix).weights_.to_scipy()

    return call


def irspack(problem: Problem, threads: int) -> Callable[[], Any]:
    """``SLIMRecommender``, from a scipy matrix to ``W``, with the 100 sweeps at most that it has by default."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its own imports warn of
            recommenders = importlib.import_module("irspack.recommenders")
    except ImportError as error:
        raise PeerUnavailableError("irspack is not installed; install the `bench` extra") from error

    def call() -> Any:
        model = recommenders.SLIMRecommender(
            problem.matrix, alpha=problem.alpha, l1_ratio=problem.l1_ratio, tol=problem.tolerance, n_threads=threads,
        )  # fmt: skip
        return model.learn().W

    return call


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Any]]] = {"likewise": likewise, "irspack": irspack}


def slim_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """One fit; the check evaluates the objective in float64."""
    fit, found = CONTESTANTS[contestant](problem, threads), None

    def call() -> None:
        nonlocal found
        found = fit()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was fitted"
        return problem.check(found)

    return harness.Case(call, check)


def check_equal_objectives(losses: dict[str, float]) -> None:
    """Raise `CheckError` where likewise has stopped above the objective of a peer, which it would owe time to."""
    ours = losses.get("likewise")
    for name, loss in losses.items():
        if ours is not None and ours > loss * (1 + EQUAL_OBJECTIVE):
            raise harness.CheckError(f"likewise: objective {ours:.8g} is above {loss:.8g} of {name}")


def run_slim(
    dataset: str,
    contestants: Sequence[str],
    *,
    alpha: float,
    l1_ratio: float,
    threads: int,
    repeats: int,
    run: str,
) -> list[dict[str, Any]]:
    """Fit side by side; those that are not installed are named and left out."""
    problem, cases = Problem(dataset, alpha, l1_ratio), {}
    for name in contestants:
        try:
            cases[name] = slim_case(name, problem, threads)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    check_equal_objectives({name: measurement.facts["loss"] for name, measurement in measured.items()})
    return [
        harness.make_row(
            "slim",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=f"{dataset}, alpha {alpha:g}, l1_ratio {l1_ratio:g}",
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(name),
        )
        for name, measurement in measured.items()
    ]
