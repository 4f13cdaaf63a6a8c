"""Truncated singular value decomposition of the interactions, pairs without one being zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_int, check_random_state
from likewise.data import CSR, Interactions

from ._results import Explanation
from .base import VectorRecommender, zero_rows

__all__ = ["PureSVD"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_MAX_FACTORS = 8192
# Singular values below this share of the greatest are rounding errors of float32.
_LEAST = 1e-5
# Values between these need no scaling before they are squared and summed up in float32.
_SMALL, _LARGE = 1e-6, 1e6


class PureSVD(TransformerMixin, ClassNamePrefixFeaturesOutMixin, VectorRecommender):  # type: ignore[misc]
    r"""Score items by the projection of a user's row on the leading singular vectors of all rows [1]_.

    With the truncated decomposition :math:`X \approx U \Sigma V^T` of the matrix of users x items, in which a pair
    without an interaction is a zero, the scores of a row x are :math:`x V V^T`. The decomposition is found by
    randomized subspace iteration [2]_.

    Parameters
    ----------
    factors : int, default=64
        Singular vectors kept, 1 to 8192. Vectors beyond the rank of X are zeros.
    iterations : int, default=5
        Products with X and its transpose on the way to the leading directions, at least 1. More are needed the more
        slowly the singular values fall.
    oversampling : int, default=16
        Directions carried along beyond `factors`, and left out in the end; at least 0.
    random_state : int, Generator, RandomState, SeedSequence or None, default=None
        Seed of the starting directions.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand. The factors are bitwise the same at any number.
    verbose : bool or int, default=False
        Whether to show progress.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, factors), float32
        ``X @ item_factors_``: left singular vectors times singular values.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Right singular vectors in columns; of each the entry of greatest magnitude is positive.
    singular_values_ : ndarray of shape (factors,), float32
        In falling order, but for rounding.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] P. Cremonesi, Y. Koren, R. Turrin, Performance of recommender algorithms on top-N recommendation tasks,
       RecSys 2010, doi:10.1145/1864708.1864721
    .. [2] N. Halko, P. Martinsson, J. Tropp, Finding structure with randomness: probabilistic algorithms for
       constructing approximate matrix decompositions, SIAM Review 53, 2011, algorithm 4.4, doi:10.1137/090771806

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))
    >>> X[0, 0] = 0
    >>> model = lw.PureSVD(factors=2, random_state=0).fit(X)
    >>> int(model.recommend(0, k=1).items[0])
    0
    """

    _allows_negative = True

    user_factors_: Float32Array
    item_factors_: Float32Array
    singular_values_: Float32Array
    _zero_items: Int64Array  # rows of item_factors_

    _search_space: ClassVar[Space] = {"factors": Range(8, 512, log=True)}

    def __init__(
        self,
        factors: int = 64,
        iterations: int = 5,
        *,
        oversampling: int = 16,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.factors = factors
        self.iterations = iterations
        self.oversampling = oversampling
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.item_factors_.shape[1])

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_int(name, "factors", self.factors, minimum=1, maximum=_MAX_FACTORS)
        check_int(name, "iterations", self.iterations, minimum=1, maximum=2**31 - 1)
        check_int(name, "oversampling", self.oversampling, minimum=0, maximum=_MAX_FACTORS)

    # ------------------------------------------------------------------ fitting

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name = type(self).__name__
        backend = get_backend(self.device, self.n_jobs, name)
        multiply = backend.kernels.spmm  # first, so that a device without it says so
        rng = check_random_state(name, self.random_state)
        scale = _scale_of(data.by_user)
        by_user, by_item = backend.csr(_scaled(data.by_user, scale)), backend.csr(_scaled(data.by_item, scale))
        width = min(self.factors + self.oversampling, data.n_users, data.n_items)
        items, users = backend.normal(rng, (data.n_items, width)), backend.empty((data.n_users, width))
        for _ in ProgressBar(range(self.iterations), verbose=self.verbose, description=name, unit="iteration"):
            multiply(backend.context, by_user, items, users)
            users = _orthonormal(backend, users)
            multiply(backend.context, by_item, users, items)
            items = _orthonormal(backend, items)
        multiply(backend.context, by_user, items, users)
        _, directions = _eigen(backend, users)
        directions = directions[:, : self.factors]
        kept = backend.to_numpy(_rotated(backend, items, directions)).copy()
        lengths = _lengths(backend.to_numpy(_rotated(backend, users, directions)))
        kept[:, lengths <= _LEAST * lengths.max(initial=0)] = 0
        kept *= np.where(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])] < 0, -1, 1).astype(np.float32)
        self.item_factors_ = np.zeros((data.n_items, self.factors), dtype=np.float32)
        self.item_factors_[:, : kept.shape[1]] = kept
        self._zero_items = zero_rows(self.item_factors_)
        self.user_factors_ = self._folded_in(data.by_user)
        if not np.isfinite(self.user_factors_).all():
            raise ValueError(f"{name}: the factors of users have left float32; scale the values of X")
        self.singular_values_ = _lengths(self.user_factors_).astype(np.float32)

    def partial_fit(self, X: Any, y: Any = None) -> PureSVD:
        """Learn from further interactions, of new users and items too; before a first `fit` it is `fit`.

        The old and the new interactions together are decomposed anew.

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
        if not hasattr(self, "item_factors_"):
            return self.fit(X)
        self._check_parameters()
        _, joined = self._joined(X)
        with self._all_or_nothing():
            self._set_interactions(joined)
            self._fit(joined, None)
        return self

    # ------------------------------------------------------------------ using

    def transform(self, X: Any) -> Float32Array:
        """Project rows on the singular vectors (fold-in).

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Histories of users whom the model need not know. Items that it does not know are left out.

        Returns
        -------
        ndarray of shape (n, factors), float32
            ``X @ item_factors_``; of fitted users' rows bit by bit their `user_factors_`.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If a matrix has another number of columns than the model has items.
        """
        return self._folded_in(self._histories(X, type(self).__name__).by_user)

    def _folded_in(self, histories: CSR) -> Float32Array:
        return _product(self._backend(), histories, self.item_factors_)

    def explain(self, user: Any, item: Any, k: int = 10) -> Explanation:
        """Say which of a user's items gave an item its score: each adds its value times the product of both vectors.

        Parameters
        ----------
        user, item : id
        k : int, default=10
            Items of the history at most.

        Returns
        -------
        Explanation
            Score 0 and nothing else for a user without a history.

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
        ids, values = self.interactions_.by_user.row(int(users[0]))
        vectors = self.item_factors_[ids].astype(np.float64)
        contributions = values * (vectors @ self.item_factors_[int(items[0])].astype(np.float64))
        best = np.lexsort((ids, -contributions))[:k]
        return Explanation(float(contributions.sum()), self.interactions_.item_labels(ids[best]), contributions[best])

    def _user_vectors(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        if histories is not None:
            return self._folded_in(histories.take_rows(rows))
        if rows.size == self.n_users_ and np.array_equal(rows, np.arange(rows.size)):
            return self.user_factors_
        return self.user_factors_[rows]

    def _item_vectors(self) -> Float32Array:
        return self.item_factors_

    def _blank_items(self) -> Int64Array:
        return self._zero_items

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "singular_values": self.singular_values_,
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        n_factors = arrays["item_factors"].shape[-1]
        self.user_factors_ = self._checked(arrays["user_factors"], (self.n_users_, n_factors))
        self.item_factors_ = self._checked(arrays["item_factors"], (self.n_items_, n_factors))
        self.singular_values_ = self._checked(arrays["singular_values"], (n_factors,))
        self._zero_items = zero_rows(self.item_factors_)


def _scale_of(matrix: CSR) -> float:
    """What values are divided by so that squares of them stay within float32: a power of two, mostly 1."""
    largest = max(float(matrix.values.max(initial=0)), -float(matrix.values.min(initial=0)))
    return 1.0 if largest == 0 or _SMALL <= largest <= _LARGE else float(2.0 ** np.floor(np.log2(largest)))


def _scaled(matrix: CSR, scale: float) -> CSR:
    if scale == 1:
        return matrix
    return CSR(matrix.indptr, matrix.indices, (matrix.values / scale).astype(np.float32), matrix.shape)


def _product(backend: Backend, matrix: CSR, vectors: Float32Array) -> Float32Array:
    out = backend.empty((matrix.n_rows, vectors.shape[1]))
    backend.kernels.spmm(backend.context, backend.csr(matrix), backend.asarray(vectors), out)
    product: Float32Array = backend.to_numpy(out)
    return product


def _eigen(backend: Backend, columns: Any) -> tuple[Float64Array, Float64Array]:
    """Eigenvalues of the Gramian of columns, in falling order, and eigenvectors."""
    width = columns.shape[1]
    gram = backend.empty((width, width), np.float64)
    backend.kernels.gramian(backend.context, columns, gram)
    values, vectors = backend.eigh(gram)
    return backend.to_numpy(values)[::-1], backend.to_numpy(vectors)[:, ::-1]


def _rotated(backend: Backend, columns: Any, rotation: Float64Array) -> Any:
    """`columns` times `rotation`."""
    out = backend.empty((columns.shape[0], rotation.shape[1]))
    backend.kernels.multiply_transposed(backend.context, columns, backend.asarray(rotation.T), out)
    return out


def _orthonormal(backend: Backend, columns: Any) -> Any:
    """Columns of length 1 at right angles that span what `columns` do; zeros beyond their rank.

    Twice, as once leaves angles that are off by what float32 has lost of the smallest directions.
    """
    for _ in range(2):
        values, vectors = _eigen(backend, columns)
        is_there = values > max(_LEAST**2 * values.max(initial=0), 1e-300)
        lengths = np.sqrt(np.where(is_there, values, 1))
        columns = _rotated(backend, columns, np.where(is_there, vectors / lengths, 0))
    return columns


def _lengths(columns: Float32Array) -> Float64Array:
    lengths: Float64Array = np.sqrt(np.einsum("nd,nd->d", columns, columns, dtype=np.float64))
    return lengths
