"""implicit.cpu.lmf: logistic matrix factorization, by `likewise.LogisticMF`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from likewise._validation import check_int
from likewise.data import CSR
from likewise.models import LogisticMF

from ._ranking import RankingBase

__all__ = ["LogisticMatrixFactorization"]

# implicit's steps are those of AdaGrad, one a row and epoch; these are plain ones, one a pair.
_STEP = 0.05


class LogisticMatrixFactorization(RankingBase):
    """Logistic MF; factors have two more columns: of users 1 and a bias of 0, of items the bias and 1.

    Parameters
    ----------
    factors : int, default=30
    learning_rate : float, default=1.0
        In units of 0.05: steps are plain gradient steps, one a pair, where implicit has AdaGrad's, one a row and epoch.
    regularization : float, default=0.6
        Penalty of a whole vector in an epoch, as in implicit; it is spread over the vector's pairs.
    dtype : dtype, default=float32
        Of the factors that are kept; the kernels compute in float32.
    iterations : int, default=30
    neg_prop : int, default=30
        Negatives drawn for a liking.
    num_threads : int, default=0
        0 is every CPU at hand.
    random_state : int, RandomState, Generator or None, default=None
    """

    _saved: ClassVar[tuple[str, ...]] = (
        "user_factors", "item_factors", "regularization", "factors", "learning_rate", "neg_prop", "num_threads",
        "iterations", "dtype", "random_state",
    )  # fmt: skip
    _telling: ClassVar[tuple[str, ...]] = ("factors", "learning_rate", "neg_prop")

    def __init__(
        self,
        factors: int = 30,
        learning_rate: float = 1.0,
        regularization: float = 0.6,
        dtype: Any = np.float32,
        iterations: int = 30,
        neg_prop: int = 30,
        num_threads: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.dtype = np.dtype(dtype)
        self.iterations = iterations
        self.neg_prop = neg_prop
        self.random_state = random_state

    def _estimator(self, data: CSR) -> LogisticMF:
        check_int(type(self).__name__, "neg_prop", self.neg_prop, minimum=1)
        pairs_a_user = data.nnz * (1 + self.neg_prop) / data.n_rows
        return LogisticMF(
            factors=self.factors,
            learning_rate=_STEP * self.learning_rate,
            regularization=self.regularization / max(1.0, pairs_a_user),
            n_negatives=self.neg_prop,
        )

    def _columns(self, users: npt.NDArray[Any], items: npt.NDArray[Any], biases: npt.NDArray[Any]) -> tuple[Any, Any]:
        ones, zeros = np.ones(len(users)), np.zeros(len(users))
        return np.column_stack([users, ones, zeros]), np.column_stack([items, biases, np.ones(len(items))])
