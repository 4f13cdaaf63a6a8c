"""implicit.gpu: whether there is one, and its models."""

from __future__ import annotations

from typing import Any

from likewise._backend import get_backend

__all__ = ["HAS_CUDA", "COOMatrix", "CSRMatrix", "KnnQuery", "Matrix", "als", "bpr"]

# Whether models are made for the GPU unasked. The kernels of factorization have no CUDA variant yet.
HAS_CUDA = False


class _OnDevice:
    """An array of implicit's on the GPU; here those belong to cupy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        get_backend("cuda", subject=f"implicit.gpu.{type(self).__name__}")
        raise NotImplementedError(
            f"implicit.gpu.{type(self).__name__}: arrays on the GPU are cupy's here; give cupy arrays or torch tensors "
            "to likewise.retrieval.ExactIndex"
        )


class Matrix(_OnDevice):
    """A dense matrix on the GPU."""


class CSRMatrix(_OnDevice):
    """A CSR matrix on the GPU."""


class COOMatrix(_OnDevice):
    """A COO matrix on the GPU."""


class KnnQuery(_OnDevice):
    """Ranking on the GPU."""


from . import als, bpr  # noqa: E402  # which need the name above
