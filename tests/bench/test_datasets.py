"""Synthetic data, the common loss, and the check of solved rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bench import datasets


@pytest.fixture
def matrix() -> sp.csr_matrix:
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 5, (30, 20)) * (rng.random((30, 20)) < 0.3)
    dense[3] = 0
    return sp.csr_matrix(dense, dtype=np.float32)


@pytest.fixture
def factors(matrix: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((30, 5)), rng.standard_normal((20, 5))


def test_synthetic_matrix_is_exact_skewed_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    fresh = datasets.load_csr.__wrapped__("synth-20k")
    assert [path.name for path in tmp_path.iterdir()] == ["synth-20k-seed0-v1.npz"]
    monkeypatch.setattr(datasets, "synthesize", lambda _shape: pytest.fail("not read from the cache"))
    again = datasets.load_csr.__wrapped__("synth-20k")
    assert (fresh != again).nnz == 0

    assert fresh.shape == (1_000, 500)
    assert fresh.nnz == 20_000
    assert fresh.dtype == np.float32
    assert fresh.has_canonical_format
    per_item = np.sort(np.bincount(fresh.indices, minlength=500))
    per_user = np.diff(fresh.indptr)
    assert per_item[-1] > 4 * np.median(per_item)
    assert per_user.max() > 4 * np.median(per_user)
    # Popular items do not lie side by side.
    assert abs(np.corrcoef(np.arange(500), np.bincount(fresh.indices, minlength=500))[0, 1]) < 0.15


def test_synthetic_matrix_depends_on_its_seed_only() -> None:
    one, same, other = (datasets.synthesize(datasets.Synthetic(200, 100, 2_000, seed))[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_files_are_found_by_the_variable_and_absent_ones_say_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matrix: sp.csr_matrix
) -> None:
    monkeypatch.setenv("LIKEWISE_DATA", str(tmp_path))
    with pytest.raises(datasets.DatasetUnavailableError, match=r"needs gowalla/train\.npz in LIKEWISE_DATA"):
        datasets.load_csr.__wrapped__("gowalla")
    (tmp_path / "gowalla").mkdir()
    sp.save_npz(tmp_path / "gowalla" / "train.npz", matrix)
    assert (datasets.load_csr.__wrapped__("gowalla") != matrix).nnz == 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError, match="unknown dataset 'netflix'"):
        datasets.load_csr("netflix")


def test_loss_is_the_dense_formula(matrix: sp.csr_matrix, factors: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = factors
    r = matrix.toarray().astype(np.float64)
    confidence, preference = 1 + 3 * r, r > 0
    expected = np.sum(confidence * (preference - x @ y.T) ** 2) + 0.7 * (np.sum(x * x) + np.sum(y * y))
    expected /= confidence.sum()
    assert datasets.als_loss(x, y, matrix, regularization=0.7, alpha=3) == pytest.approx(expected, rel=1e-12)


def test_loss_does_not_depend_on_its_blocks(
    matrix: sp.csr_matrix, factors: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = factors
    whole = datasets.als_loss(x, y, matrix, regularization=0.7)
    monkeypatch.setattr(datasets, "_LOSS_BLOCK", 5 * 7)
    assert datasets.als_loss(x, y, matrix, regularization=0.7) == pytest.approx(whole, rel=1e-12)


def test_loss_refuses_transposed_factors(matrix: sp.csr_matrix, factors: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = factors
    with pytest.raises(ValueError, match=r"interactions are \(30, 20\) but factors are for \(20, 30\)"):
        datasets.als_loss(y, x, matrix, regularization=0.7)


def _solved(matrix: sp.csr_matrix, y: np.ndarray) -> np.ndarray:
    r = matrix.toarray().astype(np.float64)
    confidence = 1 + 2 * r
    return np.stack(
        [
            np.linalg.solve((y.T * c) @ y + 0.1 * np.eye(5), y.T @ (c * p))
            for c, p in zip(confidence, r > 0, strict=True)
        ]
    )


def test_solved_rows_pass(matrix: sp.csr_matrix, factors: tuple[np.ndarray, np.ndarray]) -> None:
    found = datasets.check_als_rows(_solved(matrix, factors[1]), matrix, factors[1], alpha=2)
    assert found["row_error"] < 1e-12


@pytest.mark.parametrize("row", [3, 7], ids=["empty row", "row"])
@pytest.mark.parametrize("value", [0.5, np.nan])
def test_a_wrong_row_fails(
    matrix: sp.csr_matrix, factors: tuple[np.ndarray, np.ndarray], row: int, value: float
) -> None:
    x = _solved(matrix, factors[1])
    x[row, 2] += value
    with pytest.raises(AssertionError, match=rf"row {row} \("):
        datasets.check_als_rows(x, matrix, factors[1], alpha=2)
