from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from likewise.data import Interactions
from likewise.model_selection import (
    interaction_folds,
    item_split,
    leave_last_out,
    random_split,
    temporal_split,
    user_folds,
    user_split,
)

SEEDED = {
    "random": lambda data, seed: random_split(data, 0.3, random_state=seed, leakage="ignore"),
    "per user": lambda data, seed: random_split(data, 0.3, per_user=True, random_state=seed, leakage="ignore"),
    "users": lambda data, seed: user_split(data, 0.3, random_state=seed),
    "items": lambda data, seed: item_split(data, 0.3, random_state=seed, leakage="ignore"),
    "fold": lambda data, seed: next(interaction_folds(data, 4, random_state=seed, leakage="ignore")),
    "fold per user": lambda data, seed: next(
        interaction_folds(data, 4, per_user=True, random_state=seed, leakage="ignore")
    ),
    "fold of users": lambda data, seed: next(user_folds(data, 4, random_state=seed)),
}


def make(n_events=600, n_users=40, n_items=30, seed=0, duplicates="sum", timestamps=True):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users, n_events), rng.integers(0, n_items, n_events)
    # Values with fractions that float32 rounds, so that any change on the way would show.
    values = rng.random(n_events) + 0.1
    times = rng.integers(0, 200, n_events) if timestamps else None
    ids = {"user_ids": np.arange(n_users), "item_ids": np.arange(n_items)}
    return Interactions.from_arrays(users, items, values, times, duplicates=duplicates, **ids)


def dense(data):
    return data.by_user.to_scipy().toarray()


def pairs(data):
    return set(zip(data.by_user.row_numbers().tolist(), data.by_user.indices.tolist(), strict=True))


def assert_partition(data, train, test):
    """Each stored pair is in one part, with its value, time and events."""
    for part in (train, test):
        assert part.shape == data.shape
        assert part.user_map is data.user_map
        assert part.item_map is data.item_map
        assert part.duplicates == data.duplicates
        assert part.timestamp_unit == data.timestamp_unit
    assert pairs(train).isdisjoint(pairs(test))
    assert train.nnz + test.nnz == data.nnz
    assert train.n_events + test.n_events == data.n_events
    assert_array_equal(dense(train) + dense(test), dense(data))
    if data.timestamps is not None:
        times = np.zeros(data.shape)
        for part in (train, test):
            times[part.by_user.row_numbers(), part.by_user.indices] = part.timestamps
        assert_array_equal(times[data.by_user.row_numbers(), data.by_user.indices], data.timestamps)


# ---------------------------------------------------------------------- what the seeded ones share


@pytest.mark.parametrize("split", SEEDED.values(), ids=SEEDED)
@pytest.mark.parametrize("timestamps", [True, False])
def test_split_is_a_partition_that_changes_nothing(split, timestamps):
    data = make(timestamps=timestamps)
    before = dense(data).copy()
    for seed in range(20):
        train, test = split(data, seed)
        assert train.nnz > 0
        assert test.nnz > 0
        assert_partition(data, train, test)
    assert_array_equal(dense(data), before)


@pytest.mark.parametrize("split", SEEDED.values(), ids=SEEDED)
def test_split_follows_its_seed(split):
    data = make()
    once, again, other = (dense(split(data, seed)[1]) for seed in (7, 7, 8))
    assert_array_equal(once, again)
    assert np.any(once != other)
    generators = [dense(split(data, np.random.default_rng(7))[1]) for _ in range(2)]
    assert_array_equal(generators[0], generators[1])
    assert_array_equal(generators[0], once)


@pytest.mark.parametrize("split", SEEDED.values(), ids=SEEDED)
def test_split_leaves_the_global_seed_alone(split):
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    split(make(), None)
    assert np.random.random() == expected  # noqa: NPY002


@pytest.mark.parametrize("split", SEEDED.values(), ids=SEEDED)
@pytest.mark.parametrize("bad", [1.5, "0", -1, True])
def test_split_checks_its_seed(split, bad):
    with pytest.raises((TypeError, ValueError), match="random_state must be"):
        split(make(), bad)


