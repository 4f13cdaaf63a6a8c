"""Splits of interactions into what a model learns from and what it is measured on."""

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

__all__ = [
    "ColdStartSplit",
    "FilteredSplit",
    "InteractionKFold",
    "ItemSplit",
    "Leakage",
    "LeaveLastOut",
    "RandomSplit",
    "RollingSplit",
    "TemporalSplit",
    "UserKFold",
    "UserSplit",
    "cold_start_split",
    "filter_test",
    "find_leakage",
    "interaction_folds",
    "item_split",
    "leave_last_out",
    "random_split",
    "rolling_splits",
    "temporal_split",
    "user_folds",
    "user_split",
]
