"""implicit.cpu.topk: the ranking that other libraries import."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import get_backend
from likewise._validation import check_int, check_rows
from likewise.data import CSR
from likewise.retrieval import MAX_K, top_k, top_k_scores

from ..recommender_base import LOWEST

__all__ = ["topk"]


def topk(
    items: npt.NDArray[Any],
    query: Any,
    k: int,
    item_norms: Any = None,
    filter_query_items: Any = None,
    filter_items: Any = None,
    num_threads: int = 0,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[Any]]:
    """Rank items for every query by the inner product of their vectors, divided by `item_norms` where there are some.

    Parameters
    ----------
    items : ndarray of shape (n_items, d)
    query : ndarray of shape (n, d) or (d,), or sparse matrix of shape (n, d)
    k : int
        Columns of the answer.
    item_norms : ndarray of shape (n_items,), default=None
    filter_query_items : CSR matrix of shape (n, n_items), default=None
        What each query must not get.
    filter_items : array of int, default=None
        What none gets.
    num_threads : int, default=0
        0 is every CPU at hand.

    Returns
    -------
    ids : ndarray of shape (n, k), int32
        -1 where nothing is left: filtered items never come back.
    scores : ndarray of shape (n, k), of the dtype of `query`
        The lowest float32 where nothing is left.
    """
    k = check_int("topk", "k", k, minimum=1, maximum=MAX_K)
    is_sparse = sp.issparse(query)
    queries = sp.csr_matrix(query) if is_sparse else np.atleast_2d(query)
    deny = None if filter_items is None else check_rows("topk", "filter_items", filter_items, len(items))
    exclude = None if filter_query_items is None else CSR.from_scipy(filter_query_items, subject="topk")
    scale = None if item_norms is None else 1 / np.asarray(item_norms, dtype=np.float64)
    backend = get_backend("cpu", num_threads or None, "topk")
    if is_sparse:
        columns, by = np.asarray(items).T, 1.0 if scale is None else scale
        ids, scores = top_k_scores(
            backend, lambda rows: queries[rows] @ columns * by, queries.shape[0], len(items), k, exclude, deny,
            subject="topk",
        )  # fmt: skip
    else:
        ids, scores = top_k(backend, queries, np.asarray(items), k, exclude, deny, scale=scale, subject="topk")
    scores[ids < 0] = LOWEST
    return ids, scores.astype(queries.dtype, copy=False)
