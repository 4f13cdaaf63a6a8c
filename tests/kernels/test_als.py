"""The half-sweep of alternating least squares by every solver, and its loss, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise._backend import Backend
from likewise.data import CSR
from reference import AlsObjective

SOLVERS = ["cholesky", "cg", "block"]
# One convention of Hu et al. and one of Rendle et al., much confidence, and unobserved pairs that weigh more than
# stored ones: the terms of a row are then negative, and its dual does not exist.
OBJECTIVES = {
    "hu": AlsObjective(),
    "rendle": AlsObjective(alpha=0.05, unobserved_weight=0.05, regularization=0.01, regularization_exponent=0.75),
    "confident": AlsObjective(alpha=40, regularization=5),
    "unobserved": AlsObjective(alpha=0.1, unobserved_weight=3, regularization=0.5, regularization_exponent=1),
}
FACTORS = [1, 7, 16, 33, 64, 130]
MANY_STEPS = 300
# Rows of so many entries pass every panel (1 MiB) at 64 and 256 factors, and are handed out one by one.
LONG_ROWS = {64: 5000, 256: 1100}

objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
solvers = pytest.mark.parametrize("solver", SOLVERS)


def _factors(rng, m, d, scale=1.0):
    """Item factors in the eigenbasis of their Gramian, as the kernel asks, and its eigenvalues."""
    y = rng.standard_normal((m, d)) * scale
    y = (y @ np.linalg.eigh(y.T @ y)[1]).astype(np.float32)
    return y, np.maximum(np.diag(reference.gramian(y)), 0).astype(np.float32)


def _with_dislikes(matrix, rng):
    signs = np.where(rng.random(matrix.nnz) < 0.3, np.float32(-1), np.float32(1))
    return CSR(matrix.indptr, matrix.indices, matrix.values * signs, matrix.shape)


def _dense(values):
    return CSR.from_arrays(
        np.arange(0, values.size + 1, values.shape[1]),
        np.tile(np.arange(values.shape[1]), len(values)),
        values.reshape(-1).astype(np.float32),
        values.shape,
    )


def _kernel_objective(backend, objective):
    return backend.kernels.AlsObjective(*objective)


def _half_sweep(backend, interactions, factors, objective, solver, x, *, steps=2, tolerance=0.0, block=64, bf16=False):
    y, eigenvalues = factors
    width = -(-y.shape[1] // 16) * 16
    rounded = reference.round_to_bf16(y) if bf16 else np.empty((0, width), np.uint16)
    out = backend.asarray(x.copy())
    backend.kernels.als_half_sweep(
        backend.context,
        backend.csr(interactions),
        backend.asarray(y),
        backend.asarray(rounded, np.uint16),
        backend.asarray(eigenvalues),
        _kernel_objective(backend, objective),
        getattr(backend.kernels.AlsSolver, solver),
        steps,
        tolerance,
        block,
        out,
    )
    return backend.to_numpy(out)


def _loss(backend, interactions, x, y, objective):
    gramians = (backend.asarray(reference.gramian(factors), np.float64) for factors in (x, y))
    return backend.kernels.als_loss(
        backend.context,
        backend.csr(interactions),
        backend.asarray(x),
        backend.asarray(y),
        *gramians,
        _kernel_objective(backend, objective),
    )


def _step_tolerance(backend):
    """How far a step may be off: a tile unit forms its matrix in bfloat16."""
    return 2**-8 if backend.name == "cuda" or backend.context.simd == "amx" else 5e-4


def _assert_steps_close(backend, actual, expected, start):
    moved = np.linalg.norm(expected - start, axis=1)
    assert (np.linalg.norm(actual - expected, axis=1) <= _step_tolerance(backend) * moved).all()


def _assert_rows_close(actual, expected, tolerance):
    """Each row within `tolerance` of the longest one's length."""
    errors = np.linalg.norm(actual - expected, axis=1) / np.linalg.norm(expected, axis=1).max()
    assert errors.max() <= tolerance, (
        f"row {errors.argmax()} is off by {errors.max():.2g}, the median by {np.median(errors):.2g}"
    )


