"""The models, each an estimator of its own."""

from .als import ImplicitALS
from .base import Recommender, load
from .baseline import BaselinePredictor
from .explicit_als import ExplicitALS
from .fm import FactorizationMachine
from .linear import EASE, EDLAE
from .neighbors import ItemKNN, UserKNN
from .nmf import NMF
from .popularity import Popularity
from .rating_sgd import SGDMatrixFactorization, SVDpp
from .sgd import BPR, WARP, LogisticMF
from .slim import SLIM
from .slope_one import SlopeOne
from .svd import PureSVD
from .walks import P3Alpha, RP3Beta

__all__ = [
    "BPR",
    "EASE",
    "EDLAE",
    "NMF",
    "SLIM",
    "WARP",
    "BaselinePredictor",
    "ExplicitALS",
    "FactorizationMachine",
    "ImplicitALS",
    "ItemKNN",
    "LogisticMF",
    "P3Alpha",
    "Popularity",
    "PureSVD",
    "RP3Beta",
    "Recommender",
    "SGDMatrixFactorization",
    "SVDpp",
    "SlopeOne",
    "UserKNN",
    "load",
]
