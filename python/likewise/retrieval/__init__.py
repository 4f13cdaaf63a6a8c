"""Exact top-k retrieval: the one path from vectors, scores or item weights to ranked ids, and metrics of rankings."""

from ._metrics import auc, mean_ndcg, ranking_metrics
from ._top_k import MAX_K, top_k, top_k_scores
from ._top_k_sparse import top_k_sparse
from .exact import ExactIndex

__all__ = ["MAX_K", "ExactIndex", "auc", "mean_ndcg", "ranking_metrics", "top_k", "top_k_scores", "top_k_sparse"]
