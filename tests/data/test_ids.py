from __future__ import annotations

import pickle
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from likewise.data.ids import IdMap, RowNumbers, as_id_array

UUIDS = [uuid.UUID(int=number) for number in (2**127 + 5, 7, 3)]

EXAMPLES = {
    "dense integers": [12, 10, 11, 17],
    "sparse integers": [-(2**63), 2**63 - 1, 0, 5],
    "strings": ["tea", "", "Größe", "日本", "a" * 200],
    "uuids": UUIDS,
}

any_ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40),
    st.lists(st.integers(-20, 20), min_size=1, max_size=40),
    st.lists(st.text(max_size=8), min_size=1, max_size=40),
    st.lists(st.uuids(), min_size=1, max_size=40),
)


@given(any_ids)
def test_factorize_gives_sorted_distinct_ids_and_their_rows(ids):
    id_map, rows = IdMap.factorize(ids, "here", "user")
    assert id_map.labels.tolist() == sorted(set(ids))
    assert rows.dtype == np.int32
    assert id_map.labels[rows].tolist() == ids
    assert_array_equal(id_map.rows(ids, "here", "user"), rows)


@given(any_ids)
def test_state_gives_the_map_back(ids):
    id_map = IdMap(list(dict.fromkeys(ids)))
    state = id_map.to_state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    again = IdMap.from_state(id_map.kind, state)
    assert again == id_map
    assert again.labels.tolist() == id_map.labels.tolist()


@given(any_ids, st.data())
def test_rows_inverts_labels_in_any_order(ids, data):
    labels = data.draw(st.permutations(list(dict.fromkeys(ids))))
    id_map = IdMap(labels)
    assert_array_equal(id_map.rows(labels, "here", "user"), np.arange(len(labels)))
    assert_array_equal(id_map.labels_of(np.arange(len(labels))), id_map.labels)


@given(
    st.lists(st.integers(-50, 50), unique=True, max_size=20), st.lists(st.integers(-50, 50), unique=True, max_size=20)
)
def test_extend_keeps_rows_and_appends(mine, theirs):
    union, rows = IdMap(mine).extend(IdMap(theirs), "here", "user")
    assert union.labels[: len(mine)].tolist() == mine
    assert union.labels.tolist() == mine + [label for label in theirs if label not in mine]
    assert union.labels[rows].tolist() == theirs