def test_als_half_sweep_takes_denormals_for_zero_and_leaves_the_callers_mode(backend, rng):
    """Factors fade in an over-penalized fit; what is left of them must not slow it down, nor what comes after it."""
    interactions = reference.random_csr(rng, (30, 40), 0.4)
    tiny = rng.standard_normal((40, 24)).astype(np.float32) * np.float32(1e-36)
    objective = reference.AlsObjective(alpha=1, unobserved_weight=1, regularization=1e4, regularization_exponent=0)
    factors = (tiny, np.zeros(24, np.float32))
    x = _half_sweep(backend, interactions, factors, objective, "cholesky", np.zeros((30, 24), np.float32))
    assert not ((x != 0) & (np.abs(x) < np.finfo(np.float32).tiny)).any()
    assert np.array([1e-30], np.float32)[0] * np.array([1e-10], np.float32)[0] != 0


# ---- half-sweep: solutions -----------------------------------------------------------------------------------------


@objectives
@pytest.mark.parametrize("d", FACTORS, ids="d={}".format)
def test_als_half_sweep_solves_rows_exactly(backend, rng, d, objective):
    """Rows shorter and longer than d, so by the dual and by the formed matrix; some empty, some with dislikes."""
    interactions = _with_dislikes(reference.random_csr(rng, (60, 90), 0.4), rng)
    factors, start = _factors(rng, 90, d), rng.standard_normal((60, d), dtype=np.float32)
    solved = _half_sweep(backend, interactions, factors, objective, "cholesky", start)
    _assert_rows_close(solved, reference.als_half_sweep(interactions, factors[0], objective), 1e-4)


@objectives
@solvers
def test_als_half_sweep_repeated_reaches_the_solution(backend, rng, solver, objective):
    interactions = _with_dislikes(reference.random_csr(rng, (40, 70), 0.3), rng)
    factors, x = _factors(rng, 70, 33), np.zeros((40, 33), np.float32)
    for _ in range(300):
        x = _half_sweep(backend, interactions, factors, objective, solver, x, steps=5, block=16)
    _assert_rows_close(x, reference.als_half_sweep(interactions, factors[0], objective), 1e-4)


@objectives
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 33, 64], ids="d={}".format)
def test_als_half_sweep_cg_matches_reference(backend, rng, d, steps, bf16, objective):
    interactions = _with_dislikes(reference.random_csr(rng, (50, 90), 0.3), rng)
    factors, start = _factors(rng, 90, d), rng.standard_normal((50, d), dtype=np.float32)
    rounded = reference.from_bf16(reference.round_to_bf16(factors[0]))[:, :d] if bf16 else None
    expected = reference.als_half_sweep_cg(interactions, factors[0], objective, start, steps, rounded)
    solved = _half_sweep(backend, interactions, factors, objective, "cg", start, steps=steps, bf16=bf16)
    _assert_rows_close(solved, expected, 5e-4)


@objectives
@pytest.mark.parametrize(("d", "block"), [(1, 16), (33, 16), (64, 64), (130, 32), (130, 64), (100, 1000)])
def test_als_half_sweep_block_matches_reference(backend, rng, d, block, objective):
    interactions = _with_dislikes(reference.random_csr(rng, (50, 150), 0.3), rng)
    factors, start = _factors(rng, 150, d), rng.standard_normal((50, d), dtype=np.float32)
    expected = reference.als_half_sweep_block(interactions, factors[0], objective, start, block)
    solved = _half_sweep(backend, interactions, factors, objective, "block", start, block=block)
    _assert_steps_close(backend, solved, expected, start)


def test_als_half_sweep_rounds_a_block_up_to_16(backend, rng):
    interactions, factors = reference.random_csr(rng, (20, 30)), _factors(rng, 30, 40)
    start = rng.standard_normal((20, 40), dtype=np.float32)
    solved = [_half_sweep(backend, interactions, factors, AlsObjective(), "block", start, block=b) for b in (17, 32)]
    assert_array_equal(*solved)


# ---- half-sweep: long rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", LONG_ROWS, ids="d={}".format)
@solvers
def test_als_half_sweep_solves_long_rows(backend, rng, solver, d):
    interactions = _with_dislikes(_dense(rng.integers(1, 6, (2, LONG_ROWS[d]))), rng)
    factors, x = _factors(rng, LONG_ROWS[d], d), rng.standard_normal((2, d), dtype=np.float32)
    for _ in range({"cholesky": 1, "cg": 5, "block": 3}[solver]):
        x = _half_sweep(backend, interactions, factors, AlsObjective(), solver, x, steps=20, block=d)
    _assert_rows_close(x, reference.als_half_sweep(interactions, factors[0], AlsObjective()), 2e-4)


