"""Matrix factorization of ratings by alternating least squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from likewise._backend import get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_choice, check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions, as_interactions

from ._rating_factors import DESCENT_SWEEPS, DESCENT_TOLERANCE, MAX_FACTORS, RatingFactors, RowSolver, Weights

__all__ = ["ExplicitALS"]

Float32Array = npt.NDArray[np.float32]

_SOLVERS = ("auto", "cholesky", "cg")
_MAX_WEIGHT = 1e30  # weights and their products with vectors are float32
# Up to this width exact solves cost so little, about twice what iterating does, that nothing is left open.
_CHOLESKY_UP_TO = 16
_START_SCALE = 0.1
# Sweeps over the coordinates of a vector in an iteration of a fit, and the share by which the last may move it: the
# next iteration moves the other side by more than what is left.
_FIT_DESCENT = (10, 1e-4)

Callback = Callable[["ExplicitALS", int, "float | None"], "bool | None"]


class ExplicitALS(RatingFactors):
    r"""Matrix factorization of ratings by alternating least squares.

    Minimizes, over vectors :math:`x_u` of users and :math:`y_i` of items of length `factors` and their biases,

    .. math::

        \sum_{(u,i) \in S} w_{ui} (r_{ui} - \mu - b_u - b_i - x_u^T y_i)^2
        + \sum_u \lambda_u (|x_u|^2 + b_u^2) + \sum_i \lambda_i (|y_i|^2 + b_i^2)
        + \sum_u \kappa_u |x_u|_1 + \sum_i \kappa_i |y_i|_1

    where S are the stored ratings and no others, :math:`w_{ui}` the weights given to `fit` or 1, :math:`\mu` the mean
    of all ratings, :math:`\lambda_u` = `regularization` :math:`W_u^\nu` and :math:`\kappa_u` = `l1_regularization`
    :math:`W_u^\nu` with :math:`W_u` the sum of a user's weights, their number where no weights are given, and
    :math:`\nu` = `regularization_exponent`; for items alike. An exponent of 1 is the weighted-λ regularization of Zhou
    et al. [1]_; 0 the plain one, which asks for a much greater `regularization`. A rating of weight 2 counts as two.

    A user's vector and bias are solved for together, those of the items held fixed, and the other way round.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192.
    regularization : float, default=0.1
        Penalty of squared vector lengths and biases, at least 0.
    regularization_exponent : float, default=1.0
        How the penalties grow with the number of ratings, or the sum of their weights; 0 to 1.
    iterations : int, default=10
        Sweeps over users and items.
    solver : {"auto", "cholesky", "cg"}, default="auto"
        How a vector is solved for: exactly, or by `cg_steps` steps of conjugate gradients from its last value.
        ``"auto"`` is ``"cholesky"`` up to 16 factors, then ``"cg"``. With `non_negative` or `l1_regularization` it is
        coordinate descent, and `solver` must be ``"auto"``.
    cg_steps : int, default=3
        Most steps that ``"cg"`` takes for a vector.
    cg_tol : float, default=0.03
        A vector is done once its squared residual, in the norm of the preconditioner, has fallen to this share, 0 to
        0.5; 0 takes every step.
    biases : bool, default=True
        Whether the estimate has a mean and biases beside the product of vectors. Without them, mean and biases of a
        baseline still serve users and items of which nothing else is known.
    non_negative : bool, default=False
        Whether no number of a vector is below 0.
    l1_regularization : float, default=0.0
        Penalty of absolute numbers, at least 0; it makes vectors sparse. (cmfrec's ``l1_lambda`` is half of it.)
    clip : bool, default=True
        Whether predicted ratings are kept between the lowest and the highest of the fit.
    compute_loss : bool, default=False
        Whether loss and RMSE of the ratings are computed after every iteration, into `loss_history_` and
        `rmse_history_`; `verbose` shows the RMSE then.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, loss)``, the loss None unless it is computed; the
        model is usable then. A true result stops the fit.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, factors), float32
        Zero for users without ratings.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Zero for items without ratings; nobody gets them unasked.
    user_biases_ : ndarray of shape (n_users,), float32
        With ``biases=False`` those of the baseline.
    item_biases_ : ndarray of shape (n_items,), float32
        Alike.
    global_mean_ : float
        Mean of the ratings, by their weights; with ``biases=False`` that of the baseline, without weights.
    rating_scale_ : tuple
        Lowest and highest rating.
    n_iter_ : int
        Iterations done.
    loss_history_, rmse_history_ : list of float of length n_iter_
        After each iteration, where they were computed.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    Notes
    -----
    A keyboard interrupt leaves the vectors of the half-sweep that was finished last: the model is usable. (One in the
    first iteration takes the fit back.)

    ``"cg"`` reads the fixed side rounded to bfloat16, which costs less than its own error. `transform` and
    `partial_fit` solve to float32 accuracy.

    References
    ----------
    .. [1] Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan, Large-scale parallel collaborative filtering for the Netflix
       Prize, AAIM 2008, doi:10.1007/978-3-540-68880-8_32
    .. [2] Y. Koren, R. Bell, C. Volinsky, Matrix factorization techniques for recommender systems, Computer 42, 2009,
       doi:10.1109/MC.2009.263

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.array([[5, 4, 1], [4, 0, 1], [1, 1, 5]])
    >>> model = lw.ExplicitALS(factors=2, random_state=0).fit(X)
    >>> bool(model.predict(1, 1)[0] > model.predict(1, 2)[0])
    True
    """

    loss_history_: list[float]
    rmse_history_: list[float]

    _search_space: ClassVar[Space] = {
        "factors": Range(8, 128, log=True),
        "regularization": Range(0.01, 1.0, log=True),
        "regularization_exponent": [0.0, 0.5, 1.0],
    }

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 0.1,
        regularization_exponent: float = 1.0,
        iterations: int = 10,
        solver: str = "auto",
        *,
        cg_steps: int = 3,
        cg_tol: float = 0.03,
        biases: bool = True,
        non_negative: bool = False,
        l1_regularization: float = 0.0,
        clip: bool = True,
        compute_loss: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        callbacks: Any = None,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.solver = solver
        self.cg_steps = cg_steps
        self.cg_tol = cg_tol
        self.biases = biases
        self.non_negative = non_negative
        self.l1_regularization = l1_regularization
        self.clip = clip
        self.compute_loss = compute_loss
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    # ------------------------------------------------------------------ parameters

    def _check_parameters(self) -> None:
        name = type(self).__name__
        super()._check_parameters()
        check_float(name, "regularization", self.regularization, minimum=0, maximum=_MAX_WEIGHT)
        check_float(name, "regularization_exponent", self.regularization_exponent, minimum=0, maximum=1)
        check_int(name, "iterations", self.iterations, minimum=1)
        check_choice(name, "solver", self.solver, _SOLVERS)
        check_int(name, "cg_steps", self.cg_steps, minimum=1, maximum=MAX_FACTORS)
        check_float(name, "cg_tol", self.cg_tol, minimum=0, maximum=0.5)
        check_float(name, "l1_regularization", self.l1_regularization, minimum=0, maximum=_MAX_WEIGHT)
        for flag in ("biases", "non_negative", "compute_loss"):
            check_flag(name, flag, getattr(self, flag))
        if self._descends() and self.solver != "auto":
            raise ValueError(
                f"{name}: solver must be 'auto' with non_negative or l1_regularization, which take coordinate descent, "
                f"got {self.solver!r}"
            )

    def _descends(self) -> bool:
        return bool(self.non_negative) or self.l1_regularization > 0

    def _solver_of(self, n_factors: int, solver: str, *, biased: bool) -> RowSolver:
        backend = get_backend(self.device, self.n_jobs, type(self).__name__)
        kernels = backend.kernels
        objective = kernels.ExplicitAlsObjective(
            self.global_mean_ if biased else 0.0, self.regularization, self.regularization_exponent,
            self.l1_regularization, biased, bool(self.non_negative),
        )  # fmt: skip
        if self._descends():
            steps = (DESCENT_SWEEPS, DESCENT_TOLERANCE) if solver == "cholesky" else _FIT_DESCENT
            return RowSolver(backend, objective, kernels.AlsSolver.descent, *steps)
        if solver == "cholesky" or (solver == "auto" and n_factors <= _CHOLESKY_UP_TO):
            return RowSolver(backend, objective, kernels.AlsSolver.cholesky, 1, 0.0)
        return RowSolver(backend, objective, kernels.AlsSolver.cg, self.cg_steps, self.cg_tol, gathers_bf16=True)

    def _exact_solver(self, *, of_users: bool) -> RowSolver:
        return self._solver_of(self._n_features_out, "cholesky", biased=self._is_biased)

    # ------------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any = None, weights: Any = None) -> ExplicitALS:
        """Learn from ratings, and forget what was learned before.

        A fit that fails, or is interrupted before its first iteration has ended, leaves the model as it was.

        Parameters
        ----------
        X : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
            Ratings. Of a dense array, or a data frame with a column for each item, the entries that are not zero are
            ratings; a zero that a sparse matrix stores is one.
        y : None
            Ignored; there for scikit-learn.
        weights : Interactions, matrix or array-like, default=None
            How much each rating counts, above 0; None is 1 each. An `Interactions`, or a sparse matrix, with the users,
            items and stored pairs of `X`; a dense array of its shape, which is read at the pairs that `X` stores; or
            one number for each stored rating, in the order of ``interactions.by_user`` (user by user, items rising).

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is no matrix; the message says what builds interactions of it.
        ValueError
            If a parameter is out of range; if X is empty or holds NaN or infinite values; if the weights are not those
            of its ratings, or one is not above 0.
        """
        self._given_weights = weights
        try:
            fitted: ExplicitALS = super().fit(X, y)
            return fitted
        finally:
            self.__dict__.pop("_given_weights", None)

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        weights = Weights.of(data.by_user, _checked_weights(self._given_weights, data, type(self).__name__))
        self._check_greatness(data)
        self._set_scale(data.by_user)
        self._weights = weights.by_user if weights.by_user.size else None
        self._is_biased = bool(self.biases)
        backend = get_backend(self.device, self.n_jobs, type(self).__name__)
        if self._weights is not None:
            self.global_mean_ = float(np.average(data.by_user.values.astype(np.float64), weights=self._weights))
        solver = self._solver_of(self.factors, self.solver, biased=self._is_biased)
        self._start(data, solver)
        if not self._is_biased:
            self._set_fallback(backend, data)
        self.n_iter_, self.loss_history_, self.rmse_history_ = 0, [], []
        by_user, by_item = backend.csr(data.by_user), backend.csr(data.by_item)
        users, items = (self.user_factors_, self.user_biases_), (self.item_factors_, self.item_biases_)
        bar = ProgressBar(range(1, self.iterations + 1), verbose=self.verbose, description=type(self).__name__)
        callbacks = self._callback_list()
        for iteration in bar:
            solver.sweep(by_user, weights.by_user, *items, *users)
            solver.sweep(by_item, weights.by_item, *users, *items)
            self.n_iter_ = iteration
            loss = self._loss(solver, by_user, weights.by_user) if self.compute_loss else None
            if loss is not None:
                bar.set(rmse=self.rmse_history_[-1])
            stops = [bool(callback(self, iteration, loss)) for callback in callbacks]
            if any(stops):
                break
        self._check_vectors(*users, *items)

    def _start(self, data: Interactions, solver: RowSolver) -> None:
        """Small normal numbers, or their absolute values, and no biases."""
        rng = check_random_state(type(self).__name__, self.random_state)
        backend, scale = solver.backend, _START_SCALE / np.sqrt(self.factors)
        both: Float32Array = backend.normal(rng, (data.n_users + data.n_items, self.factors), scale)
        if self.non_negative:
            np.abs(both, out=both)
        both[: data.n_users][data.by_user.row_counts() == 0] = 0
        both[data.n_users :][data.by_user.column_counts() == 0] = 0
        self.user_factors_, self.item_factors_ = both[: data.n_users], both[data.n_users :]
        self.user_biases_, self.item_biases_ = backend.zeros((data.n_users,)), backend.zeros((data.n_items,))

    def _loss(self, solver: RowSolver, by_user: Any, weights: Float32Array) -> float:
        errors, loss = solver.backend.kernels.explicit_als_loss(
            solver.backend.context, by_user, weights, self.user_factors_, self.item_factors_, self.user_biases_,
            self.item_biases_, solver.objective,
        )  # fmt: skip
        total = float(weights.sum(dtype=np.float64)) if weights.size else self.interactions_.nnz
        self.rmse_history_.append(float(np.sqrt(errors / total)))
        self.loss_history_.append(float(loss))
        return float(loss)

    def partial_fit(self, X: Any, y: Any = None, weights: Any = None) -> ExplicitALS:
        """Learn from further ratings, of new users and items too, without starting over.

        Vectors and biases of the users and items in `X` are solved for again, exactly, over all their ratings, old and
        new; all others stay, and so does the mean that biases are counted from. Before a first `fit` it is `fit`.

        Parameters
        ----------
        X : Interactions or matrix
            New ratings. By id, unknown users and items are added; a matrix must have at least as many columns as
            before, and its row i is user i. A pair that is known already is merged as the interactions of `fit` merge
            repeats: summed unless they were built otherwise.
        y : None
            Ignored; there for scikit-learn.
        weights : Interactions, matrix or array-like, default=None
            As in `fit`, of the new ratings; a pair that is known already takes the new weight.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` has fewer columns than the model has items, or holds NaN or infinite values; if the weights are not
            those of its ratings.
        TypeError
            If its ids are of another kind.
        """
        if not hasattr(self, "item_factors_"):
            return self.fit(X, weights=weights)
        return self._learn_from(X, lambda new: _checked_weights(weights, new, type(self).__name__))

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return super()._state() | {"is_biased": np.array([self._is_biased], dtype=np.int64)}

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        self._is_biased = bool(self._checked(arrays["is_biased"], (1,), np.int64)[0])
        self.loss_history_, self.rmse_history_ = [], []


def _checked_weights(weights: Any, data: Interactions, subject: str) -> Float32Array:
    """Weights of the stored ratings, in their order; empty for None."""
    if weights is None:
        return np.empty(0, dtype=np.float32)
    found = _weights_of_pairs(weights, data, subject)
    with np.errstate(over="ignore"):
        checked: Float32Array = np.ascontiguousarray(found, dtype=np.float32)
    wrong = np.flatnonzero(~((checked > 0) & (checked <= _MAX_WEIGHT)))
    if wrong.size:
        raise ValueError(
            f"{subject}: weights must be > 0 and <= {_MAX_WEIGHT:g}, got {found[wrong[0]]:g} for stored rating "
            f"{wrong[0]}"
        )
    return checked


def _weights_of_pairs(weights: Any, data: Interactions, subject: str) -> npt.NDArray[Any]:
    matrix = data.by_user
    if isinstance(weights, (Interactions, CSR)) or sp.issparse(weights):
        given = as_interactions(weights, subject, allow_negative=True)
        if given.shape != matrix.shape:
            raise ValueError(f"{subject}: weights must have the shape of X, {matrix.shape}, got {given.shape}")
        if given.user_map != data.user_map or given.item_map != data.item_map:
            raise ValueError(f"{subject}: weights must have the users and items of X, in the same order")
        same = np.array_equal(given.by_user.indptr, matrix.indptr)
        if not (same and np.array_equal(given.by_user.indices, matrix.indices)):
            raise ValueError(
                f"{subject}: weights must be stored for the pairs that X stores, got {given.nnz} for {matrix.nnz}"
            )
        return given.by_user.values
    array = np.asarray(weights)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{subject}: weights must be real numbers, got dtype {array.dtype}")
    if array.ndim == 1 and array.size == matrix.nnz:
        return array
    if array.shape == matrix.shape:
        dense: npt.NDArray[Any] = array[matrix.row_numbers(), matrix.indices]
        return dense
    raise ValueError(
        f"{subject}: weights must be one for each of the {matrix.nnz} stored ratings or have the shape of X, "
        f"{matrix.shape}, got {array.shape}"
    )
