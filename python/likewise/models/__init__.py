"""The models, each an estimator of its own."""

from .als import ImplicitALS
from .base import Recommender, load
from .popularity import Popularity
from .slim import SLIM

__all__ = ["SLIM", "ImplicitALS", "Popularity", "Recommender", "load"]
