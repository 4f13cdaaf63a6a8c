"""The behaviours of implicit's models on likewise.compat.implicit, and its defects, which are mended."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

import likewise as lw
from likewise._backend import cuda_status
from likewise.compat import implicit
from likewise.compat.implicit.utils import ParameterWarning

N = 50


def checker_board(n):
    """Every even user has every even item and every odd one every odd one, but for the diagonal."""
    users, items = np.indices((n, n))
    return sp.csr_matrix(((users % 2 == items % 2) & (users != items)).astype(np.float64))


MODELS = {
    "als": lambda: implicit.als.AlternatingLeastSquares(factors=32, regularization=0, random_state=23),
    "als-exact": lambda: implicit.als.AlternatingLeastSquares(
        factors=8, regularization=0.01, use_cg=False, dtype=np.float64, random_state=23
    ),
    "bpr": lambda: implicit.bpr.BayesianPersonalizedRanking(factors=3, regularization=0, random_state=42),
    "lmf": lambda: implicit.lmf.LogisticMatrixFactorization(factors=3, regularization=0, random_state=43),
    "bm25": lambda: implicit.nearest_neighbours.BM25Recommender(K=50),
    "tfidf": lambda: implicit.nearest_neighbours.TFIDFRecommender(K=50),
    "cosine": lambda: implicit.nearest_neighbours.CosineRecommender(K=50),
}
OF_VECTORS = ("als", "als-exact", "bpr", "lmf")


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(params=OF_VECTORS)
def vector_model(request):
    return MODELS[request.param]()


@pytest.fixture
def likes():
    return checker_board(N)


@pytest.fixture
def fitted(model, likes):
    model.fit(likes, show_progress=False)
    return model


# ---- what implicit's own suite asks --------------------------------------------------------------------------------


def test_the_item_that_was_withheld_comes_first(fitted, likes):
    ids, scores = fitted.recommend(np.arange(N), likes, N=1)
    assert_array_equal(ids[:, 0], np.arange(N))
    for user in range(0, N, 7):
        one_ids, one_scores = fitted.recommend(user, likes[user], N=1)
        assert one_ids.shape == one_scores.shape == (1,)
        assert (one_ids[0], one_scores[0]) == (ids[user, 0], scores[user, 0])
    assert (
        implicit.evaluation.precision_at_k(fitted, likes, sp.identity(N, format="csr"), K=1, show_progress=False) == 1
    )


def test_what_is_filtered_does_not_come_back(fitted, likes):
    ids, _ = fitted.recommend(np.arange(N), likes, N=30, filter_items=[0, 7])
    assert not np.isin(ids, [0, 7]).any()
    for user in range(N):
        assert not np.isin(ids[user][ids[user] >= 0], likes[user].indices).any()


def test_more_than_there_is(fitted, likes):
    """implicit's 22: what is there is given, nothing is made up, and lists of many users have the columns asked for."""
    ids, scores = fitted.recommend(0, likes[0], N=10000)
    assert 1 <= len(ids) == len(set(ids.tolist())) <= N - likes[0].nnz
    assert not np.isin(ids, likes[0].indices).any()
    assert np.isfinite(scores).all()
    ids, scores = fitted.recommend([0, 1], likes[:2], N=100)
    assert ids.shape == scores.shape == (2, 100)
    assert (ids[:, -1] == -1).all()
    assert (scores[ids < 0] == -np.finfo(np.float32).max).all()
    assert (np.diff(scores, axis=1) <= 0).all()


def test_items_chosen_are_ranked_all_of_them_with_seen_ones_last(fitted, likes):
    chosen = [6, 1, 2, 3, 4, 5]
    ids, scores = fitted.recommend(0, likes[0], items=chosen, N=20)
    assert sorted(ids.tolist()) == sorted(chosen)
    assert set(ids[3:].tolist()) == {2, 4, 6}
    assert (scores[3:] == -np.finfo(np.float32).max).all()
    ids, _ = fitted.recommend(np.arange(N), likes, items=chosen)
    assert all(sorted(row.tolist()) == sorted(chosen) for row in ids)
    ids, _ = fitted.recommend(3, likes[3], items=chosen, filter_already_liked_items=False)
    assert sorted(ids.tolist()) == sorted(chosen)
    ids, _ = fitted.rank_items(0, likes[0], chosen)
    assert sorted(ids.tolist()) == sorted(chosen)


