"""Factorization machines on ranking losses: samples a second, beside LightFM's hybrid of the same features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

import likewise as lw
from bench import datasets, harness
from bench.bench_ranking_sgd import Arrays, Contestant, Problem, run_contestants
from bench.peers import require
from likewise._backend import get_backend
from likewise.models import fm

DATASETS = ("gowalla", "gowalla-tags", "movietweetings-genres")
_N_TAGS, _TAGS_AN_ITEM = 500, 4


def load(dataset: str) -> sp.csr_matrix:
    """Users x items of one of `DATASETS`; the bundled ratings, all of them as likes, or those of Gowalla."""
    if dataset == DATASETS[2]:
        return lw.datasets.load_movietweetings().binarize().by_user.to_scipy(copy=True)
    return datasets.load_csr(DATASETS[0])


@dataclass(frozen=True)
class TaggedProblem(Problem):
    """A loss, with what items have beside themselves: nothing, tags that are drawn and mean nothing, or genres."""

    learning_rate: float = 0.05
    regularization: float = 0.0

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """Users x items, float32."""
        return load(self.dataset)

    @cached_property
    def tags(self) -> sp.csr_matrix | None:
        """Items x tags, of ones."""
        n_items = self.matrix.shape[1]
        if self.dataset == DATASETS[0]:
            return None
        if self.dataset == DATASETS[1]:
            rng = harness.rng(2)
            shares = 1 / np.arange(1, _N_TAGS + 1)
            tags = rng.choice(_N_TAGS, size=(n_items, _TAGS_AN_ITEM), p=shares / shares.sum())
            items = np.repeat(np.arange(n_items), _TAGS_AN_ITEM)
            tags, shape = tags.ravel(), (n_items, _N_TAGS)
        else:
            genres = [str(text).split("|") for text in lw.datasets.load_movietweetings().item_info["genres"]]
            names, tags = np.unique(np.concatenate(genres), return_inverse=True)
            items, shape = np.repeat(np.arange(n_items), [len(names) for names in genres]), (n_items, names.size)
        matrix = sp.coo_matrix((np.ones(tags.size, np.float32), (items, tags)), shape=shape).tocsr()
        matrix.data[:] = 1  # a tag drawn twice is one
        return matrix


class Likewise(Contestant):
    """The kernel, called as `fit` calls it."""

    distribution = "likewise"

    def __init__(self, problem: TaggedProblem) -> None:
        super().__init__(problem)
        options: dict[str, Any] = {"max_trials": problem.max_trials} if problem.loss == "warp" else {}
        self._model = lw.FactorizationMachine(
            problem.factors, problem.learning_rate, problem.regularization, 1, loss=problem.loss, pairs="between",
            random_state=0, n_jobs=problem.threads, **options,
        )  # fmt: skip
        data = lw.Interactions.from_csr(problem.matrix)
        self._model.fit(data, item_features=problem.tags)
        self._backend = get_backend("cpu", problem.threads)
        self._sides = self._model._sides(
            self._model._given, self._model._layout, np.arange(data.n_users), np.arange(data.n_items)
        )
        self._arrays = [self._backend.csr(matrix) for matrix in (data.by_user, *self._sides)]
        self._rule = self._model._rule(self._backend, data.nnz)
        self._table = fm._Table.random(self._backend, harness.rng(), self._model._layout.n_rows, problem.factors)
        self._n_epochs = 0

    def epoch(self) -> float:
        self._n_epochs += 1
        start = time.perf_counter()
        self._table.learn(self._backend, self._arrays, self._rule, 0, self._n_epochs)
        self._table.check("likewise")
        return time.perf_counter() - start

    def factors(self) -> Arrays:
        is_known = np.ones(self._model._layout.n_rows, dtype=bool)
        self._model._publish(self._backend, self._table, self._sides, is_known)
        return self._model.user_factors_, self._model.item_factors_, self._model.item_biases_


class LightFM(Contestant):
    """``LightFM`` (lightfm-next) with each item as a feature beside its tags."""

    distribution = "lightfm-next"

    def __init__(self, problem: TaggedProblem) -> None:
        super().__init__(problem)
        self._model = require("lightfm", "lightfm-next").LightFM(
            no_components=problem.factors, loss=problem.loss, learning_rate=problem.learning_rate, random_state=0,
            max_sampled=problem.max_trials,
        )  # fmt: skip
        self._matrix, self._features = problem.matrix.tocoo(), None
        if problem.tags is not None:
            itself = sp.identity(problem.matrix.shape[1], dtype=np.float32)
            self._features = sp.hstack([itself, problem.tags]).tocsr()

    def epoch(self) -> float:
        start = time.perf_counter()
        self._model.fit_partial(self._matrix, item_features=self._features, epochs=1, num_threads=self.problem.threads)
        return time.perf_counter() - start

    def factors(self) -> Arrays:
        biases, vectors = self._model.get_item_representations(self._features)
        return self._model.user_embeddings, vectors, biases


CONTESTANTS: dict[str, type[Contestant]] = {"likewise": Likewise, "lightfm": LightFM}


def problem_bytes(problem: TaggedProblem) -> float:
    """Vectors and squares of the features of a user and two items, with their weights, read and written once each."""
    a_pair = 1 + 2 * (1 if problem.tags is None else 1 + problem.tags.nnz / problem.tags.shape[0])
    return 16.0 * float(a_pair * problem.matrix.nnz) * (problem.factors + 1)


def run_fm(
    dataset: str, factors: int, loss: str, contestants: Sequence[str], *, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """The contestants side by side."""
    problem = TaggedProblem(dataset, loss, factors, threads)
    chosen = {name: CONTESTANTS[name] for name in contestants}
    return run_contestants("fm", problem, chosen, problem_bytes(problem), repeats=repeats, run=run)
