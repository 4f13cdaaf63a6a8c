from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from likewise.data import CSR
from likewise.data.csr import coordinate_order, stable_order

FORMATS = ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")


def random_matrix(n_rows=40, n_cols=30, density=0.2, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    dense = np.round(rng.random((n_rows, n_cols)) * 9 + 1) * (rng.random((n_rows, n_cols)) < density)
    return dense.astype(dtype)


def check_invariants(matrix):
    assert matrix.indptr.dtype == np.int64
    assert matrix.indices.dtype == np.int32
    assert matrix.values.dtype == np.float32
    assert matrix.indptr.shape == (matrix.n_rows + 1,)
    assert matrix.indptr[0] == 0
    assert matrix.indptr[-1] == matrix.nnz == matrix.values.size
    for array in (matrix.indptr, matrix.indices, matrix.values):
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    for i in range(matrix.n_rows):
        ids, _ = matrix.row(i)
        assert np.all(np.diff(ids) > 0)
        assert ids.size == 0 or (ids[0] >= 0 and ids[-1] < matrix.n_cols)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint16, np.int64, np.bool_])
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_from_scipy_takes_every_format_and_value_dtype(fmt, kind, dtype):
    dense = random_matrix(dtype=dtype)
    X = getattr(sp, f"{fmt}_{kind}")(dense)
    matrix = CSR.from_scipy(X)
    check_invariants(matrix)
    assert matrix.shape == dense.shape
    assert_array_equal(matrix.to_scipy().toarray(), dense.astype(np.float32))


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("fmt", ["csr", "csc", "coo"])
def test_from_scipy_takes_every_index_dtype_and_leaves_the_argument_alone(fmt, index_dtype):
    dense = random_matrix()
    X = sp.coo_array(dense).asformat(fmt)
    if fmt == "coo":
        X.coords = tuple(axis.astype(index_dtype) for axis in X.coords) if hasattr(X, "coords") else X.coords
    else:
        X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
    before = X.copy()
    assert_array_equal(CSR.from_scipy(X).to_scipy().toarray(), dense)
    assert abs(X - before).nnz == 0
    if fmt != "coo":
        assert X.indices.dtype == index_dtype


def test_from_scipy_shares_memory_where_dtype_and_order_fit():
    X = sp.csr_matrix(random_matrix())
    matrix = CSR.from_scipy(X)
    assert np.shares_memory(matrix.indices, X.indices)
    assert np.shares_memory(matrix.values, X.data)
    assert X.data.flags.writeable, "only our view refuses writing"
    array = matrix.to_scipy()
    assert np.shares_memory(array.indices, X.indices)
    assert np.shares_memory(array.data, X.data)


def test_from_scipy_takes_read_only_and_strided_arrays():
    X = sp.csr_array(random_matrix())
    for array in (X.indptr, X.indices, X.data):
        array.flags.writeable = False
    assert_array_equal(CSR.from_scipy(X).to_scipy().toarray(), X.toarray())
    doubled = np.repeat(X.data, 2)
    matrix = CSR.from_arrays(X.indptr, X.indices, doubled[::2], X.shape)
    check_invariants(matrix)
    assert_array_equal(matrix.values, X.data)


def test_from_scipy_sorts_and_sums_without_touching_the_argument():
    data, indices, indptr = np.array([1, 2, 4, 8], np.float32), np.array([2, 0, 2, 1], np.int32), np.array([0, 3, 3, 4])
    X = sp.csr_array((data, indices, indptr), shape=(3, 3))
    matrix = CSR.from_scipy(X)
    check_invariants(matrix)
    assert_array_equal(matrix.to_scipy().toarray(), [[2, 0, 5], [0, 0, 0], [0, 8, 0]])
    assert_array_equal(X.data, [1, 2, 4, 8])
    assert_array_equal(X.indices, [2, 0, 2, 1])


def test_from_scipy_does_not_believe_flags_that_lie():
    X = sp.csr_array((np.ones(2, np.float32), np.array([1, 0], np.int32), np.array([0, 2])), shape=(1, 2))
    X.has_sorted_indices = X.has_canonical_format = True
    check_invariants(CSR.from_scipy(X))


