"""The splits as scikit-learn's splitters: for `GridSearchCV`, `cross_val_score` and whatever else takes ``cv=``.

A splitter of users yields row numbers, as scikit-learn's own do: test users are new to the model, and `score` hides a
part of what they did. The others yield numbers of events (`likewise.data.event_index`): users stay, and what is held
out of them is what the model is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._validation import check_int
from likewise.data import Interactions, as_interactions

from ._masks import (
    Masks,
    RandomState,
    cold_masks,
    interaction_fold_masks,
    item_masks,
    known_enough,
    last_masks,
    random_masks,
    rolling_masks,
    temporal_masks,
    user_fold_masks,
    user_masks,
)

__all__ = [
    "ColdStartSplit",
    "FilteredSplit",
    "InteractionKFold",
    "ItemSplit",
    "LeaveLastOut",
    "RandomSplit",
    "RollingSplit",
    "TemporalSplit",
    "UserKFold",
    "UserSplit",
]

Index = npt.NDArray[np.int64]


class _Splitter:
    """One split, or several, of what is known of the same users and items: what scikit-learn takes for ``cv=``."""

    def __repr__(self) -> str:
        told = [
            f"{name}={value!r}"
            for name, parameter in inspect.signature(type(self)).parameters.items()
            if (value := getattr(self, name)) is not parameter.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of pairs of train and test."""
        return int(getattr(self, "n_splits", 1))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Index, Index]]:
        """Yield the places of train and test in `X`.

        Parameters
        ----------
        X : Interactions
            A matrix has no way to be told in part without losing users; `Interactions.from_csr` makes one of it.
        y, groups : None
            Ignored; there for scikit-learn.

        Yields
        ------
        train, test : ndarray of int64
            ``X[train]`` and ``X[test]`` are the parts.
        """
        if not isinstance(X, Interactions):
            raise TypeError(
                f"{type(self).__name__}: X must be an Interactions, got {type(X).__name__}; "
                "build one, of a matrix by Interactions.from_csr"
            )
        for masks in self._masks(X, type(self).__name__):
            yield masks.indices()

    def parts(self, data: Any) -> Iterator[tuple[Interactions, Interactions]]:
        """Yield train and test as `Interactions`, in the shape and ids of `data`."""
        return (masks.parts() for masks in self._masks(data, type(self).__name__))

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        raise NotImplementedError


class _UserSplitter(_Splitter):
    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Index, Index]]:
        """Yield the row numbers of the users in train and of those in test.

        Parameters
        ----------
        X : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        y, groups : None
            Ignored; there for scikit-learn.

        Yields
        ------
        train, test : ndarray of int64
        """
        data = as_interactions(X, type(self).__name__, allow_negative=True)
        rows = data.by_user.row_numbers()
        for masks in self._masks(data, type(self).__name__):
            is_test = np.zeros(data.n_users, dtype=bool)
            is_test[rows[masks.test]] = True
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)


class RandomSplit(_Splitter):
    """`random_split` as a splitter, `n_splits` times with other draws.

    Examples
    --------
    >>> import likewise as lw
    >>> from sklearn.model_selection import cross_val_score
    >>> data = lw.Interactions.from_arrays([1, 1, 1, 2, 2, 2], list("abcabc"))
    >>> cv = lw.model_selection.RandomSplit(test_size=2, random_state=0)
    >>> cross_val_score(lw.Popularity(), data, cv=cv).shape
    (1,)
    """

    def __init__(
        self,
        test_size: float | int = 0.2,
        n_splits: int = 1,
        *,
        per_user: bool = False,
        random_state: RandomState = None,
        leakage: str = "warn",
    ) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.per_user = per_user
        self.random_state = random_state
        self.leakage = leakage

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        for seed in _seeds(self.random_state, check_int(subject, "n_splits", self.n_splits, minimum=1)):
            yield random_masks(subject, data, self.test_size, self.per_user, seed, self.leakage)


class TemporalSplit(_Splitter):
    """`temporal_split` as a splitter.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.Interactions.from_arrays([1, 1, 2], list("aba"), timestamps=[10, 20, 30])
    >>> [(train, test)] = lw.model_selection.TemporalSplit(cutoff=20).split(data)
    >>> data[train].nnz, data[test].nnz
    (1, 2)
    """

    def __init__(self, test_size: float | int | None = None, *, cutoff: Any = None, repeats: str = "drop") -> None:
        self.test_size = test_size
        self.cutoff = cutoff
        self.repeats = repeats

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        yield temporal_masks(subject, data, self.test_size, self.cutoff, self.repeats)


class ColdStartSplit(_Splitter):
    """`cold_start_split` as a splitter."""

    def __init__(self, test_size: float | int | None = None, *, cutoff: Any = None, cold: str = "items") -> None:
        self.test_size = test_size
        self.cutoff = cutoff
        self.cold = cold

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        yield cold_masks(subject, data, self.test_size, self.cutoff, self.cold)


