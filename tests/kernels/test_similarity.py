"""similarity against the reference, and the promises of the header."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise import _core
from likewise._backend import Backend
from likewise.data import CSR

DENOMINATORS = ("product", "sum")


def similarity(backend, rows, columns, left, right, denominator="product", *, k=None, first=-1, **options):
    kernels = backend.kernels
    k = max(1, columns.n_cols) if k is None else k
    spec = {"overlap": 0.0, "shrinkage": 0.0, "minimum": 0.0, "min_support": 1} | options
    indptr = backend.empty((rows.n_rows + 1,), np.int64)
    ids, values = backend.empty((rows.n_rows * k,), np.int32), backend.empty((rows.n_rows * k,))
    kernels.similarity(
        backend.context,
        backend.csr(rows),
        backend.csr(columns),
        backend.asarray(left),
        backend.asarray(right),
        kernels.Similarity(getattr(kernels.Denominator, denominator), **spec),
        k,
        first,
        indptr,
        ids,
        values,
    )
    indptr = backend.to_numpy(indptr)
    return CSR(
        indptr,
        backend.to_numpy(ids)[: indptr[-1]],
        backend.to_numpy(values)[: indptr[-1]],
        (rows.n_rows, columns.n_cols),
    )


def csr(dense):
    """What is not NaN is stored, zeros too."""
    dense = np.asarray(dense, np.float32)
    stored = ~np.isnan(dense)
    offsets = np.concatenate([[0], np.cumsum(stored.sum(axis=1))]).astype(np.int64)
    return CSR(offsets, np.nonzero(stored)[1].astype(np.int32), dense[stored], dense.shape)


def best(similarities, k):
    """The k greatest of each row, ties by smaller id, the others 0."""
    kept = np.zeros_like(similarities)
    for row, values in enumerate(similarities):
        order = np.lexsort((np.arange(values.size), -values))[:k]
        kept[row, order] = values[order]
    return kept


def assert_matches(found, similarities, k):
    """Rounding may order near ties otherwise than float64 does: the values have to agree, rank by rank."""
    wanted = best(similarities, k)
    assert_array_equal(found.row_counts(), (wanted > 0).sum(axis=1))
    dense = found.to_scipy().toarray()
    assert_allclose(-np.sort(-dense, axis=1), -np.sort(-wanted, axis=1), rtol=2e-6)
    stored = dense > 0
    assert_allclose(dense[stored], similarities[stored], rtol=2e-6)
    assert all((np.diff(found.row(row)[0]) > 0).all() for row in range(found.n_rows))


def assert_same_bits(one, other):
    assert_array_equal(one.indptr, other.indptr)
    assert_array_equal(one.indices, other.indices)
    assert_array_equal(one.values.view(np.int32), other.values.view(np.int32))


def events(rng, n_features, n_columns, kind):
    """Columns of a long tail: of ones, of one value a feature, or of any; their sums are exact in float32."""
    present = rng.random((n_features, n_columns)) < 0.7 * rng.random(n_columns) ** 3
    if kind == "ones":
        values = np.ones(present.shape)
    elif kind == "flat":
        values = np.broadcast_to(rng.choice([0.5, 1.75, -0.25], (n_features, 1)), present.shape)
    else:
        values = rng.integers(-3, 9, present.shape) / 4
    return csr(np.where(present, values, np.nan))


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("k", [1, 7, 100, 900], ids="k={}".format)
@pytest.mark.parametrize("kind", ["ones", "flat", "any"])
def test_similarity_matches_reference(backend, rng, kind, k, denominator):
    """Of all columns with one another: enough of them that the densest are kept as bits."""
    columns = events(rng, 60, 900, kind)
    rows = columns.transpose()
    scale = 1 if denominator == "product" else 50
    left, right = (scale * rng.integers(1, 6, 900) for _ in range(2))
    options = {"overlap": -0.25, "shrinkage": 1.5}
    found = similarity(backend, rows, columns, left, right, denominator, k=k, first=0, **options)
    assert_matches(found, reference.similarities(rows, columns, left, right, denominator, first=0, **options), k)


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("kind", ["ones", "flat", "any"])
@pytest.mark.parametrize("min_support", [1, 2, 5], ids="support={}".format)
def test_similarity_of_other_rows_with_minimum_and_support(backend, rng, kind, min_support, denominator):
    columns, rows = events(rng, 60, 900, kind), reference.random_csr(rng, (33, 60), 0.4)
    left, right = 40 * rng.integers(1, 6, 33), 40 * rng.integers(0, 6, 900)
    options = {"overlap": 0.5, "minimum": 0.01, "min_support": min_support}
    found = similarity(backend, rows, columns, left, right, denominator, k=20, **options)
    assert_matches(found, reference.similarities(rows, columns, left, right, denominator, **options), 20)


@pytest.mark.parametrize("kind", ["ones", "flat", "any"])
@pytest.mark.parametrize("min_support", [1, 3], ids="support={}".format)
def test_similarity_has_the_same_bits_everywhere(rng, kind, min_support):
    """On every instruction set and number of threads; the rows at once or some at a time; for k of any size."""
    columns = events(rng, 60, 1200, kind)
    rows, norms = columns.transpose(), rng.random(1200)
    options = {"first": 0, "min_support": min_support, "shrinkage": 0.5}
    expected = similarity(Backend(1, "scalar"), rows, columns, norms, norms, k=30, **options)
    assert expected.nnz > 5000
    for simd in _core.available_simd():
        for n_threads in (1, 2, 3):
            backend = Backend(n_threads, simd)
            assert_same_bits(similarity(backend, rows, columns, norms, norms, k=30, **options), expected)
            part = rows.take_rows(slice(100, 500))
            some = similarity(backend, part, columns, norms[100:500], norms, k=30, **options | {"first": 100})
            assert_same_bits(some, expected.take_rows(slice(100, 500)))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_similarity_of_wide_catalogues(backend, rng, dtype):
    """More columns than a tile of sums holds, and than 16 bits can name."""
    n_columns = 300_000 if dtype == np.uint32 else 60_000
    ids = np.sort(np.array([rng.choice(n_columns, 2000, replace=False) for _ in range(12)]), axis=1)
    values = rng.integers(1, 4, ids.size).astype(np.float32)
    columns = CSR(np.arange(13) * 2000, ids.ravel().astype(np.int32), values, (12, n_columns))
    rows = reference.random_csr(rng, (9, 12), 0.6)
    right = rng.integers(1, 4, n_columns).astype(np.float32)
    found = similarity(backend, rows, columns, np.ones(9), right, k=50)
    assert_matches(found, reference.similarities(rows, columns, np.ones(9), right, "product"), 50)


def test_similarity_keeps_the_smallest_ids_of_equal_ones(backend):
    """600 identical columns, of which a row has k neighbours, none of them itself."""
    columns = csr(np.ones((3, 600)))
    ones = np.ones(600)
    found = similarity(backend, columns.transpose(), columns, ones, ones, k=5, first=0)
    for row in range(600):
        assert_array_equal(found.row(row)[0], [id for id in range(6) if id != row][:5])
        assert_array_equal(found.row(row)[1], np.full(5, 3))


def test_similarity_leaves_out_what_has_none(backend):
    """A zero sum, a negative one, a denominator of zero, a column without entries; a stored zero counts as support."""
    nan = np.nan
    columns = csr([[1, 1, 0, nan, 2], [1, -1, 0, nan, 1], [1, -2, nan, nan, nan]])
    rows = csr([[1, 1, nan], [1, 1, 1]])
    found = similarity(backend, rows, columns, [1, 1], [1, 1, 1, 1, 0])
    assert_array_equal(found.to_scipy().toarray(), [[2, 0, 0, 0, 0], [3, 0, 0, 0, 0]])
    found = similarity(backend, rows, columns, [1, 1], [1, 1, 1, 1, 0], shrinkage=1, min_support=2)
    assert_array_equal(found.to_scipy().toarray(), [[1, 0, 0, 0, 3], [1.5, 0, 0, 0, 3]])
    ones = csr([[1, 1], [0, 0], [1, 1]])  # a row of zeros is of one value too
    found = similarity(backend, ones.transpose(), ones, np.ones(2), np.ones(2), first=0, min_support=3)
    assert_array_equal(found.to_scipy().toarray(), [[0, 2], [2, 0]])


@pytest.mark.parametrize("value", [1e18, 1e-18, 1e-30], ids=str)
def test_similarity_of_huge_and_tiny_values(backend, value):
    """Products that leave float32 have no similarity; those that vanish in it have none either."""
    columns = csr([[value, value], [value, -value], [value, value]])
    found = similarity(backend, columns.transpose(), columns, [1, 1], [1, 1], first=0).to_scipy().toarray()
    wanted = np.float32(value) ** 2
    assert_allclose(found, [[0, wanted], [wanted, 0]])
    huge = csr([[3e38, 3e38]])
    assert similarity(backend, huge.transpose(), huge, [1, 1], [1, 1], first=0).nnz == 0


@pytest.mark.parametrize("shape", [(0, 0, 0), (0, 4, 3), (3, 0, 4), (4, 3, 0), (1, 1, 1), (2, 1, 1)], ids=str)
def test_similarity_of_little(backend, rng, shape):
    n, n_features, m = shape
    rows, columns = (reference.random_csr(rng, size, 0.9) for size in ((n, n_features), (n_features, m)))
    found = similarity(backend, rows, columns, np.ones(n), np.ones(m))
    assert_matches(found, reference.similarities(rows, columns, np.ones(n), np.ones(m), "product"), max(1, m))


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_features, n_columns = draw(st.integers(0, 30)), draw(st.integers(1, 700))
    columns = events(rng, n_features, n_columns, draw(st.sampled_from(["ones", "flat", "any"])))
    with_itself = draw(st.booleans())
    rows = columns.transpose() if with_itself else reference.random_csr(rng, (draw(st.integers(0, 9)), n_features), 0.5)
    options = {
        "overlap": draw(st.sampled_from([-1.0, 0.0, 0.5])),
        "shrinkage": draw(st.sampled_from([0.0, 2.5])),
        "minimum": draw(st.sampled_from([0.0, 0.05])),
        "min_support": draw(st.integers(1, 3)),
        "first": 0 if with_itself else -1,
    }
    left, right = 30 * rng.integers(1, 5, rows.n_rows), 30 * rng.integers(0, 5, n_columns)
    return rows, columns, left, right, draw(st.sampled_from(DENOMINATORS)), draw(st.integers(1, n_columns)), options


@given(problem=problems())
def test_similarity_of_any_matrices(problem):
    rows, columns, left, right, denominator, k, options = problem
    results = [
        similarity(Backend(n_threads, simd), rows, columns, left, right, denominator, k=k, **options)
        for simd in _core.available_simd()
        for n_threads in (1, 2)
    ]
    for result in results[1:]:
        assert_same_bits(result, results[0])
    assert_matches(results[0], reference.similarities(rows, columns, left, right, denominator, **options), k)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": csr(np.ones((2, 4)))}, "rows has 4 columns but columns has 3 rows"),
        ({"left": np.ones(3)}, "left has 3 entries but rows has 2 rows"),
        ({"right": np.ones(4)}, "right has 4 entries but columns has 5 columns"),
        ({"left": [1, -1]}, "left must be finite and >= 0"),
        ({"right": [1, 1, np.inf, 1, 1]}, "right must be finite and >= 0"),
        ({"k": 6}, "k must not exceed the number of columns"),
        ({"shrinkage": -1}, "shrinkage must be >= 0"),
        ({"minimum": -0.5}, "minimum must be >= 0"),
        ({"first": 4}, "there must be a column for each row"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_similarity_refuses_what_does_not_fit(backend, change, message):
    given = {
        "rows": csr(np.ones((2, 3))),
        "columns": csr(np.ones((3, 5))),
        "left": np.ones(2),
        "right": np.ones(5),
    } | change
    with pytest.raises(ValueError, match=f"^similarity: {message}$"):
        similarity(backend, **given)
