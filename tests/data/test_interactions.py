from __future__ import annotations

import datetime as dt
import pickle
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import KFold
from sklearn.utils import _safe_indexing

from likewise.data import CSR, Interactions, RowNumbers, as_interactions

USERS = ["ann", "bob", "ann", "cat", "ann"]
ITEMS = [10, 20, 10, 30, 90]
VALUES = [1.0, 2.0, 3.0, 4.0, 5.0]
DAYS = [3, 2, 1, 5, 5]
DATES = [f"2020-01-{day:02d}T06:30:00" for day in DAYS]

SUM = [[4, 0, 0, 5], [0, 2, 0, 0], [0, 0, 4, 0]]
LAST_GIVEN = [[3, 0, 0, 5], [0, 2, 0, 0], [0, 0, 4, 0]]
LAST_BY_TIME = [[1, 0, 0, 5], [0, 2, 0, 0], [0, 0, 4, 0]]


def columns(**changes):
    return {"user": USERS, "item": ITEMS, "rating": VALUES, "ts": np.array(DATES, "M8[ns]"), **changes}


FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars-lazy": pl.LazyFrame,
    "pyarrow": pa.table,
}


@pytest.fixture(params=FRAMES.values(), ids=FRAMES)
def frame(request):
    return request.param


def build(duplicates="sum", timestamps=DAYS):
    return Interactions.from_arrays(USERS, ITEMS, VALUES, timestamps, duplicates=duplicates)


def dense(data):
    return data.by_user.to_scipy().toarray()


def assert_same(one, other):
    assert one.shape == other.shape
    assert_array_equal(dense(one), dense(other))
    for mine, theirs in zip(one.events(), other.events(), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_array_equal(mine, theirs)
    for name in ("user_map", "item_map", "timestamp_unit", "duplicates"):
        assert getattr(one, name) == getattr(other, name)
    if one.timestamps is not None:
        assert_array_equal(one.timestamps, other.timestamps)


# ---------------------------------------------------------------------- building


@pytest.mark.parametrize(("duplicates", "expected"), [("sum", SUM), ("last", LAST_BY_TIME)])
def test_from_frame(frame, duplicates, expected):
    data = Interactions.from_frame(frame(columns()), value="rating", timestamp="ts", duplicates=duplicates)
    assert data.shape == (3, 4)
    assert data.user_ids.tolist() == ["ann", "bob", "cat"]
    assert data.item_ids.tolist() == [10, 20, 30, 90]
    assert data.item_ids.dtype == np.int64
    assert_array_equal(dense(data), expected)
    assert data.timestamp_unit == "ns"
    first_or_last = 1 if duplicates == "sum" else 3
    days = data.timestamps.astype("M8[ns]") - np.datetime64("2020-01-01T06:30")
    assert_array_equal(days / np.timedelta64(1, "D") + 1, [first_or_last, 5, 2, 5])


def test_from_frame_without_values_counts(frame):
    data = Interactions.from_frame(frame(columns()))
    assert_array_equal(dense(data), [[2, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]])
    assert data.timestamps is None
    assert data.n_events == data.nnz == 4


def test_from_frame_agrees_with_from_arrays(frame):
    data = Interactions.from_frame(frame(columns()), value="rating", timestamp="ts")
    assert_same(data, Interactions.from_arrays(USERS, ITEMS, VALUES, np.array(DATES, "M8[ns]")))


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=30))
def test_from_frame_orders_strings_as_from_arrays_does(pairs_of_ids):
    users, items = (list(column) for column in zip(*pairs_of_ids, strict=True))
    expected = Interactions.from_arrays(users, items)
    for make in (pd.DataFrame, pl.DataFrame, pa.table):
        assert_same(Interactions.from_frame(make({"user": users, "item": items})), expected)


