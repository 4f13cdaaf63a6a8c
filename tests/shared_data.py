"""The datasets with published results, which are no part of the package: a test that wants one is skipped without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

from likewise import Interactions


def folder_of(name: str) -> Path:
    """Where a dataset lies: in $LIKEWISE_DATA, else in shared/data beside the repository."""
    data = Path(os.environ.get("LIKEWISE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not (data / name).is_dir():
        pytest.skip(f"needs the {name} data in {data.name}/; set LIKEWISE_DATA to where it is")
    return data / name


def gowalla(part: str) -> Interactions:
    """Check-ins, ``"train"`` or ``"test"``, in LightGCN's split."""
    return Interactions.from_csr(sp.load_npz(folder_of("gowalla") / f"{part}.npz"))


class LeaveOneOut(NamedTuple):
    """A hidden item of each user, and the items that it is ranked among."""

    train: Interactions
    users: npt.NDArray[np.int64]
    """Shape (n,)."""
    items: npt.NDArray[np.int64]
    """Shape (n, 101): the hidden item, and the 100 negatives that the split came with."""


def citeulike_a() -> LeaveOneOut:
    """Articles in libraries, in the split of Collaborative Memory Networks."""
    folder = folder_of("citeulike-a")
    stored = np.load(folder / "test_negatives.npz")
    items = np.column_stack([stored["pos"], stored["neg"]]).astype(np.int64)
    return LeaveOneOut(
        Interactions.from_csr(sp.load_npz(folder / "train.npz")), stored["users"].astype(np.int64), items
    )
