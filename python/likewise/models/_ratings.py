"""What models of explicit ratings share: the mean and the biases, estimates of pairs, and ranking by them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise._validation import check_flag
from likewise.data import CSR, IdMap
from likewise.retrieval import top_k

from .base import Recommender, VectorRecommender, zero_rows

__all__ = [
    "ITEM_REGULARIZATION",
    "USER_REGULARIZATION",
    "Baselines",
    "RatingRecommender",
    "RatingVectorRecommender",
    "Users",
    "fit_baselines",
    "user_baselines",
]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# Sweeps and penalties of the baselines, as Koren (2010), section 2.1, and Surprise have them.
SWEEPS, USER_REGULARIZATION, ITEM_REGULARIZATION = 10, 15.0, 10.0
# Pairs whose vectors are gathered at a time.
_BLOCK_PAIRS = 1 << 16


class Baselines(NamedTuple):
    """The mean of all ratings, and how far those of each user and of each item lie above it."""

    mean: float
    user_biases: Float64Array
    item_biases: Float64Array


def fit_baselines(
    backend: Backend,
    by_user: CSR,
    by_item: CSR,
    *,
    iterations: int = SWEEPS,
    user_regularization: float = USER_REGULARIZATION,
    item_regularization: float = ITEM_REGULARIZATION,
) -> Baselines:
    """Find biases by alternating ridge regressions: in each sweep those of the items, then those of the users.

    Koren (2010), doi:10.1145/1644873.1644874, section 2.1.

    Parameters
    ----------
    backend : Backend
    by_user : CSR of shape (n_users, n_items)
        Ratings, one at least.
    by_item : CSR of shape (n_items, n_users)
        Its transpose.
    iterations : int, default=10
        Sweeps.
    user_regularization, item_regularization : float, default=15.0, 10.0
        What is added to a user's, an item's number of ratings.
    """
    mean = float(by_user.values.mean(dtype=np.float64))
    users, items = backend.csr(by_user), backend.csr(by_item)
    user_biases = backend.zeros((by_user.n_rows,), np.float64)
    item_biases = backend.zeros((by_user.n_cols,), np.float64)
    sweep = backend.kernels.bias_half_sweep
    for _ in range(iterations):
        sweep(backend.context, items, mean, user_biases, float(item_regularization), item_biases)
        sweep(backend.context, users, mean, item_biases, float(user_regularization), user_biases)
    return Baselines(mean, backend.to_numpy(user_biases), backend.to_numpy(item_biases))


def user_baselines(
    backend: Backend,
    histories: CSR,
    mean: float,
    item_biases: npt.NDArray[np.floating[Any]],
    user_regularization: float = USER_REGULARIZATION,
) -> Float64Array:
    """Biases of other users, those of the items held fixed."""
    biases = backend.empty((histories.n_rows,), np.float64)
    backend.kernels.bias_half_sweep(
        backend.context,
        backend.csr(histories),
        mean,
        backend.asarray(item_biases, np.float64),
        float(user_regularization),
        biases,
    )
    return backend.to_numpy(biases)


class RatingRecommender(Recommender):
    """A model that predicts ratings.

    A subclass learns in `_fit`, where it calls `_set_scale` and `_set_biases`, and gives `_estimates`.
    """

    _allows_negative = True
    _predicts_ratings = True

    clip: bool
    global_mean_: float
    rating_scale_: tuple[float, float]
    user_biases_: Float32Array
    item_biases_: Float32Array

    # Items that nobody has rated, in rising order.
    _unrated: Int64Array

    @abstractmethod
    def _estimates(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        """Ratings of pairs, not clipped; of fitted users, or of rows of `histories`. -1 is an unknown user or item."""

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_parameters(self) -> None:
        check_flag(type(self).__name__, "clip", self.clip)

    def _set_scale(self, by_user: CSR) -> None:
        """Take what is known of the ratings by themselves."""
        self.global_mean_ = float(by_user.values.mean(dtype=np.float64))
        self.rating_scale_ = (float(by_user.values.min()), float(by_user.values.max()))
        self._unrated = np.flatnonzero(by_user.column_counts() == 0)

    def _set_biases(self, user_biases: npt.NDArray[Any], item_biases: npt.NDArray[Any]) -> None:
        """Take biases as float32; ``ValueError`` where they cannot be held, or learning went astray."""
        with np.errstate(over="ignore", invalid="ignore"):
            self.user_biases_ = np.asarray(user_biases, dtype=np.float32)
            self.item_biases_ = np.asarray(item_biases, dtype=np.float32)
        if not (np.isfinite(self.user_biases_).all() and np.isfinite(self.item_biases_).all()):
            steps = ", or lower learning_rate" if hasattr(self, "learning_rate") else ""
            raise ValueError(f"{type(self).__name__}: the biases have left float32; scale the values of X{steps}")

    def _baselines_of(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        """Mean and biases of pairs; an unknown side adds none."""
        biases = self._user_biases(histories, np.maximum(users, 0))
        of_users = np.where(users >= 0, biases, 0.0)
        of_items = np.where(items >= 0, self.item_biases_[items], np.float32(0)).astype(np.float64)
        baselines: Float64Array = self.global_mean_ + of_users + of_items
        return baselines

    def _user_biases(self, histories: CSR | None, users: Int64Array) -> Float64Array:
        """Biases of fitted users, or of rows of `histories`, whom the model folds in."""
        if histories is None:
            return self.user_biases_[users].astype(np.float64)
        distinct, places = np.unique(users, return_inverse=True)
        return self._folded_biases(histories.take_rows(distinct))[places]

    def _folded_biases(self, histories: CSR) -> Float64Array:
        """Biases of the users with these ratings, those of the items held fixed."""
        return user_baselines(self._backend(), histories, self.global_mean_, self.item_biases_)

    # ------------------------------------------------------------------ predicting

    def predict(self, X: Any, items: Any = None) -> npt.NDArray[Any]:
        """Ratings of pairs; or, of histories alone, the item that each user should like best.

        Users and items that the model does not know are no error here: of an unknown user the estimate is the mean and
        the item's bias, of an unknown item the mean and the user's bias, of both the mean.

        Parameters
        ----------
        X : array-like of user ids; without `items`, data frame of pairs, Interactions or matrix of shape (n, n_items)
            Users of the pairs; histories, as `recommend` takes them.
        items : array-like of item ids, default=None
            As many as users; one item may stand with many users and one user with many items.

        Returns
        -------
        ndarray of shape (n_pairs,), float32, or of shape (n,)
            Ratings, with ``clip=True`` none below the lowest or above the highest of the fit. Without `items` the first
            item of ``recommend(interactions=X)``, -1 (None) where there is none.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        TypeError
            If ids are of another type than those of the fit (strings for integers, floats, NaN).
        IndexError
            If a row number is negative.
        ValueError
            If there are not as many items as users.
        """
        return super().predict(X, items)

    def _pair_rows(self, users: Any, items: Any) -> tuple[Int64Array, Int64Array]:
        data = self.interactions_
        return _rows_or_unknown(data.user_map, users, "user"), _rows_or_unknown(data.item_map, items, "item")

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        return self._predicted_ratings(None, users, items).astype(np.float32)

    def _predicted_ratings(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        estimates = self._estimates(histories, users, items)
        return np.clip(estimates, *self.rating_scale_) if self.clip else estimates

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "global_mean": np.array([self.global_mean_]),
            "rating_scale": np.array(self.rating_scale_),
            "user_biases": self.user_biases_,
            "item_biases": self.item_biases_,
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.global_mean_ = float(self._checked(arrays["global_mean"], (1,), np.float64)[0])
        low, high = self._checked(arrays["rating_scale"], (2,), np.float64).tolist()
        self.rating_scale_ = (low, high)
        self.user_biases_ = self._checked(arrays["user_biases"], (self.n_users_,))
        self.item_biases_ = self._checked(arrays["item_biases"], (self.n_items_,))
        self._unrated = np.flatnonzero(self.interactions_.by_user.column_counts() == 0)


class Users(NamedTuple):
    """What estimates take of users: fitted ones, or ones folded in."""

    biases: Float32Array
    """Shape (n,)."""
    vectors: Float32Array
    """Shape (n, d); zeros say that nothing is known of a user's taste."""