def test_from_frame_takes_columns_by_any_name(frame):
    df = frame({"who": [1, 2], "what": [3, 4], "item": ["x", "y"]})
    data = Interactions.from_frame(df, user="who", item="what")
    assert data.user_ids.tolist() == [1, 2]
    assert data.item_ids.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: pd.Series([3, 1, 2], dtype="Int64"), "int64"),
        (lambda: pd.Series([3, 1, 2], dtype="uint8"), "int64"),
        (lambda: pd.Series(["c", "a", "b"], dtype="category"), "string"),
        (lambda: pd.Series(pd.Categorical(["c", "a", "b"], ["z", "c", "b", "a"], ordered=True)), "string"),
        (lambda: pd.Series([3, 1, 2], dtype="category"), "string"),
        (lambda: pd.Series(["c", "a", "b"], dtype=object), "string"),
        (lambda: pd.Series(["c", "a", "b"], dtype="string"), "string"),
        (lambda: pd.Series(["c", "a", "b"], dtype="string[pyarrow]"), "string"),
        (lambda: pd.Series([uuid.UUID(int=i) for i in (3, 1, 2)]), "uuid"),
    ],
    ids=[
        "Int64",
        "uint8",
        "category",
        "ordered category",
        "category of numbers",
        "object",
        "string",
        "pyarrow",
        "uuid",
    ],
)
def test_from_frame_takes_pandas_dtypes(make, kind):
    data = Interactions.from_frame(pd.DataFrame({"user": make(), "item": [1, 2, 3]}))
    assert data.user_map.kind == kind
    assert_array_equal(dense(data), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: pl.Series(["c", "a", "b"], dtype=pl.Categorical), "string"),
        (lambda: pl.Series(["c", "a", "b"], dtype=pl.Enum(["a", "b", "c"])), "string"),
        (lambda: pl.Series([3, 1, 2], dtype=pl.UInt16), "int64"),
        (lambda: pl.Series([uuid.UUID(int=i) for i in (3, 1, 2)], dtype=pl.Object), "uuid"),
    ],
    ids=["categorical", "enum", "uint16", "uuid"],
)
def test_from_frame_takes_polars_dtypes(make, kind):
    data = Interactions.from_frame(pl.DataFrame({"user": make(), "item": [1, 2, 3]}))
    assert data.user_map.kind == kind
    assert_array_equal(dense(data), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_from_frame_takes_pyarrow_dictionaries():
    table = pa.table({"user": pa.array(["c", "a", "b"]).dictionary_encode(), "item": [1, 2, 3]})
    assert Interactions.from_frame(table).user_ids.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("encode", [False, True], ids=["strings", "dictionaries"])
def test_from_frame_takes_pyarrow_chunks(encode):
    parts = [pa.array(part, pa.string()) for part in (["c", "a"], [], ["b", "a"])]
    users = pa.chunked_array([part.dictionary_encode() if encode else part for part in parts])
    data = Interactions.from_frame(pa.table({"user": users, "item": ["x", "y", "x", "z"]}))
    assert data.user_ids.tolist() == ["a", "b", "c"]
    assert_array_equal(dense(data), [[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    assert Interactions.from_frame(pa.table({"user": users[:0], "item": users[:0]})).shape == (0, 0)


def test_from_frame_refuses_a_column_of_objects_that_begins_with_strings():
    df = pd.DataFrame({"user": pd.Series([*"abc"] * 100 + [7], dtype=object), "item": range(301)})
    with pytest.raises(TypeError, match=r"user ids mix types: 'a' \(str\) at row 0 and 7 \(int\) at row 300"):
        Interactions.from_frame(df)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"user": ["a", None, "b", "c", "d"]}, ValueError, "user id at row 1 is null"),
        ({"item": [1, 2, None, 3, 4]}, ValueError, "item id at row 2 is null"),
        ({"item": [1.0, 2.0, 2.5, 3.0, 4.0]}, TypeError, "item ids must be integers, strings or UUIDs, got float64"),
        ({"user": [True] * 5}, TypeError, "user ids must be integers, strings or UUIDs, got bool"),
        ({"rating": [1.0, None, 2.0, 3.0, 4.0]}, ValueError, "value at row 1 is null|got NaN at row 1"),
        ({"rating": [1.0, np.nan, 2.0, 3.0, 4.0]}, ValueError, "value at row 1 is null|got NaN at row 1"),
        ({"rating": [1.0, np.inf, 2.0, 3.0, 4.0]}, ValueError, "within float32, got inf at row 1"),
        ({"rating": list("abcde")}, TypeError, "value column 'rating' must be numeric"),
        ({"ts": list("abcde")}, ValueError, "timestamp 'a' at row 0 is not ISO 8601; parse it first"),
        ({"ts": [True] * 5}, TypeError, "timestamps must be dates, ISO 8601 strings or numbers, got bool"),
        ({"ts": [1.0, 2.0, np.inf, 3.0, 4.0]}, ValueError, "timestamps must be finite, got inf at row 2"),
        ({"ts": [1, None, 2, 3, 4]}, ValueError, "timestamp at row 1 is null"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_from_frame_refuses_bad_cells(frame, change, error, match):
    with pytest.raises(error, match=f"^Interactions.from_frame: .*({match})"):
        Interactions.from_frame(frame(columns(**change)), value="rating", timestamp="ts")


@pytest.mark.parametrize("role", ["user", "item", "value", "timestamp"])
def test_from_frame_says_which_columns_there_are(frame, role):
    with pytest.raises(ValueError, match=f"{role} column 'nope' is not there; the columns are .*'rating', 'ts'"):
        Interactions.from_frame(frame(columns()), **{role: "nope"})


@pytest.mark.parametrize("bad", [[1, 2], {"user": [1]}, np.eye(2), sp.csr_array(np.eye(2)), None, "data.csv"], ids=str)
def test_from_frame_refuses_what_is_no_frame(bad):
    with pytest.raises(TypeError, match=r"^Interactions.from_frame: expected a data frame"):
        Interactions.from_frame(bad)


def test_mixed_ids_of_an_object_column_are_refused():
    df = pd.DataFrame({"user": pd.Series(["a", 1], dtype=object), "item": [1, 2]})
    with pytest.raises(TypeError, match="user ids mix types"):
        Interactions.from_frame(df)


def test_time_zones_become_utc(frame):
    moments = pd.to_datetime(DATES).tz_localize("America/New_York")
    series = {"pandas": pd.Series(moments), "other": moments.to_pydatetime().tolist()}
    df = frame(columns(ts=series["pandas" if frame is pd.DataFrame else "other"]))
    data = Interactions.from_frame(df, timestamp="ts", duplicates="last")
    assert data.timestamps[1].astype("M8[ns]") == np.datetime64("2020-01-05T11:30")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_every_unit_are_nanoseconds(unit):
    given = np.array(DATES, f"M8[{unit}]")
    for df in (pd.DataFrame(columns(ts=given)), pa.table(columns(ts=given))):
        data = Interactions.from_frame(df, timestamp="ts")
        assert_array_equal(data.timestamps, build(timestamps=np.array(DATES, "M8[ns]")).timestamps)


def test_date_columns(frame):
    dates = [dt.date(2020, 1, day) for day in DAYS]
    if frame is pd.DataFrame:
        df = pd.DataFrame(columns(ts=pd.array(dates, dtype="date32[pyarrow]")))
    else:
        df = frame(columns(ts=dates))
    data = Interactions.from_frame(df, timestamp="ts")
    assert data.timestamps[0].astype("M8[ns]") == np.datetime64("2020-01-01")


@pytest.mark.parametrize(
    ("given", "expected", "unit"),
    [
        (DAYS, [1, 5, 2, 5], None),
        (np.array(DAYS, np.uint8), [1, 5, 2, 5], None),
        (np.array(DAYS) / 2, [0.5, 2.5, 1, 2.5], None),
        (np.array(DAYS, "M8[D]"), np.array([1, 5, 2, 5]) * 86_400 * 10**9, "ns"),
        ([dt.datetime(1970, 1, 1) + dt.timedelta(day) for day in DAYS], np.array([1, 5, 2, 5]) * 86_400 * 10**9, "ns"),
        (
            [dt.datetime(1970, 1, 1, 5, tzinfo=dt.timezone(dt.timedelta(hours=5))) + dt.timedelta(d) for d in DAYS],
            np.array([1, 5, 2, 5]) * 86_400 * 10**9,
            "ns",
        ),
        ([pd.Timestamp(day) for day in DAYS], [1, 5, 2, 5], "ns"),
        ([f"1970-01-{day + 1:02d}" for day in DAYS], np.array([1, 5, 2, 5]) * 86_400 * 10**9, "ns"),
        ([f"1970-01-01T00:00:00.{day}Z" for day in DAYS], np.array([1, 5, 2, 5]) * 10**8, "ns"),
        ([f"1970-01-01 {day:02d}:30+00:30" for day in DAYS], np.array([1, 5, 2, 5]) * 3_600 * 10**9, "ns"),
        ([dt.date(1970, 1, 1 + day) for day in DAYS], np.array([1, 5, 2, 5]) * 86_400 * 10**9, "ns"),
    ],
    ids=["int", "uint8", "float", "datetime64", "datetime", "zone", "pandas", "iso", "iso-z", "iso-offset", "date"],
)
def test_timestamps_of_arrays(given, expected, unit):
    data = build(timestamps=given)
    assert data.timestamp_unit == unit
    assert_array_equal(data.timestamps, expected)
    assert data.timestamps.dtype == (np.float64 if "." in str(expected[0]) and unit is None else np.int64)
    assert not data.timestamps.flags.writeable


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ([*DATES[:4], "2020-13-01"], ValueError, "timestamp '2020-13-01' at row 4 is not ISO 8601"),
        ([*DATES[:4], "today"], ValueError, "timestamp 'today' at row 4 is not ISO 8601"),
        ([*DATES[:4], ""], ValueError, "timestamp at row 4 is null"),
        ([*DATES[:4], "NaT"], ValueError, "timestamp 'NaT' at row 4 is not ISO 8601"),
        (np.array([*DATES[:4], 5], object), TypeError, "dates, ISO 8601 strings or numbers, got object"),
        (np.array(["NaT"] * 5, "M8[ns]"), ValueError, "timestamp at row 0 is null"),
        (
            np.array([*DATES[:4], "2300-01-01"], "M8[s]"),
            ValueError,
            "years 1678 to 2261, got 2300-01-01T00:00:00 at row 4",
        ),
        ([1, 2, None, 4, 5], ValueError, "timestamp at row 2 is null"),
        ([1.0, 2.0, np.nan, 4.0, 5.0], ValueError, "timestamps must be finite, got nan at row 2"),
        (np.full(5, 2**63, np.uint64), ValueError, "must fit int64"),
        ([DAYS], ValueError, "one-dimensional"),
        (DAYS[:4], ValueError, "timestamps has 4 entries but users has 5"),
        ([True] * 5, TypeError, "got bool"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_timestamps_are_refused(given, error, match):
    with pytest.raises(error, match=f"^Interactions.from_arrays: .*{match}"):
        build(timestamps=given)


def test_from_arrays_with_all_ids_keeps_their_order_and_empty_rows():
    data = Interactions.from_arrays([2, 1], ["b", "b"], user_ids=[3, 2, 1], item_ids=["c", "b"])
    assert data.shape == (3, 2)
    assert data.user_ids.tolist() == [3, 2, 1]
    assert_array_equal(dense(data), [[0, 0], [0, 1], [0, 1]])
    with pytest.raises(KeyError, match=r"Interactions.from_arrays: user 9 is unknown"):
        Interactions.from_arrays([9], ["b"], user_ids=[3, 2, 1])
    with pytest.raises(ValueError, match=r"Interactions.from_arrays: item ids must be distinct"):
        Interactions.from_arrays([9], ["b"], item_ids=["b", "b"])


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (([1, 2], [1]), ValueError, "items has 1 entries but users has 2"),
        (([1, 2], [1, 2], [1.0]), ValueError, "values has 1 entries but users has 2"),
        (([1, 2], [1, 2], [[1.0, 2.0]]), ValueError, "values must be one-dimensional"),
        (([1, 2], [1, 2], ["x", "y"]), TypeError, "values must be real numbers"),
        (([1, 2], [1, 2], [1j, 2j]), TypeError, "values must be real numbers"),
        (([1, 2], [1, 2], [1.0, np.nan]), ValueError, "got NaN at row 1"),
        (([1, 2], [1, 2], [1.0, 1e300]), ValueError, r"got 1e\+300 at row 1"),
    ],
)
def test_from_arrays_refuses(arguments, error, match):
    with pytest.raises(error, match=f"^Interactions.from_arrays: .*{match}"):
        Interactions.from_arrays(*arguments)


def test_empty_input_gives_an_empty_matrix():
    data = Interactions.from_arrays([], [])
    assert data.shape == (0, 0)
    assert data.density == 0
    assert data.summary()["values"] is None
    assert "0 users x 0 items" in repr(data)
    assert data.by_item.shape == (0, 0)
    assert Interactions.from_frame(pd.DataFrame({"user": [], "item": []})).shape == (0, 0)


@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "lil"])
def test_from_csr_speaks_row_numbers(fmt):
    X = sp.random_array((20, 10), density=0.3, format=fmt, dtype=np.float32, rng=np.random.default_rng(0))
    data = Interactions.from_csr(X)
    assert data.user_ids is None
    assert data.item_ids is None
    assert isinstance(data.user_map, RowNumbers)
    assert_array_equal(dense(data), X.toarray())
    assert_array_equal(data.user_labels([[3, -1]]), [[3, -1]])


