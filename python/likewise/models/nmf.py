"""Non-negative matrix factorization of ratings by multiplicative updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from likewise._backend import get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_flag, check_float, check_int, check_random_state
from likewise.data import Interactions

from ._rating_factors import DESCENT_SWEEPS, DESCENT_TOLERANCE, RatingFactors, RowSolver

__all__ = ["NMF"]

Float32Array = npt.NDArray[np.float32]

_MAX_START = 1e6
_MAX_PENALTY = 1e30


class NMF(RatingFactors):
    r"""Non-negative matrix factorization of ratings by multiplicative updates.

    The estimate of a rating is :math:`x_u^T y_i` with no number below 0. Each epoch multiplies, from the vectors before
    it,

    .. math::

        x_{uf} \leftarrow x_{uf} \frac{\sum_i r_{ui} y_{if}}
        {\sum_i (x_u^T y_i) y_{if} + \lambda_U |I_u| x_{uf}}

    with sums over the items :math:`I_u` that a user has rated, for items alike [1]_. Missing ratings do not count,
    unlike in the factorization of a whole matrix, as scikit-learn's ``NMF`` has it. The method is that of Surprise's
    ``NMF`` without biases.

    Parameters
    ----------
    factors : int, default=15
        Length of the vectors, 1 to 8192.
    user_regularization, item_regularization : float, default=0.06
        Penalties of squared vector lengths, :math:`\lambda_U` and :math:`\lambda_I`, at least 0; each rating of a user
        (an item) counts once.
    iterations : int, default=50
        Epochs.
    init_low, init_high : float, default=0.0, 1.0
        Bounds of the uniform starting values, from 0 on.
    clip : bool, default=True
        Whether predicted ratings are kept between the lowest and the highest of the fit.
    compute_loss : bool, default=False
        Whether the RMSE of the ratings is computed after every epoch, into `rmse_history_`; `verbose` shows it then.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress.
    callbacks : callable or list of callables, default=None
        Called after every epoch as ``callback(model, epoch, rmse)``, the RMSE None unless it is computed; the model is
        usable then. A true result stops the fit.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, factors), float32
        Zero for users without ratings.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Zero for items without ratings; nobody gets them unasked.
    user_biases_ : ndarray of shape (n_users,), float32
        Of a baseline with `global_mean_`, for users and items of which nothing else is known.
    item_biases_ : ndarray of shape (n_items,), float32
        Alike.
    global_mean_ : float
        Mean of the ratings.
    rating_scale_ : tuple
        Lowest and highest rating.
    n_iter_ : int
        Epochs done.
    rmse_history_ : list of float of length n_iter_
        After each epoch, where it was computed.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    Notes
    -----
    A keyboard interrupt leaves the vectors of the last epoch: the model is usable. (One in the first epoch takes the
    fit back.)

    `transform` and `partial_fit` solve for the minimum that the updates of one side, repeated, lead to, by coordinate
    descent.

    References
    ----------
    .. [1] X. Luo, M. Zhou, Y. Xia, Q. Zhu, An efficient non-negative matrix-factorization-based approach to
       collaborative filtering for recommender systems, IEEE Transactions on Industrial Informatics 10, 2014,
       doi:10.1109/TII.2014.2308433

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.array([[5, 4, 1], [4, 0, 1], [1, 1, 5]])
    >>> model = lw.NMF(factors=2, random_state=0).fit(X)
    >>> bool((model.user_factors_ >= 0).all())
    True
    """

    _allows_negative = False
    _is_biased = False

    rmse_history_: list[float]

    _search_space: ClassVar[Space] = {
        "factors": Range(4, 64, log=True),
        "user_regularization": Range(0.01, 1.0, log=True),
        "item_regularization": Range(0.01, 1.0, log=True),
    }

    def __init__(
        self,
        factors: int = 15,
        user_regularization: float = 0.06,
        item_regularization: float = 0.06,
        iterations: int = 50,
        *,
        init_low: float = 0.0,
        init_high: float = 1.0,
        clip: bool = True,
        compute_loss: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        callbacks: Any = None,
    ) -> None:
        self.factors = factors
        self.user_regularization = user_regularization
        self.item_regularization = item_regularization
        self.iterations = iterations
        self.init_low = init_low
        self.init_high = init_high
        self.clip = clip
        self.compute_loss = compute_loss
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn that values below 0 are refused."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def _check_parameters(self) -> None:
        name = type(self).__name__
        super()._check_parameters()
        for penalty in ("user_regularization", "item_regularization"):
            check_float(name, penalty, getattr(self, penalty), minimum=0, maximum=_MAX_PENALTY)
        check_int(name, "iterations", self.iterations, minimum=1)
        low = check_float(name, "init_low", self.init_low, minimum=0)
        high = check_float(name, "init_high", self.init_high, maximum=_MAX_START)
        if not low < high:
            raise ValueError(f"{name}: init_high must be > init_low = {low:g}, got {high:g}")
        check_flag(name, "compute_loss", self.compute_loss)

    def _objective(self, regularization: float) -> Any:
        return self._backend().kernels.ExplicitAlsObjective(0.0, regularization, 1.0, 0.0, False, True)

    def _exact_solver(self, *, of_users: bool) -> RowSolver:
        backend = self._backend()
        objective = self._objective(self.user_regularization if of_users else self.item_regularization)
        return RowSolver(backend, objective, backend.kernels.AlsSolver.descent, DESCENT_SWEEPS, DESCENT_TOLERANCE)

    # ------------------------------------------------------------------ fitting

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        backend = get_backend(self.device, self.n_jobs, type(self).__name__)
        self._check_greatness(data)
        self._set_scale(data.by_user)
        self._set_fallback(backend, data)
        self._weights, self.n_iter_, self.rmse_history_ = None, 0, []
        rng = check_random_state(type(self).__name__, self.random_state)
        shapes = [(n, self.factors) for n in data.shape]
        users, items = (
            backend.asarray(rng.uniform(self.init_low, self.init_high, shape).astype(np.float32)) for shape in shapes
        )
        users[data.by_user.row_counts() == 0] = 0
        items[data.by_user.column_counts() == 0] = 0
        next_users, next_items = (backend.empty(shape) for shape in shapes)
        by_user, by_item = backend.csr(data.by_user), backend.csr(data.by_item)
        context, update = backend.context, backend.kernels.nmf_half_epoch
        bar = ProgressBar(range(1, self.iterations + 1), verbose=self.verbose, description=type(self).__name__)
        callbacks = self._callback_list()
        for epoch in bar:
            update(context, by_user, items, self.user_regularization, users, next_users)
            update(context, by_item, users, self.item_regularization, items, next_items)
            # The model has both of one epoch, whatever comes between.
            self.user_factors_, self.item_factors_, self.n_iter_ = next_users, next_items, epoch
            users, next_users, items, next_items = next_users, users, next_items, items
            rmse = self._rmse(by_user) if self.compute_loss else None
            if rmse is not None:
                bar.set(rmse=rmse)
            stops = [bool(callback(self, epoch, rmse)) for callback in callbacks]
            if any(stops):
                break
        self._check_vectors(self.user_factors_, self.item_factors_)

    def _rmse(self, by_user: Any) -> float:
        backend = self._backend()
        errors, _ = backend.kernels.explicit_als_loss(
            backend.context, by_user, np.empty(0, np.float32), self.user_factors_, self.item_factors_,
            self.user_biases_, self.item_biases_, self._objective(0.0),
        )  # fmt: skip
        self.rmse_history_.append(float(np.sqrt(errors / self.interactions_.nnz)))
        return self.rmse_history_[-1]

    def partial_fit(self, X: Any, y: Any = None) -> NMF:
        """Learn from further ratings, of new users and items too, without starting over.

        The vectors of the users and items in `X` are solved for again, exactly, over all their ratings, old and new;
        all others stay. Before a first `fit` it is `fit`.

        Parameters
        ----------
        X : Interactions or matrix
            New ratings. By id, unknown users and items are added; a matrix must have at least as many columns as
            before, and its row i is user i. A pair that is known already is merged as the interactions of `fit` merge
            repeats: summed unless they were built otherwise.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` has fewer columns than the model has items, or holds NaN, infinite or negative values.
        TypeError
            If its ids are of another kind.
        """
        if not hasattr(self, "item_factors_"):
            return self.fit(X)
        return self._learn_from(X, lambda new: np.empty(0, dtype=np.float32))

    # ------------------------------------------------------------------ files

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        self.rmse_history_ = []
