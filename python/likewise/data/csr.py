"""The one sparse type: compressed rows with int64 offsets, int32 ids and float32 values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._validation import check_rows

__all__ = ["CSR", "check_finite", "check_shape", "coordinate_order", "read_only", "stable_order"]

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

_DTYPES = (("indptr", np.dtype(np.int64)), ("indices", np.dtype(np.int32)), ("values", np.dtype(np.float32)))

# Row and column ids are int32, so a side has at most 2**31 - 1 of them.
_MAX_SIDE = 2**31 - 1

# Checks of whole arrays go block by block, so that their temporaries stay in cache.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CSR:
    """A matrix in compressed sparse rows, as every kernel reads it.

    The column ids of a row are sorted and distinct. Arrays are C-contiguous and read-only; they may be views of
    arrays that a caller owns, who must then leave them alone while the matrix is in use.

    The constructor looks at dtypes, lengths and ends only. Arrays that are not known to be good go through
    `from_arrays`, which looks at every entry.

    Parameters
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
        Row ``i`` is stored at positions ``indptr[i]:indptr[i + 1]``.
    indices : ndarray of shape (nnz,), int32
        Column ids.
    values : ndarray of shape (nnz,), float32
        Stored values, all finite. A stored zero stays an entry.
    shape : tuple of int
        ``(n_rows, n_cols)``, each below 2**31.

    Raises
    ------
    TypeError
        An array has another dtype.
    ValueError
        The lengths, the ends of `indptr` and `shape` do not fit together.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from likewise.data import CSR
    >>> matrix = CSR.from_scipy(sp.csr_array(np.array([[0, 2.0], [1.0, 3.0]])))
    >>> matrix
    CSR(2 x 2, 3 stored)
    >>> matrix.row(1)
    (array([0, 1], dtype=int32), array([1., 3.], dtype=float32))
    """

    indptr: Int64Array
    indices: Int32Array
    values: Float32Array
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        n_rows, n_cols = check_shape("CSR", self.shape)
        for name, dtype in _DTYPES:
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise TypeError(f"CSR: {name} must be a one-dimensional {dtype.name} array, got {_kind(array)}")
            object.__setattr__(self, name, read_only(array))
        indptr, nnz = self.indptr, self.indices.size
        if indptr.size != n_rows + 1:
            raise ValueError(f"CSR: indptr must have n_rows + 1 = {n_rows + 1} entries, got {indptr.size}")
        if nnz != self.values.size:
            raise ValueError(f"CSR: {nnz} indices but {self.values.size} values")
        if indptr[0] != 0 or indptr[-1] != nnz:
            raise ValueError(f"CSR: indptr must run from 0 to {nnz}, got {indptr[0]} to {indptr[-1]}")
        object.__setattr__(self, "shape", (n_rows, n_cols))

    @classmethod
    def from_arrays(
        cls,
        indptr: npt.ArrayLike,
        indices: npt.ArrayLike,
        values: npt.ArrayLike,
        shape: tuple[int, int],
        *,
        subject: str = "CSR.from_arrays",
    ) -> CSR:
        """Check every entry of three CSR arrays and hold them, without a copy where dtype and order fit.

        Parameters
        ----------
        indptr, indices : array-like of int
            Offsets and column ids of any integer dtype; ids of a row in any order.
        values : array-like of real numbers
            Entries that name the same pair are summed.
        shape : tuple of int
            ``(n_rows, n_cols)``.
        subject : str, default="CSR.from_arrays"
            What an error names first.

        Raises
        ------
        ValueError
            `indptr` does not rise from 0 to at most nnz, an id is outside its range, or a value is NaN, infinite
            or beyond float32; the message says where the first one is.
        """
        matrix = cls._from_unchecked(subject, "column", indptr, indices, values, shape)
        check_finite(subject, matrix)
        return matrix

    @classmethod
    def _from_unchecked(
        cls,
        subject: str,
        name: str,
        indptr: npt.ArrayLike,
        indices: npt.ArrayLike,
        values: npt.ArrayLike,
        shape: tuple[int, int],
    ) -> CSR:
        """Check and convert all but the finiteness of the values; `name` is what the ids count."""
        shape = check_shape(subject, shape)
        given_offsets, given_ids = _as_integers(subject, "indptr", indptr), _as_integers(subject, "indices", indices)
        given_values = np.asarray(values)
        offsets = np.ascontiguousarray(given_offsets, dtype=np.int64)
        if offsets.size != shape[0] + 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
            raise ValueError(f"{subject}: indptr must rise from 0 and have {shape[0] + 1} entries")
        nnz = int(offsets[-1])
        if nnz > min(given_ids.size, given_values.size):
            raise ValueError(
                f"{subject}: indptr ends at {nnz}, but there are {given_ids.size} ids and {given_values.size} values"
            )
        ids = _as_ids(subject, name, given_ids[:nnz], shape[1])
        numbers = _as_float32(subject, given_values[:nnz])
        if not _is_canonical(offsets, ids):
            ids = _own(ids, given_ids)
            numbers = _own(numbers, given_values)
            offsets, ids, numbers = _sort_and_sum(offsets, ids, numbers, shape)
        return cls(offsets, ids, numbers, shape)

    @classmethod
    def from_scipy(cls, X: Any, *, subject: str = "CSR.from_scipy") -> CSR:
        """Convert a scipy sparse matrix or array of any format, value dtype and index dtype.

        A float32 CSR with sorted, distinct int32 ids is held without a copy (its offsets are widened), so leave it
        alone while the result is in use. Everything else is converted once; entries that name the same pair are summed.
        `X` itself is never changed.

        Parameters
        ----------
        X : scipy.sparse matrix or array of shape (n_rows, n_cols)
            Bool, integer or real.
        subject : str, default="CSR.from_scipy"
            What an error names first.

        Raises
        ------
        TypeError
            `X` is not from scipy.sparse, or its values are not numbers.
        ValueError
            `X` is complex or not two-dimensional, has a side of 2**31 or more, or holds a value that is NaN,
            infinite or beyond float32; the message says where the first one is.
        """
        if not sp.issparse(X):
            raise TypeError(f"{subject}: expected a scipy.sparse matrix, got {type(X).__name__}")
        if X.ndim != 2:
            raise ValueError(f"{subject}: expected a two-dimensional matrix, got shape {X.shape}")
        shape = check_shape(subject, X.shape)
        if X.format == "csc":
            # A CSC is the CSR of its transpose; checked as such, before any loop of scipy's runs over its ids.
            columns = cls._from_unchecked(subject, "row", X.indptr, X.indices, X.data, shape[::-1])
            matrix = columns.transpose()
            check_finite(subject, matrix)
            return matrix
        if X.format == "coo":
            # Values are narrowed before the conversion, so that no float64 copy of the matrix is ever made.
            X = sp.coo_array((_as_float32(subject, X.data), (X.row, X.col)), shape=shape)
        else:
            _check_real(subject, X.dtype)
        csr = X.tocsr()
        return cls.from_arrays(csr.indptr, csr.indices, csr.data, shape, subject=subject)

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], *, subject: str = "CSR.from_state") -> CSR:
        """Rebuild a matrix from what `to_state` gave; every entry is checked, since files come from elsewhere."""
        missing = {"indptr", "indices", "values", "shape"} - set(state)
        if missing:
            raise ValueError(f"{subject}: the arrays {sorted(missing)} are missing")
        sides = np.asarray(state["shape"])
        if sides.shape != (2,):
            raise ValueError(f"{subject}: shape must be two numbers, got an array of shape {sides.shape}")
        n_rows, n_cols = (int(side) for side in sides)
        return cls.from_arrays(state["indptr"], state["indices"], state["values"], (n_rows, n_cols), subject=subject)

    def to_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the matrix as named plain arrays (``indptr, indices, values, shape``), for files."""
        return {
            "indptr": self.indptr,
            "indices": self.indices,
            "values": self.values,
            "shape": np.array(self.shape, dtype=np.int64),
        }

    def to_scipy(self, *, copy: bool = False) -> sp.csr_array:
        """Return a ``scipy.sparse.csr_array``: of read-only views, or with ``copy=True`` of arrays of its own."""
        values, indices = (self.values.copy(), self.indices.copy()) if copy else (self.values, self.indices)
        array = _as_scipy(self.indptr, indices, values, self.shape)
        array.has_canonical_format = True
        return array

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def n_cols(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.indices.size

    @property
    def density(self) -> float:
        """Stored entries per pair of row and column; 0 for a matrix without pairs."""
        pairs = self.shape[0] * self.shape[1]  # Python ints: 2**31 rows x columns must not wrap
        return self.nnz / pairs if pairs else 0.0

    def row(self, i: int) -> tuple[Int32Array, Float32Array]:
        """Return views of the column ids and values of row `i`, a number in [0, n_rows)."""
        if not 0 <= i < self.n_rows:
            raise IndexError(f"CSR.row: row {i} is outside [0, {self.n_rows})")
        start, stop = self.indptr[i], self.indptr[i + 1]
        return self.indices[start:stop], self.values[start:stop]

    def row_counts(self) -> Int64Array:
        """Number of entries in each row; shape (n_rows,)."""
        return np.diff(self.indptr)

    def column_counts(self) -> Int64Array:
        """Number of entries in each column; shape (n_cols,)."""
        counts = np.zeros(self.n_cols, dtype=np.int64)
        for start, stop in _blocks(self.nnz):
            # bincount widens its argument, so it gets a block at a time.
            block = np.bincount(self.indices[start:stop])
            counts[: block.size] += block
        return counts

    def row_numbers(self) -> Int32Array:
        """Row of every stored entry; shape (nnz,)."""
        return np.repeat(np.arange(self.n_rows, dtype=np.int32), self.row_counts())

    def transpose(self) -> CSR:
        """Return the transpose, again by rows, in O(nnz + n_rows + n_cols).

        Where all values are equal, as in data without ratings, the transpose shares them.
        """
        is_constant = _is_constant(self.values)
        # Equal values need not move: a byte stands in for each, as scipy asks for something to carry along.
        carried = np.zeros(self.nnz, dtype=np.int8) if is_constant else self.values
        columns = _as_scipy(self.indptr, self.indices, carried, self.shape).tocsc()
        return CSR(
            columns.indptr.astype(np.int64, copy=False),
            columns.indices.astype(np.int32, copy=False),
            self.values if is_constant else columns.data,
            self.shape[::-1],
        )

    def take_rows(self, rows: npt.ArrayLike | slice) -> CSR:
        """Return the named rows, in the order named.

        Parameters
        ----------
        rows : slice or array-like of int
            Row numbers in [0, n_rows), repeats allowed. Rows that follow one another are given as views.

        Raises
        ------
        IndexError
            A row is outside [0, n_rows); negative numbers do not wrap.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.n_rows)
            if step == 1:
                return self._run_of_rows(start, max(start, stop))
            rows = np.arange(start, stop, step)
        rows = check_rows("CSR.take_rows", "row", rows, self.n_rows)
        if rows.size and rows[-1] - rows[0] == rows.size - 1 and (rows[1:] - rows[:-1] == 1).all():
            return self._run_of_rows(int(rows[0]), int(rows[-1]) + 1)
        taken = self.to_scipy()[rows]
        return CSR(
            taken.indptr.astype(np.int64, copy=False),
            taken.indices.astype(np.int32, copy=False),
            taken.data,
            (rows.size, self.n_cols),
        )

    def keep(self, mask: npt.NDArray[np.bool_]) -> CSR:
        """Return some of the entries, of a mask of shape (nnz,), in the same shape."""
        return CSR(offsets_of(mask)[self.indptr], self.indices[mask], self.values[mask], self.shape)

    def entries_in(self, other: CSR) -> npt.NDArray[np.bool_]:
        """Whether each entry is stored in `other` too, which has the same shape; shape (nnz,)."""
        mine, theirs = (
            each.row_numbers().astype(np.int64) * each.n_cols + each.indices for each in (self, other)
        )  # both rise: a row number below 2**31 times as many columns fits int64
        found = np.zeros(mine.size, dtype=bool)
        if theirs.size:
            found = theirs[np.minimum(np.searchsorted(theirs, mine), theirs.size - 1)] == mine
        return found

    def _run_of_rows(self, start: int, stop: int) -> CSR:
        if stop - start == self.n_rows:
            return self
        offsets = self.indptr[start : stop + 1]
        span = slice(int(offsets[0]), int(offsets[-1]))
        return CSR(offsets - offsets[0], self.indices[span], self.values[span], (stop - start, self.n_cols))

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, so that the arrays of an unpickled matrix are read-only too.
        return CSR, (self.indptr, self.indices, self.values, self.shape)

    def __repr__(self) -> str:
        return f"CSR({self.n_rows} x {self.n_cols}, {self.nnz} stored)"


def offsets_of(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return where each of a row of runs begins, and where the last one ends."""
    offsets = np.zeros(counts.size + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def check_shape(subject: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return ``(n_rows, n_cols)`` as Python ints, each below 2**31."""
    n_rows, n_cols = shape
    n_rows, n_cols = int(n_rows), int(n_cols)
    if not (0 <= n_rows <= _MAX_SIDE and 0 <= n_cols <= _MAX_SIDE):
        name, side = ("n_cols", n_cols) if 0 <= n_rows <= _MAX_SIDE else ("n_rows", n_rows)
        raise ValueError(f"{subject}: {name} must be in [0, 2**31), since ids are int32, got {side}")
    return n_rows, n_cols


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a C-contiguous view that refuses writing; the array itself keeps its flag."""
    view: npt.NDArray[Any] = np.ascontiguousarray(array)[:]
    view.setflags(write=False)
    return view


def stable_order(keys: Int32Array, n_keys: int) -> npt.NDArray[Any]:
    """Return the stable order of int32 `keys` in [0, n_keys), in O(len(keys) + n_keys).

    A comparison sort of 20 M keys takes twice as long. Each key is the only entry of its column here, so turning
    that matrix into rows is a counting sort.
    """
    n = keys.size
    offsets = np.arange(n + 1, dtype=np.int32 if n <= _MAX_SIDE else np.int64)
    columns = sp.csc_array((np.zeros(n, dtype=np.int8), keys, offsets), shape=(n_keys, n))
    order: npt.NDArray[Any] = columns.tocsr().indices
    return order


def coordinate_order(rows: Int32Array, columns: Int32Array, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Return the order by row, then by column, then by place: two counting sorts, the lesser key first."""
    before, after = slice(None, -1), slice(1, None)
    in_order = (rows[before] < rows[after]) | ((rows[before] == rows[after]) & (columns[before] <= columns[after]))
    if in_order.all():
        return np.arange(rows.size)
    order = stable_order(columns, shape[1])
    return np.take(order, stable_order(rows[order], shape[0]))


def _kind(array: Any) -> str:
    return f"{array.ndim}-d {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, _BLOCK):
        yield start, min(start + _BLOCK, n)


def _check_real(subject: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind == "c":
        # The first words are the ones that scikit-learn's estimator checks look for.
        raise ValueError(f"{subject}: Complex data not supported, got {dtype}")
    if dtype.kind not in "buif":
        raise TypeError(f"{subject}: values must be real numbers, got dtype {dtype}")


def _as_integers(subject: str, name: str, numbers: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(numbers)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TypeError(f"{subject}: {name} must be a one-dimensional array of integers, got {_kind(array)}")
    return array


def _as_float32(subject: str, values: npt.NDArray[Any]) -> Float32Array:
    _check_real(subject, values.dtype)
    with np.errstate(over="ignore"):  # what leaves float32 becomes infinite and is reported by place
        return np.ascontiguousarray(values, dtype=np.float32)


def _as_ids(subject: str, name: str, ids: npt.NDArray[Any], n: int) -> Int32Array:
    if ids.size and not (ids.min() >= 0 and ids.max() < n):
        place = int(np.argmax((ids < 0) | (ids >= n)))
        raise ValueError(f"{subject}: {name} {ids[place]} at entry {place} is outside [0, {n})")
    return np.ascontiguousarray(ids, dtype=np.int32)


def _is_canonical(indptr: Int64Array, indices: Int32Array) -> bool:
    """Whether the ids of every row rise strictly."""
    for start, stop in _blocks(indices.size - 1):
        rises = indices[start + 1 : stop + 1] > indices[start:stop]
        if rises.all():
            continue
        # The first entry of a row may be smaller than the last one of the row before.
        first, last = np.searchsorted(indptr, (start + 1, stop + 1))
        rises[indptr[first:last] - (start + 1)] = True
        if not rises.all():
            return False
    return True


def _is_constant(values: Float32Array) -> bool:
    return all((values[start:stop] == values[0]).all() for start, stop in _blocks(values.size))


def _as_scipy(
    indptr: Int64Array, indices: Int32Array, values: npt.NDArray[Any], shape: tuple[int, int]
) -> sp.csr_array:
    # scipy wants one dtype for offsets and ids: narrow the few offsets, or it would widen all the ids.
    offsets = indptr.astype(np.int32) if indptr[-1] <= _MAX_SIDE else indptr
    return sp.csr_array((values, indices, offsets), shape=shape, copy=False)


def _own(array: npt.NDArray[Any], given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `array`, copied if it is a view of what the caller gave."""
    return array.copy() if np.may_share_memory(array, given) else array


def _sort_and_sum(
    indptr: Int64Array, indices: Int32Array, values: Float32Array, shape: tuple[int, int]
) -> tuple[Int64Array, Int32Array, Float32Array]:
    """Sort and sum in place: `indices` and `values` are used up."""
    csr = _as_scipy(indptr, indices, values, shape)
    csr.sum_duplicates()
    return csr.indptr.astype(np.int64, copy=False), csr.indices.astype(np.int32, copy=False), csr.data


def check_finite(subject: str, matrix: CSR) -> None:
    """Raise ``ValueError`` that says where the first value that is NaN or infinite stands, if there is one."""
    # A float64 sum of finite float32 numbers is finite, so one pass without a temporary settles the usual case.
    with np.errstate(invalid="ignore"):
        if np.isfinite(matrix.values.sum(dtype=np.float64)):
            return
    place = int(np.argmin(np.isfinite(matrix.values)))
    row = int(np.searchsorted(matrix.indptr, place, side="right")) - 1
    value = "NaN" if np.isnan(matrix.values[place]) else str(matrix.values[place])
    raise ValueError(
        f"{subject}: values must be finite and within float32, got {value} at ({row}, {int(matrix.indices[place])})"
    )
