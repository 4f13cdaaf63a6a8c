"""A lock that many searches share and a change holds alone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Condition, Lock

__all__ = ["SharedLock"]


class SharedLock:
    """Held by any number of readers, or by one writer; a writer that waits is let in before further readers."""

    def __init__(self) -> None:
        self._mutex = Lock()
        self._condition = Condition(self._mutex)
        self._n_readers = 0
        self._n_waiting = 0
        self._is_writing = False
        self._shared, self._alone = _Shared(self), _Alone(self)

    def shared(self) -> AbstractContextManager[None]:
        """Hold it beside other readers."""
        return self._shared

    def alone(self) -> AbstractContextManager[None]:
        """Hold it alone."""
        return self._alone


class _Shared(AbstractContextManager[None]):
    """One object for all readers: a generator takes longer than the rest of a small search."""

    def __init__(self, lock: SharedLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock = self._lock
        with lock._mutex:
            while lock._is_writing or lock._n_waiting:
                lock._condition.wait()
            lock._n_readers += 1

    def __exit__(self, *raised: object) -> None:
        lock = self._lock
        with lock._mutex:
            lock._n_readers -= 1
            if lock._n_readers == 0 and lock._n_waiting:
                lock._condition.notify_all()


class _Alone(AbstractContextManager[None]):
    def __init__(self, lock: SharedLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock = self._lock
        with lock._mutex:
            lock._n_waiting += 1
            try:
                while lock._is_writing or lock._n_readers:
                    lock._condition.wait()
            finally:  # an interrupt may end the wait
                lock._n_waiting -= 1
                if not (lock._is_writing or lock._n_readers):
                    lock._condition.notify_all()
            lock._is_writing = True

    def __exit__(self, *raised: object) -> None:
        with self._lock._mutex:
            self._lock._is_writing = False
            self._lock._condition.notify_all()
