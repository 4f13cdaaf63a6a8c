"""implicit.cpu.matrix_factorization_base: ranking and similarities by vectors."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._validation import check_rows
from likewise.data import CSR
from likewise.retrieval import top_k

from ..recommender_base import Found, ModelFitError, RecommenderBase
from ..utils import check_is_fitted

__all__ = ["MatrixFactorizationBase"]

Model = TypeVar("Model", bound="MatrixFactorizationBase")

_LEAST_NORM = 1e-10  # of a vector of zeros, as a divisor


class MatrixFactorizationBase(RecommenderBase):
    """A model of vectors.

    Attributes
    ----------
    user_factors : ndarray of shape (n_users, any)
    item_factors : ndarray of shape (n_items, any)
        Their inner product is the score. Rows of zeros are of users and items of whom nothing is known.
    num_threads : int
        0 is every CPU at hand.
    """

    dtype: np.dtype[Any]
    item_factors: Any
    user_factors: Any

    def __init__(self, num_threads: int = 0) -> None:
        self.item_factors = None
        self.user_factors = None
        self._user_norms: Any = None
        self._item_norms: Any = None
        self.num_threads = num_threads

    def recommend(  # noqa: D102  # as in the base class
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        check_is_fitted(self, self.item_factors)
        n, n_items = np.size(userid), len(self.item_factors)
        seen = None
        if filter_already_liked_items or recalculate_user:
            seen = self._rows_of(user_items, n, n_items)
        vectors = self._user_factor(userid, user_items, recalculate_user)
        return self._ranked(
            np.atleast_2d(vectors), N, single=np.ndim(userid) == 0,
            exclude=seen if filter_already_liked_items else None, filtered=filter_items, items=items,
        )  # fmt: skip

    def _ranked(
        self, vectors: npt.NDArray[Any], N: int, *, single: bool, exclude: CSR | None, filtered: Any, items: Any
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        item_factors, backend, blank = self.item_factors, self._backend(), self._blank_items()

        def search(k: int, exclude: CSR | None, deny: npt.NDArray[Any] | None, allow: npt.NDArray[Any] | None) -> Found:
            # Nothing is known of a row of zeros: nobody gets it unasked, and for such a user nothing is known to fit.
            denied = blank if deny is None else np.concatenate([blank, deny])
            ids, scores = top_k(
                backend, vectors, np.asarray(item_factors, np.float32), k, exclude,
                denied if allow is None else None, allow, subject="recommend",
            )  # fmt: skip
            if allow is None:
                ids[~vectors.any(axis=1)] = -1
            return ids, scores

        return self._answer(
            search, len(vectors), len(item_factors), N, single=single, exclude=exclude, filtered=filtered, items=items,
            dtype=vectors.dtype,
        )  # fmt: skip

    def _user_factor(self, userid: Any, user_items: Any, recalculate_user: bool = False) -> npt.NDArray[Any]:
        if recalculate_user:
            return self.recalculate_user(userid, user_items)
        rows = check_rows(type(self).__name__, "user", userid, len(self.user_factors))
        vectors: npt.NDArray[Any] = self.user_factors[rows if np.ndim(userid) else rows[0]]
        return vectors

    def _item_factor(self, itemid: Any, item_users: Any, recalculate_item: bool = False) -> npt.NDArray[Any]:
        if recalculate_item:
            return self.recalculate_item(itemid, item_users)
        rows = check_rows(type(self).__name__, "item", itemid, len(self.item_factors))
        vectors: npt.NDArray[Any] = self.item_factors[rows if np.ndim(itemid) else rows[0]]
        return vectors

    def recalculate_user(self, userid: Any, user_items: Any) -> npt.NDArray[Any]:
        """Vectors of users, from their rows of `user_items`; of models that can."""
        raise NotImplementedError(f"{type(self).__name__}: recalculate_user is not supported with this model")

    def recalculate_item(self, itemid: Any, item_users: Any) -> npt.NDArray[Any]:
        """Vectors of items, from their rows of `item_users`; of models that can."""
        raise NotImplementedError(f"{type(self).__name__}: recalculate_item is not supported with this model")

    def similar_users(  # noqa: D102
        self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        check_is_fitted(self, self.user_factors)
        rows = check_rows(type(self).__name__, "user", userid, len(self.user_factors))
        vectors = self.user_factors[rows]
        return self._nearest(vectors, self.user_factors, self.user_norms, N, np.ndim(userid) == 0, filter_users, users)

    def similar_items(  # noqa: D102
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        check_is_fitted(self, self.item_factors)
        vectors = np.atleast_2d(self._item_factor(itemid, item_users, recalculate_item))
        return self._nearest(vectors, self.item_factors, self.item_norms, N, np.ndim(itemid) == 0, filter_items, items)

    def _nearest(
        self,
        vectors: npt.NDArray[Any],
        others: npt.NDArray[Any],
        norms: npt.NDArray[Any],
        N: int,
        single: bool,
        filtered: Any,
        chosen: Any,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Rank `others` by cosine."""
        backend, blank = self._backend(), np.flatnonzero(~others.any(axis=1))

        def search(k: int, exclude: CSR | None, deny: npt.NDArray[Any] | None, allow: npt.NDArray[Any] | None) -> Found:
            denied = blank if deny is None else np.concatenate([blank, deny])
            ids, scores = top_k(
                backend, vectors, np.asarray(others, np.float32), k, exclude, denied if allow is None else None, allow,
                scale=1 / np.asarray(norms, np.float64), unit=True, subject="similar",
            )  # fmt: skip
            if allow is None:
                ids[~vectors.any(axis=1)] = -1
            return ids, scores

        return self._answer(
            search, len(vectors), len(others), N, single=single, filtered=filtered, items=chosen, dtype=vectors.dtype
        )

    @property
    def user_norms(self) -> npt.NDArray[Any]:
        """Lengths of the vectors of users, a tiny number where one is zero."""
        if self._user_norms is None:
            check_is_fitted(self, self.user_factors)
            self._user_norms = _norms(self.user_factors)
        norms: npt.NDArray[Any] = self._user_norms
        return norms

    @property
    def item_norms(self) -> npt.NDArray[Any]:
        """Lengths of the vectors of items, a tiny number where one is zero."""
        if self._item_norms is None:
            check_is_fitted(self, self.item_factors)
            self._item_norms = _norms(self.item_factors)
        norms: npt.NDArray[Any] = self._item_norms
        return norms

    def _moved(self, kind: type[Model]) -> Model:
        """The same parameters and vectors as a model of another device."""
        model = kind.__new__(kind)
        model.__dict__.update(self.__dict__)
        model._backend()  # says why there is none, and the way out
        return model

    def _learned(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> None:
        """Take over what was learned."""
        self._check_factors(users, items)
        self.user_factors, self.item_factors = users.astype(self.dtype), items.astype(self.dtype)
        self._user_norms = self._item_norms = None

    def _check_factors(self, *sides: npt.NDArray[Any]) -> None:
        """Raise `ModelFitError` where a number is NaN or infinite."""
        if not all(np.isfinite(side).all() for side in sides):
            raise ModelFitError(f"{type(self).__name__}: vectors hold NaN or infinite numbers")

    def _check_fit_errors(self) -> None:
        """As `_check_factors`, of what the model holds; models derived from this one call it after a fit."""
        self._check_factors(self.user_factors, self.item_factors)

    def _blank_items(self) -> npt.NDArray[np.int64]:
        """Items of which nothing is known, found once for an array of vectors."""
        found: tuple[Any, npt.NDArray[np.int64]] | None = self.__dict__.get("_blank")
        if found is None or found[0] is not self.item_factors:
            found = self._blank = (self.item_factors, np.flatnonzero(~self.item_factors.any(axis=1)))
        return found[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_blank"}

    def _set_saved(self, found: dict[str, npt.NDArray[Any]]) -> None:
        sides = [found[name] for name in ("user_factors", "item_factors") if name in found]
        if len(sides) == 1 or any(side.ndim != 2 for side in sides) or len({side.shape[1] for side in sides}) > 1:
            raise ValueError(
                f"user_factors and item_factors must be two matrices of as many columns, got shapes "
                f"{[side.shape for side in sides]}"
            )
        super()._set_saved(found)


def _norms(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    norms: npt.NDArray[Any] = np.linalg.norm(vectors, axis=-1)
    norms[norms == 0] = _LEAST_NORM
    return norms


def _filter_items_from_sparse_matrix(items: npt.NDArray[Any], query_items: Any) -> Any:
    """Columns of `query_items` that are in `items`, which rise, by their places there."""
    return sp.csr_matrix(query_items)[:, np.asarray(items)]
