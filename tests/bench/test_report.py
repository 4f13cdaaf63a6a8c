"""The page and the plot are made of the rows alone, and show a peer that wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import harness, report


def _row(contestant: str, seconds: float, loss: float | None = None, **other: Any) -> dict[str, Any]:
    row = {
        "bench": "als_epoch",
        "contestant": contestant,
        "version": "1",
        "dataset": "gowalla",
        "k": 64,
        "threads": 2,
        "seconds": seconds,
        "spread": 0.1,
        "samples": [seconds] * 5,
        "warmup": 1,
        "gflops": None,
        "gbs": None,
        "run": "2026-01-01T00:00:00+00:00",
        "date": "2026-01-01T00:00:00+00:00",
        "commit": "abc",
        "machine": "a machine",
        "cpu": "a cpu",
        "isa": "avx2" if contestant.startswith("likewise") else None,
    }
    return row | ({} if loss is None else {"loss": loss}) | other


def _wins(*rows: dict[str, Any]) -> list[tuple[str, str]]:
    return [(peer, what) for _, peer, what in report.lost(report.latest(rows))]


def test_a_faster_peer_and_a_lower_loss_are_shown() -> None:
    ours, exact = _row("likewise", 1.0, 0.5), _row("likewise Cholesky", 4.0, 0.4)
    assert _wins(ours, exact, _row("slow", 1.5, 0.5), _row("slow Cholesky", 5.0, 0.4)) == []
    assert _wins(ours, exact, _row("fast", 0.5, 0.6)) == [("fast", "0.5 s to 1 s of likewise")]
    # Exact solvers are held against the exact solver.
    assert _wins(ours, exact, _row("fast Cholesky", 2.0, 0.4)) == [("fast Cholesky", "2 s to 4 s of likewise Cholesky")]
    assert _wins(ours, _row("good", 1.5, 0.49)) == [("good", "loss 0.49 to 0.5 of likewise")]
    assert _wins(ours, _row("equal", 1.5, 0.49999)) == []


def test_a_peer_with_less_memory_is_shown() -> None:
    ours = _row("likewise", 1.0, bench="als_memory", peak_rss_mb=100.0)
    lean = _row("lean", 2.0, bench="als_memory", peak_rss_mb=80.0)
    assert _wins(ours, lean) == [("lean", "80.0 MB to 100.0 MB")]


def test_only_the_last_run_with_likewise_counts() -> None:
    old = {"run": "2025-01-01T00:00:00+00:00"}
    new = {"run": "2027-01-01T00:00:00+00:00"}
    rows = [_row("likewise", 9.0, **old), _row("likewise", 1.0), _row("peer", 2.0), _row("peer", 0.1, **new)]
    (group,) = report.latest(rows).values()
    assert [(row["contestant"], row["seconds"]) for row in group] == [("likewise", 1.0), ("peer", 2.0)]
    (alone,) = report.latest(rows[2:]).values()
    assert [row["seconds"] for row in alone] == [0.1]


def test_page_is_made_of_the_rows(tmp_path: Path) -> None:
    harness.append_rows([_row("likewise", 1.0, 0.5), _row("fast", 0.25, 0.5)], tmp_path / "als_epoch.jsonl")
    roof = {"contestant": "matmul_fp32", "threads": 2, "gflops": 400.0, "gbs": None, "samples": [1.0] * 7}
    harness.append_rows([_row("matmul_fp32", 1.0, bench="roof") | roof], tmp_path / "roof.jsonl")
    page = report.markdown(tmp_path)
    assert "- Implicit ALS: an epoch, gowalla, k = 64, 2 threads: fast, 0.25 s to 1 s of likewise" in page
    assert "| matmul_fp32 | 400 GFLOP/s |" in page
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert ["contestant", "version", "seconds", "spread", "× likewise", "loss"] in lines
    assert ["fast", "1", "0.25", "10 %", "0.25", "0.5"] in lines
    assert "median of 5 after a warm-up of 1" in page
    assert page == report.markdown(tmp_path)


def test_page_without_a_defeat_says_so(tmp_path: Path) -> None:
    harness.append_rows([_row("likewise", 1.0, 0.5), _row("slow", 2.0, 0.5)], tmp_path / "als_epoch.jsonl")
    assert "## Where a peer wins\n\nIn none of the comparisons below.\n" in report.markdown(tmp_path)


def test_plot_is_the_same_for_the_same_rows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    groups = report.latest([_row("likewise", 1.0), _row("peer", 2.0), _row("likewise", 3.0, k=128)])
    report.plot(groups, tmp_path / "a.svg")
    report.plot(groups, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
    with pytest.raises(ValueError, match="no rows to plot"):
        report.plot({}, tmp_path / "c.svg")


def test_summary_has_a_line_a_comparison_and_a_column_a_contestant(tmp_path: Path) -> None:
    rows = [_row("likewise", 1.0, 0.5), _row("peer", 2.0, 0.25), _row("likewise", 3.0, 0.5, k=128)]
    folded = [_row("peer", 2.0, bench="fold_in", n_users=1000)]
    harness.append_rows(rows, tmp_path / "als_epoch.jsonl")
    harness.append_rows(folded, tmp_path / "fold_in.jsonl")
    assert [line for line in report.summary(tmp_path).splitlines() if line.startswith("|")] == [
        "|  | likewise | peer |",
        "|---|---:|---:|",
        "| gowalla, k = 64, 2 threads | 1 (0.5) | 2 (0.25) |",
        "| gowalla, k = 128, 2 threads | 3 (0.5) | – |",
        "|  | peer |",
        "|---|---:|",
        "| gowalla, k = 64, 2 threads | 500 |",
    ]


def test_summary_names_every_machine_once(tmp_path: Path) -> None:
    rows = [
        _row("likewise", 1.0),
        _row("likewise", 3.0, k=128, commit="def"),
        _row("likewise", 2.0, k=256, cpu="other"),
    ]
    harness.append_rows(rows, tmp_path / "als_epoch.jsonl")
    text = report.summary(tmp_path)
    assert text.count("a cpu; a machine; likewise on avx2") == text.count("other; a machine; likewise on avx2") == 1


def test_summary_without_rows_says_how_to_measure(tmp_path: Path) -> None:
    said = "Nothing has been measured yet: `python -m bench.run --help`."
    assert report.summary(tmp_path) == said
    assert f"## Where a peer wins\n\n{said}\n" in report.markdown(tmp_path)


def test_fill_replaces_what_stands_between_the_markers() -> None:
    text = "a\n<!-- t -->\nold\n<!-- /t -->\nb\n"
    assert report.fill(text, "t", "new") == "a\n<!-- t -->\nnew\n<!-- /t -->\nb\n"
    assert report.fill(report.fill(text, "t", "new"), "t", "old") == text


@pytest.mark.parametrize("text", ["", "<!-- t -->", "<!-- /t --><!-- t -->", "<!-- t --><!-- /t --><!-- t -->"])
def test_fill_wants_each_marker_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"needs <!-- t --> and <!-- /t -->, once each and in this order"):
        report.fill(text, "t", "new")


def _searched(part: str, ndcg: float, **other: Any) -> dict[str, Any]:
    setting = {"regularization": 0.5, "unobserved_weight": 0.1, "regularization_exponent": 1.0, "iterations": 4}
    row = _row("likewise", 2.0, bench="quality", k=8, part=part) | setting | {"recall@20": ndcg / 2, "ndcg@20": ndcg}
    return {name: value for name, value in row.items() if name != "samples"} | other


def test_quality_shows_what_was_chosen_on_validation(tmp_path: Path) -> None:
    tried = [_searched("validation", 0.3, iterations=2), _searched("validation", 0.4)]
    before = {"run": "2025-01-01T00:00:00+00:00"}
    rows = [_searched("validation", 0.9, **before), _searched("test", 0.8, **before), *tried, _searched("test", 0.2)]
    line = "| gowalla | 8 | 0.5 | 0.1 | 1.0 | 4 | 2 | 0.2000 | 0.4000 | 0.1000 | 0.2000 | 2 |"
    assert report.text(rows).splitlines()[2:] == [line]
    harness.append_rows(rows, tmp_path / "quality.jsonl")
    page = report.markdown(tmp_path)
    assert "## Ranking quality: published splits" in page
    assert line in page
    assert "Nothing has been measured yet" in page  # of the comparisons


def test_profiles_stand_side_by_side(tmp_path: Path) -> None:
    def profiled(solver: str, functions: dict[str, float]) -> dict[str, Any]:
        return _row("likewise", 1.0, bench="als_profile", solver=solver, functions=functions)

    stale = profiled("cg", {"gather": 0.9, "other": 0.1})
    rows = [stale, profiled("cg", {"gather": 0.5, "other": 0.5}), profiled("cholesky", {"syrk": 0.75, "other": 0.25})]
    assert report.text(rows).splitlines() == [
        "| | gowalla, cg, k = 64, 2 threads | gowalla, cholesky, k = 64, 2 threads |",
        "|---|---:|---:|",
        "| syrk | – | 75 % |",
        "| gather | 50 % | – |",
        "| other | 50 % | 25 % |",
    ]
    harness.append_rows(rows, tmp_path / "als_profile.jsonl")
    assert report.text(rows) in report.markdown(tmp_path)
