"""``pytest bench/``: small cases of every benchmark under pytest-benchmark, each with its answer checked."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from typing import Any

import pytest

from bench import (
    bench_als,
    bench_approximate,
    bench_explicit_als,
    bench_fm,
    bench_linear,
    bench_metrics,
    bench_nmf,
    bench_ranking_sgd,
    bench_rating_sgd,
    bench_ratings,
    bench_similarity,
    bench_slim,
    bench_svd,
    bench_topk,
    bench_topk_sparse,
    datasets,
    harness,
    memory,
    ours,
    peers,
    roof,
)
from likewise.retrieval import ApproximateIndex, ExactIndex

DATASET, FACTORS, THREADS = "synth-20k", 32, 2
CONTESTANTS = [*ours.OURS.values(), *peers.PEERS]
FOLDERS = [ours.Likewise, peers.ImplicitCG, peers.IrspackCG]

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed; install the `bench` extra")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with harness.limit_threads(THREADS, blas_threads=1):
        yield


def _started(contestant: type[peers.Contestant], threads: int = THREADS) -> Any:
    try:
        return contestant(peers.Problem(datasets.load_csr(DATASET), FACTORS, threads=threads))
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))


def _run(benchmark: Any, case: harness.Case) -> None:
    benchmark.pedantic(case.call, setup=case.setup, rounds=5, warmup_rounds=1)
    benchmark.extra_info.update(case.verify(benchmark.name))


@pytest.mark.parametrize("name", ["matmul_fp32", "matmul_bf16", "read", "copy", "gather"])
def test_roof(benchmark: Any, name: str) -> None:
    cases = roof.cases(THREADS, n=256, mebibytes=8)
    if name not in cases:
        pytest.skip("torch is not installed")
    _run(benchmark, cases[name])


@pytest.mark.parametrize("solver", ["cholesky", "cg", "block"])
def test_als_half_sweep(benchmark: Any, solver: str) -> None:
    from likewise._backend import get_backend

    _run(benchmark, bench_als.als_half_sweep(get_backend("cpu", THREADS), DATASET, FACTORS, solver))


@pytest.mark.parametrize("contestant", CONTESTANTS, ids=lambda cls: cls.name)
def test_als_epoch(benchmark: Any, contestant: type[peers.Contestant]) -> None:
    """Includes each library's set-up, unlike the rows that the runner keeps."""
    _run(benchmark, bench_als.epoch_case(_started(contestant)))


@pytest.mark.parametrize("contestant", FOLDERS, ids=lambda cls: cls.name)
def test_fold_in(benchmark: Any, contestant: type[peers.FoldsIn]) -> None:
    users = bench_als.new_users(datasets.load_csr(DATASET), 50, 20)
    _run(benchmark, bench_als.fold_in_case(_started(contestant), users))


@pytest.mark.parametrize("contestant", [*FOLDERS, ours.LikewiseSession], ids=lambda cls: cls.name)
def test_fold_in_one(benchmark: Any, contestant: type[peers.FoldsIn]) -> None:
    users = bench_als.new_users(datasets.load_csr(DATASET), 50, 20)
    _run(benchmark, bench_als.fold_in_one_case(_started(contestant, threads=1), users))


@pytest.mark.parametrize("n_seen", [0, 20])
@pytest.mark.parametrize("contestant", bench_topk.CONTESTANTS)
def test_topk(benchmark: Any, contestant: str, n_seen: int) -> None:
    problem = bench_topk.Problem.make(100, 2000, FACTORS, 10, n_seen)
    try:
        case = bench_topk.topk_case(contestant, problem, THREADS)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("library", [None, *bench_approximate.LIBRARIES])
def test_approximate(benchmark: Any, library: str | None) -> None:
    problem = bench_topk.Problem.make(100, 2000, FACTORS, 10, 20)
    exact = ExactIndex(problem.items, n_jobs=THREADS)
    if library is None:
        _run(benchmark, bench_approximate.exact_case(problem, exact, 100))
        return
    pytest.importorskip(library, reason=f"{library} is not installed")
    index = ApproximateIndex(problem.items, library=library, n_jobs=THREADS)
    best = exact.search(problem.queries, problem.k, problem.seen)
    _run(benchmark, bench_approximate.approximate_case(problem, index, 64, 100, best, {}))


@pytest.mark.parametrize(
    ("contestant", "loss"),
    [(name, loss) for name, cls in bench_ranking_sgd.CONTESTANTS.items() for loss in cls.losses],
)
def test_ranking_sgd(benchmark: Any, contestant: str, loss: str) -> None:
    problem = bench_ranking_sgd.Problem(DATASET, loss, FACTORS, THREADS)
    try:
        model = bench_ranking_sgd.CONTESTANTS[contestant](problem)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, bench_ranking_sgd.epoch_case(model, bench_ranking_sgd.problem_bytes(problem)))


