"""The specification of every kernel: a few lines of float64 NumPy each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from likewise.data import CSR


def random_csr(
    rng: np.random.Generator, shape: tuple[int, int], density: float = 0.2, *, empty_rows: bool = True
) -> CSR:
    """A random matrix with values in 1..5; with `empty_rows` some rows are empty."""
    present = rng.random(shape) < density * 2 * rng.random((shape[0], 1))
    if empty_rows:
        present[rng.random(shape[0]) < 0.1] = False
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(present)[1].astype(np.int32)
    return CSR(offsets, indices, rng.integers(1, 6, indices.size).astype(np.float32), shape)


def top_k(
    scores: npt.NDArray[np.floating],
    k: int,
    exclude: CSR | None = None,
    deny: npt.ArrayLike | None = None,
    allow: npt.ArrayLike | None = None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.floating]]:
    """The k best of each row: score descending, then smaller id; NaN and -inf are no candidates."""
    ids, best = np.full((len(scores), k), -1, np.int32), np.full((len(scores), k), -np.inf, scores.dtype)
    for row, row_scores in enumerate(scores):
        candidate = row_scores > -np.inf
        if allow is not None:
            candidate &= np.isin(np.arange(len(row_scores)), allow)
        if deny is not None:
            candidate &= ~np.isin(np.arange(len(row_scores)), deny)
        if exclude is not None:
            candidate[exclude.row(row)[0]] = False
        order = [i for i in np.lexsort((np.arange(len(row_scores)), -row_scores)) if candidate[i]][:k]
        ids[row, : len(order)], best[row, : len(order)] = order, row_scores[order]
    return ids, best


def gramian(y: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """y' y."""
    return y.astype(np.float64).T @ y.astype(np.float64)


def multiply_transposed(x: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """x b'."""
    return x.astype(np.float64) @ b.astype(np.float64).T


def solve_spd(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The x of a x = b, from the upper triangle of a."""
    upper = np.triu(a.astype(np.float64))
    return np.linalg.solve(upper + np.triu(upper, 1).T, b.astype(np.float64))


def round_to_bf16(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The nearer of the two bfloat16 around each finite x, the even one of two as near; rows padded to 16."""
    toward_zero = (x.view(np.uint32) >> 16).astype(np.uint32)

    def value(upper_half: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        floats = (upper_half << 16).view(np.float32).astype(np.float64)
        return np.where(np.isinf(floats), np.copysign(2.0**128, floats), floats)  # what follows the largest number

    below, above = np.abs(x - value(toward_zero)), np.abs(value(toward_zero + 1) - x)
    up = (above < below) | ((above == below) & (toward_zero % 2 == 1))
    n_columns = -(-x.shape[1] // 16) * 16
    out = np.zeros((x.shape[0], n_columns), np.uint16)
    out[:, : x.shape[1]] = toward_zero + up
    return out


def relevant_items(relevant: CSR, user: int, exclude: CSR | None = None) -> set[int]:
    """The entries of a row with a value above zero, less those of the same row of `exclude`."""
    ids, values = relevant.row(user)
    return set(ids[values > 0].tolist()) - set(() if exclude is None else exclude.row(user)[0].tolist())


def ranking_metric(name: str, k: int, ids: npt.ArrayLike, relevant: set[int]) -> float:
    """One metric of one ranked list, by its definition; NaN without relevant items."""
    if not relevant:
        return np.nan
    hits = np.array([item in relevant for item in ids][:k], dtype=float)
    ranks = np.arange(1, len(hits) + 1)
    reachable = min(k, len(relevant))
    match name:
        case "precision":
            return hits.sum() / k
        case "recall":
            return hits.sum() / len(relevant)
        case "hit_rate":
            return float(hits.any())
        case "ndcg":
            return (hits / np.log2(ranks + 1)).sum() / (1 / np.log2(np.arange(2, reachable + 2))).sum()
        case "map":
            return (hits * hits.cumsum() / ranks).sum() / reachable
        case "mrr":
            return (hits / ranks).max(initial=0)
    raise ValueError(name)


def auc(scores: npt.NDArray[np.floating], relevant: set[int], excluded: set[int]) -> float:
    """Share of (relevant, other) pairs in the right order; ties count half; NaN scores rank last."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    others = [i for i in range(len(scores)) if i not in relevant | excluded]
    wins = [float(scores[r] > scores[o]) + 0.5 * float(scores[r] == scores[o]) for r in relevant for o in others]
    return float(np.mean(wins)) if wins else np.nan
