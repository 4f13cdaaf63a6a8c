"""implicit.approximate_als: ALS whose rankings go through `likewise.retrieval.ApproximateIndex`."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from likewise.data import CSR
from likewise.retrieval import ApproximateIndex

from . import gpu
from .cpu.als import AlternatingLeastSquares as _Exact
from .recommender_base import Found, Search
from .utils import ParameterWarning

__all__ = [
    "AnnoyAlternatingLeastSquares",
    "ApproximateAlternatingLeastSquares",
    "FaissAlternatingLeastSquares",
    "NMSLibAlternatingLeastSquares",
]


class ApproximateAlternatingLeastSquares(_Exact):
    """ALS with a graph over its items, of whichever of usearch, faiss and hnswlib is installed (extra ``ann``).

    Parameters
    ----------
    *args, **kwargs
        As ALS takes them.
    approximate_similar_items, approximate_recommend : bool, default=True
        Whether the graph is asked. What is filtered is filtered in the search: lists are never too short for it.

    Attributes
    ----------
    recommend_index, similar_items_index : ApproximateIndex or None
        The graphs, by inner product and by cosine; made by `fit` and by `load`.
    """

    _saved: ClassVar[tuple[str, ...]] = (*_Exact._saved, "approximate_similar_items", "approximate_recommend")

    def __init__(
        self, *args: Any, approximate_similar_items: bool = True, approximate_recommend: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.approximate_similar_items = approximate_similar_items
        self.approximate_recommend = approximate_recommend
        self.recommend_index: ApproximateIndex | None = None
        self.similar_items_index: ApproximateIndex | None = None

    def _take(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> None:
        super()._take(users, items)
        self._build()

    def _set_saved(self, found: dict[str, npt.NDArray[Any]]) -> None:
        super()._set_saved(found)
        if self.item_factors is not None:
            self._build()

    def partial_fit_items(self, itemids: Any, item_users: Any) -> None:
        """As of ALS; the graphs are built anew."""
        super().partial_fit_items(itemids, item_users)
        self._build()

    def _build(self) -> None:
        vectors = np.asarray(self.item_factors, np.float32)
        n_jobs = self.num_threads or None
        self.recommend_index = ApproximateIndex(vectors, n_jobs=n_jobs) if self.approximate_recommend else None
        self.similar_items_index = (
            ApproximateIndex(vectors, metric="cosine", n_jobs=n_jobs) if self.approximate_similar_items else None
        )

    def _ranked(
        self, vectors: npt.NDArray[Any], N: int, *, single: bool, exclude: CSR | None, filtered: Any, items: Any
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.recommend_index is None or items is not None:
            return super()._ranked(vectors, N, single=single, exclude=exclude, filtered=filtered, items=items)
        return self._answer(
            _search(self.recommend_index, vectors, self.item_factors), len(vectors), len(self.item_factors), N,
            single=single, exclude=exclude, filtered=filtered, dtype=vectors.dtype,
        )  # fmt: skip

    def similar_items(  # noqa: D102  # as in the base class
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.similar_items_index is None or items is not None:
            return super().similar_items(itemid, N, recalculate_item, item_users, filter_items, items)
        vectors = np.atleast_2d(self._item_factor(itemid, item_users, recalculate_item))
        return self._answer(
            _search(self.similar_items_index, vectors, self.item_factors), len(vectors), len(self.item_factors), N,
            single=np.ndim(itemid) == 0, filtered=filter_items, dtype=vectors.dtype,
        )  # fmt: skip


def _search(index: ApproximateIndex, vectors: npt.NDArray[Any], items: npt.NDArray[Any]) -> Search:
    blank = np.flatnonzero(~items.any(axis=1))

    def search(k: int, exclude: CSR | None, deny: npt.NDArray[Any] | None, allow: npt.NDArray[Any] | None) -> Found:
        denied = blank if deny is None else np.concatenate([blank, deny])
        ids, scores = index.search(np.asarray(vectors, np.float32), k, exclude, denied if denied.size else None)
        ids[~vectors.any(axis=1)] = -1
        return ids, scores

    return search


def _make(args: tuple[Any, ...], kwargs: dict[str, Any], use_gpu: bool, **other: tuple[Any, Any]) -> Any:
    """A model, and a word on parameters of graphs that are not these."""
    for name, (value, default) in other.items():
        if value != default:
            warnings.warn(
                f"{name} is of another library's index; likewise.retrieval.ApproximateIndex has m and ef_search",
                ParameterWarning,
                stacklevel=3,
            )
    model = ApproximateAlternatingLeastSquares(*args, **kwargs)
    return model.to_gpu() if use_gpu else model


def NMSLibAlternatingLeastSquares(
    *args: Any,
    approximate_similar_items: bool = True,
    approximate_recommend: bool = True,
    method: str = "hnsw",
    index_params: Any = None,
    query_params: Any = None,
    use_gpu: bool = gpu.HAS_CUDA,
    **kwargs: Any,
) -> ApproximateAlternatingLeastSquares:
    """Make an `ApproximateAlternatingLeastSquares`; what is NMSLIB's own is answered with a `ParameterWarning`."""
    kwargs |= {"approximate_similar_items": approximate_similar_items, "approximate_recommend": approximate_recommend}
    own = {"method": (method, "hnsw"), "index_params": (index_params, None), "query_params": (query_params, None)}
    return _make(args, kwargs, use_gpu, **own)  # type: ignore[no-any-return]


def AnnoyAlternatingLeastSquares(
    *args: Any,
    approximate_similar_items: bool = True,
    approximate_recommend: bool = True,
    n_trees: int = 50,
    search_k: int = -1,
    use_gpu: bool = gpu.HAS_CUDA,
    **kwargs: Any,
) -> ApproximateAlternatingLeastSquares:
    """Make an `ApproximateAlternatingLeastSquares`; what is Annoy's own is answered with a `ParameterWarning`."""
    kwargs |= {"approximate_similar_items": approximate_similar_items, "approximate_recommend": approximate_recommend}
    return _make(args, kwargs, use_gpu, n_trees=(n_trees, 50), search_k=(search_k, -1))  # type: ignore[no-any-return]


def FaissAlternatingLeastSquares(
    *args: Any,
    approximate_similar_items: bool = True,
    approximate_recommend: bool = True,
    nlist: int = 400,
    nprobe: int = 20,
    use_gpu: bool = gpu.HAS_CUDA,
    **kwargs: Any,
) -> ApproximateAlternatingLeastSquares:
    """Make an `ApproximateAlternatingLeastSquares`; what is faiss's own is answered with a `ParameterWarning`."""
    kwargs |= {"approximate_similar_items": approximate_similar_items, "approximate_recommend": approximate_recommend}
    return _make(args, kwargs, use_gpu, nlist=(nlist, 400), nprobe=(nprobe, 20))  # type: ignore[no-any-return]
