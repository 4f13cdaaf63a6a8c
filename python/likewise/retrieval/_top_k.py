"""The two functions through which every model ranks: from vectors, and from blocks of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise._progress import ProgressBar
from likewise._validation import check_int, check_rows
from likewise.data.csr import CSR

__all__ = ["MAX_K", "top_k", "top_k_scores"]

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

# More results a query are a mistake, and could take all memory.
MAX_K = 1_000_000
# Multiply-adds between two looks at Ctrl-C and the progress bar: some tenths of a second on a few cores.
_BLOCK_PRODUCTS = 1 << 34
# Fewer queries a call would read the items more often than needed.
_MIN_BLOCK_ROWS = 4096
# Scores held at a time where a model computes them in blocks: 64 MiB.
_BLOCK_SCORES = 1 << 24


def top_k(
    backend: Backend,
    queries: npt.NDArray[np.floating[Any]],
    items: npt.NDArray[np.floating[Any]],
    k: int,
    exclude: CSR | None = None,
    deny: npt.ArrayLike | None = None,
    allow: npt.ArrayLike | None = None,
    *,
    scale: npt.NDArray[np.floating[Any]] | None = None,
    verbose: bool | int = False,
    subject: str = "top_k",
) -> tuple[Int32Array, Float32Array]:
    """Rank items for every query by the dot product of their vectors.

    The candidates of a query are the items of `allow` (all, if it is None) that are neither in `deny` nor in the
    query's row of `exclude`. Nothing else is left out, and nothing else is returned: exclusions are applied inside
    the kernel, before selection.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    queries : ndarray of shape (n, d)
        Finite; float32 in C order is read in place, anything else is converted.
    items : ndarray of shape (m, d)
        As `queries`.
    k : int
        Slots a query, 1 to 1,000,000. May exceed m.
    exclude : CSR of shape (n, m), default=None
        Items that each query must not get; values are not read.
    deny, allow : array-like of int, default=None
        Item rows in [0, m) that nobody gets, and the only ones that anybody gets. Any order, repeats allowed.
        ``allow=None`` is every item, an empty `allow` is none.
    scale : ndarray of shape (m,), default=None
        What each item's vector is multiplied by; its reciprocal length, for cosines.
    verbose : bool or int, default=False
        Whether to show progress.
    subject : str, default="top_k"
        What an error names first.

    Returns
    -------
    ids : ndarray of shape (n, k), int32
        Best first, ties by smaller id; -1 where there is no further candidate.
    scores : ndarray of shape (n, k), float32
        ``-inf`` where `ids` is -1.

    Raises
    ------
    ValueError
        If k is out of range or shapes disagree.
    IndexError
        If an id of `deny` or `allow` is outside [0, m).

    Notes
    -----
    A score is the inner product in float64, times the item's scale, rounded to float32. Ids and scores are bitwise the
    same on every instruction set, at any number of threads and for any grouping of queries.

    Examples
    --------
    >>> import numpy as np
    >>> from likewise._backend import get_backend
    >>> queries, items = np.eye(2), np.array([[3.0, 0.0], [1.0, 1.0], [2.0, 5.0]])
    >>> ids, scores = top_k(get_backend("cpu"), queries, items, k=2, deny=[0])
    >>> ids
    array([[2, 1],
           [2, 1]], dtype=int32)
    """
    k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
    query_rows, item_rows = backend.asarray(queries), backend.asarray(items)
    n, n_items = len(query_rows), len(item_rows)
    allowed, denied = _as_ids(subject, "allow", allow, n_items), _as_ids(subject, "deny", deny, n_items)
    ids, scores = _slots(backend, n, min(k, n_items))
    scales = None if scale is None else backend.asarray(scale)
    work = max(1, n_items * item_rows.shape[1])
    for rows in _blocks(n, max(_MIN_BLOCK_ROWS, _BLOCK_PRODUCTS // work), verbose):
        excluded = None if exclude is None else backend.csr(exclude.take_rows(rows))
        backend.kernels.topk(
            backend.context, query_rows[rows], item_rows, scales, excluded, allowed, denied, ids[rows], scores[rows]
        )
    return _lengthened(backend.to_numpy(ids), backend.to_numpy(scores), k)


def top_k_scores(
    backend: Backend,
    score_rows: Callable[[slice], npt.NDArray[np.floating[Any]]],
    n_queries: int,
    n_items: int,
    k: int,
    exclude: CSR | None = None,
    deny: npt.ArrayLike | None = None,
    allow: npt.ArrayLike | None = None,
    *,
    verbose: bool | int = False,
    subject: str = "top_k_scores",
) -> tuple[Int32Array, Float32Array]:
    """Rank items for every query by scores that a model computes block by block.

    For models that are no dot product of vectors. At most about 64 MiB of scores exist at a time, however many
    queries there are.

    Parameters
    ----------
    backend : Backend
        Where to select.
    score_rows : callable
        ``score_rows(slice(start, stop))`` returns the scores of those queries, shape (stop - start, n_items). NaN and
        ``-inf`` mean that the item is no candidate.
    n_queries, n_items : int
        Number of queries and of items.
    k, exclude, deny, allow, verbose, subject
        As in `top_k`.

    Returns
    -------
    ids : ndarray of shape (n_queries, k), int32
    scores : ndarray of shape (n_queries, k), float32

    Raises
    ------
    ValueError
        If k is out of range or shapes disagree.
    IndexError
        If an id of `deny` or `allow` is outside [0, n_items).
    """
    k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
    allowed, denied = _as_ids(subject, "allow", allow, n_items), _as_ids(subject, "deny", deny, n_items)
    ids, scores = _slots(backend, n_queries, min(k, n_items))
    for rows in _blocks(n_queries, max(1, _BLOCK_SCORES // max(1, n_items)), verbose):
        block = backend.asarray(score_rows(rows))
        if block.shape != (rows.stop - rows.start, n_items):
            raise ValueError(
                f"{subject}: the scores of {rows.stop - rows.start} queries must have shape "
                f"({rows.stop - rows.start}, {n_items}), got {block.shape}"
            )
        excluded = None if exclude is None else backend.csr(exclude.take_rows(rows))
        backend.kernels.topk_scores(backend.context, block, excluded, allowed, denied, ids[rows], scores[rows])
    return _lengthened(backend.to_numpy(ids), backend.to_numpy(scores), k)


def _slots(backend: Backend, n: int, k: int) -> tuple[Any, Any]:
    """Room for ids and scores; one of each at least, as the kernels want it."""
    return backend.empty((n, max(k, 1)), np.int32), backend.empty((n, max(k, 1)))


def _lengthened(ids: Int32Array, scores: Float32Array, k: int) -> tuple[Int32Array, Float32Array]:
    """Rankings of a catalogue with fewer than `k` items, with empty slots after them."""
    n, found = ids.shape
    if found == k:
        return ids, scores
    long_ids, long_scores = np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32)
    long_ids[:, :found], long_scores[:, :found] = ids, scores
    return long_ids, long_scores


def _blocks(n: int, size: int, verbose: bool | int) -> Iterator[slice]:
    starts = range(0, n, size)
    if not verbose or len(starts) < 2:
        yield from (slice(start, min(start + size, n)) for start in starts)
        return
    for start in ProgressBar(starts, verbose=verbose, description="Ranking", unit="block"):
        yield slice(start, min(start + size, n))


def _as_ids(subject: str, name: str, ids: npt.ArrayLike | None, n_items: int) -> Int32Array | None:
    """Return `ids` sorted and without repeats, as the kernels want them."""
    if ids is None:
        return None
    rows = check_rows(subject, f"{name}: item", ids, n_items)
    if not (rows[1:] > rows[:-1]).all():
        rows = np.unique(rows)
    return rows.astype(np.int32)
