"""The metric kernels over rankings and scores; models' `score` and the evaluation stand on these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise.data.csr import CSR

__all__ = ["auc", "mean_ndcg", "ranking_metrics"]

Float64Array = npt.NDArray[np.float64]


def ranking_metrics(
    backend: Backend,
    ids: npt.NDArray[np.int32],
    relevant: CSR,
    metrics: Sequence[tuple[str, int]],
    exclude: CSR | None = None,
) -> Float64Array:
    """Metrics of ranked lists, one row a user.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    ids : ndarray of shape (n, l), int32
        What `top_k` returns: best first, -1 after the last.
    relevant : CSR of shape (n, n_items)
        Relevant are the entries with a value above zero.
    metrics : sequence of (str, int)
        Names (``precision``, ``recall``, ``hit_rate``, ``ndcg``, ``map``, ``mrr``) with cutoffs in [1, l].
    exclude : CSR of shape (n, n_items), default=None
        Items that no list could hold; they do not count as relevant.

    Returns
    -------
    ndarray of shape (n, len(metrics)), float64
        NaN for a user without relevant items.

    Raises
    ------
    ValueError
        If shapes disagree or a cutoff is out of range.
    """
    kernels = backend.kernels
    wanted = [kernels.RankingMetric(getattr(kernels.Metric, name), k) for name, k in metrics]
    out = backend.empty((len(ids), len(wanted)), np.float64)
    kernels.ranking_metrics(
        backend.context, backend.asarray(ids, np.int32), backend.csr(relevant), _csr(backend, exclude), wanted, out
    )
    return backend.to_numpy(out)


def auc(
    backend: Backend, scores: npt.NDArray[np.floating[Any]], relevant: CSR, exclude: CSR | None = None
) -> Float64Array:
    """Area under the ROC curve of each row of `scores`; a tie of a relevant and another item counts half.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    scores : ndarray of shape (n, n_items)
        NaN ranks last.
    relevant, exclude : CSR of shape (n, n_items)
        As in `ranking_metrics`; excluded items do not take part.

    Returns
    -------
    ndarray of shape (n,), float64
        NaN for a user without a relevant or without another item.

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    out = backend.empty((len(scores),), np.float64)
    given = backend.asarray(scores)
    backend.kernels.auc(backend.context, given, backend.csr(relevant), _csr(backend, exclude), out)
    return backend.to_numpy(out)


def mean_ndcg(backend: Backend, ids: npt.NDArray[np.int32], relevant: CSR, k: int) -> float:
    """Mean NDCG@k over the rows that have a relevant item; 0.0 where none has.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    ids : ndarray of shape (n, l), int32
        What `top_k` returns, l >= k.
    relevant : CSR of shape (n, n_items)
        Relevant are the entries with a value above zero.
    k : int
        Cutoff.

    Returns
    -------
    float
        Between 0 and 1.
    """
    values = ranking_metrics(backend, ids, relevant, [("ndcg", k)])[:, 0]
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else 0.0


def _csr(backend: Backend, matrix: CSR | None) -> Any:
    return None if matrix is None else backend.csr(matrix)
