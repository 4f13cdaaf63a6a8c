"""implicit.utils: checks that its users import."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise import _validation
from likewise.data import CSR
from likewise.data.csr import check_finite

__all__ = [
    "ParameterWarning",
    "augment_inner_product_matrix",
    "check_blas_config",
    "check_csr",
    "check_random_state",
    "nonzeros",
]


class ParameterWarning(Warning):
    """An argument is taken, but another form of it, or none, would serve better."""


def nonzeros(m: Any, row: int) -> Iterator[tuple[Any, Any]]:
    """Yield the column and the value of each entry that a CSR matrix stores in a row."""
    start, stop = m.indptr[row], m.indptr[row + 1]
    yield from zip(m.indices[start:stop], m.data[start:stop], strict=True)


def check_blas_config() -> None:
    """Find nothing to warn of: kernels have threads of their own, and what calls BLAS gives it one."""


def as_random_state(random_state: Any) -> Any:
    """What NumPy seeds a generator with, and likewise does not take, as a generator."""
    is_seed = isinstance(random_state, (list, tuple, np.ndarray, np.random.BitGenerator))
    return np.random.default_rng(random_state) if is_seed else random_state


def check_random_state(random_state: Any) -> np.random.Generator:
    """Return a generator made of a seed, a RandomState, a Generator or None."""
    return _validation.check_random_state("implicit", as_random_state(random_state))


def augment_inner_product_matrix(factors: npt.NDArray[Any]) -> tuple[Any, npt.NDArray[Any]]:
    """Return the greatest length of a row, and rows with one more column, which gives all of them that length.

    A cosine with a query that has zero there orders rows as the inner product does. Bachrach et al. (2014),
    doi:10.1145/2645710.2645741.
    """
    squares = np.square(factors).sum(axis=1)
    greatest = squares.max()
    return np.sqrt(greatest), np.column_stack([factors, np.sqrt(greatest - squares)])


def check_csr(user_items: Any) -> Any:
    """Return a matrix in CSR form, with a `ParameterWarning` where it had another."""
    if not sp.issparse(user_items):
        raise TypeError(f"implicit: expected a sparse matrix, got {type(user_items).__name__}")
    if user_items.format != "csr":
        warnings.warn(
            f"a CSR matrix is expected, and a {type(user_items).__name__} was converted to one",
            ParameterWarning,
            stacklevel=3,
        )
    return user_items.tocsr()


def as_csr(matrix: Any, subject: str) -> CSR:
    """Return a sparse matrix without explicit zeros, checked, in the form of the kernels."""
    csr = CSR.from_scipy(matrix, subject=subject)
    check_finite(subject, csr)
    if csr.nnz and not csr.values.all():
        kept = csr.to_scipy(copy=True)
        kept.eliminate_zeros()
        csr = CSR.from_scipy(kept, subject=subject)
    return csr


def check_is_fitted(model: Any, learned: Any) -> None:
    """Raise where nothing was learned yet."""
    if learned is None:
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(f"{type(model).__name__}: this model is not fitted yet; call fit first")
