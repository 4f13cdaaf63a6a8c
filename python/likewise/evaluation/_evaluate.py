"""`evaluate`: rank or predict for users by blocks, and measure what comes out in one pass each."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._validation import check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions, as_interactions
from likewise.retrieval import auc, top_k_scores

from ._measures import Groups, ListMeasures, Values, as_features
from ._names import AUC, RATING_METRICS, MetricName, parse_metrics
from ._result import EvaluationResult, Pooled

__all__ = ["Recommender", "evaluate"]

Int64Array = npt.NDArray[np.int64]
RandomState = int | np.random.Generator | np.random.RandomState | np.random.SeedSequence | None

_SUBJECT = "evaluate"
# Scores of every item exist for so many users at a time that they fill 64 MiB.
_BLOCK_SCORES = 1 << 24
# Ranks of lists held at a time: 64 MiB.
_BLOCK_RANKS = 1 << 24
# Ratings predicted at a time, some tens of bytes each: many, as neighbours and deviations are found anew for each call.
_BLOCK_RATINGS = 1 << 22


class Recommender(Protocol):
    """What the evaluation asks of a fitted model."""

    interactions_: Interactions

    def _top_k(
        self,
        histories: CSR | None,
        rows: Int64Array,
        k: int,
        exclude: CSR | None,
        allow: Int64Array | None,
        deny: Int64Array | None,
        subject: str,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]: ...

    def _scores(self, histories: CSR | None, rows: Int64Array) -> npt.NDArray[np.float32]: ...

    def _predicted_ratings(
        self, histories: CSR | None, users: Int64Array, items: Int64Array
    ) -> npt.NDArray[np.float64]: ...


def evaluate(
    model: Recommender,
    train: Any,
    test: Any,
    metrics: str | Iterable[str] = ("recall@20", "ndcg@20"),
    *,
    users: Any = None,
    exclude_seen: bool = True,
    candidates: Any = None,
    item_features: Any = None,
    item_groups: Any = None,
    batch_size: int = 16384,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    random_state: RandomState = 0,
    n_jobs: int | None = None,
    verbose: bool | int = False,
) -> EvaluationResult:
    """Measure how well a fitted model ranks what users did next, or predicts their ratings.

    For each user all items are ranked, without those of the user's row of `train` (unless ``exclude_seen=False``),
    and compared with the user's row of `test`. What the model would recommend to nobody, since it knows nothing of the
    item or of the user, is a miss. Relevant are the entries of `test` with a value above zero; with
    `exclude_seen`, those that are in `train` too cannot be recommended and do not count as relevant.

    Metrics of ratings compare every value of `test`, whatever its sign, with what the model predicts for the pair.

    Parameters
    ----------
    model : Recommender
        Fitted.
    train : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What the model is told about each user. Where this is what the model was fitted on (the same users with the
        same items), its own users are ranked for. Otherwise users are folded in from their rows, which serves users
        held out of the fit, with a model that can do that.
    test : as `train`
        What is to be found. Ids, where spoken, are matched; users and items that `train` and the model do not know
        are left out and counted in the result.
    metrics : str or iterable of str, default=("recall@20", "ndcg@20")
        For any k >= 1, of what is found: ``precision@k``, ``recall@k``, ``hit_rate@k``, ``f1@k``, ``fall_out@k``,
        ``ndcg@k``, ``graded_ndcg@k``, ``exponential_ndcg@k``, ``map@k``, ``mrr@k``, ``r_precision@k``, ``rbp@k`` (or
        ``rbp(0.95)@k``), ``err@k``, ``auc@k``, ``serendipity@k``; of what is shown: ``novelty@k``, ``popularity@k``,
        ``popularity_lift@k``, ``diversity@k``; of all lists together: ``coverage@k``, ``gini@k``, ``entropy@k``,
        ``personalization@k``, and with `item_groups` ``exposure_gap@k`` and ``recall_gap@k``. Whole rankings have
        ``auc`` and ``r_precision``. Models that predict ratings have ``rmse``, ``mae`` and ``fcp`` too, in the same
        call or by themselves. The definitions, with sources, stand in docs/evaluation.md.
    users : array-like of user ids, default=None
        Whom to measure for, each once. None is every user with a relevant item, or a rating. Of users named here, one
        without has the value NaN of what is found, and counts in no mean of that; lists that are shown to such a user
        count in novelty, coverage and whatever else looks at lists alone.
    exclude_seen : bool, default=True
        Whether items of a user's row of `train` are left out of the user's ranking.
    candidates : as `test`, default=None
        For each user the items that are ranked, with the relevant ones, in place of all: a published list of
        negatives. Metrics on sampled candidates order models in another way than those on all items
        (Krichene & Rendle 2020, doi:10.1145/3394486.3403226).
    item_features : matrix of shape (n_items, any), default=None
        What ``diversity`` compares items by; None takes the vectors of the model.
    item_groups : str, array-like of shape (n_items,) or mapping, default=None
        Groups of items whose exposure and recall are compared: a column of ``train.item_info``, a label for each item,
        or labels by item id. Items without a label are a group too. ``result.item_groups`` has the figures.
    batch_size : int, default=16384
        Users ranked at a time; bounds the memory and changes no result.
    n_bootstrap : int, default=1000
        Resamples of users behind an interval; 0 for no intervals.
    confidence : float in (0, 1), default=0.95
        Share of the resamples' means that an interval holds.
    random_state : int, Generator, RandomState, SeedSequence or None, default=0
        Seed of the resamples.
    n_jobs : int, default=None
        Threads that compute metrics and intervals; None is every CPU at hand. The model ranks with its own.
    verbose : bool or int, default=False
        Whether to show progress.

    Returns
    -------
    EvaluationResult
        ``result["ndcg@20"]`` is a mean over users, ``result["rmse"]`` the figure of all ratings; values a user,
        intervals and tables are its attributes.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ValueError
        If a metric is unknown or an argument out of range, a metric is of ratings and the model predicts none, shapes
        disagree (as where `test` is transposed), or no user has a relevant item.
    KeyError, IndexError
        If one of `users` is unknown.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.Interactions.from_arrays([1, 1, 2, 2, 3], list("abacb"))
    >>> train, test = lw.model_selection.random_split(data, test_size=2, random_state=3)
    >>> result = lw.evaluate(lw.Popularity().fit(train), train, test, metrics=["recall@2", "auc"])
    >>> result["recall@2"]
    1.0
    """
    wanted = parse_metrics(_SUBJECT, metrics)
    check_flag(_SUBJECT, "exclude_seen", exclude_seen)
    batch_size = check_int(_SUBJECT, "batch_size", batch_size, minimum=1)
    n_bootstrap = check_int(_SUBJECT, "n_bootstrap", n_bootstrap, minimum=0)
    confidence = check_float(_SUBJECT, "confidence", confidence, minimum=0, maximum=1, exclusive=True)
    seed = int(check_random_state(_SUBJECT, random_state).integers(2**63))
    backend = get_backend("cpu", n_jobs, _SUBJECT)
    check_is_fitted(model, "interactions_")
    of_ratings = [str(metric) for metric in wanted if metric.name in RATING_METRICS]
    if of_ratings and not getattr(model, "_predicts_ratings", False):
        raise ValueError(
            f"{_SUBJECT}: {of_ratings[0]} is a metric of ratings, and {type(model).__name__} predicts none; take a "
            "model of ratings (BaselinePredictor, SlopeOne, ItemKNN or UserKNN with target='rating'), or a metric of "
            "rankings such as 'ndcg@20'"
        )

    if getattr(model, "_has_contexts", False):
        warnings.warn(
            f"{_SUBJECT}: the model was fitted with contexts, and is measured without: test sets have none",
            UserWarning,
            stacklevel=2,
        )
    fitted = model.interactions_
    told = as_interactions(train, f"{_SUBJECT}: train", allow_negative=True)
    if told is not fitted:
        told = told.with_items_of(fitted, f"{_SUBJECT}: train")
    told, are_own = _as_own(told, fitted)
    sought, n_unknown_users, n_unknown_items, _ = as_interactions(
        test, f"{_SUBJECT}: test", allow_negative=True
    ).aligned_to(told, f"{_SUBJECT}: test", unknown="drop")
    rows = np.flatnonzero(sought.by_user.row_counts()) if users is None else _distinct_rows(told, users)
    chosen = None
    if candidates is not None:
        given = as_interactions(candidates, f"{_SUBJECT}: candidates", allow_negative=True)
        chosen = given.aligned_to(told, f"{_SUBJECT}: candidates", unknown="drop").interactions.by_user
        if given.nnz and not chosen.nnz:
            raise ValueError(
                f"{_SUBJECT}: candidates have no user with an item that train and the model know; check which ids are "
                "of users and which of items"
            )
        if any(metric.name == "serendipity" for metric in wanted):
            raise ValueError(
                f"{_SUBJECT}: serendipity compares with the most popular of all items; leave candidates out"
            )

    measures = ListMeasures(
        backend, wanted, told.by_user, _greatest(sought.by_user),
        features=_features(model, item_features, wanted, told.n_items),
        groups=None if item_groups is None else Groups.of(item_groups, told, _SUBJECT), subject=_SUBJECT,
    )  # fmt: skip
    histories = None if are_own else told.by_user
    run = _Run(backend, model, histories, wanted, measures, chosen)
    values, size = Values(rows.size, measures, wanted), run.batch_size(batch_size)
    for start in ProgressBar(range(0, rows.size, size), verbose=verbose, description="Evaluating", unit="batch"):
        block = slice(start, start + size)
        history, relevant = told.by_user.take_rows(rows[block]), sought.by_user.take_rows(rows[block])
        exclude = history if exclude_seen else None
        run.measure(rows[block], history, relevant, exclude, values, block, counts_all=users is not None)
    pooled = run.compare(rows, sought.by_user, of_ratings)
    return values.result(
        _SUBJECT,
        told.user_labels(rows),
        pooled,
        keep_all=users is not None,
        missing=_missing(sought, len(of_ratings) == len(wanted), exclude_seen, n_unknown_users or n_unknown_items),
        n_bootstrap=n_bootstrap,
        confidence=confidence,
        seed=seed,
        n_jobs=n_jobs,
        n_unknown_users=n_unknown_users,
        n_unknown_items=n_unknown_items,
    )


class _Run:
    """The parts of an evaluation that every batch of users shares."""

    def __init__(
        self,
        backend: Backend,
        model: Recommender,
        histories: CSR | None,
        metrics: list[MetricName],
        measures: ListMeasures,
        candidates: CSR | None,
    ) -> None:
        self._backend = backend
        self._model = model
        self._histories = histories
        self._measures = measures
        self._candidates = candidates
        self._has_auc = any(metric.name == AUC and metric.k is None for metric in metrics)

    def batch_size(self, wanted: int) -> int:
        """Fewer users at a time where lists are long."""
        return max(1, min(wanted, _BLOCK_RANKS // self._measures.longest))

    def measure(
        self,
        rows: Int64Array,
        history: CSR,
        relevant: CSR,
        exclude: CSR | None,
        values: Values,
        block: slice,
        *,
        counts_all: bool,
    ) -> None:
        """Fill in the metrics of the rankings of a batch of users."""
        pool = None if self._candidates is None else _pool(self._candidates.take_rows(rows), relevant, exclude)
        if self._measures:
            length = self._measures.length(relevant)
            cut = min(length, relevant.n_cols)  # no list is longer than the catalogue
            wanted = min(cut + 1, relevant.n_cols)  # a tie with what comes next decides too
            if pool is None:
                ids, scores = self._model._top_k(self._histories, rows, wanted, exclude, None, None, _SUBJECT)
            else:
                ids, scores = self._ranked_pool(rows, pool, wanted)
            ties = (scores[:, 1:] == scores[:, :-1]) & (ids[:, 1:] >= 0)
            # Only within what is looked at of the user, or the figure would depend on who else is in the batch.
            looked_at = self._measures.looked_at(relevant)
            values.is_tied[block] = (ties & (np.arange(ties.shape[1]) < looked_at[:, np.newaxis])).any(axis=1)
            ids = ids[:, :cut]
            if cut < length:
                ids = np.pad(ids, ((0, 0), (0, length - cut)), constant_values=-1)
            n_candidates = None if pool is None else pool.row_counts().astype(np.int32)
            values.put(
                block,
                self._measures.add(ids, relevant, exclude, history, n_candidates=n_candidates, counts_all=counts_all),
            )
        if self._has_auc:
            values.auc[block] = self._auc(rows, relevant, exclude, pool)

    def compare(self, rows: Int64Array, test: CSR, metrics: list[str]) -> dict[str, Pooled]:
        """Metrics of the ratings that `test` has of the users in `rows`."""
        parts: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in metrics}
        n_before, first = np.cumsum(test.row_counts()[rows]), 0
        while metrics and first < rows.size:
            done = int(n_before[first - 1]) if first else 0
            stop = max(first + 1, int(np.searchsorted(n_before, done + _BLOCK_RATINGS, side="right")))
            given = test.take_rows(rows[first:stop])
            for name, part in self._sums(rows[first:stop], given, metrics).items():
                parts[name].append(part)
            first = stop
        pooled = {}
        for name in metrics:
            sums = np.concatenate([np.empty((0, 2)), *parts[name]])
            pooled[name] = Pooled(sums[:, 0], sums[:, 1], is_root=name == "rmse")
        return pooled

    def _sums(self, rows: Int64Array, given: CSR, metrics: list[str]) -> dict[str, npt.NDArray[np.float64]]:
        """Of each metric of ratings, what each user adds to it, and how many ratings, or pairs of them, count."""
        counts, places = given.row_counts(), given.row_numbers()
        users, items = np.repeat(rows, counts), given.indices.astype(np.int64)
        # As `predict` gives them.
        estimates = self._model._predicted_ratings(self._histories, users, items).astype(np.float32)
        errors = estimates.astype(np.float64) - given.values
        found = {}
        for name in metrics:
            if name == "fcp":
                n, backend = counts.size, self._backend
                comparable, concordant = backend.empty((n,), np.float64), backend.empty((n,), np.float64)
                backend.kernels.concordant_pairs(
                    backend.context, backend.csr(given), backend.asarray(estimates), comparable, concordant
                )
                found[name] = np.stack([backend.to_numpy(concordant), backend.to_numpy(comparable)], axis=1)
                continue
            of_ratings = np.square(errors) if name == "rmse" else np.abs(errors)
            found[name] = np.stack([np.bincount(places, of_ratings, minlength=counts.size), counts], axis=1)
        return found

    def _auc(self, rows: Int64Array, relevant: CSR, exclude: CSR | None, pool: CSR | None) -> npt.NDArray[np.float64]:
        values = np.empty(rows.size)
        for block, scores in self._score_blocks(rows, relevant.n_cols):
            wanted, apart = relevant.take_rows(block), None if exclude is None else exclude.take_rows(block)
            if pool is not None:
                part = pool.take_rows(block)
                scores = _pool_scores(scores, part)
                # Nothing but the candidates takes part: what fills up a shorter row is excluded.
                wanted, apart = _in_pool(wanted, part, scores.shape[1]), _after(part.row_counts(), scores.shape[1])
            values[block] = auc(self._backend, scores, wanted, apart)
        return values

    def _ranked_pool(
        self, rows: Int64Array, pool: CSR, k: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The candidates of each user, best first, and their scores; of shape (n, k) both."""
        ids = np.full((rows.size, k), -1, dtype=np.int32)
        found = np.full((rows.size, k), -np.inf, dtype=np.float32)
        for block, scores in self._score_blocks(rows, pool.n_cols):
            part = pool.take_rows(block)
            scores = _pool_scores(scores, part)
            # Where all are level the model knows nothing of the user, who gets nothing, as in a ranking of all items.
            is_last = np.arange(scores.shape[1]) >= part.row_counts()[:, np.newaxis]
            lowest = np.where(is_last, np.inf, scores).min(axis=1)
            scores[(lowest == scores.max(axis=1)) & (part.row_counts() > 1)] = -np.inf
            n, width = scores.shape
            places, best = top_k_scores(self._backend, scores.__getitem__, n, width, min(k, width))
            starts = np.minimum(part.indptr[:-1], max(0, part.nnz - 1))[:, np.newaxis]
            found[block, : places.shape[1]] = best
            if part.nnz:
                ids[block, : places.shape[1]] = np.where(places >= 0, part.indices[starts + np.maximum(places, 0)], -1)
        return ids, found

    def _score_blocks(self, rows: Int64Array, n_items: int) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Scores of every item for so many users at a time."""
        size = max(1, _BLOCK_SCORES // n_items)
        for start in range(0, rows.size, size):
            block = slice(start, min(rows.size, start + size))
            yield block, self._model._scores(self._histories, rows[block])


def _pool(candidates: CSR, relevant: CSR, exclude: CSR | None) -> CSR:
    """What is ranked for each user: candidates and relevant items, without excluded ones."""
    wanted = relevant.values > 0
    keys = np.union1d(_keys(candidates), _keys(relevant)[wanted])
    if exclude is not None:
        keys = keys[~np.isin(keys, _keys(exclude), assume_unique=True)]
    rows, ids = np.divmod(keys, candidates.n_cols)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=candidates.n_rows))])
    return CSR(indptr, ids.astype(np.int32), np.ones(ids.size, np.float32), candidates.shape)


def _keys(matrix: CSR) -> Int64Array:
    """A number for each stored pair, rising."""
    keys: Int64Array = matrix.row_numbers().astype(np.int64) * matrix.n_cols + matrix.indices
    return keys


def _places(pool: CSR) -> Int64Array:
    """The place of each entry in its row."""
    return np.arange(pool.nnz) - np.repeat(pool.indptr[:-1], pool.row_counts())


def _pool_scores(scores: npt.NDArray[np.float32], pool: CSR) -> npt.NDArray[np.float32]:
    """Scores of the entries of `pool` beside one another; -inf behind the last of a row."""
    width = max(1, int(pool.row_counts().max(initial=0)))
    beside = np.full((pool.n_rows, width), -np.inf, dtype=np.float32)
    rows = pool.row_numbers()
    beside[rows, _places(pool)] = scores[rows, pool.indices]
    return beside


def _in_pool(relevant: CSR, pool: CSR, width: int) -> CSR:
    """The relevant items by their places in the rows of `pool`."""
    is_relevant = np.isin(_keys(pool), _keys(relevant)[relevant.values > 0], assume_unique=True)
    rows, places = pool.row_numbers()[is_relevant], _places(pool)[is_relevant]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=pool.n_rows))])
    return CSR(indptr, places.astype(np.int32), np.ones(places.size, np.float32), (pool.n_rows, width))


def _after(counts: Int64Array, width: int) -> CSR:
    """The places behind the first so many of each row."""
    n_left = width - counts
    indptr = np.concatenate([[0], np.cumsum(n_left)])
    places = np.arange(indptr[-1]) - np.repeat(indptr[:-1], n_left) + np.repeat(counts, n_left)
    return CSR(indptr, places.astype(np.int32), np.ones(places.size, np.float32), (counts.size, width))


def _greatest(matrix: CSR) -> float:
    return float(matrix.values.max(initial=0))


def _features(model: Recommender, given: Any, metrics: list[MetricName], n_items: int) -> CSR | None:
    """Features of items, where diversity is asked for: those given, else the vectors of the model."""
    if not any(metric.name == "diversity" for metric in metrics):
        return None
    if given is None and (given := getattr(model, "item_factors_", None)) is None:
        raise ValueError(
            f"{_SUBJECT}: diversity needs item_features, a row for each item, as {type(model).__name__} has no vectors "
            "of items to take instead"
        )
    return as_features(given, n_items, _SUBJECT)


def _missing(sought: Interactions, only_ratings: bool, exclude_seen: bool, has_unknown: object) -> str:
    """What no user has, where there is nothing to measure."""
    if only_ratings:
        return "ratings in test that differ" if sought.nnz else "ratings in test that train and the model know of"
    return (
        "a relevant item in test"
        + (" that is not in train; should exclude_seen be False" if exclude_seen and sought.nnz else "")
        + ("; are its users and items those of train" if has_unknown else "")
        + "?"
    )


def _as_own(told: Interactions, fitted: Interactions) -> tuple[Interactions, bool]:
    """`told` in the order of the fitted users, where it is of the same users with the same items; and whether it is."""
    if told.user_ids is not None and fitted.user_ids is not None and not np.array_equal(told.user_ids, fitted.user_ids):
        if told.user_map.kind != fitted.user_map.kind:
            return told, False
        aligned = told.aligned_to(fitted, f"{_SUBJECT}: train", unknown="drop")
        # Users that the model does not know may be there as long as nothing is known of them.
        if aligned.n_dropped or not _same_pattern(aligned.interactions.by_user, fitted.by_user):
            return told, False
        return (aligned.interactions, True) if aligned.n_unknown_users == 0 else (told, False)
    return told, _same_pattern(told.by_user, fitted.by_user)


def _distinct_rows(told: Interactions, users: Any) -> Int64Array:
    rows = told.user_index(users, _SUBJECT)
    if rows.size == 0:
        raise ValueError(f"{_SUBJECT}: users must name at least one; leave it None for all")
    distinct, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        (twice,) = told.user_labels(distinct[counts > 1][:1]).tolist()
        raise ValueError(f"{_SUBJECT}: users names {twice!r} more than once; name each user once")
    return rows


def _same_pattern(a: CSR, b: CSR) -> bool:
    """Whether the same pairs are stored, whatever their values."""
    return a is b or (
        a.shape == b.shape and np.array_equal(a.indptr, b.indptr) and np.array_equal(a.indices, b.indices)
    )