def test_from_csr_holds_our_matrix_as_it_is():
    matrix = CSR.from_scipy(sp.csr_array(np.eye(3)))
    assert Interactions.from_csr(matrix).by_user is matrix


def test_from_csr_refuses_lists():
    with pytest.raises(TypeError, match=r"^Interactions.from_csr: expected a scipy.sparse matrix, got list$"):
        Interactions.from_csr([[1, 0]])


# ---------------------------------------------------------------------- duplicates


@pytest.mark.parametrize(
    ("duplicates", "timestamps", "expected", "times"),
    [
        ("sum", None, SUM, None),
        ("last", None, LAST_GIVEN, None),
        ("sum", DAYS, SUM, [1, 5, 2, 5]),
        ("last", DAYS, LAST_BY_TIME, [3, 5, 2, 5]),
    ],
)
def test_duplicates(duplicates, timestamps, expected, times):
    data = build(duplicates, timestamps)
    assert_array_equal(dense(data), expected)
    assert data.duplicates == duplicates
    if times is None:
        assert data.timestamps is None
        assert data.n_events == 4
    else:
        assert_array_equal(data.timestamps, times)
        assert data.n_events == 5


def test_duplicates_may_be_refused():
    with pytest.raises(
        ValueError, match="the pair at event 0 stands again at event 2; pass duplicates='sum' or 'last'"
    ):
        build("error")
    data = Interactions.from_arrays([1, 2], [1, 1], duplicates="error")
    assert data.duplicates == "error"


