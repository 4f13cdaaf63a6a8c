"""The check of bench_linear turns wrong weights down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import bench_linear, harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


@pytest.mark.parametrize("contestant", bench_linear.CONTESTANTS)
def test_ease_check_takes_right_weights_only(contestant: str) -> None:
    problem = bench_linear.Problem.make("synth-20k", 300, 50.0)
    weights = bench_linear.CONTESTANTS[contestant](problem, 1)()
    assert problem.check(weights)["checked"] == 20
    with pytest.raises(AssertionError, match="misses its equation"):
        problem.check(weights + np.float32(0.01) * (1 - np.eye(300, dtype=np.float32)))
    with pytest.raises(AssertionError, match="a weight to itself"):
        problem.check(weights + np.eye(300, dtype=np.float32))


def test_ease_takes_the_most_popular_items() -> None:
    whole = bench_linear.datasets.load_csr("synth-20k")
    counts = np.sort(np.bincount(whole.indices, minlength=500))[::-1]
    part = bench_linear.Problem.make("synth-20k", 40, 1.0).matrix
    assert part.shape == (whole.shape[0], 40)
    assert np.sort(np.bincount(part.indices))[::-1].tolist() == counts[:40].tolist()


def test_ease_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["ease", "--dataset", "synth-20k", "--items", "100", "--threads", "1"]) == 0
    rows = harness.read_rows(results / "ease.jsonl")
    assert [(row["dataset"], row["contestant"]) for row in rows] == [
        ("synth-20k, 100 items", "likewise"),
        ("synth-20k, 100 items", "scipy"),
    ]
    assert all(row["seconds"] > 0 and row["worst_residual"] < 1e-4 for row in rows)
    assert "ease: synth-20k, 100 items" in capsys.readouterr().out
    assert "EASE: seconds of a fit" in report.summary(results)
    assert "## EASE" in report.markdown(results)
