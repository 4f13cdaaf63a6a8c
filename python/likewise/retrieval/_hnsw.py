"""Graphs for approximate search (HNSW) as usearch, faiss and hnswlib build them, behind one protocol."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["GRAPHS", "Graph", "GraphOptions", "graph_class"]

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]


class GraphOptions(NamedTuple):
    """What a graph is made with; `by_product` ranks by inner product, else by Euclidean distance."""

    n_factors: int
    by_product: bool
    m: int
    ef_construction: int


class Graph(Protocol):
    """A graph over points that are numbered as they come."""

    def __init__(self, options: GraphOptions) -> None: ...

    def __len__(self) -> int: ...

    def add(self, points: Float32Array, n_threads: int) -> None:
        """Add points behind those that are there."""

    def search(self, queries: Float32Array, count: int, ef: int, n_threads: int) -> Int64Array:
        """Numbers of up to `count` points near each query, best first, -1 after the last; at most len(self) wide."""

    def to_bytes(self) -> npt.NDArray[np.uint8]:
        """The graph with its points, in the format of the library."""

    @classmethod
    def from_bytes(cls, content: npt.NDArray[np.uint8], options: GraphOptions) -> Graph:
        """Rebuild what `to_bytes` gave. The libraries trust their content: it has passed a checksum before."""


class _Usearch:
    def __init__(self, options: GraphOptions) -> None:
        self._index = importlib.import_module("usearch.index").Index(
            ndim=options.n_factors,
            metric="ip" if options.by_product else "l2sq",
            dtype="f32",
            connectivity=options.m,
            expansion_add=options.ef_construction,
        )

    def __len__(self) -> int:
        return len(self._index)

    def add(self, points: Float32Array, n_threads: int) -> None:
        start = len(self)
        self._index.add(np.arange(start, start + len(points)), points, threads=n_threads)

    def search(self, queries: Float32Array, count: int, ef: int, n_threads: int) -> Int64Array:
        self._index.expansion_search = ef
        found = self._index.search(queries, count, threads=n_threads)
        keys = np.atleast_2d(found.keys).astype(np.int64)
        # One query gives its keys alone; several give rows of equal length, with how much of each counts.
        counts = np.atleast_1d(getattr(found, "counts", len(found)))
        keys[np.arange(keys.shape[1]) >= counts[:, np.newaxis]] = -1
        return keys

    def to_bytes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self._index.save(), np.uint8)

    @classmethod
    def from_bytes(cls, content: npt.NDArray[np.uint8], options: GraphOptions) -> _Usearch:
        graph = cls(options)
        graph._index.load(content.tobytes())
        _check_width(graph._index.ndim, options)
        return graph


class _Faiss:
    def __init__(self, options: GraphOptions) -> None:
        self._faiss = importlib.import_module("faiss")
        metric = self._faiss.METRIC_INNER_PRODUCT if options.by_product else self._faiss.METRIC_L2
        self._index = self._faiss.IndexHNSWFlat(options.n_factors, options.m, metric)
        self._index.hnsw.efConstruction = options.ef_construction

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @contextmanager
    def _threads(self, n_threads: int) -> Iterator[None]:
        """Its number of threads is one of the whole process."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(n_threads)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)

    def add(self, points: Float32Array, n_threads: int) -> None:
        with self._threads(n_threads):
            self._index.add(points)

    def search(self, queries: Float32Array, count: int, ef: int, n_threads: int) -> Int64Array:
        with self._threads(n_threads):
            _, ids = self._index.search(queries, count, params=self._faiss.SearchParametersHNSW(efSearch=ef))
        found: Int64Array = ids
        return found

    def to_bytes(self) -> npt.NDArray[np.uint8]:
        content: npt.NDArray[np.uint8] = self._faiss.serialize_index(self._index)
        return content

    @classmethod
    def from_bytes(cls, content: npt.NDArray[np.uint8], options: GraphOptions) -> _Faiss:
        graph = cls(options)
        graph._index = graph._faiss.deserialize_index(content)
        _check_width(graph._index.d, options)
        return graph