def test_duplicates_must_be_a_known_choice():
    with pytest.raises(ValueError, match="duplicates must be one of 'sum', 'last', 'error', got 'mean'"):
        build("mean")


def test_the_last_of_one_time_is_the_one_given_last():
    data = Interactions.from_arrays([1, 1, 1], [1, 1, 1], [1, 2, 3], [5, 7, 7], duplicates="last")
    assert dense(data).tolist() == [[3]]


def test_sums_are_taken_in_float64():
    # In float32 every one of these ones would be lost beside 2**24.
    values = [2.0**24] + [1.0] * 10
    data = Interactions.from_arrays([0] * 11, [0] * 11, values)
    assert dense(data)[0, 0] == 2**24 + 10


def test_sums_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"the values at \(0, 0\) sum to more than float32 holds"):
        Interactions.from_arrays([1, 1], [1, 1], [3e38, 3e38])


def test_events_are_by_user_item_and_time():
    events = build().events()
    assert events.users.tolist() == [0, 0, 0, 1, 2]
    assert events.items.tolist() == [0, 0, 3, 1, 2]
    assert events.values.tolist() == [3, 1, 5, 2, 4]
    assert events.timestamps.tolist() == [1, 3, 5, 2, 5]


def test_events_without_repeats_are_the_stored_pairs():
    data = Interactions.from_arrays([2, 1], [1, 1], [5, 6], [1, 2])
    assert data.log is None
    events = data.events()
    assert events.values is data.by_user.values
    assert events.timestamps is data.timestamps


@st.composite
def event_lists(draw):
    n = draw(st.integers(1, 40))
    small = st.integers(0, 5)
    columns = [draw(st.lists(small, min_size=n, max_size=n)) for _ in range(4)]
    return [np.array(column) for column in columns]


@given(event_lists(), st.sampled_from(["sum", "last"]))
def test_merging_agrees_with_a_dictionary(case, duplicates):
    users, items, values, times = case
    data = Interactions.from_arrays(users, items, values, times, duplicates=duplicates)
    pairs = {}
    for event in sorted(range(users.size), key=lambda i: times[i]):
        pairs.setdefault((users[event], items[event]), []).append((times[event], values[event]))
    assert data.nnz == len(pairs)
    rows, cols = data.by_user.row_numbers(), data.by_user.indices
    for place, (row, col) in enumerate(zip(rows, cols, strict=True)):
        history = pairs[data.user_ids[row], data.item_ids[col]]
        time, value = history[-1] if duplicates == "last" else (history[0][0], sum(value for _, value in history))
        assert (data.timestamps[place], data.by_user.values[place]) == (time, value)
    assert data.n_events == users.size


@given(event_lists(), st.sampled_from(["sum", "last"]), st.randoms(use_true_random=False))
def test_keep_events_is_building_from_those_events(case, duplicates, random):
    users, items, values, times = case
    data = Interactions.from_arrays(users, items, values, times, duplicates=duplicates)
    events = data.events()
    keep = np.array([random.random() < 0.5 for _ in range(data.n_events)])
    kept = data.keep_events(keep)
    expected = Interactions.from_arrays(
        data.user_ids[events.users[keep]],
        data.item_ids[events.items[keep]],
        events.values[keep],
        events.timestamps[keep],
        duplicates=duplicates,
        user_ids=data.user_ids,
        item_ids=data.item_ids,
    )
    assert_same(kept, expected)


# ---------------------------------------------------------------------- looking


def test_by_item_is_the_transpose_and_computed_once():
    data = build()
    assert_array_equal(data.by_item.to_scipy().toarray(), np.transpose(SUM))
    assert data.by_item is data.by_item


def test_sizes():
    data = build()
    assert (data.n_users, data.n_items, data.nnz) == (3, 4, 4)
    assert data.density == pytest.approx(1 / 3)


def test_data_are_frozen():
    with pytest.raises(AttributeError):
        build().duplicates = "last"
    assert not hasattr(build(), "__dict__")


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("events", [False, True])
def test_to_frame_and_back(library, events):
    data = build(timestamps=np.array(DATES, "M8[ns]"))
    df = data.to_frame(events=events, library=library)
    assert type(df).__module__.startswith(library)
    again = Interactions.from_frame(df, value="value", timestamp="timestamp")
    assert_array_equal(dense(again), SUM)
    assert again.item_ids.tolist() == data.item_ids.tolist()
    assert_array_equal(again.timestamps, data.timestamps)
    if events:
        assert_same(again, data)


def test_to_frame_of_row_numbers_and_uuids():
    df = Interactions.from_csr(sp.csr_array(np.eye(2))).to_frame()
    assert list(df.columns) == ["user", "item", "value"]
    assert df["user"].tolist() == [0, 1]
    label = uuid.UUID(int=5)
    assert Interactions.from_arrays([label], [1]).to_frame()["user"].tolist() == [str(label)]


def test_to_frame_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"Interactions.to_frame: needs a data frame library; install one of pandas"):
        build().to_frame()
    with pytest.raises(ImportError, match=r"Interactions.to_frame: polars is not installed"):
        build().to_frame(library="polars")
    with pytest.raises(ValueError, match="library must be one of 'pandas', 'polars', 'pyarrow', got 'dask'"):
        build().to_frame(library="dask")


def test_summary():
    assert build().summary() == {
        "n_users": 3,
        "n_items": 4,
        "nnz": 4,
        "n_events": 5,
        "density": pytest.approx(1 / 3),
        "per_user": (1, 1.0, 2),
        "per_item": (1, 1.0, 1),
        "values": (2.0, 3.75, 5.0),
        "first": 1,
        "last": 5,
    }
    dated = build(timestamps=np.array(DATES, "M8[ns]")).summary()
    assert dated["first"] == np.datetime64("2020-01-01T06:30")
    assert dated["last"] == np.datetime64("2020-01-05T06:30")


