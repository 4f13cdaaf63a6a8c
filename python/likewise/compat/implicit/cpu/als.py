"""implicit.cpu.als: alternating least squares, by `likewise.ImplicitALS`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from likewise._backend import Backend
from likewise._validation import check_int, check_rows
from likewise.data import CSR, Interactions
from likewise.models import ImplicitALS

from ..recommender_base import ModelFitError
from ..utils import as_csr, as_random_state, check_csr, check_is_fitted, check_random_state, nonzeros
from .matrix_factorization_base import MatrixFactorizationBase

__all__ = [
    "AlternatingLeastSquares",
    "calculate_loss",
    "item_factor",
    "least_squares",
    "least_squares_cg",
    "user_factor",
    "user_linear_equation",
]

# What a value is at least, so that a confidence of 1 is still one of a liking.
_LEAST_VALUE = 1e-30
_START_SCALE = 0.01


class _Turning(ImplicitALS):
    """ALS that starts from vectors of its own, of one side or both, and knows how far the basis has turned since."""

    given: tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]

    def _start(self, data: Interactions, previous: Interactions | None, backend: Backend) -> npt.NDArray[np.float32]:
        drawn = super()._start(data, None, backend)
        width = self.factors
        every: npt.NDArray[np.float32] = backend.empty((width + len(drawn), width))
        every[:width], every[width:] = np.eye(width), drawn
        self._turn, both = every[:width], every[width:]
        self.user_factors_, self.item_factors_ = both[: data.n_users], both[data.n_users :]
        for vectors, known in zip((self.user_factors_, self.item_factors_), self.given, strict=True):
            if known is not None:
                n = min(len(vectors), len(known))
                vectors[:n] = known[:n]
        return every

    def as_given(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The vectors of users and items in the basis of those given."""
        return self.user_factors_ @ self._turn.T, self.item_factors_ @ self._turn.T


_Turning.__name__ = "AlternatingLeastSquares"  # what its progress bar and its errors say


