"""The runner: from a command to kept rows, and what it does without data or peers."""

from __future__ import annotations

from pathlib import Path

import pytest

import likewise as lw
from bench import datasets, harness, report, run


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
    assert "als_epoch: synth-20k, k = 12, 1 thread" in printed
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


def test_quality_chooses_on_validation_and_tries_one_setting_on_test(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = lw.model_selection.random_split(datasets.load("synth-20k"), 0.2, random_state=0)
    fitted, validation = lw.model_selection.random_split(train, 0.1, random_state=0)
    split = datasets.Split(fitted, validation, train, test)
    monkeypatch.setattr(datasets, "load_csr", lambda name: None)
    monkeypatch.setattr(datasets, "load_split", lambda name: split)
    command = "quality --factors 4 --regularization .01 1e6 --iterations 1 3 --threads 1"
    assert run.main(command.split()) == 0
    rows = harness.read_rows(results / "quality.jsonl")
    assert [(row["part"], row["regularization"], row["iterations"]) for row in rows[:4]] == [
        ("validation", 0.01, 1),
        ("validation", 0.01, 3),
        ("validation", 1e6, 1),
        ("validation", 1e6, 3),
    ]
    (chosen,) = rows[4:]
    best = max(rows[:4], key=lambda row: row["ndcg@20"])
    assert chosen["part"] == "test"
    assert (chosen["regularization"], chosen["iterations"]) == (best["regularization"], best["iterations"])
    model = lw.ImplicitALS(
        4, best["regularization"], 0.01, 0.01, 0.75, best["iterations"], "cg", random_state=0, n_jobs=1
    ).fit(train)
    assert chosen["ndcg@20"] == round(lw.evaluate(model, train, test, "ndcg@20")["ndcg@20"], 5)
    assert f"| gowalla | 4 | {best['regularization']} |" in capsys.readouterr().out


def test_gowalla_is_split_into_its_parts() -> None:
    try:
        parts = datasets.load_split("gowalla")
    except datasets.DatasetUnavailableError as error:
        pytest.skip(str(error))
    assert [part.nnz for part in parts] == [719_081, 91_047, 810_128, 217_242]
    assert {part.shape for part in parts} == {(29_858, 40_981)}


def test_report_writes_the_page_and_the_table_of_readme(results: Path, tmp_path: Path) -> None:
    page, readme = tmp_path / "docs" / "page.md", tmp_path / "README.md"
    readme.write_text("<!-- bench-table -->\n<!-- /bench-table -->\n")
    assert run.main(["report", "--out", str(page), "--readme", str(readme)]) == 0
    assert page.read_text() == report.markdown(results)
    assert readme.read_text() == f"<!-- bench-table -->\n{report.summary(results)}\n<!-- /bench-table -->\n"
