"""implicit.cpu: where its models live."""

from . import als, bpr, lmf, matrix_factorization_base, topk

__all__ = ["als", "bpr", "lmf", "matrix_factorization_base", "topk"]
