"""Data for the benchmarks: seeded synthetic matrices, and the real ones where the user has them."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

if TYPE_CHECKING:
    import likewise as lw

_REPOSITORY = Path(__file__).parent.parent
_FORMAT = 1  # of the cached file: raise it when a change of `synthesize` changes the matrix
_LOSS_BLOCK = 2**22  # numbers gathered at a time: 32 MB a side


class DatasetUnavailableError(RuntimeError):
    """The files of a dataset are not on this machine; the message says where they were looked for."""


@dataclass(frozen=True)
class Synthetic:
    """Size and seed of a synthetic matrix."""

    n_users: int
    n_items: int
    nnz: int
    seed: int = 0


SYNTHETIC = {
    "synth-20M": Synthetic(138_493, 26_744, 20_000_000),
    "synth-6M": Synthetic(41_548, 26_744, 6_000_000),
    "synth-1M": Synthetic(30_000, 6_000, 1_000_000),
    "synth-20k": Synthetic(1_000, 500, 20_000),
}
FILES = {
    "gowalla": "gowalla/train.npz",
    "online-retail-ii": "online-retail-ii/train.npz",
    "movietweetings": "movietweetings/all.npz",
    "citeulike-a": "citeulike-a/train.npz",
}
# Published splits: the part of train to choose on, and test.
SPLITS = {"gowalla": ("gowalla/valid_lgpp.npz", "gowalla/test.npz")}


class Split(NamedTuple):
    """A published split; `fitted` is `train` without `validation`."""

    fitted: lw.Interactions
    validation: lw.Interactions
    train: lw.Interactions
    test: lw.Interactions


def names() -> list[str]:
    """Every name that `load` knows."""
    return [*SYNTHETIC, *FILES]


def load(name: str) -> lw.Interactions:
    """The dataset as `likewise.Interactions`; see `load_csr`."""
    import likewise as lw

    return lw.Interactions.from_csr(load_csr(name))


@functools.lru_cache(maxsize=1)
def load_csr(name: str) -> sp.csr_matrix:
    """The dataset as a scipy CSR matrix, users × items, float32, sorted and without duplicates.

    A synthetic matrix is generated on first use and kept in ``LIKEWISE_CACHE``, or else in the user's cache directory.
    Files are looked for in ``LIKEWISE_DATA``, or else in ``../shared/data`` beside the repository.

    Raises
    ------
    KeyError
        If the name is not one of `names`.
    DatasetUnavailableError
        If its files are absent.
    """
    if name in SYNTHETIC:
        return _load_synthetic(name)
    if name not in FILES:
        raise KeyError(f"load_csr: unknown dataset {name!r}; known: {', '.join(names())}")
    return _load_file(name, FILES[name])


def _load_file(name: str, file: str) -> sp.csr_matrix:
    path = Path(os.environ.get("LIKEWISE_DATA") or _REPOSITORY.parent / "shared" / "data") / file
    if not path.exists():
        raise DatasetUnavailableError(
            f"load_csr: {name} needs {file} in LIKEWISE_DATA or in ../shared/data beside the repository"
        )
    matrix = sp.csr_matrix(sp.load_npz(path), dtype=np.float32)
    matrix.sum_duplicates()
    return matrix


def load_split(name: str) -> Split:
    """The parts of a dataset in `SPLITS`; raises as `load_csr`."""
    import likewise as lw

    train, validation, test = load_csr(name), *(_load_file(name, file) for file in SPLITS[name])
    fitted = train - train.multiply(validation > 0)
    fitted.eliminate_zeros()
    return Split(*(lw.Interactions.from_csr(part) for part in (fitted, validation, train, test)))


def cache_folder() -> Path:
    """Where synthetic matrices are kept: ``LIKEWISE_CACHE``, or ``likewise`` in the user's cache directory."""
    if own := os.environ.get("LIKEWISE_CACHE"):
        return Path(own)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "likewise"


