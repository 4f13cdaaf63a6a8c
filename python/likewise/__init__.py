"""likewise: recommenders end to end, in C++ and CUDA behind scikit-learn-style estimators.

Public names only. Each is imported when it is first asked for, so that ``import likewise`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .exceptions import BackendUnavailableError, ModelFileError

if TYPE_CHECKING:
    from . import data, evaluation, model_selection, models, retrieval
    from ._config import show_config
    from .data import Interactions, datasets
    from .evaluation import Comparison, EvaluationResult, compare, evaluate
    from .models import (
        BPR,
        EASE,
        EDLAE,
        NMF,
        SLIM,
        WARP,
        BaselinePredictor,
        ExplicitALS,
        FactorizationMachine,
        ImplicitALS,
        ItemKNN,
        LogisticMF,
        P3Alpha,
        Popularity,
        PureSVD,
        Recommender,
        RP3Beta,
        SGDMatrixFactorization,
        SlopeOne,
        SVDpp,
        UserKNN,
        load,
    )

__version__ = "0.1.0"

__all__ = [
    "BPR",
    "EASE",
    "EDLAE",
    "NMF",
    "SLIM",
    "WARP",
    "BackendUnavailableError",
    "BaselinePredictor",
    "Comparison",
    "EvaluationResult",
    "ExplicitALS",
    "FactorizationMachine",
    "ImplicitALS",
    "Interactions",
    "ItemKNN",
    "LogisticMF",
    "ModelFileError",
    "P3Alpha",
    "Popularity",
    "PureSVD",
    "RP3Beta",
    "Recommender",
    "SGDMatrixFactorization",
    "SVDpp",
    "SlopeOne",
    "UserKNN",
    "compare",
    "data",
    "datasets",
    "evaluate",
    "evaluation",
    "load",
    "model_selection",
    "models",
    "retrieval",
    "show_config",
]

# Where each public name lives; "" for a submodule of the package itself.
_HOME = {
    "BPR": "models",
    "BaselinePredictor": "models",
    "Comparison": "evaluation",
    "EASE": "models",
    "EDLAE": "models",
    "EvaluationResult": "evaluation",
    "ExplicitALS": "models",
    "FactorizationMachine": "models",
    "ImplicitALS": "models",
    "Interactions": "data",
    "ItemKNN": "models",
    "LogisticMF": "models",
    "NMF": "models",
    "P3Alpha": "models",
    "Popularity": "models",
    "PureSVD": "models",
    "RP3Beta": "models",
    "Recommender": "models",
    "UserKNN": "models",
    "SLIM": "models",
    "WARP": "models",
    "SGDMatrixFactorization": "models",
    "SVDpp": "models",
    "SlopeOne": "models",
    "compare": "evaluation",
    "data": "",
    "datasets": "data",
    "evaluate": "evaluation",
    "evaluation": "",
    "load": "models",
    "model_selection": "",
    "models": "",
    "retrieval": "",
    "show_config": "_config",
}

if not TYPE_CHECKING:  # or a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module 'likewise' has no attribute {name!r}")
        if not _HOME[name]:
            return importlib.import_module(f"likewise.{name}")
        value = getattr(importlib.import_module(f"likewise.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
