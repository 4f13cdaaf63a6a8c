"""``likewise`` on the command line: try it, fit to a file, recommend, evaluate, and look at what there is.

Whatever goes wrong is one line on stderr and exit status 2 (130 after Ctrl-C); ``--debug`` shows the traceback. Files
are written whole or not at all. The library is imported when a command needs it, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from . import __version__
from ._io import check_target, whole_file
from .exceptions import BackendUnavailableError

if TYPE_CHECKING:
    import numpy.typing as npt

    from likewise.data import Interactions
    from likewise.evaluation import EvaluationResult
    from likewise.evaluation._names import MetricName
    from likewise.models import Recommender

__all__ = ["main"]

# Errors that say what is wrong with what was asked for; any other is a defect of this package.
_EXPECTED = (
    *(ValueError, TypeError, LookupError, OSError, ImportError, NotImplementedError, MemoryError),
    BackendUnavailableError,
)
_FAILED, _DEFECT, _INTERRUPTED = 2, 1, 130

_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_PARQUET = (".parquet", ".pq")

_MODELS = {
    "als": "ImplicitALS",
    "baseline": "BaselinePredictor",
    "bpr": "BPR",
    "ease": "EASE",
    "edlae": "EDLAE",
    "explicit-als": "ExplicitALS",
    "fm": "FactorizationMachine",
    "item-knn": "ItemKNN",
    "logistic-mf": "LogisticMF",
    "nmf": "NMF",
    "p3alpha": "P3Alpha",
    "popularity": "Popularity",
    "pure-svd": "PureSVD",
    "rp3beta": "RP3Beta",
    "sgd-mf": "SGDMatrixFactorization",
    "slim": "SLIM",
    "slope-one": "SlopeOne",
    "svdpp": "SVDpp",
    "user-knn": "UserKNN",
    "warp": "WARP",
}
_DEFAULT_METRICS = "ndcg@10,recall@20,precision@10,hit_rate@10,map@10,mrr@10"

# Parameters of the models, by the names they have there. A model that lacks one refuses it.
_PARAMETERS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("factors", {"type": int}, "length of the vectors (als, fm, nmf, bpr, warp, logistic-mf, pure-svd, sgd-mf, svdpp)"),
    (
        "regularization",
        {"type": float},
        "penalty of long vectors (als, bpr, fm, warp, logistic-mf, sgd-mf, svdpp), of squared weights (ease, edlae), "
        "of biases by sgd (baseline)",
    ),
    (
        "alpha",
        {"type": float},
        "confidence of a unit of value (als), its weight (logistic-mf), power of chances (walks), of a metric (knn)",
    ),
    ("unobserved_weight", {"type": float}, "weight of pairs that are not in the file (als)"),
    ("regularization_exponent", {"type": float}, "how the penalty grows with the number of interactions (als)"),
    (
        "biases",
        {"action": argparse.BooleanOptionalAction},
        "whether ratings have a mean and biases (explicit-als, sgd-mf)",
    ),
    ("dropout", {"type": float}, "share of a history that is taken for dropped out (edlae)"),
    ("l1_regularization", {"type": float}, "penalty of an item's weights (slim), a vector's sizes (explicit-als)"),
    ("l2_regularization", {"type": float}, "penalty of squared weights (slim)"),
    (
        "non_negative",
        {"action": argparse.BooleanOptionalAction},
        "whether weights (slim), vectors (explicit-als) are >= 0",
    ),
    ("tolerance", {"type": float}, "an item is done once a sweep moves no weight by more (slim)"),
    (
        "iterations",
        {"type": int},
        "sweeps over users and items (als, nmf, baseline, pure-svd), passes over interactions (bpr, fm, warp, "
        "logistic-mf), epochs (sgd-mf, svdpp), most sweeps over an item's weights (slim)",
    ),
    ("loss", {"choices": ("regression", "logistic", "bpr", "warp")}, "what scores learn (fm)"),
    ("batch_size", {"type": int}, "interactions whose gradients are added up before vectors move (fm)"),
    ("method", {"choices": ("als", "sgd")}, "how biases are found (baseline)"),
    ("learning_rate", {"type": float}, "length of steps (bpr, fm, warp, logistic-mf, sgd-mf, svdpp; baseline by sgd)"),
    ("user_regularization", {"type": float}, "penalty of a user's vector (nmf) or bias by als (baseline)"),
    ("item_regularization", {"type": float}, "penalty of an item's vector (nmf) or bias by als (baseline)"),
    (
        "weighted",
        {"action": argparse.BooleanOptionalAction},
        "whether deviations of more users count for more (slope-one)",
    ),
    (
        "solver",
        {"choices": ("auto", "cholesky", "cg", "ials++", "dense", "sparse")},
        "how a vector is solved for (als: the first four), or the weights of an item (ease, edlae: the last two)",
    ),
    (
        "normalize",
        {"action": argparse.BooleanOptionalAction},
        "make the weights from an item sum to 1 (walks)",
    ),
    (
        "sampling",
        {"choices": ("uniform", "popularity", "dynamic")},
        "how negatives are drawn (bpr)",
    ),
    ("n_candidates", {"type": int}, "candidates of a negative with --sampling dynamic (bpr)"),
    ("max_trials", {"type": int}, "draws for an interaction at most (fm, warp)"),
    ("k_os", {"type": int}, "which of the best of --n-positives is learned from (warp)"),
    ("n_positives", {"type": int}, "interactions drawn for --k-os (warp)"),
    ("n_negatives", {"type": int}, "negatives of an interaction (fm, logistic-mf)"),
    (
        "item_biases",
        {"action": argparse.BooleanOptionalAction},
        "whether items have biases (bpr, warp, logistic-mf)",
    ),
    ("cg_steps", {"type": int}, "most steps that solver cg takes for a vector (als)"),
    ("cg_tol", {"type": float}, "share of its residual at which solver cg is done with a vector (als)"),
    ("block_size", {"type": int}, "block of solver ials++ (als)"),
    ("tol", {"type": float}, "stop when an iteration lowers the loss by a smaller share (als)"),
    (
        "early_stopping",
        {"action": "store_true"},
        "hide a fifth of each user's items, stop when they are ranked or predicted no "
        "better (als, bpr, warp, logistic-mf, sgd-mf, svdpp)",
    ),
    ("n_iter_no_change", {"type": int}, "iterations that early stopping waits (those models)"),
    (
        "random_state",
        {"type": int},
        "seed of starting values and draws (als, nmf, bpr, warp, logistic-mf, pure-svd, sgd-mf, svdpp; default 0)",
    ),
    ("init_low", {"type": float}, "least starting value (nmf)"),
    ("init_high", {"type": float}, "greatest starting value (nmf)"),
    ("oversampling", {"type": int}, "directions carried along beyond factors (pure-svd)"),
    ("k", {"type": int}, "neighbours of a row (knn, walks), weights of an item (slim, ease, edlae; default: all)"),
    ("metric", {}, "how items or users are compared: cosine, jaccard, ... (knn)"),
    ("shrinkage", {"type": float}, "added to the denominator of a similarity (knn)"),
    ("weighting", {"choices": ("tfidf", "bm25")}, "how values are weighted before they are compared (knn)"),
    ("beta", {"type": float}, "power of the popularity (rp3beta), weight of metric tversky (knn)"),
    ("min_support", {"type": int}, "entries that two rows have in common at least (knn)"),
    ("bm25_k1", {"type": float}, "how late a value saturates under weighting bm25 (knn)"),
    ("bm25_b", {"type": float}, "how much long rows lose under weighting bm25 (knn)"),
    ("half_life", {"type": float}, "age at which an interaction counts half, in days or units of the times (knn)"),
    ("target", {"choices": ("implicit", "rating")}, "whether to rank by what is there, or to predict ratings (knn)"),
    (
        "normalization",
        {"choices": ("mean", "zscore", "baseline")},
        "what ratings are averaged above, with --target rating (knn)",
    ),
    ("min_neighbors", {"type": int}, "neighbours that an estimate of a rating needs (knn)"),
    ("clip", {"action": argparse.BooleanOptionalAction}, "whether predictions keep to the scale of the ratings"),
    ("device", {}, "cpu, cuda or cuda:N (all but popularity)"),
    ("n_jobs", {"type": int}, "threads (all but popularity; default: every CPU at hand)"),
    ("count", {"choices": ("users", "values")}, "what popularity is: number of users, or sum of values"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: that of this process) and return its exit status.

    Raises
    ------
    SystemExit
        From argparse, with status 2 for a command line that it cannot parse and 0 after ``--help``.
    """
    arguments = _parser().parse_args(argv)
    try:
        with _logged(arguments):
            arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        # What has gone to stdout is read already.
        nothing = "" if getattr(arguments, "output", None) == "-" else "; nothing was written"
        return _fail(arguments, f"interrupted{nothing}", _INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`). What is left goes nowhere, or flushing at exit complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _EXPECTED as error:
        return _fail(arguments, _one_line(error), _FAILED)
    except Exception as error:
        message = f"unexpected {type(error).__name__}: {_one_line(error)}; --debug shows where: please report it"
        return _fail(arguments, message, _DEFECT)
    return 0


def _fail(arguments: argparse.Namespace, message: str, status: int) -> int:
    """Print one line, under ``--debug`` after the traceback of the error being handled."""
    if arguments.debug:
        import traceback

        traceback.print_exc()
    # `recommend`, `recommend_to` and `evaluate` are also what the library's errors name first.
    message = re.sub(rf"^{arguments.command}(_\w+)?: ", "", message)
    print(f"likewise {arguments.command}: {message}", file=sys.stderr)
    return status


def _one_line(error: BaseException) -> str:
    # str() of a KeyError is the repr of its message.
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(message).split()) or type(error).__name__


# ---------------------------------------------------------------------- commands


def _demo(arguments: argparse.Namespace) -> None:
    from ._demo import run_demo

    report = check_target(arguments.output, "--output")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without a pound sign is no reason to fail
    page = run_demo(say=_speaker(arguments), n_jobs=arguments.n_jobs, verbose=_shows_bars(arguments))
    with whole_file(report, "--output") as part:
        part.write_text(page, encoding="utf-8")
    print(f"\nReport with plots: {arguments.output}")
    if arguments.open:
        import webbrowser

        webbrowser.open(report.as_uri())


def _fit(arguments: argparse.Namespace) -> None:
    target = check_target(arguments.output, "--output")
    (model,) = _make_models(arguments, [arguments.model]).values()
    data = _read(arguments)
    model.fit(data)
    model.save(target)
    _speaker(arguments)(f"{model!r}\nwrote {arguments.output}, {_shown_size(target)}")


def _recommend(arguments: argparse.Namespace) -> None:
    from .data._tables import write_csv
    from .models import load

    _check_table_path(arguments.output)
    model = load(arguments.file)
    users = None
    if arguments.users is not None:
        users = _parse_ids(arguments.users, model)
    elif arguments.users_file is not None:
        users = _parse_ids(_read_lines(arguments.users_file), model)
    asked: dict[str, Any] = {
        "k": arguments.k,
        "exclude_seen": arguments.exclude_seen,
        "verbose": _shows_bars(arguments),
    }
    if arguments.output == "-":
        for n, batch in enumerate(model.recommend_batches(users, **asked)):
            write_csv(batch.to_dict(), sys.stdout, header=n == 0)
        return
    model.recommend_to(arguments.output, users, **asked)
    n_users = model.n_users_ if users is None else len(users)
    _speaker(arguments)(f"wrote {arguments.output}: {n_users} users, up to {arguments.k} items each")


def _evaluate(arguments: argparse.Namespace) -> None:
    import numpy as np

    from ._report import text_table
    from .evaluation import evaluate, parse_metrics, results_table

    if arguments.output is not None:
        _check_table_path(arguments.output)
    metrics = parse_metrics("evaluate", [name.strip() for name in arguments.metrics.split(",")])
    say, names = _speaker(arguments), list(dict.fromkeys(arguments.model or _models_for(metrics)))
    models = _make_models(arguments, names)
    train, test = _split(_read(arguments), arguments)
    say(f"train: {train.nnz} pairs, test: {test.nnz} pairs")
    users = None
    if arguments.known_users:
        users = test.user_labels(np.flatnonzero((train.by_user.row_counts() > 0) & (test.by_user.row_counts() > 0)))
    results: dict[str, EvaluationResult] = {}
    for name, model in models.items():
        model.fit(train)
        results[name] = evaluate(
            model,
            train,
            test,
            [str(metric) for metric in metrics],
            users=users,
            exclude_seen=arguments.exclude_seen,
            verbose=_shows_bars(arguments),
        )
    result = next(iter(results.values()))
    say(f"mean over {result.n_users} users, with {100 * result.confidence:g}% bootstrap intervals")
    if arguments.output != "-":
        print(text_table(results_table(results)))
    if arguments.output is not None:
        _write_table(_results_columns(results), arguments.output)


def _info(arguments: argparse.Namespace) -> None:
    if arguments.file is None:
        from ._config import show_config

        show_config()
        return
    from .models import load

    model = load(arguments.file)
    data = model.interactions_
    rows = {
        "file": f"{arguments.file}, {_shown_size(Path(arguments.file))}",
        "model": type(model).__name__,
        **{f"  {name}": value for name, value in model.get_params(deep=False).items() if value is not None},
        "users": f"{data.n_users}, {_shown_kind(data.user_map.kind)}",
        "items": f"{data.n_items}, {_shown_kind(data.item_map.kind)}",
        "fitted on": f"{data.nnz} pairs, density {100 * data.density:.3g}%",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")


# ---------------------------------------------------------------------- what goes in


def _read(arguments: argparse.Namespace) -> Interactions:
    """The interactions of ``FILE``, as the options about columns and values say."""
    from .data import read_csv, read_parquet

    name = arguments.file.lower()
    columns = {role: getattr(arguments, role) for role in ("user", "item", "value", "timestamp")}
    columns = {role: column for role, column in columns.items() if column is not None}
    if name.endswith(_CSV):
        data = read_csv(arguments.file, duplicates=arguments.duplicates, separator=arguments.separator, **columns)
    elif name.endswith(_PARQUET):
        if arguments.separator is not None:
            raise ValueError("--separator is for CSV files, and this is a Parquet file")
        data = read_parquet(arguments.file, duplicates=arguments.duplicates, **columns)
    else:
        raise ValueError(f"FILE must end in one of {', '.join((*_CSV, *_PARQUET))}, got {arguments.file!r}")
    if arguments.min_value is not None:
        keep = data.by_user.values >= arguments.min_value
        if not keep.any():
            raise ValueError(f"--min-value {arguments.min_value:g} leaves no pair of {arguments.file}")
        data = data.keep_entries(keep)
    if arguments.ignore_values:
        data = data.binarize()
    _speaker(arguments)(f"{arguments.file}: {data!r}")
    return data


def _split(data: Interactions, arguments: argparse.Namespace) -> tuple[Interactions, Interactions]:
    """Train and test parts; by time where there are times and nothing else is asked for."""
    from .model_selection import find_leakage, leave_last_out, random_split, temporal_split

    split = arguments.split or ("random" if data.timestamps is None else "temporal")
    _speaker(arguments)(f"split: {split}" + ("" if arguments.split else " (choose with --split)"))
    if arguments.split_seed is not None and split != "random":
        raise ValueError(f"--split-seed is for --split random, and this split is {split}")
    if split == "leave-last-out":
        if isinstance(arguments.test_size, float):
            raise ValueError("--test-size must be a whole number of items a user for --split leave-last-out")
        return leave_last_out(data, 1 if arguments.test_size is None else arguments.test_size)
    test_size = 0.2 if arguments.test_size is None else arguments.test_size
    if split == "temporal":
        return temporal_split(data, test_size)
    train, test = random_split(data, test_size, random_state=arguments.split_seed or 0, leakage="ignore")
    if (leakage := find_leakage(train, test)).n_before_own:
        _speaker(arguments)(f"this split leaks, --split temporal does not:\n{leakage}")
    return train, test


def _models_for(metrics: Iterable[MetricName]) -> list[str]:
    """Models that are compared where none is named: those of ratings where a metric of ratings is asked for."""
    from . import models
    from .evaluation._names import RATING_METRICS

    of_ratings = any(metric.name in RATING_METRICS for metric in metrics)
    return [name for name, known in _MODELS.items() if (getattr(models, known)._predicts_ratings is True) == of_ratings]


def _make_models(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Recommender]:
    """Models by the names they have here, each with those of the given parameters that it has."""
    from . import models

    made: dict[str, Recommender] = {name: getattr(models, _MODELS[name])() for name in names}
    given = {name: getattr(arguments, name) for name, _, _ in _PARAMETERS if hasattr(arguments, name)}
    for name in given:
        if not any(name in model.get_params() for model in made.values()):
            raise ValueError(f"--{name.replace('_', '-')} is no parameter of {' or '.join(names)}")
    given = {"random_state": 0, "verbose": _shows_bars(arguments), **given}
    for model in made.values():
        known = model.get_params()
        model.set_params(**{name: value for name, value in given.items() if name in known})
        model._check_parameters()  # before a file is read
    return made


def _parse_ids(texts: Sequence[str], model: Recommender) -> list[Any]:
    """User ids as the model speaks them."""
    kind = model.interactions_.user_map.kind
    parse: Callable[[str], Any] = {"string": str, "uuid": uuid.UUID}.get(kind, int)
    ids = []
    for text in texts:
        try:
            ids.append(parse(text))
        except ValueError:
            raise ValueError(f"users of this model are {_shown_kind(kind)}, got {text!r}") from None
    return ids


def _read_lines(path: str) -> list[str]:
    """The lines of a text file, ``-`` for stdin, without those that are empty."""
    with _opened(path) as file:
        lines = [line.strip() for line in file]
    found = [line for line in lines if line]
    if not found:
        raise ValueError(f"--users-file {path!r} holds no ids; it needs one a line")
    return found


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdin
        return
    with open(path, encoding="utf-8-sig") as file:
        yield file


# ---------------------------------------------------------------------- what comes out


def _results_columns(results: Mapping[str, EvaluationResult]) -> dict[str, npt.NDArray[Any]]:
    import numpy as np

    rows = [
        (name, metric, mean, *result.interval(metric), np.count_nonzero(~np.isnan(result.per_user[metric])))
        for name, result in results.items()
        for metric, mean in result.items()
    ]
    names = ("model", "metric", "mean", "low", "high", "n_users")
    columns = (
        np.array(column, dtype=object if isinstance(column[0], str) else None) for column in zip(*rows, strict=True)
    )
    return dict(zip(names, columns, strict=True))


def _check_table_path(path: str) -> None:
    """Raise if no table can be written to `path`: before the work rather than after it."""
    from .data._tables import TABLE_SUFFIXES, check_table

    if path == "-":
        return
    if not path.lower().endswith(TABLE_SUFFIXES):
        raise ValueError(f"--output must be '-' or end in one of {', '.join(TABLE_SUFFIXES)}, got {path!r}")
    check_table(path, None, "--output")


def _write_table(columns: Mapping[str, npt.NDArray[Any]], path: str) -> None:
    """Write columns of one length as CSV to stdout for ``-``, else to a file of the format of its suffix."""
    from .data._tables import check_table, open_table, write_csv

    if path == "-":
        write_csv(columns, sys.stdout)
        return
    table_format = check_table(path, None, "--output")
    nothing = {name: column[:0] for name, column in columns.items()}
    with whole_file(path, "--output") as part, open_table(part, table_format, nothing) as write:
        write(columns)


def _speaker(arguments: argparse.Namespace) -> Callable[[str], None]:
    """How to say what is going on: on stderr, so that stdout holds results alone; not at all with ``--quiet``."""

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, file=sys.stderr, flush=True)

    return say


@contextmanager
def _logged(arguments: argparse.Namespace) -> Iterator[None]:
    """What the library logs, such as the columns that it chose, is said too."""
    import logging

    logger, handler = logging.getLogger("likewise"), logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if arguments.quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _shows_bars(arguments: argparse.Namespace) -> bool:
    return not arguments.quiet and sys.stderr.isatty()


def _shown_size(path: Path) -> str:
    n_bytes = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def _shown_kind(kind: str) -> str:
    return {"int64": "numbers", "string": "strings", "uuid": "UUIDs", "row": "row numbers"}[kind]


# ---------------------------------------------------------------------- the command line


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_FAILED, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("likewise", description="Recommenders end to end: fit, recommend, evaluate.")
    parser.add_argument("--version", action="version", version=f"likewise {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], usage: str, about: str, text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            usage=f"likewise {name} {usage}",
            help=about,
            description=textwrap.dedent(text).strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    demo = command(
        "demo",
        _demo,
        "[--output PATH] [--open]",
        "from purchases to evaluated recommendations, on bundled data",
        """
        Fit Popularity and ImplicitALS to the purchases of a gift shop (Online Retail II, bundled), choose parameters
        on a validation part, compare both on the last ten weeks, and show what customers would be recommended.
        Takes less than a minute on two cores.
        """,
    )
    demo.add_argument("--output", metavar="PATH", default="likewise_report.html", help="HTML report (%(default)s)")
    demo.add_argument("--open", action="store_true", help="open the report in a browser")
    demo.add_argument("--n-jobs", type=int, metavar="N", help="threads (default: every CPU at hand)")

    fit = command(
        "fit",
        _fit,
        "FILE --output PATH [options]",
        "fit a model to a CSV or Parquet file",
        """
        Fit a model to a CSV or Parquet file with one event a row, and save it.

          likewise fit purchases.csv --user customer --item product --output model.safetensors
        """,
    )
    _add_file_options(fit)
    fit.add_argument("--model", choices=_MODELS, default="als", help="what to fit (%(default)s)")
    _add_parameters(fit)
    fit.add_argument("--output", metavar="PATH", required=True, help="model file to write, such as model.safetensors")

    recommend = command(
        "recommend",
        _recommend,
        "MODEL [options]",
        "recommend items to users, with a saved model",
        """
        Recommend items to all or some of the users that a saved model was fitted on.

          likewise recommend model.safetensors --users 17850 13047 -k 5
          likewise recommend model.safetensors --output recommendations.parquet
        """,
    )
    recommend.add_argument("file", metavar="MODEL", help="file that `likewise fit` or `save` wrote")
    whom = recommend.add_mutually_exclusive_group()
    whom.add_argument("--users", nargs="+", metavar="ID", help="user ids (default: every user)")
    whom.add_argument("--users-file", metavar="PATH", help="text file with a user id a line; - for stdin")
    recommend.add_argument("-k", type=int, default=10, metavar="N", help="items a user (%(default)s)")
    _add_exclude_seen(recommend, "leave out what a user has already")
    recommend.add_argument(
        "--output",
        metavar="PATH",
        default="-",
        help="table to write, .csv, .parquet or .arrow; - (the default) for CSV on stdout. "
        "Columns: user, item, score, rank",
    )

    evaluate = command(
        "evaluate",
        _evaluate,
        "FILE [options]",
        "hold out a part of a file, fit to the rest, and measure",
        """
        Split a CSV or Parquet file, fit models to the train part, and rank for the users of the test part.

          likewise evaluate purchases.csv --user customer --item product --timestamp date --factors 128
        """,
    )
    _add_file_options(evaluate)
    split = evaluate.add_argument_group("split")
    split.add_argument(
        "--split",
        choices=("temporal", "random", "leave-last-out"),
        help="how test is chosen (default: temporal where the file has times, else random)",
    )
    split.add_argument(
        "--test-size",
        type=_share_or_count,
        metavar="X",
        help="share (0.2) or number (1000) of events in test; for leave-last-out items a user (1)",
    )
    split.add_argument("--split-seed", type=int, metavar="N", help="seed of --split random (0)")
    evaluate.add_argument(
        "--model",
        choices=_MODELS,
        action="append",
        help="what to fit; may be repeated (default: every model of rankings, or for rmse, mae and fcp of ratings)",
    )
    _add_parameters(evaluate)
    evaluate.add_argument(
        "--metrics",
        default=_DEFAULT_METRICS,
        metavar="NAMES",
        help="precision@k, recall@k, hit_rate@k, ndcg@k, map@k, mrr@k and auc; of ratings rmse, mae and fcp; with "
        "commas between (%(default)s)",
    )
    _add_exclude_seen(evaluate, "leave what a user has in train out of the ranking")
    evaluate.add_argument(
        "--known-users", action="store_true", help="leave users out of test who have nothing in train (newcomers)"
    )
    evaluate.add_argument(
        "--output",
        metavar="PATH",
        help="also write the figures, .csv, .parquet or .arrow; - for CSV on stdout instead of the table",
    )

    info = command(
        "info",
        _info,
        "[MODEL]",
        "what this installation runs on, or what a model file holds",
        "Show version, instruction set, threads and CUDA, or what a model file holds.",
    )
    info.add_argument("file", metavar="MODEL", nargs="?", help="model file (default: show the installation)")

    for added in commands.choices.values():
        added.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors")
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="CSV (with a header line) or Parquet, one event a row")
    columns = parser.add_argument_group("columns (by default looked for under their usual names)")
    columns.add_argument("--user", metavar="COLUMN", help="user ids")
    columns.add_argument("--item", metavar="COLUMN", help="item ids")
    columns.add_argument("--value", metavar="COLUMN", help="numbers, such as quantities or ratings")
    columns.add_argument("--timestamp", metavar="COLUMN", help="ISO 8601 dates, or numbers")
    columns.add_argument("--separator", metavar="CHAR", help="of a CSV file (default: the one in its header line)")
    values = parser.add_argument_group("values")
    values.add_argument("--min-value", type=float, metavar="X", help="drop pairs with a smaller value")
    values.add_argument("--ignore-values", action="store_true", help="count every pair as 1 (after --min-value)")
    values.add_argument(
        "--duplicates",
        choices=("sum", "last", "error"),
        default="sum",
        help="what several rows of one pair become (%(default)s)",
    )


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("parameters of the model")
    for name, options, text in _PARAMETERS:
        metavar: dict[str, Any] = {} if "choices" in options or "action" in options else {"metavar": "X"}
        group.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=text, **options, **metavar)


def _add_exclude_seen(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--exclude-seen", action=argparse.BooleanOptionalAction, default=True, help=f"{text} (the default)"
    )


def _share_or_count(text: str) -> float | int:
    """A whole number is a count, any other a share."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
