"""Which events are train and which are test: what the splits and the splitters share."""

from __future__ import annotations

import itertools
import math
import numbers
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._validation import check_choice, check_flag, check_float, check_int, check_random_state
from likewise.data import Interactions, as_interactions, event_index
from likewise.data._time import as_duration, as_instant
from likewise.exceptions import LeakageWarning

__all__ = [
    "Masks",
    "RandomState",
    "cold_masks",
    "interaction_fold_masks",
    "item_masks",
    "known_enough",
    "last_masks",
    "n_before_own_train",
    "random_masks",
    "rolling_masks",
    "temporal_masks",
    "user_fold_masks",
    "user_masks",
]

RandomState = int | np.random.Generator | np.random.RandomState | np.random.SeedSequence | None
BoolArray = npt.NDArray[np.bool_]


class Masks(NamedTuple):
    """A split of one set: which of its stored pairs, or of its single events, are train and which are test."""

    data: Interactions
    train: BoolArray
    test: BoolArray
    of_events: bool = False

    def parts(self) -> tuple[Interactions, Interactions]:
        """The two sets."""
        keep = self.data.keep_events if self.of_events else self.data.keep_entries
        return keep(self.train), keep(self.test)

    def events(self) -> tuple[BoolArray, BoolArray]:
        """The masks over single events."""
        if self.of_events or self.data.log is None:
            return self.train, self.test
        counts = np.diff(self.data.log.indptr)
        return np.repeat(self.train, counts), np.repeat(self.test, counts)

    def indices(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Places of the events, for scikit-learn: ``data[index]`` is a part in the shape of the whole."""
        train, test = self.events()
        return event_index(np.flatnonzero(train)), event_index(np.flatnonzero(test))


def random_masks(
    subject: str, data: Any, test_size: float | int, per_user: bool, random_state: RandomState, leakage: str
) -> Masks:
    """Pairs at random, of all or of each user alike."""
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    if check_flag(subject, "per_user", per_user):
        held_out = _random_of_each_user(data, test_size, rng, subject)
    else:
        n_test = _n_test(test_size, data.nnz, "stored pairs", subject)
        held_out = np.zeros(data.nnz, dtype=bool)
        held_out[rng.permutation(data.nnz)[:n_test]] = True
    return _looked_at(Masks(data, ~held_out, held_out), leakage, subject)


def temporal_masks(subject: str, data: Any, test_size: float | int | None, cutoff: Any, repeats: str) -> Masks:
    """Events before a moment, and those from then on."""
    check_choice(subject, "repeats", repeats, ("drop", "keep"))
    _, times = _timestamps(data, subject)
    later = times >= _cutoff(data, times, test_size, cutoff, subject)
    return Masks(data, ~later, _new_to_train(data, ~later, later) if repeats == "drop" else later, of_events=True)


def cold_masks(subject: str, data: Any, test_size: float | int | None, cutoff: Any, cold: str) -> Masks:
    """Events before a moment, and those from then on of users or items that are new then."""
    check_choice(subject, "cold", cold, ("items", "users", "either", "both"))
    _, times = _timestamps(data, subject)
    earlier = times < _cutoff(data, times, test_size, cutoff, subject)
    users, items, _, _ = data.events()
    new_user = np.bincount(users[earlier], minlength=data.n_users)[users] == 0
    new_item = np.bincount(items[earlier], minlength=data.n_items)[items] == 0
    chosen = {"items": new_item, "users": new_user, "either": new_user | new_item, "both": new_user & new_item}[cold]
    if not (chosen := chosen & ~earlier).any():
        raise ValueError(f"{subject}: no event from the cutoff on is cold (cold={cold!r}); take an earlier cutoff")
    return Masks(data, earlier, chosen, of_events=True)


def last_masks(subject: str, data: Any, k: int) -> Masks:
    """All but the last pairs of each user, and those."""
    times, _ = _timestamps(data, subject)
    k = check_int(subject, "k", k, minimum=1)
    matrix = data.by_user
    counts = matrix.row_counts()
    # Entries stand by row and column already, so a stable order by row and time leaves ties by column.
    order = np.lexsort((times, matrix.row_numbers()))
    from_end = np.repeat(matrix.indptr[1:], counts) - np.arange(matrix.nnz)
    held_out = np.zeros(matrix.nnz, dtype=bool)
    held_out[order] = (from_end <= k) & np.repeat(counts > k, counts)
    if data.log is None:
        return Masks(data, ~held_out, held_out)
    users, n_events = matrix.row_numbers(), np.diff(data.log.indptr)
    ends = np.full(data.n_users, data.log.timestamps.max())
    np.minimum.at(ends, users[held_out], times[held_out])
    in_time = data.log.timestamps <= np.repeat(ends[users], n_events)
    test = np.repeat(held_out, n_events)
    return Masks(data, ~test & in_time, test, of_events=True)


def user_masks(subject: str, data: Any, test_size: float | int, random_state: RandomState) -> Masks:
    """Users at random, with all their pairs."""
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    chosen = _some_rows(data.by_user.row_counts(), test_size, "users with interactions", rng, subject)
    held_out = chosen[data.by_user.row_numbers()]
    return Masks(data, ~held_out, held_out)


def item_masks(subject: str, data: Any, test_size: float | int, random_state: RandomState, leakage: str) -> Masks:
    """Items at random, with all their pairs."""
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    chosen = _some_rows(data.by_item.row_counts(), test_size, "items with interactions", rng, subject)
    held_out = chosen[data.by_user.indices]
    return _looked_at(Masks(data, ~held_out, held_out), leakage, subject)


def rolling_masks(
    subject: str, data: Any, n_splits: int, test_duration: Any, train_duration: Any, gap: Any, repeats: str
) -> Iterator[Masks]:
    """Windows of train and test that move on with time."""
    check_choice(subject, "repeats", repeats, ("drop", "keep"))
    _, times = _timestamps(data, subject)
    unit = data.timestamp_unit
    spans = {"test_duration": test_duration, "train_duration": train_duration, "gap": gap}
    for name, given in spans.items():
        if given is None and name != "gap":
            continue
        spans[name] = as_duration(given, unit, subject, name)
        if spans[name] < 0 or (spans[name] == 0 and name != "gap"):
            raise ValueError(f"{subject}: {name} must be above 0, got {given!r}")
    starts = _window_starts(times, n_splits, spans["test_duration"], subject)
    return _windows(subject, data, times, starts, spans["train_duration"], spans["gap"], repeats)


def interaction_fold_masks(
    subject: str, data: Any, n_splits: int, per_user: bool, random_state: RandomState, leakage: str
) -> Iterator[Masks]:
    """Stored pairs dealt into folds."""
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    rows = data.by_user.row_numbers() if check_flag(subject, "per_user", per_user) else np.zeros(data.nnz, np.int32)
    # By user and at random within one: whatever deals them out in turn deals each user's evenly.
    order = np.lexsort((rng.random(data.nnz), rows))
    folds = np.empty(data.nnz, dtype=np.int64)
    folds[order] = np.arange(data.nnz) % _n_folds(n_splits, data.nnz, "stored pairs", subject)
    check_choice(subject, "leakage", leakage, _LEAKAGE)
    return (_looked_at(Masks(data, folds != fold, folds == fold), leakage, subject) for fold in range(n_splits))


def user_fold_masks(subject: str, data: Any, n_splits: int, random_state: RandomState) -> Iterator[Masks]:
    """Users dealt into folds, with all their pairs."""
    data = as_interactions(data, subject, allow_negative=True)
    rng = check_random_state(subject, random_state)
    users = np.flatnonzero(data.by_user.row_counts())
    folds = np.full(data.n_users, -1)
    folds[rng.permutation(users)] = np.arange(users.size) % _n_folds(n_splits, users.size, "users", subject)
    of_pairs = folds[data.by_user.row_numbers()]
    return (Masks(data, of_pairs != fold, of_pairs == fold) for fold in range(n_splits))


def known_enough(
    train: Interactions, users: npt.NDArray[Any], items: npt.NDArray[Any], min_user_count: Any, min_item_count: Any,
    k_core: Any, subject: str,
) -> BoolArray:  # fmt: skip
    """For pairs of users and items, whether train has so many of the user and of the item, and both in its k-core."""
    n_user = check_int(subject, "min_user_count", min_user_count, minimum=0)
    n_item = check_int(subject, "min_item_count", min_item_count, minimum=0)
    k = check_int(subject, "k_core", k_core, minimum=0)
    known: BoolArray = (train.by_user.row_counts()[users] >= n_user) & (train.by_item.row_counts()[items] >= n_item)
    if k:
        in_core = train.core_members(k)
        known &= in_core[0][users] & in_core[1][items]
    return known


# ---------------------------------------------------------------------- leaks

_LEAKAGE = ("warn", "ignore", "error")


def n_before_own_train(users: npt.NDArray[Any], times: npt.NDArray[Any], train: BoolArray, test: BoolArray) -> int:
    """Number of test events that happened before a train event of the same user."""
    if not train.any():
        return 0
    ends = np.full(int(users.max()) + 1, times[train].min())  # of users without train: nothing happened before that
    known = np.zeros(ends.size, dtype=bool)
    np.maximum.at(ends, users[train], times[train])
    known[users[train]] = True
    return int(np.count_nonzero(known[users[test]] & (times[test] < ends[users[test]])))


def _looked_at(masks: Masks, leakage: str, subject: str) -> Masks:
    """The same, after a word on what leaks."""
    check_choice(subject, "leakage", leakage, _LEAKAGE)
    data = masks.data
    if leakage == "ignore" or data.event_timestamps is None:
        return masks
    train, test = masks.events()
    n_leaks = n_before_own_train(data.events().users, data.event_timestamps, train, test)
    if n_leaks:
        message = (
            f"{subject}: {n_leaks} of {np.count_nonzero(test)} test events happened before train events of the same "
            "user, so a model learns the future it is asked for; take temporal_split or leave_last_out, or give "
            "leakage='ignore' where that is meant"
        )
        if leakage == "error":
            raise ValueError(message)
        warnings.warn(message, LeakageWarning, stacklevel=4)
    return masks


# ---------------------------------------------------------------------- parts of the above


def _new_to_train(data: Interactions, train: BoolArray, test: BoolArray) -> BoolArray:
    """Test events without those whose pair is in train."""
    n_events = np.ones(data.nnz, np.int64) if data.log is None else np.diff(data.log.indptr)
    pairs = np.repeat(np.arange(data.nnz), n_events)
    is_known = np.bincount(pairs[train], minlength=data.nnz) > 0
    new: BoolArray = test & ~is_known[pairs]
    return new


def _cutoff(
    data: Interactions, times: npt.NDArray[Any], test_size: float | int | None, cutoff: Any, subject: str
) -> Any:
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
    return first


def _window_starts(times: npt.NDArray[Any], n_splits: int, duration: Any, subject: str) -> list[Any]:
    """First moments of the test windows, and the end of the last, which is just after the last event."""
    last = times.max()
    end = last + 1 if times.dtype.kind == "i" else np.nextafter(last, np.inf)
    if duration is not None:
        return [*(end - (n_splits - i) * duration for i in range(n_splits)), end]
    n_test = times.size // (n_splits + 1)
    if n_test == 0:
        raise ValueError(f"{subject}: {times.size} events do not fill {n_splits + 1} windows; take fewer splits")
    ordered = np.sort(times)
    return [*(ordered[times.size - (n_splits - i) * n_test] for i in range(n_splits)), end]


def _windows(
    subject: str, data: Interactions, times: npt.NDArray[Any], starts: list[Any], duration: Any, gap: Any, repeats: str
) -> Iterator[Masks]:
    for start, end in itertools.pairwise(starts):
        train = times < start - gap
        if duration is not None:
            train &= times >= start - gap - duration
        test = (times >= start) & (times < end)
        if not train.any() or not test.any():
            which = "train" if not train.any() else "test"
            raise ValueError(
                f"{subject}: the {which} window of the test from {_shown(start, data)} has no event; take fewer splits "
                "or other durations"
            )
        yield Masks(data, train, _new_to_train(data, train, test) if repeats == "drop" else test, of_events=True)


def _random_of_each_user(
    data: Interactions, test_size: float | int, rng: np.random.Generator, subject: str
) -> BoolArray:
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


def _some_rows(
    counts: npt.NDArray[np.int64], test_size: float | int, what: str, rng: np.random.Generator, subject: str
) -> BoolArray:
    rows = np.flatnonzero(counts)
    n_test = _n_test(test_size, rows.size, what, subject)
    chosen = np.zeros(counts.size, dtype=bool)
    chosen[rng.permutation(rows)[:n_test]] = True
    return chosen


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


def _n_folds(n_splits: int, n: int, what: str, subject: str) -> int:
    check_int(subject, "n_splits", n_splits, minimum=2)
    if n_splits > n:
        raise ValueError(f"{subject}: n_splits={n_splits} folds of {n} {what} leave some empty; take fewer folds")
    return n_splits


def _timestamps(data: Any, subject: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the times of the stored pairs and of the single events, or say that there are none."""
    if not isinstance(data, Interactions):
        raise TypeError(f"{subject}: expected an Interactions with timestamps, got {type(data).__name__}")
    if data.timestamps is None or data.event_timestamps is None:
        raise ValueError(f"{subject}: the interactions have no timestamps; give some when you build them")
    if data.nnz == 0:
        raise ValueError(f"{subject}: there are no interactions to split")
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


def _shown(moment: Any, data: Interactions) -> str:
    return str(np.datetime64(int(moment), "ns")) if data.timestamp_unit == "ns" else str(moment)
