"""Splits of interactions into what a model learns from and what it is measured on."""

from .splits import leave_last_out, random_split, temporal_split, user_split

__all__ = ["leave_last_out", "random_split", "temporal_split", "user_split"]
