"""likewise's own implicit ALS as a contestant, one for each solver."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench.peers import ByDifference, Factors, FoldsIn


class Likewise(ByDifference, FoldsIn):
    """`likewise.ImplicitALS` with its default solver."""

    name = "likewise"
    distribution = "likewise"
    solver: ClassVar[str] = "auto"

    def fit(self, iterations: int) -> Factors:
        problem = self.problem
        model = self.model(problem.factors, iterations, problem.threads, problem.regularization, problem.alpha)
        self._fitted = model.fit(problem.matrix)
        return model.user_factors_, model.item_factors_

    def prepare(self, new_users: sp.csr_matrix) -> sp.csr_matrix:
        return new_users

    def transform(self, prepared: sp.csr_matrix) -> npt.NDArray[Any]:
        factors: npt.NDArray[Any] = self._fitted.transform(prepared)
        return factors

    @classmethod
    def model(
        cls, factors: int, iterations: int, threads: int, regularization: float = 0.01, alpha: float = 1.0
    ) -> lw.ImplicitALS:
        """The estimator that is measured."""
        return lw.ImplicitALS(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            solver=cls.solver,
            random_state=0,
            n_jobs=threads,
        )

    @classmethod
    def version(cls) -> str:
        return lw.__version__

    @classmethod
    def fit_plainly(cls, matrix: sp.csr_matrix, factors: int, iterations: int, threads: int) -> Factors:
        model = cls.model(factors, iterations, threads).fit(matrix)
        return model.user_factors_, model.item_factors_


class LikewiseCG(Likewise):
    """`likewise.ImplicitALS` by conjugate gradients."""

    name = "likewise CG"
    solver = "cg"


class LikewiseCholesky(Likewise):
    """`likewise.ImplicitALS` with exact solves."""

    name = "likewise Cholesky"
    solver = "cholesky"


class LikewiseIALSPP(Likewise):
    """`likewise.ImplicitALS` by iALS++."""

    name = "likewise iALS++"
    solver = "ials++"


OURS: dict[str, type[Likewise]] = {cls.solver: cls for cls in (Likewise, LikewiseCG, LikewiseCholesky, LikewiseIALSPP)}