@pytest.mark.parametrize("split", [random_split, user_split, item_split])
@pytest.mark.parametrize(
    ("test_size", "error", "match"),
    [
        (0.0, ValueError, "test_size must be > 0"),
        (1.0, ValueError, "test_size must be < 1"),
        (-0.1, ValueError, "test_size must be > 0"),
        (np.nan, ValueError, "test_size must be finite"),
        (0, ValueError, "test_size must be >= 1"),
        (10**6, ValueError, "leaves none for train or for test"),
        ("0.2", TypeError, "test_size must be a real number"),
        (True, TypeError, "test_size must be a real number"),
        (None, TypeError, "test_size must be a real number"),
    ],
)
def test_sizes_are_checked(split, test_size, error, match):
    with pytest.raises(error, match=f"^{split.__name__}: .*{match}"):
        split(make(), test_size)


@pytest.mark.parametrize("split", [random_split, user_split, item_split])
def test_nothing_to_split_is_an_error(split):
    empty = Interactions.from_csr(sp.csr_array((4, 5), dtype=np.float32))
    single = Interactions.from_csr(sp.csr_array(([1.0], ([0], [0])), shape=(4, 5)))
    for data in (empty, single):
        with pytest.raises(ValueError, match="leaves none for train or for test"):
            split(data, 0.5)


@pytest.mark.parametrize("split", [random_split, user_split, item_split])
def test_matrices_are_taken_too(split):
    X = sp.random_array((20, 10), density=0.4, rng=np.random.default_rng(0)).tocsr()
    X.data -= 0.5
    train, test = split(X, random_state=0)
    assert train.user_ids is None
    assert_array_equal(dense(train) + dense(test), X.toarray().astype(np.float32))


# ---------------------------------------------------------------------- random_split


@pytest.mark.parametrize(
    ("test_size", "expected"), [(0.2, 2), (0.25, 3), (1, 1), (7, 7), (0.1, 1), (0.3, 3), (0.99, None)]
)
def test_random_split_takes_as_many_as_asked(test_size, expected):
    data = Interactions.from_csr(sp.csr_array(np.ones((2, 5))))
    if expected is None:
        with pytest.raises(ValueError, match=r"test_size=0.99 of 10 stored pairs leaves none"):
            random_split(data, test_size)
    else:
        assert random_split(data, test_size, random_state=0)[1].nnz == expected


def test_random_split_rounds_up_the_share_and_not_the_noise_of_its_product():
    assert 0.07 * 100 > 7
    assert random_split(Interactions.from_csr(sp.csr_array(np.ones((10, 10)))), 0.07)[1].nnz == 7


def test_random_split_draws_every_pair_equally_often():
    data = Interactions.from_csr(sp.csr_array(np.ones((5, 4))))
    drawn = sum(dense(random_split(data, 0.25, random_state=seed)[1]) for seed in range(2000))
    assert drawn.min() > 400
    assert drawn.max() < 600


def test_random_split_per_user_takes_alike_from_each():
    counts = np.array([0, 1, 2, 3, 10, 40])
    X = np.zeros((6, 40))
    for row, count in enumerate(counts):
        X[row, :count] = 1
    _, test = random_split(Interactions.from_csr(sp.csr_array(X)), 0.2, per_user=True, random_state=0)
    assert test.by_user.row_counts().tolist() == [0, 0, 0, 1, 2, 8]
    _, test = random_split(Interactions.from_csr(sp.csr_array(X)), 3, per_user=True, random_state=0)
    assert test.by_user.row_counts().tolist() == [0, 0, 1, 2, 3, 3]
    with pytest.raises(ValueError, match=r"random_split: test_size=0.2 takes no pair of any user"):
        random_split(np.eye(4), 0.2, per_user=True)
    with pytest.raises(TypeError, match="random_split: per_user must be True or False, got 1"):
        random_split(X, per_user=1)