@pytest.mark.parametrize("ids", EXAMPLES.values(), ids=EXAMPLES)
def test_pickle_gives_the_map_back(ids):
    id_map = IdMap(ids)
    again = pickle.loads(pickle.dumps(id_map))
    assert again == id_map
    assert not again.labels.flags.writeable
    assert_array_equal(again.rows(ids[::-1], "here", "user"), np.arange(len(ids))[::-1])


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (np.array([1, 2], np.int8), "int64"),
        (np.array([1, 2], np.uint64), "int64"),
        (np.array([1, 2], object), "int64"),
        ([np.int64(1), 2], "int64"),
        (range(3), "int64"),
        ((3, 4), "int64"),
        (np.array(["a", "b"]), "string"),
        ([np.str_("a"), "b"], "string"),
        (pd.Series(["a", "b"]), "string"),
        (pd.Series(["a", "b"], dtype="category"), "string"),
        (pd.Index([3, 4]), "int64"),
        (pl.Series(["a", "b"]), "string"),
        (pl.Series([1, 2]), "int64"),
        (iter(["a", "b"]), "string"),
        (UUIDS, "uuid"),
        ([], "int64"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ids_of_many_kinds_are_understood(ids, kind):
    got, array = as_id_array(ids, "here", "user")
    assert got == kind
    assert array.dtype == (np.int64 if kind == "int64" else object)
    assert {type(label) for label in array.tolist()} <= {int, str, uuid.UUID}


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        (["a", 1], TypeError, r"user ids mix types: 'a' \(str\) at row 0 and 1 \(int\) at row 1"),
        ([1, 2, "a"], TypeError, r"user ids mix types: 1 \(int\) at row 0 and 'a' \(str\) at row 2"),
        ([UUIDS[0], "a"], TypeError, "user ids mix types"),
        ([1, 2.0], TypeError, r"must be integers, strings or UUIDs, got 2.0 \(float\) at row 1"),
        ([1, True], TypeError, r"got True \(bool\) at row 1"),
        ([b"a"], TypeError, r"got b'a' \(bytes\) at row 0"),
        ([(1, 2)], TypeError, "at row 0"),
        (np.array([1.0, 2.0]), TypeError, "got float64"),
        (np.array([True]), TypeError, "got bool"),
        (np.array(["2020-01-01"], "M8[D]"), TypeError, "got datetime64"),
        (np.array([b"a"]), TypeError, "convert them first"),
        (["a", None], ValueError, "user id at row 1 is null; drop such rows"),
        (["a", float("nan")], ValueError, "user id at row 1 is null"),
        ([1, pd.NA], ValueError, "user id at row 1 is null"),
        ([pd.NaT, "a"], ValueError, "user id at row 0 is null"),
        (np.array([1.0, np.nan]), ValueError, "user id at row 1 is null"),
        (pd.Series(["a", None]), ValueError, "user id at row 1 is null"),
        (np.array([2**63], np.uint64), ValueError, "user id 9223372036854775808 is beyond int64"),
        ([1, 2**70], ValueError, "user id 1180591620717411303424 at row 1 is beyond int64"),
        (np.array([[1, 2]]), ValueError, r"user ids must be one-dimensional, got shape \(1, 2\)"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_bad_ids_are_refused(ids, error, match):
    with pytest.raises(error, match=f"^here: .*{match}"):
        as_id_array(ids, "here", "user")


@pytest.mark.skipif(
    not hasattr(getattr(np, "dtypes", None), "StringDType"), reason="numpy has no variable-width strings before 2.0"
)
def test_variable_width_strings():
    from numpy.dtypes import StringDType

    kind, array = as_id_array(np.array(["a", "long" * 9], dtype=StringDType()), "here", "user")
    assert kind == "string"
    assert array.tolist() == ["a", "long" * 9]
    with pytest.raises(ValueError, match="user id at row 1 is null"):
        as_id_array(np.array(["a", None], dtype=StringDType(na_object=None)), "here", "user")


@pytest.mark.parametrize("ids", [[1, 2, 1], ["a", "b", "a"], [UUIDS[0]] * 2])
def test_ids_of_a_map_are_distinct(ids):
    with pytest.raises(ValueError, match=r"user ids must be distinct, got .* twice"):
        IdMap(ids, name="user")


@pytest.mark.parametrize("ids", EXAMPLES.values(), ids=EXAMPLES)
def test_one_id_and_many(ids):
    id_map = IdMap(ids)
    for row, label in enumerate(ids):
        found = id_map.rows(label, "here", "user")
        assert found.dtype == np.int64
        assert found.tolist() == [row]
    assert id_map.rows([], "here", "user").tolist() == []


@pytest.mark.parametrize("ids", EXAMPLES.values(), ids=EXAMPLES)
def test_one_id_is_looked_up_as_many_are(ids):
    id_map = IdMap(ids[:-1])
    for label in ids[:-1]:
        assert id_map.rows(label, "here", "user").tolist() == id_map.rows([label], "here", "user").tolist()
    for asked in (ids[-1], [ids[-1]]):
        with pytest.raises(KeyError, match="is unknown; there are"):
            id_map.rows(asked, "here", "user")
    for outside in (2**70, -(2**70)):
        with pytest.raises((ValueError, TypeError)):
            id_map.rows(outside, "here", "user")


def test_an_empty_map_knows_nobody():
    for asked in (1, "a", UUIDS[0], [1]):
        with pytest.raises(KeyError, match="is unknown; there are 0 user ids"):
            IdMap([]).rows(asked, "here", "user")


def test_zero_dimensional_arrays_are_one_id():
    assert IdMap([4, 5]).rows(np.int64(5), "here", "user").tolist() == [1]
    assert IdMap([4, 5]).rows(np.array(5), "here", "user").tolist() == [1]
    assert IdMap(["a", "b"]).rows(np.str_("b"), "here", "user").tolist() == [1]


@pytest.mark.parametrize("ids", EXAMPLES.values(), ids=EXAMPLES)
def test_unknown_ids_are_key_errors_that_name_the_first(ids):
    id_map = IdMap(ids[:-1])
    with pytest.raises(KeyError) as caught:
        id_map.rows([ids[0], ids[-1], ids[-1]], "recommend", "user")
    assert caught.value.args[0] == (
        f"recommend: user {ids[-1]!r} is unknown (and 1 more); there are {len(ids) - 1} user ids"
    )
    assert id_map.find([ids[-1], ids[0]], "recommend", "user").tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("ids", "asked", "match"),
    [
        ([1, 2], "1", "user ids are int64 here, got string ids such as '1'"),
        (["1", "2"], 1, "user ids are string here, got int64 ids such as 1"),
        ([1, 2], 1.0, r"got 1.0 \(float\)"),
        ([1, 2], True, r"got True \(bool\)"),
        ([1, 2], np.array([1.0]), "got float64"),
        ([1, 2], np.array([True]), "got bool"),
    ],
)
def test_ids_of_another_type_are_type_errors(ids, asked, match):
    with pytest.raises(TypeError, match=match):
        IdMap(ids).rows(asked, "here", "user")


def test_negative_ids_are_ids_and_never_wrap():
    id_map = IdMap([-1, 0, 1])
    assert id_map.rows(-1, "here", "user").tolist() == [0]
    with pytest.raises(KeyError):
        IdMap([0, 1, 2]).rows(-1, "here", "user")


@pytest.mark.parametrize("kind", ["table", "search"])
def test_integer_lookup_finds_nothing_outside_its_range(kind):
    labels = np.arange(10) if kind == "table" else np.arange(10) * 10**15
    id_map = IdMap(labels)
    asked = np.array([-(2**63), -1, labels[3], labels[9] + 1, 2**63 - 1])
    assert id_map.find(asked, "here", "user").tolist() == [-1, -1, 3, -1, -1]


def test_labels_of_leaves_empty_slots_empty():
    rows = np.array([[1, -1], [0, 1]])
    assert_array_equal(IdMap([10, 20]).labels_of(rows), [[20, -1], [10, 20]])
    labels = IdMap(["a", "b"]).labels_of(rows)
    assert labels.dtype == object
    assert labels.tolist() == [["b", None], ["a", "b"]]
    assert IdMap(UUIDS).labels_of(np.array([-1, 0])).tolist() == [None, UUIDS[0]]
    assert IdMap([]).labels_of(np.array([-1])).tolist() == [-1]
    for ids, empty in (([10, 20], -1), (["a", "b"], None)):
        assert IdMap(ids).labels_of(np.array(1)).item() == ids[1]
        assert IdMap(ids).labels_of(np.array(-1)).item() == empty
    with pytest.raises(IndexError):
        IdMap([10, 20]).labels_of(np.array([2]))


def test_labels_are_a_read_only_copy():
    mine = np.array([3, 4])
    id_map = IdMap(mine)
    mine[0] = 99
    assert id_map.labels.tolist() == [3, 4]
    with pytest.raises(ValueError, match="read-only"):
        id_map.labels[0] = 1


def test_take_by_rows_and_by_mask():
    id_map = IdMap(["a", "b", "c"])
    assert id_map.take(np.array([2, 0])).labels.tolist() == ["c", "a"]
    assert id_map.take(np.array([False, True, True])).labels.tolist() == ["b", "c"]


def test_extend_refuses_another_type_and_takes_over_from_nothing():
    with pytest.raises(TypeError, match="union: item ids are int64 here, got string"):
        IdMap([1]).extend(IdMap(["a"]), "union", "item")
    with pytest.raises(TypeError, match="union: item ids are int64 here, got row numbers; build both in the same way"):
        IdMap([1]).extend(RowNumbers(1), "union", "item")
    union, rows = IdMap([]).extend(IdMap(["a", "b"]), "union", "item")
    assert union.labels.tolist() == ["a", "b"]
    assert rows.tolist() == [0, 1]
    same, rows = IdMap([1, 2]).extend(IdMap([2]), "union", "item")
    assert same.labels.tolist() == [1, 2]
    assert rows.tolist() == [1]


def test_equality():
    assert IdMap([1, 2]) == IdMap(np.array([1, 2], np.int8))
    assert IdMap([1, 2]) != IdMap([2, 1])
    assert IdMap([1, 2]) != IdMap(["1", "2"])
    assert RowNumbers(2) == RowNumbers(2)
    assert RowNumbers(2) != IdMap([0, 1])
    assert IdMap([1]) != [1]
    with pytest.raises(TypeError, match="unhashable"):
        hash(IdMap([1]))


def test_row_numbers():
    rows = RowNumbers(943)
    assert len(rows) == 943
    assert repr(rows) == "RowNumbers(943)"
    assert rows.rows([0, 942], "recommend", "user").tolist() == [0, 942]
    assert rows.rows(5, "recommend", "user").tolist() == [5]
    assert rows.find([-1, 5, 943], "recommend", "user").tolist() == [-1, 5, -1]
    with pytest.raises(IndexError, match=r"^recommend: user 1204 is outside \[0, 943\)$"):
        rows.rows([3, 1204], "recommend", "user")
    for bad in (-1, [0, -1]):
        with pytest.raises(IndexError, match=r"user -1 is outside"):
            rows.rows(bad, "recommend", "user")
    for bad in (1.0, True, "1", np.array([True])):
        with pytest.raises(TypeError, match="user must be integers"):
            rows.rows(bad, "recommend", "user")


def test_row_numbers_take_no_memory():
    rows = RowNumbers(2**40)
    assert len(rows) == 2**40
    assert rows.rows([2**39], "here", "user").tolist() == [2**39]
    labels = rows.labels_of(np.array([[5, -1]], np.int32))
    assert (labels.dtype, labels.tolist(), rows.label(7)) == (np.int64, [[5, -1]], 7)


def test_row_numbers_keep_their_names_when_rows_are_taken():
    taken = RowNumbers(5).take(np.array([4, 2]))
    assert taken.kind == "int64"
    assert taken.rows([2, 4], "here", "user").tolist() == [1, 0]


def test_row_numbers_extend_and_state():
    longer, rows = RowNumbers(3).extend(RowNumbers(5), "here", "user")
    assert len(longer) == 5
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert len(RowNumbers(5).extend(RowNumbers(3), "here", "user")[0]) == 5
    with pytest.raises(TypeError, match="user ids are row numbers here, got string ids"):
        RowNumbers(3).extend(IdMap(["a"]), "here", "user")
    again = IdMap.from_state("row", RowNumbers(3).to_state())
    assert isinstance(again, RowNumbers)
    assert len(again) == 3
    assert pickle.loads(pickle.dumps(RowNumbers(3))) == RowNumbers(3)


@pytest.mark.parametrize(
    ("kind", "state", "match"),
    [
        ("float", {}, "kind must be one of"),
        ("int64", {}, r"int64 ids need the arrays \['int64'\]"),
        ("string", {"utf8": np.zeros(0, np.uint8)}, r"string ids need the arrays \['offsets'\]"),
        ("int64", {"int64": np.array([1.0])}, "int64 must be"),
        ("int64", {"int64": np.array([1, 1])}, "distinct"),
        ("uuid", {"uuid": np.zeros((2, 15), np.uint8)}, r"shape \(n, 16\)"),
        ("uuid", {"uuid": np.zeros((2, 16), np.uint8)}, "distinct"),
        ("string", {"utf8": np.zeros(3, np.uint8), "offsets": np.array([0, 2])}, "offsets must rise from 0 to the 3"),
        ("string", {"utf8": np.zeros(3, np.uint8), "offsets": np.array([0, 5, 3])}, "offsets must rise"),
        ("string", {"utf8": np.zeros(3, np.uint8), "offsets": np.array([], np.int64)}, "offsets must rise"),
        ("string", {"utf8": np.array([255, 255], np.uint8), "offsets": np.array([0, 2])}, "not valid UTF-8"),
        ("string", {"utf8": np.zeros(2, np.int8), "offsets": np.array([0, 2])}, "utf8 must be uint8"),
        ("row", {"n": np.array(-1)}, "n must be one int64 number >= 0"),
        ("row", {"n": np.array([3])}, "n must be one int64 number"),
    ],
)
def test_damaged_state_is_refused(kind, state, match):
    with pytest.raises(ValueError, match=f"^model.lw: .*{match}"):
        IdMap.from_state(kind, state, subject="model.lw")


@pytest.mark.parametrize("ids", [[], *EXAMPLES.values()], ids=["none", *EXAMPLES])
def test_state_round_trip(ids):
    id_map = IdMap(ids)
    assert IdMap.from_state(id_map.kind, id_map.to_state()) == id_map


def test_empty_string_map_keeps_its_kind_in_files():
    empty = IdMap(["a"]).take(np.zeros(0, np.int64))
    assert IdMap.from_state("string", empty.to_state()).kind == "string"
    assert IdMap.from_state("uuid", IdMap(UUIDS).take(np.zeros(0, np.int64)).to_state()).kind == "uuid"
