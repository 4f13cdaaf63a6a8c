"""implicit.gpu.bpr: the model whose fits and answers ask for a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu import bpr as _cpu

__all__ = ["BayesianPersonalizedRanking"]


class BayesianPersonalizedRanking(_cpu.BayesianPersonalizedRanking):
    """As on the CPU; BackendUnavailableError where no CUDA device, or no kernel for it, is there."""

    _device = "cuda"

    def __init__(
        self,
        factors: int = 100,
        learning_rate: float = 0.01,
        regularization: float = 0.01,
        dtype: Any = np.float32,
        iterations: int = 100,
        verify_negative_samples: bool = True,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            factors, learning_rate, regularization, dtype, iterations, verify_negative_samples=verify_negative_samples,
            random_state=random_state,
        )  # fmt: skip