def test_from_scipy_sums_duplicates_of_coo_beyond_the_range_of_small_integers():
    X = sp.coo_array((np.full(10, 100, np.int8), (np.zeros(10, int), np.ones(10, int))), shape=(2, 2))
    assert_array_equal(CSR.from_scipy(X).to_scipy().toarray(), [[0, 1000], [0, 0]])


def test_from_scipy_keeps_stored_zeros():
    X = sp.csr_array((np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert CSR.from_scipy(X).nnz == 2


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("fmt", ["csr", "csc", "coo"])
def test_from_scipy_takes_empty_and_thin_matrices(shape, fmt):
    matrix = CSR.from_scipy(sp.coo_array(shape, dtype=np.float32).asformat(fmt))
    check_invariants(matrix)
    assert matrix.shape == shape
    assert matrix.nnz == 0
    assert matrix.density == 0
    assert matrix.transpose().shape == shape[::-1]
    assert matrix.column_counts().shape == (shape[1],)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("fmt", ["csr", "csc", "coo"])
def test_from_scipy_says_where_the_first_value_is_that_is_not_finite(fmt, bad):
    dense = np.eye(5)
    dense[3, 1] = bad
    dense[4, 0] = np.nan
    shown = "NaN" if np.isnan(bad) else str(bad)
    with pytest.raises(ValueError, match=rf"^here: values must be finite and within float32, got {shown} at \(3, 1\)$"):
        CSR.from_scipy(sp.coo_array(dense).asformat(fmt), subject="here")


def test_from_scipy_refuses_what_leaves_float32():
    X = sp.csr_array(np.array([[1.0, 0.0], [0.0, 1e300]]))
    with pytest.raises(ValueError, match=r"finite and within float32, got inf at \(1, 1\)"):
        CSR.from_scipy(X)
    twice = sp.coo_array((np.full(2, 3e38, np.float32), ([0, 0], [1, 1])), shape=(1, 2))
    with pytest.raises(ValueError, match=r"finite and within float32, got inf at \(0, 1\)"):
        CSR.from_scipy(twice)


def test_from_scipy_takes_the_largest_float32_values():
    largest = np.finfo(np.float32).max
    matrix = CSR.from_scipy(sp.csr_array(np.full((3, 3), largest)))
    assert_array_equal(matrix.values, np.full(9, largest))


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ([[1, 2]], TypeError, "expected a scipy.sparse matrix, got list"),
        (np.eye(2), TypeError, "got ndarray"),
        (sp.csr_array(np.eye(2, dtype=complex)), ValueError, "Complex data not supported"),
        (sp.csc_array(np.eye(2, dtype=complex)), ValueError, "Complex data not supported"),
        (sp.coo_array((2**31, 3), dtype=np.float32), ValueError, r"n_rows must be in \[0, 2\*\*31\).*got 2147483648"),
        (sp.coo_array((3, 2**31), dtype=np.float32), ValueError, r"n_cols must be in \[0, 2\*\*31\).*got 2147483648"),
    ],
)
def test_from_scipy_refuses(X, error, match):
    with pytest.raises(error, match=f"^here: .*{match}"):
        CSR.from_scipy(X, subject="here")


@pytest.mark.parametrize("fmt", ["csr", "csc"])
@pytest.mark.parametrize("bad", [-1, 3, 2**31 - 1])
def test_from_scipy_checks_ids_before_anything_runs_over_them(fmt, bad):
    X = sp.coo_array(np.eye(3, dtype=np.float32)).asformat(fmt)
    X.indices[1] = bad
    name = "column" if fmt == "csr" else "row"
    with pytest.raises(ValueError, match=rf"{name} {bad} at entry 1 is outside \[0, 3\)"):
        CSR.from_scipy(X)


