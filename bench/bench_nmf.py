"""NMF of ratings: a fit at the defaults, beside Surprise's at the same parameters."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import likewise as lw
from bench import harness
from bench.bench_explicit_als import Problem
from bench.peers import PeerUnavailableError

FACTORS, EPOCHS = 15, 50  # the defaults of both
EQUAL_RMSE = 0.005  # of a peer's, by which ours may lie above

Factors = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def likewise(problem: Problem) -> Callable[[], Factors]:
    """From a scipy matrix to the vectors of both sides."""
    train = problem.parts[0]

    def call() -> Factors:
        model = lw.NMF(FACTORS, iterations=EPOCHS, random_state=0, n_jobs=problem.threads).fit(train)
        return model.user_factors_, model.item_factors_

    return call


def surprise(problem: Problem) -> Callable[[], Factors]:
    """From a ``Trainset``, which is made before, to the vectors; on the one thread that it has."""
    try:
        library = importlib.import_module("surprise")
        frames = importlib.import_module("pandas")
    except ImportError as error:
        raise PeerUnavailableError("scikit-surprise is not installed; install the `bench` extra") from error
    train = problem.parts[0].tocoo()
    frame = frames.DataFrame({"user": train.row, "item": train.col, "rating": train.data.astype(np.float64)})
    given = library.Dataset.load_from_df(frame, library.Reader(rating_scale=(0, 10))).build_full_trainset()
    users = [given.to_inner_uid(user) for user in np.unique(train.row).tolist()]
    items = [given.to_inner_iid(item) for item in np.unique(train.col).tolist()]

    def call() -> Factors:
        model = library.NMF(n_factors=FACTORS, n_epochs=EPOCHS, random_state=0).fit(given)
        x, y = (np.zeros((n, FACTORS)) for n in problem.parts[0].shape)
        x[np.unique(train.row)], y[np.unique(train.col)] = model.pu[users], model.qi[items]
        return x, y

    return call


CONTESTANTS: dict[str, Callable[[Problem], Callable[[], Factors]]] = {"likewise": likewise, "surprise": surprise}


def nmf_case(contestant: str, problem: Problem) -> harness.Case:
    """One fit; the check is the error on the ratings it was fitted to, which is below that of their mean."""
    fit, found = CONTESTANTS[contestant](problem), None

    def call() -> None:
        nonlocal found
        found = fit()

    def check() -> dict[str, Any]:
        assert found is not None, "nothing was fitted"
        assert min(part.min() for part in found) >= 0, "a number is negative"
        train = problem.parts[0].tocoo()
        errors = np.einsum("nd,nd->n", found[0][train.row], found[1][train.col]) - train.data
        rmse, spread = float(np.sqrt(np.mean(np.square(errors, dtype=np.float64)))), float(train.data.std())
        assert rmse < spread, f"the error is {rmse:.5g}, that of the mean {spread:.5g}"
        return {"rmse": rmse, "epochs": EPOCHS}

    return harness.Case(call, check, flops=16.0 * problem.parts[0].nnz * FACTORS * EPOCHS)


def check_equal_errors(errors: dict[str, float]) -> None:
    """Raise `CheckError` where the error of likewise is above that of a peer."""
    ours = errors.get("likewise")
    for name, error in errors.items():
        if ours is not None and ours > error * (1 + EQUAL_RMSE):
            raise harness.CheckError(f"likewise: RMSE {ours:.6g} is above {error:.6g} of {name}")


def run_nmf(dataset: str, contestants: Sequence[str], *, threads: int, repeats: int, run: str) -> list[dict[str, Any]]:
    """Fit side by side; those that are not installed are named and left out."""
    problem, cases = Problem(dataset, FACTORS, threads=threads), {}
    for name in contestants:
        try:
            cases[name] = nmf_case(name, problem)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    check_equal_errors({name: measurement.facts["rmse"] for name, measurement in measured.items()})
    return [
        harness.make_row(
            "nmf",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=dataset,
            k=FACTORS,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version("scikit-surprise"),
        )
        for name, measurement in measured.items()
    ]