def test_repr():
    assert repr(build()) == (
        "Interactions(3 users x 4 items, 4 stored, 5 events, density 33.3%, string users, int64 items, timestamps)"
    )
    assert repr(Interactions.from_csr(sp.csr_array(np.eye(2)))) == (
        "Interactions(2 users x 2 items, 2 stored, density 50%, row numbers)"
    )


def test_repr_html():
    text = build()._repr_html_()
    assert "<th>nnz</th><td>4</td>" in text
    assert text.startswith("<table>")


def test_pickle():
    data = build().with_info(user_info={"age": [1, 2, 3]})
    again = pickle.loads(pickle.dumps(data))
    assert_same(again, data)
    assert again.user_info["age"].tolist() == [1, 2, 3]


# ---------------------------------------------------------------------- ids and rows


def test_user_index_and_labels():
    data = build()
    assert data.user_index("bob").tolist() == [1]
    assert data.user_index(["cat", "ann"]).tolist() == [2, 0]
    assert data.item_index([90, 10]).tolist() == [3, 0]
    assert data.user_labels([1, -1]).tolist() == ["bob", None]
    assert data.item_labels(np.array([[0, -1], [3, 1]])).tolist() == [[10, -1], [90, 20]]
    with pytest.raises(KeyError, match="recommend: user 'zed' is unknown"):
        data.user_index("zed", "recommend")
    with pytest.raises(KeyError, match=r"Interactions.item_index: item 11 is unknown"):
        data.item_index(11)


def test_row_numbers_outside_are_index_errors():
    data = Interactions.from_csr(sp.csr_array((943, 5), dtype=np.float32))
    with pytest.raises(IndexError, match=r"^recommend: user 1204 is outside \[0, 943\)$"):
        data.user_index([0, 1204], "recommend")
    with pytest.raises(IndexError, match=r"item -1 is outside \[0, 5\)"):
        data.item_index(-1)
    for bad in (1.0, True, "1", np.array([0.0])):
        with pytest.raises(TypeError, match="must be integers"):
            data.user_index(bad)


def test_info_follows_its_rows():
    data = build().with_info(user_info={"age": [1, 2, 3]}, item_info={"title": np.array(list("abcd"), object)})
    assert data.subset_users(["cat", "ann"]).user_info["age"].tolist() == [3, 1]
    assert data.filter(min_item_count=1).item_info["title"].tolist() == list("abcd")
    assert data.filter(min_user_count=2).user_info["age"].tolist() == [1]
    assert data.keep_entries(np.zeros(4, bool)).user_info["age"].tolist() == [1, 2, 3]
    again = data.with_info(user_info={"age": [7, 8, 9], "land": ["x", "y", "z"]})
    assert again.user_info["age"].tolist() == [7, 8, 9]
    assert sorted(again.user_info) == ["age", "land"]
    assert data.user_info["age"].tolist() == [1, 2, 3]
    with pytest.raises(
        ValueError, match=r"item_info\['title'\] must have one entry for each of 4 items, got shape \(1,\)"
    ):
        data.with_info(item_info={"title": ["a"]})


# ---------------------------------------------------------------------- narrowing


@pytest.mark.parametrize("duplicates", ["sum", "last"])
def test_keep_entries_keeps_shape_ids_and_events(duplicates):
    data = build(duplicates)
    kept = data.keep_entries(np.array([True, False, True, False]))
    assert kept.shape == data.shape
    assert kept.user_map is data.user_map
    expected = np.array(SUM if duplicates == "sum" else LAST_BY_TIME)
    expected[0, 3] = expected[2, 2] = 0
    assert_array_equal(dense(kept), expected)
    assert kept.n_events == 3
    assert data.keep_entries(np.array([False, True, True, False])).log is None
    assert data.keep_entries(np.zeros(4, bool)).nnz == 0


@pytest.mark.parametrize("method", ["keep_entries", "keep_events"])
def test_masks_are_checked(method):
    data = build(timestamps=None)
    with pytest.raises(TypeError, match=f"Interactions.{method}: expected a mask of bool, got int64"):
        getattr(data, method)([1, 2])
    with pytest.raises(ValueError, match=rf"Interactions.{method}: the mask must have shape \(4,\), got \(2,\)"):
        getattr(data, method)([True, False])


def test_filter_counts_once():
    # u0: a b; u1: a; u2: b c
    data = Interactions.from_arrays([0, 0, 1, 2, 2], list("ababc"))
    few = data.filter(min_user_count=2)
    assert few.user_ids.tolist() == [0, 2]
    assert few.item_ids.tolist() == ["a", "b", "c"]
    both = data.filter(min_user_count=2, min_item_count=2)
    assert both.item_ids.tolist() == ["a", "b"]
    assert_array_equal(dense(both), [[1, 1], [0, 1]])
    assert data.filter() is data
    with pytest.raises(ValueError, match=r"Interactions.filter: min_user_count must be >= 0, got -1"):
        data.filter(min_user_count=-1)


def brute_k_core(matrix, k):
    rows, columns = np.ones(matrix.shape[0], bool), np.ones(matrix.shape[1], bool)
    while True:
        inside = matrix * rows[:, None] * columns
        new_rows, new_columns = inside.sum(1) >= k, inside.sum(0) >= k
        if (new_rows == rows).all() and (new_columns == columns).all():
            return np.flatnonzero(rows), np.flatnonzero(columns)
        rows, columns = new_rows & rows, new_columns & columns


@pytest.mark.parametrize("k", [1, 2, 3, 5, 50])
def test_k_core_is_the_largest_part_where_all_counts_hold(k):
    rng = np.random.default_rng(0)
    matrix = (rng.random((40, 30)) < rng.random((40, 1)) * 0.3).astype(np.float32)
    core = Interactions.from_csr(sp.csr_array(matrix)).k_core(k)
    rows, columns = brute_k_core(matrix, k)
    assert core.user_map.labels.tolist() == rows.tolist()
    assert core.item_map.labels.tolist() == columns.tolist()
    assert_array_equal(dense(core), matrix[np.ix_(rows, columns)])


def test_k_core_refuses_bad_k():
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"Interactions.k_core: k must be"):
            build().k_core(bad)


