"""Ratings predicted from how users rate and how items are rated, whatever the taste."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from likewise._space import Range, Space
from likewise._validation import check_choice, check_float, check_int
from likewise.data import CSR, Interactions

from ._ratings import Baselines, RatingVectorRecommender, Users, fit_baselines, user_baselines

__all__ = ["BaselinePredictor"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_METHODS = ("als", "sgd")
_MAX_PENALTY = 1e30
# Sweeps and epochs where `iterations` is None, as Surprise has them.
_USUAL_ITERATIONS = {"als": 10, "sgd": 20}
# Parameters of one method alone, with their defaults.
_ALS_ONLY = {"user_regularization": 15.0, "item_regularization": 10.0}
_SGD_ONLY = {"learning_rate": 0.005, "regularization": 0.02}


class BaselinePredictor(RatingVectorRecommender):
    r"""Predict a rating by :math:`\mu + b_u + b_i`: the mean of all, the user's and the item's bias [1]_.

    What every other model of ratings must beat. Everybody is recommended the items of the greatest biases.

    Parameters
    ----------
    method : {"als", "sgd"}, default="als"
        ``"als"`` sweeps by turns over the items, whose biases become the sums of what is left of their ratings divided
        by `item_regularization` plus their number, and over the users. ``"sgd"`` takes a step for each rating:
        :math:`b \leftarrow b + \gamma (e - \lambda b)` of both biases with the rating's error e, the `learning_rate`
        :math:`\gamma` and the `regularization` :math:`\lambda`.
    iterations : int, default=None
        Sweeps or epochs. None is 10 with ``"als"`` and 20 with ``"sgd"``.
    learning_rate : float, default=0.005
        Of ``"sgd"``: above 0, below 1.
    regularization : float, default=0.02
        Of ``"sgd"``: at least 0.
    user_regularization, item_regularization : float, default=15.0, 10.0
        Of ``"als"``: at least 0. With so many ratings a user, an item has a bias of half of what they say by
        themselves.
    clip : bool, default=True
        Whether predictions stay between the lowest and the highest rating of the fit. Scores of recommendations are
        never clipped.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand. The biases are bitwise the same at any number. Epochs of ``"sgd"`` run on
        one thread.

    Attributes
    ----------
    global_mean_ : float
        Mean of all ratings.
    user_biases_ : ndarray of shape (n_users,), float32
    item_biases_ : ndarray of shape (n_items,), float32
        How far the ratings of a user, of an item lie above the mean; 0 where there are none.
    rating_scale_ : tuple
        Lowest and highest rating of the fit.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] Y. Koren, Factor in the neighbors: scalable and accurate collaborative filtering, TKDD 4, 2010, section 2.1,
       doi:10.1145/1644873.1644874

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> ratings = lw.Interactions.from_arrays(list("aabbc"), list("xyxyx"), [8.0, 6.0, 9.0, 7.0, 7.0])
    >>> model = lw.BaselinePredictor(user_regularization=0, item_regularization=0).fit(ratings)
    >>> model.predict("c", "y").round(2)
    array([6.], dtype=float32)
    """

    _search_space: ClassVar[Space] = {
        "user_regularization": Range(0.5, 50.0, log=True),
        "item_regularization": Range(0.5, 50.0, log=True),
    }

    def __init__(
        self,
        method: str = "als",
        iterations: int | None = None,
        *,
        learning_rate: float = 0.005,
        regularization: float = 0.02,
        user_regularization: float = 15.0,
        item_regularization: float = 10.0,
        clip: bool = True,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        self.method = method
        self.iterations = iterations
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.user_regularization = user_regularization
        self.item_regularization = item_regularization
        self.clip = clip
        self.device = device
        self.n_jobs = n_jobs

    def _check_parameters(self) -> None:
        super()._check_parameters()
        name = type(self).__name__
        check_choice(name, "method", self.method, _METHODS)
        if self.iterations is not None:
            check_int(name, "iterations", self.iterations, minimum=1, maximum=2**31 - 1)
        check_float(name, "learning_rate", self.learning_rate, minimum=0, maximum=1, exclusive=True)
        for penalty in ("regularization", "user_regularization", "item_regularization"):
            check_float(name, penalty, getattr(self, penalty), minimum=0, maximum=_MAX_PENALTY)
        of_the_other, other = (_SGD_ONLY, "sgd") if self.method == "als" else (_ALS_ONLY, "als")
        for option, default in of_the_other.items():
            if (value := getattr(self, option)) != default:
                raise ValueError(
                    f"{name}: {option} is of method={other!r}, got {value!r}; leave it {default!r}, or take that method"
                )

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        self._set_scale(data.by_user)
        found = self._fitted_by_als(data) if self.method == "als" else self._fitted_by_sgd(data)
        self._set_biases(found.user_biases, found.item_biases)

    @property
    def _n_sweeps(self) -> int:
        return _USUAL_ITERATIONS[self.method] if self.iterations is None else int(self.iterations)

    def _fitted_by_als(self, data: Interactions) -> Baselines:
        return fit_baselines(
            self._backend(),
            data.by_user,
            data.by_item,
            iterations=self._n_sweeps,
            user_regularization=self.user_regularization,
            item_regularization=self.item_regularization,
        )

    def _fitted_by_sgd(self, data: Interactions) -> Baselines:
        backend = self._backend()
        by_user = backend.csr(data.by_user)
        users, items = backend.zeros((data.n_users,), np.float64), backend.zeros((data.n_items,), np.float64)
        rate, penalty = float(self.learning_rate), float(self.regularization)
        for _ in range(self._n_sweeps):
            backend.kernels.bias_sgd_epoch(backend.context, by_user, self.global_mean_, rate, penalty, users, items)
        return Baselines(self.global_mean_, backend.to_numpy(users), backend.to_numpy(items))

    def partial_fit(self, X: Any, y: Any = None) -> BaselinePredictor:
        """Learn from further ratings, of new users and items too; before a first `fit` it is `fit`.

        All biases are computed anew from the old and the new ratings together, which takes little time. A pair that is
        rated again is merged as `interactions_` has it (``duplicates="last"`` keeps the later rating).

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
        if not hasattr(self, "user_biases_"):
            return self.fit(X)
        self._check_parameters()
        _, joined = self._joined(X)
        with self._all_or_nothing():
            self._set_interactions(joined)
            self._fit(joined, None)
        return self

    def similar_items(self, items: Any, k: int = 10) -> NoReturn:
        """Refuse: items differ in one number here, which makes none of them alike."""
        raise NotImplementedError("BaselinePredictor: has no similar items, it knows one number an item; use ItemKNN")

    def similar_users(self, users: Any, k: int = 10) -> NoReturn:
        """Refuse: users differ in one number here, which makes none of them alike."""
        raise NotImplementedError("BaselinePredictor: has no similar users, it knows one number a user; use UserKNN")

    def build_index(self, **options: Any) -> NoReturn:
        """Refuse: everybody gets the same items, and there is nothing to search."""
        raise NotImplementedError("BaselinePredictor: needs no index, it ranks the items alike for everybody")

    def _folded_biases(self, histories: CSR) -> Float64Array:
        self._check_parameters()  # which may have been set since the fit
        backend = self._backend()
        if self.method == "als":
            return user_baselines(
                backend, histories, self.global_mean_, self.item_biases_, float(self.user_regularization)
            )
        ratings, others = backend.csr(histories), backend.asarray(self.item_biases_, np.float64)
        biases = backend.zeros((histories.n_rows,), np.float64)
        rate, penalty = float(self.learning_rate), float(self.regularization)
        for _ in range(self._n_sweeps):
            backend.kernels.bias_sgd_half_epoch(
                backend.context, ratings, self.global_mean_, rate, penalty, others, biases
            )
        return backend.to_numpy(biases)

    def _users(self, histories: CSR | None, rows: Int64Array) -> Users:
        biases = self.user_biases_[rows] if histories is None else self._folded_biases(histories.take_rows(rows))
        return Users(biases.astype(np.float32, copy=False), np.zeros((rows.size, 1), np.float32))

    def _item_vectors(self) -> Float32Array:
        return np.zeros((self.n_items_, 1), np.float32)
