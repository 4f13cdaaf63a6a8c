"""Data frames at the door: columns in through narwhals, frames out in whichever library is installed."""

from __future__ import annotations

import importlib.util
import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import narwhals as nw
import numpy as np
import numpy.typing as npt

from likewise._validation import check_choice, is_null

from ._time import TimeUnit, as_timestamps
from .ids import CodedIds

__all__ = [
    "FrameLibrary",
    "FrameTable",
    "check_matrix_frame",
    "frame_library",
    "make_frame",
    "plain_column",
    "usual_columns",
]

FrameLibrary = Literal["pandas", "polars", "pyarrow"]

_LIBRARIES: tuple[FrameLibrary, ...] = ("pandas", "polars", "pyarrow")

# What columns are usually called, without case, spaces and punctuation; the first name that is there wins.
_USUAL_NAMES = {
    "user": (
        *("user", "userid", "uid", "username", "customer", "customerid", "member", "memberid", "visitor", "visitorid"),
        *("account", "accountid", "client", "clientid", "reviewer", "reviewerid"),
    ),
    "item": (
        *("item", "itemid", "iid", "product", "productid", "movie", "movieid", "artist", "artistid", "track"),
        *("trackid", "song", "songid", "book", "bookid", "article", "articleid", "sku", "asin", "isbn"),
        *("stockcode", "parentasin"),
    ),
    "value": (
        *("value", "rating", "score", "stars", "weight", "quantity", "qty", "count", "plays", "playcount", "clicks"),
    ),
    "timestamp": (
        *("timestamp", "ts", "time", "datetime", "date", "created", "createdat", "eventtime", "invoicedate"),
        "unixtime",
    ),
}


def frame_library(
    subject: str, library: str | None = None, *, order: tuple[FrameLibrary, ...] = _LIBRARIES
) -> FrameLibrary:
    """Return the frame library to use: the one asked for, else the first of `order` that is installed.

    Raises
    ------
    ImportError
        It, or all of them, are not installed.
    """
    if library is None:
        for candidate in order:
            if importlib.util.find_spec(candidate) is not None:
                return candidate
        raise ImportError(f"{subject}: needs a data frame library; install one of {', '.join(order)}")
    check_choice(subject, "library", library, _LIBRARIES)
    if importlib.util.find_spec(library) is None:
        raise ImportError(f"{subject}: {library} is not installed; install it or one of {', '.join(order)}")
    return library  # type: ignore[return-value]  # checked just above


def usual_columns(names: Iterable[Any]) -> dict[str, Any]:
    """Return those of the roles ``user, item, value, timestamp`` whose column has a usual name, and that column."""
    plain: dict[str, Any] = {}
    for name in names:
        plain.setdefault(re.sub(r"[^a-z0-9]", "", str(name).lower()), name)
    return {
        role: next(plain[name] for name in usual if name in plain)
        for role, usual in _USUAL_NAMES.items()
        if not plain.keys().isdisjoint(usual)
    }


# Told at once: narwhals takes its time to see that they are none.
_NO_FRAMES = (str, int, list, tuple, np.ndarray, np.generic)


def _as_frame(given: Any) -> Any:
    """A data frame, a lazy one collected, or what was given."""
    frame = nw.from_native(given, pass_through=True)
    return frame.collect() if isinstance(frame, nw.LazyFrame) else frame


def id_column(ids: Any, side: str, subject: str) -> Any:
    """Return the ids that a data frame holds, its only column or the one with a usual name; all else as it is.

    Parameters
    ----------
    ids : data frame, or anything
    side : {"user", "item"}
    subject : str
        For errors.

    Raises
    ------
    ValueError
        It is not clear which column is meant.
    """
    if isinstance(ids, _NO_FRAMES) or not isinstance(frame := _as_frame(ids), nw.DataFrame):
        return ids
    names = frame.columns
    name = names[0] if len(names) == 1 else usual_columns(names).get(side)
    if name is None:
        raise ValueError(
            f"{subject}: a data frame of {side} ids has one column, or one named {side!r}, got "
            f"{', '.join(map(str, names))}; give the column"
        )
    return nw.to_native(frame.get_column(name))


