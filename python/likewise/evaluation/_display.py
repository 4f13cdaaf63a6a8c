"""Plots in the manner of scikit-learn's displays: a class method makes one, `plot` draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from likewise._validation import check_int

from ._names import cutoffs_of

if TYPE_CHECKING:
    from ._result import EvaluationResult

__all__ = [
    "CoverageAccuracyDisplay",
    "LossCurveDisplay",
    "MetricCurveDisplay",
    "PopularityDisplay",
    "PrecisionRecallDisplay",
    "RocCurveDisplay",
    "new_axes",
]

Float64Array = npt.NDArray[np.float64]
Self = TypeVar("Self", bound="_Display")
_CUTOFFS = (1, 2, 5, 10, 20, 50, 100)
_HISTORIES = {
    "loss": "loss_history_",
    "rmse": "rmse_history_",
    "correct": "correct_history_",
    "training": "history_",
    "validation": "validation_history_",
}


def new_axes(subject: str, ax: Any, size: tuple[float, float]) -> Any:
    """`ax`, or matplotlib axes in a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'{subject}: needs matplotlib; pip install "likewise[plot]"') from error
    return plt.subplots(figsize=size, layout="constrained")[1]


class _Display:
    """Something to draw; subclasses have `_draw`."""

    ax_: Any
    figure_: Any
    _size = (5.5, 4.0)

    def plot(self: Self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs
            For matplotlib's lines, or bars.

        Returns
        -------
        display
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = new_axes(f"{type(self).__name__}.plot", ax, self._size)
        self.figure_ = self.ax_.figure
        self._draw(self.ax_, kwargs)
        return self

    def _draw(self, ax: Any, kwargs: dict[str, Any]) -> None:
        raise NotImplementedError


class MetricCurveDisplay(_Display):
    """A metric over the number of items shown, with intervals; a curve a model.

    Parameters
    ----------
    metric : str
        Such as ``"ndcg"``.
    cutoffs : sequence of int
    curves : mapping of str to ndarray of shape (n_cutoffs, 3), float64
        Of each model the figures and the ends of their intervals, NaN where there are none.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.datasets.load_online_retail()
    >>> train, test = lw.model_selection.temporal_split(data, cutoff="2011-10-01")
    >>> result = lw.evaluate(lw.Popularity().fit(train), train, test, [f"recall@{k}" for k in (1, 10, 100)])
    >>> display = lw.evaluation.MetricCurveDisplay.from_results(result, "recall")
    >>> display.cutoffs
    [1, 10, 100]
    """

    def __init__(self, *, metric: str, cutoffs: Sequence[int], curves: Mapping[str, Float64Array]) -> None:
        self.metric = metric
        self.cutoffs = cutoffs
        self.curves = curves

    @classmethod
    def from_results(cls, results: Any, metric: str, *, ax: Any = None, **kwargs: Any) -> MetricCurveDisplay:
        """Draw what was evaluated.

        Parameters
        ----------
        results : EvaluationResult, Comparison or mapping of str to EvaluationResult
        metric : str
            Evaluated at two cutoffs at least.
        ax : matplotlib Axes, default=None
        **kwargs
            For `plot`.

        Raises
        ------
        ValueError
            If the metric was not evaluated at two cutoffs or more by all.
        """
        named = _named(results)
        cutoffs = _shared_cutoffs(cls.__name__, named, metric)
        curves = {
            name: np.array([_with_interval(result, f"{metric}@{k}") for k in cutoffs]) for name, result in named.items()
        }
        return cls(metric=metric, cutoffs=cutoffs, curves=curves).plot(ax, **kwargs)

    def _draw(self, ax: Any, kwargs: dict[str, Any]) -> None:
        for name, curve in self.curves.items():
            (line,) = ax.plot(self.cutoffs, curve[:, 0], **{"marker": "o", "label": name, **kwargs})
            if not np.isnan(curve).any():
                ax.fill_between(self.cutoffs, curve[:, 1], curve[:, 2], color=line.get_color(), alpha=0.2, linewidth=0)
        ax.set(xscale="log", xticks=self.cutoffs, xlabel="items shown", ylabel=self.metric)
        ax.set_xticklabels([str(k) for k in self.cutoffs])
        ax.set_xticks([], minor=True)
        ax.set_ylim(bottom=0)
        ax.legend()


class _CurveOfPairs(_Display):
    """Two metrics against each other over the number of items shown."""

    x_metric: str
    y_metric: str

    def __init__(self, *, cutoffs: Sequence[int], curves: Mapping[str, Float64Array]) -> None:
        self.cutoffs = cutoffs
        self.curves = curves

    @classmethod
    def metrics(cls, cutoffs: Sequence[int] = _CUTOFFS) -> list[str]:
        """Return what `evaluate` has to be asked for."""
        return [f"{name}@{k}" for name in (cls.x_metric, cls.y_metric) for k in cutoffs]

    @classmethod
    def from_results(cls, results: Any, *, ax: Any = None, **kwargs: Any) -> Any:
        """Draw what was evaluated, at every cutoff that both metrics have.

        Parameters
        ----------
        results : EvaluationResult, Comparison or mapping of str to EvaluationResult
        ax : matplotlib Axes, default=None
        **kwargs
            For `plot`.

        Raises
        ------
        ValueError
            If the metrics were not evaluated at two cutoffs or more by all.
        """
        named = _named(results)
        of_x, of_y = (_shared_cutoffs(cls.__name__, named, metric) for metric in (cls.x_metric, cls.y_metric))
        if len(cutoffs := [k for k in of_x if k in of_y]) < 2:
            raise ValueError(f"{cls.__name__}: {cls.x_metric} and {cls.y_metric} share fewer than two cutoffs")
        curves = {
            name: np.array([[result[f"{cls.x_metric}@{k}"], result[f"{cls.y_metric}@{k}"]] for k in cutoffs])
            for name, result in named.items()
        }
        return cls(cutoffs=cutoffs, curves=curves).plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls, model: Any, train: Any, test: Any, *, cutoffs: Sequence[int] = _CUTOFFS, ax: Any = None, **kwargs: Any
    ) -> Any:
        """Evaluate a fitted model and draw that.

        Parameters
        ----------
        model, train, test : as for `evaluate`
        cutoffs : sequence of int, default=(1, 2, 5, 10, 20, 50, 100)
        ax : matplotlib Axes, default=None
        **kwargs
            For `plot`.
        """
        from ._evaluate import evaluate

        result = evaluate(model, train, test, cls.metrics(cutoffs), n_bootstrap=0)
        return cls.from_results({type(model).__name__: result}, ax=ax, **kwargs)

    def _draw(self, ax: Any, kwargs: dict[str, Any]) -> None:
        for name, curve in self.curves.items():
            ax.plot(curve[:, 0], curve[:, 1], **{"marker": "o", "label": name, **kwargs})
        ax.set(xlabel=self._x_label, ylabel=self._y_label)
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.legend()

    _x_label: str
    _y_label: str


