"""likewise.compat.implicit: evaluation, utilities, neighbours, ranking, files of implicit, install."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from likewise.compat import implicit
from likewise.compat.implicit import utils
from likewise.compat.implicit.cpu.matrix_factorization_base import _filter_items_from_sparse_matrix
from likewise.compat.implicit.cpu.topk import topk


@pytest.fixture
def ratings(rng):
    return sp.csr_matrix(np.where(rng.random((80, 40)) < 0.3, rng.integers(1, 6, (80, 40)), 0).astype(np.float32))


def as_implicit(name):
    """A module of the real thing, where it is installed."""
    module = pytest.importorskip(name, reason="implicit is not installed")
    if module.__name__ != name:
        pytest.skip("implicit is what install has made of it")
    return module


# ---- splits --------------------------------------------------------------------------------------------------------


def test_train_test_split_parts_the_entries(ratings):
    train, test = implicit.evaluation.train_test_split(ratings, 0.8, random_state=3)
    assert abs((train + test) - ratings).nnz == 0
    assert 0.7 < train.nnz / ratings.nnz < 0.9
    again, _ = implicit.evaluation.train_test_split(ratings, 0.8, random_state=3)
    assert abs(again - train).nnz == 0
    signed = ratings.copy()
    signed.data[::2] *= -1
    assert (implicit.evaluation.train_test_split(signed, 0.5)[1].data > 0).all()


@pytest.mark.parametrize("k", [1, 3])
def test_leave_k_out_keeps_values_and_seeds(ratings, k):
    """implicit's 639 and 654."""
    for seed in range(20):
        train, test = implicit.evaluation.leave_k_out_split(ratings, K=k, random_state=seed)
        assert abs((train + test) - ratings).nnz == 0
        assert (train.multiply(test)).nnz == 0
        counts = np.diff(ratings.indptr)
        assert_array_equal(np.diff(test.indptr), np.where(counts > k + 1, k, 0))
        assert abs(implicit.evaluation.leave_k_out_split(ratings, K=k, random_state=seed)[1] - test).nnz == 0
    others = implicit.evaluation.leave_k_out_split(ratings, K=k, random_state=99)[1]
    assert abs(others - test).nnz > 0


def test_leave_k_out_keeps_some_users_in_train(ratings):
    train, test = implicit.evaluation.leave_k_out_split(ratings, K=1, train_only_size=0.8, random_state=0)
    assert (np.diff(test.indptr) == 0).sum() >= int(80 * 0.8)
    assert train.nnz + test.nnz == ratings.nnz
    for options in ({"K": 0}, {"train_only_size": -0.1}, {"train_only_size": 1.0}):
        with pytest.raises(ValueError, match=r"leave_k_out_split: (K|train_only_size) must be"):
            implicit.evaluation.leave_k_out_split(ratings, **options)


# ---- metrics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_are_those_of_implicit(ratings, k):
    theirs = as_implicit("implicit.evaluation")
    train, test = implicit.evaluation.train_test_split(ratings, 0.6, random_state=0)
    model = implicit.als.AlternatingLeastSquares(factors=5, iterations=3, random_state=0)
    model.fit(train, show_progress=False)
    test.data[:3] = 0  # entries all the same
    expected = theirs.ranking_metrics_at_k(model, train, test, K=k, show_progress=False)
    found = implicit.evaluation.ranking_metrics_at_k(model, train, test, K=k, show_progress=False, num_threads=2)
    assert found == pytest.approx(expected, rel=1e-6)
    one_each = {
        "precision": implicit.evaluation.precision_at_k,
        "map": implicit.evaluation.mean_average_precision_at_k,
        "ndcg": implicit.evaluation.ndcg_at_k,
        "auc": implicit.evaluation.AUC_at_k,
    }
    for name, function in one_each.items():
        assert function(model, train, test, K=k, show_progress=False) == found[name]


def test_metrics_by_hand():
    class Fixed:
        def recommend(self, userid, user_items, N):
            assert user_items.shape[0] == len(userid)
            return np.array([[2, 0, 1]] * len(userid))[:, :N], None

    test = sp.csr_matrix(np.array([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]))
    found = implicit.evaluation.ranking_metrics_at_k(Fixed(), sp.csr_matrix((3, 5)), test, K=3, show_progress=False)
    assert found["precision"] == 2 / 3
    assert found["map"] == pytest.approx((1 / 4 + 1) / 2)
    assert found["ndcg"] == pytest.approx((1 / np.log2(3) / (1 + 1 / np.log2(3)) + 1) / 2)
    # Of the first user's other three items one is above the hit; the third is below, and ties with what is missing.
    assert found["auc"] == pytest.approx(((1 + 1.5) / 6 + 1) / 2)
    with pytest.raises(ValueError, match="test_user_items has no entry"):
        implicit.evaluation.precision_at_k(Fixed(), test, sp.csr_matrix((3, 5)), show_progress=False)


