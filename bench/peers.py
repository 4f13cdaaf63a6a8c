"""Other libraries' implicit ALS, each brought to one objective and stepped one epoch at a time.

The objective is `bench.datasets.als_loss`: confidence 1 + alpha·r for a stored r, 1 for every other pair, plain L2
regularization. Each adapter states how its library's parameters map to it; ``tests/bench/test_peers.py`` shows that
each one, run to convergence, arrives at a stationary point of that objective, and at the same loss as the others.

An adapter uses its library's defaults, with 32-bit factors, but for the objective and the number of threads.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from bench.harness import limit_threads

Factors = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class PeerUnavailableError(RuntimeError):
    """A library is not installed, or cannot be asked for this objective; the message says which and why."""


@dataclass(frozen=True)
class Problem:
    """What every contestant is asked to do.

    Parameters
    ----------
    matrix : scipy CSR matrix of shape (n_users, n_items), float32
        Stored values r > 0.
    factors : int
    regularization, alpha : float
        Of `bench.datasets.als_loss`. An ``alpha`` of 1 keeps cmfrec's CG out (see `CmfrecCG`).
    threads : int
    seed : int
    """

    matrix: sp.csr_matrix
    factors: int
    regularization: float = 0.01
    alpha: float = 2.0
    threads: int = 2
    seed: int = 0


def weighted(pattern: sp.csr_matrix, values: npt.NDArray[np.float32]) -> sp.csr_matrix:
    """``pattern`` with other values; ids and offsets are shared, not copied."""
    return sp.csr_matrix((values.astype(np.float32), pattern.indices, pattern.indptr), shape=pattern.shape)


class Contestant(ABC):
    """A model that is trained one epoch (both half-sweeps) at a time and says how long each took."""

    name: ClassVar[str]
    distribution: ClassVar[str]
    blas_threads: ClassVar[int | None] = None  # None: as many as the problem has
    gathered_bytes: ClassVar[int] = 4  # of a number of the factors that a row gathers

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def epoch(self) -> float:
        """Train for one more epoch; its seconds without set-up."""

    @abstractmethod
    def factors(self) -> Factors:
        """User and item factors after the epochs so far."""

    def train(self, epochs: int) -> Factors:
        """Train for ``epochs`` more and return the factors."""
        for _ in range(epochs):
            self.epoch()
        return self.factors()

    @classmethod
    def version(cls) -> str:
        """Version of the installed library."""
        return importlib.metadata.version(cls.distribution)

    @classmethod
    @abstractmethod
    def fit_plainly(cls, matrix: sp.csr_matrix, factors: int, iterations: int, threads: int) -> Factors:
        """One ordinary ``fit`` on a scipy CSR matrix as a user would write it, for the memory it takes."""


class FoldsIn(Contestant):
    """A model that finds the factors of users it has not seen, by exact solves."""

    @abstractmethod
    def prepare(self, new_users: sp.csr_matrix) -> sp.csr_matrix:
        """``new_users``, stored values r, as the library wants it; not part of what is timed."""

    @abstractmethod
    def transform(self, prepared: sp.csr_matrix) -> npt.NDArray[Any]:
        """Factors of new users, shape (n_users, factors)."""


class FittedAnew(Contestant):
    """A model that is fitted from the start for every figure: a fit cannot be continued without its set-up.

    An epoch's seconds are an average over ``epochs_timed`` of them, and `factors` comes from one more fit with as many
    epochs as were asked for.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.epochs_run = 0
        # Enough for a small matrix to stand out of the noise.
        self.epochs_timed = 3 if problem.matrix.nnz > 2_000_000 else 10

    @abstractmethod
    def fit(self, iterations: int) -> Factors:
        """Train from the start; user and item factors."""

    @abstractmethod
    def time_epochs(self) -> float:
        """Seconds of ``epochs_timed`` epochs without set-up."""

    def epoch(self) -> float:
        self.epochs_run += 1
        return self.time_epochs() / self.epochs_timed

    def factors(self) -> Factors:
        return self.fit(self.epochs_run)

    def train(self, epochs: int) -> Factors:
        self.epochs_run += epochs
        return self.factors()


