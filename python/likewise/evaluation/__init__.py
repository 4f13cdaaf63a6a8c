"""How well a model recommends: metrics of its rankings against held-out interactions, with intervals."""

from ._evaluate import evaluate
from ._names import parse_metrics
from ._result import EvaluationResult

__all__ = ["EvaluationResult", "evaluate", "parse_metrics"]