# ---- neighbours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tfidf_weight", "bm25_weight", "normalize"])
def test_weights_are_those_of_implicit(ratings, name):
    theirs = as_implicit("implicit.nearest_neighbours")
    ours = getattr(implicit.nearest_neighbours, name)(ratings)
    assert_allclose(ours.toarray(), getattr(theirs, name)(ratings).toarray(), rtol=1e-6)
    assert ratings.dtype == np.float32  # what was given stays


def test_weights_of_empty_rows():
    empty = sp.csr_matrix((3, 4))
    for weigh in (
        implicit.nearest_neighbours.tfidf_weight, implicit.nearest_neighbours.bm25_weight,
        implicit.nearest_neighbours.normalize,
    ):  # fmt: skip
        assert weigh(empty).nnz == 0


def test_all_pairs_knn_keeps_the_greatest_products(ratings):
    products = (ratings.T @ ratings).toarray()
    found = implicit.nearest_neighbours.all_pairs_knn(ratings, K=4, show_progress=False).tocsr()
    for item, row in enumerate(products):
        kept = found[item]
        assert_allclose(kept.data, row[kept.indices], rtol=1e-6)
        assert np.sort(kept.data).tolist() == pytest.approx(np.sort(row)[-4:].tolist())


@pytest.mark.filterwarnings("ignore")  # of the real thing
@pytest.mark.parametrize("name", ["CosineRecommender", "TFIDFRecommender", "BM25Recommender"])
def test_neighbours_rank_as_implicits(ratings, name):
    theirs = as_implicit("implicit.nearest_neighbours")
    models = [getattr(module, name)(K=15) for module in (theirs, implicit.nearest_neighbours)]
    for model in models:
        model.fit(ratings.astype(np.float64), show_progress=False)
    for user in range(0, 80, 9):
        (their_ids, their_scores), (ids, scores) = (
            model.recommend(user, ratings[user].astype(np.float64), N=5) for model in models
        )
        assert_allclose(scores, their_scores[: len(scores)], rtol=1e-5)
        assert len(set(ids) & set(their_ids)) >= len(ids) - 1  # of equal scores either may stand


# ---- ranking -------------------------------------------------------------------------------------------------------


def test_topk_ranks_as_asked(rng):
    items, queries = rng.standard_normal((30, 6)).astype(np.float32), rng.standard_normal((5, 6)).astype(np.float32)
    seen = sp.csr_matrix(rng.random((5, 30)) < 0.3)
    scores = queries @ items.T
    scores[seen.toarray()] = -np.inf
    scores[:, [3, 4]] = -np.inf
    ids, found = topk(items, queries, 10, filter_query_items=seen.astype(np.float32), filter_items=[3, 4])
    assert_array_equal(ids, np.argsort(-scores, axis=1)[:, :10])
    assert_allclose(found, -np.sort(-scores, axis=1)[:, :10], rtol=1e-5)
    norms = np.linalg.norm(items, axis=1)
    ids, found = topk(items, queries[0], 3, item_norms=norms)
    assert_allclose(found[0], np.sort(queries[0] @ items.T / norms)[::-1][:3], rtol=1e-5)
    ids, found = topk(items, queries, 40)
    assert (ids[:, 30:] == -1).all()


def test_topk_takes_sparse_queries(rng):
    """As those send whose vectors are users' rows, EASE's say."""
    queries, items = sp.random(30, 12, 0.3, "csr", random_state=0), rng.standard_normal((20, 12))
    norms, exclude = np.linalg.norm(items, axis=1), sp.random(30, 20, 0.2, "csr", random_state=1)
    for options in ({}, {"item_norms": norms}, {"filter_query_items": exclude, "filter_items": [3, 4]}):
        ids, scores = implicit.cpu.topk.topk(items=items, query=queries, k=4, **options)
        expected_ids, expected = implicit.cpu.topk.topk(items=items, query=queries.toarray(), k=4, **options)
        assert_array_equal(ids, expected_ids)
        assert_allclose(scores, expected, rtol=1e-5)


def test_precision_is_never_above_one():
    class Everything:
        def recommend(self, userid, user_items, N):
            return np.tile(np.arange(N), (len(userid), 1)), None

    nothing, everything = sp.csr_matrix((7, 20)), sp.csr_matrix(np.ones((7, 20)))
    assert implicit.evaluation.precision_at_k(Everything(), nothing, everything, K=20, show_progress=False) == 1


