"""The specification of every kernel: a few lines of float64 NumPy each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

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


def _products(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Inner products of all rows: float64 sums of every eighth product, added in a fixed order."""
    x, y = x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)
    sums = np.zeros((8, len(x), len(y)))
    for p in range(x.shape[1]):
        sums[p % 8] += np.multiply.outer(x[:, p], y[:, p])
    a, b, c, d, e, f, g, h = sums
    return ((a + e) + (c + g)) + ((b + f) + (d + h))


def inner_products(
    queries: npt.NDArray[np.float32],
    items: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32] | None = None,
    bias: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Scores of every pair, rounded to float32."""
    total = _products(queries, items)
    total = total if scale is None else total * scale.astype(np.float64)
    total = total if bias is None else total + bias.astype(np.float64)
    with np.errstate(over="ignore"):
        return total.astype(np.float32)


def negated_distances(
    queries: npt.NDArray[np.float32], items: npt.NDArray[np.float32], scale: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Minus the distance of every pair, rounded to float32."""
    own = [np.array([_products(row[None], row[None])[0, 0] for row in rows]) for rows in (queries, items)]
    by = np.ones(len(items)) if scale is None else scale.astype(np.float64)
    squares = own[0][:, None] - 2 * (by * _products(queries, items)) + by * by * own[1]
    return -np.sqrt(np.maximum(squares, 0)).astype(np.float32)


def sparse_scores(queries: CSR, weights: CSR) -> npt.NDArray[np.float32]:
    """Scores of every pair: float64 sums of products by rising i, rounded to float32; -inf where none is stored."""
    sums = np.zeros((queries.n_rows, weights.n_cols))
    touched = np.zeros(sums.shape, dtype=bool)
    for row in range(queries.n_rows):
        for i, value in zip(*queries.row(row), strict=True):
            ids, values = weights.row(i)
            sums[row, ids] += value.astype(np.float64) * values.astype(np.float64)
            touched[row, ids] = True
    with np.errstate(over="ignore"):
        return np.where(touched, sums.astype(np.float32), np.float32(-np.inf))


