"""What this machine allows: the ceilings that results are held against (``bench/results/roof.jsonl``).

Matrix products by the fastest BLAS at hand, memory by NumPy's plain loops; with more than one thread, each works on a
slice of its own. Everything is checked like any other benchmark.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import harness

GATHER_WIDTH = 64  # float32 numbers a row: 256 bytes, the row of a factor matrix at k = 64
_GATHER_BLOCK = 2048  # rows written at a time: 512 KB, which stays in L2


def matmul_fp32(n: int, threads: int) -> harness.Case:
    """Product of two n × n float32 matrices by NumPy's BLAS, 2 n³ flops."""
    generator = harness.rng()
    a, b = (generator.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    out = np.empty((n, n), dtype=np.float32)

    def call() -> None:
        np.matmul(a, b, out=out)

    def check() -> None:
        _check_product(a, b, out, rtol=1e-4)

    return harness.Case(call, check, flops=2.0 * n**3)


def matmul_bf16(n: int, threads: int) -> harness.Case:
    """Product of two n × n bfloat16 matrices by torch, 2 n³ flops.

    Raises
    ------
    ModuleNotFoundError
        Without torch.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, n, generator=generator).to(torch.bfloat16) for _ in range(2))
    out = torch.empty(n, n, dtype=torch.bfloat16)

    def call() -> None:
        torch.matmul(a, b, out=out)

    def check() -> None:
        # The product is exact up to the rounding of its result to 8 bits.
        _check_product(a.float().numpy(), b.float().numpy(), out.float().numpy(), rtol=2**-7)

    return harness.Case(call, check, setup=lambda: torch.set_num_threads(threads), flops=2.0 * n**3)


def _check_product(a: npt.NDArray[Any], b: npt.NDArray[Any], out: npt.NDArray[Any], rtol: float) -> None:
    rows = harness.rng(1).choice(len(a), 8, replace=False)
    exact = a[rows].astype(np.float64) @ b.astype(np.float64)
    error = np.abs(out[rows] - exact).max() / np.abs(exact).max()
    assert error <= rtol, f"relative error {error:.1e} is above {rtol:.1e}"


def read(mebibytes: int, threads: int) -> harness.Case:
    """Sum of squares of a float32 array: one pass of loads, two flops for four bytes."""
    array = harness.rng().random((mebibytes, 2**18), dtype=np.float32)
    sums = np.zeros(threads)
    parts = np.array_split(array, threads)

    def work(thread: int) -> None:
        # By the megabyte, since float32 sums lose digits as they grow.
        sums[thread] = sum(float(np.dot(part, part)) for part in parts[thread])

    def check() -> None:
        exact = sum(float(np.sum(np.square(part, dtype=np.float64))) for part in array)
        assert abs(sums.sum() - exact) <= 1e-4 * exact, f"sum of squares is {sums.sum()}, not {exact}"

    return harness.Case(_in_parallel(work, threads), check, bytes=float(array.nbytes))


def copy(mebibytes: int, threads: int) -> harness.Case:
    """Copy of a float32 array; the bytes read and the bytes written both count."""
    source = harness.rng().random(mebibytes * 2**18, dtype=np.float32)
    target = np.zeros_like(source)
    sources, targets = np.array_split(source, threads), np.array_split(target, threads)

    def work(thread: int) -> None:
        np.copyto(targets[thread], sources[thread])

    return harness.Case(
        _in_parallel(work, threads), lambda: bool(np.array_equal(source, target)), bytes=2.0 * source.nbytes
    )


def gather(mebibytes: int, threads: int) -> harness.Case:
    """Random rows of 256 bytes out of a table, into a block that stays in cache; the bytes read count.

    ``numpy.take`` copies row by row without prefetch: what a kernel gets that does nothing for it.
    """
    generator = harness.rng()
    n_rows = mebibytes * 2**20 // (4 * GATHER_WIDTH)
    table = generator.random((n_rows, GATHER_WIDTH), dtype=np.float32)
    blocks = max(threads, n_rows // 4 // _GATHER_BLOCK)
    ids = generator.integers(0, n_rows, (blocks, _GATHER_BLOCK))
    outs = [np.empty((_GATHER_BLOCK, GATHER_WIDTH), dtype=np.float32) for _ in range(threads)]
    parts = np.array_split(ids, threads)

    def work(thread: int) -> None:
        for block in parts[thread]:
            # mode="clip" writes straight into `out`; "raise" would fill a buffer and copy it.
            np.take(table, block, axis=0, out=outs[thread], mode="clip")

    def check() -> bool:
        return all(np.array_equal(out, table[part[-1]]) for out, part in zip(outs, parts, strict=True))

    return harness.Case(_in_parallel(work, threads), check, bytes=float(ids.size * 4 * GATHER_WIDTH))


def _in_parallel(work: Callable[[int], None], threads: int) -> Callable[[], None]:
    """``work(0) … work(threads - 1)`` at once; NumPy lets go of the interpreter lock within each."""
    if threads == 1:
        return lambda: work(0)
    pool = ThreadPoolExecutor(threads)

    def call() -> None:
        list(pool.map(work, range(threads)))

    return call


def cases(threads: int, *, n: int = 4096, mebibytes: int = 1024) -> dict[str, harness.Case]:
    """Every ceiling that can be measured here; bf16 only with torch."""
    found = {"matmul_fp32": matmul_fp32(n, threads)}
    if importlib.util.find_spec("torch") is not None:
        found["matmul_bf16"] = matmul_bf16(n, threads)
    return found | {
        "read": read(mebibytes, threads),
        "copy": copy(mebibytes // 2, threads),
        "gather": gather(mebibytes, threads),
    }


def run(
    threads: tuple[int, ...] = (1, 2), *, repeats: int = 7, n: int = 4096, mebibytes: int = 1024
) -> list[dict[str, Any]]:
    """Measure the ceilings with each number of threads; the rows are returned, not yet written."""
    rows, run_id = [], harness.now()
    for count in threads:
        contestants = cases(count, n=n, mebibytes=mebibytes)
        # `read`, `copy` and `gather` bring their own threads; BLAS inside each of them must not bring more.
        blas = {name: contestants.pop(name) for name in list(contestants) if name.startswith("matmul")}
        for group, blas_threads in ((blas, count), (contestants, 1)):
            with harness.limit_threads(count, blas_threads):
                measured = harness.measure(group, repeats=repeats)
            rows += [
                harness.make_row("roof", name, group[name], m, threads=count, run=run_id)
                for name, m in measured.items()
            ]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text: one line a ceiling, one column a number of threads."""
    counts = sorted({row["threads"] for row in rows})
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    lines = [f"{'ceiling':<14}" + "".join(f"{f'{count} thread' + 's' * (count > 1):>22}" for count in counts)]
    for name in names:
        cells = []
        for count in counts:
            row = next(r for r in rows if (r["contestant"], r["threads"]) == (name, count))
            rate, unit = (row["gflops"], "GFLOP/s") if row["gflops"] is not None else (row["gbs"], "GB/s")
            cells.append(f"{rate:>14.1f} {unit:<7}")
        lines.append(f"{name:<14}" + "".join(cells))
    if "matmul_bf16" not in names:
        lines.append("matmul_bf16 was left out: torch is not installed")
    return "\n".join(lines)
