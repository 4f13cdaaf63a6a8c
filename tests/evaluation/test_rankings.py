"""evaluate_rankings: the same figures as evaluate, from lists of every form; errors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import likewise as lw
import reference
from likewise.data import Interactions
from likewise.evaluation import evaluate, evaluate_rankings

NAMES = [
    *("precision@5", "recall@3", "ndcg@10", "graded_ndcg@5", "map@10", "err@5", "auc@5", "novelty@5", "popularity@5"),
    *("popularity_lift@5", "serendipity@5", "coverage@5", "gini@5", "personalization@10", "rbp(0.9)@10"),
]


@pytest.fixture(params=["row", "string"])
def split(request, rng):
    matrix = reference.random_csr(rng, (50, 30), 0.4).to_scipy().tocoo()
    if request.param == "row":
        data = Interactions.from_csr(matrix.tocsr())
    else:
        rows, columns = matrix.coords
        data = Interactions.from_arrays([f"u{row}" for row in rows], [f"i{j}" for j in columns], matrix.data)
    return lw.model_selection.random_split(data, 0.4, random_state=0)


@pytest.fixture
def model(split):
    return lw.ImplicitALS(factors=5, iterations=3, random_state=0).fit(split[0])


@pytest.fixture
def lists(model, split):
    users = split[0].user_labels(np.flatnonzero(split[1].by_user.row_counts()))
    return model.recommend(users, k=10)


def as_dict(lists):
    return {
        user: [item for item, score in zip(row, scores, strict=True) if score > -np.inf]
        for user, row, scores in zip(lists.users.tolist(), lists.items.tolist(), lists.scores, strict=True)
    }


def test_lists_of_every_form_give_what_evaluate_gives(model, split, lists):
    train, test = split
    expected = dict(evaluate(model, train, test, NAMES))
    assert dict(evaluate_rankings(lists, test, train, NAMES)) == pytest.approx(expected, rel=1e-13)
    assert dict(evaluate_rankings((lists.users, lists.items), test, train, NAMES)) == pytest.approx(expected, rel=1e-13)
    assert dict(evaluate_rankings(as_dict(lists), test, train, NAMES)) == pytest.approx(expected, rel=1e-13)
    backwards = np.random.default_rng(0).permutation(len(lists.to_frame("pandas")))
    for library in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(library)
        frame = lists.to_frame(library)
        assert dict(evaluate_rankings(frame, test, train, NAMES)) == pytest.approx(expected, rel=1e-13)
        shuffled = frame.iloc[backwards] if library == "pandas" else frame[backwards] if library == "polars" else None
        if shuffled is not None:
            for order in ("rank", "score"):
                found = evaluate_rankings(shuffled, test, train, NAMES, **{order: order})
                assert dict(found) == pytest.approx(expected, rel=1e-13)


def test_users_without_a_list_have_found_nothing(split, lists):
    train, test = split
    some = dict(list(as_dict(lists).items())[::2])
    result = evaluate_rankings(some, test, train, "recall@10")
    whole = evaluate_rankings(as_dict(lists), test, train, "recall@10")
    for user, part, value in zip(
        result.users.tolist(), result.per_user["recall@10"], whole.per_user["recall@10"], strict=True
    ):
        assert part == (value if user in some else 0)


def test_items_that_nobody_knew_are_misses():
    test = Interactions.from_arrays([1, 2], ["tea", "mug"])
    result = evaluate_rankings({1: ["new", "tea"], 2: ["mug"], 3: ["tea"]}, test, metrics=["mrr@2", "coverage@2"])
    assert result["mrr@2"] == 0.75
    assert result["coverage@2"] == 1  # of three items
    assert result.users.tolist() == [1, 2]


def test_without_train_nothing_is_seen(split, lists):
    _, test = split
    assert evaluate_rankings(lists, test, metrics="ndcg@5").n_users == np.count_nonzero(test.by_user.row_counts())
    with pytest.raises(ValueError, match="evaluate_rankings: novelty@5 needs train, which tells how popular items are"):
        evaluate_rankings(lists, test, metrics="novelty@5")


def test_what_a_user_has_seen_is_a_miss():
    train, test = Interactions.from_arrays([1], ["tea"]), Interactions.from_arrays([1, 1], ["tea", "mug"])
    result = evaluate_rankings({1: ["tea", "mug"]}, test, train, ["precision@2", "mrr@2"])
    assert (result["precision@2"], result["mrr@2"]) == (0.5, 0.5)
    result = evaluate_rankings({1: ["tea", "mug"]}, test, train, "precision@2", exclude_seen=False)
    assert result["precision@2"] == 1


def test_features_and_groups_are_of_the_items_of_train():
    train = Interactions.from_arrays([1, 1, 2], ["mug", "tea", "tin"])
    test = Interactions.from_arrays([1, 2], ["tin", "mug"])
    lists = {1: ["tin", "new"], 2: ["mug", "tea"]}
    result = evaluate_rankings(
        lists, test, train, ["diversity@2", "recall_gap@2"],
        item_features=[[1, 0], [1, 0], [0, 1]], item_groups=["cup", "leaf", "box"],
    )  # fmt: skip
    assert result["diversity@2"] == 0.5  # an item without features is like no other; mug and tea are alike
    assert result.item_groups.groups.tolist() == ["(none)", "box", "cup", "leaf"]
    assert result.item_groups["n_items"].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="diversity needs item_features, a row for each item"):
        evaluate_rankings(lists, test, train, "diversity@2")


@pytest.mark.parametrize(
    ("rankings", "options", "error", "message"),
    [
        ({1: ["tea", "tea"]}, {}, ValueError, "an item stands twice in the list of user 1; give each once"),
        (([1, 1], [["tea"], ["mug"]]), {}, ValueError, "user 1 has more than one list"),
        (([1], ["tea"]), {}, ValueError, r"items of shape \(n, k\), got shapes \(1,\) and \(1,\)"),
        ({1: [3]}, {}, TypeError, "item ids are string here, got int64 ids"),
        ({"x": ["tea"]}, {}, TypeError, "user ids are int64 here, got string ids"),
        (3, {}, TypeError, "evaluate_rankings: expected a data frame"),
        ({1: ["tea"]}, {"metrics": "auc"}, ValueError, "auc is not of ranked lists; evaluate has it, for a model"),
        ({1: ["tea"]}, {"metrics": "rmse"}, ValueError, "rmse is not of ranked lists"),
        ({1: ["tea"]}, {"n_bootstrap": -1}, ValueError, "n_bootstrap must be >= 0"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused(rankings, options, error, message):
    test = Interactions.from_arrays([1, 2], ["tea", "mug"])
    with pytest.raises(error, match=message):
        evaluate_rankings(rankings, test, **options)


def test_bad_frames_are_refused():
    pd = pytest.importorskip("pandas")
    test = Interactions.from_arrays([1], ["tea"])
    frame = pd.DataFrame({"user": [1], "item": ["tea"], "rank": [np.nan], "score": [1.0]})
    for options, message in (
        ({"rank": "rank", "score": "score"}, "rank and score exclude each other"),
        (
            {"item": "article"},
            r"item column 'article' is not there; the columns are \['user', 'item', 'rank', 'score'\]",
        ),
        ({"rank": "rank"}, "null|NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_rankings(frame, test, **options)


def test_rows_beyond_the_matrix_are_refused():
    with pytest.raises(IndexError, match="item 7 is outside"):
        evaluate_rankings(([0], [[7]]), sp.csr_array(np.eye(3)))
