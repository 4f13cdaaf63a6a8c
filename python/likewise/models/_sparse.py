"""What models of sparse weights share: neighbours found by the kernel, and ranking through `top_k_sparse`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend
from likewise._validation import check_int
from likewise.data import CSR, Interactions
from likewise.retrieval import MAX_K, top_k_sparse

from ._results import Explanation, SimilarItems
from .base import Recommender, is_single

__all__ = [
    "MAX_SUPPORT",
    "ItemItemRecommender",
    "Measure",
    "SparseRecommender",
    "as_numbers",
    "keep_greatest",
    "nearest",
    "one_each",
    "without_zeros",
]

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Self = TypeVar("Self", bound="SparseRecommender")

# Slots of neighbours that a call of the kernel fills: 1 GiB of ids and similarities.
_BLOCK_SLOTS = 1 << 27
# Counts of float32 are exact up to here.
MAX_SUPPORT = 1 << 24
# No sum of products comes near the end of float32.
_LARGEST_SUM = 1e37


class Measure(NamedTuple):
    """How a sum of products becomes a similarity, as csrc/similarity.hpp has it."""

    denominator: str
    """``"product"``: left * right + shrinkage; ``"sum"``: left + right + overlap * sum + shrinkage."""
    left: Float32Array
    right: Float32Array
    overlap: float = 0.0
    shrinkage: float = 0.0
    minimum: float = 0.0
    min_support: int = 1


def nearest(
    backend: Backend, rows: CSR, columns: CSR, measure: Measure, k: int, *, first: int = -1, subject: str = "nearest"
) -> CSR:
    """Find the `k` columns most similar to each row.

    Parameters
    ----------
    backend : Backend
    rows : CSR of shape (n, f)
    columns : CSR of shape (f, m)
        Transposed: what the columns are like stands in columns.
    measure : Measure
        ``left`` has shape (n,), ``right`` (m,).
    k : int
        Neighbours a row, at least 1.
    first : int, default=-1
        Which column row 0 is, row 1 being the next: a row is no neighbour of itself. -1 where the rows are others.
    subject : str, default="nearest"
        What an error names first.

    Returns
    -------
    CSR of shape (n, m)
        Similarities above ``measure.minimum``, at most k a row.

    Raises
    ------
    ValueError
        If the values are so great that a sum of their products could leave float32.
    """
    longest = int(rows.row_counts().max(initial=0))
    bound = longest * _largest(rows.values) * _largest(columns.values)
    if bound > _LARGEST_SUM:
        raise ValueError(f"{subject}: sums of products may reach {bound:.3g} and leave float32; scale the values of X")
    kernels, k = backend.kernels, min(k, max(1, columns.n_cols))
    spec = kernels.Similarity(
        getattr(kernels.Denominator, measure.denominator),
        measure.overlap,
        measure.shrinkage,
        measure.minimum,
        measure.min_support,
    )
    given, right = backend.csr(columns), backend.asarray(measure.right)
    parts = []
    n_block = max(1, _BLOCK_SLOTS // k)
    for start in range(0, max(1, rows.n_rows), n_block):
        block = rows.take_rows(slice(start, start + n_block))
        indptr = backend.empty((block.n_rows + 1,), np.int64)
        ids, values = backend.empty((block.n_rows * k,), np.int32), backend.empty((block.n_rows * k,))
        kernels.similarity(
            backend.context,
            backend.csr(block),
            given,
            backend.asarray(measure.left[start : start + n_block]),
            right,
            spec,
            k,
            -1 if first < 0 else first + start,
            indptr,
            ids,
            values,
        )
        parts.append((backend.to_numpy(indptr), backend.to_numpy(ids), backend.to_numpy(values)))
    return _joined(parts, (rows.n_rows, columns.n_cols))


def _joined(parts: list[tuple[Int64Array, Int32Array, Float32Array]], shape: tuple[int, int]) -> CSR:
    """Rows of neighbours as one matrix, in as much memory as they need."""
    counts = [int(indptr[-1]) for indptr, _, _ in parts]
    starts = np.cumsum([0, *counts])
    offsets = [part[0][1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
    indptr = np.concatenate([np.zeros(1, np.int64), *offsets])
    if len(parts) == 1 and 8 * counts[0] >= 7 * parts[0][1].size:
        return CSR(indptr, parts[0][1][: counts[0]], parts[0][2][: counts[0]], shape)
    ids = np.concatenate([part[1][:count] for part, count in zip(parts, counts, strict=True)])
    values = np.concatenate([part[2][:count] for part, count in zip(parts, counts, strict=True)])
    return CSR(indptr, ids, values, shape)


def as_numbers(numbers: npt.NDArray[np.float64], subject: str, way_out: str = "scale the values of X") -> Float32Array:
    """Return what a `Measure` divides by as float32, or say that it cannot be held."""
    largest = float(numbers.max(initial=0))
    if not largest <= float(np.finfo(np.float32).max):
        raise ValueError(f"{subject}: a denominator of {largest:.3g} is beyond float32; {way_out}")
    return numbers.astype(np.float32)


def without_zeros(matrix: CSR, values: Float32Array | None = None) -> CSR:
    """Drop entries that store a zero, or for which `values` does: nobody has such an item."""
    return _only(matrix, (matrix.values if values is None else values) != 0)


def keep_greatest(backend: Backend, matrix: CSR, k: int) -> CSR:
    """Drop all but the `k` greatest entries of each row; of equal ones those of smaller columns stay."""
    if int(matrix.row_counts().max(initial=0)) <= k:
        return matrix
    given, parts, n_block = backend.csr(matrix), [], max(1, _BLOCK_SLOTS // k)
    for start in range(0, matrix.n_rows, n_block):
        rows = np.arange(start, min(matrix.n_rows, start + n_block))
        ids, values = top_k_sparse(backend, one_each(rows, matrix.n_rows), given, k)
        filled = ids >= 0
        indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        part = sp.csr_array((values[filled], ids[filled], indptr), shape=(rows.size, matrix.n_cols))
        part.sort_indices()
        parts.append((indptr, part.indices.astype(np.int32), part.data))
    return _joined(parts, matrix.shape)


def _only(matrix: CSR, kept: npt.NDArray[np.bool_]) -> CSR:
    """The entries that are to be kept; the matrix itself, where these are all."""
    if kept.all():
        return matrix
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return CSR(indptr, matrix.indices[kept], matrix.values[kept], matrix.shape)


def _largest(values: Float32Array) -> float:
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


class SparseRecommender(TransformerMixin, ClassNamePrefixFeaturesOutMixin, Recommender):  # type: ignore[misc]
    """A model whose scores are sums of products of sparse queries and sparse weights.

    Candidates of a user are the items that a stored weight leads to; of all others nothing is known, and they fill no
    slots.
    """

    @abstractmethod
    def _queries(self, histories: CSR | None, rows: Int64Array) -> CSR:
        """What is multiplied by the weights, for the fitted users in `rows` or for those rows of `histories`."""

    @abstractmethod
    def _weights(self) -> CSR:
        """Weights of the items to be ranked, a row for each column of the queries."""

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = not self._allows_negative
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_items_

    def _set_interactions(self, data: Interactions) -> None:
        super()._set_interactions(data)
        # What using the model prepares; in a box of its own, as scikit-learn wants no attributes of a use.
        self._kept: dict[str, tuple[Any, ...]] = {}

    def _prepared_weights(self) -> Any:
        """The weights as the kernel takes them: looking at each of their entries takes longer than ranking a user."""
        weights, backend = self._weights(), self._backend()
        prepared = self._kept.get("prepared")
        if prepared is None or prepared[0] is not weights or prepared[1] is not backend:
            prepared = self._kept["prepared"] = (weights, backend, backend.csr(weights))
        return prepared[2]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_kept" in state:
            state["_kept"] = {}
        return state

    def __copy__(self) -> Any:
        made = type(self).__new__(type(self))
        made.__dict__ = {name: {} if name == "_kept" else value for name, value in self.__dict__.items()}
        return made

    def _top_k(
        self,
        histories: CSR | None,
        rows: Int64Array,
        k: int,
        exclude: CSR | None,
        allow: Int64Array | None,
        deny: Int64Array | None,
        subject: str,
        *,
        exactly: bool = True,
    ) -> tuple[Int32Array, Float32Array]:
        return top_k_sparse(
            self._backend(),
            self._queries(histories, rows),
            self._prepared_weights(),
            k,
            exclude,
            deny,
            allow,
            verbose=getattr(self, "verbose", False),
            subject=subject,
        )

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        ids, found = self._top_k(histories, rows, min(self.n_items_, MAX_K), None, None, None, type(self).__name__)
        out = np.full((rows.size, self.n_items_), -np.inf, dtype=np.float32)
        filled = ids >= 0
        out[np.nonzero(filled)[0], ids[filled]] = found[filled]
        return out

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        weights = self._weights()
        by_item = self._kept.get("by_item")
        if by_item is None or by_item[0] is not weights:
            by_item = self._kept["by_item"] = (weights, weights.transpose())
        distinct, places = np.unique(users, return_inverse=True)
        queries = self._queries(None, distinct).to_scipy().astype(np.float64)[places]
        products = queries.multiply(by_item[1].take_rows(items).to_scipy().astype(np.float64))
        scores: Float32Array = np.asarray(products.sum(axis=1)).reshape(-1).astype(np.float32)
        return scores

    def partial_fit(self: Self, X: Any, y: Any = None) -> Self:
        """Learn from further interactions, of new users and items too; before a first `fit` it is `fit`.

        What the model has learned is computed anew from all interactions, as a new item of one user changes much of it.

        Parameters
        ----------
        X : Interactions or matrix
            Rows are the users of `fit` (by id, or by row number), new ones beyond them.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self
        """
        if not hasattr(self, "interactions_"):
            return self.fit(X)
        self._check_parameters()
        _, joined = self._joined(X)
        with self._all_or_nothing():
            self._set_interactions(joined)
            self._fit(joined, None)
        return self

    def transform(self, X: Any) -> sp.csr_array:
        """Scores of all items for new rows: `X` times the weights.

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Histories, of users whom the model need not know.

        Returns
        -------
        csr_array of shape (n, n_items), float32
            A score for each item that a history leads to, seen ones among them.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        """
        histories = self._histories(X, type(self).__name__).by_user
        queries = self._queries(histories, np.arange(histories.n_rows))
        scores = queries.to_scipy().astype(np.float64) @ self._weights().to_scipy().astype(np.float64)
        scores.sort_indices()
        return scores.astype(np.float32)


def one_each(rows: Int64Array, n_columns: int) -> CSR:
    """A 1 in each row, in the column that `rows` names."""
    return CSR(np.arange(rows.size + 1), rows.astype(np.int32), np.ones(rows.size, np.float32), (rows.size, n_columns))


class ItemItemRecommender(SparseRecommender):
    """A model that scores an item by the weights between it and the items of a history.

    Attributes
    ----------
    weights_ : CSR of shape (n_items, n_items)
        The entry (i, j) is what item i of a history adds to the score of item j, times the history's value.
    """

    weights_: CSR

    def _weights(self) -> CSR:
        return self.weights_

    def _queries(self, histories: CSR | None, rows: Int64Array) -> CSR:
        return (self.interactions_.by_user if histories is None else histories).take_rows(rows)

    def similar_items(self, items: Any, k: int = 10) -> SimilarItems:
        """Items with the greatest weights in the rows of `items`: what a history of that item alone gets.

        Parameters
        ----------
        items : id or array-like of ids
        k : int, default=10

        Returns
        -------
        SimilarItems
            ``items`` and ``scores`` (weights) of shape (n, k), or (k,) for one id. Slots beyond the stored weights are
            empty.
        """
        self._check_is_fitted()
        k = check_int("similar_items", "k", k, minimum=1, maximum=MAX_K)
        rows = self.interactions_.item_index(items, "similar_items")
        ids, scores = self._most_similar(rows, k)
        labels, queries = self.interactions_.item_labels(ids), self.interactions_.item_labels(rows)
        if is_single(items):
            return SimilarItems(queries[0], labels[0], scores[0])
        return SimilarItems(queries, labels, scores)

    def _most_similar(self, rows: Int64Array, k: int) -> tuple[Int32Array, Float32Array]:
        """The k items with the greatest weights in each of `rows`, themselves left out."""
        itself = one_each(rows, self.n_items_)
        return top_k_sparse(self._backend(), itself, self._prepared_weights(), k, itself, subject="similar_items")

    def similar_users(self, users: Any, k: int = 10) -> NoReturn:
        """Refuse: weights between items say nothing of users."""
        name = type(self).__name__
        raise NotImplementedError(f"{name}: has no similar users, it knows weights between items; use UserKNN")

    def build_index(self, **options: Any) -> NoReturn:
        """Refuse: sparse weights are ranked without vectors."""
        raise NotImplementedError(f"{type(self).__name__}: needs no index, it ranks by weights between items")

    def explain(self, user: Any, item: Any, k: int = 10) -> Explanation:
        """Say which of a user's items gave an item its score.

        Parameters
        ----------
        user, item : id
        k : int, default=10
            Items of the history at most.

        Returns
        -------
        Explanation
            Of the history, the items with a stored weight to `item`; score 0 and nothing else where there is none.

        Raises
        ------
        KeyError, IndexError
            If the user or the item is unknown.
        ValueError
            If there is more than one of either, or `k` is below 1.
        """
        self._check_is_fitted()
        k = check_int("explain", "k", k, minimum=1)
        users, items = self.interactions_.user_index(user, "explain"), self.interactions_.item_index(item, "explain")
        if users.size != 1 or items.size != 1:
            raise ValueError(f"explain: give one user and one item, got {users.size} and {items.size}")
        score, ids, contributions = self._contributions(int(users[0]), int(items[0]))
        best = np.lexsort((ids, -contributions))[:k]
        return Explanation(score, self.interactions_.item_labels(ids[best]), contributions[best])

    def _contributions(self, user: int, item: int) -> tuple[float, Int32Array, npt.NDArray[np.float64]]:
        """The score of a pair, and what items of the user's history add to it."""
        ids, values = self._queries(None, np.array([user])).row(0)
        given = self._weights().take_rows(ids).to_scipy()[:, [item]].tocsc()
        contributions = values[given.indices].astype(np.float64) * given.data.astype(np.float64)
        return float(contributions.sum()), ids[given.indices], contributions

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {f"weights.{name}": array for name, array in self.weights_.to_state().items()}

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        state = {name.removeprefix("weights."): array for name, array in arrays.items() if name.startswith("weights.")}
        weights = CSR.from_state(state, subject="load")
        if weights.shape != (self.n_items_, self.n_items_):
            raise ValueError(f"weights must be {self.n_items_} x {self.n_items_}, got {weights.shape}")
        self.weights_ = weights
