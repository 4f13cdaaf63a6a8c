"""Neighbours: items like those of a history, and users like the one who has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from likewise._space import Range, Space
from likewise._validation import check_choice, check_float, check_int
from likewise.data import CSR, Interactions
from likewise.retrieval import MAX_K, top_k_sparse

from ._rated import RatingNeighbors
from ._results import SimilarUsers
from ._sparse import MAX_SUPPORT, ItemItemRecommender, Measure, as_numbers, nearest, one_each, without_zeros
from .base import is_single

__all__ = ["ItemKNN", "UserKNN"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# Of these, the values of X say no more than that they are there.
_OF_SETS = ("jaccard", "dice", "tversky", "lift")
_METRICS = ("cosine", "asymmetric_cosine", "adjusted_cosine", "pearson", *_OF_SETS, "cooccurrence")
_WEIGHTINGS = ("tfidf", "bm25")
_NANOSECONDS_A_DAY = 86_400e9
# A difference from the mean that is less than what float32 resolves of the value is none.
_RESOLVED = 4 * float(np.finfo(np.float32).eps)


class _Statistics(NamedTuple):
    """What is known of the columns in a fit, so that other rows are weighted and centred alike."""

    rarity: Float64Array | None
    mean_length: float
    means: Float64Array | None

    @classmethod
    def of(cls, values: CSR, model: _Neighbors) -> _Statistics:
        rarity = None
        if model.weighting is not None:
            rarity = np.log1p(values.n_rows / (1.0 + values.column_counts()))
        length = float(_row_sums(values).sum()) / max(1, int(np.count_nonzero(values.row_counts())))
        return cls(rarity, length, None)


class _Neighbors(RatingNeighbors):
    """The parameters of both models, and the space in which rows are compared: of items or of users."""

    @property
    def _search_space(self) -> Space:  # type: ignore[override]  # what may be chosen depends on the target
        both = {"k": Range(20, 500, log=True), "shrinkage": Range(0.0, 100.0)}
        return both if self.target == "rating" else {**both, "weighting": [None, "tfidf", "bm25"]}

    def __init__(
        self,
        k: int = 100,
        metric: str = "cosine",
        shrinkage: float = 0.0,
        weighting: str | None = None,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        min_support: int = 1,
        bm25_k1: float = 1.2,
        bm25_b: float = 0.75,
        half_life: float | None = None,
        target: str = "implicit",
        normalization: str | None = None,
        min_neighbors: int = 1,
        clip: bool = True,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        self.k = k
        self.metric = metric
        self.shrinkage = shrinkage
        self.weighting = weighting
        self.alpha = alpha
        self.beta = beta
        self.min_support = min_support
        self.bm25_k1 = bm25_k1
        self.bm25_b = bm25_b
        self.half_life = half_life
        self.target = target
        self.normalization = normalization
        self.min_neighbors = min_neighbors
        self.clip = clip
        self.device = device
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        name = type(self).__name__
        self._check_target()
        if self._predicts_ratings:
            return
        check_int(name, "k", self.k, minimum=1)
        check_choice(name, "metric", self.metric, _METRICS)
        check_float(name, "shrinkage", self.shrinkage, minimum=0, maximum=1e30)
        if self.weighting is not None:
            check_choice(name, "weighting", self.weighting, _WEIGHTINGS)
        check_float(name, "alpha", self.alpha, minimum=0, maximum=1 if self.metric == "asymmetric_cosine" else 1e3)
        check_float(name, "beta", self.beta, minimum=0, maximum=1e3)
        check_int(name, "min_support", self.min_support, minimum=1, maximum=MAX_SUPPORT)
        check_float(name, "bm25_k1", self.bm25_k1, minimum=0, maximum=1e6)
        check_float(name, "bm25_b", self.bm25_b, minimum=0, maximum=1)
        if self.half_life is not None:
            check_float(name, "half_life", self.half_life, minimum=0, exclusive=True)
        if self.metric in _OF_SETS:
            for option in ("weighting", "half_life"):
                value = getattr(self, option)
                if value is not None:
                    raise ValueError(
                        f"{name}: {option} changes values, which metric={self.metric!r} does not look at, "
                        f"got {value!r}; leave it None, or take metric='cosine'"
                    )
        if self.metric == "cooccurrence" and self.shrinkage > 0:
            raise ValueError(
                f"{name}: shrinkage is added to a denominator, which metric='cooccurrence' does not have, "
                f"got {self.shrinkage:g}; leave it 0, or take metric='lift' or 'cosine'"
            )

    # ------------------------------------------------------------------ values

    def _recent(self, data: Interactions) -> CSR:
        """The interactions by user without stored zeros, halved for every `half_life` of their age."""
        if self.half_life is None:
            return without_zeros(data.by_user)
        times = data.event_timestamps
        if times is None:
            raise ValueError(
                f"{type(self).__name__}: half_life={self.half_life:g} needs the time of each interaction, and these "
                "have none, nor have those of a model from a file; build them with "
                "Interactions.from_frame(..., timestamp=...) or from_arrays(..., timestamps=...) and call fit, "
                "or leave half_life None"
            )
        matrix = data.by_user
        by_event = data.log is not None and data.duplicates == "sum"
        log = data.log if by_event else None
        values = matrix.values if log is None else log.values
        moments = data.timestamps if log is None else log.timestamps
        assert moments is not None
        unit = _NANOSECONDS_A_DAY if data.timestamp_unit == "ns" else 1.0
        # Integers are subtracted as such, for float64 does not resolve nanoseconds since 1970; and without a sign, for
        # a difference may be twice as great as the greatest of them.
        age = (times.max().astype(np.uint64) - moments.astype(np.uint64)).astype(np.float64)
        age /= unit * float(self.half_life)
        decayed = values * np.exp2(-age)
        if log is not None:
            decayed = np.add.reduceat(decayed, log.indptr[:-1]) if matrix.nnz else decayed[:0]
        faded = CSR(matrix.indptr, matrix.indices, decayed.astype(np.float32), matrix.shape)
        return without_zeros(faded, matrix.values)

    def _weighted(self, values: CSR, known: _Statistics) -> CSR:
        if known.rarity is None:
            return values
        x, rarity = values.values.astype(np.float64), known.rarity[values.indices]
        if self.weighting == "tfidf":
            return _like(values, np.sqrt(x) * rarity)
        lengths = _row_sums(values) / max(known.mean_length, 1e-300)
        saturation = self.bm25_k1 * (1 - self.bm25_b + self.bm25_b * lengths)
        below = x + np.repeat(saturation, values.row_counts())
        weights = np.divide(x * (self.bm25_k1 + 1), below, out=np.zeros_like(x), where=below > 0)
        return _like(values, weights * rarity)

    def _compared(self, weighted: CSR, known: _Statistics) -> CSR:
        """What sums of products are taken of."""
        if self.metric in _OF_SETS:
            return _like(weighted, np.ones(weighted.nnz))
        if self.metric == "adjusted_cosine":
            assert known.means is not None
            return _centred(weighted, known.means[weighted.indices])
        if self.metric == "pearson":
            means = _row_sums(weighted) / np.maximum(1, weighted.row_counts())
            return _centred(weighted, np.repeat(means, weighted.row_counts()))
        return weighted

    def _space(self, values: CSR) -> tuple[CSR, CSR, _Statistics]:
        """The rows of `values` weighted, and as they are compared, and what other rows need to join them."""
        known = _Statistics.of(values, self)
        weighted = self._weighted(values, known)
        if self.metric == "adjusted_cosine":
            sums = np.bincount(weighted.indices, weights=weighted.values, minlength=weighted.n_cols)
            known = known._replace(means=sums / np.maximum(1, weighted.column_counts()))
        return weighted, self._compared(weighted, known), known

    def _numbers(self, rows: CSR, *, left: bool) -> Float32Array:
        """What a denominator has of the rows on its left, or of those on its right: counts, or powers of lengths."""
        counts, first, second = rows.row_counts().astype(np.float64), float(self.alpha), float(self.beta)
        if self.metric == "cooccurrence":
            numbers = np.ones(rows.n_rows)
        elif self.metric == "jaccard":
            numbers = counts
        elif self.metric == "dice":
            numbers = counts / 2
        elif self.metric == "tversky":
            numbers = counts * (first if left else second)
        elif self.metric == "lift":
            numbers = counts / max(1, rows.n_cols) if left else counts
        elif self.metric == "asymmetric_cosine":
            numbers = _lengths(rows) ** (2 * (first if left else 1 - first))
        else:
            numbers = _lengths(rows)
        return as_numbers(numbers, type(self).__name__)

    def _measure(self, left: Float32Array, right: Float32Array) -> Measure:
        overlap = {"jaccard": -1.0, "tversky": 1 - float(self.alpha) - float(self.beta)}.get(self.metric, 0.0)
        denominator = "sum" if self.metric in ("jaccard", "dice", "tversky") else "product"
        return Measure(denominator, left, right, overlap, float(self.shrinkage), min_support=int(self.min_support))


class ItemKNN(_Neighbors, ItemItemRecommender):
    r"""Score an item by its similarities to the items of a history.

    The score of item j for user u is :math:`\sum_i x_{ui} s(i, j)` over the items i of the user's history that have j
    among their `k` nearest neighbours. Similarities compare the columns of X, each item being a vector over users.

    Parameters
    ----------
    k : int, default=100
        Neighbours that an item keeps, at least 1.
    metric : str, default="cosine"
        How two items a and b are compared, with a row of X for a user, :math:`|a|` the length of a column, A the users
        of an item, and n the number of users:

        - ``"cosine"``: :math:`a \cdot b / (|a| |b|)`
        - ``"asymmetric_cosine"``: :math:`a \cdot b / (|a|^{2 \alpha} |b|^{2 (1 - \alpha)})`, a being in the history
          [1]_
        - ``"adjusted_cosine"``: the cosine after each user's mean has been taken from the user's values [2]_
        - ``"pearson"``: the cosine after each item's mean has been taken from the item's values
        - ``"jaccard"``: :math:`|A \cap B| / |A \cup B|`
        - ``"dice"``: :math:`2 |A \cap B| / (|A| + |B|)`
        - ``"tversky"``: :math:`|A \cap B| / (|A \cap B| + \alpha |A \setminus B| + \beta |B \setminus A|)` [3]_
        - ``"lift"``: :math:`n |A \cap B| / (|A| |B|)`
        - ``"cooccurrence"``: :math:`a \cdot b`, of ones the number of users with both

        Means are those of stored entries. Only similarities above 0 are kept.
    shrinkage : float, default=0.0
        Added to the denominator, at least 0: similarities that rest on few users shrink. For ``"dice"`` the denominator
        is half of what stands above, for ``"lift"`` the n-th part.
    weighting : {None, "tfidf", "bm25"}, default=None
        How values are weighted before items are compared. An item is the document and its users are the terms: a user
        counts by :math:`\log(1 + n / (1 + n_u))`, where the user has :math:`n_u` of the n items. ``"tfidf"`` multiplies
        that by the root of the value, ``"bm25"`` by :math:`x (k_1 + 1) / (x + k_1 (1 - b + b l / \bar l))`, where l is
        the sum of the item's values and :math:`\bar l` the mean of that [4]_.
    alpha : float, default=0.5
        Of ``"asymmetric_cosine"``, 0 to 1 (at 0.5 it is the cosine), and of ``"tversky"``, at least 0.
    beta : float, default=0.5
        Of ``"tversky"``, at least 0; with `alpha` and `beta` 1 it is ``"jaccard"``, with 0.5 ``"dice"``.
    min_support : int, default=1
        Users that two items have in common at least.
    bm25_k1, bm25_b : float, default=1.2 and 0.75
        Of ``weighting="bm25"``: how late a value saturates, at least 0, and how much long columns lose, 0 to 1.
    half_life : float, default=None
        Age at which an interaction counts half in the similarities, above 0: days where timestamps are dates, else
        units of the timestamps. The latest event of the fit has age 0; of events that were summed, each has its own.
        None counts all alike. Histories that are recommended for count in full.
    target : {"implicit", "rating"}, default="implicit"
        Whether to rank by what is there, or to predict ratings: the estimate for a pair is the mean of the ratings of
        the `k` items nearest to the item, of those that the user has rated, weighted by similarities above 0.
        Similarities are ``"cosine"``, ``"msd"`` (1 / (1 + the mean squared difference)), ``"pearson"`` or
        ``"pearson_baseline"`` (the cosine of what ratings are above their baselines), all over what both have in
        common, times (n - 1) / (n - 1 + `shrinkage`) for n common ratings [5]_. `recommend` ranks by the estimates
        that rest on neighbours; `score` is minus the root mean squared error of hidden ratings; a stored 0 is a rating.
    normalization : {None, "mean", "zscore", "baseline"}, default=None
        With ``target="rating"``: what is averaged is the rating itself, what it is above its item's mean, that divided
        by the item's standard deviation, or what it is above its baseline (mean, user's and item's bias, with penalties
        15 and 10); the same is added to the mean again. Also the estimate where there are too few neighbours, which is
        the mean of all ratings with None.
    min_neighbors : int, default=1
        With ``target="rating"``: neighbours that an estimate needs.
    clip : bool, default=True
        With ``target="rating"``: whether `predict` keeps to the range of the ratings in the fit.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.

    Attributes
    ----------
    weights_ : CSR of shape (n_items, n_items)
        In row i the similarities of the `k` items nearest to item i.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] F. Aiolli, Efficient top-N recommendation for very large scale binary rated datasets, RecSys 2013,
       doi:10.1145/2507157.2507189
    .. [2] B. Sarwar, G. Karypis, J. Konstan, J. Riedl, Item-based collaborative filtering recommendation algorithms,
       WWW 2001, doi:10.1145/371920.372071
    .. [3] A. Tversky, Features of similarity, Psychological Review 84, 1977, doi:10.1037/0033-295X.84.4.327
    .. [4] S. Robertson, H. Zaragoza, The probabilistic relevance framework: BM25 and beyond, 2009,
       doi:10.1561/1500000019
    .. [5] Y. Koren, Factor in the neighbors: scalable and accurate collaborative filtering, TKDD 4, 2010,
       doi:10.1145/1644873.1644874

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.ItemKNN(k=2).fit(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]]))
    >>> model.similar_items(0, k=2)
    SimilarItems(1 x 2)
      0: 1 (1), 2 (0.5)
    """

    _compares_users = False

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        if self._predicts_ratings:
            self.__dict__.pop("weights_", None)
            self._set_ratings(data.by_user)
            return
        _, rows, _ = self._space(self._recent(data).transpose())
        measure = self._measure(self._numbers(rows, left=True), self._numbers(rows, left=False))
        self.weights_ = nearest(
            self._backend(), rows, rows.transpose(), measure, int(self.k), first=0, subject=type(self).__name__
        )

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {} if self._predicts_ratings else super()._state()

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        if self._predicts_ratings:
            self._set_ratings(self.interactions_.by_user)
        else:
            super()._set_state(arrays)

    def _most_similar(self, rows: Int64Array, k: int) -> tuple[Int32Array, Float32Array]:
        return self._similar_by_ratings(rows, k) if self._predicts_ratings else super()._most_similar(rows, k)

    def _contributions(self, user: int, item: int) -> tuple[float, Int32Array, Float64Array]:
        return self._explained(user, item) if self._predicts_ratings else super()._contributions(user, item)


class UserKNN(_Neighbors):
    r"""Score an item by the users who have it and are like the one who asks.

    The score of item j for user u is :math:`\sum_v s(u, v) x_{vj}` over the `k` users v nearest to u. A history of
    somebody else is compared with the fitted users when it is asked for; if it is that of a fitted user, then that user
    is a neighbour like any other.

    Parameters
    ----------
    k : int, default=100
        Neighbours of a user, at least 1.
    metric : str, default="cosine"
        How two users are compared, over the items: as `ItemKNN` compares items over users, users and items exchanged.
        ``"adjusted_cosine"`` takes each item's mean from the item's values, ``"pearson"`` each user's mean from the
        user's.
    shrinkage : float, default=0.0
        Added to the denominator, at least 0: similarities that rest on few items shrink.
    weighting : {None, "tfidf", "bm25"}, default=None
        How values are weighted before users are compared. A user is the document and the items are the terms: an item
        counts by :math:`\log(1 + n / (1 + n_i))`, where :math:`n_i` of the n users have it; the rest is as in
        `ItemKNN`. The scores are sums of weighted values then.
    alpha, beta : float, default=0.5
        Of the metrics ``"asymmetric_cosine"`` and ``"tversky"``, as in `ItemKNN`.
    min_support : int, default=1
        Items that two users have in common at least.
    bm25_k1, bm25_b : float, default=1.2 and 0.75
        Of ``weighting="bm25"``, as in `ItemKNN`.
    half_life : float, default=None
        Age at which an interaction of a fitted user counts half, in similarities and in scores, above 0; the unit is
        that of `ItemKNN`. None counts all alike. Histories that are recommended for count in full.
    target : {"implicit", "rating"}, default="implicit"
        Whether to rank by what is there, or to predict ratings: the estimate for a pair is the mean of the ratings of
        the `k` users nearest to the user, of those who have rated the item, weighted by similarities above 0.
        Similarities are ``"cosine"``, ``"msd"`` (1 / (1 + the mean squared difference)), ``"pearson"`` or
        ``"pearson_baseline"`` (the cosine of what ratings are above their baselines), all over what both have in
        common, times (n - 1) / (n - 1 + `shrinkage`) for n common ratings [2]_. `recommend` ranks by the estimates
        that rest on neighbours; `score` is minus the root mean squared error of hidden ratings; a stored 0 is a rating.
    normalization : {None, "mean", "zscore", "baseline"}, default=None
        With ``target="rating"``: what is averaged is the rating itself, what it is above its user's mean, that divided
        by the user's standard deviation, or what it is above its baseline (mean, user's and item's bias, with penalties
        15 and 10); the same is added to the mean again. Also the estimate where there are too few neighbours, which is
        the mean of all ratings with None.
    min_neighbors : int, default=1
        With ``target="rating"``: neighbours that an estimate needs.
    clip : bool, default=True
        With ``target="rating"``: whether `predict` keeps to the range of the ratings in the fit.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.

    Attributes
    ----------
    neighbors_ : CSR of shape (n_users, n_users)
        In row u the similarities of the `k` users nearest to user u.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] P. Resnick, N. Iacovou, M. Suchak, P. Bergstrom, J. Riedl, GroupLens: an open architecture for collaborative
       filtering of netnews, CSCW 1994, doi:10.1145/192844.192905
    .. [2] Y. Koren, Factor in the neighbors: scalable and accurate collaborative filtering, TKDD 4, 2010,
       doi:10.1145/1644873.1644874

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.UserKNN(k=2).fit(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]]))
    >>> model.similar_users(0, k=2)
    SimilarUsers(1 x 2)
      0: 1 (0.816)
    >>> model.recommend(0, k=1).items
    array([2])
    """

    neighbors_: CSR
    _compares_users = True

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        if self._predicts_ratings:
            self.__dict__.pop("neighbors_", None)
            self._set_ratings(data.by_user)
            return
        self.neighbors_ = self._nearest_users(self._set_profiles(self._recent(data)), first=0)

    def _set_profiles(self, values: CSR) -> CSR:
        """Take the values of the fitted users, and return them as they are compared."""
        # The weights are looked at once, and X may change thereafter: they are arrays of our own.
        values = CSR(values.indptr.copy(), values.indices.copy(), values.values.copy(), values.shape)
        self._values = values
        self._item_values, rows, self._known = self._space(values)
        self._columns, self._right = rows.transpose(), self._numbers(rows, left=False)
        return rows

    def _nearest_users(self, rows: CSR, first: int = -1) -> CSR:
        return nearest(
            self._backend(),
            rows,
            self._columns,
            self._measure(self._numbers(rows, left=True), self._right),
            int(self.k),
            first=first,
            subject=type(self).__name__,
        )

    def _weights(self) -> CSR:
        return self._item_values

    def _queries(self, histories: CSR | None, rows: Int64Array) -> CSR:
        if histories is None:
            return self.neighbors_.take_rows(rows)
        weighted = self._weighted(without_zeros(histories.take_rows(rows)), self._known)
        return self._nearest_users(self._compared(weighted, self._known))

    def similar_users(self, users: Any, k: int = 10) -> SimilarUsers:
        """Users with the greatest similarities to `users`.

        Parameters
        ----------
        users : id or array-like of ids
        k : int, default=10

        Returns
        -------
        SimilarUsers
            ``users`` and ``scores`` (similarities) of shape (n, k), or (k,) for one id. Slots beyond the neighbours
            that the model keeps are empty; with ``target="rating"`` all are found that have a similarity above 0.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        KeyError, IndexError
            If a user is unknown.
        ValueError
            If `k` is out of range.
        """
        self._check_is_fitted()
        k = check_int("similar_users", "k", k, minimum=1, maximum=MAX_K)
        rows = self.interactions_.user_index(users, "similar_users")
        if self._predicts_ratings:
            ids, scores = self._similar_by_ratings(rows, k)
        else:
            each = one_each(rows, self.n_users_)
            ids, scores = top_k_sparse(self._backend(), each, self.neighbors_, k, subject="similar_users")
        labels, queries = self.interactions_.user_labels(ids), self.interactions_.user_labels(rows)
        if is_single(users):
            return SimilarUsers(queries[0], labels[0], scores[0])
        return SimilarUsers(queries, labels, scores)

    def similar_items(self, items: Any, k: int = 10) -> NoReturn:
        """Refuse: similarities of users say nothing of items."""
        raise NotImplementedError("UserKNN: has no similar items, it knows similarities of users; use ItemKNN")

    def explain(self, user: Any, item: Any, k: int = 10) -> NoReturn:
        """Refuse: a score comes from other users, and is no sum over the items of the history."""
        raise NotImplementedError(
            "UserKNN: has no explanation by items of the history, its scores come from neighbours (see similar_users); "
            "use ItemKNN"
        )

    def build_index(self, **options: Any) -> NoReturn:
        """Refuse: sparse values are ranked without vectors."""
        raise NotImplementedError("UserKNN: needs no index, it ranks by sparse values of neighbours")

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        if self._predicts_ratings:
            return {}
        state = {f"neighbors.{name}": array for name, array in self.neighbors_.to_state().items()}
        if self.half_life is not None:
            state["values"] = self._values.values  # the times they came from are not in the file
        return state

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        if self._predicts_ratings:
            self._set_ratings(self.interactions_.by_user)
            return
        prefix = "neighbors."
        state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        neighbors = CSR.from_state(state, subject="load")
        if neighbors.shape != (self.n_users_, self.n_users_):
            raise ValueError(f"neighbors must be {self.n_users_} x {self.n_users_}, got {neighbors.shape}")
        values = without_zeros(self.interactions_.by_user)
        if self.half_life is not None:
            values = _like(values, self._checked(arrays["values"], (values.nnz,)))
        self._set_profiles(values)
        self.neighbors_ = neighbors


def _like(matrix: CSR, values: npt.NDArray[Any]) -> CSR:
    return CSR(matrix.indptr, matrix.indices, values.astype(np.float32), matrix.shape)


def _row_sums(matrix: CSR) -> Float64Array:
    return np.bincount(matrix.row_numbers(), weights=matrix.values, minlength=matrix.n_rows).astype(np.float64)


def _lengths(matrix: CSR) -> Float64Array:
    squares = matrix.values.astype(np.float64) ** 2
    lengths: Float64Array = np.sqrt(np.bincount(matrix.row_numbers(), weights=squares, minlength=matrix.n_rows))
    return lengths


def _centred(matrix: CSR, means: Float64Array) -> CSR:
    centred = matrix.values.astype(np.float64) - means
    centred[np.abs(centred) <= _RESOLVED * np.abs(means)] = 0
    return _like(matrix, centred)
