"""What every model keeps: one row of `MODELS` a model, the same tests for all."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import subprocess
import sys
import textwrap
import tracemalloc
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import safetensors.numpy
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import likewise as lw
import reference
from likewise._files import FORMAT_VERSION, read_model_file, write_model_file
from likewise.data import CSR
from likewise.models import base
from likewise.models._ratings import RatingRecommender
from likewise.models._sparse import ItemItemRecommender, SparseRecommender
from likewise.models.base import hide_items

MODELS = {
    "als-cholesky": lw.ImplicitALS(factors=8, iterations=4, solver="cholesky", random_state=0),
    "als-cg": lw.ImplicitALS(factors=8, iterations=4, solver="cg", random_state=0),
    "als-ials++": lw.ImplicitALS(factors=40, iterations=4, solver="ials++", block_size=16, random_state=0),
    "popularity": lw.Popularity(),
    "popularity-values": lw.Popularity(count="values"),
    "item-knn": lw.ItemKNN(k=20, shrinkage=1.0, weighting="tfidf"),
    "item-knn-jaccard": lw.ItemKNN(k=20, metric="jaccard"),
    "user-knn": lw.UserKNN(k=30, shrinkage=1.0, weighting="bm25"),
    "p3alpha": lw.P3Alpha(k=20, alpha=0.8),
    "rp3beta": lw.RP3Beta(k=20),
    # Of any sign and without l1, so that all items lead to all others.
    "ease": lw.EASE(regularization=10.0),
    "ease-pruned": lw.EASE(regularization=10.0, k=19),
    "ease-sparse": lw.EASE(regularization=10.0, k=19, solver="sparse"),
    "edlae": lw.EDLAE(regularization=5.0, dropout=0.2),
    "bpr": lw.BPR(factors=8, iterations=30, random_state=0),
    "bpr-dynamic": lw.BPR(factors=16, iterations=20, sampling="dynamic", n_candidates=4, random_state=0),
    "bpr-popularity": lw.BPR(factors=8, iterations=20, sampling="popularity", item_biases=False, random_state=0),
    "warp": lw.WARP(factors=8, iterations=30, random_state=0),
    "warp-kos": lw.WARP(factors=8, iterations=30, k_os=2, n_positives=4, random_state=0),
    "logistic-mf": lw.LogisticMF(factors=8, iterations=30, random_state=0),
    "slim": lw.SLIM(l1_regularization=0.0, l2_regularization=20.0, non_negative=False),
    "pure-svd": lw.PureSVD(factors=8, random_state=0),
    "baseline": lw.BaselinePredictor(),
    "baseline-sgd": lw.BaselinePredictor("sgd", learning_rate=0.02),
    "sgd-mf": lw.SGDMatrixFactorization(factors=8, learning_rate=0.05, iterations=30, random_state=0),
    "sgd-mf-unbiased": lw.SGDMatrixFactorization(factors=8, learning_rate=0.05, biases=False, random_state=0),
    "svdpp": lw.SVDpp(factors=8, learning_rate=0.02, iterations=30, random_state=0),
    "explicit-als": lw.ExplicitALS(factors=8, iterations=100, solver="cholesky", random_state=0),
    "explicit-als-cg": lw.ExplicitALS(factors=8, iterations=100, solver="cg", random_state=0),
    "explicit-als-plain": lw.ExplicitALS(factors=8, iterations=100, biases=False, random_state=0),
    "explicit-als-descent": lw.ExplicitALS(factors=8, iterations=100, non_negative=True, random_state=0),
    "nmf": lw.NMF(factors=3, random_state=0),
    "fm-warp": lw.FactorizationMachine(factors=8, random_state=0),
    "fm-bpr": lw.FactorizationMachine(factors=8, loss="bpr", pairs="between", random_state=0),
    "fm-logistic": lw.FactorizationMachine(factors=8, loss="logistic", random_state=0),
    "fm-regression": lw.FactorizationMachine(factors=8, loss="regression", random_state=0),
    "slope-one": lw.SlopeOne(),
    "slope-one-weighted": lw.SlopeOne(weighted=True),
}
N_USERS, N_ITEMS = 30, 20
EMPTY_USER, EMPTY_ITEM = 4, 7
KINDS = ["row", "int64", "string", "uuid"]
FORMATS = ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"]


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return clone(request.param)


@pytest.fixture(scope="module")
def dense():
    """Counts of users x items; one user and one item have none."""
    rng = np.random.default_rng(7)
    counts = rng.integers(1, 6, (N_USERS, N_ITEMS)) * (rng.random((N_USERS, N_ITEMS)) < 0.3)
    counts[EMPTY_USER] = 0
    counts[:, EMPTY_ITEM] = 0
    return counts.astype(np.float32)


@pytest.fixture(scope="module")
def matrix(dense):
    return sp.csr_array(dense)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def _ids(kind, n, start):
    """Distinct ids in no order, so that row numbers and ranks of ids differ."""
    numbers = np.random.default_rng(start).permutation(n) + start
    if kind == "int64":
        return 7 * numbers
    listed = [f"id {number}" if kind == "string" else uuid.UUID(int=int(number)) for number in numbers]
    array = np.empty(n, dtype=object)
    array[:] = listed
    return array


def _user_ids(kind):
    return np.arange(N_USERS) if kind == "row" else _ids(kind, N_USERS, 100)


def _item_ids(kind):
    return np.arange(N_ITEMS) if kind == "row" else _ids(kind, N_ITEMS, 500)


def _interactions(kind, dense, **options):
    if kind == "row":
        return lw.Interactions.from_csr(sp.csr_array(dense))
    users, items = np.nonzero(dense)
    user_ids, item_ids = _user_ids(kind), _item_ids(kind)
    values = dense[users, items]
    return lw.Interactions.from_arrays(
        user_ids[users], item_ids[items], values, user_ids=user_ids, item_ids=item_ids, **options
    )


def _assert_same_recommendations(one, other, **options):
    a, b = one.recommend(k=N_ITEMS, **options), other.recommend(k=N_ITEMS, **options)
    assert_array_equal(a.items, b.items)
    assert_array_equal(a.scores, b.scores)


def _works_on(model, name):
    """Whether the model has the method, or says why not."""
    refused = {"similar_items": lw.UserKNN, "similar_users": ItemItemRecommender}
    ranks_alike = (lw.Popularity, lw.BaselinePredictor, lw.SlopeOne)
    return not (name.startswith("similar") and isinstance(model, (*ranks_alike, refused[name])))


def _is_sparse(model):
    """Whether the model ranks only items that a stored weight leads to."""
    return isinstance(model, SparseRecommender) and not (isinstance(model, (lw.EASE, lw.EDLAE)) and model.k is None)


def _knows_taste(model):
    """Whether the model ranks by what it knows of a user, and so for nobody of whom it knows nothing."""
    return not isinstance(model, lw.Popularity) and not _estimates_ratings(model)


def _estimates_ratings(model):
    """Whether the model predicts ratings from a mean and biases, so for those of whom it knows nothing too."""
    return isinstance(model, RatingRecommender) and model._predicts_ratings


def _of_pairs(model, scores):
    """What `predict` makes of scores: a model of ratings keeps to their scale."""
    return np.clip(scores, *model.rating_scale_) if _estimates_ratings(model) else scores


def _reached(model, dense, user):
    """Whether the model knows something of an item for a user of the fitted ones; shape (n_items,)."""
    if isinstance(model, lw.UserKNN):
        return dense[model.neighbors_.row(user)[0]].any(axis=0)
    if _is_sparse(model):
        return model.weights_.to_scipy().toarray()[dense[user] > 0].any(axis=0)
    return dense.any(axis=0) & (dense[user].any() or not _knows_taste(model))


def _candidates(model, dense, user, exclude_seen=True):
    """Items that a user of the fitted ones may get from the model, which is fitted."""
    return np.flatnonzero(_reached(model, dense, user) & ~((dense[user] > 0) & exclude_seen))


# ---- fit -----------------------------------------------------------------------------------------------------------


def test_fit_returns_the_model_with_its_sizes(model, matrix):
    assert model.fit(matrix) is model
    assert (model.n_users_, model.n_items_, model.n_features_in_) == (N_USERS, N_ITEMS, N_ITEMS)


def _strided(dense):
    wide = np.zeros((2 * N_USERS, 3 * N_ITEMS), dense.dtype)
    wide[::2, ::3] = dense
    return wide[::2, ::3]


def _read_only(dense):
    array = dense.copy()
    array.flags.writeable = False
    return array


def _wide_indices(dense):
    matrix = sp.csr_array(dense)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


def _read_only_csr(dense):
    matrix = sp.csr_array(dense)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    return matrix


def _unsorted_with_repeats(dense):
    """Each stored entry in two halves, the ids of every row backwards."""
    rows, columns = np.nonzero(dense)
    entries = np.concatenate([dense[rows, columns] / 2] * 2)
    coo = sp.coo_array((entries[::-1], (np.tile(rows, 2)[::-1], np.tile(columns, 2)[::-1])), shape=dense.shape)
    offsets = np.concatenate([[0], np.cumsum(2 * np.count_nonzero(dense, axis=1))])
    order = np.argsort(coo.row, kind="stable")
    return sp.csr_array((coo.data[order], coo.col[order], offsets), shape=dense.shape)


INPUTS = {
    **{f"{name} array": lambda dense, name=name: sp.csr_array(dense).asformat(name) for name in FORMATS},
    **{f"{name} matrix": lambda dense, name=name: sp.csr_matrix(dense).asformat(name) for name in FORMATS},
    "int64 indices": _wide_indices,
    "read-only csr": _read_only_csr,
    "unsorted csr with repeats": _unsorted_with_repeats,
    "float64 csr": lambda dense: sp.csr_array(dense, dtype=np.float64),
    "int8 csr": lambda dense: sp.csr_array(dense.astype(np.int8)),
    "CSR": lambda dense: CSR.from_scipy(sp.csr_array(dense)),
    "Interactions": lambda dense: lw.Interactions.from_csr(sp.csr_array(dense)),
    "dense": lambda dense: dense,
    "dense float64": lambda dense: dense.astype(np.float64),
    "dense int64": lambda dense: dense.astype(np.int64),
    "dense by columns": np.asfortranarray,
    "dense non-contiguous": _strided,
    "dense read-only": _read_only,
    "lists": lambda dense: dense.tolist(),
    "polars": lambda dense: pl.DataFrame(dense),
}


@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
def test_fit_takes_any_matrix(model, matrix, dense, make):
    given = make(dense)
    before = copy.deepcopy(given)
    _assert_same_recommendations(clone(model).fit(given), model.fit(matrix))
    if sp.issparse(given):
        assert_array_equal(given.toarray(), before.toarray(), "fit has changed its argument")
    elif not isinstance(given, (CSR, lw.Interactions)):
        assert_array_equal(given, before, "fit has changed its argument")


def test_fit_leaves_out_what_is_masked_and_takes_float16(model, dense):
    masked = np.ma.masked_array(dense + 5.0, mask=dense == 0)
    expected = clone(model).fit(np.where(dense == 0, 0, dense + 5.0))
    for X in (masked, masked.astype(np.float16)):
        assert_array_equal(clone(model).fit(X).recommend(k=3).items, expected.recommend(k=3).items)


@pytest.mark.parametrize("k", [1_000_001, 2**31])
def test_a_length_beyond_all_reason_is_refused(model, dense, k):
    fitted = clone(model).fit(dense)
    with pytest.raises(ValueError, match=f"recommend: k must be <= 1000000, got {k}"):
        fitted.recommend(0, k=k)
    assert fitted.recommend(0, k=1_000_000).items.shape == (1_000_000,)
    if hasattr(fitted, "item_factors_"):
        for similar in (fitted.similar_items, fitted.similar_users):
            with pytest.raises(ValueError, match="k must be <= 1000000"):
                similar(0, k=k)


def test_fit_takes_the_names_of_a_data_frame(model, dense):
    frame = pd.DataFrame(dense, columns=[f"item {i}" for i in range(N_ITEMS)])
    model.fit(frame)
    assert_array_equal(model.feature_names_in_, frame.columns)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        model.predict(frame[frame.columns[::-1]])
    assert not hasattr(model.fit(dense), "feature_names_in_")


def test_partial_fit_of_more_items_than_names_forgets_the_names(model, dense):
    model.fit(pd.DataFrame(dense, columns=[f"item {i}" for i in range(N_ITEMS)]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.partial_fit(np.pad(dense, ((0, 0), (0, 1)), constant_values=1))
    assert not hasattr(model, "feature_names_in_")


def test_a_matrix_without_names_is_named_where_fit_had_some(model, dense):
    model.fit(pd.DataFrame(dense, columns=[f"item {i}" for i in range(N_ITEMS)]))
    for given in (dense, sp.csr_array(dense), CSR.from_scipy(sp.csr_array(dense))):
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            model.predict(given)


def _with(dense, value, row=3, column=4):
    changed = dense.astype(np.float64)
    changed[row, column] = value
    return changed


EVENTS = pd.DataFrame({"user": ["ann", "bob"], "item": ["tea", "mug"], "value": [1.0, 2.0]})
NUMBERED_EVENTS = pd.DataFrame({"userId": [1, 2], "movieId": [31, 1029], "rating": [2.5, 3.0]})

BAD_INPUTS = {
    "NaN": (lambda dense: sp.csr_array(_with(dense, np.nan)), ValueError, r"got NaN at \(3, 4\)"),
    "inf": (lambda dense: sp.csr_array(_with(dense, np.inf)), ValueError, r"got inf at \(3, 4\)"),
    "beyond float32": (lambda dense: sp.csr_array(_with(dense, 1e39)), ValueError, r"got inf at \(3, 4\)"),
    "NaN in coo": (lambda dense: sp.coo_array(_with(dense, np.nan)), ValueError, r"got NaN at \(3, 4\)"),
    "NaN in csc": (lambda dense: sp.csc_array(_with(dense, np.nan)), ValueError, r"got NaN at \(3, 4\)"),
    "dense NaN": (lambda dense: _with(dense, np.nan), ValueError, r"got NaN at \(3, 4\)"),
    "dense -inf": (lambda dense: _with(dense, -np.inf), ValueError, r"got -inf at \(3, 4\)"),
    "nothing stored": (lambda dense: sp.csr_array(dense.shape), ValueError, "X must hold an interaction, got 30 users"),
    "all zero": (np.zeros_like, ValueError, "X must hold an interaction, got 30 users x 20 items with nothing stored"),
    "no users": (lambda dense: sp.csr_array(dense[:0]), ValueError, r"0 sample\(s\)"),
    "no items": (lambda dense: sp.csr_array(dense[:, :0]), ValueError, r"0 feature\(s\)"),
    "dense no users": (lambda dense: dense[:0], ValueError, r"0 sample\(s\)"),
    "one-dimensional": (lambda dense: dense[0], ValueError, "Expected 2D array, got 1D array"),
    "three-dimensional": (lambda dense: dense[None], ValueError, "3"),
    "complex": (lambda dense: sp.csr_array(dense.astype(complex)), ValueError, "Complex data not supported"),
    "strings": (lambda dense: dense.astype(str), TypeError, "got an array of strings; build Interactions.from_arrays"),
    "frame of events": (lambda dense: EVENTS, TypeError, r"'user' holds String; .* build Interactions\.from_frame"),
    "frame of numbered events": (lambda dense: NUMBERED_EVENTS, TypeError, "the columns 'userId' and 'movieId'; if"),
    "file name": (lambda dense: "purchases.csv", TypeError, "got a file name .*read_csv or read_parquet"),
    "mapping": (lambda dense: {}, TypeError, r"got a mapping \(dict\)"),
    "None": (lambda dense: None, TypeError, "matrix of users x items, got NoneType"),
}


@pytest.mark.parametrize(("make", "error", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_fit_refuses_what_is_not_interactions(model, dense, make, error, message):
    with pytest.raises(error, match=message):
        model.fit(make(dense))
    with pytest.raises(NotFittedError):
        model.recommend()


# Histories may be empty, and `recommend` goes without them.
BAD_HISTORIES = {name: row for name, row in BAD_INPUTS.items() if name not in ("nothing stored", "all zero", "None")}


@pytest.mark.parametrize(("make", "error", "message"), BAD_HISTORIES.values(), ids=BAD_HISTORIES)
def test_whatever_takes_interactions_refuses_what_fit_refuses(model, matrix, dense, make, error, message):
    """Histories to recommend for, to predict from and to score, new interactions, and both sides of an evaluation."""
    model.fit(matrix)
    before, bad = clone(model).fit(matrix), make(dense)
    uses = [
        lambda: model.recommend(interactions=bad),
        lambda: model.recommend_batches(interactions=bad),
        lambda: model.score(bad),
        lambda: model.partial_fit(bad),
        lambda: lw.evaluate(model, bad, matrix),
        lambda: lw.evaluate(model, matrix, bad),
    ]
    if hasattr(model, "transform"):
        uses.append(lambda: model.transform(bad))
    if not isinstance(bad, pd.DataFrame):  # whose columns of users and items are pairs to predict for
        uses.append(lambda: model.predict(bad))
    for use in uses:
        with pytest.raises(error, match=message):
            use()
    _assert_same_recommendations(model, before)


# All but the one with names of columns, which have to be those of the fit.
UNNAMED = {name: make for name, make in INPUTS.items() if name != "polars"}


@pytest.mark.parametrize("make", UNNAMED.values(), ids=UNNAMED)
def test_whatever_takes_interactions_takes_any_matrix(model, matrix, dense, make):
    """Any format, index dtype, layout and flag, of histories as of both sides of an evaluation."""
    model.fit(matrix)
    given, bought = make(dense), np.roll(dense, 1, axis=1)
    assert_array_equal(model.recommend(interactions=given, k=4).items, model.recommend(interactions=dense, k=4).items)
    assert_array_equal(model.predict(given), model.predict(dense))
    assert model.score(given) == model.score(dense)
    result = dict(lw.evaluate(model, dense, bought, ["recall@5", "auc"]))
    assert dict(lw.evaluate(model, given, bought, ["recall@5", "auc"])) == result
    assert dict(lw.evaluate(model, dense, make(bought), ["recall@5", "auc"])) == result


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array, np.asarray], ids=["csr", "csc", "dense"])
def test_histories_with_negative_values_are_refused_or_used_as_in_fit(model, matrix, dense, make):
    model.fit(matrix)
    given = make(_with(dense, -2))
    uses = [
        lambda: model.recommend(interactions=given),
        lambda: model.predict(given),
        lambda: model.score(given),
        lambda: model.partial_fit(given),
    ]
    for use in uses:
        if model._allows_negative:
            use()
            continue
        with pytest.raises(ValueError, match=r"Negative values in data are not allowed, got -2.0 at \(3, 4\)$"):
            use()


@pytest.mark.parametrize("make", [sp.csr_array, np.zeros], ids=["csr", "dense"])
def test_histories_without_interactions(model, matrix, make):
    """Users of whom nothing is known, which is no error; an evaluation needs something to find."""
    model.fit(matrix)
    empty = make((N_USERS, N_ITEMS))
    items = model.recommend(interactions=empty, k=3).items
    assert_array_equal(items, np.full((N_USERS, 3), -1) if _knows_taste(model) else np.tile(items[0], (N_USERS, 1)))
    if _estimates_ratings(model):
        assert np.isnan(model.score(empty))
    else:
        assert model.score(empty) == 0
    assert 0 <= lw.evaluate(model, empty, matrix)["recall@20"] <= (0 if _knows_taste(model) else 1)
    with pytest.raises(ValueError, match=r"^evaluate: no user has a relevant item in test"):
        lw.evaluate(model, matrix, empty)


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array, np.asarray], ids=["csr", "csc", "dense"])
def test_fit_refuses_negative_values_or_uses_them(model, dense, make):
    given = make(_with(dense, -2))
    if model._allows_negative:
        known = np.delete(np.arange(N_USERS), EMPTY_USER)
        assert np.isfinite(model.fit(given).recommend(known, k=3).scores).all()
        return
    with pytest.raises(
        ValueError,
        match=rf"^{type(model).__name__}: Negative values in data are not allowed, got -2.0 at \(3, 4\)$",
    ):
        model.fit(given)


def test_fit_that_fails_leaves_the_model_as_it_was(model, matrix, dense):
    model.fit(matrix)
    before = clone(model).fit(matrix)
    for bad in (_with(dense, np.nan), np.zeros((3, 3))):
        with pytest.raises(ValueError, match=r"NaN|hold an interaction"):
            model.fit(bad)
        _assert_same_recommendations(model, before)


def test_fit_forgets_the_fit_before(model, matrix):
    """Also where the second matrix is smaller on both sides."""
    small = matrix[:11, :9]
    refitted, fresh = clone(model).fit(matrix).fit(small), clone(model).fit(small)
    assert (refitted.n_users_, refitted.n_items_) == (11, 9)
    _assert_same_recommendations(refitted, fresh)
    with pytest.raises(IndexError):
        refitted.recommend(11)


def test_fit_gives_the_same_every_time(model, matrix):
    _assert_same_recommendations(clone(model).fit(matrix), model.fit(matrix))


def test_fit_takes_users_and_items_without_interactions(model, matrix):
    """Who has nothing gets what anybody gets, or nothing; to the others it makes no difference."""
    items, scores = model.fit(matrix).recommend(k=5)
    known = np.delete(np.arange(N_USERS), EMPTY_USER)
    assert np.isfinite(scores[known]).all()
    assert (items[known] >= 0).all()
    if _knows_taste(model):
        assert_array_equal(items[EMPTY_USER], -1)
        assert_array_equal(scores[EMPTY_USER], -np.inf)
    else:
        assert len(set(items[EMPTY_USER])) == 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1)], ids=str)
def test_fit_takes_one_user_or_item(model, shape):
    model.fit(np.ones(shape))
    scores = model.recommend(k=1, exclude_seen=False).scores
    assert not np.isnan(scores).any()
    assert np.isfinite(scores).all() or _is_sparse(model)  # nothing leads to an only item, or from an only user
    assert_array_equal(model.recommend(k=1).items, np.full((shape[0], 1), -1))


def test_fit_shares_a_float32_csr_which_its_owner_must_leave_alone(model, dense):
    """What is learned stays; seen items are those that the matrix holds now, and damage is an error and no crash."""
    given = sp.csr_array(dense)
    model.fit(given)
    assert np.shares_memory(model.interactions_.by_user.indices, given.indices)
    before = model.recommend(k=N_ITEMS, exclude_seen=False)
    row = slice(*given.indptr[:2])
    given.data[:] = 9
    given.indices[row] = np.setdiff1d(np.arange(N_ITEMS), given.indices[row])[: row.stop]
    if not isinstance(model, ItemItemRecommender):  # which look at the history itself
        after = model.recommend(k=N_ITEMS, exclude_seen=False)
        assert_array_equal(after.items, before.items)
        assert_array_equal(after.scores, before.scores)
    assert not np.isin(given.indices[row], model.recommend(0, k=N_ITEMS).items).any()
    given.indices[row] = 2**30
    with pytest.raises((ValueError, IndexError), match=str(2**30)):
        model.recommend(0)


@pytest.mark.parametrize("make", [sp.coo_array, np.array], ids=["coo", "dense"])
def test_fit_shares_nothing_of_what_it_converts(model, dense, make):
    given = make(dense)
    kept = model.fit(given).interactions_.by_user
    before = kept.to_scipy().toarray()
    (given.data if sp.issparse(given) else given)[...] = 9
    assert_array_equal(kept.to_scipy().toarray(), before)


def test_fit_uses_no_global_randomness(model, matrix):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    model.fit(matrix).recommend()
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def _documented_attributes(model):
    """Name and type of each entry in the section of attributes of the model's docstring."""
    section = inspect.getdoc(type(model)).split("Attributes\n----------\n")[1].split("\n\n")[0]
    entries = [line.split(" : ") for line in section.splitlines() if not line.startswith(" ")]
    return {name: kind for names, kind in entries for name in names.split(", ")}


