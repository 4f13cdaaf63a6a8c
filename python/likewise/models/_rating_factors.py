"""What factorizations of ratings share: users folded in and rows solved again exactly, and their files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend
from likewise._validation import check_int
from likewise.data import CSR, Interactions

from ._ratings import RatingVectorRecommender, Users, fit_baselines

__all__ = ["MAX_FACTORS", "RatingFactors", "RowSolver", "Weights"]

Float32Array = npt.NDArray[np.float32]
_GREATEST_RATING = 1e12
Int64Array = npt.NDArray[np.int64]
Self = TypeVar("Self", bound="RatingFactors")

MAX_FACTORS = 8192
# Sweeps over the coordinates of a vector, at most, and the share of its squared length that the last may move it by.
DESCENT_SWEEPS, DESCENT_TOLERANCE = 200, 1e-10

_NONE = np.empty(0, dtype=np.float32)


class Weights(NamedTuple):
    """Weights of the ratings in the order of both matrices; empty where each is 1."""

    by_user: Float32Array
    by_item: Float32Array

    @classmethod
    def of(cls, matrix: CSR, weights: Float32Array) -> Weights:
        """`weights` of the entries of `matrix`, and of its transpose."""
        if weights.size == 0:
            return cls(_NONE, _NONE)
        return cls(weights, CSR(matrix.indptr, matrix.indices, weights, matrix.shape).transpose().values)


class RowSolver(NamedTuple):
    """The checked parameters of a half-sweep, as the kernel takes them."""

    backend: Backend
    objective: Any
    method: Any
    steps: int
    tolerance: float
    gathers_bf16: bool = False

    def sweep(
        self,
        matrix: Any,
        weights: Float32Array,
        fixed: Float32Array,
        fixed_biases: Float32Array,
        solved: Float32Array,
        solved_biases: Float32Array,
    ) -> None:
        """Improve `solved` and its biases, the other side held fixed."""
        backend, width = self.backend, -(-fixed.shape[1] // 16) * 16
        rounded = backend.empty((len(fixed) if self.gathers_bf16 else 0, width), np.uint16)
        if self.gathers_bf16:
            backend.kernels.round_to_bf16(backend.context, fixed, rounded)
        backend.kernels.explicit_als_half_sweep(
            backend.context, matrix, weights, fixed, rounded, fixed_biases, self.objective, self.method, self.steps,
            self.tolerance, solved, solved_biases,
        )  # fmt: skip


class RatingFactors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RatingVectorRecommender):  # type: ignore[misc]
    """A factorization of ratings whose rows can be solved for exactly, one side held fixed.

    A subclass learns `user_factors_` and `item_factors_` in `_fit` and gives `_exact_solver`.
    """

    factors: int
    verbose: bool | int
    callbacks: Any
    user_factors_: Float32Array
    item_factors_: Float32Array
    _weights: Float32Array | None  # of the ratings, in the order of interactions_.by_user
    n_iter_: int

    @abstractmethod
    def _exact_solver(self, *, of_users: bool) -> RowSolver:
        """What solves for the vectors of users, or of items, to float32 accuracy."""

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what comes out."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.item_factors_.shape[1])

    def _check_parameters(self) -> None:
        name = type(self).__name__
        super()._check_parameters()
        check_int(name, "factors", self.factors, minimum=1, maximum=MAX_FACTORS)
        for callback in self._callback_list():
            if not callable(callback):
                raise TypeError(f"{name}: callbacks must be callable, got {type(callback).__name__}")

    def _callback_list(self) -> list[Callable[..., Any]]:
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, (list, tuple)) else [self.callbacks]

    def _check_vectors(self, *arrays: Float32Array) -> None:
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError(f"{type(self).__name__}: the vectors have left float32; scale the values of X")

    def _check_greatness(self, data: Interactions) -> None:
        """Refuse ratings whose squares, summed, float32 may not hold."""
        greatest = float(np.abs(data.by_user.values).max())
        if greatest > _GREATEST_RATING:
            raise ValueError(
                f"{type(self).__name__}: ratings must be within {_GREATEST_RATING:g} of 0, got {greatest:g}; scale the "
                "values of X"
            )

    def _set_fallback(self, backend: Backend, data: Interactions) -> None:
        """Biases for those of whose taste nothing is known, in a model that has none of its own."""
        mean, users, items = fit_baselines(backend, data.by_user, data.by_item)
        self.global_mean_ = mean
        self._set_biases(users, items)

    # ------------------------------------------------------------------ further interactions

    def _learn_from(self: Self, X: Any, new_weights: Callable[[Interactions], Float32Array]) -> Self:
        """What `partial_fit` does: solve for the rows of `X` again, over all their ratings, old and new."""
        self._check_parameters()
        new, joined = self._joined(X)
        self._check_greatness(joined)
        users_of = self._exact_solver(of_users=True)
        items_of = self._exact_solver(of_users=False)
        backend = users_of.backend
        weights = Weights.of(joined.by_user, self._joined_weights(joined, new, new_weights(new)))
        users: Float32Array = backend.zeros((joined.n_users, self._n_features_out))
        items: Float32Array = backend.zeros((joined.n_items, self._n_features_out))
        user_biases: Float32Array = backend.zeros((joined.n_users,))
        item_biases: Float32Array = backend.zeros((joined.n_items,))
        users[: self.n_users_], user_biases[: self.n_users_] = self.user_factors_, self.user_biases_
        items[: self.n_items_], item_biases[: self.n_items_] = self.item_factors_, self.item_biases_
        name = type(self).__name__
        user_rows = joined.user_map.find(new.user_map.labels, name, "user")[new.by_user.row_counts() > 0]
        item_rows = joined.item_map.find(new.item_map.labels, name, "item")[new.by_user.column_counts() > 0]
        of_users = (users_of, joined.by_user, weights.by_user, user_rows, items, item_biases, users, user_biases)
        of_items = (items_of, joined.by_item, weights.by_item, item_rows, users, user_biases, items, item_biases)
        # Users first: a new item is known by its users alone. Then again, for users of new items.
        for side in (of_users, of_items, of_users):
            _solve_rows(*side)
        self._check_vectors(users, items, user_biases, item_biases)
        with self._all_or_nothing():
            mean = self.global_mean_
            self._set_interactions(joined)
            self._set_scale(joined.by_user)
            if self._is_biased:
                self.global_mean_ = mean  # from which the biases of all others are counted
                self._set_biases(user_biases, item_biases)
            else:
                self._set_fallback(backend, joined)
            self.user_factors_, self.item_factors_ = users, items
            self._weights = weights.by_user if weights.by_user.size else None
        return self

    def _joined_weights(self, joined: Interactions, new: Interactions, given: Float32Array) -> Float32Array:
        """Weights of all ratings: those of the new ones, and of the old ones that do not stand among them."""
        if given.size == 0 and self._weights is None:
            return _NONE
        name, width = type(self).__name__, joined.n_items
        keys = joined.by_user.row_numbers().astype(np.int64) * width + joined.by_user.indices
        weights = np.ones(keys.size, dtype=np.float32)
        known = self.interactions_.by_user
        if self._weights is not None:
            old = known.row_numbers().astype(np.int64) * width + known.indices
            weights[np.searchsorted(keys, old)] = self._weights
        users = joined.user_map.find(new.user_map.labels, name, "user")
        items = joined.item_map.find(new.item_map.labels, name, "item")
        pairs = users[new.by_user.row_numbers()] * width + items[new.by_user.indices]
        weights[np.searchsorted(keys, pairs)] = given if given.size else 1
        return weights

    # ------------------------------------------------------------------ using

    def transform(self, X: Any) -> Float32Array:
        """Solve for the vectors of users from their ratings, the items held fixed (fold-in).

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Ratings of users whom the model need not know. Items that it does not know are left out.

        Returns
        -------
        ndarray of shape (n, factors), float32
            Exact solutions; zero for a user without ratings.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If a matrix has another number of columns than the model has items.
        """
        return self._fold_in(self._histories(X, type(self).__name__).by_user).vectors

    def _fold_in(self, histories: CSR) -> Users:
        self._check_parameters()  # which may have been set since the fit
        solver = self._exact_solver(of_users=True)
        vectors: Float32Array = solver.backend.zeros((histories.n_rows, self._n_features_out))
        biases: Float32Array = solver.backend.zeros((histories.n_rows,))
        matrix = solver.backend.csr(histories)
        solver.sweep(matrix, _NONE, self.item_factors_, self.item_biases_, vectors, biases)
        self._check_vectors(vectors, biases)
        if not self._is_biased:
            biases = self._folded_biases(histories).astype(np.float32)
        return Users(biases, vectors)

    def _users(self, histories: CSR | None, rows: Int64Array) -> Users:
        if histories is not None:
            return self._fold_in(histories.take_rows(rows))
        return Users(self.user_biases_[rows], self.user_factors_[rows])

    def _item_vectors(self) -> Float32Array:
        return self.item_factors_

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return super()._state() | {
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "weights": _NONE if self._weights is None else self._weights,
            "iterations": np.array([self.n_iter_], dtype=np.int64),
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        n_factors = arrays["item_factors"].shape[-1]
        self.user_factors_ = self._checked(arrays["user_factors"], (self.n_users_, n_factors))
        self.item_factors_ = self._checked(arrays["item_factors"], (self.n_items_, n_factors))
        weights = arrays["weights"]
        self._weights = self._checked(weights, (self.interactions_.nnz,)) if weights.size else None
        self.n_iter_ = int(self._checked(arrays["iterations"], (1,), np.int64)[0])


def _solve_rows(
    solver: RowSolver,
    matrix: CSR,
    weights: Float32Array,
    rows: Int64Array,
    fixed: Float32Array,
    fixed_biases: Float32Array,
    solved: Float32Array,
    solved_biases: Float32Array,
) -> None:
    backend, taken = solver.backend, matrix.take_rows(rows)
    if weights.size:
        weights = CSR(matrix.indptr, matrix.indices, weights, matrix.shape).take_rows(rows).values
    part, part_biases = backend.asarray(solved[rows]), backend.asarray(solved_biases[rows])
    solver.sweep(backend.csr(taken), weights, fixed, fixed_biases, part, part_biases)
    solved[rows], solved_biases[rows] = part, part_biases