@pytest.mark.parametrize("d", LONG_ROWS, ids="d={}".format)
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_als_half_sweep_cg_matches_reference_on_long_rows(backend, rng, bf16, d):
    """Such rows are solved side by side, a block of the factors at a time: here several, in groups of 128 rows."""
    interactions = _with_dislikes(reference.random_csr(rng, (150 if d == 256 else 3, 2 * LONG_ROWS[d]), 0.6), rng)
    n_rows = interactions.n_rows
    factors, start = _factors(rng, 2 * LONG_ROWS[d], d), 0.1 * rng.standard_normal((n_rows, d), dtype=np.float32)
    rounded = reference.from_bf16(reference.round_to_bf16(factors[0]))[:, :d] if bf16 else None
    expected = reference.als_half_sweep_cg(interactions, factors[0], AlsObjective(), start, 3, rounded)
    solved = _half_sweep(backend, interactions, factors, AlsObjective(), "cg", start, steps=3, bf16=bf16)
    _assert_steps_close(backend, solved, expected, start)


@pytest.mark.parametrize("d", LONG_ROWS, ids="d={}".format)
def test_als_half_sweep_cg_keeps_the_solution_of_long_rows(backend, rng, d):
    """Started at the solution, it stays there."""
    interactions, factors = _dense(rng.integers(1, 6, (2, LONG_ROWS[d]))), _factors(rng, LONG_ROWS[d], d)
    expected = reference.als_half_sweep(interactions, factors[0], AlsObjective())
    solved = _half_sweep(backend, interactions, factors, AlsObjective(), "cg", expected.astype(np.float32))
    _assert_rows_close(solved, expected, 1e-5)


# ---- half-sweep: edges ---------------------------------------------------------------------------------------------


@solvers
def test_als_half_sweep_gathers_beyond_2_to_the_31_factors(vast, rng, solver):
    """Items at offsets that no 32-bit number holds give the bits that they give elsewhere."""
    last, d = len(vast) - 1, vast.shape[1]
    vast[[last - 2, last]] = rng.standard_normal((2, d))
    eigenvalues, start = rng.random(d, dtype=np.float32), np.zeros((1, d), np.float32)
    sweeps = []
    for ids, y in (([last - 2, last], vast), ([0, 1], vast[[last - 2, last]])):
        interactions = CSR.from_arrays([0, 2], ids, [1, 2], (1, len(y)))
        sweeps.append(_half_sweep(Backend(2), interactions, (y, eigenvalues), OBJECTIVES["hu"], solver, start))
    assert np.abs(sweeps[0]).max() > 0
    assert_array_equal(*sweeps)


def test_als_loss_of_users_beyond_2_to_the_31_factors(vast, rng):
    n, d = vast.shape
    vast[-1] = rng.standard_normal(d)
    y, gramian = rng.standard_normal((2, d), dtype=np.float32), np.zeros((d, d))
    backend = Backend(2)
    indptr = np.zeros(n + 1, np.int64)
    indptr[-1] = 2
    losses = [
        backend.kernels.als_loss(
            backend.context,
            backend.csr(CSR.from_arrays(offsets, [0, 1], [1, 2], (len(x), 2))),
            x,
            y,
            gramian,
            gramian,
            _kernel_objective(backend, OBJECTIVES["hu"]),
        )
        for offsets, x in ((indptr, vast), (indptr[-2:], vast[-1:]))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@solvers
@pytest.mark.parametrize("shape", [(0, 5), (0, 0), (3, 0)], ids=str)
def test_als_half_sweep_of_an_empty_matrix(backend, rng, solver, shape):
    interactions = CSR(np.zeros(shape[0] + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), shape)
    start = rng.standard_normal((shape[0], 4), dtype=np.float32)
    solved = _half_sweep(backend, interactions, _factors(rng, shape[1], 4), AlsObjective(), solver, start)
    assert_array_equal(solved, np.zeros_like(start))


@solvers
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)], ids=str)
@pytest.mark.parametrize("d", [1, 20], ids="d={}".format)
def test_als_half_sweep_of_one_row_or_column(backend, rng, solver, shape, d):
    interactions, factors = _dense(rng.integers(1, 6, shape)), _factors(rng, shape[1], d)
    start = np.zeros((shape[0], d), np.float32)
    solved = _half_sweep(backend, interactions, factors, AlsObjective(), solver, start, steps=MANY_STEPS)
    _assert_rows_close(solved, reference.als_half_sweep(interactions, factors[0], AlsObjective()), 1e-4)


