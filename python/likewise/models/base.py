"""What every recommender is: a scikit-learn estimator over `Interactions` that ranks, predicts, saves and loads."""

from __future__ import annotations

import copy
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from likewise._backend import Backend, get_backend
from likewise._files import INDEXES, read_model_file, write_model_file
from likewise._io import whole_file
from likewise._progress import ProgressBar
from likewise._space import Space
from likewise._validation import check_flag, check_int
from likewise.data import CSR, IdMap, Interactions, as_interactions
from likewise.data._frames import pair_columns
from likewise.data._tables import check_table, open_table
from likewise.data.interactions import check_matrix_like
from likewise.exceptions import ModelFileError
from likewise.retrieval import MAX_K, ApproximateIndex, mean_ndcg, top_k

from ._results import Recommendations, SimilarItems, SimilarUsers

__all__ = ["Recommender", "VectorRecommender", "entry_positions", "hide_items", "is_single", "load", "zero_rows"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Self = TypeVar("Self", bound="Recommender")
VectorSelf = TypeVar("VectorSelf", bound="VectorRecommender")

# `score` hides this share of each row; the same rows give the same score in every process.
_HIDDEN_SHARE = 0.2
_SCORE_SEED = 0
_SCORE_K = 10
# Entries split into visible and hidden ones at a time.
_BLOCK_ENTRIES = 1 << 18
# Pairs scored at a time: their vectors are gathered, 32 MB of each side at 128 factors.
_BLOCK_PAIRS = 1 << 16
# Slots of a batch of recommendations: 8 MiB of rows and scores, and some tens with ids, columns and a writer's buffers.
_BATCH_SLOTS = 1 << 19
# Users of a batch: enough that reading the items pays, and on a small catalogue that a batch is more than its overhead.
_MIN_BATCH_USERS = 1 << 14
_BATCH_PAIRS = 1 << 28


class _Query(NamedTuple):
    """What `recommend` and its kin are asked, checked and in rows."""

    source: Interactions  # where users, items and what is seen are looked up
    histories: CSR | None  # of users to fold in; None where they are those of the fit
    users: Int64Array | None  # None is every user of `source`
    k: int
    exclude_seen: bool
    allow: Int64Array | None
    deny: Int64Array | None
    subject: str

    @property
    def n_users(self) -> int:
        return self.source.n_users if self.users is None else self.users.size

    def rows(self, start: int, stop: int) -> Int64Array:
        """Rows of the users in places [start, stop): made when asked for, as there may be very many."""
        return np.arange(start, stop) if self.users is None else self.users[start:stop]


class Recommender(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Base of all models.

    A model fitted on `Interactions` that were built from ids speaks ids: users and items go in and come out as ids.
    One fitted on a matrix speaks row and column numbers.

    A subclass stores its parameters in ``__init__``, checks them in `_fit`, and ranks by `_top_k` and `_scores`.

    Attributes
    ----------
    interactions_ : Interactions
        What the model was fitted on: ids, and what each user has seen.
    n_users_, n_items_ : int
    n_features_in_ : int
        ``n_items_``, by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.
    """

    _registry: ClassVar[dict[str, type[Recommender]]] = {}
    _allows_negative: ClassVar[bool] = False
    _predicts_ratings: ClassVar[bool] = False
    _has_contexts: ClassVar[bool] = False
    """Whether interactions have contexts, which an evaluation cannot give."""
    _search_space: ClassVar[Space] = {}

    interactions_: Interactions
    n_users_: int
    n_items_: int
    n_features_in_: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Recommender._registry[cls.__name__] = cls

    # ------------------------------------------------------------------ what a model provides

    @abstractmethod
    def _check_parameters(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` for a parameter that cannot be used."""

    @abstractmethod
    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        """Learn from `data`, which `interactions_` is already; `previous` is what the last fit learned from, if any.

        An exception takes the whole fit back. A keyboard interrupt does not once `n_iter_` is above 0, and must leave a
        usable model then.
        """

    @abstractmethod
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
        """Rank items for `rows` of the fitted users, or of `histories`, whose users the model folds in.

        Where not `exactly`, an index may serve them; whatever measures a model has it rank exactly.
        """

    @abstractmethod
    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        """Scores of every item for `rows`, -inf for one that nobody gets; shape (n, n_items)."""

    @abstractmethod
    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        """Scores of pairs of rows of the fitted users and items."""

    def _predicted_ratings(self, histories: CSR | None, users: Int64Array, items: Int64Array) -> Float64Array:
        """Ratings of pairs of rows, clipped where the model does so; of models that predict ratings.

        Users are fitted ones, or rows of `histories`.
        """
        raise NotImplementedError(f"{type(self).__name__}: predicts no ratings")

    @abstractmethod
    def _state(self) -> dict[str, npt.NDArray[Any]]:
        """Learned arrays, for a file."""

    def _index_state(self) -> tuple[dict[str, Any] | None, dict[str, npt.NDArray[Any]]]:
        """Header and arrays of an index, for a file; None where there is no index."""
        return None, {}

    def _set_index_state(self, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take an index from a file; ``KeyError``, ``TypeError`` or ``ValueError`` where it does not fit."""
        raise ValueError("a model without vectors has no index")

    @abstractmethod
    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take learned arrays from a file; ``KeyError`` or ``ValueError`` where they do not fit."""

    # ------------------------------------------------------------------ fitting

    def fit(self: Self, X: Any, y: Any = None) -> Self:
        """Learn from interactions, and forget what was learned before.

        A fit that fails, or is interrupted before its first iteration has ended, leaves the model as it was.

        Parameters
        ----------
        X : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
            Of a dense array, or a data frame with a column for each item, the entries that are not zero are
            interactions. Of a data frame with a row for each event make `Interactions.from_frame` first. Sorted int32
            ids and float32 values of a CSR are not copied: they belong to `interactions_` from then on, so leave X
            alone or give ``X.copy()``.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is no matrix: a data frame of events (it has a column that is not numeric, or columns with usual names
            of both users and items), a file name, or no array at all; the message says what builds interactions of it.
        ValueError
            If a parameter is out of range, or X is empty, holds NaN, infinite or (where the model cannot use them)
            negative values; the message says where.
        """
        self._check_parameters()
        data = as_interactions(X, type(self).__name__, allow_negative=self._allows_negative)
        if data.nnz == 0:
            raise ValueError(
                f"{type(self).__name__}: X must hold an interaction, got {data.n_users} users x {data.n_items} items "
                "with nothing stored"
            )
        before = dict(self.__dict__)
        try:
            self.__dict__.pop("n_iter_", None)
            self._is_fitting = True
            self._set_interactions(data)
            _check_feature_names(self, X, reset=True)
            self._fit(data, before.get("interactions_"))
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt) or getattr(self, "n_iter_", 0) == 0:
                self.__dict__ = before
            raise
        finally:
            self.__dict__.pop("_is_fitting", None)
        return self

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Leave the model as it was if the block, which changes it, fails or is interrupted."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def _set_interactions(self, data: Interactions) -> None:
        self.__dict__.pop("index_", None)  # its vectors are no longer the model's
        self.interactions_ = data
        self.n_users_, self.n_items_ = data.shape
        self.n_features_in_ = data.n_items
        if len(getattr(self, "feature_names_in_", ())) != data.n_items:
            self.__dict__.pop("feature_names_in_", None)  # items without a name have joined

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "interactions_"):  # scikit-learn's check alone takes half as long as a fold-in
            check_is_fitted(self, "interactions_")

    def _check_names(self, X: Any) -> None:
        """Compare names of columns with those of `fit`; mostly there are none, which scikit-learn is slow to see."""
        if hasattr(self, "feature_names_in_") or not (isinstance(X, (Interactions, CSR)) or sp.issparse(X)):
            _check_feature_names(self, X, reset=False)

    def _backend(self) -> Backend:
        """The backend of the model's `device` and `n_jobs`, where it has these parameters."""
        return get_backend(getattr(self, "device", "cpu"), getattr(self, "n_jobs", None), type(self).__name__)

    def _histories(self, X: Any, subject: str) -> Interactions:
        """`X` with this model's items as columns, for users whom the model need not know."""
        self._check_is_fitted()
        check_matrix_like(X, subject)  # before its columns' names are compared with those of fit
        self._check_names(X)
        data = as_interactions(X, subject, allow_negative=self._allows_negative)
        return data.with_items_of(self.interactions_, subject)

    def _joined(self, X: Any) -> tuple[Interactions, Interactions]:
        """What `partial_fit` is given, checked, and its union with what is known; with times if both have them."""
        subject, known = type(self).__name__, self.interactions_
        check_matrix_like(X, subject)
        self._check_names(X)
        new = as_interactions(X, subject, allow_negative=self._allows_negative)
        timed = known.timestamps is not None and new.timestamps is not None
        if not timed or known.timestamp_unit != new.timestamp_unit:
            known, new = _without_times(known), _without_times(new)
        if new.item_ids is None and known.item_ids is None and new.n_items < known.n_items:
            # The words of scikit-learn, which its estimator checks look for.
            raise ValueError(
                f"X has {new.n_items} features, but {subject} is expecting {known.n_items} features as input"
            )
        return new, known.union(new, subject=subject)

    # ------------------------------------------------------------------ recommending

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        interactions: Any = None,
        items: Any = None,
        exclude: Any = None,
    ) -> Recommendations:
        """Recommend the `k` best items to each user.

        Items of which the model knows nothing, since nobody had them in the fit, go to nobody unless `items` names
        them, and from models of sparse weights to nobody at all. Users of whom it knows nothing, since their history is
        empty or holds such items alone, get nothing from a
        model of taste; `Popularity` serves them.

        Parameters
        ----------
        users : id, array-like of ids or data frame, default=None
            User ids, or row numbers where the model speaks those; of a data frame its column of users. None is every
            user.
        k : int, default=10
            Items a user, 1 to 1,000,000. More than there are candidates leaves empty slots.
        exclude_seen : bool, default=True
            Whether items that a user has interacted with are left out.
        interactions : Interactions or matrix of shape (n, n_items), default=None
            Histories to recommend for instead of those of `fit`, of users whom the model need not know; `users` then
            names users of it.
        items : array-like of ids, default=None
            The only items to choose from. None is every item that somebody had in the fit.
        exclude : array-like of ids, default=None
            Items that nobody gets.

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
            If `k` is out of range.
        """
        query = self._query("recommend", users, k, exclude_seen, interactions, items, exclude)
        recommended = self._answer(query, 0, query.n_users)
        if users is not None and is_single(users):
            return Recommendations(recommended.users[0], recommended.items[0], recommended.scores[0])
        return recommended

    def recommend_batches(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        interactions: Any = None,
        items: Any = None,
        exclude: Any = None,
        batch_size: int | None = None,
        verbose: bool | int | None = None,
    ) -> Iterator[Recommendations]:
        """Recommend as `recommend` does, to a batch of users at a time, in memory that does not grow with the users.

        Joined, the batches are bit by bit what one call of `recommend` gives. Arguments are checked at the call. The
        batches are those of the model as it stands at the call: another `fit` meanwhile changes none of them.

        Parameters
        ----------
        users, k, exclude_seen, interactions, items, exclude
            As in `recommend`.
        batch_size : int, default=None
            Users a batch, at least 1. None takes as many as keep a batch at some tens of MiB, and of those no more than
            16,384 where the catalogue is large: enough for the kernels to run at their full speed.
        verbose : bool or int, default=None
            Whether to show a progress bar over the users. None is what the model does.

        Yields
        ------
        Recommendations
            ``items`` and ``scores`` of shape (n, k) of the next `batch_size` users, the last batch of those left; for a
            single id too. Nothing where there are no users.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        KeyError, IndexError
            If a user or item id is unknown, a row number out of range.
        ValueError
            If `k` or `batch_size` is out of range.

        See Also
        --------
        recommend_to : Write the batches to a file.

        Examples
        --------
        >>> import numpy as np, likewise as lw
        >>> model = lw.Popularity().fit(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]]))
        >>> for batch in model.recommend_batches(k=1, batch_size=2):
        ...     print(batch)
        Recommendations(2 x 1)
          0: 2 (1)
          1: 0 (1)
        Recommendations(1 x 1)
          2: 0 (1)
        """
        query = self._query("recommend_batches", users, k, exclude_seen, interactions, items, exclude)
        return self._batches(query, batch_size, verbose)

    def recommend_to(
        self,
        path: str | os.PathLike[str],
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        interactions: Any = None,
        items: Any = None,
        exclude: Any = None,
        format: str | None = None,
        batch_size: int | None = None,
        verbose: bool | int | None = None,
    ) -> int:
        """Write what `recommend` gives to one file, a batch of users at a time, in bounded memory.

        The file has a row for each item given, with the columns of ``recommend(...).to_frame()``: ``user``, ``item``,
        ``score`` (float32) and ``rank`` (int64, from 1). Ids are int64 or strings (UUIDs too are written as strings),
        whatever a batch holds. It appears under its name only when it is whole: after an error, or Ctrl-C, what stood
        there before is untouched.

        Parameters
        ----------
        path : path-like
            The file, which is replaced if it is there. Its suffix names the format: ``.parquet`` or ``.pq``,
            ``.arrow`` or ``.feather``, ``.csv``. Without a suffix it is Parquet.
        users, k, exclude_seen, interactions, items, exclude
            As in `recommend`.
        format : {"parquet", "arrow", "csv"}, default=None
            The format, whatever the suffix: Parquet, an Arrow IPC file (which is Feather), or CSV with a line of names
            and scores of seven digits. Parquet and Arrow need pyarrow.
        batch_size, verbose
            As in `recommend_batches`. A batch is a row group of a Parquet file, a record batch of an Arrow file.

        Returns
        -------
        int
            Number of rows written: k a user, less the slots left empty.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        KeyError, IndexError
            If a user or item id is unknown, a row number out of range.
        ValueError
            If `k` or `batch_size` is out of range, or neither `format` nor the suffix is known.
        ImportError
            If pyarrow is needed and not installed.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile, numpy as np, likewise as lw
        >>> model = lw.Popularity().fit(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]]))
        >>> path = pathlib.Path(tempfile.mkdtemp(), "recommendations.csv")
        >>> model.recommend_to(path, k=1)
        3
        >>> print(path.read_text(), end="")
        user,item,score,rank
        0,2,1,1
        1,0,1,1
        2,0,1,1
        """
        table_format = check_table(path, format, "recommend_to")
        query = self._query("recommend_to", users, k, exclude_seen, interactions, items, exclude)
        batches = self._batches(query, batch_size, verbose)
        n_rows = 0
        nothing = self._answer(query, 0, 0).to_dict()
        with whole_file(path, "recommend_to") as part, open_table(part, table_format, nothing) as write:
            for batch in batches:
                columns = batch.to_dict()
                write(columns)
                n_rows += columns["rank"].size
        return n_rows

    def _query(
        self, subject: str, users: Any, k: Any, exclude_seen: Any, interactions: Any, items: Any, exclude: Any
    ) -> _Query:
        """Check what is asked, and look its ids up."""
        self._check_is_fitted()
        k = check_int(subject, "k", k, minimum=1, maximum=MAX_K)
        check_flag(subject, "exclude_seen", exclude_seen)
        source = self.interactions_ if interactions is None else self._histories(interactions, subject)
        return _Query(
            source,
            None if interactions is None else source.by_user,
            None if users is None else source.user_index(users, subject),
            k,
            exclude_seen,
            None if items is None else source.item_index(items, subject),
            None if exclude is None else source.item_index(exclude, subject),
            subject,
        )

    def _answer(self, query: _Query, start: int, stop: int) -> Recommendations:
        """Recommend to the users in places [start, stop) of those asked for."""
        source, rows = query.source, query.rows(start, stop)
        seen = source.by_user.take_rows(rows) if query.exclude_seen else None
        ids, scores = self._top_k(
            query.histories, rows, query.k, seen, query.allow, query.deny, query.subject, exactly=False
        )
        return Recommendations(source.user_labels(rows), source.item_labels(ids), scores)

    def _batches(self, query: _Query, batch_size: Any, verbose: bool | int | None) -> Iterator[Recommendations]:
        """Answers to `query`, with one progress bar, of the model as it stands now."""
        if batch_size is None:
            most = max(_MIN_BATCH_USERS, _BATCH_PAIRS // self.n_items_)
            batch_size = max(1, min(_BATCH_SLOTS // query.k, most))
        size, n_users = check_int(query.subject, "batch_size", batch_size, minimum=1), query.n_users
        model = copy.copy(self)
        shown = getattr(self, "verbose", False) if verbose is None else verbose
        model.__dict__["verbose"] = False  # or each batch would have a bar too

        def answers() -> Iterator[Recommendations]:
            for start in ProgressBar(
                range(0, n_users, size),
                verbose=shown,
                description="Recommending",
                unit="user",
                total=n_users,
                size=lambda start: min(size, n_users - start),
            ):
                yield model._answer(query, start, min(start + size, n_users))

        return answers()

    def predict(self, X: Any, items: Any = None) -> npt.NDArray[Any]:
        """Scores of pairs; or, of histories alone, the item that each user is most likely to take next.

        Parameters
        ----------
        X : array-like of user ids; without `items`, data frame of pairs, Interactions or matrix of shape (n, n_items)
            Users of the pairs; a frame with a column of users and one of items (``user`` and ``item``, or the like);
            histories, as `recommend` takes them.
        items : array-like of item ids, default=None
            As many as users; one item may stand with many users and one user with many items.

        Returns
        -------
        ndarray of shape (n_pairs,), float32, or of shape (n,)
            Scores; without `items` the first item of ``recommend(interactions=X)``, -1 (None) where there is none.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        KeyError, IndexError
            If a user or item is unknown.
        ValueError
            If there are not as many items as users.
        """
        self._check_is_fitted()
        if items is None and (pairs := pair_columns(X)) is not None:
            X, items = pairs
        if items is None:
            data = self._histories(X, type(self).__name__)
            every = np.arange(data.n_users)
            ids, _ = self._top_k(data.by_user, every, 1, data.by_user, None, None, type(self).__name__)
            return data.item_labels(ids[:, 0])
        users, rows = self._pair_rows(X, items)
        if users.size != rows.size and 1 not in (users.size, rows.size):
            raise ValueError(f"predict: there are {users.size} users but {rows.size} items; give one item a user")
        users, rows = np.broadcast_arrays(users, rows)
        scores = np.empty(users.size, dtype=np.float32)
        size = self._n_pairs_at_once
        for start in range(0, users.size, size):
            block = slice(start, start + size)
            scores[block] = self._pair_scores(users[block], rows[block])
        return scores

    @property
    def _n_pairs_at_once(self) -> int:
        """How many pairs `_pair_scores` is asked for in one call."""
        return _BLOCK_PAIRS

    def _pair_rows(self, users: Any, items: Any) -> tuple[Int64Array, Int64Array]:
        """Rows of the users and items of pairs."""
        data = self.interactions_
        return data.user_index(users, "predict"), data.item_index(items, "predict")

    def score(self, X: Any, y: Any = None) -> float:
        """Mean NDCG@10 on a seeded hidden part of each row of `X`; of a model of ratings, minus their RMSE.

        A fifth of each row's items (at least one) is hidden; the model ranks all items from the rest, which it
        leaves out, or predicts the hidden ratings from it. Rows with fewer than two items do not count. Works in
        ``cross_val_score`` and ``GridSearchCV``, whose test rows are users that the model has not seen.

        With a splitter of `likewise.model_selection` that keeps users, `X` is what was held out of them, and nothing
        is hidden: the model ranks for, or predicts of, the users it was fitted on, and all of `X` is sought.

        Parameters
        ----------
        X : Interactions or matrix of shape (n, n_items)
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        float
            NDCG, between 0 and 1, and 0 where no row has two items; minus the root mean squared error of all hidden
            ratings, and NaN there.
        """
        histories = self._histories(X, type(self).__name__)
        if isinstance(X, Interactions) and X.is_part:
            return self._score_of_part(histories.by_user)
        visible, hidden = hide_items(histories.by_user)
        if self._predicts_ratings:
            return -self._hidden_rmse(visible, hidden)
        return self._hidden_ndcg(visible, hidden, fold_in=True)

    @staticmethod
    def hidden_parts(data: Interactions) -> tuple[Interactions, Interactions]:
        """Return what `score` tells a model of each row, and what it hides: the same of a row in any company.

        Parameters
        ----------
        data : Interactions

        Returns
        -------
        visible, hidden : Interactions
            Of the shape and ids of `data`; rows of fewer than two items are visible.
        """
        _, hidden = hide_items(data.by_user)
        is_hidden = data.by_user.entries_in(hidden)
        return data.keep_entries(~is_hidden), data.keep_entries(is_hidden)

    def _score_of_part(self, held_out: CSR) -> float:
        """The score on events that were held out of the fitted users, or on those that the model was fitted on."""
        known = self.interactions_.by_user
        if held_out.shape != known.shape:
            raise ValueError(
                f"{type(self).__name__}.score: events held out of {held_out.n_rows} users, and the model was fitted on "
                f"{known.n_rows}; give both parts of one split"
            )
        if self._predicts_ratings:
            return -self._hidden_rmse(None, held_out)
        is_new = ~held_out.entries_in(known)
        if not is_new.any():  # a score of train: nothing would be left if what is known were left out
            return self._hidden_ndcg(None, held_out, fold_in=False)
        return self._hidden_ndcg(known, held_out.keep(is_new), fold_in=False)

    def _hidden_rmse(self, visible: CSR | None, hidden: CSR) -> float:
        """Root mean squared error of the hidden ratings, of users folded in from `visible` or of the fitted ones."""
        total = 0.0
        for rows in _row_blocks(hidden):
            asked = hidden.take_rows(rows)
            users, items = asked.row_numbers().astype(np.int64), asked.indices.astype(np.int64)
            if visible is None:
                estimates = self._predicted_ratings(None, users + rows.start, items)
            else:
                estimates = self._predicted_ratings(visible.take_rows(rows), users, items)
            total += float(np.square(estimates - asked.values).sum())
        return float(np.sqrt(total / hidden.nnz)) if hidden.nnz else float("nan")

    def _hidden_ndcg(self, visible: CSR | None, hidden: CSR, *, fold_in: bool) -> float:
        """Mean NDCG@10 over the rows with hidden items, of users folded in from `visible` or of the fitted ones."""
        rows = np.flatnonzero(hidden.row_counts())
        if rows.size == 0:
            return 0.0
        seen, relevant = None if visible is None else visible.take_rows(rows), hidden.take_rows(rows)
        ids, _ = self._top_k(visible if fold_in else None, rows, _SCORE_K, seen, None, None, type(self).__name__)
        return mean_ndcg(self._backend(), ids, relevant, _SCORE_K)

    # ------------------------------------------------------------------ files

    @staticmethod
    def _checked(
        array: npt.NDArray[Any], shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32
    ) -> npt.NDArray[Any]:
        """`array` of a file, if it has this shape and dtype and is finite."""
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError("a learned number is not finite")
        return array

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file: safetensors with a JSON header, never pickle.

        Parameters, learned arrays, ids, the interactions of `fit` (for `exclude_seen`, `explain` and `partial_fit`) and
        an index travel together. The file appears under its name only when it is whole. A `random_state` that is a
        generator is saved as None.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OSError
            If the file cannot be written.
        """
        self._check_is_fitted()
        data = self.interactions_
        arrays: dict[str, npt.NDArray[Any]] = {f"model.{name}": array for name, array in self._state().items()}
        arrays |= {f"interactions.{name}": array for name, array in data.by_user.to_state().items()}
        for side, ids in (("users", data.user_map), ("items", data.item_map)):
            arrays |= {f"{side}.{name}": np.atleast_1d(array) for name, array in ids.to_state().items()}
        index, index_arrays = self._index_state()
        arrays |= {f"index.{name}": array for name, array in index_arrays.items()}
        parameters = {name: _plain_parameter(value) for name, value in self.get_params(deep=False).items()}
        header = {
            "class": type(self).__name__,
            "parameters": parameters,
            "user_kind": data.user_map.kind,
            "item_kind": data.item_map.kind,
            "duplicates": data.duplicates,
            "index": index,
        }
        write_model_file(path, header, arrays)

    @classmethod
    def _from_file(cls, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Recommender:
        model = cls(**header["parameters"])
        model._check_parameters()
        sides = []
        for side, kind in (("users", header["user_kind"]), ("items", header["item_kind"])):
            state = _under(arrays, side)
            if kind == "row":
                state = {name: array.reshape(()) for name, array in state.items()}
            sides.append(IdMap.from_state(kind, state, subject="load"))
        by_user = CSR.from_state(_under(arrays, "interactions"), subject="load")
        if by_user.shape != (len(sides[0]), len(sides[1])):
            raise ValueError("ids and interactions disagree")
        model._set_interactions(Interactions(by_user, sides[0], sides[1], duplicates=header["duplicates"]))
        model._set_state(_under(arrays, "model"))
        if header.get("index") is not None:
            model._set_index_state(header["index"], _under(arrays, "index"))
        return model


class VectorRecommender(Recommender):
    """A model whose score is the inner product of a user's and an item's vector.

    A vector of zeros says that nothing is known. Its scores are 0, without biases of items, which ranks above what is
    known to fit badly: such a user therefore gets nothing, and nobody gets such an item unasked.

    Attributes
    ----------
    index_ : ApproximateIndex
        After `build_index`: what `recommend` searches.
    """

    index_: ApproximateIndex

    @abstractmethod
    def _user_vectors(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        """Vectors of the fitted users in `rows`, or of users folded in from those rows of `histories`."""

    @abstractmethod
    def _item_vectors(self) -> Float32Array:
        """Vectors of every item; shape (n_items, d)."""

    @abstractmethod
    def _blank_items(self) -> Int64Array:
        """Rows of the items whose vector is zero, in rising order; asked for in every ranking."""

    def build_index(
        self: VectorSelf,
        *,
        library: str | None = None,
        m: int = 16,
        ef_construction: int = 128,
        ef_search: int = 64,
    ) -> VectorSelf:
        """Build an `ApproximateIndex` over the item vectors, which `recommend` searches from then on.

        It pays where few users at a time are asked for over a large catalogue; measure it with ``model.index_.recall``.
        What `recommend` leaves out, it still leaves out, and scores stay what they are; some of the best items may be
        missed. Everything else ranks exactly as before: `predict`, `similar_items`, `score`, `evaluate`. `save` and
        `load` keep the index; `fit` and `partial_fit` drop it, for they change the vectors, and `clone` does too.

        Parameters
        ----------
        library : {"usearch", "faiss", "hnswlib"}, default=None
            None is the first of them that is installed.
        m, ef_construction, ef_search : int
            Links of a vector, and the candidates that are kept while one is linked and while a user is searched for; as
            `ApproximateIndex` has them.

        Returns
        -------
        self
            With the index as `index_`, in place of one that was there.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ImportError
            If the library, or for None all of them, are not installed.
        ValueError
            If a parameter is out of range.
        RuntimeError
            In a callback of `fit`, which has the vectors still to change.
        """
        self._check_is_fitted()
        if hasattr(self, "_is_fitting"):
            raise RuntimeError("build_index: the vectors will change until fit has returned; build the index then")
        self.index_ = ApproximateIndex(
            self._backend().to_numpy(self._indexed_vectors()),
            library=library,
            m=m,
            ef_construction=ef_construction,
            ef_search=ef_search,
            n_jobs=getattr(self, "n_jobs", None),
            verbose=getattr(self, "verbose", False),
        )
        return self

    def _item_biases(self) -> Float32Array | None:
        """What is added to every score of each item; None is nothing."""
        return None

    def _indexed_vectors(self) -> Float32Array:
        """What an index is built over: a row an item, its bias at the end."""
        vectors, biases = self._item_vectors(), self._item_biases()
        return vectors if biases is None else np.column_stack([vectors, biases])

    def _index_queries(self, vectors: Float32Array) -> Float32Array:
        """Vectors of users for an index: the product with those of `_indexed_vectors` is the score."""
        if self._item_biases() is None:
            return vectors
        return np.column_stack([vectors, np.ones(len(vectors), np.float32)])

    def drop_index(self: VectorSelf) -> VectorSelf:
        """Forget the index, if there is one: `recommend` is exact again.

        Returns
        -------
        self
        """
        self.__dict__.pop("index_", None)
        return self

    def _checked_index(self) -> ApproximateIndex | None:
        index: ApproximateIndex | None = self.__dict__.get("index_")
        if index is not None and len(index) != self.n_items_:
            raise ValueError(
                f"{type(self).__name__}: index_ must have a vector for each of the {self.n_items_} items, got "
                f"{len(index)}; build_index makes a new one"
            )
        return index

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
        index = None if exactly else self._checked_index()
        vectors, verbose = self._user_vectors(histories, rows), getattr(self, "verbose", False)
        if allow is None and (blank := self._blank_items()).size:
            deny = blank if deny is None else np.concatenate([blank, deny])
        if index is not None:
            ids, scores = index.search(self._index_queries(vectors), k, exclude, deny, allow, verbose=verbose)
        else:
            ids, scores = top_k(
                self._backend(),
                vectors,
                self._item_vectors(),
                k,
                exclude,
                deny,
                allow,
                bias=self._item_biases(),
                verbose=verbose,
                subject=subject,
            )
        _leave_empty(zero_rows(vectors), ids, scores)
        return ids, scores

    def _index_state(self) -> tuple[dict[str, Any] | None, dict[str, npt.NDArray[Any]]]:
        index = self._checked_index()
        return (None, {}) if index is None else index._to_state()

    def _set_index_state(self, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        try:
            self.index_ = ApproximateIndex._from_state(
                header, arrays, self._indexed_vectors(), getattr(self, "n_jobs", None)
            )
        except ImportError as error:
            # Without its index the model ranks the better for it, if more slowly.
            warnings.warn(f"load: the model comes without its index and is exact ({error})", stacklevel=4)

    def _scores(self, histories: CSR | None, rows: Int64Array) -> Float32Array:
        backend = self._backend()
        vectors = self._user_vectors(histories, rows)
        out: Float32Array = backend.empty((rows.size, self.n_items_))
        backend.kernels.multiply_transposed(backend.context, vectors, self._item_vectors(), out)
        if (biases := self._item_biases()) is not None:
            out += biases
            out[zero_rows(vectors)] = 0
        out[:, self._blank_items()] = -np.inf
        return out

    def _pair_scores(self, users: Int64Array, items: Int64Array) -> Float32Array:
        vectors = self._user_vectors(None, users)
        scores = np.einsum("nd,nd->n", vectors, self._item_vectors()[items], dtype=np.float32)
        if (biases := self._item_biases()) is not None:
            scores += biases[items] * vectors.any(axis=1)
        return cast(Float32Array, scores)

    def similar_items(self, items: Any, k: int = 10) -> SimilarItems:
        """Items whose vectors have the greatest cosine with those of `items`, which are left out themselves.

        An item of which nothing is known, its vector being zero, is like no other: its slots are empty, and it is in
        nobody's.

        Parameters
        ----------
        items : id or array-like of ids
        k : int, default=10

        Returns
        -------
        SimilarItems
            ``items`` and ``scores`` (cosines) of shape (n, k), or (k,) for one id.
        """
        self._check_is_fitted()
        rows = self.interactions_.item_index(items, "similar_items")
        ids, scores = self._nearest(self._item_vectors(), rows, k, "similar_items")
        labels, queries = self.interactions_.item_labels(ids), self.interactions_.item_labels(rows)
        if is_single(items):
            return SimilarItems(queries[0], labels[0], scores[0])
        return SimilarItems(queries, labels, scores)

    def similar_users(self, users: Any, k: int = 10) -> SimilarUsers:
        """Users whose vectors have the greatest cosine with those of `users`; as `similar_items`."""
        self._check_is_fitted()
        rows = self.interactions_.user_index(users, "similar_users")
        ids, scores = self._nearest(self._user_vectors(None, np.arange(self.n_users_)), rows, k, "similar_users")
        labels, queries = self.interactions_.user_labels(ids), self.interactions_.user_labels(rows)
        if is_single(users):
            return SimilarUsers(queries[0], labels[0], scores[0])
        return SimilarUsers(queries, labels, scores)

    def _nearest(
        self, vectors: Float32Array, rows: Int64Array, k: int, subject: str
    ) -> tuple[Int32Array, Float32Array]:
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        itself = CSR(
            np.arange(rows.size + 1), rows.astype(np.int32), np.ones(rows.size, np.float32), (rows.size, len(vectors))
        )
        ids, scores = top_k(
            self._backend(),
            vectors[rows],
            vectors,
            k,
            itself,
            np.flatnonzero(lengths == 0),
            scale=scale,
            unit=True,
            subject=subject,
        )
        _leave_empty(np.flatnonzero(lengths[rows] == 0), ids, scores)
        return ids, scores


def load(path: str | os.PathLike[str]) -> Recommender:
    """Read a model that `Recommender.save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is truncated, damaged, of a newer format or not ours; nothing is half-loaded.

    Examples
    --------
    >>> import os, tempfile, numpy as np, likewise as lw
    >>> model = lw.Popularity().fit(np.eye(3))
    >>> path = os.path.join(tempfile.mkdtemp(), "popularity.safetensors")
    >>> model.save(path)
    >>> lw.load(path)
    Popularity()
    """
    header, arrays = read_model_file(path)
    name = header.get("class")
    if name in INDEXES:
        raise ModelFileError(f"load: the file holds an index, no model; likewise.retrieval.{name}.load reads it")
    model_class = Recommender._registry.get(name) if isinstance(name, str) else None
    if model_class is None:
        raise ModelFileError(f"load: this version of likewise has no model {name!r}; upgrade it")
    try:
        return model_class._from_file(header, arrays)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"load: the file of this {name} is damaged ({error})") from error


def entry_positions(whole: CSR, part: CSR, columns: Int64Array) -> Int64Array:
    """Where in `whole` the entries of `part` stand, whose rows are alike and whose column j is `columns[j]` there."""
    n = whole.n_cols
    places = whole.row_numbers().astype(np.int64) * n + whole.indices  # rising
    wanted = part.row_numbers().astype(np.int64) * n + columns[part.indices]
    found: Int64Array = np.searchsorted(places, wanted)
    return found


def zero_rows(vectors: Float32Array) -> Int64Array:
    """Rows of `vectors` that hold nothing but zeros, in rising order."""
    rows = np.flatnonzero(vectors[:, 0] == 0)  # few, and the rest is not read
    return rows[~vectors[rows].any(axis=1)] if rows.size else rows


def _leave_empty(rows: Int64Array, ids: Int32Array, scores: Float32Array) -> None:
    ids[rows], scores[rows] = -1, -np.inf


def _without_times(data: Interactions) -> Interactions:
    return replace(data, timestamps=None, timestamp_unit=None, log=None)


def hide_items(matrix: CSR) -> tuple[CSR, CSR]:
    """Split each row of two or more entries into a visible and a hidden part.

    Which entries are hidden depends on the seed and on the row's own items alone, so that a row is split in the same
    way whatever rows stand beside it.
    """
    counts = matrix.row_counts()
    n_hidden = np.where(counts >= 2, np.maximum(1, (counts * _HIDDEN_SHARE).astype(np.int64)), 0)
    is_hidden = np.empty(matrix.nnz, dtype=bool)
    for rows in _row_blocks(matrix):  # the temporaries of some rows at a time, not of all entries
        places = slice(matrix.indptr[rows.start], matrix.indptr[rows.stop])
        is_hidden[places] = _ranks(matrix.take_rows(rows)) < np.repeat(n_hidden[rows], counts[rows])
    offsets = np.zeros(matrix.n_rows + 1, dtype=np.int64)
    np.cumsum(n_hidden, out=offsets[1:])
    hidden = CSR(offsets, matrix.indices[is_hidden], matrix.values[is_hidden], matrix.shape)
    is_visible = ~is_hidden
    return CSR(matrix.indptr - offsets, matrix.indices[is_visible], matrix.values[is_visible], matrix.shape), hidden


def _row_blocks(matrix: CSR) -> Iterator[slice]:
    """Runs of rows that hold some entries each; a row that holds more by itself."""
    first = 0
    while first < matrix.n_rows:
        end = int(np.searchsorted(matrix.indptr, matrix.indptr[first] + _BLOCK_ENTRIES, side="right")) - 1
        yield slice(first, max(first + 1, end))
        first = max(first + 1, end)


def _ranks(matrix: CSR) -> Int64Array:
    """Place of each entry in the order of its row's entries by a number made of its item and the row's set of items."""
    items = matrix.indices.astype(np.uint64)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(items + np.uint64(_SCORE_SEED)))])
    keys = sums[matrix.indptr[1:]] - sums[matrix.indptr[:-1]]  # modulo 2**64, whatever stands before the row
    counts = matrix.row_counts()
    order = np.lexsort((_mixed(np.repeat(keys, counts) ^ _mixed(items)), matrix.row_numbers()))
    ranks = np.empty(matrix.nnz, dtype=np.int64)
    ranks[order] = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    return ranks


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit words (the finalizer of SplitMix64, Steele et al. 2014, doi:10.1145/2714064.2660195)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: npt.NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return scrambled


def is_single(ids: Any) -> bool:
    """Whether `ids` is one id: a string, or what cannot be iterated over."""
    if isinstance(ids, str) or getattr(ids, "ndim", None) == 0:
        return True
    return not isinstance(ids, Iterable) and not hasattr(type(ids), "columns")  # not every frame can be iterated over


def _under(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    start = len(prefix) + 1
    return {name[start:]: array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def _plain_parameter(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    return None  # a generator: its state is of no use to a fitted model
