"""Item vectors as an index stores them, and their copy rounded for fast scans; both change row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._backend import Backend

__all__ = ["STORAGES", "RoundedCopy", "as_float32", "as_stored", "blocks", "extended"]

STORAGES: dict[str, Any] = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# Numbers converted at a time: 4 MiB of float32.
_BLOCK_NUMBERS = 1 << 20
_LEVELS = 127
# Numbers of an index from which a rounded copy pays (bench/bench_topk.py).
_ROUNDED_NUMBERS = 1 << 19


def blocks(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows of a matrix, some at a time."""
    size = max(1, _BLOCK_NUMBERS // max(1, shape[1]))
    if 0 < shape[0] <= size:
        return [slice(0, shape[0])]
    return [slice(start, min(start + size, shape[0])) for start in range(0, shape[0], size)]


def as_stored(
    vectors: Float32Array, storage: str, subject: str = "ExactIndex"
) -> tuple[npt.NDArray[Any], Float32Array | None]:
    """Vectors as they are stored, and what each must be multiplied by; float32 ones are not copied."""
    if storage == "float32":
        return vectors, None
    out = np.empty(vectors.shape, STORAGES[storage])
    if storage == "bfloat16":
        for rows in blocks(vectors.shape):
            bits = vectors[rows].view(np.uint32).astype(np.uint64)  # room for the carry of a number next to infinity
            out[rows] = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
            if (out[rows] & 0x7F80 == 0x7F80).any():
                raise ValueError(f"{subject}: vectors must be inside bfloat16, got {np.abs(vectors[rows]).max()}")
        return out, None
    steps = np.empty(len(vectors), np.float32)
    for rows in blocks(vectors.shape):
        # Not so great that _LEVELS of them leave float32, and of subnormal numbers not 0.
        tops = np.abs(vectors[rows]).max(axis=1, initial=0).astype(np.float64)
        steps[rows] = np.minimum(tops / _LEVELS, np.finfo(np.float32).max / (_LEVELS + 0.01))
        steps[rows][(steps[rows] == 0) & (tops > 0)] = np.finfo(np.float32).smallest_subnormal
        by = np.where(steps[rows] > 0, steps[rows], 1).astype(np.float64)[:, np.newaxis]
        out[rows] = np.rint(vectors[rows] / by).clip(-_LEVELS, _LEVELS)
    return out, steps


def as_float32(stored: npt.NDArray[Any], scale: Float32Array | None = None) -> Float32Array:
    """Stored vectors as float32, times their scales."""
    is_bfloat16 = stored.dtype == np.uint16
    rows = (stored.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else stored.astype(np.float32)
    return rows if scale is None else rows * scale[:, np.newaxis]


class RoundedCopy:
    """A copy of item vectors in int8, in the order of their lengths, that scans read.

    Parameters
    ----------
    backend : Backend
        One that has products of int8.
    items : Items
        Vectors as the kernels take them.
    lengths : ndarray of shape (n,), float32
        Their lengths; the longest come first.
    """

    def __init__(self, backend: Backend, items: Any, lengths: Float32Array) -> None:
        self._backend = backend
        n = len(lengths)
        self._order = backend.empty((n,), np.int32)
        self._order[:] = np.argsort(-lengths)
        self._places = np.empty(n, np.int32)
        self._places[self._order] = np.arange(n, dtype=np.int32)
        kernels = backend.kernels
        self._tiles = backend.empty((kernels.quantized_groups(n), kernels.quantized_bytes(items.shape[1])), np.uint8)
        self._extents = backend.empty((len(self._tiles), kernels.EXTENT_FLOATS))
        self._round(items, np.arange(len(self._tiles), dtype=np.int32))

    @staticmethod
    def is_read(backend: Backend, shape: tuple[int, int], k: int) -> bool:
        """Whether a search of vectors of this shape for the best `k` reads a rounded copy."""
        n, d = shape
        if not backend.has_int8 or d > backend.kernels.MOST_QUANTIZED_DEPTH:
            return False
        return n * d >= _ROUNDED_NUMBERS and 4 * k < n

    def arrays(self) -> tuple[npt.NDArray[np.uint8], Float32Array, Int32Array]:
        """What `Backend.items` takes."""
        return self._tiles, self._extents, self._order

    def update(self, items: Any, ids: Int64Array) -> None:
        """Round the rows `ids` anew; rows beyond those that there were come last."""
        n, before = items.shape[0], len(self._order)
        if n > before:
            new = np.arange(before, n, dtype=np.int32)
            n_groups = self._backend.kernels.quantized_groups(n)
            self._order, self._places = (extended(rows, n, new) for rows in (self._order, self._places))
            self._tiles, self._extents = (extended(rows, n_groups) for rows in (self._tiles, self._extents))
        self._round(items, np.unique(self._places[ids] // self._backend.kernels.QUANTIZED_GROUP))

    def _round(self, items: Any, groups: Int32Array) -> None:
        kernels, context = self._backend.kernels, self._backend.context
        kernels.quantize_items(context, items, self._order, groups, self._tiles, self._extents)


def extended(array: npt.NDArray[Any], n: int, values: Any = 0) -> npt.NDArray[Any]:
    """`array` with n rows, the new ones `values`; with room behind it, so that many small additions cost little."""
    before = len(array)
    base = array.base
    whole = base if isinstance(base, np.ndarray) and base.dtype == array.dtype and base.ndim == array.ndim else array
    if len(whole) < n or not whole.flags.writeable or whole.ctypes.data != array.ctypes.data:
        whole = np.empty((max(n, before + before // 2), *array.shape[1:]), array.dtype)
        whole[:before] = array
    out = whole[:n]
    out[before:] = values
    return out