@solvers
def test_als_half_sweep_makes_empty_rows_zero(backend, rng, solver):
    interactions = reference.random_csr(rng, (50, 30))
    start = rng.standard_normal((50, 8), dtype=np.float32)
    solved = _half_sweep(backend, interactions, _factors(rng, 30, 8), AlsObjective(), solver, start)
    empty = interactions.row_counts() == 0
    assert empty.any()
    assert not solved[empty].any()
    assert solved[~empty].any(axis=1).all()


@solvers
def test_als_half_sweep_takes_a_stored_zero_for_a_dislike(backend, rng, solver):
    factors = _factors(rng, 12, 5)
    interactions = CSR.from_arrays([0, 3], [1, 4, 7], [2.0, 0.0, 1.0], (1, 12))
    start = np.zeros((1, 5), np.float32)
    solved = _half_sweep(backend, interactions, factors, AlsObjective(alpha=2), solver, start, steps=MANY_STEPS)
    _assert_rows_close(solved, reference.als_half_sweep(interactions, factors[0], AlsObjective(alpha=2)), 1e-4)


@solvers
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6], ids="{:.0e}".format)
def test_als_half_sweep_takes_factors_of_any_scale(backend, rng, solver, scale):
    """With the penalty scaled alike the solution is that of scale 1, divided by it."""
    interactions = reference.random_csr(rng, (30, 40), 0.5)
    factors, start = _factors(rng, 40, 20, scale), np.zeros((30, 20), np.float32)
    objective = AlsObjective(regularization=float(0.1 * scale**2))
    solved = _half_sweep(backend, interactions, factors, objective, solver, start, steps=MANY_STEPS)
    _assert_rows_close(solved, reference.als_half_sweep(interactions, factors[0], objective), 2e-4)


@solvers
@pytest.mark.parametrize("value", [1e-6, 1e6])
def test_als_half_sweep_takes_values_of_any_scale(backend, rng, solver, value):
    given = reference.random_csr(rng, (30, 40), 0.2)
    interactions = CSR(given.indptr, given.indices, given.values * np.float32(value), given.shape)
    factors, start = _factors(rng, 40, 48), np.zeros((30, 48), np.float32)
    solved = _half_sweep(backend, interactions, factors, AlsObjective(), solver, start, steps=MANY_STEPS)
    expected = reference.als_half_sweep(interactions, factors[0], AlsObjective())
    # With confidences of 10^6 the system is as ill-conditioned; what is asked for is that scores come out.
    scores, wanted = solved @ factors[0].T, expected @ factors[0].T
    stored = interactions.row_numbers(), interactions.indices
    assert_allclose(scores[stored], wanted[stored], atol=5e-3)


@solvers
def test_als_half_sweep_without_penalty_and_more_factors_than_rank(backend, rng, solver):
    """The system is singular: scores are still those of a minimum, and vectors stay small."""
    interactions, factors = reference.random_csr(rng, (30, 12), 0.5), _factors(rng, 12, 40)
    objective, x = AlsObjective(regularization=0), np.zeros((30, 40), np.float32)
    for _ in range(3):
        x = _half_sweep(backend, interactions, factors, objective, solver, x, steps=MANY_STEPS)
    expected = reference.als_half_sweep(interactions, factors[0], objective)
    assert_allclose(x @ factors[0].T, expected @ factors[0].T, atol=2e-3)
    assert np.linalg.norm(x) < 10 * np.linalg.norm(expected)


# ---- half-sweep: determinism and agreement -------------------------------------------------------------------------


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@solvers
def test_als_half_sweep_is_the_same_at_any_thread_count(same_backends, rng, solver, bf16):
    """With rows that are handed out alone among rows in groups."""
    light = reference.random_csr(rng, (400, 5000), 0.004)
    counts = light.row_counts()
    counts[[7, 300]] = 5000
    rows = [np.arange(5000) if n == 5000 else light.row(i)[0] for i, n in enumerate(counts)]
    indptr, indices = np.concatenate([[0], np.cumsum(counts)]), np.concatenate(rows).astype(np.int32)
    interactions = CSR(indptr, indices, rng.integers(1, 6, indices.size).astype(np.float32), light.shape)
    factors, start = _factors(rng, 5000, 64), rng.standard_normal((400, 64), dtype=np.float32)
    first, *others = [
        _half_sweep(backend, interactions, factors, AlsObjective(), solver, start, block=32, bf16=bf16)
        for backend in same_backends
    ]
    for other in others:
        assert_array_equal(other, first)


