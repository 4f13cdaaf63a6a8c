"""Checks of meaning at the public boundary: each fact is checked once, here, with one form of message.

Every function takes the ``subject`` that the error names (a class or function name) first.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "check_choice",
    "check_flag",
    "check_float",
    "check_int",
    "check_random_state",
    "check_rows",
    "check_unmasked",
    "is_null",
]


def check_int(subject: str, name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return `value` as an int, or raise ``TypeError`` / ``ValueError`` naming subject, rule and value."""
    # Asking an abstract class takes longer than all the rest.
    if type(value) is not int and (isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"{subject}: {name} must be an integer, got {value!r}")
    number = int(value)
    if minimum is not None and number < minimum:
        raise ValueError(f"{subject}: {name} must be >= {minimum}, got {number}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{subject}: {name} must be <= {maximum}, got {number}")
    return number


def check_float(
    subject: str,
    name: str,
    value: Any,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive: bool = False,
) -> float:
    """Return `value` as a finite float inside its bounds (open ones with ``exclusive=True``)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{subject}: {name} must be a real number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{subject}: {name} must be finite, got {number}")
    if minimum is not None and (number <= minimum if exclusive else number < minimum):
        raise ValueError(f"{subject}: {name} must be {'>' if exclusive else '>='} {minimum:g}, got {number:g}")
    if maximum is not None and (number >= maximum if exclusive else number > maximum):
        raise ValueError(f"{subject}: {name} must be {'<' if exclusive else '<='} {maximum:g}, got {number:g}")
    return number


def check_flag(subject: str, name: str, value: Any) -> bool:
    """Return `value` as a bool; anything but True and False is a ``TypeError``."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{subject}: {name} must be True or False, got {value!r}")
    return bool(value)


def check_choice(subject: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{subject}: {name} must be one of {listed}, got {value!r}")
    return value


def check_random_state(subject: str, value: Any) -> np.random.Generator:
    """Return a NumPy ``Generator`` from None, an int, a ``Generator``, a ``RandomState`` or a ``SeedSequence``.

    A ``RandomState`` (scikit-learn passes these) gives a generator seeded by one draw from it.
    """
    if isinstance(value, np.random.Generator):
        return value
    if isinstance(value, np.random.RandomState):
        return np.random.default_rng(int(value.randint(0, 2**31 - 1)))
    if value is None or isinstance(value, np.random.SeedSequence):
        return np.random.default_rng(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{subject}: random_state must be None, an integer or a NumPy Generator, got {value!r}")
    if value < 0:
        raise ValueError(f"{subject}: random_state must be >= 0, got {int(value)}")
    return np.random.default_rng(int(value))


def check_rows(subject: str, name: str, rows: Any, n: int | None) -> npt.NDArray[np.int64]:
    """Return `rows`, one row number or many, as a one-dimensional int64 array with every number in [0, n).

    With ``n=None`` any integers pass.
    ``TypeError`` for what is not integers (bool and float arrays too), ``IndexError`` naming the first number that
    is outside: negative ones do not wrap.
    """
    check_unmasked(subject, name, rows)
    array = np.asarray(rows)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{subject}: {name} must be integers, got {array.dtype}")
    if array.ndim > 1:
        raise ValueError(f"{subject}: {name} must be one number or a one-dimensional array, got shape {array.shape}")
    given = array.reshape(-1).astype(np.int64, copy=False)
    # Seen as unsigned, a negative number is greater than any n.
    if n is not None and np.count_nonzero(outside := given.view(np.uint64) >= n):
        first = array.reshape(-1)[outside.argmax()]
        raise IndexError(f"{subject}: {name} {first} is outside [0, {n})")
    return given


def check_unmasked(subject: str, name: str, array: Any) -> None:
    """Refuse a masked array: a number that is not there would be read as what lies behind its mask."""
    if np.ma.is_masked(array):
        raise TypeError(f"{subject}: {name} must not be masked; fill what is, or leave it out")


def is_null(value: Any) -> bool:
    """Whether `value` is one of the nulls in use: None, NaN, NaT, and pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating, np.datetime64)) and bool(value != value)
