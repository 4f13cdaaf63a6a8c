"""Ratings predicted from how much higher one item is rated than another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from likewise._space import Space
from likewise._validation import check_flag
from likewise.data import CSR, Interactions
from likewise.retrieval import top_k_scores

from ._ratings import RatingRecommender, fit_baselines

__all__ = ["SlopeOne"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# Pairs estimated at a time: some tens of bytes each. More at a time sum deviations up less often.
_BLOCK_PAIRS = 1 << 22
# Differences of ratings summed up in a call of the kernel, which takes seconds: an interrupt comes through after it.
_BLOCK_DIFFERENCES = 1 << 29


class _Ratings(NamedTuple):
    """What deviations come from; arrays of the model's own, as X may change after the fit."""

    by_user: CSR
    by_item: CSR
    n_differences: Int64Array
    """Of the raters of each item, the number of all their ratings."""


class SlopeOne(RatingRecommender):
    r"""Predict a rating from the user's others, and how much higher the item is rated by those who rated both [1]_.

    With :math:`d_{ij}` the mean of :math:`r_{vi} - r_{vj}` over the :math:`n_{ij}` users v who have rated both items,
    and j running over the items that user u has rated and for which :math:`n_{ij} \ge 1`, i aside, the estimate is

    .. math::

        \bar r_u + \frac{\sum_j d_{ij}}{\sum_j 1}
        \qquad\text{or, weighted,}\qquad
        \frac{\sum_j n_{ij} (d_{ij} + r_{uj})}{\sum_j n_{ij}}

    with the mean :math:`\bar r_u` of the user's ratings, which is the estimate where there is no such j. Nothing but
    means is learned: deviations are summed up for the items that are asked for, in memory that grows with the items
    and not with their pairs.

    Parameters
    ----------
    weighted : bool, default=False
        Whether deviations that rest on more users count for more.
    clip : bool, default=True
        Whether predictions stay between the lowest and the highest rating of the fit. Scores of recommendations are
        never clipped.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand. Predictions are bitwise the same at any number.

    Attributes
    ----------
    global_mean_ : float
        Mean of all ratings.
    user_biases_ : ndarray of shape (n_users,), float32
    item_biases_ : ndarray of shape (n_items,), float32
        How far the ratings of a user, of an item lie above the mean, as `BaselinePredictor` finds it: what `predict`
        falls back to for unknown users and items, and for those without ratings.
    rating_scale_ : tuple
        Lowest and highest rating of the fit.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] D. Lemire, A. Maclachlan, Slope One predictors for online rating-based collaborative filtering, SDM 2005,
       doi:10.1137/1.9781611972757.43

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.SlopeOne(clip=False).fit(np.array([[1, 3], [2, 0], [4, 5]]))
    >>> model.predict(1, 1)
    array([3.5], dtype=float32)
    """

    _search_space: ClassVar[Space] = {"weighted": [False, True]}

    def __init__(
        self, weighted: bool = False, *, clip: bool = True, device: str = "cpu", n_jobs: int | None = None
    ) -> None:
        self.weighted = weighted
        self.clip = clip
        self.device = device
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_flag(type(self).__name__, "weighted", self.weighted)

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        self._set_ratings(data.by_user)
        self._set_scale(self._ratings.by_user)
        baselines = fit_baselines(self._backend(), self._ratings.by_user, self._ratings.by_item)
        self._set_biases(baselines.user_biases, baselines.item_biases)

    def _set_ratings(self, by_user: CSR) -> None:
        own = CSR(by_user.indptr.copy(), by_user.indices.copy(), by_user.values.copy(), by_user.shape)
        by_item = own.transpose()
        n_differences = np.bincount(
            by_item.row_numbers(), own.row_counts()[by_item.indices], minlength=by_item.n_rows
        ).astype(np.int64)
        self._ratings = _Ratings(own, by_item, n_differences)

    def partial_fit(self, X: Any, y: Any = None) -> SlopeOne:
        """Learn from further ratings, of new users and items too; before a first `fit` it is `fit`.

        Means and biases are computed anew from the old and the new ratings together, which takes little time. A pair
        that is rated again is merged as `interactions_` has it (``duplicates="last"`` keeps the later rating).

        Parameters
        ----------
        X : Interactions or matrix
            Rows are the users of `fit` (by id, or by row number), new ones beyond them.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self
        """
        if not hasattr(self, "user_biases_"):
            return self.fit(X)
        self._check_parameters()
        _, joined = self._joined(X)
        with self._all_or_nothing():
            self._set_interactions(joined)
            self._fit(joined, None)
        return self

    # ------------------------------------------------------------------ predicting

    @property
    def _n_pairs_at_once(self) -> int:
        return _BLOCK_PAIRS  # each call goes through the raters of its items anew

    def _histories_of(self, histories: CSR | None, rows: Int64Array) -> CSR:
        return (self._ratings.by_user if histories is None else histories).take_rows(rows)

    def _estimates(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        self._check_parameters()  # `weighted` is read here
        estimates = self._baselines_of(histories, users, items)
        known = np.flatnonzero((users >= 0) & (items >= 0))
        if known.size == 0:
            return estimates
        rows, places = np.unique(users[known], return_inverse=True)
        pairs, back = np.unique(items[known] * rows.size + places, return_inverse=True)
        of_items, of_rows = np.divmod(pairs, rows.size)
        distinct, starts = np.unique(of_items, return_index=True)
        asked = CSR(
            np.append(starts, pairs.size).astype(np.int64),
            of_rows.astype(np.int32),
            np.ones(pairs.size, np.float32),
            (distinct.size, rows.size),
        )
        found, is_found = self._from_deviations(self._histories_of(histories, rows), distinct, asked)
        estimates[known] = np.where(is_found[back], found[back], estimates[known])
        return estimates

    def _from_deviations(
        self, histories: CSR, items: Int64Array, asked: CSR
    ) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
        """Estimates of the pairs in `asked`, `items` x rows of `histories`, and which of them have any."""
        means, above = self._means_and_rest(histories)
        backend, counts = self._backend(), histories.row_counts()
        given, by_user = backend.csr(above), backend.csr(self._ratings.by_user)
        found, n_used = backend.empty((asked.nnz,)), backend.empty((asked.nnz,), np.int32)
        work = np.cumsum(self._ratings.n_differences[items])
        first = 0
        while first < items.size:
            done = int(work[first - 1]) if first else 0
            stop = max(first + 1, int(np.searchsorted(work, done + _BLOCK_DIFFERENCES, side="right")))
            entries = slice(asked.indptr[first], asked.indptr[stop])
            backend.kernels.slope_one(
                backend.context,
                by_user,
                backend.asarray(items[first:stop], np.int32),
                backend.csr(self._ratings.by_item.take_rows(items[first:stop])),
                given,
                backend.csr(asked.take_rows(slice(first, stop))),
                bool(self.weighted),
                found[entries],
                n_used[entries],
            )
            first = stop
        is_rated = np.repeat(self._ratings.n_differences[items] > 0, asked.row_counts())
        estimates = means[asked.indices] + backend.to_numpy(found)
        return estimates, is_rated & (counts[asked.indices] > 0)

    def _means_and_rest(self, histories: CSR) -> tuple[Float64Array, CSR]:
        """The mean of each history, and what a rating of it adds to a deviation."""
        counts = histories.row_counts()
        sums = np.bincount(histories.row_numbers(), histories.values, minlength=counts.size)
        means = sums / np.maximum(1, counts)
        above = histories.values - np.repeat(means, counts) if self.weighted else np.zeros(histories.nnz)
        return means, CSR(histories.indptr, histories.indices, above.astype(np.float32), histories.shape)

    # ------------------------------------------------------------------ ranking

    def _every_estimate(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        """Estimates of all items; shape (n, n_items)."""
        estimates = np.empty((rows.size, self.n_items_), dtype=np.float32)
        n_block = max(1, _BLOCK_PAIRS // self.n_items_)
        for start in range(0, rows.size, n_block):
            block = rows[start : start + n_block]
            given = self._histories_of(histories, block)
            found = self._of_all_items(given)
            of_users = self.global_mean_ + self._user_biases(histories, block)
            is_found = np.logical_and.outer(given.row_counts() > 0, self._ratings.n_differences > 0)
            baselines = np.add.outer(of_users, self.item_biases_.astype(np.float64))
            estimates[start : start + block.size] = np.where(is_found, found, baselines)
        return estimates

    def _of_all_items(self, histories: CSR) -> Float64Array:
        """Estimates of all items for each history, from the items or from the histories, whichever is less to do."""
        n_differences = self._ratings.n_differences
        of_rows = np.bincount(histories.row_numbers(), n_differences[histories.indices], minlength=histories.n_rows)
        work = np.cumsum(of_rows)
        if work[-1] >= n_differences.sum():
            n, every = histories.n_rows, np.arange(self.n_items_)
            asked = CSR(
                np.arange(self.n_items_ + 1) * n,
                np.tile(np.arange(n, dtype=np.int32), self.n_items_),
                np.ones(n * self.n_items_, np.float32),
                (self.n_items_, n),
            )
            by_items = self._from_deviations(histories, every, asked)[0].reshape(asked.shape)
            by_users: Float64Array = by_items.T
            return by_users
        means, above = self._means_and_rest(histories)
        backend = self._backend()
        by_user, by_item = backend.csr(self._ratings.by_user), backend.csr(self._ratings.by_item)
        found, first = backend.empty((histories.n_rows, self.n_items_)), 0
        while first < histories.n_rows:
            done = int(work[first - 1]) if first else 0
            stop = max(first + 1, int(np.searchsorted(work, done + _BLOCK_DIFFERENCES, side="right")))
            rows = slice(first, stop)
            backend.kernels.slope_one_of_rows(
                backend.context, by_user, by_item, backend.csr(above.take_rows(rows)), bool(self.weighted), found[rows]
            )
            first = stop
        of_all: Float64Array = means[:, np.newaxis] + backend.to_numpy(found)
        return of_all

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        scores = self._every_estimate(histories, rows)
        scores[:, self._unrated] = -np.inf
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
        if allow is None and self._unrated.size:
            deny = self._unrated if deny is None else np.concatenate([self._unrated, deny])
        return top_k_scores(
            self._backend(),
            lambda block: self._every_estimate(histories, rows[block]),
            rows.size,
            self.n_items_,
            k,
            exclude,
            deny,
            allow,
            subject=subject,
        )

    def similar_items(self, items: Any, k: int = 10) -> NoReturn:
        """Refuse: a deviation says how much higher an item is rated, and not how alike two are."""
        raise NotImplementedError("SlopeOne: has no similar items, deviations make none of them alike; use ItemKNN")

    def similar_users(self, users: Any, k: int = 10) -> NoReturn:
        """Refuse: users are not compared."""
        raise NotImplementedError("SlopeOne: has no similar users, it does not compare them; use UserKNN")

    def build_index(self, **options: Any) -> NoReturn:
        """Refuse: there are no vectors to search."""
        raise NotImplementedError("SlopeOne: needs no index, it has no vectors")

    # ------------------------------------------------------------------ files

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        self._set_ratings(self.interactions_.by_user)