def test_attributes_are_those_documented(model, dense):
    """Names, types, shapes and dtypes; after a fit that has all of them."""
    flags = {"compute_loss", "early_stopping"} & model.get_params().keys()
    model.set_params(**dict.fromkeys(flags, True))
    model.fit(pd.DataFrame(dense, columns=[f"item {i}" for i in range(N_ITEMS)]))
    documented = _documented_attributes(model)
    assert documented.keys() == {name for name in vars(model) if name.endswith("_")}
    sizes = {"n_users": N_USERS, "n_items": N_ITEMS, "factors": getattr(model, "factors", None)}
    sizes["n_features"] = N_USERS + N_ITEMS
    for name, kind in documented.items():
        value = getattr(model, name)
        if kind.startswith("ndarray of shape"):
            shape, dtype = re.fullmatch(r"ndarray of shape \((.+?),?\), (\w+)", kind).groups()
            assert value.shape == tuple(sizes[side] for side in shape.split(", ")), name
            assert value.dtype == dtype, name
        elif kind == "ndarray or CSR of shape (n_items, n_items), float32":
            assert value.shape == (N_ITEMS, N_ITEMS)
            assert (value if isinstance(value, np.ndarray) else value.values).dtype == np.float32
            assert isinstance(value, np.ndarray if model.k is None else CSR)
        elif kind.startswith("CSR of shape"):
            assert type(value) is CSR, name
            (shape,) = re.findall(r"\((.+?)\)", kind)
            assert value.shape == tuple(sizes[side] for side in shape.split(", ")), name
        elif kind.startswith("list"):
            assert kind == "list of float of length n_iter_"
            assert len(value) == model.n_iter_
            assert {type(entry) for entry in value} == {float}
        else:
            assert type(value).__name__ == kind, name