def test_row_numbers_stay_names_when_rows_go():
    data = Interactions.from_csr(sp.csr_array(np.array([[0, 0, 0], [1, 0, 1], [0, 0, 1]])))
    left = data.filter(min_user_count=1, min_item_count=1)
    assert left.user_ids.tolist() == [1, 2]
    assert left.item_ids.tolist() == [0, 2]
    assert left.user_index(2).tolist() == [1]
    with pytest.raises(KeyError):
        left.user_index(0)
    only_users = data.filter(min_user_count=1)
    assert only_users.item_ids is None


def test_subset_users_in_the_order_given():
    data = build()
    part = data.subset_users(["cat", "ann"])
    assert part.user_ids.tolist() == ["cat", "ann"]
    assert_array_equal(dense(part), np.array(SUM)[[2, 0]])
    assert part.events().timestamps.tolist() == [5, 1, 3, 5]
    assert part.item_map is data.item_map
    assert data.subset_users("bob").shape == (1, 4)
    assert data.subset_users([]).shape == (0, 4)
    with pytest.raises(KeyError, match=r"Interactions.subset_users: user 'zed' is unknown"):
        data.subset_users(["zed"])
    with pytest.raises(ValueError, match=r"Interactions.subset_users: user 'ann' stands twice"):
        data.subset_users(["ann", "bob", "ann"])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([2, 0], [2, 0]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.array([True, False, True]), [0, 2]),
        (np.array([], int), []),
    ],
    ids=str,
)
def test_getitem_takes_rows(rows, expected):
    part = build()[rows]
    assert part.user_ids.tolist() == [["ann", "bob", "cat"][row] for row in expected]
    assert_array_equal(dense(part), np.array(SUM)[expected].reshape(-1, 4))


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        (0, TypeError, "expected a slice, a mask or an array of row numbers"),
        ([3], IndexError, r"row 3 is outside \[0, 3\)"),
        ([-1], IndexError, "row -1 is outside"),
        ([0, 0], ValueError, "user 'ann' stands twice"),
        (["ann"], TypeError, "row must be integers"),
        ([True], ValueError, r"mask must have shape \(3,\)"),
    ],
)
def test_getitem_refuses(rows, error, match):
    with pytest.raises(error, match=match):
        build()[rows]


def test_scikit_learn_can_split_the_users():
    data = build()
    folds = list(KFold(3).split(data))
    assert len(folds) == 3
    train, test = (_safe_indexing(data, rows) for rows in folds[0])
    assert train.user_ids.tolist() == ["bob", "cat"]
    assert test.user_ids.tolist() == ["ann"]


def test_data_are_not_a_sequence():
    with pytest.raises(TypeError, match="expected a slice"):
        iter(build()).__next__()


def test_binarize():
    data = build()
    assert_array_equal(dense(data.binarize()), np.array(SUM) > 0)
    high = data.binarize(4)
    assert_array_equal(dense(high), np.array(SUM) >= 4)
    assert high.shape == data.shape
    assert high.timestamps.tolist() == [1, 5, 5]
    assert high.n_events == high.nnz == 3
    for bad, error in (("4", TypeError), (np.nan, ValueError), (True, TypeError)):
        with pytest.raises(error, match=r"Interactions.binarize: threshold must be"):
            data.binarize(bad)


# ---------------------------------------------------------------------- joining


def test_aligned_to_speaks_the_other_ids():
    train = Interactions.from_arrays(["ann", "bob", "dan"], [10, 20, 90])
    aligned = build().aligned_to(train, "evaluate", unknown="drop")
    assert aligned[1:] == (1, 1, 1)
    data = aligned.interactions
    assert data.shape == train.shape
    assert data.user_map is train.user_map
    assert data.item_map is train.item_map
    assert_array_equal(dense(data), [[4, 0, 5], [0, 2, 0], [0, 0, 0]])
    assert data.events().timestamps.tolist() == [1, 3, 5, 2]


def test_aligned_to_sorts_rows_anew_where_the_order_differs():
    train = Interactions.from_arrays([], [], user_ids=["cat", "bob", "ann"], item_ids=[90, 30, 20, 10])
    data = build().aligned_to(train, "evaluate").interactions
    assert_array_equal(dense(data), np.array(SUM)[::-1, ::-1])
    assert data.events().timestamps.tolist() == [5, 2, 5, 1, 3]
    assert np.all(np.diff(data.by_user.row(2)[0]) > 0)


def test_aligned_to_itself_shares_everything():
    data = build()
    aligned = data.aligned_to(data, "evaluate")
    assert aligned.interactions.by_user is data.by_user
    assert aligned[1:] == (0, 0, 0)


def test_aligned_to_refuses_unknown_ids_by_name():
    train = Interactions.from_arrays(["ann", "bob"], [10, 20])
    with pytest.raises(KeyError, match="evaluate: user 'cat' is unknown, one of 1; pass unknown='drop' to go on"):
        build().aligned_to(train, "evaluate")
    with pytest.raises(KeyError, match="evaluate: item 90 is unknown"):
        build().subset_users(["ann"]).aligned_to(train, "evaluate")
    # Whoever has no interactions may be unknown.
    data = build().keep_entries([True, False, True, False])
    assert data.aligned_to(train, "evaluate").interactions.nnz == 2
    with pytest.raises(ValueError, match="evaluate: unknown must be one of 'error', 'drop', got 'skip'"):
        data.aligned_to(train, "evaluate", unknown="skip")


def test_aligned_to_recognizes_a_transposed_matrix():
    train = Interactions.from_csr(sp.csr_array((30, 50), dtype=np.float32))
    with pytest.raises(ValueError, match=r"^evaluate: .*shape \(50, 30\) .* \(30, 50\); it looks transposed$"):
        Interactions.from_csr(sp.csr_array((50, 30), dtype=np.float32)).aligned_to(train, "evaluate")
    with pytest.raises(ValueError, match=r"shape \(30, 49\) but .* has \(30, 50\)$"):
        Interactions.from_csr(sp.csr_array((30, 49), dtype=np.float32)).aligned_to(train, "evaluate")


