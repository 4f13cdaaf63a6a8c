"""Neighbours that predict ratings: what ``target="rating"`` makes of the models of neighbours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import Backend
from likewise._validation import check_choice, check_flag, check_float, check_int
from likewise.data import CSR
from likewise.retrieval import MAX_K, top_k_scores

from ._ratings import fit_baselines, user_baselines
from ._sparse import MAX_SUPPORT, SparseRecommender

__all__ = ["RatingNeighbors"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

TARGETS = ("implicit", "rating")
_METRICS = ("cosine", "msd", "pearson", "pearson_baseline")
_NORMALIZATIONS = ("mean", "zscore", "baseline")
# Pairs estimated at a time: some tens of bytes each.
_BLOCK_PAIRS = 1 << 22


class _Scale(NamedTuple):
    """What is known of the ratings apart from who is like whom."""

    mean: float
    spread: float
    lowest: float
    highest: float
    user_biases: Float64Array
    item_biases: Float64Array

    @classmethod
    def of(cls, backend: Backend, by_user: CSR) -> _Scale:
        """Means and baselines."""
        mean, user_biases, item_biases = fit_baselines(backend, by_user, by_user.transpose())
        values = by_user.values
        spread = float(values.std(dtype=np.float64))
        return cls(mean, spread, float(values.min()), float(values.max()), user_biases, item_biases)

    def biases_of(self, backend: Backend, histories: CSR) -> Float64Array:
        """The biases of other users, the items' held fixed."""
        return user_baselines(backend, histories, self.mean, self.item_biases)


class _Users(NamedTuple):
    """Users to predict for: their ratings, and their biases."""

    histories: CSR
    biases: Float64Array