# ---- before fit ----------------------------------------------------------------------------------------------------

USES = {
    "recommend": lambda model, X, path: model.recommend([0]),
    "recommend for histories": lambda model, X, path: model.recommend(interactions=X),
    "recommend_batches": lambda model, X, path: model.recommend_batches(),
    "recommend_to": lambda model, X, path: model.recommend_to(path),
    "predict": lambda model, X, path: model.predict([0], [0]),
    "predict from histories": lambda model, X, path: model.predict(X),
    "score": lambda model, X, path: model.score(X),
    "similar_items": lambda model, X, path: model.similar_items([0]),
    "similar_users": lambda model, X, path: model.similar_users([0]),
    "save": lambda model, X, path: model.save(path),
    "evaluate": lambda model, X, path: lw.evaluate(model, X, X),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_before_fit_is_not_fitted_error(model, matrix, tmp_path, use):
    if not _works_on(model, next(name for name, known in USES.items() if known is use)):
        pytest.skip("this model has no such method")
    with pytest.raises(NotFittedError):
        use(model, matrix, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_use_after_a_failed_first_fit_is_not_fitted_error(model, matrix):
    with pytest.raises(ValueError, match="hold an interaction"):
        model.fit(sp.csr_array((3, 3)))
    with pytest.raises(NotFittedError):
        model.recommend([0])


# ---- recommend -----------------------------------------------------------------------------------------------------


def test_recommend_speaks_the_ids_of_the_data(model, matrix, dense, kind):
    """The same model by row numbers and by ids: ids in, ids out, nothing else changes."""
    by_row = clone(model).fit(matrix).recommend(k=N_ITEMS)
    by_id = model.fit(_interactions(kind, dense)).recommend(k=N_ITEMS)
    expected = np.full(by_row.items.shape, -1, dtype=object)
    filled = by_row.items >= 0
    expected[filled] = _item_ids(kind)[by_row.items[filled]]
    if kind in ("string", "uuid"):
        expected[~filled] = None
    assert_array_equal(by_id.items.astype(object), expected)
    assert_array_equal(by_id.scores, by_row.scores)
    assert_array_equal(by_id.users, _user_ids(kind))
    some = _user_ids(kind)[[3, 0, 3]]
    assert_array_equal(model.recommend(some, k=2).items, by_id.items[[3, 0, 3], :2])
    assert_array_equal(model.recommend(some, k=2).users, some)


def test_recommend_gives_arrays_of_one_shape(model, matrix):
    recommendations = model.fit(matrix).recommend([1, 2, 3], k=5)
    assert recommendations.items.shape == recommendations.scores.shape == (3, 5)
    assert recommendations.scores.dtype == np.float32
    assert np.issubdtype(recommendations.items.dtype, np.integer)
    items, scores = recommendations
    assert items is recommendations.items
    assert scores is recommendations.scores


def test_recommend_for_one_user_gives_one_row(model, dense, kind):
    """By a plain id, a numpy scalar, or an array without axes; bit by bit what a batch gives."""
    model.fit(_interactions(kind, dense))
    every = model.recommend(k=6)
    for row in (0, 3, EMPTY_USER, N_USERS - 1):
        user = _user_ids(kind)[row]
        scalars = [user, np.array(user)[()], np.array(user)] if kind in ("row", "int64") else [user]
        for scalar in scalars:
            one = model.recommend(scalar, k=6)
            assert one.items.shape == one.scores.shape == (6,)
            assert_array_equal(one.items, every.items[row])
            assert_array_equal(one.scores, every.scores[row])


USERS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "int8": lambda users: np.array(users, np.int8),
    "pandas": pd.Series,
    "pandas index": pd.Index,
    "polars": pl.Series,
    "pyarrow": pa.array,
    "strided": lambda users: np.repeat(users, 2)[::2],
    "read-only": lambda users: _read_only(np.array(users)),
}


@pytest.mark.parametrize("make", USERS.values(), ids=USERS)
def test_recommend_takes_users_in_any_array(model, matrix, make):
    model.fit(matrix)
    assert_array_equal(model.recommend(make([5, 2, 5])).items, model.recommend(k=10).items[[5, 2, 5]])


def test_recommend_takes_a_set_for_several_users(model, dense):
    """A set has no axes, which must not make it one user."""
    model.fit(_interactions("string", dense))
    users = set(_user_ids("string")[:3])
    recommendations = model.recommend(users, k=4)
    assert recommendations.items.shape == (3, 4)
    assert set(recommendations.users) == users


def test_recommend_for_nobody_is_empty(model, dense, kind):
    recommendations = model.fit(_interactions(kind, dense)).recommend([], k=4)
    assert recommendations.items.shape == recommendations.scores.shape == (0, 4)
    assert len(recommendations) == 0


def test_recommend_orders_by_score(model, matrix):
    items, scores = model.fit(matrix).recommend(k=N_ITEMS + 5, exclude_seen=False)
    for row, row_scores in zip(items, scores, strict=True):
        assert (np.diff(row_scores[row >= 0]) <= 0).all()
        assert (np.diff(row < 0) >= 0).all()


def test_recommend_leaves_out_what_was_seen(model, dense):
    recommendations = model.fit(dense).recommend(k=N_ITEMS)
    for user, (items, scores) in enumerate(zip(*recommendations, strict=True)):
        candidates = _candidates(model, dense, user)
        assert_array_equal(np.sort(items[: candidates.size]), candidates)
        assert_array_equal(items[candidates.size :], -1)
        assert_array_equal(scores[candidates.size :], -np.inf)
        assert np.isfinite(scores[: candidates.size]).all()


def test_recommend_gives_seen_items_where_asked_to(model, dense):
    items = model.fit(dense).recommend(k=N_ITEMS, exclude_seen=False).items
    for user, row in enumerate(items):
        assert_array_equal(np.sort(row[row >= 0]), _candidates(model, dense, user, exclude_seen=False))


def test_nobody_gets_an_item_of_which_nothing_is_known_unasked(model, dense, tmp_path):
    """Its score says nothing, and would rank it above what the model knows to fit badly."""
    users = np.delete(np.arange(N_USERS), EMPTY_USER)
    model.fit(dense).save(tmp_path / "model")
    for each in (model, lw.load(tmp_path / "model"), copy.copy(model)):
        for options in ({}, {"exclude_seen": False}, {"interactions": dense}, {"exclude": [0]}):
            assert EMPTY_ITEM not in each.recommend(k=N_ITEMS, **options).items
        asked = each.recommend(users, k=3, items=[EMPTY_ITEM, 3], exclude_seen=False).items
        if _is_sparse(model):  # there is no score of it to give
            assert EMPTY_ITEM not in asked
            continue
        assert_array_equal(np.sort(asked, axis=1), np.broadcast_to([-1, 3, EMPTY_ITEM], asked.shape))
    model.partial_fit(np.pad(dense, ((0, 0), (0, 1))))  # one more item that nobody has
    assert not np.isin([EMPTY_ITEM, N_ITEMS], model.recommend(k=N_ITEMS + 1).items).any()
    new = np.zeros((N_USERS, N_ITEMS + 1))
    new[3, EMPTY_ITEM] = 1
    model.partial_fit(new)
    assert EMPTY_ITEM in model.recommend(None if _is_sparse(model) else 0, k=N_ITEMS + 1).items
    assert N_ITEMS not in model.recommend(0, k=N_ITEMS + 1).items


def test_a_history_of_which_nothing_is_known(model, dense):
    """Empty, of unknown items alone, or of items that nobody had in the fit."""
    model.fit(_interactions("string", dense))
    nobody_has = _item_ids("string")[EMPTY_ITEM]
    histories = lw.Interactions.from_arrays(
        ["ann", "bob", "cat"],
        ["never seen", nobody_has, _item_ids("string")[3]],
        user_ids=["ann", "bob", "cat", "dan"],
    )
    items, scores = model.recommend(k=N_ITEMS, interactions=histories)
    filled = scores > -np.inf
    if _knows_taste(model):
        assert_array_equal(filled.sum(axis=1), [0, 0, N_ITEMS - 2, 0])
        assert all(item is None for item in items[~filled])
        first = model.predict(histories)
        assert [item is None for item in first] == [True, True, False, True]
        assert_array_equal(
            model.recommend(["ann", "dan"], 2, items=[nobody_has], interactions=histories).scores, -np.inf
        )
    else:
        assert_array_equal(filled.sum(axis=1), [N_ITEMS - 1, N_ITEMS - 1, N_ITEMS - 2, N_ITEMS - 1])
        assert_array_equal(items[0], items[3])


def test_evaluate_gives_nothing_for_what_is_not_known(model, dense):
    """A user and an item that are new in test: neither a lucky hit nor left out of the mean."""
    model.fit(dense)
    test = np.zeros_like(dense)
    test[[0, 1], EMPTY_ITEM] = 1  # nobody gets it
    test[EMPTY_USER, [0, 1, 2]] = 1
    result = lw.evaluate(model, dense, test, metrics=[f"recall@{N_ITEMS}", "auc"])
    assert_array_equal(result.users, [0, 1, EMPTY_USER])
    recall, auc = result.per_user[f"recall@{N_ITEMS}"], result.per_user["auc"]
    assert_array_equal(recall, [0, 0, 0 if _knows_taste(model) else 1])
    assert_array_equal(auc[:2], 0)  # below every other item
    if _knows_taste(model):
        n_others = N_ITEMS - 3
        # Level with all, but above the empty item, where the others have a score.
        expected = 0.5 if _is_sparse(model) else (n_others - 1 + 2) / 2 / n_others
        assert auc[2] == pytest.approx(expected)


def test_recommend_leaves_empty_slots_rather_than_inventing_items(model, dense, kind):
    """Who has everything gets nothing; k may exceed what there is."""
    full = dense.copy()
    full[2] = 1
    model.fit(_interactions(kind, full))
    items, scores = model.recommend(_user_ids(kind)[2], k=N_ITEMS + 7)
    assert scores.shape == (N_ITEMS + 7,)
    assert_array_equal(scores, -np.inf)
    if kind in ("row", "int64"):
        assert_array_equal(items, -1)
    else:
        assert all(item is None for item in items)


def test_recommend_keeps_to_the_items_allowed(model, dense, kind):
    model.fit(_interactions(kind, dense))
    users = np.delete(_user_ids(kind), EMPTY_USER)
    every = model.recommend(users, k=N_ITEMS, exclude_seen=False)
    allowed = _item_ids(kind)[[3, 15, 11, 3]]
    given = model.recommend(users, k=5, items=allowed, exclude_seen=False)
    for row, (items, scores) in enumerate(zip(*given, strict=True)):
        keep = np.isin(every.items[row].astype(str), allowed.astype(str))
        assert_array_equal(items[:3], every.items[row][keep])
        assert_array_equal(scores[:3], every.scores[row][keep])
        assert_array_equal(scores[3:], -np.inf)


def test_recommend_leaves_out_the_items_excluded(model, dense, kind):
    model.fit(_interactions(kind, dense))
    every = model.recommend(k=N_ITEMS)
    excluded = _item_ids(kind)[[0, 5, 0, 19]]
    given = model.recommend(k=N_ITEMS, exclude=excluded)
    for row in range(N_USERS):
        keep = ~np.isin(every.items[row].astype(str), excluded.astype(str)) & (every.scores[row] > -np.inf)
        n_kept = np.count_nonzero(keep)
        assert_array_equal(given.items[row, :n_kept], every.items[row][keep])
        assert_array_equal(given.scores[row, n_kept:], -np.inf)


def test_recommend_takes_allowed_and_excluded_items_together(model, matrix):
    model.fit(matrix)
    users = np.delete(np.arange(N_USERS), EMPTY_USER)
    items = model.recommend(users, k=3, items=[1, 2, 3], exclude=[2], exclude_seen=False).items
    for user, row in zip(users, items, strict=True):
        may_get = _reached(model, matrix.toarray(), user)
        assert_array_equal(np.sort(row[row >= 0]), [item for item in (1, 3) if may_get[item]])
    assert_array_equal(model.recommend(k=3, items=[], exclude_seen=False).items, -1)
    assert_array_equal(model.recommend(k=3, exclude=[]).items, model.recommend(k=3).items)


def test_recommend_for_histories_knows_their_users_and_the_models_items(model, dense):
    """Users whom the model has not seen, items in another order, one that it does not know."""
    model.fit(_interactions("string", dense))
    items = np.array([*_item_ids("string")[[9, 2, 14]], "never seen"], dtype=object)
    histories = lw.Interactions.from_arrays(["zoe", "zoe", "yan", "yan", "yan"], items[[0, 3, 1, 2, 0]])
    given = model.recommend(k=N_ITEMS, interactions=histories)
    assert_array_equal(given.users, ["yan", "zoe"])
    filled = given.scores > -np.inf
    assert_array_equal(filled.sum(axis=1), [N_ITEMS - 4, N_ITEMS - 2])  # without the empty item too
    assert not set(given.items[0]) & set(items[[0, 1, 2]])
    assert not set(given.items[1]) & {items[0]}
    alone = model.recommend("zoe", k=N_ITEMS, interactions=histories)
    assert_array_equal(alone.items, given.items[1])
    assert_array_equal(alone.scores, given.scores[1])


def test_recommend_for_a_matrix_numbers_its_rows(model, dense, matrix):
    model.fit(matrix)
    every = model.recommend(k=5, interactions=dense[10:16])
    assert_array_equal(every.users, np.arange(6))
    some = model.recommend([4, 1], k=5, interactions=dense[10:16])
    assert_array_equal(some.items, every.items[[4, 1]])
    assert_array_equal(some.scores, every.scores[[4, 1]])


def test_recommend_for_many_users_is_what_each_gets_alone(model, matrix):
    """More users than one block of the ranking holds."""
    model.fit(matrix)
    users = np.arange(10_000) % N_USERS
    many = model.recommend(users, k=3)
    each = model.recommend(k=3)
    assert_array_equal(many.items, each.items[users])
    assert_array_equal(many.scores, each.scores[users])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "recommend: k must be >= 1, got 0"),
        ({"k": -3}, ValueError, "recommend: k must be >= 1, got -3"),
        ({"k": 2.5}, TypeError, "recommend: k must be an integer, got 2.5"),
        ({"k": True}, TypeError, "recommend: k must be an integer, got True"),
        ({"k": "10"}, TypeError, "recommend: k must be an integer, got '10'"),
        ({"exclude_seen": "yes"}, TypeError, "recommend: exclude_seen must be True or False, got 'yes'"),
        ({"users": 30}, IndexError, r"recommend: user 30 is outside \[0, 30\)"),
        ({"users": [3, -1]}, IndexError, r"recommend: user -1 is outside \[0, 30\)"),
        ({"users": [1.0]}, TypeError, "recommend: user must be integers, got float64"),
        ({"users": True}, TypeError, "recommend: user must be integers, got bool"),
        ({"users": "ann"}, TypeError, "recommend: user must be integers"),
        ({"users": [[1, 2]]}, ValueError, "recommend: user must be one number or a one-dimensional array"),
        ({"items": [20]}, IndexError, r"recommend: item 20 is outside \[0, 20\)"),
        ({"exclude": [-1]}, IndexError, r"recommend: item -1 is outside \[0, 20\)"),
    ],
    ids=str,
)
def test_recommend_refuses_bad_arguments(model, matrix, options, error, message):
    model.fit(matrix)
    with pytest.raises(error, match=f"^{message}"):
        model.recommend(**options)


