"""The check of bench_rating_sgd turns wrong predictions down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import bench_rating_sgd, harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("model", bench_rating_sgd.MODELS)
def test_rating_sgd_check_takes_predictions_only(model: str) -> None:
    problem = bench_rating_sgd.Problem("synth-20k", 16, model)
    fit, predict = bench_rating_sgd.likewise(problem, 1)
    estimates = np.asarray(predict(fit()))
    ratings = problem.asked[2]
    assert set(np.unique(ratings)) <= set(range(11))
    expected = np.sqrt(np.mean((estimates.clip(0, 10) - ratings) ** 2))
    assert problem.check(estimates)["rmse"] == pytest.approx(expected)
    for wrong in (estimates[:-1], estimates * np.nan, np.full_like(estimates, 3.0)):
        with pytest.raises(AssertionError, match=r"predictions|finite|that of the mean"):
            problem.check(wrong)


def test_rating_sgd_is_not_compared_above_the_error_of_a_peer() -> None:
    bench_rating_sgd.check_equal_errors({"likewise": 1.004, "surprise": 1.0})
    bench_rating_sgd.check_equal_errors({"surprise": 1.0})
    with pytest.raises(harness.CheckError, match=r"likewise: RMSE 1\.1 is above 1 of cornac"):
        bench_rating_sgd.check_equal_errors({"likewise": 1.1, "cornac": 1.0})


def test_rating_sgd_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("surprise", reason="scikit-surprise is not installed")
    command = ["rating-sgd", "--dataset", "synth-20k", "--factors", "16", "--threads", "1"]
    assert run.main([*command, "--contestants", "likewise", "surprise"]) == 0
    rows = harness.read_rows(results / "rating_sgd.jsonl")
    assert [(row["dataset"], row["contestant"]) for row in rows] == [
        (f"synth-20k, {model}", name) for model in bench_rating_sgd.MODELS for name in ("likewise", "surprise")
    ]
    for row in rows:
        assert row["ratings_per_second"] == pytest.approx(20 * 16_000 / row["seconds"], rel=0.01)
    assert "rating_sgd: synth-20k, SVDpp, k = 16, 1 thread\n" in capsys.readouterr().out
    assert "Factorizations of ratings" in report.summary(results)
    assert "## Factorizations of ratings" in report.markdown(results)
