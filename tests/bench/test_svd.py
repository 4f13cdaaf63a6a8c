"""The check of bench_svd turns wrong vectors down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import bench_svd, harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_svd_check_takes_orthonormal_vectors_only() -> None:
    problem = bench_svd.Problem("synth-20k", 8)
    vectors = bench_svd.scipy(problem, 1)()
    singular_values = np.linalg.svd(problem.matrix.toarray())[1]
    expected = (singular_values[:8] ** 2).sum() / (singular_values**2).sum()
    assert problem.check(vectors)["captured"] == pytest.approx(expected, rel=1e-4)
    for wrong in (vectors[:, :-1], vectors[:-1], 1.01 * vectors, vectors[:, [0, *range(7)]]):
        with pytest.raises(AssertionError, match="the vectors"):
            problem.check(wrong)


def test_svd_is_not_compared_where_it_captures_less() -> None:
    bench_svd.check_equal_captures({"likewise": 0.3, "scikit-learn": 0.3, "scipy": 0.4})
    bench_svd.check_equal_captures({"scikit-learn": 0.3})
    with pytest.raises(harness.CheckError, match=r"likewise: captures 0\.29, scikit-learn 0\.3"):
        bench_svd.check_equal_captures({"likewise": 0.29, "scikit-learn": 0.3})


def test_svd_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["svd", "--dataset", "synth-20k", "--factors", "8", "--threads", "1"]) == 0
    rows = harness.read_rows(results / "svd.jsonl")
    assert [row["contestant"] for row in rows] == list(bench_svd.CONTESTANTS)
    assert "svd: synth-20k, k = 8, 1 thread\n" in capsys.readouterr().out
    assert "PureSVD: seconds" in report.summary(results)
    assert "## PureSVD" in report.markdown(results)
