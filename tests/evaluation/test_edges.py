"""What fresh eyes found: users in another order, strangers, candidates of nobody, names, cutoffs, empty lists."""

from __future__ import annotations

import numpy as np
import pytest

import likewise as lw
from likewise.evaluation import evaluate_rankings

USERS, ITEMS = list("aabbccdd"), ["f1", "f2", "f1", "f3", "c1", "c2", "c1", "c3"]
CATALOGUE = ["f1", "f2", "f3", "c1", "c2", "c3"]


@pytest.fixture
def by_features():
    """A machine that knows the taste of "e", who did nothing, by a feature alone."""
    data = lw.Interactions.from_arrays(USERS, ITEMS, user_ids=list("abcde"), item_ids=CATALOGUE)
    features = lw.Interactions.from_arrays(list("abcde"), ["F", "F", "C", "C", "C"])
    model = lw.FactorizationMachine(factors=4, random_state=0, iterations=60, n_jobs=1)
    return model.fit(data, user_features=features), lw.Interactions.from_arrays(["e"] * 3, ["c1", "c2", "c3"])


@pytest.mark.parametrize("order", ["abcde", "edcba"])
def test_the_models_own_users_are_known_in_any_order(by_features, order):
    model, test = by_features
    train = lw.Interactions.from_arrays(USERS, ITEMS, user_ids=list(order), item_ids=CATALOGUE)
    assert lw.evaluate(model, train, test, "recall@3")["recall@3"] == 1


def test_strangers_with_the_same_items_are_strangers(by_features):
    model, _ = by_features
    train = lw.Interactions.from_arrays(
        [chr(ord(user) + 15) for user in USERS], ITEMS, user_ids=list("pqrst"), item_ids=CATALOGUE
    )
    test = lw.Interactions.from_arrays(["t"] * 3, ["c1", "c2", "c3"])
    assert lw.evaluate(model, train, test, "recall@3")["recall@3"] == 0  # folded in from nothing


def test_candidates_of_nobody_are_refused():
    data = lw.Interactions.from_arrays(list("aabb"), list("xyxz"))
    model = lw.Popularity().fit(data)
    swapped = lw.Interactions.from_arrays(list("xyz"), list("aba"))
    with pytest.raises(ValueError, match="candidates have no user with an item that train and the model know"):
        lw.evaluate(model, data, data, "recall@1", exclude_seen=False, candidates=swapped)
    with pytest.raises(ValueError, match="serendipity compares with the most popular of all items; leave candidates"):
        lw.evaluate(model, data, data, "serendipity@1", exclude_seen=False, candidates=data)


@pytest.fixture
def split():
    rng = np.random.default_rng(1)
    train = (rng.random((20, 30)) < 0.2) * 1.0
    return train, ((rng.random((20, 30)) < 0.1) & (train == 0)) * 1.0


def test_ties_are_counted_alike_in_batches_of_any_size(split):
    model = lw.ItemKNN(k=5).fit(split[0])
    counts = {lw.evaluate(model, *split, "r_precision", batch_size=size).n_tied_users for size in (1, 5, 100)}
    assert len(counts) == 1


def test_a_figure_does_not_depend_on_what_else_is_asked():
    rng = np.random.default_rng(1)
    ratings = (rng.random((20, 15)) < 0.4) * rng.integers(1, 6, (20, 15)) * 1.0
    train = ratings * (rng.random(ratings.shape) < 0.6)
    test = ratings - train
    test[:10] *= -1  # of whom nothing is relevant
    model = lw.BaselinePredictor().fit(train)
    names = ["novelty@3", "popularity@3", "popularity_lift@3"]
    alone, together = (lw.evaluate(model, train, test, asked) for asked in (names, [*names, "rmse"]))
    for name in names:
        assert alone[name] == together[name]


def test_names_keep_their_digits_and_are_found_as_they_were_asked_for(split):
    model = lw.Popularity().fit(split[0])
    names = ["rbp(0.1234567)@5", "rbp(0.1234568)@5", "rbp(.95)@5", "ndcg@05"]
    result = lw.evaluate(model, *split, names)
    assert list(result) == ["rbp(0.1234567)@5", "rbp(0.1234568)@5", "rbp(0.95)@5", "ndcg@5"]
    for name in names:
        low, high = result.interval(name)
        assert low <= result[name] <= high


def test_cutoffs_beyond_any_list_are_refused(split):
    with pytest.raises(ValueError, match="the cutoff of 'coverage@2147483647' must be <= 1000000"):
        lw.evaluate(lw.Popularity().fit(split[0]), *split, "coverage@2147483647")


def test_groups_need_a_list(split):
    with pytest.raises(ValueError, match="item_groups are compared by what lists show; ask for a metric with a cutoff"):
        lw.evaluate(lw.Popularity().fit(split[0]), *split, "auc", item_groups=["a", "b"] * 15)


@pytest.mark.parametrize(("users", "match"), [([1, 1, 2], "users names 1 more than once"), ([], "name at least one")])
def test_users_are_named_once(split, users, match):
    with pytest.raises(ValueError, match=match):
        lw.evaluate(lw.Popularity().fit(split[0]), *split, "ndcg@5", users=users)


# ---------------------------------------------------------------------- ready lists


@pytest.fixture
def sought():
    return lw.Interactions.from_arrays([1, 1, 2], ["tea", "mug", "tin"])


@pytest.mark.parametrize("lists", [{}, {9: ["tea"]}])
def test_lists_of_nobody_find_nothing(sought, lists):
    assert evaluate_rankings(lists, sought, metrics=["recall@2"])["recall@2"] == 0


def test_features_and_groups_are_of_the_items_of_test(sought):
    lists = {1: ["tea", "pot"], 2: ["mug", "tin"]}
    result = evaluate_rankings(
        lists, sought, metrics=["diversity@2", "exposure_gap@2"], item_features=np.eye(3), item_groups=["A", "A", "B"]
    )
    assert result["diversity@2"] > 0
    assert set(result.item_groups.groups) == {"A", "B", "(none)"}


def test_lists_are_lists(sought):
    with pytest.raises(TypeError, match="the list of user 1 is the string 'tea'; give a list of items"):
        evaluate_rankings({1: "tea"}, sought, metrics=["recall@1"])
    with pytest.raises(ValueError, match="rank and score are columns of a data frame; lists are in their order"):
        evaluate_rankings({1: ["tea"]}, sought, metrics=["recall@1"], rank="rank")
