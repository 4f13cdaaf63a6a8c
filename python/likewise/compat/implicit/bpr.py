"""implicit.bpr: the factory of Bayesian personalized ranking."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cpu, gpu

__all__ = ["BayesianPersonalizedRanking"]


def BayesianPersonalizedRanking(
    factors: int = 100,
    learning_rate: float = 0.01,
    regularization: float = 0.01,
    dtype: Any = np.float32,
    iterations: int = 100,
    use_gpu: bool = gpu.HAS_CUDA,
    num_threads: int = 0,
    verify_negative_samples: bool = True,
    random_state: Any = None,
) -> cpu.bpr.BayesianPersonalizedRanking:
    """Make a model for the CPU or, with `use_gpu`, for the GPU; parameters as there."""
    if use_gpu:
        return gpu.bpr.BayesianPersonalizedRanking(
            factors, learning_rate, regularization, dtype, iterations, verify_negative_samples, random_state
        )
    return cpu.bpr.BayesianPersonalizedRanking(
        factors, learning_rate, regularization, dtype, iterations, num_threads, verify_negative_samples, random_state
    )