def require(module: str, distribution: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library's own import warns of is not ours to mend
            return importlib.import_module(module)
    except ImportError as error:
        raise PeerUnavailableError(f"{distribution} cannot be imported ({error}); install the `bench` extra") from error


class Implicit(FoldsIn):
    """implicit: a stored value is the whole confidence, so it is given 1 + alpha·r.

    Its README asks for ``OPENBLAS_NUM_THREADS=1``. Seconds are those that ``fit`` reports to its callback, which leave
    out its transposition of the matrix; a later ``fit`` goes on from the factors of the last one.
    """

    distribution = "implicit"
    blas_threads = 1
    use_cg: ClassVar[bool]

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._confidence = self.prepare(problem.matrix)
        with limit_threads(problem.threads, self.blas_threads):
            self._model = self._make(problem.factors, 1, problem.threads, problem.regularization, problem.seed)

    @classmethod
    def _make(cls, factors: int, iterations: int, threads: int, regularization: float, seed: int) -> Any:
        # Imported under the caller's thread limit: the constructor warns when BLAS has more than one thread.
        als = require("implicit.cpu.als", cls.distribution)
        return als.AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            iterations=iterations,
            num_threads=threads,
            use_cg=cls.use_cg,
            random_state=seed,
        )

    def epoch(self) -> float:
        seconds: list[float] = []
        with limit_threads(self.problem.threads, self.blas_threads):
            self._model.fit(self._confidence, show_progress=False, callback=lambda _epoch, s, _loss: seconds.append(s))
        return seconds[0]

    def factors(self) -> Factors:
        return self._model.user_factors, self._model.item_factors

    def prepare(self, new_users: sp.csr_matrix) -> sp.csr_matrix:
        return weighted(new_users, 1 + self.problem.alpha * new_users.data)

    def transform(self, prepared: sp.csr_matrix) -> npt.NDArray[Any]:
        factors: npt.NDArray[Any] = self._model.recalculate_user(np.arange(prepared.shape[0]), prepared)
        return factors

    @classmethod
    def fit_plainly(cls, matrix: sp.csr_matrix, factors: int, iterations: int, threads: int) -> Factors:
        with limit_threads(threads, cls.blas_threads):
            model = cls._make(factors, iterations, threads, 0.01, 0)
            model.fit(matrix, show_progress=False)
        return model.user_factors, model.item_factors


class ImplicitCG(Implicit):
    """implicit's default solver: three steps of conjugate gradients."""

    name = "implicit CG-3"
    use_cg = True


class ImplicitCholesky(Implicit):
    """implicit with exact solves."""

    name = "implicit Cholesky"
    use_cg = False


class Irspack(FoldsIn):
    """irspack's ``IALSTrainer``: its ORIGINAL loss has confidence alpha0 + x, so alpha0 = 1 and x = alpha·r.

    A row's regularization is reg · (row's entries + alpha0 · n_items) ** nu, so nu = 0 makes it plain.
    """

    distribution = "irspack"
    solver: ClassVar[str]

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._trainer = self._make_trainer(
            self.prepare(problem.matrix), problem.factors, problem.regularization, problem.seed
        )
        self._solver = self._make_solver(self.solver, problem.threads)
        self._exact = self._make_solver("CHOLESKY", problem.threads)

    @classmethod
    def _make_trainer(cls, values: sp.csr_matrix, factors: int, regularization: float, seed: int) -> Any:
        core = require("irspack.recommenders._ials_core", cls.distribution)
        config = (
            core.IALSModelConfigBuilder()
            .set_K(factors)
            .set_init_stdev(0.1)
            .set_alpha0(1.0)
            .set_reg(regularization)
            .set_nu(0.0)
            .set_loss_type(core.LossType.ORIGINAL)
            .set_random_seed(seed)
            .build()
        )
        return core.IALSTrainer(config, values)

    @classmethod
    def _make_solver(cls, solver: str, threads: int) -> Any:
        core = require("irspack.recommenders._ials_core", cls.distribution)
        return (
            core.IALSSolverConfigBuilder()
            .set_n_threads(threads)
            .set_solver_type(getattr(core.SolverType, solver))
            .set_max_cg_steps(3)
            .set_ialspp_iteration(1)
            .set_ialspp_subspace_dimension(64)
            .build()
        )

    def epoch(self) -> float:
        with limit_threads(self.problem.threads):
            start = time.perf_counter()
            self._trainer.step(self._solver)
            return time.perf_counter() - start

    def factors(self) -> Factors:
        return self._trainer.user, self._trainer.item

    def prepare(self, new_users: sp.csr_matrix) -> sp.csr_matrix:
        return weighted(new_users, self.problem.alpha * new_users.data)

    def transform(self, prepared: sp.csr_matrix) -> npt.NDArray[Any]:
        factors: npt.NDArray[Any] = self._trainer.transform_user(prepared, self._exact)
        return factors

    @classmethod
    def fit_plainly(cls, matrix: sp.csr_matrix, factors: int, iterations: int, threads: int) -> Factors:
        trainer, solver = cls._make_trainer(matrix, factors, 0.01, 0), cls._make_solver(cls.solver, threads)
        for _ in range(iterations):
            trainer.step(solver)
        return trainer.user, trainer.item


class IrspackCG(Irspack):
    """irspack's default solver: three steps of conjugate gradients."""

    name = "irspack CG-3"
    solver = "CG"


