"""implicit.cpu.bpr: Bayesian personalized ranking, by `likewise.BPR`."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from likewise.data import CSR
from likewise.models import BPR

from ..utils import ParameterWarning
from ._ranking import RankingBase

__all__ = ["BayesianPersonalizedRanking"]


class BayesianPersonalizedRanking(RankingBase):
    """BPR; `item_factors` have one more column, the bias, and `user_factors` ones beside it.

    Parameters
    ----------
    factors : int, default=100
    learning_rate : float, default=0.01
    regularization : float, default=0.01
    dtype : dtype, default=float32
        Of the factors that are kept; the kernels compute in float32.
    iterations : int, default=100
    num_threads : int, default=0
        0 is every CPU at hand. The same seed gives the same vectors at any number of threads.
    verify_negative_samples : bool, default=True
        Drawn negatives are always verified; False is answered with a `ParameterWarning`.
    random_state : int, RandomState, Generator or None, default=None
    """

    _saved: ClassVar[tuple[str, ...]] = (
        "user_factors", "item_factors", "regularization", "factors", "learning_rate", "verify_negative_samples",
        "num_threads", "iterations", "dtype", "random_state",
    )  # fmt: skip
    _telling: ClassVar[tuple[str, ...]] = ("factors", "learning_rate", "verify_negative_samples")

    def __init__(
        self,
        factors: int = 100,
        learning_rate: float = 0.01,
        regularization: float = 0.01,
        dtype: Any = np.float32,
        iterations: int = 100,
        num_threads: int = 0,
        verify_negative_samples: bool = True,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.dtype = np.dtype(dtype)
        self.iterations = iterations
        self.verify_negative_samples = verify_negative_samples
        self.random_state = random_state

    def _estimator(self, data: CSR) -> BPR:
        if not self.verify_negative_samples:
            warnings.warn(
                "verify_negative_samples=False: negatives are always verified here, at next to no cost",
                ParameterWarning,
                stacklevel=3,
            )
        return BPR(factors=self.factors, learning_rate=self.learning_rate, regularization=self.regularization)

    def _likings(self, user_items: Any) -> CSR:
        data = super()._likings(user_items)  # of which values are not read
        return CSR(data.indptr, data.indices, np.ones(data.nnz, np.float32), data.shape)

    def _told(self, model: Any, callback: Any, iteration: int, seconds: float) -> None:
        # How many pairs were in order, and for how many likings no negative was found.
        callback(iteration - 1, seconds, *model._last_counts)

    def to_gpu(self) -> Any:
        """The same model for the GPU."""
        from ..gpu.bpr import BayesianPersonalizedRanking as OnGpu

        return self._moved(OnGpu)

    def to_cpu(self) -> BayesianPersonalizedRanking:
        """The same model for the CPU."""
        return self._moved(BayesianPersonalizedRanking)
