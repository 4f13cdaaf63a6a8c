"""The half-sweep of alternating least squares over ratings by every solver, and its loss, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import reference
from likewise._backend import Backend
from likewise.data import CSR
from reference import ExplicitAlsObjective

OBJECTIVES = {
    "weighted-lambda": ExplicitAlsObjective(),
    "plain": ExplicitAlsObjective(mean=2.5, regularization=2.0, regularization_exponent=0.0),
    "half": ExplicitAlsObjective(mean=0.0, regularization=0.5, regularization_exponent=0.5),
    "without biases": ExplicitAlsObjective(biases=False),
}
DESCENTS = {
    "l1": ExplicitAlsObjective(l1=0.4),
    "non-negative": ExplicitAlsObjective(non_negative=True),
    "both": ExplicitAlsObjective(l1=0.2, non_negative=True, regularization_exponent=0.5),
    "non-negative without biases": ExplicitAlsObjective(biases=False, non_negative=True),
}
FACTORS = [1, 7, 16, 33, 64, 130]
# Rows of so many entries pass every panel (1 MiB) at 64 and 256 factors, and are handed out one by one.
LONG_ROWS = {64: 5000, 256: 1100}

objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
descents = pytest.mark.parametrize("objective", DESCENTS.values(), ids=DESCENTS)


def _side(rng, n, d, scale=1.0):
    """Factors and biases."""
    return (scale * rng.standard_normal((n, d))).astype(np.float32), rng.standard_normal(n).astype(np.float32)


def _weights(rng, ratings):
    return (0.5 + rng.random(ratings.nnz)).astype(np.float32)


def _ones(ratings):
    return np.ones(ratings.nnz, np.float32)


def _half_sweep(backend, ratings, weights, y, objective, solver, x=None, *, steps=2, tolerance=0.0, bf16=False):
    factors, biases = y
    d = factors.shape[1]
    rounded = reference.round_to_bf16(factors) if bf16 else np.empty((0, -(-d // 16) * 16), np.uint16)
    start = np.zeros((ratings.n_rows, d), np.float32) if x is None else x
    out, out_biases = backend.asarray(start.copy()), backend.asarray(np.full(ratings.n_rows, np.nan, np.float32))
    backend.kernels.explicit_als_half_sweep(
        backend.context,
        backend.csr(ratings),
        backend.asarray(weights),
        backend.asarray(factors),
        backend.asarray(rounded, np.uint16),
        backend.asarray(biases),
        backend.kernels.ExplicitAlsObjective(*objective),
        getattr(backend.kernels.AlsSolver, solver),
        steps,
        tolerance,
        out,
        out_biases,
    )
    found = backend.to_numpy(out_biases)
    return backend.to_numpy(out), found if objective.biases else np.zeros_like(found)


def _loss(backend, ratings, weights, x, y, objective):
    return backend.kernels.explicit_als_loss(
        backend.context,
        backend.csr(ratings),
        backend.asarray(weights),
        *(backend.asarray(side[0]) for side in (x, y)),
        *(backend.asarray(side[1]) for side in (x, y)),
        backend.kernels.ExplicitAlsObjective(*objective),
    )


def _assert_close(actual, expected, objective, tolerance):
    """Vectors, and biases where there are any, within `tolerance` of the longest one's length."""
    errors = np.linalg.norm(actual[0] - expected[0], axis=1) / np.linalg.norm(expected[0], axis=1).max()
    assert errors.max() <= tolerance, f"row {errors.argmax()} is off by {errors.max():.2g}"
    if objective.biases:
        assert_allclose(actual[1], expected[1], atol=tolerance * max(1, np.abs(expected[1]).max()))


def _dense(values):
    return CSR.from_arrays(
        np.arange(0, values.size + 1, values.shape[1]),
        np.tile(np.arange(values.shape[1]), len(values)),
        values.reshape(-1).astype(np.float32),
        values.shape,
    )


