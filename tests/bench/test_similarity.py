"""The check of bench_similarity turns wrong neighbours down, and the runner keeps a row for each contestant."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import bench_similarity, harness, report, run
from likewise.data import CSR


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_similarity_check_takes_right_neighbours_only() -> None:
    problem = bench_similarity.Problem.make("synth-20k", 7)
    found = bench_similarity.likewise(problem, 1)()
    assert problem.check(found) == {"n_items": 500, "products": problem.products, "checked": 50}
    with pytest.raises(AssertionError, match="wrong cosines"):
        problem.check(CSR(found.indptr, found.indices, found.values * 1.01, found.shape))
    with pytest.raises(AssertionError, match="too few neighbours"):
        problem.check(bench_similarity.likewise(bench_similarity.Problem.make("synth-20k", 6), 1)())
    others = CSR(found.indptr, (found.indices + 1) % 500, found.values, found.shape)
    with pytest.raises(AssertionError, match=r"misses one of its nearest|too few neighbours"):
        problem.check(others)


@pytest.mark.parametrize("contestant", ["sparse_dot_topn", "implicit"])
def test_similarity_peers_find_the_same_neighbours(contestant: str) -> None:
    pytest.importorskip(contestant, reason=f"{contestant} is not installed")
    problem = bench_similarity.Problem.make("synth-20k", 9)
    assert problem.check(bench_similarity.CONTESTANTS[contestant](problem, 1)())["checked"] == 50


def test_similarity_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("implicit", reason="implicit is not installed")
    command = "similarity --dataset synth-20k --neighbours 5 --threads 1 --contestants likewise implicit"
    assert run.main(command.split()) == 0
    rows = harness.read_rows(results / "similarity.jsonl")
    assert [(row["dataset"], row["contestant"], row["k"]) for row in rows] == [
        ("synth-20k", "likewise", 5),
        ("synth-20k", "implicit", 5),
    ]
    assert all(row["seconds"] > 0 and row["gflops"] > 0 for row in rows)
    assert "similarity: synth-20k, k = 5" in capsys.readouterr().out
    assert "Nearest neighbours of all items by cosine: seconds" in report.summary(results)
    assert "## Nearest neighbours of all items" in report.markdown(results)
