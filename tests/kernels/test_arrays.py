"""Memory safety at the bindings: a wrong array is an error, never a conversion and never a crash."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise import _core

CONTEXT = _core.Context()


def _read_only(array):
    array.setflags(write=False)
    return array


def _misaligned(shape):
    raw = np.zeros(int(np.prod(shape)) * 4 + 1, dtype=np.uint8)
    return raw[1:].view(np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[1.0, 2.0]], r"expected a float32 array, got <class 'list'>"),
        (None, r"expected a float32 array, got <class 'NoneType'>"),
        (np.zeros((3, 2)), "expected a float32 array, got one of float64"),
        (np.zeros((3, 2), dtype=">f4"), "expected a float32 array, got one of >f4"),
        (np.zeros(6, np.float32), "expected 2 dimensions, got 1"),
        (np.zeros((3, 2, 1), np.float32), "expected 2 dimensions, got 3"),
        (np.zeros((2, 3), np.float32).T, "expected a C-contiguous, aligned float32 array"),
        (np.zeros((3, 4), np.float32)[:, :2], "expected a C-contiguous, aligned float32 array"),
        (_misaligned((3, 2)), "expected a C-contiguous, aligned float32 array"),
    ],
    ids=["list", "None", "float64", "byte order", "1-d", "3-d", "transposed", "slice", "misaligned"],
)
def test_matrix_refuses(y, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        _core.gramian(CONTEXT, y, np.zeros((2, 2)))


def test_matrix_refuses_a_read_only_result():
    with pytest.raises(TypeError, match=r"^expected a writable float64 array$"):
        _core.gramian(CONTEXT, np.zeros((3, 2), np.float32), _read_only(np.zeros((2, 2))))


def test_matrix_takes_a_read_only_argument():
    out = np.empty((2, 2))
    _core.gramian(CONTEXT, _read_only(np.ones((3, 2), np.float32)), out)
    np.testing.assert_array_equal(out, np.full((2, 2), 3.0))


def test_vector_refuses_another_dimension():
    a, b = np.eye(2, dtype=np.float32), np.zeros((2, 1), np.float32)
    with pytest.raises(TypeError, match=r"^expected 1 dimensions, got 2$"):
        _core.solve_spd(CONTEXT, a, b, np.zeros(2, np.float32))


def test_kernel_refuses_what_is_no_context():
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.gramian(None, np.zeros((3, 2), np.float32), np.zeros((2, 2)))


# ---- CSR -----------------------------------------------------------------------------------------------------------


def _csr(indptr=(0, 2, 2, 3), indices=(0, 3, 1), values=(1.0, 2.0, 3.0), n_cols=4):
    return _core.CSR(np.array(indptr, np.int64), np.array(indices, np.int32), np.array(values, np.float32), n_cols)


def test_csr_has_shape_and_entries():
    assert (_csr().shape, _csr().nnz) == ((3, 4), 3)
    assert (_csr(indptr=[0], indices=[], values=[], n_cols=0).shape) == (0, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"indptr": []}, "CSR: indptr must have at least one entry"),
        ({"indptr": [1, 2, 2, 3]}, "CSR: indptr must start at 0, got 1"),
        ({"indptr": [0, 2, 2, 2]}, "CSR: indptr must end at the number of indices 3, got 2"),
        ({"indptr": [0, 2, 2, 4]}, "CSR: indptr must end at the number of indices 3, got 4"),
        ({"indptr": [0, 2, 1, 3]}, "CSR: indptr must not decrease, but does after row 1"),
        ({"indptr": [0, 9, 2, 3]}, "CSR: indptr must not decrease, but does after row 0"),
        ({"indptr": [0, -5, 2, 3]}, "CSR: indptr must not decrease, but does after row 0"),
        ({"indptr": [0, 2**62, 2, 3]}, "CSR: indptr must not decrease, but does after row 0"),
        ({"indices": [0, 4, 1]}, r"CSR: column ids must rise strictly inside \[0, 4\), got 4 in row 0"),
        ({"indices": [-1, 3, 1]}, r"CSR: column ids must rise strictly inside \[0, 4\), got -1 in row 0"),
        ({"indices": [3, 3, 1]}, r"CSR: column ids must rise strictly inside \[0, 4\), got 3 in row 0"),
        ({"indices": [3, 0, 1]}, r"CSR: column ids must rise strictly inside \[0, 4\), got 0 in row 0"),
        ({"indices": [0, 3]}, "CSR: indices has 2 entries but values has 3"),
        ({"n_cols": -1}, r"CSR: n_cols must be inside \[0, 2\^31\), got -1"),
        ({"n_cols": 2**31}, r"CSR: n_cols must be inside \[0, 2\^31\), got 2147483648"),
        ({"n_cols": 3}, r"CSR: column ids must rise strictly inside \[0, 3\), got 3 in row 0"),
    ],
)
def test_csr_refuses(changed, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        _csr(**changed)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("indptr", np.array([0, 3], np.int32), "expected a int64 array, got one of int32"),
        ("indices", np.array([0, 1, 2], np.int64), "expected a int32 array, got one of int64"),
        ("values", np.ones(3), "expected a float32 array, got one of float64"),
        ("values", np.ones(6, np.float32)[::2], "expected a C-contiguous, aligned float32 array"),
        ("values", np.ones((3, 1), np.float32), "expected 1 dimensions, got 2"),
    ],
)
def test_csr_refuses_another_array(name, array, message):
    arrays = {
        "indptr": np.array([0, 3], np.int64),
        "indices": np.array([0, 1, 2], np.int32),
        "values": np.ones(3, np.float32),
    }
    with pytest.raises(TypeError, match=f"^{message}$"):
        _core.CSR(**{**arrays, name: array}, n_cols=5)


def test_csr_keeps_its_arrays_alive():
    values = np.ones(3, np.float32)
    references = sys.getrefcount(values)
    csr = _core.CSR(np.array([0, 3], np.int64), np.array([0, 1, 2], np.int32), values, 5)
    assert sys.getrefcount(values) == references + 1
    del csr
    assert sys.getrefcount(values) == references


@given(
    indptr=st.lists(st.integers(-2, 6), min_size=1, max_size=6),
    indices=st.lists(st.integers(-1, 5), max_size=6),
    n_cols=st.integers(0, 5),
)
def test_csr_takes_exactly_what_is_a_csr(indptr, indices, n_cols):
    rows = [indices[begin:end] for begin, end in itertools.pairwise(indptr)]
    is_good = (
        indptr[0] == 0
        and indptr[-1] == len(indices)
        and indptr == sorted(indptr)
        and all(row == sorted(set(row)) and all(0 <= j < n_cols for j in row) for row in rows)
    )
    values = np.ones(len(indices))
    if is_good:
        assert _csr(indptr, indices, values, n_cols).nnz == len(indices)
    else:
        with pytest.raises(ValueError, match=r"^CSR: "):
            _csr(indptr, indices, values, n_cols)
