"""The metric kernels over rankings and scores; models' `score` and the evaluation stand on these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise.data.csr import CSR

__all__ = ["ItemFacts", "auc", "count_recommended", "group_metrics", "mean_ndcg", "ranking_metrics"]

Float64Array = npt.NDArray[np.float64]


class ItemFacts(NamedTuple):
    """What some metrics ask of items, an entry or a row each; None where no metric asks."""

    information: Float64Array | None = None
    """What a recommendation of the item tells, in bits; of ``novelty``."""
    popularity: Float64Array | None = None
    """How many have the item; of ``popularity``."""
    popularity_ranks: npt.NDArray[np.int32] | None = None
    """0 for the most popular item; of ``serendipity``."""
    features: CSR | None = None
    """Rows of length 1; of ``diversity``."""


def ranking_metrics(
    backend: Backend,
    ids: npt.NDArray[np.int32],
    relevant: CSR,
    metrics: Sequence[tuple[str, int] | tuple[str, int, float]],
    exclude: CSR | None = None,
    *,
    n_candidates: npt.NDArray[np.int32] | None = None,
    facts: ItemFacts | None = None,
) -> Float64Array:
    """Metrics of ranked lists, one row a user.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    ids : ndarray of shape (n, l), int32
        What `top_k` returns: best first, -1 after the last.
    relevant : CSR of shape (n, n_items)
        Relevant are the entries with a value above zero, which is the grade.
    metrics : sequence of (str, int) or (str, int, float)
        Names, as docs/evaluation.md defines them, with cutoffs in [1, l]; the number is the persistence of ``rbp``,
        the greatest grade of ``err``.
    exclude : CSR of shape (n, n_items), default=None
        Items that no list could hold; they do not count as relevant.
    n_candidates : ndarray of shape (n,), int32, default=None
        How many items could be ranked for each; None is all that are not in `exclude`.
    facts : ItemFacts, default=None
        Those that the metrics ask for.

    Returns
    -------
    ndarray of shape (n, len(metrics)), float64
        NaN for a user without relevant items.

    Raises
    ------
    ValueError
        If shapes disagree, a cutoff or an id is out of range, or facts are missing.
    """
    kernels, facts = backend.kernels, ItemFacts() if facts is None else facts
    wanted = [kernels.RankingMetric(getattr(kernels.Metric, name), *more) for name, *more in metrics]
    out = backend.empty((len(ids), len(wanted)), np.float64)

    def given(array: npt.NDArray[Any] | None, dtype: Any) -> Any:
        return backend.asarray(np.empty(0) if array is None else array, dtype)

    kernels.ranking_metrics(
        backend.context, backend.asarray(ids, np.int32), backend.csr(relevant), _csr(backend, exclude),
        given(n_candidates, np.int32), given(facts.information, np.float64), given(facts.popularity, np.float64),
        given(facts.popularity_ranks, np.int32), _csr(backend, facts.features), wanted, out,
    )  # fmt: skip
    return backend.to_numpy(out)


def count_recommended(
    backend: Backend, ids: npt.NDArray[np.int32], cutoffs: Sequence[int], counts: npt.NDArray[np.int64]
) -> None:
    """Add to ``counts[j, i]`` how many lists have item i at a rank in (cutoffs[j - 1], cutoffs[j]].

    Parameters
    ----------
    backend : Backend
        Where to compute.
    ids : ndarray of shape (n, l), int32
        Ranked lists, as in `ranking_metrics`.
    cutoffs : sequence of int
        Rising, within [1, l].
    counts : ndarray of shape (len(cutoffs), n_items), int64
        Is changed.

    Raises
    ------
    ValueError
        If shapes disagree, or a cutoff or an id is out of range.
    """
    backend.kernels.count_recommended(
        backend.context, backend.asarray(ids, np.int32), backend.asarray(cutoffs, np.int32), counts
    )


def group_metrics(
    backend: Backend,
    ids: npt.NDArray[np.int32],
    relevant: CSR,
    groups: npt.NDArray[np.int32],
    n_groups: int,
    k: int,
    exclude: CSR | None = None,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """For each list and each group of items: exposure in the first k ranks, relevant items among them, and in all.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    ids, relevant, exclude
        As in `ranking_metrics`.
    groups : ndarray of shape (n_items,), int32
        The group of each item, in [0, n_groups).
    n_groups, k : int
        Number of groups; cutoff.

    Returns
    -------
    exposure, hits, wanted : ndarray of shape (n, n_groups), float64
        Exposure is the sum of 1 / log2(rank + 1).

    Raises
    ------
    ValueError
        If shapes disagree, or a cutoff, an id or a group is out of range.
    """
    exposure, hits, wanted = (backend.empty((len(ids), n_groups), np.float64) for _ in range(3))
    backend.kernels.group_metrics(
        backend.context, backend.asarray(ids, np.int32), backend.csr(relevant), _csr(backend, exclude),
        backend.asarray(groups, np.int32), k, exposure, hits, wanted,
    )  # fmt: skip
    return backend.to_numpy(exposure), backend.to_numpy(hits), backend.to_numpy(wanted)


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
