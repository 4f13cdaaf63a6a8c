"""implicit.gpu.bpr: the model whose fits ask for a GPU."""

from __future__ import annotations

from ..cpu import bpr as _cpu

__all__ = ["BayesianPersonalizedRanking"]


class BayesianPersonalizedRanking(_cpu.BayesianPersonalizedRanking):
    """As on the CPU; `fit` raises BackendUnavailableError where no CUDA device, or no kernel for it, is there."""

    _device = "cuda"
