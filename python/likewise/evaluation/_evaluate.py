"""`evaluate`: rank or predict for users by blocks, and measure what comes out in one pass each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._validation import check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions, as_interactions
from likewise.retrieval import auc, ranking_metrics

from ._names import AUC, RATING_METRICS, MetricName, parse_metrics
from ._result import EvaluationResult, Pooled

__all__ = ["Recommender", "evaluate"]

Int64Array = npt.NDArray[np.int64]
RandomState = int | np.random.Generator | np.random.RandomState | np.random.SeedSequence | None

_SUBJECT = "evaluate"
# Scores of every item exist for so many users at a time that they fill 64 MiB.
_BLOCK_SCORES = 1 << 24
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
        ``precision@k``, ``recall@k``, ``hit_rate@k``, ``ndcg@k``, ``map@k``, ``mrr@k`` for any k >= 1, and ``auc``;
        of models that predict ratings ``rmse``, ``mae`` and ``fcp`` too, in the same call or by themselves. Their
        definitions, with sources, stand in docs/evaluation.md.
    users : array-like of user ids, default=None
        Whom to measure for. None is every user with a relevant item, or a rating. Of users named here, one without has
        the value NaN and counts in no mean.
    exclude_seen : bool, default=True
        Whether items of a user's row of `train` are left out of the user's ranking.
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

    fitted = model.interactions_
    told = as_interactions(train, f"{_SUBJECT}: train", allow_negative=True)
    if told is not fitted:
        told = told.with_items_of(fitted, f"{_SUBJECT}: train")
    sought, n_unknown_users, n_unknown_items, _ = as_interactions(
        test, f"{_SUBJECT}: test", allow_negative=True
    ).aligned_to(told, f"{_SUBJECT}: test", unknown="drop")
    rows = np.flatnonzero(sought.by_user.row_counts()) if users is None else told.user_index(users, _SUBJECT)

    run = _Run(backend, model, None if _same_pattern(told.by_user, fitted.by_user) else told.by_user, wanted)
    values = np.empty((rows.size, len(wanted)))
    starts = range(0, rows.size, batch_size)
    for start in ProgressBar(starts, verbose=verbose, description="Evaluating", unit="batch"):
        batch = rows[start : start + batch_size]
        seen = told.by_user.take_rows(batch) if exclude_seen else None
        values[start : start + batch_size] = run.measure(batch, sought.by_user.take_rows(batch), seen)
    pooled = run.compare(rows, sought.by_user, of_ratings)
    for j, metric in enumerate(wanted):
        if str(metric) in pooled:
            values[:, j] = pooled[str(metric)].per_user()

    # A user without relevant items has NaN everywhere; one with nothing but relevant items has no AUC alone.
    if users is None:
        measured = ~np.isnan(values).all(axis=1)
        rows, values = rows[measured], values[measured]
        pooled = {
            name: Pooled(part.sums[measured], part.counts[measured], part.is_root) for name, part in pooled.items()
        }
    if np.isnan(values).all():
        if len(of_ratings) == len(wanted):
            missing = (
                "ratings in test that differ" if sought.nnz else "ratings in test that train and the model know of"
            )
            raise ValueError(f"{_SUBJECT}: no user has {missing}")
        raise ValueError(
            f"{_SUBJECT}: no user has a relevant item in test"
            + (" that is not in train; should exclude_seen be False" if exclude_seen and sought.nnz else "")
            + ("; are its users and items those of train" if n_unknown_users or n_unknown_items else "")
            + "?"
        )
    return EvaluationResult(
        users=told.user_labels(rows),
        per_user={str(metric): values[:, j] for j, metric in enumerate(wanted)},
        n_bootstrap=n_bootstrap,
        confidence=confidence,
        seed=seed,
        n_unknown_users=n_unknown_users,
        n_unknown_items=n_unknown_items,
        pooled=pooled,
    )


class _Run:
    """The parts of an evaluation that every batch of users shares."""

    def __init__(self, backend: Backend, model: Recommender, histories: CSR | None, metrics: list[MetricName]) -> None:
        self._backend = backend
        self._model = model
        self._histories = histories
        self._ranking = [(j, (metric.name, metric.k)) for j, metric in enumerate(metrics) if metric.k is not None]
        self._auc_column = next((j for j, metric in enumerate(metrics) if metric.name == AUC), None)
        self._n_metrics = len(metrics)

    def measure(self, rows: Int64Array, relevant: CSR, exclude: CSR | None) -> npt.NDArray[np.float64]:
        """Metrics of the rankings of a batch of users; shape (n, n_metrics)."""
        values = np.empty((rows.size, self._n_metrics))
        if self._ranking:
            # No list is longer than the catalogue; a longer cutoff changes what precision divides by.
            cut = [(name, min(k, relevant.n_cols)) for _, (name, k) in self._ranking]
            ids, _ = self._model._top_k(self._histories, rows, max(k for _, k in cut), exclude, None, None, _SUBJECT)
            found = ranking_metrics(self._backend, ids, relevant, cut, exclude)
            for j, (column, (name, k)) in enumerate(self._ranking):
                values[:, column] = found[:, j] * (cut[j][1] / k if name == "precision" else 1)
        if self._auc_column is not None:
            values[:, self._auc_column] = self._auc(rows, relevant, exclude)
        return values

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

    def _auc(self, rows: Int64Array, relevant: CSR, exclude: CSR | None) -> npt.NDArray[np.float64]:
        values = np.empty(rows.size)
        size = max(1, _BLOCK_SCORES // relevant.n_cols)
        for start in range(0, rows.size, size):
            block = slice(start, start + size)
            scores = self._model._scores(self._histories, rows[block])
            seen = None if exclude is None else exclude.take_rows(block)
            values[block] = auc(self._backend, scores, relevant.take_rows(block), seen)
        return values


def _same_pattern(a: CSR, b: CSR) -> bool:
    """Whether the same pairs are stored, whatever their values."""
    return a is b or (
        a.shape == b.shape and np.array_equal(a.indptr, b.indptr) and np.array_equal(a.indices, b.indices)
    )
