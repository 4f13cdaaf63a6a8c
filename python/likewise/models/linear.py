"""Linear autoencoders in closed form: every item predicted from all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_choice, check_float, check_int
from likewise.data import CSR, Interactions
from likewise.retrieval import MAX_K, top_k_scores

from ._sparse import ItemItemRecommender, Measure, nearest, one_each, without_zeros

__all__ = ["EASE", "EDLAE"]

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# Users whose scores are there at a time, where single ones of them are asked for.
_BLOCK_USERS = 1024
# Multiply-adds of an inverse between two looks at Ctrl-C and the progress bar.
_SWEPT_PRODUCTS = 1 << 35
# Items regressed on their nearest in a call of the kernel.
_BLOCK_ITEMS = 1024
# Correlations that are kept of an item, and of it for each of its weights: what is left out counts as 0.
_LEAST_RELATED, _RELATED = 500, 5
# Sums of products stay far from the end of float32.
_LARGEST_SUM = 1e30


class _Autoencoder(ItemItemRecommender):
    """B = I - P diag(1 / diag P), where P is the inverse of X'X plus a diagonal."""

    regularization: float
    k: int | None
    solver: str
    verbose: bool | int
    weights_: Any

    def _penalties(self, squares: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """What is added to the diagonal of X'X, which holds `squares`."""
        return np.full(squares.size, float(self.regularization))

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_float(name, "regularization", self.regularization, minimum=0, maximum=1e30, exclusive=True)
        if self.k is not None:
            check_int(name, "k", self.k, minimum=1, maximum=MAX_K)
        check_choice(name, "solver", self.solver, ("dense", "sparse"))
        if self.solver == "sparse" and self.k is None:
            raise ValueError(f"{name}: solver='sparse' needs k, how many items each one is predicted from")

    # ------------------------------------------------------------------ fitting

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name = type(self).__name__
        largest = float(np.abs(data.by_user.values).max(initial=0))
        diagonal = self._penalties(np.full(1, largest**2 * data.n_users))[0]
        if not largest**2 * data.n_users + diagonal <= _LARGEST_SUM:
            raise ValueError(f"{name}: values up to {largest:.3g} leave float32 in X'X; scale the values of X")
        self.weights_ = self._nearest_weights(data) if self.solver == "sparse" else self._all_weights(data)

    def _all_weights(self, data: Interactions) -> Float32Array | CSR:
        """The minimum, by an inverse in place, and what `k` leaves of it."""
        backend, n_items = self._backend(), data.n_items
        matrix: Float32Array = backend.empty((n_items, n_items))
        kernels = backend.kernels
        kernels.sparse_gramian(backend.context, backend.csr(data.by_user), backend.csr(data.by_item), matrix)
        diagonal = np.einsum("ii->i", matrix)  # a view
        diagonal += self._penalties(diagonal.copy()).astype(np.float32)
        # Some tenths of a second on a few cores: an interrupt comes through between two calls.
        n_swept = kernels.SWEPT_ROWS * max(1, _SWEPT_PRODUCTS // (kernels.SWEPT_ROWS * n_items**2))
        try:
            for first in self._progress(n_items, n_swept):
                kernels.invert_spd(backend.context, matrix, first, min(first + n_swept, n_items))
        except ValueError as error:
            raise self._singular() from error
        with np.errstate(all="ignore"):
            scales = -1 / diagonal
        if not (np.isfinite(diagonal).all() and np.isfinite(scales).all()):
            raise self._singular()
        matrix *= scales
        diagonal[:] = 0
        return matrix if self.k is None else self._pruned(matrix, int(self.k))

    def _nearest_weights(self, data: Interactions) -> CSR:
        """The minimum where an item has weights from its k nearest alone, and all others are unrelated."""
        backend, k, n_items = self._backend(), int(self.k or 0), data.n_items
        squares = np.bincount(data.by_user.indices, data.by_user.values.astype(np.float64) ** 2, n_items)
        penalties = self._penalties(squares)
        norms, floors = np.sqrt(squares + penalties), (penalties / (squares + penalties)).astype(np.float32)
        measure = Measure("product", norms.astype(np.float32), norms.astype(np.float32))
        n_related = max(_LEAST_RELATED, _RELATED * k)
        correlations = nearest(backend, data.by_item, data.by_user, measure, n_related, first=0)
        offsets = np.concatenate([[0], np.cumsum(np.minimum(correlations.row_counts(), k))]).astype(np.int64)
        ids, values = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
        kernel, prepared = backend.kernels.regress_on_nearest, backend.csr(correlations)
        for first in self._progress(n_items, _BLOCK_ITEMS):
            block = offsets[first : first + _BLOCK_ITEMS + 1]
            found = slice(block[0], block[-1])
            try:
                kernel(
                    backend.context, prepared, floors, n_related, first, k, block - block[0], ids[found], values[found]
                )
            except ValueError as error:
                raise self._singular() from error
        items = np.repeat(np.arange(n_items), np.diff(offsets))
        weights = (values * norms[items] / norms[ids]).astype(np.float32)
        return without_zeros(CSR(offsets, ids, weights, (n_items, n_items))).transpose()

    def _singular(self) -> ValueError:
        return ValueError(
            f"{type(self).__name__}: X'X with a regularization of {self.regularization:g} is singular in float32; "
            "raise it"
        )

    def _progress(self, n_items: int, n_block: int) -> ProgressBar:
        """The beginnings of blocks of items."""
        return ProgressBar(
            range(0, n_items, n_block), verbose=self.verbose, description=type(self).__name__, unit="items",
            total=n_items, size=lambda first: min(n_block, n_items - first),
        )  # fmt: skip

    def _pruned(self, matrix: Float32Array, k: int) -> CSR:
        """The k weights of greatest magnitude of each item, what is 0 left out."""
        n_items = len(matrix)
        ids, _ = top_k_scores(self._backend(), lambda rows: np.abs(matrix[rows]), n_items, n_items, min(k, n_items))
        ids.sort(axis=1)
        rows = np.broadcast_to(np.arange(n_items)[:, np.newaxis], ids.shape)
        values = matrix[rows, ids]
        kept = values != 0
        offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64)
        return CSR(offsets, ids[kept], values[kept], (n_items, n_items))

    def _set_interactions(self, data: Interactions) -> None:
        super()._set_interactions(data)
        squares = np.bincount(data.by_user.indices, data.by_user.values.astype(np.float64) ** 2, data.n_items)
        self._known = squares > 0

    # ------------------------------------------------------------------ dense weights

    @property
    def _is_dense(self) -> bool:
        return isinstance(self.weights_, np.ndarray)

    def _dense_scores(self, histories: CSR) -> Float32Array:
        backend = self._backend()
        out: Float32Array = backend.empty((histories.n_rows, self.n_items_))
        backend.kernels.multiply_sparse(backend.context, backend.csr(histories), self.weights_, out)
        return out

    def _says_something(self, histories: CSR) -> npt.NDArray[np.bool_]:
        """Which histories hold an item that somebody had in the fit: of the others nothing is known."""
        known = self._known[histories.indices] & (histories.values != 0)
        return np.bincount(histories.row_numbers(), known, histories.n_rows) > 0

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        if not self._is_dense:
            return super()._scores(histories, rows)
        scores = self._dense_scores(self._queries(histories, rows))
        scores[:, ~self._known] = -np.inf
        return scores

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
        if not self._is_dense:
            return super()._top_k(histories, rows, k, exclude, allow, deny, subject, exactly=exactly)
        queries = self._queries(histories, rows)
        if allow is None and not self._known.all():
            blank = np.flatnonzero(~self._known)
            deny = blank if deny is None else np.concatenate([blank, deny])
        ids, scores = top_k_scores(
            self._backend(),
            lambda block: self._dense_scores(queries.take_rows(block)),
            rows.size,
            self.n_items_,
            k,
            exclude,
            deny,
            allow,
            verbose=self.verbose,
            subject=subject,
        )
        nothing = ~self._says_something(queries)
        ids[nothing], scores[nothing] = -1, -np.inf
        return ids, scores

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        if not self._is_dense:
            return super()._pair_scores(users, items)
        distinct, places = np.unique(users, return_inverse=True)
        out = np.empty(users.size, dtype=np.float32)
        order = np.lexsort((places,))
        starts = np.searchsorted(places[order], np.arange(0, distinct.size + _BLOCK_USERS, _BLOCK_USERS))
        for block, start in enumerate(range(0, distinct.size, _BLOCK_USERS)):
            scores = self._dense_scores(self._queries(None, distinct[start : start + _BLOCK_USERS]))
            pairs = order[starts[block] : starts[block + 1]]
            out[pairs] = scores[places[pairs] - start, items[pairs]]
        return out

    def transform(self, X: Any) -> Any:
        """Scores of all items for new rows: `X` times the weights.

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Histories, of users whom the model need not know.

        Returns
        -------
        ndarray or csr_array of shape (n, n_items), float32
            Dense as the weights are, or sparse where `k` has pruned them. Of seen items too.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        """
        if not hasattr(self, "weights_") or not self._is_dense:
            return super().transform(X)
        return self._dense_scores(self._histories(X, type(self).__name__).by_user)

    def _most_similar(self, rows: Int64Array, k: int) -> tuple[Int32Array, Float32Array]:
        if not self._is_dense:
            return super()._most_similar(rows, k)
        ids, scores = top_k_scores(
            self._backend(),
            lambda block: self.weights_[rows[block]],
            rows.size,
            self.n_items_,
            k,
            one_each(rows, self.n_items_),
            np.flatnonzero(~self._known),
            subject="similar_items",
        )
        nothing = ~self._known[rows]
        ids[nothing], scores[nothing] = -1, -np.inf
        return ids, scores

    def _contributions(self, user: int, item: int) -> tuple[float, Int32Array, npt.NDArray[np.float64]]:
        if not self._is_dense:
            return super()._contributions(user, item)
        ids, values = self._queries(None, np.array([user])).row(0)
        contributions = values.astype(np.float64) * self.weights_[ids, item].astype(np.float64)
        return float(contributions.sum()), ids, contributions

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {"weights": self.weights_} if self._is_dense else super()._state()

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        if "weights" in arrays:
            self.weights_ = self._checked(arrays["weights"], (self.n_items_, self.n_items_))
        else:
            super()._set_state(arrays)


class EASE(_Autoencoder):
    r"""Predict every item from all others, by the linear model with the least squared error and no weight to itself.

    Minimizes :math:`|X - X B|^2 + \lambda |B|^2` over the B with a diagonal of zeros [1]_. With
    :math:`P = (X^T X + \lambda I)^{-1}` its minimum is :math:`B_{ij} = -P_{ij} / P_{jj}`. The score of item j is
    :math:`\sum_i x_{ui} B_{ij}` over the items i of a history; weights may be negative.

    Parameters
    ----------
    regularization : float, default=500.0
        The penalty :math:`\lambda`, above 0: some tens for small data, up to some thousands for large.
    k : int, default=None
        Weights that are kept; None keeps all, n_items² of them.
    solver : str, default="dense"
        ``"dense"``: all weights by an inverse of n_items² numbers, and of the weights from each item the `k` of
        greatest magnitude. ``"sparse"``: each item is predicted from the `k` items whose cosine with it is greatest
        and not 0 [2]_, in memory that grows with n_items times `k`; an approximation, which needs `k`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress.

    Attributes
    ----------
    weights_ : ndarray or CSR of shape (n_items, n_items), float32
        The matrix B: dense, or a `CSR` with `k`.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] H. Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019, doi:10.1145/3308558.3313710
    .. [2] H. Steck, Markov random fields for collaborative filtering, NeurIPS 2019, doi:10.48550/arXiv.1910.09645

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.EASE(regularization=1.0).fit(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]]))
    >>> model.weights_.round(3)
    array([[0.   , 0.625, 0.2  ],
           [0.625, 0.   , 0.2  ],
           [0.125, 0.125, 0.   ]], dtype=float32)
    """

    _search_space: ClassVar[Space] = {"regularization": Range(1.0, 10_000.0, log=True)}

    def __init__(
        self,
        regularization: float = 500.0,
        k: int | None = None,
        *,
        solver: str = "dense",
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.regularization = regularization
        self.k = k
        self.solver = solver
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose


class EDLAE(_Autoencoder):
    r"""Predict every item from all others, some of which have been dropped out.

    As `EASE`, with a penalty for each item that grows with how often it occurs:
    :math:`P = (X^T X + \mathrm{diag}(\lambda + \frac{p}{1 - p} (X^T X)_{ii}))^{-1}`. That is the mean over all ways to
    drop an entry of the input with probability p, what is kept being scaled by 1 / (1 - p), with all the emphasis on
    what was dropped [1]_.

    Parameters
    ----------
    regularization : float, default=500.0
        The penalty :math:`\lambda`, above 0.
    dropout : float, default=0.3
        The probability p, 0 to 1, 1 left out; with 0 it is `EASE`.
    k : int, default=None
        Weights that are kept; None keeps all.
    solver : str, default="dense"
        ``"dense"`` or ``"sparse"``, as of `EASE`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress.

    Attributes
    ----------
    weights_ : ndarray or CSR of shape (n_items, n_items), float32
        The matrix B: dense, or a `CSR` with `k`.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] H. Steck, Autoencoders that don't overfit towards the identity, NeurIPS 2020,
       https://proceedings.neurips.cc/paper/2020/hash/e33d974aae13e4d877477d51d8bafdc4-Abstract.html

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.EDLAE(regularization=1.0, dropout=0.5).fit(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]]))
    >>> model.recommend(0, k=1).items
    array([2])
    """

    dropout: float

    _search_space: ClassVar[Space] = {"regularization": Range(1.0, 10_000.0, log=True), "dropout": Range(0.05, 0.8)}

    def __init__(
        self,
        regularization: float = 500.0,
        dropout: float = 0.3,
        k: int | None = None,
        *,
        solver: str = "dense",
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.regularization = regularization
        self.dropout = dropout
        self.k = k
        self.solver = solver
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_float("EDLAE", "dropout", self.dropout, minimum=0)
        check_float("EDLAE", "dropout", self.dropout, maximum=1, exclusive=True)

    def _penalties(self, squares: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return super()._penalties(squares) + self.dropout / (1 - self.dropout) * squares.astype(np.float64)