class RollingSplit(_Splitter):
    """`rolling_splits` as a splitter."""

    def __init__(
        self,
        n_splits: int = 5,
        *,
        test_duration: Any = None,
        train_duration: Any = None,
        gap: Any = 0,
        repeats: str = "drop",
    ) -> None:
        self.n_splits = n_splits
        self.test_duration = test_duration
        self.train_duration = train_duration
        self.gap = gap
        self.repeats = repeats

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        check_int(subject, "n_splits", self.n_splits, minimum=1)
        return rolling_masks(
            subject, data, self.n_splits, self.test_duration, self.train_duration, self.gap, self.repeats
        )


class LeaveLastOut(_Splitter):
    """`leave_last_out` as a splitter."""

    def __init__(self, k: int = 1) -> None:
        self.k = k

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        yield last_masks(subject, data, self.k)


class InteractionKFold(_Splitter):
    """`interaction_folds` as a splitter."""

    def __init__(
        self, n_splits: int = 5, *, per_user: bool = False, random_state: RandomState = None, leakage: str = "warn"
    ) -> None:
        self.n_splits = n_splits
        self.per_user = per_user
        self.random_state = random_state
        self.leakage = leakage

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        return interaction_fold_masks(subject, data, self.n_splits, self.per_user, self.random_state, self.leakage)


class ItemSplit(_Splitter):
    """`item_split` as a splitter, `n_splits` times with other draws."""

    def __init__(
        self,
        test_size: float | int = 0.2,
        n_splits: int = 1,
        *,
        random_state: RandomState = None,
        leakage: str = "warn",
    ) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.random_state = random_state
        self.leakage = leakage

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        for seed in _seeds(self.random_state, check_int(subject, "n_splits", self.n_splits, minimum=1)):
            yield item_masks(subject, data, self.test_size, seed, self.leakage)


class UserSplit(_UserSplitter):
    """`user_split` as a splitter, `n_splits` times with other draws; users without interactions are in train."""

    def __init__(self, test_size: float | int = 0.2, n_splits: int = 1, *, random_state: RandomState = None) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.random_state = random_state

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        for seed in _seeds(self.random_state, check_int(subject, "n_splits", self.n_splits, minimum=1)):
            yield user_masks(subject, data, self.test_size, seed)


class UserKFold(_UserSplitter):
    """`user_folds` as a splitter; users without interactions are in train."""

    def __init__(self, n_splits: int = 5, *, random_state: RandomState = None) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        return user_fold_masks(subject, data, self.n_splits, self.random_state)


class FilteredSplit(_Splitter):
    """Another splitter, with `filter_test` applied to what it holds out.

    Parameters
    ----------
    splitter : splitter of this module, not of users
    min_user_count, min_item_count : int, default=1
        Stored pairs in train that the user, and the item, of a pair in test has at least.
    k_core : int, default=0
        Above 0, both have to be in the k-core of train.

    Examples
    --------
    >>> import likewise as lw
    >>> ms = lw.model_selection
    >>> data = lw.Interactions.from_arrays([1, 1, 2, 2], list("abab"), timestamps=[10, 20, 30, 40])
    >>> [(train, test)] = ms.FilteredSplit(ms.TemporalSplit(cutoff=30), min_user_count=0).split(data)
    >>> data[test].nnz
    2
    """

    def __init__(self, splitter: Any, *, min_user_count: int = 1, min_item_count: int = 1, k_core: int = 0) -> None:
        self.splitter = splitter
        self.min_user_count = min_user_count
        self.min_item_count = min_item_count
        self.k_core = k_core

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of pairs of train and test."""
        return int(self.splitter.get_n_splits(X, y, groups))

    def _masks(self, data: Any, subject: str) -> Iterator[Masks]:
        if not isinstance(self.splitter, _Splitter) or isinstance(self.splitter, _UserSplitter):
            raise TypeError(
                f"{subject}: splitter must be one of likewise.model_selection that keeps users, got {self.splitter!r}"
            )
        for masks in self.splitter._masks(data, subject):
            matrix = masks.data.by_user
            users, items = masks.data.events()[:2] if masks.of_events else (matrix.row_numbers(), matrix.indices)
            limits = self.min_user_count, self.min_item_count, self.k_core
            known = known_enough(masks.parts()[0], users, items, *limits, subject)
            yield masks._replace(test=masks.test & known)


def _seeds(random_state: RandomState, n_splits: int) -> list[Any]:
    """A seed a split: the given one itself for one split, so that it is the split that the function makes."""
    if n_splits == 1:
        return [random_state]
    if isinstance(random_state, np.random.Generator | np.random.RandomState):
        return [random_state] * n_splits  # it moves on by itself
    whole = random_state if isinstance(random_state, np.random.SeedSequence) else np.random.SeedSequence(random_state)
    return list(whole.spawn(n_splits))
