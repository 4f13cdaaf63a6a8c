"""The check of bench_explicit_als turns wrong models down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.bench_explicit_als import Likewise, Problem

from bench import bench_explicit_als, harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_explicit_als_check_takes_a_learned_model_only() -> None:
    problem = Problem("synth-20k", 8, 0.1, threads=1)
    model = Likewise(problem)
    assert model.time_iteration() != 0
    rmse = model.check()["rmse"]
    held_out = problem.parts[1].tocoo()
    estimates = np.clip(model.estimates(held_out.row, held_out.col), 0, 10)
    assert rmse == pytest.approx(np.sqrt(np.mean((estimates - held_out.data) ** 2)))
    model._model.item_biases_ += 3
    with pytest.raises(AssertionError, match=r"the error is .*, that of the mean"):
        model.check()


def test_explicit_als_is_not_compared_above_the_error_of_a_peer() -> None:
    bench_explicit_als.check_equal_errors({"likewise cg": 1.004, "cmfrec CG-3": 1.0})
    with pytest.raises(harness.CheckError, match=r"likewise: RMSE 1\.1 is above 1 of cmfrec CG-3"):
        bench_explicit_als.check_equal_errors({"likewise cg": 1.1, "cmfrec CG-3": 1.0})


def test_ratio_names_each_peer() -> None:
    rows = [
        {"contestant": "likewise cg", "seconds": 1.0, "share_of_ceiling": 0.5},
        {"contestant": "cmfrec CG-3", "seconds": 3.0, "share_of_ceiling": 0.2},
    ]
    assert bench_explicit_als.ratio(rows) == "likewise: 50% of the gather ceiling; 3.00 times as fast as cmfrec CG-3"
    assert bench_explicit_als.ratio(rows[1:]) == "likewise was not measured"
    assert "no ceiling measured here" in bench_explicit_als.ratio([rows[0] | {"share_of_ceiling": None}])


def test_explicit_als_keeps_a_row_for_each_contestant(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Differences of fits of so few ratings may be lost in the noise.
    monkeypatch.setattr(bench_explicit_als.Contestant, "time_iteration", _seconds_of_a_fit)
    arguments = ["--dataset", "synth-20k", "--threads", "1", "--factors", "8", "--regularization", "0.1"]
    assert run.main(["explicit-als", *arguments, "--contestants", "likewise cg"]) == 0
    (row,) = harness.read_rows(results / "explicit_als.jsonl")
    assert (row["dataset"], row["contestant"], row["k"], row["epochs"]) == ("synth-20k", "likewise cg", 8, 6)
    assert "likewise: no ceiling measured here" in capsys.readouterr().out
    assert "Explicit ALS: seconds" in report.summary(results)
    assert "## Explicit ALS" in report.markdown(results)


def _seconds_of_a_fit(contestant: bench_explicit_als.Contestant) -> float:
    contestant._model = contestant.fit(6)
    return 1.0
