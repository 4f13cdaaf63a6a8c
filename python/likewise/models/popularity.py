"""The baseline that every recommender must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from likewise._space import Space
from likewise._validation import check_choice
from likewise.data import CSR, Interactions

from .base import VectorRecommender

__all__ = ["Popularity"]

_COUNTS = ("users", "values")


class Popularity(VectorRecommender):
    """Recommend to everybody what most users have, each without what they have already.

    Parameters
    ----------
    count : {"users", "values"}, default="users"
        Whether an item's popularity is its number of users, or the sum of its values (units sold, say).

    Attributes
    ----------
    popularity_ : ndarray of shape (n_items,), float32
        The score of each item, the same for every user.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.Popularity().fit(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]]))
    >>> model.recommend([1], k=2).items
    array([[0, 2]])
    """

    popularity_: npt.NDArray[np.float32]

    _search_space: ClassVar[Space] = {"count": ["users", "values"]}

    def __init__(self, count: str = "users") -> None:
        self.count = count

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        return tags

    def _check_parameters(self) -> None:
        check_choice("Popularity", "count", self.count, _COUNTS)

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        self.popularity_ = self._counts(data.by_user)

    def partial_fit(self, X: Any, y: Any = None) -> Popularity:
        """Learn from further interactions, of new users and items too; before a first `fit` it is `fit`.

        Parameters
        ----------
        X : Interactions or matrix
            Rows are the users of `fit` (by id, or by row number), new ones beyond them.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self
        """
        if not hasattr(self, "popularity_"):
            return self.fit(X)
        self._check_parameters()
        _, joined = self._joined(X)
        with self._all_or_nothing():
            self._set_interactions(joined)
            self.popularity_ = self._counts(joined.by_user)
        return self

    def similar_items(self, items: Any, k: int = 10) -> NoReturn:
        """Refuse: items differ in one number here, which makes none of them alike."""
        raise NotImplementedError("Popularity: has no similar items, it knows one number an item; use ImplicitALS")

    def similar_users(self, users: Any, k: int = 10) -> NoReturn:
        """Refuse: to this model all users are alike."""
        raise NotImplementedError("Popularity: has no similar users, to it all are alike; use ImplicitALS")

    def build_index(self, **options: Any) -> NoReturn:
        """Refuse: everybody gets the same items, and there is nothing to search."""
        raise NotImplementedError("Popularity: needs no index, it ranks the items alike for everybody")

    def _counts(self, matrix: CSR) -> npt.NDArray[np.float32]:
        weights = matrix.values if self.count == "values" else None
        return np.bincount(matrix.indices, weights=weights, minlength=matrix.n_cols).astype(np.float32)

    def _user_vectors(self, histories: CSR | None, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return np.ones((rows.size, 1), dtype=np.float32)

    def _item_vectors(self) -> npt.NDArray[np.float32]:
        return self.popularity_[:, np.newaxis]

    def _blank_items(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self.popularity_ == 0)

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {"popularity": self.popularity_}

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.popularity_ = self._checked(arrays["popularity"], (self.n_items_,))
