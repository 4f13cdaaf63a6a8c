"""The checks of bench_topk and bench_metrics turn wrong answers down."""

from __future__ import annotations

import numpy as np
import pytest

from bench import bench_metrics, bench_topk, harness
from likewise._backend import get_backend


@pytest.mark.parametrize("n_seen", [0, 30])
def test_topk_check_takes_right_answers_only(n_seen: int) -> None:
    problem = bench_topk.Problem.make(40, 300, 8, 5, n_seen)
    ids, scores = bench_topk.likewise(problem, 1)()
    assert problem.check((ids, scores))["checked"] == 40
    with pytest.raises(AssertionError, match="wrong scores"):
        problem.check((ids, scores + 1))
    with pytest.raises(AssertionError, match="misses one of its best"):
        problem.check((np.tile(np.arange(5), (40, 1)), scores))
    with pytest.raises(AssertionError, match="an item twice"):
        problem.check((ids[:, [0, 0, 2, 3, 4]], scores))


def test_topk_check_notices_items_that_were_seen() -> None:
    problem = bench_topk.Problem.make(40, 300, 8, 5, 100)
    everything = bench_topk.Problem(problem.queries, problem.items, problem.k, None)
    with pytest.raises(AssertionError, match="misses one of its best"):
        problem.check(bench_topk.likewise(everything, 1)())


def test_metrics_check_notices_a_wrong_value(monkeypatch: pytest.MonkeyPatch) -> None:
    case = bench_metrics.ranking_metrics_case(get_backend("cpu", 1), 100)
    case.call()
    assert case.verify("likewise") == {"n_users": 100, "n_metrics": 10}
    right = bench_metrics.ranking_metrics
    monkeypatch.setattr(bench_metrics, "ranking_metrics", lambda *arguments: right(*arguments) * 0.5)
    case.call()
    with pytest.raises(harness.CheckError, match="user 0 has a wrong"):
        case.verify("likewise")
