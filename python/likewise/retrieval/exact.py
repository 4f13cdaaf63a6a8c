"""Exact search over vectors."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import as_host, get_backend, is_bfloat16
from likewise._files import check_class, map_model_file, read_model_file, write_model_file
from likewise._validation import check_choice, check_flag, check_int, check_rows, check_unmasked
from likewise.data.csr import CSR
from likewise.exceptions import ModelFileError

from ._lock import SharedLock
from ._storage import STORAGES, RoundedCopy, as_float32, as_stored, blocks, extended
from ._top_k import MANY_QUERIES, MAX_K, as_mask, top_k, unit_rows

__all__ = ["METRICS", "ExactIndex", "as_lists", "as_vectors"]

METRICS = ("inner_product", "cosine", "euclidean")

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Lists: TypeAlias = CSR | sp.sparray | sp.spmatrix | Sequence[npt.ArrayLike]

_CLASS = "ExactIndex"
# Vectors that stand for queries where recall is measured, and results of each.
_SAMPLE, _SAMPLE_K = 256, 10
MAX_ITEMS = 2**31 - 1
_NOT_PICKLED = ("_lock", "_backend", "_items", "_rounded")


class ExactIndex:
    r"""Vectors to search by inner product, cosine or distance; no candidate is ever missed.

    Rows are added, replaced and removed in place. Searches from many threads run side by side, and a change waits for
    those that run.

    Parameters
    ----------
    vectors : array-like or tensor of shape (n_items, n_factors)
        Finite real numbers. A float32 array in C order, or such a torch tensor on the CPU, is held without a copy until
        a row is changed; leave it alone while the index is in use. bfloat16 tensors are held so under that storage.
    metric : {"inner_product", "cosine", "euclidean"}, default="inner_product"
        What is greatest for the best: the inner product, the cosine (0 where one of the two vectors is zero), or the
        negated distance :math:`-\|q - y\|`.
    bias : array-like of shape (n_items,), default=None
        Added to the scores of the items; not for distances.
    storage : {"float32", "bfloat16", "int8"}, default="float32"
        How the vectors are kept: 4, 2 or 1 bytes a number (int8 in steps of 1/127 of the vector's greatest one), beside
        5 to 13 bytes a vector. Searches are exact for what is stored; `storage_recall` tells what storing cost.
    recall_queries : array-like of shape (n, n_factors), default=None
        Queries to measure `storage_recall` with; None takes 256 of the vectors.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to search.
    n_jobs : int, default=None
        Number of threads of a search; None is every CPU at hand.

    Attributes
    ----------
    vectors : ndarray of shape (n_items, n_factors), float32
        The vectors as stored: a read-only view where that is float32, else a copy.
    metric, storage : str
        As above.
    storage_recall : float
        Share of the ten best of each query that are found in the vectors as stored; 1 for float32. Measured when the
        index was built.

    Raises
    ------
    TypeError
        If `vectors` are not real numbers.
    ValueError
        If `vectors` are not two-dimensional or hold NaN, infinity or a number beyond the storage, if a bias is given to
        distances, or an option is unknown.
    BackendUnavailableError
        If the device cannot be used.

    Notes
    -----
    A score is computed in float64 and rounded to float32. A cosine is the inner product of the query divided by its
    length, in float32, with the vector, times the reciprocal of the vector's length, in float32; vectors shorter than
    1e-30 or longer than 1e30 are stored with length one.

    Where the machine multiplies int8 (AMX, AVX-512 VNNI), the second search over many vectors makes a copy of them in
    int8, a quarter of what float32 takes, that this and later searches scan first. It does not change any result.

    Examples
    --------
    >>> import numpy as np
    >>> from likewise.retrieval import ExactIndex
    >>> index = ExactIndex(np.array([[3.0, 0.0], [1.0, 1.0], [2.0, 5.0]]))
    >>> ids, scores = index.search(np.array([[1.0, 0.0]]), k=2)
    >>> ids
    array([[0, 2]], dtype=int32)
    >>> scores
    array([[3., 2.]], dtype=float32)
    >>> index.add([[4.0, 4.0]])
    array([3])
    >>> index.remove([0])
    >>> index.search([[1.0, 0.0]], k=2)[0]
    array([[3, 2]], dtype=int32)
    """

    def __init__(
        self,
        vectors: npt.ArrayLike,
        *,
        metric: str = "inner_product",
        bias: npt.ArrayLike | None = None,
        storage: str = "float32",
        recall_queries: npt.ArrayLike | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        check_choice(_CLASS, "metric", metric, METRICS)
        check_choice(_CLASS, "storage", storage, tuple(STORAGES))
        if bias is not None and metric == "euclidean":
            raise ValueError(f"{_CLASS}: a bias cannot be added to distances; use metric='inner_product'")
        given, stored = as_vectors(_CLASS, "vectors", vectors, storage)
        biases = None if bias is None else _as_bias(_CLASS, bias, len(given))
        self._configure(metric, storage, device, n_jobs)
        self._set_columns(self._columns_of(_CLASS, given, stored, biases))
        self.storage_recall = 1.0
        if storage != "float32":
            self.storage_recall = self._measure_recall(given, biases, recall_queries)
        elif recall_queries is not None:
            raise ValueError(f"{_CLASS}: recall_queries are for a storage that rounds; float32 keeps all")

    def _configure(self, metric: str, storage: str, device: str, n_jobs: int | None) -> None:
        self.metric, self.storage = metric, storage
        self._device, self._n_jobs = device, n_jobs
        self._backend = get_backend(device, n_jobs, _CLASS)
        self._lock = SharedLock()

    def _columns_of(
        self, subject: str, vectors: Float32Array, stored: npt.NDArray[Any] | None, biases: Float32Array | None
    ) -> dict[str, npt.NDArray[Any]]:
        """What the index holds of each row: the vector as stored and what the kernels ask for beside it."""
        if self.metric == "cosine" and (odd := _oddly_long(vectors)).size:
            vectors, stored = vectors.copy(), None
            vectors[odd] = unit_rows(vectors[odd])
        rows, steps = (stored, None) if stored is not None else as_stored(vectors, self.storage, subject)
        squares = np.empty(len(rows))
        for part in blocks(rows.shape):
            whole = as_float32(rows[part], None if steps is None else steps[part])
            squares[part] = np.einsum("nd,nd->n", whole, whole, dtype=np.float64)
        lengths = np.sqrt(squares)
        columns = {
            "vectors": rows,
            "lengths": np.minimum(lengths, np.finfo(np.float32).max).astype(np.float32),
            "removed": np.zeros(len(rows), bool),
        }
        if steps is not None:
            columns["steps"] = columns["scale"] = steps
        if self.metric == "cosine":
            by = np.ones(len(rows)) if steps is None else steps.astype(np.float64)
            scale = np.divide(by, lengths, out=np.zeros(len(rows)), where=squares > 0)
            columns["scale"] = scale.astype(np.float32)
        if self.metric == "euclidean":
            # Beyond float32 no bias holds; the kernel then scores every vector exactly, and by distances alone.
            columns["bias"] = np.maximum(-0.5 * squares, -np.finfo(np.float32).max).astype(np.float32)
        elif biases is not None:
            columns["bias"] = biases
        return columns

    def _set_columns(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        self._columns = columns
        self._owns_rows = False
        self._n_searches = 0
        self._rounded: RoundedCopy | None = None
        self._share()

    def _share(self) -> None:
        """Hand what there is now to the kernels."""
        backend, columns = self._backend, self._columns
        self._n_removed = int(np.count_nonzero(columns["removed"]))
        scale, bias = (None if name not in columns else backend.asarray(columns[name]) for name in ("scale", "bias"))
        rows = backend.asarray(columns["vectors"], columns["vectors"].dtype)
        self._items = backend.items(rows, scale, bias, None if self._rounded is None else self._rounded.arrays())

    def _measure_recall(self, vectors: Float32Array, biases: Float32Array | None, queries: Any) -> float:
        """Share of the best that are found in the vectors as stored."""
        if queries is None:
            queries = vectors[np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).astype(np.int64)]
        queries, _ = as_vectors(_CLASS, "recall_queries", queries)
        self._check_width(_CLASS, "recall_queries", queries)
        if len(vectors) == 0 or len(queries) == 0:
            return 1.0
        exact = ExactIndex(vectors, metric=self.metric, bias=biases, device=self._device, n_jobs=self._n_jobs)
        best, _ = exact.search(queries, min(_SAMPLE_K, len(vectors)))
        found, _ = self.search(queries, best.shape[1])
        self._n_searches = 0
        return float(np.mean([np.isin(row, known).mean() for row, known in zip(found, best, strict=True)]))

    # ------------------------------------------------------------------ searching

    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        exclude: Lists | None = None,
        deny: npt.ArrayLike | None = None,
        allow: npt.ArrayLike | Lists | None = None,
        *,
        verbose: bool | int = False,
    ) -> tuple[Int32Array, Float32Array]:
        """Return the ids and scores of the k best vectors for each query.

        Parameters
        ----------
        queries : array-like or tensor of shape (n, n_factors)
            Finite real numbers, used as float32.
        k : int, default=10
            Results a query, 1 to 1,000,000. May exceed the number of vectors.
        exclude : CSR, scipy sparse matrix of shape (n, n_items), or sequence of n id arrays, default=None
            Ids that each query must not get. Of a matrix the stored entries count, whatever their values.
        deny : array-like of int, or of bool and shape (n_items,), default=None
            Ids that no query gets, or a mask of them.
        allow : as `deny`, or as `exclude`, default=None
            The only ids that any query gets, or the candidates of each query (None: all).
        verbose : bool or int, default=False
            Whether to show progress.

        Returns
        -------
        ids : ndarray of shape (n, k), int32
            Best first, ties by smaller id; -1 where fewer than k candidates are left.
        scores : ndarray of shape (n, k), float32
            ``-inf`` where `ids` is -1.

        Raises
        ------
        TypeError
            If an argument is of the wrong kind.
        ValueError
            If k is out of range, shapes disagree, or `queries` hold NaN or infinity.
        IndexError
            If an id is outside [0, n_items).
        """
        subject = "ExactIndex.search"
        k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
        rows, _ = as_vectors(subject, "queries", queries)
        self._check_width(subject, "queries", rows)
        if self._wants_copy(len(rows), k, allow):
            self._round()
        with self._lock.shared():
            shape = (len(rows), self.shape[0])
            excluded = as_lists(subject, "exclude", exclude, shape)
            allowed = as_lists(subject, "allow", allow, shape) if is_lists(allow) else allow
            return top_k(
                self._backend,
                rows,
                self._items,
                k,
                excluded,
                self._denied(subject, deny),
                cast(Any, allowed),
                unit=self.metric == "cosine",
                distances=self.metric == "euclidean",
                verbose=verbose,
                subject=subject,
            )

    def _denied(self, subject: str, deny: npt.ArrayLike | None) -> Any:
        """What nobody gets, with what was removed."""
        if self._n_removed == 0:
            return deny
        denied: npt.NDArray[np.bool_] = self._columns["removed"].copy()
        if deny is not None:
            denied |= as_mask(subject, "deny", deny, len(denied))
        return denied

    def _wants_copy(self, n_queries: int, k: int, allow: Any) -> bool:
        """Whether a rounded copy pays: for many queries, or from the second search that would read it on."""
        if is_lists(allow) or not RoundedCopy.is_read(self._backend, self.shape, k):
            return False
        self._n_searches += 1
        return self._rounded is None and (self._n_searches > 1 or n_queries >= MANY_QUERIES)

    def _round(self) -> None:
        with self._lock.alone():
            if self._rounded is not None:  # another search was faster
                return
            lengths = np.ones(self.shape[0], np.float32) if self.metric == "cosine" else self._columns["lengths"]
            try:
                self._rounded = RoundedCopy(self._backend, self._items, lengths)
                self._share()
            except MemoryError:  # searches do without; the next is the first again
                self._rounded, self._n_searches = None, 0

    # ------------------------------------------------------------------ changing

    def add(self, vectors: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Int64Array:
        """Append vectors.

        Parameters
        ----------
        vectors : array-like or tensor of shape (n, n_factors)
            As in the constructor.
        bias : array-like of shape (n,), default=None
            Their biases, where the index has some; None is 0.

        Returns
        -------
        ndarray of shape (n,), int64
            Their ids, which go on from those that there are.

        Raises
        ------
        TypeError, ValueError
            As in the constructor; also if the vectors are of another length, or the index has no biases.
        """
        subject = "ExactIndex.add"
        new = self._new_columns(subject, vectors, bias)
        with self._lock.alone():
            first = self.shape[0]
            n = first + len(new["vectors"])
            if n > MAX_ITEMS:
                raise ValueError(f"{subject}: there must be fewer than 2^31 vectors, got {n}")
            self._own_rows()
            ids, before = np.arange(first, n), self._columns
            try:
                self._columns = {name: extended(column, n, new[name]) for name, column in before.items()}
                rounded, self._rounded = self._rounded, None
                self._share()
                if rounded is not None:
                    rounded.update(self._items, ids)
                    self._rounded = rounded
                    self._share()
            except BaseException:  # an interrupt, or no more memory
                self._columns, self._rounded = before, None
                self._share()
                raise
        return ids

    def replace(self, ids: npt.ArrayLike, vectors: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> None:
        """Put other vectors in the place of those there; a removed one is there again.

        Parameters
        ----------
        ids : array-like of int, shape (n,)
            Each once.
        vectors : array-like or tensor of shape (n, n_factors)
            As in the constructor.
        bias : array-like of shape (n,), default=None
            Their biases, where the index has some; None leaves them.

        Raises
        ------
        TypeError, ValueError
            As `add`; also if ids are repeated, or not as many as the vectors.
        IndexError
            If an id is outside [0, n_items).
        """
        subject = "ExactIndex.replace"
        new = self._new_columns(subject, vectors, bias)
        with self._lock.alone():
            places = check_rows(subject, "id", ids, self.shape[0])
            if len(places) != len(new["vectors"]):
                raise ValueError(f"{subject}: there are {len(places)} ids but {len(new['vectors'])} vectors")
            if len(np.unique(places)) != len(places):
                raise ValueError(f"{subject}: ids must not be repeated")
            self._own_rows()
            before = {name: column[places] for name, column in self._columns.items()}
            try:
                for name, column in self._columns.items():
                    if name != "bias" or bias is not None or self.metric == "euclidean":
                        column[places] = new[name]
                if self._rounded is not None:
                    self._rounded.update(self._items, places)
                self._n_removed = int(np.count_nonzero(self._columns["removed"]))
            except BaseException:  # an interrupt, or no more memory
                for name, column in self._columns.items():
                    column[places] = before[name]
                self._rounded = None
                self._share()
                raise

    def remove(self, ids: npt.ArrayLike) -> None:
        """Take vectors out of all searches. Ids of the others stay as they are.

        Parameters
        ----------
        ids : array-like of int

        Raises
        ------
        IndexError
            If an id is outside [0, n_items).
        KeyError
            If one has been removed already.
        """
        subject = "ExactIndex.remove"
        with self._lock.alone():
            places, removed = check_rows(subject, "id", ids, self.shape[0]), self._columns["removed"]
            if removed[places].any():
                raise KeyError(f"{subject}: id {places[removed[places]][0]} has been removed already")
            now = removed.copy()
            now[places] = True
            self._columns = {**self._columns, "removed": now}
            self._n_removed = int(np.count_nonzero(now))

    def _new_columns(self, subject: str, vectors: Any, bias: Any) -> dict[str, npt.NDArray[Any]]:
        given, stored = as_vectors(subject, "vectors", vectors, self.storage)
        self._check_width(subject, "the new vectors", given)
        biases = None
        if "bias" in self._columns and self.metric != "euclidean":
            biases = _as_bias(subject, np.zeros(len(given)) if bias is None else bias, len(given))
        elif bias is not None:
            raise ValueError(f"{subject}: this index has no biases; build it with bias=")
        return self._columns_of(subject, given, stored, biases)

    def _own_rows(self) -> None:
        """Make arrays that may be written to of those of the caller, or of a file."""
        if not self._owns_rows:
            self._columns = {name: column.copy() for name, column in self._columns.items()}
            self._owns_rows = True
            self._share()

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file: safetensors with a JSON header, whole or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        header = {
            "class": _CLASS,
            "metric": self.metric,
            "storage": self.storage,
            "storage_recall": self.storage_recall,
        }
        with self._lock.shared():
            write_model_file(path, header, self._columns)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, mmap: bool = False, device: str = "cpu", n_jobs: int | None = None
    ) -> ExactIndex:
        """Read an index that `save` wrote.

        Parameters
        ----------
        path : path-like
        mmap : bool, default=False
            Whether to map the vectors instead of reading them: pages come from the file when a search needs them, and
            processes share them. Their checksum is not looked at then. The file must stay as it is; a change of a row
            makes a copy in memory.
        device, n_jobs
            As in the constructor.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If the file is truncated, damaged, of a newer format, or holds no such index.
        """
        check_flag(f"{_CLASS}.load", "mmap", mmap)
        header, arrays = map_model_file(path) if mmap else read_model_file(path)
        check_class(header, _CLASS)
        index = cls.__new__(cls)
        try:
            metric = check_choice(_CLASS, "metric", header["metric"], METRICS)
            storage = check_choice(_CLASS, "storage", header["storage"], tuple(STORAGES))
            columns, recall = _checked_columns(arrays, metric, storage), float(header["storage_recall"])
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFileError(f"load: the file of this {_CLASS} is damaged ({error})") from error
        index._configure(metric, storage, device, n_jobs)
        index._set_columns(columns)
        index.storage_recall = recall
        return index

    def __getstate__(self) -> dict[str, Any]:
        with self._lock.alone():
            self._owns_rows = False  # a shallow copy shares the arrays until one of the two changes
            state = {name: value for name, value in self.__dict__.items() if name not in _NOT_PICKLED}
            return state | {"_columns": dict(self._columns)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._configure(self.metric, self.storage, self._device, self._n_jobs)
        self._set_columns(self._columns)

    # ------------------------------------------------------------------ what there is

    @property
    def vectors(self) -> Float32Array:
        """The vectors as stored."""
        stored = self._columns["vectors"]
        rows = stored.view() if self.storage == "float32" else as_float32(stored, self._columns.get("steps"))
        rows.flags.writeable = False
        return rows

    @property
    def shape(self) -> tuple[int, int]:
        """Number of vectors, removed ones counted, and their length."""
        n_items, n_factors = self._columns["vectors"].shape
        return n_items, n_factors

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        n, d = self.shape
        parts = [f"{n} vectors of length {d}"]
        if self._n_removed:
            parts.append(f"{self._n_removed} removed")
        if self.metric != "inner_product":
            parts.append(f"metric={self.metric!r}")
        if self.storage != "float32":
            parts.append(f"storage={self.storage!r}, storage_recall={self.storage_recall:.3f}")
        return f"ExactIndex({', '.join(parts)}, device={self._backend.name!r})"

    def _check_width(self, subject: str, name: str, rows: Float32Array) -> None:
        if rows.shape[1] != self.shape[1]:
            raise ValueError(f"{subject}: {name} have {rows.shape[1]} columns but the vectors have {self.shape[1]}")


def _checked_columns(arrays: Mapping[str, npt.NDArray[Any]], metric: str, storage: str) -> dict[str, npt.NDArray[Any]]:
    """Columns from a file, if they are those of such an index."""
    types = {"vectors": STORAGES[storage], "lengths": np.float32, "removed": np.bool_, "steps": np.float32}
    types |= {"scale": np.float32, "bias": np.float32}
    wanted = {"vectors", "lengths", "removed"}
    wanted |= {"steps", "scale"} if storage == "int8" else {"scale"} if metric == "cosine" else set()
    wanted |= {"bias"} if metric == "euclidean" else set()
    if not wanted <= set(arrays) <= wanted | {"bias"}:
        raise ValueError(f"it holds {', '.join(sorted(arrays))}")
    n = len(arrays["lengths"])
    for name, array in arrays.items():
        if array.dtype != types[name] or array.ndim != (2 if name == "vectors" else 1) or len(array) != n:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if name not in ("vectors", "removed") and not np.isfinite(array).all():
            raise ValueError(f"a number of {name} is not finite")
    return dict(arrays)


def as_vectors(
    subject: str, name: str, vectors: Any, storage: str = "float32"
) -> tuple[Float32Array, npt.NDArray[Any] | None]:
    """Finite float32 rows of what was given, not to be written to; and its bits where it is bfloat16 and so stored."""
    check_unmasked(subject, name, vectors)
    given = as_host(vectors)
    bits = given if is_bfloat16(vectors) else None
    array = as_float32(given) if bits is not None else given
    if array.dtype.kind not in "buif":
        raise TypeError(f"{subject}: {name} must be real numbers, got dtype {array.dtype}")
    if array.ndim != 2:
        way_out = "; one vector v is v[np.newaxis]" if array.ndim == 1 else ""
        raise ValueError(f"{subject}: {name} must be two-dimensional, got shape {array.shape}{way_out}")
    rows: Float32Array = _float32(array)
    if not all(np.isfinite(rows[part]).all() for part in blocks(rows.shape)):
        row, column = np.unravel_index(int(np.argmin(np.isfinite(rows))), rows.shape)
        value = rows[row, column]
        beyond = " in float32" if np.isfinite(array[row, column]) else ""
        raise ValueError(f"{subject}: {name} must be finite, got {value}{beyond} at ({row}, {column})")
    return rows, np.ascontiguousarray(bits) if bits is not None and storage == "bfloat16" else None


def _float32(array: npt.NDArray[Any]) -> Float32Array:
    """As float32 in C order; what leaves it becomes infinite, and is reported by place."""
    with np.errstate(over="ignore") if array.dtype != np.float32 else nullcontext():
        return cast(Float32Array, np.ascontiguousarray(array, dtype=np.float32))


def _as_bias(subject: str, bias: Any, n: int) -> Float32Array:
    check_unmasked(subject, "bias", bias)
    given = as_float32(as_host(bias)) if is_bfloat16(bias) else as_host(bias)
    if given.dtype.kind not in "buif":
        raise TypeError(f"{subject}: bias must be real numbers, got dtype {given.dtype}")
    if given.shape != (n,):
        raise ValueError(f"{subject}: bias must have shape ({n},), one number a vector, got {given.shape}")
    biases: Float32Array = _float32(given).copy()
    if not np.isfinite(biases).all():
        place = int(np.argmin(np.isfinite(biases)))
        raise ValueError(f"{subject}: bias must be finite, got {biases[place]} at {place}")
    return biases


def _oddly_long(rows: Float32Array) -> Int64Array:
    """Rows whose length has a reciprocal that float32 does not hold well."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return np.flatnonzero((lengths > 0) & ((lengths < 1e-30) | (lengths > 1e30)))


def is_lists(allow: Any) -> bool:
    """Whether `allow` has candidates of each query, and not those of all."""
    if allow is None:
        return False
    if isinstance(allow, CSR) or sp.issparse(allow):
        return True
    if isinstance(allow, np.ndarray) and allow.dtype != object:
        return allow.ndim > 1
    return isinstance(allow, Collection) and len(allow) > 0 and np.ndim(next(iter(allow))) > 0


def as_lists(subject: str, name: str, lists: Any, shape: tuple[int, int]) -> CSR | None:
    """Ids of each query as rows of a CSR."""
    if lists is None:
        return None
    if isinstance(lists, CSR):
        matrix = lists
    elif sp.issparse(lists):
        matrix = CSR.from_scipy(lists, subject=f"{subject}: {name}")
    else:
        matrix = _from_lists(subject, name, lists, shape)
    if matrix.shape != shape:
        raise ValueError(f"{subject}: {name} must have shape (queries, vectors) = {shape}, got {matrix.shape}")
    return matrix


def _from_lists(subject: str, name: str, lists: Any, shape: tuple[int, int]) -> CSR:
    if isinstance(lists, (str, bytes)) or not hasattr(lists, "__len__"):
        raise TypeError(
            f"{subject}: {name} must be a sparse matrix or a sequence with the ids of each query, "
            f"got {type(lists).__name__}"
        )
    if isinstance(lists, np.ndarray) and lists.shape == shape and shape[1] != 1:
        raise ValueError(
            f"{subject}: {name} is a dense array of shape {shape}; give scipy.sparse.csr_array of it, or lists of ids"
        )
    if len(lists) != shape[0]:
        raise ValueError(f"{subject}: {name} has the ids of {len(lists)} queries, but there are {shape[0]}")
    rows = [np.unique(check_rows(subject, f"{name}: id", ids, shape[1])) for ids in lists]
    offsets = np.concatenate([[0], np.cumsum([ids.size for ids in rows])]).astype(np.int64)
    indices = np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int32)
    return CSR(offsets, indices, np.ones(indices.size, np.float32), shape)
