"""evaluate: what is ranked, what counts, ids, blocks, folding in, errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

import reference
from likewise.data import Interactions
from likewise.evaluation import evaluate

ALL = [f"{name}@{k}" for name in ("precision", "recall", "hit_rate", "ndcg", "map", "mrr") for k in (1, 5, 12)] + [
    "auc"
]


class ItemCounts(BaseEstimator):
    """Scores of a user: how often the items of its history were had together with each item; ties abound.

    Fitted users get the history of the fit plus one half, so that a test sees which of the two was asked for.
    """

    def fit(self, X):
        self.interactions_ = X
        dense = X.by_user.to_scipy().toarray() > 0
        self.together_ = (dense.T.astype(np.float32) @ dense.astype(np.float32)).astype(np.float32)
        return self

    def _scores(self, histories, rows):
        source = self.interactions_.by_user if histories is None else histories
        dense = (source.take_rows(rows).to_scipy().toarray() > 0).astype(np.float32)
        self.folded_in_ = histories is not None
        return dense @ self.together_

    def _top_k(self, histories, rows, k, exclude, allow, deny, subject, *, exactly=True):
        self.batches_ = [*getattr(self, "batches_", []), rows.size]
        return reference.top_k(self._scores(histories, rows), k, exclude, deny, allow)


def split_pairs(data, rng, share):
    held_out = rng.random(data.nnz) < share
    return data.keep_entries(~held_out), data.keep_entries(held_out)


@pytest.fixture
def data(rng):
    return Interactions.from_csr(reference.random_csr(rng, (70, 25), 0.3).to_scipy())


@pytest.fixture
def split(data, rng):
    return split_pairs(data, rng, 0.3)


@pytest.fixture
def model(split):
    return ItemCounts().fit(split[0])


def expected(model, train, test, users, exclude_seen=True):
    """Every metric of ALL for `users`, from the definitions."""
    seen = train.by_user.take_rows(users) if exclude_seen else None
    scores = model._scores(None, users)
    ids, _ = reference.top_k(scores, 12, seen)
    rows = []
    for place, user in enumerate(users):
        relevant = reference.relevant_items(test.by_user, user, train.by_user if exclude_seen else None)
        excluded = set(seen.row(place)[0].tolist()) if exclude_seen else set()
        rows.append(
            [
                reference.auc(scores[place], relevant, excluded)
                if name == "auc"
                else reference.ranking_metric(name.split("@")[0], int(name.split("@")[1]), ids[place], relevant)
                for name in ALL
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_evaluate_matches_the_definitions(model, split, exclude_seen):
    train, test = split
    result = evaluate(model, train, test, ALL, exclude_seen=exclude_seen)
    users = np.flatnonzero(test.by_user.row_counts())
    assert_array_equal(result.users, users)
    values = expected(model, train, test, users, exclude_seen)
    for j, name in enumerate(ALL):
        assert_allclose(result.per_user[name], values[:, j], rtol=1e-13)
        assert_allclose(result[name], np.nanmean(values[:, j]), rtol=1e-13)
    assert list(result) == ALL
    assert not model.folded_in_


def test_evaluate_counts_no_relevant_item_that_could_not_be_recommended(data):
    model = ItemCounts().fit(data)
    with pytest.raises(
        ValueError, match=r"no user has a relevant item in test that is not in train; should exclude_seen"
    ):
        evaluate(model, data, data)
    result = evaluate(model, data, data, "recall@25", exclude_seen=False)
    assert result["recall@25"] == 1


def test_evaluate_counts_no_value_of_zero_or_below(model, split):
    train, test = split
    values = test.by_user.values.copy()
    values[::2] = 0
    signed = test.by_user.to_scipy(copy=True)
    signed.data[:] = np.where(values > 0, values, -1)
    positive = test.keep_entries(values > 0)
    assert dict(evaluate(model, train, signed, ALL)) == dict(evaluate(model, train, positive, ALL))


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_evaluate_does_not_depend_on_its_batches(model, split, batch_size, monkeypatch, capsys):
    whole = evaluate(model, *split, ALL)
    monkeypatch.setitem(evaluate.__globals__, "_BLOCK_SCORES", 60)
    model.batches_ = []
    parts = evaluate(model, *split, ALL, batch_size=batch_size, verbose=True)
    assert max(model.batches_) == batch_size
    assert "Evaluating" in capsys.readouterr().err
    for name in ALL:
        assert_array_equal(parts.per_user[name], whole.per_user[name])
        assert parts.interval(name) == whole.interval(name)


def test_evaluate_named_users_in_their_order_with_nan_for_those_without_relevant_items(model, split):
    train, test = split
    with_relevant, without = (
        np.flatnonzero(test.by_user.row_counts() > 0),
        np.flatnonzero(test.by_user.row_counts() == 0),
    )
    named = [with_relevant[4], without[0], with_relevant[0]]
    result = evaluate(model, train, test, "ndcg@5", users=named)
    assert_array_equal(result.users, named)
    whole = evaluate(model, train, test, "ndcg@5")
    values = result.per_user["ndcg@5"]
    assert_array_equal(np.isnan(values), [False, True, False])
    assert values[0] == whole.per_user["ndcg@5"][4]
    assert result["ndcg@5"] == np.nanmean(values)
    assert "ndcg@5: 1 users without a value left out" in repr(result)


def test_evaluate_matches_ids_and_counts_the_unknown(rng, split):
    # The same data with string ids, in which test has its users in another order, one of them and one item unknown.
    train, test = split
    users, items, _, _ = train.events()
    named = Interactions.from_arrays([f"u{u:02}" for u in users], [f"i{i:02}" for i in items])
    test_users, test_items, _, _ = test.events()
    known = np.isin(test_users, users) & np.isin(test_items, items)
    order = rng.permutation(np.flatnonzero(known))
    named_test = Interactions.from_arrays(
        [*(f"u{u:02}" for u in test_users[order]), "new", "u00"],
        [*(f"i{i:02}" for i in test_items[order]), "i00", "new"],
    )
    model = ItemCounts().fit(named)
    result = evaluate(model, named, named_test, ALL, users=None)
    plain = evaluate(ItemCounts().fit(train), train, test.keep_entries(known), ALL)
    assert_array_equal(result.users, [f"u{u:02}" for u in plain.users])
    for name in ALL:
        assert_array_equal(result.per_user[name], plain.per_user[name])
    assert (result.n_unknown_users, result.n_unknown_items) == (1, 1)
    assert "left out of test: 1 unknown users, 1 unknown items" in repr(result)
    assert evaluate(model, named, named_test, users=["u03", "u01"]).users.tolist() == ["u03", "u01"]


def test_evaluate_folds_in_users_that_the_model_was_not_fitted_on(data, rng):
    is_held_out = (rng.random(data.n_users) < 0.3)[data.by_user.row_numbers()]
    train, held_out = data.keep_entries(~is_held_out), data.keep_entries(is_held_out)
    told, sought = split_pairs(held_out, rng, 0.4)
    model = ItemCounts().fit(train)
    result = evaluate(model, told, sought, ["recall@5"])
    assert model.folded_in_
    scores = model._scores(told.by_user, result.users)
    ids, _ = reference.top_k(scores, 5, told.by_user.take_rows(result.users))
    for user, row, value in zip(result.users, ids, result.per_user["recall@5"], strict=True):
        assert value == reference.ranking_metric("recall", 5, row, reference.relevant_items(sought.by_user, user))
    evaluate(model, train.binarize(), held_out, users=None, exclude_seen=False)
    assert not model.folded_in_  # the same pairs: the model's own users


def test_evaluate_takes_matrices(model, split):
    train, test = split
    result = evaluate(model, train.by_user.to_scipy(), test.by_user.to_scipy().toarray(), ALL)
    assert dict(result) == dict(evaluate(model, train, test, ALL))


def test_evaluate_gives_the_same_intervals_for_the_same_seed(model, split):
    intervals = [evaluate(model, *split, random_state=seed).interval("ndcg@20") for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]
    assert evaluate(model, *split, n_jobs=1).interval("ndcg@20") == intervals[0]


def test_evaluate_refuses_a_transposed_test(model, split):
    train, test = split
    with pytest.raises(ValueError, match=r"evaluate: test: .*\(25, 70\).*\(70, 25\); it looks transposed"):
        evaluate(model, train, test.by_user.to_scipy().T)
    named = Interactions.from_arrays(["a", "b", "c"], ["x", "y", "x"])
    swapped = Interactions.from_arrays(["x", "y", "x"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="no user has a relevant item in test; are its users and items those of train"):
        evaluate(ItemCounts().fit(named), named, swapped)


def test_evaluate_refuses_another_catalogue(model, split):
    with pytest.raises(ValueError, match=r"24 features, but evaluate: train is expecting 25 features"):
        evaluate(model, split[0].by_user.to_scipy()[:, :24], split[1])


def test_evaluate_refuses_an_unfitted_model(split):
    with pytest.raises(NotFittedError):
        evaluate(ItemCounts(), *split)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"metrics": "ndgc@10"},
            ValueError,
            r"unknown metric 'ndgc@10'; known are precision@k, recall@k, hit_rate@k, ",
        ),
        ({"metrics": ["ndcg"]}, ValueError, r"ndcg needs a cutoff, as in 'ndcg@20', got 'ndcg'"),
        ({"metrics": ["ndcg@"]}, ValueError, "ndcg needs a cutoff"),
        ({"metrics": ["ndcg@-1"]}, ValueError, "ndcg needs a cutoff"),
        ({"metrics": ["ndcg@0"]}, ValueError, r"the cutoff of 'ndcg@0' must be >= 1, got 0"),
        ({"metrics": ["auc@0"]}, ValueError, "the cutoff of 'auc@0' must be >= 1, got 0"),
        ({"metrics": ["auc@x"]}, ValueError, "auc needs no cutoff, or one, as in 'auc@20', got 'auc@x'"),
        ({"metrics": ["ndcg(2)@5"]}, ValueError, r"ndcg takes nothing in brackets, got 'ndcg\(2\)@5'"),
        ({"metrics": ["rbp(1)@5"]}, ValueError, r"the persistence of 'rbp\(1\)@5' must be < 1, got 1"),
        ({"metrics": ["rbp(x)@5"]}, ValueError, r"the persistence of 'rbp\(x\)@5' must be finite"),
        ({"metrics": ["recall_gap@5"]}, ValueError, "recall_gap@5 needs item_groups, a label for each item"),
        ({"metrics": ["diversity@5"]}, ValueError, "diversity needs item_features, a row for each item, as ItemCounts"),
        ({"metrics": []}, ValueError, "metrics must name at least one of precision@k"),
        ({"metrics": [10]}, TypeError, r"a metric must be a string such as 'ndcg@20', got 10"),
        ({"users": [70]}, IndexError, r"user 70 is outside \[0, 70\)"),
        ({"exclude_seen": 1}, TypeError, "exclude_seen must be True or False, got 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1, got 0"),
        ({"n_bootstrap": -1}, ValueError, "n_bootstrap must be >= 0, got -1"),
        ({"confidence": 1.0}, ValueError, "confidence must be < 1, got 1"),
        ({"random_state": "a"}, TypeError, "random_state must be None, an integer or a NumPy Generator, got 'a'"),
        ({"n_jobs": 0}, ValueError, "n_jobs must not be 0"),
    ],
)
def test_evaluate_refuses(model, split, arguments, error, message):
    with pytest.raises(error, match=f"evaluate: {message}"):
        evaluate(model, *split, **arguments)


def test_evaluate_keeps_each_metric_once(model, split):
    assert list(evaluate(model, *split, ["ndcg@5", "auc", "ndcg@5", "ndcg@05"])) == ["ndcg@5", "auc"]


def test_evaluate_with_a_cutoff_beyond_the_catalogue(model, split):
    result = evaluate(model, *split, ["recall@1000", "precision@1000"])
    assert result["recall@1000"] == 1
    counts = split[1].by_user.row_counts()
    assert_allclose(result["precision@1000"], counts[counts > 0].mean() / 1000)
