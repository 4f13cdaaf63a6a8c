"""Exact search over vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import get_backend
from likewise._validation import check_int, check_rows
from likewise.data.csr import CSR

from ._top_k import MAX_K, top_k

__all__ = ["ExactIndex"]


class ExactIndex:
    """Vectors to search by dot product; every candidate is compared, so no result is ever missed.

    Parameters
    ----------
    vectors : array-like of shape (n_items, n_factors)
        Finite real numbers, kept as float32. A float32 array in C order is held without a copy; leave it alone while
        the index is in use. For cosine similarity, give rows of length one.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to search.
    n_jobs : int, default=None
        Number of threads; None is every CPU at hand.

    Attributes
    ----------
    vectors : ndarray of shape (n_items, n_factors), float32
        Read-only view of the vectors.

    Raises
    ------
    TypeError
        If `vectors` are not real numbers.
    ValueError
        If `vectors` are not two-dimensional or hold NaN, infinity or a number beyond float32.
    BackendUnavailableError
        If the device cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from likewise.retrieval import ExactIndex
    >>> index = ExactIndex(np.array([[3.0, 0.0], [1.0, 1.0], [2.0, 5.0]]))
    >>> ids, scores = index.search(np.array([[1.0, 0.0]]), k=2)
    >>> ids
    array([[0, 2]], dtype=int32)
    >>> scores
    array([[3., 2.]], dtype=float32)
    """

    def __init__(self, vectors: npt.ArrayLike, *, device: str = "cpu", n_jobs: int | None = None) -> None:
        self._backend = get_backend(device, n_jobs, "ExactIndex")
        self.vectors = _as_vectors("ExactIndex", "vectors", vectors)
        self._vectors = self._backend.asarray(self.vectors)

    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        exclude: CSR | sp.sparray | sp.spmatrix | Sequence[npt.ArrayLike] | None = None,
        deny: npt.ArrayLike | None = None,
        allow: npt.ArrayLike | None = None,
        *,
        verbose: bool | int = False,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the ids and scores of the k vectors with the greatest dot product, for each query.

        Parameters
        ----------
        queries : array-like of shape (n, n_factors)
            Finite real numbers, used as float32.
        k : int, default=10
            Results a query, 1 to 1,000,000. May exceed the number of vectors.
        exclude : CSR, scipy sparse matrix or array of shape (n, n_items), or sequence of n id arrays, default=None
            Ids that each query must not get. Of a matrix the stored entries count, whatever their values.
        deny, allow : array-like of int, default=None
            Ids that no query gets, and the only ones that any query gets (None: all).
        verbose : bool or int, default=False
            Whether to show progress.

        Returns
        -------
        ids : ndarray of shape (n, k), int32
            Best first, ties by smaller id; -1 where fewer than k candidates are left.
        scores : ndarray of shape (n, k), float32
            ``-inf`` where `ids` is -1.

        Raises
        ------
        TypeError
            If an argument is of the wrong kind.
        ValueError
            If k is out of range, shapes disagree, or `queries` hold NaN or infinity.
        IndexError
            If an id is outside [0, n_items).
        """
        subject = "ExactIndex.search"
        k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
        vectors = _as_vectors(subject, "queries", queries)
        if vectors.shape[1] != self.shape[1]:
            raise ValueError(f"{subject}: queries have {vectors.shape[1]} columns but the vectors have {self.shape[1]}")
        excluded = _as_exclusions(subject, exclude, (len(vectors), len(self)))
        return top_k(self._backend, vectors, self._vectors, k, excluded, deny, allow, verbose=verbose, subject=subject)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of vectors and their length."""
        n_items, n_factors = self.vectors.shape
        return n_items, n_factors

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"ExactIndex({self.shape[0]} vectors of length {self.shape[1]}, device={self._backend.name!r})"


def _as_vectors(subject: str, name: str, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = np.asarray(vectors)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{subject}: {name} must be real numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        way_out = "; one vector v is v[np.newaxis]" if array.ndim == 1 else ""
        raise ValueError(f"{subject}: {name} must be two-dimensional, got shape {array.shape}{way_out}")
    with np.errstate(over="ignore"):  # what leaves float32 becomes infinite and is reported by place
        rows: npt.NDArray[np.float32] = np.ascontiguousarray(array, dtype=np.float32)
    # A float64 sum of finite float32 numbers is finite: one pass without a temporary settles the usual case.
    with np.errstate(invalid="ignore"):
        if not np.isfinite(rows.sum(dtype=np.float64)):
            row, column = np.unravel_index(int(np.argmin(np.isfinite(rows))), rows.shape)
            value = rows[row, column]
            beyond = " in float32" if np.isfinite(array[row, column]) else ""
            raise ValueError(f"{subject}: {name} must be finite, got {value}{beyond} at ({row}, {column})")
    rows = rows.view()
    rows.flags.writeable = False
    return rows


def _as_exclusions(subject: str, exclude: Any, shape: tuple[int, int]) -> CSR | None:
    if exclude is None:
        return None
    if isinstance(exclude, CSR):
        excluded = exclude
    elif sp.issparse(exclude):
        excluded = CSR.from_scipy(exclude, subject=f"{subject}: exclude")
    else:
        excluded = _from_lists(subject, exclude, shape)
    if excluded.shape != shape:
        raise ValueError(f"{subject}: exclude must have shape (queries, vectors) = {shape}, got {excluded.shape}")
    return excluded


def _from_lists(subject: str, lists: Any, shape: tuple[int, int]) -> CSR:
    if isinstance(lists, (str, bytes)) or not hasattr(lists, "__len__"):
        raise TypeError(
            f"{subject}: exclude must be a sparse matrix or a sequence with the ids of each query, "
            f"got {type(lists).__name__}"
        )
    if len(lists) != shape[0]:
        raise ValueError(f"{subject}: exclude has the ids of {len(lists)} queries, but there are {shape[0]}")
    rows = [np.unique(check_rows(subject, "exclude: id", ids, shape[1])) for ids in lists]
    offsets = np.concatenate([[0], np.cumsum([ids.size for ids in rows])]).astype(np.int64)
    indices = np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int32)
    return CSR(offsets, indices, np.ones(indices.size, np.float32), shape)
