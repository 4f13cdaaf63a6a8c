"""Exact top-k retrieval: the one path from vectors or scores to ranked ids."""

from ._top_k import top_k, top_k_scores
from .exact import ExactIndex

__all__ = ["ExactIndex", "top_k", "top_k_scores"]