@pytest.mark.parametrize("unknown", [12345, "nobody", uuid.UUID(int=9)], ids=["int64", "string", "uuid"])
@pytest.mark.parametrize("role", ["users", "items", "exclude"])
def test_recommend_names_an_unknown_id(model, dense, unknown, role):
    kind = {int: "int64", str: "string", uuid.UUID: "uuid"}[type(unknown)]
    model.fit(_interactions(kind, dense))
    known = (_user_ids if role == "users" else _item_ids)(kind)[0]
    with pytest.raises(KeyError, match=re.escape(f"{unknown!r} is unknown")):
        model.recommend(**{role: [known, unknown]})


def test_recommend_refuses_ids_of_another_type(model, dense):
    model.fit(_interactions("string", dense))
    with pytest.raises(TypeError, match="recommend: user ids are string here, got int64 ids such as 5"):
        model.recommend(5)


@pytest.mark.parametrize("events", [EVENTS, NUMBERED_EVENTS], ids=["ids", "numbers"])
@pytest.mark.parametrize("named", [False, True], ids=["fitted without names", "fitted with names"])
def test_a_frame_of_events_is_refused_wherever_interactions_are_wanted(model, dense, events, named):
    given = pd.DataFrame(dense, columns=[f"item {i}" for i in range(N_ITEMS)]) if named else dense
    model.fit(given)
    name = type(model).__name__
    uses = [
        ("recommend", lambda: model.recommend(interactions=events)),
        (name, lambda: model.score(events)),
        (name, lambda: model.partial_fit(events)),
        ("evaluate: train", lambda: lw.evaluate(model, events, given)),
        ("evaluate: test", lambda: lw.evaluate(model, given, events)),
    ]
    for subject, use in uses:
        with pytest.raises(TypeError, match=rf"^{subject}: .* got a data frame .* build Interactions\.from_frame"):
            use()


