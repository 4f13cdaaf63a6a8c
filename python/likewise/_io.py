"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_target", "whole_file"]


def check_target(path: str | os.PathLike[str], subject: str) -> Path:
    """Return `path`, links followed, if a file can stand there; to be asked before a long computation.

    Raises
    ------
    FileNotFoundError
        If its folder does not exist.
    OSError
        If something stands there that is not a file (a folder, a device).
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{subject}: there is no folder {str(target.parent)!r} to write to; make it first")
    if target.exists() and not target.is_file():
        raise OSError(f"{subject}: {str(path)!r} is not a file and cannot be replaced by one")
    return target


@contextmanager
def whole_file(path: str | os.PathLike[str], subject: str) -> Iterator[Path]:
    """Give a path beside `path` to write to; when the block ends well, what stands there takes the name `path`.

    After an error, or Ctrl-C, nothing new is left, and what stood at `path` before is untouched.

    Raises
    ------
    OSError
        If the file cannot be written; as `check_target` besides.
    """
    target = check_target(path, subject)
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # a long name has no room for more
    try:
        # The umask, which can only be read by setting it for the whole process, is applied by the system here.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise OSError(error.errno, f"{subject}: {error.strerror}", os.fspath(path)) from None
    mode = part.stat().st_mode
    try:
        yield part
        part.chmod(mode)  # safetensors puts a file of its own there, which nobody else may read
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