@pytest.mark.parametrize("wrong", [[-1], [50], [3, 300]], ids=str)
def test_items_outside_the_model_are_an_index_error(fitted, likes, wrong):
    with pytest.raises(IndexError, match=r"is outside \[0, 50\)"):
        fitted.recommend(0, likes[0], items=wrong)
    with pytest.raises(IndexError, match=r"is outside \[0, 50\)"):
        fitted.recommend(0, likes[0], filter_items=wrong)
    with pytest.raises(IndexError, match=r"item (-1|50|300) is outside \[0, 50\)"):
        fitted.similar_items(wrong)


def test_items_and_filter_items_exclude_each_other(fitted, likes):
    with pytest.raises(ValueError, match="items and filter_items exclude each other"):
        fitted.recommend(0, likes[0], items=[1], filter_items=[2])
    with pytest.raises(ValueError, match="items and filter_items exclude each other"):
        fitted.similar_items(0, items=[1], filter_items=[2])


def test_similar_items(model):
    n = 256
    model.fit(checker_board(n), show_progress=False)
    ids, scores = model.similar_items(np.arange(N), N=10)
    assert ids.shape == (N, 10)
    assert_array_equal(ids[:, 0], np.arange(N))
    assert (ids % 2 == np.arange(N)[:, np.newaxis] % 2).all()
    one_ids, one_scores = model.similar_items(7, N=10)
    assert_array_equal(one_ids, ids[7])
    assert_array_equal(one_scores, scores[7])
    assert not np.isin(model.similar_items(7, N=10, filter_items=[9, 7])[0], [9, 7]).any()
    assert set(model.similar_items(7, N=10, items=np.arange(10))[0].tolist()) == set(range(10))


def test_similar_users(vector_model):
    n = 256
    vector_model.fit(checker_board(n), show_progress=False)
    ids, scores = vector_model.similar_users(np.arange(n), N=10)
    assert_array_equal(ids[:, 0], np.arange(n))
    assert_allclose(scores[:, 0], 1, rtol=1e-4)
    assert (ids % 2 == np.arange(n)[:, np.newaxis] % 2).all()
    assert set(vector_model.similar_users(3, N=5, users=[4, 5])[0].tolist()) == {4, 5}
    assert not np.isin(vector_model.similar_users(3, N=9, filter_users=[3, 5])[0], [3, 5]).any()
    with pytest.raises(IndexError, match=r"user 256 is outside \[0, 256\)"):
        vector_model.similar_users(n)


def test_neighbours_have_no_similar_users(likes):
    with pytest.raises(NotImplementedError, match=r"likewise\.UserKNN has it"):
        MODELS["cosine"]().similar_users(0)


def test_empty_rows_and_columns(model):
    board = checker_board(N).tolil()
    for gone in (42, 49):
        board[gone], board[:, gone] = 0, 0
    likes = board.tocsr()
    model.fit(likes, show_progress=False)
    for item in range(40):
        assert not np.isin([42, 49], model.similar_items(item, N=N)[0]).any()
    ids, _ = model.recommend(np.arange(N), likes, N=N)
    assert not np.isin([42, 49], ids).any()


def test_another_form_than_csr(model, likes):
    for form in ("coo", "lil", "csc"):
        with pytest.warns(ParameterWarning, match="was converted"):
            model.fit(likes.asformat(form), show_progress=False)
    for form in ("csc", "coo"):
        with pytest.raises(ValueError, match="user_items needs to be a CSR sparse matrix"):
            model.recommend(0, likes[:1].asformat(form))
    with pytest.raises(ValueError, match="user_items must contain 1 row for every user, got 3 for 2"):
        model.recommend([0, 1], likes[:3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8])
def test_values_of_any_dtype(model, likes, dtype):
    model.fit(likes.astype(dtype), show_progress=False)
    assert model.recommend(3, likes[3].astype(dtype), N=1)[0] == [3]


