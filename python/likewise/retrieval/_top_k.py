"""The two functions through which every model ranks: from vectors, and from blocks of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise._progress import ProgressBar
from likewise._validation import check_int, check_rows, check_unmasked
from likewise.data.csr import CSR

from ._storage import RoundedCopy

__all__ = ["MANY_QUERIES", "MAX_K", "as_bits", "as_ids", "as_mask", "check_lists", "top_k", "top_k_scores", "unit_rows"]

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

# More results a query are a mistake, and could take all memory.
MAX_K = 1_000_000
# Multiply-adds between two looks at Ctrl-C and the progress bar: some tenths of a second on a few cores.
_BLOCK_PRODUCTS = 1 << 34
# Fewer queries a call would read the items more often than needed.
_MIN_BLOCK_ROWS = 4096
# Queries for which a rounded copy of the items, made for them alone, pays: the more, the more their lengths differ.
MANY_QUERIES = 1024
# Numbers of queries that are divided by their lengths at a time.
_BLOCK_NUMBERS = 1 << 20
# Scores held at a time where a model computes them in blocks: 64 MiB.
_BLOCK_SCORES = 1 << 24


def top_k(
    backend: Backend,
    queries: npt.NDArray[np.floating[Any]],
    items: Any,
    k: int,
    exclude: CSR | None = None,
    deny: npt.ArrayLike | None = None,
    allow: npt.ArrayLike | CSR | None = None,
    *,
    scale: npt.NDArray[np.floating[Any]] | None = None,
    bias: npt.NDArray[np.floating[Any]] | None = None,
    unit: bool = False,
    distances: bool = False,
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
    items : ndarray of shape (m, d), or what `Backend.items` returns
        As `queries`; the latter holds its scales and biases itself.
    k : int
        Slots a query, 1 to 1,000,000. May exceed m.
    exclude : CSR of shape (n, m), default=None
        Items that each query must not get; values are not read.
    deny : array-like of int, or of bool and shape (m,), default=None
        Item rows in [0, m) that nobody gets, in any order, repeats allowed; or a mask of them.
    allow : array-like as `deny`, or CSR of shape (n, m), default=None
        The only items that anybody gets, or, in a row each, those that a query chooses from; values are not read. None
        is every item, an empty `allow` is none.
    scale : ndarray of shape (m,), default=None
        What each item's vector is multiplied by; its reciprocal length, for cosines.
    bias : ndarray of shape (m,), default=None
        What is added to the scores of each item.
    unit : bool, default=False
        Whether queries are divided by their lengths, for cosines.
    distances : bool, default=False
        Whether scores are minus the distances of query and item, for `items` whose bias is minus half the squared
        length.
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
    A score is the inner product in float64, times the item's scale, plus its bias, rounded to float32. Ids and scores
    are bitwise the same on every instruction set, at any number of threads and for any grouping of queries.

    Many queries are answered from a copy of the items in int8, a quarter of their memory, the longest vectors first:
    what no longer can be among the best is not read.

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
    kernels, query_rows = backend.kernels, backend.asarray(queries)
    if isinstance(items, np.ndarray):
        vectors = backend.asarray(items)
        scale, bias = (None if each is None else backend.asarray(each) for each in (scale, bias))
        items = backend.items(vectors, scale, bias)
        if allow is None and len(query_rows) >= MANY_QUERIES and RoundedCopy.is_read(backend, items.shape, k):
            items = backend.items(vectors, scale, bias, RoundedCopy(backend, items, _lengths(vectors, scale)).arrays())
    n, (n_items, d) = len(query_rows), items.shape
    own, listed = (allow, None) if isinstance(allow, CSR) else (None, allow)
    check_lists(subject, "exclude", exclude, n)
    check_lists(subject, "allow", own, n)
    allowed = as_ids(backend, subject, "allow", listed, n_items)
    denied = as_bits(backend, subject, "deny", deny, n_items)
    ids, scores = _slots(backend, n, min(k, n_items))
    score = kernels.Score.distance if distances else kernels.Score.inner_product
    size = max(_MIN_BLOCK_ROWS, _BLOCK_PRODUCTS // max(1, n_items * d))
    if unit:  # which makes a copy
        size = max(_MIN_BLOCK_ROWS, min(size, _BLOCK_NUMBERS // max(1, d)))
    for rows in _blocks(n, size, verbose):
        excluded, candidates = (
            None if matrix is None else backend.csr(_rows_of(matrix, rows)) for matrix in (exclude, own)
        )
        kernels.topk(
            backend.context,
            backend.asarray(unit_rows(backend.to_numpy(query_rows[rows]))) if unit else query_rows[rows],
            items,
            score,
            excluded,
            candidates,
            allowed,
            denied,
            ids[rows],
            scores[rows],
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
    check_lists(subject, "exclude", exclude, n_queries)
    allowed = as_ids(backend, subject, "allow", allow, n_items)
    denied = as_bits(backend, subject, "deny", deny, n_items)
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


def _lengths(vectors: Float32Array, scale: Float32Array | None) -> Float32Array:
    """Lengths of vectors times their scales; they order items, and need not be exact."""
    lengths: Float32Array = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return lengths if scale is None else lengths * np.abs(scale)


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


def check_lists(subject: str, name: str, lists: CSR | None, n: int) -> None:
    """Refuse lists of ids that are not one for each query, before blocks of them are cut out."""
    if lists is not None and lists.n_rows != n:
        raise ValueError(f"{subject}: {name} has {lists.n_rows} rows but queries has {n} rows")


def _rows_of(matrix: CSR, rows: slice) -> CSR:
    return matrix if rows == slice(0, matrix.n_rows) else matrix.take_rows(rows)


def as_ids(backend: Backend, subject: str, name: str, given: npt.ArrayLike | None, n_items: int) -> Any:
    """Ids, or those of a mask, sorted and without repeats, as the kernels want them."""
    if given is None:
        return None
    check_unmasked(subject, name, given)
    mask = np.asarray(given)
    if mask.dtype == bool:
        rows = np.flatnonzero(_checked_mask(subject, name, mask, n_items))
    else:
        rows = check_rows(subject, f"{name}: item", given, n_items)
        if not (rows[1:] > rows[:-1]).all():
            rows = np.unique(rows)
    return backend.asarray(rows, np.int32)


def as_bits(backend: Backend, subject: str, name: str, given: npt.ArrayLike | None, n_items: int) -> Any:
    """Ids, or a mask of them, as a bitmap."""
    if given is None:
        return None
    return backend.asarray(np.packbits(as_mask(subject, name, given, n_items), bitorder="little"), np.uint8)


def as_mask(subject: str, name: str, given: npt.ArrayLike, n_items: int) -> npt.NDArray[np.bool_]:
    """Ids as a mask of all; a mask is checked and returned."""
    check_unmasked(subject, name, given)
    mask = np.asarray(given)
    if mask.dtype == bool:
        return _checked_mask(subject, name, mask, n_items)
    rows = check_rows(subject, f"{name}: item", given, n_items)
    out = np.zeros(n_items, bool)
    out[rows] = True
    return out


def _checked_mask(subject: str, name: str, mask: npt.NDArray[Any], n_items: int) -> npt.NDArray[Any]:
    if mask.shape != (n_items,):
        raise ValueError(f"{subject}: {name} as a mask must have shape ({n_items},), got {mask.shape}")
    return mask


def unit_rows(rows: Float32Array) -> Float32Array:
    """Rows divided by their lengths; of those of zeros nothing else can be made."""
    tops = np.abs(rows).max(axis=1, initial=0, keepdims=True).astype(np.float64)
    shrunk = np.divide(rows, tops, out=np.zeros(rows.shape), where=tops > 0)
    lengths = np.sqrt(np.einsum("nd,nd->n", shrunk, shrunk))[:, np.newaxis]
    unit: Float32Array = np.divide(shrunk, lengths, out=shrunk, where=lengths > 0).astype(np.float32)
    return unit
