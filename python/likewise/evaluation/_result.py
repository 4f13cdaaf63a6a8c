"""What `evaluate` returns: means, values a user, intervals, tables and a plot."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._backend import get_backend
from likewise.data._frames import make_frame

from ._display import new_axes
from ._groups import GroupedResult, group_codes
from ._names import RATING_METRICS, canonical
from ._pages import result_page

__all__ = ["EvaluationResult", "Pooled", "resampled_means"]


class Pooled(NamedTuple):
    """A metric that is one figure of all ratings: the sum over users of one thing by that of another."""

    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    is_root: bool = False
    """Whether the square root of that is meant."""

    def figure(self, total: Any, count: Any) -> Any:
        """The figure of these sums over users, or over each of many resamples of them."""
        share = total / count
        return np.sqrt(share) if self.is_root else share

    def per_user(self) -> npt.NDArray[np.float64]:
        """The figure of each user by itself, NaN where there is nothing to count."""
        with np.errstate(invalid="ignore"):
            values: npt.NDArray[np.float64] = self.figure(self.sums, np.where(self.counts > 0, self.counts, np.nan))
        return values


class EvaluationResult(Mapping[str, float]):
    """Metrics of one model on one test set: a mapping of metric names to means over users.

    Of ``"rmse"``, ``"mae"`` and ``"fcp"`` the figure is that of the ratings of all users together, of
    ``"popularity_lift"`` that of all their lists. ``"coverage"``, ``"gini"``, ``"entropy"``, ``"personalization"`` and
    the gaps of groups have no value of a single user, and no interval.

    Attributes
    ----------
    users : ndarray of shape (n_users,)
        Ids of the users that were ranked or predicted for, or row numbers where the data speak those.
    per_user : dict of str to ndarray of shape (n_users,), float64
        Values beside `users`, NaN where a metric is undefined for the user. They count in no mean. Of metrics of
        ratings, what the ratings of each user would give by themselves.
    item_groups : GroupedResult or None
        Exposure and recall of groups of items, where ``item_groups`` told of some.
    n_bootstrap, confidence : int, float
        How intervals are made.
    n_unknown_users, n_unknown_items : int
        Users and items of the test set that were left out since the train set or the model does not know them.
    n_tied_users : int
        Users with two items of one score among the first k, or at rank k + 1, for the greatest cutoff k: the item's row
        number decides between them.
    """

    def __init__(
        self,
        *,
        users: npt.NDArray[Any],
        per_user: Mapping[str, npt.NDArray[np.float64]],
        n_bootstrap: int,
        confidence: float,
        seed: int,
        n_unknown_users: int = 0,
        n_unknown_items: int = 0,
        pooled: Mapping[str, Pooled] | None = None,
        overall: Mapping[str, float] | None = None,
        order: Sequence[str] | None = None,
        item_groups: GroupedResult | None = None,
        n_tied_users: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.users = users
        self.per_user = dict(per_user)
        self.n_bootstrap = n_bootstrap
        self.confidence = confidence
        self.n_unknown_users = n_unknown_users
        self.n_unknown_items = n_unknown_items
        self.n_tied_users = n_tied_users
        self._seed = seed
        self._n_jobs = n_jobs
        self._pooled = dict(pooled or {})
        self.item_groups = item_groups
        self._overall = dict(overall or {})
        figures = {**{name: self._figure(name) for name in self.per_user}, **self._overall}
        self._means = {name: figures[name] for name in (order or figures)}

    def __getitem__(self, metric: str) -> float:
        """Mean of a metric over the users for whom it is defined; of metrics of ratings, that of all ratings."""
        return self._means[self._known(metric)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._means)

    def __len__(self) -> int:
        return len(self._means)

    @property
    def n_users(self) -> int:
        """Number of users that were ranked or predicted for."""
        return len(self.users)

    def interval(self, metric: str) -> tuple[float, float]:
        """Return a bootstrap interval: the percentiles of the figure over resampled users.

        Users are what is resampled, so the interval tells what another draw of users could have given, not another
        fit or split. Every call, and every metric, sees the same resamples. Efron (1979), doi:10.1214/aos/1176344552.

        Parameters
        ----------
        metric : str
            One of the metrics evaluated.

        Returns
        -------
        low, high : float
            NaN where the metric is defined for no user.

        Raises
        ------
        KeyError
            If the metric was not evaluated.
        ValueError
            If the evaluation was made with ``n_bootstrap=0``, or the metric has no value of a single user.
        """
        metric = self._known(metric)
        if metric in self._overall:
            raise ValueError(
                f"EvaluationResult.interval: {metric} is of all lists together and has no interval over users"
            )
        if self.n_bootstrap == 0:
            raise ValueError("EvaluationResult.interval: evaluated with n_bootstrap=0; use a number above 0")
        return self._intervals[metric]

    @cached_property
    def _intervals(self) -> dict[str, tuple[float, float]]:
        # Metrics that are defined for the same users share a pass over the resamples.
        alike: dict[bytes, list[str]] = {}
        for metric, values in self.per_user.items():
            alike.setdefault(np.isnan(values).tobytes(), []).append(metric)
        found = {metric: ends for metrics in alike.values() for metric, ends in self._bootstrap(metrics).items()}
        return {metric: found.get(metric, (float("nan"), float("nan"))) for metric in self}

    def _figure(self, metric: str, of: Any = slice(None)) -> float:
        """The figure of all users, or of some."""
        values = self.per_user[metric][of]
        if metric not in self._pooled:
            return _mean(_defined(values))
        pooled, is_defined = self._pooled[metric], np.zeros(len(self.users), dtype=bool)
        is_defined[of] = ~np.isnan(values)
        if not is_defined.any():
            return float("nan")
        return float(pooled.figure(pooled.sums[is_defined].sum(), pooled.counts[is_defined].sum()))

    def _bootstrap(self, metrics: list[str]) -> dict[str, tuple[float, float]]:
        is_defined = ~np.isnan(self.per_user[metrics[0]])
        if not is_defined.any():
            return dict.fromkeys(metrics, (float("nan"), float("nan")))
        # A quotient of sums over a resample is one of means.
        parts = [self.parts(metric, is_defined) for metric in metrics]
        drawn = resampled_means(np.concatenate(parts, axis=1), self.n_bootstrap, self._seed, self._n_jobs)
        means, place = np.empty((self.n_bootstrap, len(metrics))), 0
        for j, (metric, part) in enumerate(zip(metrics, parts, strict=True)):
            means[:, j] = self.figure_of(metric, drawn[:, place : place + part.shape[1]])
            place += part.shape[1]
        tail = (1 - self.confidence) / 2
        lows, highs = np.quantile(means, [tail, 1 - tail], axis=0)
        return dict(zip(metrics, zip(lows.tolist(), highs.tolist(), strict=True), strict=True))

    def parts(self, metric: str, users: Any) -> npt.NDArray[np.float64]:
        """Columns whose means over users make the figure of a metric, of the users chosen; shape (n, 1 or 2)."""
        pooled = self._pooled.get(metric)
        columns = [self.per_user[metric]] if pooled is None else [pooled.sums, pooled.counts]
        chosen: npt.NDArray[np.float64] = np.stack(columns, axis=1)[users]
        return chosen

    def figure_of(self, metric: str, means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The figure of a metric from the means of its parts, for each row of them."""
        pooled = self._pooled.get(metric)
        figures: npt.NDArray[np.float64] = means[:, 0] if pooled is None else pooled.figure(means[:, 0], means[:, 1])
        return figures

    def has_interval(self, metric: str) -> bool:
        """Whether `interval` has one for the metric."""
        return bool(self.n_bootstrap) and metric in self.per_user and not np.isnan(self[metric])

    def by_user_group(self, groups: Any) -> GroupedResult:
        """Compare groups of users: the figure of each metric in each of them.

        Parameters
        ----------
        groups : array-like of shape (n_users,) or mapping
            A label for each of `users`, or labels by user id. Users without a label are a group too.

        Returns
        -------
        GroupedResult
            Number of users and every metric that has values of single users; ``gap("recall@10")`` is the greatest
            difference of two groups.

        Raises
        ------
        ValueError
            If there is not a label for each user, or a mapping has none of them.
        """
        labels, codes = group_codes(groups, self.users.tolist(), "EvaluationResult.by_user_group", "groups", "users")
        columns: dict[str, npt.NDArray[Any]] = {"n_users": np.bincount(codes, minlength=labels.size)}
        for metric in self.per_user:
            columns[metric] = np.array([self._figure(metric, codes == j) for j in range(labels.size)])
        return GroupedResult("user group", labels, columns)

    def to_frame(self, *, per_user: bool = False, library: str | None = None) -> Any:
        """Return the result as a data frame.

        Parameters
        ----------
        per_user : bool, default=False
            One row per user with a column per metric, instead of one row per metric with its mean, interval and number
            of users.
        library : {"pandas", "polars", "pyarrow"}, default=None
            None takes the first of them that is installed.

        Returns
        -------
        data frame
            Columns ``metric, mean, low, high, n_users``, or ``user`` and the metrics. ``low`` and ``high`` are there
            only where there are intervals; of metrics of ratings ``mean`` is the figure of all.

        Raises
        ------
        ImportError
            If no such library is installed.
        """
        if per_user:
            return make_frame({"user": self.users, **self.per_user}, "EvaluationResult.to_frame", library)
        columns: dict[str, npt.NDArray[Any]] = {
            "metric": np.array(list(self), dtype=object),
            "mean": np.array(list(self.values())),
        }
        if self.n_bootstrap:
            intervals = np.array(list(self._intervals.values()))
            columns |= {"low": intervals[:, 0], "high": intervals[:, 1]}
        columns["n_users"] = np.array(
            [self.n_users if metric in self._overall else _defined(self.per_user[metric]).size for metric in self]
        )
        return make_frame(columns, "EvaluationResult.to_frame", library)

    def to_html(self, title: str = "Evaluation") -> str:
        """Return a page that needs no other file: figures with intervals, curves over cutoffs, users and groups.

        Parameters
        ----------
        title : str, default="Evaluation"

        Returns
        -------
        str
            HTML with inline SVG, to be written to a file: ``Path("report.html").write_text(page, encoding="utf-8")``.
        """
        return result_page(self, title)

    def plot(self, ax: Any = None) -> Any:
        """Draw the figures with their intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = new_axes("EvaluationResult.plot", ax, (6, 0.6 + 0.4 * len(self)))
        means, places = np.array(list(self.values())), np.arange(len(self))
        spread = None
        if self.n_bootstrap:
            intervals = np.array(list(self._intervals.values()))
            # A mean may lie outside its interval by a rounding error; matplotlib takes no negative length.
            spread = np.maximum(0, np.stack([means - intervals[:, 0], intervals[:, 1] - means]))
        ax.errorbar(means, places, xerr=spread, fmt="o", capsize=3)
        ax.set(yticks=places, yticklabels=list(self), xlabel=self._interval_phrase() or "mean")
        ax.set_ylim(len(self) - 0.5, -0.5)
        return ax

    def __repr__(self) -> str:
        width = max(map(len, self))
        lines = [f"EvaluationResult over {self.n_users} users"]
        lines += [f"  {metric:<{width}}  {' '.join(figures)}" for metric, figures in self._figures()]
        return "\n".join(lines + [f"  ({note})" for note in self.notes()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(metric)}</th>{''.join(f'<td>{html.escape(figure)}</td>' for figure in figures)}</tr>"
            for metric, figures in self._figures()
        )
        notes = "".join(f"<br><small>{html.escape(note)}</small>" for note in self.notes())
        return f"<table><caption>{self.n_users} users{notes}</caption>{rows}</table>"

    def _figures(self) -> Iterator[tuple[str, list[str]]]:
        for metric, mean in self.items():
            figures = [f"{mean:.4f}"]
            if self.n_bootstrap and metric not in self._overall:
                low, high = self.interval(metric)
                figures.append(f"[{low:.4f}, {high:.4f}]")
            yield metric, figures

    def notes(self) -> list[str]:
        """What has to be known to read the figures."""
        notes = [self._interval_phrase()] if self.n_bootstrap and self.per_user else []
        for metric, values in self.per_user.items():
            missing = values.size - _defined(values).size
            if missing:
                notes.append(f"{metric}: {missing} users without a value left out")
        if self.n_tied_users:
            notes.append(f"tied scores in the lists of {self.n_tied_users} users: row numbers of items decide there")
        if self.n_unknown_users or self.n_unknown_items:
            notes.append(
                f"left out of test: {self.n_unknown_users} unknown users, {self.n_unknown_items} unknown items"
            )
        return notes

    def _interval_phrase(self) -> str:
        if not self.n_bootstrap:
            return ""
        n_means, of_ratings = len(self.per_user) - len(self._pooled), self._pooled.keys() & set(RATING_METRICS)
        figures = ["mean"] * (n_means > 0) + ["figure of all ratings"] * bool(of_ratings)
        figures += ["figure of all lists"] * (len(self._pooled) > len(of_ratings))
        return f"{' or '.join(figures)}, {100 * self.confidence:g}% bootstrap interval over users"

    def _known(self, metric: str) -> str:
        """The name by which the metric was evaluated."""
        if metric not in self._means and (metric := canonical(metric)) not in self._means:
            raise KeyError(f"EvaluationResult: {metric!r} was not evaluated; evaluated are {', '.join(self)}")
        return metric


def resampled_means(
    values: npt.NDArray[np.float64], n_bootstrap: int, seed: int, n_jobs: int | None = None
) -> npt.NDArray[np.float64]:
    """Means of the columns of `values` over rows drawn with replacement; shape (n_bootstrap, n_columns)."""
    backend = get_backend("cpu", n_jobs)
    drawn: npt.NDArray[np.float64] = backend.empty((n_bootstrap, values.shape[1]), np.float64)
    backend.kernels.bootstrap_means(backend.context, backend.asarray(values, np.float64), seed, drawn)
    return drawn


def _defined(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values[~np.isnan(values)]


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