def test_recalculated_users_get_what_they_got(likes):
    model = MODELS["als"]()
    model.fit(likes, show_progress=False)
    ids, scores = model.recommend(np.arange(N), likes, N=1)
    again_ids, again_scores = model.recommend(np.arange(N), likes, N=1, recalculate_user=True)
    assert_array_equal(ids, again_ids)
    assert_allclose(scores, again_scores, atol=1e-3)
    others, _ = model.similar_items(np.arange(N), N=5, recalculate_item=True, item_users=likes.T.tocsr())
    assert_array_equal(others[:, 0], np.arange(N))
    for name in ("bpr", "lmf"):
        other = MODELS[name]()
        other.fit(likes, show_progress=False)
        with pytest.raises(NotImplementedError, match="recalculate_user is not supported"):
            other.recommend(0, likes[0], recalculate_user=True)


def test_files_and_pickles(fitted, likes, tmp_path):
    expected = fitted.similar_items(1)
    path, stream = tmp_path / "model", io.BytesIO()
    fitted.save(str(path))
    fitted.save(stream)
    stream.seek(0)
    assert (tmp_path / "model.npz").is_file()
    kind = type(fitted)
    for again in (kind.load(str(path)), kind.load(path), fitted.load(stream), pickle.loads(pickle.dumps(fitted))):
        for ours, theirs in zip(again.similar_items(1), expected, strict=True):
            assert_array_equal(ours, theirs)
        assert_array_equal(again.recommend(3, likes[3])[0], fitted.recommend(3, likes[3])[0])


def test_files_of_models_that_are_not_fitted(model, tmp_path):
    model.save(tmp_path / "model.npz")
    assert type(model).load(tmp_path / "model.npz").__dict__ == model.__dict__


def test_callbacks(vector_model, likes):
    seen = []
    vector_model.iterations = 3
    vector_model.fit(likes, show_progress=False, callback=lambda *told: seen.append(told))
    assert [told[0] for told in seen] == [0, 1, 2]
    assert all(told[1] >= 0 for told in seen)


def test_a_script_runs_unchanged(tmp_path):
    """Forty lines that know of implicit alone."""
    script = """
import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.evaluation import leave_k_out_split, ndcg_at_k, precision_at_k, train_test_split
from implicit.nearest_neighbours import BM25Recommender, bm25_weight

rng = np.random.default_rng(0)
tastes = rng.integers(0, 4, 300)
liked = (rng.random((300, 80)) < 0.05) | ((rng.random((300, 80)) < 0.5) & (tastes[:, None] == np.arange(80) % 4))
plays = sp.csr_matrix(liked * rng.integers(1, 9, (300, 80)).astype(np.float32))
train, test = train_test_split(plays, train_percentage=0.8, random_state=42)

model = AlternatingLeastSquares(factors=16, regularization=0.05, alpha=2.0, random_state=42)
losses = []
model.calculate_training_loss = True
weighted = bm25_weight(train, K1=100, B=0.8).tocsr()


def watch(iteration, seconds, loss):
    losses.append(loss)


model.fit(weighted, show_progress=False, callback=watch)

userids = np.arange(10)
ids, scores = model.recommend(userids, train[userids], N=5)
one_ids, one_scores = model.recommend(3, train[3], N=5, filter_items=[int(ids[3][0])])
related, similarities = model.similar_items(7, N=6)
alike, _ = model.similar_users(7, N=6)
precision = precision_at_k(model, train, test, K=10, show_progress=False)
ndcg = ndcg_at_k(model, train, test, K=10, show_progress=False)

model.save(path)
again = AlternatingLeastSquares().load(path)
same_ids, _ = again.recommend(userids, train[userids], N=5)
score, contributions, weights = model.explain(3, weighted, int(ids[3][0]), N=3)
model.partial_fit_users([300], train[3])
new_ids, _ = model.recommend(300, train[3], N=5)
model.partial_fit_items([80], train.T.tocsr()[7])
newest, _ = model.similar_items(80, N=2)

knn = BM25Recommender(K=20)
knn.fit(train, show_progress=False)
knn_precision = precision_at_k(knn, train, test, K=10, show_progress=False)
bpr = BayesianPersonalizedRanking(factors=16, learning_rate=0.05, iterations=50, random_state=42)
bpr.fit(train, show_progress=False)
bpr_precision = precision_at_k(bpr, train, test, K=10, show_progress=False)
kept, held_out = leave_k_out_split(plays, K=1, random_state=1)
"""
    assert len([line for line in script.splitlines() if line]) == 40
    names = {"path": str(tmp_path / "als.npz")}
    exec(compile(script.replace("from implicit", "from likewise.compat.implicit"), "script", "exec"), names)
    assert names["ids"].shape == (10, 5)
    assert names["ids"][3][0] not in names["one_ids"]
    assert (names["related"] % 4 == 3).mean() > 0.7
    assert len(names["losses"]) == 15
    assert names["losses"] == sorted(names["losses"], reverse=True)
    assert min(names["precision"], names["knn_precision"], names["bpr_precision"]) > 0.35  # chance is 0.13
    assert names["ndcg"] > 0.2
    assert names["score"] == pytest.approx(names["scores"][3][0], abs=0.05)
    assert_array_equal(names["same_ids"], names["ids"])
    assert set(names["newest"].tolist()) == {80, 7}
    assert len(names["new_ids"]) == 5
    assert names["held_out"].sum() > 0