def test_neighbours_take_counts_by_name(ratings):
    for name in ("CosineRecommender", "TFIDFRecommender", "BM25Recommender"):
        model = getattr(implicit.nearest_neighbours, name)(K=5)
        model.fit(counts=ratings.astype(np.float64), show_progress=False)
        assert model.similarity.shape == (ratings.shape[1],) * 2


def test_columns_by_their_places(ratings):
    items = np.array([2, 5, 30])
    assert_array_equal(_filter_items_from_sparse_matrix(items, ratings).toarray(), ratings.toarray()[:, items])


# ---- utilities -----------------------------------------------------------------------------------------------------


def test_utilities(ratings, rng):
    assert dict(utils.nonzeros(ratings, 3)) == dict(zip(ratings[3].indices, ratings[3].data, strict=True))
    assert utils.check_blas_config() is None
    assert (
        utils.check_random_state(np.random.RandomState(1)).random()
        == utils.check_random_state(np.random.RandomState(1)).random()
    )
    assert utils.check_csr(ratings) is ratings
    with pytest.warns(utils.ParameterWarning):
        assert utils.check_csr(ratings.tocoo()).format == "csr"
    factors = rng.standard_normal((9, 4))
    greatest, longer = utils.augment_inner_product_matrix(factors)
    assert greatest == pytest.approx(np.linalg.norm(factors, axis=1).max())
    assert_allclose(np.linalg.norm(longer, axis=1), greatest)
    assert_allclose(longer[:, :4], factors)


# ---- files of implicit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["als", "bpr", "lmf", "nearest_neighbours"])
@pytest.mark.filterwarnings("ignore")  # of the real thing
def test_files_that_implicit_has_written_load(ratings, module, tmp_path):
    theirs = as_implicit(f"implicit.{module}")
    name = {
        "als": "AlternatingLeastSquares",
        "bpr": "BayesianPersonalizedRanking",
        "lmf": "LogisticMatrixFactorization",
        "nearest_neighbours": "TFIDFRecommender",
    }[module]
    options = {"K": 9} if module == "nearest_neighbours" else {"factors": 7, "iterations": 3, "random_state": 3}
    written = getattr(theirs, name)(**options)
    written.fit(ratings.astype(np.float64), show_progress=False)
    written.save(str(tmp_path / "model.npz"))
    make = getattr(getattr(implicit, module), name)
    model = make().load(str(tmp_path / "model.npz"))
    values = ratings.astype(np.float64)
    for user in (0, 7, 33):
        ids, scores = model.recommend(user, values[user], N=5)
        their_ids, their_scores = written.recommend(user, values[user], N=5)
        assert_allclose(scores, their_scores[: len(scores)], rtol=1e-4)
        assert len(set(ids) & set(their_ids)) >= len(ids) - 1
    assert_allclose(model.similar_items(3, N=4)[1], written.similar_items(3, N=4)[1], rtol=1e-4)


def test_files_with_implicits_keys_load(rng, tmp_path):
    """As the real thing writes them, for where it is not installed."""
    users, items = rng.standard_normal((4, 3)).astype(np.float32), rng.standard_normal((6, 3)).astype(np.float32)
    np.savez(
        tmp_path / "als.npz", user_factors=users, item_factors=items, regularization=0.01, factors=3, num_threads=2,
        iterations=15, use_native=True, use_cg=True, cg_steps=3, calculate_training_loss=False, dtype="float32",
        alpha=1.5,
    )  # fmt: skip
    model = implicit.cpu.als.AlternatingLeastSquares.load(str(tmp_path / "als"))
    assert (model.alpha, model.dtype, model.factors, model.random_state) == (1.5, np.float32, 3, None)
    ids, _ = model.recommend(1, sp.csr_matrix((1, 6)), N=6)
    assert_array_equal(ids, np.argsort(-(users[1] @ items.T)))


# ---- in place of implicit ------------------------------------------------------------------------------------------


def test_installed_it_is_implicit_in_that_process_alone():
    code = (
        "import likewise.compat.implicit as ours; ours.install()\n"
        "import implicit, implicit.cpu.topk, implicit.gpu.als\n"
        "from implicit.als import AlternatingLeastSquares\n"
        "from implicit.evaluation import precision_at_k\n"
        "from implicit.utils import ParameterWarning\n"
        "assert implicit is ours and implicit.__version__ == '0.7.3'\n"
        "assert type(AlternatingLeastSquares(use_gpu=False)) is ours.cpu.als.AlternatingLeastSquares\n"
        "assert implicit.cpu.topk.topk is ours.cpu.topk.topk\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
