"""implicit.evaluation: splits, and its four metrics as it defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import get_backend
from likewise._progress import ProgressBar
from likewise._validation import check_int
from likewise.data import CSR
from likewise.retrieval import ranking_metrics

from .utils import check_random_state

__all__ = [
    "AUC_at_k",
    "leave_k_out_split",
    "mean_average_precision_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "ranking_metrics_at_k",
    "train_test_split",
]

_BATCH = 16384


def train_test_split(
    ratings: Any, train_percentage: float = 0.8, random_state: Any = None
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Split stored entries at random: each is in train with the probability `train_percentage`.

    Entries below 0 are left out of test.
    """
    coo = sp.coo_matrix(ratings)
    in_train = check_random_state(random_state).random(coo.data.size) < train_percentage
    return _part(coo, in_train), _part(coo, ~in_train & (coo.data > 0))


def leave_k_out_split(
    ratings: Any, K: int = 1, train_only_size: float = 0.0, random_state: Any = None
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Hold out K entries, drawn at random, of each user with more than K + 1.

    Parameters
    ----------
    ratings : sparse matrix of shape (n_users, n_items)
    K : int, default=1
    train_only_size : float in [0, 1), default=0.0
        Share of the users of whom nothing is held out.
    random_state : int, RandomState, Generator or None, default=None
        The same seed gives the same split.

    Raises
    ------
    ValueError
        If `K` or `train_only_size` is out of range.
    """
    K = check_int("leave_k_out_split", "K", K, minimum=1)
    if not 0 <= train_only_size < 1:
        raise ValueError(f"leave_k_out_split: train_only_size must be in [0, 1), got {train_only_size:g}")
    rng = check_random_state(random_state)
    coo = sp.coo_matrix(ratings)
    counts = np.bincount(coo.row, minlength=coo.shape[0])
    eligible = counts > K + 1
    if train_only_size > 0:
        users = np.flatnonzero(counts)
        eligible[rng.choice(users, size=max(1, int(users.size * train_only_size)), replace=False)] = False
    order = np.lexsort((rng.random(coo.data.size), coo.row))
    place = np.arange(order.size) - np.repeat(np.cumsum(counts) - counts, counts)
    held_out = np.zeros(coo.data.size, dtype=bool)
    held_out[order] = (place < K) & eligible[coo.row[order]]
    return _part(coo, ~held_out), _part(coo, held_out)


def _part(coo: sp.coo_matrix, keep: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    pairs = (coo.row[keep], coo.col[keep])
    return sp.csr_matrix((coo.data[keep], pairs), shape=coo.shape, dtype=coo.dtype)


def ranking_metrics_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> dict[str, float]:
    """Return ``precision``, ``map``, ``ndcg`` and ``auc`` of the K best items of each user with entries in test.

    Parameters
    ----------
    model : RecommenderBase
        Whose ``recommend`` is asked, for many users at a time.
    train_user_items, test_user_items : sparse matrix of shape (n_users, n_items)
        What users have, which is not recommended, and what they should get: every stored entry.
    K : int, default=10
    show_progress : bool, default=True
    num_threads : int, default=1
        Of the metrics; 0 is every CPU at hand. The model ranks with its own.

    Returns
    -------
    dict of str to float
        ``precision`` is the number of hits by that of hits that could be, Σ hits / Σ min(K, entries), over all users;
        the others are means. ``auc`` takes all items below rank K as tied, those that users have too.

    Raises
    ------
    ValueError
        If nobody has an entry in test.
    """
    K = check_int("ranking_metrics_at_k", "K", K, minimum=1)
    train = sp.csr_matrix(train_user_items)
    test = CSR.from_scipy(sp.csr_matrix(test_user_items), subject="ranking_metrics_at_k")
    users = np.flatnonzero(test.row_counts())
    if users.size == 0:
        raise ValueError("ranking_metrics_at_k: test_user_items has no entry")
    backend = get_backend("cpu", num_threads or None, "ranking_metrics_at_k")
    width = min(K, test.n_cols)
    found = np.empty((users.size, 4))
    starts = range(0, users.size, _BATCH)
    for start in ProgressBar(starts, verbose=show_progress, description="Evaluating", unit="batch"):
        batch = users[start : start + _BATCH]
        ids, _ = model.recommend(batch.astype(np.int32), train[batch], N=width)
        rows = test.take_rows(batch)
        relevant = CSR(rows.indptr, rows.indices, np.ones(rows.nnz, np.float32), rows.shape)
        found[start : start + batch.size] = ranking_metrics(
            backend, np.asarray(ids, dtype=np.int32), relevant,
            [("precision", width), ("map", width), ("ndcg", width), ("auc", width)],
        )  # fmt: skip
    reachable = np.minimum(K, test.row_counts()[users])
    precision = float(np.rint(found[:, 0] * width).sum() / reachable.sum())
    means = [float(np.nanmean(column)) if not np.isnan(column).all() else float("nan") for column in found[:, 1:].T]
    return {"precision": precision, "map": means[0], "ndcg": means[1], "auc": means[2]}


def precision_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return ``precision`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["precision"]


def mean_average_precision_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return ``map`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["map"]


def ndcg_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return ``ndcg`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["ndcg"]


def AUC_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return ``auc`` of `ranking_metrics_at_k`."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["auc"]