# ---- ALS -----------------------------------------------------------------------------------------------------------


def test_als_reaches_the_minimum_of_implicits_objective(rng):
    """Confidences below 1 and dislikes among them; the normal equations hold at the end."""
    dense = np.where(rng.random((40, 30)) < 0.3, rng.choice([0.25, 0.5, 1, 3, -0.5, -2], (40, 30)), 0)
    likes = sp.csr_matrix(dense)
    model = implicit.cpu.als.AlternatingLeastSquares(5, 0.1, 1.0, use_cg=False, iterations=500, random_state=0)
    model.fit(likes, show_progress=False)
    items = model.item_factors.astype(np.float64)
    for user, row in enumerate(dense):
        weights = np.where(row != 0, np.abs(row), 1)
        matrix = (items.T * weights) @ items + 0.1 * np.eye(5)
        exact = np.linalg.solve(matrix, items.T @ np.maximum(row, 0))
        assert_allclose(model.user_factors[user], exact, atol=2e-3)
        assert_allclose(model.recalculate_user(user, likes[user]), exact, atol=1e-4)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of BLAS
def test_als_agrees_with_implicit(rng):
    theirs = pytest.importorskip("implicit.cpu.als", reason="implicit is not installed")
    if theirs.__name__ != "implicit.cpu.als":
        pytest.skip("implicit is what install has made of it")
    dense = np.where(rng.random((60, 40)) < 0.3, rng.integers(1, 6, (60, 40)), 0).astype(np.float32)
    likes = sp.csr_matrix(dense)
    start = [rng.standard_normal((n, 6)).astype(np.float32) * 0.1 for n in (60, 40)]
    scores = []
    for module in (theirs, implicit.cpu.als):
        model = module.AlternatingLeastSquares(6, 0.5, 2.0, use_cg=False, iterations=30, num_threads=1)
        model.user_factors, model.item_factors = (part.copy() for part in start)
        model.fit(likes, show_progress=False)
        scores.append(model.user_factors @ model.item_factors.T)
        loss = implicit.cpu.als.calculate_loss(2 * likes, model.user_factors, model.item_factors, 0.5)
        assert loss == pytest.approx(
            theirs.calculate_loss(2 * likes, model.user_factors, model.item_factors, 0.5), rel=1e-4
        )
    assert_allclose(scores[1], scores[0], atol=2e-3)


def test_als_goes_on_where_it_was(likes):
    first = implicit.als.AlternatingLeastSquares(factors=4, iterations=2, calculate_training_loss=True, random_state=1)
    losses = []
    for _ in range(4):
        first.fit(likes, show_progress=False, callback=lambda iteration, seconds, loss: losses.append(loss))
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("use_cg", [False, True])
def test_als_starts_from_the_vectors_that_it_is_given_in_their_basis(rng, use_cg):
    """Of one side or of both; other libraries set those of features and take what is learned beside them."""
    likes = sp.random(40, 30, 0.2, "csr", random_state=1)
    items = rng.standard_normal((30, 5)).astype(np.float32)
    options = {"factors": 5, "regularization": 0.1, "iterations": 1, "use_cg": use_cg, "random_state": 0}
    model = implicit.cpu.als.AlternatingLeastSquares(**options)
    model.item_factors = items.copy()
    model.fit(likes, show_progress=False)
    users = np.array([
        implicit.cpu.als.user_factor(items, items.T @ items, likes, user, 0.1, 5) for user in range(40)
    ])  # fmt: skip
    assert_allclose(model.user_factors, users, atol=2e-4)
    columns = likes.T.tocsr()
    expected = [implicit.cpu.als.item_factor(users, users.T @ users, columns, item, 0.1, 5) for item in range(30)]
    assert_allclose(model.item_factors, expected, atol=2e-3)
    again = implicit.cpu.als.AlternatingLeastSquares(**options)
    again.user_factors = users
    again.fit(likes, show_progress=False)  # items are drawn, and users solved for first
    assert again.item_factors.shape == (30, 5)
    model.fit(likes, show_progress=False)  # a step from there leaves the vectors about where they point
    lengths = np.linalg.norm(model.user_factors, axis=1) * np.linalg.norm(users, axis=1)
    assert np.median((model.user_factors * users).sum(axis=1)[lengths > 0] / lengths[lengths > 0]) > 0.8
    model.factors = 6
    with pytest.raises(ValueError, match=r"user_factors must have 6 columns, as factors says, got shape \(40, 5\)"):
        model.fit(likes, show_progress=False)


