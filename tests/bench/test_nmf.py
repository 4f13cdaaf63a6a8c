"""The check of bench_nmf turns wrong vectors down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.bench_explicit_als import Problem

from bench import bench_nmf, harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize(("change", "message"), [(-1, "a number is negative"), (3, "that of the mean")])
def test_nmf_check_takes_learned_vectors_only(monkeypatch: pytest.MonkeyPatch, change: float, message: str) -> None:
    problem = Problem("synth-20k", bench_nmf.FACTORS, threads=1)
    case = bench_nmf.nmf_case("likewise", problem)
    with pytest.raises(harness.CheckError, match="nothing was fitted"):
        case.verify("likewise")
    case.call()
    assert case.verify("likewise")["rmse"] < problem.parts[0].data.std()
    x, y = bench_nmf.likewise(problem)()
    monkeypatch.setitem(bench_nmf.CONTESTANTS, "likewise", lambda _: lambda: (x * change, y))
    wrong = bench_nmf.nmf_case("likewise", problem)
    wrong.call()
    with pytest.raises(harness.CheckError, match=message):
        wrong.verify("likewise")


def test_nmf_is_not_compared_above_the_error_of_a_peer() -> None:
    bench_nmf.check_equal_errors({"likewise": 1.004, "surprise": 1.0})
    with pytest.raises(harness.CheckError, match=r"likewise: RMSE 1\.1 is above 1 of surprise"):
        bench_nmf.check_equal_errors({"likewise": 1.1, "surprise": 1.0})


def test_nmf_keeps_a_row_for_each_contestant(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("surprise", reason="scikit-surprise is not installed")
    monkeypatch.setattr(bench_nmf, "EQUAL_RMSE", 0.05)  # the starts differ, and the data are few
    assert run.main(["nmf", "--dataset", "synth-20k", "--threads", "1"]) == 0
    rows = harness.read_rows(results / "nmf.jsonl")
    assert [(row["dataset"], row["contestant"]) for row in rows] == [
        ("synth-20k", "likewise"), ("synth-20k", "surprise"),
    ]  # fmt: skip
    assert "nmf: synth-20k, k = 15, 1 thread\n" in capsys.readouterr().out
    assert "NMF: seconds" in report.summary(results)
    assert "## NMF" in report.markdown(results)
