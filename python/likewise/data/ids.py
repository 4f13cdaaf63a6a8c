"""The ids that users speak and the row numbers that matrices speak, and the way between them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._validation import check_int, check_rows, is_null

from .csr import read_only

__all__ = ["CodedIds", "IdKind", "IdMap", "RowNumbers", "as_id_array"]

IdKind = Literal["int64", "string", "uuid", "row"]

# A table over the whole range of integer ids is worth its memory up to this many slots per id.
_TABLE_SLOTS_PER_ID = 8
_TABLE_SLOTS_ALWAYS = 1 << 16

_INT64 = np.iinfo(np.int64)


class CodedIds(NamedTuple):
    """Ids told once each, as a data frame library finds them faster than a dictionary does."""

    labels: npt.NDArray[Any]
    """The distinct ids, in rising order."""
    codes: npt.NDArray[np.int32]
    """Place in `labels` of each id."""


class IdMap:
    """The ids of one side, users or items: row ``i`` is called ``labels[i]``.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Distinct ids, all integers within int64, all strings, or all ``uuid.UUID``.
    subject : str, default="IdMap"
        What an error names first.
    name : str, default="id"
        What the ids are of (``"user"``, ``"item"``), for errors.

    Attributes
    ----------
    kind : {"int64", "string", "uuid", "row"}
        What the ids are; ``"row"`` for `RowNumbers` only.
    labels : ndarray of shape (n,)
        The ids by row: int64, or object for ``str`` and ``uuid.UUID``. Read-only.

    Raises
    ------
    TypeError
        The ids are not all of one supported type.
    ValueError
        An id is null or stands twice.

    Examples
    --------
    >>> from likewise.data.ids import IdMap
    >>> ids = IdMap(["tea", "mug", "tin"])
    >>> ids.rows(["tin", "tea"], "example", "item")
    array([2, 0])
    """

    __slots__ = ("_labels", "_lookup", "kind")

    kind: IdKind

    def __init__(self, labels: Any, *, subject: str = "IdMap", name: str = "id") -> None:
        kind, array = as_id_array(labels, subject, name)
        if len(set(_keys(kind, array))) != array.size:
            raise ValueError(f"{subject}: {name} ids must be distinct, got {_first_repeat(array)!r} twice")
        self._hold(kind, array.copy())

    @classmethod
    def factorize(cls, ids: Any, subject: str, name: str) -> tuple[IdMap, npt.NDArray[np.int32]]:
        """Return the map over the sorted distinct ids, and the row of each id given.

        Parameters
        ----------
        ids : array-like of shape (n,), or CodedIds
            Integers, strings or UUIDs, all of one type.
        subject, name : str
            For errors, as in the constructor.

        Returns
        -------
        ids : IdMap
            The distinct ids in rising order.
        rows : ndarray of shape (n,), int32
            ``ids.labels[rows]`` gives back the argument.
        """
        if isinstance(ids, CodedIds):
            return cls._trusted(*as_id_array(ids.labels, subject, name)), ids.codes
        kind, array = as_id_array(ids, subject, name)
        if kind == "int64":
            labels, rows = _factorize_integers(array)
        else:
            keys = _keys(kind, array)
            ordered = sorted(set(keys))
            labels = _object_array([uuid.UUID(int=key) for key in ordered] if kind == "uuid" else ordered)
            index = dict(zip(ordered, range(len(ordered)), strict=True))
            rows = np.fromiter(map(index.__getitem__, keys), dtype=np.int32, count=len(keys))
        return cls._trusted(kind, labels), rows

    @classmethod
    def _trusted(cls, kind: IdKind, labels: npt.NDArray[Any]) -> IdMap:
        """Hold labels that are known to be distinct and of their kind."""
        self = cls.__new__(cls)
        self._hold(kind, labels)
        return self

    def _hold(self, kind: IdKind, labels: npt.NDArray[Any]) -> None:
        self.kind = kind
        self._labels = read_only(labels)
        self._lookup: _IntegerLookup | _ObjectLookup | None = None

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The ids by row."""
        return self._labels

    def __len__(self) -> int:
        return self._labels.size

    def __repr__(self) -> str:
        return f"IdMap({len(self)} {self.kind} ids)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return NotImplemented
        if self is other or self.labels is other.labels:
            return True
        return self.kind == other.kind and np.array_equal(self.labels, other.labels)

    __hash__ = None  # type: ignore[assignment]  # equal by content, so not a dictionary key

    def __reduce__(self) -> tuple[Any, ...]:
        # The lookup is rebuilt when needed; labels come back read-only.
        return IdMap._trusted, (self.kind, self.labels)

    def find(self, ids: Any, subject: str, name: str) -> npt.NDArray[np.int64]:
        """Return the row of each id, -1 for one that is not in the map.

        Parameters
        ----------
        ids : id or array-like of ids
            One id gives an array of one row.
        subject, name : str
            For errors: who asks, and what the ids are of (``"user"``).

        Raises
        ------
        TypeError
            The ids are of another type than the map's (a bool or float is never an integer id).
        """
        kind, array = as_id_array(_many(ids), subject, name)
        return self._find(kind, array, subject, name)

    def _find(self, kind: IdKind, array: npt.NDArray[Any], subject: str, name: str) -> npt.NDArray[np.int64]:
        if array.size == 0 or len(self) == 0:
            return np.full(array.size, -1, dtype=np.int64)
        if kind != self.kind:
            raise TypeError(f"{subject}: {name} ids are {self.kind} here, got {kind} ids such as {_plain(array[0])!r}")
        return self._look_up().many(array)

    def _look_up(self) -> _IntegerLookup | _ObjectLookup:
        if self._lookup is None:
            self._lookup = (
                _IntegerLookup(self.labels) if self.kind == "int64" else _ObjectLookup(self.kind, self.labels)
            )
        return self._lookup

    def rows(self, ids: Any, subject: str, name: str) -> npt.NDArray[np.int64]:
        """Return the row of each id; as `find`, but an unknown id is a ``KeyError`` that names the first one."""
        if _is_one_of_kind(ids, self.kind) and len(self):
            # One user at a time, as a service asks: no array is made of the id.
            row = self._look_up().one(ids)
            if row >= 0:
                return np.array([row], dtype=np.int64)
        kind, array = as_id_array(_many(ids), subject, name)
        rows = self._find(kind, array, subject, name)
        if rows.size and rows.min() < 0:
            unknown = array[rows < 0]
            more = f" (and {unknown.size - 1} more)" if unknown.size > 1 else ""
            raise KeyError(
                f"{subject}: {name} {_plain(unknown[0])!r} is unknown{more}; there are {len(self)} {name} ids"
            )
        return rows

    def labels_of(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """Return the ids of `rows`, an array of any shape; row -1, an empty slot, stays -1 or becomes None."""
        flat = rows.reshape(-1)  # an array with one axis at least: indexing by a single number would give no array
        empty = flat < 0
        labels = np.empty(flat.size, dtype=self.labels.dtype)
        labels[empty] = None if labels.dtype == object else -1
        labels[~empty] = self.labels[flat[~empty]]
        return labels.reshape(rows.shape)

    def label(self, row: int) -> Any:
        """Return the id of one row as a plain Python object."""
        return _plain(self.labels[row])

    def take(self, rows: npt.NDArray[Any]) -> IdMap:
        """Return the map over the ids of distinct `rows` (or of a mask), in that order."""
        return IdMap._trusted(self.kind, self.labels[rows])

    def extend(self, other: IdMap, subject: str, name: str) -> tuple[IdMap, npt.NDArray[np.int64]]:
        """Return this map with the new ids of `other` appended, and the row there of each id of `other`."""
        if other.kind == "row" and len(self) and len(other):
            raise TypeError(f"{subject}: {name} ids are {self.kind} here, got row numbers; build both in the same way")
        rows = self.find(other.labels, subject, name)
        new = rows < 0
        if not new.any():
            return self, rows
        rows[new] = np.arange(len(self), len(self) + int(new.sum()))
        if not len(self):
            return other, rows
        return IdMap._trusted(self.kind, np.concatenate([self.labels, other.labels[new]])), rows

    def to_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the ids as named plain arrays, for files without pickle.

        Returns
        -------
        dict of str to ndarray
            ``{"int64": ids}``; ``{"utf8": bytes, "offsets": int64 (n + 1,)}``; or ``{"uuid": uint8 (n, 16)}``.
        """
        if self.kind == "int64":
            return {"int64": self.labels}
        if self.kind == "uuid":
            joined = b"".join(label.bytes for label in self.labels)
            return {"uuid": np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16)}
        encoded = [label.encode("utf-8", "surrogatepass") for label in self.labels]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(label) for label in encoded], out=offsets[1:])
        return {"utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8), "offsets": offsets}

    @classmethod
    def from_state(
        cls, kind: str, state: Mapping[str, npt.NDArray[Any]], *, subject: str = "IdMap.from_state"
    ) -> IdMap:
        """Rebuild a map from its `kind` and what `to_state` gave, which is checked, since files come from elsewhere.

        Raises
        ------
        ValueError
            The kind is unknown, an array is missing or damaged, or an id stands twice.
        """
        names = {"int64": ("int64",), "string": ("utf8", "offsets"), "uuid": ("uuid",), "row": ("n",)}
        if kind not in names:
            raise ValueError(f"{subject}: kind must be one of 'int64', 'string', 'uuid', 'row', got {kind!r}")
        missing = [name for name in names[kind] if name not in state]
        if missing:
            raise ValueError(f"{subject}: {kind} ids need the arrays {missing}")
        arrays = [np.asarray(state[name]) for name in names[kind]]
        labels: Any
        if kind == "row":
            (n,) = arrays
            if n.dtype != np.int64 or n.ndim != 0 or n < 0:
                raise ValueError(f"{subject}: n must be one int64 number >= 0")
            return RowNumbers(int(n))
        if kind == "int64":
            (labels,) = arrays
            if labels.dtype != np.int64 or labels.ndim != 1:
                raise ValueError(f"{subject}: int64 must be a one-dimensional int64 array")
        elif kind == "uuid":
            (packed,) = arrays
            if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != 16:
                raise ValueError(f"{subject}: uuid must be a uint8 array of shape (n, 16), got {packed.shape}")
            labels = _object_array([uuid.UUID(bytes=row.tobytes()) for row in packed])
        else:
            labels = _object_array(_decode(*arrays, subject=subject))
        if labels.size == 0:
            return cls._trusted(kind, labels)  # type: ignore[arg-type]  # checked against `names` above
        return cls(labels, subject=subject)


class RowNumbers(IdMap):
    """The ids of a side that has none: row ``i`` is called ``i``.

    Numbers outside [0, n) are an ``IndexError``, not a ``KeyError``, and negative ones do not wrap.

    Parameters
    ----------
    n : int
        Number of rows, at least 0.
    """

    __slots__ = ("_n",)

    def __init__(self, n: int) -> None:
        self.kind = "row"
        self._n = check_int("RowNumbers", "n", n, minimum=0)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The numbers 0 to n - 1, made when asked for: a single user's history speaks of as many items as there are."""
        return read_only(np.arange(self._n, dtype=np.int64))

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"RowNumbers({len(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RowNumbers, (len(self),)

    def find(self, ids: Any, subject: str, name: str) -> npt.NDArray[np.int64]:
        """Return the row numbers given, -1 for those outside [0, n)."""
        rows = check_rows(subject, name, ids, None)
        return np.where((rows >= 0) & (rows < len(self)), rows, -1)

    def rows(self, ids: Any, subject: str, name: str) -> npt.NDArray[np.int64]:
        """Return the row numbers given, one or many; one outside [0, n) is an ``IndexError``."""
        if _is_one_of_kind(ids, "int64") and 0 <= ids < len(self):
            return np.array([ids], dtype=np.int64)
        return check_rows(subject, name, ids, len(self))

    def labels_of(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """Return `rows`."""
        return rows.astype(np.int64)

    def label(self, row: int) -> int:
        """Return `row`."""
        return int(row)

    def take(self, rows: npt.NDArray[Any]) -> IdMap:
        """Return the map over the rows taken, which keep their old numbers as ids."""
        return IdMap._trusted("int64", self.labels[rows])

    def extend(self, other: IdMap, subject: str, name: str) -> tuple[IdMap, npt.NDArray[np.int64]]:
        """Return the longer of the two, and the row numbers of `other`."""
        if other.kind != "row":
            raise TypeError(f"{subject}: {name} ids are row numbers here, got {other.kind} ids")
        return (other if len(other) > len(self) else self), other.labels

    def to_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return ``{"n": number of rows}``."""
        return {"n": np.array(len(self), dtype=np.int64)}


class _IntegerLookup:
    """Rows of int64 ids: a table over their range where that is dense enough, else a binary search."""

    def __init__(self, labels: npt.NDArray[np.int64]) -> None:
        self._low, self._high = (int(labels.min()), int(labels.max())) if labels.size else (0, -1)
        n_slots = self._high - self._low + 1  # Python ints: a range of int64 ids may pass 2**63
        self._table: npt.NDArray[np.int32] | None = None
        if n_slots <= max(_TABLE_SLOTS_ALWAYS, _TABLE_SLOTS_PER_ID * labels.size):
            self._table = np.full(max(n_slots, 1), -1, dtype=np.int32)
            self._table[labels - self._low] = np.arange(labels.size, dtype=np.int32)
        else:
            self._order = np.argsort(labels)
            self._sorted = labels[self._order]

    def one(self, label: int) -> int:
        if not self._low <= label <= self._high:
            return -1
        if self._table is not None:
            return int(self._table[label - self._low])
        place = int(np.searchsorted(self._sorted, label))
        return int(self._order[place]) if self._sorted[place] == label else -1

    def many(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self._table is not None:
            inside = (ids >= self._low) & (ids <= self._high)
            return np.where(inside, self._table[np.where(inside, ids - self._low, 0)], -1).astype(np.int64)
        # In order, the questions walk through the labels once instead of jumping about in them.
        order = np.argsort(ids)
        asked = ids[order]
        place = np.minimum(np.searchsorted(self._sorted, asked), self._sorted.size - 1)
        rows = np.empty(ids.size, dtype=np.int64)
        rows[order] = np.where(self._sorted[place] == asked, self._order[place], -1)
        return rows


class _ObjectLookup:
    """Rows of strings or UUIDs, by dictionary."""

    def __init__(self, kind: IdKind, labels: npt.NDArray[Any]) -> None:
        self._kind = kind
        self._index: dict[Any, int] = dict(zip(_keys(kind, labels), range(labels.size), strict=True))

    def one(self, label: Any) -> int:
        return self._index.get(label.int if self._kind == "uuid" else label, -1)

    def many(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        get = self._index.get
        return np.fromiter((get(key, -1) for key in _keys(self._kind, ids)), dtype=np.int64, count=ids.size)


def as_id_array(ids: Any, subject: str, name: str) -> tuple[IdKind, npt.NDArray[Any]]:
    """Return the kind of `ids` and the ids as a one-dimensional int64 or object array.

    Parameters
    ----------
    ids : array-like of shape (n,)
        Integers within int64, strings or ``uuid.UUID``; an array, a sequence, or an object array of these.
    subject, name : str
        For errors: ``"{subject}: {name} ids must ..."``.

    Raises
    ------
    TypeError
        The ids are of a type that is not supported, or of more than one; the message names the first such row.
    ValueError
        An id is null (None, NaN, NaT, NA), with its row; or the ids are not one-dimensional.
    """
    array = ids if isinstance(ids, np.ndarray) else _as_array(ids)
    if array.ndim != 1:
        raise ValueError(f"{subject}: {name} ids must be one-dimensional, got shape {array.shape}")
    if array.size == 0 and array.dtype.kind in "fO":
        return "int64", np.empty(0, dtype=np.int64)
    if array.dtype.kind in "iu":
        if array.dtype.kind == "u" and array.size and array.max() > _INT64.max:
            raise ValueError(f"{subject}: {name} id {array.max()} is beyond int64; make the ids strings")
        return "int64", array.astype(np.int64, copy=False)
    if array.dtype.kind == "U":
        return "string", _object_array(array.tolist())
    if array.dtype.kind == "T":  # numpy's variable-width strings, which may hold nulls
        array = array.astype(object)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"{subject}: {name} id at row {int(np.argmax(np.isnan(array)))} is null; drop such rows")
    if array.dtype.kind != "O":
        raise TypeError(
            f"{subject}: {name} ids must be integers, strings or UUIDs, got {array.dtype}; convert them first"
        )
    return _as_typed(array, subject, name)


def _as_typed(array: npt.NDArray[Any], subject: str, name: str) -> tuple[IdKind, npt.NDArray[Any]]:
    listed = array.tolist()
    types = set(map(type, listed))  # a loop in C: the usual column has one type, and is done here
    if types == {str}:
        return "string", array
    if types == {uuid.UUID}:
        return "uuid", array
    if types == {int} and _INT64.min <= min(listed) and max(listed) <= _INT64.max:
        return "int64", np.array(listed, dtype=np.int64)
    for row, label in enumerate(listed):
        if is_null(label):
            raise ValueError(f"{subject}: {name} id at row {row} is null; drop such rows")
        if _kind_of(label) is None:
            raise TypeError(
                f"{subject}: {name} ids must be integers, strings or UUIDs, "
                f"got {label!r} ({type(label).__name__}) at row {row}; convert them first"
            )
    kinds = list(map(_kind_of, listed))
    kind = kinds[0]
    for row, other in enumerate(kinds):
        if other != kind:
            raise TypeError(
                f"{subject}: {name} ids mix types: {listed[0]!r} ({type(listed[0]).__name__}) at row 0 and "
                f"{listed[row]!r} ({type(listed[row]).__name__}) at row {row}; convert them to one type"
            )
    if kind == "int64":
        for row, label in enumerate(listed):
            if not _INT64.min <= int(label) <= _INT64.max:
                raise ValueError(f"{subject}: {name} id {label} at row {row} is beyond int64; make the ids strings")
        return "int64", np.fromiter(map(int, listed), dtype=np.int64, count=len(listed))
    if kind == "string":
        return "string", _object_array(list(map(str, listed)))
    return "uuid", array


def _kind_of(label: Any) -> IdKind | None:
    if isinstance(label, str):
        return "string"
    if isinstance(label, uuid.UUID):
        return "uuid"
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        return "int64"
    return None


def _is_one_of_kind(label: Any, kind: IdKind) -> bool:
    return kind == _kind_of(label)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _keys(kind: IdKind, array: npt.NDArray[Any]) -> list[Any]:
    """Return what ids are hashed and ordered by: a UUID by its number, which is several times as fast."""
    return [label.int for label in array] if kind == "uuid" else array.tolist()


def _many(ids: Any) -> Any:
    """Return `ids`, or one id as a list of one."""
    if getattr(ids, "ndim", None) == 0:
        return [ids.item()]
    return [ids] if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable) else ids


def _as_array(ids: Any) -> npt.NDArray[Any]:
    if hasattr(ids, "__array__"):
        return np.asarray(ids)
    # numpy would turn [1, "a"] into strings and [1, 2.5] into floats: look at what is there instead.
    return _object_array(list(ids))


def _object_array(labels: Iterable[Any]) -> npt.NDArray[Any]:
    listed = list(labels)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def _factorize_integers(ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, -1)
    n_slots = high - low + 1
    if n_slots <= max(_TABLE_SLOTS_ALWAYS, _TABLE_SLOTS_PER_ID * ids.size):
        # Mark the slots in use, number them: no sort.
        place = ids - low
        used = np.zeros(n_slots, dtype=bool)
        used[place] = True
        labels = np.flatnonzero(used)
        number = np.empty(n_slots, dtype=np.int32)
        number[labels] = np.arange(labels.size, dtype=np.int32)
        return labels + low, number[place]
    labels, rows = np.unique(ids, return_inverse=True)
    return labels, rows.reshape(-1).astype(np.int32)


def _first_repeat(array: npt.NDArray[Any]) -> Any:
    seen: set[Any] = set()
    return next(label for label in array.tolist() if label in seen or seen.add(label))  # type: ignore[func-returns-value]


def _decode(utf8: npt.NDArray[Any], offsets: npt.NDArray[Any], *, subject: str) -> list[str]:
    if utf8.dtype != np.uint8 or utf8.ndim != 1 or offsets.dtype != np.int64 or offsets.ndim != 1:
        raise ValueError(f"{subject}: utf8 must be uint8 and offsets int64, both one-dimensional")
    if offsets.size == 0 or offsets[0] != 0 or offsets[-1] != utf8.size or np.any(np.diff(offsets) < 0):
        raise ValueError(f"{subject}: offsets must rise from 0 to the {utf8.size} bytes of utf8")
    packed = utf8.tobytes()
    ends = offsets.tolist()
    try:
        return [packed[a:b].decode("utf-8", "surrogatepass") for a, b in itertools.pairwise(ends)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{subject}: the ids are not valid UTF-8: {error}") from error