def test_a_callback_sees_what_is_learned_and_what_it_stops_is_kept(vector_model, likes):
    vector_model.iterations, held = 4, []

    def stop(iteration, *_):
        held.append(vector_model.user_factors.copy())
        if iteration == 2:
            raise StopIteration

    with pytest.raises(StopIteration):
        vector_model.fit(likes, show_progress=False, callback=stop)
    assert len(held) == 3
    assert not np.array_equal(held[0], held[1])
    assert_array_equal(vector_model.user_factors, held[2])
    assert vector_model.recommend(0, likes[0])[0].size == 10


def test_bpr_counts_for_its_callback(likes):
    told = []
    model = implicit.bpr.BayesianPersonalizedRanking(factors=8, iterations=5, learning_rate=0.1, random_state=0)
    model.fit(likes, show_progress=False, callback=lambda *given: told.append(given))
    for _, _, correct, skipped in told:
        assert correct == int(correct)
        assert 0 < correct <= likes.nnz - skipped
    assert told[-1][2] > told[0][2]
    everything = sp.csr_matrix(np.ones((3, 4)))  # no negative is left to be found
    model.fit(everything, show_progress=False, callback=lambda *given: told.append(given))
    assert told[-1][2:] == (0, 12)


def test_bpr_reads_no_values_and_fits_no_epochs(likes):
    by_sign = likes.copy()
    by_sign.data[::2] = -3
    models = [implicit.bpr.BayesianPersonalizedRanking(factors=4, iterations=2, random_state=0) for _ in range(2)]
    for model, matrix in zip(models, (likes, by_sign), strict=True):
        model.fit(matrix, show_progress=False)
    assert_array_equal(models[0].user_factors, models[1].user_factors)
    for name in ("bpr", "lmf"):
        model = MODELS[name]()
        model.iterations = 0
        model.fit(likes, show_progress=False)
        before = model.item_factors
        assert model.user_factors.any()
        model.fit(likes, show_progress=False)
        assert model.item_factors is before
    model = implicit.lmf.LogisticMatrixFactorization(neg_prop=0)
    with pytest.raises(ValueError, match="neg_prop must be >= 1, got 0"):
        model.fit(likes, show_progress=False)


def test_als_without_iterations_or_likes(likes):
    model = implicit.als.AlternatingLeastSquares(factors=4, iterations=0, calculate_training_loss=True)
    model.fit(likes, show_progress=False)
    assert model.user_factors.shape == (N, 4)
    model = implicit.als.AlternatingLeastSquares(factors=4)
    model.fit(sp.csr_matrix((3, 5)), show_progress=False)
    assert len(model.recommend(0, sp.csr_matrix((1, 5)))[0]) == 0


def test_als_half_sweeps_are_solvers(rng, likes):
    items = rng.standard_normal((N, 7)).astype(np.float32)
    for use_cg in (False, True):
        model = implicit.cpu.als.AlternatingLeastSquares(7, use_cg=use_cg)
        users = np.zeros((N, 7), np.float32)
        for _ in range(8):
            model.solver(3 * likes, users, items, 0.5, num_threads=1)
        liked = items[likes[4].indices]
        exact = np.linalg.solve(items.T @ items + 0.5 * np.eye(7) + 2 * liked.T @ liked, 3 * liked.sum(axis=0))
        assert_allclose(users[4], exact, atol=2e-3)  # conjugate gradients read the items in 16 bits


