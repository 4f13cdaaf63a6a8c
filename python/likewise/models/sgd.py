"""Matrix factorization by stochastic gradient descent on ranking losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_choice, check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions

from .base import VectorRecommender, entry_positions, hide_items

__all__ = ["BPR", "WARP", "LogisticMF"]

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

_MAX_FACTORS = 8192
_MAX_RATE = 1e3
_MAX_EPOCHS = 2**32  # draws are numbered by them
_MAX_CANDIDATES = 1024
_LANES = 16  # the kernels' vectors are padded to a multiple of it
_START_SCALE = 0.1
_PARTIAL_SHARE = 0.2  # of the learning rate, in partial_fit: what others have learned is not to be shaken
_RARE = 0.25  # share of the items, those of fewest users, whose mean a new one starts from
_MAX_WEIGHT = 1e6
_SAMPLINGS = ("uniform", "popularity", "dynamic")
_N_CANDIDATES, _N_POSITIVES = 8, 10  # the defaults of options that others make idle
_FOLD_IN_SEED = 0

Self = TypeVar("Self", bound="_RankingFactorization")
Callback = Callable[[Any, int, None], "bool | None"]


class _RankingFactorization(ClassNamePrefixFeaturesOutMixin, TransformerMixin, VectorRecommender):  # type: ignore[misc]
    """What BPR, WARP and LogisticMF share: all but the loss, and what it is held against."""

    factors: int
    learning_rate: float
    regularization: float
    iterations: int
    item_biases: bool
    early_stopping: bool
    n_iter_no_change: int
    partial_iterations: int
    warm_start: bool
    random_state: Any
    device: str
    n_jobs: int | None
    verbose: bool | int
    callbacks: Any

    _loss: ClassVar[str]

    n_iter_: int
    best_iteration_: int
    correct_history_: list[float]
    _last_counts: tuple[int, int]  # of pairs in order and of positives skipped, in the last epoch
    validation_history_: list[float]
    user_factors_: Float32Array
    item_factors_: Float32Array
    item_biases_: Float32Array
    _counts: Float32Array  # how many users have each item
    _zero_items: Int64Array
    _has_biases: bool
    _seed: int
    _n_epochs: int  # those whose draws are used up

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what input the model takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.item_factors_.shape[1])

    # ------------------------------------------------------------------ parameters

    @abstractmethod
    def _draws(self) -> tuple[str, int, int, int]:
        """How negatives are drawn, their candidates; of how many positives the best are looked for, and which."""

    def _weighted(self, matrix: CSR) -> CSR:
        """The interactions with the weights that the loss gives them."""
        return matrix

    def _check_parameters(self) -> None:
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
        for flag in ("item_biases", "early_stopping", "warm_start"):
            check_flag(name, flag, getattr(self, flag))
        for callback in self._callback_list():
            if not callable(callback):
                raise TypeError(f"{name}: callbacks must be callable, got {type(callback).__name__}")

    def _callback_list(self) -> list[Callback]:
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, (list, tuple)) else [self.callbacks]

    def _rule(self, backend: Backend, share: float = 1.0) -> Any:
        """What the kernels follow, with that share of the learning rate."""
        kernels, (sampling, n_candidates, n_positives, order) = backend.kernels, self._draws()
        return kernels.RankingRule(
            getattr(kernels.RankingLoss, self._loss),
            getattr(kernels.NegativeSampling, sampling),
            n_candidates,
            share * float(self.learning_rate),
            float(self.regularization),
            n_positives,
            order,
        )

    # ------------------------------------------------------------------ fitting

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name = type(self).__name__
        if not (data.by_user.values > 0).any():
            raise ValueError(f"{name}: X must hold a value above 0, got zeros alone; they are no interactions")
        train, visible, hidden = self._weighted(data.by_user), None, None
        if self.early_stopping:
            visible, hidden = hide_items(data.by_user)
            if hidden.nnz == 0:
                raise ValueError(f"{name}: early_stopping needs a user with two items, got one each at most")
            train = self._weighted(visible)
        backend = get_backend(self.device, self.n_jobs, name)
        rng = check_random_state(name, self.random_state)
        state = self._start(data, previous, backend, rng)
        self._seed, self._n_epochs, self._has_biases = int(rng.integers(2**63)), 0, bool(self.item_biases)
        self.n_iter_, self.best_iteration_, self.correct_history_, self.validation_history_ = 0, 0, [], []
        self._set_counts(data)
        rule, positives, n_positives = self._rule(backend), backend.csr(train), np.count_nonzero(train.values > 0)
        callbacks, best = self._callback_list(), None
        bar = ProgressBar(range(1, self.iterations + 1), verbose=self.verbose, description=name)
        try:
            for iteration in bar:
                n_correct, n_skipped = state.epoch(positives, rule, self._seed, iteration, self._counts)
                state.check(name)
                self.n_iter_ = self.best_iteration_ = self._n_epochs = iteration
                self._last_counts = (n_correct, n_skipped)
                figures = {"correct": n_correct / max(1, int(n_positives) - n_skipped)}
                self.correct_history_.append(figures["correct"])
                if callbacks or hidden is not None:
                    self._publish(state, data)
                if visible is not None and hidden is not None:
                    figures["ndcg"] = self._hidden_ndcg(visible, hidden, fold_in=False)
                    if not self.validation_history_ or figures["ndcg"] > max(self.validation_history_):
                        best = state.copy()
                    self.validation_history_.append(figures["ndcg"])
                    self.best_iteration_ = 1 + int(np.argmax(self.validation_history_))
                bar.set(**figures)
                stops = [bool(callback(self, iteration, None)) for callback in callbacks]  # as with every model
                if any(stops) or iteration - self.best_iteration_ >= self.n_iter_no_change:
                    break
        finally:
            # After an interrupt too: what stands is whole, but for the epoch that was under way.
            self._publish(state if best is None else best, data)

    def _start(
        self, data: Interactions, previous: Interactions | None, backend: Backend, rng: np.random.Generator
    ) -> _State:
        state = _State.random(backend, rng, data.n_users, data.n_items, self.factors, self.item_biases)
        if not self.warm_start or previous is None:
            return state
        if (n_learned := self._n_features_out) != self.factors:
            raise ValueError(
                f"{type(self).__name__}: warm_start needs factors={n_learned} as in the last fit, got {self.factors}"
            )
        for before, learned, now, side in (
            (previous.user_map, self.user_factors_, data.user_map, state.users),
            (previous.item_map, self.item_factors_, data.item_map, state.items),
        ):
            if before.kind != now.kind:  # ids of different kinds have none in common
                continue
            rows = now.find(before.labels, type(self).__name__, "id")
            known = np.flatnonzero(rows >= 0)
            known = known[learned[known].any(axis=1)]
            side[rows[known], : self.factors] = learned[known]
            if side is state.items and state.biases.size:
                state.biases[rows[known]] = self.item_biases_[known]
        return state

    def _publish(self, state: _State, data: Interactions) -> None:
        """Make the model's vectors of what the kernels work on: zero for users and items without interactions."""
        self.user_factors_, self.item_factors_, self.item_biases_ = state.learned(self.factors)
        self.user_factors_[_positives(data.by_user).row_counts() == 0] = 0
        self.item_factors_[self._zero_items], self.item_biases_[self._zero_items] = 0, 0

    def _set_counts(self, data: Interactions) -> None:
        self._counts = _positives(data.by_user).column_counts().astype(np.float32)
        self._zero_items = np.flatnonzero(self._counts == 0)

    def partial_fit(self: Self, X: Any, y: Any = None) -> Self:
        """Learn from further interactions, of new users and items too, without starting over.

        `partial_iterations` steps for each interaction in `X`, a fifth as long as those of `fit`, against items that
        its user has neither there nor from before. Before a first `fit` it is `fit`.

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
            If `X` has fewer columns than the model has items, or holds NaN, infinite or negative values, or
            steps become too great for float32; the model is as before then.
        TypeError
            If its ids are of another kind.
        """
        name = type(self).__name__
        if not hasattr(self, "item_factors_"):
            return self.fit(X)
        self._check_parameters()
        new, joined = self._joined(X)
        backend, n_factors = self._backend(), self._n_features_out
        user_rows = joined.user_map.find(new.user_map.labels, name, "user")
        item_rows = joined.item_map.find(new.item_map.labels, name, "item")
        events = self._weighted(new.by_user)
        touched = np.flatnonzero(events.row_counts())
        state = self._resumed(joined, user_rows[touched], backend)
        pairs = _trained_rows(joined.by_user, events, user_rows, item_rows, touched)
        positives, rule = backend.csr(pairs), self._rule(backend, _PARTIAL_SHARE)
        n_epochs, counts = self._n_epochs, _positives(joined.by_user).column_counts().astype(np.float32)
        for _ in range(self.partial_iterations):
            n_epochs = (n_epochs + 1) % _MAX_EPOCHS
            state.epoch(positives, rule, self._seed, n_epochs, counts)
        state.check(name)
        part, items, biases = state.learned(n_factors)
        users: Float32Array = backend.zeros((joined.n_users, n_factors))
        users[: self.n_users_] = self.user_factors_
        users[user_rows[touched]] = part
        blank = np.flatnonzero(counts == 0)
        items[blank], biases[blank] = 0, 0
        with self._all_or_nothing():
            self._set_interactions(joined)
            self.user_factors_, self.item_factors_, self.item_biases_ = users, items, biases
            self._set_counts(joined)
            self._n_epochs = n_epochs
        return self

    def _resumed(self, joined: Interactions, rows: Int64Array, backend: Backend) -> _State:
        """Vectors of the users in `rows` and of all items: as learned, or starting values where nothing was.

        A new item starts as the known ones of fewest users stand, or it would rank above all that were learned to
        be of few.
        """
        n_factors, scale = self._n_features_out, _START_SCALE / np.sqrt(self._n_features_out)
        rng = np.random.default_rng([self._seed, self._n_epochs])
        known = np.flatnonzero(self._counts)
        rare = known[self._counts[known] <= np.quantile(self._counts[known], _RARE)]
        every = np.arange(joined.n_items)
        sides: list[Float32Array] = []
        for places, learned, start in (
            (rows, self.user_factors_, np.float32(0)),
            (every, self.item_factors_, self.item_factors_[rare].mean(axis=0)),
        ):
            padded = _padded(backend, learned[np.minimum(places, len(learned) - 1)])
            new = places >= len(learned)
            new[~new] = ~learned[places[~new]].any(axis=1)
            padded[new, :n_factors] = backend.normal(rng, (int(np.count_nonzero(new)), n_factors), scale) + start
            sides.append(padded)
        biases = backend.zeros((joined.n_items if self._has_biases else 0,))
        if self._has_biases:
            biases[...] = self.item_biases_[rare].mean()
            biases[known] = self.item_biases_[known]
        return _State(backend, sides[0], sides[1], biases)

    # ------------------------------------------------------------------ using

    def transform(self, X: Any) -> Float32Array:
        """Learn the vectors of users from their interactions, the items held fixed (fold-in).

        As many iterations as `fit` was given, from zero; equal rows get equal vectors.

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
        return self._fold_in(self._histories(X, type(self).__name__).by_user)

    def _fold_in(self, histories: CSR) -> Float32Array:
        self._check_parameters()  # which may have been set since the fit
        backend, histories = self._backend(), self._weighted(self._of_known_items(histories))
        items, biases = (
            _padded(backend, self.item_factors_),
            backend.asarray(self.item_biases_ if self._has_biases else []),
        )
        vectors: Float32Array = backend.zeros((histories.n_rows, items.shape[1]))
        backend.kernels.ranking_fold_in(
            backend.context, backend.csr(histories), self._rule(backend), _FOLD_IN_SEED, self.iterations,
            self._counts, items, biases, vectors,
        )  # fmt: skip
        return _compact(backend, vectors, self._n_features_out)

    def _of_known_items(self, histories: CSR) -> CSR:
        """Histories whose entries of items without a vector say nothing."""
        if not self._zero_items.size:
            return histories
        values = np.where(self._counts[histories.indices] > 0, histories.values, np.float32(0))
        return CSR(histories.indptr, histories.indices, values, histories.shape)

    def _user_vectors(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        if histories is not None:
            return self._fold_in(histories.take_rows(rows))
        if rows.size == self.n_users_ and np.array_equal(rows, np.arange(rows.size)):
            return self.user_factors_
        return self.user_factors_[rows]

    def _item_vectors(self) -> Float32Array:
        return self.item_factors_

    def _item_biases(self) -> Float32Array | None:
        return self.item_biases_ if self._has_biases else None

    def _blank_items(self) -> Int64Array:
        return self._zero_items

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        numbers = [self.n_iter_, self.best_iteration_, self._n_epochs, self._seed, self._has_biases]
        return {
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "item_biases": self.item_biases_,
            "numbers": np.array(numbers, dtype=np.int64),
        }

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        n_factors = arrays["item_factors"].shape[-1]
        self.user_factors_ = self._checked(arrays["user_factors"], (self.n_users_, n_factors))
        self.item_factors_ = self._checked(arrays["item_factors"], (self.n_items_, n_factors))
        self.item_biases_ = self._checked(arrays["item_biases"], (self.n_items_,))
        self._set_counts(self.interactions_)
        numbers = map(int, self._checked(arrays["numbers"], (5,), np.int64))
        self.n_iter_, self.best_iteration_, self._n_epochs, self._seed, has_biases = numbers
        self._has_biases = bool(has_biases)
        if not 0 <= self._n_epochs < _MAX_EPOCHS or self._seed < 0:
            raise ValueError("a seed or a number of epochs is out of range")
        self.correct_history_, self.validation_history_ = [], []


class _State:
    """What the kernels work on: padded vectors of users and items, and biases where the model has them."""

    def __init__(self, backend: Backend, users: Float32Array, items: Float32Array, biases: Float32Array) -> None:
        self.backend, self.users, self.items, self.biases = backend, users, items, biases

    @classmethod
    def random(
        cls, backend: Backend, rng: np.random.Generator, n_users: int, n_items: int, n_factors: int, has_biases: bool
    ) -> _State:
        """Small normal numbers; biases of zero."""
        scale = _START_SCALE / np.sqrt(n_factors)
        users, items = (_padded(backend, backend.normal(rng, (n, n_factors), scale)) for n in (n_users, n_items))
        return cls(backend, users, items, backend.zeros((n_items if has_biases else 0,)))

    def epoch(self, positives: Any, rule: Any, seed: int, number: int, counts: Float32Array) -> tuple[int, int]:
        kernel = self.backend.kernels.ranking_epoch
        found: tuple[int, int] = kernel(
            self.backend.context, positives, rule, seed, number, counts, self.users, self.items, self.biases
        )
        return found

    def check(self, name: str) -> None:
        """Raise where steps have become too great for float32."""
        for array in (self.items, self.users):
            with np.errstate(invalid="ignore"):  # of infinities of both signs
                total = array.sum(dtype=np.float64)
            if not np.isfinite(total):
                raise ValueError(f"{name}: the vectors have left float32; take a smaller learning_rate")

    def copy(self) -> _State:
        return _State(self.backend, self.users.copy(), self.items.copy(), self.biases.copy())

    def learned(self, n_factors: int) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Vectors of users and items on the host, without padding, and biases, of zero where there are none."""
        users, items = (_compact(self.backend, padded, n_factors) for padded in (self.users, self.items))
        biases = self.backend.to_numpy(self.biases).copy() if self.biases.size else np.zeros(len(items), np.float32)
        return users, items, biases


