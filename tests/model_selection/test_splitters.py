"""Windows, folds, cold starts and filters; every split as scikit-learn's splitter; what leaks, and who says so."""

from __future__ import annotations

import datetime as dt
import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score, cross_validate

import likewise as lw
from likewise import model_selection as ms
from likewise.data import event_index
from likewise.exceptions import LeakageWarning

TIMED = {
    "temporal": ms.TemporalSplit(0.2),
    "temporal, kept": ms.TemporalSplit(0.2, repeats="keep"),
    "rolling": ms.RollingSplit(3),
    "rolling, durations": ms.RollingSplit(3, test_duration=30, train_duration=60, gap=10),
    "cold items": ms.ColdStartSplit(cutoff=20),
    "cold users": ms.ColdStartSplit(cutoff=5, cold="users"),
    "filtered": ms.FilteredSplit(ms.TemporalSplit(0.2), min_user_count=3, min_item_count=2),
    "in the core": ms.FilteredSplit(ms.TemporalSplit(0.2), k_core=6),
}
SPLITTERS = {
    **TIMED,
    "random": ms.RandomSplit(0.3, 3, random_state=0, leakage="ignore"),
    "random per user": ms.RandomSplit(0.3, per_user=True, random_state=0, leakage="ignore"),
    "last": ms.LeaveLastOut(2),
    "folds": ms.InteractionKFold(4, random_state=0, leakage="ignore"),
    "items": ms.ItemSplit(0.3, 2, random_state=0, leakage="ignore"),
    "filtered random": ms.FilteredSplit(ms.RandomSplit(0.5, random_state=0, leakage="ignore"), min_user_count=6),
    "users": ms.UserSplit(0.3, 2, random_state=0),
    "user folds": ms.UserKFold(4, random_state=0),
}


@pytest.fixture(scope="module")
def data():
    """Six hundred events, repeated pairs among them, new users and items as time goes on."""
    rng = np.random.default_rng(5)
    times = rng.integers(0, 200, 600)
    users = (rng.random(600) * (10 + times / 5)).astype(int)
    items = (rng.random(600) * (10 + times / 10)).astype(int)
    return lw.Interactions.from_arrays(users, items, rng.random(600) + 0.1, times)


def dense(data):
    return data.by_user.to_scipy().toarray()


def assert_partition(data, train, test):
    assert not np.logical_and(dense(train), dense(test)).any()
    assert_array_equal(dense(train) + dense(test), dense(data))


# ---------------------------------------------------------------------- splitters


@pytest.mark.parametrize("splitter", SPLITTERS.values(), ids=SPLITTERS)
def test_splitter_yields_what_its_parts_are(splitter, data):
    found = list(splitter.split(data))
    parts = list(splitter.parts(data))
    assert len(found) == len(parts) == splitter.get_n_splits(data)
    for indices, expected in zip(found, parts, strict=True):
        for index, part in zip(indices, expected, strict=True):
            if not isinstance(splitter, ms.UserSplit | ms.UserKFold):
                assert_array_equal(dense(data[index]), dense(part))
                assert_array_equal(data[index].timestamps, part.timestamps)
                assert data[index].is_part
                assert data[index].shape == data.shape
            else:
                assert_array_equal(dense(data[index]), dense(part)[index])
                assert part.nnz == data[index].nnz


@pytest.mark.parametrize("splitter", SPLITTERS.values(), ids=SPLITTERS)
def test_splitter_repeats_and_shows_itself(splitter, data):
    for once, again in zip(splitter.split(data), splitter.split(data), strict=True):
        assert_array_equal(once[0], again[0])
        assert_array_equal(once[1], again[1])
    assert repr(eval(repr(splitter), vars(ms))) == repr(splitter)


@pytest.mark.parametrize("splitter", SPLITTERS.values(), ids=SPLITTERS)
def test_splitter_serves_cross_validation(splitter, data):
    found = cross_validate(lw.ItemKNN(k=5), data, cv=splitter, return_train_score=True, error_score="raise")
    assert found["test_score"].shape == (splitter.get_n_splits(),)
    assert (found["test_score"] >= 0).all()
    assert (found["train_score"] > 0).all()


