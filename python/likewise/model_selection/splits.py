"""Train and test sets from one set of interactions.

Every split returns ``(train, test)``, two `Interactions` of the shape and ids of the whole, so that rows mean the same
in both. Values and timestamps are carried as they are; the argument is never changed. Each is a splitter of
`splitters` too, for scikit-learn's searches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from likewise._validation import check_int
from likewise.data import Interactions

from ._masks import (
    RandomState,
    cold_masks,
    interaction_fold_masks,
    item_masks,
    known_enough,
    last_masks,
    random_masks,
    rolling_masks,
    temporal_masks,
    user_fold_masks,
    user_masks,
)

__all__ = [
    "cold_start_split",
    "filter_test",
    "interaction_folds",
    "item_split",
    "leave_last_out",
    "random_split",
    "rolling_splits",
    "temporal_split",
    "user_folds",
    "user_split",
]


def random_split(
    data: Any,
    test_size: float | int = 0.2,
    *,
    per_user: bool = False,
    random_state: RandomState = None,
    leakage: str = "warn",
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
    leakage : {"warn", "ignore", "error"}, default="warn"
        What to do where train has things of a user that happened after things of the same user in test: data with
        timestamps tell. A model learns the future it is asked for then, and looks better than it is.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`; each stored pair is in one of them.

    Raises
    ------
    ValueError
        `test_size` leaves nothing for train or for test, or the split leaks and ``leakage="error"``.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import random_split
    >>> data = Interactions.from_arrays([1, 1, 1, 2, 2], list("abcab"))
    >>> train, test = random_split(data, test_size=0.4, random_state=0)
    >>> train.nnz, test.nnz, test.shape
    (3, 2, (2, 3))
    """
    return random_masks("random_split", data, test_size, per_user, random_state, leakage).parts()


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
    return temporal_masks("temporal_split", data, test_size, cutoff, repeats).parts()


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
    return last_masks("leave_last_out", data, k).parts()


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
    return user_masks("user_split", data, test_size, random_state).parts()


def item_split(
    data: Any, test_size: float | int = 0.2, *, random_state: RandomState = None, leakage: str = "warn"
) -> tuple[Interactions, Interactions]:
    """Hold out whole items: an item's pairs are all in train or all in test, which asks for items that are new.

    Parameters
    ----------
    data : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What to split.
    test_size : float in (0, 1) or int >= 1, default=0.2
        Share of the items with interactions that go to test (rounded up), or their number.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed; the same int gives the same split.
    leakage : {"warn", "ignore", "error"}, default="warn"
        As for `random_split`.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`, where the columns of the other part's items are empty.

    Raises
    ------
    ValueError
        `test_size` leaves no item for train or for test, or the split leaks and ``leakage="error"``.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import item_split
    >>> data = Interactions.from_arrays([1, 1, 2, 2, 3], list("abcab"))
    >>> train, test = item_split(data, test_size=1, random_state=0)
    >>> train.by_item.row_counts(), test.by_item.row_counts()
    (array([2, 2, 0]), array([0, 0, 1]))
    """
    return item_masks("item_split", data, test_size, random_state, leakage).parts()


def cold_start_split(
    data: Interactions, test_size: float | int | None = None, *, cutoff: Any = None, cold: str = "items"
) -> tuple[Interactions, Interactions]:
    """Split by time and keep in test what is of users, or of items, that nobody knew before.

    Parameters
    ----------
    data : Interactions
        With timestamps.
    test_size, cutoff
        As for `temporal_split`, of all events.
    cold : {"items", "users", "either", "both"}, default="items"
        Which events from the cutoff on are test: those with items without an event before it, by users without one,
        by or with either, or both at once. The others are in no part.

    Returns
    -------
    train, test : Interactions
        Of the shape and ids of `data`.

    Raises
    ------
    TypeError, ValueError
        As `temporal_split`; ValueError too if nothing is cold.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import cold_start_split
    >>> data = Interactions.from_arrays([1, 1, 2, 2], list("abac"), timestamps=[10, 20, 30, 40])
    >>> train, test = cold_start_split(data, cutoff=30)
    >>> test.to_frame(library="pandas")
       user item  value  timestamp
    0     2    c    1.0         40
    """
    return cold_masks("cold_start_split", data, test_size, cutoff, cold).parts()


