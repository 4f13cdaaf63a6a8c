"""implicit.gpu.als: the model whose fits ask for a GPU."""

from __future__ import annotations

from ..cpu import als as _cpu

__all__ = ["AlternatingLeastSquares", "calculate_loss"]

calculate_loss = _cpu.calculate_loss


class AlternatingLeastSquares(_cpu.AlternatingLeastSquares):
    """As on the CPU; `fit` raises BackendUnavailableError where no CUDA device, or no kernel for it, is there."""

    _device = "cuda"
