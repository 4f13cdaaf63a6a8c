"""top_k_sparse: blocks, id lists and errors; what is selected is the kernel tests' matter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

import reference
from likewise.data import CSR
from likewise.retrieval import _top_k_sparse, top_k_sparse


@pytest.fixture
def matrices(rng):
    return reference.random_csr(rng, (50, 40)), reference.random_csr(rng, (40, 80))


def expected(queries, weights, k, *lists):
    return reference.top_k(reference.sparse_scores(queries, weights), k, *lists)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("products", [1, 300, 2000])
def test_top_k_sparse_does_not_depend_on_its_blocks(backend, rng, matrices, monkeypatch, verbose, products, capsys):
    exclude = reference.random_csr(rng, (50, 80))
    wanted = expected(*matrices, 9, exclude)
    whole = top_k_sparse(backend, *matrices, 9, exclude, verbose=verbose)
    assert capsys.readouterr().err == ""  # one block needs no bar
    monkeypatch.setattr(_top_k_sparse, "_BLOCK_PRODUCTS", products)
    blocks = top_k_sparse(backend, *matrices, 9, exclude, verbose=verbose)
    assert ("Ranking" in capsys.readouterr().err) == verbose
    for ids, scores in (whole, blocks):
        assert_array_equal(ids, wanted[0])
        assert_array_equal(scores, wanted[1])


def test_top_k_sparse_cuts_histories_into_blocks_of_as_many_entries(rng, monkeypatch):
    """Every query once, in order; a block has at most the entries asked for, or one query that has more."""
    queries, weights = reference.random_csr(rng, (300, 40)), reference.random_csr(rng, (40, 80))
    monkeypatch.setattr(_top_k_sparse, "_BLOCK_PRODUCTS", weights.nnz / weights.n_rows * 100)
    blocks = list(_top_k_sparse._blocks(queries, weights, verbose=False))
    assert [row for rows in blocks for row in range(rows.start, rows.stop)] == list(range(300))
    sizes = [int(queries.indptr[rows.stop] - queries.indptr[rows.start]) for rows in blocks]
    assert len(blocks) > 5
    assert max(sizes) <= 100 + queries.row_counts().max()


@pytest.mark.parametrize("k", [79, 80, 81, 1000])
def test_top_k_sparse_fills_more_slots_than_there_are_items(backend, matrices, k):
    ids, scores = top_k_sparse(backend, *matrices, k)
    wanted = expected(*matrices, k)
    assert_array_equal(ids, wanted[0])
    assert_array_equal(scores, wanted[1])


def test_top_k_sparse_takes_lists_in_any_order_and_weights_made_ready(backend, matrices):
    queries, weights = matrices
    wanted = expected(queries, weights, 5, None, [3, 4, 79], [4, 5, 70])
    for given in (weights, backend.csr(weights)):
        ids, scores = top_k_sparse(
            backend, queries, given, 5, deny=(79, 4, 3, 3), allow=np.array([70, 5, 4, 5], np.uint8)
        )
        assert ids.dtype == np.int32
        assert scores.dtype == np.float32
        assert_array_equal(ids, wanted[0])
        assert_array_equal(scores, wanted[1])
    assert np.all(top_k_sparse(backend, queries, weights, 5, allow=[])[0] == -1)


@pytest.mark.parametrize("shape", [(0, 40), (3, 40)])
def test_top_k_sparse_of_no_histories(backend, matrices, shape):
    ids, scores = top_k_sparse(backend, CSR.from_scipy(sp.csr_array(shape)), matrices[1], 4)
    assert_array_equal(ids, np.full((shape[0], 4), -1))
    assert_array_equal(scores, np.full((shape[0], 4), -np.inf))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_top_k_sparse_refuses_values_that_are_not_finite(backend, matrices, value):
    def spoilt(matrix):
        values = matrix.values.copy()
        values[3] = value
        return CSR(matrix.indptr, matrix.indices, values, matrix.shape)

    with pytest.raises(ValueError, match=r"top_k_sparse: queries: values must be finite .*, got .* at \(\d+, \d+\)"):
        top_k_sparse(backend, spoilt(matrices[0]), matrices[1], 3)
    with pytest.raises(ValueError, match="Foo: weights: values must be finite"):
        top_k_sparse(backend, matrices[0], spoilt(matrices[1]), 3, subject="Foo")


@pytest.mark.parametrize("name", ["deny", "allow"])
def test_top_k_sparse_refuses_bad_ids(backend, matrices, name):
    with pytest.raises(IndexError, match=rf"top_k_sparse: {name}: item 80 is outside \[0, 80\)"):
        top_k_sparse(backend, *matrices, 3, **{name: [3, 80]})
    with pytest.raises(IndexError, match=rf"top_k_sparse: {name}: item -1 is outside \[0, 80\)"):
        top_k_sparse(backend, *matrices, 3, **{name: [-1]})
    with pytest.raises(TypeError, match=f"top_k_sparse: {name}: item must be integers, got float64"):
        top_k_sparse(backend, *matrices, 3, **{name: [0.5]})


def test_top_k_sparse_refuses_bad_k_and_shapes(backend, matrices):
    queries, weights = matrices
    with pytest.raises(ValueError, match="top_k_sparse: k must be >= 1, got 0"):
        top_k_sparse(backend, queries, weights, 0)
    with pytest.raises(ValueError, match="top_k_sparse: k must be <= 1000000, got 1000001"):
        top_k_sparse(backend, queries, weights, 1_000_001)
    with pytest.raises(TypeError, match=r"top_k_sparse: k must be an integer, got 2\.5"):
        top_k_sparse(backend, queries, weights, 2.5)
    for n in (49, 51):
        with pytest.raises(ValueError, match=f"top_k_sparse: exclude has {n} rows but queries has 50 rows"):
            top_k_sparse(backend, queries, weights, 3, CSR.from_scipy(sp.csr_array((n, 80))))
    with pytest.raises(ValueError, match="topk_sparse: queries has 80 columns but weights has 40 rows"):
        top_k_sparse(backend, weights, weights, 3)


@pytest.mark.parametrize("n_threads", [2, 8])
def test_top_k_sparse_needs_little_memory_however_many_the_columns(n_threads):
    """1.5 MiB a thread and a MiB beside matrices and results, by the growth of a process's peak."""
    pytest.importorskip("resource")
    program = f"""
import resource, sys
import numpy as np
from likewise._backend import Backend
from likewise.data import CSR
from likewise.retrieval import top_k_sparse
rng = np.random.default_rng(0)
def make(n, m, each):
    ids = np.sort(rng.integers(0, m - each + 1, (n, each)), axis=1) + np.arange(each)
    return CSR(np.arange(n + 1) * each, ids.ravel().astype(np.int32), np.ones(ids.size, np.float32), (n, m))
queries, weights = make(20_000, 5000, 20), make(5000, 1_500_000, 100)
backend = Backend({n_threads})
ready = backend.csr(weights)
top_k_sparse(backend, queries.take_rows(slice(0, 1)), make(5000, 1000, 100), 3)
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ids, scores = top_k_sparse(backend, queries, ready, 10)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit - ids.nbytes - scores.nbytes)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < (1 + 1.5 * n_threads) * 2**20
