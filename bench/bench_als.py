"""Implicit ALS: one half-sweep, whole epochs beside the peers, peak memory, and fold-in of new users."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from bench import datasets, harness, peers
from bench.ours import Likewise, LikewiseSession
from bench.peers import Contestant, Factors, FoldsIn, Problem
from likewise._backend import get_backend

AnyContestant = TypeVar("AnyContestant", bound=Contestant)

# --- the kernel ------------------------------------------------------------------------------------------------------


def als_half_sweep(backend: Any, dataset: str, factors: int, solver: str = "cholesky", steps: int = 3) -> harness.Case:
    """One half-sweep over the users: median seconds, GFLOP/s (a multiply-add is two flops) and gathered GB/s.

    The side held fixed stands in the eigenbasis of its Gramian, as the kernel asks. ``cg`` gathers from a copy rounded
    to bf16 and starts from zero, ``block`` does one round from zero: their rows are approximate.
    """
    data, rng = datasets.load(dataset), harness.rng()
    y = rng.standard_normal((data.shape[1], factors)).astype(np.float32)
    y = (y @ np.linalg.eigh(y.T.astype(np.float64) @ y)[1]).astype(np.float32)
    eigenvalues = np.sum(np.square(y, dtype=np.float64), axis=0).astype(np.float32)
    y, csr = backend.asarray(y), backend.csr(data.by_user)
    y_bf16 = backend.empty((data.shape[1], -(-factors // 16) * 16) if solver == "cg" else (0, 0), dtype=np.uint16)
    if solver == "cg":
        backend.kernels.round_to_bf16(backend.context, y, y_bf16)
    x, block = backend.empty((data.shape[0], factors)), min(factors, 64)
    objective = backend.kernels.AlsObjective(1.0, 1.0, 0.1, 0.0)
    method = getattr(backend.kernels.AlsSolver, solver)

    def call() -> None:
        backend.kernels.als_half_sweep(
            backend.context, csr, y, y_bf16, eigenvalues, objective, method, steps, 0.0, block, x
        )

    def check() -> dict[str, float]:
        rtol = {"cholesky": 1e-3, "cg": 0.05, "block": 0.5}[solver]
        return datasets.check_als_rows(backend.to_numpy(x), data, backend.to_numpy(y), rtol=rtol)

    return harness.Case(
        call,
        check,
        setup=lambda: x.fill(0),
        flops=half_sweep_flops(solver, data.by_user.row_counts(), factors, steps, block),
        bytes=data.nnz * ((2.0 if solver == "cg" else 4.0) * factors + 8),
        bytes_ceiling="gather",
    )


def half_sweep_flops(
    solver: str, counts: npt.NDArray[np.int64], factors: int, steps: int = 3, block: int = 64
) -> float:
    """Flops that a half-sweep over rows with `counts` entries needs; the same count for every library.

    ``cholesky`` counts the smaller of a row's system and its dual, though not all libraries know of the dual. ``cg``
    counts the passes over a row's entries only, since the dense part may be diagonal.
    """
    n_rows, nnz = np.count_nonzero(counts), float(counts.sum())
    if solver == "cholesky":
        sides = np.minimum(counts, factors).astype(np.float64)  # of the matrix that is formed and factored
        return float((counts * factors * sides + 2.0 * counts * factors + sides**3 / 3 + 3 * sides**2).sum())
    if solver == "block":
        return nnz * factors * (block + 8.0) + float(n_rows) * factors * block**2 / 3
    return 4.0 * (steps + 1) * nnz * factors


def run_half_sweeps(
    dataset: str, factors: int, solvers: Sequence[str], *, threads: int, repeats: int, run: str
) -> list[dict[str, Any]]:
    """Half-sweeps by each of ``solvers``."""
    backend = get_backend("cpu", threads)
    cases = {f"likewise {solver}": als_half_sweep(backend, dataset, factors, solver) for solver in solvers}
    with harness.limit_threads(threads):
        measured = harness.measure(cases, repeats=repeats)
    return [
        _row("als_half_sweep", Likewise, name, cases[name], measurement, dataset, factors, threads, run)
        for name, measurement in measured.items()
    ]


# --- epochs ----------------------------------------------------------------------------------------------------------


def _nothing_learned(matrix: sp.csr_matrix, alpha: float) -> float:
    """`datasets.als_loss` of factors that are all zero."""
    extra = alpha * float(matrix.data.sum(dtype=np.float64))
    return float((matrix.nnz + extra) / (matrix.shape[0] * matrix.shape[1] + extra))


def _check_learned(factors: Factors, matrix: sp.csr_matrix, regularization: float, alpha: float) -> float:
    """The loss of ``factors``; raises AssertionError unless they explain part of the data."""
    loss = datasets.als_loss(*factors, matrix, regularization=regularization, alpha=alpha)
    nothing = _nothing_learned(matrix, alpha)
    assert loss < 0.98 * nothing, f"the loss is {loss}, that of all-zero factors {nothing}"
    return loss


def epoch_case(contestant: Contestant) -> harness.Case:
    """One more epoch of ``contestant`` a call; the check is the common loss after all of them."""
    problem, solver = contestant.problem, "cholesky" if "Cholesky" in contestant.name else None
    calls = 0

    def call() -> float:
        nonlocal calls
        calls += 1
        return contestant.epoch()

    def check() -> dict[str, float]:
        loss = _check_learned(contestant.factors(), problem.matrix, problem.regularization, problem.alpha)
        return {"loss": loss, "epochs": calls, "regularization": problem.regularization, "alpha": problem.alpha}

    flops = None
    if solver is not None:
        users, items = np.diff(problem.matrix.indptr), np.bincount(problem.matrix.indices)
        flops = sum(half_sweep_flops(solver, counts, problem.factors) for counts in (users, items))
    return harness.Case(
        call,
        check,
        self_timed=True,
        flops=flops,
        bytes=2.0 * problem.matrix.nnz * (contestant.gathered_bytes * problem.factors + 8),
        bytes_ceiling="gather",
    )


def run_epochs(
    dataset: str,
    factors: int,
    contestants: Sequence[type[Contestant]],
    *,
    threads: int,
    repeats: int,
    warmup: int = 1,
    regularization: float = 0.01,
    alpha: float = 2.0,
    run: str,
) -> list[dict[str, Any]]:
    """Train all contestants side by side, an epoch each in turn; seconds an epoch and the loss at the end."""
    matrix = datasets.load_csr(dataset)
    problem = Problem(matrix, factors, regularization, alpha, threads)
    classes = {cls.name: cls for cls in contestants}
    cases = {name: epoch_case(contestant) for name, contestant in _start(contestants, problem).items()}
    with harness.limit_threads(threads):
        measured = harness.measure(cases, repeats=repeats, warmup=warmup)
    return [
        _row("als_epoch", classes[name], name, cases[name], measurement, dataset, factors, threads, run)
        for name, measurement in measured.items()
    ]


def _start(contestants: Iterable[type[AnyContestant]], problem: Problem) -> dict[str, AnyContestant]:
    """The contestants that can take part, by name; the others are named with the reason."""
    started = {}
    for cls in contestants:
        try:
            started[cls.name] = cls(problem)
        except peers.PeerUnavailableError as error:
            warnings.warn(f"{cls.name} is left out: {error}", stacklevel=3)
    return started


def _row(
    bench: str,
    library: type[Contestant],
    contestant: str,
    case: harness.Case,
    measurement: harness.Measurement,
    dataset: str,
    factors: int,
    threads: int,
    run: str,
) -> dict[str, Any]:
    return harness.make_row(
        bench,
        contestant,
        case,
        measurement,
        threads=threads,
        run=run,
        dataset=dataset,
        k=factors,
        isa=harness.isa() if issubclass(library, Likewise) else None,
        version=library.version(),
    )


# --- memory ----------------------------------------------------------------------------------------------------------


def memory_case(
    contestant: type[Contestant], dataset: str, factors: int, iterations: int, threads: int
) -> harness.Case:
    """A fit in a process of its own; its check reports the median of the peaks."""
    answers: list[dict[str, float]] = []
    arguments = {
        "contestant": f"{contestant.__module__}:{contestant.__qualname__}",
        "dataset": dataset,
        "factors": factors,
        "iterations": iterations,
        "threads": threads,
    }

    def call() -> float:
        answers.append(harness.run_in_subprocess("bench.memory:fit_once", arguments, threads, contestant.blas_threads))
        return answers[-1]["seconds"]

    def check() -> dict[str, float]:
        peak, before = (statistics.median(a[key] for a in answers) / 1e6 for key in ("peak_rss", "rss_before"))
        assert peak > before > 0, f"implausible memory: {before} MB before the fit, {peak} MB at its peak"
        return {"peak_rss_mb": round(peak, 1), "rss_before_mb": round(before, 1)}

    return harness.Case(call, check, self_timed=True)


def run_memory(
    dataset: str,
    factors: int,
    contestants: Sequence[type[Contestant]],
    *,
    threads: int,
    repeats: int,
    iterations: int = 2,
    run: str,
) -> list[dict[str, Any]]:
    """Peak memory of a fit from a scipy CSR matrix, each in a process of its own."""
    datasets.load_csr(dataset)  # generated here if it has to be, not in a process whose memory is measured
    classes = {cls.name: cls for cls in contestants}
    cases = {name: memory_case(cls, dataset, factors, iterations, threads) for name, cls in classes.items()}
    measured = harness.measure(cases, repeats=repeats, warmup=0)
    return [
        _row("als_memory", classes[name], name, cases[name], measurement, dataset, factors, threads, run)
        for name, measurement in measured.items()
    ]


# --- fold-in ---------------------------------------------------------------------------------------------------------


def new_users(matrix: sp.csr_matrix, n_users: int, n_entries: int, seed: int = 0) -> sp.csr_matrix:
    """Users with ``n_entries`` distinct items each, drawn in proportion to the items' popularity in ``matrix``."""
    rng = harness.rng(seed)
    log_weights = np.log(np.bincount(matrix.indices, minlength=matrix.shape[1]) + 1.0)
    rows = np.empty((n_users, n_entries), dtype=np.int32)
    for start in range(0, n_users, 1000):
        # The n largest of log-weights plus Gumbel noise are a draw without replacement.
        noise = rng.gumbel(size=(min(1000, n_users - start), matrix.shape[1]))
        rows[start : start + 1000] = np.argpartition(-(log_weights + noise), n_entries, axis=1)[:, :n_entries]
    rows.sort(axis=1)
    indptr = np.arange(n_users + 1, dtype=np.int32) * n_entries
    return sp.csr_matrix((np.ones(rows.size, np.float32), rows.ravel(), indptr), shape=(n_users, matrix.shape[1]))


