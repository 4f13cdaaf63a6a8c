"""`compare`: models on the same users, pair by pair, and what of their differences is more than noise."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from likewise._progress import ProgressBar
from likewise._report import html_table, text_table
from likewise._validation import check_choice, check_float, check_int, check_random_state
from likewise.data._frames import make_frame

from ._display import new_axes
from ._evaluate import RandomState, evaluate
from ._names import is_better
from ._pages import comparison_page, difference_parts, ranking_parts
from ._result import EvaluationResult, resampled_means

__all__ = ["Comparison", "PairedTest", "benjamini_hochberg", "compare", "holm"]

_SUBJECT = "compare"
_TESTS = ("t", "wilcoxon", "bootstrap")
_CORRECTIONS = ("holm", "benjamini-hochberg", "none")
Float64Array = npt.NDArray[np.float64]


class PairedTest(NamedTuple):
    """One metric of two models on the same users."""

    metric: str
    baseline: str
    model: str
    difference: float
    """Figure of `model` minus that of `baseline`."""
    low: float
    high: float
    """Ends of the bootstrap interval of the difference over resampled users."""
    n_users: int
    """Users with a value of both."""
    p_values: Mapping[str, float]
    """Two-sided, by test: ``t``, ``wilcoxon``, ``bootstrap``."""
    p_adjusted: float
    """Of the chosen test, corrected for the number of comparisons."""
    is_noise: bool
    """Whether `p_adjusted` is above the level: other users could as well have given the opposite."""

    @property
    def verdict(self) -> str:
        """In words."""
        if np.isnan(self.p_adjusted):
            return "cannot be told"
        if self.is_noise:
            return "noise"
        better = is_better(self.metric, self.difference)
        words = {True: "better", False: "worse", None: "higher" if self.difference > 0 else "lower"}
        return f"{self.model} is {words[better]}"


class Comparison(Mapping[str, EvaluationResult]):
    """What `compare` returns: a mapping of names to results, with the tests of their differences.

    Attributes
    ----------
    tests : list of PairedTest
        Every metric of every pair of models, or of every model with the baseline.
    test, correction : str
        By what p-values are judged.
    level : float
        Above which adjusted p-values count as noise.
    """

    def __init__(
        self,
        results: Mapping[str, EvaluationResult],
        tests: list[PairedTest],
        *,
        test: str,
        correction: str,
        level: float,
    ) -> None:
        self._results = dict(results)
        self.tests = tests
        self.test = test
        self.correction = correction
        self.level = level

    def __getitem__(self, name: str) -> EvaluationResult:
        if name not in self._results:
            raise KeyError(f"Comparison: {name!r} was not compared; compared are {', '.join(self)}")
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def of(self, metric: str, model: str, baseline: str) -> PairedTest:
        """Return the test of one metric of two models.

        Parameters
        ----------
        metric : str
        model, baseline : str
            Either way round: the difference is `model` minus `baseline`.

        Raises
        ------
        KeyError
            If they were not compared.
        """
        for each in self.tests:
            if each.metric == metric and {each.model, each.baseline} == {model, baseline}:
                if each.model == model:
                    return each
                return each._replace(
                    model=model, baseline=baseline, difference=-each.difference, low=-each.high, high=-each.low
                )
        raise KeyError(f"Comparison: {metric!r} of {model!r} and {baseline!r} was not compared")

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics, those without a value of a single user among them."""
        return list(dict.fromkeys(metric for result in self.values() for metric in result))

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return the tests as a data frame.

        Parameters
        ----------
        library : {"pandas", "polars", "pyarrow"}, default=None
            None takes the first of them that is installed.

        Returns
        -------
        data frame
            Columns ``metric, baseline, model, difference, low, high, n_users, p_t, p_wilcoxon, p_bootstrap, p_adjusted,
            is_noise``.

        Raises
        ------
        ImportError
            If no such library is installed.
        """
        names = ("metric", "baseline", "model")
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.array([getattr(each, name) for each in self.tests], dtype=object) for name in names
        }
        for name in ("difference", "low", "high", "n_users"):
            columns[name] = np.array([getattr(each, name) for each in self.tests])
        columns |= {f"p_{test}": np.array([each.p_values[test] for each in self.tests]) for test in _TESTS}
        columns["p_adjusted"] = np.array([each.p_adjusted for each in self.tests])
        columns["is_noise"] = np.array([each.is_noise for each in self.tests], dtype=bool)
        return make_frame(columns, "Comparison.to_frame", library)

    def plot(self, metric: str | None = None, ax: Any = None) -> Any:
        """Draw the differences of one metric with their intervals; those that are noise are hollow.

        Parameters
        ----------
        metric : str, default=None
            None takes the first.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        KeyError
            If the metric was not compared.
        """
        metric = self.metrics[0] if metric is None else metric
        tests = [each for each in self.tests if each.metric == metric]
        if not tests:
            raise KeyError(f"Comparison.plot: {metric!r} was not compared")
        ax = new_axes("Comparison.plot", ax, (6, 0.8 + 0.4 * len(tests)))
        for place, each in enumerate(tests):
            face = "none" if each.is_noise else "C0"
            ax.hlines(place, each.low, each.high, color="C0")
            ax.plot(each.difference, place, "o", color="C0", markerfacecolor=face)
        ax.axvline(0, color="0.6", linewidth=1)
        ax.set(yticks=range(len(tests)), yticklabels=[f"{each.model} − {each.baseline}" for each in tests])
        ax.set(xlabel=f"difference of {metric}; hollow: noise")
        ax.set_ylim(len(tests) - 0.5, -0.5)
        return ax

    def to_html(self, title: str = "Comparison") -> str:
        """Return a page that needs no other file: figures, differences with intervals, p-values and verdicts."""
        return comparison_page(self, title)

    def html_parts(self) -> list[str]:
        """Return what `to_html` is made of, for a page of your own: charts, tables, differences."""
        return [*ranking_parts(self), *difference_parts(self)]

    def __repr__(self) -> str:
        lines = [f"Comparison of {len(self)} models", text_table(self.figures_table())]
        return "\n".join([*lines, "", text_table(self.tests_table()), f"({self.phrase()})"])

    def _repr_html_(self) -> str:
        tables = html_table(self.figures_table()) + html_table(self.tests_table())
        return f"{tables}<small>{html.escape(self.phrase())}</small>"

    def figures_table(self) -> list[list[str]]:
        """Rows of text: a metric each, a column a model, the best marked with a star."""
        rows = [["metric", *self]]
        for metric in self.metrics:
            figures = [result.get(metric, float("nan")) for result in self.values()]
            marks = [""] * len(figures)
            for i, figure in enumerate(figures):
                others = [other for other in figures if not np.isnan(other)]
                if others and all(is_better(metric, figure - other) or figure == other for other in others):
                    marks[i] = " *"
            rows.append([metric, *(f"{figure:.4f}{mark}" for figure, mark in zip(figures, marks, strict=True))])
        return rows

    def tests_table(self) -> list[list[str]]:
        """Rows of text: a test each."""
        rows = [["metric", "models", "difference", "interval", f"p ({self.test})", "adjusted", "verdict"]]
        for each in self.tests:
            shown = f"{each.p_values[self.test]:.2g}", f"{each.p_adjusted:.2g}"
            interval = f"[{each.low:+.4f}, {each.high:+.4f}]"
            models = f"{each.model} − {each.baseline}"
            rows.append([each.metric, models, f"{each.difference:+.4f}", interval, *shown, each.verdict])
        return rows

    def phrase(self) -> str:
        """What the tests are, in a line."""
        corrected = {"none": "no correction", "holm": "Holm", "benjamini-hochberg": "Benjamini–Hochberg"}[
            self.correction
        ]
        n_users = max((each.n_users for each in self.tests), default=0)
        return (
            f"{n_users} users in pairs; {self.test} test, {len(self.tests)} comparisons, {corrected}; "
            f"noise: adjusted p above {self.level:g}"
        )


def compare(
    models: Mapping[str, Any],
    train: Any = None,
    test: Any = None,
    metrics: str | Iterable[str] = ("ndcg@20", "recall@20"),
    *,
    baseline: str | None = None,
    significance_test: str = "t",
    correction: str = "holm",
    level: float = 0.05,
    n_bootstrap: int = 2000,
    random_state: RandomState = 0,
    verbose: bool | int = False,
    **options: Any,
) -> Comparison:
    """Evaluate models on the same users, and test each difference, user by user.

    Users are what is drawn at random here: a difference that is more than noise would show again for other users of
    the same kind, with these fits and this split.

    Parameters
    ----------
    models : mapping of str to model or EvaluationResult
        Two at least. Models that are not fitted are copied and fitted to `train`; the copies are not kept. Results of
        `evaluate` are taken as they are, and then need neither `train` nor `test`.
    train, test : as for `evaluate`
    metrics : str or iterable of str, default=("ndcg@20", "recall@20")
        As for `evaluate`. Metrics without values of single users are shown and not tested. Of metrics of ratings, the
        bootstrap resamples the figure of all ratings, the other tests compare the users' own figures.
    baseline : str, default=None
        The model that the others are compared with; None compares all pairs.
    significance_test : {"t", "wilcoxon", "bootstrap"}, default="t"
        By which verdicts are given, all two-sided and paired by user: Student's t-test, Wilcoxon's signed-rank test
        (1945, doi:10.2307/3001968), or the share of resampled differences beyond 0. The others are computed too.
    correction : {"holm", "benjamini-hochberg", "none"}, default="holm"
        For as many comparisons as there are: Holm (1979, doi:10.2307/4615733) bounds the probability of any false
        verdict, Benjamini and Hochberg (1995, doi:10.1111/j.2517-6161.1995.tb02031.x) the share of false ones.
    level : float in (0, 1), default=0.05
        Adjusted p-values above it are noise; intervals hold ``1 - level``.
    n_bootstrap : int, default=2000
        Resamples of users, at least 100.
    random_state : int, Generator, RandomState, SeedSequence or None, default=0
        Seed of the resamples.
    verbose : bool or int, default=False
        Whether to show progress.
    **options
        As for `evaluate`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there are fewer than two models, `baseline` is none of them, or they share no user.

    Notes
    -----
    Which tests suit such figures is studied by Urbano, Lima and Hanjalic (2019), doi:10.1145/3331184.3331259: the
    t-test keeps its level best.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.datasets.load_online_retail()
    >>> train, test = lw.model_selection.temporal_split(data, cutoff="2011-10-01")
    >>> models = {"popularity": lw.Popularity(), "als": lw.ImplicitALS(random_state=0, n_jobs=1)}
    >>> lw.compare(models, train.binarize(), test, "ndcg@10").of("ndcg@10", "als", "popularity").verdict
    'als is better'
    """
    check_choice(_SUBJECT, "significance_test", significance_test, _TESTS)
    check_choice(_SUBJECT, "correction", correction, _CORRECTIONS)
    level = check_float(_SUBJECT, "level", level, minimum=0, maximum=1, exclusive=True)
    n_bootstrap = check_int(_SUBJECT, "n_bootstrap", n_bootstrap, minimum=100)
    seed = int(check_random_state(_SUBJECT, random_state).integers(2**63))
    if not isinstance(models, Mapping):
        raise TypeError(f"{_SUBJECT}: models must be a mapping of names to models, got {type(models).__name__}")
    if len(models) < 2:
        raise ValueError(f"{_SUBJECT}: it takes two models to compare, got {len(models)}")
    if baseline is not None and baseline not in models:
        raise ValueError(f"{_SUBJECT}: baseline {baseline!r} is none of the models; they are {', '.join(models)}")
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    results: dict[str, EvaluationResult] = {}
    bar = ProgressBar(list(models.items()), verbose=verbose, description="Comparing", unit="model")
    for name, model in bar:
        results[name] = (
            model if isinstance(model, EvaluationResult) else _evaluated(model, train, test, metrics, options)
        )
    pairs = (
        list(itertools.combinations(results, 2))
        if baseline is None
        else [(baseline, name) for name in results if name != baseline]
    )
    found = list(_tests_of(results, pairs, n_bootstrap, seed, level))
    adjusted = _adjusted(np.array([each.p_values[significance_test] for each in found]), correction)
    tests = [
        each._replace(p_adjusted=float(p), is_noise=not p <= level) for each, p in zip(found, adjusted, strict=True)
    ]
    return Comparison(results, tests, test=significance_test, correction=correction, level=level)


def holm(p_values: npt.ArrayLike) -> Float64Array:
    """Adjust p-values by Holm's method (1979, doi:10.2307/4615733): at or below the level with them is significant.

    Parameters
    ----------
    p_values : array-like of shape (n,)
        NaN is left out and stays.

    Returns
    -------
    ndarray of shape (n,), float64
        Of their order and places.
    """
    return _stepwise(p_values, lambda rank, n: n - rank, np.maximum.accumulate)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Float64Array:
    """Adjust p-values for the false discovery rate (1995, doi:10.1111/j.2517-6161.1995.tb02031.x); as `holm`."""
    return _stepwise(p_values, lambda rank, n: n / (rank + 1), lambda rising: np.minimum.accumulate(rising[::-1])[::-1])


def _stepwise(p_values: npt.ArrayLike, factor: Any, smooth: Any) -> Float64Array:
    """Each p-value times a factor of its rank, made monotone, at most 1."""
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    places = np.flatnonzero(~np.isnan(given))
    order = places[np.argsort(given[places], kind="stable")]  # p-values; not a ranking
    scaled = given[order] * factor(np.arange(order.size), order.size)
    adjusted[order] = np.minimum(1.0, smooth(scaled))
    return adjusted


def _adjusted(p_values: Float64Array, correction: str) -> Float64Array:
    if correction == "none":
        return p_values
    return holm(p_values) if correction == "holm" else benjamini_hochberg(p_values)


def _evaluated(model: Any, train: Any, test: Any, metrics: list[str], options: dict[str, Any]) -> EvaluationResult:
    if train is None or test is None:
        raise ValueError(f"{_SUBJECT}: models need train and test; only results of evaluate do without")
    try:
        check_is_fitted(model)
    except NotFittedError:
        model = clone(model).fit(train)
    return evaluate(model, train, test, metrics, **options)


def _tested(results: Mapping[str, EvaluationResult]) -> list[str]:
    """Metrics that all results have values of single users of."""
    first, *others = results.values()
    return [metric for metric in first.per_user if all(metric in other.per_user for other in others)]


def _tests_of(
    results: Mapping[str, EvaluationResult],
    pairs: list[tuple[str, str]],
    n_bootstrap: int,
    seed: int,
    level: float,
) -> Iterator[PairedTest]:
    """Both sides of each pair on the users that have a value of every model; metrics of the same users together."""
    places = _shared_places(results)
    alike: dict[bytes, list[str]] = {}
    users = {metric: _with_values(metric, results, places) for metric in _tested(results)}
    for metric, rows in users.items():
        alike.setdefault(rows.tobytes(), []).append(metric)
    resampled: dict[str, dict[str, tuple[float, Float64Array]]] = {}
    for metrics in alike.values():
        rows = users[metrics[0]]
        resampled |= _resampled(
            metrics, results, {name: every[rows] for name, every in places.items()}, n_bootstrap, seed
        )
    for metric, rows in users.items():
        figures = resampled[metric]
        for baseline, model in pairs:
            differences = (
                results[model].per_user[metric][places[model][rows]]
                - results[baseline].per_user[metric][places[baseline][rows]]
            )
            resamples = figures[model][1] - figures[baseline][1]
            low, high = np.quantile(resamples, [level / 2, 1 - level / 2])
            yield PairedTest(
                metric,
                baseline,
                model,
                difference=figures[model][0] - figures[baseline][0],
                low=float(low),
                high=float(high),
                n_users=differences.size,
                p_values=_p_values(differences, resamples),
                p_adjusted=float("nan"),
                is_noise=True,
            )


def _resampled(
    metrics: list[str],
    results: Mapping[str, EvaluationResult],
    rows: Mapping[str, npt.NDArray[np.int64]],
    n_bootstrap: int,
    seed: int,
) -> dict[str, dict[str, tuple[float, Float64Array]]]:
    """Of each metric and model the figure of these users, and those of resamples, which are the same for all."""
    parts = {(metric, name): results[name].parts(metric, rows[name]) for metric in metrics for name in results}
    drawn = resampled_means(np.concatenate(list(parts.values()), axis=1), n_bootstrap, seed)
    figures: dict[str, dict[str, tuple[float, Float64Array]]] = {metric: {} for metric in metrics}
    place = 0
    for (metric, name), part in parts.items():
        result, stop = results[name], place + part.shape[1]
        of_all = float(result.figure_of(metric, part.mean(axis=0)[None])[0])
        figures[metric][name] = of_all, result.figure_of(metric, drawn[:, place:stop])
        place = stop
    return figures


def _shared_places(results: Mapping[str, EvaluationResult]) -> dict[str, npt.NDArray[np.int64]]:
    """Where, in each result, the users stand that all have, in the order of the first."""
    first, *others = results.values()
    if all(np.array_equal(first.users, other.users) for other in others):
        return dict.fromkeys(results, np.arange(first.n_users))
    places = {name: {user: row for row, user in enumerate(result.users.tolist())} for name, result in results.items()}
    shared = [user for user in first.users.tolist() if all(user in found for found in places.values())]
    return {name: np.array([found[user] for user in shared], dtype=np.int64) for name, found in places.items()}


def _with_values(
    metric: str, results: Mapping[str, EvaluationResult], places: Mapping[str, npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Which of the shared users have a value of every model."""
    values = np.stack([result.per_user[metric][places[name]] for name, result in results.items()])
    if not (rows := np.flatnonzero(~np.isnan(values).any(axis=0))).size:
        raise ValueError(f"{_SUBJECT}: no user has a value of {metric} from every model")
    return rows


def _p_values(differences: Float64Array, resamples: Float64Array) -> dict[str, float]:
    """Two-sided p-values that the differences of users are none; 1 where all are 0."""
    if not differences.any():
        return dict.fromkeys(_TESTS, 1.0)
    if differences.size < 2:
        return dict.fromkeys(_TESTS, float("nan"))
    deviation = differences.std(ddof=1) / np.sqrt(differences.size)
    # The same difference for everybody leaves nothing to divide by.
    of_t = float(2 * stats.t.sf(abs(differences.mean() / deviation), differences.size - 1)) if deviation > 0 else 0.0
    of_ranks = float(stats.wilcoxon(differences, zero_method="wilcox", method="auto").pvalue)
    # With the difference observed counted among the resamples, so that no p-value is 0.
    beyond = 1 + min(np.count_nonzero(resamples <= 0), np.count_nonzero(resamples >= 0))
    return {"t": of_t, "wilcoxon": of_ranks, "bootstrap": min(1.0, 2 * beyond / (resamples.size + 1))}
