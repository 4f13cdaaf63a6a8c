"""The function through which item-item models rank: from sparse histories and sparse weights between items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise._progress import ProgressBar
from likewise._validation import check_int
from likewise.data.csr import CSR, check_finite

from ._top_k import MAX_K, as_bits, as_ids, check_lists

__all__ = ["top_k_sparse"]

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

# Products between two looks at Ctrl-C and the progress bar: some tenths of a second on a few cores.
_BLOCK_PRODUCTS = 1 << 28


def top_k_sparse(
    backend: Backend,
    queries: CSR,
    weights: CSR | Any,
    k: int,
    exclude: CSR | None = None,
    deny: npt.ArrayLike | None = None,
    allow: npt.ArrayLike | None = None,
    *,
    verbose: bool | int = False,
    subject: str = "top_k_sparse",
) -> tuple[Int32Array, Float32Array]:
    """Rank items for every history by the weights of its items.

    The score of item j is the sum, over the items i of the history, of ``queries[i] * weights[i, j]``. Candidates are
    the items that the history reaches through a stored weight, whatever its value; of all others nothing is known, and
    they fill no slots. A query's candidates are also in `allow` (if it is given), and neither in `deny` nor in the
    query's row of `exclude`, all applied inside the kernel, before selection.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    queries : CSR of shape (n, h)
        Histories. A model that does not recommend what a user has seen passes them as `exclude` too.
    weights : CSR of shape (h, m)
        Weights of the items to be ranked, a row for each item of a history. Or what ``backend.csr`` has made of them:
        that spares looking at every one of their entries in each call, which takes longer than ranking a few queries.
    k : int
        Slots a query, 1 to 1,000,000. May exceed m.
    exclude : CSR of shape (n, m), default=None
        Items that each query must not get; values are not read.
    deny, allow : array-like of int, default=None
        Item rows in [0, m) that nobody gets, and the only ones that anybody gets. Any order, repeats allowed.
        ``allow=None`` is every item, an empty `allow` is none.
    verbose : bool or int, default=False
        Whether to show progress.
    subject : str, default="top_k_sparse"
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
        If k is out of range, shapes disagree, or a value of `queries` or `weights` is NaN or infinite.
    IndexError
        If an id of `deny` or `allow` is outside [0, m).

    Notes
    -----
    A score is the float64 sum of exact products, in the order of the history's ids, rounded to float32. Ids and scores
    are bitwise the same on every instruction set, at any number of threads and for any grouping of queries.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from likewise._backend import get_backend
    >>> from likewise.data import CSR
    >>> similarity = [[0, 0.5, 0.2, 0], [0.5, 0, 0, 0], [0.2, 0, 0, 0], [0, 0, 0, 0]]
    >>> weights = CSR.from_scipy(sp.csr_array(similarity))
    >>> history = CSR.from_arrays([0, 2], [0, 1], [1.0, 2.0], (1, 4))
    >>> ids, scores = top_k_sparse(get_backend("cpu"), history, weights, k=3)
    >>> ids
    array([[0, 1, 2]], dtype=int32)
    >>> top_k_sparse(get_backend("cpu"), history, weights, k=3, exclude=history)[0]
    array([[ 2, -1, -1]], dtype=int32)
    """
    k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
    check_finite(f"{subject}: queries", queries)
    if isinstance(weights, CSR):
        check_finite(f"{subject}: weights", weights)
        weights = backend.csr(weights)
    n, n_items = queries.n_rows, weights.shape[1]
    check_lists(subject, "exclude", exclude, n)
    allowed = as_ids(backend, subject, "allow", allow, n_items)
    denied = as_bits(backend, subject, "deny", deny, n_items)
    ids, scores = backend.empty((n, k), np.int32), backend.empty((n, k))
    for rows in _blocks(queries, weights, verbose):
        excluded = None if exclude is None else backend.csr(exclude.take_rows(rows))
        backend.kernels.topk_sparse(
            backend.context,
            backend.csr(queries.take_rows(rows)),
            weights,
            excluded,
            allowed,
            denied,
            ids[rows],
            scores[rows],
        )
    return backend.to_numpy(ids), backend.to_numpy(scores)


def _blocks(queries: CSR, weights: Any, verbose: bool | int) -> Iterator[slice]:
    """Runs of queries of about as many products each, taking every row of the weights for one of mean length."""
    entries = max(1, int(_BLOCK_PRODUCTS * weights.shape[0] / max(1, weights.nnz)))
    if queries.nnz <= entries:
        yield slice(0, queries.n_rows)
        return
    stops = np.searchsorted(queries.indptr, np.arange(entries, queries.nnz, entries), side="right") - 1
    bounds = [0, *np.unique(stops[stops > 0]).tolist(), queries.n_rows]
    rows = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
    yield from ProgressBar(rows, verbose=verbose, description="Ranking", unit="block")
