"""The runner: from a command to kept rows, and what it does without data or peers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import harness, report, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_als_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("implicit", reason="implicit is not installed")
    command = "als --dataset synth-20k --factors 8 12 --solvers --peers implicit --threads 1"
    assert run.main(command.split()) == 0
    rows = harness.read_rows(results / "als_epoch.jsonl")
    assert [(row["contestant"], row["k"]) for row in rows] == [
        ("implicit CG-3", 8),
        ("implicit Cholesky", 8),
        ("implicit CG-3", 12),
        ("implicit Cholesky", 12),
    ]
    assert len({row["run"] for row in rows}) == 1
    assert all(len(row["samples"]) == 5 and row["epochs"] == 6 and 0 < row["loss"] < 1 for row in rows)
    printed = capsys.readouterr().out
    assert "als_epoch: synth-20k, k = 12, 1 threads" in printed
    assert "implicit Cholesky" in printed


def test_rows_can_be_declined(results: Path) -> None:
    assert run.main(["roof", "--threads", "1", "--size", "64", "--mebibytes", "4", "--repeats", "5", "--no-keep"]) == 0
    assert not results.exists()


def test_roof_measures_every_ceiling(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["roof", "--threads", "1", "2", "--size", "64", "--mebibytes", "4", "--repeats", "5"]) == 0
    rows = harness.read_rows(results / "roof.jsonl")
    names = {row["contestant"] for row in rows}
    assert {"matmul_fp32", "read", "copy", "gather"} <= names
    assert {(row["contestant"], row["threads"]) for row in rows} == {(name, n) for name in names for n in (1, 2)}
    assert all((row["gflops"] is None) != (row["gbs"] is None) for row in rows)
    assert harness.ceiling("gather", 2) == rows[-1]["gbs"]
    assert ("matmul_bf16" in names) != ("torch is not installed" in capsys.readouterr().out)


def test_an_absent_dataset_is_named(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIKEWISE_DATA", str(tmp_path))
    monkeypatch.setattr(run.datasets, "load_csr", run.datasets.load_csr.__wrapped__)
    assert run.main(["als", "--dataset", "gowalla", "--solvers", "--peers"]) == 1
    assert "gowalla is left out: load_csr: gowalla needs" in capsys.readouterr().err
    assert not results.exists()


def test_a_peer_that_cannot_take_part_is_named() -> None:
    pytest.importorskip("cmfrec", reason="cmfrec is not installed")
    command = "als --dataset synth-20k --factors 8 --solvers --peers cmfrec --alpha 1 --threads 1 --no-keep"
    with pytest.warns(UserWarning, match="cmfrec CG-3 is left out: cmfrec's CG reaches this objective only"):
        assert run.main(command.split()) == 0


def test_report_writes_the_page_and_the_table_of_readme(results: Path, tmp_path: Path) -> None:
    page, readme = tmp_path / "docs" / "page.md", tmp_path / "README.md"
    readme.write_text("<!-- bench-table -->\n<!-- /bench-table -->\n")
    assert run.main(["report", "--out", str(page), "--readme", str(readme)]) == 0
    assert page.read_text() == report.markdown(results)
    assert readme.read_text() == f"<!-- bench-table -->\n{report.summary(results)}\n<!-- /bench-table -->\n"