class PrecisionRecallDisplay(_CurveOfPairs):
    """Mean precision against mean recall as more items are shown; a curve a model.

    Parameters
    ----------
    cutoffs : sequence of int
    curves : mapping of str to ndarray of shape (n_cutoffs, 2), float64
        Of each model recall and precision, each a mean over users.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.datasets.load_online_retail()
    >>> train, test = lw.model_selection.temporal_split(data, cutoff="2011-10-01")
    >>> model = lw.Popularity().fit(train)
    >>> display = lw.evaluation.PrecisionRecallDisplay.from_estimator(model, train, test, cutoffs=[1, 10, 100])
    >>> recall, precision = display.curves["Popularity"].T
    >>> bool((recall[1:] > recall[:-1]).all()), bool(precision[2] < precision[0])
    (True, True)
    """

    x_metric, y_metric = "recall", "precision"
    _x_label, _y_label = "recall", "precision"


class RocCurveDisplay(_CurveOfPairs):
    """Mean recall against mean fall-out as more items are shown, the receiver operating characteristic.

    Parameters
    ----------
    cutoffs : sequence of int
    curves : mapping of str to ndarray of shape (n_cutoffs, 2), float64
        Of each model fall-out (false positives by items that are not relevant) and recall, each a mean over users.

    Notes
    -----
    Fawcett (2006), doi:10.1016/j.patrec.2005.10.010. The area under the whole of a user's curve is the metric ``auc``.
    """

    x_metric, y_metric = "fall_out", "recall"
    _x_label, _y_label = "fall-out (false positive rate)", "recall (true positive rate)"


