"""The check of bench_topk_sparse turns wrong answers down, and the runner keeps a row for each contestant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bench import bench_topk_sparse, harness, report, run
from likewise.data import CSR


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and cached data of a test stay in its own folder."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_topk_sparse_check_takes_right_answers_only() -> None:
    problem = bench_topk_sparse.Problem.make("synth-20k", 30, 5, 40, 1)
    ids, scores = bench_topk_sparse.likewise(problem, 1)()
    assert problem.check((ids, scores)) == {"n_queries": 40, "products": problem.products, "top": 5, "checked": 40}
    with pytest.raises(AssertionError, match="wrong scores"):
        problem.check((ids, scores + 1))
    with pytest.raises(AssertionError, match="misses one of its best"):
        problem.check((np.tile(np.arange(5), (40, 1)), scores))
    with pytest.raises(AssertionError, match="an item twice"):
        problem.check((ids[:, [0, 0, 2, 3, 4]], scores))
    nothing_seen = CSR.from_arrays(np.zeros(41, np.int64), [], [], problem.histories.shape)
    backend = bench_topk_sparse.get_backend("cpu", 1)
    with pytest.raises(AssertionError, match="misses one of its best"):
        problem.check(bench_topk_sparse.top_k_sparse(backend, problem.histories, problem.weights, 5, nothing_seen))


def test_topk_sparse_weighs_nearest_neighbours_by_cosine() -> None:
    problem = bench_topk_sparse.Problem.make("synth-20k", 7, 5, 40, 1)
    matrix = bench_topk_sparse.datasets.load_csr("synth-20k").toarray().astype(np.float64)
    lengths = np.linalg.norm(matrix, axis=0)
    cosines = matrix.T @ matrix / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, -np.inf)
    assert problem.weights.row_counts().tolist() == [7] * 500
    for item in range(500):
        ids, values = problem.weights.row(item)
        np.testing.assert_allclose(values, cosines[item, ids], rtol=1e-5)
        np.testing.assert_allclose(np.sort(values), np.sort(cosines[item])[-7:], rtol=1e-5)


@pytest.mark.parametrize("contestant", ["scipy", "implicit"])
def test_topk_sparse_peers_find_the_same_scores_with_few_candidates(contestant: str) -> None:
    """More slots than candidates, too: a checked peer cannot hide behind its empty ones."""
    pytest.importorskip(contestant, reason=f"{contestant} is not installed")
    problem = dataclasses.replace(bench_topk_sparse.Problem.make("synth-20k", 2, 50, 60, 1), k=50)
    assert problem.check(bench_topk_sparse.CONTESTANTS[contestant](problem, 1)())["checked"] == 50


def test_topk_sparse_keeps_a_row_for_each_contestant(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("implicit", reason="implicit is not installed")
    command = "topk-sparse --dataset synth-20k --neighbours 10 --users 20 50 --threads 1"
    assert run.main(command.split()) == 0
    rows = harness.read_rows(results / "topk_sparse.jsonl")
    assert [(row["dataset"], row["contestant"], row["k"]) for row in rows] == [
        (f"synth-20k, 10 neighbours, {users}", name, 10)
        for users in ("20 users", "50 users")
        for name in ("likewise", "scipy", "implicit")
    ]
    assert all(row["queries_per_second"] > 0 and row["gbs"] > 0 for row in rows)
    assert "topk_sparse: synth-20k, 10 neighbours, 50 users, k = 10" in capsys.readouterr().out
    assert "Top-k of item-item models: queries a second" in report.summary(results)
    assert "## Top-k of item-item models" in report.markdown(results)