class _Hnswlib:
    def __init__(self, options: GraphOptions) -> None:
        self._index = self._empty(options)
        self._index.init_index(1, M=options.m, ef_construction=options.ef_construction)

    @staticmethod
    def _empty(options: GraphOptions) -> Any:
        space = "ip" if options.by_product else "l2"
        return importlib.import_module("hnswlib").Index(space, options.n_factors)

    def __len__(self) -> int:
        return int(self._index.get_current_count())

    def add(self, points: Float32Array, n_threads: int) -> None:
        start = len(self)
        self._index.resize_index(max(1, start + len(points)))
        self._index.add_items(points, np.arange(start, start + len(points)), num_threads=n_threads)

    def search(self, queries: Float32Array, count: int, ef: int, n_threads: int) -> Int64Array:
        self._index.set_ef(ef)
        try:
            ids, _ = self._index.knn_query(queries, count, num_threads=n_threads)
            found: Int64Array = ids.astype(np.int64)
            return found
        except RuntimeError:  # it found fewer for one of the queries, and gives nothing for all
            if len(queries) == 1:
                return np.full((1, count), -1)
            half = len(queries) // 2
            parts = [self.search(part, count, ef, n_threads) for part in (queries[:half], queries[half:])]
            return np.concatenate(parts)

    def to_bytes(self) -> npt.NDArray[np.uint8]:
        with tempfile.TemporaryDirectory() as folder:  # it writes to files alone
            path = Path(folder) / "graph"
            self._index.save_index(str(path))
            return np.fromfile(path, np.uint8)

    @classmethod
    def from_bytes(cls, content: npt.NDArray[np.uint8], options: GraphOptions) -> _Hnswlib:
        # Its file does not say how long the vectors are, and it takes our word for it. The header does say where, in
        # what is kept of each, the vector begins (word 5) and the label behind it (word 4).
        header = np.frombuffer(content[:48].tobytes(), np.uint64)
        if header.size < 6:
            raise ValueError("the graph is truncated")
        _check_width(int(header[4] - header[5]) // 4, options)
        graph = cls.__new__(cls)
        graph._index = cls._empty(options)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph"
            content.tofile(path)
            graph._index.load_index(str(path))
        return graph


def _check_width(n_factors: int, options: GraphOptions) -> None:
    if n_factors != options.n_factors:
        raise ValueError(f"the graph is of vectors of length {n_factors}, not {options.n_factors}")


# In the order in which they are looked for: usearch has wheels for all that we have wheels for, and no OpenMP runtime.
GRAPHS: dict[str, type[Graph]] = {"usearch": _Usearch, "faiss": _Faiss, "hnswlib": _Hnswlib}
_DISTRIBUTIONS = {"faiss": "faiss-cpu"}


def graph_class(library: str | None, subject: str) -> tuple[str, type[Graph]]:
    """Name and graphs of `library`, or of the first that is installed.

    Raises
    ------
    ImportError
        If it, or for None any of them, is not installed.
    """
    cause: ImportError | None = None
    for name in GRAPHS if library is None else [library]:
        try:
            _load_pyarrow()
            importlib.import_module(name)
        except ImportError as error:
            cause = error
            continue
        return name, GRAPHS[name]
    if library is None:
        raise ImportError(
            f'{subject}: none of {", ".join(GRAPHS)} is installed; pip install "likewise[ann]"'
        ) from cause
    package = _DISTRIBUTIONS.get(library, library)
    raise ImportError(
        f"{subject}: {library} is not installed; pip install {package}, or take another of {', '.join(GRAPHS)}"
    ) from cause


def _load_pyarrow() -> None:
    """Load pyarrow, where it is installed, before a library.

    Behind usearch 2.26 pyarrow 26 takes parts of the C++ runtime from it that do not fit: dates with a time zone then
    end the process. tests/retrieval/test_approximate.py has it.
    """
    with suppress(ImportError):
        importlib.import_module("pyarrow")
