"""Models asked with columns and frames of pandas, polars and pyarrow: what is asked with arrays is what comes back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

import likewise as lw

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
USERS, ITEMS = ["cy", "ann", "cy"], ["mug", "cup", "tea"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((30, 12)) < 0.4)
    names = np.array(["tea", "mug", "cup", *(f"thing {i}" for i in range(9))])
    people = np.array(["ann", "bob", "cy", *(f"user {i}" for i in range(27))])
    return lw.Interactions.from_arrays(people[users], names[items], rng.integers(1, 6, users.size))


@pytest.fixture(params=[lw.ItemKNN(k=5), lw.BaselinePredictor(), lw.ImplicitALS(factors=3, random_state=0)], ids=repr)
def model(request, data):
    return request.param.fit(data)


@pytest.fixture(params=LIBRARIES)
def make(request):
    return LIBRARIES[request.param]


def test_users_of_a_frame(model, make):
    expected = model.recommend(USERS, k=3)
    for frame in (
        make({"user": USERS}),
        make({"who": USERS}),
        make({"rank": [3, 1, 2], "user_id": USERS, "item": ITEMS}),
        make({"Customer ID": USERS, "rank": [3, 1, 2]}),
    ):
        found = model.recommend(frame, k=3)
        assert_array_equal(found.items, expected.items)
        assert_array_equal(found.users, expected.users)
    assert_array_equal(model.recommend(make({"user": USERS})["user"], k=3).items, expected.items)
    assert_array_equal(model.recommend(make({"user": USERS[:1]}), k=3).items, expected.items[:1])


def test_items_of_a_frame(model, make):
    if not isinstance(model, lw.BaselinePredictor):
        assert_array_equal(model.similar_items(make({"item": ITEMS}), k=2).items, model.similar_items(ITEMS, k=2).items)
    for option in ("items", "exclude"):
        found = model.recommend("ann", k=3, **{option: make({"product": ITEMS, "price": [1.0, 2.0, 3.0]})})
        assert_array_equal(found.items, model.recommend("ann", k=3, **{option: ITEMS}).items)


def test_pairs_of_a_frame(model, make):
    expected = model.predict(USERS, ITEMS)
    assert_array_equal(model.predict(make({"item": ITEMS, "when": [1, 2, 3], "user": USERS})), expected)


def test_a_lazy_frame_is_collected(model):
    found = model.recommend(pl.LazyFrame({"user": USERS}), k=3)
    assert_array_equal(found.items, model.recommend(USERS, k=3).items)


def test_contexts_go_with_a_frame_of_pairs(data):
    contexts = np.eye(data.nnz, 2)
    model = lw.FactorizationMachine(factors=2, iterations=1, loss="regression", random_state=0, n_jobs=1)
    model.fit(data, context_features=contexts)
    frame = pd.DataFrame({"user": USERS, "item": ITEMS})
    expected = model.predict(USERS, ITEMS, context_features=np.eye(3, 2))
    assert_array_equal(model.predict(frame, context_features=np.eye(3, 2)), expected)


def test_which_column_is_meant_has_to_be_clear(model, make):
    with pytest.raises(
        ValueError, match="recommend: a data frame of user ids has one column, or one named 'user', got"
    ):
        model.recommend(make({"a": USERS, "b": ITEMS}), k=3)
    with pytest.raises(KeyError, match="nobody"):
        model.recommend(make({"user": ["nobody"]}), k=3)


def test_explanations_as_frames(data):
    found = lw.ItemKNN(k=5).fit(data).explain("ann", data.item_ids[0])
    frame = found.to_frame(library="pandas")
    assert list(frame.columns) == ["item", "contribution"]
    assert frame["contribution"].sum() == pytest.approx(found.score)


def test_lists_show_themselves_in_a_notebook(model):
    found = model.recommend(["ann", "bob"], k=3)
    shown = found._repr_html_()
    assert shown.count("<tr>") == 3
    assert "<td>ann</td>" in shown
    assert f"{found.items[1, 2]} (" in shown
    assert "shown" not in shown
    assert f"{model.n_users_} x 12; the first of each are shown" in model.recommend(k=12)._repr_html_()
    assert "nobody" not in model.recommend("ann", k=1)._repr_html_()


def test_results_come_back_as_frames(model, make, data):
    library = next(name for name, other in LIBRARIES.items() if other is make)
    users = make({"user": USERS[:2]})
    for found in (
        model.recommend(users, k=3),
        lw.evaluate(model, data, data, "ndcg@3", exclude_seen=False, users=users),
    ):
        frame = found.to_frame(library=library)
        assert type(frame).__module__.startswith(library)
