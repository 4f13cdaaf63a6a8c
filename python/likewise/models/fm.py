"""Factorization machines: matrix factorization over features of users, items and contexts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_choice, check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions, as_interactions
from likewise.data._frames import pair_columns

from ._ratings import RatingVectorRecommender, Users
from ._results import Recommendations
from .base import VectorRecommender, entry_positions

__all__ = ["FactorizationMachine"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

_MAX_FACTORS = 8192
_MAX_RATE = 1e3
_MAX_EPOCHS = 2**32  # draws are numbered by them
_MAX_CANDIDATES = 1024
_MAX_BATCH = 2**20
_AUTO_BATCHES = (16, 1024)
_MAX_FEATURES = 2**31 - 1
_LANES = 16  # the kernels' vectors are padded to a multiple of it, after a weight
_START_SCALE = 0.1
_START_SQUARE = 1.0  # of AdaGrad's sums, as LightFM has it: first steps are no longer than the gradient
_LOSSES = ("regression", "logistic", "bpr", "warp")
_PAIRS = ("all", "between")
_N_NEGATIVES, _N_TRIALS = 4, 32  # the defaults of options that others make idle
_FOLD_IN_SEED = 0
_FOLD_IN_RATES = {"regression": 0.02, "logistic": 0.05, "bpr": 0.05, "warp": 0.01}

Self = TypeVar("Self", bound="FactorizationMachine")
Callback = Callable[[Any, int, None], "bool | None"]


class _Layout(NamedTuple):
    """How many rows of the table are identities of users, their features, those of items, and of contexts."""

    users: int
    user_features: int
    items: int
    item_features: int
    context_features: int

    @property
    def starts(self) -> list[int]:
        return [0, *np.cumsum(self).tolist()]

    @property
    def n_rows(self) -> int:
        return sum(self)

    @property
    def slices(self) -> dict[str, slice]:
        return dict(zip(self._fields, map(slice, self.starts[:-1], self.starts[1:]), strict=True))


class _Table(NamedTuple):
    """What the kernel works on: a row a feature, its vector, its weight and padding; and squared gradients."""

    vectors: Float32Array
    squares: Float32Array
    n_factors: int

    @classmethod
    def random(cls, backend: Backend, rng: np.random.Generator, n_rows: int, n_factors: int) -> _Table:
        """Small normal numbers; weights of zero."""
        shape = (n_rows, -(-(n_factors + 1) // _LANES) * _LANES)
        vectors, squares = backend.zeros(shape), backend.zeros(shape)
        vectors[:, :n_factors] = backend.normal(rng, (n_rows, n_factors), _START_SCALE / np.sqrt(n_factors))
        squares[...] = _START_SQUARE
        return cls(vectors, squares, n_factors)

    def learn(self, backend: Backend, data: list[Any], rule: Any, seed: int, number: int) -> tuple[float, int]:
        """Run the epoch of a number; `data` are the interactions and the sides, on the device."""
        found: tuple[float, int] = backend.kernels.fm_epoch(
            backend.context, *data, rule, seed, number, self.vectors, self.squares, self.n_factors
        )
        return found

    def check(self, name: str) -> None:
        """Raise where steps have become too great for float32."""
        for array in (self.vectors, self.squares):
            with np.errstate(invalid="ignore"):  # of infinities of both signs
                total = array.sum(dtype=np.float64)
            if not np.isfinite(total):
                raise ValueError(
                    f"{name}: the vectors have left float32; take a smaller learning_rate, or scale the features or "
                    "the values of X"
                )


class _Sides(NamedTuple):
    """Rows of the table of each user, item and stored interaction."""

    users: CSR
    items: CSR
    contexts: CSR


class _Features(NamedTuple):
    """Features of one side: a row for each that was asked for."""

    matrix: CSR
    is_named: npt.NDArray[np.bool_]
    """Which rows were given, where features come by id."""
    columns: list[int | str] | None = None
    """Keys of the columns, where these have ids."""


class _Given(NamedTuple):
    """Features as they were given: a row a user, an item, a stored interaction."""

    users: CSR
    items: CSR
    contexts: CSR


class FactorizationMachine(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RatingVectorRecommender):  # type: ignore[misc]
    r"""Factorization machine of order 2 over features of users, items and contexts [1]_.

    Every user, item and stored interaction has features x; each feature l has a weight w and a vector v, and a pair of
    user and item, with a context where there is one, scores

    .. math::

        s = w_0 + \sum_l w_l x_l + \sum_{l < m} x_l x_m \, v_l^T v_m.

    Each user and each item is a feature by itself unless told otherwise: with no others this is matrix factorization
    with biases. With tags as features of items, and ``pairs="between"``, it is the hybrid known from LightFM [2]_. What
    is learned of a feature holds for whoever has it: users and items without interactions are served by theirs.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192.
    learning_rate : float, default=0.05
        Length of the steps, above 0, below 1000; AdaGrad [3]_ makes them shorter as gradients add up.
    regularization : float, default=0.0001
        Penalty of squared lengths of vectors and weights, for each time that a feature is read; at least 0.
    iterations : int, default=30
        Passes over the interactions.
    loss : {"regression", "logistic", "bpr", "warp"}, default="warp"
        What the scores learn. ``"regression"``: the values, by squared error; the model is one of ratings then.
        ``"logistic"``: that values above 0 are liked, those below 0 disliked, and `n_negatives` drawn items for each
        liked one too. ``"bpr"``, ``"warp"``: to rank what a user has above drawn items that he has not, as `BPR` and
        `WARP` do.
    pairs : {"all", "between"}, default="all"
        Which pairs of features have products: all of them, or only those of an item's feature with a user's or a
        context's.
    user_identities, item_identities : bool, default=True
        Whether each user, each item has a feature of its own.
    max_trials : int, default=32
        Draws for an interaction at most, with ``loss="warp"``; 1 to 1024.
    n_negatives : int, default=4
        Items drawn for a liked one, with ``loss="logistic"``; 0 to 1024.
    batch_size : int, default=None
        Interactions whose gradients are added up before features move, 1 to 1,048,576. A feature moves once a batch:
        small ones learn more in an iteration, great ones run faster. None is a hundredth of the interactions, between
        16 and 1,024.
    clip : bool, default=True
        Whether predicted ratings are kept between the lowest and the highest of the fit, with ``loss="regression"``.
    partial_iterations : int, default=10
        Passes of `partial_fit` over the new interactions.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values and of what is drawn. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress, with the figure of `history_`.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, None)``; the model is usable then. (In place of
        None other models have a loss.) A true result stops the fit.

    Attributes
    ----------
    feature_factors_ : ndarray of shape (n_features, factors), float32
        Vectors of all features, in this order: users, features of users, items, features of items, of contexts; those
        that no interaction has are zero. `feature_slices_` tells them apart.
    feature_weights_ : ndarray of shape (n_features,), float32
        Their weights.
    feature_slices_ : dict
        Slices of rows by name: ``"users"``, ``"user_features"``, ``"items"``, ``"item_features"`` and
        ``"context_features"``.
    user_factors_ : ndarray of shape (n_users, factors), float32
        Sums of the vectors of each user's features, times their values.
    item_factors_ : ndarray of shape (n_items, factors), float32
        The same of items.
    user_biases_ : ndarray of shape (n_users,), float32
        What each user adds to a score by itself: its weights and, with ``pairs="all"``, the products of its features.
    item_biases_ : ndarray of shape (n_items,), float32
        The same of items.
    global_mean_ : float
        The constant: the mean of the values with ``loss="regression"``, else 0.
    rating_scale_ : tuple
        The lowest and the highest value of the fit.
    n_iter_ : int
        Iterations done.
    history_ : list of float of length n_iter_
        For each iteration, before its steps: the root mean squared error, the mean log-loss, or (``"bpr"``, ``"warp"``)
        the share of positives that were right at first sight. Empty after a load.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    Notes
    -----
    Scores of ``"logistic"``, ``"bpr"`` and ``"warp"`` are without what is the same for all items of a user.
    `probabilities` is with it.

    Users whom `fit` has not seen are learned from their histories (`transform`, ``recommend(interactions=...)``) with
    a vector of their own and no features.

    A keyboard interrupt leaves the vectors as the last steps left them: the model is usable. (One in the first
    iteration takes the fit back.)

    References
    ----------
    .. [1] S. Rendle, Factorization machines, ICDM 2010, doi:10.1109/ICDM.2010.127
    .. [2] M. Kula, Metadata embeddings for user and item cold-start recommendations, CBRecSys 2015, arXiv:1507.08439
    .. [3] J. Duchi, E. Hazan, Y. Singer, Adaptive subgradient methods for online learning and stochastic optimization,
       Journal of Machine Learning Research 12, 2011, 2121-2159

    Examples
    --------
    An item that nobody has yet is recommended by its tag.

    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 4)))
    >>> X[:, 3] = 0
    >>> tags = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = lw.FactorizationMachine(factors=4, random_state=0).fit(X, item_features=tags)
    >>> int(model.recommend(0, k=1).items[0])
    3
    """

    n_iter_: int
    history_: list[float]
    user_factors_: Float32Array
    item_factors_: Float32Array
    feature_factors_: Float32Array
    feature_weights_: Float32Array
    feature_slices_: dict[str, slice]
    _squares: Float32Array
    _layout: _Layout
    _given: _Given  # without contexts, which are of the interactions of one fit
    _fitted: tuple[str, str, bool, bool]  # loss, pairs and identities, which may be set to others later
    _zero_items: Int64Array
    _counts: Float32Array
    _seed: int
    _n_epochs: int  # those whose draws are used up
    _asked: CSR | None = None  # contexts of the users of one `recommend`

    _search_space: ClassVar[Space] = {
        "factors": Range(8, 128, log=True),
        "learning_rate": Range(0.01, 0.2, log=True),
        "regularization": Range(1e-6, 1e-2, log=True),
    }

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.05,
        regularization: float = 0.0001,
        iterations: int = 30,
        *,
        loss: str = "warp",
        pairs: str = "all",
        user_identities: bool = True,
        item_identities: bool = True,
        max_trials: int = 32,
        n_negatives: int = 4,
        batch_size: int | None = None,
        clip: bool = True,
        partial_iterations: int = 10,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        callbacks: Any = None,
    ) -> None:
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.iterations = iterations
        self.loss = loss
        self.pairs = pairs
        self.user_identities = user_identities
        self.item_identities = item_identities
        self.max_trials = max_trials
        self.n_negatives = n_negatives
        self.batch_size = batch_size
        self.clip = clip
        self.partial_iterations = partial_iterations
        self.random_state = random_state
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callbacks = callbacks

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = not self._allows_negative
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _predicts_ratings(self) -> bool:  # type: ignore[override]
        return (self._fitted[0] if hasattr(self, "_fitted") else self.loss) == "regression"

    @property
    def _allows_negative(self) -> bool:  # type: ignore[override]
        return self.loss in ("regression", "logistic")

    @property
    def _n_features_out(self) -> int:
        return int(self.item_factors_.shape[1])

    # ------------------------------------------------------------------ parameters

    def _check_parameters(self) -> None:
        super()._check_parameters()
        name = type(self).__name__
        check_int(name, "factors", self.factors, minimum=1, maximum=_MAX_FACTORS)
        check_float(name, "learning_rate", self.learning_rate, minimum=0, maximum=_MAX_RATE, exclusive=True)
        check_float(name, "regularization", self.regularization, minimum=0, maximum=1e30)
        check_int(name, "iterations", self.iterations, minimum=1, maximum=2**31 - 1)
        check_choice(name, "loss", self.loss, _LOSSES)
        check_choice(name, "pairs", self.pairs, _PAIRS)
        for flag in ("user_identities", "item_identities"):
            check_flag(name, flag, getattr(self, flag))
        check_int(name, "max_trials", self.max_trials, minimum=1, maximum=_MAX_CANDIDATES)
        check_int(name, "n_negatives", self.n_negatives, minimum=0, maximum=_MAX_CANDIDATES)
        for option, default, loss in (
            ("max_trials", _N_TRIALS, "warp"), ("n_negatives", _N_NEGATIVES, "logistic"), ("clip", True, "regression"),
        ):  # fmt: skip
            if (value := getattr(self, option)) != default and self.loss != loss:
                raise ValueError(
                    f"{name}: {option} is of loss={loss!r}, got {value!r} with {self.loss!r}; leave it {default!r}"
                )
        if self.batch_size is not None:
            check_int(name, "batch_size", self.batch_size, minimum=1, maximum=_MAX_BATCH)
        check_int(name, "partial_iterations", self.partial_iterations, minimum=1, maximum=2**20)
        for callback in self._callback_list():
            if not callable(callback):
                raise TypeError(f"{name}: callbacks must be callable, got {type(callback).__name__}")

    def _callback_list(self) -> list[Callback]:
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, (list, tuple)) else [self.callbacks]

    def _rule(self, backend: Backend, n_interactions: int) -> Any:
        batch_size = self.batch_size
        if batch_size is None:
            batch_size = min(max(_AUTO_BATCHES[0], n_interactions // 100), _AUTO_BATCHES[1])
        n_candidates = {"warp": self.max_trials, "logistic": self.n_negatives}.get(self.loss, 1)
        return backend.kernels.FmRule(
            getattr(backend.kernels.FmLoss, self.loss),
            self.pairs == "all",
            int(n_candidates),
            int(batch_size),
            self.global_mean_,
            float(self.learning_rate),
            float(self.regularization),
        )

    # ------------------------------------------------------------------ features

    def _as_features(self, given: Any, name: str, ids: Any, n: int) -> _Features:
        """Features as a matrix of `n` rows, those of `ids` where they come by id; no columns where there are none."""
        subject = type(self).__name__
        if given is None:
            return _Features(_no_features(n), np.zeros(n, dtype=bool))
        data = _as_matrix(given, subject, name)
        matrix, columns = data.by_user, _keys_of(data.item_map)
        if ids is not None and data.user_map.kind != "row":
            rows = data.user_map.find(ids.labels, subject, name)
            if not (rows >= 0).any():
                raise ValueError(
                    f"{subject}: {name} are of {_ROWS[name]}s that X does not have; give ids first, then features"
                )
            return _Features(_rows_or_none(matrix, rows), rows >= 0, columns)
        if matrix.n_rows != n:
            raise ValueError(f"{subject}: {name} must have {n} rows, one for each {_ROWS[name]}, got {matrix.n_rows}")
        return _Features(matrix, np.ones(n, dtype=bool), columns)

    def _sides(self, given: _Given, layout: _Layout, users: Int64Array, items: Int64Array) -> _Sides:
        """Rows of the table of those users, items and interactions."""
        starts, n = layout.starts, layout.n_rows
        return _Sides(
            _in_table(given.users, users if layout.users else None, starts[0], starts[1], n),
            _in_table(given.items, items if layout.items else None, starts[2], starts[3], n),
            _in_table(given.contexts, None, 0, starts[4], n) if layout.context_features else _no_rows(n),
        )

    # ------------------------------------------------------------------ fitting

    def fit(
        self: Self,
        X: Any,
        y: Any = None,
        *,
        user_features: Any = None,
        item_features: Any = None,
        context_features: Any = None,
    ) -> Self:
        """Learn from interactions and features, and forget what was learned before.

        A fit that fails, or is interrupted before its first iteration has ended, leaves the model as it was.

        Parameters
        ----------
        X : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
            As every model takes it.
        y : None
            Ignored; there for scikit-learn.
        user_features : matrix of shape (n_users, any), or Interactions of user ids with features, default=None
            What users have; values are weights. Of a matrix, sparse or dense, row i is of the i-th user
            (``X.user_ids[i]``). `Interactions` are matched by id: build them by
            ``Interactions.from_arrays(user_ids, feature_names)``. Users that they do not name have none.
        item_features : matrix of shape (n_items, any), or Interactions of item ids with features, default=None
            What items have, such as tags, in the same way.
        context_features : matrix of shape (nnz, any), default=None
            What each stored interaction has, such as the hour or the device: row e is of the e-th value of
            ``X.by_user.values``, by user, then by item.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X or features are no matrix, or ids of features are of another type than those of X.
        ValueError
            If a parameter is out of range; X is empty or holds NaN, infinite or (with ``"bpr"`` and ``"warp"``)
            negative values; features have another number of rows, or are not finite; a side has no features at all;
            or steps become too great for float32.
        """
        self._asked_features = (user_features, item_features, context_features)
        try:
            return super().fit(X, y)
        finally:
            self.__dict__.pop("_asked_features", None)

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name = type(self).__name__
        is_learned = self._is_learned(data.by_user)
        if not is_learned.any():
            raise ValueError(f"{name}: X must hold a value {_LEARNED[self.loss]} 0 with loss={self.loss!r}, got none")
        of_users, of_items, of_contexts = self.__dict__.pop("_asked_features", (None, None, None))
        given_features = (
            self._as_features(of_users, "user_features", data.user_map, data.n_users),
            self._as_features(of_items, "item_features", data.item_map, data.n_items),
            self._as_features(of_contexts, "context_features", None, data.nnz),
        )
        given = _Given(*(features.matrix for features in given_features))
        self._feature_keys = (given_features[0].columns, given_features[1].columns)
        layout = _Layout(
            data.n_users if self.user_identities else 0, given.users.n_cols,
            data.n_items if self.item_identities else 0, given.items.n_cols, given.contexts.n_cols,
        )  # fmt: skip
        self._check_layout(layout)
        backend = get_backend(self.device, self.n_jobs, name)
        rng = check_random_state(name, self.random_state)
        table = _Table.random(backend, rng, layout.n_rows, self.factors)
        self._seed, self._n_epochs = int(rng.integers(2**63)), 0
        self._fitted = (self.loss, self.pairs, bool(self.user_identities), bool(self.item_identities))
        self._set_features(layout, given)
        self._set_scale(data.by_user)
        self.n_iter_, self.history_ = 0, []
        sides = self._sides(given, layout, np.arange(data.n_users), np.arange(data.n_items))
        is_known = _known_features(data.by_user, sides, is_learned)
        arrays = [backend.csr(data.by_user), *(backend.csr(side) for side in sides)]
        rule, callbacks = self._rule(backend, data.nnz), self._callback_list()
        bar = ProgressBar(range(1, self.iterations + 1), verbose=self.verbose, description=name)
        try:
            for iteration in bar:
                total, n = table.learn(backend, arrays, rule, self._seed, iteration)
                table.check(name)
                self.n_iter_ = self._n_epochs = iteration
                figure = total / max(1, n)
                self.history_.append(float(np.sqrt(figure)) if self.loss == "regression" else figure)
                if callbacks:
                    self._publish(backend, table, sides, is_known)
                bar.set(**{_FIGURES[self.loss]: self.history_[-1]})
                stops = [bool(callback(self, iteration, None)) for callback in callbacks]  # as with every model
                if any(stops):
                    break
        finally:
            # After an interrupt too: what stands is whole, but for the epoch that was under way.
            self._publish(backend, table, sides, is_known)

    def _check_layout(self, layout: _Layout) -> None:
        name = type(self).__name__
        for side, n in (("user", layout.users + layout.user_features), ("item", layout.items + layout.item_features)):
            if n == 0:
                raise ValueError(
                    f"{name}: {side}s must have features: give {side}_features, or leave {side}_identities True"
                )
        if layout.n_rows > _MAX_FEATURES:
            raise ValueError(f"{name}: there may be at most 2**31 - 1 features, got {layout.n_rows}")

    def _is_learned(self, matrix: CSR) -> npt.NDArray[np.bool_]:
        """Which stored values the loss learns from."""
        values = matrix.values
        if self.loss == "regression":
            return np.ones(values.size, dtype=bool)
        return np.not_equal(values, 0) if self.loss == "logistic" else np.greater(values, 0)

    @property
    def _has_contexts(self) -> bool:  # type: ignore[override]  # of the fitted model
        return self._layout.context_features > 0

    def _set_features(self, layout: _Layout, given: _Given) -> None:
        self._layout, self._given = layout, given._replace(contexts=_no_features(0))
        self.feature_slices_ = layout.slices

    def _set_scale(self, by_user: CSR) -> None:
        super()._set_scale(by_user)
        if not self._predicts_ratings:
            self.global_mean_ = 0.0
        self._counts = by_user.column_counts().astype(np.float32)

    def _publish(self, backend: Backend, table: _Table, sides: _Sides, is_known: npt.NDArray[np.bool_]) -> None:
        """Make the model's vectors of what the kernel works on: zero for what no interaction has."""
        k = table.n_factors
        host = np.array(backend.to_numpy(table.vectors)[:, : k + 1], order="C")
        host[~is_known] = 0
        self.feature_factors_, self.feature_weights_ = host[:, :k].copy(), host[:, k].copy()
        self._squares = np.array(backend.to_numpy(table.squares)[:, : k + 1], order="C")
        self.user_factors_, user_biases = self._composed(backend, sides.users)
        self.item_factors_, item_biases = self._composed(backend, sides.items)
        self._set_biases(user_biases, item_biases)
        self._set_zero_items(sides.items)

    def _set_zero_items(self, items: CSR) -> None:
        """Take note of the items of which nothing is known."""
        known = self._features_with_vectors()
        n_known = np.bincount(items.row_numbers()[np.isin(items.indices, known)], minlength=items.n_rows)
        self._zero_items = self._unrated = np.flatnonzero(n_known == 0)

    def _composed(self, backend: Backend, features: CSR) -> tuple[Float32Array, Float32Array]:
        """Vectors and constants of the rows of `features`: of all that they have together."""
        vectors = backend.empty((features.n_rows, self.feature_factors_.shape[1]))
        backend.kernels.spmm(backend.context, backend.csr(features), backend.asarray(self.feature_factors_), vectors)
        sums: Float32Array = backend.to_numpy(vectors)
        matrix = features.to_scipy()
        constants = matrix @ self.feature_weights_.astype(np.float64)
        if self._fitted[1] == "all":
            own = np.einsum("nd,nd->n", self.feature_factors_, self.feature_factors_, dtype=np.float64)
            whole = np.einsum("nd,nd->n", sums, sums, dtype=np.float64)
            several = np.flatnonzero(features.row_counts() > 1)
            constants[several] += (whole - matrix.multiply(matrix) @ own)[several] / 2
        return sums, constants.astype(np.float32)

    def partial_fit(
        self: Self,
        X: Any,
        y: Any = None,
        *,
        user_features: Any = None,
        item_features: Any = None,
        context_features: Any = None,
    ) -> Self:
        """Learn from further interactions, of new users and items too, without starting over.

        `partial_iterations` passes over the interactions in `X`, with AdaGrad's sums as they are. Before a first `fit`
        it is `fit`.

        Parameters
        ----------
        X : Interactions or matrix
            New interactions. By id, unknown users and items are added; a matrix must have at least as many columns
            as before, and its row i is user i. A pair that is known already is merged as the interactions of `fit`
            merge repeats: summed unless they were built otherwise.
        y : None
            Ignored; there for scikit-learn.
        user_features, item_features, context_features : as in `fit`, default=None
            Of the users, items and interactions of `X`, with as many columns as in `fit`. They take the place of what
            was known of these users and items; without, the known keep theirs and new ones have none. Features by id
            are those of `fit` by the ids of their columns, in any order, some of them or all, and users and items that
            they do not name keep theirs.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` has fewer columns than the model has items, or holds values that `fit` refuses; `loss`,
            `pairs`, `factors` or identities are not those of the fit; features have another number of columns; or steps
            become too great for float32. The model is as before then.
        TypeError
            If its ids are of another kind.
        """
        name = type(self).__name__
        if not hasattr(self, "item_factors_"):
            return self.fit(
                X, user_features=user_features, item_features=item_features, context_features=context_features
            )
        self._check_parameters()
        now = (self.loss, self.pairs, bool(self.user_identities), bool(self.item_identities), int(self.factors))
        before = (*self._fitted, self._n_features_out)
        if now != before:
            options = ("loss", "pairs", "user_identities", "item_identities", "factors")
            option, wanted, got = next((o, b, n) for o, b, n in zip(options, before, now, strict=True) if b != n)
            raise ValueError(f"{name}: partial_fit needs {option}={wanted!r} as in the last fit, got {got!r}")
        new, joined = self._joined(X)
        user_rows = joined.user_map.find(new.user_map.labels, name, "user")
        item_rows = joined.item_map.find(new.item_map.labels, name, "item")
        given = _Given(
            self._merged_features(user_features, "user_features", new.user_map, user_rows, joined.n_users),
            self._merged_features(item_features, "item_features", new.item_map, item_rows, joined.n_items),
            self._as_features(context_features, "context_features", None, new.nnz).matrix,
        )
        if given.contexts.n_cols not in (0, self._layout.context_features):
            raise ValueError(
                f"{name}: context_features must have {self._layout.context_features} columns as in fit, got "
                f"{given.contexts.n_cols}"
            )
        layout = self._layout._replace(
            users=joined.n_users if self._layout.users else 0, items=joined.n_items if self._layout.items else 0
        )
        self._check_layout(layout)
        touched = np.flatnonzero(new.by_user.row_counts())
        seen, events = joined.by_user.take_rows(user_rows[touched]), new.by_user.take_rows(touched)
        at = entry_positions(seen, events, item_rows)
        learned, contexts = self._to_learn(seen, events, at, given.contexts)
        backend = self._backend()
        table = self._resumed(backend, layout)
        everyone = self._sides(
            given._replace(contexts=_no_features(0)), layout, np.arange(joined.n_users), np.arange(joined.n_items)
        )
        part = self._sides(
            _Given(given.users.take_rows(user_rows[touched]), given.items, contexts), layout, user_rows[touched],
            np.arange(joined.n_items),
        )  # fmt: skip
        arrays = [backend.csr(learned), *(backend.csr(side) for side in part)]
        rule, n_epochs = self._rule(backend, new.nnz), self._n_epochs
        for _ in range(self.partial_iterations):
            n_epochs = (n_epochs + 1) % _MAX_EPOCHS
            table.learn(backend, arrays, rule, self._seed, n_epochs)
        table.check(name)
        is_known = _known_features(joined.by_user, everyone, self._is_learned(joined.by_user))
        of_contexts = self._features_with_vectors() - self._layout.starts[4]
        is_known[layout.starts[4] + np.concatenate([of_contexts[of_contexts >= 0], given.contexts.indices])] = True
        with self._all_or_nothing():
            self._set_interactions(joined)
            mean = self.global_mean_
            self._set_scale(joined.by_user)
            self.global_mean_ = mean  # the weights stand above it
            self._set_features(layout, given)
            self._n_epochs = n_epochs
            self._publish(backend, table, everyone, is_known)
        return self

    def _features_with_vectors(self) -> Int64Array:
        """Rows of the features that some interaction had: of others the vector is zero."""
        return np.flatnonzero(np.einsum("nd,nd->n", self.feature_factors_, self.feature_factors_))

    def _merged_features(self, given: Any, name: str, ids: Any, rows: Int64Array, n: int) -> CSR:
        """Features of all, with those of the users or items in `rows` in place of what was known of them.

        Features by id are those of `fit` by their own ids too. Whom they do not name keeps what was known.
        """
        of_users = name == "user_features"
        known = self._given.users if of_users else self._given.items
        picked = np.full(n, -1)
        picked[: known.n_rows] = np.arange(known.n_rows)
        if given is None:
            return _rows_or_none(known, picked)
        found = self._as_features(given, name, ids, rows.size)
        features, columns = found.matrix, self._feature_keys[0 if of_users else 1]
        if columns is not None and found.columns is not None:
            features = _with_columns_of(features, found.columns, columns, f"{type(self).__name__}: {name}")
        if features.n_cols != known.n_cols:
            raise ValueError(
                f"{type(self).__name__}: {name} must have {known.n_cols} columns as in fit, got {features.n_cols}"
            )
        picked[rows[found.is_named]] = known.n_rows + np.flatnonzero(found.is_named)
        return _rows_or_none(CSR.from_scipy(sp.vstack([known.to_scipy(), features.to_scipy()])), picked)

    def _to_learn(self, seen: CSR, events: CSR, at: Int64Array, contexts: CSR) -> tuple[CSR, CSR]:
        """What an epoch goes over: the events alone or, where items are drawn, among what their users have as well."""
        picked = np.full(seen.nnz, -1)  # the event of each entry of `seen`
        picked[at] = np.arange(events.nnz)
        if self._predicts_ratings:
            kept = picked >= 0
            counts = np.concatenate([[0], np.cumsum(events.row_counts())])
            matrix, picked = CSR(counts, seen.indices[kept], seen.values[kept], seen.shape), picked[kept]
        else:
            values = np.zeros(seen.nnz, np.float32)
            values[at] = events.values
            matrix = CSR(seen.indptr, seen.indices, values, seen.shape)
        return matrix, _rows_or_none(contexts, picked) if contexts.n_cols else _no_features(matrix.nnz)

    def _resumed(self, backend: Backend, layout: _Layout) -> _Table:
        """All that was learned; starting values where nothing was."""
        k = self._n_features_out
        table = _Table.random(backend, np.random.default_rng([self._seed, self._n_epochs]), layout.n_rows, k)
        old, new = self._layout.starts, layout.starts
        known = self._features_with_vectors()
        block = np.searchsorted(old, known, side="right") - 1
        rows = known + (np.asarray(new) - np.asarray(old))[block]
        table.vectors[rows, :k], table.vectors[rows, k] = self.feature_factors_[known], self.feature_weights_[known]
        table.squares[rows, : k + 1] = self._squares[known]
        return table

    # ------------------------------------------------------------------ using

    def transform(self, X: Any) -> Float32Array:
        """Learn the vectors of users from their interactions, all else held fixed (fold-in).

        As many iterations as `fit` was given, from zero; equal rows get equal vectors. Features of these users have no
        part in it.

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
            Histories of users whom the model need not know. Items that it does not know are left out.

        Returns
        -------
        ndarray of shape (n, factors), float32
            Zero for a user without interactions.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If a matrix has another number of columns than the model has items.
        """
        return self._folded(self._histories(X, type(self).__name__).by_user).vectors

    def _folded(self, histories: CSR) -> Users:
        """Users learned from their histories, the items held fixed."""
        self._check_parameters()  # which may have been set since the fit
        backend, (loss, *_) = self._backend(), self._fitted
        kernels, k = backend.kernels, self._n_features_out
        shape = (-(-k // _LANES)) * _LANES
        items: Float32Array = backend.zeros((self.n_items_, shape))
        items[:, :k] = self.item_factors_
        vectors: Float32Array = backend.zeros((histories.n_rows, shape))
        biases: Float32Array = backend.zeros((histories.n_rows,))
        item_biases: Float32Array = backend.zeros((self.n_items_,))
        item_biases[:], rate = self.item_biases_, _FOLD_IN_RATES[loss]
        penalty = min(float(self.regularization), 0.5 / rate)
        if loss == "regression":
            kernels.rating_fold_in(
                backend.context, backend.csr(histories), kernels.RatingRule(self.global_mean_, rate, penalty),
                int(self.iterations), kernels.RatingFactors(vectors, items, biases, item_biases),
            )  # fmt: skip
        else:
            n_candidates = {"warp": self.max_trials, "logistic": max(1, self.n_negatives)}.get(loss, 1)
            if loss == "logistic":  # which learns from signs
                histories = CSR(histories.indptr, histories.indices, np.sign(histories.values), histories.shape)
            rule = kernels.RankingRule(
                getattr(kernels.RankingLoss, loss), kernels.NegativeSampling.uniform, int(n_candidates), rate, penalty,
                1, 1,
            )  # fmt: skip
            kernels.ranking_fold_in(
                backend.context, backend.csr(self._of_known_items(histories)), rule, _FOLD_IN_SEED,
                int(self.iterations), self._counts, items, item_biases, vectors,
            )  # fmt: skip
        for learned in (vectors, biases):
            if not np.isfinite(learned).all():
                raise ValueError(f"{type(self).__name__}: the vectors have left float32; scale the values of X")
        return Users(backend.to_numpy(biases), np.array(backend.to_numpy(vectors)[:, :k], order="C"))

    def _of_known_items(self, histories: CSR) -> CSR:
        """Histories whose entries of items of which nothing is known say nothing."""
        if not self._zero_items.size:
            return histories
        is_known = np.ones(self.n_items_, dtype=bool)
        is_known[self._zero_items] = False
        values = np.where(is_known[histories.indices], histories.values, np.float32(0))
        return CSR(histories.indptr, histories.indices, values, histories.shape)

    def _users(self, histories: CSR | None, rows: Int64Array) -> Users:
        if histories is not None:
            them = self._folded(histories.take_rows(rows))
        elif rows.size == self.n_users_ and np.array_equal(rows, np.arange(rows.size)):
            them = Users(self.user_biases_, self.user_factors_)
        else:
            them = Users(self.user_biases_[rows], self.user_factors_[rows])
        return them if self._asked is None else self._in_contexts(them, self._asked)

    def _in_contexts(self, them: Users, contexts: CSR) -> Users:
        """Users, each in a context; one context may be that of all."""
        vectors, constants = self._contexts_composed(contexts)
        if self._fitted[1] == "all":
            constants = constants + np.einsum("nd,nd->n", *np.broadcast_arrays(them.vectors, vectors))
        return Users((them.biases + constants).astype(np.float32), them.vectors + vectors)

    def _contexts_composed(self, contexts: CSR) -> tuple[Float32Array, Float32Array]:
        start, n = self._layout.starts[4], self._layout.n_rows
        return self._composed(self._backend(), _in_table(contexts, None, 0, start, n))

    def _folded_biases(self, histories: CSR) -> Float64Array:
        return self._folded(histories).biases.astype(np.float64)

    def _item_vectors(self) -> Float32Array:
        return self.item_factors_

    def _item_biases(self) -> Float32Array | None:
        return self.item_biases_

    def _blank_items(self) -> Int64Array:
        return self._zero_items

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        interactions: Any = None,
        items: Any = None,
        exclude: Any = None,
        context_features: Any = None,
    ) -> Recommendations:
        """Recommend the `k` best items to each user, in a context where one is given.

        Parameters
        ----------
        users, k, exclude_seen, interactions, items, exclude
            As every model takes them.
        context_features : matrix of shape (n_users, any) or (1, any), default=None
            A row for each user asked for, or one for all, with as many columns as in `fit`. Without, the score is that
            of the user and the item alone.

        Returns
        -------
        Recommendations
            ``items`` and ``scores`` of shape (n_users, k), or (k,) for one user id, best first, ties by smaller item
            row. A slot without a candidate holds item -1 (None among string and UUID ids) and score ``-inf``.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        KeyError, IndexError
            If a user or item id is unknown, a row number out of range.
        ValueError
            If `k` is out of range, or contexts have another shape.
        """
        model = self
        if context_features is not None:
            self._check_is_fitted()
            source = self.interactions_ if interactions is None else self._histories(interactions, "recommend")
            n = source.n_users if users is None else source.user_index(users, "recommend").size
            model = copy.copy(self)
            model._asked = self._asked_contexts(context_features, n)
        return super(FactorizationMachine, model).recommend(
            users, k, exclude_seen=exclude_seen, interactions=interactions, items=items, exclude=exclude
        )

    def _asked_contexts(self, given: Any, n: int) -> CSR:
        """Contexts of n users or pairs; a single one stays one."""
        name, wanted = type(self).__name__, self._layout.context_features
        if wanted == 0:
            raise ValueError(f"{name}: context_features are not known to this model, which was fitted without")
        matrix = _as_matrix(given, name, "context_features").by_user
        if matrix.n_cols != wanted or matrix.n_rows not in (1, n):
            rows = "1 row" if n == 1 else f"1 or {n} rows"
            raise ValueError(
                f"{name}: context_features must have {wanted} columns as in fit, and {rows}, got shape {matrix.shape}"
            )
        return matrix

    def predict(self, X: Any, items: Any = None, *, context_features: Any = None) -> npt.NDArray[Any]:
        """Scores of pairs; or, of histories alone, the item that each user is most likely to take next.

        With ``loss="regression"`` the scores are ratings, and users and items that the model does not know are no error
        there: what they would add is left out.

        Parameters
        ----------
        X : array-like of user ids; without `items`, data frame of pairs, Interactions or matrix of shape (n, n_items)
            Users of the pairs; histories, as `recommend` takes them.
        items : array-like of item ids, default=None
            As many as users; one item may stand with many users and one user with many items.
        context_features : matrix of shape (n_pairs, any) or (1, any), default=None
            A row for each pair, or one for all, with as many columns as in `fit`.

        Returns
        -------
        ndarray of shape (n_pairs,), float32, or of shape (n,)
            Scores; ratings with ``clip=True`` none below the lowest or above the highest of the fit. Without `items`
            the first item of ``recommend(interactions=X)``, -1 (None) where there is none.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        KeyError, IndexError
            If a user or item is unknown (``loss="regression"``: a row number negative).
        ValueError
            If there are not as many items as users, or contexts have another shape or come with histories alone.
        """
        if context_features is None:
            return super().predict(X, items)
        self._check_is_fitted()
        if items is None and (pairs := pair_columns(X)) is not None:
            X, items = pairs
        if items is None:
            raise ValueError("predict: context_features go with pairs; give items, or ask recommend")
        users, rows = self._pairs(X, items)
        scores = self._scores_in_contexts(users, rows, context_features, with_user=self._predicts_ratings)
        if self._predicts_ratings and self.clip:
            scores = np.clip(scores, *self.rating_scale_)
        return scores.astype(np.float32)

    def probabilities(self, users: Any, items: Any, *, context_features: Any = None) -> npt.NDArray[np.float64]:
        """Probability that users like items, of a model with ``loss="logistic"``.

        Of users of whom nothing is known, the probability is that of the item; `predict`, which ranks nothing for them,
        gives 0. Items drawn as negatives are disliked ones to the loss: with `n_negatives` above 0 the probabilities
        are of a world where as many of them were shown for each item that was liked.

        Parameters
        ----------
        users, items, context_features
            As in `predict`.

        Returns
        -------
        ndarray of shape (n_pairs,), float64

        Raises
        ------
        NotImplementedError
            If the model was fitted with another loss, whose scores are no log-odds.
        """
        self._check_is_fitted()
        if self._fitted[0] != "logistic":
            raise NotImplementedError(
                f"{type(self).__name__}: probabilities needs loss='logistic', whose scores are log-odds; the model was "
                f"fitted with {self._fitted[0]!r}"
            )
        pairs = self._pairs(users, items)
        scores = self._scores_in_contexts(*pairs, context_features, with_user=True)
        with np.errstate(over="ignore"):
            probabilities: npt.NDArray[np.float64] = 1 / (1 + np.exp(-scores))
        return probabilities

    def _pairs(self, users: Any, items: Any) -> tuple[Int64Array, Int64Array]:
        of_users, of_items = self._pair_rows(users, items)
        if of_users.size != of_items.size and 1 not in (of_users.size, of_items.size):
            raise ValueError(
                f"predict: there are {of_users.size} users but {of_items.size} items; give one item a user"
            )
        them, those = np.broadcast_arrays(of_users, of_items)
        return them, those

    def _scores_in_contexts(
        self, users: Int64Array, items: Int64Array, contexts: Any, *, with_user: bool
    ) -> npt.NDArray[np.float64]:
        """Scores of pairs; -1 is an unknown user or item, which adds nothing."""
        scores = np.full(users.size, self.global_mean_)
        matrix = None if contexts is None else self._asked_contexts(contexts, users.size)
        size = self._n_pairs_at_once
        for start in range(0, users.size, size):
            block = slice(start, start + size)
            them, those = users[block], items[block]
            left = np.where((them >= 0)[:, np.newaxis], self.user_factors_[them], np.float32(0))
            right = np.where((those >= 0)[:, np.newaxis], self.item_factors_[those], np.float32(0))
            constants = np.where(them >= 0, self.user_biases_[them], 0.0)
            if matrix is not None:
                part = matrix if matrix.n_rows == 1 else matrix.take_rows(np.arange(users.size)[block])
                in_context = self._in_contexts(Users(constants.astype(np.float32), left), part)
                left, constants = in_context.vectors, in_context.biases.astype(np.float64)
            scores[block] += np.where(those >= 0, self.item_biases_[those], 0.0) + with_user * constants
            scores[block] += np.einsum("nd,nd->n", left, right, dtype=np.float64)
        return scores

    # What models of ratings and models of taste do in different ways.

    def _pair_rows(self, users: Any, items: Any) -> tuple[Int64Array, Int64Array]:
        base: Any = RatingVectorRecommender if self._predicts_ratings else VectorRecommender
        rows: tuple[Int64Array, Int64Array] = base._pair_rows(self, users, items)
        return rows

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        base: Any = RatingVectorRecommender if self._predicts_ratings else VectorRecommender
        scores: Float32Array = base._pair_scores(self, users, items)
        return scores

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        base: Any = RatingVectorRecommender if self._predicts_ratings else VectorRecommender
        scores: Float32Array = base._scores(self, histories, rows)
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
        base: Any = RatingVectorRecommender if self._predicts_ratings else VectorRecommender
        found: tuple[Int32Array, Float32Array] = base._top_k(
            self, histories, rows, k, exclude, allow, deny, subject, exactly=exactly
        )
        return found

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        loss, pairs, *identities = self._fitted
        numbers = [
            self.n_iter_, self._n_epochs, self._seed, _LOSSES.index(loss), _PAIRS.index(pairs), *identities,
            self._layout.context_features,
        ]  # fmt: skip
        return {
            **super()._state(),
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "feature_factors": self.feature_factors_,
            "feature_weights": self.feature_weights_,
            "squares": self._squares,
            "numbers": np.array(numbers, dtype=np.int64),
            "feature_keys": np.frombuffer(json.dumps(self._feature_keys).encode(), dtype=np.uint8),
            **{f"user_features.{name}": array for name, array in self._given.users.to_state().items()},
            **{f"item_features.{name}": array for name, array in self._given.items.to_state().items()},
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        n_factors = arrays["item_factors"].shape[-1]
        given = []
        for side, n in (("user_features", self.n_users_), ("item_features", self.n_items_)):
            state = {name[len(side) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{side}.")}
            given.append(_no_features(n) if not state["shape"][1] else CSR.from_state(state, subject="load"))
            if given[-1].n_rows != n:
                raise ValueError("features and interactions disagree")
        numbers = self._checked(arrays["numbers"], (8,), np.int64).tolist()
        self.n_iter_, self._n_epochs, self._seed, loss, pairs, by_user, by_item, n_contexts = numbers
        if not (0 <= loss < len(_LOSSES) and 0 <= pairs < len(_PAIRS) and 0 <= n_contexts <= _MAX_FEATURES):
            raise ValueError("a number is out of range")
        if not 0 <= self._n_epochs < _MAX_EPOCHS or self._seed < 0:
            raise ValueError("a seed or a number of epochs is out of range")
        self._fitted = (_LOSSES[loss], _PAIRS[pairs], bool(by_user), bool(by_item))
        layout = _Layout(
            self.n_users_ * bool(by_user), given[0].n_cols, self.n_items_ * bool(by_item), given[1].n_cols, n_contexts
        )
        self._set_features(layout, _Given(given[0], given[1], _no_features(0)))
        self._feature_keys = (None, None)
        if "feature_keys" in arrays:
            of_users, of_items = json.loads(arrays["feature_keys"].tobytes())
            for keys, matrix in ((of_users, given[0]), (of_items, given[1])):
                if keys is not None and (not isinstance(keys, list) or len(keys) != matrix.n_cols):
                    raise ValueError("ids of features and features disagree")
            self._feature_keys = (of_users, of_items)
        super()._set_state(arrays)
        n = self._layout.n_rows
        self.user_factors_ = self._checked(arrays["user_factors"], (self.n_users_, n_factors))
        self.item_factors_ = self._checked(arrays["item_factors"], (self.n_items_, n_factors))
        self.feature_factors_ = self._checked(arrays["feature_factors"], (n, n_factors))
        self.feature_weights_ = self._checked(arrays["feature_weights"], (n,))
        self._squares = self._checked(arrays["squares"], (n, n_factors + 1))
        if not (self._squares > 0).all():
            raise ValueError("a sum of squares is not above 0")
        self._counts = self.interactions_.by_user.column_counts().astype(np.float32)
        sides = self._sides(self._given, self._layout, np.arange(self.n_users_), np.arange(self.n_items_))
        self._set_zero_items(sides.items)
        self.history_ = []


_ROWS = {"user_features": "user", "item_features": "item", "context_features": "stored interaction"}
_LEARNED = {"logistic": "other than", "bpr": "above", "warp": "above"}
_FIGURES = {"regression": "rmse", "logistic": "loss", "bpr": "correct", "warp": "correct"}


def _as_matrix(given: Any, subject: str, name: str) -> Interactions:
    try:
        return as_interactions(given, f"{subject}: {name}", allow_negative=True)
    except TypeError as error:
        ids = "" if name == "context_features" else ", or Interactions.from_arrays(ids, features)"
        raise TypeError(
            f"{subject}: {name} must be a matrix of numbers with a row for each {_ROWS[name]}{ids}; got "
            f"{type(given).__name__}"
        ) from error


def _keys_of(columns: Any) -> list[int | str] | None:
    """Ids of columns as JSON can hold them; None where they have none."""
    if columns.kind == "row":
        return None
    return [label if columns.kind == "int64" else str(label) for label in columns.labels.tolist()]


def _with_columns_of(features: CSR, given: list[int | str], wanted: list[int | str], subject: str) -> CSR:
    """Features with their columns in the places that `wanted` gives them."""
    places = {key: column for column, key in enumerate(wanted)}
    unknown = [key for key in given if key not in places]
    if unknown:
        raise ValueError(f"{subject}: {unknown[0]!r} is none of the features of fit; fit anew to add features")
    columns = np.array([places[key] for key in given], dtype=np.int64)[features.indices]
    pairs = (features.values, (features.row_numbers(), columns))
    return CSR.from_scipy(sp.csr_array(pairs, shape=(features.n_rows, len(wanted))))


def _no_features(n: int) -> CSR:
    return CSR(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), (n, 0))


def _no_rows(n_cols: int) -> CSR:
    return CSR(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), (0, n_cols))


def _rows_or_none(matrix: CSR, rows: Int64Array) -> CSR:
    """Rows of a matrix; an empty one for -1."""
    taken = matrix.take_rows(rows[rows >= 0])
    counts = np.zeros(rows.size, np.int64)
    counts[rows >= 0] = taken.row_counts()
    return CSR(np.concatenate([[0], np.cumsum(counts)]), taken.indices, taken.values, (rows.size, matrix.n_cols))


def _in_table(features: CSR, identities: Int64Array | None, first_identity: int, first: int, n_cols: int) -> CSR:
    """Features as rows of the table: from `first` on, after the identity of each row where they have one."""
    ids, values, indptr = features.indices + np.int32(first), features.values, features.indptr
    if identities is not None:
        starts = indptr[:-1]
        ids = np.insert(ids, starts, (first_identity + identities).astype(np.int32))
        values = np.insert(values, starts, np.float32(1))
        indptr = indptr + np.arange(indptr.size)
    return CSR(indptr, ids, values, (features.n_rows, n_cols))


def _known_features(matrix: CSR, sides: _Sides, is_learned: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether some interaction that is learned has the feature."""
    is_known = np.zeros(sides.users.n_cols, dtype=bool)
    for side, rows in ((sides.users, matrix.row_numbers()), (sides.items, matrix.indices)):
        has_some = np.zeros(side.n_rows, dtype=bool)
        has_some[rows[is_learned]] = True
        is_known[side.indices[has_some[side.row_numbers()]]] = True
    if sides.contexts.n_rows:
        is_known[sides.contexts.indices[is_learned[sides.contexts.row_numbers()]]] = True
    return is_known
