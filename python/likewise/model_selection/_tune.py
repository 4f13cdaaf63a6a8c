"""`tune`: parameters by Optuna on a validation part, pruned on its curve, with iterations by early stopping."""

from __future__ import annotations

import html
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from likewise._progress import ProgressBar
from likewise._report import html_table, text_table
from likewise._space import Range, Space, default_space
from likewise._validation import check_flag, check_float, check_int, check_random_state
from likewise.data import Interactions, as_interactions
from likewise.data._frames import make_frame
from likewise.evaluation import evaluate
from likewise.evaluation._display import new_axes
from likewise.evaluation._names import is_better

from ._masks import RandomState
from .splits import random_split, temporal_split

__all__ = ["Tuning", "tune"]

_SUBJECT = "tune"
# Of curves that have been seen whole, before one is cut short.
_WHOLE_CURVES = 5
_SHARE = 0.1
# Of the iterations, before a curve may be cut short: great steps are often bad at first and best at last.
_WARMUP = 0.25


class Tuning:
    """What `tune` returns.

    Attributes
    ----------
    model : Recommender
        With the best parameters, fitted to all of `train`; not fitted with ``refit=False``.
    best_params : dict of str to object
        Of the best trial, ``iterations`` among them where they were chosen by early stopping.
    best_score : float
        Its metric on the validation part.
    metric : str
    study : optuna.Study
        With every trial.
    """

    def __init__(self, model: Any, best_params: dict[str, Any], metric: str, study: Any) -> None:
        self.model = model
        self.best_params = best_params
        self.metric = metric
        self.study = study

    @property
    def best_score(self) -> float:
        """Metric of the best trial on the validation part."""
        return float(self.study.best_value)

    def curve(self, trial: int | None = None) -> npt.NDArray[np.float64]:
        """Return the metric after each iteration of a trial, or after each part of the data for models without.

        Parameters
        ----------
        trial : int, default=None
            Its number; None is the best one.
        """
        chosen = self.study.best_trial if trial is None else self.study.trials[trial]
        return np.array([value for _, value in sorted(chosen.intermediate_values.items())])

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return the trials as a data frame.

        Parameters
        ----------
        library : {"pandas", "polars", "pyarrow"}, default=None
            None takes the first of them that is installed.

        Returns
        -------
        data frame
            Columns ``trial, state, score, seconds`` and the parameters; the score of a pruned trial is the last of its
            curve.

        Raises
        ------
        ImportError
            If no such library is installed.
        """
        trials = self.study.trials
        columns: dict[str, npt.NDArray[Any]] = {
            "trial": np.array([trial.number for trial in trials], dtype=np.int64),
            "state": np.array([trial.state.name.lower() for trial in trials], dtype=object),
            "score": np.array([float("nan") if trial.value is None else trial.value for trial in trials]),
            "seconds": np.array([trial.duration.total_seconds() if trial.duration else np.nan for trial in trials]),
        }
        for name in dict.fromkeys(name for trial in trials for name in trial.params):
            values = [trial.params.get(name) for trial in trials]
            is_numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
            columns[name] = np.array(values) if is_numeric else np.array([str(value) for value in values], dtype=object)
        return make_frame(columns, "Tuning.to_frame", library)

    def plot(self, ax: Any = None) -> Any:
        """Draw the score of each trial and the best so far.

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
        ax = new_axes("Tuning.plot", ax, (6.0, 3.5))
        whole = self._whole()
        scores = np.array([trial.value for trial in whole])
        running = np.minimum.accumulate(scores) if _is_less_better(self.metric) else np.maximum.accumulate(scores)
        numbers = [trial.number for trial in whole]
        ax.plot(numbers, scores, "o", label="trial", color="0.6")
        ax.step(numbers, running, where="post", label="best so far")
        ax.set(xlabel="trial", ylabel=self.metric)
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return f"{self._title()}\n{text_table(self._table())}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._title())}</p>{html_table(self._table())}"

    def _whole(self) -> list[Any]:
        return [trial for trial in self.study.trials if trial.state.name == "COMPLETE"]

    def _title(self) -> str:
        n, n_whole = len(self.study.trials), len(self._whole())
        n_pruned = sum(trial.state.name == "PRUNED" for trial in self.study.trials)
        counts = f"{n} trials ({n_whole} whole, {n_pruned} pruned)"
        return f"Tuning of {type(self.model).__name__} over {counts}: {self.metric} {self.best_score:.4f}"

    def _table(self) -> list[list[str]]:
        """The best parameters beside the other good ones."""
        best = sorted(self._whole(), key=lambda trial: trial.value, reverse=not _is_less_better(self.metric))[:5]
        names = list(dict.fromkeys(name for trial in best for name in trial.params))
        has_iterations = any("iterations" in trial.user_attrs for trial in best)
        rows = [["trial", *names, *["iterations"] * has_iterations, self.metric]]
        for trial in best:
            shown = [_shown(trial.params.get(name)) for name in names]
            chosen = [str(trial.user_attrs.get("iterations", ""))] * has_iterations
            rows.append([str(trial.number), *shown, *chosen, f"{trial.value:.4f}"])
        return rows