def _assert_minimal(solved, ratings, weights, y, objective):
    """No coordinate leads downhill: its slope is 0, or where it is 0 itself no greater than the l1 penalty."""
    systems = reference.explicit_als_systems(ratings, weights, *y, objective)
    for row, (matrix, target, l1) in enumerate(systems):
        if ratings.row(row)[0].size == 0:
            assert_array_equal(solved[0][row], 0)
            continue
        x = np.append(solved[1][row], solved[0][row]).astype(np.float64)
        slopes, tolerance = target - matrix @ x, 1e-4 * (1 + np.abs(matrix).sum(axis=1))
        x, slopes = x[1:], (slopes - np.append(0, np.sign(x[1:]) * l1 / 2))[1:]
        assert objective.non_negative <= bool((x >= 0).all())
        assert (np.abs(slopes) <= tolerance[1:])[x != 0].all()
        assert ((slopes if objective.non_negative else np.abs(slopes)) <= l1 / 2 + tolerance[1:])[x == 0].all()


# ---- half-sweep: solutions -----------------------------------------------------------------------------------------


@objectives
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("d", FACTORS, ids="d={}".format)
def test_explicit_als_half_sweep_solves_rows_exactly(backend, rng, d, weighted, objective):
    """Rows shorter and longer than d, so by the dual and by the formed matrix; some empty."""
    ratings = reference.random_csr(rng, (60, 90), 0.4)
    y, weights = _side(rng, 90, d), _weights(rng, ratings) if weighted else np.empty(0, np.float32)
    solved = _half_sweep(backend, ratings, weights, y, objective, "cholesky", _side(rng, 60, d)[0])
    expected = reference.explicit_als_half_sweep(ratings, weights if weighted else _ones(ratings), *y, objective)
    _assert_close(solved, expected, objective, 1e-4)


@objectives
@pytest.mark.parametrize("d", [1, 16, 33, 64], ids="d={}".format)
def test_explicit_als_half_sweep_cg_repeated_reaches_the_solution(backend, rng, d, objective):
    ratings = reference.random_csr(rng, (40, 70), 0.3)
    y, weights, x = _side(rng, 70, d), _weights(rng, ratings), None
    for _ in range(60):
        x, biases = _half_sweep(backend, ratings, weights, y, objective, "cg", x, steps=5)
    expected = reference.explicit_als_half_sweep(ratings, weights, *y, objective)
    _assert_close((x, biases), expected, objective, 1e-4)


@objectives
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_explicit_als_half_sweep_cg_gathers_rounded_rows(backend, rng, bf16, objective):
    """The solution that its steps lead to is that of the rows it reads."""
    ratings, y = reference.random_csr(rng, (30, 80), 0.4), _side(rng, 80, 24)
    read = reference.from_bf16(reference.round_to_bf16(y[0]))[:, :24] if bf16 else y[0]
    solved = _half_sweep(backend, ratings, _ones(ratings), y, objective, "cg", steps=200, bf16=bf16)
    expected = reference.explicit_als_half_sweep(ratings, _ones(ratings), read, y[1], objective)
    _assert_close(solved, expected, objective, 1e-3)


@objectives
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_explicit_als_half_sweep_cg_never_raises_the_loss(backend, rng, steps, objective):
    ratings, y, x = reference.random_csr(rng, (50, 60), 0.3), _side(rng, 60, 20), _side(rng, 50, 20)
    weights = _weights(rng, ratings)
    losses = [reference.explicit_als_loss(ratings, weights, x[0], y[0], x[1], y[1], objective)[1]]
    for _ in range(3):
        x = _half_sweep(backend, ratings, weights, y, objective, "cg", x[0], steps=steps)
        losses.append(reference.explicit_als_loss(ratings, weights, x[0], y[0], x[1], y[1], objective)[1])
    assert (np.diff(losses) <= 1e-5 * losses[0]).all()