def test_cross_validation_ranks_for_fitted_users_what_was_held_out(data):
    """The score of a part is NDCG@10 of `evaluate`, of ratings minus the RMSE."""
    cv = ms.TemporalSplit(0.2)
    [(train, test)] = cv.parts(data)
    model = lw.ItemKNN(k=5)
    expected = lw.evaluate(model.fit(train), train, test, "ndcg@10")["ndcg@10"]
    assert cross_val_score(model, data, cv=cv) == pytest.approx([expected])
    kept = ms.TemporalSplit(0.2, repeats="keep")
    [(train, test)] = kept.parts(data)
    expected = lw.evaluate(model.fit(train), train, test, "ndcg@10")["ndcg@10"]
    assert cross_val_score(model, data, cv=kept) == pytest.approx([expected])
    ratings = lw.BaselinePredictor()
    expected = lw.evaluate(ratings.fit(train), train, test, "rmse")["rmse"]
    assert cross_val_score(ratings, data, cv=kept) == pytest.approx([-expected])


def test_score_of_parts_of_two_splits_is_an_error(data):
    (_, test), (train, _) = *ms.TemporalSplit(0.2).split(data), *ms.UserSplit(0.2, random_state=0).split(data)
    model = lw.Popularity().fit(data[train])
    with pytest.raises(ValueError, match="give both parts of one split"):
        model.score(data[test])


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV], ids=lambda s: s.__name__)
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_searches_take_a_splitter(search, n_jobs, data):
    found = search(lw.ItemKNN(), {"k": [1, 5, 10]}, cv=ms.RollingSplit(2), n_jobs=n_jobs, error_score="raise").fit(data)
    assert found.best_params_["k"] in (1, 5, 10)
    assert found.best_estimator_.interactions_.nnz == data.nnz


@pytest.mark.parametrize("splitter", SPLITTERS.values(), ids=SPLITTERS)
def test_splitters_of_events_say_what_they_take(splitter, data):
    matrix = data.by_user.to_scipy()
    if isinstance(splitter, ms.UserSplit | ms.UserKFold):
        train, test = next(splitter.split(matrix))
        assert sorted([*train, *test]) == list(range(matrix.shape[0]))
    else:
        with pytest.raises(TypeError, match="X must be an Interactions, got csr_array; build one"):
            next(splitter.split(matrix))


def test_several_draws_differ_and_one_is_the_functions(data):
    one, two = ms.RandomSplit(0.3, 2, random_state=3, leakage="ignore").parts(data)
    assert np.any(dense(one[1]) != dense(two[1]))
    [(train, test)] = ms.RandomSplit(0.3, random_state=3, leakage="ignore").parts(data)
    by_function = ms.random_split(data, 0.3, random_state=3, leakage="ignore")
    assert_array_equal(dense(train), dense(by_function[0]))
    assert_array_equal(dense(test), dense(by_function[1]))


def test_numbers_of_events_are_no_rows(data):
    index = event_index(np.array([8, 3, 5]))
    part = data[index]
    assert part.is_part
    assert pickle.loads(pickle.dumps(part)).is_part
    assert_array_equal(part.event_timestamps, data.event_timestamps[[3, 5, 8]])
    assert not data[np.array([3, 5])].is_part
    with pytest.raises(IndexError, match=r"event 600 is outside \[0, 600\)"):
        data[event_index(np.array([600]))]
    with pytest.raises(IndexError, match=r"row .* is outside"):
        data[np.array([1, *index])]
    with pytest.raises(IndexError):
        data.by_user.to_scipy()[index]


# ---------------------------------------------------------------------- windows


def test_windows_move_on_without_overlap(data):
    ends = []
    for train, test in ms.rolling_splits(data, 4, repeats="keep"):
        assert train.event_timestamps.max() < test.event_timestamps.min()
        ends.append((test.event_timestamps.min(), test.event_timestamps.max()))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    assert ends[-1][1] == data.event_timestamps.max()


def test_windows_of_durations(data):
    for i, (train, test) in enumerate(
        ms.rolling_splits(data, 3, test_duration=20, train_duration=50, gap=5, repeats="keep")
    ):
        start = 200 - (3 - i) * 20
        times = data.event_timestamps
        assert train.n_events == np.count_nonzero((times >= start - 55) & (times < start - 5))
        assert test.n_events == np.count_nonzero((times >= start) & (times < start + 20))


