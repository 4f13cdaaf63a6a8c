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

from likewise._validation import check_int
from likewise.data import CSR, Interactions
from likewise.models import ImplicitALS

from ..recommender_base import ModelFitError
from ..utils import as_csr, check_csr, check_is_fitted, check_random_state
from .matrix_factorization_base import MatrixFactorizationBase

__all__ = ["AlternatingLeastSquares", "calculate_loss", "least_squares", "least_squares_cg"]

# What a value is at least, so that a confidence of 1 is still one of a liking.
_LEAST_VALUE = 1e-30
_START_SCALE = 0.01


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
    _device = "cpu"

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
        """Learn from a matrix of users x items, further if the model is fitted already.

        Parameters
        ----------
        user_items : CSR matrix of shape (n_users, n_items)
            Another form is converted with a `ParameterWarning`.
        show_progress : bool, default=True
        callback : callable, default=None
            Called after each iteration as ``callback(iteration, seconds, loss)``.

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
        matrix, scale = _as_strengths(data, self.alpha)
        callback = callback or self.fit_callback
        if self.iterations == 0 or matrix.nnz == 0:
            rng = check_random_state(self.random_state)
            sides = [rng.standard_normal((n, self.factors)) * _START_SCALE for n in matrix.shape]
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
                callback(iteration - 1, now - before, shown)
            return False

        model = self._estimator(scale)
        model.set_params(
            iterations=self.iterations, compute_loss=self.calculate_training_loss, verbose=bool(show_progress),
            callbacks=told, warm_start=self.user_factors is not None,
        )  # fmt: skip
        if self.user_factors is not None:
            # Where the last fit, here or elsewhere, has left off; what it did not know starts anew.
            n_users, n_items = (min(n, len(side)) for n, side in zip(data.shape, self._both(), strict=True))
            model.user_factors_, model.item_factors_ = (
                np.ascontiguousarray(side[:n], np.float32)
                for n, side in zip((n_users, n_items), self._both(), strict=True)
            )
            model.interactions_ = Interactions.from_csr(sp.csr_array((n_users, n_items)))
        try:
            model.fit(Interactions.from_csr(matrix))
        except ValueError as error:
            if "left float32" in str(error):
                raise ModelFitError(str(error)) from error
            raise
        self._take(model.user_factors_, model.item_factors_)

    def _both(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self.user_factors, self.item_factors

    def _take(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> None:
        self._learned(users, items)
        self._YtY = self._XtX = None

    def _estimator(self, scale: float) -> ImplicitALS:
        """The model behind, for confidences and penalties that are divided by `scale`."""
        return ImplicitALS(
            factors=self.factors,
            regularization=self.regularization / scale,
            alpha=1.0,
            unobserved_weight=1 / scale,
            solver="auto" if self.use_cg else "cholesky",
            cg_steps=self.cg_steps,
            cg_tol=0.0,
            random_state=self.random_state,
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
        self.user_factors = self._with_rows(
            self.user_factors, userids, self.recalculate_user(np.atleast_1d(userids), user_items)
        )
        self._user_norms = self._XtX = None

    def partial_fit_items(self, itemids: Any, item_users: Any) -> None:
        """Solve for items again, or for new ones, and keep their vectors.

        Rows between the last item and a new one are zero, and are recommended to nobody.
        """
        self.item_factors = self._with_rows(
            self.item_factors, itemids, self.recalculate_item(np.atleast_1d(itemids), item_users)
        )
        self._item_norms = self._YtY = None

    def _with_rows(self, known: npt.NDArray[Any], ids: Any, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        places = np.atleast_1d(ids)
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
        row = check_csr(user_items)[[userid]]
        confidences, items = self.alpha * row.data.astype(np.float64), row.indices
        vectors = self.item_factors[items].astype(np.float64)
        if user_weights is None:
            matrix = self.YtY + self.regularization * np.eye(self.item_factors.shape[1])
            matrix = matrix + (vectors.T * (np.abs(confidences) - 1)) @ vectors
            user_weights = scipy.linalg.cho_factor(matrix)
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
            self._YtY = self.item_factors.T @ self.item_factors
        gramian: npt.NDArray[Any] = self._YtY
        return gramian

    @property
    def XtX(self) -> npt.NDArray[Any]:
        """The Gramian of the users."""
        if self._XtX is None:
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
