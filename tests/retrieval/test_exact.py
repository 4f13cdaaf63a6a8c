"""ExactIndex: results, exclusions and errors."""

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import likewise as lw
import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR
from likewise.exceptions import BackendUnavailableError, ModelFileError
from likewise.retrieval import ExactIndex, top_k
from likewise.retrieval._storage import RoundedCopy
from shared_data import gowalla


def whole_numbers(rng, shape):
    """Vectors whose dot products are exact in float32, with many ties."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def assert_same(result, expected):
    assert_array_equal(result[0], expected[0])
    assert_array_equal(result[1], expected[1])


@pytest.fixture
def queries(rng):
    return rng.integers(-2, 3, (20, 6)).astype(np.float32)


@pytest.fixture
def vectors(rng):
    return rng.integers(-2, 3, (30, 6)).astype(np.float32)


def test_search_matches_reference(queries, vectors):
    ids, scores = ExactIndex(vectors).search(queries)
    expected = reference.top_k(queries @ vectors.T, 10)
    assert_array_equal(ids, expected[0])
    assert_array_equal(scores, expected[1])


def test_search_with_more_results_than_vectors(queries, vectors):
    ids, scores = ExactIndex(vectors).search(queries, k=33)
    assert_array_equal(np.sort(ids[:, :30], axis=1), np.tile(np.arange(30), (20, 1)))
    assert np.all(ids[:, 30:] == -1)
    assert np.all(np.isneginf(scores[:, 30:]))


def as_lists(csr: CSR):
    return [csr.row(i)[0].tolist()[::-1] for i in range(csr.n_rows)]


@pytest.mark.parametrize(
    "convert",
    [lambda csr: csr, CSR.to_scipy, lambda csr: sp.csc_matrix(csr.to_scipy()), as_lists],
    ids=["CSR", "csr_array", "csc_matrix", "lists"],
)
def test_search_excludes(rng, queries, vectors, convert):
    exclude = reference.random_csr(rng, (20, 30))
    result = ExactIndex(vectors).search(queries, 12, exclude=convert(exclude), deny=[7], allow=np.arange(25))
    expected = reference.top_k(queries @ vectors.T, 12, exclude, [7], np.arange(25))
    assert_array_equal(result[0], expected[0])
    assert_array_equal(result[1], expected[1])


def test_index_holds_float32_in_place_and_read_only(vectors):
    index = ExactIndex(vectors)
    assert np.shares_memory(index.vectors, vectors)
    assert not index.vectors.flags.writeable
    assert vectors.flags.writeable
    assert (len(index), index.shape) == (30, (30, 6))
    assert repr(index) == "ExactIndex(30 vectors of length 6, device='cpu')"


LAYOUTS = {
    "by columns": np.asfortranarray,
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "sliced": lambda array: np.hstack([array, array])[:, : array.shape[1]],
    "read-only": lambda array: np.frombuffer(array.tobytes(), np.float32).reshape(array.shape),
    "other byte order": lambda array: array.astype(">f4"),
    "float64": lambda array: array.astype(np.float64),
    "int64": lambda array: array.astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_index_and_search_take_any_layout(queries, vectors, layout):
    expected = ExactIndex(vectors).search(queries)
    result = ExactIndex(layout(vectors)).search(layout(queries))
    assert_array_equal(result[0], expected[0])
    assert_array_equal(result[1], expected[1])


def test_search_excludes_by_a_matrix_with_int64_ids(rng, queries, vectors):
    exclude = reference.random_csr(rng, (20, 30))
    wide = exclude.to_scipy(copy=True)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    expected, _ = ExactIndex(vectors).search(queries, exclude=exclude)
    for given in (wide, sp.csr_matrix(wide)):
        assert_array_equal(ExactIndex(vectors).search(queries, exclude=given)[0], expected)


@pytest.mark.parametrize("n_factors", [1, 4096])
def test_index_of_vectors_of_any_length(rng, n_factors):
    vectors = rng.integers(-2, 3, (30, n_factors)).astype(np.float32)
    ids, scores = ExactIndex(vectors).search(vectors[:3], k=30)
    expected = reference.top_k(vectors[:3] @ vectors.T, 30)
    assert_array_equal(ids, expected[0])
    assert_array_equal(scores, expected[1])


def test_index_of_vectors_without_factors_scores_nothing(queries):
    ids, scores = ExactIndex(np.empty((3, 0))).search(np.empty((2, 0)), k=2)
    assert_array_equal(ids, [[0, 1], [0, 1]])
    assert_array_equal(scores, 0)


def test_index_takes_lists_integers_and_no_vectors_at_all():
    assert_array_equal(ExactIndex([[1, 0], [0, 2]]).search([[1, 1]], k=2)[0], [[1, 0]])
    assert_array_equal(ExactIndex(np.empty((0, 2))).search([[1, 1]], k=2)[0], [[-1, -1]])
    assert ExactIndex([[1, 0]]).search(np.empty((0, 2)), k=2)[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        ([1.0, 2.0], ValueError, r"ExactIndex: vectors must be two-dimensional, got shape \(2,\); one vector v is v\["),
        ([[1.0, np.nan]], ValueError, r"ExactIndex: vectors must be finite, got nan at \(0, 1\)"),
        ([[1.0], [-np.inf]], ValueError, r"ExactIndex: vectors must be finite, got -inf at \(1, 0\)"),
        ([[1.0], [1e40]], ValueError, r"ExactIndex: vectors must be finite, got inf in float32 at \(1, 0\)"),
        ([["a"]], TypeError, "ExactIndex: vectors must be real numbers, got dtype <U1"),
        ([[1j]], TypeError, "ExactIndex: vectors must be real numbers, got dtype complex128"),
    ],
)
def test_index_refuses(vectors, error, message):
    with pytest.raises(error, match=message):
        ExactIndex(vectors)


MASKED = np.ma.masked_equal(np.tile(np.arange(6.0), (2, 1)), 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": True}, TypeError, "k must be an integer, got True"),
        ({"queries": np.ones((2, 5))}, ValueError, "queries have 5 columns but the vectors have 6"),
        ({"queries": np.full((2, 6), np.nan)}, ValueError, r"queries must be finite, got nan at \(0, 0\)"),
        ({"deny": [30]}, IndexError, r"deny: item 30 is outside \[0, 30\)"),
        ({"allow": [-1]}, IndexError, r"allow: item -1 is outside \[0, 30\)"),
        ({"exclude": sp.csr_array((30, 20))}, ValueError, r"shape \(queries, vectors\) = \(20, 30\), got \(30, 20\)"),
        ({"exclude": [[0]]}, ValueError, "exclude has the ids of 1 queries, but there are 20"),
        ({"exclude": [[30]] * 20}, IndexError, r"exclude: id 30 is outside \[0, 30\)"),
        ({"queries": MASKED}, TypeError, "queries must not be masked; fill what is, or leave it out"),
        ({"deny": MASKED[0] > 0}, TypeError, "deny must not be masked"),
        ({"allow": MASKED[0].astype(int)}, TypeError, "allow must not be masked"),
        ({"exclude": "0"}, TypeError, "exclude must be a sparse matrix or a sequence .*, got str"),
    ],
)
def test_search_refuses(queries, vectors, arguments, error, message):
    with pytest.raises(error, match=f"ExactIndex.search: .*{message}"):
        ExactIndex(vectors).search(**{"queries": queries, **arguments})


def test_index_on_a_missing_device(vectors):
    with pytest.raises(BackendUnavailableError, match="ExactIndex: device='cuda:99' cannot be used"):
        ExactIndex(vectors, device="cuda:99")


METRICS = ("inner_product", "cosine", "euclidean")


def scores_of(metric, queries, vectors, bias=None):
    """What an index says, in float64 as far as it goes."""
    x, y = np.asarray(queries, np.float64), np.asarray(vectors, np.float64)
    if metric == "euclidean":
        return -np.sqrt(np.square(x[:, None] - y).sum(axis=2))
    if metric == "cosine":
        x, y = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in (x, y))
    return x @ y.T + (0 if bias is None else bias)


def assert_ranks(result, scores, k, **masks):
    """Scores are those of the best candidates, and of the ids beside them; neighbours in rank may be near ties."""
    ids, found = result
    _, best = reference.top_k(scores, k, **masks)
    assert_allclose(found, best, rtol=2e-6, atol=2e-6)
    for row, (row_ids, row_found) in enumerate(zip(ids, found, strict=True)):
        kept = row_ids[row_ids >= 0]
        assert np.unique(kept).size == kept.size
        assert_allclose(row_found[row_ids >= 0], scores[row, kept], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("size", [200, 9000], ids="n={}".format)  # without and with a rounded copy
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("metric", METRICS)
def test_search_ranks_by_every_metric_what_is_stored(rng, metric, storage, size):
    vectors, queries = rng.standard_normal((size, 60)), rng.standard_normal((40, 60))
    vectors[3], queries[2] = 0, 0
    bias = None if metric == "euclidean" else rng.standard_normal(size)
    index = ExactIndex(vectors, metric=metric, storage=storage, bias=bias)
    expected = scores_of(metric, queries.astype(np.float32), index.vectors, bias)
    exclude = reference.random_csr(rng, (40, size), 0.1)
    for _ in range(3):
        assert_ranks(index.search(queries, 10), expected, 10)
        assert_ranks(index.search(queries, 10, exclude, deny=[4, 5]), expected, 10, exclude=exclude, deny=[4, 5])
    assert_allclose(index.vectors, vectors, atol={"float32": 1e-6, "bfloat16": 0.02, "int8": 0.02}[storage])


def test_search_takes_masks_and_candidates_of_each_query(rng):
    vectors, queries = whole_numbers(rng, (50, 6)), whole_numbers(rng, (4, 6))
    index, scores = ExactIndex(vectors), queries @ vectors.T
    mask = rng.random(50) < 0.4
    assert_same(index.search(queries, 8, deny=mask), reference.top_k(scores, 8, deny=np.flatnonzero(mask)))
    assert_same(index.search(queries, 8, allow=mask), reference.top_k(scores, 8, allow=np.flatnonzero(mask)))
    lists = [[3, 1, 3], [], np.arange(20), (49,)]
    own = np.full(scores.shape, -np.inf, np.float32)
    for row, ids in enumerate(lists):
        own[row, list(ids)] = scores[row, list(ids)]
    expected = reference.top_k(own, 8, deny=[1])
    assert_same(index.search(queries, 8, allow=lists, deny=[1]), expected)
    assert_same(index.search(queries, 8, allow=sp.csr_array(np.isfinite(own)), deny=[1]), expected)


@pytest.mark.parametrize("size", [100, 9000], ids="n={}".format)
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("metric", METRICS)
def test_changes_give_what_an_index_of_the_changed_vectors_gives(rng, metric, storage, size):
    given, queries = rng.standard_normal((size, 60), dtype=np.float32), rng.standard_normal((70, 60))
    before, vectors = given.copy(), given.copy()
    bias = None if metric == "euclidean" else rng.standard_normal(size).astype(np.float32)
    options = {"metric": metric, "storage": storage}
    index = ExactIndex(given, bias=bias, **options)
    index.search(queries), index.search(queries)  # makes a rounded copy where there are many
    removed = []
    for step in range(4):
        rows = rng.choice(len(vectors), 5, replace=False)
        vectors[rows] = rng.standard_normal((5, 60)) * (1 + step)
        new_bias = None if bias is None else rng.standard_normal(5).astype(np.float32)
        index.replace(rows, vectors[rows], new_bias)
        more = rng.standard_normal((1 + 33 * step, 60), dtype=np.float32)
        assert_array_equal(index.add(more), np.arange(len(vectors), len(vectors) + len(more)))
        vectors = np.concatenate([vectors, more])
        if bias is not None:
            bias[rows] = new_bias
            bias = np.concatenate([bias, np.zeros(len(more), np.float32)])
        removed = [row for row in removed if row not in rows]
        gone = [row for row in (step, 50 + step, len(vectors) - 1) if row not in removed]
        index.remove(gone)
        removed += gone
        same = ExactIndex(vectors, bias=bias, **options)
        assert_same(index.search(queries, 12, deny=[7]), same.search(queries, 12, deny=[7, *removed]))
        assert_same(index.search(queries[:2], 12), same.search(queries[:2], 12, deny=removed))
        assert_same(
            index.search(queries[:2], 12, deny=np.arange(len(vectors)) == 7), index.search(queries[:2], 12, deny=[7])
        )
    assert index.shape == vectors.shape
    assert f"{len(removed)} removed" in repr(index)
    assert_array_equal(given, before)  # what was given is the caller's


def test_a_change_that_is_refused_changes_nothing(rng):
    vectors = rng.standard_normal((20, 4))
    index = ExactIndex(vectors)
    expected = index.search(vectors, 5)
    for error, match, change in (
        (
            ValueError,
            "ExactIndex.add: the new vectors have 3 columns but the vectors have 4",
            lambda: index.add([[1, 2, 3]]),
        ),
        (ValueError, "ExactIndex.add: vectors must be finite", lambda: index.add([[1, 2, 3, np.nan]])),
        (ValueError, "ExactIndex.add: this index has no biases", lambda: index.add(vectors, np.ones(20))),
        (ValueError, "ExactIndex.replace: there are 1 ids but 2 vectors", lambda: index.replace([1], vectors[:2])),
        (ValueError, "ExactIndex.replace: ids must not be repeated", lambda: index.replace([1, 1], vectors[:2])),
        (IndexError, r"ExactIndex.replace: id 20 is outside \[0, 20\)", lambda: index.replace([20], vectors[:1])),
        (IndexError, r"ExactIndex.remove: id -1 is outside \[0, 20\)", lambda: index.remove([-1])),
    ):
        with pytest.raises(error, match=match):
            change()
    assert_same(index.search(vectors, 5), expected)
    index.remove([3])
    with pytest.raises(KeyError, match="id 3 has been removed already"):
        index.remove([2, 3])
    assert (index.search(vectors, 20)[0] >= 0).sum(axis=1).tolist() == [19] * 20
    index.replace([3], vectors[3:4])
    assert_same(index.search(vectors, 5), expected)


@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("metric", METRICS)
def test_a_file_holds_the_index(rng, tmp_path, metric, storage, mmap):
    vectors, path = rng.standard_normal((9000, 60)), tmp_path / "items.index"
    index = ExactIndex(vectors, metric=metric, storage=storage)
    index.remove([5])
    index.save(path)
    loaded = ExactIndex.load(path, mmap=mmap)
    assert repr(loaded) == repr(index)
    assert loaded.storage_recall == index.storage_recall
    for _ in range(2):
        assert_same(loaded.search(vectors[:70]), index.search(vectors[:70]))
    loaded.replace([5], vectors[5:6])
    assert_same(loaded.search(vectors[:70]), ExactIndex(vectors, metric=metric, storage=storage).search(vectors[:70]))
    again = ExactIndex.load(path, mmap=mmap)  # the file is not written to
    assert_same(again.search(vectors[:7]), index.search(vectors[:7]))


def test_a_file_of_something_else_or_damaged_is_refused(rng, tmp_path):
    path, vectors = tmp_path / "items.index", rng.standard_normal((30, 4))
    ExactIndex(vectors).save(path)
    content = path.read_bytes()
    lw.Popularity().fit(np.eye(3)).save(tmp_path / "model")
    for mmap in (False, True):
        with pytest.raises(FileNotFoundError, match="load: there is no file"):
            ExactIndex.load(tmp_path / "missing", mmap=mmap)
        with pytest.raises(ModelFileError, match="holds no ExactIndex but 'Popularity'"):
            ExactIndex.load(tmp_path / "model", mmap=mmap)
        for size in (0, 7, 100, len(content) - 1):
            path.write_bytes(content[:size])
            with pytest.raises(ModelFileError, match="damaged, truncated or no model file"):
                ExactIndex.load(path, mmap=mmap)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelFileError, match="checksum"):
        ExactIndex.load(path)
    with pytest.raises(TypeError, match="mmap must be True or False"):
        ExactIndex.load(path, mmap="r")


def test_storage_recall_is_that_of_a_search_by_hand(rng):
    vectors, queries = rng.standard_normal((2000, 32)), rng.standard_normal((300, 32))
    best, _ = ExactIndex(vectors).search(queries, 10)
    assert ExactIndex(vectors).storage_recall == 1
    recalls = []
    for storage in ("bfloat16", "int8"):
        index = ExactIndex(vectors, storage=storage, recall_queries=queries)
        found, _ = index.search(queries, 10)
        share = np.mean([np.isin(a, b).mean() for a, b in zip(found, best, strict=True)])
        assert index.storage_recall == pytest.approx(share)
        assert f"storage_recall={share:.3f}" in repr(index)
        recalls.append(share)
    assert 0.9 < recalls[1] < recalls[0] < 1
    assert 0.9 < ExactIndex(vectors, storage="int8").storage_recall <= 1


def test_tensors_are_held_without_a_copy(rng):
    torch = pytest.importorskip("torch")
    vectors = torch.from_numpy(rng.standard_normal((50, 6), dtype=np.float32))
    index = ExactIndex(vectors.requires_grad_())
    assert np.shares_memory(index.vectors, vectors.detach().numpy())
    expected = ExactIndex(vectors.detach().numpy()).search(vectors.detach().numpy(), 5)
    assert_same(index.search(vectors, 5), expected)
    half = vectors.detach().to(torch.bfloat16)
    stored = ExactIndex(half, storage="bfloat16")
    assert np.shares_memory(stored._columns["vectors"], half.view(torch.int16).numpy())
    assert_array_equal(stored.vectors, half.float().numpy())
    assert stored.storage_recall == 1
    assert_same(stored.search(half, 5), ExactIndex(half.float()).search(half.float(), 5))
    assert_same(ExactIndex(half).search(half, 5), stored.search(half, 5))


@pytest.mark.parametrize("n_threads", [40])
def test_concurrent_searches_and_changes(rng, n_threads):
    """Python threads search one index, while another thread changes what no query is near to."""
    vectors, queries = rng.standard_normal((9000, 60)), rng.standard_normal((25 * n_threads, 60))
    index = ExactIndex(vectors, n_jobs=2)
    expected = index.search(queries, 5)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            ids = index.add(np.zeros((3, 60)))
            index.replace(ids, np.full((3, 60), 1e-9))
            index.remove(ids)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            results = list(pool.map(lambda row: index.search(queries[row : row + 1], 5), range(len(queries))))
    finally:
        stop.set()
        changer.join()
    assert_same(tuple(np.concatenate(part) for part in zip(*results, strict=True)), expected)
    assert len(index) > 9000


def test_a_search_leaves_the_interpreter_free(rng):
    """Another thread counts on while a search of some tenths of a second runs."""
    vectors = rng.standard_normal((100_000, 64), dtype=np.float32)
    index, counted, stop = ExactIndex(vectors, n_jobs=1), [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    try:
        index.search(vectors[:1], 1)
        before = counted[0]
        index._backend.kernels.topk(  # the kernel alone: what else a search does takes turns
            index._backend.context, vectors[:4096], index._items, index._backend.kernels.Score.inner_product,
            *(None, None, None, None), np.empty((4096, 10), np.int32), np.empty((4096, 10), np.float32),
        )  # fmt: skip
        after = counted[0]
    finally:
        stop.set()
        counter.join()
    assert after - before > 1000


def test_an_index_can_be_pickled_and_copied(rng):
    index = ExactIndex(rng.standard_normal((50, 6)), metric="cosine", storage="int8")
    index.remove([2])
    queries = rng.standard_normal((3, 6))
    for other in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert repr(other) == repr(index)
        assert_same(other.search(queries), index.search(queries))
        other.add(queries)
        assert len(index) == 50


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (
            {"metric": "manhattan"},
            ValueError,
            "ExactIndex: metric must be one of 'inner_product', 'cosine', 'euclidean'",
        ),
        ({"storage": "float16"}, ValueError, "ExactIndex: storage must be one of 'float32', 'bfloat16', 'int8'"),
        ({"bias": [1, 2]}, ValueError, r"ExactIndex: bias must have shape \(5,\), one number a vector, got \(2,\)"),
        ({"bias": [1, 2, np.inf, 0, 0]}, ValueError, "ExactIndex: bias must be finite, got inf at 2"),
        ({"bias": np.ones(5), "metric": "euclidean"}, ValueError, "ExactIndex: a bias cannot be added to distances"),
        ({"bias": np.ma.masked_less(np.arange(5), 1)}, TypeError, "ExactIndex: bias must not be masked"),
        ({"recall_queries": np.ones((1, 3))}, ValueError, "ExactIndex: recall_queries are for a storage that rounds"),
        (
            {"recall_queries": np.ones((1, 4)), "storage": "int8"},
            ValueError,
            "ExactIndex: recall_queries have 4 columns but the vectors have 3",
        ),
    ],
)
def test_an_index_refuses_options_that_make_no_sense(options, error, match):
    with pytest.raises(error, match=match):
        ExactIndex(np.ones((5, 3)), **options)


def test_bfloat16_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="ExactIndex: vectors must be inside bfloat16"):
        ExactIndex(np.full((2, 2), 3.4e38), storage="bfloat16")


def test_masks_of_the_wrong_shape_are_refused(rng):
    index = ExactIndex(rng.standard_normal((5, 3)))
    for name in ("deny", "allow"):
        with pytest.raises(
            ValueError, match=rf"ExactIndex.search: {name} as a mask must have shape \(5,\), got \(4,\)"
        ):
            index.search(np.ones((1, 3)), **{name: np.ones(4, bool)})
    index.remove([1])
    with pytest.raises(ValueError, match=r"deny as a mask must have shape \(5,\), got \(4,\)"):
        index.search(np.ones((1, 3)), deny=np.ones(4, bool))


@pytest.mark.parametrize(
    "load",
    [
        lw.datasets.load_online_retail,
        lw.datasets.load_movietweetings,
        pytest.param(lambda: gowalla("train"), marks=pytest.mark.slow),
    ],
)
def test_search_is_exact_for_factors_of_a_model(rng, load):
    """Bit by bit, on every instruction set, with what users have seen left out."""
    data = load()
    model = lw.ImplicitALS(factors=128, iterations=3, random_state=0).fit(data)
    users = rng.choice(model.n_users_, 40, replace=False)
    queries, items, seen = model.user_factors_[users], model.item_factors_, data.by_user.take_rows(users)
    scores = reference.inner_products(queries, items)
    index = ExactIndex(items)
    index.search(queries, 1)
    for k in (10, 100):
        expected = reference.top_k(scores, k, seen)
        assert_same(index.search(queries, k, seen), expected)
        assert_same(index.search(queries[:1], k, seen.take_rows([0])), (expected[0][:1], expected[1][:1]))
        for simd in _core.available_simd():
            assert_same(top_k(Backend(2, simd), queries, items, k, seen), expected)


class OnDevice:
    """What tells an array of cupy's from others."""

    __cuda_array_interface__ = None

    def __init__(self, array):
        self._array = array

    def get(self):
        return self._array


