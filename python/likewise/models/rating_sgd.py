"""Matrix factorization of explicit ratings by stochastic gradient descent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions

from ._ratings import RatingVectorRecommender, Users, fit_baselines, user_baselines
from .base import entry_positions, hide_items

__all__ = ["SGDMatrixFactorization", "SVDpp"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_MAX_FACTORS = 8192
_MAX_RATE = 1e3
_MAX_EPOCHS = 2**32  # draws are numbered by them
_LANES = 16  # the kernels' vectors are padded to a multiple of it
_START_SCALE = 0.1  # as Surprise has it

Self = TypeVar("Self", bound="_RatingFactorization")
Callback = Callable[[Any, int, None], "bool | None"]


class _Factors(NamedTuple):
    """What the kernels work on: padded vectors, and biases where the model has them."""

    users: Float32Array
    items: Float32Array
    user_biases: Float32Array
    item_biases: Float32Array
    implicit: Float32Array
    """Of items that a user has rated, whatever the rating; no rows where the model has none."""

    @classmethod
    def random(
        cls, backend: Backend, rng: np.random.Generator, shape: tuple[int, int], d: int, biases: bool, implicit: bool
    ) -> _Factors:
        """Small normal numbers; biases of zero."""
        sizes = (*shape, shape[1] if implicit else 0)
        users, items, others = (_padded(backend, backend.normal(rng, (n, d), _START_SCALE)) for n in sizes)
        of_users, of_items = (backend.zeros((n if biases else 0,)) for n in shape)
        return cls(users, items, of_users, of_items, others)

    def view(self, backend: Backend) -> Any:
        return backend.kernels.RatingFactors(self.users, self.items, self.user_biases, self.item_biases)

    def check(self, name: str) -> None:
        """Raise where steps have become too great for float32."""
        for array in self:
            with np.errstate(invalid="ignore"):  # of infinities of both signs
                total = array.sum(dtype=np.float64)
            if not np.isfinite(total):  # NaN as soon as one number is
                raise ValueError(
                    f"{name}: the vectors have left float32; take a smaller learning_rate, or scale the values of X"
                )

    def copy(self) -> _Factors:
        return _Factors(*(array.copy() for array in self))


class _RatingFactorization(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RatingVectorRecommender):  # type: ignore[misc]
    """What SGDMatrixFactorization and SVDpp share: all but what an epoch does, and the vectors of users."""

    factors: int
    learning_rate: float
    regularization: float
    iterations: int
    early_stopping: bool
    n_iter_no_change: int
    partial_iterations: int
    warm_start: bool
    random_state: Any
    device: str
    n_jobs: int | None
    verbose: bool | int
    callbacks: Any

    n_iter_: int
    best_iteration_: int
    rmse_history_: list[float]
    validation_history_: list[float]
    user_factors_: Float32Array
    item_factors_: Float32Array
    _has_biases: bool
    _seed: int
    _n_epochs: int  # those whose draws are used up

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.item_factors_.shape[1])

    @property
    def _is_biased(self) -> bool:  # type: ignore[override]
        return self._has_biases

    # ------------------------------------------------------------------ what differs

    _has_implicit = False

    @abstractmethod
    def _epochs(self, backend: Backend, ratings: CSR, seen: CSR, factors: _Factors) -> Callable[[int], float]:
        """What runs the epoch of a number over `ratings` and returns the sum of squared errors.

        Row u of `seen` holds all that the user of row u is known to have rated.
        """

    def _wants_biases(self) -> bool:
        return True

    def _given_vectors(self, backend: Backend, seen: CSR, implicit: Float32Array, n_lanes: int) -> Float32Array:
        """The part of users' vectors that what they have rated gives; padded."""
        vectors: Float32Array = backend.zeros((seen.n_rows, n_lanes))
        return vectors

    def _own_vectors(self) -> Float32Array:
        """The part of the fitted users' vectors that is theirs alone."""
        return self.user_factors_

    # ------------------------------------------------------------------ parameters

    def _check_parameters(self) -> None:
        super()._check_parameters()
        name = type(self).__name__
        check_int(name, "factors", self.factors, minimum=1, maximum=_MAX_FACTORS)
        rate = check_float(name, "learning_rate", self.learning_rate, minimum=0, maximum=_MAX_RATE, exclusive=True)
        penalty = check_float(name, "regularization", self.regularization, minimum=0)
        if not rate * penalty < 1:
            raise ValueError(
                f"{name}: learning_rate * regularization must be < 1, got {rate:g} * {penalty:g}; a step would turn "
                "vectors round"
            )
        check_int(name, "iterations", self.iterations, minimum=1, maximum=2**31 - 1)
        check_int(name, "n_iter_no_change", self.n_iter_no_change, minimum=1)
        check_int(name, "partial_iterations", self.partial_iterations, minimum=1, maximum=2**20)
        for flag in ("early_stopping", "warm_start"):
            check_flag(name, flag, getattr(self, flag))
        for callback in self._callback_list():
            if not callable(callback):
                raise TypeError(f"{name}: callbacks must be callable, got {type(callback).__name__}")

    def _callback_list(self) -> list[Callback]:
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, (list, tuple)) else [self.callbacks]

    def _rule(self, backend: Backend) -> Any:
        mean = self.global_mean_ if self._has_biases else 0.0
        return backend.kernels.RatingRule(mean, float(self.learning_rate), float(self.regularization))

    # ------------------------------------------------------------------ fitting

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name = type(self).__name__
        train, hidden = data.by_user, None
        if self.early_stopping:
            train, hidden = hide_items(data.by_user)
            if hidden.nnz == 0:
                raise ValueError(f"{name}: early_stopping needs a user with two items, got one each at most")
        backend = get_backend(self.device, self.n_jobs, name)
        rng = check_random_state(name, self.random_state)
        factors = self._start(data, previous, backend, rng)
        self._seed, self._n_epochs, self._has_biases = int(rng.integers(2**63)), 0, self._wants_biases()
        self._set_scale(data.by_user)
        self._set_baselines(data)
        self.n_iter_, self.best_iteration_, self.rmse_history_, self.validation_history_ = 0, 0, [], []
        run_epoch = self._epochs(backend, train, train, factors)
        callbacks, best = self._callback_list(), None
        bar = ProgressBar(range(1, self.iterations + 1), verbose=self.verbose, description=name)
        try:
            for iteration in bar:
                squares = run_epoch(iteration)
                if not np.isfinite(squares):
                    factors.check(name)
                self.n_iter_ = self.best_iteration_ = self._n_epochs = iteration
                figures = {"rmse": float(np.sqrt(squares / train.nnz))}
                self.rmse_history_.append(figures["rmse"])
                if callbacks or hidden is not None:
                    self._publish(backend, factors, train)
                if hidden is not None:
                    figures["hidden rmse"] = self._rmse_of(hidden)
                    if not self.validation_history_ or figures["hidden rmse"] < min(self.validation_history_):
                        best = factors.copy()
                    self.validation_history_.append(figures["hidden rmse"])
                    self.best_iteration_ = 1 + int(np.argmin(self.validation_history_))
                bar.set(**figures)
                stops = [bool(callback(self, iteration, None)) for callback in callbacks]  # as with every model
                if any(stops) or iteration - self.best_iteration_ >= self.n_iter_no_change:
                    break
        finally:
            # After an interrupt too: what stands is whole, but for the epoch that was under way.
            self._publish(backend, factors if best is None else best, train)

    def _rmse_of(self, hidden: CSR) -> float:
        users, items = (ids.astype(np.int64) for ids in (hidden.row_numbers(), hidden.indices))
        errors = self._predicted_ratings(None, users, items) - hidden.values
        return float(np.sqrt(np.mean(errors**2)))

    def _set_baselines(self, data: Interactions) -> None:
        """Where the vectors stand above nothing: what is said of those of whom nothing else is known."""
        if self._has_biases:
            return
        found = fit_baselines(self._backend(), data.by_user, data.by_item)
        self._set_biases(found.user_biases, found.item_biases)

    def _start(
        self, data: Interactions, previous: Interactions | None, backend: Backend, rng: np.random.Generator
    ) -> _Factors:
        factors = _Factors.random(backend, rng, data.shape, self.factors, self._wants_biases(), self._has_implicit)
        if not self.warm_start or previous is None:
            return factors
        name, had_biases = type(self).__name__, self._has_biases
        if (n_learned := self._n_features_out) != self.factors:
            raise ValueError(f"{name}: warm_start needs factors={n_learned} as in the last fit, got {self.factors}")
        if had_biases != self._wants_biases():
            raise ValueError(
                f"{name}: warm_start needs biases={had_biases} as in the last fit, got {self._wants_biases()}"
            )
        sides = (
            (previous.user_map, data.user_map, previous.by_user, self.user_biases_, factors.user_biases,
             [(self._own_vectors(), factors.users)]),
            (previous.item_map, data.item_map, previous.by_item, self.item_biases_, factors.item_biases,
             [(self.item_factors_, factors.items), *self._implicit_pairs(factors)]),
        )  # fmt: skip
        for before, now, ratings, learned_biases, biases, vectors in sides:
            if before.kind != now.kind:  # ids of different kinds have none in common
                continue
            rows = now.find(before.labels, name, "id")
            known = np.flatnonzero((rows >= 0) & (ratings.row_counts() > 0))
            for learned, padded in vectors:
                padded[rows[known], : self.factors] = learned[known]
            if biases.size:
                biases[rows[known]] = learned_biases[known]
        return factors

    def _implicit_pairs(self, factors: _Factors) -> list[tuple[Float32Array, Float32Array]]:
        """What was learned for items that users have rated, and where it goes."""
        return []

    def _publish(self, backend: Backend, factors: _Factors, train: CSR) -> None:
        """Make the model's vectors of what the kernels work on: zero for users and items without ratings."""
        factors.check(type(self).__name__)
        vectors = factors.users
        if self._has_implicit:
            vectors = vectors + self._given_vectors(backend, train, factors.implicit, vectors.shape[1])
        self._set_vectors(
            backend, vectors, factors, np.flatnonzero(train.row_counts() == 0),
            np.flatnonzero(train.column_counts() == 0),
        )  # fmt: skip
        if self._has_biases:
            user_biases = factors.user_biases.copy()
            user_biases[train.row_counts() == 0] = 0
            self.user_biases_ = user_biases

    def _set_vectors(
        self, backend: Backend, users: Float32Array, factors: _Factors, blank_users: Int64Array, blank_items: Int64Array
    ) -> None:
        d = self.factors
        self.user_factors_, self.item_factors_ = _compact(backend, users, d), _compact(backend, factors.items, d)
        self.user_factors_[blank_users], self.item_factors_[blank_items] = 0, 0
        if self._has_biases:
            item_biases = factors.item_biases.copy()
            item_biases[blank_items] = 0
            self.item_biases_ = item_biases

    def partial_fit(self: Self, X: Any, y: Any = None) -> Self:
        """Learn from further ratings, of new users and items too, without starting over.

        `partial_iterations` epochs over the ratings in `X`. Before a first `fit` it is `fit`.

        Parameters
        ----------
        X : Interactions or matrix
            New ratings. By id, unknown users and items are added; a matrix must have at least as many columns as
            before, and its row i is user i. A pair that is known already is merged as the interactions of `fit`
            merge repeats: summed unless they were built otherwise (``duplicates="last"`` keeps the later rating).
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` has fewer columns than the model has items, or holds NaN or infinite values, or steps
            become too great for float32; the model is as before then.
        TypeError
            If its ids are of another kind.
        """
        name = type(self).__name__
        if not hasattr(self, "item_factors_"):
            return self.fit(X)
        self._check_parameters()
        new, joined = self._joined(X)
        backend, d = self._backend(), self._n_features_out
        if d != self.factors:
            raise ValueError(f"{name}: partial_fit needs factors={d} as in the last fit, got {self.factors}")
        user_rows = joined.user_map.find(new.user_map.labels, name, "user")
        item_rows = joined.item_map.find(new.item_map.labels, name, "item")
        events = new.by_user
        touched = np.flatnonzero(events.row_counts())
        rows = user_rows[touched]
        seen = joined.by_user.take_rows(rows)
        whole = self._resumed(joined, rows, backend)
        part = _Factors(
            whole.users[rows], whole.items, whole.user_biases[rows] if self._has_biases else whole.user_biases,
            whole.item_biases, whole.implicit,
        )  # fmt: skip
        run_epoch = self._epochs(backend, _given_again(seen, events.take_rows(touched), item_rows), seen, part)
        n_epochs = self._n_epochs
        for _ in range(self.partial_iterations):
            n_epochs = (n_epochs + 1) % _MAX_EPOCHS
            run_epoch(n_epochs)
        part.check(name)
        whole.users[rows] = part.users
        if self._has_biases:
            whole.user_biases[rows] = part.user_biases
        with self._all_or_nothing():
            self._set_interactions(joined)
            mean = self.global_mean_
            self._set_scale(joined.by_user)
            if self._has_biases:
                self.global_mean_ = mean  # the biases stand above it
            self._set_baselines(joined)
            self._publish(backend, whole, joined.by_user)
            self._n_epochs = n_epochs
        return self

    def _resumed(self, joined: Interactions, rows: Int64Array, backend: Backend) -> _Factors:
        """All that was learned; starting values for the users in `rows`, and for items, where nothing was."""
        d = self._n_features_out
        rng = np.random.default_rng([self._seed, self._n_epochs])
        factors = _Factors.random(backend, rng, joined.shape, d, self._has_biases, self._has_implicit)
        before = self.interactions_
        known = [np.flatnonzero(matrix.row_counts()) for matrix in (before.by_user, before.by_item)]
        factors.users[known[0], :d] = self._own_vectors()[known[0]]
        for learned, padded in [(self.item_factors_, factors.items), *self._implicit_pairs(factors)]:
            padded[known[1], :d] = learned[known[1]]
        if self._has_biases:
            factors.user_biases[known[0]] = self.user_biases_[known[0]]
            factors.item_biases[known[1]] = self.item_biases_[known[1]]
        return factors

    # ------------------------------------------------------------------ using

    def transform(self, X: Any) -> Float32Array:
        """Learn the vectors of users from their ratings, the items held fixed (fold-in).

        As many epochs as the model was fitted by, from zero; equal rows get equal vectors.

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Ratings of users whom the model need not know. Items that it does not know are left out.

        Returns
        -------
        ndarray of shape (n, factors), float32
            Zero for a user without ratings.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If a matrix has another number of columns than the model has items, or ratings are so great that steps
            leave float32.
        """
        return self._folded(self._histories(X, type(self).__name__).by_user).vectors

    def _folded(self, histories: CSR) -> Users:
        self._check_parameters()  # which may have been set since the fit
        backend, d = self._backend(), self._n_features_out
        items = _padded(backend, self.item_factors_)
        vectors = self._given_vectors(backend, histories, self._padded_implicit(backend), items.shape[1])
        biases: Float32Array = backend.zeros((histories.n_rows if self._has_biases else 0,))
        item_biases: Float32Array = backend.zeros((self.n_items_ if self._has_biases else 0,))
        if self._has_biases:
            item_biases[:] = self.item_biases_
        factors = _Factors(vectors, items, biases, item_biases, backend.zeros((0, 0)))
        backend.kernels.rating_fold_in(
            backend.context, backend.csr(histories), self._rule(backend), self.best_iteration_, factors.view(backend)
        )
        factors.check(type(self).__name__)
        if not self._has_biases:
            found = user_baselines(backend, histories, self.global_mean_, self.item_biases_)
            biases = found.astype(np.float32)
        return Users(backend.to_numpy(biases), _compact(backend, vectors, d))

    def _padded_implicit(self, backend: Backend) -> Float32Array:
        none: Float32Array = backend.zeros((0, 0))
        return none

    def _folded_biases(self, histories: CSR) -> Float64Array:
        return self._folded(histories).biases.astype(np.float64)

    def _users(self, histories: CSR | None, rows: Int64Array) -> Users:
        if histories is not None:
            return self._folded(histories.take_rows(rows))
        if rows.size == self.n_users_ and np.array_equal(rows, np.arange(rows.size)):
            return Users(self.user_biases_, self.user_factors_)
        return Users(self.user_biases_[rows], self.user_factors_[rows])

    def _item_vectors(self) -> Float32Array:
        return self.item_factors_

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        numbers = [self.n_iter_, self.best_iteration_, self._n_epochs, self._seed, self._has_biases]
        return {
            **super()._state(),
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "numbers": np.array(numbers, dtype=np.int64),
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        n_factors = arrays["item_factors"].shape[-1]
        self.user_factors_ = self._checked(arrays["user_factors"], (self.n_users_, n_factors))
        self.item_factors_ = self._checked(arrays["item_factors"], (self.n_items_, n_factors))
        numbers = map(int, self._checked(arrays["numbers"], (5,), np.int64))
        self.n_iter_, self.best_iteration_, self._n_epochs, self._seed, has_biases = numbers
        self._has_biases = bool(has_biases)
        if not 0 <= self._n_epochs < _MAX_EPOCHS or self._seed < 0 or not 0 <= self.best_iteration_ < 2**31:
            raise ValueError("a seed or a number of epochs is out of range")
        self.rmse_history_, self.validation_history_ = [], []


def _given_again(seen: CSR, events: CSR, item_rows: Int64Array) -> CSR:
    """The entries of `seen` whose pairs are in `events`, rows alike, whose items are numbered otherwise."""
    at = np.sort(entry_positions(seen, events, item_rows))
    counts = np.concatenate([[0], np.cumsum(events.row_counts())])
    return CSR(counts, seen.indices[at], seen.values[at], seen.shape)


def _padded(backend: Backend, vectors: Any) -> Float32Array:
    """A copy on the device whose rows are filled up with zeros to a multiple of the kernels' lanes."""
    n, n_factors = vectors.shape
    out: Float32Array = backend.zeros((n, -(-n_factors // _LANES) * _LANES))
    out[:, :n_factors] = vectors
    return out


def _compact(backend: Backend, padded: Any, n_factors: int) -> Float32Array:
    """A copy on the host, without padding."""
    return np.array(backend.to_numpy(padded)[:, :n_factors], order="C")


class SGDMatrixFactorization(_RatingFactorization):
    r"""Biased matrix factorization of ratings by stochastic gradient descent, known as "FunkSVD" [1]_.

    The rating of item i by user u is estimated as

    .. math::

        \hat r_{ui} = \mu + b_u + b_i + x_u^T y_i.

    Each epoch takes every rating once and, by its error e, moves biases by :math:`\gamma (e - \lambda b)` and vectors
    by :math:`\gamma (e\, y_i - \lambda x_u)` and :math:`\gamma (e\, x_u - \lambda y_i)`, with :math:`\gamma` =
    `learning_rate` and :math:`\lambda` = `regularization`. Every stored value is a rating, zeros and negative ones too.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192.
    learning_rate : float, default=0.005
        Length of the steps, above 0, below 1000.
    regularization : float, default=0.02
        Penalty of squared lengths and biases, at least 0; of each rating, so that it weighs with their number.
    iterations : int, default=20
        Epochs.
    biases : bool, default=True
        Whether there are biases above the mean. Without, the estimate is :math:`x_u^T y_i` alone, and of unknown users
        and items the baseline of their ratings.
    clip : bool, default=True
        Whether predictions stay between the lowest and the highest rating of the fit. Scores of recommendations are
        never clipped.
    early_stopping : bool, default=False
        Whether to hide a fifth of each user's ratings, watch the RMSE on them, stop once it has not fallen for
        `n_iter_no_change` iterations, and keep the best vectors.
    n_iter_no_change : int, default=3
        Patience of `early_stopping`.
    partial_iterations : int, default=10
        Epochs that `partial_fit` takes over new ratings.
    warm_start : bool, default=False
        Whether a second `fit` starts from what the first has learned; users and items are found again by id.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values and of the order of ratings. The same seed gives bitwise the same vectors at any
        `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress, with the error of the ratings as they came.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, None)``; the model is usable then. (In place of
        None, models with a loss give it.) A callback that returns true stops the fit; Ctrl-C does too, and leaves the
        model usable.

    Attributes
    ----------
    global_mean_ : float
        Mean of all ratings.
    user_biases_ : ndarray of shape (n_users,), float32
    item_biases_ : ndarray of shape (n_items,), float32
    user_factors_ : ndarray of shape (n_users, factors), float32
        Zero for users without ratings.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Zero for items without ratings.
    rating_scale_ : tuple
        Lowest and highest rating of the fit.
    n_iter_ : int
        Iterations run.
    best_iteration_ : int
        The one whose vectors these are; with `early_stopping` it may be an earlier one.
    rmse_history_ : list of float of length n_iter_
        Of each iteration the root mean squared error of the ratings, each before its step, not clipped.
    validation_history_ : list of float of length n_iter_
        RMSE of the hidden ratings after each iteration, with `early_stopping`.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] Y. Koren, R. Bell and C. Volinsky, Matrix factorization techniques for recommender systems, Computer 42,
       2009, doi:10.1109/MC.2009.263

    Examples
    --------
    >>> import likewise as lw
    >>> ratings = lw.datasets.load_movietweetings()
    >>> train, test = lw.model_selection.random_split(ratings, 0.2, random_state=0, leakage="ignore")
    >>> model = lw.SGDMatrixFactorization(random_state=0, n_jobs=1).fit(train)
    >>> bool(lw.evaluate(model, train, test, "rmse")["rmse"] < 1.6)
    True
    """

    _search_space: ClassVar[Space] = {
        "factors": Range(8, 256, log=True),
        "learning_rate": Range(0.002, 0.05, log=True),
        "regularization": Range(0.005, 0.3, log=True),
    }

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.005,
        regularization: float = 0.02,
        iterations: int = 20,
        *,
        biases: bool = True,
        clip: bool = True,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        partial_iterations: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        callbacks: Callback | list[Callback] | None = None,
    ) -> None:
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.iterations = iterations
        self.biases = biases
        self.clip = clip
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.partial_iterations = partial_iterations
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_flag(type(self).__name__, "biases", self.biases)

    def _wants_biases(self) -> bool:
        return bool(self.biases)

    def _epochs(self, backend: Backend, ratings: CSR, seen: CSR, factors: _Factors) -> Callable[[int], float]:
        kernels = backend.kernels
        n_blocks = kernels.n_rating_blocks(ratings.n_cols, ratings.nnz, factors.items.shape[1])
        arranged = tuple(backend.empty((ratings.nnz,), dtype) for dtype in (np.int32, np.int32, np.float32))
        starts = backend.empty((n_blocks**2 + 1,), np.int64)
        kernels.arrange_ratings(backend.context, backend.csr(ratings), self._seed, n_blocks, *arranged, starts)
        rule, view = self._rule(backend), factors.view(backend)

        def run_epoch(number: int) -> float:
            return float(kernels.rating_epoch(backend.context, *arranged, starts, rule, self._seed, number, view))

        return run_epoch


class SVDpp(_RatingFactorization):
    r"""SVD++: biased matrix factorization that learns from which items a user has rated, too [1]_.

    The rating of item i by user u is estimated as

    .. math::

        \hat r_{ui} = \mu + b_u + b_i + y_i^T \Bigl(x_u + |N(u)|^{-1/2} \sum_{j \in N(u)} z_j\Bigr)

    with the items N(u) that u has rated. Steps are those of [1]_, for each rating in turn, as in
    `SGDMatrixFactorization`, and of all :math:`z_j` of the user too.

    Parameters
    ----------
    factors : int, default=20
        Length of the vectors, 1 to 8192.
    learning_rate : float, default=0.007
        Length of the steps, above 0, below 1000.
    regularization : float, default=0.02
        Penalty of squared lengths and biases, at least 0; of each rating, so that it weighs with their number.
    iterations : int, default=20
        Epochs.
    clip : bool, default=True
        Whether predictions stay between the lowest and the highest rating of the fit. Scores of recommendations are
        never clipped.
    early_stopping : bool, default=False
        Whether to hide a fifth of each user's ratings, watch the RMSE on them, stop once it has not fallen for
        `n_iter_no_change` iterations, and keep the best vectors.
    n_iter_no_change : int, default=3
        Patience of `early_stopping`.
    partial_iterations : int, default=10
        Epochs that `partial_fit` takes over new ratings.
    warm_start : bool, default=False
        Whether a second `fit` starts from what the first has learned; users and items are found again by id.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand. Epochs run on one thread.
    verbose : bool or int, default=False
        Whether to show progress, with the error of the ratings as they came.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, None)``; the model is usable then. (In place of
        None, models with a loss give it.) A callback that returns true stops the fit; Ctrl-C does too, and leaves the
        model usable.

    Attributes
    ----------
    global_mean_ : float
        Mean of all ratings.
    user_biases_ : ndarray of shape (n_users,), float32
    item_biases_ : ndarray of shape (n_items,), float32
    user_factors_ : ndarray of shape (n_users, factors), float32
        The whole vectors of the users, :math:`x_u` and the sum; zero for users without ratings.
    item_factors_ : ndarray of shape (n_items, factors), float32
        The vectors :math:`y_i`; zero for items without ratings.
    implicit_factors_ : ndarray of shape (n_items, factors), float32
        The vectors :math:`z_j`: what it says of a user to have rated an item.
    rating_scale_ : tuple
        Lowest and highest rating of the fit.
    n_iter_ : int
        Iterations run.
    best_iteration_ : int
        The one whose vectors these are; with `early_stopping` it may be an earlier one.
    rmse_history_ : list of float of length n_iter_
        Of each iteration the root mean squared error of the ratings, each before its step, not clipped.
    validation_history_ : list of float of length n_iter_
        RMSE of the hidden ratings after each iteration, with `early_stopping`.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    References
    ----------
    .. [1] Y. Koren, Factorization meets the neighborhood: a multifaceted collaborative filtering model, KDD 2008,
       doi:10.1145/1401890.1401944

    Examples
    --------
    >>> import likewise as lw
    >>> ratings = lw.datasets.load_movietweetings()
    >>> train, test = lw.model_selection.random_split(ratings, 0.2, random_state=0, leakage="ignore")
    >>> model = lw.SVDpp(random_state=0, n_jobs=1).fit(train)
    >>> bool(lw.evaluate(model, train, test, "rmse")["rmse"] < 1.6)
    True
    """

    _has_implicit = True

    implicit_factors_: Float32Array

    _search_space: ClassVar[Space] = {
        "factors": Range(8, 64, log=True),
        "learning_rate": Range(0.002, 0.05, log=True),
        "regularization": Range(0.005, 0.3, log=True),
    }

    def __init__(
        self,
        factors: int = 20,
        learning_rate: float = 0.007,
        regularization: float = 0.02,
        iterations: int = 20,
        *,
        clip: bool = True,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        partial_iterations: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        callbacks: Callback | list[Callback] | None = None,
    ) -> None:
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.iterations = iterations
        self.clip = clip
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.partial_iterations = partial_iterations
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    def _epochs(self, backend: Backend, ratings: CSR, seen: CSR, factors: _Factors) -> Callable[[int], float]:
        kernel, rule, view = backend.kernels.svdpp_epoch, self._rule(backend), factors.view(backend)
        given, implicit = backend.csr(ratings), backend.csr(seen)

        def run_epoch(number: int) -> float:
            return float(kernel(backend.context, given, implicit, rule, view, factors.implicit))

        return run_epoch

    def _given_vectors(self, backend: Backend, seen: CSR, implicit: Float32Array, n_lanes: int) -> Float32Array:
        sums: Float32Array = backend.empty((seen.n_rows, n_lanes))
        backend.kernels.implicit_sums(backend.context, backend.csr(seen), implicit, sums)
        return sums

    def _own_vectors(self) -> Float32Array:
        backend, d = self._backend(), self._n_features_out
        implicit = self._padded_implicit(backend)
        sums = self._given_vectors(backend, self.interactions_.by_user, implicit, implicit.shape[1])
        own: Float32Array = self.user_factors_ - _compact(backend, sums, d)
        return own

    def _implicit_pairs(self, factors: _Factors) -> list[tuple[Float32Array, Float32Array]]:
        return [(self.implicit_factors_, factors.implicit)]

    def _padded_implicit(self, backend: Backend) -> Float32Array:
        return _padded(backend, self.implicit_factors_)

    def _set_vectors(
        self, backend: Backend, users: Float32Array, factors: _Factors, blank_users: Int64Array, blank_items: Int64Array
    ) -> None:
        super()._set_vectors(backend, users, factors, blank_users, blank_items)
        self.implicit_factors_ = _compact(backend, factors.implicit, self.factors)
        self.implicit_factors_[blank_items] = 0

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {**super()._state(), "implicit_factors": self.implicit_factors_}

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        self.implicit_factors_ = self._checked(arrays["implicit_factors"], self.item_factors_.shape)