def _trained_rows(known: CSR, events: CSR, user_rows: Int64Array, item_rows: Int64Array, touched: Int64Array) -> CSR:
    """Rows of `known` for the users in `touched` rows of `events`: weights where events are, else 0."""
    rows = known.take_rows(user_rows[touched])
    taken = events.take_rows(touched)
    values = np.zeros(rows.nnz, np.float32)
    values[entry_positions(rows, taken, item_rows)] = taken.values
    return CSR(rows.indptr, rows.indices, values, rows.shape)


def _positives(matrix: CSR) -> CSR:
    """The entries above 0: what is learned from."""
    is_positive = matrix.values > 0
    if is_positive.all():
        return matrix
    ends = np.concatenate([[0], np.cumsum(is_positive)])
    return CSR(ends[matrix.indptr], matrix.indices[is_positive], matrix.values[is_positive], matrix.shape)


def _padded(backend: Backend, vectors: Any) -> Float32Array:
    """A copy on the device whose rows are filled up with zeros to a multiple of the kernels' lanes."""
    n, n_factors = vectors.shape
    out: Float32Array = backend.zeros((n, -(-n_factors // _LANES) * _LANES))
    out[:, :n_factors] = vectors
    return out


def _compact(backend: Backend, padded: Any, n_factors: int) -> Float32Array:
    """A copy on the host, without padding."""
    return np.array(backend.to_numpy(padded)[:, :n_factors], order="C")


class BPR(_RankingFactorization):
    r"""Matrix factorization by Bayesian personalized ranking [1]_.

    Ascends, over pairs of an item i that a user has and one, j, that he has not,

    .. math::

        \log \sigma(s_{ui} - s_{uj}) - \frac{\lambda}{2} (|x_u|^2 + |y_i|^2 + |y_j|^2 + b_i^2 + b_j^2),
        \qquad s_{ui} = x_u^T y_i + b_i

    with :math:`\lambda` = `regularization`. An iteration takes every interaction once, each with a negative of its own.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192.
    learning_rate : float, default=0.05
        Length of the steps, above 0, below 1000.
    regularization : float, default=0.01
        Penalty of squared vector lengths, at least 0.
    iterations : int, default=100
        Passes over the interactions.
    sampling : {"uniform", "popularity", "dynamic"}, default="uniform"
        How negatives are drawn: each item alike; in proportion to how many have it; or of `n_candidates` drawn alike
        the one with the greatest score [2]_, which learns most about the top of the ranking.
    n_candidates : int, default=8
        Candidates of ``"dynamic"``, 1 to 1024. The more, the smaller a `learning_rate` or `iterations` it takes.
    item_biases : bool, default=True
        Whether items have biases, which are added to their scores.
    early_stopping : bool, default=False
        Whether to hide a fifth of each user's items, watch NDCG@10 on them, stop once it has not risen for
        `n_iter_no_change` iterations, and keep the best vectors.
    n_iter_no_change : int, default=3
        Patience of `early_stopping`.
    partial_iterations : int, default=10
        Steps that `partial_fit` takes for each new interaction, each a fifth as long as those of `fit`.
    warm_start : bool, default=False
        Whether a second `fit` starts from the vectors of the first; users and items are found again by id.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values and of what is drawn. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress, with the share of positives that were right at first sight.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, None)``; the model is usable then. (In place of
        None other models have a loss.) A true result stops the fit.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, factors), float32
        Users without interactions are zero, and get nothing.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Items without interactions are zero; nobody gets them unasked.
    item_biases_ : ndarray of shape (n_items,), float32
        What is added to the scores of an item.
    n_iter_ : int
        Iterations done, those after the best one too.
    best_iteration_ : int
        The iteration, counted from 1, whose vectors these are: with `early_stopping` the one with the greatest NDCG@10,
        else the last.
    correct_history_ : list of float of length n_iter_
        Share of the positives that were right at first sight in each iteration, before the step.
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
    A keyboard interrupt leaves the vectors as the last steps left them: the model is usable. (One in the first
    iteration takes the fit back.)

    Values of `fit` say who has what: an entry above 0 is a positive, one of 0 is neither that nor ever drawn as a
    negative.

    References
    ----------
    .. [1] S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, BPR: Bayesian personalized ranking from implicit
       feedback, UAI 2009, arXiv:1205.2618
    .. [2] W. Zhang, T. Chen, J. Wang, Y. Yu, Optimizing top-n collaborative filtering via dynamic negative item
       sampling, SIGIR 2013, doi:10.1145/2484028.2484126

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))
    >>> X[0, 0] = 0
    >>> model = lw.BPR(factors=4, iterations=200, random_state=0).fit(X)
    >>> int(model.recommend(0, k=1).items[0])
    0
    """

    _loss = "bpr"

    _search_space: ClassVar[Space] = {
        "factors": Range(16, 256, log=True),
        "learning_rate": Range(0.005, 0.2, log=True),
        "regularization": Range(1e-4, 0.1, log=True),
        "sampling": ["uniform", "dynamic"],
    }

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        iterations: int = 100,
        *,
        sampling: str = "uniform",
        n_candidates: int = 8,
        item_biases: bool = True,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        partial_iterations: int = 10,
        warm_start: bool = False,
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
        self.sampling = sampling
        self.n_candidates = n_candidates
        self.item_biases = item_biases
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
        name = type(self).__name__
        check_choice(name, "sampling", self.sampling, _SAMPLINGS)
        check_int(name, "n_candidates", self.n_candidates, minimum=1, maximum=_MAX_CANDIDATES)
        if self.sampling != "dynamic" and self.n_candidates != _N_CANDIDATES:
            raise ValueError(
                f"{name}: n_candidates is of sampling='dynamic', got {self.n_candidates} with {self.sampling!r}; "
                f"leave it {_N_CANDIDATES}"
            )

    def _draws(self) -> tuple[str, int, int, int]:
        if self.sampling == "dynamic":
            return "uniform", int(self.n_candidates), 1, 1
        return self.sampling, 1, 1, 1


class WARP(_RankingFactorization):
    r"""Matrix factorization by the weighted approximate-rank pairwise loss [1]_.

    For an item i that a user has, others are drawn until one, j, scores within 1 of it. The later it is found, the
    higher i ranks already: after t draws among m items the step ascends

    .. math::

        \log \left\lfloor \frac{m - 1}{t} \right\rfloor (s_{ui} - s_{uj})
        - \frac{\lambda}{2} (|x_u|^2 + |y_i|^2 + |y_j|^2 + b_i^2 + b_j^2),
        \qquad s_{ui} = x_u^T y_i + b_i

    with :math:`\lambda` = `regularization`, and there is none where no such item is found. An iteration takes every
    interaction once.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192.
    learning_rate : float, default=0.01
        Length of the steps, above 0, below 1000. Their weight, the logarithm above, is 10 at first on large catalogues.
    regularization : float, default=0.01
        Penalty of squared vector lengths, at least 0.
    iterations : int, default=50
        Passes over the interactions.
    max_trials : int, default=32
        Draws for an interaction at most, 1 to 1024.
    k_os : int, default=None
        With a number, the loss of the k-th order statistic [2]_: in place of each interaction the `k_os`-th best scored
        of `n_positives` that are drawn from the user's. Small numbers serve the top of the ranking, great ones its
        width.
    n_positives : int, default=10
        Interactions drawn for `k_os`, up to 1024.
    item_biases : bool, default=True
        Whether items have biases, which are added to their scores.
    early_stopping : bool, default=False
        Whether to hide a fifth of each user's items, watch NDCG@10 on them, stop once it has not risen for
        `n_iter_no_change` iterations, and keep the best vectors.
    n_iter_no_change : int, default=3
        Patience of `early_stopping`.
    partial_iterations : int, default=10
        Steps that `partial_fit` takes for each new interaction, each a fifth as long as those of `fit`.
    warm_start : bool, default=False
        Whether a second `fit` starts from the vectors of the first; users and items are found again by id.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values and of what is drawn. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress, with the share of positives that were right at first sight.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, None)``; the model is usable then. (In place of
        None other models have a loss.) A true result stops the fit.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, factors), float32
        Users without interactions are zero, and get nothing.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Items without interactions are zero; nobody gets them unasked.
    item_biases_ : ndarray of shape (n_items,), float32
        What is added to the scores of an item.
    n_iter_ : int
        Iterations done, those after the best one too.
    best_iteration_ : int
        The iteration, counted from 1, whose vectors these are: with `early_stopping` the one with the greatest NDCG@10,
        else the last.
    correct_history_ : list of float of length n_iter_
        Share of the positives that were right at first sight in each iteration, before the step.
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
    A keyboard interrupt leaves the vectors as the last steps left them: the model is usable. (One in the first
    iteration takes the fit back.)

    Values of `fit` say who has what: an entry above 0 is a positive, one of 0 is neither that nor ever drawn as a
    negative.

    References
    ----------
    .. [1] J. Weston, S. Bengio, N. Usunier, WSABIE: scaling up to large vocabulary image annotation, IJCAI 2011,
       doi:10.5591/978-1-57735-516-8/IJCAI11-460
    .. [2] J. Weston, H. Yee, R. J. Weiss, Learning to rank recommendations with the k-order statistic loss, RecSys
       2013, doi:10.1145/2507157.2507210

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))
    >>> X[0, 0] = 0
    >>> model = lw.WARP(factors=4, random_state=0).fit(X)
    >>> int(model.recommend(0, k=1).items[0])
    0
    """

    _loss = "warp"

    _search_space: ClassVar[Space] = {
        "factors": Range(16, 256, log=True),
        "learning_rate": Range(0.002, 0.1, log=True),
        "regularization": Range(1e-4, 0.1, log=True),
    }

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.01,
        regularization: float = 0.01,
        iterations: int = 50,
        *,
        max_trials: int = 32,
        k_os: int | None = None,
        n_positives: int = 10,
        item_biases: bool = True,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        partial_iterations: int = 10,
        warm_start: bool = False,
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
        self.max_trials = max_trials
        self.k_os = k_os
        self.n_positives = n_positives
        self.item_biases = item_biases
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
        name = type(self).__name__
        check_int(name, "max_trials", self.max_trials, minimum=1, maximum=_MAX_CANDIDATES)
        n_positives = check_int(name, "n_positives", self.n_positives, minimum=1, maximum=_MAX_CANDIDATES)
        if self.k_os is not None:
            check_int(name, "k_os", self.k_os, minimum=1, maximum=n_positives)
        elif n_positives != _N_POSITIVES:
            raise ValueError(f"{name}: n_positives is of k_os, got {n_positives} without; leave it {_N_POSITIVES}")

    def _draws(self) -> tuple[str, int, int, int]:
        if self.k_os is None:
            return "uniform", int(self.max_trials), 1, 1
        return "uniform", int(self.max_trials), int(self.n_positives), int(self.k_os)


class LogisticMF(_RankingFactorization):
    r"""Logistic matrix factorization [1]_, with sampled negatives.

    Ascends the log-likelihood of who has what,

    .. math::

        \sum_{(u,i)} \alpha r_{ui} \log \sigma(s_{ui}) + \sum_{(u,j)} \log (1 - \sigma(s_{uj})) - \text{penalty},
        \qquad s_{ui} = x_u^T y_i + b_i

    where the first sum is over the stored values r and the second over `n_negatives` items for each of them, drawn
    alike from those that the user has not. The penalty is `regularization` / 2 times the squared lengths of the vectors
    in each term, and b the biases of items; one of a user would change no ranking, and a factor can play its part.

    Parameters
    ----------
    factors : int, default=64
        Length of the vectors, 1 to 8192.
    learning_rate : float, default=0.05
        Length of the steps, above 0, below 1000.
    regularization : float, default=0.01
        Penalty of squared vector lengths, at least 0.
    iterations : int, default=50
        Passes over the interactions.
    alpha : float, default=1.0
        Weight of a unit of value, above 0; a step is that many times as long, so scale great values down.
    n_negatives : int, default=4
        Negatives drawn for an interaction, 1 to 1024.
    item_biases : bool, default=True
        Whether items have biases, which are added to their scores.
    early_stopping : bool, default=False
        Whether to hide a fifth of each user's items, watch NDCG@10 on them, stop once it has not risen for
        `n_iter_no_change` iterations, and keep the best vectors.
    n_iter_no_change : int, default=3
        Patience of `early_stopping`.
    partial_iterations : int, default=10
        Steps that `partial_fit` takes for each new interaction, each a fifth as long as those of `fit`.
    warm_start : bool, default=False
        Whether a second `fit` starts from the vectors of the first; users and items are found again by id.
    random_state : int, Generator, RandomState or None, default=None
        Seed of the starting values and of what is drawn. The same seed gives bitwise the same vectors at any `n_jobs`.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool or int, default=False
        Whether to show progress, with the share of positives that were right at first sight.
    callbacks : callable or list of callables, default=None
        Called after every iteration as ``callback(model, iteration, None)``; the model is usable then. (In place of
        None other models have a loss.) A true result stops the fit.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, factors), float32
        Users without interactions are zero, and get nothing.
    item_factors_ : ndarray of shape (n_items, factors), float32
        Items without interactions are zero; nobody gets them unasked.
    item_biases_ : ndarray of shape (n_items,), float32
        What is added to the scores of an item.
    n_iter_ : int
        Iterations done, those after the best one too.
    best_iteration_ : int
        The iteration, counted from 1, whose vectors these are: with `early_stopping` the one with the greatest NDCG@10,
        else the last.
    correct_history_ : list of float of length n_iter_
        Share of the positives that were right at first sight in each iteration, before the step.
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
    A keyboard interrupt leaves the vectors as the last steps left them: the model is usable. (One in the first
    iteration takes the fit back.)

    An entry above 0 is a positive, one of 0 is neither that nor ever drawn as a negative.

    References
    ----------
    .. [1] C. C. Johnson, Logistic matrix factorization for implicit feedback data, NIPS 2014 workshop on distributed
       machine learning and matrix computations

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))
    >>> X[0, 0] = 0
    >>> model = lw.LogisticMF(factors=4, iterations=200, random_state=0).fit(X)
    >>> int(model.recommend(0, k=1).items[0])
    0
    """

    _loss = "logistic"

    _search_space: ClassVar[Space] = {
        "factors": Range(16, 256, log=True),
        "learning_rate": Range(0.005, 0.2, log=True),
        "regularization": Range(1e-4, 0.1, log=True),
        "n_negatives": Range(1, 16, log=True),
    }

    def __init__(
        self,
        factors: int = 64,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        iterations: int = 50,
        *,
        alpha: float = 1.0,
        n_negatives: int = 4,
        item_biases: bool = True,
        early_stopping: bool = False,
        n_iter_no_change: int = 3,
        partial_iterations: int = 10,
        warm_start: bool = False,
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
        self.alpha = alpha
        self.n_negatives = n_negatives
        self.item_biases = item_biases
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
        name = type(self).__name__
        check_float(name, "alpha", self.alpha, minimum=0, maximum=_MAX_WEIGHT, exclusive=True)
        check_int(name, "n_negatives", self.n_negatives, minimum=1, maximum=_MAX_CANDIDATES)

    def _draws(self) -> tuple[str, int, int, int]:
        return "uniform", int(self.n_negatives), 1, 1

    def _weighted(self, matrix: CSR) -> CSR:
        largest = float(matrix.values.max(initial=0))
        if largest * self.alpha > _MAX_WEIGHT:
            raise ValueError(
                f"LogisticMF: alpha * value must be <= {_MAX_WEIGHT:g}, got {self.alpha:g} * {largest:g}; "
                "scale the values"
            )
        return CSR(matrix.indptr, matrix.indices, matrix.values * np.float32(self.alpha), matrix.shape)