def fold_in_case(contestant: FoldsIn, users: sp.csr_matrix) -> harness.Case:
    """Factors of all ``users`` in one call, by ``contestant`` trained for two epochs."""
    items = contestant.train(2)[1]
    prepared, found = contestant.prepare(users), np.empty(0)

    def call() -> None:
        nonlocal found
        found = contestant.transform(prepared)

    return harness.Case(call, lambda: _check_folded(found, users, contestant.problem, items))


def fold_in_one_case(contestant: FoldsIn, users: sp.csr_matrix) -> harness.Case:
    """Seconds of a call for a single user, the median over ``users``, one after the other; trained for two epochs.

    The check tells the 99th percentile of the last round too: some user waits for the slowest thing that a call does.
    """
    items = contestant.train(2)[1]
    prepared, found = [contestant.prepare(users[u]) for u in range(users.shape[0])], np.empty(0)
    times: list[float] = []

    def call() -> float:
        nonlocal found
        times.clear()
        rows = []
        for one in prepared:
            start = time.perf_counter()
            row = contestant.transform(one)
            times.append(time.perf_counter() - start)
            rows.append(np.atleast_2d(row))
        found = np.concatenate(rows)
        return statistics.median(times)

    def check() -> dict[str, float]:
        return _check_folded(found, users, contestant.problem, items) | {"p99_seconds": float(np.percentile(times, 99))}

    return harness.Case(call, check, self_timed=True)