class CoverageAccuracyDisplay(_Display):
    """Accuracy against coverage of the catalogue: a point a model.

    Parameters
    ----------
    accuracy, coverage : str
        The metrics.
    points : mapping of str to (float, float)
        Of each model coverage and accuracy.
    """

    def __init__(self, *, accuracy: str, coverage: str, points: Mapping[str, tuple[float, float]]) -> None:
        self.accuracy = accuracy
        self.coverage = coverage
        self.points = points

    @classmethod
    def from_results(
        cls, results: Any, accuracy: str = "ndcg@10", coverage: str = "coverage@10", *, ax: Any = None, **kwargs: Any
    ) -> CoverageAccuracyDisplay:
        """Draw what was evaluated.

        Parameters
        ----------
        results : EvaluationResult, Comparison or mapping of str to EvaluationResult
        accuracy, coverage : str, default="ndcg@10", "coverage@10"
            Metrics evaluated.
        ax : matplotlib Axes, default=None
        **kwargs
            For `plot`.
        """
        points = {name: (result[coverage], result[accuracy]) for name, result in _named(results).items()}
        return cls(accuracy=accuracy, coverage=coverage, points=points).plot(ax, **kwargs)

    def _draw(self, ax: Any, kwargs: dict[str, Any]) -> None:
        for name, (x, y) in self.points.items():
            ax.plot(x, y, **{"marker": "o", "linestyle": "none", **kwargs})
            ax.annotate(name, (x, y), xytext=(5, 5), textcoords="offset points")
        ax.set(xlabel=self.coverage, ylabel=self.accuracy)
        ax.margins(0.15)


