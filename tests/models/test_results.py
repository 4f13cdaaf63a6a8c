"""What rankings print, and the tables they become."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import likewise as lw
from likewise.models._results import Recommendations, SimilarItems, SimilarUsers

LIBRARIES = ["pandas", "polars", "pyarrow"]
UUIDS = [uuid.UUID(int=number) for number in (7, 1, 5)]


def _objects(rows):
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    for i, row in enumerate(rows):
        array[i] = row
    return array


def _columns(frame):
    """The columns of any library's table as lists."""
    if hasattr(frame, "to_pydict"):
        return frame.to_pydict()
    return {name: frame[name].to_list() for name in frame.columns}


SCORES = np.array([[2.5, 1.25], [0.5, -np.inf]], dtype=np.float32)
BY_ROW = Recommendations(np.array([3, 8]), np.array([[4, 0], [2, -1]], np.int32), SCORES)
BY_NAME = Recommendations(np.array(["ann", "bob"], object), _objects([["tea", "mug"], ["tin", None]]), SCORES)
BY_UUID = Recommendations(np.array(UUIDS[:2], object), _objects([UUIDS[1:], [UUIDS[0], None]]), SCORES)
NUMBERS = {"score": [2.5, 1.25, 0.5], "rank": [1, 2, 1]}


@pytest.mark.parametrize("library", LIBRARIES)
def test_to_frame_has_a_row_for_each_item_given(library):
    frame = BY_ROW.to_frame(library)
    assert type(frame).__module__.split(".")[0] == library
    assert _columns(frame) == {"user": [3, 3, 8], "item": [4, 0, 2], **NUMBERS}


@pytest.mark.parametrize("library", LIBRARIES)
def test_to_frame_leaves_empty_slots_of_strings_out(library):
    assert _columns(BY_NAME.to_frame(library)) == {
        "user": ["ann", "ann", "bob"],
        "item": ["tea", "mug", "tin"],
        **NUMBERS,
    }


@pytest.mark.parametrize("library", LIBRARIES)
def test_to_frame_writes_uuids_as_strings(library):
    """No table library has a column of them."""
    assert _columns(BY_UUID.to_frame(library)) == {
        "user": [str(UUIDS[i]) for i in (0, 0, 1)],
        "item": [str(UUIDS[i]) for i in (1, 2, 0)],
        **NUMBERS,
    }


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("user", ["ann", UUIDS[0], 3], ids=["string", "uuid", "int64"])
def test_to_frame_of_one_query_has_its_rows(library, user):
    one = Recommendations(user, np.array(["tea", "mug", None], object), np.array([2, 1, -np.inf], np.float32))
    name = str(user) if isinstance(user, uuid.UUID) else user
    expected = {"user": [name, name], "item": ["tea", "mug"], "score": [2.0, 1.0], "rank": [1, 2]}
    assert _columns(one.to_frame(library)) == expected


@pytest.mark.parametrize("library", LIBRARIES)
def test_to_frame_of_nothing_has_its_columns(library):
    nothing = Recommendations(np.empty(0, np.int64), np.empty((0, 3), np.int32), np.empty((0, 3), np.float32))
    assert _columns(nothing.to_frame(library)) == {"user": [], "item": [], "score": [], "rank": []}
    all_empty = Recommendations(np.array([1]), np.array([[-1, -1]], np.int32), np.full((1, 2), -np.inf, np.float32))
    assert _columns(all_empty.to_frame(library)) == {"user": [], "item": [], "score": [], "rank": []}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", [str, int, lambda number: uuid.UUID(int=int(number))], ids=["string", "int64", "uuid"])
def test_to_frame_of_a_model_agrees_with_its_arrays(library, kind):
    pairs = np.argwhere(np.random.default_rng(0).random((12, 9)) < 0.4)
    users, items = [kind(user) for user in pairs[:, 0]], [kind(item) for item in pairs[:, 1]]
    model = lw.ImplicitALS(factors=3, random_state=0).fit(lw.Interactions.from_arrays(users, items))
    ranking = model.recommend(k=9)
    columns = _columns(ranking.to_frame(library))
    filled = ranking.scores > -np.inf
    plain = str if isinstance(users[0], uuid.UUID) else lambda label: label
    assert columns["item"] == [plain(item) for item in ranking.items[filled].tolist()]
    assert columns["user"] == [plain(user) for user in np.repeat(ranking.users, filled.sum(axis=1)).tolist()]
    assert columns["score"] == ranking.scores[filled].tolist()
    one = model.recommend(users[0], k=4)
    assert _columns(one.to_frame(library))["item"] == [plain(item) for item in one.items[one.scores > -np.inf].tolist()]


def test_to_frame_takes_the_first_library_that_is_there():
    assert type(BY_ROW.to_frame()).__module__.startswith("pandas")


def test_to_frame_refuses_an_unknown_library():
    with pytest.raises(ValueError, match="'dask'"):
        BY_ROW.to_frame("dask")


def test_names_of_columns_tell_what_was_asked():
    items = SimilarItems(np.array([1]), np.array([[2]], np.int32), np.ones((1, 1), np.float32))
    users = SimilarUsers(np.array([1]), np.array([[2]], np.int32), np.ones((1, 1), np.float32))
    assert list(items.to_dict()) == ["query", "item", "score", "rank"]
    assert list(users.to_dict()) == ["query", "user", "score", "rank"]
    assert_array_equal(items.items, [[2]])
    assert_array_equal(users.users, [[2]])


def test_a_ranking_unpacks_and_counts_its_queries():
    items, scores = BY_NAME
    assert_array_equal(items, BY_NAME.items)
    assert_array_equal(scores, SCORES)
    assert len(BY_NAME) == 2
    assert len(Recommendations(3, np.array([4]), np.ones(1, np.float32))) == 1


def test_repr_reads_like_a_list():
    assert repr(BY_ROW) == "Recommendations(2 x 2)\n  3: 4 (2.5), 0 (1.25)\n  8: 2 (0.5)"
    assert repr(BY_NAME) == "Recommendations(2 x 2)\n  ann: tea (2.5), mug (1.25)\n  bob: tin (0.5)"
    one = Recommendations("ann", np.array(["tea", None], object), np.array([1, -np.inf], np.float32))
    assert repr(one) == "Recommendations(1 x 2)\n  ann: tea (1)"


def test_repr_says_where_there_is_nothing():
    nothing = Recommendations(np.array([3]), np.array([[-1]], np.int32), np.full((1, 1), -np.inf, np.float32))
    assert repr(nothing) == "Recommendations(1 x 1)\n  3: nothing"
    nobody = Recommendations(np.empty(0, np.int64), np.empty((0, 3), np.int32), np.empty((0, 3), np.float32))
    assert repr(nobody) == "Recommendations(0 x 3)"


def test_repr_of_many_stays_short():
    many = Recommendations(np.arange(5000), np.zeros((5000, 50), np.int32), np.ones((5000, 50), np.float32))
    lines = repr(many).splitlines()
    assert len(lines) == 12
    assert lines[1] == "  0: " + ", ".join(["0 (1)"] * 5) + ", ..."
    assert lines[-1] == "  ... 4990 more"
