"""Approximate search over vectors: a graph of a well-kept library proposes, exact scores decide."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import get_backend
from likewise._files import check_class, read_model_file, write_model_file
from likewise._progress import ProgressBar
from likewise._validation import check_choice, check_float, check_int
from likewise.data.csr import CSR
from likewise.exceptions import ModelFileError

from ._hnsw import GRAPHS, Graph, GraphOptions, graph_class
from ._lock import SharedLock
from ._top_k import MAX_K, as_ids, unit_rows
from .exact import METRICS, ExactIndex, as_lists, as_vectors, is_lists

__all__ = ["ApproximateIndex"]

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_CLASS = "ApproximateIndex"
_SETTINGS = ("metric", "library", "m", "ef_construction", "ef_search")
_MAX_LINKS, _MAX_EF = 1024, 1_000_000
# Proposals beyond k: exact scores order near ties otherwise than the library's float32.
_SLACK = 6
# What the graph does for a proposal takes as long as the exact scores of about this many vectors: fewer in one call for
# one query, which reads them from memory, more for many queries (bench/bench_approximate.py).
_VECTORS_A_PROPOSAL = 64
# Times as many proposals for a query that lacks some.
_WIDENING = 4
# Scores of the libraries are float32, so they are given vectors in units of the longest one. Vectors that are so much
# longer want a new unit, and a query so far away has the same distance from all vectors, but for what rounding leaves.
_OUTGROWN = 2.0**32
_FAR = 2.0**10
# Between two looks at Ctrl-C and the progress bar: vectors added, queries searched.
_BLOCK_VECTORS = 1 << 15
_BLOCK_QUERIES = 1 << 12
# float64 numbers of proposed vectors gathered at a time: 32 MiB.
_BLOCK_NUMBERS = 1 << 22


class ApproximateIndex:
    r"""Vectors to search by a graph (HNSW), which looks at few of them and may miss some of the best.

    The graph is that of a library: usearch, faiss or hnswlib. It proposes; what is masked drops out, what is left is
    scored exactly and ranked, as `ExactIndex` does it. A query that the graph cannot serve is searched exactly: where k
    or the masks ask for a good part of what there is, or where widening the search leaves slots empty. So a masked
    vector is never returned, and a slot is empty only where there is no further candidate.

    Parameters
    ----------
    vectors : array-like of shape (n_items, n_factors)
        Finite real numbers, kept as float32 beside the copy of the library. A float32 array in C order is held without
        a copy (but under ``"cosine"``); leave it alone while the index is in use.
    metric : {"inner_product", "cosine", "euclidean"}, default="inner_product"
        What is greatest for the best: the inner product, the cosine (0 where one of the two vectors is zero), or the
        negated distance :math:`-|q - y|`.
    library : {"usearch", "faiss", "hnswlib"}, default=None
        None is the first of them that is installed.
    m : int, default=16
        Links of a vector in the graph, 2 to 1024; twice as many on its lowest level. More find more, cost memory (about
        8 m bytes a vector) and time.
    ef_construction : int, default=128
        Candidates kept while a vector is linked, 1 to 1,000,000. More make a better graph, more slowly.
    ef_search : int, default=64
        Candidates kept while a query is searched, 1 to 1,000,000, beside those that make up for what is masked. More
        find more, more slowly. May be set at any time.
    n_jobs : int, default=None
        Number of threads; None is every CPU at hand. With more than one the libraries link vectors in the order in
        which threads come to them: two graphs of the same vectors may differ in what they miss.
    verbose : bool or int, default=False
        Whether to show progress while the graph is built.

    Attributes
    ----------
    vectors : ndarray of shape (n_items, n_factors), float32
        Read-only.
    metric, library : str
    m, ef_construction, ef_search : int
        As above.

    Raises
    ------
    TypeError
        If `vectors` are not real numbers, or a parameter is of the wrong kind.
    ValueError
        If `vectors` are not two-dimensional or hold NaN, infinity or a number beyond float32, or a parameter is out of
        range.
    ImportError
        If the library, or for None all of them, are not installed.

    See Also
    --------
    ExactIndex : Misses nothing, and for many queries a call over a catalogue that is not vast it is the faster one.

    References
    ----------
    .. [1] Y. Malkov, D. Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable
       small world graphs, TPAMI 2020, doi:10.1109/TPAMI.2018.2889473

    Examples
    --------
    >>> import numpy as np
    >>> from likewise.retrieval import ApproximateIndex
    >>> rng = np.random.default_rng(0)
    >>> vectors, queries = rng.standard_normal((5000, 16)), rng.standard_normal((100, 16))
    >>> index = ApproximateIndex(vectors)
    >>> ids, scores = index.search(queries, k=10, deny=[3, 14])
    >>> ids.shape
    (100, 10)
    >>> index.recall(queries, k=10) > 0.9
    True
    """

    def __init__(
        self,
        vectors: npt.ArrayLike,
        *,
        metric: str = "inner_product",
        library: str | None = None,
        m: int = 16,
        ef_construction: int = 128,
        ef_search: int = 64,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        rows, _ = as_vectors(_CLASS, "vectors", vectors)
        self._configure(rows.shape[1], metric, library, m, ef_construction, ef_search, n_jobs)
        self._append(rows, verbose)

    def _configure(
        self,
        n_factors: int,
        metric: str,
        library: str | None,
        m: int,
        ef_construction: int,
        ef_search: int,
        n_jobs: int | None,
    ) -> None:
        """Check the parameters and start without vectors."""
        self.metric = check_choice(_CLASS, "metric", metric, METRICS)
        if library is not None:
            check_choice(_CLASS, "library", library, tuple(GRAPHS))
        self.m = check_int(_CLASS, "m", m, minimum=2, maximum=_MAX_LINKS)
        self.ef_construction = check_int(_CLASS, "ef_construction", ef_construction, minimum=1, maximum=_MAX_EF)
        self.ef_search = check_int(_CLASS, "ef_search", ef_search, minimum=1, maximum=_MAX_EF)
        self.n_jobs = n_jobs
        self._backend = get_backend("cpu", n_jobs, _CLASS)
        self.library, self._graph_class = graph_class(library, _CLASS)
        self._options = GraphOptions(n_factors, self.metric != "euclidean", self.m, self.ef_construction)
        self._exact = ExactIndex(np.empty((0, n_factors), np.float32), metric=self.metric, n_jobs=n_jobs)
        self._lock = SharedLock()  # the libraries do not let a graph grow under a search
        self._graph: Graph | None = None
        self._unit = 0.0  # length of the longest vector when the graph was begun

    # ------------------------------------------------------------------ building

    def add(self, vectors: npt.ArrayLike, *, verbose: bool | int = False) -> None:
        """Add vectors; their ids go on from those that are there.

        Vectors that are there are copied, not linked again. If it is interrupted, the index keeps the vectors that it
        had and searches them exactly, until `add` has links made for all.

        Parameters
        ----------
        vectors : array-like of shape (n, n_factors)
            As in the constructor.
        verbose : bool or int, default=False
            Whether to show progress.

        Raises
        ------
        TypeError, ValueError
            As in the constructor; also if the vectors are of another length.
        """
        subject = f"{_CLASS}.add"
        rows, _ = as_vectors(subject, "vectors", vectors)
        self._check_width(subject, "the new vectors", rows)
        with self._lock.alone():
            self._append(rows, verbose)

    def _append(self, rows: Float32Array, verbose: bool | int) -> None:
        exact = ExactIndex(rows, metric=self.metric, n_jobs=self.n_jobs)
        every = np.concatenate([self.vectors, rows]) if len(self) else rows
        lengths = np.sign(_lengths(rows)) if self.metric == "cosine" else _lengths(rows)
        longest = float(lengths.max(initial=0))
        if self._graph is None or len(self._graph) != len(self) or longest > _OUTGROWN * self._unit:
            self._unit = max(longest, self._unit)
            # Vectors without numbers, or of zeros alone, all have the same score: there is nothing to link.
            self._graph = self._graph_class(self._options) if self._unit > 0 else None
        # Inner products are linked as they are. One more number that makes all vectors equally long (Bachrach et al.
        # 2014, doi:10.1145/2645710.2645741) would make a metric of them, but the long vectors, which are the results,
        # are then far from all others: at equal speed .1 to .9 of the top 10 are found where the plain graph finds .97
        # to .99 (ImplicitALS on bundled data and Gowalla; tests/retrieval/test_approximate.py has one). Morozov and
        # Babenko (Non-metric similarity graphs for maximum inner product search, NeurIPS 2018) saw the same.
        if self._graph is not None:
            starts = range(len(self._graph), len(every), _BLOCK_VECTORS)
            for start in ProgressBar(starts, verbose=verbose, description="Linking", unit="block"):
                self._graph.add(self._points(every[start : start + _BLOCK_VECTORS]), self._backend.context.n_threads)
        if len(self):
            self._exact.add(rows)
        else:
            self._exact = exact

    def _points(self, rows: Float32Array) -> Float32Array:
        """Vectors as the library gets them: of length one, or in units of the longest."""
        if self.metric == "cosine":
            return unit_rows(rows)
        # The factor may be beyond float32, where the products are not.
        return np.multiply(rows, 1 / self._unit, dtype=np.float64).astype(np.float32)

    # ------------------------------------------------------------------ searching

    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        exclude: CSR | sp.sparray | sp.spmatrix | Sequence[npt.ArrayLike] | None = None,
        deny: npt.ArrayLike | None = None,
        allow: npt.ArrayLike | None = None,
        *,
        verbose: bool | int = False,
    ) -> tuple[Int32Array, Float32Array]:
        """Return the ids and scores of k vectors with a great score, mostly the greatest, for each query.

        Parameters
        ----------
        queries : array-like of shape (n, n_factors)
            Finite real numbers, used as float32.
        k : int, default=10
            Results a query, 1 to 1,000,000. May exceed the number of vectors.
        exclude : CSR, scipy sparse matrix of shape (n, n_items), or sequence of n id arrays, default=None
            Ids that each query must not get. Of a matrix the stored entries count, whatever their values.
        deny : array-like of int, or of bool and shape (n_items,), default=None
            Ids that no query gets, or a mask of them.
        allow : as `deny`, or as `exclude`, default=None
            The only ids that any query gets, or the candidates of each query, which are ranked exactly (None: all).
        verbose : bool or int, default=False
            Whether to show progress.

        Returns
        -------
        ids : ndarray of shape (n, k), int32
            Best first, ties by smaller id; -1 where fewer than k candidates are left.
        scores : ndarray of shape (n, k), float32
            Computed in float64 and rounded; ``-inf`` where `ids` is -1.

        Raises
        ------
        TypeError
            If an argument is of the wrong kind.
        ValueError
            If k is out of range, shapes disagree, or `queries` hold NaN or infinity.
        IndexError
            If an id is outside [0, n_items).
        """
        subject = f"{_CLASS}.search"
        with self._lock.shared():
            if is_lists(allow):
                rows, k, excluded, denied, _ = self._checked(subject, queries, k, exclude, deny, None)
                own = as_lists(subject, "allow", allow, (len(rows), len(self)))
                return self._exact.search(rows, k, excluded, denied, own, verbose=verbose)
            return self._search(*self._checked(subject, queries, k, exclude, deny, allow), verbose, subject)

    def recall(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        exclude: CSR | sp.sparray | sp.spmatrix | Sequence[npt.ArrayLike] | None = None,
        deny: npt.ArrayLike | None = None,
        allow: npt.ArrayLike | None = None,
    ) -> float:
        """Measure the share of the exact top k that `search` finds, mean over the queries.

        A result counts if its score is at least the least one of the exact top k: of ties, each is right.

        Parameters
        ----------
        queries, k, exclude, deny, allow
            As in `search`. Some thousand queries tell the second digit.

        Returns
        -------
        float
            Between 0 and 1. Queries without a candidate do not count; 1 where there is no other.

        Raises
        ------
        TypeError, ValueError, IndexError
            As `search`.
        """
        subject = f"{_CLASS}.recall"
        if is_lists(allow):
            raise ValueError(f"{subject}: the candidates of each query are ranked exactly; leave them out")
        with self._lock.shared():
            arguments = self._checked(subject, queries, k, exclude, deny, allow)
            found_ids, found = self._search(*arguments, False, subject)
            best_ids, best = self._exact.search(*arguments)
        n_best = np.count_nonzero(best_ids >= 0, axis=1)
        counted = np.flatnonzero(n_best)
        if counted.size == 0:
            return 1.0
        least = best[counted, n_best[counted] - 1]
        hits = (found_ids[counted] >= 0) & (found[counted] >= least[:, np.newaxis])
        return float(np.minimum(hits.sum(axis=1) / n_best[counted], 1).mean())

    def _checked(
        self, subject: str, queries: npt.ArrayLike, k: Any, exclude: Any, deny: Any, allow: Any
    ) -> tuple[Float32Array, int, CSR | None, Int32Array | None, Int32Array | None]:
        """The arguments of a search, in the order of `search`."""
        k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
        rows, _ = as_vectors(subject, "queries", queries)
        self._check_width(subject, "queries", rows)
        excluded = as_lists(subject, "exclude", exclude, (len(rows), len(self)))
        allowed, denied = (
            as_ids(self._backend, subject, name, given, len(self)) for name, given in (("allow", allow), ("deny", deny))
        )
        return rows, k, excluded, denied, allowed

    def _check_width(self, subject: str, name: str, rows: Float32Array) -> None:
        if rows.shape[1] != self.shape[1]:
            raise ValueError(f"{subject}: {name} have {rows.shape[1]} columns but the vectors have {self.shape[1]}")

    def _search(
        self,
        queries: Float32Array,
        k: int,
        excluded: CSR | None,
        denied: Int32Array | None,
        allowed: Int32Array | None,
        verbose: bool | int,
        subject: str,
    ) -> tuple[Int32Array, Float32Array]:
        ef_search = check_int(subject, "ef_search", self.ef_search, minimum=1, maximum=_MAX_EF)
        n_items, blocked = len(self), _blocked(len(self), denied, allowed)
        n_open = n_items if blocked is None else n_items - int(np.count_nonzero(blocked))
        # A share n_open / n_items of the proposals is open to all; as many as a query excludes may be among them.
        wanted = (k + _SLACK) * max(1, n_items / max(1, n_open))
        least = int(_power_of_two(np.array([k + _SLACK]))[0])
        counts = _power_of_two(np.full(len(queries), wanted) + (0 if excluded is None else excluded.row_counts()))
        by_graph, is_done = self._can_propose(queries), np.zeros(len(queries), dtype=bool)
        ids, scores = np.full((len(queries), k), -1, np.int32), np.full((len(queries), k), -np.inf, np.float32)
        while (left := np.flatnonzero(by_graph & ~is_done & (counts * _VECTORS_A_PROPOSAL <= n_open))).size:
            for rows in _alike(left, counts, verbose):
                count = int(counts[rows[0]])
                proposals = self._propose(queries[rows], count, ef_search + count - least)
                own = None if excluded is None else excluded.take_rows(rows)
                ids[rows], scores[rows] = self._rank(queries[rows], proposals, k, own, blocked)
                is_done[rows] = ids[rows, -1] >= 0
                counts[rows] *= _WIDENING
        rest = np.flatnonzero(~is_done)
        if rest.size:
            own = None if excluded is None else excluded.take_rows(rest)
            ids[rest], scores[rest] = self._exact.search(queries[rest], k, own, denied, allowed, verbose=verbose)
        return ids, scores

    def _can_propose(self, queries: Float32Array) -> npt.NDArray[np.bool_]:
        """Which queries the graph tells anything about."""
        if self._graph is None or len(self._graph) != len(self):
            return np.zeros(len(queries), dtype=bool)
        lengths = _lengths(queries)
        return lengths <= _FAR * self._unit if self.metric == "euclidean" else lengths > 0

    def _propose(self, queries: Float32Array, count: int, ef: int) -> Int64Array:
        assert self._graph is not None  # or no query would come here
        is_distance = self.metric == "euclidean"  # of others a query's length changes no ranking, and may overflow
        points = self._points(queries) if is_distance else unit_rows(queries)
        return self._graph.search(points, count, ef, self._backend.context.n_threads)

    def _rank(
        self,
        queries: Float32Array,
        proposals: Int64Array,
        k: int,
        excluded: CSR | None,
        blocked: npt.NDArray[np.bool_] | None,
    ) -> tuple[Int32Array, Float32Array]:
        """The k best of each query's proposals that are not masked, by exact scores; -1 among proposals is none."""
        rising = np.sort(proposals, axis=1)
        is_new = np.diff(rising, axis=1, prepend=-1) > 0
        offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(is_new, axis=1))]).astype(np.int64)
        ids = rising[is_new].astype(np.int32)
        own = CSR(offsets, ids, np.ones(ids.size, np.float32), (len(queries), len(self)))
        return self._exact.search(queries, k, excluded, blocked, own)

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file: vectors and graph, in safetensors with a JSON header, never pickle.

        The file appears under its name only when it is whole. `n_jobs` stays behind.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        header, arrays = self._to_state()
        write_model_file(path, {"class": _CLASS, **header}, {"vectors": self.vectors, **arrays})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, n_jobs: int | None = None) -> ApproximateIndex:
        """Read an index that `save` wrote.

        A checksum stands between damage and the library, which trusts what it reads: load files of people whom you
        trust.

        Parameters
        ----------
        path : path-like
        n_jobs : int, default=None
            Number of threads; None is every CPU at hand.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If the file is truncated, damaged, of a newer format or holds no index.
        ImportError
            If the library that made the graph is not installed.
        """
        header, arrays = read_model_file(path)
        check_class(header, _CLASS)
        get_backend("cpu", n_jobs, f"{_CLASS}.load")
        try:
            return cls._from_state(header, arrays, arrays["vectors"], n_jobs)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFileError(f"load: the file of this {_CLASS} is damaged ({error})") from error

    def _to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """What a file needs besides the vectors."""
        header = {**{name: getattr(self, name) for name in _SETTINGS}, "unit": self._unit}
        is_whole = self._graph is not None and len(self._graph) == len(self)
        return header, {"graph": self._graph.to_bytes()} if self._graph is not None and is_whole else {}

    @classmethod
    def _from_state(
        cls,
        header: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        vectors: npt.NDArray[Any],
        n_jobs: int | None,
    ) -> ApproximateIndex:
        """Rebuild an index; ``KeyError``, ``TypeError`` or ``ValueError`` where its parts do not fit together."""
        index = cls.__new__(cls)
        rows, _ = as_vectors(_CLASS, "vectors", vectors)
        index._configure(rows.shape[1], n_jobs=n_jobs, **{name: header[name] for name in _SETTINGS})
        index._unit = check_float(_CLASS, "unit", header["unit"], minimum=0)
        index._exact = ExactIndex(rows, metric=index.metric, n_jobs=n_jobs)
        if "graph" in arrays:
            index._graph = _graph_from(index._graph_class, arrays["graph"], index._options)
            if len(index._graph) != len(rows) or index._unit == 0:
                raise ValueError(f"the graph has {len(index._graph)} vectors, not {len(rows)}")
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (*self._to_state(), self.vectors, self.n_jobs)

    @property
    def vectors(self) -> Float32Array:
        """The vectors, read-only."""
        return self._exact.vectors

    @property
    def shape(self) -> tuple[int, int]:
        """Number of vectors and their length."""
        n_items, n_factors = self.vectors.shape
        return n_items, n_factors

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        n_items, n_factors = self.shape
        return f"{_CLASS}({n_items} vectors of length {n_factors}, metric={self.metric!r}, library={self.library!r})"