def linear_autoencoder(x: npt.NDArray[np.floating], penalties: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The B with zeros on its diagonal that minimizes |X - X B|^2 + sum_ij penalty_i B_ij^2."""
    x = x.astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + np.diag(np.broadcast_to(penalties, x.shape[1])))
    weights = -inverse / inverse.diagonal()
    np.fill_diagonal(weights, 0)
    return weights


def regressions_on_nearest(
    correlations: npt.NDArray[np.floating], floors: npt.NDArray[np.floating], k: int, n_kept: int
) -> tuple[npt.NDArray[np.float64], bool]:
    """In row j the regression of item j on the k items with the greatest stored correlations; 0 elsewhere.

    What stands on one side of the diagonal alone counts for both; zeros are not stored. Also whether a matrix came so
    near to where it would have to be halved that float32 may decide otherwise.
    """
    stored, is_near = correlations.astype(np.float64), False
    counts = (stored != 0).sum(axis=1)
    both, out = np.maximum(stored, stored.T), np.zeros_like(stored)
    for item, row in enumerate(stored):
        nearest = np.argsort(-row, kind="stable")[:k]
        nearest = np.sort(nearest[row[nearest] != 0])
        matrix, long = both[np.ix_(nearest, nearest)].copy(), nearest[counts[nearest] >= n_kept]
        lacks = (both[np.ix_(long, long)] == 0).sum() > long.size
        least = floors[nearest].min(initial=2) / 2 if lacks else 0.0
        while lacks:
            smallest = np.linalg.eigvalsh(matrix + np.eye(nearest.size)).min(initial=1)
            is_near |= abs(smallest - least) < 1e-4
            if smallest > least:
                break
            matrix /= 2
        out[item, nearest] = np.linalg.solve(matrix + np.eye(nearest.size), row[nearest])
    return out, is_near


def rating_similarity(measure: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """How alike two rows of ratings are, NaN being none, over what both have rated."""
    common = ~(np.isnan(x) | np.isnan(y))
    x, y = x[common], y[common]
    if measure == "msd":
        return 1 / (1 + ((x - y) ** 2).mean())
    if measure == "pearson":
        x, y = x - x.mean(), y - y.mean()
    lengths = np.sqrt((x**2).sum() * (y**2).sum())
    return float(x @ y / lengths) if lengths > 1e-9 else 0.0


def bias_half_sweep(
    ratings: npt.NDArray[np.float64], mean: float, others: npt.NDArray[np.float64], penalty: float
) -> npt.NDArray[np.float64]:
    """Biases of the rows, those of the columns held fixed; NaN is no rating."""
    counts = (~np.isnan(ratings)).sum(axis=1)
    return np.where(counts, np.nansum(ratings - mean - others, axis=1) / np.maximum(1e-300, penalty + counts), 0)


def bias_sgd_epoch(
    ratings: npt.NDArray[np.float64], mean: float, rate: float, penalty: float, rows: Any, columns: Any, half: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A step for each rating, row by row; of the rows alone, if `half`."""
    rows, columns = np.array(rows, np.float64), np.array(columns, np.float64)
    for u, i in np.argwhere(~np.isnan(ratings)):
        error = ratings[u, i] - mean - rows[u] - columns[i]
        rows[u] += rate * (error - penalty * rows[u])
        columns[i] += 0 if half else rate * (error - penalty * columns[i])
    return rows, columns


def slope_one(
    ratings: npt.NDArray[np.float64], history: npt.NDArray[np.float64], item: int, weighted: bool
) -> tuple[float, int]:
    """What the ratings of a history and their deviations from an item say of it; NaN is no rating."""
    said, weights = [], []
    for j in np.flatnonzero(~np.isnan(history)):
        difference = ratings[:, item] - ratings[:, j]
        n = (~np.isnan(difference)).sum()
        if j != item and n:
            said.append(np.nanmean(difference) + history[j])
            weights.append(n if weighted else 1)
    return (float(np.average(said, weights=weights)), len(said)) if said else (0.0, 0)


def slim(x: CSR, l1: float, l2: float, non_negative: bool = True) -> npt.NDArray[np.float64]:
    """Column j: the elastic net of column j on the others, by coordinate descent until no weight moves."""
    dense = x.to_scipy().toarray().astype(np.float64)
    gram, weights = dense.T @ dense, np.zeros((x.n_cols, x.n_cols))
    for _ in range(10_000):
        before = weights.copy()
        for i in np.flatnonzero(np.diag(gram) + l2):
            rho = gram[i] - gram[i] @ weights + gram[i, i] * weights[i]
            shrunk = np.maximum(rho - l1, 0) - (0 if non_negative else np.maximum(-rho - l1, 0))
            weights[i] = np.where(np.arange(x.n_cols) == i, 0, shrunk / (gram[i, i] + l2))
        if np.abs(weights - before).max(initial=0) <= 1e-12:
            break
    return weights


def slim_objective(x: CSR, weights: npt.NDArray[np.floating], l1: float, l2: float) -> npt.NDArray[np.float64]:
    """What each column of SLIM minimizes."""
    dense, w = x.to_scipy().toarray().astype(np.float64), weights.astype(np.float64)
    residual = dense - dense @ w
    return 0.5 * (residual**2).sum(axis=0) + 0.5 * l2 * (w**2).sum(axis=0) + l1 * np.abs(w).sum(axis=0)


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


def grades_of(relevant: CSR, user: int, exclude: CSR | None) -> dict[int, float]:
    """Relevant items of a user, as `relevant_items` finds them, and their values."""
    ids, values = relevant.row(user)
    wanted = relevant_items(relevant, user, exclude)
    return {int(i): float(value) for i, value in zip(ids, values, strict=True) if int(i) in wanted}


def ranking_metric(
    name: str,
    k: int,
    ids: npt.ArrayLike,
    relevant: Collection[int],
    parameter: float = 0,
    n_items: int = 0,
    excluded: Collection[int] = (),
) -> float:
    """One metric of one ranked list, by its definition; NaN without relevant items. A dictionary has grades."""
    if not relevant:
        return np.nan
    listed = [int(i) for i in np.asarray(ids).tolist()[:k] if i >= 0]
    gains = dict(relevant) if isinstance(relevant, dict) else dict.fromkeys(relevant, 1.0)
    grades = np.array([gains.get(i, 0.0) for i in listed])
    hits = (grades > 0).astype(float)
    ranks = np.arange(1, len(hits) + 1)
    reachable = min(k, len(relevant))
    best = np.sort(list(gains.values()))[::-1][:reachable]
    best_ranks = np.arange(1, reachable + 1)
    n_candidates = n_items - len(excluded)
    n_others = n_candidates - len(relevant)
    match name:
        case "precision":
            return hits.sum() / k
        case "recall":
            return hits.sum() / len(relevant)
        case "hit_rate":
            return float(hits.any())
        case "f1":
            precision, recall = hits.sum() / k, hits.sum() / len(relevant)
            return 2 * precision * recall / (precision + recall) if hits.any() else 0.0
        case "fall_out":
            return len(set(listed) - set(relevant) - set(excluded)) / n_others if n_others > 0 else np.nan
        case "ndcg":
            return (hits / np.log2(ranks + 1)).sum() / (1 / np.log2(best_ranks + 1)).sum()
        case "graded_ndcg":
            return (grades / np.log2(ranks + 1)).sum() / (best / np.log2(best_ranks + 1)).sum()
        case "exponential_ndcg":
            return ((2**grades - 1) / np.log2(ranks + 1)).sum() / ((2**best - 1) / np.log2(best_ranks + 1)).sum()
        case "map":
            return (hits * hits.cumsum() / ranks).sum() / reachable
        case "mrr":
            return (hits / ranks).max(initial=0)
        case "r_precision":
            return hits[:reachable].sum() / reachable
        case "rbp":
            return (1 - parameter) * (hits * parameter ** (ranks - 1)).sum()
        case "err":
            satisfied = (2**grades - 1) / 2**parameter
            reached = np.cumprod(np.concatenate([[1], 1 - satisfied]))[:-1]
            return (reached * satisfied / ranks).sum()
        case "auc":
            scores = np.full(n_items, -np.inf)
            scores[listed] = -ranks
            return auc(scores, set(relevant), set(excluded))
    raise ValueError(name)


def list_metric(
    name: str,
    k: int,
    ids: npt.ArrayLike,
    relevant: Collection[int] = (),
    information: npt.ArrayLike = (),
    popularity: npt.ArrayLike = (),
    features: npt.ArrayLike = (),
    excluded: Collection[int] = (),
) -> float:
    """A metric of what stands in a list; `popularity` alone says which items are the most popular ones."""
    listed = [int(i) for i in np.asarray(ids).tolist()[:k] if i >= 0]
    match name:
        case "novelty":
            return float(np.mean(np.asarray(information)[listed])) if listed else np.nan
        case "popularity":
            return float(np.mean(np.asarray(popularity)[listed])) if listed else np.nan
        case "diversity":
            rows = np.asarray(features, dtype=np.float64)[listed]
            pairs = [1 - rows[i] @ rows[j] for i in range(len(listed)) for j in range(i)]
            return float(np.mean(pairs)) if pairs else np.nan
        case "serendipity":
            order = sorted(set(range(len(np.asarray(popularity)))) - set(excluded), key=lambda i: (-popularity[i], i))
            return len((set(listed) & set(relevant)) - set(order[:k])) / k if relevant else np.nan
    raise ValueError(name)


def auc(scores: npt.NDArray[np.floating], relevant: set[int], excluded: set[int]) -> float:
    """Share of (relevant, other) pairs in the right order; ties count half; NaN scores rank last."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    others = [i for i in range(len(scores)) if i not in relevant | excluded]
    wins = [float(scores[r] > scores[o]) + 0.5 * float(scores[r] == scores[o]) for r in relevant for o in others]
    return float(np.mean(wins)) if wins else np.nan


def concordant_pairs(ratings: npt.NDArray[np.floating], estimates: npt.NDArray[np.floating]) -> tuple[int, int]:
    """Pairs of unequal ratings, and those of them whose estimates are in the same order; a tie is in none."""
    pairs = [(i, j) for i in range(len(ratings)) for j in range(i) if ratings[i] != ratings[j]]
    return len(pairs), sum((ratings[i] - ratings[j]) * (estimates[i] - estimates[j]) > 0 for i, j in pairs)


def from_bf16(x: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The numbers that bfloat16 bits stand for."""
    return (x.astype(np.uint32) << 16).view(np.float32)


class AlsObjective(NamedTuple):
    """Weights and penalties of the implicit-feedback loss, as csrc/als.hpp names them."""

    alpha: float = 1.0
    unobserved_weight: float = 1.0
    regularization: float = 0.1
    regularization_exponent: float = 0.0

    def penalty(self, n_stored: npt.ArrayLike, n_pairs: int) -> npt.NDArray[np.float64]:
        """The lambda of a row (column) with `n_stored` entries out of `n_pairs`."""
        count = np.asarray(n_stored) + self.unobserved_weight * n_pairs
        return self.regularization * count**self.regularization_exponent


def als_loss(
    interactions: CSR, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], objective: AlsObjective
) -> float:
    """sum_stored c (p - x y)^2 + sum_others w0 (x y)^2 + sum_u lambda_u |x_u|^2 + sum_i lambda_i |y_i|^2."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    weight, preference = np.full(interactions.shape, float(objective.unobserved_weight)), np.zeros(interactions.shape)
    stored = interactions.row_numbers(), interactions.indices
    weight[stored] = 1 + objective.alpha * np.abs(interactions.values.astype(np.float64))
    preference[stored] = interactions.values > 0
    n, m = interactions.shape
    penalties = objective.penalty(interactions.row_counts(), m) @ (x**2).sum(axis=1)
    penalties += objective.penalty(interactions.column_counts(), n) @ (y**2).sum(axis=1)
    return float((weight * (preference - x @ y.T) ** 2).sum() + penalties)


def als_systems(
    interactions: CSR,
    y: npt.NDArray[np.floating],
    objective: AlsObjective,
    gathered: npt.NDArray[np.floating] | None = None,
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Each row's w0 Y'Y + sum (c - w0) y y' + lambda I and sum c p y; in the sums y is `gathered`, if that is given."""
    y = y.astype(np.float64)
    gathered = y if gathered is None else gathered.astype(np.float64)
    for row in range(interactions.n_rows):
        ids, values = interactions.row(row)
        confidence, stored = 1 + objective.alpha * np.abs(values.astype(np.float64)), gathered[ids]
        matrix = objective.unobserved_weight * (y.T @ y)
        matrix += stored.T * (confidence - objective.unobserved_weight) @ stored
        matrix += objective.penalty(ids.size, interactions.n_cols) * np.eye(y.shape[1])
        yield matrix, stored.T @ (confidence * (values > 0))