def tune(
    model: Any,
    space: Space | Callable[[Any], dict[str, Any]] | None,
    train: Any,
    *,
    metric: str | None = None,
    validation: Any = None,
    n_trials: int = 50,
    timeout: float | None = None,
    storage: str | os.PathLike[str] | Any = None,
    study_name: str = "likewise",
    sampler: Any = None,
    pruner: Any = None,
    refit: bool = True,
    random_state: RandomState = 0,
    verbose: bool | int = False,
    **options: Any,
) -> Tuning:
    """Choose parameters of a model by the quality of its rankings, or ratings, on a validation part of `train`.

    Runs Optuna (extra ``tune``): by default a tree-structured Parzen estimator (Bergstra et al. 2011) proposes, and
    trials whose curve is below the median of the others at the same iteration are cut short, not before five trials and
    a quarter of the iterations. Models with iterations are
    measured after each of them: the best one counts, and is taken over.

    Parameters
    ----------
    model : Recommender
        Not changed; what the search does not vary stays as it is. ``iterations`` is how many are tried at most.
    space : mapping of str to Range or list, callable, or None
        What is tried: a `Range`, a list of choices or a distribution of Optuna's by name of parameter; a function that
        takes a trial of Optuna's and returns parameters; None is the model's own default space.
    train : Interactions or matrix of shape (n_users, n_items)
    metric : str, default=None
        Of `evaluate`; None is ``"rmse"`` for models of ratings, else ``"ndcg@10"``.
    validation : Interactions, matrix or splitter, default=None
        What is held out: a part by itself, of users and items of `train`, or a splitter of this module, over whose
        parts scores are averaged. None takes the last tenth by time where there are times, else a tenth at random.
    n_trials : int, default=50
        Trials in all, those of a study that is resumed among them.
    timeout : float, default=None
        Seconds after which no further trial begins.
    storage : str or path, default=None
        Where to keep the study, so that the same call goes on where an interrupted one was: a file, made where it is
        missing, or whatever ``optuna.create_study`` takes, such as ``"sqlite:///studies.db"``.
    study_name : str, default="likewise"
        Its name there.
    sampler, pruner : of optuna, default=None
        In place of the usual ones.
    refit : bool, default=True
        Whether to fit the best parameters to all of `train`.
    random_state : int, Generator, RandomState, SeedSequence or None, default=0
        Seed of the proposals and of a random validation part. A model with its own `random_state` is seeded by that.
    verbose : bool or int, default=False
        Whether to show progress.
    **options
        As for `evaluate`, such as ``users=``, ``n_jobs=``.

    Returns
    -------
    Tuning

    Raises
    ------
    ImportError
        If Optuna is not installed.
    ValueError
        If the space names a parameter that the model does not have, the model has no default space, the metric is
        unknown, or the stored study is of another model, space, metric or data.
    RuntimeError
        If no trial was whole.

    Examples
    --------
    >>> import likewise as lw
    >>> data = lw.datasets.load_online_retail()
    >>> space = {"k": lw.model_selection.Range(20, 500, log=True), "shrinkage": [0, 10, 100]}
    >>> tuning = lw.model_selection.tune(lw.ItemKNN(), space, data, n_trials=5)
    >>> sorted(tuning.best_params), tuning.model.recommend(13047, k=3).items.shape
    (['k', 'shrinkage'], (3,))
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(f'{_SUBJECT}: needs Optuna; pip install "likewise[tune]"') from error
    n_trials = check_int(_SUBJECT, "n_trials", n_trials, minimum=1)
    if timeout is not None:
        timeout = check_float(_SUBJECT, "timeout", timeout, minimum=0, exclusive=True)
    check_flag(_SUBJECT, "refit", refit)
    rng = check_random_state(_SUBJECT, random_state)
    metric = metric or ("rmse" if getattr(model, "_predicts_ratings", False) else "ndcg@10")
    data = as_interactions(train, f"{_SUBJECT}: train", allow_negative=True)
    tried = _checked_space(model, space)
    distributions = {} if callable(tried) else {name: _distribution(name, each, optuna) for name, each in tried.items()}
    function = tried if callable(tried) else None
    search = _Search(model, distributions, function, _parts(data, validation, rng), metric, options)
    seed = int(rng.integers(2**31))
    with _quiet(optuna):
        study = optuna.create_study(
            study_name=study_name,
            storage=_storage(storage, optuna),
            load_if_exists=True,
            direction="minimize" if _is_less_better(metric) else "maximize",
            sampler=sampler or optuna.samplers.TPESampler(seed=seed),
            pruner=pruner or optuna.pruners.MedianPruner(_WHOLE_CURVES, n_warmup_steps=_n_warmup(model)),
        )
        _check_is_same(study, search, tried)
        states = optuna.trial.TrialState
        left = n_trials - _n_of(study, states.COMPLETE, states.PRUNED)
        bar = ProgressBar(range(max(0, left)), verbose=verbose, description="Tuning", unit="trial")
        _run(study, search, bar, timeout)
    if not _n_of(study, states.COMPLETE):
        raise RuntimeError(f"{_SUBJECT}: no trial was whole; give more time, or a pruner that prunes less")
    best = _best_params(search, study.best_trial)
    chosen = clone(model).set_params(**best)
    return Tuning(chosen.fit(data) if refit else chosen, best, metric, study)


def _n_warmup(model: Any) -> int:
    params = model.get_params()
    return int(_WARMUP * params["iterations"]) if "callbacks" in params else 0


class _Part(NamedTuple):
    train: Interactions
    validation: Interactions


class _Search(NamedTuple):
    """What every trial shares."""

    model: Any
    distributions: dict[str, Any]
    function: Callable[[Any], dict[str, Any]] | None
    """Of the user, in place of distributions."""
    parts: list[_Part]
    metric: str
    options: dict[str, Any]

    def params(self, trial: Any) -> dict[str, Any]:
        """What the trial proposes."""
        return dict(trial.params) if self.function is None else self.function(trial)


def _run(study: Any, search: _Search, bar: ProgressBar, timeout: float | None) -> None:
    """Trial after trial; whatever ends one by force leaves those before it in the study."""
    import optuna

    end, states = None if timeout is None else time.monotonic() + timeout, optuna.trial.TrialState
    for _ in bar:
        if end is not None and time.monotonic() > end:
            return
        trial = study.ask(search.distributions)
        try:
            study.tell(trial, _objective(trial, search))
        except optuna.TrialPruned:
            study.tell(trial, state=states.PRUNED)
        except BaseException:
            study.tell(trial, state=states.FAIL)
            raise
        if _n_of(study, states.COMPLETE):
            bar.set(best=study.best_value)


def _n_of(study: Any, *states: Any) -> int:
    return sum(trial.state in states for trial in study.trials)


def _objective(trial: Any, search: _Search) -> float:
    """Mean of the metric over the parts; of models with iterations, of the best iteration of each."""
    import optuna

    params = search.params(trial)
    candidate = clone(search.model).set_params(**params)
    has_curve = "callbacks" in candidate.get_params() and "iterations" not in params
    scores, iterations = [], []
    for place, part in enumerate(search.parts):
        if has_curve:
            curve = _curve(candidate, part, search, trial if place == 0 else None)
            best = int(np.argmin(curve) if _is_less_better(search.metric) else np.argmax(curve))
            scores.append(curve[best])
            iterations.append(best + 1)
        else:
            scores.append(_score(clone(candidate).fit(part.train), part, search))
            trial.report(float(np.mean(scores)), place)
            if place + 1 < len(search.parts) and trial.should_prune():  # what is done need not be cut short
                raise optuna.TrialPruned
    if iterations:
        trial.set_user_attr("iterations", round(float(np.median(iterations))))
    return float(np.mean(scores))


def _curve(model: Any, part: _Part, search: _Search, trial: Any) -> list[float]:
    """The metric after each iteration; a trial that is none is not told, and not pruned."""
    import optuna

    curve: list[float] = []

    def measure(fitted: Any, iteration: int, loss: float | None) -> bool:
        curve.append(_score(fitted, part, search))
        if trial is not None:
            trial.report(curve[-1], iteration - 1)
            is_done = iteration == model.iterations and len(search.parts) == 1
            if not is_done and trial.should_prune():
                raise optuna.TrialPruned
        return False

    callbacks = model.get_params()["callbacks"]
    given = [] if callbacks is None else list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    clone(model).set_params(callbacks=[*given, measure]).fit(part.train)
    return curve


def _score(fitted: Any, part: _Part, search: _Search) -> float:
    options = {"n_bootstrap": 0, **search.options}
    score = evaluate(fitted, part.train, part.validation, search.metric, **options)[search.metric]
    if np.isnan(score):
        raise ValueError(
            f"{_SUBJECT}: {search.metric} is undefined for all users of the validation part; hold out more"
        )
    return score


def _parts(data: Interactions, validation: Any, rng: np.random.Generator) -> list[_Part]:
    if validation is None:
        if data.timestamps is not None:
            return [_Part(*temporal_split(data, _SHARE))]
        return [_Part(*random_split(data, _SHARE, random_state=rng))]
    if hasattr(validation, "parts"):
        return [_Part(*part) for part in validation.parts(data)]
    held_out = as_interactions(validation, f"{_SUBJECT}: validation", allow_negative=True)
    return [_Part(data, held_out)]


def _checked_space(model: Any, space: Any) -> Any:
    """The space, or the model's own; a function as it is."""
    name, known = type(model).__name__, model.get_params()
    if space is None and not (space := default_space(model)):
        raise ValueError(f"{_SUBJECT}: {name} has no default space; give one, of {', '.join(known)}")
    if callable(space):
        return space
    if not isinstance(space, Mapping) or not space:
        raise TypeError(f"{_SUBJECT}: space must be a mapping of parameters to what is tried, got {space!r}")
    for parameter in space:
        if parameter not in known:
            raise ValueError(f"{_SUBJECT}: {name} has no parameter {parameter!r}; it has {', '.join(known)}")
    return space