@descents
@pytest.mark.parametrize("d", [1, 16, 33], ids="d={}".format)
def test_explicit_als_half_sweep_descends_to_the_solution(backend, rng, d, objective):
    ratings = reference.random_csr(rng, (40, 70), 0.5)
    y, weights = _side(rng, 70, d), _weights(rng, ratings)
    solved = _half_sweep(backend, ratings, weights, y, objective, "descent", _side(rng, 40, d)[0], steps=2000)
    _assert_minimal(solved, ratings, weights, y, objective)


def test_explicit_als_half_sweep_descent_without_bounds_is_cholesky(backend, rng):
    ratings, y, objective = reference.random_csr(rng, (40, 70), 0.5), _side(rng, 70, 24), OBJECTIVES["plain"]
    descent = _half_sweep(backend, ratings, _ones(ratings), y, objective, "descent", steps=3000)
    cholesky = _half_sweep(backend, ratings, _ones(ratings), y, objective, "cholesky")
    _assert_close(descent, cholesky, objective, 2e-4)


def test_explicit_als_half_sweep_descent_stops_once_it_moves_little(backend, rng):
    ratings, y, objective = reference.random_csr(rng, (20, 70), 0.5), _side(rng, 70, 16), DESCENTS["both"]
    start = _half_sweep(backend, ratings, _ones(ratings), y, objective, "descent", steps=3000)[0]
    one = _half_sweep(backend, ratings, _ones(ratings), y, objective, "descent", start, steps=1)
    many = _half_sweep(backend, ratings, _ones(ratings), y, objective, "descent", start, steps=100, tolerance=0.5)
    assert_array_equal(one[0], many[0])


def test_explicit_als_half_sweep_counts_a_weight_as_that_many_ratings(backend, rng):
    """Two columns alike with a rating each are one with a weight of 2."""
    factors, biases = _side(rng, 6, 5)
    twice = (np.repeat(factors, 2, axis=0), np.repeat(biases, 2))
    values = rng.integers(1, 6, (3, 6))
    objective = ExplicitAlsObjective()
    weighted = _half_sweep(
        backend, _dense(values), np.full(18, 2, np.float32), (factors, biases), objective, "cholesky"
    )
    plain = _half_sweep(
        backend, _dense(np.repeat(values, 2, axis=1)), np.empty(0, np.float32), twice, objective, "cholesky"
    )
    _assert_close(weighted, plain, objective, 1e-5)


# ---- half-sweep: long rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", LONG_ROWS, ids="d={}".format)
@pytest.mark.parametrize("solver", ["cholesky", "cg", "descent"])
def test_explicit_als_half_sweep_solves_long_rows(backend, rng, solver, d):
    """Several, so that conjugate gradients take them side by side."""
    ratings = _dense(rng.integers(1, 6, (3, LONG_ROWS[d])))
    y, weights, objective = _side(rng, LONG_ROWS[d], d), _weights(rng, ratings), ExplicitAlsObjective()
    solved = _half_sweep(backend, ratings, weights, y, objective, solver, steps=300)
    _assert_close(solved, reference.explicit_als_half_sweep(ratings, weights, *y, objective), objective, 5e-4)


@pytest.mark.parametrize("solver", ["cholesky", "cg", "descent"])
def test_explicit_als_half_sweep_does_not_depend_on_threads(rng, solver):
    """Long rows and short ones; the same bits from one thread and from several."""
    n_columns = 6000
    long_rows, short = rng.random((3, n_columns)) < 0.9, rng.random((300, n_columns)) < 0.01
    present = np.concatenate([short, long_rows, short])
    ratings = CSR.from_arrays(
        np.concatenate([[0], np.cumsum(present.sum(axis=1))]),
        np.nonzero(present)[1],
        rng.integers(1, 6, int(present.sum())).astype(np.float32),
        present.shape,
    )
    y, x, weights = _side(rng, n_columns, 64), _side(rng, len(present), 64)[0], _weights(rng, ratings)
    runs = [
        _half_sweep(Backend(n), ratings, weights, y, ExplicitAlsObjective(), solver, x, bf16=solver == "cg")
        for n in (1, 2, 5)
    ]
    for run in runs[1:]:
        assert_array_equal(run[0], runs[0][0])
        assert_array_equal(run[1], runs[0][1])


