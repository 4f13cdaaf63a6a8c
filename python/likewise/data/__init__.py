"""Interactions of users with items: the matrix, the ids, the readers and two bundled data sets."""

from . import datasets
from .csr import CSR
from .ids import IdMap, RowNumbers
from .interactions import Aligned, Events, Interactions, as_interactions, event_index
from .readers import read_csv, read_movielens, read_parquet

__all__ = [
    "CSR",
    "Aligned",
    "Events",
    "IdMap",
    "Interactions",
    "RowNumbers",
    "as_interactions",
    "datasets",
    "event_index",
    "read_csv",
    "read_movielens",
    "read_parquet",
]