@solvers
def test_als_half_sweep_of_a_row_does_not_depend_on_the_others(backend, rng, solver):
    interactions, factors = reference.random_csr(rng, (50, 80), 0.3), _factors(rng, 80, 20)
    start, rows = rng.standard_normal((50, 20), dtype=np.float32), [31, 4, 17]
    whole = _half_sweep(backend, interactions, factors, AlsObjective(), solver, start)
    part = _half_sweep(backend, interactions.take_rows(rows), factors, AlsObjective(), solver, start[rows])
    assert_array_equal(part, whole[rows])


@pytest.mark.parametrize("change", ["columns", "rows", "factors", "eigenvalues", "bf16 rows", "bf16 columns"])
def test_als_half_sweep_refuses_shapes_that_disagree(backend, change):
    shapes = {"y": [6, 4], "bf16": [6, 16], "eigenvalues": [4], "x": [5, 4]}
    name, axis, size, message = {
        "columns": ("y", 0, 7, "interactions has 6 columns but y has 7 rows"),
        "rows": ("x", 0, 4, "interactions has 5 rows but x has 4 rows"),
        "factors": ("x", 1, 3, "x has 3 columns but y has 4 columns"),
        "eigenvalues": ("eigenvalues", 0, 5, "eigenvalues has 5 entries but y has 4 columns"),
        "bf16 rows": ("bf16", 0, 5, "y_bf16 has 5 rows but y has 6 rows"),
        "bf16 columns": ("bf16", 1, 4, "y_bf16 has 4 columns but y padded to 16 has 16 columns"),
    }[change]
    shapes[name][axis] = size
    interactions = CSR(np.zeros(6, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), (5, 6))
    with pytest.raises(ValueError, match=f"^als_half_sweep: {message}$"):
        backend.kernels.als_half_sweep(
            backend.context,
            backend.csr(interactions),
            backend.zeros(shapes["y"]),
            backend.zeros(shapes["bf16"], np.uint16),
            backend.zeros(shapes["eigenvalues"]),
            _kernel_objective(backend, AlsObjective()),
            backend.kernels.AlsSolver.cg,
            2,
            0.0,
            64,
            backend.zeros(shapes["x"]),
        )


@pytest.mark.parametrize(
    ("d", "steps", "block", "message"),
    [
        (0, 1, 1, "y must have at least one column"),
        (3, 0, 1, "steps and block must be >= 1"),
        (3, 1, 0, "steps and block must be >= 1"),
    ],
)
def test_als_half_sweep_refuses_nothing_to_do(backend, rng, d, steps, block, message):
    interactions, factors = reference.random_csr(rng, (4, 5)), (np.zeros((5, d), np.float32), np.zeros(d, np.float32))
    start = np.zeros((4, d), np.float32)
    with pytest.raises(ValueError, match=f"^als_half_sweep: {message}$"):
        _half_sweep(backend, interactions, factors, AlsObjective(), "cg", start, steps=steps, block=block)


# ---- loss ----------------------------------------------------------------------------------------------------------


@objectives
@pytest.mark.parametrize("d", FACTORS, ids="d={}".format)
def test_als_loss_matches_reference(backend, rng, d, objective):
    interactions = _with_dislikes(reference.random_csr(rng, (50, 30)), rng)
    x, y = (rng.standard_normal((n, d), dtype=np.float32) for n in interactions.shape)
    expected = reference.als_loss(interactions, x, y, objective)
    assert _loss(backend, interactions, x, y, objective) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (1, 40), (40, 1)], ids=str)
def test_als_loss_of_edge_shapes(backend, rng, shape):
    interactions = (
        _dense(rng.integers(1, 6, shape)) if min(shape) else CSR.from_arrays(np.zeros(shape[0] + 1, int), [], [], shape)
    )
    x, y = (rng.standard_normal((n, 3), dtype=np.float32) for n in shape)
    expected = reference.als_loss(interactions, x, y, AlsObjective())
    assert _loss(backend, interactions, x, y, AlsObjective()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-15, 1e6])
