"""Metrics of ranked lists, batch by batch: a value a user, and figures of all lists together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend
from likewise.data import CSR, Interactions, as_interactions
from likewise.retrieval import ItemFacts, count_recommended, group_metrics, ranking_metrics

from ._groups import GroupedResult, group_codes
from ._names import (
    AUC,
    CATALOGUE_METRICS,
    GROUP_METRICS,
    LIFT,
    LIST_METRICS,
    R_PRECISION,
    RANKING_METRICS,
    RATING_METRICS,
    MetricName,
)  # fmt: skip
from ._result import EvaluationResult, Pooled

__all__ = ["Groups", "ListMeasures", "Values", "as_features"]

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]

_GREATEST_GRADE = 1000.0  # whose power of two float64 holds


def _is_of_lists(metric: MetricName) -> bool:
    """Whether a metric is of ranked lists, cut or as long as there are relevant items."""
    return metric.k is not None or metric.name == R_PRECISION


class Groups(NamedTuple):
    """Labels of groups of items, and the place of each item's group among them."""

    labels: npt.NDArray[Any]
    codes: Int32Array

    @classmethod
    def of(cls, given: Any, data: Interactions, subject: str) -> Groups:
        """Read groups told as a column of ``item_info``, a label an item, or a mapping of item ids to labels."""
        if isinstance(given, str):
            if given not in data.item_info:
                known = ", ".join(map(repr, data.item_info)) or "none"
                raise ValueError(
                    f"{subject}: item_groups must name a column of train.item_info ({known}), got {given!r}"
                )
            given = data.item_info[given]
        ids = data.item_labels(np.arange(data.n_items)).tolist()
        return cls(*group_codes(given, ids, subject, "item_groups", "items"))

    def with_items(self, n_items: int) -> Groups:
        """The same with more items, which are of the group without a label."""
        n_more = n_items - self.codes.size
        if n_more == 0:
            return self
        labels = [*self.labels[self.codes], *[None] * n_more]
        return Groups(*group_codes(labels, labels, "Groups", "groups", "items"))


def as_features(given: Any, n_items: int, subject: str) -> CSR:
    """Features of items as rows of length 1; a row of zeros stays."""
    matrix = as_interactions(given, f"{subject}: item_features", allow_negative=True).by_user
    if matrix.n_rows != n_items:
        raise ValueError(
            f"{subject}: item_features must have a row for each of the {n_items} items, got {matrix.n_rows}"
        )
    rows, values = matrix.row_numbers(), matrix.values.astype(np.float64)
    norms = np.sqrt(np.bincount(rows, values**2, minlength=n_items))
    values /= np.where(norms > 0, norms, 1)[rows]
    return CSR(matrix.indptr, matrix.indices, values.astype(np.float32), matrix.shape)


class Batch(NamedTuple):
    """What a batch of users has."""

    values: Float64Array
    """Shape (n, number of metrics of one user's list)."""
    lifts: Float64Array
    """What lists are more popular by than histories, and how popular those are; shape (n, 2, number of cutoffs)."""
    has_relevant: npt.NDArray[np.bool_]
    """Shape (n,)."""