def als_half_sweep(interactions: CSR, y: npt.NDArray[np.floating], objective: AlsObjective) -> npt.NDArray[np.float64]:
    """The rows that minimize `als_loss`, the shortest where there are many."""
    solve = np.linalg.solve if objective.regularization else lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0]
    rows = [solve(a, b) for a, b in als_systems(interactions, y, objective)]
    return np.array(rows).reshape(-1, y.shape[1])


def als_half_sweep_cg(
    interactions: CSR,
    y: npt.NDArray[np.floating],
    objective: AlsObjective,
    x: npt.NDArray[np.floating],
    steps: int,
    gathered: npt.NDArray[np.floating] | None = None,
) -> npt.NDArray[np.float64]:
    """`steps` conjugate gradients for each row from x, preconditioned by the diagonal; y in its eigenbasis."""
    x = x.astype(np.float64)
    for x_row, (a, b), n_stored in zip(
        x, als_systems(interactions, y, objective, gathered), interactions.row_counts(), strict=True
    ):
        x_row *= n_stored > 0
        residual = b - a @ x_row
        direction = residual / a.diagonal()
        for _ in range(steps):
            before = residual @ (residual / a.diagonal())
            if before == 0:
                break
            length = before / (direction @ a @ direction)
            x_row += length * direction
            residual = residual - length * (a @ direction)
            direction = residual / a.diagonal() + residual @ (residual / a.diagonal()) / before * direction
    return x


