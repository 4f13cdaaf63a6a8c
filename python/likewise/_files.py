"""Files of models and of indexes: one safetensors file, its header carrying JSON. Never pickle, never half-written."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from likewise._io import whole_file
from likewise.exceptions import ModelFileError

__all__ = ["FORMAT_VERSION", "INDEXES", "check_class", "map_model_file", "read_model_file", "write_model_file"]

FORMAT_VERSION = 1
_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
# Classes that read their own files; `likewise.load` reads those of models.
INDEXES = ("ApproximateIndex", "ExactIndex")
_KEY, _CHECKSUM_KEY = "likewise", "likewise_crc32"


def write_model_file(path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write `arrays` and a JSON `header`; the file appears under its name only when it is whole.

    Raises
    ------
    OSError
        If the file cannot be written; what stood there before is untouched.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **header}, allow_nan=False)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {_KEY: text, _CHECKSUM_KEY: _checksum(text, whole)}
    with whole_file(path, "save") as part:
        try:
            save_file(whole, str(part), metadata=metadata)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(f"save: {str(path)!r} could not be written ({error})") from error


def read_model_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return the header and the arrays of a model file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is truncated, damaged, of a newer format, or not one of ours.
    """
    target = Path(path)
    if not target.is_file():
        raise FileNotFoundError(f"load: there is no file {str(path)!r}")
    try:
        with safe_open(str(target), framework="numpy") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            arrays = {name: file.get_tensor(name) for name in names} if _KEY in metadata else {}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelFileError(f"load: {target.name!r} is damaged, truncated or no model file ({error})") from error
    if _KEY not in metadata:
        raise ModelFileError(f"load: {target.name!r} is a safetensors file, but likewise did not write it")
    header = _header(metadata, target.name)
    if metadata.get(_CHECKSUM_KEY) != _checksum(metadata[_KEY], arrays):
        raise ModelFileError(f"load: {target.name!r} is damaged, its checksum is not that of its content")
    return header, arrays


def map_model_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return the header and the arrays of a file of ours, mapped and read-only. The checksum is not looked at.

    Raises
    ------
    FileNotFoundError, ModelFileError
        As `read_model_file`.
    """
    target = Path(path)
    if not target.is_file():
        raise FileNotFoundError(f"load: there is no file {str(path)!r}")
    try:
        with safe_open(str(target), framework="numpy") as file:  # which checks that the parts are where they should be
            metadata = file.metadata() or {}
        with target.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            parts = json.loads(stream.read(size))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelFileError(f"load: {target.name!r} is damaged, truncated or no model file ({error})") from error
    if _KEY not in metadata:
        raise ModelFileError(f"load: {target.name!r} is a safetensors file, but likewise did not write it")
    arrays = {}
    for name, part in parts.items():
        if name == "__metadata__":
            continue
        if part["dtype"] not in _DTYPES:
            raise ModelFileError(f"load: {target.name!r} holds {part['dtype']} numbers, which likewise does not write")
        dtype, shape = np.dtype(_DTYPES[part["dtype"]]), tuple(part["shape"])
        if 0 in shape:  # nothing to map
            arrays[name] = np.empty(shape, dtype)
        else:
            arrays[name] = np.memmap(target, dtype, "r", 8 + size + part["data_offsets"][0], shape)
    return _header(metadata, target.name), arrays


def check_class(header: Mapping[str, Any], name: str) -> None:
    """Raise ``ModelFileError`` where the file of this header holds something else than an index of this class."""
    kind = header.get("class")
    if kind != name:
        reader = f"{kind}.load" if kind in INDEXES else "likewise.load"
        raise ModelFileError(f"load: the file holds no {name} but {kind!r}; {reader} reads it")


def _header(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """The JSON header of a file of ours, if this version reads it."""
    try:
        header: dict[str, Any] = json.loads(metadata[_KEY])
        version = header["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"load: the header of {name!r} is damaged") from error
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"load: {name!r} has format {version}, this version of likewise reads {FORMAT_VERSION}; upgrade it"
        )
    return header


def _checksum(header: str, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """CRC-32 of the header and of every array with its name, dtype and shape."""
    crc = zlib.crc32(header.encode())
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.data, crc)
    return f"{crc:08x}"
