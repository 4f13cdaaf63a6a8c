"""The models, each an estimator of its own."""

from .als import ImplicitALS
from .base import Recommender, load
from .neighbors import ItemKNN, UserKNN
from .popularity import Popularity
from .slim import SLIM
from .walks import P3Alpha, RP3Beta

__all__ = ["SLIM", "ImplicitALS", "ItemKNN", "P3Alpha", "Popularity", "RP3Beta", "Recommender", "UserKNN", "load"]