def _check_folded(
    found: npt.NDArray[Any], users: sp.csr_matrix, problem: Problem, item_factors: npt.NDArray[Any]
) -> dict[str, float]:
    facts = {"n_users": users.shape[0], "n_entries": users.nnz}
    return facts | datasets.check_als_rows(
        found, users, item_factors, regularization=problem.regularization, alpha=problem.alpha
    )


def run_fold_in(
    dataset: str,
    factors: int,
    contestants: Sequence[type[FoldsIn]],
    *,
    threads: int,
    repeats: int,
    n_users: int = 100_000,
    n_entries: int = 20,
    regularization: float = 0.01,
    alpha: float = 2.0,
    run: str,
) -> list[dict[str, Any]]:
    """New users folded into a model: all in one call, and one at a time (on one thread) through Python."""
    matrix = datasets.load_csr(dataset)
    users = new_users(matrix, n_users, n_entries)
    rows: list[dict[str, Any]] = []
    with_sessions: list[type[FoldsIn]] = [*contestants, LikewiseSession]
    # A single user is nothing to share out: with a second thread implicit only waits for it.
    for bench, make_case, part, count, entrants in (
        ("fold_in", fold_in_case, users, threads, contestants),
        ("fold_in_one", fold_in_one_case, users[:200], 1, with_sessions),
    ):
        trained = _start(entrants, Problem(matrix, factors, regularization, alpha, count))
        cases = {name: make_case(contestant, part) for name, contestant in trained.items()}
        # One BLAS thread, as implicit asks; the others do not call BLAS here.
        with harness.limit_threads(count, blas_threads=1):
            measured = harness.measure(cases, repeats=repeats)
        rows += [
            _row(bench, type(trained[name]), name, cases[name], measurement, dataset, factors, count, run)
            for name, measurement in measured.items()
        ]
    return rows