@pytest.mark.parametrize(
    ("indptr", "indices", "values", "error", "match"),
    [
        ([0, 1], [0], [1.0], ValueError, "must rise from 0 and have 3 entries"),
        ([1, 1, 1], [0], [1.0], ValueError, "must rise from 0"),
        ([0, 2, 1], [0, 1], [1.0, 1.0], ValueError, "must rise from 0"),
        ([0, 1, 5], [0], [1.0], ValueError, "indptr ends at 5, but there are 1 ids and 1 values"),
        ([0, 1, 2], [0, 1], [1.0], ValueError, "2 ids and 1 values"),
        ([0.0, 1.0, 2.0], [0, 1], [1.0, 1.0], TypeError, "indptr must be a one-dimensional array of integers"),
        ([0, 1, 2], [0.5, 1.0], [1.0, 1.0], TypeError, "indices must be a one-dimensional array of integers"),
        ([0, 1, 2], [[0, 1]], [1.0, 1.0], TypeError, "indices must be a one-dimensional array of integers"),
        ([0, 1, 2], [0, 2], [1.0, 1.0], ValueError, r"column 2 at entry 1 is outside \[0, 2\)"),
        ([0, 1, 2], [0, 1], ["a", "b"], TypeError, "values must be real numbers"),
        ([0, 1, 2], [0, 2**33], [1.0, 1.0], ValueError, "column 8589934592 at entry 1"),
    ],
)
def test_from_arrays_refuses(indptr, indices, values, error, match):
    with pytest.raises(error, match=match):
        CSR.from_arrays(indptr, indices, values, (2, 2))


def test_from_arrays_ignores_what_stands_behind_the_last_row():
    matrix = CSR.from_arrays([0, 1, 2], [0, 1, 99], [1.0, 2.0, np.nan], (2, 2))
    assert_array_equal(matrix.to_scipy().toarray(), [[1, 0], [0, 2]])


def test_constructor_checks_dtypes_and_lengths():
    indptr, indices, values = np.array([0, 1]), np.array([0], np.int32), np.ones(1, np.float32)
    assert CSR(indptr, indices, values, (1, 1)).nnz == 1
    with pytest.raises(TypeError, match="indices must be a one-dimensional int32 array, got 1-d int64"):
        CSR(indptr, indices.astype(np.int64), values, (1, 1))
    with pytest.raises(TypeError, match="values must be a one-dimensional float32 array, got list"):
        CSR(indptr, indices, [1.0], (1, 1))
    with pytest.raises(ValueError, match="indptr must have n_rows \\+ 1 = 3 entries, got 2"):
        CSR(indptr, indices, values, (2, 1))
    with pytest.raises(ValueError, match="1 indices but 2 values"):
        CSR(indptr, indices, np.ones(2, np.float32), (1, 1))
    with pytest.raises(ValueError, match="indptr must run from 0 to 1, got 0 to 0"):
        CSR(np.array([0, 0]), indices, values, (1, 1))


def test_matrix_is_frozen():
    matrix = CSR.from_scipy(sp.csr_array(np.eye(2)))
    with pytest.raises(AttributeError):
        matrix.shape = (1, 1)
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0] = 2
    assert not hasattr(matrix, "__dict__")


def test_counts_rows_and_density():
    dense = random_matrix()
    matrix = CSR.from_scipy(sp.csr_array(dense))
    assert_array_equal(matrix.row_counts(), (dense != 0).sum(1))
    assert_array_equal(matrix.column_counts(), (dense != 0).sum(0))
    assert_array_equal(matrix.row_numbers(), np.nonzero(dense)[0])
    assert matrix.density == pytest.approx(np.count_nonzero(dense) / dense.size)
    for i in (0, 39):
        ids, values = matrix.row(i)
        assert_array_equal(ids, np.flatnonzero(dense[i]))
        assert_array_equal(values, dense[i][dense[i] != 0])
    for i in (-1, 40):
        with pytest.raises(IndexError, match=rf"CSR.row: row {i} is outside \[0, 40\)"):
            matrix.row(i)


def test_density_is_counted_in_python_integers():
    n = 2**31 - 1
    matrix = CSR(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), (1, n))
    assert matrix.density == 0
    wide = CSR(np.array([0, 1]), np.array([n - 1], np.int32), np.ones(1, np.float32), (1, n))
    assert wide.density == 1 / n


