"""How well a model recommends: metrics of its rankings and ratings against held-out ones, with intervals."""

from ._evaluate import evaluate
from ._groups import GroupedResult
from ._names import parse_metrics
from ._rankings import evaluate_rankings
from ._result import EvaluationResult

__all__ = ["EvaluationResult", "GroupedResult", "evaluate", "evaluate_rankings", "parse_metrics"]
