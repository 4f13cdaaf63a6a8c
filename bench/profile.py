"""Where the time of an epoch goes: samples of Linux's perf, by function of the extension."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import likewise as lw
from bench import datasets, harness
from likewise import _core

_EPOCHS = 3
_HERTZ = 997
_LEAST_SHARE = 0.005  # functions with less are summed up
# What a worker's loop inlines is counted to the kernel it works for.
_MICRO_KERNEL = re.compile(r"simd::Micro<.*?>::(?:\w+::)*(\w+)")
_KERNEL = re.compile(r"likewise::(?:cpu|simd)::(?:\(anonymous namespace\)::)*((?:\w+::)*\w+)")


class ProfileUnavailableError(RuntimeError):
    """Nothing can be sampled here; the message says what is missing."""


def function_name(symbol: str) -> str:
    """The name of a micro-kernel or a kernel's function, without namespaces and parameters."""
    for pattern in (_MICRO_KERNEL, _KERNEL):
        if found := pattern.search(symbol):
            return found[1]
    return "other"


def shares(report: str) -> dict[str, float]:
    """Shares by function, largest first, from ``perf report`` lines of the form ``12.34%  [.] symbol``."""
    totals: dict[str, float] = {}
    for line in report.splitlines():
        if found := re.match(r"\s*([\d.]+)%\s+\[[.k]\]\s+(.*)", line):
            name = function_name(found[2])
            totals[name] = totals.get(name, 0.0) + float(found[1])
    if set(totals) <= {"other"}:
        raise ProfileUnavailableError(
            "profile: the extension has no symbols; build it with the CMake variable CMAKE_STRIP=/bin/true"
        )
    everything = sum(totals.values())
    named = {name: value / everything for name, value in totals.items() if name != "other"}
    large = {name: value for name, value in named.items() if value >= _LEAST_SHARE}
    ordered = dict(sorted(large.items(), key=lambda pair: -pair[1]))
    return {name: round(value, 3) for name, value in (ordered | {"other": 1 - sum(ordered.values())}).items()}


def run_profile(dataset: str, factors: int, solver: str, *, threads: int, run: str) -> list[dict[str, Any]]:
    """Sample some epochs of `likewise.ImplicitALS` after the first; one row."""
    if shutil.which("perf") is None:
        raise ProfileUnavailableError("profile: Linux's perf is not installed")
    matrix = datasets.load_csr(dataset)
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder, "perf.data"))
        record = ["perf", "record", "--quiet", "-F", str(_HERTZ), "-o", data, "-p", str(os.getpid())]
        sampler: subprocess.Popen[bytes] | None = None
        started = 0.0

        def watch(_model: lw.ImplicitALS, iteration: int, _loss: float | None) -> None:
            nonlocal sampler, started
            if iteration == 1:
                sampler = subprocess.Popen(record, stderr=subprocess.DEVNULL)
                time.sleep(1)  # perf has to attach to the process first
                started = time.perf_counter()

        model = lw.ImplicitALS(
            factors, 0.01, 2.0, iterations=1 + _EPOCHS, solver=solver, random_state=0, n_jobs=threads, callbacks=watch
        )
        try:
            model.fit(matrix)
            seconds = (time.perf_counter() - started) / _EPOCHS
        finally:
            if sampler is not None:
                sampler.send_signal(signal.SIGINT)
                sampler.wait()
        read = ["perf", "report", "--stdio", "--no-children", "-F", "overhead,sym", "-i", data]
        report = subprocess.run(
            [*read, "--dsos", Path(_core.__file__).name], capture_output=True, text=True, check=True
        ).stdout
    row: dict[str, Any] = {
        "bench": "als_profile",
        "contestant": "likewise",
        "version": lw.__version__,
        "dataset": dataset,
        "k": factors,
        "threads": threads,
        "solver": solver,
        "seconds": seconds,
        "functions": shares(report),
        **harness.provenance(run, harness.isa()),
    }
    return [row]