def test_a_frame_of_events_is_pairs_to_predict_for(model, dense):
    model.fit(dense)
    pairs = pd.DataFrame({"user_id": [3, 0, 3], "rating": [1.0, 2.0, 3.0], "item_id": [1, 2, 0]})
    assert_array_equal(model.predict(pairs), model.predict(pairs["user_id"], pairs["item_id"]))


@pytest.mark.parametrize("use", ["recommend", "predict", "score"])
def test_histories_that_look_transposed_are_refused(model, matrix, use):
    model.fit(matrix)
    arguments = {"interactions": matrix.T} if use == "recommend" else {"X": matrix.T}
    with pytest.raises(ValueError, match=r"X has 30 features, but .* is expecting 20 features .*it looks transposed"):
        getattr(model, use)(**arguments)


def test_evaluate_names_an_unknown_user(model, dense, kind):
    data = _interactions(kind, dense)
    model.fit(data)
    unknown = {"row": N_USERS, "int64": 12345, "string": "nobody", "uuid": uuid.UUID(int=9)}[kind]
    error, message = (IndexError, r"user 30 is outside \[0, 30\)") if kind == "row" else (KeyError, "is unknown")
    with pytest.raises(error, match=message):
        lw.evaluate(model, data, data, users=[_user_ids(kind)[0], unknown])


def test_evaluate_refuses_a_transposed_test_matrix(model, matrix):
    with pytest.raises(ValueError, match="transposed"):
        lw.evaluate(model.fit(matrix), matrix, matrix.T)


def test_evaluate_ranks_as_recommend_does(model, dense):
    """Recall@3 by hand."""
    rng = np.random.default_rng(1)
    hidden = (dense > 0) & (rng.random(dense.shape) < 0.4)
    train, test = np.where(hidden, 0, dense), np.where(hidden, dense, 0)
    model.fit(train)
    result = lw.evaluate(model, train, test, metrics=["recall@3"])
    users = np.flatnonzero(hidden.any(axis=1))
    recalls = [hidden[user, model.recommend(user, k=3).items].sum() / hidden[user].sum() for user in users]
    assert result["recall@3"] == pytest.approx(np.mean(recalls))


# ---- recommend, a batch of users at a time -------------------------------------------------------------------------


def _queries(dense, kind):
    """Arguments of `recommend` by what they are about."""
    users, items = _user_ids(kind), _item_ids(kind)
    histories = _interactions(kind, np.roll(dense, 3, axis=0)[:17] if kind == "row" else np.roll(dense, 3, axis=0))
    return {
        "nothing": {},
        "users out of order, one of them twice": {"users": users[[7, 3, 29, EMPTY_USER, 3]]},
        "users in a run": {"users": users[5:12]},
        "one user": {"users": users[:1]},
        "nobody": {"users": []},
        "k > n_items": {"k": N_ITEMS + 5},
        "seen items": {"exclude_seen": False, "k": N_ITEMS},
        "some items": {"items": items[[3, 15, 11]], "exclude": items[[15]]},
        "histories": {"interactions": histories},
        "some of the histories": {"interactions": histories, "users": users[[9, 2, 16]], "exclude_seen": False},
    }


@pytest.mark.parametrize("query", _queries(np.eye(N_USERS, N_ITEMS), "row"))
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_batches_joined_are_one_recommendation(model, dense, kind, query, batch_size):
    options = _queries(dense, kind)[query]
    model.fit(_interactions(kind, dense))
    expected = model.recommend(**options)
    batches = list(model.recommend_batches(**options, batch_size=batch_size))
    size = batch_size or N_USERS
    assert [len(batch) for batch in batches] == [
        min(size, len(expected) - start) for start in range(0, len(expected), size)
    ]
    for name in ("users", "items", "scores"):
        parts = [getattr(batch, name) for batch in batches]
        assert {part.dtype for part in parts} <= {getattr(expected, name).dtype}
        if parts:
            assert_array_equal(np.concatenate(parts), getattr(expected, name))


def test_batches_of_a_single_id_have_two_axes(model, dense, kind):
    user = _user_ids(kind)[3]
    (batch,) = model.fit(_interactions(kind, dense)).recommend_batches(user, k=4)
    assert batch.items.shape == batch.scores.shape == (1, 4)
    assert_array_equal(batch.items[0], model.recommend(user, k=4).items)
    assert batch.users.tolist() == [user]


def test_batches_are_of_the_model_as_it_stood_at_the_call(model, dense):
    model.fit(dense)
    expected = model.recommend(k=5).items
    batches = model.recommend_batches(k=5, batch_size=10)
    first = next(batches).items
    model.partial_fit(np.roll(dense, 1, axis=1))
    second = next(batches).items
    model.fit(np.ones((3, 2)))
    assert_array_equal(np.concatenate([first, second, *(batch.items for batch in batches)]), expected)
    assert model.recommend(k=1).items.shape == (3, 1)


def test_batches_are_large_where_little_is_asked_for_and_small_where_much_is(model, dense):
    """Bounded in slots, whatever k is; enough users for the kernels where k is usual."""
    model.fit(dense)
    for k in (1, 10, 100, 128, 1000):
        batch = next(model.recommend_batches(np.zeros(20_000, int), k))
        assert batch.items.size <= 2**20
        assert len(batch) >= 4096 or k == 1000
    assert len(next(model.recommend_batches([0, 1, 2], 1_000_000))) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 1_000_001}, ValueError, "k must be <= 1000000, got 1000001"),
        ({"exclude_seen": 1}, TypeError, "exclude_seen must be True or False, got 1"),
        ({"users": [3, 30]}, IndexError, r"user 30 is outside \[0, 30\)"),
        ({"items": [20]}, IndexError, r"item 20 is outside \[0, 20\)"),
        ({"exclude": [-1]}, IndexError, r"item -1 is outside \[0, 20\)"),
    ],
    ids=str,
)
def test_batches_are_refused_at_the_call(model, matrix, tmp_path, options, error, message):
    model.fit(matrix)
    with pytest.raises(error, match=f"^recommend_batches: {message}"):
        model.recommend_batches(**options)
    with pytest.raises(error, match=f"^recommend_to: {message}"):
        model.recommend_to(tmp_path / "r.csv", **options)
    assert list(tmp_path.iterdir()) == []


def test_batches_show_one_bar_over_the_users_where_asked_to(model, matrix, capsys):
    model.fit(matrix)
    list(model.recommend_batches(batch_size=7))
    list(model.recommend_batches(batch_size=7, verbose=False))
    assert capsys.readouterr().err == ""
    list(model.recommend_batches(batch_size=7, verbose=True))
    said = capsys.readouterr().err
    assert "Recommending" in said
    assert "/30 [" in said
    if "verbose" in model.get_params():
        list(model.set_params(verbose=True).recommend_batches(batch_size=7))
        assert "/30 [" in capsys.readouterr().err
        list(model.recommend_batches(batch_size=7, verbose=False))
        assert capsys.readouterr().err == ""
        assert model.verbose is True


def test_memory_of_batches_does_not_grow_with_the_users(model):
    """Fitted users, and histories given: nothing of all of them, be it k slots each or a copy of what is known."""

    def peak(n_users):
        items = np.arange(4 * n_users, dtype=np.int32).reshape(n_users, 4) % N_ITEMS
        offsets = np.arange(0, items.size + 1, 4)
        data = CSR.from_arrays(offsets, items.ravel(), np.ones(items.size, np.float32), (n_users, N_ITEMS))
        histories = lw.Interactions.from_csr(data.to_scipy())
        # Quickly: of columns that are all alike, coordinate descent tells the weights apart by small steps.
        hasty = (
            {"iterations": 1}
            if hasattr(model, "factors")
            else {"tolerance": 0.1}
            if hasattr(model, "tolerance")
            else {}
        )
        fitted = clone(model).set_params(**hasty).fit(data)
        peaks = []
        for interactions in (None, histories):
            tracemalloc.start()
            for _ in fitted.recommend_batches(k=10, batch_size=1000, interactions=interactions):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return np.array(peaks)

    few, many = peak(4_000), peak(40_000)
    assert (many < few + 100_000).all(), (few, many)  # 36,000 users more take 2.8 MB of ids and scores