def als_half_sweep_block(
    interactions: CSR, y: npt.NDArray[np.floating], objective: AlsObjective, x: npt.NDArray[np.floating], block: int
) -> npt.NDArray[np.float64]:
    """One round over blocks of factors, each solved for exactly with the others held fixed."""
    x = x.astype(np.float64)
    for x_row, (a, b), n_stored in zip(
        x, als_systems(interactions, y, objective), interactions.row_counts(), strict=True
    ):
        x_row *= n_stored > 0
        for first in range(0, y.shape[1], block) if n_stored else ():
            part = slice(first, first + block)
            x_row[part] += np.linalg.solve(a[part, part], b[part] - a[part] @ x_row)
    return x


def similarities(
    rows: CSR,
    columns: CSR,
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    denominator: str,
    overlap: float = 0.0,
    shrinkage: float = 0.0,
    minimum: float = 0.0,
    min_support: int = 1,
    first: int = -1,
) -> npt.NDArray[np.float32]:
    """Similarities of all rows and columns, 0 for a pair that is left out; row i is column first + i, if first >= 0."""
    a, b = rows.to_scipy().toarray().astype(np.float64), columns.to_scipy().toarray().astype(np.float64)
    stored = [sp.csr_array((np.ones(x.nnz), x.indices, x.indptr), shape=x.shape).toarray() for x in (rows, columns)]
    sums, support = a @ b, stored[0] @ stored[1]
    left, right = np.asarray(left, np.float64)[:, np.newaxis], np.asarray(right, np.float64)
    below = (left * right if denominator == "product" else left + right + overlap * sums) + shrinkage
    with np.errstate(over="ignore", invalid="ignore"):  # no float32 holds it: left out
        found = np.divide(sums, below, out=np.zeros_like(sums), where=below > 0).astype(np.float32)
    found[~np.isfinite(found) | (found <= minimum) | (support < min_support)] = 0
    if first >= 0:
        found[np.arange(len(a)), first + np.arange(len(a))] = 0
    return found


