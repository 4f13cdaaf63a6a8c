"""Model files: one safetensors file, its header carrying JSON. Never pickle, never half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from likewise._io import whole_file
from likewise.exceptions import ModelFileError

__all__ = ["FORMAT_VERSION", "read_model_file", "write_model_file"]

FORMAT_VERSION = 1
_KEY = "likewise"


def write_model_file(path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write `arrays` and a JSON `header`; the file appears under its name only when it is whole.

    Raises
    ------
    OSError
        If the file cannot be written; what stood there before is untouched.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **header}, allow_nan=False)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole_file(path, "save") as part:
        save_file(whole, str(part), metadata={_KEY: text})


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
    try:
        header = json.loads(metadata[_KEY])
        version = header["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"load: the header of {target.name!r} is damaged") from error
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"load: {target.name!r} has format {version}, this version of likewise reads {FORMAT_VERSION}; upgrade it"
        )
    return header, arrays
