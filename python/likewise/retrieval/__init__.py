"""Exact top-k retrieval: the one path from vectors or scores to ranked ids, and the metrics of such rankings."""

from ._metrics import auc, mean_ndcg, ranking_metrics
from ._top_k import MAX_K, top_k, top_k_scores
from .exact import ExactIndex

__all__ = ["MAX_K", "ExactIndex", "auc", "mean_ndcg", "ranking_metrics", "top_k", "top_k_scores"]