class AlternatingLeastSquares(MatrixFactorizationBase):
    """Implicit ALS; a stored value r has the confidence ``alpha * r``, a negative one is a dislike.

    Parameters
    ----------
    factors : int, default=100
    regularization : float, default=0.01
    alpha : float, default=1.0
    dtype : dtype, default=float32
        Of the factors that are kept; the kernels compute in float32.
    use_native : bool, default=True
        There is one implementation: both are it.
    use_cg : bool, default=True
        The fastest solver for so many factors: exact for few, then three steps of conjugate gradients, blocks for
        many. Else exact solves.
    iterations : int, default=15
    calculate_training_loss : bool, default=False
    num_threads : int, default=0
        0 is every CPU at hand.
    random_state : int, RandomState, Generator or None, default=None
    """

    _saved: ClassVar[tuple[str, ...]] = (
        "user_factors", "item_factors", "regularization", "factors", "num_threads", "iterations", "use_native",
        "use_cg", "cg_steps", "calculate_training_loss", "dtype", "random_state", "alpha",
    )  # fmt: skip
    _telling: ClassVar[tuple[str, ...]] = ("factors", "regularization", "iterations", "calculate_training_loss")

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: Any = np.float32,
        use_native: bool = True,
        use_cg: bool = True,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.dtype = np.dtype(dtype)
        self.use_native = use_native
        self.use_cg = use_cg
        self.iterations = iterations
        self.calculate_training_loss = calculate_training_loss
        self.fit_callback: Any = None
        self.cg_steps = 3
        self.random_state = random_state
        self._YtY: Any = None
        self._XtX: Any = None

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Learn from a matrix of users x items.

        `user_factors` and `item_factors`, of an earlier fit or set by hand, are where it starts; what is None, and the
        rows that they lack, are drawn. What is learned stands in the basis of those given.

        Parameters
        ----------
        user_items : CSR matrix of shape (n_users, n_items)
            Another form is converted with a `ParameterWarning`.
        show_progress : bool, default=True
        callback : callable, default=None
            Called after each iteration as ``callback(iteration, seconds, loss)``; the model holds what it has learned
            until then, and keeps it if the call raises.

        Raises
        ------
        ValueError
            If a value is NaN or infinite, or a parameter out of range.
        ModelFitError
            If vectors have left float32.
        """
        name = type(self).__name__
        data = as_csr(check_csr(user_items), name)
        check_int(name, "iterations", self.iterations, minimum=0)
        given = self._given()
        matrix, scale = _as_strengths(data, self.alpha)
        callback = callback or self.fit_callback
        if self.iterations == 0 or matrix.nnz == 0:
            rng = check_random_state(self.random_state)
            sides = [rng.standard_normal((n, self.factors)) * _START_SCALE for n in matrix.shape]
            for side, known in zip(sides, given, strict=True):
                if known is not None:
                    side[: len(known)] = known[: len(side)]
            if matrix.nnz == 0:  # of whom nothing is known
                sides = [np.zeros_like(side) for side in sides]
            self._take(*sides)
            return
        last = time.perf_counter()

        def told(model: Any, iteration: int, loss: float | None) -> bool:
            nonlocal last
            now, before = time.perf_counter(), last
            last = now
            if callback is not None:
                shown = None if loss is None else loss * scale / _total_weight(data, self.alpha)
                self._hold(*model.as_given())
                callback(iteration - 1, now - before, shown)
                last += time.perf_counter() - now  # its own time is not the fit's
            return False

        model = self._estimator(scale)
        model.set_params(
            iterations=self.iterations, compute_loss=self.calculate_training_loss, verbose=bool(show_progress),
            callbacks=told,
        )  # fmt: skip
        model.given = given
        try:
            model.fit(Interactions.from_csr(matrix))
        except ValueError as error:
            if "left float32" in str(error):
                raise ModelFitError(str(error)) from error
            raise
        except KeyboardInterrupt:
            if hasattr(model, "n_iter_"):  # what it has learned until then
                self._take(*model.as_given())
            raise
        self._take(*model.as_given())

    def _given(self) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
        """The vectors that a fit starts from, checked."""
        for name, side in (("user_factors", self.user_factors), ("item_factors", self.item_factors)):
            if side is not None and (np.ndim(side) != 2 or side.shape[1] != self.factors):
                raise ValueError(
                    f"{type(self).__name__}: {name} must have {self.factors} columns, as factors says, got shape "
                    f"{np.shape(side)}; set them to None to start anew"
                )
        return self.user_factors, self.item_factors

    def _hold(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> None:
        self._learned(users, items)
        self._YtY = self._XtX = None

    def _take(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> None:
        """Hold what a fit has come to."""
        self._hold(users, items)

    def _estimator(self, scale: float) -> _Turning:
        """The model behind, for confidences and penalties that are divided by `scale`."""
        return _Turning(
            factors=self.factors,
            regularization=self.regularization / scale,
            alpha=1.0,
            unobserved_weight=1 / scale,
            solver="auto" if self.use_cg else "cholesky",
            cg_steps=self.cg_steps,
            cg_tol=0.0,
            random_state=as_random_state(self.random_state),
            device=self._device,
            n_jobs=self.num_threads or None,
        )

    # ------------------------------------------------------------------ rows solved for again

    def recalculate_user(self, userid: Any, user_items: Any) -> npt.NDArray[Any]:
        """Solve for the vectors of users from their rows of `user_items`; one for a single user."""
        return self._recalculated(userid, user_items, self.item_factors, "user_items")

    def recalculate_item(self, itemid: Any, item_users: Any) -> npt.NDArray[Any]:
        """Solve for the vectors of items from their rows of `item_users`; one for a single item."""
        return self._recalculated(itemid, item_users, self.user_factors, "item_users")

    def _recalculated(self, ids: Any, rows: Any, fixed: Any, argument: str) -> npt.NDArray[Any]:
        check_is_fitted(self, fixed)
        self._backend()
        rows = check_csr(rows)
        if rows.shape[0] != np.size(ids):
            raise ValueError(
                f"{type(self).__name__}: {argument} must contain 1 row for every id, got {rows.shape[0]} for "
                f"{np.size(ids)}"
            )
        if rows.nnz and int(rows.indices.max()) >= len(fixed):
            raise IndexError(f"{type(self).__name__}: {argument} has a column outside [0, {len(fixed)})")
        solved = np.zeros((rows.shape[0], fixed.shape[1]), dtype=self.dtype)
        scaled = sp.csr_matrix((self.alpha * rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], len(fixed)))
        least_squares(scaled, solved, fixed, self.regularization, num_threads=self.num_threads)
        return solved if np.ndim(ids) else solved[0]

    def partial_fit_users(self, userids: Any, user_items: Any) -> None:
        """Solve for users again, or for new ones, and keep their vectors.

        Rows between the last user and a new one are zero: of those nothing is known.
        """
        userids = check_rows(type(self).__name__, "user", userids, None)
        self.user_factors = self._with_rows(self.user_factors, userids, self.recalculate_user(userids, user_items))
        self._user_norms = self._XtX = None

    def partial_fit_items(self, itemids: Any, item_users: Any) -> None:
        """Solve for items again, or for new ones, and keep their vectors.

        Rows between the last item and a new one are zero, and are recommended to nobody.
        """
        itemids = check_rows(type(self).__name__, "item", itemids, None)
        self.item_factors = self._with_rows(self.item_factors, itemids, self.recalculate_item(itemids, item_users))
        self._item_norms = self._YtY = None

    def _with_rows(
        self, known: npt.NDArray[Any], places: npt.NDArray[np.int64], rows: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        if places.size and places.min() < 0:
            raise IndexError(f"{type(self).__name__}: ids must be >= 0, got {places.min()}")
        longer = np.zeros((max(len(known), int(places.max(initial=-1)) + 1), known.shape[1]), dtype=self.dtype)
        longer[: len(known)] = known
        longer[places] = rows
        return longer

    def explain(
        self, userid: int, user_items: Any, itemid: int, user_weights: Any = None, N: int = 10
    ) -> tuple[float, list[tuple[int, float]], Any]:
        """Say which of a user's items gave the score of an item: Hu et al. (2008), doi:10.1109/ICDM.2008.22, section 5.

        Parameters
        ----------
        userid, itemid : int
        user_items : CSR matrix of shape (n_users, n_items)
        user_weights : tuple, default=None
            What an earlier call for the user has returned; spares a factorization.
        N : int, default=10
            Items listed.

        Returns
        -------
        score : float
        contributions : list of (item, score)
            Greatest first.
        user_weights : tuple
        """
        check_is_fitted(self, self.item_factors)
        name = type(self).__name__
        matrix = check_csr(user_items)
        row = matrix[check_rows(name, "user", userid, matrix.shape[0])]
        itemid = check_rows(name, "item", itemid, len(self.item_factors))[0]
        confidences, items = self.alpha * row.data.astype(np.float64), row.indices
        vectors = self.item_factors[items].astype(np.float64)
        if user_weights is None:
            system = self.YtY + self.regularization * np.eye(self.item_factors.shape[1])
            system = system + (vectors.T * (np.abs(confidences) - 1)) @ vectors
            user_weights = scipy.linalg.cho_factor(system)
        liked = confidences > 0
        weighted = scipy.linalg.cho_solve(user_weights, self.item_factors[itemid].astype(np.float64))
        parts = vectors[liked] @ weighted * confidences[liked]
        best = np.lexsort((items[liked], -parts))[:N]
        listed = [(int(items[liked][place]), float(parts[place])) for place in best]
        return float(parts.sum()), listed, user_weights

    # ------------------------------------------------------------------ what others reach for

    @property
    def solver(self) -> Callable[..., None]:
        """The half-sweep: ``solver(Cui, X, Y, regularization, num_threads=0)`` improves X in place."""
        return functools.partial(least_squares_cg, cg_steps=self.cg_steps) if self.use_cg else least_squares

    @property
    def YtY(self) -> npt.NDArray[Any]:
        """The Gramian of the items."""
        if self._YtY is None:
            check_is_fitted(self, self.item_factors)
            self._YtY = self.item_factors.T @ self.item_factors
        gramian: npt.NDArray[Any] = self._YtY
        return gramian

    @property
    def XtX(self) -> npt.NDArray[Any]:
        """The Gramian of the users."""
        if self._XtX is None:
            check_is_fitted(self, self.user_factors)
            self._XtX = self.user_factors.T @ self.user_factors
        gramian: npt.NDArray[Any] = self._XtX
        return gramian

    def to_gpu(self) -> Any:
        """The same model for the GPU."""
        from ..gpu.als import AlternatingLeastSquares as OnGpu

        return self._moved(OnGpu)

    def to_cpu(self) -> AlternatingLeastSquares:
        """The same model for the CPU."""
        return self._moved(AlternatingLeastSquares)


def _half_sweep(
    Cui: Any, X: npt.NDArray[Any], Y: npt.NDArray[Any], regularization: float, num_threads: int, method: str, steps: int
) -> None:
    matrix, scale = _as_strengths(as_csr(Cui, method), 1.0)
    n_factors = Y.shape[1]
    model = ImplicitALS(
        factors=n_factors, regularization=regularization / scale, alpha=1.0, unobserved_weight=1 / scale,
        cg_steps=steps, cg_tol=0.0, n_jobs=num_threads or None,
    )  # fmt: skip
    solver = model._solver_of(n_factors, method)
    backend = solver.backend
    # The kernel's basis is that of the Gramian of Y; the identity turns with Y and tells the way there and back.
    both = backend.asarray(np.concatenate([np.eye(n_factors), Y]))
    fixed = both[n_factors:]
    eigenvalues = solver.rotate_to_eigenbasis(fixed, both)
    rotation = np.array(both[:n_factors])
    solved = backend.asarray(X @ rotation)
    solver.sweep(backend.csr(matrix), fixed, eigenvalues, solved)
    X[...] = solved @ rotation.T


def least_squares(
    Cui: Any, X: npt.NDArray[Any], Y: npt.NDArray[Any], regularization: float, num_threads: int = 0
) -> None:
    """Solve for each row of X exactly, Y held fixed; values of `Cui` are confidences, those below 0 of dislikes."""
    _half_sweep(Cui, X, Y, regularization, num_threads, "cholesky", 3)


def least_squares_cg(
    Cui: Any, X: npt.NDArray[Any], Y: npt.NDArray[Any], regularization: float, num_threads: int = 0, cg_steps: int = 3
) -> None:
    """Improve each row of X by steps of conjugate gradients from where it stands, Y held fixed."""
    _half_sweep(Cui, X, Y, regularization, num_threads, "cg", cg_steps)


def user_linear_equation(
    Y: npt.NDArray[Any], YtY: npt.NDArray[Any], Cui: Any, u: int, regularization: float, n_factors: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the matrix and the right side of the system that row `u` of X solves."""
    A, b = YtY + regularization * np.eye(n_factors), np.zeros(n_factors)
    for item, confidence in nonzeros(Cui, u):
        if confidence > 0:
            b += confidence * Y[item]
        A += (abs(confidence) - 1) * np.outer(Y[item], Y[item])
    return A, b


