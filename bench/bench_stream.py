"""A stream of events through `BPR.partial_fit`: events a second, and the ranking beside that of a refit on all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import likewise as lw
from bench import harness

_TASTES = 8
_BLOCK = 500  # users whose scores of all items are held at a time
_PARTS = 5  # of the stream, each timed by itself
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Problem:
    """Users and items with planted tastes; events in no order, half of them in a fit, half in the stream.

    A user has what is greatest of the product of tastes, a popularity and Gumbel noise. A tenth of it is held out.
    """

    n_users: int = 20_000
    n_items: int = 5_000
    events: int = 2_000_000
    batch: int = 1_000
    factors: int = 32
    iterations: int = 30
    threads: int = 2

    @cached_property
    def parts(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], sp.csr_array]:
        """Users and items of the events, and what is held out."""
        rng = harness.rng(3)
        tastes = rng.standard_normal((self.n_users, _TASTES), dtype=np.float32)
        traits = rng.standard_normal((self.n_items, _TASTES), dtype=np.float32)
        popularity = 1.5 * rng.standard_normal(self.n_items, dtype=np.float32)
        size = -(-self.events * 10 // (9 * self.n_users))
        items = np.empty((self.n_users, size), np.int32)
        for start in range(0, self.n_users, _BLOCK):
            block = tastes[start : start + _BLOCK]
            noise = -np.log(-np.log(rng.random((len(block), self.n_items), dtype=np.float32) + 1e-12) + 1e-12)
            scores = block @ traits.T + popularity + noise
            items[start : start + _BLOCK] = np.argpartition(scores, -size, axis=1)[:, -size:]
        items = rng.permuted(items, axis=1)
        users = np.broadcast_to(np.arange(self.n_users, dtype=np.int32)[:, np.newaxis], items.shape)
        n_held = size // 10
        held = self.matrix(users[:, :n_held].ravel(), items[:, :n_held].ravel())
        order = rng.permutation(self.n_users * (size - n_held))[: self.events]
        return users[:, n_held:].ravel()[order], items[:, n_held:].ravel()[order], held

    def matrix(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> sp.csr_array:
        """Events as a matrix."""
        return sp.csr_array((np.ones(users.size, np.float32), (users, items)), shape=(self.n_users, self.n_items))

    def model(self) -> lw.BPR:
        """As a user has it, but for its size."""
        return lw.BPR(self.factors, iterations=self.iterations, random_state=0, n_jobs=self.threads)


def run_stream(problem: Problem, *, run: str) -> list[dict[str, Any]]:
    """Fit half of the events, learn the others batch by batch, and fit all of them anew."""
    users, items, held = problem.parts
    everything, half = problem.matrix(users, items), users.size // 2
    seconds, done = [], []
    with harness.limit_threads(problem.threads):
        model = problem.model().fit(problem.matrix(users[:half], items[:half]))
        before = lw.evaluate(model, everything, held, metrics=METRIC, n_bootstrap=0)[METRIC]
        for part in np.array_split(np.arange(half, users.size), _PARTS):
            batches = [
                problem.matrix(users[rows], items[rows])
                for rows in np.split(part, range(problem.batch, part.size, problem.batch))
            ]
            start = time.perf_counter()
            for events in batches:
                model.partial_fit(events)
            seconds.append(time.perf_counter() - start)
            done.append(part.size)
        streamed = lw.evaluate(model, everything, held, metrics=METRIC, n_bootstrap=0)[METRIC]
        refit = lw.evaluate(problem.model().fit(everything), everything, held, metrics=METRIC, n_bootstrap=0)[METRIC]
    rates = sorted(n / s for n, s in zip(done, seconds, strict=True))
    return [
        {
            "bench": "stream",
            "contestant": "likewise",
            "version": lw.__version__,
            "dataset": f"{problem.n_users} x {problem.n_items} with tastes",
            "k": problem.factors,
            "threads": problem.threads,
            "seconds": sum(seconds),
            "samples": [round(s, 3) for s in seconds],
            "n_events": int(sum(done)),
            "batch": problem.batch,
            "events_per_second": round(rates[len(rates) // 2], 1),
            f"{METRIC} before": round(before, 5),
            f"{METRIC} streamed": round(streamed, 5),
            f"{METRIC} of a refit": round(refit, 5),
            **harness.provenance(run, harness.isa()),
        }
    ]