def _load_synthetic(name: str) -> sp.csr_matrix:
    shape = SYNTHETIC[name]
    path = cache_folder() / f"{name}-seed{shape.seed}-v{_FORMAT}.npz"
    if not path.exists():
        indptr, indices = synthesize(shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that a run that is stopped leaves no half file behind.
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            np.savez(file, indptr=indptr, indices=indices)
        partial.replace(path)
    with np.load(path) as arrays:
        indptr, indices = arrays["indptr"], arrays["indices"]
    values = np.ones(len(indices), dtype=np.float32)
    return sp.csr_matrix((values, indices, indptr), shape=(shape.n_users, shape.n_items))


def synthesize(shape: Synthetic) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Row pointers and sorted column ids of a matrix with the skew of a real catalogue.

    Pairs are drawn with probability activity(user) · popularity(item) until ``nnz`` are distinct: popularity is
    proportional to 1/(rank + 30), activity is log-normal (σ = 1.1) and at least .08, and items are permuted so that
    popular ones do not lie side by side. The peak of memory is about 90 bytes a pair.
    """
    generator = np.random.default_rng(shape.seed)
    activity = np.maximum(generator.lognormal(0.0, 1.1, shape.n_users), 0.08)
    activity /= activity.sum()
    popularity = np.cumsum(1.0 / (np.arange(shape.n_items) + 30.0))
    popularity /= popularity[-1]
    item_of_rank = generator.permutation(shape.n_items)

    pairs = np.empty(0, dtype=np.int64)  # user · n_items + item, sorted, distinct
    while len(pairs) < shape.nnz:
        missing = shape.nnz - len(pairs)
        counts = generator.multinomial(missing + missing // 4, activity)
        users = np.repeat(np.arange(shape.n_users, dtype=np.int64), counts)
        items = item_of_rank[np.searchsorted(popularity, generator.random(len(users)), side="right")]
        pairs = np.unique(np.concatenate([pairs, users * shape.n_items + items]))
    surplus = generator.choice(len(pairs), len(pairs) - shape.nnz, replace=False)
    pairs = np.delete(pairs, surplus)

    per_user = np.bincount(pairs // shape.n_items, minlength=shape.n_users)
    indptr = np.concatenate([[0], np.cumsum(per_user)]).astype(np.int32)
    return indptr, (pairs % shape.n_items).astype(np.int32)


def as_scipy(interactions: Any) -> sp.csr_matrix:
    """A scipy CSR matrix from one, or from `likewise`'s ``CSR`` or ``Interactions`` (its rows by user)."""
    if sp.issparse(interactions):
        return sp.csr_matrix(interactions)
    by_user = getattr(interactions, "by_user", interactions)
    return sp.csr_matrix((by_user.values, by_user.indices, by_user.indptr), shape=by_user.shape)


def exact_als_row(
    row: sp.csr_matrix,
    gram: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    regularization: float,
    alpha: float,
) -> npt.NDArray[np.float64]:
    """Solution of one row's normal equations in float64, ``gram`` being ``y.T @ y``."""
    factors, values = y[row.indices], row.data.astype(np.float64)
    system = gram + (factors * (alpha * values)[:, None]).T @ factors + regularization * np.eye(y.shape[1])
    solution: npt.NDArray[np.float64] = np.linalg.solve(system, factors.T @ (1 + alpha * values))
    return solution


def check_als_rows(
    x: npt.ArrayLike,
    interactions: Any,
    y: npt.ArrayLike,
    *,
    regularization: float = 0.1,
    alpha: float = 1.0,
    n_rows: int = 64,
    rtol: float = 1e-3,
    seed: int = 0,
) -> dict[str, float]:
    """Hold sampled rows of ``x`` against the normal equations of a half-sweep, solved in float64.

    (Y'Y + alpha Σ r_ui y_i y_i' + regularization I) x_u = Σ (1 + alpha r_ui) y_i, Hu, Koren & Volinsky (2008),
    doi:10.1109/ICDM.2008.22. The sample always holds the longest row.

    Parameters
    ----------
    x : array of shape (n_rows_of_interactions, d)
        What the kernel returned.
    interactions : scipy sparse matrix, ``CSR`` or ``Interactions``
        Stored values r, rows as in ``x``.
    y : array of shape (n_columns, d)
        The side held fixed.
    regularization, alpha : float
        Of the system above.
    n_rows : int, default 64
        Rows sampled, beside the longest.
    rtol : float, default 1e-3
        Largest accepted ‖x_u - exact‖ / ‖exact‖; an inexact solver states its own.
    seed : int, default 0
        Of the sample.

    Returns
    -------
    dict
        ``row_error``: the largest relative error of a sampled row.

    Raises
    ------
    AssertionError
        If a row is further off, or is not finite.
    """
    matrix = as_scipy(interactions)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    lengths = np.diff(matrix.indptr)
    sample = np.random.default_rng(seed).choice(len(lengths), min(n_rows, len(lengths)), replace=False)
    gram, worst = y.T @ y, 0.0
    for u in {int(np.argmax(lengths)), *sample.tolist()}:
        exact = exact_als_row(matrix[u], gram, y, regularization, alpha)
        # An empty row is exactly zero; the floor then turns the error into an absolute one.
        error = float(np.linalg.norm(x[u] - exact) / max(float(np.linalg.norm(exact)), 1e-30))
        if not error <= rtol:
            raise AssertionError(f"row {u} ({lengths[u]} entries): relative error {error:.2e} is above {rtol:.0e}")
        worst = max(worst, error)
    return {"row_error": worst}


def als_loss(
    user_factors: npt.ArrayLike,
    item_factors: npt.ArrayLike,
    interactions: Any,
    *,
    regularization: float,
    alpha: float = 1.0,
) -> float:
    """The one training loss that every contestant is held to, in float64.

    [Σ_ui c_ui (p_ui - x_u·y_i)² + regularization (‖X‖² + ‖Y‖²)] / Σ_ui c_ui over all pairs, where a stored r has
    p = 1, c = 1 + alpha·r and every other pair has p = 0, c = 1.

    Cost: O(nnz d + (n + m) d²); pairs that are not stored enter by ⟨X'X, Y'Y⟩.
    """
    matrix = as_scipy(interactions)
    x, y = np.asarray(user_factors, dtype=np.float64), np.asarray(item_factors, dtype=np.float64)
    if (len(x), len(y)) != matrix.shape:
        raise ValueError(f"als_loss: interactions are {matrix.shape} but factors are for {(len(x), len(y))}")
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    total = float(np.sum((x.T @ x) * (y.T @ y)))
    block = max(1, _LOSS_BLOCK // x.shape[1])
    for start in range(0, matrix.nnz, block):
        part = slice(start, start + block)
        predictions = np.einsum("ij,ij->i", x[users[part]], y[matrix.indices[part]])
        confidence = 1 + alpha * matrix.data[part].astype(np.float64)
        total += float(confidence @ (1 - predictions) ** 2 - predictions @ predictions)
    total += regularization * float(np.sum(x * x) + np.sum(y * y))
    pairs = matrix.shape[0] * matrix.shape[1]
    return total / float(pairs + alpha * matrix.data.sum(dtype=np.float64))
