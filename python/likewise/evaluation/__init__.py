"""How well a model recommends: metrics of its rankings against held-out interactions, with intervals."""

from .evaluate import evaluate
from .result import EvaluationResult

__all__ = ["EvaluationResult", "evaluate"]