# ---- predict and score ---------------------------------------------------------------------------------------------


def test_predict_scores_pairs_as_recommend_does(model, dense, kind):
    model.fit(_interactions(kind, dense))
    known = np.delete(_user_ids(kind), EMPTY_USER)
    recommendations = model.recommend(known, k=5)
    users = np.repeat(known, 5)
    scores = model.predict(users, recommendations.items.reshape(-1))
    assert scores.dtype == np.float32
    assert_allclose(scores, _of_pairs(model, recommendations.scores.reshape(-1)), rtol=1e-5, atol=1e-6)


def test_predict_pairs_one_with_many(model, matrix):
    model.fit(matrix)
    items = np.arange(N_ITEMS)
    assert_array_equal(model.predict(3, items), model.predict(np.full(N_ITEMS, 3), items))
    users = np.arange(N_USERS)
    assert_array_equal(model.predict(users, 2), model.predict(users, np.full(N_USERS, 2)))
    assert model.predict(3, 2).shape == (1,)
    assert model.predict([], []).shape == (0,)


def test_predict_goes_through_many_pairs_in_blocks(model, matrix, monkeypatch):
    model.fit(matrix)
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    whole = model.predict(users, items)
    monkeypatch.setattr(base, "_BLOCK_PAIRS", 7)
    assert_array_equal(model.predict(users, items), whole)


def test_predict_from_histories_names_the_best_item(model, dense, kind):
    data = _interactions(kind, dense)
    model.fit(data)
    assert_array_equal(model.predict(data), model.recommend(interactions=data, k=1).items[:, 0])


@pytest.mark.parametrize(
    ("users", "items", "error", "message"),
    [
        ([1, 2], [1, 2, 3], ValueError, "predict: there are 2 users but 3 items; give one item a user"),
        ([30], [1], IndexError, r"predict: user 30 is outside \[0, 30\)"),
        ([1], [20], IndexError, r"predict: item 20 is outside \[0, 20\)"),
        ([1], [-1], IndexError, r"predict: item -1 is outside \[0, 20\)"),
        ([1], [0.5], TypeError, "predict: item must be integers, got float64"),
    ],
    ids=str,
)
def test_predict_refuses_bad_pairs(model, matrix, users, items, error, message):
    if _estimates_ratings(model) and error is IndexError:
        pytest.skip("unknown users and items are no error to this model")
    with pytest.raises(error, match=f"^{message}$"):
        model.fit(matrix).predict(users, items)


