"""bench_approximate: its rows, and what its checks turn down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import bench_approximate, bench_topk, datasets, harness, report, run
from likewise.retrieval import ApproximateIndex, ExactIndex

pytest.importorskip("usearch", reason="usearch is not installed")


@pytest.fixture
def problem() -> bench_topk.Problem:
    return bench_topk.Problem.make(30, 2000, 8, 5, 20)


def test_rows_have_the_recall_of_what_was_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    command = (
        "approximate --dataset synth-20k --items 2000 --factors 8 --queries 50 --top 5 --libraries usearch "
        "--ef-search 1 64 --m 4 --threads 1"
    )
    assert run.main(command.split()) == 0
    rows = harness.read_rows(tmp_path / "results" / "approximate.jsonl")
    names = ["likewise", "likewise on usearch, ef 1", "likewise on usearch, ef 64"]
    assert [row["contestant"] for row in rows] == names * 2
    assert {row["dataset"] for row in rows} == {
        "normal 50 x 2000, top 5",
        "synth-20k factors 50 x 500, top 5, without what was seen",
    }
    exact, cheap, thorough = rows[:3]
    assert exact["recall"] == 1
    assert cheap["recall"] < thorough["recall"] <= 1
    assert cheap["build_seconds"] > 0
    assert cheap["version"].startswith("usearch ")
    assert run.main([*command.split(), "--dataset", "--batch", "1"]) == 0
    assert harness.read_rows(tmp_path / "results" / "approximate.jsonl")[-1]["dataset"] == (
        "normal 50 x 2000, top 5, 1 a call"
    )
    assert "recall" in capsys.readouterr().out
    assert "## Approximate top-k" in report.markdown(tmp_path / "results")


def test_a_library_that_is_not_installed_is_named(problem: bench_topk.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("no faiss here")

    monkeypatch.setattr(bench_approximate, "ApproximateIndex", refuse)
    with pytest.warns(UserWarning, match="faiss is left out: no faiss here"):
        rows = bench_approximate.run_approximate(
            "normal", lambda: problem, ["faiss"], [16], threads=1, repeats=5, run="now"
        )
    assert [row["contestant"] for row in rows] == ["likewise"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda problem, ids, scores: (ids, scores + 1), "wrong scores"),
        (lambda problem, ids, scores: (ids[:, [0, 0, 1, 2, 3]], scores), "an item twice"),
        (
            lambda problem, ids, scores: (
                problem.seen.indices.reshape(30, 20)[:, :5],
                np.einsum("nd,nkd->nk", problem.queries, problem.items[problem.seen.indices.reshape(30, 20)[:, :5]]),
            ),
            "has seen",
        ),
    ],
    ids=["scores", "twice", "seen"],
)
def test_check_turns_wrong_answers_down(problem, spoil, message, monkeypatch):  # type: ignore[no-untyped-def]
    index = ApproximateIndex(problem.items, library="usearch")
    best = ExactIndex(problem.items).search(problem.queries, problem.k, problem.seen)
    case = bench_approximate.approximate_case(problem, index, 64, 30, best, {})
    case.call()
    assert case.verify("usearch")["recall"] > 0.8
    spoiled = spoil(problem, *index.search(problem.queries, problem.k, problem.seen))
    monkeypatch.setattr(index, "search", lambda *_: spoiled)
    case.call()
    with pytest.raises(harness.CheckError, match=message):
        case.verify("usearch")


def test_recall_counts_results_as_good_as_the_exact_ones() -> None:
    best = np.array([[0, 1], [2, 3]]), np.array([[5.0, 4.0], [3.0, 2.0]])
    found = np.array([[1, 7], [2, 9]]), np.array([[4.0, 4.0], [3.0, 1.0]])
    assert bench_approximate.recall(found, best) == 0.75


def test_factors_come_with_what_their_users_have_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    made = bench_approximate.factor_problem("synth-20k", 40, 4, 5, 1)
    assert made.seen is not None
    assert made.seen.shape == (40, len(made.items)) == (40, datasets.load_csr("synth-20k").shape[1])
    assert made.items.any(axis=1).all()