# ---------------------------------------------------------------------- user_split


def test_user_split_keeps_users_whole():
    data = make()
    train, test = user_split(data, 0.25, random_state=0)
    counts = np.stack([train.by_user.row_counts(), test.by_user.row_counts()])
    assert np.all(counts.min(axis=0) == 0)
    assert np.count_nonzero(counts[1]) == 10
    assert np.count_nonzero(counts[0]) == 30


def test_user_split_counts_users_with_interactions():
    X = np.zeros((100, 3))
    X[::10] = 1
    _, test = user_split(X, 0.5, random_state=0)
    assert np.count_nonzero(test.by_user.row_counts()) == 5
    _, test = user_split(X, 9, random_state=0)
    assert np.count_nonzero(test.by_user.row_counts()) == 9


def test_held_out_users_split_into_what_is_told_and_what_is_asked():
    _, test = user_split(make(), random_state=0)
    fold_in, target = random_split(test, 0.5, per_user=True, random_state=0, leakage="ignore")
    assert_partition(test, fold_in, target)
    assert_array_equal(fold_in.by_user.row_counts() > 0, test.by_user.row_counts() > 0)


# ---------------------------------------------------------------------- temporal_split


def events_of(data):
    return list(zip(*(column.tolist() for column in data.events()), strict=True))


@given(st.integers(0, 2**32), st.integers(1, 199), st.sampled_from(["sum", "last"]))
def test_temporal_split_merges_each_side_on_its_own(seed, cutoff, duplicates):
    data = make(80, 6, 6, seed, duplicates)
    whole = data.events()
    later = whole.timestamps >= cutoff
    if later.all() or not later.any():
        return
    for repeats in ("keep", "drop"):
        train, test = temporal_split(data, cutoff=cutoff, repeats=repeats)
        for part, side in ((train, ~later), (test, later)):
            ids = {"user_ids": data.user_ids, "item_ids": data.item_ids}
            arrays = [column[side] for column in (whole.users, whole.items, whole.values, whole.timestamps)]
            expected = Interactions.from_arrays(*arrays, duplicates=duplicates, **ids)
            if part is test and repeats == "drop":
                seen = pairs(train)
                expected = expected.keep_entries([pair not in seen for pair in pairs_in_order(expected)])
            assert events_of(part) == events_of(expected)
            assert_array_equal(dense(part), dense(expected))
            assert_array_equal(part.timestamps, expected.timestamps)


def pairs_in_order(data):
    return list(zip(data.by_user.row_numbers().tolist(), data.by_user.indices.tolist(), strict=True))


def test_train_knows_nothing_of_what_happened_later():
    data = Interactions.from_arrays([1, 1, 1], [5, 5, 5], [1, 2, 4], [10, 20, 30])
    for duplicates, before, after in (("sum", 1, 6), ("last", 1, 4)):
        data = Interactions.from_arrays([1, 1, 1], [5, 5, 5], [1, 2, 4], [10, 20, 30], duplicates=duplicates)
        train, test = temporal_split(data, cutoff=15, repeats="keep")
        assert dense(train).tolist() == [[before]]
        assert dense(test).tolist() == [[after]]
        assert temporal_split(data, cutoff=15)[1].nnz == 0


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_temporal_split_by_share(share):
    data = make()
    train, test = temporal_split(data, share, repeats="keep")
    assert train.event_timestamps.max() < test.event_timestamps.min()
    assert train.n_events + test.n_events == data.n_events
    # At least the share, and no more than the events of one more moment.
    moment = np.count_nonzero(data.event_timestamps == test.event_timestamps.min())
    assert share * data.n_events <= test.n_events < share * data.n_events + moment + 1