def test_score_is_the_ndcg_of_hidden_items(model, dense):
    """By hand: a fifth of each row of two and more, ranked from the rest."""
    model.fit(dense)
    if _estimates_ratings(model):
        pytest.skip("the score of this model is of ratings")
    visible, hidden = base.hide_items(CSR.from_scipy(sp.csr_array(dense)))
    assert_array_equal(visible.to_scipy().toarray() + hidden.to_scipy().toarray(), dense)
    counts = (dense > 0).sum(axis=1)
    assert_array_equal(hidden.row_counts(), np.where(counts >= 2, np.maximum(1, counts // 5), 0))
    rows = np.flatnonzero(hidden.row_counts())
    ranked = model.recommend(rows, k=10, interactions=visible.to_scipy()).items
    values = [
        reference.ranking_metric("ndcg", 10, items, reference.relevant_items(hidden, row))
        for row, items in zip(rows, ranked, strict=True)
    ]
    assert model.score(dense) == pytest.approx(np.mean(values))
    assert 0 < model.score(dense) < 1


def test_score_of_a_row_does_not_depend_on_the_others(model, dense):
    model.fit(dense)
    rows = np.flatnonzero((dense > 0).sum(axis=1) >= 2)
    each = np.array([model.score(dense[[row]]) for row in rows])
    if _estimates_ratings(model):  # of all hidden ratings together
        n_hidden = np.maximum(1, (dense > 0).sum(axis=1)[rows] // 5)
        assert model.score(dense) == pytest.approx(-np.sqrt(np.average(each**2, weights=n_hidden)))
    else:
        assert model.score(dense) == pytest.approx(each.mean())


def test_score_without_anything_to_hide_is_zero(model, matrix):
    score = model.fit(matrix).score(np.eye(N_ITEMS))
    assert np.isnan(score) if _estimates_ratings(model) else score == 0


# ---- models of ratings ---------------------------------------------------------------------------------------------


@pytest.fixture(params=[name for name, known in MODELS.items() if _estimates_ratings(known)])
def rating_model(request):
    return clone(MODELS[request.param])


def test_score_is_minus_the_error_of_hidden_ratings_predicted_from_the_others(rating_model, dense):
    model = rating_model.fit(dense)
    visible, hidden = base.hide_items(CSR.from_scipy(sp.csr_array(dense)))
    users, items = hidden.row_numbers(), hidden.indices
    scores = model.recommend(k=N_ITEMS, exclude_seen=False, interactions=visible.to_scipy(), items=np.arange(N_ITEMS))
    table = np.empty((N_USERS, N_ITEMS))
    np.put_along_axis(table, scores.items, scores.scores, axis=1)
    expected = -np.sqrt(np.mean((_of_pairs(model, table[users, items]) - hidden.values) ** 2))
    assert model.score(dense) == pytest.approx(expected, rel=1e-5)


def test_predictions_of_ratings_fall_back_to_biases(rating_model, dense, kind):
    """Unknown users and items, of all kinds of ids; and those without a rating."""
    model = rating_model.set_params(clip=False).fit(_interactions(kind, dense))
    users, items = _user_ids(kind), _item_ids(kind)
    stranger, novelty = (999, 998) if kind == "row" else (_ids(kind, 1, 9000)[0], _ids(kind, 1, 9001)[0])
    mean, of_user, of_item = model.global_mean_, model.user_biases_[3], model.item_biases_[5]
    asked = [(stranger, items[5]), (users[3], novelty), (stranger, novelty), (users[EMPTY_USER], items[5])]
    expected = [mean + of_item, mean + of_user, mean, mean + of_item]
    for (user, item), value in zip(asked, expected, strict=True):
        assert model.predict(user, item) == pytest.approx(value, rel=1e-6)
    assert_allclose(model.predict(users[3], items[EMPTY_ITEM]), mean + of_user, rtol=1e-6)
    together = model.predict([stranger, users[3], users[0]], [items[5], novelty, items[1]])
    assert_allclose(together[:2], expected[:2], rtol=1e-6)
    assert together[2] == model.predict(users[0], items[1])[0]
    unknown = pytest.raises(IndexError if kind == "row" else KeyError)
    with unknown:
        model.recommend(stranger)


@pytest.mark.parametrize(
    ("kind_of_ids", "users", "items", "error", "message"),
    [
        ("row", -1, 0, IndexError, "predict: user must be >= 0, got -1"),
        ("row", [0, 1], [3, -7], IndexError, "predict: item must be >= 0, got -7"),
        ("row", 1.0, 0, TypeError, "predict: user must be integers, got float64"),
        ("row", "ann", 0, TypeError, "predict: user must be integers"),
        ("int64", "ann", 3500, TypeError, "predict: user ids are int64 here, got string ids such as 'ann'"),
        ("string", "id 100", 5, TypeError, "predict: item ids are string here, got int64 ids such as 5"),
        ("string", np.nan, "id 500", ValueError, "predict: user id at row 0 is null"),
        ("int64", [700, None], [3500, 3500], (TypeError, ValueError), "predict: "),
    ],
    ids=str,
)
def test_predictions_of_ratings_refuse_what_is_no_id(rating_model, dense, kind_of_ids, users, items, error, message):
    rating_model.fit(_interactions(kind_of_ids, dense))
    with pytest.raises(error, match=f"^{message}"):
        rating_model.predict(users, items)


def test_predictions_of_ratings_keep_to_the_scale_where_asked_to(rating_model, dense):
    """Of a user who likes all and an item that all like."""
    dense = dense.copy()
    dense[0], dense[1:, 19] = 5, 5
    rating_model.fit(dense)
    assert rating_model.rating_scale_ == (1, 5)
    free = clone(rating_model).set_params(clip=False).fit(dense)
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    estimates = free.predict(users, items)
    assert estimates.max() > 5
    assert_array_equal(rating_model.predict(users, items), np.clip(estimates, 1, 5))
    _assert_same_recommendations(rating_model, free)
    with pytest.raises(TypeError, match=f"{type(rating_model).__name__}: clip must be True or False, got 1"):
        rating_model.set_params(clip=1).fit(dense)


def test_a_fitted_users_ratings_folded_in_give_nearly_the_same(rating_model, dense):
    if isinstance(rating_model, (lw.SGDMatrixFactorization, lw.SVDpp)):  # until small steps have come to rest
        rating_model.set_params(learning_rate=0.01, regularization=0.3, iterations=3000)
    if isinstance(rating_model, lw.FactorizationMachine):  # whose steps grow short
        rating_model.set_params(learning_rate=0.3, regularization=0.3, iterations=3000)
    if isinstance(rating_model, lw.NMF):
        rating_model.set_params(iterations=1000)  # its updates are slow to settle
    rating_model.fit(dense)
    users = np.delete(np.arange(N_USERS), EMPTY_USER)
    ours = rating_model.recommend(users, k=N_ITEMS - 1, exclude_seen=False)
    folded = rating_model.recommend(users, k=N_ITEMS - 1, exclude_seen=False, interactions=dense)
    assert_allclose(folded.scores, ours.scores, atol=0.1)


def test_items_without_ratings_that_are_asked_for_score_as_predicted(rating_model, dense):
    rating_model.set_params(clip=False).fit(dense)
    asked = [EMPTY_ITEM, 2, 3, 11]
    for users in ([0, 1, EMPTY_USER], [9]):
        found = rating_model.recommend(users, k=4, items=asked, exclude_seen=False)
        assert (np.sort(found.items, axis=1) == sorted(asked)).all()
        again = rating_model.predict(np.repeat(users, 4), found.items.ravel())
        assert_allclose(found.scores.ravel(), again, rtol=1e-4, atol=1e-5)
        folded = rating_model.recommend(k=4, items=asked, exclude_seen=False, interactions=dense[users])
        assert (np.sort(folded.items, axis=1) == sorted(asked)).all()


def test_parameters_that_are_spoilt_after_the_fit_are_seen_by_a_fold_in(model, dense):
    learns_anew = (lw.BPR, lw.WARP, lw.LogisticMF, RatingRecommender)
    if not isinstance(model, learns_anew):
        pytest.skip("what this model was fitted with decides")
    model.fit(dense)
    for name, value in (("learning_rate", np.nan), ("regularization", -5.0), ("iterations", 0), ("method", "none")):
        if name in model.get_params():
            before = getattr(model, name)
            model.set_params(**{name: value})
            with pytest.raises((ValueError, TypeError), match=name):
                model.recommend(interactions=dense[3:5], k=3)
            model.set_params(**{name: before})


def test_ratings_of_zero_and_below_count(rating_model):
    if not rating_model._allows_negative:
        pytest.skip("this model takes no negative values")
    rows, columns = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 2]
    ratings = sp.csr_array((np.array([0, -3, 0, -2, 1, 5.0]), (rows, columns)), shape=(3, 3))
    rating_model.fit(ratings)
    assert rating_model.global_mean_ == pytest.approx(1 / 6)
    assert rating_model.rating_scale_ == (-3, 5)
    assert rating_model.predict(2, 2) > rating_model.predict(1, 1)


def test_ratings_near_the_end_of_float32_are_used(rating_model):
    huge = np.array([[3e38, -3e38], [3e38, 3e38]])
    if isinstance(rating_model, (lw.SGDMatrixFactorization, lw.SVDpp)):
        with pytest.raises(ValueError, match="the vectors have left float32; take a smaller learning_rate, or scale"):
            rating_model.fit(huge)
        return
    if isinstance(rating_model, (lw.ExplicitALS, lw.NMF)):  # whose squares are float32
        with pytest.raises(ValueError, match=r"ratings must be within 1e\+12 of 0, got 3e\+38; scale the values of X"):
            rating_model.fit(np.abs(huge))
        huge /= 3.5e26
    elif "factors" in rating_model.get_params():
        huge /= 1e21
    if not rating_model._allows_negative:
        huge = np.abs(huge)
    assert np.isfinite(rating_model.fit(huge).predict([0, 0, 1, 1], [0, 1, 0, 1])).all()


# ---- similar items and users ---------------------------------------------------------------------------------------


def _similarities(model, side):
    """What `similar_items` or `similar_users` rank by, and which pairs they may give; of shape (n, n) both."""
    if _is_sparse(model):
        stored = (model.weights_ if side == "items" else model.neighbors_).to_scipy().toarray()
        return stored, stored != 0
    if isinstance(model, ItemItemRecommender):  # of dense weights
        known = np.arange(N_ITEMS) != EMPTY_ITEM
        return model.weights_, known & known[:, np.newaxis] & ~np.eye(N_ITEMS, dtype=bool)
    vectors = getattr(model, f"{side[:-1]}_factors_").astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(lengths, 1e-300)
    known = lengths[:, 0] > 0
    return units @ units.T, known & known[:, np.newaxis] & ~np.eye(len(vectors), dtype=bool)


@pytest.mark.parametrize("side", ["items", "users"])
def test_similar_gives_the_greatest_similarities(model, dense, kind, side):
    method = f"similar_{side}"
    model.fit(_interactions(kind, dense))
    ids, n = (_item_ids(kind), N_ITEMS) if side == "items" else (_user_ids(kind), N_USERS)
    if not _works_on(model, method):
        with pytest.raises(NotImplementedError, match=rf"^{type(model).__name__}: .*; use (ImplicitALS|\w+KNN)$"):
            getattr(model, method)(ids[0])
        return
    similar = getattr(model, method)(ids, k=n + 2)
    given = getattr(similar, side)
    assert given.shape == similar.scores.shape == (n, n + 2)
    assert_array_equal(similar.queries, ids)
    similarities, has_answer = _similarities(model, side)
    row_of = {str(label): row for row, label in enumerate(ids)}
    for query, (labels, scores) in enumerate(zip(given, similar.scores, strict=True)):
        expected = np.flatnonzero(has_answer[query])
        rows = [row_of[str(label)] for label in labels[: len(expected)]]
        assert_array_equal(np.sort(rows), expected)
        assert_allclose(scores[: len(rows)], similarities[query, rows], atol=1e-5)
        assert (np.diff(scores[: len(rows)]) <= 0).all()
        assert_array_equal(scores[len(rows) :], -np.inf)
    one = getattr(model, method)(ids[3], k=4)
    assert_array_equal(getattr(one, side), given[3, :4])
    assert_array_equal(one.scores, similar.scores[3, :4])


@pytest.mark.parametrize(
    ("item", "k", "error", "message"),
    [
        (20, 3, IndexError, r"similar_items: item 20 is outside \[0, 20\)"),
        (-1, 3, IndexError, r"similar_items: item -1 is outside \[0, 20\)"),
        (1, 0, ValueError, "similar_items: k must be >= 1, got 0"),
        (1, 1.5, TypeError, "similar_items: k must be an integer, got 1.5"),
    ],
)
def test_similar_items_refuses_bad_arguments(model, matrix, item, k, error, message):
    if not _works_on(model, "similar_items"):
        pytest.skip("this model has no similar items")
    with pytest.raises(error, match=f"^{message}$"):
        model.fit(matrix).similar_items(item, k)


# ---- partial fit ---------------------------------------------------------------------------------------------------


def test_partial_fit_before_fit_is_fit(model, matrix):
    _assert_same_recommendations(clone(model).partial_fit(matrix), model.fit(matrix))


def test_partial_fit_adds_interactions_users_and_items(model, dense, kind):
    model.fit(_interactions(kind, dense))
    users, items = _user_ids(kind), _item_ids(kind)
    if kind == "row":
        new = sp.csr_array(([2.0, 1.0, 1.0], ([3, 31, 31], [20, 20, 5])), shape=(32, 21))
        new_user, new_item = 31, 20
    else:
        new_user, new_item = _ids(kind, 1, 9000)[0], _ids(kind, 1, 9001)[0]
        pair_items = np.array([new_item, new_item, items[5]], dtype=items.dtype)
        pair_users = np.array([users[3], new_user, new_user], dtype=users.dtype)
        new = lw.Interactions.from_arrays(pair_users, pair_items, [2.0, 1.0, 1.0])
    assert model.partial_fit(new) is model
    n_users = N_USERS + (2 if kind == "row" else 1)  # by row number, user 30 comes along empty
    assert (model.n_users_, model.n_items_, model.n_features_in_) == (n_users, N_ITEMS + 1, N_ITEMS + 1)
    assert np.isfinite(model.recommend([new_user, *users[:3]], k=3).scores).all()
    assert new_item not in model.recommend(users[3], k=N_ITEMS + 1).items.tolist()
    assert not {new_item, items[5]} & set(model.recommend(new_user, k=N_ITEMS + 1).items.tolist())
    others = model.recommend(k=N_ITEMS + 1).items.astype(str)  # sparse weights lead to it from some histories
    assert str(new_item) in (others if _is_sparse(model) else others[0])
    assert np.isfinite(model.predict([new_user], [new_item])).all()


def test_partial_fit_of_known_pairs_merges_them_as_fit_does(model, dense):
    """Twice the same interactions are each with its values summed."""
    data = _interactions("string", dense)
    twice = clone(model).fit(data).partial_fit(data)
    assert_array_equal(twice.interactions_.by_user.values, 2 * data.by_user.values)
    last = clone(model).fit(_interactions("string", dense, duplicates="last")).partial_fit(data)
    assert_array_equal(last.interactions_.by_user.values, data.by_user.values)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda dense: dense[:, :5], ValueError, "X has 5 features, but .* is expecting 20 features as input"),
        (lambda dense: _with(dense, np.nan), ValueError, r"got NaN at \(3, 4\)"),
        (lambda dense: dense[:0], ValueError, r"0 sample\(s\)"),
        (lambda dense: _interactions("string", dense), TypeError, "row numbers here|ids are row"),
    ],
    ids=["narrow", "NaN", "empty", "ids"],
)
def test_partial_fit_that_fails_leaves_the_model_as_it_was(model, matrix, dense, make, error, message):
    model.fit(matrix)
    before = clone(model).fit(matrix)
    with pytest.raises(error, match=message):
        model.partial_fit(make(dense))
    _assert_same_recommendations(model, before)


# ---- copies and files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy])
def test_a_copy_of_a_fitted_model_recommends_the_same(model, dense, kind, duplicate):
    model.fit(_interactions(kind, dense))
    copied = duplicate(model)
    _assert_same_recommendations(copied, model)
    assert copied.get_params() == model.get_params()


def test_clone_forgets_the_fit_and_keeps_the_parameters(model, matrix):
    cloned = clone(model.fit(matrix))
    assert cloned.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        cloned.recommend()


def test_a_loaded_model_is_the_saved_one(model, dense, kind, tmp_path):
    model.fit(_interactions(kind, dense))
    model.save(tmp_path / "model")
    loaded = lw.load(str(tmp_path / "model"))
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    _assert_same_recommendations(loaded, model)
    _assert_same_recommendations(loaded, model, exclude_seen=False)
    assert_array_equal(loaded.predict(model.interactions_), model.predict(model.interactions_))
    assert loaded.score(model.interactions_) == model.score(model.interactions_)
    assert loaded.interactions_.user_map == model.interactions_.user_map
    assert loaded.interactions_.item_map == model.interactions_.item_map


@pytest.mark.parametrize("duplicates", ["sum", "last"])
def test_a_loaded_model_goes_on_learning(model, dense, tmp_path, duplicates):
    model.fit(_interactions("string", dense, duplicates=duplicates))
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    more = _interactions("string", np.where(np.arange(N_USERS)[:, None] % 3, 0, dense + 1))
    loaded.partial_fit(more)
    model.partial_fit(more)
    assert_array_equal(loaded.interactions_.by_user.values, model.interactions_.by_user.values)
    _assert_same_recommendations(loaded, model)