def test_als_explains_its_scores(rng):
    counts = sp.csr_matrix(np.where(rng.random((7, 9)) < 0.5, rng.integers(1, 9, (7, 9)), 0).astype(np.float32))
    model = implicit.als.AlternatingLeastSquares(factors=4, regularization=5, alpha=2.0, use_cg=False, random_state=2)
    model.fit(counts, show_progress=False)
    ids, scores = model.recommend(0, counts[0], N=1, recalculate_user=True)
    score, contributions, weights = model.explain(0, counts, int(ids[0]))
    assert score == pytest.approx(scores[0], abs=1e-4)
    assert score == pytest.approx(sum(part for _, part in contributions))
    assert sorted(item for item, _ in contributions) == counts[0].indices.tolist()
    again, best, _ = model.explain(0, counts, int(ids[0]), user_weights=weights, N=2)
    assert (again, best) == (pytest.approx(score), contributions[:2])


def test_partial_fits_leave_no_phantoms(likes):
    """Rows between the last item and a new one are of nothing, and nobody gets them."""
    model = implicit.als.AlternatingLeastSquares(factors=2, regularization=0, random_state=23)
    model.fit(likes, show_progress=False)
    model.partial_fit_items([100], likes[1])
    assert model.item_factors.shape == (101, 2)
    ids, _ = model.recommend(1, likes[1], N=101)
    assert set(ids.tolist()) <= {*range(N), 100}
    assert 100 in ids[:2]
    model.partial_fit_users([60], likes[1])
    assert model.recommend(60, likes[1], N=2)[0].size == 2
    assert model.recommend(55, likes[1], N=2)[0].size == 0  # of whom nothing is known
    with pytest.raises(IndexError, match="ids must be >= 0, got -1"):
        model.partial_fit_users([-1], likes[1])
    with pytest.raises(ValueError, match="must contain 1 row for every id, got 1 for 2"):
        model.partial_fit_users([1, 2], likes[1])
    before = model.user_factors
    model.partial_fit_users([], likes[[]])
    assert_array_equal(model.user_factors, before)


# ---- what is mended ------------------------------------------------------------------------------------------------


def test_refits_on_another_shape(model, likes):
    """A smaller matrix is a segfault there."""
    for n in (N, 20, 30):
        board = checker_board(n)
        model.fit(board, show_progress=False)
        ids, _ = model.recommend(np.arange(n), board, N=1)
        assert ids.max() < n


@pytest.mark.parametrize(
    "seed",
    [np.random.RandomState(1), np.random.default_rng(1), 1, None, [1, 2, 3], np.random.PCG64(1)],
    ids=lambda s: type(s).__name__,
)
def test_seeds_of_every_kind(vector_model, likes, seed, tmp_path):
    vector_model.random_state = seed
    vector_model.fit(likes, show_progress=False)
    vector_model.save(tmp_path / "m")
    assert type(vector_model).load(tmp_path / "m").user_factors.shape == vector_model.user_factors.shape


@pytest.mark.parametrize("name", OF_VECTORS)
def test_the_same_seed_gives_the_same_vectors_at_any_number_of_threads(name, likes):
    """implicit's 710 and 263."""
    found = []
    for threads in (1, 2):
        model = MODELS[name]()
        model.num_threads = threads
        model.fit(likes, show_progress=False)
        found.append(model.item_factors)
    assert_array_equal(*found)


def test_files_of_bm25_keep_its_parameters(likes, tmp_path):
    model = implicit.nearest_neighbours.BM25Recommender(K=7, K1=0.5, B=0.1)
    model.fit(likes, show_progress=False)
    model.save(tmp_path / "bm25")
    again = type(model).load(tmp_path / "bm25")
    assert (again.K, again.K1, again.B) == (7, 0.5, 0.1)


def test_scipy_arrays_and_wide_indices_are_taken(model, likes):
    """implicit's 616 and 626."""
    array = sp.csr_array(likes)
    array.indices, array.indptr = array.indices.astype(np.int64), array.indptr.astype(np.int64)
    model.fit(array, show_progress=False)
    assert_array_equal(model.recommend(np.arange(N), array, N=1)[0][:, 0], np.arange(N))
    metrics = implicit.evaluation.ranking_metrics_at_k(model, array, sp.csr_array(np.eye(N)), K=1, show_progress=False)
    assert metrics["precision"] == 1


