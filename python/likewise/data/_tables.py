"""Tables written a block of rows at a time: CSV by the standard library, Parquet and Arrow files by pyarrow."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import numpy.typing as npt

from likewise._io import check_target
from likewise._validation import check_choice

from ._frames import plain_column

__all__ = ["TABLE_SUFFIXES", "TableFormat", "check_table", "open_table", "write_csv"]

TableFormat = Literal["parquet", "arrow", "csv"]
Columns = Mapping[str, npt.NDArray[Any]]

_FORMATS: tuple[TableFormat, ...] = ("parquet", "arrow", "csv")
_FORMAT_OF: dict[str, TableFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
}
TABLE_SUFFIXES = tuple(_FORMAT_OF)

# Rows of a CSV file that are Python objects at a time.
_CSV_ROWS = 1 << 14


def check_table(path: str | os.PathLike[str], table_format: str | None, subject: str) -> TableFormat:
    """Return the format of a table to be written to `path`; to be asked before a long computation.

    Parameters
    ----------
    path : path-like
        Its suffix names the format where `table_format` does not; without a suffix it is Parquet.
    table_format : {"parquet", "arrow", "csv"}, default=None
    subject : str
        What an error names first.

    Raises
    ------
    ValueError
        If the format, or the suffix that should name it, is unknown.
    ImportError
        If pyarrow is needed and not installed.
    OSError
        If no file can stand at `path`; as `check_target`.
    """
    suffix = Path(path).suffix.lower() or ".parquet"
    if table_format is not None:
        chosen = cast(TableFormat, check_choice(subject, "format", table_format, _FORMATS))
    elif suffix in _FORMAT_OF:
        chosen = _FORMAT_OF[suffix]
    else:
        raise ValueError(
            f"{subject}: path must end in one of {', '.join(TABLE_SUFFIXES)}, got {os.fspath(path)!r}; "
            f"or give format= one of {', '.join(map(repr, _FORMATS))}"
        )
    if chosen != "csv" and importlib.util.find_spec("pyarrow") is None:
        raise ImportError(
            f"{subject}: {chosen} files are written by pyarrow, which is not installed; install it, or write .csv"
        )
    check_target(path, subject)
    return chosen


@contextmanager
def open_table(path: Path, table_format: TableFormat, like: Columns) -> Iterator[Callable[[Columns], None]]:
    """Give a function that appends columns of one length to a new table at `path`.

    Parameters
    ----------
    path : Path
    table_format : {"parquet", "arrow", "csv"}
    like : dict of str to ndarray of shape (0,)
        Names and dtypes of the columns, whatever blocks follow. Objects are written as strings.
    """
    if table_format == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(like, file)
            yield lambda columns: write_csv(columns, file, header=False)
        return
    import pyarrow as pa

    schema = pa.schema(
        (name, pa.string() if column.dtype == object else pa.from_numpy_dtype(column.dtype))
        for name, column in like.items()
    )
    with _arrow_writer(path, table_format, schema) as writer:

        def write(columns: Columns) -> None:
            table = pa.table({name: plain_column(columns[name]) for name in schema.names}, schema=schema)
            if table.num_rows:
                writer.write_table(table, table.num_rows)  # one row group, or record batch, for each block

        yield write


def _arrow_writer(path: Path, table_format: TableFormat, schema: Any) -> Any:
    if table_format == "parquet":
        from pyarrow.parquet import ParquetWriter

        return ParquetWriter(str(path), schema)
    from pyarrow.ipc import new_file

    return new_file(str(path), schema)


def write_csv(columns: Columns, file: TextIO, *, header: bool = True) -> None:
    """Write columns of one length to an open file, after their names if `header` says so."""
    writer = csv.writer(file, lineterminator="\n")
    if header:
        writer.writerow(columns)
    n_rows = len(next(iter(columns.values())))
    for start in range(0, n_rows, _CSV_ROWS):
        rows = (column[start : start + _CSV_ROWS] for column in columns.values())
        # Of a float the digits that float32 has; ids and counts as they are.
        cells = ([f"{x:.7g}" for x in part.tolist()] if part.dtype.kind == "f" else part.tolist() for part in rows)
        writer.writerows(zip(*cells, strict=True))
