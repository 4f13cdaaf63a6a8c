"""implicit.nearest_neighbours: item-item models, by the kernels of `likewise.ItemKNN`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import Backend, get_backend
from likewise._validation import check_int, check_rows
from likewise.data import CSR
from likewise.data.csr import check_finite
from likewise.models._sparse import Measure, nearest
from likewise.retrieval import top_k_sparse

from .recommender_base import Found, RecommenderBase, Search
from .utils import as_csr, check_csr, check_is_fitted

__all__ = [
    "BM25Recommender",
    "CosineRecommender",
    "ItemItemRecommender",
    "TFIDFRecommender",
    "all_pairs_knn",
    "bm25_weight",
    "normalize",
    "tfidf_weight",
]


class ItemItemRecommender(RecommenderBase):
    """Items that go with the items of a user, by inner products of their columns.

    Parameters
    ----------
    K : int, default=20
        Neighbours of an item, itself among them.
    num_threads : int, default=0
        0 is every CPU at hand.

    Attributes
    ----------
    similarity : CSR matrix of shape (n_items, n_items)
        To change it, set another one: what is ranked by is made of it once.
    """

    _saved: ClassVar[tuple[str, ...]] = ("K",)
    _telling: ClassVar[tuple[str, ...]] = ("K",)
    _not_set: ClassVar[tuple[str, ...]] = ("shape", "data", "indptr", "indices")

    def __init__(self, K: int = 20, num_threads: int = 0) -> None:
        self.similarity: Any = None
        self.K = K
        self.num_threads = num_threads

    def fit(self, weighted: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Find the neighbours of every item. One call of a kernel: there is no progress to be shown, nor a callback."""
        if callback:
            raise NotImplementedError(f"{type(self).__name__}: callback is not supported; the fit is one step")
        weighted = self._weighted(check_csr(weighted))
        self.similarity = all_pairs_knn(weighted, self.K, self.num_threads, show_progress).tocsr()

    def _weighted(self, counts: Any) -> Any:
        """What similarities are taken of."""
        return counts

    def recommend(  # noqa: D102  # as in the base class
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        check_is_fitted(self, self.similarity)
        n, n_items = np.size(userid), self.similarity.shape[0]
        rows = self._rows_of(user_items, n, n_items)
        check_rows(type(self).__name__, "user", userid, None)  # whom rows are of is of no matter here
        return self._answer(
            self._search(rows), n, n_items, N, single=np.ndim(userid) == 0,
            exclude=rows if filter_already_liked_items else None, filtered=filter_items, items=items, dtype=np.float64,
        )  # fmt: skip

    def _search(self, queries: CSR) -> Search:
        backend = self._backend()
        weights = self._weights(backend)

        def search(k: int, exclude: CSR | None, deny: npt.NDArray[Any] | None, allow: npt.NDArray[Any] | None) -> Found:
            return top_k_sparse(backend, queries, weights, k, exclude, deny, allow, subject="recommend")

        return search

    def _weights(self, backend: Backend) -> Any:
        """The similarities as the kernel takes them, looked at once."""
        made: tuple[Any, Any, Any] | None = self.__dict__.get("_made")
        if made is None or made[0] is not self.similarity or made[1] is not backend:
            weights = CSR.from_scipy(self.similarity, subject=type(self).__name__)
            check_finite(type(self).__name__, weights)
            made = self._made = (self.similarity, backend, backend.csr(weights))
        return made[2]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_made"}

    def similar_users(  # noqa: D102
        self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        raise NotImplementedError(
            f"{type(self).__name__}: similar_users is not of item-item models; likewise.UserKNN has it"
        )

    def similar_items(  # noqa: D102
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if recalculate_item:
            raise NotImplementedError(f"{type(self).__name__}: recalculate_item is not supported with this model")
        check_is_fitted(self, self.similarity)
        n_items = self.similarity.shape[0]
        rows = check_rows(type(self).__name__, "item", itemid, n_items)
        one_each = CSR(
            np.arange(rows.size + 1), rows.astype(np.int32), np.ones(rows.size, np.float32), (rows.size, n_items)
        )
        return self._answer(
            self._search(one_each), rows.size, n_items, N, single=np.ndim(itemid) == 0, filtered=filter_items,
            items=items, dtype=np.float64,
        )  # fmt: skip

    def _arrays(self) -> dict[str, Any]:
        if (m := self.similarity) is None:
            return super()._arrays()
        parts = {"shape": np.array(m.shape), "data": m.data, "indptr": m.indptr, "indices": m.indices}
        return super()._arrays() | parts

    def _set_saved(self, found: dict[str, npt.NDArray[Any]]) -> None:
        super()._set_saved(found)
        if "data" in found:
            shape = tuple(found["shape"].tolist())
            self.similarity = sp.csr_matrix((found["data"], found["indices"], found["indptr"]), shape=shape)
            self.similarity.check_format()


class _OfCounts(ItemItemRecommender):
    """Similarities of what counts are weighted to."""

    def fit(self, counts: Any, show_progress: bool = True, callback: Any = None) -> None:
        """As of `ItemItemRecommender`, which takes weights."""
        super().fit(counts, show_progress, callback)


class CosineRecommender(_OfCounts):
    """Similarity is the cosine of columns."""

    def _weighted(self, counts: Any) -> Any:
        return normalize(counts.T).T


class TFIDFRecommender(_OfCounts):
    """Similarity is the cosine of columns, weighted by TF-IDF."""

    def _weighted(self, counts: Any) -> Any:
        return normalize(tfidf_weight(counts.T)).T


class BM25Recommender(_OfCounts):
    """Similarity is the inner product of columns, weighted by BM25.

    Parameters
    ----------
    K, num_threads
        As in `ItemItemRecommender`.
    K1 : float, default=1.2
    B : float, default=0.75
    """

    _saved: ClassVar[tuple[str, ...]] = ("K", "K1", "B")

    def __init__(self, K: int = 20, K1: float = 1.2, B: float = 0.75, num_threads: int = 0) -> None:
        super().__init__(K, num_threads)
        self.K1 = K1
        self.B = B

    def _weighted(self, counts: Any) -> Any:
        return bm25_weight(counts.T, self.K1, self.B).T


def all_pairs_knn(users: Any, K: int = 100, num_threads: int = 0, show_progress: bool = True) -> sp.coo_matrix:
    """Inner products of columns: for each the K greatest, itself among them.

    Parameters
    ----------
    users : sparse matrix of shape (n_users, n_items)
    K : int, default=100
    num_threads : int, default=0
        0 is every CPU at hand.
    show_progress : bool, default=True
        One call of a kernel: there is none to be shown.

    Returns
    -------
    coo_matrix of shape (n_items, n_items), float64
        Products above 0.
    """
    K = check_int("all_pairs_knn", "K", K, minimum=1)
    columns = as_csr(users.tocsr(), "all_pairs_knn")
    ones = np.ones(columns.n_cols, np.float32)
    backend = get_backend("cpu", num_threads or None, "all_pairs_knn")
    k = min(K, max(1, columns.n_cols))
    found = nearest(backend, columns.transpose(), columns, Measure("product", ones, ones), k, subject="all_pairs_knn")
    return sp.coo_matrix(sp.csr_matrix(found.to_scipy()).astype(np.float64))


def tfidf_weight(X: Any) -> sp.coo_matrix:
    """Square roots of counts times the inverse document frequency of their columns."""
    X = _as_floats(X)
    idf = np.log(float(X.shape[0])) - np.log1p(np.bincount(X.col, minlength=X.shape[1]))
    X.data = np.sqrt(X.data) * idf[X.col]
    return X


def normalize(X: Any) -> sp.coo_matrix:
    """Rows divided by their lengths."""
    X = _as_floats(X)
    lengths = np.sqrt(np.bincount(X.row, X.data**2, minlength=X.shape[0]))
    X.data = X.data / np.where(lengths > 0, lengths, 1)[X.row]
    return X


def bm25_weight(X: Any, K1: float = 100, B: float = 0.8) -> sp.coo_matrix:
    """BM25 weights of rows: counts saturate with K1, long rows weigh less by B."""
    X = _as_floats(X)
    idf = np.log(float(X.shape[0])) - np.log1p(np.bincount(X.col, minlength=X.shape[1]))
    sums = np.bincount(X.row, X.data, minlength=X.shape[0])
    mean = sums.mean() if sums.size else 0.0
    relative = (1 - B) + B * sums / (mean if mean else 1.0)
    X.data = X.data * (K1 + 1) / (K1 * relative[X.row] + X.data) * idf[X.col]
    return X


def _as_floats(X: Any) -> sp.coo_matrix:
    X = sp.coo_matrix(X, copy=True)
    X.data = X.data.astype(np.float64)
    return X
