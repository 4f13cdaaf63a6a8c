"""What a fit costs in memory, seen from inside a process that does nothing else.

Only the library in question is imported here: another one would be counted with it.
"""

from __future__ import annotations

import importlib
import time

import numpy as np

from bench import datasets, harness


def fit_once(contestant: str, dataset: str, factors: int, iterations: int, threads: int) -> dict[str, float]:
    """Load, fit, and say how much memory that took; the body of a process of its own.

    Parameters
    ----------
    contestant : str
        ``module:class`` of a `bench.peers.Contestant`.
    dataset, factors, iterations, threads
        Of the fit.

    Returns
    -------
    dict
        ``seconds`` of the fit, resident bytes before it (``rss_before``) and at their peak (``peak_rss``).
    """
    module, _, name = contestant.partition(":")
    library = getattr(importlib.import_module(module), name)
    matrix = datasets.load_csr(dataset)
    before = harness.resident_bytes("VmRSS")
    start = time.perf_counter()
    found = library.fit_plainly(matrix, factors, iterations, threads)
    seconds = time.perf_counter() - start
    peak = harness.resident_bytes()
    # No loss is compared: implicit takes a stored value for the whole confidence, which is another objective.
    assert [part.shape for part in found] == [(n, factors) for n in matrix.shape], "factors have another shape"
    assert all(np.isfinite(part).all() for part in found), "factors are not finite"
    assert all(np.abs(part).max() > 0 for part in found), "factors are all zero"
    return {"seconds": seconds, "rss_before": before, "peak_rss": peak}
