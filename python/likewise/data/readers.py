"""Interactions from files: CSV, Parquet, and the layouts of MovieLens."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import mmap
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import narwhals as nw
import numpy as np
import numpy.typing as npt

from ._events import Duplicates
from ._frames import FrameLibrary, FrameTable, frame_library, usual_columns
from ._time import TimeUnit, as_timestamps
from .ids import CodedIds
from .interactions import Interactions

__all__ = ["read_csv", "read_movielens", "read_parquet"]

_logger = logging.getLogger(__name__)

_AUTO = "auto"

_SEPARATORS = (",", "\t", ";", "|")

# Types are taken from all lines and not from the first ones: ids may be numbers for a thousand lines and then not.
# Only an empty cell is null, so that NA may be an id.
_CSV_OPTIONS: dict[FrameLibrary, dict[str, Any]] = {
    "polars": {"infer_schema_length": None},
    "pandas": {"low_memory": False, "keep_default_na": False, "na_values": [""]},
    "pyarrow": {},
}

_INTEGER = re.compile(r"[+-]?\d{1,18}")
# An id such as 007 is not 7: it is a string.
_LEADING_ZERO = re.compile(r"^\s*[+-]?0\d")
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")

# From here on float64 does not hold every whole number.
_MAX_WHOLE = 2.0**53


def read_csv(
    path: str | os.PathLike[str],
    *,
    user: str = _AUTO,
    item: str = _AUTO,
    value: str | None = _AUTO,
    timestamp: str | None = _AUTO,
    duplicates: Duplicates = "sum",
    separator: str | None = None,
    library: str | None = None,
) -> Interactions:
    """Read interactions from a CSV file with a header line, one event a line.

    Parameters
    ----------
    path : str or path
        The file; a name that ends in ``.gz`` is unpacked.
    user, item : str, default="auto"
        Columns of ids. ``"auto"`` looks for a usual name, such as ``user``, ``userId``, ``customer_id``, ``item``,
        ``movieId`` or ``product``. Whole numbers written with a decimal point, as pandas writes ``12346.0`` once a cell
        of the column was empty, are taken for integers. A column with a number such as ``007`` is one of strings.
    value, timestamp : str or None, default="auto"
        Columns of numbers, and of dates in ISO 8601 or numbers. ``"auto"`` looks for a usual name, such as ``rating``,
        ``quantity``, ``timestamp`` or ``date``, and goes without where there is none; None goes without.
    duplicates : {"sum", "last", "error"}, default="sum"
        What several lines of one pair become, as in `Interactions.from_frame`.
    separator : str, default=None
        One character; None takes the one of ``, tab ; |`` that is most frequent in the header line.
    library : {"polars", "pandas", "pyarrow"}, default=None
        Who reads the file. None takes the first of them that is installed, and without any a slower reader that needs
        none.

    Returns
    -------
    Interactions

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        Ids have a fraction, or a decimal point and 2**53 or more; values are not numbers.
    ValueError
        A column is not found, a cell is empty, or what `Interactions.from_frame` refuses.
    ImportError
        `library` is not installed.

    Examples
    --------
    >>> from likewise.data import read_csv
    >>> data = read_csv("purchases.csv", user="customer", value=None)  # doctest: +SKIP
    """
    subject = "read_csv"
    _check_file(Path(path), subject)
    table = _csv_table(Path(path), subject, separator, library)
    roles = _find_columns(subject, table.names, user, item, value, timestamp)
    return Interactions._from_table(subject, table, **roles, duplicates=duplicates)


def read_parquet(
    path: str | os.PathLike[str],
    *,
    user: str = _AUTO,
    item: str = _AUTO,
    value: str | None = _AUTO,
    timestamp: str | None = _AUTO,
    duplicates: Duplicates = "sum",
    library: str | None = None,
) -> Interactions:
    """Read interactions from a Parquet file, one event a row.

    Parameters
    ----------
    path : str or path
        The file.
    user, item, value, timestamp, duplicates
        As in `read_csv`.
    library : {"polars", "pyarrow", "pandas"}, default=None
        Who reads the file; None takes the first of them that is installed.

    Returns
    -------
    Interactions

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImportError
        `library`, or each of them, is not installed.
    ValueError
        The file is damaged, a column is not found, or what `Interactions.from_frame` refuses.

    Examples
    --------
    >>> from likewise.data import read_parquet
    >>> data = read_parquet("plays.parquet", timestamp=None)  # doctest: +SKIP
    """
    subject = "read_parquet"
    _check_file(Path(path), subject)
    chosen = frame_library(subject, library, order=("polars", "pyarrow", "pandas"))
    try:
        lazy = nw.scan_parquet(os.fspath(path), backend=chosen)
        names = lazy.collect_schema().names()
    except Exception as error:  # each library has errors of its own
        raise ValueError(f"{subject}: {os.fspath(path)} is damaged or no Parquet file ({error})") from error
    roles = _find_columns(subject, names, user, item, value, timestamp)
    # Only the columns in use leave the file.
    needed = lazy.select(*dict.fromkeys(column for column in roles.values() if column is not None))
    return Interactions._from_table(subject, _FileTable(needed, subject), **roles, duplicates=duplicates)


def read_movielens(path: str | os.PathLike[str]) -> Interactions:
    """Read a MovieLens data set that you have: its folder, its zip file as downloaded, or its ratings file.

    Knows the layouts of ML-100K (``u.data``), ML-1M and ML-10M (``ratings.dat``), and ML-20M and later
    (``ratings.csv``). MovieLens may not be passed on, so the package neither ships nor downloads it.

    Parameters
    ----------
    path : str or path
        Folder, zip file, or one of the files named above. The table of movies is looked for beside the ratings.

    Returns
    -------
    Interactions
        Users and movies by their numbers (int64), ratings as values, seconds as timestamps. Where the table of movies
        is there, ``item_info["title"]`` and ``item_info["genres"]`` (joined by ``|``), empty for movies it leaves out.

    Raises
    ------
    FileNotFoundError
        There is no such file, or no ratings in it.
    ValueError
        A line is damaged.

    References
    ----------
    Harper and Konstan (2015). The MovieLens Datasets: History and Context. ACM Transactions on Interactive Intelligent
    Systems 5(4). doi:10.1145/2827872

    Examples
    --------
    >>> from likewise.data import read_movielens
    >>> data = read_movielens("ml-1m.zip")  # doctest: +SKIP
    """
    subject = "read_movielens"
    files = _files_of(Path(path), subject)
    if "u.data" in files:
        ratings, movies = _with_header(files["u.data"](), b"\t"), _movies_100k
    elif "ratings.dat" in files:
        ratings, movies = _with_header(files["ratings.dat"](), b"::"), _movies_dat
    elif "ratings.csv" in files:
        ratings, movies = files["ratings.csv"](), _movies_csv
    else:
        raise FileNotFoundError(f"{subject}: no u.data, ratings.dat or ratings.csv in {os.fspath(path)}")
    table = _csv_table(ratings, subject, None, None)
    roles = _find_columns(subject, table.names, _AUTO, _AUTO, _AUTO, _AUTO)
    seconds, _ = table.times(str(roles["timestamp"]))
    data = Interactions._from_ids(
        subject,
        table.ids(str(roles["user"]), "user"),
        table.ids(str(roles["item"]), "item"),
        table.values(str(roles["value"])),
        seconds * 10**9,
        "ns",
        "last",
    )
    known = movies(files)
    if not known:
        return data
    return data.with_info(
        item_info={
            name: np.array([known.get(label, ("", ""))[place] for label in data.item_map.labels.tolist()], dtype=object)
            for place, name in enumerate(("title", "genres"))
        }
    )


# ---------------------------------------------------------------------- columns


def _find_columns(
    subject: str, names: list[str], user: str, item: str, value: str | None, timestamp: str | None
) -> dict[str, Any]:
    """Return the column of each role; None for a value or timestamp that is not wanted or not there."""
    usual = usual_columns(names)
    found: dict[str, str | None] = {}
    for role, column in {"user": user, "item": item, "value": value, "timestamp": timestamp}.items():
        if column == _AUTO and column not in names:
            found[role] = usual.get(role)
        else:
            found[role] = column
        if found[role] is None and role in ("user", "item"):
            raise ValueError(f"{subject}: no {role} column found among {names}; say which it is ({role})")
    # A column that was found by its name decides what a model learns: whoever listens is told.
    _logger.info("columns: %s", ", ".join(f"{role} {column!r}" for role, column in found.items() if column is not None))
    return found


class _FileTable(FrameTable):
    """A table read from a file, whose ids may have become floats on the way there."""

    def ids(self, column: str, role: str) -> npt.NDArray[Any] | CodedIds:
        ids = super().ids(column, role)
        return ids if isinstance(ids, CodedIds) or ids.dtype.kind != "f" else _as_whole(ids, self._subject, role)


class _CsvTable(_FileTable):
    """A table read from a CSV file, where an empty cell is null also in a column of strings.

    `reread` reads one column anew, as strings.
    """

    def __init__(self, frame: Any, subject: str, reread: Callable[[str], nw.Series[Any]] | None) -> None:
        super().__init__(frame, subject)
        self._reread = reread
        # Readers disagree about blank lines.
        self._frame = self._frame.filter(~nw.all_horizontal(nw.all().is_null(), ignore_nulls=False))

    def ids(self, column: str, role: str) -> npt.NDArray[Any] | CodedIds:
        ids = super().ids(column, role)
        if self._reread is None or isinstance(ids, CodedIds) or ids.dtype.kind not in "iuf":
            return ids
        cells = self._reread(column)
        if not cells.str.contains(_LEADING_ZERO.pattern).any():
            return ids
        return FrameTable(cells.to_frame(), self._subject).ids(column, role)

    def _null(self, series: nw.Series[Any]) -> nw.Series[Any]:
        null = series.is_null()
        return null | (series == "") if isinstance(series.dtype, nw.String) else null


def _as_whole(ids: npt.NDArray[np.floating[Any]], subject: str, role: str) -> npt.NDArray[Any]:
    """Return ids that were written with a decimal point as integers, NaN apart, which is null and reported as such.

    pandas writes a column of integers so once a cell of it was empty.
    """
    whole = (np.abs(ids) < _MAX_WHOLE) & (ids == np.trunc(ids))
    if whole.all():
        return ids.astype(np.int64)
    if np.isnan(ids).any():
        return ids
    row = int(np.argmin(whole))
    raise TypeError(
        f"{subject}: {role} ids with a decimal point must be whole numbers below 2**53, got {ids[row]} at row {row}; "
        "name another column, or write them as integers or strings"
    )


class _PlainTable:
    """What `FrameTable` is, without a data frame library: columns of strings, made numbers where all of them are."""

    def __init__(self, columns: Mapping[str, list[str]], subject: str) -> None:
        self._columns = columns
        self._subject = subject

    @property
    def names(self) -> list[str]:
        return list(self._columns)

    def ids(self, column: str, role: str) -> npt.NDArray[Any]:
        cells = self._not_empty(column, f"{role} id")
        has_names = any(map(_LEADING_ZERO.match, cells))
        if not has_names and all(map(_INTEGER.fullmatch, cells)):
            return np.array(cells, dtype=np.int64)
        if not has_names and all(_INTEGER.fullmatch(cell) or _DECIMAL.fullmatch(cell) for cell in cells):
            return _as_whole(np.array(cells, dtype=np.float64), self._subject, role)
        labels = np.empty(len(cells), dtype=object)
        labels[:] = cells
        return labels

    def values(self, column: str) -> npt.NDArray[Any]:
        cells = self._not_empty(column, "value")
        try:
            return np.array(cells, dtype=np.float64)
        except ValueError as error:
            raise TypeError(f"{self._subject}: value column {column!r} must be numeric: {error}") from error

    def times(self, column: str) -> tuple[npt.NDArray[Any], TimeUnit]:
        cells = self._not_empty(column, "timestamp")
        if all(map(_INTEGER.fullmatch, cells)):
            return as_timestamps(np.array(cells, dtype=np.int64), self._subject)
        try:
            return as_timestamps(np.array(cells, dtype=np.float64), self._subject)
        except ValueError:
            return as_timestamps(np.array(cells, dtype=object), self._subject)

    def _not_empty(self, column: str, what: str) -> list[str]:
        cells = self._columns[column]
        if "" in cells:
            raise ValueError(f"{self._subject}: {what} at row {cells.index('')} is null; drop such rows")
        return cells


# ---------------------------------------------------------------------- files


def _check_file(path: Path, subject: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{subject}: there is no file {os.fspath(path)}")


def _csv_table(
    source: Path | bytes, subject: str, separator: str | None, library: str | None
) -> _CsvTable | _PlainTable:
    """Open a CSV file, or its content, with the library at hand."""
    if isinstance(source, Path) and source.suffix.lower() == ".gz":
        source = _unpacked(source, subject)
    with _opened(source) as file:
        header = _decoded(file.readline(), subject)
    if not header.strip():
        raise ValueError(f"{subject}: the file is empty; it needs a header line")
    if separator is None:
        separator = max(_SEPARATORS, key=header.count)
    elif not isinstance(separator, str) or len(separator) != 1:
        raise ValueError(f"{subject}: separator must be one character, got {separator!r}")
    try:
        chosen = frame_library(subject, library, order=("polars", "pandas", "pyarrow"))
    except ImportError:
        if library is not None:
            raise
        return _PlainTable(_cells(source, separator, subject), subject)
    file_or_name: Any = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
    try:
        frame = nw.read_csv(file_or_name, backend=chosen, separator=separator, **_CSV_OPTIONS[chosen])
    except Exception:
        # Each library has errors of its own, for ragged lines or (pyarrow) for types that change after the first block.
        # The plain reader reads the file all the same, or names the row.
        return _PlainTable(_cells(source, separator, subject), subject)
    reread = None
    if _may_have_leading_zeros(source, separator):

        def reread(column: str) -> nw.Series[Any]:
            again: Any = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
            found = nw.read_csv(again, backend=chosen, separator=separator, **_one_column(chosen, column))
            cells = found[column]
            return cells.filter(~(cells.is_null() | (cells == "")))

    return _CsvTable(frame, subject, reread)


def _unpacked(path: Path, subject: str) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{subject}: {os.fspath(path)} is damaged or not compressed by gzip ({error})") from error


def _one_column(library: FrameLibrary, column: str) -> dict[str, Any]:
    """Options to read one column as strings."""
    if library == "polars":
        return {"columns": [column], "infer_schema": False}
    if library == "pandas":
        return _CSV_OPTIONS["pandas"] | {"usecols": [column], "dtype": str}
    import pyarrow as pa
    from pyarrow.csv import ConvertOptions

    return {"convert_options": ConvertOptions(include_columns=[column], column_types={column: pa.string()})}


def _may_have_leading_zeros(source: Path | bytes, separator: str) -> bool:
    """Whether a cell of any column begins as _LEADING_ZERO says; most files have none, and need no second look."""
    pattern = re.compile(rb"(?:[\r\n\"]|" + re.escape(separator.encode()) + rb")\s*[+-]?0\d")
    if isinstance(source, bytes):
        return pattern.search(source) is not None
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None


def _decoded(content: bytes, subject: str) -> str:
    try:
        return content.decode("utf-8-sig")  # without the byte order mark, which would be part of the first name
    except UnicodeDecodeError as error:
        raise ValueError(f"{subject}: the file is not UTF-8 ({error}); convert it first") from error


def _opened(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


def _cells(source: Path | bytes, separator: str, subject: str) -> dict[str, list[str]]:
    with _opened(source) as file:
        reader = csv.reader(io.StringIO(_decoded(file.read(), subject), newline=""), delimiter=separator)
    names = next(reader)
    lines = [line for line in reader if any(line)]
    for row, line in enumerate(lines):
        if len(line) != len(names):
            raise ValueError(f"{subject}: row {row} has {len(line)} cells, but the header has {len(names)}")
    columns: Iterable[Iterable[str]] = zip(*lines, strict=True) if lines else ([] for _ in names)
    return {name: list(column) for name, column in zip(names, columns, strict=True)}


def _files_of(path: Path, subject: str) -> dict[str, Callable[[], bytes]]:
    """Return how to read each file of a folder (and the folders in it), of a zip file, or beside a file."""
    if path.is_dir():
        return {entry.name: entry.read_bytes for entry in (*path.glob("*/*"), *path.iterdir()) if entry.is_file()}
    _check_file(path, subject)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        return {Path(member).name: _reader_of(path, member) for member in members}
    movies = {name: (path.parent / name).read_bytes for name in _MOVIES if (path.parent / name).is_file()}
    return {**movies, path.name: path.read_bytes}


def _reader_of(path: Path, member: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)

    return read


# ---------------------------------------------------------------------- MovieLens

_MOVIES = ("u.item", "movies.dat", "movies.csv")
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)

_Files = Mapping[str, Callable[[], bytes]]
_Movies = dict[int, tuple[str, str]]


def _with_header(ratings: bytes, separator: bytes) -> bytes:
    return b"user\titem\trating\ttimestamp\n" + ratings.replace(separator, b"\t")


def _text(content: bytes) -> str:
    """Decode a table of movies: UTF-8 in the later sets, Latin-1 in the earlier ones."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _movies_100k(files: _Files) -> _Movies:
    if "u.item" not in files:
        return {}
    movies = {}
    for line in _text(files["u.item"]()).splitlines():
        cells = line.split("|")
        marks = zip(_GENRES_100K, cells[5:], strict=False)
        movies[int(cells[0])] = (cells[1], "|".join(genre for genre, mark in marks if mark == "1"))
    return movies


def _movies_dat(files: _Files) -> _Movies:
    if "movies.dat" not in files:
        return {}
    lines = (line.split("::") for line in _text(files["movies.dat"]()).splitlines())
    return {int(movie): (title, genres) for movie, title, genres in lines}


def _movies_csv(files: _Files) -> _Movies:
    if "movies.csv" not in files:
        return {}
    rows = csv.DictReader(io.StringIO(_text(files["movies.csv"]()), newline=""))
    return {int(row["movieId"]): (row["title"], row["genres"]) for row in rows}
