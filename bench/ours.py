"""likewise's own implicit ALS as a contestant, one for each solver."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench.peers import Factors, FittedAnew, FoldsIn, Problem


class Likewise(FittedAnew, FoldsIn):
    """`likewise.ImplicitALS` with its default solver; seconds are taken between callbacks."""

    name = "likewise"
    distribution = "likewise"
    solver: ClassVar[str] = "auto"  # conjugate gradients at the widths that are measured
    gathered_bytes = 2

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.model = self._make(
            problem.factors, 1, problem.threads, regularization=problem.regularization, alpha=problem.alpha
        )

    @classmethod
    def _make(cls, factors: int, iterations: int, threads: int, **parameters: Any) -> lw.ImplicitALS:
        return lw.ImplicitALS(
            factors=factors, iterations=iterations, solver=cls.solver, random_state=0, n_jobs=threads, **parameters
        )

    def fit(self, iterations: int) -> Factors:
        self.model.set_params(iterations=iterations, callbacks=None).fit(self.problem.matrix)
        return self.model.user_factors_, self.model.item_factors_

    def time_epochs(self) -> float:
        times: list[float] = []

        def note_time(_model: lw.ImplicitALS, _iteration: int, _loss: float | None) -> None:
            times.append(time.perf_counter())

        self.model.set_params(iterations=1 + self.epochs_timed, callbacks=note_time).fit(self.problem.matrix)
        return times[-1] - times[0]

    def prepare(self, new_users: sp.csr_matrix) -> sp.csr_matrix:
        return new_users

    def transform(self, prepared: sp.csr_matrix) -> npt.NDArray[Any]:
        return self.model.transform(prepared)

    @classmethod
    def version(cls) -> str:
        return lw.__version__

    @classmethod
    def fit_plainly(cls, matrix: sp.csr_matrix, factors: int, iterations: int, threads: int) -> Factors:
        model = cls._make(factors, iterations, threads, regularization=0.01).fit(matrix)
        return model.user_factors_, model.item_factors_


class LikewiseSession(Likewise):
    """`likewise.ImplicitALS.fold_in`, made for one user at a time."""

    name = "likewise fold_in"

    def transform(self, prepared: sp.csr_matrix) -> npt.NDArray[Any]:
        return self.model.fold_in(prepared.indices, prepared.data)


class LikewiseCG(Likewise):
    """`likewise.ImplicitALS` by conjugate gradients."""

    name = "likewise CG"
    solver = "cg"


class LikewiseCholesky(Likewise):
    """`likewise.ImplicitALS` with exact solves."""

    name = "likewise Cholesky"
    solver = "cholesky"
    gathered_bytes = 4


class LikewiseIALSPP(Likewise):
    """`likewise.ImplicitALS` by iALS++."""

    name = "likewise iALS++"
    solver = "ials++"
    gathered_bytes = 4


OURS: dict[str, type[Likewise]] = {cls.solver: cls for cls in (Likewise, LikewiseCG, LikewiseCholesky, LikewiseIALSPP)}