class ListMeasures:
    """The metrics of ranked lists among those wanted.

    Parameters
    ----------
    backend : Backend
        Where to compute.
    metrics : list of MetricName
        All that are wanted; those of scores and of ratings are passed over.
    history : CSR of shape (n_users, n_items)
        Who has what before: tells how popular items are.
    greatest_grade : float
        Of the test set; of ``err``.
    features : CSR of shape (n_items, any), default=None
        Of ``diversity``, from `as_features`.
    groups : Groups, default=None
        Of ``exposure_gap`` and ``recall_gap``.
    """

    def __init__(
        self,
        backend: Backend,
        metrics: list[MetricName],
        history: CSR,
        greatest_grade: float,
        *,
        features: CSR | None = None,
        groups: Groups | None = None,
        subject: str,
    ) -> None:
        self._backend, self._groups, n_items = backend, groups, history.n_cols
        names = {metric.name for metric in metrics}
        if names & {"err", "exponential_ndcg"} and greatest_grade > _GREATEST_GRADE:
            raise ValueError(
                f"{subject}: grades are powers of two to err and exponential_ndcg, and must be at most "
                f"{_GREATEST_GRADE:g}, got {greatest_grade:g}; take graded_ndcg, or smaller values in test"
            )
        if groups is None and (asked := [str(metric) for metric in metrics if metric.name in GROUP_METRICS]):
            raise ValueError(f"{subject}: {asked[0]} needs item_groups, a label for each item")
        counts = history.column_counts().astype(np.float64)
        self._counts, self._greatest_grade = counts, greatest_grade
        self.facts = ItemFacts(
            _information(counts, history) if "novelty" in names else None,
            counts if names & {"popularity", LIFT} else None,
            _ranks(counts) if "serendipity" in names else None,
            features,
        )
        # Columns of values: what the kernel gives, the lift of popularity by itself.
        of_users = (*RANKING_METRICS, *LIST_METRICS)
        self.columns = [metric for metric in metrics if metric.name in of_users and _is_of_lists(metric)]
        self.lifts = [metric for metric in metrics if metric.name == LIFT]
        self._overall = [metric for metric in metrics if metric.name in (*CATALOGUE_METRICS, *GROUP_METRICS)]
        self._cutoffs = sorted({metric.k for metric in metrics if metric.k is not None and _is_of_lists(metric)})
        self._has_counts = any(metric.name in CATALOGUE_METRICS for metric in metrics)
        self._recommended = np.zeros((len(self._cutoffs) if self._has_counts else 0, n_items), dtype=np.int64)
        self._n_lists = 0
        if groups is not None and not self._cutoffs:
            raise ValueError(
                f"{subject}: item_groups are compared by what lists show; ask for a metric with a cutoff, such as "
                "'exposure_gap@10'"
            )
        n_groups = 0 if groups is None else groups.labels.size
        self._exposures = np.zeros((len(self._cutoffs), n_groups))
        self._recalls = np.zeros((len(self._cutoffs), n_groups))  # sums over users
        self._wanted, self._n_wanting = np.zeros(n_groups), np.zeros(n_groups)

    @property
    def longest(self) -> int:
        """The greatest cutoff, 1 at least."""
        return self._cutoffs[-1] if self._cutoffs else 1

    def __bool__(self) -> bool:
        """Whether there is anything to measure."""
        return bool(self.columns or self.lifts or self._overall)

    def length(self, relevant: CSR) -> int:
        """How long the lists of a batch have to be."""
        longest = self.longest
        if any(metric.k is None for metric in self.columns) and relevant.n_rows:
            longest = max(longest, int(relevant.row_counts().max()))
        return longest

    def looked_at(self, relevant: CSR) -> npt.NDArray[np.int64]:
        """How many places of a list the metrics of each user look at."""
        cut = self._cutoffs[-1] if self._cutoffs else 0
        if any(metric.k is None for metric in self.columns):
            return np.maximum(relevant.row_counts(), cut)
        return np.full(relevant.n_rows, cut)

    def add(
        self,
        ids: Int32Array,
        relevant: CSR,
        exclude: CSR | None,
        history: CSR,
        *,
        n_candidates: Int32Array | None = None,
        counts_all: bool = True,
    ) -> Batch:
        """Measure the lists of a batch of users.

        Parameters
        ----------
        ids : ndarray of shape (n, l), int32
            As long as `length` says.
        relevant, exclude : CSR of shape (n, n_items)
            As the kernel takes them.
        history : CSR of shape (n, n_items)
            What the users had before.
        n_candidates : ndarray of shape (n,), int32, default=None
            Where lists are of chosen candidates.
        counts_all : bool, default=True
            Whether users without relevant items take part in figures of all lists.

        Returns
        -------
        Batch
        """
        asked: list[tuple[str, int, float]] = [("hit_rate", 1, 0.0)]
        asked += [(metric.name, metric.k or ids.shape[1], self._parameter(metric)) for metric in self.columns]
        asked += [("popularity", metric.k or 1, 0.0) for metric in self.lifts]
        found = ranking_metrics(
            self._backend, ids, relevant, asked, exclude, n_candidates=n_candidates, facts=self.facts
        )
        has_relevant = ~np.isnan(found[:, 0])
        n_columns = 1 + len(self.columns)
        lifts = np.full((len(ids), 2, len(self.lifts)), np.nan)
        if self.lifts:
            before = self._mean_popularity(history)[:, np.newaxis]
            lifts[:, 0], lifts[:, 1] = found[:, n_columns:] - before, before
        counted = np.ones(len(ids), dtype=bool) if counts_all else has_relevant
        found[~counted], lifts[~counted] = np.nan, np.nan
        self._n_lists += int(counted.sum())
        if self._has_counts:
            count_recommended(self._backend, ids[counted], self._cutoffs, self._recommended)
        if self._groups is not None:
            self._add_groups(ids, relevant, exclude, counted)
        return Batch(found[:, 1:n_columns], lifts, has_relevant)

    def _parameter(self, metric: MetricName) -> float:
        return {"rbp": metric.persistence, "err": self._greatest_grade}.get(metric.name, 0.0)

    def _mean_popularity(self, history: CSR) -> Float64Array:
        sums = np.bincount(history.row_numbers(), self._counts[history.indices], minlength=history.n_rows)
        n = history.row_counts()
        means: Float64Array = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
        return means

    def _add_groups(self, ids: Int32Array, relevant: CSR, exclude: CSR | None, counted: npt.NDArray[np.bool_]) -> None:
        assert self._groups is not None
        for j, k in enumerate(self._cutoffs):
            exposure, hits, wanted = group_metrics(
                self._backend, ids, relevant, self._groups.codes, self._groups.labels.size, k, exclude
            )
            exposure, hits, wanted = exposure[counted], hits[counted], wanted[counted]
            recalls = np.divide(hits, wanted, out=np.zeros_like(hits), where=wanted > 0)
            self._exposures[j] += exposure.sum(axis=0)
            self._recalls[j] += recalls.sum(axis=0)
            if j == 0:
                self._wanted += wanted.sum(axis=0)
                self._n_wanting += (wanted > 0).sum(axis=0)

    # ------------------------------------------------------------------ figures of all lists

    def figures(self) -> dict[str, float]:
        """Metrics of all lists together, by name."""
        of_groups = self.item_groups()
        return {str(metric): self._figure(metric, of_groups) for metric in self._overall}

    def item_groups(self) -> GroupedResult | None:
        """Exposure and recall of each group of items; None without groups."""
        if self._groups is None:
            return None
        columns: dict[str, npt.NDArray[Any]] = {
            "n_items": np.bincount(self._groups.codes, minlength=self._groups.labels.size),
            "merit": _shares(self._wanted),
        }
        for j, k in enumerate(self._cutoffs):
            columns[f"exposure@{k}"] = _shares(self._exposures[j])
        for j, k in enumerate(self._cutoffs):
            n = self._n_wanting
            columns[f"recall@{k}"] = np.where(n > 0, self._recalls[j] / np.maximum(n, 1), np.nan)
        return GroupedResult("item group", self._groups.labels, columns)

    def _figure(self, metric: MetricName, of_groups: GroupedResult | None) -> float:
        assert metric.k is not None
        if metric.name in GROUP_METRICS:
            assert of_groups is not None
            if metric.name == "recall_gap":
                return of_groups.gap(f"recall@{metric.k}")
            difference = np.abs(of_groups[f"exposure@{metric.k}"] - of_groups["merit"])
            return float(np.nan if np.isnan(difference).all() else np.nanmax(difference))
        counts = self._recommended[: self._cutoffs.index(metric.k) + 1].sum(axis=0)
        return _catalogue_figure(metric.name, counts.astype(np.float64), metric.k, self._n_lists)

    def pooled(self, lifts: Float64Array) -> dict[str, Pooled]:
        """The lift of popularity as a quotient of sums over users; `lifts` of shape (n, 2, len(lifts))."""
        found = {}
        for j, metric in enumerate(self.lifts):
            is_defined = ~np.isnan(lifts[:, :, j]).any(axis=1) & (lifts[:, 1, j] > 0)
            sums, counts = np.where(is_defined[:, np.newaxis], lifts[:, :, j], 0).T
            found[str(metric)] = Pooled(sums, counts)
        return found


