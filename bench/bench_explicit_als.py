"""Explicit ALS: an iteration over users and items, beside cmfrec's conjugate gradients at the same settings."""

from __future__ import annotations

import importlib
import importlib.metadata
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench import datasets, harness
from bench.peers import PeerUnavailableError

EQUAL_RMSE = 0.005  # of a peer's, by which ours may lie above
_HELD_OUT = 0.2
_LOWEST, _HIGHEST = 0, 10
_PLANTED = 16  # factors of ratings that are drawn
_TIMED = 5  # iterations
_TIMED_RATINGS = 10_000_000


@dataclass(frozen=True)
class Problem:
    """Ratings 0 to 10, a seeded fifth of which is held out, and the settings of both sides.

    ``regularization`` is multiplied by the number of ratings of a user, an item (Zhou et al. 2008), for vectors and
    biases.
    """

    dataset: str
    factors: int
    regularization: float = 0.05
    threads: int = 2

    @cached_property
    def parts(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Train and test. Where the data have no ratings they are drawn: biases, vectors and noise."""
        matrix = datasets.load_csr(self.dataset)
        if self.dataset in datasets.SYNTHETIC:
            matrix = sp.csr_matrix((_draw(matrix), matrix.indices, matrix.indptr), shape=matrix.shape)
        train, test = lw.model_selection.random_split(lw.Interactions.from_csr(matrix), _HELD_OUT, random_state=0)
        return sp.csr_matrix(train.by_user.to_scipy()), sp.csr_matrix(test.by_user.to_scipy())

    def rmse(self, estimates: npt.NDArray[Any]) -> float:
        """Root mean squared error of estimates of the held-out ratings, kept to the scale."""
        errors = np.clip(np.asarray(estimates, dtype=np.float64), _LOWEST, _HIGHEST) - self.parts[1].data
        return float(np.sqrt(np.mean(errors**2)))


def _draw(matrix: sp.csr_matrix) -> npt.NDArray[np.float32]:
    rng = harness.rng()
    biases = [rng.normal(scale=scale, size=n) for scale, n in zip((0.8, 0.8), matrix.shape, strict=True)]
    x, y = (rng.normal(scale=_PLANTED**-0.25, size=(n, _PLANTED)).astype(np.float32) for n in matrix.shape)
    drawn = np.empty(matrix.nnz, dtype=np.float32)
    for row in range(matrix.shape[0]):
        places = slice(matrix.indptr[row], matrix.indptr[row + 1])
        items = matrix.indices[places]
        drawn[places] = 6 + biases[0][row] + biases[1][items] + y[items] @ x[row]
    drawn += rng.normal(scale=1.0, size=matrix.nnz)
    ratings: npt.NDArray[np.float32] = np.rint(drawn).clip(_LOWEST, _HIGHEST).astype(np.float32)
    return ratings


class Contestant(ABC):
    """A model that is fitted anew: seconds of an iteration are those of a fit of 1 + n less those of one of 1."""

    name: ClassVar[str]
    gathered_bytes: ClassVar[int]

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._model: Any = None

    @abstractmethod
    def fit(self, iterations: int) -> Any:
        """A model fitted to the training part."""

    @abstractmethod
    def estimates(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Ratings of pairs by the model fitted last."""

    @staticmethod
    @abstractmethod
    def version() -> str:
        """Version of the library."""

    def time_iteration(self) -> float:
        """Seconds of an iteration; on small data of many, which stand out of the noise."""
        more = max(_TIMED, _TIMED_RATINGS // int(self.problem.parts[0].nnz))
        start = time.perf_counter()
        self.fit(1)
        middle = time.perf_counter()
        self.fit(1 + more)
        return (time.perf_counter() - middle - (middle - start)) / more

    def check(self) -> dict[str, Any]:
        """The error on held-out ratings, which is below that of their mean."""
        if self._model is None:
            self._model = self.fit(1 + _TIMED)
        held_out = self.problem.parts[1].tocoo()
        rmse = self.problem.rmse(self.estimates(held_out.row, held_out.col))
        worst = self.problem.rmse(self.problem.parts[0].data.mean(dtype=np.float64))
        assert rmse < worst, f"the error is {rmse:.5g}, that of the mean {worst:.5g}"
        return {"rmse": rmse, "epochs": 1 + _TIMED, "regularization": self.problem.regularization}


class Likewise(Contestant):
    """Ours by conjugate gradients."""

    name = "likewise cg"
    gathered_bytes = 2

    def fit(self, iterations: int) -> Any:
        return lw.ExplicitALS(
            self.problem.factors,
            self.problem.regularization,
            iterations=iterations,
            solver="cg",
            random_state=0,
            n_jobs=self.problem.threads,
        ).fit(self.problem.parts[0])

    def estimates(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> npt.NDArray[Any]:
        estimates: npt.NDArray[Any] = self._model.predict(users, items)
        return estimates

    @staticmethod
    def version() -> str:
        return lw.__version__


class CmfrecCG(Contestant):
    """cmfrec's ``CMF`` by three steps of conjugate gradients; its options for speed are set."""

    name = "cmfrec CG-3"
    gathered_bytes = 4

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        try:
            self._library = importlib.import_module("cmfrec")
        except ImportError as error:
            raise PeerUnavailableError("cmfrec is not installed; install the `bench` extra") from error
        self._ratings = problem.parts[0].tocoo()

    def fit(self, iterations: int) -> Any:
        return self._library.CMF(
            k=self.problem.factors,
            lambda_=self.problem.regularization,
            scale_lam=True,
            method="als",
            use_cg=True,
            max_cg_steps=3,
            finalize_chol=False,
            precompute_for_predictions=False,
            center=True,
            use_float=True,
            niter=iterations,
            nthreads=self.problem.threads,
            random_state=1,
            verbose=False,
        ).fit(self._ratings)

    def estimates(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> npt.NDArray[Any]:
        estimates: npt.NDArray[Any] = self._model.predict(users, items)
        return estimates

    @staticmethod
    def version() -> str:
        return importlib.metadata.version("cmfrec")


CONTESTANTS: dict[str, type[Contestant]] = {contestant.name: contestant for contestant in (Likewise, CmfrecCG)}


def explicit_als_case(contestant: Contestant) -> harness.Case:
    """An iteration, and the error of the model after six of them."""
    problem = contestant.problem
    return harness.Case(
        contestant.time_iteration,
        contestant.check,
        self_timed=True,
        bytes=2.0 * problem.parts[0].nnz * (contestant.gathered_bytes * problem.factors + 8),
        bytes_ceiling="gather",
    )


def check_equal_errors(errors: dict[str, float]) -> None:
    """Raise `CheckError` where the error of likewise is above that of a peer."""
    ours = errors.get(Likewise.name)
    for name, error in errors.items():
        if ours is not None and ours > error * (1 + EQUAL_RMSE):
            raise harness.CheckError(f"likewise: RMSE {ours:.6g} is above {error:.6g} of {name}")


def run_explicit_als(
    dataset: str, factors: int, contestants: Sequence[str], *, regularization: float, threads: int, repeats: int,
    run: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Iterations side by side; those that are not installed are named and left out."""
    problem, models = Problem(dataset, factors, regularization, threads), {}
    for name in contestants:
        try:
            models[name] = CONTESTANTS[name](problem)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    cases = {name: explicit_als_case(model) for name, model in models.items()}
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    check_equal_errors({name: measurement.facts["rmse"] for name, measurement in measured.items()})
    return [
        harness.make_row(
            "explicit_als",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=dataset,
            k=factors,
            isa=harness.isa() if name == Likewise.name else None,
            version=models[name].version(),
            ratings_per_second=round(problem.parts[0].nnz / measurement.seconds),
        )
        for name, measurement in measured.items()
    ]


def ratio(rows: Sequence[dict[str, Any]]) -> str:
    """How many times as fast ours is as each peer, and its share of the gather ceiling."""
    ours = next((row for row in rows if row["contestant"] == Likewise.name), None)
    if ours is None:
        return "likewise was not measured"
    share = ours["share_of_ceiling"]
    parts = [f"likewise: {'no ceiling measured here' if share is None else f'{share:.0%} of the gather ceiling'}"]
    peers = [row for row in rows if row is not ours]
    parts += [f"{row['seconds'] / ours['seconds']:.2f} times as fast as {row['contestant']}" for row in peers]
    return "; ".join(parts)