# ---- half-sweep: edges ---------------------------------------------------------------------------------------------

EDGES = {
    "no rows": (CSR.from_arrays([0], [], [], (0, 3)), 4),
    "nothing stored": (CSR.from_arrays([0, 0, 0], [], [], (2, 3)), 4),
    "one entry": (CSR.from_arrays([0, 1], [2], [5], (1, 3)), 4),
    "one column": (CSR.from_arrays([0, 1, 1, 2], [0, 0], [1, 5], (3, 1)), 16),
    "a stored zero": (CSR.from_arrays([0, 2], [0, 1], [0, 0], (1, 3)), 3),
    "negative ratings": (CSR.from_arrays([0, 2], [0, 1], [-3, 2], (1, 3)), 1),
    "huge ratings": (CSR.from_arrays([0, 2], [0, 1], [1e12, -1e12], (1, 3)), 3),
    "tiny ratings": (CSR.from_arrays([0, 2], [0, 1], [1e-12, 2e-12], (1, 3)), 3),
}


@pytest.mark.parametrize(("ratings", "d"), EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("solver", ["cholesky", "cg", "descent"])
def test_explicit_als_half_sweep_at_the_edges(backend, rng, solver, ratings, d):
    objective = ExplicitAlsObjective(mean=0.0)
    y = (rng.standard_normal((ratings.n_cols, d)).astype(np.float32), np.zeros(ratings.n_cols, np.float32))
    start = rng.standard_normal((ratings.n_rows, d)).astype(np.float32)
    x, biases = _half_sweep(backend, ratings, _ones(ratings), y, objective, solver, start, steps=500)
    expected = reference.explicit_als_half_sweep(ratings, _ones(ratings), *y, objective)
    # Of very small ratings nothing remains against the start.
    scale = max(1.0, np.abs(ratings.values).max(initial=0))
    assert_allclose(x, expected[0], atol=1e-4 * scale)
    assert_allclose(biases, expected[1], atol=1e-4 * scale)


@pytest.mark.parametrize("solver", ["cholesky", "cg", "descent"])
def test_explicit_als_half_sweep_without_penalty_stays_finite(backend, rng, solver):
    """One rating leaves every direction open, and columns that are zero leave factors open."""
    ratings = CSR.from_arrays([0, 1, 3, 3], [2, 0, 1], [5, 1, 2], (3, 4))
    factors, biases = _side(rng, 4, 6)
    factors[:, 3:] = 0
    objective = ExplicitAlsObjective(regularization=0.0)
    x, x_biases = _half_sweep(backend, ratings, _ones(ratings), (factors, biases), objective, solver, steps=50)
    assert np.isfinite(x).all()
    assert np.isfinite(x_biases).all()
    scores = objective.mean + x_biases[0] + biases[2] + x[0] @ factors[2]
    assert_allclose(scores, 5, atol=1e-3)


BAD = {
    "y has 4 rows": {"y": np.zeros((4, 2), np.float32)},
    "y has 3 columns": {"y": np.zeros((5, 3), np.float32)},
    "x has 2 rows": {"x": np.zeros((2, 2), np.float32)},
    "x_biases has 1 entries": {"x_biases": np.zeros(1, np.float32)},
    "y_biases has 1 entries": {"y_biases": np.zeros(1, np.float32)},
    "weights has 2 entries": {"weights": np.zeros(2, np.float32)},
    "y_bf16 has 5 columns": {"y_bf16": np.zeros((5, 5), np.uint16)},
    "steps must be >= 1": {"steps": 0},
    "tolerance must be >= 0": {"tolerance": -1.0},
    "solver must be cholesky, cg or descent": {"solver": "block"},
    "l1 and non_negative need the solver descent": {"objective": ExplicitAlsObjective(l1=1.0)},
}


@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=BAD)
def test_explicit_als_half_sweep_refuses_what_does_not_fit(backend, message, change):
    arguments = {
        "ratings": CSR.from_arrays([0, 1, 2, 3], [0, 1, 2], [1, 2, 3], (3, 5)),
        "weights": np.empty(0, np.float32),
        "y": np.zeros((5, 2), np.float32),
        "y_bf16": np.zeros((0, 16), np.uint16),
        "y_biases": np.zeros(5, np.float32),
        "objective": ExplicitAlsObjective(),
        "solver": "cholesky",
        "steps": 1,
        "tolerance": 0.0,
        "x": np.zeros((3, 2), np.float32),
        "x_biases": np.zeros(3, np.float32),
    } | change
    kernels = backend.kernels
    given = {
        "ratings": backend.csr,
        "objective": lambda objective: kernels.ExplicitAlsObjective(*objective),
        "solver": lambda name: getattr(kernels.AlsSolver, name),
    }
    values = [
        given[name](value)
        if name in given
        else (backend.asarray(value, value.dtype) if isinstance(value, np.ndarray) else value)
        for name, value in arguments.items()
    ]
    with pytest.raises(ValueError, match=f"explicit_als_half_sweep: .*{message}"):
        kernels.explicit_als_half_sweep(backend.context, *values)