class IrspackCholesky(Irspack):
    """irspack with exact solves."""

    name = "irspack Cholesky"
    solver = "CHOLESKY"


class IrspackIALSPP(Irspack):
    """irspack's iALS++ with its default blocks of 64: exact up to 64 factors."""

    name = "irspack iALS++"
    solver = "IALSPP"


class Cmfrec(FittedAnew):
    """cmfrec's ``CMF_implicit``: confidence 1 + alpha·x, plain regularization; its options for speed are set.

    A fit cannot be watched either, so the seconds of n epochs are those of a fit with 1 + n less those of one with 1.
    """

    distribution = "cmfrec"
    use_cg: ClassVar[bool]

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        require("cmfrec", self.distribution)
        self._regularization = problem.regularization
        self._values = self._map_objective(problem).tocoo()

    def _map_objective(self, problem: Problem) -> sp.csr_matrix:
        return weighted(problem.matrix, problem.alpha * problem.matrix.data)

    @classmethod
    def _make(cls, factors: int, iterations: int, threads: int, regularization: float, seed: int) -> Any:
        return require("cmfrec", cls.distribution).CMF_implicit(
            k=factors,
            lambda_=regularization,
            alpha=1.0,
            use_cg=cls.use_cg,
            max_cg_steps=3,
            finalize_chol=False,
            precompute_for_predictions=False,
            niter=iterations,
            use_float=True,
            nthreads=threads,
            random_state=seed + 1,
        )

    def fit(self, iterations: int) -> Factors:
        problem = self.problem
        model = self._make(problem.factors, iterations, problem.threads, self._regularization, problem.seed)
        with limit_threads(problem.threads, self.blas_threads):
            model.fit(self._values)
        return model.A_, model.B_

    def time_epochs(self) -> float:
        start = time.perf_counter()
        self.fit(1)
        middle = time.perf_counter()
        self.fit(1 + self.epochs_timed)
        end = time.perf_counter()
        return (end - middle) - (middle - start)

    @classmethod
    def fit_plainly(cls, matrix: sp.csr_matrix, factors: int, iterations: int, threads: int) -> Factors:
        with limit_threads(threads, cls.blas_threads):
            model = cls._make(factors, iterations, threads, 0.01, 0).fit(matrix.tocoo())
        return model.A_, model.B_


class CmfrecCholesky(Cmfrec):
    """cmfrec with exact solves."""

    name = "cmfrec Cholesky"
    use_cg = False


class CmfrecCG(Cmfrec):
    """cmfrec's default solver, three steps of conjugate gradients, brought to the objective by a detour.

    In version 3.5.1 this solver does not minimize the documented objective: for stored values v it solves
    (Y'Y + Σ (v + 1) y y' + λI) x = Σ v y, where its Cholesky solver has v and v + 1 the other way round. That is
    confidence 2 + v and a target of t = v / (2 + v) instead of 1. Where all values are equal, v = alpha·r - 1 gives the
    wanted confidence, and with λ·t for λ the solution is √t times the wanted one. This needs alpha·r > 1.
    """

    name = "cmfrec CG-3"
    use_cg = True

    def _map_objective(self, problem: Problem) -> sp.csr_matrix:
        values = problem.alpha * problem.matrix.data
        if values.min() != values.max() or values[0] <= 1:
            raise PeerUnavailableError(
                "cmfrec's CG reaches this objective only where all stored values are equal and alpha times them is "
                f"above 1, got values times alpha from {values.min()} to {values.max()}"
            )
        self._target = float((values[0] - 1) / (values[0] + 1))
        self._regularization = problem.regularization * self._target
        return weighted(problem.matrix, values - 1)

    def fit(self, iterations: int) -> Factors:
        x, y = super().fit(iterations)
        scale = np.float32(self._target**-0.5)
        return x * scale, y * scale


PEERS: tuple[type[Contestant], ...] = (
    ImplicitCG,
    ImplicitCholesky,
    IrspackCG,
    IrspackCholesky,
    IrspackIALSPP,
    CmfrecCG,
    CmfrecCholesky,
)


def select(wanted: Iterable[str]) -> list[type[Contestant]]:
    """The peers whose names begin with one of ``wanted``, e.g. ``"implicit"`` or ``"irspack CG"``; case is ignored.

    Raises
    ------
    ValueError
        If one of ``wanted`` begins no peer's name.
    """
    chosen: list[type[Contestant]] = []
    for prefix in wanted:
        found = [peer for peer in PEERS if peer.name.lower().startswith(prefix.lower())]
        if not found:
            known = ", ".join(peer.name for peer in PEERS)
            raise ValueError(f"select: no peer's name begins with {prefix!r}; known: {known}")
        chosen += [peer for peer in found if peer not in chosen]
    return chosen
