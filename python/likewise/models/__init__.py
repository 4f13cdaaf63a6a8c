"""The models, each an estimator of its own."""

from .als import ImplicitALS
from .base import Recommender, load
from .popularity import Popularity

__all__ = ["ImplicitALS", "Popularity", "Recommender", "load"]
