"""What a test set gives away: pairs and times that train should not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from likewise.data import as_interactions

from ._masks import n_before_own_train

__all__ = ["Leakage", "find_leakage"]


@dataclass(frozen=True)
class Leakage:
    """What `find_leakage` counts; true where something leaks.

    Attributes
    ----------
    n_test_events : int
        Events of test whose user and item train has too.
    n_shared_pairs : int
        Stored pairs of test that are stored in train.
    n_before_own : int or None
        Test events that happened before a train event of the same user; None without timestamps on both sides.
    n_before_any : int or None
        Test events that happened before the last train event of anybody. In a split by one moment there are none; where
        the last of each user are held out there are many, and the model knows what became popular later.
    """

    n_test_events: int
    n_shared_pairs: int
    n_before_own: int | None
    n_before_any: int | None

    def __bool__(self) -> bool:
        return bool(self.n_shared_pairs or self.n_before_own or self.n_before_any)

    def __str__(self) -> str:
        lines = [
            (self.n_shared_pairs, "pairs of test are in train"),
            (self.n_before_own, "test events happened before train events of the same user"),
            (self.n_before_any, "test events happened before the last train event"),
        ]
        told = [f"{n:,} of {self.n_test_events:,}: {what}" for n, what in lines if n]
        if self.n_before_own is None:
            told.append("times could not be compared: there are none on both sides")
        return "\n".join(told or ["nothing leaks"])


def find_leakage(train: Any, test: Any) -> Leakage:
    """Look for what train knows of test: shared pairs, and events of train that are later than those of test.

    Parameters
    ----------
    train, test : Interactions or matrix of shape (n_users, n_items)
        Ids, where spoken, are matched; users and items of test that train does not know are left out.

    Returns
    -------
    Leakage
        False where nothing leaks; printed, it says what does.

    Notes
    -----
    That ignoring time makes results of offline evaluations invalid is shown by Ji, Sun, Zhang and Li (2023),
    doi:10.1145/3569930.

    Examples
    --------
    >>> import likewise as lw
    >>> train = lw.Interactions.from_arrays([1, 1, 2, 2], list("abbc"), timestamps=[10, 40, 15, 16])
    >>> test = lw.Interactions.from_arrays([1, 2], list("ca"), timestamps=[30, 20])
    >>> print(lw.model_selection.find_leakage(train, test))
    1 of 2: test events happened before train events of the same user
    2 of 2: test events happened before the last train event
    """
    subject = "find_leakage"
    train = as_interactions(train, f"{subject}: train", allow_negative=True)
    given = as_interactions(test, f"{subject}: test", allow_negative=True)
    test = given.aligned_to(train, f"{subject}: test", unknown="drop").interactions
    n_shared = int(np.count_nonzero(test.by_user.entries_in(train.by_user)))
    before = after = None
    if (
        train.event_timestamps is not None
        and test.event_timestamps is not None
        and train.timestamp_unit == test.timestamp_unit
    ):
        events = [part.events() for part in (train, test)]
        users = np.concatenate([each.users for each in events])
        times = np.concatenate([train.event_timestamps, test.event_timestamps])
        is_test = np.arange(users.size) >= train.n_events
        before = n_before_own_train(users, times, ~is_test, is_test)
        after = int(np.count_nonzero(test.event_timestamps < train.event_timestamps.max())) if train.n_events else 0
    return Leakage(test.n_events, n_shared, before, after)