class PopularityDisplay(_Display):
    """What is recommended beside what is consumed, by popularity of the items.

    Items are put into bins by falling number of interactions in train, each bin with the same share of all
    interactions as far as items allow. A model without a bias shows each bin as often as it is consumed.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,), float64
        Where bins begin and end, as shares of the items, the most popular first.
    consumed : ndarray of shape (n_bins,), float64
        Share of the interactions in train.
    recommended : mapping of str to ndarray of shape (n_bins,), float64
        Of each model the share of the recommendations.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.datasets.load_online_retail()
    >>> display = lw.evaluation.PopularityDisplay.from_estimator(lw.Popularity().fit(data), data, k=10, n_bins=5)
    >>> [round(float(share), 3) for share in display.recommended["Popularity"]]
    [1.0, 0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, *, edges: Float64Array, consumed: Float64Array, recommended: Mapping[str, Float64Array]) -> None:
        self.edges = edges
        self.consumed = consumed
        self.recommended = recommended

    @classmethod
    def from_estimator(
        cls, models: Any, train: Any, *, k: int = 10, n_bins: int = 10, ax: Any = None, **kwargs: Any
    ) -> PopularityDisplay:
        """Recommend to all users of `train`, count, and draw.

        Parameters
        ----------
        models : fitted model or mapping of str to such
            Fitted on `train`.
        train : Interactions
        k : int, default=10
            Items a user.
        n_bins : int, default=10
            Bins; fewer where few items have most interactions.
        ax : matplotlib Axes, default=None
        **kwargs
            For `plot`.
        """
        subject = cls.__name__
        k, n_bins = check_int(subject, "k", k, minimum=1), check_int(subject, "n_bins", n_bins, minimum=1)
        named = models if isinstance(models, Mapping) else {type(models).__name__: models}
        counts = train.by_item.row_counts()
        order = np.lexsort((np.arange(counts.size), -counts))
        running = np.cumsum(counts[order]) / max(1, counts.sum())
        ends = np.unique(np.minimum(np.searchsorted(running, np.arange(1, n_bins) / n_bins) + 1, counts.size))
        ends = np.unique([*ends, counts.size])
        bins = np.empty(counts.size, dtype=np.int64)
        bins[order] = np.searchsorted(ends, np.arange(counts.size), side="right")
        shares = {}
        for name, model in named.items():
            shown = np.zeros(ends.size)
            for batch in model.recommend_batches(k=k):
                listed = batch.items.ravel()
                rows = train.item_index(listed[batch.scores.ravel() > -np.inf], subject)
                shown += np.bincount(bins[rows], minlength=ends.size)
            shares[name] = shown / max(1.0, shown.sum())
        display = cls(
            edges=np.array([0, *ends]) / counts.size,
            consumed=np.bincount(bins, counts, minlength=ends.size) / max(1, counts.sum()),
            recommended=shares,
        )
        return display.plot(ax, **kwargs)

    def _draw(self, ax: Any, kwargs: dict[str, Any]) -> None:
        series = {"consumed": self.consumed, **self.recommended}
        width = 0.8 / len(series)
        for j, (name, shares) in enumerate(series.items()):
            places = np.arange(shares.size) + (j - (len(series) - 1) / 2) * width
            ax.bar(places, shares, width, **{"label": name, **kwargs})
        labels = [
            f"{100 * low:.2g}–{100 * high:.3g}" for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)
        ]
        ax.set(xticks=range(len(labels)), xlabel="items by popularity, most popular first, %", ylabel="share")
        ax.set_xticklabels(labels, rotation=45, ha="right")
        ax.legend()


class LossCurveDisplay(_Display):
    """What a model recorded of its iterations: loss, error or share of correct samples, and the validation metric.

    Parameters
    ----------
    histories : mapping of str to ndarray of shape (n_iterations,), float64
        By what they are: ``loss``, ``rmse``, ``correct``, ``training`` (the loss of a machine), ``validation``.
    name : str
        Of the model.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.datasets.load_online_retail()
    >>> model = lw.BPR(factors=8, iterations=3, random_state=0, n_jobs=1).fit(data)
    >>> display = lw.evaluation.LossCurveDisplay.from_estimator(model)
    >>> display.histories["correct"].shape
    (3,)
    """

    def __init__(self, *, histories: Mapping[str, Float64Array], name: str) -> None:
        self.histories = histories
        self.name = name

    @classmethod
    def from_estimator(cls, model: Any, *, ax: Any = None, **kwargs: Any) -> LossCurveDisplay:
        """Draw what a fitted model has recorded.

        Parameters
        ----------
        model : fitted model
            `ImplicitALS` records its loss with ``compute_loss=True``, models with early stopping their validation
            metric.
        ax : matplotlib Axes, default=None
        **kwargs
            For `plot`.

        Raises
        ------
        ValueError
            If the model has recorded nothing.
        """
        histories = {
            name: np.asarray(history, dtype=np.float64)
            for name, attribute in _HISTORIES.items()
            if (history := getattr(model, attribute, None)) is not None and len(history)
        }
        if not histories:
            raise ValueError(
                f"{cls.__name__}: {type(model).__name__} has recorded no iterations; fit it, with early stopping or "
                "whatever makes it compute its loss"
            )
        return cls(histories=histories, name=type(model).__name__).plot(ax, **kwargs)

    def _draw(self, ax: Any, kwargs: dict[str, Any]) -> None:
        lines = []
        for j, (name, history) in enumerate(self.histories.items()):
            axes = ax if j == 0 else ax.twinx()  # each on its own scale
            lines += axes.plot(np.arange(1, history.size + 1), history, **{"label": name, "color": f"C{j}", **kwargs})
            axes.set_ylabel(name)
        ax.set(xlabel="iteration", title=self.name)
        ax.legend(handles=lines)


def _named(results: Any) -> dict[str, EvaluationResult]:
    """Results by name: those of a mapping, or one by itself."""
    if hasattr(results, "per_user"):
        return {"model": results}
    return dict(results)


def _shared_cutoffs(subject: str, results: Mapping[str, EvaluationResult], metric: str) -> list[int]:
    found = [cutoffs_of(result).get(metric, []) for result in results.values()]
    cutoffs = [k for k in found[0] if all(k in other for other in found[1:])] if found else []
    if len(cutoffs) < 2:
        raise ValueError(
            f"{subject}: a curve takes {metric} at two cutoffs at least, and there are {cutoffs}; evaluate with "
            f"metrics=['{metric}@5', '{metric}@20', ...]"
        )
    return cutoffs


def _with_interval(result: EvaluationResult, metric: str) -> tuple[float, float, float]:
    ends = result.interval(metric) if result.has_interval(metric) else (float("nan"), float("nan"))
    return (result[metric], *ends)
