"""The check of bench_slim turns wrong weights down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import reference
from bench import bench_slim, harness, report, run
from likewise.data import CSR


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_slim_check_takes_minima_only() -> None:
    problem = bench_slim.Problem("synth-20k", 0.02, 0.1)
    weights = bench_slim.likewise(problem, 1)()
    facts = problem.check(weights)
    assert facts["n_weights"] == weights.nnz > 0
    x = CSR.from_scipy(problem.matrix)
    expected = reference.slim_objective(x, weights.toarray(), problem.l1, problem.l2).sum()
    np.testing.assert_allclose(facts["loss"], expected)
    for wrong, message in (
        (0.9 * weights, "an update would still move a weight"),
        (0 * weights, "an update would still move a weight"),
        (-weights, "a weight is negative"),
        (weights + sp.eye_array(500), "an item has a weight to itself"),
        (weights[:, :-1], r"weights have shape \(500, 499\)"),
    ):
        with pytest.raises(AssertionError, match=message):
            problem.check(wrong)


def test_slim_peer_reaches_the_same_objective() -> None:
    pytest.importorskip("irspack", reason="irspack is not installed")
    problem = bench_slim.Problem("synth-20k", 0.05, 0.1)
    ours, theirs = (problem.check(bench_slim.CONTESTANTS[name](problem, 1)()) for name in ("likewise", "irspack"))
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-6)


def test_slim_is_not_compared_above_the_objective_of_a_peer() -> None:
    bench_slim.check_equal_objectives({"likewise": 1.0, "irspack": 1.0})
    bench_slim.check_equal_objectives({"irspack": 1.0})
    with pytest.raises(harness.CheckError, match=r"likewise: objective 1\.1 is above 1 of irspack"):
        bench_slim.check_equal_objectives({"likewise": 1.1, "irspack": 1.0})


def test_slim_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("irspack", reason="irspack is not installed")
    command = "slim --dataset synth-20k --alpha 0.05 0.02 --l1-ratio 0.01 0.1 --threads 1"
    assert run.main(command.split()) == 0
    rows = harness.read_rows(results / "slim.jsonl")
    assert [(row["dataset"], row["contestant"]) for row in rows] == [
        (f"synth-20k, {setting}", name)
        for setting in ("alpha 0.05, l1_ratio 0.01", "alpha 0.02, l1_ratio 0.1")
        for name in ("likewise", "irspack")
    ]
    assert "slim: synth-20k, alpha 0.02, l1_ratio 0.1, 1 thread\n" in capsys.readouterr().out
    assert "SLIM: seconds of a fit" in report.summary(results)
    assert "## SLIM" in report.markdown(results)
