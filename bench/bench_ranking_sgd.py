"""Ranking losses by stochastic gradient descent: samples a second of an epoch, beside other libraries'."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import tempfile
import time
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.io
import scipy.sparse as sp

import likewise as lw
from bench import datasets, harness
from bench.peers import PeerUnavailableError, require
from likewise._backend import get_backend
from likewise.models import sgd

_EPOCHS_CHECKED = 3  # at least, before the pairs are looked at
_CHECKED_PAIRS = 100_000
_RIGHT = 0.55  # share of pairs; what has learned nothing is at a half

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class Problem:
    """A loss, ``"bpr"`` or ``"warp"``, with vectors of `factors` numbers."""

    dataset: str
    loss: str
    factors: int
    threads: int
    learning_rate: float = 0.05
    regularization: float = 0.01
    max_trials: int = 10  # of WARP, as LightFM and buffalo have them

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """Users x items, float32."""
        return datasets.load_csr(self.dataset)

    def check(self, factors: Arrays) -> dict[str, Any]:
        """Share of seeded pairs, an item of a user before any other, that are in the right order."""
        users, items, biases = factors
        rng, matrix = harness.rng(1), self.matrix
        places = rng.integers(0, matrix.nnz, _CHECKED_PAIRS)
        rows = np.searchsorted(matrix.indptr, places, side="right") - 1
        liked, others = matrix.indices[places], rng.integers(0, matrix.shape[1], _CHECKED_PAIRS)
        margin = np.einsum("nd,nd->n", users[rows], items[liked] - items[others]) + biases[liked] - biases[others]
        right = float(np.mean(margin > 0))
        assert right > _RIGHT, f"only {right:.3f} of the pairs are in order"
        return {"pairs_in_order": round(right, 4), "n_samples": int(matrix.nnz)}


class Contestant(ABC):
    """A model that is trained an epoch at a time and says how long each took, without set-up."""

    distribution: ClassVar[str]
    losses: ClassVar[tuple[str, ...]] = ("bpr", "warp")

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def epoch(self) -> float:
        """Train for an epoch, as many samples as there are interactions; its seconds."""

    @abstractmethod
    def factors(self) -> Arrays:
        """Vectors of users and items, and biases of items."""

    def version(self) -> str:
        """Version of the library."""
        return importlib.metadata.version(self.distribution)


class Likewise(Contestant):
    """The kernel, called as `fit` calls it."""

    distribution = "likewise"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        common: dict[str, Any] = {
            "factors": problem.factors, "regularization": problem.regularization, "n_jobs": problem.threads,
        }  # fmt: skip
        model: lw.BPR | lw.WARP
        if problem.loss == "bpr":
            model = lw.BPR(learning_rate=problem.learning_rate, **common)
        else:
            model = lw.WARP(learning_rate=problem.learning_rate / 10, max_trials=problem.max_trials, **common)
        backend = get_backend("cpu", problem.threads)
        self._matrix, self._rule = backend.csr(lw.Interactions.from_csr(problem.matrix).by_user), model._rule(backend)
        self._state = sgd._State.random(
            backend, harness.rng(), problem.matrix.shape[0], problem.matrix.shape[1], problem.factors, True
        )
        self._n_epochs = 0
        self._counts = np.bincount(problem.matrix.indices, minlength=problem.matrix.shape[1]).astype(np.float32)

    def epoch(self) -> float:
        self._n_epochs += 1
        start = time.perf_counter()
        self._state.epoch(self._matrix, self._rule, 0, self._n_epochs, self._counts)
        self._state.check("likewise")
        return time.perf_counter() - start

    def factors(self) -> Arrays:
        return self._state.learned(self.problem.factors)


class Implicit(Contestant):
    """``BayesianPersonalizedRanking``, whose vectors hold the bias too; its own clock."""

    distribution = "implicit"
    losses = ("bpr",)

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        module = require("implicit.bpr", "implicit")
        self._model = module.BayesianPersonalizedRanking(
            factors=problem.factors, learning_rate=problem.learning_rate, regularization=problem.regularization,
            iterations=1, num_threads=problem.threads, random_state=0, use_gpu=False,
        )  # fmt: skip

    def epoch(self) -> float:
        seconds: list[float] = []
        # A second fit goes on from the vectors of the first.
        self._model.fit(
            self.problem.matrix, show_progress=False, callback=lambda epoch, elapsed, *rest: seconds.append(elapsed)
        )
        return seconds[0]

    def factors(self) -> Arrays:
        users, items = self._model.user_factors, self._model.item_factors
        return users, items, np.zeros(len(items), np.float32)


class Cornac(Contestant):
    """``cornac.models.BPR``: an epoch is what four more take, as a fit cannot be continued without its set-up."""

    distribution = "cornac"
    losses = ("bpr",)
    more_epochs = 4

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._cornac = require("cornac", "cornac")
        coo = problem.matrix.tocoo()
        maps = ({str(row): row for row in range(n)} for n in coo.shape)
        triples = (coo.row.astype(np.int64), coo.col.astype(np.int64), coo.data.astype(np.float64))
        self._data = self._cornac.data.Dataset(*coo.shape, *maps, triples, seed=0)

    def _fit(self, epochs: int) -> tuple[float, Any]:
        model = self._cornac.models.BPR(
            k=self.problem.factors, max_iter=epochs, learning_rate=self.problem.learning_rate,
            lambda_reg=self.problem.regularization, num_threads=self.problem.threads, verbose=False, seed=0,
        )  # fmt: skip
        start = time.perf_counter()
        model.fit(self._data)
        return time.perf_counter() - start, model

    def epoch(self) -> float:
        one, _ = self._fit(1)
        more, self._model = self._fit(1 + self.more_epochs)
        return max(more - one, 1e-9) / self.more_epochs

    def factors(self) -> Arrays:
        model = self._model
        return model.u_factors, model.i_factors, model.i_biases


class LightFM(Contestant):
    """``LightFM`` (lightfm-next) without features, by its default adaptive steps."""

    distribution = "lightfm-next"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        module = require("lightfm", "lightfm-next")
        self._model = module.LightFM(
            no_components=problem.factors, loss=problem.loss, random_state=0, max_sampled=problem.max_trials
        )
        self._matrix = problem.matrix.tocoo()

    def epoch(self) -> float:
        start = time.perf_counter()
        self._model.fit_partial(self._matrix, epochs=1, num_threads=self.problem.threads)
        return time.perf_counter() - start

    def factors(self) -> Arrays:
        model = self._model
        return model.user_embeddings, model.item_embeddings, model.item_biases


class Buffalo(Contestant):
    """``buffalo.WARP`` by its default AdaGrad; an epoch is what four more take, as with cornac.

    In the interpreter that LIKEWISE_BUFFALO_PYTHON names, for it needs an old numpy.
    """

    distribution = "buffalo"
    losses = ("warp",)
    more_epochs = 4

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        python = os.environ.get("LIKEWISE_BUFFALO_PYTHON", "")
        if not python:
            raise PeerUnavailableError("buffalo needs LIKEWISE_BUFFALO_PYTHON, an interpreter that has it")
        self._folder = tempfile.TemporaryDirectory()
        scipy.io.mmwrite(os.path.join(self._folder.name, "matrix.mtx"), problem.matrix)
        arguments = (self._folder.name, problem.factors, problem.threads, problem.max_trials)
        self._process = subprocess.Popen(
            [python, os.path.join(os.path.dirname(__file__), "buffalo_process.py"), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        weakref.finalize(self, _end, self._process, self._folder)

    def _fit(self, epochs: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"epochs": epochs}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):  # else what the library prints
                found: dict[str, Any] = json.loads(line)
                return found
        raise PeerUnavailableError(f"buffalo's process ended with {self._process.wait()}")

    def epoch(self) -> float:
        one = self._fit(1)["seconds"]
        found = self._fit(1 + self.more_epochs)
        self._file = found["file"]
        return max(float(found["seconds"] - one), 1e-9) / self.more_epochs

    def factors(self) -> Arrays:
        with np.load(self._file) as arrays:
            return arrays["users"], arrays["items"], arrays["biases"]

    def version(self) -> str:
        """Of the other interpreter's installation."""
        code = "import importlib.metadata as m; print(m.version('buffalo'))"
        return subprocess.run(
            [os.environ["LIKEWISE_BUFFALO_PYTHON"], "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


def _end(process: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    process.communicate()  # the end of its input
    folder.cleanup()


CONTESTANTS: dict[str, type[Contestant]] = {
    "likewise": Likewise, "implicit": Implicit, "cornac": Cornac, "lightfm": LightFM, "buffalo": Buffalo,
}  # fmt: skip


def epoch_case(model: Contestant, n_bytes: float) -> harness.Case:
    """One epoch, which must move as many bytes; the check looks at the order of pairs after some."""
    n_epochs = 0

    def call() -> float:
        nonlocal n_epochs
        n_epochs += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.epoch()

    def check() -> dict[str, Any]:
        while n_epochs < _EPOCHS_CHECKED:
            call()
        return model.problem.check(model.factors())

    return harness.Case(call, check, bytes=n_bytes, self_timed=True)


def run_contestants(
    bench: str,
    problem: Problem,
    contestants: Mapping[str, Callable[[Any], Contestant]],
    n_bytes: float,
    *,
    repeats: int,
    run: str,
) -> list[dict[str, Any]]:
    """Train side by side, an epoch each in turn; those that are not installed are named and left out."""
    models = {}
    for name, start in contestants.items():
        try:
            models[name] = start(problem)
        except PeerUnavailableError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=3)
    cases = {name: epoch_case(model, n_bytes) for name, model in models.items()}
    with harness.limit_threads(problem.threads, blas_threads=1):
        measured = harness.measure(cases, repeats=repeats)
    return [
        harness.make_row(
            bench,
            name,
            cases[name],
            measurement,
            threads=problem.threads,
            run=run,
            dataset=f"{problem.dataset}, {problem.loss}",
            k=problem.factors,
            isa=harness.isa() if name == "likewise" else None,
            version=lw.__version__ if name == "likewise" else models[name].version(),
        )
        for name, measurement in measured.items()
    ]


def problem_bytes(problem: Problem) -> float:
    """Two vectors of items, read and written, a sample; the user's stays at hand."""
    return 16.0 * float(problem.matrix.nnz) * problem.factors


def run_ranking_sgd(
    dataset: str, factors: int, loss: str, contestants: Sequence[str], *, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """The contestants that have the loss, side by side."""
    problem = Problem(dataset, loss, factors, threads)
    chosen = {name: CONTESTANTS[name] for name in contestants if loss in CONTESTANTS[name].losses}
    return run_contestants("ranking_sgd", problem, chosen, problem_bytes(problem), repeats=repeats, run=run)
