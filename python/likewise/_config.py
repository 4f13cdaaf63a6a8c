"""What this installation is made of: versions, instruction sets, threads and CUDA."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from . import _core
from ._backend import available_cpus, cuda_status, simd_in_use
from ._validation import check_choice

__all__ = ["show_config"]

_DEPENDENCIES = ("numpy", "scipy", "scikit-learn", "threadpoolctl", "safetensors", "narwhals", "tqdm")
_OPTIONAL = (
    "torch", "cupy-cuda12x", "cupy-cuda13x", "pandas", "polars", "pyarrow", "matplotlib", "optuna", "usearch",
    "faiss-cpu", "hnswlib",
)  # fmt: skip


def show_config(mode: str = "print") -> dict[str, Any] | None:
    """Print, or return, what this installation is made of.

    Parameters
    ----------
    mode : {"print", "dict"}, default="print"
        Whether to print a page for people, as belongs into a bug report, or to return it as a dictionary.

    Returns
    -------
    config : dict or None
        With ``mode="dict"``: ``"likewise"`` and ``"python"`` (versions), ``"platform"``, ``"simd"`` (the instruction
        set in use and those available), ``"threads"`` (what ``n_jobs=None`` means here), ``"cuda"`` (``"available"``
        or what is missing), ``"dependencies"`` and ``"optional"`` (versions, None where not installed).

    Raises
    ------
    ValueError
        If `mode` is neither, or the environment variable ``LIKEWISE_SIMD`` names no usable instruction set.

    Examples
    --------
    >>> import likewise as lw
    >>> config = lw.show_config(mode="dict")
    >>> config["simd"]["in_use"] in config["simd"]["available"]
    True
    """
    if check_choice("show_config", "mode", mode, ("print", "dict")) == "dict":
        return _config()
    print(_as_text(_config()))
    return None


def _config() -> dict[str, Any]:
    from likewise import __version__

    return {
        "likewise": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "simd": {"in_use": simd_in_use(), "available": _core.available_simd()},
        "threads": available_cpus(),
        "cuda": cuda_status(),
        "dependencies": {name: _version(name) for name in _DEPENDENCIES},
        "optional": {name: _version(name) for name in _OPTIONAL},
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _as_text(config: dict[str, Any]) -> str:
    simd = config["simd"]
    rows = [
        ("likewise", config["likewise"]),
        ("python", config["python"]),
        ("platform", config["platform"]),
        ("instructions", f"{simd['in_use']} (available: {', '.join(simd['available'])}; LIKEWISE_SIMD forces one)"),
        ("threads", f"{config['threads']} (n_jobs=None)"),
        ("CUDA", config["cuda"]),
        ("", ""),
        *((name, version or "not installed") for name, version in config["dependencies"].items()),
        ("", ""),
        *((name, version or "not installed") for name, version in config["optional"].items()),
    ]
    return "\n".join(f"{name:<14} {value}".rstrip() for name, value in rows)