def rolling_splits(
    data: Interactions,
    n_splits: int = 5,
    *,
    test_duration: Any = None,
    train_duration: Any = None,
    gap: Any = 0,
    repeats: str = "drop",
) -> Iterator[tuple[Interactions, Interactions]]:
    """Split by time again and again: each test window comes after its train window, and windows move on.

    Parameters
    ----------
    data : Interactions
        With timestamps.
    n_splits : int, default=5
        Windows, at least 1. The last ends with the last event.
    test_duration : number, timedelta, timedelta64 or str such as "30D", default=None
        How long a test window is: a number where timestamps are numbers, else a duration (numbers are nanoseconds).
        None makes windows of as many events each, of which there are ``n_splits + 1`` with the first train window.
    train_duration : as `test_duration`, default=None
        How long a train window is; None begins with the first event, so that train grows.
    gap : as `test_duration`, default=0
        Time between train and test in which nothing counts.
    repeats : {"drop", "keep"}, default="drop"
        As for `temporal_split`.

    Returns
    -------
    iterator of (train, test)
        Two `Interactions` each, of the shape and ids of `data`, by rising time.

    Raises
    ------
    TypeError
        `data` is not an `Interactions`, or a duration is of the wrong kind.
    ValueError
        There are no timestamps, a duration is not above 0, or a window has no event.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import rolling_splits
    >>> data = Interactions.from_arrays([1, 1, 1, 1], list("abcd"), timestamps=[0, 10, 20, 30])
    >>> for train, test in rolling_splits(data, n_splits=2, test_duration=10):
    ...     print(train.timestamps, test.timestamps)
    [ 0 10] [20]
    [ 0 10 20] [30]
    """
    check_int("rolling_splits", "n_splits", n_splits, minimum=1)
    masks = rolling_masks("rolling_splits", data, n_splits, test_duration, train_duration, gap, repeats)
    return (each.parts() for each in masks)


def interaction_folds(
    data: Any,
    n_splits: int = 5,
    *,
    per_user: bool = False,
    random_state: RandomState = None,
    leakage: str = "warn",
) -> Iterator[tuple[Interactions, Interactions]]:
    """Deal the stored pairs into folds at random; each fold is test once.

    Parameters
    ----------
    data : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What to split.
    n_splits : int, default=5
        Folds, at least 2. They differ by one pair at most.
    per_user : bool, default=False
        Deal each user's pairs as evenly.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed; the same int gives the same folds.
    leakage : {"warn", "ignore", "error"}, default="warn"
        As for `random_split`.

    Returns
    -------
    iterator of (train, test)
        Two `Interactions` each, of the shape and ids of `data`.

    Raises
    ------
    ValueError
        There are fewer pairs than folds, or the split leaks and ``leakage="error"``.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import interaction_folds
    >>> data = Interactions.from_arrays([1, 1, 1, 2, 2], list("abcab"))
    >>> [(train.nnz, test.nnz) for train, test in interaction_folds(data, 3, random_state=0)]
    [(3, 2), (3, 2), (4, 1)]
    """
    masks = interaction_fold_masks("interaction_folds", data, n_splits, per_user, random_state, leakage)
    return (each.parts() for each in masks)


def user_folds(
    data: Any, n_splits: int = 5, *, random_state: RandomState = None
) -> Iterator[tuple[Interactions, Interactions]]:
    """Deal whole users into folds at random; each fold is test once.

    Parameters
    ----------
    data : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What to split.
    n_splits : int, default=5
        Folds, at least 2, of the users with interactions. They differ by one user at most.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed; the same int gives the same folds.

    Returns
    -------
    iterator of (train, test)
        Two `Interactions` each, of the shape and ids of `data`, where the rows of the other part's users are empty. As
        for `user_split`, test may be split once more.

    Raises
    ------
    ValueError
        There are fewer users with interactions than folds.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import user_folds
    >>> data = Interactions.from_arrays([1, 1, 1, 2, 3], list("abcab"))
    >>> [test.by_user.row_counts().tolist() for _, test in user_folds(data, 3, random_state=0)]
    [[0, 0, 1], [3, 0, 0], [0, 1, 0]]
    """
    return (each.parts() for each in user_fold_masks("user_folds", data, n_splits, random_state))


def filter_test(
    train: Interactions, test: Interactions, *, min_user_count: int = 1, min_item_count: int = 1, k_core: int = 0
) -> Interactions:
    """Leave out of test the pairs of users and items that train knows too little of.

    Where users or items with few interactions should leave train too, see `Interactions.filter` and
    `Interactions.k_core`, before a split.

    Parameters
    ----------
    train, test : Interactions
        Of the same users and items, as a split gives them.
    min_user_count, min_item_count : int, default=1
        Stored pairs in train that the user, and the item, of a pair in test has at least.
    k_core : int, default=0
        Above 0, both have to be in the k-core of train: the part in which all have so many pairs with one another.

    Returns
    -------
    Interactions
        `test` without the others, in the same shape and ids.

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    >>> from likewise.data import Interactions
    >>> from likewise.model_selection import filter_test, temporal_split
    >>> data = Interactions.from_arrays([1, 1, 2, 2], list("abac"), timestamps=[10, 20, 30, 40])
    >>> train, test = temporal_split(data, cutoff=20)
    >>> filter_test(train, test).nnz, filter_test(train, test, min_user_count=0).nnz
    (0, 1)
    """
    subject = "filter_test"
    for part in (train, test):
        if not isinstance(part, Interactions):
            raise TypeError(f"{subject}: expected two Interactions, got {type(part).__name__}")
    if train.shape != test.shape:
        raise ValueError(f"{subject}: train has the shape {train.shape} and test {test.shape}; give parts of one split")
    users, items = test.by_user.row_numbers(), test.by_user.indices
    return test.keep_entries(known_enough(train, users, items, min_user_count, min_item_count, k_core, subject))