class RatingNeighbors(SparseRecommender):
    """The part of `ItemKNN` and `UserKNN` that predicts ratings; where `target` is another, all goes to the next class.

    Nothing is kept but the ratings and their means: neighbours are chosen for each prediction among those who have
    rated what it is about.
    """

    target: str
    metric: str
    normalization: str | None
    k: int
    shrinkage: float
    min_support: int
    min_neighbors: int
    clip: bool

    _compares_users: bool
    _scale: _Scale
    _said: CSR | None  # what users' ratings say beyond their means, by item, where users are compared

    @property
    def _predicts_ratings(self) -> bool:  # type: ignore[override]
        return bool(self.target == "rating")

    @property
    def _allows_negative(self) -> bool:  # type: ignore[override]
        return self._predicts_ratings

    def _check_target(self) -> None:
        """Raise for a parameter that does not go with `target`."""
        name = type(self).__name__
        check_choice(name, "target", self.target, TARGETS)
        check_int(name, "min_neighbors", self.min_neighbors, minimum=1)
        check_flag(name, "clip", self.clip)
        if not self._predicts_ratings:
            for option, default in (("normalization", None), ("min_neighbors", 1), ("clip", True)):
                if (value := getattr(self, option)) != default:
                    raise ValueError(
                        f"{name}: {option} is of predicted ratings, got {value!r}; leave it {default!r}, "
                        "or take target='rating'"
                    )
            return
        check_int(name, "k", self.k, minimum=1, maximum=MAX_K)
        check_choice(name, "metric with target='rating'", self.metric, _METRICS)
        check_float(name, "shrinkage", self.shrinkage, minimum=0, maximum=1e30)
        check_int(name, "min_support", self.min_support, minimum=1, maximum=MAX_SUPPORT)
        if self.normalization is not None:
            check_choice(name, "normalization", self.normalization, _NORMALIZATIONS)
        for option in ("weighting", "half_life"):
            if (value := getattr(self, option)) is not None:
                raise ValueError(
                    f"{name}: {option} changes values, which target='rating' predicts, got {value!r}; leave it None"
                )

    # ------------------------------------------------------------------ fitting

    def _set_ratings(self, by_user: CSR) -> None:
        # X may change after the fit: what predictions come from are arrays of our own.
        by_user = CSR(by_user.indptr.copy(), by_user.indices.copy(), by_user.values.copy(), by_user.shape)
        self._scale = _Scale.of(self._backend(), by_user)
        self._users = _Users(by_user, self._scale.user_biases)
        rows = self._entities(by_user)
        counts = np.maximum(1, rows.row_counts())
        values = rows.values.astype(np.float64)
        sums = np.bincount(rows.row_numbers(), values, minlength=rows.n_rows)
        self._means = np.where(rows.row_counts() > 0, sums / counts, self._scale.mean)
        squares = (values - np.repeat(self._means, rows.row_counts())) ** 2
        spreads = np.sqrt(np.bincount(rows.row_numbers(), squares, minlength=rows.n_rows) / counts)
        self._spreads = np.where(spreads > 0, spreads, self._scale.spread or 1.0)
        compared = self._compared_ratings(self._users)
        self._compared_rows = self._entities(compared)
        self._compared_columns = compared if not self._compares_users else compared.transpose()
        self._said = self._residuals(self._users).transpose() if self._compares_users else None

    def _entities(self, by_user: CSR) -> CSR:
        return by_user if self._compares_users else by_user.transpose()

    def _baselines(self, users: _Users) -> Float64Array:
        """Of each entry of the users' histories."""
        histories = users.histories
        return (
            self._scale.mean
            + np.repeat(users.biases, histories.row_counts())
            + self._scale.item_biases[histories.indices]
        )

    def _compared_ratings(self, users: _Users) -> CSR:
        histories = users.histories
        if self.metric != "pearson_baseline":
            return histories
        return _with_values(histories, histories.values - self._baselines(users))

    def _means_of(self, users: _Users) -> tuple[Float64Array, Float64Array]:
        """Mean and spread of each of the users' histories."""
        if users is self._users:
            return self._means, self._spreads
        rows, counts = users.histories.row_numbers(), users.histories.row_counts()
        n = np.maximum(1, counts)
        means = np.bincount(rows, users.histories.values, minlength=counts.size) / n
        means = np.where(counts > 0, means, self._scale.mean)
        squares = (users.histories.values - np.repeat(means, counts)) ** 2
        spreads = np.sqrt(np.bincount(rows, squares, minlength=counts.size) / n)
        return means, np.where(spreads > 0, spreads, self._scale.spread or 1.0)

    def _residuals(self, users: _Users) -> CSR:
        """What the users' ratings say beyond the mean of those who are averaged over, by user."""
        histories = users.histories
        values = histories.values.astype(np.float64)
        if self.normalization == "baseline":
            values = values - self._baselines(users)
        elif self.normalization is not None:
            means, spreads = self._means_of(users) if self._compares_users else (self._means, self._spreads)
            places = histories.row_numbers() if self._compares_users else histories.indices
            values = values - means[places]
            if self.normalization == "zscore":
                values = values / spreads[places]
        return _with_values(histories, values)

    # ------------------------------------------------------------------ predicting

    def _spec(self, k: int) -> Any:
        kernels = self._backend().kernels
        measure = "cosine" if self.metric == "pearson_baseline" else self.metric
        return kernels.RatingNeighbors(
            getattr(kernels.RatingMeasure, measure), float(self.shrinkage), int(self.min_support), k
        )

    def _estimates(self, users: _Users, asked: CSR) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """Ratings of the pairs stored in `asked`, a row for each of the users, and which of them rest on neighbours."""
        backend = self._backend()
        if self._said is not None:
            rows, lists, wanted = self._compared_ratings(users), self._said, asked
        else:
            rows, lists, wanted = self._compared_rows, self._residuals(users), asked.transpose()
        found = backend.empty((wanted.nnz,))
        n_used = backend.empty((wanted.nnz,), np.int32)
        backend.kernels.knn_ratings(
            backend.context,
            backend.csr(rows),
            backend.csr(self._compared_columns),
            backend.csr(wanted),
            backend.csr(lists),
            self._spec(min(int(self.k), max(1, self._compared_columns.n_cols))),
            -1,
            found,
            n_used,
        )
        estimates, used = backend.to_numpy(found).astype(np.float64), backend.to_numpy(n_used)
        if not self._compares_users:  # back from the order of items to that of users
            order = (
                sp.csr_array((np.arange(wanted.nnz), wanted.indices, wanted.indptr), shape=wanted.shape).tocsc().data
            )
            estimates, used = estimates[order], used[order]
        return self._completed(users, asked, estimates, used)

    def _completed(
        self, users: _Users, asked: CSR, estimates: Float64Array, used: Int32Array
    ) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """The mean, or the baseline, added; alone where there are too few neighbours."""
        has_neighbors = used >= self.min_neighbors
        estimates = np.where(has_neighbors, estimates, 0.0)
        if self.normalization is None:
            return np.where(has_neighbors, estimates, self._scale.mean), has_neighbors
        if self.normalization == "baseline":
            base = _Users(asked, users.biases)
            return estimates + self._baselines(base), has_neighbors
        means, spreads = self._means_of(users) if self._compares_users else (self._means, self._spreads)
        places = asked.row_numbers() if self._compares_users else asked.indices
        scale = spreads[places] if self.normalization == "zscore" else 1.0
        return means[places] + scale * estimates, has_neighbors

    def _users_in(self, histories: CSR | None, rows: Int64Array) -> _Users:
        if histories is None:
            if rows.size == self.n_users_ and np.array_equal(rows, np.arange(rows.size)):
                return self._users
            return _Users(self._users.histories.take_rows(rows), self._users.biases[rows])
        taken = histories.take_rows(rows)
        return _Users(taken, self._scale.biases_of(self._backend(), taken))

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        if not self._predicts_ratings:
            return super()._scores(histories, rows)
        scores = np.empty((rows.size, self.n_items_), dtype=np.float32)
        n_block = max(1, _BLOCK_PAIRS // self.n_items_)
        for start in range(0, rows.size, n_block):
            users = self._users_in(histories, rows[start : start + n_block])
            n = users.histories.n_rows
            asked = CSR(
                np.arange(n + 1) * self.n_items_,
                np.tile(np.arange(self.n_items_, dtype=np.int32), n),
                np.ones(n * self.n_items_, np.float32),
                (n, self.n_items_),
            )
            estimates, has_neighbors = self._estimates(users, asked)
            block = np.where(has_neighbors, estimates, -np.inf).reshape(n, self.n_items_)
            block[users.histories.row_counts() == 0] = -np.inf
            scores[start : start + n] = block
        return scores

    def _top_k(
        self,
        histories: CSR | None,
        rows: Int64Array,
        k: int,
        exclude: CSR | None,
        allow: Int64Array | None,
        deny: Int64Array | None,
        subject: str,
        *,
        exactly: bool = True,
    ) -> tuple[Int32Array, Float32Array]:
        if not self._predicts_ratings:
            return super()._top_k(histories, rows, k, exclude, allow, deny, subject, exactly=exactly)
        return top_k_scores(
            self._backend(),
            lambda block: self._scores(histories, rows[block]),
            rows.size,
            self.n_items_,
            k,
            exclude,
            deny,
            allow,
            subject=subject,
        )

    @property
    def _n_pairs_at_once(self) -> int:
        # Each call compares the users, or the items, of its pairs with all others anew.
        return _BLOCK_PAIRS if self._predicts_ratings else super()._n_pairs_at_once

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        if not self._predicts_ratings:
            return super()._pair_scores(users, items)
        return self._predicted_ratings(None, users, items).astype(np.float32)

    def _predicted_ratings(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        pairs, places = np.unique(users * self.n_items_ + items, return_inverse=True)
        who, whom = np.divmod(pairs, self.n_items_)
        distinct, starts = np.unique(who, return_index=True)
        asked = CSR(
            np.append(starts, pairs.size).astype(np.int64),
            whom.astype(np.int32),
            np.ones(pairs.size, np.float32),
            (distinct.size, self.n_items_),
        )
        estimates, _ = self._estimates(self._users_in(histories, distinct), asked)
        return self._clipped(estimates)[places]

    def _clipped(self, estimates: Float64Array) -> Float64Array:
        return np.clip(estimates, self._scale.lowest, self._scale.highest) if self.clip else estimates

    def transform(self, X: Any) -> Any:
        """Scores of all items for new rows: `X` times the weights. Ratings have an estimate for every pair instead.

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Histories, of users whom the model need not know.

        Returns
        -------
        csr_array of shape (n, n_items), float32
            A score for each item that a history leads to, seen ones among them.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        NotImplementedError
            With ``target="rating"``.
        """
        if self._predicts_ratings:
            raise NotImplementedError(
                f"{type(self).__name__}: target='rating' has an estimate for every pair and no sparse scores; use "
                "predict, or recommend(interactions=X)"
            )
        return super().transform(X)

    # ------------------------------------------------------------------ who is like whom

    def _nearest_by_ratings(self, rows: Int64Array, width: int) -> tuple[Int32Array, Float32Array]:
        """Of the items, or the users, those most similar to the ones in `rows`, which are among them."""
        backend = self._backend()
        ids, scores = backend.empty((rows.size, width), np.int32), backend.empty((rows.size, width))
        backend.kernels.nearest_by_ratings(
            backend.context,
            backend.csr(self._compared_rows.take_rows(rows)),
            backend.csr(self._compared_columns),
            self._spec(width),
            -1,
            ids,
            scores,
        )
        return backend.to_numpy(ids), backend.to_numpy(scores)

    def _similar_by_ratings(self, rows: Int64Array, k: int) -> tuple[Int32Array, Float32Array]:
        """The k most similar of the items, or the users, to those in `rows`, themselves left out."""
        width = min(k, self._compared_columns.n_cols)
        found, similarities = self._nearest_by_ratings(rows, width + 1)
        others = found != rows[:, np.newaxis]
        others[others.all(axis=1), -1] = False  # one of the k + 1 is left out: itself, or the last
        out_ids, out_scores = np.full((rows.size, k), -1, np.int32), np.full((rows.size, k), -np.inf, np.float32)
        out_ids[:, :width] = found[others].reshape(-1, width)
        out_scores[:, :width] = similarities[others].reshape(-1, width)
        return out_ids, out_scores

    def _explained(self, user: int, item: int) -> tuple[float, Int32Array, Float64Array]:
        """The estimate for a pair, and what each rating of the user adds to it, the mean or baseline aside."""
        users = self._users_in(None, np.array([user]))
        asked = CSR(np.array([0, 1]), np.array([item], np.int32), np.ones(1, np.float32), (1, self.n_items_))
        estimate, _ = self._estimates(users, asked)
        near, similarities = self._nearest_by_ratings(np.array([item]), self.n_items_)
        similarity = np.zeros(self.n_items_)
        similarity[near[near >= 0]] = similarities[near >= 0]
        ids, values = self._residuals(users).row(0)
        weights = similarity[ids]
        chosen = np.lexsort((ids, -weights))[: int(self.k)]
        chosen = chosen[weights[chosen] > 0]
        contributions = weights[chosen] * values[chosen] / max(weights[chosen].sum(), 1e-300)
        if self.normalization == "zscore":
            contributions = contributions * self._spreads[item]
        if chosen.size < self.min_neighbors:
            chosen, contributions = chosen[:0], contributions[:0]
        return float(estimate[0]), ids[chosen], contributions


def _with_values(matrix: CSR, values: npt.NDArray[Any]) -> CSR:
    return CSR(matrix.indptr, matrix.indices, values.astype(np.float32), matrix.shape)