def test_an_array_of_another_device_comes_to_the_host(vectors, queries):
    index = ExactIndex(OnDevice(vectors))
    assert np.shares_memory(index.vectors, vectors)
    assert_same(index.search(OnDevice(queries)), ExactIndex(vectors).search(queries))


def test_biases_may_be_bfloat16(rng):
    torch = pytest.importorskip("torch")
    index = ExactIndex(rng.standard_normal((5, 3)), bias=torch.tensor([0, 0, 1.5, 0, 0]).bfloat16())
    assert_same(index.search(np.zeros((1, 3)), 2), ([[2, 0]], [[1.5, 0]]))
    index.replace([4], np.zeros((1, 3)), torch.tensor([2.5]).bfloat16())
    assert_same(index.search(np.zeros((1, 3)), 2), ([[4, 2]], [[2.5, 1.5]]))


@pytest.mark.parametrize("change", ["replace", "add"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_change_that_is_cut_short_leaves_the_index_as_it_was(rng, monkeypatch, change, error):
    vectors = rng.standard_normal((9000, 60), dtype=np.float32)
    index = ExactIndex(vectors.copy())
    if not index._backend.has_int8:
        pytest.skip("no products of int8, and no rounded copy")
    for _ in range(2):
        expected = index.search(vectors[:70])
    expected = index.search(vectors[:70])

    def fail(*_):
        raise error

    monkeypatch.setattr(RoundedCopy, "update", fail)
    new = 10 * rng.standard_normal((500, 60))
    with pytest.raises(error):
        index.replace(np.arange(500), new) if change == "replace" else index.add(new)
    monkeypatch.undo()
    assert len(index) == 9000
    assert_array_equal(index.vectors, vectors)
    for _ in range(3):
        assert_same(index.search(vectors[:70]), expected)
        assert_same(index.search(vectors[:1]), (expected[0][:1], expected[1][:1]))


def test_a_search_does_without_a_copy_that_has_no_room(rng, monkeypatch):
    vectors = rng.standard_normal((9000, 60))
    index = ExactIndex(vectors)
    expected = index.search(vectors[:70])

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(RoundedCopy, "_round", fail)
    for _ in range(3):
        assert_same(index.search(vectors[:70]), expected)


def test_copies_go_their_own_ways(rng):
    vectors = rng.standard_normal((30, 4), dtype=np.float32)
    first = ExactIndex(vectors.copy())
    first.add(vectors[:1])
    second = copy.copy(first)
    expected = second.search(vectors, 3)
    first.replace([0], 100 * vectors[:1])
    first.remove([1])
    assert_same(second.search(vectors, 3), expected)
    changed = first.search(vectors, 3)
    second.remove([1, 2])
    second.add(vectors)
    assert_same(first.search(vectors, 3), changed)


def test_rows_of_a_mapped_file_can_be_removed(rng, tmp_path):
    vectors = rng.standard_normal((30, 4))
    ExactIndex(vectors).save(tmp_path / "items.index")
    index = ExactIndex.load(tmp_path / "items.index", mmap=True)
    index.remove([3])
    assert_same(index.search(vectors, 5), ExactIndex(vectors).search(vectors, 5, deny=[3]))


@pytest.mark.parametrize("factor", [1e-44, 1e-40, 1e-37, 1e37])
def test_int8_holds_numbers_of_any_size(rng, tmp_path, factor):
    vectors = np.clip(rng.standard_normal((30, 4)) * factor, -3.4028234e38, 3.4028234e38).astype(np.float32)
    vectors[0, 0] *= 1 if factor < 1 else 0
    vectors[1, 1] = np.finfo(np.float32).max if factor > 1 else vectors[1, 1]
    index = ExactIndex(vectors, storage="int8")
    tops = np.abs(vectors).max(axis=1, keepdims=True).astype(np.float64)
    assert (np.abs(index.vectors - vectors.astype(np.float64)) <= tops / 100 + 2e-45).all()
    index.save(tmp_path / "items.index")
    assert_array_equal(ExactIndex.load(tmp_path / "items.index").vectors, index.vectors)


def test_lists_of_candidates_may_be_an_array_and_masks_not_a_matrix(rng):
    vectors = rng.standard_normal((30, 4))
    index = ExactIndex(vectors)
    expected = index.search(vectors[:2], 2, allow=[[1, 2, 3], [4, 5, 6]])
    assert_same(index.search(vectors[:2], 2, allow=np.array([[1, 2, 3], [4, 5, 6]])), expected)
    with pytest.raises(
        ValueError, match=r"exclude is a dense array of shape \(2, 30\); give scipy.sparse.csr_array of it"
    ):
        index.search(vectors[:2], exclude=np.zeros((2, 30), int))


def test_wrong_arguments_are_not_a_damaged_file(rng, tmp_path):
    ExactIndex(rng.standard_normal((3, 2))).save(tmp_path / "items.index")
    with pytest.raises(ValueError, match="n_jobs must not be 0") as caught:
        ExactIndex.load(tmp_path / "items.index", n_jobs=0)
    assert not isinstance(caught.value, ModelFileError)
    with pytest.raises(ModelFileError, match="the file holds an index, no model; "):
        lw.load(tmp_path / "items.index")


def test_cosines_of_many_queries_take_little_memory(rng):
    """No copy of all queries is made to divide them by their lengths."""
    index, queries = ExactIndex(rng.standard_normal((50, 64)), metric="cosine"), np.ones((200_000, 64), np.float32)
    tracemalloc.start()
    try:
        index.search(queries, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * 2**20
