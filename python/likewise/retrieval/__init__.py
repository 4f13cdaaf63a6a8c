"""Top-k retrieval: the one path from vectors or scores to ranked ids, approximate search, and metrics of rankings."""

from ._metrics import auc, mean_ndcg, ranking_metrics
from ._top_k import MAX_K, top_k, top_k_scores
from .approximate import ApproximateIndex
from .exact import ExactIndex

__all__ = ["MAX_K", "ApproximateIndex", "ExactIndex", "auc", "mean_ndcg", "ranking_metrics", "top_k", "top_k_scores"]
