"""The rules of measuring: turns, warm-up, checked answers, rows without secrets."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from bench import harness


def _case(log: list[str], name: str, **options: object) -> harness.Case:
    return harness.Case(call=lambda: log.append(name), check=lambda: log.append(f"check {name}"), **options)


def test_contestants_take_turns_and_are_checked_last() -> None:
    log: list[str] = []
    result = harness.measure({"a": _case(log, "a"), "b": _case(log, "b")}, repeats=5, warmup=2)
    assert log == ["a", "b"] * 7 + ["check a", "check b"]
    assert {name: (len(m.samples), m.warmup) for name, m in result.items()} == {"a": (5, 2), "b": (5, 2)}


def test_setup_runs_before_every_call_and_outside_the_timer() -> None:
    log: list[str] = []

    def setup() -> None:
        log.append("setup")
        time.sleep(0.02)

    case = harness.Case(call=lambda: log.append("call"), check=lambda: None, setup=setup)
    measured = harness.measure({"a": case}, warmup=0)["a"]
    assert log == ["setup", "call"] * 5
    assert max(measured.samples) < 0.02


def test_median_and_spread() -> None:
    seconds = iter([9.0, 1.0, 5.0, 2.0, 3.0, 4.0])
    case = harness.Case(call=lambda: next(seconds), check=lambda: {"loss": 0.5}, self_timed=True)
    measured = harness.measure({"a": case})["a"]
    assert measured.samples == (1.0, 5.0, 2.0, 3.0, 4.0)
    assert measured.seconds == 3.0
    assert measured.spread == pytest.approx(4 / 3)
    assert measured.facts == {"loss": 0.5}


def _fail() -> None:
    raise AssertionError("row 3 is off")


@pytest.mark.parametrize("check", [lambda: False, lambda: np.bool_(False), _fail])
def test_a_wrong_answer_is_an_error(check: object) -> None:
    case = harness.Case(call=lambda: None, check=check)
    with pytest.raises(harness.CheckError, match="mine: wrong answer"):
        harness.measure({"mine": case})


@pytest.mark.parametrize("seconds", [None, 0.0, -0.1, float("nan")])
def test_a_self_timed_call_must_give_seconds(seconds: float | None) -> None:
    case = harness.Case(call=lambda: seconds, check=lambda: None, self_timed=True)
    with pytest.raises(harness.CheckError, match="seconds as a float > 0"):
        harness.measure({"a": case})


def test_fewer_than_five_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats must be >= 5, got 4"):
        harness.measure({}, repeats=4)


def test_rows_hold_rates_shares_and_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    case = harness.Case(call=lambda: 0.5, check=lambda: {"loss": 0.25}, flops=3e9, bytes=1e9, self_timed=True)
    measurement = harness.measure({"a": case})["a"]
    roof = [
        {"contestant": "matmul_fp32", "threads": 2, "date": "2026-01-01", "gflops": 12.0, "gbs": None},
        {"contestant": "matmul_fp32", "threads": 1, "date": "2026-01-03", "gflops": 3.0, "gbs": None},
        {"contestant": "read", "threads": 2, "date": "2026-01-01", "gflops": None, "gbs": 20.0},
        {"contestant": "read", "threads": 2, "date": "2026-01-02", "gflops": None, "gbs": 4.0},
    ]
    harness.append_rows([row | {"cpu": harness.machine()["cpu"]} for row in roof], tmp_path / "roof.jsonl")
    row = harness.make_row("als", "ours", case, measurement, threads=2, run="r", dataset="synth-20k", k=8)
    assert (row["seconds"], row["gflops"], row["gbs"], row["loss"]) == (0.5, 6.0, 2.0, 0.25)
    # 6 of 12 GFLOP/s and 2 of 4 GB/s (the later row): both are half; one thread's ceiling is not used.
    assert row["share_of_ceiling"] == 0.5
    assert {"machine", "cpu", "commit", "date", "isa", "threads", "warmup", "samples"} <= row.keys()

    harness.append_rows([row, row], tmp_path / "als.jsonl")
    assert harness.read_rows(tmp_path / "als.jsonl") == [row, row]
    text = (tmp_path / "als.jsonl").read_text()
    assert platform.node() not in text
    assert str(Path(harness.__file__).parent) not in text


def test_rows_refuse_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        harness.append_rows([{"loss": float("nan")}], tmp_path / "als.jsonl")


def test_a_ceiling_of_another_cpu_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    row = {"contestant": "read", "threads": 1, "date": "2026-01-01", "gflops": None, "gbs": 20.0, "cpu": "another"}
    harness.append_rows([row], tmp_path / "roof.jsonl")
    assert harness.ceiling("read", 1) is None


def test_limit_threads_reaches_libraries_and_children_and_is_undone() -> None:
    np.ones((8, 8)) @ np.ones((8, 8))
    before = (os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("OMP_NUM_THREADS"))
    with harness.limit_threads(2, blas_threads=1):
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
        assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("1", "2")
    assert (os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("OMP_NUM_THREADS")) == before


def touch_memory(mebibytes: int) -> dict[str, object]:
    """Child of the next test: holds some memory for a moment and reports its limits."""
    np.ones(mebibytes * 2**17).sum()
    variables = {"threads": os.environ["OMP_NUM_THREADS"], "blas": os.environ["OPENBLAS_NUM_THREADS"]}
    return {"peak_rss": harness.resident_bytes(), **variables}


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from /proc")
def test_peak_memory_is_the_childs_own() -> None:
    ballast = np.ones(300 * 2**17)  # 300 MiB here, which must not show there
    peaks = {
        size: harness.run_in_subprocess("tests.bench.test_harness:touch_memory", {"mebibytes": size}, 2, 1)
        for size in (1, 150)
    }
    assert (peaks[1]["threads"], peaks[1]["blas"]) == ("2", "1")
    growth = (peaks[150]["peak_rss"] - peaks[1]["peak_rss"]) / 2**20
    assert 140 < growth < 165
    assert peaks[1]["peak_rss"] < ballast.nbytes
    json.dumps(peaks)


def test_a_child_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="test_harness:absent failed with 1"):
        harness.run_in_subprocess("tests.bench.test_harness:absent", {}, 1)
