"""What is particular to `Popularity`."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import likewise as lw

COUNTS = np.array([[5, 1, 0, 0], [0, 1, 2, 0], [0, 1, 2, 0]], dtype=np.float32)


@pytest.mark.parametrize(("count", "expected"), [("users", [1, 3, 2, 0]), ("values", [5, 3, 4, 0])])
def test_popularity_counts_users_or_values(count, expected):
    model = lw.Popularity(count=count).fit(COUNTS)
    assert_array_equal(model.popularity_, np.array(expected, np.float32))
    order = np.argsort(-np.array(expected), kind="stable")
    assert_array_equal(model.recommend(k=4, exclude_seen=False).items[0], [*order[:3], -1])
    assert_array_equal(model.recommend(k=4, exclude_seen=False, items=range(4)).items[0], order)


def test_popularity_is_the_score_of_every_user():
    model = lw.Popularity().fit(COUNTS)
    assert_array_equal(model.predict([0, 1, 2], [1, 1, 1]), np.full(3, 3, np.float32))
    assert_array_equal(model.recommend(0, k=3, exclude_seen=False).scores, [3, 2, 1])


def test_popularity_of_equals_goes_to_the_smaller_row():
    items = lw.Popularity().fit(np.ones((3, 6))).recommend(k=6, exclude_seen=False).items
    assert_array_equal(items, np.broadcast_to(np.arange(6), (3, 6)))


def test_popularity_counts_past_what_float32_adds_up_to():
    """2^24 + 1 ones, added one by one in float32, would be 2^24."""
    values = np.array([[2.0**24], [1.0], [1.0]])
    assert lw.Popularity(count="values").fit(values).popularity_[0] == 2**24 + 2


def test_popularity_after_partial_fit_is_that_of_all_interactions():
    more = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 7]], dtype=np.float32)
    model = lw.Popularity(count="values").fit(COUNTS).partial_fit(more)
    assert_array_equal(model.popularity_, [5, 3, 4, 8])


def test_popularity_refuses_an_unknown_count():
    with pytest.raises(ValueError, match=r"^Popularity: count must be one of 'users', 'values', got 'sales'$"):
        lw.Popularity(count="sales").fit(COUNTS)
