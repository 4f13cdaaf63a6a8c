"""Data frames at the door: columns in through narwhals, frames out in whichever library is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

import narwhals as nw
import numpy as np
import numpy.typing as npt

from likewise._validation import check_choice

from ._time import TimeUnit, as_timestamps

__all__ = [
    "FrameLibrary",
    "as_frame",
    "check_column",
    "frame_library",
    "id_column",
    "make_frame",
    "time_column",
    "value_column",
]

FrameLibrary = Literal["pandas", "polars", "pyarrow"]

_LIBRARIES: tuple[FrameLibrary, ...] = ("pandas", "polars", "pyarrow")


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
    return nw.from_dict({name: _plain_column(column) for name, column in columns.items()}, backend=chosen).to_native()


def _plain_column(column: npt.NDArray[Any]) -> Any:
    if column.dtype.kind != "O":
        return column
    return [None if label is None else str(label) for label in column.tolist()]


def as_frame(df: Any, subject: str) -> nw.DataFrame[Any]:
    """Return any frame that narwhals reads as an eager narwhals frame; a lazy one is collected."""
    try:
        frame = nw.from_native(df)
    except TypeError as error:
        raise TypeError(
            f"{subject}: expected a data frame (pandas, polars, pyarrow, or another that narwhals reads), "
            f"got {type(df).__name__}"
        ) from error
    return frame.collect() if isinstance(frame, nw.LazyFrame) else frame


def check_column(frame: nw.DataFrame[Any], column: str, role: str, subject: str) -> nw.Series[Any]:
    """Return a column by name, or say which ones there are."""
    if column not in frame.columns:
        raise ValueError(f"{subject}: {role} column {column!r} is not in the frame; its columns are {frame.columns}")
    return frame[column]


def id_column(series: nw.Series[Any], role: str, subject: str) -> npt.NDArray[Any]:
    """Return a column of ids as an int64 or object array; which ids are good is for `ids.as_id_array` to say."""
    _check_not_null(series, f"{role} id", subject)
    if series.dtype.is_integer():
        return series.to_numpy()
    if isinstance(series.dtype, (nw.Categorical, nw.Enum)):
        series = series.cast(nw.String)
    if isinstance(series.dtype, (nw.String, nw.Object, nw.Unknown)):
        labels = np.empty(len(series), dtype=object)
        labels[:] = series.to_list()
        return labels
    return series.to_numpy()


def value_column(series: nw.Series[Any], subject: str) -> npt.NDArray[Any]:
    """Return a numeric or boolean column."""
    _check_not_null(series, "value", subject)
    if isinstance(series.dtype, nw.Decimal):
        series = series.cast(nw.Float64)
    if not (series.dtype.is_numeric() or isinstance(series.dtype, nw.Boolean)):
        raise TypeError(f"{subject}: value column {series.name!r} must be numeric, got {series.dtype}")
    return series.to_numpy()


def time_column(series: nw.Series[Any], subject: str) -> tuple[npt.NDArray[Any], TimeUnit]:
    """Return a column of dates as int64 nanoseconds in UTC, one of numbers as int64 or float64."""
    _check_not_null(series, "timestamp", subject)
    dtype = series.dtype
    if isinstance(dtype, nw.Date):
        series = series.cast(nw.Datetime("ms"))
    elif isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return as_timestamps(series.to_numpy(), subject)


def _check_not_null(series: nw.Series[Any], what: str, subject: str) -> None:
    # pandas says null also to NaN, polars and pyarrow do not: `is_null` covers what the library calls missing,
    # and NaN in values or timestamps is found with the other numbers that are not finite.
    null = series.is_null()
    if null.any():
        place = int(np.argmax(null.to_numpy()))
        raise ValueError(f"{subject}: {what} at row {place} is null; drop such rows")
