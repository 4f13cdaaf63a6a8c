"""A lock that many searches share and a change holds alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

__all__ = ["SharedLock"]


class SharedLock:
    """Held by any number of readers, or by one writer; a writer that waits is let in before further readers."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._n_readers = 0
        self._n_waiting = 0
        self._is_writing = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it beside other readers."""
        with self._condition:
            while self._is_writing or self._n_waiting:
                self._condition.wait()
            self._n_readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._n_readers -= 1
                if self._n_readers == 0:
                    self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold it alone."""
        with self._condition:
            self._n_waiting += 1
            try:
                while self._is_writing or self._n_readers:
                    self._condition.wait()
            finally:  # an interrupt may end the wait
                self._n_waiting -= 1
                if not (self._is_writing or self._n_readers):
                    self._condition.notify_all()
            self._is_writing = True
        try:
            yield
        finally:
            with self._condition:
                self._is_writing = False
                self._condition.notify_all()
