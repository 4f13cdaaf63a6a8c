"""The benches of ranking losses: what they check, and the rows they keep."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench import bench_fm, bench_ranking_sgd, bench_stream, harness, run


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_check_refuses_vectors_that_order_nothing() -> None:
    problem = bench_ranking_sgd.Problem("synth-20k", "bpr", 16, 1)
    model = bench_ranking_sgd.Likewise(problem)
    users, items, biases = model.factors()
    with pytest.raises(AssertionError, match="of the pairs are in order"):
        problem.check((users, items, biases))
    for _ in range(10):
        assert model.epoch() > 0
    facts = problem.check(model.factors())
    assert facts["pairs_in_order"] > 0.6
    assert facts["n_samples"] == problem.matrix.nnz


@pytest.mark.parametrize("name", [name for name in bench_ranking_sgd.CONTESTANTS if name != "likewise"])
def test_peers_learn(name: str) -> None:
    loss = bench_ranking_sgd.CONTESTANTS[name].losses[0]
    if name == "buffalo":
        if "LIKEWISE_BUFFALO_PYTHON" not in os.environ:
            pytest.skip("LIKEWISE_BUFFALO_PYTHON names no interpreter with buffalo")
    else:
        pytest.importorskip(name, reason=f"{name} is not installed")
    problem = bench_ranking_sgd.Problem("synth-20k", loss, 16, 1)
    model = bench_ranking_sgd.CONTESTANTS[name](problem)
    for _ in range(20 if name == "implicit" else 5):
        assert model.epoch() > 0
    users, items, biases = model.factors()
    assert users.shape[1] == items.shape[1]
    assert biases.shape == (problem.matrix.shape[1],)
    assert np.isfinite(users).all()


def test_runner_keeps_rows_of_each_loss(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "ranking-sgd --dataset synth-20k --factors 16 --threads 1 --contestants likewise"
    assert run.main(arguments.split()) == 0
    rows = harness.read_rows(results / "ranking_sgd.jsonl")
    assert [(row["contestant"], row["dataset"]) for row in rows] == [
        ("likewise", "synth-20k, bpr"),
        ("likewise", "synth-20k, warp"),
    ]
    assert "ranking_sgd" in capsys.readouterr().out


@pytest.mark.parametrize("name", bench_fm.CONTESTANTS)
def test_machines_learn(name: str) -> None:
    if name != "likewise":
        pytest.importorskip(name, reason=f"{name} is not installed")
    problem = bench_fm.TaggedProblem("movietweetings-genres", "warp", 16, 1)
    assert problem.tags is not None
    assert problem.tags.shape[0] == problem.matrix.shape[1]
    model = bench_fm.CONTESTANTS[name](problem)
    for _ in range(3):
        assert model.epoch() > 0
    assert problem.check(model.factors())["pairs_in_order"] > 0.8


def test_runner_keeps_rows_of_machines(results: Path) -> None:
    arguments = "fm --dataset movietweetings-genres --factors 16 --threads 1 --loss bpr --contestants likewise"
    assert run.main(arguments.split()) == 0
    (row,) = harness.read_rows(results / "fm.jsonl")
    assert row["dataset"] == "movietweetings-genres, bpr"
    assert row["gbs"] > 0


def test_stream_keeps_its_ranking(results: Path) -> None:
    problem = bench_stream.Problem(n_users=300, n_items=200, events=12_000, batch=500, factors=8, threads=1)
    users, items, held = problem.parts
    assert users.size == items.size == 12_000
    assert held.multiply(problem.matrix(users, items)).nnz == 0
    streamed, refit = bench_stream.run_stream(problem, run="now")
    assert streamed["n_events"] * 5 == 6_000
    assert streamed["ndcg"] > 0.8 * refit["ndcg"] > 0