def pair_columns(X: Any) -> tuple[Any, Any] | None:
    """Return the columns of users and of items of a data frame that has both by their usual names, else None."""
    if isinstance(X, _NO_FRAMES) or not isinstance(frame := _as_frame(X), nw.DataFrame):
        return None
    usual = usual_columns(frame.columns)
    if not {"user", "item"} <= usual.keys():
        return None
    return nw.to_native(frame.get_column(usual["user"])), nw.to_native(frame.get_column(usual["item"]))


def check_matrix_frame(X: Any, subject: str) -> None:
    """Refuse a data frame with one row per event where a matrix of users x items is wanted; let all else pass.

    Such a frame has a column that is not numeric, or the usual names of both a column of users and one of items.

    Raises
    ------
    TypeError
        `X` is a frame of events, or a lazy frame.
    """
    frame = nw.from_native(X, pass_through=True)
    if not isinstance(frame, (nw.DataFrame, nw.LazyFrame)):
        return
    expected = f"{subject}: expected Interactions or a matrix of users x items, got"
    schema = frame.collect_schema()
    for name, dtype in schema.items():
        # Unknown is what narwhals makes of a sparse column.
        if dtype.is_numeric() or isinstance(dtype, (nw.Boolean, nw.Unknown)):
            continue
        if isinstance(dtype, nw.Object) and isinstance(frame, nw.DataFrame) and _holds_numbers(frame.get_column(name)):
            continue
        raise TypeError(
            f"{expected} a data frame whose column {name!r} holds {dtype}; if it has one row per event, "
            "build Interactions.from_frame(df, user=..., item=...)"
        )
    usual = usual_columns(schema)
    if {"user", "item"} <= usual.keys():
        user, item = usual["user"], usual["item"]
        raise TypeError(
            f"{expected} a data frame with the columns {user!r} and {item!r}; if it has one row per event, build "
            f"Interactions.from_frame(df, user={user!r}, item={item!r}); if each column is an item, give df.to_numpy()"
        )
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(f"{expected} a lazy frame; collect it first")


def _holds_numbers(series: nw.Series[Any]) -> bool:
    first = next((cell for cell in series.to_list() if not is_null(cell)), 0)
    return isinstance(first, numbers.Number)


def make_frame(columns: Mapping[str, npt.NDArray[Any]], subject: str, library: str | None = None) -> Any:
    """Return `columns` as a pandas or polars data frame or a pyarrow table.

    Parameters
    ----------
    columns : dict of str to ndarray of shape (n,)
        An object array holds strings, None, or UUIDs, which become strings.
    subject : str
        What an error names first.
    library : {"pandas", "polars", "pyarrow"}, default=None
        None takes the first of them that is installed.

    Raises
    ------
    ImportError
        The library, or all of them, are not installed.
    """
    chosen = frame_library(subject, library)
    return nw.from_dict({name: plain_column(column) for name, column in columns.items()}, backend=chosen).to_native()


def plain_column(column: npt.NDArray[Any]) -> Any:
    """Return an array as it is, or of objects a list of strings and None, which every table library takes."""
    if column.dtype.kind != "O":
        return column
    labels = column.tolist()
    # Few are distinct, and a UUID takes a microsecond to write out.
    plain = {label: None if label is None else str(label) for label in set(labels)}
    return list(map(plain.__getitem__, labels))


