"""top_k and top_k_scores: blocks, id lists and errors; what is selected is the kernel tests' matter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

import reference
from likewise.data import CSR
from likewise.retrieval import _top_k, top_k, top_k_scores
from likewise.retrieval._storage import RoundedCopy


@pytest.fixture
def vectors(rng):
    return rng.integers(-2, 3, (50, 6)).astype(np.float32), rng.integers(-2, 3, (80, 6)).astype(np.float32)


@pytest.mark.parametrize("verbose", [False, True])
def test_top_k_does_not_depend_on_its_blocks(backend, rng, vectors, monkeypatch, verbose, capsys):
    queries, items = vectors
    exclude = reference.random_csr(rng, (50, 80))
    expected = reference.top_k(queries @ items.T, 9, exclude)
    whole = top_k(backend, queries, items, 9, exclude, verbose=verbose)
    assert capsys.readouterr().err == ""  # one block needs no bar
    monkeypatch.setattr(_top_k, "_MIN_BLOCK_ROWS", 7)
    monkeypatch.setattr(_top_k, "_BLOCK_PRODUCTS", 1)
    blocks = top_k(backend, queries, items, 9, exclude, verbose=verbose)
    assert ("Ranking" in capsys.readouterr().err) == verbose
    for ids, scores in (whole, blocks):
        assert_array_equal(ids, expected[0])
        assert_array_equal(scores, expected[1])


@pytest.mark.parametrize("n_items", [0, 1, 80])
def test_top_k_fills_more_slots_than_there_are_items(backend, vectors, n_items):
    queries, items = vectors[0], vectors[1][:n_items]
    expected = reference.top_k(queries @ items.T, 100)
    for ids, scores in (
        top_k(backend, queries, items, 100),
        top_k_scores(backend, lambda rows: queries[rows] @ items.T, len(queries), n_items, 100),
    ):
        assert_array_equal(ids, expected[0])
        assert_array_equal(scores, expected[1])
    with pytest.raises(ValueError, match="top_k: k must be <= 1000000, got 1000001"):
        top_k(backend, queries, items, 1_000_001)


def test_top_k_takes_any_order_layout_and_dtype(backend, rng, vectors):
    queries, items = vectors
    expected = reference.top_k(queries @ items.T, 5, None, [3, 4], [4, 5, 70])
    fortran, strided = np.asfortranarray(queries.astype(np.float64)), np.repeat(items, 2, axis=0)[::2]
    ids, scores = top_k(backend, fortran, strided, 5, deny=(4, 3, 3), allow=np.array([70, 5, 4, 5], np.uint8))
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32
    assert_array_equal(ids, expected[0])
    assert_array_equal(scores, expected[1])


@pytest.mark.parametrize("unit", [False, True])
def test_top_k_orders_items_for_many_queries(backend, rng, monkeypatch, unit):
    """Lengths that spread, so that most items are left out unread, and scales, biases and exclusions with them."""
    n, m, d = _top_k.MANY_QUERIES, 16_500, 32
    queries = rng.integers(-2, 3, (n, d)).astype(np.float32)
    items = (rng.integers(-2, 3, (m, d)) * 2.0 ** rng.integers(-6, 3, (m, 1))).astype(np.float32)
    scale, bias = (2.0 ** rng.integers(-2, 2, m)).astype(np.float32), rng.integers(-9, 9, m).astype(np.float32)
    exclude, deny = reference.random_csr(rng, (n, m)), np.arange(0, m, 7)
    made = []

    class Noted(RoundedCopy):
        def __init__(self, *given):
            made.append(self)
            super().__init__(*given)

    monkeypatch.setattr(_top_k, "RoundedCopy", Noted)
    options = {"scale": scale, "bias": bias, "unit": unit}
    ids, scores = top_k(backend, queries, items, 5, exclude, deny, **options)
    assert len(made) == backend.has_int8
    few = [top_k(backend, queries[rows], items, 5, exclude.take_rows(rows), deny, **options) for rows in _halves(n)]
    assert len(made) == backend.has_int8  # not for these
    assert_array_equal(ids, np.concatenate([each[0] for each in few]))
    assert_array_equal(scores, np.concatenate([each[1] for each in few]))
    if not unit:  # products that are exact
        expected = reference.top_k(queries[:20] @ items.T * scale + bias, 5, exclude.take_rows(np.arange(20)), deny)
        assert_array_equal(ids[:20], expected[0])
        assert_array_equal(scores[:20], expected[1])


def _halves(n):
    return np.arange(n // 2), np.arange(n // 2, n)


def test_top_k_reads_read_only_arrays(backend, vectors):
    for array in vectors:
        array.flags.writeable = False
    assert top_k(backend, *vectors, 3)[0].shape == (50, 3)


def test_top_k_scores_asks_for_blocks_and_checks_them(backend, rng, vectors, monkeypatch):
    queries, items = vectors
    scores = queries @ items.T
    exclude = reference.random_csr(rng, (50, 80))
    asked = []

    def score_rows(rows):
        asked.append(rows)
        return scores[rows].astype(np.float64)

    monkeypatch.setattr(_top_k, "_BLOCK_SCORES", 80 * 12)
    ids, best = top_k_scores(backend, score_rows, 50, 80, 9, exclude, deny=[1], allow=range(40))
    expected = reference.top_k(scores, 9, exclude, [1], np.arange(40))
    assert_array_equal(ids, expected[0])
    assert_array_equal(best, expected[1])
    assert asked == [slice(0, 12), slice(12, 24), slice(24, 36), slice(36, 48), slice(48, 50)]
    with pytest.raises(ValueError, match=r"Foo: the scores of 12 queries must have shape \(12, 79\), got \(12, 80\)"):
        top_k_scores(backend, score_rows, 50, 79, 9, subject="Foo")


@pytest.mark.parametrize("name", ["deny", "allow"])
def test_top_k_refuses_bad_ids(backend, vectors, name):
    with pytest.raises(IndexError, match=rf"top_k: {name}: item 80 is outside \[0, 80\)"):
        top_k(backend, *vectors, 3, **{name: [3, 80]})
    with pytest.raises(IndexError, match=rf"top_k: {name}: item -1 is outside \[0, 80\)"):
        top_k(backend, *vectors, 3, **{name: [-1]})
    with pytest.raises(TypeError, match=f"top_k: {name}: item must be integers, got float64"):
        top_k(backend, *vectors, 3, **{name: [0.5]})


def test_top_k_refuses_lists_that_are_not_one_a_query(backend, vectors):
    queries, items = vectors
    for n in (49, 51):
        lists = CSR.from_scipy(sp.csr_array((n, 80)))
        with pytest.raises(ValueError, match=f"top_k: exclude has {n} rows but queries has 50 rows"):
            top_k(backend, queries, items, 3, lists)
        with pytest.raises(ValueError, match=f"top_k: allow has {n} rows but queries has 50 rows"):
            top_k(backend, queries, items, 3, allow=lists)
        with pytest.raises(ValueError, match=f"top_k_scores: exclude has {n} rows but queries has 50 rows"):
            top_k_scores(backend, lambda rows: queries[rows] @ items.T, 50, 80, 3, lists)


def test_top_k_refuses_bad_k(backend, vectors):
    with pytest.raises(ValueError, match="top_k: k must be >= 1, got 0"):
        top_k(backend, *vectors, 0)
    with pytest.raises(TypeError, match=r"top_k: k must be an integer, got 2\.5"):
        top_k(backend, *vectors, 2.5)


@pytest.mark.parametrize("n_threads", [2, 8])
def test_top_k_needs_little_memory_however_many_the_queries(n_threads):
    """32 MiB and 2 MiB a thread beside vectors and results, by the growth of a process's peak."""
    pytest.importorskip("resource")
    program = f"""
import resource, sys
import numpy as np
from likewise._backend import Backend
from likewise.retrieval import top_k
rng = np.random.default_rng(0)
queries, items = (rng.standard_normal((n, 16), dtype=np.float32) for n in (100_000, 10_000))
backend = Backend({n_threads})
top_k(backend, queries[:3], items, 3)
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ids, scores = top_k(backend, queries, items, 10)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit - ids.nbytes - scores.nbytes)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < (32 + 2 * n_threads) * 2**20