def test_save_leaves_one_file_that_everybody_may_read(model, matrix, tmp_path):
    model.fit(matrix).save(tmp_path / "model")
    (tmp_path / "other").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_save_replaces_a_file(model, matrix, tmp_path):
    model.fit(matrix[:9]).save(tmp_path / "model")
    model.fit(matrix).save(tmp_path / "model")
    assert lw.load(tmp_path / "model").n_users_ == N_USERS


def test_save_to_a_folder_that_is_not_there_is_an_os_error(model, matrix, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        model.fit(matrix).save(tmp_path / "nowhere" / "model")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are set as on Unix")
def test_save_on_a_full_disk_keeps_the_file_before(tmp_path):
    """A limit on the size of files stands for the disk."""
    path = tmp_path / "model"
    lw.Popularity().fit(np.eye(5)).save(path)
    before = path.read_bytes()
    code = """
        import resource, sys
        import numpy as np
        import likewise as lw
        model = lw.Popularity().fit(np.ones((500, 500)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            model.save(sys.argv[1])
        except OSError:
            print("refused")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "refused\n"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_load_without_a_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        lw.load(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        lw.load(tmp_path)


FOREIGN = {
    "empty": b"",
    "text": b"once upon a time " * 50,
    "zeros": bytes(1000),
    "pickle": pickle.dumps({"model": 1}),
    "safetensors": safetensors.numpy.save({"weight": np.ones((2, 2), np.float32)}),
    "safetensors with metadata": safetensors.numpy.save({"weight": np.ones(2)}, metadata={"format": "pt"}),
    "header without JSON": safetensors.numpy.save({"a": np.ones(2)}, metadata={"likewise": "once upon a time"}),
    "header without version": safetensors.numpy.save({"a": np.ones(2)}, metadata={"likewise": "{}"}),
    "header that is a list": safetensors.numpy.save({"a": np.ones(2)}, metadata={"likewise": "[1]"}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_load_refuses_a_foreign_file(tmp_path, content):
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(lw.ModelFileError, match=r"^load: "):
        lw.load(path)


@pytest.fixture(scope="module", params=["als-cg", "popularity"])
def saved(request, dense, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    clone(MODELS[request.param]).fit(_interactions("string", dense)).save(path)
    return path.read_bytes()


def test_load_refuses_a_truncated_file(saved, tmp_path):
    """Cut anywhere: in the length, the header, between arrays, inside them, one byte short."""
    path = tmp_path / "model"
    for length in {*range(0, 64, 7), *range(64, len(saved), 97), len(saved) - 1}:
        path.write_bytes(saved[:length])
        with pytest.raises(lw.ModelFileError, match=r"^load: "):
            lw.load(path)


def test_load_refuses_a_damaged_file(saved, tmp_path):
    """One bit flipped, wherever it is; also bytes too many."""
    path, rng = tmp_path / "model", np.random.default_rng(5)
    for place in {*range(0, 64, 5), *rng.integers(0, len(saved), 200).tolist()}:
        damaged = bytearray(saved)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(lw.ModelFileError, match=r"^load: "):
            lw.load(path)
    path.write_bytes(saved + b"\0")
    with pytest.raises(lw.ModelFileError, match=r"^load: "):
        lw.load(path)


def test_load_refuses_a_newer_format(saved, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(saved)
    _, arrays = read_model_file(path)
    content = safetensors.numpy.save(
        arrays, metadata={"likewise": json.dumps({"format_version": FORMAT_VERSION + 1, "shape": "new"})}
    )
    path.write_bytes(content)
    expected = f"^load: 'model' has format {FORMAT_VERSION + 1}, this version of likewise reads {FORMAT_VERSION}"
    with pytest.raises(lw.ModelFileError, match=expected):
        lw.load(path)


CHANGES = {
    "unknown class": lambda header, arrays: header.update({"class": "Oracle"}),
    "class that is no name": lambda header, arrays: header.update({"class": ["Popularity"]}),
    "unknown parameter": lambda header, arrays: header["parameters"].update(colour="red"),
    "parameters that are a list": lambda header, arrays: header.update(parameters=[1]),
    "no parameters": lambda header, arrays: header.pop("parameters"),
    "unknown id kind": lambda header, arrays: header.update(user_kind="float"),
    "another id kind": lambda header, arrays: header.update(item_kind="uuid"),
    "no interactions": lambda header, arrays: arrays.pop("interactions.indices"),
    "ids outside": lambda header, arrays: arrays.update(
        {"interactions.indices": arrays["interactions.indices"] + np.int32(1000)}
    ),
    "values that are not finite": lambda header, arrays: arrays.update(
        {"interactions.values": np.full_like(arrays["interactions.values"], np.nan)}
    ),
    "fewer users": lambda header, arrays: arrays.update({"users.offsets": arrays["users.offsets"][:-1]}),
    "no learned array": lambda header, arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("model.")],
    "learned arrays of another length": lambda header, arrays: arrays.update(
        {name: array[:-1] for name, array in arrays.items() if name.startswith("model.")}
    ),
    "learned arrays of another dtype": lambda header, arrays: arrays.update(
        {name: array.astype(np.float64) for name, array in arrays.items() if name.startswith("model.")}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_load_refuses_a_file_whose_parts_disagree(saved, tmp_path, change):
    """Written with a right checksum, so that each part must be looked at."""
    path = tmp_path / "model"
    path.write_bytes(saved)
    header, arrays = read_model_file(path)
    header.pop("format_version")
    change(header, arrays)
    write_model_file(path, header, arrays)
    with pytest.raises(lw.ModelFileError, match=r"^load: "):
        lw.load(path)


# ---- an approximate index ------------------------------------------------------------------------------------------


def test_an_index_over_a_small_catalogue_changes_nothing(model, dense, kind, tmp_path):
    """So few items are searched exactly; what a graph finds is the matter of test_index.py."""
    pytest.importorskip("usearch", reason="usearch is not installed")
    model.fit(_interactions(kind, dense))
    before = copy.copy(model)
    if not hasattr(model, "item_factors_"):
        with pytest.raises(NotImplementedError, match=f"^{type(model).__name__}: needs no index"):
            model.build_index()
        assert not hasattr(model, "index_")
        return
    model.build_index()
    model.save(tmp_path / "model")
    chosen = _item_ids(kind)[[EMPTY_ITEM, 3, 5, 11]]
    for one in (model, pickle.loads(pickle.dumps(model)), lw.load(tmp_path / "model")):
        assert one.index_.shape == model._indexed_vectors().shape
        for options in ({}, {"exclude_seen": False}, {"items": chosen}, {"exclude": chosen}):
            _assert_same_recommendations(one, before, **options)
        _assert_same_recommendations(one, before, interactions=model.interactions_)
    assert not hasattr(model.partial_fit(model.interactions_), "index_")


# ---- devices -------------------------------------------------------------------------------------------------------


def test_an_unknown_device_is_refused(model, matrix):
    if "device" not in model.get_params():
        pytest.skip("this model has no device")
    name = type(model).__name__
    with pytest.raises(ValueError, match=rf"^{name}: device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'$"):
        model.set_params(device="tpu").fit(matrix)


def test_a_device_that_is_not_there_is_refused_with_the_way_out(model, matrix):
    if "device" not in model.get_params():
        pytest.skip("this model has no device")
    model.fit(matrix)
    before = clone(model).fit(matrix)
    model.set_params(device="cuda:99")
    with pytest.raises(
        lw.BackendUnavailableError,
        match=rf"^{type(model).__name__}: device='cuda:99' cannot be used: .*Use device=",
    ):
        model.fit(matrix[:5])
    _assert_same_recommendations(model.set_params(device="cpu"), before)


def test_hidden_items_differ_from_row_to_row(monkeypatch):
    rng = np.random.default_rng(0)
    matrix = CSR.from_scipy(sp.csr_array((rng.random((500, 60)) < 0.5).astype(np.float32)))
    visible, hidden = hide_items(matrix)
    assert (visible.column_counts() > 0).all()
    assert (hidden.column_counts() > 0).all()
    assert hidden.nnz == np.maximum(1, (matrix.row_counts() * 0.2).astype(int)).sum()
    for entries in (1, 100, 10**6):  # however many are split at a time
        monkeypatch.setattr(base, "_BLOCK_ENTRIES", entries)
        for again, before in zip(hide_items(matrix), (visible, hidden), strict=True):
            np.testing.assert_array_equal(again.to_scipy().toarray(), before.to_scipy().toarray())
    alone = hide_items(matrix.take_rows([7]))[1]  # a row is split in the same way whatever stands beside it
    np.testing.assert_array_equal(alone.row(0)[0], hidden.row(7)[0])


@pytest.mark.parametrize(
    "parameters", [{"alpha": 1e39}, {"regularization": 1e300}, {"unobserved_weight": 1e-60}, {"cg_steps": 2**40}]
)
def test_weights_beyond_float32_are_refused(parameters):
    with pytest.raises(ValueError, match=f"ImplicitALS: {next(iter(parameters))} must be"):
        lw.ImplicitALS(4, **parameters).fit(np.eye(5))


def test_confidence_beyond_float32_is_refused():
    matrix = np.eye(5) * 1e38
    with pytest.raises(ValueError, match=r"ImplicitALS: alpha \* \|value\| must be <= 1e\+30"):
        lw.ImplicitALS(4, alpha=10).fit(matrix)
    model = lw.ImplicitALS(4, alpha=10, random_state=0).fit(np.eye(5))
    with pytest.raises(ValueError, match="scale the values"):
        model.fold_in([1], [1e38])


def test_explain_takes_one_pair():
    model = lw.ImplicitALS(2, random_state=0).fit(np.eye(5))
    with pytest.raises(ValueError, match="explain: give one user and one item, got 2 and 1"):
        model.explain([0, 1], 0)


def test_partial_fit_keeps_the_latest_event_under_last():
    old = lw.Interactions.from_arrays(["a"], ["x"], [1.0], [10], duplicates="last")
    new = lw.Interactions.from_arrays(["a"], ["x"], [9.0], [1], duplicates="last")
    assert lw.Popularity("values").fit(old).partial_fit(new).popularity_.tolist() == [1.0]
