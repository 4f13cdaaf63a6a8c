"""Who did what with which item: one matrix of users x items, its ids and its times."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._validation import check_choice, check_float, check_int, check_rows

from ._events import Duplicates, EventLog, merge_events, merge_sorted
from ._frames import FrameTable, check_matrix_frame, id_column, make_frame
from ._time import TimeUnit, as_timestamps
from .csr import CSR, coordinate_order, offsets_of, read_only
from .ids import IdMap, RowNumbers

__all__ = ["Aligned", "Events", "Interactions", "as_interactions", "check_matrix_like", "event_index"]

_DUPLICATES = ("sum", "last", "error")

# Where numbers of events begin in an index of scikit-learn's, far beyond any row: it makes plain arrays of whatever a
# splitter yields, so nothing but the numbers themselves can tell events from users.
_EVENTS = 1 << 62


class Events(NamedTuple):
    """Single events, by user, then item, then time; four arrays of one length."""

    users: npt.NDArray[np.int32]
    """Row of the user."""
    items: npt.NDArray[np.int32]
    """Row of the item."""
    values: npt.NDArray[np.float32]
    """Value of the event."""
    timestamps: npt.NDArray[Any] | None
    """When it happened, int64 or float64; None where the data have no times."""


class Aligned(NamedTuple):
    """Interactions told in another set's users and items, and what that set did not know."""

    interactions: Interactions
    """Same shape and ids as the other set."""
    n_unknown_users: int
    """Users left out, because the other set does not have them."""
    n_unknown_items: int
    """Items left out."""
    n_dropped: int
    """Stored pairs left out with them."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Interactions:
    """Interactions of users with items: each stored pair has a value and may have a time.

    Built by `from_frame`, `from_arrays` or `from_csr`; never changed afterwards. Every method that narrows or joins
    returns a new object, which shares what it can. The constructor holds what it is given and checks nothing.

    Built from ids, it speaks ids: `user_ids` and `item_ids` name the rows, and whoever asks by user or item asks by
    id. Built from a matrix, it speaks row numbers, and `user_ids` and `item_ids` are None.

    Several events of one user with one item are one stored pair. With timestamps, the single events stay reachable
    through `events`, so that a split by time can merge those before the cutoff alone.

    Attributes
    ----------
    by_user : CSR of shape (n_users, n_items)
        The matrix.
    user_map, item_map : IdMap
        The way from ids to rows and back; `RowNumbers` where row numbers are spoken.
    timestamps : ndarray of shape (nnz,), int64 or float64, or None
        Time of each stored pair, in the order of ``by_user.values``. Dates are int64 nanoseconds since 1970 in UTC,
        numbers are kept as given. Of merged events the first under ``duplicates="sum"``, the last under ``"last"``.
    timestamp_unit : {"ns", None}
        ``"ns"`` where dates were given.
    duplicates : {"sum", "last", "error"}
        How events of one pair were merged.
    log : EventLog or None
        The single events, where times were given and pairs repeat; see `events`.
    user_info, item_info : mapping of str to ndarray of shape (n_users,), (n_items,)
        What is known of users and items besides, such as a country or a title; by row. See `with_info`.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> data = Interactions.from_arrays(["ann", "bob", "ann"], ["tea", "tea", "mug"], [1.0, 2.0, 3.0])
    >>> data
    Interactions(2 users x 2 items, 3 stored, density 75%, string users, string items)
    >>> data.by_user.to_scipy().toarray()
    array([[3., 1.],
           [0., 2.]], dtype=float32)
    >>> data.item_ids
    array(['mug', 'tea'], dtype=object)
    """

    by_user: CSR
    user_map: IdMap
    item_map: IdMap
    timestamps: npt.NDArray[Any] | None = None
    timestamp_unit: TimeUnit = None
    duplicates: Duplicates = "sum"
    log: EventLog | None = None
    user_info: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    item_info: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    _by_item: CSR | None = field(default=None, init=False)
    is_part: bool = field(default=False, init=False)
    """Whether these are some events of a larger set, by an `event_index`: users and items are those of the whole."""

    def __post_init__(self) -> None:
        if self.timestamps is not None:
            object.__setattr__(self, "timestamps", read_only(self.timestamps))

    # ------------------------------------------------------------------ building

    @classmethod
    def from_frame(
        cls,
        df: Any,
        user: str = "user",
        item: str = "item",
        value: str | None = None,
        timestamp: str | None = None,
        *,
        duplicates: Duplicates = "sum",
    ) -> Interactions:
        """Build from a data frame with one row per event.

        Parameters
        ----------
        df : data frame
            pandas, polars, pyarrow, or any other that narwhals reads; a lazy frame is collected.
        user, item : str, default="user", "item"
            Columns of ids: integers, strings, categories or ``uuid.UUID``.
        value : str, default=None
            Column of numbers; None counts every row as 1.
        timestamp : str, default=None
            Column of dates or ISO 8601 strings (those without a zone are taken as UTC), or of numbers.
        duplicates : {"sum", "last", "error"}, default="sum"
            What several rows of one pair become: the sum of their values at the first time, the latest value at its
            time (without timestamps the row given last), or an error.

        Returns
        -------
        Interactions
            Users and items in rising order of their ids.

        Raises
        ------
        TypeError
            `df` is not a frame, or a column has a type that its role does not allow.
        ValueError
            A column is missing, a cell is null, a value is NaN or infinite, or a pair stands twice under ``"error"``.

        Examples
        --------
        >>> import pandas as pd
        >>> from likewise.data import Interactions
        >>> df = pd.DataFrame({"user": [7, 7, 9], "item": ["tea", "tea", "mug"], "n": [1, 2, 5]})
        >>> Interactions.from_frame(df, value="n")
        Interactions(2 users x 2 items, 2 stored, density 50%, int64 users, string items)
        """
        subject = "Interactions.from_frame"
        return cls._from_table(subject, FrameTable(df, subject), user, item, value, timestamp, duplicates)

    @classmethod
    def _from_table(
        cls,
        subject: str,
        table: Any,
        user: str,
        item: str,
        value: str | None,
        timestamp: str | None,
        duplicates: Duplicates,
    ) -> Interactions:
        """Build from named columns of a `FrameTable`, or of a reader's table."""
        for role, column in (("user", user), ("item", item), ("value", value), ("timestamp", timestamp)):
            if column is not None and column not in table.names:
                raise ValueError(f"{subject}: {role} column {column!r} is not there; the columns are {table.names}")
        times, unit = (None, None) if timestamp is None else table.times(timestamp)
        return cls._from_ids(
            subject,
            table.ids(user, "user"),
            table.ids(item, "item"),
            None if value is None else table.values(value),
            times,
            unit,
            duplicates,
        )

    @classmethod
    def from_arrays(
        cls,
        users: npt.ArrayLike,
        items: npt.ArrayLike,
        values: npt.ArrayLike | None = None,
        timestamps: npt.ArrayLike | None = None,
        *,
        duplicates: Duplicates = "sum",
        user_ids: npt.ArrayLike | None = None,
        item_ids: npt.ArrayLike | None = None,
    ) -> Interactions:
        """Build from parallel arrays with one entry per event.

        Parameters
        ----------
        users, items : array-like of shape (n_events,)
            Ids: integers, strings or ``uuid.UUID``.
        values : array-like of shape (n_events,), default=None
            Real numbers; None counts every event as 1.
        timestamps : array-like of shape (n_events,), default=None
            ``datetime64``, ``datetime``, ISO 8601 strings, or numbers.
        duplicates : {"sum", "last", "error"}, default="sum"
            As in `from_frame`.
        user_ids, item_ids : array-like of shape (n_users,), (n_items,), default=None
            All ids in the order of their rows, those without events too. None takes the ids that occur, in rising
            order.

        Returns
        -------
        Interactions

        Raises
        ------
        TypeError
            Ids are not integers, strings or UUIDs, or of more than one type; values are not numbers.
        ValueError
            The lengths differ, an id is null, or a value is NaN or infinite.
        KeyError
            An id is not among `user_ids` or `item_ids`.

        Examples
        --------
        >>> from likewise.data import Interactions
        >>> Interactions.from_arrays([1, 1, 2], [10, 20, 10], item_ids=[10, 20, 30]).by_user
        CSR(2 x 3, 3 stored)
        """
        subject = "Interactions.from_arrays"
        unit: TimeUnit = None
        if timestamps is not None:
            timestamps, unit = as_timestamps(timestamps, subject)
        return cls._from_ids(subject, users, items, values, timestamps, unit, duplicates, user_ids, item_ids)

    @classmethod
    def _from_ids(
        cls,
        subject: str,
        users: Any,
        items: Any,
        values: Any,
        timestamps: npt.NDArray[Any] | None,
        unit: TimeUnit,
        duplicates: Duplicates,
        user_ids: Any = None,
        item_ids: Any = None,
    ) -> Interactions:
        check_choice(subject, "duplicates", duplicates, _DUPLICATES)
        user_map, rows = _rows_of(users, user_ids, subject, "user")
        item_map, columns = _rows_of(items, item_ids, subject, "item")
        if values is not None:
            values = _as_values(values, subject)
        for name, array in (("items", columns), ("values", values), ("timestamps", timestamps)):
            if array is not None and array.size != rows.size:
                raise ValueError(f"{subject}: {name} has {array.size} entries but users has {rows.size}")
        shape = (len(user_map), len(item_map))
        merged = merge_events(rows, columns, values, timestamps, shape, duplicates, subject)
        return cls(merged.by_user, user_map, item_map, merged.timestamps, unit, duplicates, merged.log)

    @classmethod
    def from_csr(cls, X: Any, *, subject: str = "Interactions.from_csr") -> Interactions:
        """Build from a matrix of users x items; the result speaks row numbers.

        Parameters
        ----------
        X : scipy.sparse matrix or array of any format and index dtype, or CSR
            Stored entries are the interactions, stored zeros too; entries of one pair are summed. What need not be
            converted is not copied: sorted int32 ids and float32 values of a CSR stay those of `X`, so leave `X` alone
            while the result is in use, or give ``X.copy()``.
        subject : str, default="Interactions.from_csr"
            What an error names first.

        Returns
        -------
        Interactions

        Raises
        ------
        TypeError
            `X` is not sparse, or not of numbers.
        ValueError
            `X` is not two-dimensional, is complex, or holds NaN or an infinite value; the message says where.

        Examples
        --------
        >>> import scipy.sparse as sp
        >>> from likewise.data import Interactions
        >>> Interactions.from_csr(sp.eye_array(3, format="coo"))
        Interactions(3 users x 3 items, 3 stored, density 33.3%, row numbers)
        """
        matrix = X if isinstance(X, CSR) else CSR.from_scipy(X, subject=subject)
        return cls(matrix, RowNumbers(matrix.n_rows), RowNumbers(matrix.n_cols))

    # ------------------------------------------------------------------ what it is

    @property
    def by_item(self) -> CSR:
        """The matrix of items x users; computed when first asked for, then kept."""
        if self._by_item is None:
            object.__setattr__(self, "_by_item", self.by_user.transpose())
        return cast(CSR, self._by_item)

    @property
    def user_ids(self) -> npt.NDArray[Any] | None:
        """The user ids by row; None where row numbers are spoken."""
        return None if isinstance(self.user_map, RowNumbers) else self.user_map.labels

    @property
    def item_ids(self) -> npt.NDArray[Any] | None:
        """The item ids by row; None where row numbers are spoken."""
        return None if isinstance(self.item_map, RowNumbers) else self.item_map.labels

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_users, n_items)``."""
        return self.by_user.shape

    @property
    def n_users(self) -> int:
        """Number of users, those without interactions too."""
        return self.by_user.n_rows

    @property
    def n_items(self) -> int:
        """Number of items, those without interactions too."""
        return self.by_user.n_cols

    @property
    def nnz(self) -> int:
        """Number of stored pairs."""
        return self.by_user.nnz

    @property
    def n_events(self) -> int:
        """Number of single events: more than `nnz` where timestamps were given and pairs repeat."""
        return self.nnz if self.log is None else self.log.timestamps.size

    @property
    def event_timestamps(self) -> npt.NDArray[Any] | None:
        """The time of each single event, in the order of `events`."""
        return self.timestamps if self.log is None else self.log.timestamps

    @property
    def density(self) -> float:
        """Stored pairs per possible pair."""
        return self.by_user.density

    def events(self) -> Events:
        """Return the single events by user, item and time.

        Without timestamps, or where no pair repeats, they are the stored pairs.

        Returns
        -------
        Events
            ``users, items`` (rows, int32), ``values`` (float32) and ``timestamps``, each of shape (n_events,).
        """
        rows = self.by_user.row_numbers()
        if self.log is None:
            return Events(rows, self.by_user.indices, self.by_user.values, self.timestamps)
        counts = np.diff(self.log.indptr)
        columns = np.repeat(self.by_user.indices, counts)
        return Events(np.repeat(rows, counts), columns, self.log.values, self.log.timestamps)

    def to_frame(self, *, events: bool = False, library: str | None = None) -> Any:
        """Return the stored pairs (or single events) as a data frame.

        Parameters
        ----------
        events : bool, default=False
            One row per event instead of one per stored pair.
        library : {"pandas", "polars", "pyarrow"}, default=None
            None takes the first of them that is installed.

        Returns
        -------
        data frame
            Columns ``user``, ``item``, ``value`` and, where there are times, ``timestamp`` (dates where dates were
            given). UUIDs become strings.

        Raises
        ------
        ImportError
            No such library is installed.
        """
        table = self.events() if events else Events(*self._coordinates(), self.by_user.values, self.timestamps)
        columns = {
            "user": self.user_map.labels[table.users],
            "item": self.item_map.labels[table.items],
            "value": table.values,
        }
        if table.timestamps is not None:
            dates = self.timestamp_unit == "ns"
            columns["timestamp"] = table.timestamps.astype("datetime64[ns]") if dates else table.timestamps
        return make_frame(columns, "Interactions.to_frame", library)

    def summary(self) -> dict[str, Any]:
        """Return the sizes and spreads that one looks at first.

        Returns
        -------
        dict
            ``n_users, n_items, nnz, n_events, density``; ``per_user`` and ``per_item`` (smallest, median and largest
            number of stored pairs); ``values`` (smallest, mean, largest; None without pairs); ``first`` and ``last``
            time of an event (``datetime64[ns]`` where dates were given; None without).
        """
        matrix = self.by_user
        values = None
        if self.nnz:
            low, high = float(matrix.values.min()), float(matrix.values.max())
            values = (low, float(matrix.values.mean(dtype=np.float64)), high)
        first = last = None
        timestamps = self.event_timestamps
        if timestamps is not None and timestamps.size:
            first, last = timestamps.min(), timestamps.max()
            if self.timestamp_unit == "ns":
                first, last = first.astype("datetime64[ns]"), last.astype("datetime64[ns]")
        return {
            "n_users": self.n_users,
            "n_items": self.n_items,
            "nnz": self.nnz,
            "n_events": self.n_events,
            "density": self.density,
            "per_user": _spread(matrix.row_counts()),
            "per_item": _spread(matrix.column_counts()),
            "values": values,
            "first": first,
            "last": last,
        }

    def __repr__(self) -> str:
        return f"Interactions({', '.join(self._phrases())})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(_shown(value))}</td></tr>"
            for name, value in self.summary().items()
            if value is not None
        )
        return f"<table><caption>Interactions</caption>{rows}</table>"

    def _phrases(self) -> list[str]:
        phrases = [f"{self.n_users} users x {self.n_items} items", f"{self.nnz} stored"]
        if self.log is not None:
            phrases.append(f"{self.n_events} events")
        phrases.append(f"density {100 * self.density:.3g}%")
        if isinstance(self.user_map, RowNumbers) and isinstance(self.item_map, RowNumbers):
            phrases.append("row numbers")
        else:
            phrases += [f"{self.user_map.kind} users", f"{self.item_map.kind} items"]
        if self.timestamps is not None:
            phrases.append("timestamps")
        return phrases

    # ------------------------------------------------------------------ ids and rows

    def user_index(self, ids: Any, subject: str = "Interactions.user_index") -> npt.NDArray[np.int64]:
        """Return the rows of users.

        Parameters
        ----------
        ids : id, array-like of ids, or data frame
            One id gives one row. Where row numbers are spoken, row numbers. Of a data frame its only column counts, or
            that with a usual name: user, user_id, userid and the like.
        subject : str, default="Interactions.user_index"
            What an error names first.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        KeyError
            An id is unknown.
        IndexError
            A row number is outside [0, n_users); negative numbers do not wrap.
        TypeError
            The ids are of another type than the data's; bool and float are never integers.
        """
        return self.user_map.rows(id_column(ids, "user", subject), subject, "user")

    def item_index(self, ids: Any, subject: str = "Interactions.item_index") -> npt.NDArray[np.int64]:
        """Return the rows of items; as `user_index`."""
        return self.item_map.rows(id_column(ids, "item", subject), subject, "item")

    def user_labels(self, rows: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the ids of user rows, an array of any shape.

        Row -1, an empty slot, stays -1 among integers and becomes None among strings and UUIDs. Where row numbers
        are spoken, `rows` comes back.
        """
        return self.user_map.labels_of(np.asarray(rows))

    def item_labels(self, rows: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the ids of item rows, an array of any shape; as `user_labels`."""
        return self.item_map.labels_of(np.asarray(rows))

    def with_info(
        self,
        *,
        user_info: Mapping[str, npt.ArrayLike] | None = None,
        item_info: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Interactions:
        """Return the same interactions with more known of users and items.

        Parameters
        ----------
        user_info, item_info : mapping of str to array-like of shape (n_users,), (n_items,), default=None
            Columns by row; a name that is there already is replaced.

        Raises
        ------
        ValueError
            A column has another length.
        """
        return replace(
            self,
            user_info=_with_columns(self.user_info, user_info, "user", self.n_users),
            item_info=_with_columns(self.item_info, item_info, "item", self.n_items),
        )

    # ------------------------------------------------------------------ narrowing

    def keep_entries(self, keep: npt.ArrayLike) -> Interactions:
        """Return some of the stored pairs, in the same shape and ids.

        Parameters
        ----------
        keep : array-like of shape (nnz,), bool
            Which pairs stay, in the order of ``by_user.values``.

        Returns
        -------
        Interactions
        """
        mask = _as_mask(keep, self.nnz, "Interactions.keep_entries")
        return self._like(
            self.by_user.keep(mask),
            None if self.timestamps is None else self.timestamps[mask],
            None if self.log is None else self.log.take(mask),
        )

    def keep_events(self, keep: npt.ArrayLike) -> Interactions:
        """Return some of the single events, merged anew, in the same shape and ids.

        Parameters
        ----------
        keep : array-like of shape (n_events,), bool
            Which events stay, in the order of `events`.

        Returns
        -------
        Interactions
            A pair stays stored if one of its events stays; its value and time come from those that stay.
        """
        if self.log is None:
            return self.keep_entries(_as_mask(keep, self.nnz, "Interactions.keep_events"))
        mask = _as_mask(keep, self.n_events, "Interactions.keep_events")
        kept_before = offsets_of(mask)
        counts = np.diff(kept_before[self.log.indptr])
        stays = counts > 0
        log = EventLog(offsets_of(counts[stays]), self.log.timestamps[mask], self.log.values[mask])
        values, timestamps = merge_sorted(log.indptr, log.values, log.timestamps, self.duplicates)
        matrix = self.by_user
        indptr = offsets_of(stays)[matrix.indptr]
        return self._like(CSR(indptr, matrix.indices[stays], values, self.shape), timestamps, log)

    def filter(self, *, min_user_count: int = 0, min_item_count: int = 0) -> Interactions:
        """Return the data without users and items that have too few stored pairs.

        Both counts are taken once, before anything is removed; `k_core` repeats until every count holds.

        Parameters
        ----------
        min_user_count, min_item_count : int, default=0
            Fewest stored pairs of a user, of an item.

        Returns
        -------
        Interactions
            With the users and items that are left, and their ids. Where row numbers were spoken, the rows that are
            left keep their old numbers, now as ids.
        """
        subject = "Interactions.filter"
        min_user_count = check_int(subject, "min_user_count", min_user_count, minimum=0)
        min_item_count = check_int(subject, "min_item_count", min_item_count, minimum=0)
        users = self.by_user.row_counts() >= min_user_count
        items = self.by_user.column_counts() >= min_item_count
        return self._compact(users, items)

    def k_core(self, k: int) -> Interactions:
        """Return the largest part in which every user and every item has at least `k` stored pairs.

        Parameters
        ----------
        k : int
            At least 1.

        Returns
        -------
        Interactions
            As `filter` leaves it; without users and items if there is no such part.
        """
        return self._compact(*self.core_members(check_int("Interactions.k_core", "k", k, minimum=1)))

    def core_members(self, k: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which users and which items are in the `k_core`, as masks of shape (n_users,) and (n_items,)."""
        k = check_int("Interactions.core_members", "k", k, minimum=1)
        rows, columns = self._coordinates()
        while True:
            users = np.bincount(rows, minlength=self.n_users) >= k
            items = np.bincount(columns, minlength=self.n_items) >= k
            stays = users[rows] & items[columns]
            if stays.all():
                return users, items
            rows, columns = rows[stays], columns[stays]

    def subset_users(self, users: Any) -> Interactions:
        """Return the rows of some users, in the order given; all items stay.

        Parameters
        ----------
        users : id or array-like of ids
            As in `user_index`; none twice.

        Returns
        -------
        Interactions
            Where row numbers were spoken, the users keep their old numbers, now as ids.

        Raises
        ------
        KeyError, IndexError
            A user is unknown.
        ValueError
            A user stands twice.
        """
        rows = self.user_index(users, "Interactions.subset_users")
        return self._take_users(rows, "Interactions.subset_users")

    def __getitem__(self, rows: Any) -> Interactions:
        """Return the users of some rows: a slice, a mask, or an array of row numbers; or some events of all users.

        This is what scikit-learn's cross-validation calls: with row numbers for its own splitters, with an
        `event_index` for those of `likewise.model_selection`. One number is a ``TypeError``, since a user is a row of
        `by_user` and not an `Interactions`.
        """
        subject = "Interactions[rows]"
        if isinstance(rows, tuple) and len(rows) == 2 and rows[1] is Ellipsis:
            rows = rows[0]  # scikit-learn asks for X[rows, ...]
        if isinstance(rows, slice):
            rows = np.arange(self.n_users)[rows]
        rows = np.asarray(rows)
        if rows.ndim != 1:
            raise TypeError(f"{subject}: expected a slice, a mask or an array of row numbers, got {rows!r}")
        if rows.dtype == bool:
            rows = np.flatnonzero(_as_mask(rows, self.n_users, subject))
        if rows.dtype.kind == "i" and rows.size and rows.min() >= _EVENTS:
            chosen = np.zeros(self.n_events, dtype=bool)
            chosen[check_rows(subject, "event", rows - _EVENTS, self.n_events)] = True
            part = self.keep_events(chosen)
            object.__setattr__(part, "is_part", True)
            return part
        return self._take_users(check_rows(subject, "row", rows, self.n_users), subject)

    def binarize(self, threshold: float | None = None) -> Interactions:
        """Return the data with every value 1.

        Parameters
        ----------
        threshold : float, default=None
            Pairs with a value below it are left out; None keeps all.

        Returns
        -------
        Interactions
            In the same shape and ids. Each pair is one event, at the pair's time; a stored zero becomes 1 like any
            other value, unless `threshold` leaves it out.
        """
        kept = self
        if threshold is not None:
            threshold = check_float("Interactions.binarize", "threshold", threshold)
            kept = self.keep_entries(self.by_user.values >= threshold)
        matrix = kept.by_user
        ones = np.ones(matrix.nnz, dtype=np.float32)
        return self._like(CSR(matrix.indptr, matrix.indices, ones, self.shape), kept.timestamps, None)

    # ------------------------------------------------------------------ joining

    def aligned_to(self, other: Interactions, subject: str, *, unknown: str = "error") -> Aligned:
        """Tell these interactions in the users and items of another set, as a test set in those of its train set.

        Parameters
        ----------
        other : Interactions
            Whose shape and ids the result has.
        subject : str
            What an error names first.
        unknown : {"error", "drop"}, default="error"
            What becomes of users and items that `other` does not have and that have interactions here.

        Returns
        -------
        Aligned
            The interactions, and how many users, items and stored pairs were left out.

        Raises
        ------
        KeyError
            A user or item is unknown, under ``"error"``.
        ValueError
            One side speaks row numbers and the shapes differ (the message says so where they look transposed), or
            only `other` speaks row numbers.
        TypeError
            The ids are of another type.
        """
        check_choice(subject, "unknown", unknown, ("error", "drop"))
        user_rows = self._rows_in(other, "user", subject)
        item_rows = self._rows_in(other, "item", subject)
        n_users = _count_unknown(user_rows, self.by_user.row_counts(), self.user_map, subject, "user", unknown)
        n_items = _count_unknown(item_rows, self.by_user.column_counts(), self.item_map, subject, "item", unknown)
        in_place = _is_identity(user_rows, other.n_users) and _is_identity(item_rows, other.n_items)
        moved = self if in_place else self._moved(user_rows, item_rows, other.shape)
        aligned = replace(
            moved,
            user_map=other.user_map,
            item_map=other.item_map,
            user_info=other.user_info,
            item_info=other.item_info,
        )
        return Aligned(aligned, n_users, n_items, self.nnz - aligned.nnz)

    def with_items_of(self, other: Interactions, subject: str) -> Interactions:
        """Return the same users with the items of `other`; pairs with items that it does not have are left out.

        For histories of users whom a model has not seen: users are this set's, columns the model's.

        Raises
        ------
        ValueError
            This set speaks row numbers and has another number of items, or only `other` speaks row numbers.
        TypeError
            The item ids are of another type.
        """
        if isinstance(self.item_map, RowNumbers):
            if self.n_items != other.n_items:
                # The words of scikit-learn, which its estimator checks look for.
                hint = "; it looks transposed" if self.shape == other.shape[::-1] else ""
                raise ValueError(
                    f"X has {self.n_items} features, but {subject} is expecting {other.n_items} features as input{hint}"
                )
            moved = self
        else:
            item_rows = self._rows_in(other, "item", subject)
            moved = self
            if not _is_identity(item_rows, other.n_items):
                moved = self._moved(np.arange(self.n_users), item_rows, (self.n_users, other.n_items))
        return replace(moved, item_map=other.item_map, item_info=other.item_info)

    def union(self, new: Interactions, *, subject: str = "Interactions.union") -> Interactions:
        """Return these interactions and new ones; rows keep their place, new users and items are appended.

        A pair that stands in both is merged as the events of one pair are, by this set's `duplicates`.

        Parameters
        ----------
        new : Interactions
            Of the same kind: ids of the same types (or row numbers on both sides), timestamps on both sides or on
            neither.
        subject : str, default="Interactions.union"
            What an error names first.

        Returns
        -------
        Interactions
            Row ``i`` is the same user (item) as here. What is known of users and items stays where both sides know
            it, or where nothing was appended.

        Raises
        ------
        TypeError
            `new` is not an `Interactions`, or its ids are of another kind.
        ValueError
            Only one side has timestamps, theirs differ in unit, or a pair stands in both under ``"error"``.
        """
        if not isinstance(new, Interactions):
            raise TypeError(f"{subject}: expected an Interactions, got {type(new).__name__}")
        user_map, user_rows = self.user_map.extend(new.user_map, subject, "user")
        item_map, item_rows = self.item_map.extend(new.item_map, subject, "item")
        mine, theirs = self.events(), new._events_merged_by(self.duplicates)
        if (mine.timestamps is None) != (theirs.timestamps is None) or self.timestamp_unit != new.timestamp_unit:
            kinds = [_time_kind(data) for data in (self, new)]
            raise ValueError(f"{subject}: these interactions have {kinds[0]}, the new ones {kinds[1]}; make them alike")
        timestamps = None
        if mine.timestamps is not None:
            timestamps = np.concatenate([mine.timestamps, theirs.timestamps])
        merged = merge_events(
            np.concatenate([mine.users, user_rows[theirs.users].astype(np.int32)]),
            np.concatenate([mine.items, item_rows[theirs.items].astype(np.int32)]),
            np.concatenate([mine.values, theirs.values]),
            timestamps,
            (len(user_map), len(item_map)),
            self.duplicates,
            subject,
        )
        return replace(
            self,
            by_user=merged.by_user,
            user_map=user_map,
            item_map=item_map,
            timestamps=merged.timestamps,
            log=merged.log,
            user_info=_extended(self.user_info, new.user_info, user_rows, self.n_users, len(user_map)),
            item_info=_extended(self.item_info, new.item_info, item_rows, self.n_items, len(item_map)),
        )

    # ------------------------------------------------------------------ within

    def _like(self, by_user: CSR, timestamps: npt.NDArray[Any] | None, log: EventLog | None) -> Interactions:
        """Return other entries with these ids; a log without repeats is not kept."""
        if log is not None and log.timestamps.size == by_user.nnz:
            log = None
        return replace(self, by_user=by_user, timestamps=timestamps, log=log)

    def _coordinates(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        return self.by_user.row_numbers(), self.by_user.indices

    def _events_merged_by(self, duplicates: Duplicates) -> Events:
        """Return the single events if merging them by `duplicates` gives what is stored, else the stored pairs."""
        if self.log is None or duplicates == self.duplicates:
            return self.events()
        return Events(*self._coordinates(), self.by_user.values, self.timestamps)

    def _take_users(self, rows: npt.NDArray[np.int64], subject: str) -> Interactions:
        user_rows = np.full(self.n_users, -1, dtype=np.int64)
        user_rows[rows] = np.arange(rows.size)
        if np.count_nonzero(user_rows >= 0) != rows.size:
            repeated = rows[np.argmax(user_rows[rows] != np.arange(rows.size))]
            raise ValueError(f"{subject}: user {self.user_map.label(repeated)!r} stands twice; name each user once")
        taken = self._moved(user_rows, np.arange(self.n_items), (rows.size, self.n_items))
        return replace(taken, user_map=self.user_map.take(rows), user_info=_taken(self.user_info, rows))

    def _compact(self, users: npt.NDArray[np.bool_], items: npt.NDArray[np.bool_]) -> Interactions:
        """Return the users and items of two masks; what goes takes its pairs along."""
        if users.all() and items.all():
            return self
        shape = int(users.sum()), int(items.sum())
        user_rows, item_rows = (np.where(mask, np.cumsum(mask) - 1, -1) for mask in (users, items))
        # A side that loses nothing keeps its ids as they are, and row numbers stay row numbers.
        return replace(
            self._moved(user_rows, item_rows, shape),
            user_map=self.user_map if users.all() else self.user_map.take(users),
            item_map=self.item_map if items.all() else self.item_map.take(items),
            user_info=_taken(self.user_info, users),
            item_info=_taken(self.item_info, items),
        )

    def _moved(
        self, user_rows: npt.NDArray[np.int64], item_rows: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> Interactions:
        """Return the pairs at other rows, those at row -1 left out; ids are for the caller to set."""
        rows, columns = self._coordinates()
        new_rows, new_columns = user_rows.astype(np.int32)[rows], item_rows.astype(np.int32)[columns]
        stays = np.flatnonzero((new_rows >= 0) & (new_columns >= 0))
        new_rows, new_columns = new_rows[stays], new_columns[stays]
        order = coordinate_order(new_rows, new_columns, shape)
        entries = stays[order]
        indptr = offsets_of(np.bincount(new_rows, minlength=shape[0]))
        return self._like(
            CSR(indptr, new_columns[order], self.by_user.values[entries], shape),
            None if self.timestamps is None else self.timestamps[entries],
            None if self.log is None else self.log.take(entries),
        )

    def _rows_in(self, other: Interactions, name: str, subject: str) -> npt.NDArray[np.int64]:
        """Return the row in `other` of each row of this side, -1 for an unknown one."""
        mine, theirs = (self.user_map, other.user_map) if name == "user" else (self.item_map, other.item_map)
        if mine is theirs:
            return np.arange(len(mine))
        if isinstance(mine, RowNumbers):
            # Row numbers mean the rows of the other set, so there must be as many on both sides.
            if len(mine) != len(theirs):
                hint = "; it looks transposed" if self.shape == other.shape[::-1] else ""
                raise ValueError(
                    f"{subject}: the interactions have shape {self.shape} but the model or train set has "
                    f"{other.shape}{hint}"
                )
            return np.arange(len(mine))
        if isinstance(theirs, RowNumbers):
            raise ValueError(
                f"{subject}: the interactions speak {mine.kind} {name} ids but the model or train set speaks row "
                "numbers; build both in the same way"
            )
        return theirs.find(mine.labels, subject, name)


def event_index(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return numbers by which ``data[numbers]`` gives these events in the shape of the whole, as splitters yield them.

    Parameters
    ----------
    places : ndarray of int64
        In the order of `Interactions.events`.
    """
    return places + _EVENTS


def check_matrix_like(X: Any, subject: str) -> None:
    """Refuse what by its kind is no matrix of users x items, with the way out; `as_interactions` asks first of all.

    Raises
    ------
    TypeError
        `X` is a data frame with one row per event, a file name, a mapping, an array of strings, or no array at all.
    """
    if isinstance(X, (Interactions, CSR)) or sp.issparse(X):
        return
    expected = f"{subject}: expected Interactions or a matrix of users x items, got"
    kind = type(X).__name__
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(f"{expected} a file name ({kind}); read it by likewise.data.read_csv or read_parquet")
    if isinstance(X, Mapping):
        raise TypeError(f"{expected} a mapping ({kind}); build Interactions.from_arrays(users, items) of its columns")
    check_matrix_frame(X, subject)
    if not isinstance(X, Sequence) and not hasattr(X, "__array__"):
        raise TypeError(f"{expected} {kind}")
    dtype = np.asarray(X).dtype if isinstance(X, (list, tuple)) else getattr(X, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "SUTV":
        what = "records" if dtype.kind == "V" else "strings"
        raise TypeError(f"{expected} an array of {what}; build Interactions.from_arrays(users, items) of its columns")


def as_interactions(X: Any, subject: str, *, allow_negative: bool = False) -> Interactions:
    """Return what an estimator was given as `Interactions`, or say what is wrong with it.

    Parameters
    ----------
    X : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        Of a dense array, or a data frame with a column for each item, the entries that are not zero (nor masked) are
        stored.
    subject : str
        What an error names first, as the class name of the estimator.
    allow_negative : bool, default=False
        Whether values below zero pass.

    Returns
    -------
    Interactions
        `X` itself if it is one; else one that speaks row numbers.

    Raises
    ------
    TypeError
        `X` is not of numbers, or what `check_matrix_like` refuses.
    ValueError
        `X` is complex, not two-dimensional, or without rows or columns, or a value is NaN, infinite or (unless
        `allow_negative`) negative; the message says where the first one is.
    """
    check_matrix_like(X, subject)
    if isinstance(X, Interactions):
        data = X
    elif sp.issparse(X) or isinstance(X, CSR):
        data = Interactions.from_csr(X, subject=subject)
    else:
        # Sparse is what scikit-learn makes of a frame of sparse columns.
        # Here, since scikit-learn takes several times as long to import as all of this layer and those below.
        from sklearn.utils import check_array

        if isinstance(X, np.ma.MaskedArray):
            X = X.filled(0)  # what is masked is not known
        array = check_array(X, accept_sparse=True, ensure_all_finite=False, estimator=subject, input_name="X")
        if not sp.issparse(array):
            array = _check_numeric(array, subject)
            array = sp.coo_array(array.astype(np.float32) if array.dtype == np.float16 else array)
        data = Interactions.from_csr(array, subject=subject)
    for n, what in zip(data.shape, ("sample", "feature"), strict=True):
        if n == 0:
            # The words of scikit-learn, which its estimator checks look for.
            raise ValueError(
                f"{subject}: Found array with 0 {what}(s) (shape={data.shape}) while a minimum of 1 is required."
            )
    if not allow_negative:
        _check_not_negative(data, subject)
    return data


def _check_numeric(dense: npt.NDArray[Any], subject: str) -> npt.NDArray[Any]:
    if dense.dtype.kind not in "buif":
        raise TypeError(f"{subject}: values must be real numbers, got dtype {dense.dtype}")
    return dense


def _check_not_negative(data: Interactions, subject: str) -> None:
    values = data.by_user.values
    if values.size and values.min() < 0:
        place = int(np.argmax(values < 0))
        row = int(np.searchsorted(data.by_user.indptr, place, side="right")) - 1
        raise ValueError(
            f"{subject}: Negative values in data are not allowed, got {values[place]} at "
            f"({row}, {data.by_user.indices[place]})"
        )


def _rows_of(ids: Any, all_ids: Any, subject: str, name: str) -> tuple[IdMap, npt.NDArray[np.int32]]:
    if all_ids is None:
        return IdMap.factorize(ids, subject, name)
    id_map = IdMap(all_ids, subject=subject, name=name)
    return id_map, id_map.rows(ids, subject, name).astype(np.int32)


def _as_values(values: Any, subject: str) -> npt.NDArray[np.float32]:
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"{subject}: values must be one-dimensional, got shape {given.shape}")
    if given.dtype.kind not in "buif" and given.size:
        raise TypeError(f"{subject}: values must be real numbers, got dtype {given.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and reported below
        converted = given.astype(np.float32)
    finite = np.isfinite(converted)
    if not finite.all():
        row = int(np.argmin(finite))
        value = "NaN" if np.isnan(converted[row]) else str(given[row])
        raise ValueError(f"{subject}: values must be finite and within float32, got {value} at row {row}")
    return converted


def _as_mask(keep: npt.ArrayLike, n: int, subject: str) -> npt.NDArray[np.bool_]:
    mask = np.asarray(keep)
    if mask.dtype != bool:
        raise TypeError(f"{subject}: expected a mask of bool, got {mask.dtype}")
    if mask.shape != (n,):
        raise ValueError(f"{subject}: the mask must have shape ({n},), got {mask.shape}")
    return mask


def _with_columns(
    known: Mapping[str, npt.NDArray[Any]], more: Mapping[str, npt.ArrayLike] | None, name: str, n: int
) -> Mapping[str, npt.NDArray[Any]]:
    columns = dict(known)
    for column, given in (more or {}).items():
        array = np.asarray(given)
        if array.shape[:1] != (n,):
            raise ValueError(
                f"Interactions.with_info: {name}_info[{column!r}] must have one entry for each of {n} {name}s, "
                f"got shape {array.shape}"
            )
        columns[column] = read_only(array)
    return columns


def _taken(info: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
    return {name: column[rows] for name, column in info.items()}


def _extended(
    mine: Mapping[str, npt.NDArray[Any]],
    theirs: Mapping[str, npt.NDArray[Any]],
    rows: npt.NDArray[np.int64],
    n_mine: int,
    n: int,
) -> Mapping[str, npt.NDArray[Any]]:
    """Return the columns for `n` rows: `mine`, then of `theirs` the rows that were appended."""
    if n == n_mine:
        return mine
    appended = np.flatnonzero(rows >= n_mine)
    appended = appended[np.argsort(rows[appended])]
    return {name: np.concatenate([column, theirs[name][appended]]) for name, column in mine.items() if name in theirs}


def _is_identity(rows: npt.NDArray[np.int64], n: int) -> bool:
    return rows.size == n and bool(np.array_equal(rows, np.arange(n)))


def _count_unknown(
    rows: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], ids: IdMap, subject: str, name: str, unknown: str
) -> int:
    """Return how many that have interactions are unknown; under ``"error"`` any is one."""
    missing = np.flatnonzero((rows < 0) & (counts > 0))
    if missing.size and unknown == "error":
        first = ids.label(missing[0])
        raise KeyError(f"{subject}: {name} {first!r} is unknown, one of {missing.size}; pass unknown='drop' to go on")
    return int(missing.size)


def _spread(counts: npt.NDArray[np.int64]) -> tuple[int, float, int] | None:
    return (int(counts.min()), float(np.median(counts)), int(counts.max())) if counts.size else None


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " / ".join(f"{number:g}" for number in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _time_kind(data: Interactions) -> str:
    if data.timestamps is None:
        return "no timestamps"
    return "dates" if data.timestamp_unit == "ns" else "plain numbers as timestamps"
