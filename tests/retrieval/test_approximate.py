"""ApproximateIndex: what it finds, what it never returns, files and errors, for every library that is installed."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

import likewise as lw
import reference
from likewise._files import read_model_file, write_model_file
from likewise.data import CSR
from likewise.retrieval import ApproximateIndex, ExactIndex, _hnsw, approximate
from likewise.retrieval._hnsw import GRAPHS, GraphOptions

METRICS = ["inner_product", "cosine", "euclidean"]


@pytest.fixture(params=GRAPHS)
def library(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@pytest.fixture
def any_library():
    """The first library that is installed, for what does not depend on it."""
    try:
        return _hnsw.graph_class(None, "tests")[0]
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture
def queries(rng):
    return rng.standard_normal((40, 16)).astype(np.float32)


@pytest.fixture
def vectors(rng):
    return (rng.standard_normal((3000, 16)) * rng.uniform(0.5, 2, (3000, 1))).astype(np.float32)


@pytest.fixture
def graphs_alone(monkeypatch):
    """Ask the graph whatever the size, so that few vectors test it."""
    monkeypatch.setattr(approximate, "_VECTORS_A_PROPOSAL", 1)


@pytest.fixture
def asked(monkeypatch):
    """Numbers of proposals that searches ask a graph for, as they come."""
    counts = []
    propose = ApproximateIndex._propose

    def watched(self, queries, count, ef):
        counts.append(count)
        return propose(self, queries, count, ef)

    monkeypatch.setattr(ApproximateIndex, "_propose", watched)
    return counts


def all_scores(metric, queries, vectors):
    """Scores of every pair in float64."""
    x, y = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return -np.linalg.norm(x[:, np.newaxis] - y, axis=2)
    if metric == "cosine":
        x, y = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in (x, y))
    return x @ y.T


def assert_is_a_ranking(ids, scores, expected, n_candidates):
    """Full as far as there are candidates, each once, with its score, in order."""
    filled = np.arange(ids.shape[1]) < np.atleast_1d(n_candidates)[:, np.newaxis]
    assert (ids.dtype, scores.dtype) == (np.int32, np.float32)
    assert_array_equal(ids >= 0, np.broadcast_to(filled, ids.shape))
    assert np.isneginf(scores[ids < 0]).all()
    for row_ids, row_scores, row_expected in zip(ids, scores, expected, strict=True):
        kept, kept_scores = row_ids[row_ids >= 0], row_scores[row_ids >= 0]
        assert np.unique(kept).size == kept.size
        np.testing.assert_allclose(kept_scores, row_expected[kept], rtol=1e-5, atol=1e-6)
        assert_array_equal(np.lexsort((kept, -kept_scores)), np.arange(kept.size))


# ---- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_search_finds_most_of_the_best_by_the_graph_alone(library, metric, queries, vectors, monkeypatch):
    index = ApproximateIndex(vectors, metric=metric, library=library, n_jobs=1)
    search = ExactIndex.search

    def rank_proposals(self, queries, k, exclude=None, deny=None, allow=None):
        assert isinstance(allow, CSR), "a query is searched exactly"
        return search(self, queries, k, exclude, deny, allow)

    with monkeypatch.context() as patched:
        patched.setattr(ExactIndex, "search", rank_proposals)
        ids, scores = index.search(queries, 10)
    expected = all_scores(metric, queries, vectors)
    assert_is_a_ranking(ids, scores, expected, 10)
    best, _ = reference.top_k(expected, 10)
    found = np.mean([np.isin(a, b).mean() for a, b in zip(ids, best, strict=True)])
    assert found > 0.9
    assert index.recall(queries, 10) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_search_returns_nothing_that_is_masked(library, metric, rng, queries, vectors, asked):
    index = ApproximateIndex(vectors, metric=metric, library=library, n_jobs=1)
    expected = all_scores(metric, queries, vectors)
    best, _ = reference.top_k(expected, 30)
    exclude = CSR.from_scipy(
        sp.csr_array((np.ones(600), (np.repeat(np.arange(40), 15), best[:, :15].ravel())), shape=(40, 3000))
    )
    deny, allow = np.unique(best[:, 15:17]), rng.permutation(3000)[:2800]
    ids, scores = index.search(queries, 8, exclude, deny, allow)
    assert asked
    assert_is_a_ranking(ids, scores, expected, 8)
    for row, row_ids in enumerate(ids):
        assert not np.isin(row_ids, exclude.row(row)[0]).any()
    assert not np.isin(ids, deny).any()
    assert np.isin(ids, allow).all()
    assert index.recall(queries, 8, exclude, deny, allow) > 0.9


def test_search_asks_for_more_where_masks_have_hit(library, queries, vectors, asked, monkeypatch):
    """Where `deny` takes just the best, the first proposals are all masked."""
    monkeypatch.setattr(approximate, "_VECTORS_A_PROPOSAL", 8)
    index = ApproximateIndex(vectors, library=library, n_jobs=1)
    best, _ = reference.top_k(queries[:1] @ vectors.T, 30)
    ids, _ = index.search(queries[:1], 4, deny=best[0])
    assert asked == [16, 64]
    expected, _ = reference.top_k(queries[:1] @ vectors.T, 4, deny=best[0])
    assert np.isin(ids, expected).mean() >= 0.75


def test_what_a_query_excludes_is_searched_for_on_top_of_the_effort(any_library, queries, vectors, monkeypatch):
    """Its best 40 are out: with no more effort than for the first 10 the next 10 would be found less often."""
    index = ApproximateIndex(vectors, library=any_library, ef_search=30, n_jobs=1)
    best, _ = reference.top_k(queries @ vectors.T, 40)
    efforts, propose = [], index._propose

    def watched(queries, count, ef):
        efforts.append((count, ef))
        return propose(queries, count, ef)

    monkeypatch.setattr(approximate, "_VECTORS_A_PROPOSAL", 8)
    monkeypatch.setattr(index, "_propose", watched)
    assert index.recall(queries, 10, exclude=best) > 0.85
    assert efforts == [(64, 30 + 64 - 16)]


@pytest.mark.parametrize(
    ("k", "masks"),
    [(10, {"allow": np.arange(400)}), (10, {"deny": np.arange(2700)}), (200, {}), (3001, {}), (5, {"allow": []})],
    ids=["small allow", "long deny", "large k", "k > n", "no candidate"],
)
@pytest.mark.parametrize("metric", METRICS)
def test_searches_that_leave_few_are_exact(any_library, metric, queries, vectors, asked, k, masks):
    index = ApproximateIndex(vectors, metric=metric, library=any_library)
    ids, scores = index.search(queries, k, **masks)
    assert asked == []
    expected = reference.top_k(all_scores(metric, queries, vectors).astype(np.float32), k, **masks)
    assert_array_equal(ids >= 0, expected[0] >= 0)
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-6)
    assert index.recall(queries, k, **masks) == 1


def test_a_query_that_excludes_nearly_all_is_exact_beside_others(any_library, queries, vectors, asked):
    index = ApproximateIndex(vectors, library=any_library)
    lists = [[] for _ in queries]
    lists[3] = np.delete(np.arange(3000), [7, 2000, 5])
    ids, scores = index.search(queries, 10, exclude=lists)
    assert asked == [16]
    assert_is_a_ranking(ids, scores, queries @ vectors.T, np.where(np.arange(40) == 3, 3, 10))
    assert_array_equal(np.sort(ids[3, :3]), [5, 7, 2000])


def test_scores_are_those_of_the_exact_index(library, queries, vectors):
    index = ApproximateIndex(vectors, library=library, ef_search=500)
    ids, scores = index.search(queries, 10)
    exact_ids, exact_scores = ExactIndex(vectors).search(queries, 10)
    same = ids == exact_ids
    assert same.mean() > 0.9
    assert_array_equal(scores[same], exact_scores[same])


def test_ties_go_to_the_smaller_id(library, graphs_alone):
    vectors = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)[::-1]
    index = ApproximateIndex(vectors, library=library)
    ids, scores = index.search([[3.0, 2.0, 1.0]], 8)
    assert_array_equal(np.sort(scores[0])[::-1], scores[0])
    assert_array_equal(ids, [[10, 11, 12, 13, 14, 5, 6, 7]])


def test_more_effort_finds_more(library, rng):
    vectors = rng.standard_normal((3000, 32)).astype(np.float32)
    queries = rng.standard_normal((200, 32)).astype(np.float32)
    index = ApproximateIndex(vectors, library=library, m=4, ef_construction=20, ef_search=1, n_jobs=1)
    recalls = []
    for index.ef_search in (1, 64, 512):
        recalls.append(index.recall(queries, 10))
    assert recalls[0] < recalls[1] < recalls[2]
    better = ApproximateIndex(vectors, library=library, m=16, ef_construction=128, ef_search=64, n_jobs=1)
    assert better.recall(queries, 10) > recalls[1]


def test_recall_counts_any_of_equal_scores(any_library, monkeypatch):
    index = ApproximateIndex(np.ones((50, 2)), library=any_library)
    monkeypatch.setattr(
        index, "_search", lambda *_: (np.array([[40, 41], [0, -1]], np.int32), np.float32([[2, 2], [2, -np.inf]]))
    )
    assert index.recall([[1, 1], [1, 1]], 2) == 0.75


def test_recall_leaves_out_queries_without_candidates(any_library):
    index = ApproximateIndex(np.ones((3, 2)), library=any_library)
    assert index.recall([[1, 1], [1, 1]], 2, exclude=[[0, 1, 2], []]) == 1
    assert index.recall([[1, 1]], 2, allow=[]) == 1
    assert index.recall(np.empty((0, 2)), 2) == 1


def test_plain_inner_products_find_more_than_vectors_made_equally_long(any_library):
    """The augmentation of Bachrach et al. 2014, tried on factors of the bundled ratings."""
    data = lw.datasets.load_movietweetings()
    model = lw.ImplicitALS(32, iterations=5, random_state=0).fit(data)
    items = model.item_factors_[model.item_factors_.any(axis=1)]
    users = model.user_factors_[np.flatnonzero(model.user_factors_.any(axis=1))[:500]]
    squares = np.square(items, dtype=np.float64).sum(axis=1)
    longer = np.column_stack([items, np.sqrt(squares.max() - squares)])
    options = {"library": any_library, "n_jobs": 1}
    plain = ApproximateIndex(items, **options).recall(users)
    augmented = ApproximateIndex(longer, **options).recall(np.pad(users, ((0, 0), (0, 1))))
    assert plain > 0.9
    assert plain > augmented + 0.1


def test_one_thread_builds_the_same_graph_again(library, queries, vectors):
    one, other = (ApproximateIndex(vectors, library=library, m=4, ef_search=8, n_jobs=1) for _ in range(2))
    assert_array_equal(one.search(queries)[0], other.search(queries)[0])


# ---- edges ----------------------------------------------------------------------------------------------------------

EDGES = {
    "no vectors": (np.empty((0, 3)), 0),
    "one vector": (np.ones((1, 3)), 1),
    "two vectors": (np.array([[1.0, 0, 0], [0, 2, 0]]), 2),
    "duplicates": (np.ones((60, 3)), 60),
    "zeros": (np.zeros((20, 3)), 20),
    "zeros among others": (np.kron(np.eye(2), np.ones((10, 3)))[:, 3:], 20),
    "no numbers": (np.empty((20, 0)), 20),
    "one number": (np.arange(-15.0, 15)[:, np.newaxis], 30),
    "huge": (np.full((20, 3), 3e38) * np.linspace(0.1, 1, 20)[:, np.newaxis], 20),
    "tiny": (np.full((20, 3), 1e-38) * np.linspace(0.1, 1, 20)[:, np.newaxis], 20),
}


@pytest.mark.parametrize(("vectors", "n"), EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("multiple", [64, 1])
def test_search_of_odd_vectors(library, metric, vectors, n, k, multiple, monkeypatch):
    monkeypatch.setattr(approximate, "_VECTORS_A_PROPOSAL", multiple)
    queries = np.ones((3, vectors.shape[1])) * np.array([[1.0], [0.0], [-2.0]])
    index = ApproximateIndex(vectors, metric=metric, library=library)
    ids, scores = index.search(queries, k)
    assert ids.shape == scores.shape == (3, k)
    with np.errstate(over="ignore"):
        expected = all_scores(metric, queries, vectors.astype(np.float32)).astype(np.float32)
    assert_is_a_ranking(ids, scores, expected, np.minimum(np.count_nonzero(expected > -np.inf, axis=1), k))
    if n <= 2 or vectors.shape[1] == 0:
        assert_array_equal(ids[:, :n], reference.top_k(expected, k)[0][:, :n])


def test_the_cosine_of_a_zero_vector_is_zero(any_library, graphs_alone):
    index = ApproximateIndex(np.vstack([np.zeros((1, 2)), np.tile([[1.0, 1.0]], (30, 1))]), metric="cosine")
    ids, scores = index.search([[-3.0, -3.0], [0.0, 0.0]], 3)
    assert ids[0, 0] == 0
    np.testing.assert_allclose(scores, [[0, -1, -1], [0, 0, 0]], atol=1e-6)
    assert_array_equal(ids[1], [0, 1, 2])


def test_a_zero_query_is_ranked_as_by_the_exact_index(any_library, queries, vectors):
    queries[5] = 0
    ids, scores = ApproximateIndex(vectors).search(queries, 4)
    assert_array_equal(ids[5], [0, 1, 2, 3])
    assert_array_equal(scores[5], 0)


def test_a_query_far_from_all_vectors_is_exact(any_library, vectors, asked):
    index = ApproximateIndex(vectors, metric="euclidean")
    queries = np.zeros((1, 16))
    queries[0, 0] = 1e7
    assert index.recall(queries, 10) == 1
    assert asked == []


def test_no_queries_give_no_rows(any_library, vectors):
    ids, scores = ApproximateIndex(vectors).search(np.empty((0, 16)), 3)
    assert ids.shape == scores.shape == (0, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_added_vectors_go_on_with_the_ids(library, metric, queries, vectors):
    index = ApproximateIndex(vectors[:0], metric=metric, library=library, n_jobs=1)
    for part in (vectors[:1], vectors[1:1], vectors[1:1700], vectors[1700:]):
        index.add(part)
    assert index.shape == (3000, 16)
    ids, scores = index.search(queries, 10)
    assert_is_a_ranking(ids, scores, all_scores(metric, queries, vectors), 10)
    assert index.recall(queries, 10) > 0.9
    assert (ids >= 1700).any()
    assert (ids < 1700).any()


def test_vectors_beyond_all_measure_are_linked_anew(library, queries, vectors):
    index = ApproximateIndex(vectors * np.float32(1e-30), library=library, n_jobs=1)
    index.add(vectors * np.float32(1e30))
    ids, _ = index.search(queries, 10)
    assert (ids >= 3000).all()
    assert index.recall(queries, 10) > 0.9


def test_vectors_of_zeros_are_linked_once_others_come(any_library, queries, vectors, asked):
    index = ApproximateIndex(np.zeros((5, 16)))
    index.add(vectors)
    assert index.recall(queries, 10) > 0.9
    assert asked


def test_an_interrupted_add_leaves_what_was_there_to_exact_search(any_library, queries, vectors, asked, monkeypatch):
    index = ApproximateIndex(vectors[:2000])
    monkeypatch.setattr(approximate, "_BLOCK_VECTORS", 300)
    add, blocks = type(index._graph).add, []

    def interrupted(self, points, n_threads):
        add(self, points, n_threads)
        blocks.append(len(points))
        if len(blocks) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(index._graph), "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.add(vectors[2000:])
    assert len(index) == 2000
    assert_array_equal(index.search(queries)[0], ExactIndex(vectors[:2000]).search(queries)[0])
    assert asked == []
    index.add(vectors[2000:])
    assert index.recall(queries, 10) > 0.9
    assert asked


def test_queries_go_in_blocks(any_library, queries, vectors, monkeypatch, asked):
    index = ApproximateIndex(vectors, n_jobs=1)
    whole = index.search(queries, 10)
    asked.clear()
    monkeypatch.setattr(approximate, "_BLOCK_QUERIES", 7)
    monkeypatch.setattr(approximate, "_BLOCK_NUMBERS", 100)
    parts = index.search(queries, 10)
    assert len(asked) == 7
    for one, other in zip(whole, parts, strict=True):
        assert_array_equal(one, other)


def test_progress_is_shown_where_it_is_asked_for(any_library, queries, vectors, capsys):
    ApproximateIndex(vectors).search(queries)
    assert capsys.readouterr().err == ""
    ApproximateIndex(vectors, verbose=True).search(queries, verbose=True)
    shown = capsys.readouterr().err
    assert "Linking" in shown
    assert "Searching" in shown


def test_index_says_what_it_is(library, vectors):
    index = ApproximateIndex(vectors, metric="cosine", library=library, m=8)
    assert (len(index), index.shape, index.metric, index.library, index.m) == (3000, (3000, 16), "cosine", library, 8)
    expected = f"ApproximateIndex(3000 vectors of length 16, metric='cosine', library='{library}')"
    assert repr(index) == expected


def test_index_holds_vectors_in_place_and_read_only(any_library, vectors):
    index = ApproximateIndex(vectors)
    assert np.shares_memory(index.vectors, vectors)
    assert not index.vectors.flags.writeable
    assert vectors.flags.writeable


def test_faiss_gets_its_threads_back(queries, vectors):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    before = faiss.omp_get_max_threads()
    ApproximateIndex(vectors, library="faiss", n_jobs=before + 1).search(queries)
    assert faiss.omp_get_max_threads() == before


def test_a_graph_that_finds_fewer_says_so(library):
    """hnswlib refuses the whole batch; then each query is asked for by itself."""
    graph = GRAPHS[library](GraphOptions(2, True, 16, 20))
    graph.add(np.eye(2, dtype=np.float32), 1)
    found = graph.search(np.ones((5, 2), np.float32), 4, 10, 1)
    assert found.shape == (5, 4)
    assert set(np.unique(found).tolist()) <= {-1, 0, 1}
    assert (found[:, 2:] == -1).all()
    assert graph.search(np.ones((1, 2), np.float32), 2, 10, 1).shape == (1, 2)


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_a_loaded_index_is_the_saved_one(library, metric, queries, vectors, tmp_path, asked):
    index = ApproximateIndex(vectors, metric=metric, library=library, m=8, ef_construction=50, ef_search=40)
    index.save(tmp_path / "index")
    loaded = ApproximateIndex.load(str(tmp_path / "index"), n_jobs=1)
    assert repr(loaded) == repr(index)
    assert (loaded.m, loaded.ef_construction, loaded.ef_search) == (8, 50, 40)
    assert_array_equal(loaded.vectors, index.vectors)
    for one, other in zip(index.search(queries), loaded.search(queries), strict=True):
        assert_array_equal(one, other)
    assert asked == [16, 16]
    loaded.add(vectors[:100])
    assert len(loaded) == 3100
    assert loaded.recall(queries, 10) > 0.75


@pytest.mark.parametrize("vectors", [np.empty((0, 3)), np.zeros((4, 3)), np.empty((4, 0)), np.ones((1, 3))])
def test_odd_indexes_are_saved_too(library, vectors, tmp_path):
    index = ApproximateIndex(vectors, library=library)
    index.save(tmp_path / "index")
    loaded = ApproximateIndex.load(tmp_path / "index")
    queries = np.ones((2, vectors.shape[1]))
    assert_array_equal(loaded.search(queries, 5)[0], index.search(queries, 5)[0])
    loaded.add(np.full((2, vectors.shape[1]), 2.0))
    assert len(loaded) == len(vectors) + 2


@pytest.mark.parametrize("duplicate", [lambda index: pickle.loads(pickle.dumps(index)), copy.deepcopy])
def test_a_copy_of_an_index_finds_the_same(library, queries, vectors, duplicate):
    index = ApproximateIndex(vectors, library=library, n_jobs=1)
    copied = duplicate(index)
    copied.add(vectors[:5])
    assert len(index) == 3000
    assert copied.n_jobs == 1
    assert_array_equal(duplicate(index).search(queries)[0], index.search(queries)[0])


@pytest.fixture
def saved(library, rng, tmp_path):
    path = tmp_path / "index"
    ApproximateIndex(rng.standard_normal((200, 4)), library=library, n_jobs=1).save(path)
    return path


def test_load_refuses_a_damaged_file(saved, rng):
    """One bit flipped or the end cut off, wherever: no byte of it reaches the library."""
    content = saved.read_bytes()
    for place in rng.integers(0, len(content), 150).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(lw.ModelFileError, match=r"^load: "):
            ApproximateIndex.load(saved)
        saved.write_bytes(content[:place])
        with pytest.raises(lw.ModelFileError, match=r"^load: "):
            ApproximateIndex.load(saved)


CHANGES = {
    "no vectors": lambda header, arrays: arrays.pop("vectors"),
    "fewer vectors": lambda header, arrays: arrays.update(vectors=arrays["vectors"][:-1]),
    "vectors that are not finite": lambda header, arrays: arrays.update(vectors=np.full((200, 4), np.nan)),
    "unknown metric": lambda header, arrays: header.update(metric="taxicab"),
    "unknown library": lambda header, arrays: header.update(library="oracle"),
    "no links": lambda header, arrays: header.pop("m"),
    "unit of zero": lambda header, arrays: header.update(unit=0),
    "graph of numbers": lambda header, arrays: arrays.update(graph=arrays["graph"].astype(np.int32)),
    "no graph at all": lambda header, arrays: arrays.update(graph=np.zeros(0, np.uint8)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_load_refuses_a_file_whose_parts_disagree(saved, change):
    header, arrays = read_model_file(saved)
    header.pop("format_version")
    change(header, arrays)
    write_model_file(saved, header, arrays)
    with pytest.raises(lw.ModelFileError, match=r"^load: the file of this ApproximateIndex is damaged"):
        ApproximateIndex.load(saved)


def test_load_refuses_the_graph_of_other_vectors(saved, library, tmp_path):
    header, arrays = read_model_file(saved)
    header.pop("format_version")
    other = ApproximateIndex(np.ones((200, 5)), library=library)
    write_model_file(saved, header, {**arrays, "vectors": other.vectors})
    with pytest.raises(lw.ModelFileError, match="damaged"):
        ApproximateIndex.load(saved)


def test_models_and_indexes_are_told_apart(saved, tmp_path):
    with pytest.raises(
        lw.ModelFileError, match=r"holds an index, no model; likewise\.retrieval\.ApproximateIndex\.load reads it"
    ):
        lw.load(saved)
    lw.Popularity().fit(np.eye(3)).save(tmp_path / "model")
    with pytest.raises(lw.ModelFileError, match=r"holds no ApproximateIndex but 'Popularity'; likewise\.load reads it"):
        ApproximateIndex.load(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        ApproximateIndex.load(tmp_path / "nothing")


# ---- libraries that are not there -----------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch):
    """Make libraries as if they were not installed."""

    def remove(*names):
        real = importlib.import_module

        def refuse(name, *arguments):
            if name.partition(".")[0] in names:
                raise ImportError(f"No module named {name!r}")
            return real(name, *arguments)

        monkeypatch.setattr(_hnsw.importlib, "import_module", refuse)

    return remove


def test_no_library_says_what_to_install(without):
    without(*GRAPHS)
    expected = r'^ApproximateIndex: none of usearch, faiss, hnswlib is installed; pip install "likewise\[ann\]"$'
    with pytest.raises(ImportError, match=expected):
        ApproximateIndex(np.eye(3))


def test_the_first_library_that_is_installed_is_taken(library, without):
    without(*list(GRAPHS)[: list(GRAPHS).index(library)])
    assert ApproximateIndex(np.eye(3)).library == library


def test_a_library_that_is_asked_for_is_not_replaced(library, without, saved):
    without(library)
    package = {"faiss": "faiss-cpu"}.get(library, library)
    for use in (lambda: ApproximateIndex(np.eye(3), library=library), lambda: ApproximateIndex.load(saved)):
        with pytest.raises(
            ImportError, match=f"ApproximateIndex: {library} is not installed; pip install {package}, or"
        ):
            use()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"vectors": [1.0, 2.0]}, ValueError, r"vectors must be two-dimensional, got shape \(2,\)"),
        ({"vectors": [[1.0, np.nan]]}, ValueError, r"vectors must be finite, got nan at \(0, 1\)"),
        ({"vectors": [[1.0], [-np.inf]]}, ValueError, r"vectors must be finite, got -inf at \(1, 0\)"),
        ({"vectors": [["a"]]}, TypeError, "vectors must be real numbers, got dtype <U1"),
        ({"metric": "dot"}, ValueError, "metric must be one of 'inner_product', 'cosine', 'euclidean', got 'dot'"),
        ({"library": "annoy"}, ValueError, "library must be one of 'usearch', 'faiss', 'hnswlib', got 'annoy'"),
        ({"m": 1}, ValueError, "m must be >= 2, got 1"),
        ({"m": 1025}, ValueError, "m must be <= 1024, got 1025"),
        ({"m": 16.0}, TypeError, "m must be an integer, got 16.0"),
        ({"ef_construction": 0}, ValueError, "ef_construction must be >= 1, got 0"),
        ({"ef_search": 0}, ValueError, "ef_search must be >= 1, got 0"),
        ({"n_jobs": 0}, ValueError, "n_jobs must not be 0"),
    ],
)
def test_index_refuses(any_library, arguments, error, message):
    with pytest.raises(error, match=f"^ApproximateIndex: {message}"):
        ApproximateIndex(**{"vectors": np.eye(3), **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 1_000_001}, ValueError, "k must be <= 1000000, got 1000001"),
        ({"k": True}, TypeError, "k must be an integer, got True"),
        ({"queries": np.ones((2, 5))}, ValueError, "queries have 5 columns but the vectors have 16"),
        ({"queries": np.full((2, 16), np.nan)}, ValueError, r"queries must be finite, got nan at \(0, 0\)"),
        ({"deny": [3000]}, IndexError, r"deny: item 3000 is outside \[0, 3000\)"),
        ({"allow": [-1]}, IndexError, r"allow: item -1 is outside \[0, 3000\)"),
        ({"exclude": sp.csr_array((30, 20))}, ValueError, r"shape \(queries, vectors\) = \(40, 3000\), got \(30, 20\)"),
        ({"exclude": [[0]]}, ValueError, "exclude has the ids of 1 queries, but there are 40"),
        ({"exclude": [[3000]] * 40}, IndexError, r"exclude: id 3000 is outside \[0, 3000\)"),
        ({"exclude": "0"}, TypeError, "exclude must be a sparse matrix or a sequence .*, got str"),
    ],
)
def test_search_refuses(any_library, queries, vectors, arguments, error, message):
    index = ApproximateIndex(vectors, m=4, ef_construction=10)
    arguments = {"queries": queries, **arguments}
    with pytest.raises(error, match=f"^ApproximateIndex.search: .*{message}"):
        index.search(**arguments)
    with pytest.raises(error, match=f"^ApproximateIndex.recall: .*{message}"):
        index.recall(**arguments)


def test_an_effort_that_makes_no_sense_is_refused_when_it_is_used(any_library, queries, vectors):
    index = ApproximateIndex(vectors)
    index.ef_search = 0
    with pytest.raises(ValueError, match=r"^ApproximateIndex.search: ef_search must be >= 1, got 0"):
        index.search(queries)


@pytest.mark.parametrize(
    ("added", "error", "message"),
    [
        (np.ones((2, 5)), ValueError, "the new vectors have 5 columns but the vectors have 16"),
        (np.full((1, 16), np.inf), ValueError, r"vectors must be finite, got inf at \(0, 0\)"),
        (np.ones(16), ValueError, "vectors must be two-dimensional"),
    ],
)
def test_add_refuses(any_library, vectors, added, error, message):
    index = ApproximateIndex(vectors[:50])
    with pytest.raises(error, match=f"^ApproximateIndex.add: {message}"):
        index.add(added)
    assert len(index) == 50


def test_vectors_are_added_while_others_search(rng, library):
    """A graph that grows would move under the searches."""
    vectors, queries = rng.standard_normal((3000, 16)), rng.standard_normal((5, 16))
    index = ApproximateIndex(vectors, library=library, n_jobs=1)
    done = threading.Event()

    def search():
        n = 0
        while not done.is_set():
            ids, _ = index.search(queries, 5)
            assert (ids >= 0).all()
            n += 1
        return n

    with ThreadPoolExecutor(2) as pool:
        searches = [pool.submit(search) for _ in range(2)]
        try:
            for _ in range(15):
                index.add(rng.standard_normal((50, 16)))
        finally:
            done.set()
        assert all(one.result() > 0 for one in searches)
    assert len(index) == 3750


def test_candidates_of_each_query_are_ranked_exactly(rng):
    vectors, queries = rng.standard_normal((3000, 16)), rng.standard_normal((2, 16))
    index, lists = ApproximateIndex(vectors, n_jobs=1), [[1, 2, 2000], [4]]
    ids, scores = index.search(queries, 2, deny=[1], allow=lists)
    expected = ExactIndex(vectors).search(queries, 2, deny=[1], allow=lists)
    assert_array_equal(ids, expected[0])
    assert_array_equal(scores, expected[1])
    with pytest.raises(ValueError, match="the candidates of each query are ranked exactly"):
        index.recall(queries, 2, allow=lists)


def test_dates_with_a_time_zone_are_read_after_an_index_is_built(library):
    """In a process of its own: what goes wrong there ends it."""
    pytest.importorskip("pyarrow")
    program = f"""
import datetime
import numpy as np
from likewise.retrieval import ApproximateIndex
ApproximateIndex(np.eye(3), library={library!r})
import pyarrow, pyarrow.compute
print(pyarrow.compute.assume_timezone(pyarrow.array([datetime.datetime(2020, 1, 1)]), "UTC"))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "2020-01-01" in found.stdout
