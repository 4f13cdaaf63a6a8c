"""The models, each an estimator of its own."""

from .als import ImplicitALS
from .base import Recommender, load
from .baseline import BaselinePredictor
from .linear import EASE, EDLAE
from .neighbors import ItemKNN, UserKNN
from .popularity import Popularity
from .rating_sgd import SGDMatrixFactorization, SVDpp
from .sgd import BPR, WARP, LogisticMF
from .slim import SLIM
from .slope_one import SlopeOne
from .walks import P3Alpha, RP3Beta

__all__ = [
    "BPR",
    "EASE",
    "EDLAE",
    "SLIM",
    "WARP",
    "BaselinePredictor",
    "ImplicitALS",
    "ItemKNN",
    "LogisticMF",
    "P3Alpha",
    "Popularity",
    "RP3Beta",
    "Recommender",
    "SGDMatrixFactorization",
    "SVDpp",
    "SlopeOne",
    "UserKNN",
    "load",
]