def test_aligned_to_row_numbers_mean_the_rows_of_the_other_set():
    train = build()
    test = Interactions.from_csr(sp.csr_array(np.array(SUM)))
    data = test.aligned_to(train, "evaluate").interactions
    assert data.user_ids.tolist() == ["ann", "bob", "cat"]
    with pytest.raises(ValueError, match="speak string user ids but the model or train set speaks row numbers"):
        train.aligned_to(test, "evaluate")
    with pytest.raises(TypeError, match="evaluate: user ids are string here, got int64"):
        Interactions.from_arrays([1], [10]).aligned_to(train, "evaluate")


def test_aligned_to_with_row_numbers_on_one_side_only():
    data = Interactions.from_csr(sp.csr_array(np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1]])))
    train, test = data.filter(min_user_count=1), data.filter(min_user_count=2)
    aligned = test.aligned_to(train, "evaluate").interactions
    assert_array_equal(dense(aligned), [[1, 1, 0], [0, 0, 0], [1, 0, 1]])


def test_with_items_of_keeps_the_users():
    model = Interactions.from_arrays(["zed"], [90], item_ids=[90, 10, 55])
    data = build().with_items_of(model, "recommend")
    assert data.user_ids.tolist() == ["ann", "bob", "cat"]
    assert data.item_map is model.item_map
    assert_array_equal(dense(data), [[5, 4, 0], [0, 0, 0], [0, 0, 0]])
    rows = Interactions.from_csr(sp.csr_array(np.eye(2, 3)))
    assert_array_equal(dense(rows.with_items_of(model, "recommend")), np.eye(2, 3))
    with pytest.raises(ValueError, match="X has 4 features, but recommend is expecting 3 features as input"):
        Interactions.from_csr(sp.csr_array(np.eye(2, 4))).with_items_of(model, "recommend")
    with pytest.raises(TypeError, match="recommend: item ids are int64 here, got string"):
        Interactions.from_arrays([1], ["a"]).with_items_of(model, "recommend")
    with pytest.raises(ValueError, match="speaks row numbers"):
        build().with_items_of(rows, "recommend")


def test_union_keeps_rows_and_appends():
    new = Interactions.from_arrays(["zed", "ann"], [77, 10], [5, 6], [9, 8])
    data = build().union(new)
    assert data.user_ids.tolist() == ["ann", "bob", "cat", "zed"]
    assert data.item_ids.tolist() == [10, 20, 30, 90, 77]
    assert_array_equal(dense(data), [[10, 0, 0, 5, 0], [0, 2, 0, 0, 0], [0, 0, 4, 0, 0], [0, 0, 0, 0, 5]])
    assert data.n_events == 7
    assert data.events().timestamps.tolist() == [1, 3, 8, 5, 2, 5, 9]


@pytest.mark.parametrize(("time", "expected"), [(9, 6), (0, 1)])
def test_union_under_last_keeps_the_latest(time, expected):
    data = build("last").union(Interactions.from_arrays(["ann"], [10], [6], [time]))
    assert dense(data)[0, 0] == expected


def test_union_under_error_refuses_pairs_that_stand_in_both():
    mine = Interactions.from_arrays([1, 2], [1, 1], duplicates="error")
    assert mine.union(Interactions.from_arrays([3], [1])).nnz == 3
    with pytest.raises(ValueError, match="partial_fit: the pair at event"):
        mine.union(Interactions.from_arrays([1], [1]), subject="partial_fit")


def test_union_takes_a_set_merged_otherwise_as_it_is_stored():
    new = Interactions.from_arrays(["ann", "ann"], [20, 20], [5, 6], [1, 2], duplicates="last")
    data = build().union(new)
    assert dense(data)[0, 1] == 6
    assert data.n_events == 6


def test_union_of_row_numbers():
    mine = Interactions.from_csr(sp.csr_array(np.eye(2)))
    theirs = Interactions.from_csr(sp.csr_array(np.array([[1, 0, 2], [0, 0, 0], [0, 0, 3]])))
    data = mine.union(theirs)
    assert data.user_ids is None
    assert_array_equal(dense(data), [[2, 0, 2], [0, 1, 0], [0, 0, 3]])
    assert theirs.union(mine).shape == (3, 3)


def test_union_of_what_is_known():
    mine = build(timestamps=None).with_info(user_info={"age": [1, 2, 3], "land": list("abc")})
    theirs = Interactions.from_arrays(["zed", "ann", "abe"], [10, 10, 10]).with_info(user_info={"age": [7, 8, 9]})
    data = mine.union(theirs)
    assert data.user_ids.tolist() == ["ann", "bob", "cat", "abe", "zed"]
    assert list(data.user_info) == ["age"]
    assert data.user_info["age"].tolist() == [1, 2, 3, *(theirs.user_info["age"][[0, 2]].tolist())]
    assert list(mine.union(Interactions.from_arrays(["ann"], [10])).user_info) == ["age", "land"]


@pytest.mark.parametrize(
    ("new", "error", "match"),
    [
        (sp.csr_array(np.eye(2)), TypeError, "expected an Interactions, got csr_array"),
        (Interactions.from_arrays([1], [10], timestamps=[1]), TypeError, "user ids are string here, got int64"),
        (
            Interactions.from_arrays(["a"], [10]),
            ValueError,
            "these interactions have plain numbers as timestamps, the new ones no timestamps",
        ),
        (
            Interactions.from_arrays(["a"], [10], timestamps=np.array(["2020"], "M8[Y]")),
            ValueError,
            "the new ones dates",
        ),
        (Interactions.from_csr(sp.csr_array(np.eye(2))), TypeError, "user ids are string here, got row numbers"),
    ],
    ids=["scipy", "ids", "no times", "dates", "rows"],
)
def test_union_refuses(new, error, match):
    with pytest.raises(error, match=f"^Interactions.union: .*{match}"):
        build().union(new)


# ---------------------------------------------------------------------- as_interactions


def test_as_interactions_hands_on_what_is_one():
    data = build()
    assert as_interactions(data, "ImplicitALS") is data