def _distribution(parameter: str, tried: Any, optuna: Any) -> Any:
    if isinstance(tried, optuna.distributions.BaseDistribution):
        return tried
    if isinstance(tried, Range):
        of_ints = isinstance(tried.low, int) and isinstance(tried.high, int)
        kind = optuna.distributions.IntDistribution if of_ints else optuna.distributions.FloatDistribution
        try:
            return kind(tried.low, tried.high, log=tried.log)
        except ValueError as error:
            raise ValueError(f"{_SUBJECT}: the range of {parameter} is none ({error})") from error
    if isinstance(tried, Sequence) and not isinstance(tried, str) and len(tried):
        return optuna.distributions.CategoricalDistribution(tuple(tried))
    raise TypeError(
        f"{_SUBJECT}: {parameter} must be tried from a Range, a list or a distribution of Optuna's, got {tried!r}"
    )


def _best_params(search: _Search, trial: Any) -> dict[str, Any]:
    """Parameters of the best trial, as the space made them, and the iterations that were best."""
    import optuna

    params = dict(trial.params) if search.function is None else search.function(optuna.trial.FixedTrial(trial.params))
    if "iterations" in trial.user_attrs:
        params = {**params, "iterations": trial.user_attrs["iterations"]}
        if "early_stopping" in search.model.get_params():
            params["early_stopping"] = False  # it would hold a part of train out once more
    return params


