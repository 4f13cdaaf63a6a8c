"""Errors and warnings that have a name of their own; everything else is a standard Python one."""

from __future__ import annotations

__all__ = ["BackendUnavailableError", "LeakageWarning", "ModelFileError"]


class BackendUnavailableError(RuntimeError):
    """The requested device, build or kernel variant does not exist here; the message says how to get one."""


class LeakageWarning(UserWarning):
    """A split gives train what happened after what is asked for in test."""


class ModelFileError(ValueError):
    """A model file is damaged, truncated or was not written by likewise; nothing was loaded."""
