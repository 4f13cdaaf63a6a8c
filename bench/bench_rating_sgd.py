"""Factorizations of ratings by stochastic gradient descent: ratings a second of a fit, and the error it ends with."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench import datasets, harness
from bench.peers import PeerUnavailableError

EQUAL_RMSE = 0.005  # of a peer's, by which ours may lie above
MODELS = ("SGDMatrixFactorization", "SVDpp")
_HELD_OUT = 0.2
_LOWEST, _HIGHEST = 0, 10
_EPOCHS, _RATE, _PENALTY = 20, 0.005, 0.02
_START_SCALE = 0.1
_PLANTED = 8  # factors of drawn ratings

Fit = Callable[[], Any]
Predict = Callable[[Any], npt.ArrayLike]


@dataclass(frozen=True)
class Problem:
    """Ratings 0 to 10, a seeded fifth of which is to be predicted, and the length of the vectors."""

    dataset: str
    factors: int
    model: str = MODELS[0]

    @cached_property
    def parts(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Train and test. Where the data have no ratings they are drawn: biases, tastes and noise."""
        matrix, rng = datasets.load_csr(self.dataset), harness.rng()
        if self.dataset in datasets.SYNTHETIC:
            users, items = (rng.normal(scale=scale, size=n) for scale, n in zip((1.0, 0.7), matrix.shape, strict=True))
            x, y = (rng.normal(scale=_PLANTED**-0.25, size=(n, _PLANTED)).astype(np.float32) for n in matrix.shape)
            rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
            drawn = 6 + users[rows] + items[matrix.indices]
            for factor in range(_PLANTED):  # without an array of all entries and factors
                drawn += x[rows, factor] * y[matrix.indices, factor]
            drawn = np.rint(drawn + rng.normal(scale=1.0, size=matrix.nnz)).clip(_LOWEST, _HIGHEST)
            matrix = sp.csr_matrix((drawn.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
        train, test = lw.model_selection.random_split(lw.Interactions.from_csr(matrix), _HELD_OUT, random_state=0)
        return train.by_user.to_scipy(), test.by_user.to_scipy()

    @cached_property
    def asked(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Users, items and ratings to be predicted."""
        test = self.parts[1].tocoo()
        return test.row, test.col, test.data

    def check(self, estimates: npt.ArrayLike) -> dict[str, Any]:
        """Hold predictions against the ratings; raises AssertionError where mean and biases are no worse."""
        found, ratings = np.asarray(estimates, dtype=np.float64), self.asked[2].astype(np.float64)
        assert found.shape == ratings.shape, f"there are {found.shape} predictions"
        assert np.isfinite(found).all(), "a prediction is not finite"
        rmse = float(np.sqrt(np.mean((found.clip(_LOWEST, _HIGHEST) - ratings) ** 2)))
        worst = float(np.sqrt(np.mean((self.parts[0].data.mean(dtype=np.float64) - ratings) ** 2)))
        assert rmse < worst, f"the error is {rmse:.5g}, that of the mean {worst:.5g}"
        return {"rmse": rmse}


def likewise(problem: Problem, threads: int) -> tuple[Fit, Predict]:
    """From `Interactions`, with what they check left out of the time."""
    data, (users, items, _) = lw.Interactions.from_csr(problem.parts[0]), problem.asked
    model = getattr(lw, problem.model)(
        problem.factors, _RATE, _PENALTY, _EPOCHS, random_state=0, n_jobs=threads, clip=False
    )
    return lambda: model.fit(data), lambda fitted: fitted.predict(users, items)


def surprise(problem: Problem, threads: int) -> tuple[Fit, Predict]:
    """From a ``Trainset``; on the one thread that it has."""
    library, frames = _imported("surprise", "scikit-surprise"), _imported("pandas", "pandas")
    train = problem.parts[0].tocoo()
    frame = frames.DataFrame({"user": train.row, "item": train.col, "rating": train.data.astype(np.float64)})
    given = library.Dataset.load_from_df(frame, library.Reader(rating_scale=(_LOWEST, _HIGHEST))).build_full_trainset()
    cls = library.SVD if problem.model == MODELS[0] else library.SVDpp
    asked = list(zip(*(part.tolist() for part in problem.asked), strict=True))

    def fit() -> Any:
        return cls(problem.factors, _EPOCHS, lr_all=_RATE, reg_all=_PENALTY, random_state=0).fit(given)

    return fit, lambda fitted: [prediction.est for prediction in fitted.test(asked)]


def cornac(problem: Problem, threads: int) -> tuple[Fit, Predict]:
    """From its ``Dataset``, with starting values of the same scale; its threads write over one another."""
    if problem.model != MODELS[0]:
        raise PeerUnavailableError(f"cornac has no {problem.model}")
    library, train = _imported("cornac", "cornac"), problem.parts[0].tocoo()
    triples = list(zip(train.row.tolist(), train.col.tolist(), train.data.tolist(), strict=True))
    given = library.data.Dataset.from_uir(triples)
    users, items, _ = problem.asked

    def fit() -> Any:
        rng = harness.rng()
        sides = ((given.num_users, problem.factors), (given.num_items, problem.factors))
        start = {
            side: rng.standard_normal(shape, dtype=np.float32) * np.float32(_START_SCALE)
            for side, shape in zip("UV", sides, strict=True)
        }
        model = library.models.MF(
            k=problem.factors, max_iter=_EPOCHS, learning_rate=_RATE, lambda_reg=_PENALTY, use_bias=True,
            early_stop=False, num_threads=threads, init_params=start,
        )  # fmt: skip
        return model.fit(given)

    def predict(model: Any) -> npt.ArrayLike:
        rows, columns = (
            np.array([known.get(label, -1) for label in labels.tolist()])
            for known, labels in ((given.uid_map, users), (given.iid_map, items))
        )
        has_user, has_item = rows >= 0, columns >= 0
        products = np.einsum("nd,nd->n", model.u_factors[rows], model.i_factors[columns])
        estimates: npt.NDArray[np.float64] = (
            model.global_mean + has_user * model.u_biases[rows] + has_item * model.i_biases[columns]
            + (has_user & has_item) * products
        )  # fmt: skip
        return estimates

    return fit, predict


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PeerUnavailableError(f"{package} is not installed; install the `bench` extra") from error


CONTESTANTS: dict[str, Callable[[Problem, int], tuple[Fit, Predict]]] = {
    "likewise": likewise,
    "cornac": cornac,
    "surprise": surprise,
}
_PACKAGES = {"cornac": "cornac", "surprise": "scikit-surprise"}


def rating_sgd_case(contestant: str, problem: Problem, threads: int) -> harness.Case:
    """One fit, all its epochs and its starting values; the check is the error of what it predicts."""
    fit, predict = CONTESTANTS[contestant](problem, threads)
    fitted: Any = None

    def call() -> None:
        nonlocal fitted
        fitted = fit()

    def check() -> dict[str, Any]:
        assert fitted is not None, "nothing was fitted"
        return problem.check(predict(fitted))

    return harness.Case(call, check, flops=12 * _EPOCHS * problem.factors * problem.parts[0].nnz)


def check_equal_errors(errors: dict[str, float]) -> None:
    """Raise `CheckError` where the error of likewise is above that of a peer."""
    ours = errors.get("likewise")
    for name, error in errors.items():
        if ours is not None and ours > error * (1 + EQUAL_RMSE):
            raise harness.CheckError(f"likewise: RMSE {ours:.6g} is above {error:.6g} of {name}")


def run_rating_sgd(
    dataset: str, contestants: Sequence[str], *, model: str, factors: int, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """Fit side by side; those that are not installed, or lack the model, are named and left out."""
    problem, cases = Problem(dataset, factors, model), {}
    for name in contestants:
        try:
            cases[name] = rating_sgd_case(name, problem, threads)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
    with harness.limit_threads(threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    check_equal_errors({name: measurement.facts["rmse"] for name, measurement in measured.items()})
    return [
        harness.make_row(
            "rating_sgd",
            name,
            cases[name],
            measurement,
            threads=threads,
            run=run,
            dataset=f"{dataset}, {model}",
            k=factors,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else importlib.metadata.version(_PACKAGES[name]),
            ratings_per_second=_EPOCHS * problem.parts[0].nnz / measurement.seconds,
        )
        for name, measurement in measured.items()
    ]