def test_temporal_split_takes_a_fifth_by_default_and_a_count():
    data = Interactions.from_arrays(np.zeros(10, int), np.arange(10), timestamps=np.arange(10))
    assert temporal_split(data)[1].item_index([8, 9]).tolist() == [8, 9]
    assert temporal_split(data)[1].nnz == 2
    assert temporal_split(data, 3)[1].nnz == 3


def test_events_of_one_moment_stay_together():
    data = Interactions.from_arrays(np.zeros(6, int), np.arange(6), timestamps=[1, 2, 2, 2, 2, 3])
    assert temporal_split(data, 2)[1].nnz == 5
    first = Interactions.from_arrays(np.zeros(6, int), np.arange(6), timestamps=[1, 1, 1, 1, 2, 3])
    assert temporal_split(first, 4)[1].nnz == 2
    with pytest.raises(ValueError, match="all 3 events have one timestamp, so time cannot split them"):
        temporal_split(Interactions.from_arrays([1, 2, 3], [1, 2, 3], timestamps=[7, 7, 7]))


@pytest.mark.parametrize(
    "cutoff",
    [
        "2020-01-03",
        "2020-01-03T00:00:00Z",
        "2020-01-03T01:00:00+01:00",
        dt.date(2020, 1, 3),
        dt.datetime(2020, 1, 3),
        dt.datetime(2020, 1, 3, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        np.datetime64("2020-01-03"),
        np.datetime64("2020-01-03", "ns").astype(int),
    ],
    ids=str,
)
def test_cutoffs_of_many_kinds(cutoff):
    days = np.array(["2020-01-01", "2020-01-03", "2020-01-04"], "M8[D]")
    train, test = temporal_split(Interactions.from_arrays([1, 1, 2], [1, 2, 3], timestamps=days), cutoff=cutoff)
    assert (train.nnz, test.nnz) == (1, 2)


def test_float_timestamps_and_cutoffs():
    data = Interactions.from_arrays([1, 1, 2], [1, 2, 3], timestamps=[0.5, 1.5, 2.5])
    assert temporal_split(data, cutoff=1.5)[1].nnz == 2
    assert temporal_split(data, cutoff=1)[1].nnz == 2


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"cutoff": "2020-01-03"}, TypeError, "the timestamps are plain numbers, so cutoff must be one too"),
        ({"cutoff": np.nan}, ValueError, "cutoff must be a moment, got NaN"),
        ({"cutoff": True}, TypeError, "cutoff must be one too, got True"),
        ({"cutoff": 5, "test_size": 0.2}, ValueError, "test_size and cutoff exclude each other"),
        ({"cutoff": 0}, ValueError, "no event lies before the cutoff 0; they run from 0 to 199"),
        ({"cutoff": 500}, ValueError, "no event lies on or after the cutoff 500; they run from 0 to 199"),
        ({"repeats": "sum"}, ValueError, "repeats must be one of 'drop', 'keep', got 'sum'"),
        ({"test_size": 1.0}, ValueError, "test_size must be < 1"),
        ({"test_size": 10**6}, ValueError, "of 600 events leaves none for train or for test"),
    ],
    ids=str,
)
def test_temporal_split_refuses(arguments, error, match):
    with pytest.raises(error, match=f"^temporal_split: .*{match}"):
        temporal_split(make(), **arguments)


def test_bad_dates_are_refused():
    data = Interactions.from_arrays([1, 2], [1, 2], timestamps=np.array(["2020-01-01", "2020-02-01"], "M8[s]"))
    with pytest.raises(ValueError, match="temporal_split: cutoff must be a date, as in '2026-01-31', got 'soon'"):
        temporal_split(data, cutoff="soon")
    with pytest.raises(ValueError, match=r"cutoff must be a date, as in '2026-01-31', got .*NaT"):
        temporal_split(data, cutoff=np.datetime64("NaT", "s"))
    with pytest.raises(TypeError, match=r"cutoff must be a date, an ISO 8601 string or a number, got \[1\]"):
        temporal_split(data, cutoff=[1])
    with pytest.raises(ValueError, match=r"before the cutoff 2019-01-01T.* run from 2020-01-01T.* to 2020-02-01T"):
        temporal_split(data, cutoff="2019-01-01")