@pytest.mark.parametrize("loss", ["bpr", "warp"])
@pytest.mark.parametrize("contestant", bench_fm.CONTESTANTS)
def test_fm(benchmark: Any, contestant: str, loss: str) -> None:
    problem = bench_fm.TaggedProblem(bench_fm.DATASETS[2], loss, FACTORS, THREADS)
    try:
        model = bench_fm.CONTESTANTS[contestant](problem)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, bench_ranking_sgd.epoch_case(model, bench_fm.problem_bytes(problem)))


@pytest.mark.parametrize("contestant", bench_slim.CONTESTANTS)
def test_slim(benchmark: Any, contestant: str) -> None:
    try:
        case = bench_slim.slim_case(contestant, bench_slim.Problem(DATASET, 0.005, 0.01), THREADS)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("contestant", bench_explicit_als.CONTESTANTS.values(), ids=bench_explicit_als.CONTESTANTS)
def test_explicit_als(benchmark: Any, contestant: type[bench_explicit_als.Contestant]) -> None:
    try:
        model = contestant(bench_explicit_als.Problem(DATASET, 16, 0.5, THREADS))
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, bench_explicit_als.explicit_als_case(model))


@pytest.mark.parametrize("contestant", bench_svd.CONTESTANTS)
def test_svd(benchmark: Any, contestant: str) -> None:
    _run(benchmark, bench_svd.svd_case(contestant, bench_svd.Problem(DATASET, 8), THREADS))


@pytest.mark.parametrize("contestant", bench_nmf.CONTESTANTS)
def test_nmf(benchmark: Any, contestant: str) -> None:
    try:
        case = bench_nmf.nmf_case(contestant, bench_explicit_als.Problem(DATASET, bench_nmf.FACTORS, threads=THREADS))
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("model", bench_ratings.OURS)
@pytest.mark.parametrize("contestant", bench_ratings.CONTESTANTS)
def test_ratings(benchmark: Any, contestant: str, model: str) -> None:
    try:
        case = bench_ratings.ratings_case(contestant, bench_ratings.Problem(DATASET, model), THREADS)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("model", bench_rating_sgd.MODELS)
@pytest.mark.parametrize("contestant", bench_rating_sgd.CONTESTANTS)
def test_rating_sgd(benchmark: Any, contestant: str, model: str) -> None:
    try:
        case = bench_rating_sgd.rating_sgd_case(contestant, bench_rating_sgd.Problem(DATASET, 16, model), THREADS)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("contestant", bench_topk_sparse.CONTESTANTS)
def test_topk_sparse(benchmark: Any, contestant: str) -> None:
    problem = bench_topk_sparse.Problem.make(DATASET, 20, 10, 300, THREADS)
    try:
        case = bench_topk_sparse.topk_sparse_case(contestant, problem, THREADS)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("contestant", bench_similarity.CONTESTANTS)
def test_similarity(benchmark: Any, contestant: str) -> None:
    problem = bench_similarity.Problem.make(DATASET, 20)
    try:
        case = bench_similarity.similarity_case(contestant, problem, THREADS)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.parametrize("contestant", bench_linear.CONTESTANTS)
def test_ease(benchmark: Any, contestant: str) -> None:
    _run(benchmark, bench_linear.ease_case(contestant, bench_linear.Problem.make(DATASET, 300, 50.0), THREADS))


@pytest.mark.parametrize("contestant", bench_metrics.CONTESTANTS)
def test_evaluate(benchmark: Any, contestant: str) -> None:
    try:
        case = bench_metrics.evaluate_case(contestant, bench_metrics.Problem(DATASET, FACTORS, THREADS))
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


@pytest.mark.filterwarnings("ignore")  # of ranx's compiler
@pytest.mark.parametrize("contestant", bench_metrics.LISTS)
def test_rankings(benchmark: Any, contestant: str) -> None:
    try:
        case = bench_metrics.rankings_case(contestant, bench_metrics.Lists(500, THREADS))
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _run(benchmark, case)


def test_ranking_metrics(benchmark: Any) -> None:
    from likewise._backend import get_backend

    _run(benchmark, bench_metrics.ranking_metrics_case(get_backend("cpu", THREADS), 1000))


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("contestant", [ours.Likewise, peers.ImplicitCG], ids=lambda cls: cls.name)
def test_als_memory(contestant: type[peers.Contestant]) -> None:
    _started(contestant)
    address = f"{contestant.__module__}:{contestant.__qualname__}"
    found = memory.fit_once(address, DATASET, FACTORS, iterations=1, threads=THREADS)
    assert found["peak_rss"] >= found["rss_before"] > 0
    json.dumps(found)