def test_negative_ids_do_not_wrap(fitted, likes):
    with pytest.raises(IndexError, match=r"item -1 is outside \[0, 50\)"):
        fitted.similar_items(-1)
    if hasattr(fitted, "user_factors"):
        with pytest.raises(IndexError, match=r"user -2 is outside \[0, 50\)"):
            fitted.recommend(-2, likes[0])


def test_explain_takes_ids_of_the_model_alone(likes):
    model = MODELS["als"]()
    model.fit(likes, show_progress=False)
    with pytest.raises(IndexError, match=r"user -1 is outside \[0, 50\)"):
        model.explain(-1, likes, 1)
    with pytest.raises(IndexError, match=r"item 50 is outside \[0, 50\)"):
        model.explain(0, likes, 50)


def test_what_is_computed_once_is_of_what_the_model_holds(fitted, likes):
    """Neighbours in the kernels' form, and items of which nothing is known."""
    first = fitted.recommend(0, likes[0], N=5)
    copied = pickle.loads(pickle.dumps(fitted))
    if hasattr(fitted, "similarity"):
        changed = fitted.similarity.copy()
        changed.data[:] = 0
        fitted.similarity = changed
        assert not fitted.recommend(0, likes[0], N=5)[1].any()
    else:
        fitted.item_factors = np.zeros_like(fitted.item_factors)
        assert fitted.recommend(0, likes[0], N=5)[0].size == 0
    assert_array_equal(copied.recommend(0, likes[0], N=5)[0], first[0])


def test_a_model_that_is_not_fitted_says_so(model, likes):
    for call in (lambda: model.recommend(0, likes[0]), lambda: model.similar_items(0)):
        with pytest.raises(NotFittedError, match="this model is not fitted yet; call fit first"):
            call()
    for name in ("item_norms", "user_norms", "YtY", "XtX"):
        if hasattr(type(model), name):
            with pytest.raises(NotFittedError, match="this model is not fitted yet; call fit first"):
                getattr(model, name)


def test_neighbours_do_not_recommend_what_a_user_has(likes):
    """implicit's 345, 557 and 736."""
    model = MODELS["tfidf"]()
    model.fit(likes, show_progress=False)
    ids, scores = model.recommend(0, likes[0], N=3, filter_items=[0, 1, 3])
    assert len(ids) == len(scores) <= 3
    assert not np.isin(ids, [*likes[0].indices, 0, 1, 3]).any()


def test_when_everything_is_filtered_nothing_is_left(fitted, likes):
    """implicit's 236 and 476."""
    ids, scores = fitted.recommend(0, likes[0], filter_items=np.arange(N))
    assert ids.size == scores.size == 0
    ids, _ = fitted.recommend([0, 1], likes[:2], filter_items=np.arange(N), N=4)
    assert (ids == -1).all()


@pytest.mark.parametrize("damage", ["cut", "foreign", "shape"])
def test_damaged_files_are_refused(fitted, tmp_path, damage):
    path = tmp_path / "m.npz"
    if damage == "shape":
        if not hasattr(fitted, "similarity"):
            pytest.skip("of neighbours")
        fitted.similarity.indices[0] = 10**6
    fitted.save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    if damage == "foreign":
        path.write_text("no zip")
    with pytest.raises(lw.exceptions.ModelFileError, match="load: not"):
        type(fitted).load(path)


def test_files_of_other_models_are_refused(likes, tmp_path):
    paths = {}
    for name in ("als", "bpr", "lmf", "cosine"):
        model = MODELS[name]()
        model.iterations = 1
        model.fit(likes, show_progress=False)
        model.save(tmp_path / name)
        paths[name] = tmp_path / name
    paths["foo"] = tmp_path / "foo.npz"
    np.savez(paths["foo"], foo=np.ones(3))
    for name in ("als", "bpr", "lmf", "cosine"):
        for written, path in paths.items():
            if written == name:
                assert type(MODELS[name]()).load(path).recommend(0, likes[0])[0].size > 0
                continue
            with pytest.raises(lw.exceptions.ModelFileError, match="load: not the file of such a model"):
                type(MODELS[name]()).load(path)
    with np.load(tmp_path / "als.npz") as arrays:
        arrays = dict(arrays)
    for wrong in ({"item_factors": np.ones((N, 3))}, {"item_factors": np.ones(N)}):
        np.savez(tmp_path / "wrong.npz", **(arrays | wrong))
        with pytest.raises(lw.exceptions.ModelFileError, match="two matrices of as many columns"):
            implicit.cpu.als.AlternatingLeastSquares.load(tmp_path / "wrong.npz")
    del arrays["item_factors"]
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(lw.exceptions.ModelFileError, match="two matrices of as many columns"):
        implicit.cpu.als.AlternatingLeastSquares.load(tmp_path / "wrong.npz")