def _restored(
    header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], vectors: Float32Array, n_jobs: int | None
) -> ApproximateIndex:
    """Index of a pickle."""
    return ApproximateIndex._from_state(header, arrays, vectors, n_jobs)


def _graph_from(graph_class: type[Graph], content: npt.NDArray[Any], options: GraphOptions) -> Graph:
    if content.dtype != np.uint8 or content.ndim != 1:
        raise TypeError(f"the graph must be one-dimensional uint8, got {content.dtype} of shape {content.shape}")
    try:
        return graph_class.from_bytes(content, options)
    except Exception as error:  # each library has its own way to say no
        raise ValueError(f"the library does not take the graph: {error}") from error


def _lengths(rows: npt.NDArray[np.floating[Any]]) -> Float64Array:
    lengths: Float64Array = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return lengths


def _blocked(n_items: int, denied: Int32Array | None, allowed: Int32Array | None) -> npt.NDArray[np.bool_] | None:
    """Which vectors nobody gets; None where everybody may get all."""
    if denied is None and allowed is None:
        return None
    blocked = np.full(n_items, allowed is not None)
    if allowed is not None:
        blocked[allowed] = False
    if denied is not None:
        blocked[denied] = True
    return blocked


def _power_of_two(numbers: npt.NDArray[Any]) -> Int64Array:
    """The least power of two that is no smaller, of numbers above 0: few different ones are few calls."""
    powers: Int64Array = (2 ** np.ceil(np.log2(numbers))).astype(np.int64)
    return powers


def _alike(rows: Int64Array, counts: Int64Array, verbose: bool | int) -> Iterator[Int64Array]:
    """Split `rows` into blocks of equal counts."""
    parts = []
    for count in np.unique(counts[rows]):
        like = rows[counts[rows] == count]
        size = max(1, min(_BLOCK_QUERIES, _BLOCK_NUMBERS // int(count)))
        parts += [like[start : start + size] for start in range(0, like.size, size)]
    # A bar that is not drawn takes as long as the graph for a single query.
    yield from ProgressBar(parts, verbose=verbose, description="Searching", unit="block") if verbose else parts