def logistic(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def ranking_steps(
    loss: str,
    triples: list[tuple[int, int, list[int]]],
    learning_rate: float,
    regularization: float,
    users: npt.NDArray[np.floating],
    items: npt.NDArray[np.floating],
    biases: npt.NDArray[np.floating],
    weights: list[float] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Steps of `ranking_epoch` for given users, positives and candidates, after another."""
    x, y = users.astype(np.float64), items.astype(np.float64)
    b = biases.astype(np.float64) if biases.size else np.zeros(len(y))
    keep = 1 - learning_rate * regularization

    def step(u: int, moves: dict[int, float]) -> None:
        gradient = sum(g * y[i] for i, g in moves.items())
        for i, g in moves.items():
            y[i] = keep * y[i] + learning_rate * g * x[u]
            b[i] = keep * b[i] + learning_rate * g if biases.size else 0
        x[u] = keep * x[u] + learning_rate * gradient

    for t, (u, i, candidates) in enumerate(triples):
        scores = y @ x[u] + b
        if loss == "bpr":
            j = candidates[int(np.argmax(scores[candidates]))]
            g = float(logistic(scores[j] - scores[i]))
            step(u, {i: g, j: -g})
        elif loss == "warp":
            n_draws = next((t for t, j in enumerate(candidates, 1) if scores[j] > scores[i] - 1), 0)
            if n_draws:
                g = np.log(max(1, (len(y) - 1) // n_draws))
                step(u, {i: g, candidates[n_draws - 1]: -g})
        else:
            step(u, {i: (1 if weights is None else weights[t]) * float(logistic(-scores[i]))})
            for j in candidates:
                step(u, {j: -float(logistic(y[j] @ x[u] + b[j]))})
    return x, y, b


def fm_score(
    left: npt.NDArray[np.floating],
    right: npt.NDArray[np.floating],
    table: npt.NDArray[np.floating],
    within: bool,
    mean: float = 0.0,
) -> tuple[float, npt.NDArray[np.float64]]:
    """Score of a factorization machine, pair by pair, and its gradient; the last column of the table is weights."""
    x, table = left + right, np.asarray(table, np.float64)
    vectors, gradient = table[:, :-1], np.zeros_like(table)
    score, gradient[:, -1] = mean + float(x @ table[:, -1]), x
    for i in range(len(x)):
        for j in range(i):
            share = x[i] * x[j] if within else left[i] * right[j] + left[j] * right[i]
            score += share * float(vectors[i] @ vectors[j])
            gradient[i, :-1] += share * vectors[j]
            gradient[j, :-1] += share * vectors[i]
    return score, gradient


def fm_batch(
    loss: str,
    samples: list[tuple[npt.NDArray[np.floating], list[npt.NDArray[np.floating]], float]],
    table: npt.NDArray[np.floating],
    squares: npt.NDArray[np.floating],
    rate: float,
    penalty: float,
    within: bool = True,
    mean: float = 0.0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """One step of AdaGrad on samples: features of user and context, those of the item and of drawn ones, the value.

    WARP takes the one drawn item in the first draw. Returns table, squares and the sum that the kernel returns.
    """
    gradient, total = np.zeros(np.shape(table)), 0.0
    for left, rights, value in samples:
        scores, slopes = zip(*(fm_score(left, right, table, within, mean) for right in rights), strict=True)
        if loss == "regression":
            moves, figure = [value - scores[0]], (value - scores[0]) ** 2
        elif loss == "logistic":
            signs = [1.0 if value > 0 else -1.0] + [-1.0] * (len(rights) - 1)
            moves = [sign * float(logistic(-sign * f)) for sign, f in zip(signs, scores, strict=True)]
            figure = sum(np.logaddexp(0, -sign * f) for sign, f in zip(signs, scores, strict=True))
        else:
            x = scores[0] - scores[1]
            g = float(logistic(-x)) if loss == "bpr" else np.log(2) * (x < 1)  # two others: log(2 / 1)
            moves, figure = [g, -g], float(x > 0)
        total += figure
        if not any(moves):
            continue
        for move, slope in zip(moves, slopes, strict=True):
            gradient += move * slope
        n_read = (left != 0).astype(float) + sum((right != 0).astype(float) for right in rights)
        gradient -= penalty * n_read[:, np.newaxis] * table
    squares = squares + gradient**2
    return table + rate * gradient / np.sqrt(squares), squares, total


def rating_steps(
    ratings: list[tuple[int, int, float]],
    mean: float,
    learning_rate: float,
    regularization: float,
    users: npt.NDArray[np.floating],
    items: npt.NDArray[np.floating],
    user_biases: npt.NDArray[np.floating],
    item_biases: npt.NDArray[np.floating],
    implicit: tuple[list[list[int]], npt.NDArray[np.floating]] | None = None,
) -> tuple[list[npt.NDArray[np.float64]], float]:
    """Steps of `rating_epoch` after another, or of `svdpp_epoch` given rows of items and their vectors; sum of e^2."""
    x, y, z = (a.astype(np.float64) for a in (users, items, items[:0] if implicit is None else implicit[1]))
    b, c = (a.astype(np.float64) for a in (user_biases, item_biases))
    squares = 0.0
    for u, i, r in ratings:
        seen = implicit[0][u] if implicit is not None else []
        share = 1 / np.sqrt(max(1, len(seen)))
        whole = x[u] + share * z[seen].sum(axis=0)
        e = r - mean - whole @ y[i] - (b[u] + c[i] if b.size else 0)
        squares += e**2
        z[seen] += learning_rate * (e * share * y[i] - regularization * z[seen])
        x[u], y[i] = (
            x[u] + learning_rate * (e * y[i] - regularization * x[u]),
            y[i] + learning_rate * (e * whole - regularization * y[i]),
        )
        if b.size:
            b[u] += learning_rate * (e - regularization * b[u])
            c[i] += learning_rate * (e - regularization * c[i])
    return [x, y, b, c, z], squares


class ExplicitAlsObjective(NamedTuple):
    """Penalties and bounds of the loss of ratings, as csrc/als.hpp names them."""

    mean: float = 3.0
    regularization: float = 0.1
    regularization_exponent: float = 1.0
    l1: float = 0.0
    biases: bool = True
    non_negative: bool = False


def explicit_als_systems(
    ratings: CSR,
    weights: npt.NDArray[np.floating],
    y: npt.NDArray[np.floating],
    y_biases: npt.NDArray[np.floating],
    objective: ExplicitAlsObjective,
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]]:
    """Each row's matrix and right-hand side, the bias before the factors, and its share of the l1 penalty."""
    for row in range(ratings.n_rows):
        ids, values = ratings.row(row)
        w = weights[ratings.indptr[row] : ratings.indptr[row + 1]].astype(np.float64)
        scale = w.sum() ** objective.regularization_exponent if ids.size else 1.0
        design, target = np.c_[np.ones(ids.size), y[ids]].astype(np.float64), values.astype(np.float64)
        if objective.biases:
            target = target - objective.mean - y_biases[ids]
        else:
            design[:, 0] = 0
        matrix = design.T * w @ design + objective.regularization * scale * np.eye(design.shape[1])
        yield matrix, design.T @ (w * target), objective.l1 * scale


def explicit_als_half_sweep(
    ratings: CSR,
    weights: npt.NDArray[np.floating],
    y: npt.NDArray[np.floating],
    y_biases: npt.NDArray[np.floating],
    objective: ExplicitAlsObjective,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The rows and biases that minimize the loss without l1 and bounds."""
    out = np.zeros((ratings.n_rows, y.shape[1] + 1))
    systems = explicit_als_systems(ratings, weights, y, y_biases, objective)
    for row, (matrix, target, _) in enumerate(systems):
        if ratings.row(row)[0].size:
            matrix[0, 0] = matrix[0, 0] if objective.biases else 1
            out[row] = np.linalg.solve(matrix, target)
    return out[:, 1:], out[:, 0]


def explicit_als_loss(
    ratings: CSR,
    weights: npt.NDArray[np.floating],
    x: npt.NDArray[np.floating],
    y: npt.NDArray[np.floating],
    x_biases: npt.NDArray[np.floating],
    y_biases: npt.NDArray[np.floating],
    objective: ExplicitAlsObjective,
) -> tuple[float, float]:
    """sum w (r - mean - b_u - b_i - x y)^2, and with it the penalties of rows and columns that have entries."""
    x, y, weights = x.astype(np.float64), y.astype(np.float64), weights.astype(np.float64)
    rows, columns = ratings.row_numbers(), ratings.indices
    scores = np.einsum("nd,nd->n", x[rows], y[columns])
    if objective.biases:
        scores += objective.mean + x_biases[rows].astype(np.float64) + y_biases[columns]
    errors = float((weights * (ratings.values - scores) ** 2).sum())
    penalties = 0.0
    for ids, factors, biases in ((rows, x, x_biases), (columns, y, y_biases)):
        totals = np.bincount(ids, weights, minlength=len(factors))
        scale = np.where(totals > 0, totals**objective.regularization_exponent, 0)
        squares = (factors**2).sum(axis=1) + objective.biases * biases.astype(np.float64) ** 2
        penalties += float(scale @ (objective.regularization * squares + objective.l1 * np.abs(factors).sum(axis=1)))
    return errors, errors + penalties


def nmf_half_epoch(
    ratings: CSR, y: npt.NDArray[np.floating], regularization: float, x: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """x (R y) / ((stored x y') y + n regularization x), row by row, and 0 where the denominator is."""
    x, y, out = x.astype(np.float64), y.astype(np.float64), np.zeros(x.shape)
    for row in range(ratings.n_rows):
        ids, values = ratings.row(row)
        denominator = (y[ids] @ x[row]) @ y[ids] + ids.size * regularization * x[row]
        np.divide(x[row] * (values @ y[ids]), denominator, out=out[row], where=denominator > 0)
    return out