@pytest.mark.parametrize(
    "X",
    [
        np.array(SUM),
        np.array(SUM, np.float32),
        np.asfortranarray(SUM, np.float64),
        np.array(SUM, object),
        SUM,
        pd.DataFrame(SUM),
        sp.csr_matrix(SUM),
        sp.coo_array(np.array(SUM)),
        CSR.from_scipy(sp.csr_array(np.array(SUM))),
    ],
    ids=lambda X: type(X).__name__,
)
def test_as_interactions_takes_matrices(X):
    data = as_interactions(X, "ImplicitALS")
    assert_array_equal(dense(data), SUM)
    assert data.nnz == 4
    assert data.user_ids is None


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array instead"),
        (np.ones((2, 2, 2)), ValueError, "dim 3"),
        (np.array([[1 + 1j]]), ValueError, "Complex data not supported"),
        (sp.csr_array(np.array([[1 + 1j]])), ValueError, "Complex data not supported"),
        (np.array([[1.0, np.nan]]), ValueError, r"^M: values must be finite and within float32, got NaN at \(0, 1\)"),
        (np.array([[1.0], [-np.inf]]), ValueError, r"^M: .* got -inf at \(1, 0\)"),
        (np.array([[1.0, 2.0], [3.0, -4.0]]), ValueError, r"^M: Negative values in data .* got -4.0 at \(1, 1\)"),
        (sp.csr_array(np.array([[0.0, -1.0]])), ValueError, r"^M: Negative values in data .* got -1.0 at \(0, 1\)"),
        (Interactions.from_arrays([1], [1], [-2]), ValueError, r"^M: Negative values in data .* got -2.0 at \(0, 0\)"),
        (np.empty((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
        (np.empty((15, 0)), ValueError, r"0 feature\(s\) \(shape=\(15, 0\)\) while a minimum of 1 is required"),
        (sp.csr_array((0, 3)), ValueError, r"^M: Found array with 0 sample\(s\)"),
        (sp.csr_array((3, 0)), ValueError, r"^M: Found array with 0 feature\(s\)"),
        (np.array([[{"a": 1}]], object), TypeError, "argument must be .* string.* number"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_as_interactions_refuses(X, error, match):
    with pytest.raises(error, match=match):
        as_interactions(X, "M")


def test_as_interactions_lets_negative_values_pass_where_allowed():
    assert as_interactions(np.array([[1.0, -2.0]]), "M", allow_negative=True).by_user.values.tolist() == [1, -2]


def test_as_interactions_accepts_a_matrix_without_entries():
    assert as_interactions(np.zeros((2, 3)), "M").nnz == 0


EVENTS = {"user": ["ann", "bob"], "item": ["tea", "mug"]}


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (
            EVENTS,
            r"column 'user' holds String; .* build Interactions\.from_frame\(df, user=\.\.\., item=\.\.\.\)",
        ),
        ({"n": [1, 2], "when": np.array(["2020-01-01"] * 2, "M8[ns]")}, "whose column 'when' holds Datetime"),
        (
            {"userId": [1, 2], "movieId": [3, 4]},
            r"'userId' and 'movieId'; .* Interactions\.from_frame\(df, user='userId', item='movieId'\)",
        ),
        (
            {"rating": [1, 2], "item_id": [3, 4], "Customer ID": [5, 6]},
            r"'Customer ID' and 'item_id'.* df\.to_numpy\(\)$",
        ),
    ],
    ids=["strings", "dates", "numbers", "more numbers"],
)
def test_as_interactions_refuses_a_frame_of_events(frame, columns, match):
    """One row per event, where rows ought to be users and columns items; unnoticed it would be a matrix of ids."""
    with pytest.raises(
        TypeError, match=f"^M: expected Interactions or a matrix of users x items, got a data frame .*{match}"
    ):
        as_interactions(frame(columns), "M")


def test_as_interactions_refuses_a_frame_of_objects():
    with pytest.raises(TypeError, match="whose column 'u' holds Object"):
        as_interactions(pd.DataFrame({"u": [None, uuid.UUID(int=1)]}), "M")


@pytest.mark.parametrize(
    "make",
    [
        pd.DataFrame,
        pl.DataFrame,
        pa.table,
        lambda columns: pd.DataFrame(columns).astype(object),
        lambda columns: pd.DataFrame(np.stack(list(columns.values()), axis=1).astype(object)),
        lambda columns: pd.DataFrame(columns).astype("Int64"),
        lambda columns: pd.DataFrame(columns).astype(pd.SparseDtype("float32", 0)),
        lambda columns: pd.DataFrame(np.stack(list(columns.values()), axis=1)),
    ],
    ids=["pandas", "polars", "pyarrow", "objects", "objects without names", "nullable", "sparse", "without names"],
)
@pytest.mark.parametrize("names", [("tea", "mug"), ("user", "mug"), ("song", "book")], ids=str)
def test_as_interactions_takes_a_frame_that_is_a_matrix(make, names):
    """An item may be called as a column of users or items usually is."""
    data = as_interactions(make(dict(zip(names, ([0, 1, 0], [2, 0, 0]), strict=True))), "M")
    assert_array_equal(dense(data), [[0, 2], [1, 0], [0, 0]])


def test_as_interactions_takes_a_frame_of_truth_values():
    assert_array_equal(dense(as_interactions(pd.DataFrame({"tea": [True, False]}), "M")), [[1], [0]])


@pytest.mark.parametrize(
    ("X", "match"),
    [
        ("purchases.csv", r"a file name \(str\); read it by likewise\.data\.read_csv or read_parquet"),
        (Path("purchases.parquet"), r"a file name \(\w+Path\); read it"),
        ({}, r"a mapping \(dict\); build Interactions\.from_arrays\(users, items\)"),
        (EVENTS, "a mapping"),
        (pl.LazyFrame({"tea": [1.0]}), "a lazy frame; collect it first"),
        ({1, 2}, "set"),
        (iter([[1, 2]]), "list_iterator"),
        (None, "NoneType"),
        (5, "int"),
        (np.array([["ann", "tea"]]), "an array of strings; build Interactions.from_arrays"),
        ([("ann", "tea"), ("bob", "mug")], "an array of strings"),
        (np.array([(1, 2)], dtype=[("user", "i8"), ("item", "i8")]), "an array of records"),
    ],
    ids=str,
)
def test_as_interactions_says_what_it_wants_instead(X, match):
    with pytest.raises(TypeError, match=f"^M: expected .*, got {match}"):
        as_interactions(X, "M")
