"""Sparse linear item-item weights by elastic nets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from likewise._backend import Backend, get_backend
from likewise._progress import ProgressBar
from likewise._space import Range, Space
from likewise._validation import check_flag, check_float, check_int
from likewise.data import CSR, Interactions

from ._sparse import ItemItemRecommender

__all__ = ["SLIM"]

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

_MAX_PENALTY = 1e30
# Weights of an item that there is room for at first where `k` sets no limit; those of the few that have more are
# computed again.
_USUAL_WEIGHTS = 4096
# Items in a call of the kernel: an interrupt comes through between two.
_BLOCK_ITEMS = 512
# Slots of weights that a call of the kernel fills: 128 MiB of ids and weights.
_BLOCK_SLOTS = 1 << 24


class SLIM(ItemItemRecommender):
    r"""Sparse linear item-item weights, an elastic net for each item [1]_.

    Column j of the weights minimizes, with :math:`w_j = 0`,

    .. math::

        \tfrac12 \lVert x_j - X w \rVert^2 + \tfrac12 \lambda_2 \lVert w \rVert^2 + \lambda_1 \lVert w \rVert_1

    with X the interactions of users x items, :math:`\lambda_1` = `l1_regularization` and :math:`\lambda_2` =
    `l2_regularization`: the item is predicted from the other items of its users. Both penalties grow with the squared
    values of X.

    scikit-learn's ``ElasticNet(alpha, l1_ratio)`` divides the loss by the number of users n: ``l1_regularization`` is
    ``n * alpha * l1_ratio`` and ``l2_regularization`` is ``n * alpha * (1 - l1_ratio)``; of irspack's
    ``SLIMRecommender(alpha, l1_ratio)`` the same holds.

    Parameters
    ----------
    l1_regularization : float, default=1.0
        Penalty of the sum of the weights' magnitudes, at least 0. Where values are not negative, items i and j with a
        product :math:`x_i^T x_j` of at most this get no weight: at 1, pairs that one user alone has in common.
    l2_regularization : float, default=30.0
        Penalty of the squared weights, at least 0. At 0 with an `l1_regularization` of 0, weights between items that
        nobody tells apart are not unique.
    non_negative : bool, default=True
        Whether weights must be at least 0. Where they may be negative, an item gets weights to items that it shares no
        user with, and a small `l1_regularization` leaves few zeros: use it on small catalogues.
    k : int, default=None
        Keep of each item's column the `k` weights of greatest magnitude. None keeps all that are not 0.
    iterations : int, default=1000
        Most sweeps over the weights of an item.
    tolerance : float, default=1e-4
        An item is done once a sweep moves no weight by more than this, in units of the root mean square of the item's
        values by that of the other's: 1 for data of ones. A tenth of it is the least weight that joins. Where
        columns are nearly the same and penalties small, weights go on in small steps: lower it there.
    warm_start : bool, default=False
        Whether a second `fit` starts from the weights of the first, items found again by id: for a path of penalties
        from the greatest to the least.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    n_jobs : int, default=None
        Threads; None is every CPU at hand. The weights are bitwise the same at any number.
    verbose : bool or int, default=False
        Whether to show progress.

    Attributes
    ----------
    weights_ : CSR of shape (n_items, n_items)
        The entry (i, j) is what item i of a history adds to the score of item j, times the history's value.
    n_unconverged_ : int
        Items whose weights had not settled after `iterations` sweeps; above 0 `fit` warns.
    interactions_ : Interactions
        What the model was fitted on.
    n_users_, n_items_, n_features_in_ : int
        Their sides; ``n_features_in_`` is ``n_items_`` by scikit-learn's name.
    feature_names_in_ : ndarray of shape (n_items,), object
        Names of the columns of a data frame of users x items, where `fit` was given one.

    Warns
    -----
    ConvergenceWarning
        Of scikit-learn, from `fit`, where an item has not converged.

    References
    ----------
    .. [1] X. Ning, G. Karypis, SLIM: sparse linear methods for top-N recommender systems, ICDM 2011,
       doi:10.1109/ICDM.2011.134
    .. [2] J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for generalized linear models via coordinate
       descent, Journal of Statistical Software 33 (2010), doi:10.18637/jss.v033.i01

    Examples
    --------
    >>> import numpy as np, likewise as lw
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))
    >>> X[0, 0] = 0
    >>> model = lw.SLIM(l1_regularization=0.1, l2_regularization=1).fit(X)
    >>> int(model.recommend(0, k=1).items[0])
    0
    """

    n_unconverged_: int

    _search_space: ClassVar[Space] = {
        "l1_regularization": Range(0.1, 20.0, log=True),
        "l2_regularization": Range(1.0, 1000.0, log=True),
    }

    def __init__(
        self,
        l1_regularization: float = 1.0,
        l2_regularization: float = 30.0,
        *,
        non_negative: bool = True,
        k: int | None = None,
        iterations: int = 1000,
        tolerance: float = 1e-4,
        warm_start: bool = False,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.l1_regularization = l1_regularization
        self.l2_regularization = l2_regularization
        self.non_negative = non_negative
        self.k = k
        self.iterations = iterations
        self.tolerance = tolerance
        self.warm_start = warm_start
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_float(name, "l1_regularization", self.l1_regularization, minimum=0, maximum=_MAX_PENALTY)
        check_float(name, "l2_regularization", self.l2_regularization, minimum=0, maximum=_MAX_PENALTY)
        check_flag(name, "non_negative", self.non_negative)
        if self.k is not None:
            check_int(name, "k", self.k, minimum=1)
        check_int(name, "iterations", self.iterations, minimum=1, maximum=2**31 - 1)
        check_float(name, "tolerance", self.tolerance, minimum=0, maximum=1)
        check_flag(name, "warm_start", self.warm_start)

    def _fit(self, data: Interactions, previous: Interactions | None) -> None:
        name, n_items = type(self).__name__, data.n_items
        start = self._start(data, previous)
        solver = _Solver(self, get_backend(self.device, self.n_jobs, name), data)
        room = min(n_items, _USUAL_WEIGHTS if self.k is None else self.k)
        n_block = max(1, min(_BLOCK_ITEMS, _BLOCK_SLOTS // room))
        blocks = ProgressBar(
            range(0, n_items, n_block), verbose=self.verbose, description=name, unit="items", total=n_items,
            size=lambda first: min(n_block, n_items - first),
        )  # fmt: skip
        counts, ids, values, n_unconverged = [], [], [], 0
        for first in blocks:
            targets = np.arange(first, min(first + n_block, n_items), dtype=np.int32)
            found = solver.solve(targets, room, start)
            if self.k is None and (more := np.flatnonzero(found.n_found > found.counts)).size:
                found.replace(more, solver.solve(targets[more], int(found.n_found[more].max()), start))
            counts.append(found.counts)
            ids += found.ids
            values += found.values
            n_unconverged += found.n_unconverged
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts), dtype=np.int64)])
        by_target = CSR(offsets, np.concatenate(ids), np.concatenate(values), (n_items, n_items))
        del ids, values
        self.weights_, self.n_unconverged_ = by_target.transpose(), n_unconverged
        if n_unconverged:
            warnings.warn(
                f"{name}: the weights of {n_unconverged} of {n_items} items have not settled after {self.iterations} "
                "sweeps; raise iterations, tolerance or l2_regularization",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _start(self, data: Interactions, previous: Interactions | None) -> CSR | None:
        """Weights to start from, a row for each target; those of items in both fits."""
        if not self.warm_start or previous is None or previous.item_map.kind != data.item_map.kind:
            return None
        rows = data.item_map.find(previous.item_map.labels, type(self).__name__, "item")
        known = self.weights_.to_scipy().tocoo()
        sources, targets = rows[known.row], rows[known.col]
        both = (sources >= 0) & (targets >= 0)
        order = np.lexsort((sources[both], targets[both]))
        counts = np.bincount(targets[both], minlength=data.n_items)
        return CSR(
            np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
            sources[both][order].astype(np.int32),
            known.data[both][order],
            (data.n_items, data.n_items),
        )

    def _state(self) -> dict[str, npt.NDArray[Any]]:
        return {**super()._state(), "n_unconverged": np.array([self.n_unconverged_], dtype=np.int64)}

    def _set_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super()._set_state(arrays)
        self.n_unconverged_ = int(arrays["n_unconverged"][0])


@dataclass
class _Found:
    """Weights of some targets, those of neighbouring ones in one array."""

    counts: Int32Array
    n_found: Int32Array
    ids: list[Int32Array]
    values: list[Float32Array]
    n_unconverged: int

    def replace(self, places: npt.NDArray[np.int64], other: _Found) -> None:
        """Take the weights of the targets at rising `places` from `other`."""
        ends, other_ends = np.cumsum(self.counts), np.cumsum(other.counts)
        for name in ("ids", "values"):
            own, others = np.concatenate(getattr(self, name)), np.concatenate(getattr(other, name))
            parts, begin = [], 0
            for i, place in enumerate(places):
                parts.append(own[begin : ends[place] - self.counts[place]])
                parts.append(others[other_ends[i] - other.counts[i] : other_ends[i]])
                begin = ends[place]
            setattr(self, name, [*parts, own[begin:]])
        self.counts[places] = other.counts


class _Solver:
    """The kernel with what all targets share."""

    def __init__(self, model: SLIM, backend: Backend, data: Interactions) -> None:
        self._backend = backend
        self._slim = backend.kernels.slim  # first, so that a device without it says so
        self._objective = backend.kernels.SlimObjective(
            model.l1_regularization, model.l2_regularization, model.non_negative, model.iterations, model.tolerance
        )
        self._by_user, self._by_item = backend.csr(data.by_user), backend.csr(data.by_item)

    def solve(self, targets: Int32Array, room: int, start: CSR | None) -> _Found:
        """Weights of `targets`, at most `room` each, from the rows of `start` that they name."""
        backend, n = self._backend, targets.size
        ids, values = backend.empty((n, room), np.int32), backend.empty((n, room))
        counts, n_found = backend.empty((n,), np.int32), backend.empty((n,), np.int32)
        n_unconverged = self._slim(
            backend.context,
            self._by_user,
            self._by_item,
            None if start is None else backend.csr(start.take_rows(targets)),
            backend.asarray(targets, np.int32),
            self._objective,
            ids,
            values,
            counts,
            n_found,
        )
        sizes = backend.to_numpy(counts)
        is_filled = np.arange(room) < sizes[:, np.newaxis]
        return _Found(
            sizes,
            backend.to_numpy(n_found),
            [backend.to_numpy(ids)[is_filled]],
            [backend.to_numpy(values)[is_filled]],
            int(n_unconverged),
        )
