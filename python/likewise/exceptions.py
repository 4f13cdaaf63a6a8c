"""Errors that have a name of their own; everything else is a standard Python error."""

from __future__ import annotations

__all__ = ["BackendUnavailableError", "ModelFileError"]


class BackendUnavailableError(RuntimeError):
    """The requested device, build or kernel variant does not exist here; the message says how to get one."""


class ModelFileError(ValueError):
    """A model file is damaged, truncated or was not written by likewise; nothing was loaded."""
