"""How well a model recommends: metrics of its rankings and ratings against held-out ones, with intervals."""

from ._compare import Comparison, PairedTest, benjamini_hochberg, compare, holm
from ._display import (
    CoverageAccuracyDisplay,
    LossCurveDisplay,
    MetricCurveDisplay,
    PopularityDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
)
from ._evaluate import evaluate
from ._groups import GroupedResult
from ._names import parse_metrics
from ._pages import results_table
from ._rankings import evaluate_rankings
from ._result import EvaluationResult
from ._scorers import Scorer, make_scorer

__all__ = [
    "Comparison",
    "CoverageAccuracyDisplay",
    "EvaluationResult",
    "GroupedResult",
    "LossCurveDisplay",
    "MetricCurveDisplay",
    "PairedTest",
    "PopularityDisplay",
    "PrecisionRecallDisplay",
    "RocCurveDisplay",
    "Scorer",
    "benjamini_hochberg",
    "compare",
    "evaluate",
    "evaluate_rankings",
    "holm",
    "make_scorer",
    "parse_metrics",
    "results_table",
]