# ---- loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [*OBJECTIVES.values(), *DESCENTS.values()], ids=[*OBJECTIVES, *DESCENTS])
def test_explicit_als_loss_matches_reference(backend, rng, objective):
    ratings, x, y = reference.random_csr(rng, (40, 30), 0.2), _side(rng, 40, 19), _side(rng, 30, 19)
    weights = _weights(rng, ratings)
    expected = reference.explicit_als_loss(ratings, weights, x[0], y[0], x[1], y[1], objective)
    assert_allclose(_loss(backend, ratings, weights, x, y, objective), expected, rtol=1e-5)
    ones = reference.explicit_als_loss(ratings, _ones(ratings), x[0], y[0], x[1], y[1], objective)
    assert_allclose(_loss(backend, ratings, np.empty(0, np.float32), x, y, objective), ones, rtol=1e-5)


def test_explicit_als_loss_does_not_depend_on_threads(rng):
    ratings, x, y = reference.random_csr(rng, (900, 30), 0.2), _side(rng, 900, 8), _side(rng, 30, 8)
    losses = {_loss(Backend(n), ratings, _ones(ratings), x, y, ExplicitAlsObjective()) for n in (1, 2, 5)}
    assert len(losses) == 1


# ---- properties ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    d=st.integers(1, 20),
    biases=st.booleans(),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_explicit_als_half_sweep_leaves_no_downhill_direction(seed, shape, d, biases, exponent):
    """At the solution the loss rises whichever way a row or bias is moved."""
    rng = np.random.default_rng(seed)
    ratings, y = reference.random_csr(rng, shape, 0.5), _side(rng, shape[1], d)
    weights = _weights(rng, ratings)
    objective = ExplicitAlsObjective(regularization=0.3, regularization_exponent=exponent, biases=biases)
    x, x_biases = _half_sweep(Backend(2), ratings, weights, y, objective, "cholesky")
    x_biases = np.nan_to_num(x_biases)
    best = reference.explicit_als_loss(ratings, weights, x, y[0], x_biases, y[1], objective)[1]
    for size in (1e-2, 1.0):
        moved, moved_biases = x + size * rng.standard_normal(x.shape), x_biases + size * rng.standard_normal(shape[0])
        loss = reference.explicit_als_loss(ratings, weights, moved, y[0], moved_biases, y[1], objective)[1]
        assert loss >= best - 1e-5 * max(1.0, best)
