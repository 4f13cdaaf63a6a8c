"""implicit.lmf: the factory of logistic matrix factorization."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cpu

__all__ = ["LogisticMatrixFactorization"]


def LogisticMatrixFactorization(
    factors: int = 30,
    learning_rate: float = 1.0,
    regularization: float = 0.6,
    dtype: Any = np.float32,
    iterations: int = 30,
    neg_prop: int = 30,
    use_gpu: bool = False,
    num_threads: int = 0,
    random_state: Any = None,
) -> cpu.lmf.LogisticMatrixFactorization:
    """Make a model; parameters as there. `use_gpu` is a NotImplementedError, as in implicit."""
    if use_gpu:
        raise NotImplementedError("LogisticMatrixFactorization: there is none for the GPU; leave use_gpu False")
    return cpu.lmf.LogisticMatrixFactorization(
        factors, learning_rate, regularization, dtype, iterations, neg_prop, num_threads, random_state
    )