def test_bad_values_are_refused(model):
    with pytest.raises(ValueError, match=r"NaN|infinite|finite"):
        model.fit(sp.csr_matrix(np.array([[1.0, np.nan], [1.0, 1.0]])), show_progress=False)
    with pytest.raises(TypeError, match="expected a sparse matrix, got ndarray"):
        model.fit(np.eye(3), show_progress=False)


def test_the_gpu_says_why_it_is_not_there(likes):
    for make in (implicit.als.AlternatingLeastSquares, implicit.bpr.BayesianPersonalizedRanking):
        with pytest.raises(lw.BackendUnavailableError, match="cuda"):
            make(factors=4, use_gpu=True).fit(likes, show_progress=False)
    with pytest.raises((lw.BackendUnavailableError, NotImplementedError)):
        implicit.gpu.Matrix(np.eye(3))
    if cuda_status() != "available":
        for name in ("als", "bpr"):
            with pytest.raises(lw.BackendUnavailableError, match="cuda"):
                MODELS[name]().to_gpu()
        for make in (
            implicit.approximate_als.NMSLibAlternatingLeastSquares,
            implicit.approximate_als.AnnoyAlternatingLeastSquares,
            implicit.approximate_als.FaissAlternatingLeastSquares,
        ):
            with pytest.raises(lw.BackendUnavailableError, match="cuda"):
                make(factors=4, use_gpu=True)
        model = implicit.gpu.als.AlternatingLeastSquares(8, 0.1, 2.0, np.float32, 7, True, 5)
        assert (model.iterations, model.calculate_training_loss, model.random_state) == (7, True, 5)
        model.user_factors = model.item_factors = np.eye(N, 8, dtype=np.float32)
        for ask in (
            lambda: model.recommend(0, likes[0]),
            lambda: model.similar_items(0),
            lambda: model.recalculate_user(0, likes[0]),
            lambda: model.partial_fit_users([0], likes[0]),
        ):
            with pytest.raises(lw.BackendUnavailableError, match="cuda"):
                ask()
    model = MODELS["als"]()
    model.fit(likes, show_progress=False)
    assert_array_equal(model.to_cpu().recommend(3, likes[3])[0], model.recommend(3, likes[3])[0])


def test_negatives_that_are_not_verified_are_answered(likes):
    model = implicit.bpr.BayesianPersonalizedRanking(factors=2, iterations=1, verify_negative_samples=False)
    with pytest.warns(ParameterWarning, match="negatives are always verified"):
        model.fit(likes, show_progress=False)


# ---- approximate ALS -----------------------------------------------------------------------------------------------


def test_approximate_als_honours_what_is_filtered(likes):
    pytest.importorskip("usearch", reason="usearch is not installed")
    module = implicit.approximate_als
    for make in (
        module.NMSLibAlternatingLeastSquares, module.AnnoyAlternatingLeastSquares, module.FaissAlternatingLeastSquares,
    ):  # fmt: skip
        model = make(factors=8, regularization=0, random_state=23)
        model.fit(likes, show_progress=False)
        ids, _ = model.recommend(np.arange(N), likes, N=1)
        assert_array_equal(ids[:, 0], np.arange(N))
        assert not np.isin(model.recommend(0, likes[0], N=9, filter_items=[0])[0], [0, *likes[0].indices]).any()
        assert model.similar_items(4, N=3)[0][0] == 4
        assert 4 not in model.similar_items(4, N=3, filter_items=[4])[0]
    with pytest.warns(ParameterWarning, match="n_trees is of another library's index"):
        module.AnnoyAlternatingLeastSquares(factors=8, n_trees=3)
