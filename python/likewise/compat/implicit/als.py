"""implicit.als: the factory of alternating least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cpu, gpu

__all__ = ["AlternatingLeastSquares"]


def AlternatingLeastSquares(
    factors: int = 100,
    regularization: float = 0.01,
    alpha: float = 1.0,
    dtype: Any = np.float32,
    use_native: bool = True,
    use_cg: bool = True,
    use_gpu: bool = gpu.HAS_CUDA,
    iterations: int = 15,
    calculate_training_loss: bool = False,
    num_threads: int = 0,
    random_state: Any = None,
) -> cpu.als.AlternatingLeastSquares:
    """Make a model for the CPU or, with `use_gpu`, for the GPU; parameters as there."""
    if use_gpu:
        return gpu.als.AlternatingLeastSquares(
            factors, regularization, alpha, dtype, iterations, calculate_training_loss, random_state
        )
    return cpu.als.AlternatingLeastSquares(
        factors, regularization, alpha, dtype, use_native, use_cg, iterations, calculate_training_loss, num_threads,
        random_state,
    )  # fmt: skip