class RatingVectorRecommender(RatingRecommender, VectorRecommender):
    r"""A model whose estimate is :math:`\mu + b_u + b_i + x_u^T y_i`.

    With `_is_biased` false it is :math:`x_u^T y_i` alone, and mean and biases are for those of whose taste nothing is
    known: unknown users and items, and users whose vector is zero.
    """

    _is_biased = True

    @abstractmethod
    def _users(self, histories: CSR | None, rows: Int64Array) -> Users:
        """The fitted users in `rows`, or those rows of `histories`, folded in."""

    def _user_vectors(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        return self._users(histories, rows).vectors

    def _blank_items(self) -> Int64Array:
        return self._unrated

    def _estimates(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        known = users >= 0
        distinct, places = np.unique(users[known], return_inverse=True)
        them, vectors = self._users(histories, distinct), self._item_vectors()
        estimates = np.full(users.size, self.global_mean_)
        estimates[known] += them.biases[places]
        rated = items >= 0
        estimates[rated] += self.item_biases_[items[rated]]
        both = np.flatnonzero(known & rated)
        place = np.zeros(users.size, dtype=np.int64)
        place[known] = places
        if not self._is_biased:
            has_taste = np.ones(distinct.size, dtype=bool)
            has_taste[zero_rows(them.vectors)] = False
            both = both[has_taste[place[both]]]
            both = both[~np.isin(items[both], self._unrated)]
            estimates[both] = 0
        for start in range(0, both.size, _BLOCK_PAIRS):
            block = both[start : start + _BLOCK_PAIRS]
            estimates[block] += np.einsum(
                "nd,nd->n", them.vectors[place[block]], vectors[items[block]], dtype=np.float64
            )
        return estimates

    # ------------------------------------------------------------------ ranking

    def _top_k(
        self,
        histories: CSR | None,
        rows: Int64Array,
        k: int,
        exclude: CSR | None,
        allow: Int64Array | None,
        deny: Int64Array | None,
        subject: str,
        *,
        exactly: bool = True,
    ) -> tuple[Int32Array, Float32Array]:
        them = self._users(histories, rows)
        if allow is None and self._unrated.size:
            deny = self._unrated if deny is None else np.concatenate([self._unrated, deny])
        # Without biases, items that nobody has rated are scored as no index of vectors could.
        asks_unrated = not self._is_biased and allow is not None and np.isin(allow, self._unrated).any()
        index = None if exactly or asks_unrated else self._checked_index()
        verbose = getattr(self, "verbose", False)
        if index is not None:
            ids, scores = index.search(self._index_queries(them.vectors), k, exclude, deny, allow, verbose=verbose)
        else:
            queries, items, biases = them.vectors, self._item_vectors(), self._item_biases()
            if asks_unrated:
                queries, items, biases = self._with_unrated(them)
            ids, scores = top_k(
                self._backend(), queries, items, k, exclude, deny, allow, bias=biases, verbose=verbose, subject=subject
            )
        if not self._is_biased:
            blank = zero_rows(them.vectors)
            if blank.size:  # what is known to fit others
                ids[blank], scores[blank] = top_k(
                    self._backend(), them.vectors[blank], self._item_vectors(), k,
                    None if exclude is None else exclude.take_rows(blank), deny, allow, bias=self.item_biases_,
                    subject=subject,
                )  # fmt: skip
                scores[blank] += (self.global_mean_ + them.biases[blank, np.newaxis]).astype(np.float32)
            return ids, scores
        scores += (self.global_mean_ + them.biases[:, np.newaxis]).astype(np.float32)  # -inf stays
        return ids, scores

    def _with_unrated(self, them: Users) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Users and items with one more column, which gives items that nobody has rated their baselines, and biases."""
        is_unrated = np.zeros(self.n_items_, np.float32)
        is_unrated[self._unrated] = 1
        items = np.column_stack([self._item_vectors(), is_unrated])
        users = np.column_stack([them.vectors, self.global_mean_ + them.biases]).astype(np.float32)
        users[zero_rows(them.vectors)] = 0  # for whom all items are ranked by baselines
        return users, items, self.item_biases_ * is_unrated

    def _item_biases(self) -> Float32Array | None:
        return self.item_biases_ if self._is_biased else None

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        backend = self._backend()
        them = self._users(histories, rows)
        products = backend.empty((rows.size, self.n_items_))
        backend.kernels.multiply_transposed(
            backend.context, backend.asarray(them.vectors), backend.asarray(self._item_vectors()), products
        )
        scores: Float32Array = backend.to_numpy(products)
        constants = (self.global_mean_ + them.biases[:, np.newaxis]).astype(np.float32)
        if self._is_biased:
            scores += self.item_biases_
            scores += constants
        elif (blank := zero_rows(them.vectors)).size:
            scores[blank] = constants[blank] + self.item_biases_
        scores[:, self._unrated] = -np.inf
        return scores

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        return RatingRecommender._pair_scores(self, users, items)


def _rows_or_unknown(ids: IdMap, given: Any, name: str) -> Int64Array:
    """Rows of ids, -1 for unknown ones; of row numbers those beyond the last are unknown, and none is negative."""
    rows = ids.find(given, "predict", name)
    if ids.kind == "row" and rows.size and rows.min() < 0:
        numbers = np.asarray(given).reshape(-1)
        if (negative := numbers[numbers < 0]).size:
            raise IndexError(f"predict: {name} must be >= 0, got {negative[0]}")
    return rows
