"""The runner: ``python -m bench.run <what>``; measures, prints, keeps rows in ``bench/results/``, and reports."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import datasets, harness, peers, report

DOCS = Path(__file__).parent.parent / "docs"
_LIBRARIES = ("usearch", "faiss", "hnswlib")
_OUR_SOLVERS = ("auto", "cg", "cholesky", "ials++")


def _contestants(args: argparse.Namespace) -> list[type[peers.Contestant]]:
    from bench import ours

    return [ours.OURS[solver] for solver in args.solvers] + peers.select(args.peers)


def _keep(rows: Sequence[dict[str, Any]], keep: bool) -> None:
    """Print rows as tables, and append them to the results unless that was declined."""
    print(f"\n{report.text(rows)}", flush=True)
    for bench in {row["bench"] for row in rows} if keep else ():
        harness.append_rows([row for row in rows if row["bench"] == bench], harness.RESULTS / f"{bench}.jsonl")


def _grid(
    args: argparse.Namespace,
    measure: Callable[[str, int], Sequence[dict[str, Any]]],
    load: Callable[[str], Any] = datasets.load_csr,
) -> int:
    """Measure every dataset and k in turn, keeping rows as they come; an absent dataset is named and passed over."""
    absent = 0
    for dataset in args.dataset:
        try:
            load(dataset)
        except datasets.DatasetUnavailableError as error:
            print(f"{dataset} is left out: {error}", file=sys.stderr)
            absent += 1
            continue
        for factors in args.factors:
            _keep(measure(dataset, factors), args.keep)
    return int(absent == len(args.dataset))


def _roof(args: argparse.Namespace) -> int:
    from bench import roof

    rows = roof.run(tuple(args.threads), repeats=args.repeats, n=args.size, mebibytes=args.mebibytes)
    print(roof.table(rows))
    if args.keep:
        harness.append_rows(rows, harness.RESULTS / "roof.jsonl")
    return 0


def _als(args: argparse.Namespace) -> int:
    from bench import bench_als

    run, contestants = harness.now(), _contestants(args)
    return _grid(
        args,
        lambda dataset, factors: bench_als.run_epochs(
            dataset,
            factors,
            contestants,
            threads=args.threads,
            repeats=args.repeats,
            warmup=args.warmup,
            regularization=args.regularization,
            alpha=args.alpha,
            run=run,
        ),
    )


def _memory(args: argparse.Namespace) -> int:
    from bench import bench_als

    run, contestants = harness.now(), _contestants(args)
    return _grid(
        args,
        lambda dataset, factors: bench_als.run_memory(
            dataset, factors, contestants, threads=args.threads, repeats=args.repeats, run=run
        ),
    )


def _fold_in(args: argparse.Namespace) -> int:
    from bench import bench_als, ours

    run = harness.now()
    # One of each library: all solve exactly here, whichever solver they were trained with.
    wanted = peers.select(args.peers)
    contestants: list[type[peers.FoldsIn]] = [ours.Likewise]
    contestants += [peer for peer in (peers.ImplicitCG, peers.IrspackCG) if peer in wanted]
    return _grid(
        args,
        lambda dataset, factors: bench_als.run_fold_in(
            dataset,
            factors,
            contestants,
            threads=args.threads,
            repeats=args.repeats,
            n_users=args.users,
            n_entries=args.entries,
            regularization=args.regularization,
            alpha=args.alpha,
            run=run,
        ),
    )


def _half_sweep(args: argparse.Namespace) -> int:
    from bench import bench_als

    run = harness.now()
    return _grid(
        args,
        lambda dataset, factors: bench_als.run_half_sweeps(
            dataset, factors, args.solvers, threads=args.threads, repeats=args.repeats, run=run
        ),
    )


def _profile(args: argparse.Namespace) -> int:
    from bench import profile

    run = harness.now()
    try:
        return _grid(
            args,
            lambda dataset, factors: [
                row
                for solver in args.solvers
                for row in profile.run_profile(dataset, factors, solver, threads=args.threads, run=run)
            ],
        )
    except profile.ProfileUnavailableError as error:
        print(error, file=sys.stderr)
        return 1


def _topk(args: argparse.Namespace) -> int:
    from bench import bench_topk

    run = harness.now()
    for n_queries in args.queries:
        for n_items in args.items:
            for factors in args.factors:
                rows = bench_topk.run_topk(
                    args.contestants or list(bench_topk.CONTESTANTS),
                    n_queries=n_queries,
                    n_items=n_items,
                    factors=factors,
                    k=args.top,
                    n_seen=args.seen,
                    threads=args.threads,
                    repeats=args.repeats,
                    run=run,
                )
                _keep(rows, args.keep)
    return 0


def _approximate(args: argparse.Namespace) -> int:
    from bench import bench_approximate, bench_topk

    run = harness.now()

    def measure(dataset: str, make_problem: Callable[[], bench_topk.Problem]) -> Sequence[dict[str, Any]]:
        return bench_approximate.run_approximate(
            dataset,
            make_problem,
            args.libraries,
            args.ef_search,
            m=args.m,
            ef_construction=args.ef_construction,
            batch=args.batch,
            threads=args.threads,
            repeats=args.repeats,
            run=run,
        )

    for factors in args.factors:
        for n_items in args.items:
            make_normal = functools.partial(bench_topk.Problem.make, args.queries, n_items, factors, args.top)
            _keep(measure("normal", make_normal), args.keep)

    def measure_factors(dataset: str, factors: int) -> Sequence[dict[str, Any]]:
        make_problem = functools.partial(
            bench_approximate.factor_problem, dataset, args.queries, factors, args.top, args.threads
        )
        return measure(f"{dataset} factors", make_problem)

    return _grid(args, measure_factors) if args.dataset else 0


def _topk_sparse(args: argparse.Namespace) -> int:
    from bench import bench_topk_sparse

    run = harness.now()

    def measure(dataset: str, neighbours: int) -> Sequence[dict[str, Any]]:
        rows = [
            bench_topk_sparse.run_topk_sparse(
                dataset,
                args.contestants or list(bench_topk_sparse.CONTESTANTS),
                neighbours=neighbours,
                k=args.top,
                n_users=n_users,
                threads=args.threads,
                repeats=args.repeats,
                run=run,
            )
            for n_users in args.users
        ]
        return [row for part in rows for row in part]

    return _grid(args, measure)


def _similarity(args: argparse.Namespace) -> int:
    from bench import bench_similarity

    run, contestants = harness.now(), args.contestants or list(bench_similarity.CONTESTANTS)
    return _grid(
        args,
        lambda dataset, neighbours: bench_similarity.run_similarity(
            dataset, contestants, k=neighbours, threads=args.threads, repeats=args.repeats, run=run
        ),
    )


def _ease(args: argparse.Namespace) -> int:
    from bench import bench_linear

    run, contestants = harness.now(), args.contestants or list(bench_linear.CONTESTANTS)
    return _grid(
        args,
        lambda dataset, n_items: bench_linear.run_ease(
            dataset,
            contestants,
            n_items=n_items,
            regularization=args.regularization,
            threads=args.threads,
            repeats=args.repeats,
            run=run,
        ),
    )


def _ranking_sgd(args: argparse.Namespace) -> int:
    from bench import bench_ranking_sgd

    run = harness.now()

    def measure(dataset: str, factors: int) -> Sequence[dict[str, Any]]:
        parts = [
            bench_ranking_sgd.run_ranking_sgd(
                dataset,
                factors,
                loss,
                args.contestants or list(bench_ranking_sgd.CONTESTANTS),
                threads=args.threads,
                repeats=args.repeats,
                run=run,
            )
            for loss in args.loss
        ]
        return [row for part in parts for row in part]

    return _grid(args, measure)


def _fm(args: argparse.Namespace) -> int:
    from bench import bench_fm

    run, contestants = harness.now(), args.contestants or list(bench_fm.CONTESTANTS)

    def measure(dataset: str, factors: int) -> Sequence[dict[str, Any]]:
        options: Any = {"threads": args.threads, "repeats": args.repeats, "run": run}
        parts = [bench_fm.run_fm(dataset, factors, loss, contestants, **options) for loss in args.loss]
        return [row for part in parts for row in part]

    return _grid(args, measure, bench_fm.load)


def _svd(args: argparse.Namespace) -> int:
    from bench import bench_svd

    run, contestants = harness.now(), args.contestants or list(bench_svd.CONTESTANTS)
    return _grid(
        args,
        lambda dataset, factors: bench_svd.run_svd(
            dataset, factors, contestants, threads=args.threads, repeats=args.repeats, run=run
        ),
    )


def _ratings(args: argparse.Namespace) -> int:
    from bench import bench_ratings

    run = harness.now()

    def measure(dataset: str, _: int) -> Sequence[dict[str, Any]]:
        parts = [
            bench_ratings.run_ratings(
                dataset,
                args.contestants or list(bench_ratings.CONTESTANTS),
                model=model,
                threads=args.threads,
                repeats=args.repeats,
                run=run,
            )
            for model in args.model or list(bench_ratings.OURS)
        ]
        return [row for part in parts for row in part]

    return _grid(args, measure)


def _explicit_als(args: argparse.Namespace) -> int:
    from bench import bench_explicit_als

    run = harness.now()

    def measure(dataset: str, factors: int) -> Sequence[dict[str, Any]]:
        rows = bench_explicit_als.run_explicit_als(
            dataset,
            factors,
            args.contestants or list(bench_explicit_als.CONTESTANTS),
            regularization=args.regularization,
            threads=args.threads,
            repeats=args.repeats,
            run=run,
        )
        print(f"{dataset}, k = {factors}: {bench_explicit_als.ratio(rows)}")
        return rows

    return _grid(args, measure)


def _rating_sgd(args: argparse.Namespace) -> int:
    from bench import bench_rating_sgd

    run = harness.now()

    def measure(dataset: str, factors: int) -> Sequence[dict[str, Any]]:
        parts = [
            bench_rating_sgd.run_rating_sgd(
                dataset,
                args.contestants or list(bench_rating_sgd.CONTESTANTS),
                model=model,
                factors=factors,
                threads=args.threads,
                repeats=args.repeats,
                run=run,
            )
            for model in args.model or bench_rating_sgd.MODELS
        ]
        return [row for part in parts for row in part]

    return _grid(args, measure)


def _nmf(args: argparse.Namespace) -> int:
    from bench import bench_nmf

    run = harness.now()
    return _grid(
        args,
        lambda dataset, _: bench_nmf.run_nmf(
            dataset,
            args.contestants or list(bench_nmf.CONTESTANTS),
            threads=args.threads,
            repeats=args.repeats,
            run=run,
        ),
    )


def _stream(args: argparse.Namespace) -> int:
    from bench import bench_stream

    problem = bench_stream.Problem(events=args.events, batch=args.batch, threads=args.threads)
    _keep(bench_stream.run_stream(problem, run=harness.now()), args.keep)
    return 0


def _slim(args: argparse.Namespace) -> int:
    from bench import bench_slim

    run = harness.now()

    def measure(dataset: str, _: int) -> Sequence[dict[str, Any]]:
        parts = [
            bench_slim.run_slim(
                dataset,
                args.contestants or list(bench_slim.CONTESTANTS),
                alpha=alpha,
                l1_ratio=l1_ratio,
                threads=args.threads,
                repeats=args.repeats,
                run=run,
            )
            for alpha, l1_ratio in zip(args.alpha, args.l1_ratio, strict=True)
        ]
        return [row for part in parts for row in part]

    return _grid(args, measure)


def _evaluate(args: argparse.Namespace) -> int:
    from bench import bench_metrics

    run = harness.now()
    return _grid(
        args,
        lambda dataset, factors: bench_metrics.run_evaluate(
            dataset, factors, args.contestants, threads=args.threads, repeats=args.repeats, run=run
        ),
    )


def _metrics(args: argparse.Namespace) -> int:
    from bench import bench_metrics

    for measure in (bench_metrics.run_ranking_metrics, bench_metrics.run_rankings):
        rows = measure(n_users=args.users, threads=args.threads, repeats=args.repeats, run=harness.now())
        _keep(rows, args.keep)
    return 0


def _quality(args: argparse.Namespace) -> int:
    from bench import quality

    run = harness.now()

    def search(dataset: str, factors: int) -> Sequence[dict[str, Any]]:
        settings = quality.grid(factors, args.regularization, args.weight, args.exponent)
        return quality.run_search(dataset, settings, args.iterations, threads=args.threads, run=run)

    return _grid(args, search)


def _report(args: argparse.Namespace) -> int:
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(report.markdown(harness.RESULTS), encoding="utf-8")
    readme = report.fill(args.readme.read_text(encoding="utf-8"), "bench-table", report.summary(harness.RESULTS))
    args.readme.write_text(readme, encoding="utf-8")
    print(f"wrote {args.out} and the table of {args.readme}")
    return 0


def _plot(args: argparse.Namespace) -> int:
    groups = {
        key: rows for key, rows in report.latest(report.read_all(harness.RESULTS)).items() if key.bench == args.bench
    }
    report.plot(groups, args.out)
    print(f"wrote {args.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.run", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="what")

    def command(name: str, function: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(function=function)
        return added

    def kept(added: argparse.ArgumentParser) -> None:
        added.add_argument("--no-keep", dest="keep", action="store_false", help="print rows, but do not keep them")

    def measured(added: argparse.ArgumentParser, repeats: int) -> None:
        added.add_argument("--repeats", type=int, default=repeats, help="measured rounds (default %(default)s)")
        kept(added)

    def with_model(added: argparse.ArgumentParser, known: Sequence[str], factors: Sequence[int]) -> None:
        added.add_argument("--dataset", nargs="+", default=["gowalla"], choices=known)
        added.add_argument("--factors", nargs="+", type=int, default=list(factors))
        added.add_argument("--threads", type=int, default=2)

    def on_data(added: argparse.ArgumentParser, factors: Sequence[int]) -> None:
        measured(added, 5)
        with_model(added, datasets.names(), factors)

    def against_peers(added: argparse.ArgumentParser, default: Sequence[str]) -> None:
        added.add_argument("--solvers", nargs="*", default=["auto"], choices=_OUR_SOLVERS, help="of likewise")
        added.add_argument("--peers", nargs="*", default=list(default), help="beginnings of names, as in 'irspack CG'")

    def with_objective(added: argparse.ArgumentParser) -> None:
        added.add_argument("--regularization", type=float, default=0.01)
        added.add_argument("--alpha", type=float, default=2.0, help="confidence is 1 + alpha * r")

    roof = command("roof", _roof, "ceilings of this machine: matrix products, read, copy, random gather")
    measured(roof, 7)
    roof.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    roof.add_argument("--size", type=int, default=4096, help="side of the square matrices")
    roof.add_argument("--mebibytes", type=int, default=1024, help="size of the arrays that are read and gathered from")

    als = command("als", _als, "epochs of implicit ALS, with the loss, beside the peers")
    on_data(als, (64, 128, 256))
    against_peers(als, ("implicit CG", "irspack CG", "cmfrec CG"))
    with_objective(als)
    als.add_argument("--warmup", type=int, default=1, help="epochs run first and left out of the time")

    memory = command("memory", _memory, "peak memory of a fit, each in a process of its own")
    on_data(memory, (64,))
    against_peers(memory, ("implicit CG",))

    fold_in = command("fold-in", _fold_in, "factors of new users: many in one call, and one at a time")
    on_data(fold_in, (128,))
    fold_in.add_argument("--peers", nargs="*", default=["implicit", "irspack"])
    fold_in.add_argument("--users", type=int, default=100_000)
    fold_in.add_argument("--entries", type=int, default=20)
    with_objective(fold_in)

    half_sweep = command("half-sweep", _half_sweep, "the kernel als_half_sweep alone")
    on_data(half_sweep, (64, 128, 256))
    half_sweep.add_argument("--solvers", nargs="+", default=["cholesky", "cg"], choices=("cholesky", "cg", "block"))

    profile = command("profile", _profile, "where the time of an epoch goes, by Linux's perf")
    kept(profile)
    with_model(profile, datasets.names(), (128,))
    profile.add_argument("--solvers", nargs="+", default=["cg"], choices=_OUR_SOLVERS, help="of likewise")

    topk = command("topk", _topk, "exact top-k over random vectors, beside the peers")
    measured(topk, 5)
    topk.add_argument("--queries", nargs="+", type=int, default=[1, 100, 10_000])
    topk.add_argument("--items", nargs="+", type=int, default=[27_000, 1_000_000])
    topk.add_argument("--factors", nargs="+", type=int, default=[64])
    topk.add_argument("--top", type=int, default=10, help="results a query (default %(default)s)")
    topk.add_argument("--seen", type=int, default=0, help="items that each query must not get (default %(default)s)")
    topk.add_argument("--threads", type=int, default=2)
    topk.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    approximate = command("approximate", _approximate, "approximate search at its recall, beside our exact search")
    measured(approximate, 5)
    approximate.add_argument("--dataset", nargs="*", default=["gowalla"], choices=datasets.names(), help="of factors")
    approximate.add_argument("--items", nargs="*", type=int, default=[100_000], help="normal vectors")
    approximate.add_argument("--factors", nargs="+", type=int, default=[64])
    approximate.add_argument("--queries", type=int, default=10_000)
    approximate.add_argument("--top", type=int, default=10, help="results a query (default %(default)s)")
    approximate.add_argument("--batch", type=int, help="queries a call (default: all)")
    approximate.add_argument("--libraries", nargs="+", default=list(_LIBRARIES), choices=_LIBRARIES)
    approximate.add_argument("--ef-search", nargs="+", type=int, default=[16, 64, 256])
    approximate.add_argument("--ef-construction", type=int, default=128)
    approximate.add_argument("--m", type=int, default=16)
    approximate.add_argument("--threads", type=int, default=2)

    ease = command("ease", _ease, "fits of EASE, beside a sparse product and LAPACK")
    measured(ease, 5)
    ease.add_argument("--dataset", nargs="+", default=["synth-20M"], choices=datasets.names())
    ease.add_argument("--items", dest="factors", nargs="+", type=int, default=[20_000], help="the most popular ones")
    ease.add_argument("--regularization", type=float, default=500.0)
    ease.add_argument("--threads", type=int, default=2)
    ease.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    ranking_sgd = command("ranking-sgd", _ranking_sgd, "epochs of BPR and WARP, beside other libraries")
    measured(ranking_sgd, 5)
    ranking_sgd.add_argument("--dataset", nargs="+", default=["gowalla", "synth-20M"], choices=datasets.names())
    ranking_sgd.add_argument("--factors", nargs="+", type=int, default=[64, 128])
    ranking_sgd.add_argument("--loss", nargs="+", default=["bpr", "warp"], choices=["bpr", "warp"])
    ranking_sgd.add_argument("--threads", type=int, default=2)
    ranking_sgd.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    machines = command("fm", _fm, "epochs of factorization machines on ranking losses, beside LightFM")
    measured(machines, 5)
    tagged = ("gowalla", "gowalla-tags", "movietweetings-genres")
    machines.add_argument("--dataset", nargs="+", default=list(tagged), choices=tagged)
    machines.add_argument("--factors", nargs="+", type=int, default=[64])
    machines.add_argument("--loss", nargs="+", default=["bpr", "warp"], choices=["bpr", "warp"])
    machines.add_argument("--threads", type=int, default=2)
    machines.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    stream = command("stream", _stream, "events through BPR.partial_fit, and the ranking beside that of a refit")
    kept(stream)
    stream.add_argument("--events", type=int, default=2_000_000, help="half for the fit, half for the stream")
    stream.add_argument("--batch", type=int, default=1_000)
    stream.add_argument("--threads", type=int, default=2)

    slim = command("slim", _slim, "fits of SLIM with their objective, beside irspack")
    measured(slim, 5)
    slim.add_argument("--dataset", nargs="+", default=["gowalla"], choices=datasets.names())
    slim.add_argument("--alpha", nargs="+", type=float, default=[0.05, 0.005], help="of irspack (default %(default)s)")
    slim.add_argument("--l1-ratio", nargs="+", type=float, default=[0.01, 1e-6], help="one each (default %(default)s)")
    slim.add_argument("--threads", type=int, default=2)
    slim.add_argument("--contestants", nargs="+", help="some of them (default: all)")
    slim.set_defaults(factors=[0])

    explicit_als = command("explicit-als", _explicit_als, "iterations of explicit ALS, beside cmfrec")
    measured(explicit_als, 5)
    explicit_als.add_argument("--dataset", nargs="+", default=["movietweetings", "synth-6M"], choices=datasets.names())
    explicit_als.add_argument("--factors", nargs="+", type=int, default=[64])
    explicit_als.add_argument("--regularization", type=float, default=0.05)
    explicit_als.add_argument("--threads", type=int, default=2)
    explicit_als.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    nmf = command("nmf", _nmf, "fits of NMF, beside Surprise")
    measured(nmf, 5)
    nmf.add_argument("--dataset", nargs="+", default=["movietweetings", "synth-1M"], choices=datasets.names())
    nmf.add_argument("--threads", type=int, default=1)
    nmf.add_argument("--contestants", nargs="+", help="some of them (default: all)")
    nmf.set_defaults(factors=[0])

    ratings = command("ratings", _ratings, "fits and predictions of models of ratings, beside Surprise")
    measured(ratings, 5)
    ratings.add_argument("--dataset", nargs="+", default=["movietweetings", "synth-1M"], choices=datasets.names())
    ratings.add_argument("--model", nargs="+", help="some of them, as 'SlopeOne' (default: all)")
    ratings.add_argument("--threads", type=int, default=1)
    ratings.add_argument("--contestants", nargs="+", help="some of them (default: all)")
    ratings.set_defaults(factors=[0])

    rating_sgd = command("rating-sgd", _rating_sgd, "factorizations of ratings, beside cornac and Surprise")
    measured(rating_sgd, 5)
    rating_sgd.add_argument("--dataset", nargs="+", default=["movietweetings", "synth-1M"], choices=datasets.names())
    rating_sgd.add_argument("--factors", nargs="+", type=int, default=[64])
    rating_sgd.add_argument("--model", nargs="+", help="SGDMatrixFactorization, SVDpp (default: both)")
    rating_sgd.add_argument("--threads", type=int, default=2)
    rating_sgd.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    svd = command("svd", _svd, "truncated singular value decompositions, beside scikit-learn and scipy")
    on_data(svd, (64,))
    svd.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    topk_sparse = command("topk-sparse", _topk_sparse, "top-k of item-item models, beside the peers")
    measured(topk_sparse, 5)
    topk_sparse.add_argument("--dataset", nargs="+", default=["gowalla"], choices=datasets.names())
    topk_sparse.add_argument("--neighbours", dest="factors", nargs="+", type=int, default=[100], help="of an item")
    topk_sparse.add_argument("--users", nargs="+", type=int, default=[1, 1_000_000], help="at most as many queries")
    topk_sparse.add_argument("--top", type=int, default=10, help="results a query (default %(default)s)")
    topk_sparse.add_argument("--threads", type=int, default=2)
    topk_sparse.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    similarity = command("similarity", _similarity, "nearest neighbours of all items by cosine, beside the peers")
    measured(similarity, 5)
    similarity.add_argument("--dataset", nargs="+", default=["gowalla"], choices=datasets.names())
    similarity.add_argument("--neighbours", dest="factors", nargs="+", type=int, default=[100], help="of an item")
    similarity.add_argument("--threads", type=int, default=2)
    similarity.add_argument("--contestants", nargs="+", help="some of them (default: all)")

    evaluate = command("evaluate", _evaluate, "ranking and metrics of a model, beside the peers")
    on_data(evaluate, (64,))
    evaluate.add_argument("--contestants", nargs="+", default=["likewise", "implicit"])

    metrics = command("metrics", _metrics, "metrics of ranked lists alone, and beside the peers")
    measured(metrics, 5)
    metrics.add_argument("--users", type=int, default=100_000)
    metrics.add_argument("--threads", type=int, default=2)

    quality = command("quality", _quality, "settings of ImplicitALS tried on validation, and the best of them on test")
    kept(quality)
    with_model(quality, list(datasets.SPLITS), (128,))
    quality.add_argument("--regularization", nargs="+", type=float, default=[0.005, 0.01, 0.02])
    quality.add_argument("--weight", nargs="+", type=float, default=[0.01], help="unobserved_weight, and alpha")
    quality.add_argument("--exponent", nargs="+", type=float, default=[0.75], help="regularization_exponent")
    quality.add_argument("--iterations", nargs="+", type=int, default=[4, 6, 8, 10])

    page = command("report", _report, "write docs/benchmarks.md and the table of README from the kept rows")
    page.add_argument("--out", type=Path, default=DOCS / "benchmarks.md")
    page.add_argument("--readme", type=Path, default=DOCS.parent / "README.md")

    figure = command("plot", _plot, "plot the kept rows of one bench")
    figure.add_argument("--bench", default="als_epoch")
    figure.add_argument("--out", type=Path, default=Path("benchmarks.png"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    args = _parser().parse_args(argv)
    status: int = args.function(args)
    return status


if __name__ == "__main__":
    sys.exit(main())
