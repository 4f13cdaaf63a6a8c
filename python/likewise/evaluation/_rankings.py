"""`evaluate_rankings`: the metrics of lists that are there already, from whatever system they came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._backend import get_backend
from likewise._validation import check_flag, check_float, check_int, check_random_state
from likewise.data import CSR, Interactions, as_interactions
from likewise.data._frames import FrameTable
from likewise.data.ids import IdMap, RowNumbers

from ._measures import Groups, ListMeasures, Values, as_features
from ._names import AUC, RATING_METRICS, parse_metrics
from ._result import EvaluationResult

__all__ = ["evaluate_rankings"]

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

_SUBJECT = "evaluate_rankings"
_BLOCK_USERS = 1 << 16


class _Lists(NamedTuple):
    """Ranked lists: for each user a row of ids, best first, and which slots are filled."""

    users: npt.NDArray[Any]
    items: npt.NDArray[Any]
    is_filled: npt.NDArray[np.bool_]


def evaluate_rankings(
    rankings: Any,
    test: Any,
    train: Any = None,
    metrics: str | Iterable[str] = ("recall@20", "ndcg@20"),
    *,
    user: str = "user",
    item: str = "item",
    rank: str | None = None,
    score: str | None = None,
    users: Any = None,
    exclude_seen: bool = True,
    item_features: Any = None,
    item_groups: Any = None,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    random_state: Any = 0,
    n_jobs: int | None = None,
) -> EvaluationResult:
    """Measure ranked lists that are there already: of another library, of a service, of a file.

    Parameters
    ----------
    rankings : Recommendations, tuple, mapping or data frame
        What `recommend` returns; users beside an array of item ids of shape (n_users, k), best first, -1 (None) in an
        empty slot; lists of item ids by user id; or a row for each user and item.
    test : Interactions, scipy sparse matrix or array, or array-like of shape (n_users, n_items)
        What is to be found. Users whom `rankings` lacks have an empty list, and users whom it lacks are passed over.
    train : as `test`, default=None
        What was known before: tells what users have seen and how popular items are. Without it nothing is seen, and
        metrics of novelty, popularity and serendipity are an error.
    metrics : str or iterable of str, default=("recall@20", "ndcg@20")
        As in `evaluate`, without ``auc`` and the metrics of ratings, which are of the scores of all items, and of
        predictions. A list shorter than k has nothing at the ranks that it lacks.
    user, item : str, default="user", "item"
        Columns of a data frame.
    rank, score : str, default=None
        Column that orders the rows of a user: rising ranks, or falling scores (ties stay as they stand). None keeps
        the order of the rows.
    users : array-like of user ids, default=None
        Whom to measure for. None is every user with a relevant item.
    exclude_seen : bool, default=True
        Whether what a user has in `train` is not relevant: in a list it is a miss.
    item_features, item_groups
        As in `evaluate`; by the items of `train`, or of `test` without it. Items that stand in lists or in `test`
        alone have no features and the group ``"(none)"``.
    n_bootstrap, confidence, random_state, n_jobs
        As in `evaluate`.

    Returns
    -------
    EvaluationResult

    Raises
    ------
    TypeError
        If `rankings` is of no such kind, or ids are of another type than those of `test`.
    ValueError
        If a user or an item of a list stands twice, a metric cannot be had of lists, an argument is out of range, or no
        user has a relevant item.
    IndexError
        If row numbers are outside the matrix.

    Examples
    --------
    >>> import likewise as lw
    >>> test = lw.Interactions.from_arrays([1, 1, 2], ["tea", "mug", "tin"])
    >>> lists = {1: ["tea", "pot"], 2: ["mug", "tin"]}
    >>> result = lw.evaluation.evaluate_rankings(lists, test, metrics=["recall@2", "mrr@2"])
    >>> result["recall@2"], result["mrr@2"]
    (0.75, 0.75)
    """
    wanted = parse_metrics(_SUBJECT, metrics)
    for metric in wanted:
        if metric.name in RATING_METRICS or str(metric) == AUC:
            raise ValueError(f"{_SUBJECT}: {metric} is not of ranked lists; evaluate has it, for a model")
    check_flag(_SUBJECT, "exclude_seen", exclude_seen)
    n_bootstrap = check_int(_SUBJECT, "n_bootstrap", n_bootstrap, minimum=0)
    confidence = check_float(_SUBJECT, "confidence", confidence, minimum=0, maximum=1, exclusive=True)
    seed = int(check_random_state(_SUBJECT, random_state).integers(2**63))
    backend = get_backend("cpu", n_jobs, _SUBJECT)
    if train is None:
        for metric in wanted:
            if metric.name in ("novelty", "popularity", "popularity_lift", "serendipity"):
                raise ValueError(f"{_SUBJECT}: {metric} needs train, which tells how popular items are")

    lists = _read(rankings, user, item, rank, score)
    sought = as_interactions(test, f"{_SUBJECT}: test", allow_negative=True)
    known = None if train is None else as_interactions(train, f"{_SUBJECT}: train", allow_negative=True)
    base = sought if known is None else known
    told, sought, rows_of_lists, ids = _together(lists, sought, known)
    n_items = told.n_items
    features = None
    if item_features is not None:
        features = _with_rows(as_features(item_features, base.n_items, _SUBJECT), n_items)
    elif any(metric.name == "diversity" for metric in wanted):
        raise ValueError(f"{_SUBJECT}: diversity needs item_features, a row for each item")
    groups = None
    if item_groups is not None:
        found = Groups.of(item_groups, base, _SUBJECT)
        groups = found.with_items(n_items)
    rows = np.flatnonzero(sought.by_user.row_counts()) if users is None else sought.user_index(users, _SUBJECT)
    greatest = float(sought.by_user.values.max(initial=0))
    measures = ListMeasures(backend, wanted, told.by_user, greatest, features=features, groups=groups, subject=_SUBJECT)
    values = Values(rows.size, measures, wanted)
    place = np.full(sought.n_users, -1, dtype=np.int64)
    place[rows_of_lists] = np.arange(rows_of_lists.size)
    for start in range(0, rows.size, _BLOCK_USERS):
        block = slice(start, start + _BLOCK_USERS)
        relevant, history = sought.by_user.take_rows(rows[block]), told.by_user.take_rows(rows[block])
        of_lists = place[rows[block]]
        batch = np.full((of_lists.size, min(measures.length(relevant), ids.shape[1])), -1, dtype=np.int32)
        batch[of_lists >= 0] = ids[of_lists[of_lists >= 0], : batch.shape[1]]
        if (lacking := measures.length(relevant) - batch.shape[1]) > 0:
            batch = np.pad(batch, ((0, 0), (0, lacking)), constant_values=-1)
        exclude = history if exclude_seen and known is not None else None
        values.put(block, measures.add(batch, relevant, exclude, history, counts_all=users is not None))
    return values.result(
        _SUBJECT,
        sought.user_labels(rows),
        {},
        keep_all=users is not None,
        missing="a relevant item in test" + (" that is not in train" if exclude_seen and known is not None else ""),
        n_bootstrap=n_bootstrap,
        confidence=confidence,
        seed=seed,
        n_jobs=n_jobs,
    )


def _read(given: Any, user: str, item: str, rank: str | None, score: str | None) -> _Lists:
    are_recommendations = all(hasattr(given, name) for name in ("users", "items", "scores"))
    if (rank is not None or score is not None) and (are_recommendations or isinstance(given, (Mapping, tuple))):
        raise ValueError(f"{_SUBJECT}: rank and score are columns of a data frame; lists are in their order already")
    if are_recommendations:
        items, scores = np.atleast_2d(given.items), np.atleast_2d(given.scores)
        return _Lists(np.atleast_1d(given.users), items, scores > -np.inf)
    if isinstance(given, tuple) and len(given) == 2:
        users, items = np.asarray(given[0]), np.asarray(given[1])
        if users.ndim != 1 or items.ndim != 2 or len(users) != len(items):
            raise ValueError(
                f"{_SUBJECT}: rankings must be users of shape (n,) beside items of shape (n, k), got shapes "
                f"{users.shape} and {items.shape}"
            )
        if items.dtype == object:
            return _Lists(users, items, np.frompyfunc(lambda one: one is not None, 1, 1)(items).astype(bool))
        return _Lists(users, items, items != -1)
    if isinstance(given, Mapping):
        for whose, row in given.items():
            if isinstance(row, str):
                raise TypeError(f"{_SUBJECT}: the list of user {whose!r} is the string {row!r}; give a list of items")
        lengths = np.array([len(row) for row in given.values()], dtype=np.int64)
        flat = [one for row in given.values() for one in row]
        return _ragged(list(given), lengths, flat)
    return _from_frame(given, user, item, rank, score)


def _from_frame(df: Any, user: str, item: str, rank: str | None, score: str | None) -> _Lists:
    table = FrameTable(df, _SUBJECT)
    if rank is not None and score is not None:
        raise ValueError(f"{_SUBJECT}: rank and score exclude each other; give one of them")
    for role, column in (("user", user), ("item", item), ("rank", rank), ("score", score)):
        if column is not None and column not in table.names:
            raise ValueError(f"{_SUBJECT}: {role} column {column!r} is not there; the columns are {table.names}")
    users, rows = IdMap.factorize(table.ids(user, "user"), _SUBJECT, "user")
    items, codes = IdMap.factorize(table.ids(item, "item"), _SUBJECT, "item")
    keys: list[npt.NDArray[Any]] = [np.arange(rows.size), rows]
    if rank is not None or score is not None:
        values = np.asarray(table.values(rank or score or ""), dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError(f"{_SUBJECT}: {rank or score} is NaN at row {int(np.argmax(np.isnan(values)))}")
        keys.insert(1, values if rank is not None else -values)
    order = np.lexsort(keys)
    return _ragged(users.labels, np.bincount(rows, minlength=len(users)), items.labels[codes[order]])


def _ragged(users: Any, lengths: Int64Array, flat: Any) -> _Lists:
    """Lists of any lengths as rows of one array."""
    width = max(1, int(lengths.max(initial=0)))
    is_filled = np.arange(width) < lengths[:, np.newaxis]
    values = np.asarray(flat)
    if values.dtype.kind not in "iu":
        values = np.empty(len(flat), dtype=object)
        values[:] = flat
    items = np.full(is_filled.shape, 0 if values.dtype != object else None, dtype=values.dtype)
    items[is_filled] = values
    labels = np.asarray(users)
    return _Lists(labels if labels.dtype.kind in "iu" else np.array(list(users), dtype=object), items, is_filled)


def _together(
    lists: _Lists, test: Interactions, train: Interactions | None
) -> tuple[Interactions, Interactions, Int64Array, Int32Array]:
    """Train and test in the users and items of all; rows of the users of lists whom they know, and those lists."""
    user_map, item_map = (test.user_map, test.item_map) if train is None else (train.user_map, train.item_map)
    if train is not None:
        if not isinstance(test.item_map, RowNumbers) and not isinstance(item_map, RowNumbers):
            item_map, _ = item_map.extend(test.item_map, _SUBJECT, "item")
        if not isinstance(test.user_map, RowNumbers) and not isinstance(user_map, RowNumbers):
            user_map, _ = user_map.extend(test.user_map, _SUBJECT, "user")
    flat = lists.items[lists.is_filled]
    if isinstance(item_map, RowNumbers):
        found = item_map.rows(flat, _SUBJECT, "item")
    else:
        theirs, codes = IdMap.factorize(flat, _SUBJECT, "item")
        item_map, rows = item_map.extend(theirs, _SUBJECT, "item")
        found = rows[codes]
    ids: Int32Array = np.full(lists.items.shape, -1, dtype=np.int32)
    # Without holes: what is filled comes first.
    ids[np.arange(lists.items.shape[1]) < lists.is_filled.sum(axis=1)[:, np.newaxis]] = found
    user_rows = user_map.find(lists.users, _SUBJECT, "user")
    _check_distinct(lists, ids, user_rows)
    is_known = user_rows >= 0
    nothing = CSR(
        np.zeros(len(user_map) + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32),
        (len(user_map), len(item_map)),
    )  # fmt: skip
    skeleton = Interactions(nothing, user_map=user_map, item_map=item_map)
    sought = test.aligned_to(skeleton, f"{_SUBJECT}: test").interactions
    told = skeleton if train is None else train.aligned_to(skeleton, f"{_SUBJECT}: train").interactions
    return told, sought, user_rows[is_known], ids[is_known]


def _check_distinct(lists: _Lists, ids: Int32Array, user_rows: Int64Array) -> None:
    rising = np.sort(ids, axis=1)
    twice = ((rising[:, 1:] == rising[:, :-1]) & (rising[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        whose = lists.users.tolist()[int(np.argmax(twice))]
        raise ValueError(f"{_SUBJECT}: an item stands twice in the list of user {whose!r}; give each once")
    known, counts = np.unique(user_rows[user_rows >= 0], return_counts=True)
    if (counts > 1).any():
        first = int(np.argmax(user_rows == known[np.argmax(counts > 1)]))
        raise ValueError(f"{_SUBJECT}: user {lists.users.tolist()[first]!r} has more than one list")


def _with_rows(features: CSR, n_rows: int) -> CSR:
    """Rows without features behind the others."""
    indptr = np.concatenate([features.indptr, np.full(n_rows - features.n_rows, features.nnz)])
    return CSR(indptr, features.indices, features.values, (n_rows, features.n_cols))
