"""Top-k retrieval: the one path from vectors, scores or weights to ranked ids, indexes, and metrics of rankings."""

from ._metrics import ItemFacts, auc, count_recommended, group_metrics, mean_ndcg, ranking_metrics
from ._top_k import MAX_K, top_k, top_k_scores
from ._top_k_sparse import top_k_sparse
from .approximate import ApproximateIndex
from .exact import ExactIndex

__all__ = [
    "MAX_K",
    "ApproximateIndex",
    "ExactIndex",
    "ItemFacts",
    "auc",
    "count_recommended",
    "group_metrics",
    "mean_ndcg",
    "ranking_metrics",
    "top_k",
    "top_k_scores",
    "top_k_sparse",
]