class Values:
    """The values of all users, metric by metric, and the result that they make."""

    def __init__(self, n: int, measures: ListMeasures, metrics: list[MetricName]) -> None:
        self._metrics, self._measures = metrics, measures
        self._of_lists = np.full((n, len(measures.columns)), np.nan)
        self._lifts = np.full((n, 2, len(measures.lifts)), np.nan)
        self._has_relevant = np.zeros(n, dtype=bool)
        self.auc = np.full(n, np.nan)
        self.is_tied = np.zeros(n, dtype=bool)

    def put(self, block: slice, batch: Batch) -> None:
        """Keep what a batch of users has."""
        self._of_lists[block], self._lifts[block], self._has_relevant[block] = batch

    def result(
        self,
        subject: str,
        users: npt.NDArray[Any],
        pooled: Mapping[str, Pooled],
        *,
        keep_all: bool,
        missing: str,
        **settings: Any,
    ) -> EvaluationResult:
        """Put the result together.

        Parameters
        ----------
        subject : str
            What an error names first.
        users : ndarray of shape (n,)
            Their labels.
        pooled : dict of str to Pooled
            Metrics of ratings.
        keep_all : bool
            Whether users stay of whom nothing is known.
        missing : str
            What is said to be missing where no user has a value.
        **settings
            Of `EvaluationResult`.

        Raises
        ------
        ValueError
            If no user has a value.
        """
        pooled = {**pooled, **self._measures.pooled(self._lifts)}
        columns = {str(metric): self._of_lists[:, j] for j, metric in enumerate(self._measures.columns)}
        columns |= {name: part.per_user() for name, part in pooled.items()}
        if any(str(metric) == AUC for metric in self._metrics):
            columns[AUC] = self.auc
        per_user = {str(metric): columns[str(metric)] for metric in self._metrics if str(metric) in columns}
        # A list has novelty without a relevant item too, but a user without any is not measured.
        measured = self._has_relevant.copy()
        for metric in self._metrics:
            if metric.name in RATING_METRICS or str(metric) == AUC:
                measured |= ~np.isnan(per_user[str(metric)])
        if not measured.any():
            raise ValueError(f"{subject}: no user has {missing}")
        if not keep_all:
            users, per_user = users[measured], {name: values[measured] for name, values in per_user.items()}
            self.is_tied = self.is_tied[measured]
            pooled = {
                name: Pooled(part.sums[measured], part.counts[measured], part.is_root) for name, part in pooled.items()
            }
        return EvaluationResult(
            users=users,
            per_user=per_user,
            overall=self._measures.figures(),
            order=[str(metric) for metric in self._metrics],
            item_groups=self._measures.item_groups(),
            pooled=pooled,
            n_tied_users=int(self.is_tied.sum()),
            **settings,
        )


