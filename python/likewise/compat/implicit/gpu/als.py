"""implicit.gpu.als: the model whose fits and answers ask for a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu import als as _cpu

__all__ = ["AlternatingLeastSquares", "calculate_loss"]

calculate_loss = _cpu.calculate_loss


class AlternatingLeastSquares(_cpu.AlternatingLeastSquares):
    """As on the CPU; BackendUnavailableError where no CUDA device, or no kernel for it, is there."""

    _device = "cuda"

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: Any = np.float32,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            factors, regularization, alpha, dtype, iterations=iterations,
            calculate_training_loss=calculate_training_loss, random_state=random_state,
        )  # fmt: skip
