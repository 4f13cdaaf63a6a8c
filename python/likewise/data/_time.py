"""Timestamps: nanoseconds since 1970 (UTC) where dates are given, plain numbers where numbers are."""

from __future__ import annotations

import datetime as dt
import numbers
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from likewise._validation import is_null

__all__ = ["TimeUnit", "as_instant", "as_timestamps"]

TimeUnit = Literal["ns"] | None
"""``"ns"`` for nanoseconds since 1970 in UTC; None for numbers whose meaning only the caller knows."""


def as_timestamps(timestamps: Any, subject: str) -> tuple[npt.NDArray[Any], TimeUnit]:
    """Return one-dimensional int64 or float64 timestamps and their unit.

    Parameters
    ----------
    timestamps : array-like of shape (n,)
        ``datetime64`` of any unit, ``datetime`` objects (those without a zone are taken as UTC), or real numbers.
    subject : str
        What an error names first.

    Raises
    ------
    TypeError
        The timestamps are neither dates nor numbers.
    ValueError
        One is null or not finite, or a date is outside the years 1678 to 2261 that int64 nanoseconds reach.
    """
    array = np.asarray(timestamps)
    if array.ndim != 1:
        raise ValueError(f"{subject}: timestamps must be one-dimensional, got shape {array.shape}")
    if array.dtype.kind == "O":
        array = _from_objects(array, subject)
    kind = array.dtype.kind
    if kind == "M":
        return _to_nanoseconds(array, subject), "ns"
    if kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            place = int(np.argmin(finite))
            raise ValueError(f"{subject}: timestamps must be finite, got {array[place]} at row {place}")
        return array.astype(np.float64), None
    if kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{subject}: timestamps must fit int64, got {array.max()}")
    if kind not in "iu":
        raise TypeError(
            f"{subject}: timestamps must be dates or numbers, got {array.dtype}; parse them first, "
            "as with pandas.to_datetime or polars' str.to_datetime"
        )
    return array.astype(np.int64), None


def as_instant(moment: Any, unit: TimeUnit, subject: str, name: str) -> int | float:
    """Return one moment, as `cutoff` of a split, in the unit of the timestamps it will be compared with.

    Parameters
    ----------
    moment : str, datetime, date, datetime64 or real number
        An ISO 8601 string or a date where `unit` is ``"ns"`` (nanoseconds are taken too), else a number.
    unit : {"ns", None}
        What the timestamps count.
    subject, name : str
        For errors.

    Raises
    ------
    TypeError
        The moment is of a kind that the timestamps are not.
    ValueError
        It cannot be read as a date, or is NaN.
    """
    if isinstance(moment, numbers.Real) and not isinstance(moment, (bool, np.bool_)):
        if moment != moment:
            raise ValueError(f"{subject}: {name} must be a moment, got NaN")
        return int(moment) if isinstance(moment, numbers.Integral) else float(moment)
    if unit is None:
        raise TypeError(f"{subject}: the timestamps are plain numbers, so {name} must be one too, got {moment!r}")
    if isinstance(moment, str):
        try:
            moment = dt.datetime.fromisoformat(moment.replace("Z", "+00:00"))
        except ValueError as error:
            raise ValueError(f"{subject}: {name} must be an ISO 8601 date, got {moment!r}") from error
    if isinstance(moment, dt.date) and not isinstance(moment, dt.datetime):
        moment = np.datetime64(moment, "D")
    if not isinstance(moment, (dt.datetime, np.datetime64)):
        raise TypeError(f"{subject}: {name} must be a date, an ISO 8601 string or a number, got {moment!r}")
    listed = np.empty(1, dtype=object)
    listed[0] = moment
    return int(as_timestamps(listed, f"{subject}: {name}")[0][0])


def _from_objects(array: npt.NDArray[Any], subject: str) -> npt.NDArray[Any]:
    """Return an object array of dates as datetime64, one of plain numbers as numbers."""
    moments = array.tolist()
    if all(isinstance(moment, (dt.datetime, np.datetime64)) for moment in moments) and moments:
        return np.array([_in_utc(moment) for moment in moments])
    for place, moment in enumerate(moments):
        if is_null(moment):
            raise ValueError(f"{subject}: timestamp at row {place} is null; drop such rows")
    if all(isinstance(moment, numbers.Real) and not isinstance(moment, bool) for moment in moments):
        return np.array(moments)
    return array


def _in_utc(moment: dt.datetime | np.datetime64) -> np.datetime64:
    if isinstance(moment, np.datetime64):
        return moment
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.timezone.utc).replace(tzinfo=None)
    # A pandas Timestamp knows nanoseconds, which a datetime does not.
    return moment.to_datetime64() if hasattr(moment, "to_datetime64") else np.datetime64(moment, "us")


def _to_nanoseconds(array: npt.NDArray[np.datetime64], subject: str) -> npt.NDArray[np.int64]:
    null = np.isnat(array)
    if null.any():
        raise ValueError(f"{subject}: timestamp at row {int(np.argmax(null))} is null; drop such rows")
    # The cast to nanoseconds wraps silently beyond its range, so the range is looked at in days first.
    days = array.astype("datetime64[D]").astype(np.int64)
    outside = np.abs(days) > 106_750  # 2**63 ns are 106,751.99 days
    if outside.any():
        place = int(np.argmax(outside))
        raise ValueError(f"{subject}: timestamps must lie in the years 1678 to 2261, got {array[place]} at row {place}")
    return array.astype("datetime64[ns]").astype(np.int64)