def test_column_counts_add_up_over_blocks(monkeypatch):
    monkeypatch.setattr("likewise.data.csr._BLOCK", 7)
    dense = random_matrix()
    matrix = CSR.from_scipy(sp.csr_array(dense))
    assert_array_equal(matrix.column_counts(), (dense != 0).sum(0))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_order_is_judged_alike_for_every_block_size(monkeypatch, block):
    monkeypatch.setattr("likewise.data.csr._BLOCK", block)
    rng = np.random.default_rng(1)
    for _ in range(50):
        counts = rng.integers(0, 4, 6)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        indices = rng.integers(0, 4, indptr[-1]).astype(np.int32)
        matrix = CSR.from_arrays(indptr, indices, np.ones(indices.size), (6, 4))
        check_invariants(matrix)
        expected = np.zeros((6, 4), np.float32)
        np.add.at(expected, (np.repeat(np.arange(6), counts), indices), 1)
        assert_array_equal(matrix.to_scipy().toarray(), expected)


@pytest.mark.parametrize(
    "rows",
    [
        [3, 0, 3],
        np.array([], dtype=np.int64),
        [],
        np.arange(40)[::-1],
        [39],
        [5, 6, 7],
        [5, 7, 6, 8],
        slice(5, 9),
        slice(None),
        slice(9, 5),
        slice(0, 40, 3),
    ],
    ids=str,
)
def test_take_rows_matches_scipy(rows):
    X = sp.csr_array(random_matrix())
    taken = CSR.from_scipy(X).take_rows(rows)
    check_invariants(taken)
    expected = X.toarray()[rows if isinstance(rows, slice) else np.asarray(rows, dtype=int)]
    assert_array_equal(taken.to_scipy().toarray(), expected)


def test_take_rows_of_a_run_shares_memory():
    matrix = CSR.from_scipy(sp.csr_array(random_matrix()))
    for rows in (slice(3, 30), [7], np.arange(3, 30), np.arange(40)):
        assert np.shares_memory(matrix.take_rows(rows).values, matrix.values)
    for rows in ([3, 5], [4, 3], [3, 4, 4, 6]):
        assert not np.shares_memory(matrix.take_rows(rows).values, matrix.values)


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([0, 40], IndexError, r"row 40 is outside \[0, 40\)"),
        ([-1], IndexError, r"row -1 is outside \[0, 40\)"),
        ([0.5], TypeError, "row must be integers, got float64"),
        ([True, False], TypeError, "row must be integers, got bool"),
        ([[1, 2]], ValueError, "one-dimensional"),
    ],
)
def test_take_rows_refuses(rows, error, match):
    matrix = CSR.from_scipy(sp.csr_array(random_matrix()))
    with pytest.raises(error, match=match):
        matrix.take_rows(rows)


def test_to_scipy_with_copy_may_be_written_to():
    matrix = CSR.from_scipy(sp.csr_array(random_matrix()))
    array = matrix.to_scipy(copy=True)
    array.data[:] = 7
    array.indices[:] = 0
    assert matrix.values.max() > 0
    assert not np.any(matrix.values == 7) or np.any(matrix.values != 7)
    assert not np.shares_memory(array.data, matrix.values)
    assert not np.shares_memory(array.indices, matrix.indices)


def test_state_and_pickle_give_the_matrix_back():
    matrix = CSR.from_scipy(sp.csr_array(random_matrix()))
    for again in (CSR.from_state(matrix.to_state()), pickle.loads(pickle.dumps(matrix))):
        check_invariants(again)
        assert again.shape == matrix.shape
        for name in ("indptr", "indices", "values"):
            assert_array_equal(getattr(again, name), getattr(matrix, name))


