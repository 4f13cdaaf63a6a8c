"""ExactIndex: results, exclusions and errors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

import reference
from likewise.data import CSR
from likewise.exceptions import BackendUnavailableError
from likewise.retrieval import ExactIndex


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
        ({"exclude": "0"}, TypeError, "exclude must be a sparse matrix or a sequence .*, got str"),
    ],
)
def test_search_refuses(queries, vectors, arguments, error, message):
    with pytest.raises(error, match=f"ExactIndex.search: .*{message}"):
        ExactIndex(vectors).search(**{"queries": queries, **arguments})


def test_index_on_a_missing_device(vectors):
    with pytest.raises(BackendUnavailableError, match="ExactIndex: device='cuda:99' cannot be used"):
        ExactIndex(vectors, device="cuda:99")
