"""likewise: recommenders end to end, in C++ and CUDA behind scikit-learn-style estimators."""

from . import data, model_selection, retrieval
from ._config import show_config
from .data import Interactions, datasets
from .evaluation import EvaluationResult, evaluate
from .exceptions import BackendUnavailableError, ModelFileError
from .models import ImplicitALS, Popularity, load

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailableError",
    "EvaluationResult",
    "ImplicitALS",
    "Interactions",
    "ModelFileError",
    "Popularity",
    "data",
    "datasets",
    "evaluate",
    "load",
    "model_selection",
    "retrieval",
    "show_config",
]
