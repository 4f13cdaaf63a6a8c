"""Measure several contestants side by side, check their answers, and keep the result as rows of JSON.

Rules (they are the same for every ``bench_*.py``):

- contestants take turns, A B A B, in one process, with the same number of threads;
- a warm-up round is run first and left out; its length is written in the row;
- the figure is the median of the rounds, and every sample is kept beside it;
- a contestant whose answer does not pass its check raises `CheckError`: there is no row without a checked answer.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent / "results"
_REPOSITORY = Path(__file__).parent.parent
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class CheckError(AssertionError):
    """The answer of a contestant is wrong, so its time means nothing."""


@dataclass(frozen=True)
class Case:
    """One contestant: what to time, and how to see that it did its job.

    Parameters
    ----------
    call : callable
        What is timed. With ``self_timed`` it returns its own seconds instead, for work that cannot be split from its
        set-up.
    check : callable
        Run once after the last call. Raises `AssertionError` or returns False when the answer is wrong; a mapping that
        it returns (``{"loss": ...}``) is written into the row.
    flops : float, optional
        Floating-point operations of one call (a multiply-add counts as two).
    bytes : float, optional
        Bytes that one call must move.
    setup : callable, optional
        Run before every call, outside the timer.
    self_timed : bool, default False
        Whether ``call`` returns seconds.
    flops_ceiling, bytes_ceiling : str
        The rows of ``bench/results/roof.jsonl`` that bound ``flops`` and ``bytes``.
    """

    call: Callable[[], object]
    check: Callable[[], Mapping[str, Any] | bool | None]
    flops: float | None = None
    bytes: float | None = None
    setup: Callable[[], object] | None = None
    self_timed: bool = False
    flops_ceiling: str = "matmul_fp32"
    bytes_ceiling: str = "read"

    def time_once(self) -> float:
        """Seconds of one call, after its set-up."""
        if self.setup is not None:
            self.setup()
        start = time.perf_counter()
        own_seconds = self.call()
        elapsed = time.perf_counter() - start
        if not self.self_timed:
            return elapsed
        if not isinstance(own_seconds, float) or not own_seconds > 0:
            raise CheckError(f"Case: a self-timed call must return its seconds as a float > 0, got {own_seconds!r}")
        return own_seconds

    def verify(self, name: str) -> dict[str, Any]:
        """Facts found by ``check``; raises `CheckError` when the answer is wrong."""
        try:
            facts = self.check()
        except AssertionError as error:
            raise CheckError(f"{name}: wrong answer, so its time is not recorded: {error}") from error
        if isinstance(facts, (bool, np.bool_)) and not facts:
            raise CheckError(f"{name}: wrong answer, so its time is not recorded")
        return dict(facts) if isinstance(facts, Mapping) else {}


@dataclass(frozen=True)
class Measurement:
    """Seconds of every measured round of one contestant, and what its check found."""

    samples: tuple[float, ...]
    warmup: int
    facts: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """(maximum - minimum) / median of the samples."""
        return (max(self.samples) - min(self.samples)) / self.seconds


def measure(cases: Mapping[str, Case], *, repeats: int = 5, warmup: int = 1) -> dict[str, Measurement]:
    """Run the contestants in turn, round by round, and check each answer at the end.

    Parameters
    ----------
    cases : mapping of str to Case
        Contestants in the order of their turns.
    repeats : int, default 5
        Measured rounds, at least 5.
    warmup : int, default 1
        Rounds run first and left out.

    Returns
    -------
    dict of str to Measurement

    Raises
    ------
    ValueError
        If ``repeats`` is below 5: a median of fewer says too little.
    CheckError
        If a contestant's answer is wrong.
    """
    if repeats < 5:
        raise ValueError(f"measure: repeats must be >= 5, got {repeats}")
    if warmup < 0:
        raise ValueError(f"measure: warmup must be >= 0, got {warmup}")
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(warmup + repeats):
        for name, case in cases.items():
            samples[name].append(case.time_once())
    return {name: Measurement(tuple(samples[name][warmup:]), warmup, case.verify(name)) for name, case in cases.items()}


def rng(seed: int = 0) -> np.random.Generator:
    """The generator every benchmark draws from."""
    return np.random.default_rng(seed)


# --- threads ---------------------------------------------------------------------------------------------------------


def thread_environment(threads: int, blas_threads: int | None = None) -> dict[str, str]:
    """Environment variables that hold a new process to ``threads``, and its BLAS to ``blas_threads``."""
    limits = dict.fromkeys(_THREAD_VARIABLES, str(threads if blas_threads is None else blas_threads))
    return limits | {"OMP_NUM_THREADS": str(threads)}


@contextlib.contextmanager
def limit_threads(threads: int, blas_threads: int | None = None) -> Iterator[None]:
    """Hold OpenMP to ``threads`` and BLAS to ``blas_threads`` (default: the same) in this process, and in its children.

    The limit reaches the libraries loaded when the block is entered.
    """
    environment = thread_environment(threads, blas_threads)
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    blas = threads if blas_threads is None else blas_threads
    try:
        with threadpool_limits({"openmp": threads, "blas": blas}):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# --- the machine and the code ----------------------------------------------------------------------------------------


def isa() -> str:
    """The instruction set that likewise's kernels use here (``LIKEWISE_SIMD`` can force one)."""
    from likewise._backend import simd_in_use

    return simd_in_use()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
    name = fields.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{word} {fields[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in fields]
    return f"{name} ({', '.join(numbers)})" if numbers else name


@functools.cache
def machine() -> dict[str, Any]:
    """What the rows say about the machine; no host name, no path."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{platform.system()} {platform.machine()}, {cores} cores, {round(_memory_bytes() / 2**30)} GiB",
        "cpu": _cpu_model(),
    }


@functools.cache
def commit() -> str:
    """Short hash of the code that was measured, with ``-dirty`` when tracked files differ from it."""
    git = ["git", "-C", str(_REPOSITORY)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        # The rows that a run has just written are no change of the code.
        changes = subprocess.run(
            [
                *git,
                "status",
                "--porcelain",
                "--untracked-files=no",
                "--",
                ".",
                ":!bench/results",
                ":!docs/benchmarks.md",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


# --- rows ------------------------------------------------------------------------------------------------------------


def ceiling(name: str, threads: int) -> float | None:
    """The latest measured ceiling ``name`` of this CPU with ``threads``, in GFLOP/s or GB/s; None if never measured."""
    found = [
        row
        for row in read_rows(RESULTS / "roof.jsonl")
        if (row["contestant"], row["threads"], row["cpu"]) == (name, threads, machine()["cpu"])
    ]
    if not found:
        return None
    latest = max(found, key=lambda row: row["date"])
    return float(latest["gflops"] if latest["gflops"] is not None else latest["gbs"])


def _share(case: Case, gflops: float | None, gbs: float | None, threads: int) -> dict[str, Any]:
    """Share of the ceiling that binds: the larger of the shares of arithmetic and of traffic."""
    shares = []
    for rate, name in ((gflops, case.flops_ceiling), (gbs, case.bytes_ceiling)):
        top = None if rate is None else ceiling(name, threads)
        if rate is not None and top is not None:
            shares.append((rate / top, name))
    if not shares:
        return {"share_of_ceiling": None, "ceiling": None}
    share, name = max(shares)
    return {"share_of_ceiling": round(share, 4), "ceiling": name}


def make_row(
    bench: str,
    contestant: str,
    case: Case,
    measurement: Measurement,
    *,
    threads: int,
    run: str,
    dataset: str | None = None,
    k: int | None = None,
    isa: str | None = None,
    version: str | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """One result as a flat record. ``run`` ties together the rows that were measured side by side."""
    seconds = measurement.seconds
    gflops = None if case.flops is None else case.flops / seconds / 1e9
    gbs = None if case.bytes is None else case.bytes / seconds / 1e9
    return {
        "bench": bench,
        "contestant": contestant,
        "version": version,
        "dataset": dataset,
        "k": k,
        "threads": threads,
        "seconds": seconds,
        "spread": round(measurement.spread, 4),
        "samples": [float(f"{sample:.6g}") for sample in measurement.samples],
        "warmup": measurement.warmup,
        "gflops": None if gflops is None else round(gflops, 3),
        "gbs": None if gbs is None else round(gbs, 3),
        **(_share(case, gflops, gbs, threads) if bench != "roof" else {}),
        **measurement.facts,
        **facts,
        **provenance(run, isa),
    }


def provenance(run: str, isa: str | None = None) -> dict[str, Any]:
    """Where a row comes from: run, date, commit, machine, instruction set, Python."""
    return {
        "run": run,
        "date": now(),
        "commit": commit(),
        **machine(),
        "isa": isa,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def now() -> str:
    """The present second in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def append_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Add rows to a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, allow_nan=False) for row in rows]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; none if it does not exist."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


# --- memory ----------------------------------------------------------------------------------------------------------


def resident_bytes(field: str = "VmHWM") -> int:
    """Resident memory of this process: its peak (``VmHWM``) or the present (``VmRSS``).

    Linux only. ``getrusage`` is of no use here: a child starts with the peak of the process that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"resident_bytes: /proc/self/status has no field {field}")


def run_in_subprocess(
    function: str, arguments: Mapping[str, Any], threads: int, blas_threads: int | None = None
) -> dict[str, Any]:
    """Call ``module:function`` with ``arguments`` in a new process and return the mapping that it returns.

    Raises
    ------
    RuntimeError
        If the process fails; the message holds the end of its output.
    """
    command = [sys.executable, "-m", "bench.harness", function, json.dumps(arguments)]
    environment = os.environ | thread_environment(threads, blas_threads)
    done = subprocess.run(command, capture_output=True, text=True, cwd=_REPOSITORY, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"run_in_subprocess: {function} failed with {done.returncode}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _main(function: str, arguments: str) -> None:
    module, _, name = function.partition(":")
    print(json.dumps(getattr(importlib.import_module(module), name)(**json.loads(arguments))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