class FrameTable:
    """The columns of a data frame as arrays; a reader's own table has the same members.

    Parameters
    ----------
    df : data frame
        Any frame that narwhals reads; a lazy one is collected.
    subject : str
        What an error names first.

    Raises
    ------
    TypeError
        `df` is not a frame.
    """

    def __init__(self, df: Any, subject: str) -> None:
        try:
            frame = nw.from_native(df)
        except TypeError as error:
            raise TypeError(
                f"{subject}: expected a data frame (pandas, polars, pyarrow, or another that narwhals reads), "
                f"got {type(df).__name__}"
            ) from error
        self._frame = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
        self._subject = subject

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._frame.columns

    def ids(self, column: str, role: str) -> npt.NDArray[Any] | CodedIds:
        """Return a column of ids: strings coded, all else as an array, of which `ids.as_id_array` says what is good."""
        series = self._not_null(column, f"{role} id")
        if series.dtype == nw.Int128:  # what polars makes of numbers beyond int64
            series = series.cast(nw.String)
        if isinstance(series.dtype, (nw.Categorical, nw.Enum, nw.String)):
            labels, codes = _factorized(series)
            if not isinstance(series.dtype, nw.String):
                labels = list(map(str, labels))
            if set(map(type, labels)) <= {str}:
                return _in_order(labels, codes)
        if isinstance(series.dtype, (nw.Object, nw.Unknown, nw.String)):  # strings: a column of objects that holds some
            objects = np.empty(len(series), dtype=object)
            objects[:] = series.to_list()
            return objects
        return series.to_numpy()

    def values(self, column: str) -> npt.NDArray[Any]:
        """Return a numeric or boolean column."""
        series = self._not_null(column, "value")
        if isinstance(series.dtype, nw.Decimal):
            series = series.cast(nw.Float64)
        if not (series.dtype.is_numeric() or isinstance(series.dtype, nw.Boolean)):
            raise TypeError(f"{self._subject}: value column {column!r} must be numeric, got {series.dtype}")
        return series.to_numpy()

    def times(self, column: str) -> tuple[npt.NDArray[Any], TimeUnit]:
        """Return a column of dates or ISO 8601 strings as int64 nanoseconds in UTC, one of numbers as numbers."""
        series = self._not_null(column, "timestamp")
        dtype = series.dtype
        if isinstance(dtype, nw.Date):
            series = series.cast(nw.Datetime("ms"))
        elif isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return as_timestamps(series.to_numpy(), self._subject)

    def _not_null(self, column: str, what: str) -> nw.Series[Any]:
        series = self._frame[column]
        null = self._null(series)
        if null.any():
            raise ValueError(
                f"{self._subject}: {what} at row {int(np.argmax(null.to_numpy()))} is null; drop such rows"
            )
        return series

    def _null(self, series: nw.Series[Any]) -> nw.Series[Any]:
        # pandas calls NaN null too, polars and pyarrow do not: what is left of NaN is found where numbers are checked.
        return series.is_null()


def _factorized(series: nw.Series[Any]) -> tuple[list[Any], npt.NDArray[np.integer[Any]]]:
    """Return the distinct values of a column without nulls, and the place there of each value.

    By the column's own library, so that its strings never become Python objects one by one.
    """
    if series.implementation.is_pandas():
        native = series.to_native()
        if native.dtype == object or getattr(native.dtype, "storage", None) == "python":
            # Before pandas 3 its table of strings ended them at a NUL. It takes that of objects if not all are strings.
            objects = np.empty(len(native) + 1, dtype=object)
            objects[0], objects[1:] = None, native.to_numpy(dtype=object)
            codes, distinct = series.implementation.to_native_namespace().factorize(objects)
            return distinct.tolist(), codes[1:]
        codes, distinct = native.factorize()
        return distinct.tolist(), codes
    if series.implementation.is_pyarrow():
        encoded = series.cast(nw.String).to_native().dictionary_encode().unify_dictionaries()
        chunks = encoded.chunks
        codes = np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in chunks)])
        return chunks[0].dictionary.to_pylist() if chunks else [], codes
    # narwhals has no encoding: a join of the column with its distinct values.
    column = series.cast(nw.String).alias("id")
    distinct = column.unique()
    numbered = column.to_frame().with_row_index("row")
    joined = numbered.join(distinct.to_frame().with_row_index("code"), on="id", how="left")
    codes = np.empty(len(column), dtype=np.int32)
    codes[joined["row"].to_numpy()] = joined["code"].to_numpy()
    return distinct.to_list(), codes


def _in_order(labels: list[str], codes: npt.NDArray[np.integer[Any]]) -> CodedIds:
    """Number strings anew, in Python's order: libraries differ in how they collate."""
    ordered = sorted(set(labels))
    place = dict(zip(ordered, range(len(ordered)), strict=True))
    rank = np.fromiter(map(place.__getitem__, labels), dtype=np.int32, count=len(labels))
    distinct = np.empty(len(ordered), dtype=object)
    distinct[:] = ordered
    return CodedIds(distinct, rank[codes])