def test_from_state_refuses_damaged_state():
    state = CSR.from_scipy(sp.csr_array(random_matrix())).to_state()
    with pytest.raises(ValueError, match=r"m.lw: the arrays \['values'\] are missing"):
        CSR.from_state({name: state[name] for name in ("indptr", "indices", "shape")}, subject="m.lw")
    with pytest.raises(ValueError, match="shape must be two numbers"):
        CSR.from_state({**state, "shape": np.array([1])})
    with pytest.raises(ValueError, match="must rise from 0"):
        CSR.from_state({**state, "indptr": state["indptr"][::-1].copy()})
    with pytest.raises(ValueError, match="is outside"):
        CSR.from_state({**state, "indices": state["indices"] + 20})


def peak_bytes(convert):
    tracemalloc.start()
    try:
        convert()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_conversions_make_no_needless_temporaries():
    n = 2_000_000
    X = sp.csr_array(
        (
            np.ones(n, np.float32),
            np.tile(np.arange(2_000, dtype=np.int32), 1_000),
            np.arange(0, n + 1, 2_000, dtype=np.int32),
        ),
        shape=(1_000, 5_000),
    )
    wide = X.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    double = X.astype(np.float64)
    # scipy 1.15 copies the ids to transpose a matrix, 4 bytes each.
    old_copy = 4 if tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 16) else 0
    # Bytes an entry beyond the input, with room for blocks and offsets.
    for matrix, per_entry in ((X, 0), (double, 4), (wide, 4), (X.tocsc(), 8 + old_copy), (X.tocoo(), 8)):
        assert peak_bytes(lambda matrix=matrix: CSR.from_scipy(matrix)) < (per_entry + 1.5) * n


def test_repr():
    assert repr(CSR.from_scipy(sp.csr_array(random_matrix(3, 4, 1.0)))) == "CSR(3 x 4, 12 stored)"


@st.composite
def coordinates(draw):
    n_rows, n_cols = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    n = draw(st.integers(0, 60))
    rows = draw(hnp.arrays(np.int32, n, elements=st.integers(0, n_rows - 1)))
    columns = draw(hnp.arrays(np.int32, n, elements=st.integers(0, n_cols - 1)))
    values = draw(hnp.arrays(np.float32, n, elements=st.integers(-8, 8)))
    return (n_rows, n_cols), rows, columns, values


@given(coordinates(), st.sampled_from(["coo", "csr", "csc"]), st.sampled_from([np.int32, np.int64]))
def test_any_coordinates_become_their_sums(case, fmt, index_dtype):
    shape, rows, columns, values = case
    dense = np.zeros(shape, np.float32)
    np.add.at(dense, (rows, columns), values)
    X = sp.coo_array((values, (rows.astype(index_dtype), columns.astype(index_dtype))), shape=shape).asformat(fmt)
    matrix = CSR.from_scipy(X)
    check_invariants(matrix)
    assert matrix.nnz == len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    assert_array_equal(matrix.to_scipy().toarray(), dense)


@given(coordinates())
def test_transpose_is_its_own_inverse(case):
    shape, rows, columns, values = case
    matrix = CSR.from_scipy(sp.coo_array((values, (rows, columns)), shape=shape))
    across = matrix.transpose()
    check_invariants(across)
    assert_array_equal(across.to_scipy().toarray(), matrix.to_scipy().toarray().T)
    back = across.transpose()
    for name in ("indptr", "indices", "values"):
        assert_array_equal(getattr(back, name), getattr(matrix, name))


def test_transpose_shares_equal_values():
    pattern = sp.random_array((40, 30), density=0.2, format="csr", rng=3)
    for value in (1.0, 0.0, -2.5):
        pattern.data[:] = value
        matrix = CSR.from_scipy(pattern)
        across = matrix.transpose()
        check_invariants(across)
        assert np.shares_memory(across.values, matrix.values)
        assert_array_equal(across.to_scipy().toarray(), pattern.toarray().T)
    pattern.data[-1] = 4.0
    assert not np.shares_memory(CSR.from_scipy(pattern).transpose().values, pattern.data)


@given(coordinates())
def test_coordinate_order_is_the_stable_order(case):
    shape, rows, columns, _ = case
    assert_array_equal(stable_order(rows, shape[0]), np.argsort(rows, kind="stable"))
    assert_array_equal(coordinate_order(rows, columns, shape), np.lexsort((columns, rows)))
