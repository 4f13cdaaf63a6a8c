"""The check of bench_ratings turns wrong predictions down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import bench_ratings, harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("model", bench_ratings.OURS)
def test_ratings_check_takes_predictions_only(model: str) -> None:
    problem = bench_ratings.Problem("synth-20k", model)
    estimates = bench_ratings.likewise(problem, 1)()
    ratings = problem.asked[2]
    assert problem.check(estimates)["rmse"] == pytest.approx(np.sqrt(np.mean((estimates - ratings) ** 2)))
    assert set(np.unique(ratings)) <= set(range(11))
    for wrong in (estimates[:-1], estimates - 20, estimates + 20, np.full_like(estimates, 3.0)):
        with pytest.raises(AssertionError, match=r"predictions|lowest|highest|that of the mean"):
            problem.check(wrong)


def test_ratings_are_not_compared_above_the_error_of_a_peer() -> None:
    bench_ratings.check_equal_errors({"likewise": 1.004, "surprise": 1.0})
    bench_ratings.check_equal_errors({"surprise": 1.0})
    with pytest.raises(harness.CheckError, match=r"likewise: RMSE 1\.1 is above 1 of surprise"):
        bench_ratings.check_equal_errors({"likewise": 1.1, "surprise": 1.0})


def test_ratings_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("surprise", reason="scikit-surprise is not installed")
    assert run.main(["ratings", "--dataset", "synth-20k", "--threads", "1"]) == 0
    rows = harness.read_rows(results / "ratings.jsonl")
    assert [(row["dataset"], row["contestant"]) for row in rows] == [
        (f"synth-20k, {model}", name) for model in bench_ratings.OURS for name in ("likewise", "surprise")
    ]
    assert "ratings: synth-20k, SlopeOne, 1 thread\n" in capsys.readouterr().out
    assert "Models of ratings: seconds" in report.summary(results)
    assert "## Models of ratings" in report.markdown(results)
