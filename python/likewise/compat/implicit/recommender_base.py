"""implicit.recommender_base: what every model has, and how answers are put together."""

from __future__ import annotations

import io
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import Backend, get_backend
from likewise._io import whole_file
from likewise._validation import check_int, check_rows
from likewise.data import CSR
from likewise.exceptions import ModelFileError
from likewise.retrieval import MAX_K

__all__ = ["ModelFitError", "RecommenderBase"]

Self = TypeVar("Self", bound="RecommenderBase")
Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
# Ranks so many items under what each query must not get, what nobody gets and what alone anybody gets.
Search = Callable[[int, "CSR | None", "npt.NDArray[Any] | None", "npt.NDArray[Any] | None"], Found]

# What no file holds.
_GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, np.random.SeedSequence)
# The score of an empty slot, and of an item that was asked for and has none.
LOWEST = np.float32(-np.finfo(np.float32).max)


class ModelFitError(Exception):
    """Learned numbers have left their range."""


class RecommenderBase(metaclass=ABCMeta):
    """A model with the interface of implicit's."""

    num_threads: int
    _device = "cpu"
    # What a file holds where it is set, what it holds always and others' do not, and what else it may hold.
    _saved: ClassVar[tuple[str, ...]] = ()
    _telling: ClassVar[tuple[str, ...]] = ()
    _not_set: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Learn from a CSR matrix of users x items."""

    @abstractmethod
    def recommend(
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Recommend the N best items to a user, or to each of many.

        Parameters
        ----------
        userid : int or array of int
            Whom for. One gives arrays of one dimension, without empty slots; many give arrays of shape (n, N).
        user_items : CSR matrix of shape (n, n_items)
            A row for each user asked for.
        N : int, default=10
            Items a user, or as many as `items` names, if those are fewer. An empty slot holds -1 and the lowest
            float32.
        filter_already_liked_items : bool, default=True
            Whether nobody gets what stands in the own row of `user_items`.
        filter_items : array of int, default=None
            What nobody gets.
        recalculate_user : bool, default=False
            Whether users are what their rows of `user_items` say, and not what `fit` learned.
        items : array of int, default=None
            The only items that are ranked, and all of them: those without a score, or filtered, come last.

        Raises
        ------
        NotFittedError
            If nothing was learned yet.
        ValueError
            If `user_items` is not CSR or has another number of rows, or both `items` and `filter_items` are given.
        IndexError
            If a user or item is outside the model; negative numbers are.
        """

    @abstractmethod
    def similar_users(
        self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the N users most like a user, itself first, or like each of many."""

    @abstractmethod
    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the N items most like an item, itself first, or like each of many."""

    def recommend_all(
        self,
        user_items: Any,
        N: int = 10,
        recalculate_user: bool = False,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        users_items_offset: int = 0,
    ) -> npt.NDArray[Any]:
        """Items for all users in the rows of `user_items`, the first of whom is `users_items_offset`."""
        userids = np.arange(user_items.shape[0]) + users_items_offset
        ids, _ = self.recommend(
            userids, user_items, N, filter_already_liked_items, filter_items, recalculate_user=recalculate_user
        )
        return ids

    def rank_items(
        self, userid: Any, user_items: Any, selected_items: Any, recalculate_user: bool = False
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Rank the items selected, and nothing else."""
        return self.recommend(
            userid,
            user_items,
            N=len(selected_items),
            filter_already_liked_items=False,
            recalculate_user=recalculate_user,
            items=selected_items,
        )

    def save(self, fileobj_or_path: Any) -> None:
        """Write an npz file, whole or not at all; a path without its suffix is given it."""
        arrays = self._arrays()
        if hasattr(fileobj_or_path, "write"):
            np.savez(fileobj_or_path, **arrays)
            return
        with whole_file(_with_suffix(fileobj_or_path), type(self).__name__) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def _arrays(self) -> dict[str, Any]:
        """What is saved, by name; a generator is not."""
        found = {name: getattr(self, name) for name in self._saved}
        return {
            name: value.name if isinstance(value, np.dtype) else value
            for name, value in found.items()
            if value is not None and not isinstance(value, _GENERATORS)
        }

    @classmethod
    def load(cls: type[Self], fileobj_or_path: Any) -> Self:
        """Read a file that `save` has written, here or in implicit.

        Raises
        ------
        ModelFileError
            If it is not a whole npz file of such a model.
        """
        is_stream = hasattr(fileobj_or_path, "read")
        stream = fileobj_or_path if is_stream else open(_with_suffix(fileobj_or_path), "rb")  # noqa: SIM115
        try:
            with stream if not is_stream else nullcontext(), np.load(stream, allow_pickle=False) as data:
                found = {name: data[name] for name in data.files}
        except Exception as error:  # whatever zip and npy files raise where they are damaged
            raise ModelFileError(f"{cls.__name__}.load: not a whole npz file ({error})") from error
        model = cls()
        try:
            model._set_saved(found)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{cls.__name__}.load: not the file of such a model ({error})") from error
        return model

    def _set_saved(self, found: dict[str, npt.NDArray[Any]]) -> None:
        missing = [name for name in self._telling if name not in found]
        strange = sorted(set(found) - {*self._saved, *self._not_set})
        if missing or strange:
            raise KeyError(f"it has {strange[0]!r}" if strange else f"it lacks {missing[0]!r}")
        for name in self._saved:
            if name in found:
                value = found[name]
                setattr(self, name, np.dtype(str(value)) if name == "dtype" else value if value.ndim else value.item())

    # ------------------------------------------------------------------ answers

    def _backend(self) -> Backend:
        return get_backend(self._device, self.num_threads or None, type(self).__name__)

    def _answer(
        self,
        search: Search,
        n_queries: int,
        n_items: int,
        N: int,
        *,
        single: bool,
        exclude: CSR | None = None,
        filtered: Any = None,
        items: Any = None,
        dtype: Any = np.float32,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Ranked ids and scores in implicit's form: trimmed for one query, of N columns for many."""
        name = type(self).__name__
        N = check_int(name, "N", N, minimum=1, maximum=MAX_K)
        deny = None if filtered is None else check_rows(name, "filtered id", filtered, n_items)
        if items is not None and deny is not None and deny.size:
            raise ValueError(f"{name}: items and filter_items exclude each other; give one of them")
        allow = None if items is None else np.unique(check_rows(name, "id", items, n_items))
        ids, scores = search(min(N, n_items if allow is None else max(1, allow.size)), exclude, deny, allow)
        if allow is not None:
            _append_rest(ids, scores, allow, exclude)
        scores[ids < 0] = LOWEST
        if single:
            ids, scores = ids[0], scores[0]
            return ids[ids >= 0], scores[ids >= 0].astype(dtype)
        width = N if allow is None else min(N, allow.size)
        lacking = ((0, 0), (0, width - ids.shape[1]))
        return np.pad(ids, lacking, constant_values=-1), np.pad(scores, lacking, constant_values=LOWEST).astype(dtype)

    def _rows_of(self, user_items: Any, n: int, n_items: int) -> CSR:
        """The rows of the users asked for, checked."""
        name = type(self).__name__
        if not sp.issparse(user_items) or user_items.format != "csr":
            raise ValueError(f"{name}: user_items needs to be a CSR sparse matrix, got {type(user_items).__name__}")
        if user_items.shape[0] != n:
            raise ValueError(f"{name}: user_items must contain 1 row for every user, got {user_items.shape[0]} for {n}")
        rows = CSR.from_scipy(user_items, subject=name)
        if rows.n_cols > n_items and rows.nnz and int(rows.indices.max()) >= n_items:
            raise IndexError(f"{name}: user_items has an entry of item {rows.indices.max()}, outside [0, {n_items})")
        return CSR(rows.indptr, rows.indices, rows.values, (n, n_items))  # partial_fit may have added items


def _append_rest(
    ids: npt.NDArray[np.int32], scores: npt.NDArray[np.float32], allow: npt.NDArray[np.int64], exclude: CSR | None
) -> None:
    """Fill empty slots with what was asked for and not found: by rising id, what is excluded after the rest."""
    for row in np.flatnonzero((ids < 0).any(axis=1)):
        places = np.flatnonzero(ids[row] < 0)
        rest = np.setdiff1d(allow, ids[row])
        if exclude is not None:
            rest = rest[np.lexsort((rest, np.isin(rest, exclude.row(int(row))[0])))]
        rest, places = rest[: places.size], places[: rest.size]
        ids[row, places], scores[row, places] = rest, LOWEST


def _with_suffix(path: Any) -> Any:
    if isinstance(path, io.IOBase):
        return path
    text = str(path)
    return text if text.endswith(".npz") else f"{text}.npz"
