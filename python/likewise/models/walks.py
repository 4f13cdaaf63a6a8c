"""Random walks from a user to items, of three steps: models between items that cost no more than neighbours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from likewise._space import Range, Space
from likewise._validation import check_flag, check_float, check_int
from likewise.data import CSR, Interactions

from ._sparse import ItemItemRecommender, Measure, as_numbers, keep_greatest, nearest, without_zeros

__all__ = ["P3Alpha", "RP3Beta"]

# Where float32 begins to lose digits.
_LEAST_WEIGHT = float(np.finfo(np.float32).tiny)


class _Walk(ItemItemRecommender):
    """A walk user - item - other user - other item, kept as weights between the two items."""

    k: int
    alpha: float
    normalize: bool

    def _discount(self) -> float:
        """The power of an item's degree by which weights to it are divided."""
        return 0.0

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_int(name, "k", self.k, minimum=1)
        check_float(name, "alpha", self.alpha, minimum=0, maximum=100)
        check_flag(name, "normalize", self.normalize)

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name, by_user = type(self).__name__, without_zeros(data.by_user)
        values = by_user.values.astype(np.float64)
        user_degrees = np.bincount(by_user.row_numbers(), weights=values, minlength=by_user.n_rows)
        item_degrees = np.bincount(by_user.indices, weights=values, minlength=by_user.n_cols)
        # Half of a user's share goes to either side: the product is symmetric, and ones stay equal within a user.
        shares = values**self.alpha / np.repeat(user_degrees, by_user.row_counts()) ** (self.alpha / 2)
        way_out = "lower its powers, or scale the values of X"
        greatest = float(shares.max(initial=0))
        shares = as_numbers(shares.astype(np.float64), name, way_out)
        columns = CSR(by_user.indptr, by_user.indices, shares, by_user.shape)
        powers = (float(self.alpha), self._discount())
        left, right = (as_numbers(item_degrees.astype(np.float64) ** power, name, way_out) for power in powers)
        as_numbers(np.array([float(left.max(initial=0)) * float(right.max(initial=0))]), name, way_out)
        known = item_degrees[item_degrees > 0]
        least = np.prod([(known**power).min(initial=np.inf) for power in powers])
        if known.size and greatest**2 < _LEAST_WEIGHT * max(1.0, least):
            raise ValueError(f"{name}: all weights vanish in float32; {way_out}")
        found = nearest(
            self._backend(),
            columns.transpose(),
            columns,
            Measure("product", left, right),
            int(self.k),
            first=0,
            subject=name,
        )
        if self.normalize:
            sums = np.bincount(found.row_numbers(), weights=found.values, minlength=found.n_rows)
            shares = found.values / np.repeat(sums, found.row_counts())
            found = CSR(found.indptr, found.indices, shares.astype(np.float32), found.shape)
        self.weights_ = keep_greatest(self._backend(), found.transpose(), int(self.k)).transpose()


class P3Alpha(_Walk):
    r"""Score an item by the chance that a random walk from a user's items ends at it, chances raised to a power.

    .. math:: W_{ij} = \sum_u (x_{ui} / d_i)^\alpha (x_{uj} / d_u)^\alpha

    where :math:`d_i` and :math:`d_u` are sums of the values of an item and of a user: a step from item i to a user with
    it, and from there to item j. The score of j is :math:`\sum_i x_{ui} W_{ij}` over the user's items i. (The first
    step, from the user to an item i, has the same denominator for all items, and is left out.)

    Parameters
    ----------
    k : int, default=100
        Weights from an item that are kept, the greatest, at least 1; and of these, weights to an item.
    alpha : float, default=1.0
        Power of the chances, 0 to 100; below 1 it makes them more alike.
    normalize : bool, default=False
        Whether the weights from an item are made to sum to 1 before those to an item are chosen: all items of a history
        then say as much.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.

    Attributes
    ----------
    weights_ : CSR of shape (n_items, n_items)
        In row i the weights from item i to others; at most `k` in a row, and in a column.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] C. Cooper, S. H. Lee, T. Radzik, Y. Siantos, Random walks in recommender systems: exact computation and
       simulations, WWW 2014 Companion, doi:10.1145/2567948.2579244

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> model = lw.P3Alpha(k=2).fit(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]]))
    >>> model.similar_items(0, k=2)
    SimilarItems(1 x 2)
      0: 1 (0.417), 2 (0.167)
    """

    _search_space: ClassVar[Space] = {"k": Range(20, 500, log=True), "alpha": Range(0.3, 1.8)}

    def __init__(
        self,
        k: int = 100,
        alpha: float = 1.0,
        *,
        normalize: bool = False,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        self.k = k
        self.alpha = alpha
        self.normalize = normalize
        self.device = device
        self.n_jobs = n_jobs


class RP3Beta(_Walk):
    r"""Score an item as `P3Alpha` does, and divide by a power of how popular it is.

    .. math:: W_{ij} = d_j^{-\beta} \sum_u (x_{ui} / d_i)^\alpha (x_{uj} / d_u)^\alpha

    where :math:`d_i` and :math:`d_u` are sums of the values of an item and of a user. The walk alone comes to popular
    items too often.

    Parameters
    ----------
    k : int, default=100
        Weights from an item that are kept, the greatest, at least 1; and of these, weights to an item.
    alpha : float, default=1.0
        Power of the chances, 0 to 100; below 1 it makes them more alike.
    beta : float, default=0.6
        Power of the popularity, 0 to 100; at 0 it is `P3Alpha`.
    normalize : bool, default=False
        Whether the weights from an item are made to sum to 1 before those to an item are chosen: all items of a history
        then say as much.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.

    Attributes
    ----------
    weights_ : CSR of shape (n_items, n_items)
        In row i the weights from item i to others; at most `k` in a row, and in a column.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] B. Paudel, F. Christoffel, C. Newell, A. Bernstein, Updatable, accurate, diverse, and scalable
       recommendations for interactive applications, ACM Transactions on Interactive Intelligent Systems 7, 2017,
       doi:10.1145/2955101

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    >>> lw.RP3Beta(beta=0.5).fit(X).recommend(2, k=2).items
    array([0, 1])
    """

    _search_space: ClassVar[Space] = {"k": Range(20, 500, log=True), "alpha": Range(0.3, 1.8), "beta": Range(0.0, 1.2)}

    def __init__(
        self,
        k: int = 100,
        alpha: float = 1.0,
        beta: float = 0.6,
        *,
        normalize: bool = False,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        self.k = k
        self.alpha = alpha
        self.beta = beta
        self.normalize = normalize
        self.device = device
        self.n_jobs = n_jobs

    def _discount(self) -> float:
        return float(self.beta)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_float(type(self).__name__, "beta", self.beta, minimum=0, maximum=100)
