"""Train and test sets from one set of interactions.

Every split returns ``(train, test)``, two `Interactions` of the shape and ids of the whole, so that rows mean the same
in both. Values and timestamps are carried as they are; the argument is never changed.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._validation import check_choice, check_flag, check_float, check_int, check_random_state
from likewise.data import Interactions, as_interactions
from likewise.data._time import as_instant

__all__ = ["leave_last_out", "random_split", "temporal_split", "user_split"]

RandomState = int | np.random.Generator | np.random.RandomState | np.random.SeedSequence | None


def random_split(
    data: Any,
    test_size: float | int = 0.2,
    *,
    per_user: bool = False,
    random_state: RandomState = None,
) -> tuple[Interactions, Interactions]:
    """Split the stored pairs at random.

    Parameters
    ----------
    data : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What to split.
    test_size : float in (0, 1) or int >= 1, default=0.2
        Share of the pairs that go to test (rounded up), or their number. With `per_user`, of the pairs of each user:
        the share rounded to the nearest, and never all of them.
    per_user : bool, default=False
        Draw from each user alike instead of from all pairs together.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed; the same int gives the same split.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`; each stored pair is in one of them.

    Raises
    ------
    ValueError
        `test_size` leaves nothing for train or for test.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import random_split
    >>> data = Interactions.from_arrays([1, 1, 1, 2, 2], list("abcab"))
    >>> train, test = random_split(data, test_size=0.4, random_state=0)
    >>> train.nnz, test.nnz, test.shape
    (3, 2, (2, 3))
    """
    subject = "random_split"
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    if check_flag(subject, "per_user", per_user):
        held_out = _random_of_each_user(data, test_size, rng, subject)
    else:
        n_test = _n_test(test_size, data.nnz, "stored pairs", subject)
        held_out = np.zeros(data.nnz, dtype=bool)
        held_out[rng.permutation(data.nnz)[:n_test]] = True
    return data.keep_entries(~held_out), data.keep_entries(held_out)


def temporal_split(
    data: Interactions,
    test_size: float | int | None = None,
    *,
    cutoff: Any = None,
    repeats: str = "drop",
) -> tuple[Interactions, Interactions]:
    """Split by time: train is what happened before a moment, test what happened from then on.

    The split is of single events. Where a user came back to an item, the events before the cutoff alone make the
    value in train, so that train knows nothing of what happened later.

    Parameters
    ----------
    data : Interactions
        With timestamps.
    test_size : float in (0, 1) or int >= 1, default=None
        Share of the events that go to test (rounded up), or their number. Events of one moment stay together, so test
        may be larger. None is 0.2, unless there is a `cutoff`.
    cutoff : date, datetime, datetime64, ISO 8601 string or number, default=None
        First moment of test, instead of `test_size`. A date where the timestamps are dates (one without a zone is in
        UTC), else a number.
    repeats : {"drop", "keep"}, default="drop"
        What becomes of events from the cutoff on whose pair is in train already: left out, as for the recommendation
        of items that are new to the user, or kept in test.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`.

    Raises
    ------
    TypeError
        `data` is not an `Interactions`, or `cutoff` is a date and the timestamps are numbers.
    ValueError
        There are no timestamps, both `test_size` and `cutoff` are given, or no event lies on one side.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import temporal_split
    >>> data = Interactions.from_arrays([1, 1, 1], list("aba"), [1, 2, 4], [10, 20, 30])
    >>> train, test = temporal_split(data, cutoff=20)
    >>> train.by_user.to_scipy().toarray()
    array([[1., 0.]], dtype=float32)
    >>> test.by_user.to_scipy().toarray()
    array([[0., 2.]], dtype=float32)
    >>> _, test = temporal_split(data, cutoff=20, repeats="keep")
    >>> test.by_user.to_scipy().toarray()
    array([[4., 2.]], dtype=float32)
    """
    subject = "temporal_split"
    check_choice(subject, "repeats", repeats, ("drop", "keep"))
    _, times = _timestamps(data, subject)
    if cutoff is None:
        first = _cutoff_of_share(times, 0.2 if test_size is None else test_size, subject)
    elif test_size is None:
        first = as_instant(cutoff, data.timestamp_unit, subject, "cutoff")
    else:
        raise ValueError(f"{subject}: test_size and cutoff exclude each other; give one of them")
    later = times >= first
    if later.all() or not later.any():
        low, high = (_shown(moment, data) for moment in (times.min(), times.max()))
        side = "before" if later.all() else "on or after"
        raise ValueError(
            f"{subject}: no event lies {side} the cutoff {_shown(first, data)}; they run from {low} to {high}"
        )
    train, test = data.keep_events(~later), data.keep_events(later)
    if repeats == "drop":
        test = test.keep_entries(~_stored_in(test, train))
    return train, test


def leave_last_out(data: Interactions, k: int = 1) -> tuple[Interactions, Interactions]:
    """Hold out the last `k` stored pairs of each user.

    The time of a pair is that of `Interactions.timestamps`: where repeated events were summed, when the pair came to
    be. Pairs of one moment count as ordered by item row. Train has nothing later than what was held out: later
    events of its pairs are dropped.

    Parameters
    ----------
    data : Interactions
        With timestamps.
    k : int, default=1
        Pairs a user, at least 1. A user with `k` or fewer is in train alone.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`; each stored pair is in one of them.

    Raises
    ------
    TypeError
        `data` is not an `Interactions`.
    ValueError
        There are no timestamps.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import leave_last_out
    >>> data = Interactions.from_arrays([1, 1, 2], list("aba"), timestamps=[20, 10, 5])
    >>> _, test = leave_last_out(data)
    >>> test.to_frame(library="pandas")
       user item  value  timestamp
    0     1    a    1.0         20
    """
    subject = "leave_last_out"
    times, _ = _timestamps(data, subject)
    k = check_int(subject, "k", k, minimum=1)
    matrix = data.by_user
    counts = matrix.row_counts()
    # Entries stand by row and column already, so a stable order by row and time leaves ties by column.
    order = np.lexsort((times, matrix.row_numbers()))
    from_end = np.repeat(matrix.indptr[1:], counts) - np.arange(matrix.nnz)
    held_out = np.zeros(matrix.nnz, dtype=bool)
    held_out[order] = (from_end <= k) & np.repeat(counts > k, counts)
    test = data.keep_entries(held_out)
    if data.log is None:
        return data.keep_entries(~held_out), test
    users, n_events = matrix.row_numbers(), np.diff(data.log.indptr)
    ends = np.full(data.n_users, data.log.timestamps.max())
    np.minimum.at(ends, users[held_out], times[held_out])
    in_time = data.log.timestamps <= np.repeat(ends[users], n_events)
    return data.keep_events(np.repeat(~held_out, n_events) & in_time), test


def user_split(
    data: Any, test_size: float | int = 0.2, *, random_state: RandomState = None
) -> tuple[Interactions, Interactions]:
    """Hold out whole users: a user's pairs are all in train or all in test.

    For models that fold new users in, test is split once more, into what they are told and what they are asked:
    ``fold_in, target = random_split(test, 0.5, per_user=True)``.

    Parameters
    ----------
    data : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What to split.
    test_size : float in (0, 1) or int >= 1, default=0.2
        Share of the users with interactions that go to test (rounded up), or their number.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed; the same int gives the same split.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`, where the rows of the other part's users are empty.

    Raises
    ------
    ValueError
        `test_size` leaves no user for train or for test.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import user_split
    >>> data = Interactions.from_arrays([1, 1, 2, 2, 3], list("abcab"))
    >>> train, test = user_split(data, test_size=1, random_state=0)
    >>> train.by_user.row_counts(), test.by_user.row_counts()
    (array([2, 2, 0]), array([0, 0, 1]))
    """
    subject = "user_split"
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    counts = data.by_user.row_counts()
    users = np.flatnonzero(counts)
    n_test = _n_test(test_size, users.size, "users with interactions", subject)
    chosen = np.zeros(data.n_users, dtype=bool)
    chosen[rng.permutation(users)[:n_test]] = True
    held_out = np.repeat(chosen, counts)
    return data.keep_entries(~held_out), data.keep_entries(held_out)


def _random_of_each_user(
    data: Interactions, test_size: float | int, rng: np.random.Generator, subject: str
) -> npt.NDArray[np.bool_]:
    matrix = data.by_user
    counts = matrix.row_counts()
    if _is_count(test_size, subject):
        wanted = np.full(counts.size, int(test_size))
    else:
        wanted = np.floor(counts * float(test_size) + 0.5).astype(np.int64)
    wanted = np.clip(np.minimum(wanted, counts - 1), 0, None)
    if not wanted.any():
        raise ValueError(f"{subject}: test_size={test_size} takes no pair of any user; enlarge it")
    # A random order within each row: its first entries are held out.
    order = np.lexsort((rng.random(matrix.nnz), matrix.row_numbers()))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    held_out = np.zeros(matrix.nnz, dtype=bool)
    held_out[order] = place < np.repeat(wanted, counts)
    return held_out


def _is_count(test_size: float | int, subject: str) -> bool:
    """Whether `test_size` is a number of things; a share is looked at here too."""
    if isinstance(test_size, numbers.Integral) and not isinstance(test_size, bool):
        check_int(subject, "test_size", test_size, minimum=1)
        return True
    check_float(subject, "test_size", test_size, minimum=0.0, maximum=1.0, exclusive=True)
    return False


def _n_test(test_size: float | int, n: int, what: str, subject: str) -> int:
    # Rounding up after a product such as 0.07 * 100 = 7.000000000000001 must not add one.
    count = int(test_size) if _is_count(test_size, subject) else math.ceil(round(n * test_size, 9))
    if not 0 < count < n:
        raise ValueError(f"{subject}: test_size={test_size} of {n} {what} leaves none for train or for test")
    return count


def _timestamps(data: Interactions, subject: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the times of the stored pairs and of the single events, or say that there are none."""
    if not isinstance(data, Interactions):
        raise TypeError(f"{subject}: expected an Interactions with timestamps, got {type(data).__name__}")
    if data.timestamps is None or data.event_timestamps is None:
        raise ValueError(f"{subject}: the interactions have no timestamps; give some when you build them")
    return data.timestamps, data.event_timestamps


def _cutoff_of_share(times: npt.NDArray[Any], test_size: float | int, subject: str) -> Any:
    n_test = _n_test(test_size, times.size, "events", subject)
    place = times.size - n_test
    cutoff = np.partition(times, place)[place]
    if cutoff > times.min():
        return cutoff
    # So many events share the first moment that they would all be test: begin at the next one.
    later = times[times > cutoff]
    if not later.size:
        raise ValueError(f"{subject}: all {times.size} events have one timestamp, so time cannot split them")
    return later.min()


def _stored_in(data: Interactions, other: Interactions) -> npt.NDArray[np.bool_]:
    """Whether each stored pair of `data` is stored in `other` too, which has the same shape."""
    mine, theirs = (
        part.by_user.row_numbers().astype(np.int64) * part.n_items + part.by_user.indices for part in (data, other)
    )
    # Both are sorted: a row number below 2**31 times as many columns fits int64.
    place = np.minimum(np.searchsorted(theirs, mine), theirs.size - 1)
    found: npt.NDArray[np.bool_] = theirs[place] == mine
    return found


def _shown(moment: Any, data: Interactions) -> str:
    return str(np.datetime64(int(moment), "ns")) if data.timestamp_unit == "ns" else str(moment)