def _storage(storage: Any, optuna: Any) -> Any:
    """A file becomes a journal of Optuna's; what is no path is its own affair."""
    if isinstance(storage, os.PathLike) or (isinstance(storage, str) and "://" not in storage):
        backend = optuna.storages.journal.JournalFileBackend(os.fspath(storage))
        return optuna.storages.JournalStorage(backend)
    return storage


def _check_is_same(study: Any, search: _Search, space: Any) -> None:
    """Mark a new study with what it is of; refuse to go on with one of something else."""
    marks = {
        "model": type(search.model).__name__,
        "metric": search.metric,
        "space": "a function" if callable(space) else repr(sorted(space.items())),
        "data": "".join(f"{_fingerprint(part):08x}" for pair in search.parts for part in pair),
    }
    known = study.user_attrs
    for name, mark in marks.items():
        if name not in known:
            study.set_user_attr(name, mark)
        elif known[name] != mark:
            raise ValueError(
                f"{_SUBJECT}: the stored study is of another {name} ({known[name]}, now {mark}); give another "
                "study_name or storage"
            )


def _fingerprint(data: Interactions) -> int:
    matrix, mark = data.by_user, 0
    for array in (matrix.indptr, matrix.indices, matrix.values):
        mark = zlib.crc32(np.ascontiguousarray(array).data, mark)
    return mark


def _is_less_better(metric: str) -> bool:
    return is_better(metric, -1.0) is True


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without a line a trial: the progress bar tells."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
