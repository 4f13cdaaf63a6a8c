"""likewise: recommenders end to end, in C++ and CUDA behind scikit-learn-style estimators."""

from . import data, retrieval
from .data import Interactions
from .exceptions import BackendUnavailableError, ModelFileError
from .models import ImplicitALS, Popularity, load

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailableError",
    "ImplicitALS",
    "Interactions",
    "ModelFileError",
    "Popularity",
    "data",
    "load",
    "retrieval",
]