def test_als_loss_takes_factors_of_any_scale(backend, rng, scale):
    interactions = reference.random_csr(rng, (20, 30))
    x, y = (rng.standard_normal((n, 9), dtype=np.float32) * np.float32(scale) for n in interactions.shape)
    expected = reference.als_loss(interactions, x, y, AlsObjective())
    assert _loss(backend, interactions, x, y, AlsObjective()) == pytest.approx(expected, rel=1e-5)


def test_als_loss_sums_many_terms_in_float64(backend):
    """2^25 / 32 rows that each add 32 would stop a float32 sum at 2^24."""
    n = 2**20
    interactions = CSR(np.arange(n + 1), np.zeros(n, np.int32), np.full(n, 31, np.float32), (n, 1))
    x, y = np.zeros((n, 1), np.float32), np.zeros((1, 1), np.float32)
    assert _loss(backend, interactions, x, y, AlsObjective()) == 32 * n


@objectives
def test_als_half_sweep_minimizes_als_loss(backend, rng, objective):
    """The solution of one kernel is where the other is flat: a step either way in any direction is uphill."""
    interactions = _with_dislikes(reference.random_csr(rng, (30, 25), 0.4), rng)
    factors, start = _factors(rng, 25, 6), np.zeros((30, 6), np.float32)
    solved = _half_sweep(backend, interactions, factors, objective, "cholesky", start)
    least = _loss(backend, interactions, solved, factors[0], objective)
    for _ in range(10):
        step = 0.05 * rng.standard_normal(solved.shape, dtype=np.float32) * (interactions.row_counts() > 0)[:, None]
        assert _loss(backend, interactions, solved + step, factors[0], objective) > least
        assert _loss(backend, interactions, solved - step, factors[0], objective) > least


def test_als_loss_is_the_same_at_any_thread_count(same_backends, rng):
    interactions = reference.random_csr(rng, (3000, 50))
    x, y = (rng.standard_normal((n, 24), dtype=np.float32) for n in interactions.shape)
    first, *others = [_loss(backend, interactions, x, y, AlsObjective()) for backend in same_backends]
    assert others == [first] * len(others)


@pytest.mark.parametrize(
    ("x_shape", "y_shape", "side", "message"),
    [
        ((5, 4), (7, 4), 4, "interactions has 6 columns but y has 7 rows"),
        ((4, 4), (6, 4), 4, "interactions has 5 rows but x has 4 rows"),
        ((5, 3), (6, 4), 4, "x has 3 columns but y has 4 columns"),
        ((5, 4), (6, 4), 3, "gramian has 3 rows but y has 4 columns"),
    ],
)
def test_als_loss_refuses_shapes_that_disagree(backend, x_shape, y_shape, side, message):
    interactions = CSR(np.zeros(6, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), (5, 6))
    gramian = backend.zeros((side, side), np.float64)
    with pytest.raises(ValueError, match=f"^als_loss: {message}$"):
        backend.kernels.als_loss(
            backend.context,
            backend.csr(interactions),
            backend.zeros(x_shape),
            backend.zeros(y_shape),
            gramian,
            gramian,
            _kernel_objective(backend, AlsObjective()),
        )


def test_als_half_sweep_cg_stops_at_the_tolerance(backend, rng):
    interactions = reference.random_csr(rng, (40, 70), 0.3)
    factors, start = _factors(rng, 70, 33), np.zeros((40, 33), np.float32)
    objective = AlsObjective()
    one, many = (_half_sweep(backend, interactions, factors, objective, "cg", start, steps=steps) for steps in (1, 20))
    loose = _half_sweep(backend, interactions, factors, objective, "cg", start, steps=20, tolerance=0.9)
    tight = _half_sweep(backend, interactions, factors, objective, "cg", start, steps=20, tolerance=1e-9)
    exact = reference.als_half_sweep(interactions, factors[0], objective)
    assert (loose == one).all(axis=1).mean() > 0.5  # what the first step leaves is enough for most rows
    assert np.abs(one - exact).max() > 10 * np.abs(tight - exact).max()
    _assert_rows_close(tight, many, 1e-3)
