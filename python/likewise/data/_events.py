"""Events that name the same pair, merged into one entry without forgetting when each happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .csr import CSR, coordinate_order, offsets_of

__all__ = ["Duplicates", "EventLog", "Merged", "merge_events", "merge_sorted", "ranges"]

Duplicates = Literal["sum", "last", "error"]


@dataclass(frozen=True, slots=True, eq=False)
class EventLog:
    """The events behind the entries of a matrix: those of entry ``e`` are ``indptr[e]:indptr[e + 1]``, by time.

    Parameters
    ----------
    indptr : ndarray of shape (nnz + 1,), int64
        Offsets by entry.
    timestamps : ndarray of shape (n_events,), int64 or float64
        When each event happened; rises within an entry.
    values : ndarray of shape (n_events,), float32
        Value of each event.
    """

    indptr: npt.NDArray[np.int64]
    timestamps: npt.NDArray[Any]
    values: npt.NDArray[np.float32]

    def take(self, entries: npt.NDArray[Any]) -> EventLog:
        """Return the log of the entries named (numbers or a mask), in that order."""
        counts = np.diff(self.indptr)[entries]
        places = ranges(self.indptr[:-1][entries], counts)
        return EventLog(offsets_of(counts), self.timestamps[places], self.values[places])


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What `merge_events` makes: the matrix, a timestamp for each entry, and the log where entries were merged."""

    by_user: CSR
    timestamps: npt.NDArray[Any] | None
    log: EventLog | None


def merge_events(
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32] | None,
    timestamps: npt.NDArray[Any] | None,
    shape: tuple[int, int],
    duplicates: Duplicates,
    subject: str,
) -> Merged:
    """Sort events by pair and merge those of one pair.

    ``"sum"`` adds the values (in float64) and keeps the first timestamp: when the pair came to be. ``"last"`` keeps
    the value and timestamp of the latest event, of several at one time the one given last; without timestamps the one
    given last. ``"error"`` refuses.

    Parameters
    ----------
    rows, columns : ndarray of shape (n_events,), int32
        Row and column of each event, inside `shape`.
    values : ndarray of shape (n_events,), float32, or None
        None counts every event as 1.
    timestamps : ndarray of shape (n_events,), int64 or float64, or None
        When each happened, if that is known.
    shape : tuple of int
        Of the matrix.
    duplicates : {"sum", "last", "error"}
        What becomes of events of one pair, as above.
    subject : str
        What an error names first.

    Raises
    ------
    ValueError
        A pair stands twice under ``"error"``, or a sum leaves float32.
    """
    order = coordinate_order(rows, columns, shape)
    rows, columns = rows[order], columns[order]
    values = np.ones(rows.size, dtype=np.float32) if values is None else values[order]
    timestamps = None if timestamps is None else timestamps[order]
    opens = np.ones(rows.size + 1, dtype=bool)  # whether an event is the first of its pair; and past the last one
    opens[1:-1] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    log = None
    if not opens.all():
        if duplicates == "error":
            second = int(np.argmin(opens))
            places = sorted((int(order[second - 1]), int(order[second])))
            raise ValueError(
                f"{subject}: the pair at event {places[0]} stands again at event {places[1]}; "
                "pass duplicates='sum' or 'last', or drop one"
            )
        del order  # as long as the events, and so is most of what follows
        if timestamps is not None:
            values, timestamps = _by_time(opens[:-1], values, timestamps)
        offsets = np.flatnonzero(opens)
        if timestamps is not None:
            log = EventLog(offsets, timestamps, values)
        rows, columns = rows[offsets[:-1]], columns[offsets[:-1]]
        values, timestamps = merge_sorted(offsets, values, timestamps, duplicates)
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"{subject}: the values at ({rows[place]}, {columns[place]}) sum to more than float32 holds"
            )
    matrix = CSR(offsets_of(np.bincount(rows, minlength=shape[0])), columns, values, shape)
    return Merged(matrix, timestamps, log)


def merge_sorted(
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    timestamps: npt.NDArray[Any] | None,
    duplicates: Duplicates,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any] | None]:
    """Return one value and one timestamp for each run of events, none of them empty."""
    starts, ends = offsets[:-1], offsets[1:] - 1
    if duplicates == "last":
        return values[ends], None if timestamps is None else timestamps[ends]
    with np.errstate(over="ignore"):  # a sum beyond float32 becomes infinite, and the caller reports it by place
        sums = np.add.reduceat(values, starts, dtype=np.float64).astype(np.float32)
    return sums, None if timestamps is None else timestamps[starts]


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return ``starts[0], starts[0] + 1, ...`` (``counts[0]`` numbers), then those of ``starts[1]``, and so on."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()), dtype=np.int64)


def _by_time(
    opens: npt.NDArray[np.bool_], values: npt.NDArray[np.float32], timestamps: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Order the events of each pair by time, those of one time as they stand."""
    if not np.any((timestamps[1:] < timestamps[:-1]) & ~opens[1:]):
        return values, timestamps
    # Most pairs have one event: only the others are sorted.
    places = np.flatnonzero(~(opens & np.append(opens[1:], True)))
    sources = places[np.lexsort((timestamps[places], np.cumsum(opens[places])))]
    values, timestamps = values.copy(), timestamps.copy()
    values[places], timestamps[places] = values[sources], timestamps[sources]
    return values, timestamps
