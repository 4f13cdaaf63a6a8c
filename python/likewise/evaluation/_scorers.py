"""Metrics as scikit-learn's scorers: for ``scoring=`` of its searches and cross-validation."""

from __future__ import annotations

from typing import Any

from likewise.data import as_interactions

from ._evaluate import evaluate
from ._names import is_better, parse_metrics

__all__ = ["Scorer", "make_scorer"]

_SUBJECT = "make_scorer"


class Scorer:
    """What `make_scorer` returns: called with a fitted model and data, it gives a figure, or a dict of them."""

    def __init__(self, metrics: list[str], options: dict[str, Any]) -> None:
        self.metrics = metrics
        self.options = options

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> Any:
        """Evaluate.

        Parameters
        ----------
        estimator : fitted Recommender, or a Pipeline that ends in one
        X : Interactions or matrix of shape (n_users, n_items)
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        float or dict of str to float
            Of metrics where less is better, minus the figure.
        """
        if hasattr(estimator, "steps"):
            X, estimator = estimator[:-1].transform(X), estimator[-1]
        if getattr(X, "is_part", False):
            told, sought = estimator.interactions_, X
        else:
            told, sought = estimator.hidden_parts(as_interactions(X, _SUBJECT, allow_negative=True))
        result = evaluate(estimator, told, sought, self.metrics, **{"n_bootstrap": 0, **self.options})
        scores = {name: (-figure if is_better(name, -1.0) else figure) for name, figure in result.items()}
        return scores if len(scores) > 1 else next(iter(scores.values()))

    def __repr__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return f"make_scorer({', '.join([*map(repr, self.metrics), *options])})"


def make_scorer(*metrics: str, **options: Any) -> Scorer:
    """Make a scorer of metrics of `evaluate`, for ``scoring=`` of scikit-learn's searches and cross-validation.

    With a splitter of `likewise.model_selection` that keeps users, the model is asked for what was held out. With one
    of users, scikit-learn's own among them, a fifth of what each test user did is hidden, and the model is told the
    rest.

    Parameters
    ----------
    *metrics : str
        Such as ``"ndcg@20"``. Of several, searches are told all at once; their ``refit=`` names the one that chooses.
    **options
        As for `evaluate`.

    Returns
    -------
    Scorer
        Greater is better: RMSE and the like are turned.

    Raises
    ------
    ValueError
        If a metric is unknown, or there is none.

    Examples
    --------
    >>> import likewise as lw
    >>> from sklearn.model_selection import GridSearchCV
    >>> data = lw.datasets.load_online_retail()
    >>> scoring = lw.evaluation.make_scorer("recall@20", "ndcg@20")
    >>> search = GridSearchCV(lw.ItemKNN(), {"k": [20, 200]}, scoring=scoring, refit="ndcg@20", cv=2).fit(data)
    >>> search.best_params_, sorted(name for name in search.cv_results_ if name.startswith("mean_test"))
    ({'k': 200}, ['mean_test_ndcg@20', 'mean_test_recall@20'])
    """
    return Scorer([str(metric) for metric in parse_metrics(_SUBJECT, list(metrics))], options)