@pytest.mark.parametrize("split", [temporal_split, leave_last_out])
def test_time_is_needed(split):
    with pytest.raises(ValueError, match=f"^{split.__name__}: the interactions have no timestamps"):
        split(make(timestamps=False))
    with pytest.raises(TypeError, match=f"^{split.__name__}: expected an Interactions with timestamps, got csr_array"):
        split(sp.csr_array(np.eye(3)))


# ---------------------------------------------------------------------- leave_last_out


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("duplicates", ["sum", "last"])
def test_leave_last_out_takes_the_latest_of_each_user(k, duplicates):
    data = make(duplicates=duplicates)
    train, test = leave_last_out(data, k)
    if duplicates == "last":  # of summed pairs, train loses later events
        assert_partition(data, train, test)
    assert pairs(train).isdisjoint(pairs(test))
    assert train.nnz + test.nnz == data.nnz
    counts = data.by_user.row_counts()
    assert_array_equal(test.by_user.row_counts(), np.where(counts > k, k, 0))
    for row in range(data.n_users):
        span = slice(*data.by_user.indptr[row : row + 2])
        by_time = sorted(zip(data.timestamps[span], data.by_user.indices[span], strict=True))
        expected = {item for _, item in by_time[-k:]} if len(by_time) > k else set()
        assert set(test.by_user.row(row)[0].tolist()) == expected


def test_leave_last_out_trains_on_nothing_later_than_what_is_held_out():
    users, items = [1, 1, 1, 1, 2, 2, 2], list("aabaabb")
    data = Interactions.from_arrays(users, items, [1, 2, 4, 8, 1, 1, 1], timestamps=[1, 40, 50, 100, 7, 7, 9])
    train, test = leave_last_out(data)
    kept, held_out = (part.to_frame(library="pandas", events=True) for part in (train, test))
    assert kept["timestamp"].tolist() == [1, 40, 7]
    assert train.by_user.to_scipy().toarray().tolist() == [[3, 0], [1, 0]]
    assert held_out["timestamp"].tolist() == [50, 7, 9]
    data = make()
    train, test = leave_last_out(data, 2)
    first = np.full(data.n_users, np.iinfo(np.int64).max)
    np.minimum.at(first, test.by_user.row_numbers(), test.timestamps)
    users = np.repeat(train.by_user.row_numbers(), np.diff(train.log.indptr))
    assert (train.log.timestamps <= first[users]).all()
    # And nothing else is lost: of the held-out pairs every event is in test, of the others every earlier one in train.
    events = data.events()
    held_out = dense(test)[events.users, events.items] != 0
    assert_array_equal(test.events().values, events.values[held_out])
    assert_array_equal(train.events().values, events.values[~held_out & (events.timestamps <= first[events.users])])


def test_leave_last_out_keeps_all_of_users_of_whom_nothing_is_held_out():
    data = Interactions.from_arrays([1, 1, 2, 2], list("aaab"), timestamps=[1, 100, 5, 6])
    train, _ = leave_last_out(data)
    assert train.events().timestamps.tolist() == [1, 100, 5]


def test_leave_last_out_breaks_ties_by_item_row():
    data = Interactions.from_arrays([1, 1, 1], [30, 10, 20], timestamps=[5, 5, 5])
    assert leave_last_out(data)[1].by_user.indices.tolist() == [2]


def test_leave_last_out_of_users_with_little():
    data = Interactions.from_arrays([1, 2, 2], [1, 1, 2], timestamps=[1, 2, 3])
    train, test = leave_last_out(data)
    assert test.by_user.row_counts().tolist() == [0, 1]
    assert train.by_user.row_counts().tolist() == [1, 1]
    assert leave_last_out(data, 2)[1].nnz == 0
    for bad, error in ((0, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="leave_last_out: k must be"):
            leave_last_out(data, bad)
