"""Every metric of evaluate against its definition, ranx and scikit-learn; groups, candidates, ties, popularity."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import ndcg_score, roc_auc_score

import likewise as lw
import reference
from likewise.data import Interactions
from likewise.evaluation import evaluate

OF_USERS = (
    *("precision", "recall", "hit_rate", "f1", "fall_out", "ndcg", "graded_ndcg", "exponential_ndcg", "map", "mrr"),
    *("r_precision", "err", "auc"),
)
N_USERS, N_ITEMS = 60, 24


@pytest.fixture
def split(rng):
    data = Interactions.from_csr(reference.random_csr(rng, (N_USERS, N_ITEMS), 0.4).to_scipy())
    return lw.model_selection.random_split(data, 0.4, random_state=0)


@pytest.fixture
def model(split):
    return lw.ImplicitALS(factors=6, iterations=3, random_state=0).fit(split[0])


def lists_of(model, train, users, k, exclude_seen=True):
    found = model.recommend(users, k=k, exclude_seen=exclude_seen).items
    return [[item for item in row if item >= 0] for row in found.tolist()]


def measured_users(train, test):
    users = np.flatnonzero(test.by_user.row_counts())
    return [user for user in users if reference.relevant_items(test.by_user, user, train.by_user)]


def test_metrics_of_users_match_their_definitions(model, split):
    train, test = split
    cutoffs, users = (1, 4, 30), measured_users(train, test)
    names = [f"{name}@{k}" for name in OF_USERS for k in cutoffs] + ["r_precision", "rbp@4", "rbp(0.5)@30"]
    result = evaluate(model, train, test, names)
    assert list(result) == names
    assert_array_equal(result.users, users)
    rows = lists_of(model, train, users, N_ITEMS)
    greatest = test.by_user.values.max()
    for name in names:
        metric, _, cutoff = name.partition("@")
        k = int(cutoff) if cutoff else N_ITEMS
        parameter = {"rbp": 0.8, "rbp(0.5)": 0.5, "err": greatest}.get(metric, 0.0)
        expected = [
            reference.ranking_metric(
                metric.partition("(")[0], k, row, reference.grades_of(test.by_user, user, train.by_user), parameter,
                N_ITEMS, train.by_user.row(user)[0].tolist(),
            )
            for user, row in zip(users, rows, strict=True)
        ]  # fmt: skip
        assert_allclose(result.per_user[name], expected, rtol=1e-12, err_msg=name)
        assert_allclose(result[name], np.nanmean(expected), rtol=1e-12)


def test_metrics_of_lists_match_their_definitions(model, split):
    train, test = split
    users, counts = measured_users(train, test), train.by_user.column_counts().astype(float)
    names = [f"{name}@{k}" for name in ("novelty", "popularity", "diversity", "serendipity") for k in (1, 5, 30)]
    result = evaluate(model, train, test, [*names, "popularity_lift@5"])
    rows = lists_of(model, train, users, N_ITEMS)
    n_active = (train.by_user.row_counts() > 0).sum()
    vectors = model.item_factors_.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    for name in names:
        metric, _, cutoff = name.partition("@")
        expected = [
            reference.list_metric(
                metric, int(cutoff), row, reference.relevant_items(test.by_user, user, train.by_user),
                -np.log2(np.maximum(counts, 1) / n_active), counts, vectors, train.by_user.row(user)[0].tolist(),
            )
            for user, row in zip(users, rows, strict=True)
        ]  # fmt: skip
        assert_allclose(result.per_user[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
    shown = np.array([counts[row[:5]].mean() if row else np.nan for row in rows])
    had = np.array(
        [counts[train.by_user.row(user)[0]].mean() if train.by_user.row_counts()[user] else np.nan for user in users]
    )
    both = ~np.isnan(shown) & ~np.isnan(had)
    assert_allclose(result["popularity_lift@5"], shown[both].mean() / had[both].mean() - 1, rtol=1e-12)


def test_metrics_of_all_lists_match_their_definitions(model, split):
    train, test = split
    users = measured_users(train, test)
    names = [f"{name}@{k}" for name in ("coverage", "gini", "entropy", "personalization") for k in (2, 7, 30)]
    whole, in_batches = (evaluate(model, train, test, names, batch_size=size) for size in (1000, 7))
    rows = lists_of(model, train, users, N_ITEMS)
    for k in (2, 7, 30):
        cut = [row[:k] for row in rows]
        counts = np.bincount([item for row in cut for item in row], minlength=N_ITEMS)
        shares = counts[counts > 0] / counts.sum()
        pairs = [(i, j) for i in range(len(cut)) for j in range(i)]
        expected = {
            "coverage": (counts > 0).mean(),
            "gini": np.abs(counts[:, np.newaxis] - counts).sum() / (2 * N_ITEMS**2 * counts.mean()),
            "entropy": -(shares * np.log2(shares)).sum(),
            "personalization": np.mean([1 - len(set(cut[i]) & set(cut[j])) / k for i, j in pairs]),
        }
        for name, value in expected.items():
            assert_allclose(whole[f"{name}@{k}"], value, rtol=1e-12, err_msg=f"{name}@{k}")
    assert dict(whole) == dict(in_batches)
    with pytest.raises(ValueError, match="coverage@2 is of all lists together and has no interval over users"):
        whole.interval("coverage@2")
    frame = whole.to_frame(library="pandas")
    assert frame["low"].isna().all()
    assert (frame["n_users"] == len(users)).all()


@pytest.mark.filterwarnings("ignore")  # of its compiler
def test_figures_agree_with_ranx(model, split):
    ranx = pytest.importorskip("ranx", reason="ranx is not installed")
    train, test = split
    users = measured_users(train, test)
    rows = lists_of(model, train, users, N_ITEMS)
    grades = {f"{u:03}": reference.grades_of(test.by_user, u, train.by_user) for u in users}
    qrels = {u: {str(i): int(g) for i, g in of_user.items()} for u, of_user in grades.items()}
    binary = {u: dict.fromkeys(of_user, 1) for u, of_user in qrels.items()}
    run = {
        f"{u:03}": {str(i): float(N_ITEMS - j) for j, i in enumerate(row)} for u, row in zip(users, rows, strict=True)
    }
    run = {u: row or {"none": 1.0} for u, row in run.items()}
    ours = {  # its map is over all relevant items, so that it agrees where the cutoff is beyond them
        **{f"{name}@5": f"{name}@5" for name in ("precision", "recall", "hit_rate", "f1", "mrr", "ndcg")},
        f"map@{N_ITEMS}": f"map@{N_ITEMS}",
        "r_precision": "r-precision",
        f"rbp(0.8)@{N_ITEMS}": "rbp.80",
    }
    result = evaluate(model, train, test, [*ours, "graded_ndcg@5", "exponential_ndcg@5"])
    for name, theirs in ours.items():
        found = ranx.evaluate(ranx.Qrels(binary), ranx.Run(run), theirs, return_mean=False)
        assert_allclose(result.per_user[name], found, rtol=1e-6, err_msg=name)
    for name, theirs in (("graded_ndcg@5", "ndcg@5"), ("exponential_ndcg@5", "ndcg_burges@5")):
        found = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), theirs, return_mean=False)
        assert_allclose(result.per_user[name], found, rtol=1e-6, err_msg=name)


def test_graded_ndcg_agrees_with_scikit_learn(model, split):
    train, test = split
    result = evaluate(model, train, test, ["graded_ndcg@5", "exponential_ndcg@5"], exclude_seen=False)
    knows = train.by_user.row_counts()[result.users] > 0  # others have an empty list, and ties to scikit-learn
    users = result.users[knows]
    scores, truth = model._scores(None, users), test.by_user.take_rows(users).to_scipy().toarray()
    scores[~np.isfinite(scores)] = -1e9
    rows = range(len(users))
    for name, gains in (("graded_ndcg@5", truth), ("exponential_ndcg@5", 2**truth - 1)):
        expected = [ndcg_score(gains[[row]], scores[[row]], k=5) for row in rows]
        assert_allclose(result.per_user[name][knows], expected, rtol=1e-6, err_msg=name)


# ---- candidates ----------------------------------------------------------------------------------------------------


def test_candidates_alone_are_ranked(model, split, rng):
    train, test = split
    candidates = Interactions.from_csr(reference.random_csr(rng, (N_USERS, N_ITEMS), 0.2).to_scipy())
    names = ["recall@3", "ndcg@3", "mrr@30", "fall_out@3", "auc@30", "auc", "coverage@30", "r_precision"]
    result = evaluate(model, train, test, names, candidates=candidates)
    scores = model._scores(None, np.arange(N_USERS))
    for place, user in enumerate(result.users):
        relevant = reference.relevant_items(test.by_user, user, train.by_user)
        seen = set(train.by_user.row(user)[0].tolist())
        pool = sorted((set(candidates.by_user.row(user)[0].tolist()) | relevant) - seen)
        is_level = np.unique(scores[user, pool]).size == 1 < len(pool)
        ranked = [item for item in pool if scores[user, item] > -np.inf and not is_level]
        order = sorted(ranked, key=lambda i: (-scores[user, i], i))
        for name in ("recall@3", "ndcg@3", "mrr@30"):
            metric, k = name.split("@")
            expected = reference.ranking_metric(metric, int(k), order, relevant)
            assert_allclose(result.per_user[name][place], expected, rtol=1e-12)
        others = [item for item in pool if item not in relevant]
        if others:
            misses = len(set(order[:3]) - relevant)
            assert_allclose(result.per_user["fall_out@3"][place], misses / len(others))
            shown = np.where(np.isfinite(scores[user, pool]), scores[user, pool], -1e9)
            area = roc_auc_score([item in relevant for item in pool], shown)
            assert_allclose(result.per_user["auc"][place], area, rtol=1e-6)
            if np.unique(shown).size == len(pool):  # ranks take ties apart
                assert_allclose(result.per_user["auc@30"][place], area, rtol=1e-6)
        else:
            assert np.isnan(result.per_user["auc"][place])
    assert dict(result) == dict(evaluate(model, train, test, names, candidates=candidates, batch_size=3))


def test_candidates_may_be_none_for_a_user(model, split):
    train, test = split
    nothing = sp.csr_array((N_USERS, N_ITEMS))
    result = evaluate(model, train, test, ["recall@30", "precision@1", "auc"], candidates=nothing, n_bootstrap=0)
    known = np.isfinite(model._scores(None, result.users)).any(axis=1)
    assert (result.per_user["precision@1"][known] <= 1).all()
    assert np.isnan(result.per_user["auc"]).all()  # nothing but relevant items


def test_candidates_in_another_shape_are_refused(model, split):
    with pytest.raises(ValueError, match=r"evaluate: candidates: the interactions have shape \(24, 60\)"):
        evaluate(model, *split, candidates=sp.csr_array((N_ITEMS, N_USERS)))


# ---- groups --------------------------------------------------------------------------------------------------------


def test_groups_of_items_match_counting(model, split):
    train, test = split
    labels = np.array(["even", "odd"], dtype=object)[np.arange(N_ITEMS) % 2]
    labels[3] = None
    names = ["recall@4", "exposure_gap@4", "recall_gap@4", "exposure_gap@9"]
    users = measured_users(train, test)
    result = evaluate(model, train, test, names, item_groups=labels, batch_size=11)
    groups = result.item_groups
    assert groups.groups.tolist() == ["(none)", "even", "odd"]
    assert groups["n_items"].tolist() == [1, 12, 11]
    rows = lists_of(model, train, users, 9)
    relevant = [reference.relevant_items(test.by_user, user, train.by_user) for user in users]
    members = [{3}, set(range(0, N_ITEMS, 2)), set(range(1, N_ITEMS, 2)) - {3}]
    merit = np.array([sum(len(of_user & group) for of_user in relevant) for group in members], float)
    assert_allclose(groups["merit"], merit / merit.sum())
    for k in (4, 9):
        exposure = np.array(
            [sum(1 / np.log2(j + 2) for row in rows for j, i in enumerate(row[:k]) if i in group) for group in members]
        )
        recalls = []
        for group in members:
            pairs = [(set(row[:k]), of_user & group) for row, of_user in zip(rows, relevant, strict=True)]
            recalls.append(np.mean([len(shown & wanted) / len(wanted) for shown, wanted in pairs if wanted]))
        assert_allclose(groups[f"exposure@{k}"], exposure / exposure.sum(), rtol=1e-12)
        assert_allclose(groups[f"recall@{k}"], recalls, rtol=1e-12)
        gap = np.abs(exposure / exposure.sum() - merit / merit.sum()).max()
        assert_allclose(result[f"exposure_gap@{k}"], gap, rtol=1e-12)
    assert result["recall_gap@4"] == groups.gap("recall@4")
    assert "even" in repr(groups)
    assert "<th>even</th>" in groups._repr_html_()
    assert groups.to_frame("pandas")["item_group"].tolist() == ["(none)", "even", "odd"]


def test_groups_of_items_by_id_and_by_column():
    data = Interactions.from_arrays([1, 1, 2, 2, 3, 3], list("abacbc")).with_info(
        item_info={"kind": np.array(["x", "y", "x"])}
    )
    train, test = lw.model_selection.random_split(data, 2, random_state=1)
    model = lw.Popularity().fit(train)
    by_column, by_id, by_row = (
        evaluate(model, train, test, "recall_gap@2", item_groups=groups)
        for groups in ("kind", {"a": "x", "b": "y", "c": "x"}, ["x", "y", "x"])
    )
    assert dict(by_column) == dict(by_id) == dict(by_row)
    for groups, message in (
        ("sort", r"item_groups must name a column of train.item_info \('kind'\), got 'sort'"),
        ({"z": 1}, "item_groups has none of the 3 items"),
        (["x"], "item_groups must have a label for each of the 3 items, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(model, train, test, "recall_gap@2", item_groups=groups)


def test_groups_of_users(model, split):
    result = evaluate(model, *split, ["recall@5", "coverage@5", "popularity_lift@5"])
    labels = np.where(np.arange(result.n_users) % 3 == 0, "new", "old")
    groups = result.by_user_group(labels)
    assert set(groups) == {"n_users", "recall@5", "popularity_lift@5"}
    for j, name in enumerate(("new", "old")):
        assert groups["n_users"][j] == (labels == name).sum()
        assert_allclose(groups["recall@5"][j], result.per_user["recall@5"][labels == name].mean(), rtol=1e-14)
        alone = evaluate(model, *split, "popularity_lift@5", users=result.users[labels == name])
        assert_allclose(groups["popularity_lift@5"][j], alone["popularity_lift@5"], rtol=1e-12)
    assert groups.gap("recall@5") == abs(groups["recall@5"][0] - groups["recall@5"][1])
    by_id = result.by_user_group(dict(zip(result.users.tolist(), labels.tolist(), strict=True)))
    assert_array_equal(by_id["recall@5"], groups["recall@5"])
    with pytest.raises(KeyError, match="'ndcg@5' is not there; there are n_users, recall@5"):
        groups.gap("ndcg@5")


# ---- what is planted -----------------------------------------------------------------------------------------------


def test_a_planted_tie_is_told(split):
    """A model that knows nothing must not shine because relevant items have small row numbers."""
    train, _ = split

    rows = np.arange(N_USERS)
    first = [int(np.setdiff1d(np.arange(N_ITEMS), train.by_user.row(user)[0])[0]) for user in rows]
    test = sp.csr_array((np.ones(N_USERS), (rows, first)), shape=(N_USERS, N_ITEMS))
    model = lw.ImplicitALS(factors=4, random_state=0).fit(train)
    apart = evaluate(model, train, test, "precision@1", n_bootstrap=0)
    assert apart.n_tied_users == 0
    assert "tied" not in repr(apart)
    model.user_factors_[:], model.item_factors_[:] = 1, 1
    result = evaluate(model, train, test, ["precision@1", "auc"], n_bootstrap=0)
    assert result["auc"] == pytest.approx(0.5)
    assert result.n_tied_users == result.n_users
    assert f"tied scores in the lists of {result.n_users} users: row numbers of items decide there" in repr(result)


def test_a_planted_popularity_bias_is_told(rng):
    """Users have one popular and four rare items each; what shows them popular ones alone is found out."""
    n_users, n_items = 300, 100
    rows = np.repeat(np.arange(n_users), 5)
    columns = np.concatenate(
        [np.r_[rng.integers(0, 5), rng.choice(np.arange(5, n_items), 4, replace=False)] for _ in range(n_users)]
    )
    data = Interactions.from_csr(
        sp.csr_array((np.ones(rows.size), (rows, np.ravel(columns))), shape=(n_users, n_items))
    )
    train, test = lw.model_selection.random_split(data, 0.3, per_user=True, random_state=0)
    names = [
        "popularity_lift@5",
        "serendipity@5",
        "gini@5",
        "personalization@5",
        "novelty@5",
        "exposure_gap@5",
        "coverage@5",
    ]
    groups = ["head"] * 5 + ["tail"] * (n_items - 5)
    biased = evaluate(lw.Popularity().fit(train), train, test, names, item_groups=groups)
    fair = evaluate(lw.ItemKNN(k=50).fit(train), train, test, names, item_groups=groups)
    assert biased["popularity_lift@5"] > 1
    assert biased["popularity_lift@5"] > 2 * fair["popularity_lift@5"]
    assert biased["serendipity@5"] == 0 < fair["serendipity@5"]
    assert biased["gini@5"] > fair["gini@5"]
    assert biased["personalization@5"] < fair["personalization@5"]
    assert biased["novelty@5"] < fair["novelty@5"]
    assert biased["coverage@5"] < fair["coverage@5"]
    assert biased["exposure_gap@5"] > 0.5 > fair["exposure_gap@5"]
    assert biased.item_groups["exposure@5"][0] > 0.5


def test_grades_beyond_powers_of_two_are_refused(model, split):
    train, test = split
    huge = test.by_user.to_scipy(copy=True)
    huge.data[0] = 2000
    for name in ("err@5", "exponential_ndcg@5"):
        with pytest.raises(ValueError, match="must be at most 1000, got 2000; take graded_ndcg"):
            evaluate(model, train, huge, name)
    assert 0 <= evaluate(model, train, huge, "graded_ndcg@5")["graded_ndcg@5"] <= 1


def test_features_of_another_length_are_refused(model, split):
    with pytest.raises(ValueError, match="item_features must have a row for each of the 24 items, got 3"):
        evaluate(model, *split, "diversity@3", item_features=np.eye(3))


def test_diversity_by_features(model, split, rng):
    features = rng.integers(0, 2, (N_ITEMS, 5)) * 1e-30
    result = evaluate(model, *split, "diversity@4", item_features=features)
    lengths = np.linalg.norm(features * 1e30, axis=1, keepdims=True)
    unit = np.divide(features * 1e30, lengths, out=np.zeros((N_ITEMS, 5)), where=lengths > 0)
    rows = lists_of(model, split[0], result.users, 4)
    expected = [reference.list_metric("diversity", 4, row, features=unit) for row in rows]
    assert_allclose(result.per_user["diversity@4"], expected, rtol=1e-5, atol=1e-6)
