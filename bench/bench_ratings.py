"""Models of ratings: a fit and the predictions of held-out ratings, beside Surprise's at the same parameters."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench import datasets, harness
from bench.peers import PeerUnavailableError

EQUAL_RMSE = 0.005  # of a peer's, by which ours may lie above
_HELD_OUT = 0.2
_LOWEST, _HIGHEST = 0, 10

# Each at its defaults, which are those of both libraries.
OURS: dict[str, Callable[[int], lw.Recommender]] = {
    "BaselinePredictor als": lambda threads: lw.BaselinePredictor(n_jobs=threads),
    "BaselinePredictor sgd": lambda threads: lw.BaselinePredictor("sgd", n_jobs=threads),
    "SlopeOne": lambda threads: lw.SlopeOne(n_jobs=threads),
}
SURPRISE: dict[str, Callable[[ModuleType], Any]] = {
    "BaselinePredictor als": lambda surprise: surprise.BaselineOnly({"method": "als"}, verbose=False),
    "BaselinePredictor sgd": lambda surprise: surprise.BaselineOnly({"method": "sgd"}, verbose=False),
    "SlopeOne": lambda surprise: surprise.SlopeOne(),
}


@dataclass(frozen=True)
class Problem:
    """Ratings 0 to 10, a seeded fifth of which is to be predicted; `model` is one of `OURS`."""

    dataset: str
    model: str

    @cached_property
    def parts(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Train and test. Where the data have no ratings they are drawn: biases of users and items, and noise."""
        matrix, rng = datasets.load_csr(self.dataset), harness.rng()
        if self.dataset in datasets.SYNTHETIC:
            users, items = (rng.normal(scale=scale, size=n) for scale, n in zip((1.0, 0.7), matrix.shape, strict=True))
            drawn = 6.5 + np.repeat(users, np.diff(matrix.indptr)) + items[matrix.indices]
            drawn = np.rint(drawn + rng.normal(scale=1.5, size=matrix.nnz)).clip(_LOWEST, _HIGHEST)
            matrix = sp.csr_matrix((drawn.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
        train, test = lw.model_selection.random_split(lw.Interactions.from_csr(matrix), _HELD_OUT, random_state=0)
        return train.by_user.to_scipy(), test.by_user.to_scipy()

    @cached_property
    def asked(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Users, items and ratings to be predicted."""
        test = self.parts[1].tocoo()
        return test.row, test.col, test.data

    def check(self, estimates: Any) -> dict[str, Any]:
        """Hold predictions against the ratings; raises AssertionError where the mean of all is no worse."""
        found, ratings = np.asarray(estimates, dtype=np.float64), self.asked[2].astype(np.float64)
        assert found.shape == ratings.shape, f"there are {found.shape} predictions"
        assert found.min(initial=_HIGHEST) >= _LOWEST, "a prediction is below the lowest rating"
        assert found.max(initial=_LOWEST) <= _HIGHEST, "a prediction is above the highest rating"
        mean = float(self.parts[0].data.mean(dtype=np.float64))
        rmse, worst = (float(np.sqrt(np.mean((guess - ratings) ** 2))) for guess in (found, mean))
        assert rmse < worst, f"the error is {rmse:.5g}, that of the mean {worst:.5g}"
        return {"rmse": rmse}


def likewise(problem: Problem, threads: int) -> Callable[[], Any]:
    """From a scipy matrix to an array of predictions."""
    train, (users, items, _) = problem.parts[0], problem.asked

    def call() -> Any:
        return OURS[problem.model](threads).fit(train).predict(users, items)

    return call


def surprise(problem: Problem, threads: int) -> Callable[[], Any]:
    """From a ``Trainset``, which is made before, to a list of ``Prediction``; on the one thread that it has."""
    try:
        library = importlib.import_module("surprise")
        frames = importlib.import_module("pandas")
    except ImportError as error:
        raise PeerUnavailableError("scikit-surprise is not installed; install the `bench` extra") from error
    train = problem.parts[0].tocoo()
    frame = frames.DataFrame({"user": train.row, "item": train.col, "rating": train.data.astype(np.float64)})
    reader = library.Reader(rating_scale=(_LOWEST, _HIGHEST))
    given = library.Dataset.load_from_df(frame, reader).build_full_trainset()
    asked = list(zip(*(part.tolist() for part in problem.asked), strict=True))

    def call() -> Any:
        predictions = SURPRISE[problem.model](library).fit(given).test(asked)
        return [prediction.est for prediction in predictions]

    return call


CONTESTANTS: dict[str, Callable[[Problem, int], Callable[[], Any]]] = {"likewise": likewise, "surprise": surprise}


def ratings_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """One fit and its predictions; the check is their error."""
    predict, found = CONTESTANTS[contestant](problem, threads), None

    def call() -> None:
        nonlocal found
        found = predict()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was predicted"
        return problem.check(found)

    return harness.Case(call, check)


def check_equal_errors(errors: dict[str, float]) -> None:
    """Raise `CheckError` where the error of likewise is above that of a peer."""
    ours = errors.get("likewise")
    for name, error in errors.items():
        if ours is not None and ours > error * (1 + EQUAL_RMSE):
            raise harness.CheckError(f"likewise: RMSE {ours:.6g} is above {error:.6g} of {name}")


def run_ratings(
    dataset: str, contestants: Sequence[str], *, model: str, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """Fit and predict side by side; those that are not installed are named and left out."""
    problem, cases = Problem(dataset, model), {}
    for name in contestants:
        try:
            cases[name] = ratings_case(name, problem, threads)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    check_equal_errors({name: measurement.facts["rmse"] for name, measurement in measured.items()})
    return [
        harness.make_row(
            "ratings",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=f"{dataset}, {model}",
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version("scikit-surprise"),
        )
        for name, measurement in measured.items()
    ]
