"""Timestamps: nanoseconds since 1970 (UTC) where dates are given, plain numbers where numbers are."""

from __future__ import annotations

import datetime as dt
import math
import numbers
import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from likewise._validation import is_null

__all__ = ["TimeUnit", "as_duration", "as_instant", "as_timestamps"]

_PLAIN_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?Z?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)?\s*(W|D|h|min|s|ms|us|ns)")
_NANOSECONDS = {"W": 604_800 * 10**9, "D": 86_400 * 10**9, "h": 3_600 * 10**9, "min": 60 * 10**9, "s": 10**9}
_NANOSECONDS |= {"ms": 10**6, "us": 10**3, "ns": 1}

TimeUnit = Literal["ns"] | None
"""``"ns"`` for nanoseconds since 1970 in UTC; None for numbers whose meaning only the caller knows."""


def as_timestamps(timestamps: Any, subject: str) -> tuple[npt.NDArray[Any], TimeUnit]:
    """Return one-dimensional int64 or float64 timestamps and their unit.

    Parameters
    ----------
    timestamps : array-like of shape (n,)
        ``datetime64`` of any unit, ``datetime`` objects, ISO 8601 strings, or real numbers. Dates without a zone are
        taken as UTC.
    subject : str
        What an error names first.

    Raises
    ------
    TypeError
        The timestamps are neither dates nor numbers.
    ValueError
        One is null or not finite, a string is not ISO 8601, or a date is outside the years 1678 to 2261 that int64
        nanoseconds reach.
    """
    array = np.asarray(timestamps)
    if array.ndim != 1:
        raise ValueError(f"{subject}: timestamps must be one-dimensional, got shape {array.shape}")
    if array.dtype.kind in "OUT":
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
            f"{subject}: timestamps must be dates, ISO 8601 strings or numbers, got {array.dtype}; convert them first"
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
    if not isinstance(moment, (str, dt.date, np.datetime64)):
        raise TypeError(f"{subject}: {name} must be a date, an ISO 8601 string or a number, got {moment!r}")
    listed = np.empty(1, dtype=object)
    listed[0] = moment
    try:
        return int(as_timestamps(listed, subject)[0][0])
    except ValueError as error:
        raise ValueError(f"{subject}: {name} must be a date, as in '2026-01-31', got {moment!r}") from error


def as_duration(duration: Any, unit: TimeUnit, subject: str, name: str) -> int | float:
    """Return a length of time in the unit of the timestamps that it will be added to.

    Parameters
    ----------
    duration : timedelta, timedelta64, str such as "30D", "36h" or "15min", or real number
        A number counts in the timestamps' own unit, nanoseconds where that is ``"ns"``.
    unit : {"ns", None}
        What the timestamps count.
    subject, name : str
        For errors.

    Raises
    ------
    TypeError
        The duration is of a kind that the timestamps are not.
    ValueError
        It cannot be read, or is not finite.
    """
    # numpy counts its own durations among the integers.
    if isinstance(duration, numbers.Real) and not isinstance(duration, (bool, np.bool_, np.timedelta64)):
        if not math.isfinite(duration):
            raise ValueError(f"{subject}: {name} must be finite, got {duration}")
        return int(duration) if isinstance(duration, numbers.Integral) else float(duration)
    if unit is None:
        raise TypeError(f"{subject}: the timestamps are plain numbers, so {name} must be one too, got {duration!r}")
    if isinstance(duration, str):
        match = _DURATION.fullmatch(duration.strip())
        if match is None:
            raise ValueError(
                f"{subject}: {name} must be a number and a unit, W, D, h, min or s, as in '30D', got {duration!r}"
            )
        return int(float(match[1] or 1) * _NANOSECONDS[match[2]])
    if not isinstance(duration, (dt.timedelta, np.timedelta64)):
        raise TypeError(f"{subject}: {name} must be a duration, as in '30D', or a number, got {duration!r}")
    return int(np.timedelta64(duration).astype("timedelta64[ns]").astype(np.int64))


def _from_objects(array: npt.NDArray[Any], subject: str) -> npt.NDArray[Any]:
    """Return an array of dates or strings as datetime64, one of plain numbers as numbers, any other as it is."""
    moments = array.tolist()
    for row, moment in enumerate(moments):
        if is_null(moment) or moment == "":
            raise ValueError(f"{subject}: timestamp at row {row} is null; drop such rows")
    if all(isinstance(moment, str) for moment in moments):
        return _from_strings(moments, subject)
    if all(isinstance(moment, (dt.date, np.datetime64)) for moment in moments):
        return np.array([_in_utc(moment) for moment in moments])
    if all(isinstance(moment, numbers.Real) and not isinstance(moment, bool) for moment in moments):
        return np.array(moments)
    return array


def _from_strings(strings: list[str], subject: str) -> npt.NDArray[Any]:
    if all(map(_PLAIN_ISO.fullmatch, strings)):
        try:
            return np.array([string.removesuffix("Z") for string in strings], dtype="datetime64")
        except ValueError:  # a month of 13 or the like: found by row below
            pass
    moments = []
    for row, string in enumerate(strings):
        try:
            moments.append(_in_utc(dt.datetime.fromisoformat(re.sub("Z$", "+00:00", string))))
        except ValueError as error:
            raise ValueError(f"{subject}: timestamp {string!r} at row {row} is not ISO 8601; parse it first") from error
    return np.array(moments)


def _in_utc(moment: dt.date | np.datetime64) -> np.datetime64:
    if isinstance(moment, np.datetime64):
        return moment
    if isinstance(moment, dt.datetime) and moment.tzinfo is not None:
        moment = moment.astimezone(dt.timezone.utc).replace(tzinfo=None)
    # A pandas Timestamp knows nanoseconds, which a datetime does not.
    convert = getattr(moment, "to_datetime64", None)
    return np.datetime64(moment) if convert is None else convert()


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
