"""Splits of interactions into what a model learns from and what it is measured on, and the search for parameters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from likewise._space import Range, Space, default_space

from .leakage import Leakage, find_leakage
from .splits import (
    cold_start_split,
    filter_test,
    interaction_folds,
    item_split,
    leave_last_out,
    random_split,
    rolling_splits,
    temporal_split,
    user_folds,
    user_split,
)
from .splitters import (
    ColdStartSplit,
    FilteredSplit,
    InteractionKFold,
    ItemSplit,
    LeaveLastOut,
    RandomSplit,
    RollingSplit,
    TemporalSplit,
    UserKFold,
    UserSplit,
)

if TYPE_CHECKING:
    from ._tune import Tuning, tune

__all__ = [
    "ColdStartSplit",
    "FilteredSplit",
    "InteractionKFold",
    "ItemSplit",
    "Leakage",
    "LeaveLastOut",
    "RandomSplit",
    "Range",
    "RollingSplit",
    "Space",
    "TemporalSplit",
    "Tuning",
    "UserKFold",
    "UserSplit",
    "cold_start_split",
    "default_space",
    "filter_test",
    "find_leakage",
    "interaction_folds",
    "item_split",
    "leave_last_out",
    "random_split",
    "rolling_splits",
    "temporal_split",
    "tune",
    "user_folds",
    "user_split",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import the search, which stands above models and evaluation, when it is first asked for (PEP 562)."""
        if name in ("Tuning", "tune"):
            return getattr(importlib.import_module("likewise.model_selection._tune"), name)
        raise AttributeError(f"module 'likewise.model_selection' has no attribute {name!r}")
