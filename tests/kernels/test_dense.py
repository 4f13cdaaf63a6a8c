"""Gramians, products with a transpose, rounding to bfloat16 and symmetric solves, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

import reference

# Empty, one row, one column, lengths around the tiles of 8, 16, 32 and 64, and more rows than one float32 sum takes.
SHAPES = [(0, 4), (3, 0), (1, 1), (1, 64), (5, 1), (7, 3), (37, 7), (64, 16), (65, 33), (300, 130), (9000, 17)]
SHAPE_IDS = ["x".join(map(str, shape)) for shape in SHAPES]
SCALES = [1.0, 1e15, 1e-15]


def _gramian(backend, y):
    out = backend.asarray(np.full((y.shape[1], y.shape[1]), np.nan), np.float64)
    backend.kernels.gramian(backend.context, backend.asarray(y), out)
    return backend.to_numpy(out)


def _multiply_transposed(backend, x, b):
    out = backend.asarray(np.full((x.shape[0], b.shape[0]), np.nan))
    backend.kernels.multiply_transposed(backend.context, backend.asarray(x), backend.asarray(b), out)
    return backend.to_numpy(out)


def _round_to_bf16(backend, x):
    out = backend.asarray(np.full((x.shape[0], -(-x.shape[1] // 16) * 16), 7), np.uint16)
    backend.kernels.round_to_bf16(backend.context, backend.asarray(x), out)
    return backend.to_numpy(out)


def _solve_spd(backend, a, b):
    out = backend.asarray(np.full(len(b), np.nan))
    backend.kernels.solve_spd(backend.context, backend.asarray(a), backend.asarray(b), out)
    return backend.to_numpy(out)


def _random_spd(rng, d, n_rows=None):
    y = rng.standard_normal((n_rows or 2 * d + 4, d), dtype=np.float32)
    return y.T @ y + np.float32(0.1) * np.eye(d, dtype=np.float32)


# ---- gramian -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_IDS)
def test_gramian_matches_reference(backend, rng, shape):
    y = rng.standard_normal(shape, dtype=np.float32)
    error = np.abs(_gramian(backend, y) - reference.gramian(y))
    assert (error <= 2e-6 * reference.gramian(np.abs(y))).all()


@pytest.mark.parametrize("scale", SCALES)
def test_gramian_keeps_its_relative_error_at_any_scale(backend, rng, scale):
    y = (rng.random((200, 20), dtype=np.float32) + 0.5) * np.float32(scale)
    assert_allclose(_gramian(backend, y), reference.gramian(y), rtol=1e-5)


def test_gramian_sums_blocks_in_float64(backend):
    """A float32 sum of 2^25 ones would stop at 2^24; blocks of them do not."""
    y = np.ones((2**25 // 8, 1), dtype=np.float32) * np.float32(8**0.5)
    total = _gramian(backend, y)[0, 0]
    assert total == pytest.approx(float(y[0, 0]) ** 2 * len(y), rel=1e-5)


def test_gramian_is_exactly_symmetric(backend, rng):
    out = _gramian(backend, rng.standard_normal((100, 37), dtype=np.float32))
    assert_array_equal(out, out.T)


def test_gramian_is_the_same_at_any_thread_count(same_backends, rng):
    y = rng.standard_normal((20_000, 24), dtype=np.float32)
    first, *others = [_gramian(backend, y) for backend in same_backends]
    for other in others:
        assert_array_equal(other, first)


@pytest.mark.parametrize(
    ("out_shape", "message"),
    [
        ((3, 4), "gramian: y has 3 columns but out has 4 columns"),
        ((4, 3), "gramian: out has 4 rows but out has 3 columns"),
    ],
)
def test_gramian_refuses_shapes_that_disagree(backend, out_shape, message):
    y, out = backend.zeros((5, 3)), backend.zeros(out_shape, np.float64)
    with pytest.raises(ValueError, match=f"^{message}$"):
        backend.kernels.gramian(backend.context, y, out)


# ---- multiply_transposed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 16, 33])
@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_IDS)
def test_multiply_transposed_matches_reference(backend, rng, shape, m):
    x = rng.standard_normal(shape, dtype=np.float32)
    b = rng.standard_normal((m, shape[1]), dtype=np.float32)
    error = np.abs(_multiply_transposed(backend, x, b) - reference.multiply_transposed(x, b))
    assert (error <= 2e-6 * reference.multiply_transposed(np.abs(x), np.abs(b))).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (64, 64), (700, 65)], ids=str)
def test_multiply_transposed_in_place_gives_the_same_bits(backend, rng, shape):
    x, b = (rng.standard_normal(size, dtype=np.float32) for size in (shape, (shape[1], shape[1])))
    expected = _multiply_transposed(backend, x, b)
    in_place, right = backend.asarray(x.copy()), backend.asarray(b)
    backend.kernels.multiply_transposed(backend.context, in_place, right, in_place)
    assert_array_equal(backend.to_numpy(in_place), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_multiply_transposed_keeps_its_relative_error_at_any_scale(backend, rng, scale):
    x, b = ((rng.random((n, 20), dtype=np.float32) + 0.5) * np.float32(scale) for n in (30, 9))
    assert_allclose(_multiply_transposed(backend, x, b), reference.multiply_transposed(x, b), rtol=1e-5)


def test_multiply_transposed_is_the_same_at_any_thread_count(same_backends, rng):
    x, b = (rng.standard_normal((n, 40), dtype=np.float32) for n in (2000, 33))
    first, *others = [_multiply_transposed(backend, x, b) for backend in same_backends]
    for other in others:
        assert_array_equal(other, first)


@pytest.mark.parametrize(
    ("b_shape", "out_shape", "message"),
    [
        ((4, 2), (5, 4), "multiply_transposed: x has 3 columns but b has 2 columns"),
        ((4, 3), (6, 4), "multiply_transposed: x has 5 rows but out has 6 rows"),
        ((4, 3), (5, 3), "multiply_transposed: b has 4 rows but out has 3 columns"),
    ],
)
def test_multiply_transposed_refuses_shapes_that_disagree(backend, b_shape, out_shape, message):
    x, b, out = backend.zeros((5, 3)), backend.zeros(b_shape), backend.zeros(out_shape)
    with pytest.raises(ValueError, match=f"^{message}$"):
        backend.kernels.multiply_transposed(backend.context, x, b, out)


# ---- round_to_bf16 -------------------------------------------------------------------------------------------------

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=FLOATS))
@example(x=np.array([[0.0, -0.0, 1.00390625, 1.01171875, 1e-45, -1e-40, 3.4028235e38, -3.4028235e38]], np.float32))
def test_round_to_bf16_matches_reference(backend, x):
    assert_array_equal(_round_to_bf16(backend, x), reference.round_to_bf16(x))


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_IDS)
def test_round_to_bf16_pads_rows_with_zeros(backend, rng, shape):
    x = rng.standard_normal(shape, dtype=np.float32)
    assert_array_equal(_round_to_bf16(backend, x), reference.round_to_bf16(x))


@pytest.mark.parametrize(
    ("out_shape", "message"),
    [
        ((5, 3), "round_to_bf16: x padded to 16 has 16 columns but out has 3 columns"),
        ((4, 16), "round_to_bf16: x has 5 rows but out has 4 rows"),
    ],
)
def test_round_to_bf16_refuses_shapes_that_disagree(backend, out_shape, message):
    x, out = backend.zeros((5, 3)), backend.zeros(out_shape, np.uint16)
    with pytest.raises(ValueError, match=f"^{message}$"):
        backend.kernels.round_to_bf16(backend.context, x, out)


# ---- solve_spd -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 7, 15, 16, 17, 32, 33, 64, 100, 130, 257], ids="d={}".format)
def test_solve_spd_matches_reference(backend, rng, d):
    a, b = _random_spd(rng, d), rng.standard_normal(d, dtype=np.float32)
    expected = reference.solve_spd(a, b)
    condition = np.linalg.cond(a.astype(np.float64))
    assert_allclose(_solve_spd(backend, a, b), expected, rtol=0, atol=1e-6 * condition * np.abs(expected).max())


def test_solve_spd_of_nothing_is_nothing(backend):
    assert _solve_spd(backend, np.zeros((0, 0)), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("scale", SCALES)
def test_solve_spd_takes_any_scale(backend, rng, scale):
    a, b = _random_spd(rng, 20, n_rows=400), rng.standard_normal(20, dtype=np.float32)
    scaled = _solve_spd(backend, a * np.float32(scale), b)
    assert_allclose(scaled * scale, reference.solve_spd(a, b), rtol=1e-3, atol=1e-6)


def test_solve_spd_reads_the_upper_triangle_only(backend, rng):
    a, b = _random_spd(rng, 21), rng.standard_normal(21, dtype=np.float32)
    expected = _solve_spd(backend, a, b)
    a[np.tril_indices(21, -1)] = np.nan
    assert_array_equal(_solve_spd(backend, a, b), expected)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan], ids=str)
@pytest.mark.parametrize("position", [0, 5, 19])
def test_solve_spd_refuses_a_matrix_that_is_not_positive_definite(backend, rng, bad, position):
    a = np.eye(20, dtype=np.float32)
    a[position, position] = bad
    with pytest.raises(ValueError, match=r"^solve_spd: a is not positive definite$"):
        _solve_spd(backend, a, np.ones(20))


@pytest.mark.parametrize(
    ("a_shape", "n_b", "n_x", "message"),
    [
        ((3, 4), 3, 3, "solve_spd: a has 3 rows but a has 4 columns"),
        ((3, 3), 2, 3, "solve_spd: a has 3 rows but b has 2 entries"),
        ((3, 3), 3, 4, "solve_spd: a has 3 rows but x has 4 entries"),
    ],
)
def test_solve_spd_refuses_shapes_that_disagree(backend, a_shape, n_b, n_x, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        backend.kernels.solve_spd(backend.context, backend.zeros(a_shape), backend.zeros((n_b,)), backend.zeros((n_x,)))