def user_factor(
    Y: npt.NDArray[Any], YtY: npt.NDArray[Any], Cui: Any, u: int, regularization: float, n_factors: int
) -> npt.NDArray[Any]:
    """Solve for the vector of a user; `least_squares` solves for all of them, and fast."""
    solved: npt.NDArray[Any] = np.linalg.solve(*user_linear_equation(Y, YtY, Cui, u, regularization, n_factors))
    return solved


def item_factor(
    X: npt.NDArray[Any], XtX: npt.NDArray[Any], Cui: Any, u: int, regularization: float, n_factors: int
) -> npt.NDArray[Any]:
    """Solve for the vector of an item, whose row of `Cui` is of users."""
    return user_factor(X, XtX, Cui, u, regularization, n_factors)


def calculate_loss(
    Cui: Any, X: npt.NDArray[Any], Y: npt.NDArray[Any], regularization: float, num_threads: int = 0
) -> float:
    """The loss of confidences and factors, penalties included, divided by the sum of all weights."""
    data = as_csr(Cui, "calculate_loss")
    matrix, scale = _as_strengths(data, 1.0)
    model = ImplicitALS(
        factors=Y.shape[1], regularization=regularization / scale, alpha=1.0, unobserved_weight=1 / scale,
        n_jobs=num_threads or None,
    )  # fmt: skip
    solver = model._solver_of(Y.shape[1], "cholesky")
    backend = solver.backend
    users, items = backend.asarray(X), backend.asarray(Y)
    loss = backend.kernels.als_loss(
        backend.context, backend.csr(matrix), users, items, solver.gramian(users), solver.gramian(items),
        solver.objective,
    )  # fmt: skip
    return float(loss) * scale / _total_weight(data, 1.0)


def _as_strengths(data: CSR, alpha: float) -> tuple[CSR, float]:
    """Values v whose confidence 1 + abs(v), times a scale, is that of implicit, abs(alpha r); and that scale.

    The kernels know no confidence below that of a stored value of 0. Where some are below 1, all weights of the loss,
    of pairs that are not stored and of penalties too, are divided by the least of them, which changes no minimum.
    """
    confidences = alpha * data.values.astype(np.float64)
    strengths = np.abs(confidences)
    scale = min(1.0, float(strengths.min(initial=np.inf)))
    if scale == 0 or not np.isfinite(scale):
        scale = 1.0
    values = np.copysign(np.maximum(strengths / scale - 1, _LEAST_VALUE), confidences)
    return CSR(data.indptr, data.indices, values.astype(np.float32), data.shape), scale


def _total_weight(data: CSR, alpha: float) -> float:
    stored = float(np.abs(alpha * data.values.astype(np.float64)).sum())
    return stored + float(data.n_rows) * data.n_cols - data.nnz