@pytest.mark.parametrize("day", ["1D", "24h", "D", dt.timedelta(days=1), np.timedelta64(1, "D"), 86_400 * 10**9])
def test_durations_of_dates(day):
    times = np.arange("2026-01-01", "2026-01-11", dtype="datetime64[D]")
    data = lw.Interactions.from_arrays(np.zeros(10, int), np.arange(10), timestamps=times)
    found = [(train.nnz, test.nnz) for train, test in ms.rolling_splits(data, 3, test_duration=day, gap=day)]
    assert found == [(6, 1), (7, 1), (8, 1)]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"test_duration": "30D"}, TypeError, "timestamps are plain numbers, so test_duration must be one too"),
        ({"test_duration": 0}, ValueError, "test_duration must be above 0, got 0"),
        ({"gap": -1}, ValueError, "gap must be above 0, got -1"),
        ({"train_duration": np.inf}, ValueError, "train_duration must be finite"),
        ({"gap": None}, TypeError, "gap must be"),
        ({"n_splits": 0}, ValueError, "n_splits must be >= 1"),
        ({"n_splits": 700}, ValueError, "600 events do not fill 701 windows"),
        ({"test_duration": 150, "n_splits": 3}, ValueError, "the train window of the test from -250 has no event"),
        ({"repeats": "all"}, ValueError, "repeats must be one of"),
    ],
)
def test_bad_windows(data, options, error, match):
    with pytest.raises(error, match=f"^rolling_splits: .*{match}"):
        list(ms.rolling_splits(data, **options))


@pytest.mark.parametrize("bad", ["a day", "1Y", "-1D", object(), True])
def test_bad_durations_of_dates(bad):
    data = lw.Interactions.from_arrays([1, 1], [1, 2], timestamps=["2026-01-01", "2026-01-02"])
    with pytest.raises((TypeError, ValueError), match="test_duration must be a"):
        list(ms.rolling_splits(data, 1, test_duration=bad))


# ---------------------------------------------------------------------- folds


@pytest.mark.parametrize("per_user", [True, False])
def test_every_pair_is_in_one_fold(data, per_user):
    folds = list(ms.interaction_folds(data, 5, per_user=per_user, random_state=0, leakage="ignore"))
    for train, test in folds:
        assert_partition(data, train, test)
    assert_array_equal(sum(dense(test) for _, test in folds), dense(data))
    assert np.ptp([test.nnz for _, test in folds]) <= 1
    if per_user:
        counts = np.stack([test.by_user.row_counts() for _, test in folds])
        assert np.ptp(counts, axis=0).max() <= 1


def test_every_user_is_in_one_fold(data):
    folds = list(ms.user_folds(data, 4, random_state=0))
    for train, test in folds:
        assert_partition(data, train, test)
        assert not (train.by_user.row_counts() * test.by_user.row_counts()).any()
    assert_array_equal(sum((test.by_user.row_counts() > 0).astype(int) for _, test in folds), 1)


@pytest.mark.parametrize("folds", [ms.interaction_folds, ms.user_folds])
def test_too_many_folds(folds):
    with pytest.raises(ValueError, match=rf"{folds.__name__}: n_splits=4 folds of 3 .* leave some empty"):
        folds(np.eye(3), 4)
    with pytest.raises(ValueError, match="n_splits must be >= 2"):
        folds(np.eye(3), 1)


# ---------------------------------------------------------------------- cold starts and filters


@pytest.mark.parametrize("cold", ["items", "users", "either", "both"])
def test_cold_things_are_new_in_test(cold):
    rng = np.random.default_rng(0)
    times = rng.integers(0, 100, 500)
    data = lw.Interactions.from_arrays(
        (rng.random(500) * (9 + times)).astype(int), (rng.random(500) * (9 + times)).astype(int), timestamps=times
    )
    train, test = ms.cold_start_split(data, cutoff=40, cold=cold)
    new_user = train.by_user.row_counts()[test.events().users] == 0
    new_item = train.by_item.row_counts()[test.events().items] == 0
    is_cold = {"items": new_item, "users": new_user, "either": new_user | new_item, "both": new_user & new_item}[cold]
    assert is_cold.all()
    later = data.keep_events(data.event_timestamps >= 40).events()
    new_user = train.by_user.row_counts()[later.users] == 0
    new_item = train.by_item.row_counts()[later.items] == 0
    expected = {"items": new_item, "users": new_user, "either": new_user | new_item, "both": new_user & new_item}[cold]
    assert test.n_events == np.count_nonzero(expected) > 0