def _catalogue_figure(name: str, counts: Float64Array, k: int, n_lists: int) -> float:
    total = counts.sum()
    if name == "coverage":
        return float((counts > 0).mean())
    if total == 0:
        return float("nan")
    if name == "entropy":
        shares = counts[counts > 0] / total
        return float(-(shares * np.log2(shares)).sum())
    if name == "gini":
        rising, n = np.sort(counts), counts.size
        return float(((2 * np.arange(1, n + 1) - n - 1) * rising).sum() / (n * total))
    # Of all pairs of lists, the items that both have, by k.
    pairs = n_lists * (n_lists - 1) / 2
    return float(1 - (counts * (counts - 1) / 2).sum() / (pairs * k)) if pairs else float("nan")


def _information(counts: Float64Array, history: CSR) -> Float64Array:
    """Bits that a recommendation tells: -log2 of the share of users who have the item; one, where none has."""
    n = max(1, int((history.row_counts() > 0).sum()))
    information: Float64Array = np.log2(n / np.maximum(counts, 1))
    return information


def _ranks(counts: Float64Array) -> Int32Array:
    """The place of each item by popularity, ties by smaller id."""
    ranks = np.empty(counts.size, dtype=np.int32)
    ranks[np.lexsort((np.arange(counts.size), -counts))] = np.arange(counts.size)
    return ranks


def _shares(sums: Float64Array) -> Float64Array:
    total = sums.sum()
    shares: Float64Array = sums / total if total > 0 else np.full(sums.shape, np.nan)
    return shares
