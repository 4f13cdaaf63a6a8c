"""What BPR and logistic matrix factorization share: a fit by a likewise model, biases among the columns."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._validation import check_int
from likewise.data import CSR, Interactions

from ..recommender_base import ModelFitError
from ..utils import as_csr, as_random_state, check_csr, check_random_state
from .matrix_factorization_base import MatrixFactorizationBase

__all__ = ["RankingBase"]

_START_SCALE = 0.01


class RankingBase(MatrixFactorizationBase):
    """A model of vectors and item biases, which stand in columns of their own so that the product is the score."""

    factors: int
    iterations: int
    random_state: Any

    def _estimator(self, data: CSR) -> Any:
        """The model behind."""
        raise NotImplementedError

    def _told(self, model: Any, callback: Any, iteration: int, seconds: float) -> None:
        """Call back as implicit does."""
        callback(iteration - 1, seconds)

    def _hold(self, model: Any) -> None:
        """Hold what the model behind has learned."""
        users, items = self._columns(model.user_factors_, model.item_factors_, model.item_biases_)
        items[~model.item_factors_.any(axis=1)] = 0  # of which nothing is known, whatever the other columns say
        self._learned(users, items)

    def _likings(self, user_items: Any) -> CSR:
        """What is learned from."""
        return as_csr(check_csr(user_items), type(self).__name__)

    def _columns(self, users: npt.NDArray[Any], items: npt.NDArray[Any], biases: npt.NDArray[Any]) -> tuple[Any, Any]:
        """Vectors with their biases."""
        return np.column_stack([users, np.ones(len(users))]), np.column_stack([items, biases])

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Learn from a matrix of users x items, further if the model is fitted already.

        Parameters
        ----------
        user_items : CSR matrix of shape (n_users, n_items)
            Values above 0 are likings. Another form is converted with a `ParameterWarning`.
        show_progress : bool, default=True
        callback : callable, default=None
            Called after each epoch; the model holds what it has learned until then, and keeps it if the call raises.

        Raises
        ------
        ValueError
            If a value is NaN, infinite or negative, or a parameter out of range.
        ModelFitError
            If vectors have left float32.
        """
        name = type(self).__name__
        data = self._likings(user_items)
        check_int(name, "iterations", self.iterations, minimum=0)
        if (self.user_factors is None) != (self.item_factors is None):
            raise ValueError(f"{name}: user_factors and item_factors must both be set, or neither")
        if self.iterations == 0 and self.user_factors is not None:
            return
        if data.nnz == 0 or self.iterations == 0:
            rng = check_random_state(self.random_state)
            users, items = (rng.standard_normal((n, self.factors)) * _START_SCALE for n in data.shape)
            self._learned(*self._columns(users, items, np.zeros(len(items))))
            return
        last = time.perf_counter()

        def told(model: Any, iteration: int, loss: float | None) -> bool:
            nonlocal last
            now, before = time.perf_counter(), last
            last = now
            self._hold(model)
            self._told(model, callback, iteration, now - before)
            last += time.perf_counter() - now  # its own time is not the fit's
            return False

        model = self._estimator(data)
        model.set_params(
            iterations=self.iterations, verbose=bool(show_progress), random_state=as_random_state(self.random_state),
            n_jobs=self.num_threads or None, device=self._device, warm_start=self.user_factors is not None,
        )  # fmt: skip
        if callback is not None:
            model.set_params(callbacks=told)
        if self.user_factors is not None:
            n_users, n_items = min(data.n_rows, len(self.user_factors)), min(data.n_cols, len(self.item_factors))
            model.user_factors_ = np.ascontiguousarray(self.user_factors[:n_users, : self.factors], np.float32)
            model.item_factors_ = np.ascontiguousarray(self.item_factors[:n_items, : self.factors], np.float32)
            model.item_biases_ = np.ascontiguousarray(self.item_factors[:n_items, self.factors], np.float32)
            model.interactions_ = Interactions.from_csr(sp.csr_array((n_users, n_items)))
        try:
            model.fit(Interactions.from_csr(data))
        except ValueError as error:
            if "left float32" in str(error):
                raise ModelFitError(str(error)) from error
            raise
        except KeyboardInterrupt:
            if hasattr(model, "n_iter_"):  # what it has learned until then
                self._hold(model)
            raise
        self._hold(model)