def test_nothing_cold_is_an_error():
    data = lw.Interactions.from_arrays([1, 2, 1, 2], [1, 2, 2, 1], timestamps=[0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"no event from the cutoff on is cold \(cold='users'\)"):
        ms.cold_start_split(data, cutoff=1, cold="users")


def test_item_split_keeps_items_whole(data):
    train, test = ms.item_split(data, 0.25, random_state=0, leakage="ignore")
    assert_partition(data, train, test)
    assert not (train.by_item.row_counts() * test.by_item.row_counts()).any()


def test_filter_test_asks_train(data):
    train, test = ms.temporal_split(data, 0.3)
    kept = ms.filter_test(train, test, min_user_count=4, min_item_count=7)
    users, items = test.by_user.row_numbers(), test.by_user.indices
    enough = (train.by_user.row_counts()[users] >= 4) & (train.by_item.row_counts()[items] >= 7)
    assert 0 < kept.nnz == np.count_nonzero(enough) < test.nnz
    assert kept.shape == data.shape
    by_core = ms.filter_test(train, test, k_core=8)
    core = train.k_core(8)
    in_core = np.isin(data.user_ids, core.user_ids)[users] & np.isin(data.item_ids, core.item_ids)[items]
    assert 0 < by_core.nnz == np.count_nonzero(in_core) < test.nnz
    with pytest.raises(ValueError, match="give parts of one split"):
        ms.filter_test(train[:3], test)
    with pytest.raises(TypeError, match="expected two Interactions, got ndarray"):
        ms.filter_test(train, np.eye(3))


def test_filtered_splits_wrap_splitters_that_keep_users(data):
    with pytest.raises(TypeError, match=r"must be one of likewise\.model_selection that keeps users"):
        next(ms.FilteredSplit(ms.UserKFold()).split(data))


# ---------------------------------------------------------------------- leaks


@pytest.mark.parametrize("splitter", TIMED.values(), ids=TIMED)
def test_splits_by_time_do_not_leak(splitter, data):
    for train, test in splitter.parts(data):
        leak = ms.find_leakage(train, test)
        assert leak.n_before_any == leak.n_before_own == 0
        if "keep" not in repr(splitter):
            assert not leak
            assert str(leak) == "nothing leaks"


def test_a_planted_leak_is_found():
    """Two test events before the last train event, one of them of the same user, and a pair of both."""
    test = lw.Interactions.from_arrays([1, 2, 2, 1], list("cabb"), timestamps=[30, 20, 50, 60], item_ids=list("abc"))
    train = lw.Interactions.from_arrays([1, 1, 2], list("abb"), timestamps=[10, 40, 15], item_ids=list("abc"))
    leak = ms.find_leakage(train, test)
    assert leak
    assert (leak.n_test_events, leak.n_shared_pairs, leak.n_before_own, leak.n_before_any) == (4, 2, 1, 2)
    assert str(leak).splitlines() == [
        "2 of 4: pairs of test are in train",
        "1 of 4: test events happened before train events of the same user",
        "2 of 4: test events happened before the last train event",
    ]


def test_leaks_are_looked_for_without_times():
    leak = ms.find_leakage(np.eye(2), np.array([[0, 1], [0, 1]]))
    assert (leak.n_shared_pairs, leak.n_before_own) == (1, None)
    assert "times could not be compared" in str(leak)


def test_leave_last_out_knows_what_became_popular_later(data):
    leak = ms.find_leakage(*ms.leave_last_out(data))
    assert leak.n_before_own == leak.n_shared_pairs == 0
    assert leak.n_before_any > 0


@pytest.mark.parametrize(
    "split",
    [ms.random_split, ms.item_split, lambda data, **options: list(ms.interaction_folds(data, **options))],
    ids=["random_split", "item_split", "interaction_folds"],
)
def test_a_split_that_leaks_says_so(split, data):
    with pytest.warns(LeakageWarning, match="test events happened before train events of the same user, so a model"):
        split(data, random_state=0)
    with pytest.raises(ValueError, match="take temporal_split or leave_last_out, or give leakage='ignore'"):
        split(data, random_state=0, leakage="error")
    with pytest.raises(ValueError, match="leakage must be one of"):
        split(data, random_state=0, leakage="maybe")
    split(data, random_state=0, leakage="ignore")
    split(lw.Interactions.from_csr(data.by_user.to_scipy()), random_state=0)  # without times nobody can tell


def test_a_random_split_that_happens_not_to_leak_is_silent():
    data = lw.Interactions.from_arrays([1, 2, 3, 4], [1, 2, 3, 4], timestamps=[1, 2, 3, 4])
    ms.random_split(data, 0.5, random_state=0)


def test_empty_data_cannot_be_split_by_time():
    empty = lw.Interactions.from_arrays(
        np.zeros(0, int), np.zeros(0, int), timestamps=np.zeros(0), user_ids=[1], item_ids=[1]
    )
    for split in (ms.temporal_split, ms.leave_last_out, ms.cold_start_split, ms.rolling_splits):
        with pytest.raises(ValueError, match="there are no interactions to split"):
            split(empty)
