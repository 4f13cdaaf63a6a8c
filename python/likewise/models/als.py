"""Matrix factorization of implicit feedback by alternating least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_choice, check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, IdMap, Interactions

from ._results import Explanation
from .base import VectorRecommender, hide_items, zero_rows

__all__ = ["ImplicitALS"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_SOLVERS = ("auto", "cholesky", "cg", "ials++")
_MAX_FACTORS = 8192
_MAX_WEIGHT = 1e30  # weights and their products with vectors are float32
# Up to this width forming and factoring each system costs less flops than iterating on it; beyond the other, blocks do
# (the costs stand in csrc/als.hpp).
_CHOLESKY_UP_TO = 32
_CG_UP_TO = 512
_START_SCALE = 0.1

Callback = Callable[["ImplicitALS", int, "float | None"], "bool | None"]


class _Solver(NamedTuple):
    """The checked parameters of a sweep, as the kernels take them."""

    backend: Backend
    objective: Any
    method: Any
    steps: int
    tolerance: float
    block: int
    gathers_bf16: bool

    def gramian(self, factors: Float32Array) -> Float64Array:
        n_factors = factors.shape[1]
        out: Float64Array = self.backend.empty((n_factors, n_factors), np.float64)
        self.backend.kernels.gramian(self.backend.context, factors, out)
        return out

    def rotate_to_eigenbasis(self, fixed: Float32Array, both: Float32Array) -> Float32Array:
        """Turn all factors, in place, so that the Gramian of `fixed` is diagonal; return that diagonal.

        A common rotation leaves every score, loss and penalty as it is. `both` holds the factors of both sides, `fixed`
        among them: they turn in one call, which Ctrl-C does not come between.
        """
        gramian = self.gramian(fixed)
        if not math.isfinite(float(gramian.trace())):
            raise ValueError(
                "ImplicitALS: the vectors have left float32; the values of X are too great for this alpha, scale them"
            )
        values, vectors = self.backend.eigh(gramian)
        rotation = self.backend.asarray(vectors.T)
        self.backend.kernels.multiply_transposed(self.backend.context, both, rotation, both)
        eigenvalues: Float32Array = self.backend.asarray(np.maximum(values, 0))
        return eigenvalues

    def sweep(self, matrix: Any, fixed: Float32Array, eigenvalues: Float32Array, solved: Float32Array) -> None:
        """One half-sweep: improve `solved`, with `fixed` in the eigenbasis of its Gramian."""
        width = -(-fixed.shape[1] // 16) * 16
        rounded = self.backend.empty((len(fixed) if self.gathers_bf16 else 0, width), np.uint16)
        if self.gathers_bf16:
            self.backend.kernels.round_to_bf16(self.backend.context, fixed, rounded)
        self.backend.kernels.als_half_sweep(
            self.backend.context, matrix, fixed, rounded, eigenvalues, self.objective, self.method, self.steps,
            self.tolerance, self.block, solved,
        )  # fmt: skip


class ImplicitALS(ClassNamePrefixFeaturesOutMixin, TransformerMixin, VectorRecommender):  # type: ignore[misc]
    r"""Matrix factorization of implicit feedback by alternating least squares.

    Minimizes, over user vectors :math:`x_u` and item vectors :math:`y_i` of length `factors`,

    .. math::

        \sum_{(u,i) \in S} c_{ui} (p_{ui} - x_u^T y_i)^2
        + w_0 \sum_{(u,i) \notin S} (x_u^T y_i)^2
        + \sum_u \lambda_u |x_u|^2 + \sum_i \lambda_i |y_i|^2

    where S are the stored pairs, a stored value r has confidence :math:`c = 1 + \alpha |r|` and preference p = 1 if
    r > 0, else 0 (a negative value is a confident dislike), :math:`w_0` is `unobserved_weight`, and
    :math:`\lambda_u` = `regularization` :math:`(n_u + w_0 m)^\nu` for a user with :math:`n_u` of the m items, with
    :math:`\nu` = `regularization_exponent`; for items alike.

    Two conventions are common. Hu, Koren and Volinsky [1]_, and with them implicit: ``unobserved_weight=1`` and
    ``regularization_exponent=0``, the defaults here. (To implicit a value is the whole confidence c, not what it adds.)
    Rendle et al. [2]_, [3]_, and with them irspack's ``IALSPP``: a small `unobserved_weight` :math:`\alpha_0` and an
    exponent up to 1, which often rank better. Their loss counts :math:`\alpha_0` for observed pairs too; with binary
    data, ``alpha`` = :math:`\alpha_0` and ``regularization`` :math:`(1 + \alpha_0)` times theirs, the two have the same
    minimum up to a common factor :math:`\sqrt{1 + \alpha_0}` of the vectors, hence the same ranking.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192. Beyond some hundreds, an iteration's two eigendecompositions of factors x
        factors matrices, O(factors³) on the host, take most of its time on small data.
    regularization : float, default=0.01
        Penalty of squared vector lengths, at least 0.
    alpha : float, default=1.0
        Confidence that a unit of value adds, at least 0.
    unobserved_weight : float, default=1.0
        Weight of the pairs that are not stored, above 0.
    regularization_exponent : float, default=0.0
        How the penalty grows with the number of interactions, 0 to 1.
    iterations : int, default=16
        Sweeps over users and items.
    solver : {"auto", "cholesky", "cg", "ials++"}, default="auto"
        How a vector is solved for: exactly; by `cg_steps` steps of conjugate gradients from its last value; or by one
        round of exact solves over blocks of `block_size` factors [3]_. ``"auto"`` is ``"cholesky"`` up to 32 factors,
        ``"cg"`` up to 512, ``"ials++"`` beyond.
    cg_steps : int, default=3
        Most steps that ``"cg"`` takes for a vector. They are taken in the eigenbasis of the Gramian, where one is worth
        about two plain ones.
    cg_tol : float, default=0.03
        A vector is done once its squared residual, in the norm of the preconditioner, has fallen to this share, 0 to
        0.5; 0 takes every step. The next sweep moves the other side by more than what is left.
    block_size : int, default=64
        Block of ``"ials++"``.
    compute_loss : bool, default=False
        Whether the loss is computed after every iteration, into `loss_history_`.
    tol : float, default=0.0
        Stop once an iteration lowers the loss by less than this share of it; above 0 it computes the loss.
    early_stopping : bool, default=False
        Whether to hide a fifth of each user's items, watch NDCG@10 on them, stop once it has not risen for
        `n_iter_no_change` iterations, and keep the best vectors.
    n_iter_no_change : int, default=3
        Patience of `early_stopping`.
    warm_start : bool, default=False
        Whether a second `fit` starts from the vectors of the first; users and items are found again by id.
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
        Users without interactions are zero, and get nothing.
    item_factors_ : ndarray of shape (n_items, factors), float32
        In the eigenbasis of their Gramian: its off-diagonal part is zero up to rounding. Items without interactions are
        zero; nobody gets them unasked.
    n_iter_ : int
        Iterations done, those after the best one too.
    best_iteration_ : int
        The iteration, counted from 1, whose vectors these are: with `early_stopping` the one with the greatest NDCG@10,
        the earliest of equals, else the last.
    loss_history_ : list of float of length n_iter_
        Loss after each iteration, where it was computed; of these vectors it is ``loss_history_[best_iteration_ - 1]``.
    validation_history_ : list of float of length n_iter_
        NDCG@10 after each iteration, with `early_stopping`.
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

    ``"cg"`` reads the fixed side rounded to bfloat16, and ``"ials++"`` rounds matrices so on CPUs with AMX: both cost
    less than the solver's own error. ``"cholesky"`` and `transform` solve to float32 accuracy.

    References
    ----------
    .. [1] Y. Hu, Y. Koren, C. Volinsky, Collaborative filtering for implicit feedback datasets, ICDM 2008,
       doi:10.1109/ICDM.2008.22
    .. [2] S. Rendle, W. Krichene, L. Zhang, Y. Koren, Revisiting the performance of iALS on item recommendation
       benchmarks, RecSys 2022, doi:10.1145/3523227.3548486
    .. [3] S. Rendle, W. Krichene, L. Zhang, Y. Koren, iALS++: speeding up matrix factorization with subspace
       optimization, 2021, arXiv:2110.14044

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))
    >>> X[0, 0] = 0
    >>> model = lw.ImplicitALS(factors=2, random_state=0).fit(X)
    >>> int(model.recommend(0, k=1).items[0])
    0
    """

    _allows_negative = True

    user_factors_: Float32Array
    item_factors_: Float32Array
    _eigenvalues: Float32Array  # of the items' Gramian, which is diagonal
    _zero_items: npt.NDArray[np.int64]  # rows of item_factors_
    n_iter_: int
    best_iteration_: int
    loss_history_: list[float]
    validation_history_: list[float]

    _search_space: ClassVar[Space] = {
        "factors": Range(16, 256, log=True),
        "regularization": Range(1e-3, 10.0, log=True),
        "regularization_exponent": [0.0, 0.5, 1.0],
        "unobserved_weight": Range(0.1, 3.0, log=True),
    }

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 0.01,
        alpha: float = 1.0,
        unobserved_weight: float = 1.0,
        regularization_exponent: float = 0.0,
        iterations: int = 16,
        solver: str = "auto",
        *,
        cg_steps: int = 3,
        cg_tol: float = 0.03,
        block_size: int = 64,
        compute_loss: bool = False,
        tol: float = 0.0,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        callbacks: Any = None,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.unobserved_weight = unobserved_weight
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.solver = solver
        self.cg_steps = cg_steps
        self.cg_tol = cg_tol
        self.block_size = block_size
        self.compute_loss = compute_loss
        self.tol = tol
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.item_factors_.shape[1])

    # ------------------------------------------------------------------ parameters

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_int(name, "factors", self.factors, minimum=1, maximum=_MAX_FACTORS)
        check_float(name, "regularization", self.regularization, minimum=0, maximum=_MAX_WEIGHT)
        check_float(name, "alpha", self.alpha, minimum=0, maximum=_MAX_WEIGHT)
        check_float(name, "unobserved_weight", self.unobserved_weight, minimum=1 / _MAX_WEIGHT, maximum=_MAX_WEIGHT)
        check_float(name, "regularization_exponent", self.regularization_exponent, minimum=0, maximum=1)
        check_int(name, "iterations", self.iterations, minimum=1)
        check_choice(name, "solver", self.solver, _SOLVERS)
        check_int(name, "cg_steps", self.cg_steps, minimum=1, maximum=_MAX_FACTORS)
        check_float(name, "cg_tol", self.cg_tol, minimum=0, maximum=0.5)
        check_int(name, "block_size", self.block_size, minimum=1, maximum=_MAX_FACTORS)
        check_float(name, "tol", self.tol, minimum=0)
        check_int(name, "n_iter_no_change", self.n_iter_no_change, minimum=1)
        for flag in ("compute_loss", "early_stopping", "warm_start"):
            check_flag(name, flag, getattr(self, flag))
        for callback in self._callback_list():
            if not callable(callback):
                raise TypeError(f"{name}: callbacks must be callable, got {type(callback).__name__}")

    def _check_confidence(self, matrix: CSR) -> None:
        """Refuse confidences that float32 cannot carry through a product."""
        values = matrix.values
        largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))  # no copy of the values is made
        if largest * self.alpha > _MAX_WEIGHT:
            raise ValueError(
                f"{type(self).__name__}: alpha * |value| must be <= {_MAX_WEIGHT:g}, got {self.alpha:g} * {largest:g}; "
                "scale the values"
            )

    def _callback_list(self) -> list[Callback]:
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, (list, tuple)) else [self.callbacks]

    def _solver_of(self, n_factors: int, solver: str) -> _Solver:
        backend = get_backend(self.device, self.n_jobs, type(self).__name__)
        kernels = backend.kernels
        if solver == "auto":
            solver = "cholesky" if n_factors <= _CHOLESKY_UP_TO else "cg" if n_factors <= _CG_UP_TO else "ials++"
        objective = kernels.AlsObjective(
            self.alpha, self.unobserved_weight, self.regularization, self.regularization_exponent
        )
        methods = {
            "cholesky": kernels.AlsSolver.cholesky,
            "cg": kernels.AlsSolver.cg,
            "ials++": kernels.AlsSolver.block,
        }
        return _Solver(backend, objective, methods[solver], self.cg_steps, self.cg_tol, self.block_size, solver == "cg")

    def _exact_solver(self) -> _Solver:
        return self._solver_of(self._n_features_out, "cholesky")

    # ------------------------------------------------------------------ fitting

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        self._check_confidence(data.by_user)
        train, visible, hidden = data, None, None
        if self.early_stopping:
            visible, hidden = hide_items(data.by_user)
            if hidden.nnz == 0:
                raise ValueError("ImplicitALS: early_stopping needs a user with two items, got one each at most")
            train = Interactions.from_csr(visible)
        solver = self._solver_of(self.factors, self.solver)
        both = self._start(data, previous, solver.backend)
        self.n_iter_, self.best_iteration_, self.loss_history_, self.validation_history_ = 0, 0, [], []
        by_user, by_item = solver.backend.csr(train.by_user), solver.backend.csr(train.by_item)
        bar = ProgressBar(range(1, self.iterations + 1), verbose=self.verbose, description=type(self).__name__)
        best: Float32Array | None = None
        callbacks = self._callback_list()
        try:
            self._eigenvalues = solver.rotate_to_eigenbasis(self.item_factors_, both)
            for iteration in bar:
                self._iterate(solver, by_user, by_item, both)
                self.n_iter_ = iteration
                if best is None:
                    self.best_iteration_ = iteration
                loss = self._loss(solver, by_user) if self.compute_loss or self.tol > 0 else None
                figures = {} if loss is None else {"loss": loss}
                if visible is not None and hidden is not None:
                    ndcg = self._hidden_ndcg(visible, hidden, fold_in=False)
                    figures["ndcg"] = ndcg
                    if not self.validation_history_ or ndcg > max(self.validation_history_):
                        best, self.best_iteration_ = both.copy(), iteration
                    self.validation_history_.append(ndcg)
                bar.set(**figures)
                stops = [bool(callback(self, iteration, loss)) for callback in callbacks]
                if any(stops) or self._has_converged(loss):
                    break
        except KeyboardInterrupt:
            self._return_to(both if best is None else best, solver, both)
            raise
        # Once more without need, so that a fit that is interrupted has the bits of one that ends there.
        self._return_to(both if best is None else best, solver, both)

    def _return_to(self, factors: Float32Array, solver: _Solver, both: Float32Array) -> None:
        """Leave the model with these factors of both sides, in whatever basis they stand."""
        if factors is not both:
            both[...] = factors
        self._eigenvalues = solver.rotate_to_eigenbasis(self.item_factors_, both)
        self._zero_items = zero_rows(self.item_factors_)

    def _start(self, data: Interactions, previous: Interactions | None, backend: Backend) -> Float32Array:
        """Starting values: small normal numbers, or in a warm start what was learned of those already known.

        Users and items stand in one array, which is returned; `user_factors_` and `item_factors_` are its parts.
        """
        learned = (self.user_factors_, self.item_factors_) if self.warm_start and previous is not None else None
        rng = check_random_state(type(self).__name__, self.random_state)
        scale = _START_SCALE / np.sqrt(self.factors)
        both: Float32Array = backend.normal(rng, (data.n_users + data.n_items, self.factors), scale)
        self.user_factors_, self.item_factors_ = both[: data.n_users], both[data.n_users :]
        if learned is None or previous is None:
            return both
        if learned[0].shape[1] != self.factors:
            raise ValueError(
                f"ImplicitALS: warm_start needs factors={learned[0].shape[1]} as in the last fit, got {self.factors}"
            )
        _copy_known(previous.user_map, learned[0], data.user_map, self.user_factors_)
        _copy_known(previous.item_map, learned[1], data.item_map, self.item_factors_)
        return both

    def _iterate(self, solver: _Solver, by_user: Any, by_item: Any, both: Float32Array) -> None:
        """Sweep over users and over items, which stand in their eigenbasis before and after."""
        users, items = self.user_factors_, self.item_factors_
        solver.sweep(by_user, items, self._eigenvalues, users)
        solver.sweep(by_item, users, solver.rotate_to_eigenbasis(users, both), items)
        self._eigenvalues = solver.rotate_to_eigenbasis(items, both)
        self._zero_items = zero_rows(items)

    def _loss(self, solver: _Solver, by_user: Any) -> float:
        users, items = self.user_factors_, self.item_factors_
        loss = float(
            solver.backend.kernels.als_loss(
                solver.backend.context, by_user, users, items, solver.gramian(users), solver.gramian(items),
                solver.objective,
            )
        )  # fmt: skip
        self.loss_history_.append(loss)
        return loss

    def _has_converged(self, loss: float | None) -> bool:
        if self.early_stopping:
            history = self.validation_history_
            since_best = len(history) - 1 - int(np.argmax(history))
            if since_best >= self.n_iter_no_change:
                return True
        if self.tol > 0 and loss is not None and len(self.loss_history_) > 1:
            before = self.loss_history_[-2]
            return before - loss < self.tol * abs(before)
        return False

    def partial_fit(self, X: Any, y: Any = None) -> ImplicitALS:
        """Learn from further interactions, of new users and items too, without starting over.

        The vectors of the users and items in `X` are solved for again, exactly, over all their interactions, old and
        new; all other vectors stay. Before a first `fit` it is `fit`.

        Parameters
        ----------
        X : Interactions or matrix
            New interactions. By id, unknown users and items are added; a matrix must have at least as many columns
            as before, and its row i is user i. A pair that is known already is merged as the interactions of `fit`
            merge repeats: summed unless they were built otherwise.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is empty, has fewer columns than the model has items, or holds NaN or infinite values.
        TypeError
            If its ids are of another kind.
        """
        if not hasattr(self, "item_factors_"):
            return self.fit(X)
        self._check_parameters()
        new, joined = self._joined(X)
        self._check_confidence(joined.by_user)
        solver = self._exact_solver()
        backend = solver.backend
        both: Float32Array = backend.zeros((joined.n_users + joined.n_items, self._n_features_out))
        users, items = both[: joined.n_users], both[joined.n_users :]
        users[: self.n_users_], items[: self.n_items_] = self.user_factors_, self.item_factors_
        user_rows = joined.user_map.find(new.user_map.labels, "ImplicitALS", "user")[new.by_user.row_counts() > 0]
        item_rows = joined.item_map.find(new.item_map.labels, "ImplicitALS", "item")[new.by_user.column_counts() > 0]
        # Users first: a new item is known by its users alone. Then again, for users of new items.
        self._solve_rows(solver, joined.by_user, user_rows, items, users, both)
        self._solve_rows(solver, joined.by_item, item_rows, users, items, both)
        self._solve_rows(solver, joined.by_user, user_rows, items, users, both)
        eigenvalues = solver.rotate_to_eigenbasis(items, both)
        with self._all_or_nothing():
            self._set_interactions(joined)
            self.user_factors_, self.item_factors_, self._eigenvalues = users, items, eigenvalues
            self._zero_items = zero_rows(items)
        return self

    def _solve_rows(
        self,
        solver: _Solver,
        matrix: CSR,
        rows: npt.NDArray[np.int64],
        fixed: Float32Array,
        solved: Float32Array,
        both: Float32Array,
    ) -> None:
        eigenvalues = solver.rotate_to_eigenbasis(fixed, both)
        part = solver.backend.asarray(solved[rows])
        solver.sweep(solver.backend.csr(matrix.take_rows(rows)), fixed, eigenvalues, part)
        solved[rows] = part

    # ------------------------------------------------------------------ using

    def transform(self, X: Any) -> Float32Array:
        """Solve for the vectors of users from their interactions, the items held fixed (fold-in).

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Histories of users whom the model need not know. Items that it does not know are left out.

        Returns
        -------
        ndarray of shape (n, factors), float32
            Exact solutions; zero for a user without interactions.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If a matrix has another number of columns than the model has items.
        """
        return self._fold_in(self._histories(X, type(self).__name__).by_user)

    def fold_in(self, items: Any, values: Any = None) -> Float32Array:
        """Solve for the vector of one user from the items of a session; `transform` for a single row, with less ado.

        Parameters
        ----------
        items : array-like of item ids
            Each at most once.
        values : array-like of float, default=None
            Their values; None is 1 each.

        Returns
        -------
        ndarray of shape (factors,), float32

        Raises
        ------
        KeyError, IndexError
            If an item is unknown.
        ValueError
            If an item stands twice, or there are not as many finite values as items.
        """
        self._check_is_fitted()
        rows = self.interactions_.item_index(items, "fold_in")
        weights = np.ones(rows.size, np.float32) if values is None else _as_weights(values, rows.size)
        order = rows.argsort(kind="stable")  # a CSR row, not a ranking
        rows, weights = rows[order], weights[order]
        if np.count_nonzero(rows[1:] == rows[:-1]):
            raise ValueError("fold_in: each item may stand once; sum its values")
        history = CSR(np.array([0, rows.size]), rows.astype(np.int32), weights, (1, self.n_items_))
        vector: Float32Array = self._fold_in(history)[0]
        return vector

    def _fold_in(self, histories: CSR) -> Float32Array:
        self._check_confidence(histories)
        solver = self._exact_solver()
        vectors: Float32Array = solver.backend.zeros((histories.n_rows, self._n_features_out))
        solver.sweep(solver.backend.csr(histories), self.item_factors_, self._eigenvalues, vectors)
        return vectors

    def explain(self, user: Any, item: Any, k: int = 10) -> Explanation:
        """Say which of a user's items gave an item its score.

        The vector of a user is linear in the preferences of the history: with A the matrix of its system, the score
        is the sum over the history of c p y_item' A^-1 y_j (Hu, Koren and Volinsky 2008, section 5).

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
        item_row = int(items[0])
        ids, values = self.interactions_.by_user.row(int(users[0]))
        vectors = self.item_factors_[ids].astype(np.float64)
        confidence = 1 + self.alpha * np.abs(values.astype(np.float64))
        penalty = self.regularization * (ids.size + self.unobserved_weight * self.n_items_) ** (
            self.regularization_exponent
        )
        system = np.diag(self.unobserved_weight * self._eigenvalues.astype(np.float64) + penalty)
        system += (vectors.T * (confidence - self.unobserved_weight)) @ vectors
        direction = np.linalg.lstsq(system, self.item_factors_[item_row].astype(np.float64), rcond=None)[0]
        contributions = (vectors @ direction) * confidence * (values > 0)
        best = np.lexsort((ids, -contributions))[:k]
        return Explanation(float(contributions.sum()), self.interactions_.item_labels(ids[best]), contributions[best])

    def _user_vectors(self, histories: CSR | None, rows: npt.NDArray[np.int64]) -> Float32Array:
        if histories is not None:
            return self._fold_in(histories.take_rows(rows))
        if rows.size == self.n_users_ and np.array_equal(rows, np.arange(rows.size)):
            return self.user_factors_
        return self.user_factors_[rows]

    def _item_vectors(self) -> Float32Array:
        return self.item_factors_

    def _blank_items(self) -> npt.NDArray[np.int64]:
        return self._zero_items

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "eigenvalues": self._eigenvalues,
            "iterations": np.array([self.n_iter_, self.best_iteration_], dtype=np.int64),
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        n_factors = arrays["item_factors"].shape[-1]
        self.user_factors_ = self._checked(arrays["user_factors"], (self.n_users_, n_factors))
        self.item_factors_ = self._checked(arrays["item_factors"], (self.n_items_, n_factors))
        self._eigenvalues = self._checked(arrays["eigenvalues"], (n_factors,))
        self._zero_items = zero_rows(self.item_factors_)
        self.n_iter_, self.best_iteration_ = map(int, self._checked(arrays["iterations"], (2,), np.int64))
        self.loss_history_, self.validation_history_ = [], []


def _as_weights(values: Any, n: int) -> Float32Array:
    """The values of `n` items of a session, for `fold_in`."""
    given = np.asarray(values)
    if given.dtype.kind not in "buif":
        raise TypeError(f"fold_in: values must be real numbers, got dtype {given.dtype}")
    weights: Float32Array = given.astype(np.float32)
    if weights.shape != (n,) or not np.isfinite(weights).all():
        raise ValueError(f"fold_in: values must be {n} finite numbers, one an item")
    return weights


def _copy_known(old_map: IdMap, old: Float32Array, new_map: IdMap, new: Float32Array) -> None:
    """Copy the vectors of ids that stand in both maps; ids of different kinds have none in common."""
    if old_map.kind == new_map.kind:
        rows = new_map.find(old_map.labels, "ImplicitALS", "id")
        new[rows[rows >= 0]] = old[rows >= 0]
