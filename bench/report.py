"""Tables and plots of the kept rows: likewise beside its peers, also where a peer wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import harness

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]

# Losses that differ by less than this share of themselves are called equal.
_EQUAL_LOSS = 1e-4


class Key(NamedTuple):
    """What rows must share to be compared."""

    bench: str
    dataset: str
    k: int | None
    threads: int


class Lost(NamedTuple):
    """A peer ahead of likewise in something."""

    key: Key
    peer: str
    what: str


_TITLES = {
    "als_epoch": (
        "Implicit ALS: an epoch",
        "Seconds of one epoch (both half-sweeps) and the training loss after the same number of epochs, set-up left "
        "out. The objective is the same for all: confidence 1 + alpha·r, plain L2 regularization; the loss is "
        "recomputed in float64 from everybody's factors, and lower is better. GB/s are of the rows that are gathered "
        "once an entry; where a cache holds them, that is faster than the ceiling, whose rows lie in memory. GFLOP/s "
        "are of exact solves, by each row's system or its dual, whichever is smaller; beyond the ceiling of float32 "
        "goes who multiplies in bfloat16.",
    ),
    "als_half_sweep": (
        "Implicit ALS: the kernel",
        "One half-sweep over the users, with the rows held against their normal equations in float64; GB/s and GFLOP/s "
        "as above.",
    ),
    "als_memory": (
        "Implicit ALS: memory",
        "Peak of resident memory of a process that loads a scipy CSR matrix and fits a model to it.",
    ),
    "fold_in": ("Fold-in: many users", "Factors of new users, found in one call with the items held fixed."),
    "fold_in_one": ("Fold-in: one user", "The same for one user a call, through Python: the median call."),
    "topk": (
        "Exact top-k",
        "The best items of each query by dot product, over normally distributed vectors of length k, with or without "
        "items that each query has seen; some queries are held against float64.",
    ),
    "approximate": (
        "Approximate top-k",
        "`ExactIndex` (likewise) beside `ApproximateIndex` on the graphs of other libraries, by candidates kept in a "
        "search (ef), over vectors of length k: normally distributed ones, and factors of `ImplicitALS`, where what a "
        "user has seen is left out. Recall is the share of the exact results that is found. Building is not in the "
        "time, and has a column of its own.",
    ),
    "similarity": (
        "Nearest neighbours of all items",
        "The k items with the greatest cosines of each item, each entry of the data taken for 1. Dividing by lengths "
        "is in our time and not in that of the others, who are given columns of length 1. GFLOP/s are of all products "
        "of all pairs, those too that an instruction counts many of at once. Some items are held against float64.",
    ),
    "topk_sparse": (
        "Top-k of item-item models",
        "The best k items of each user by the sum of the weights of what the user has seen, which is left out; the "
        "weights are cosines of nearest neighbours, the same for all. GB/s are of weights, 8 bytes a product; scipy "
        "and implicit rank on one thread. Some queries are held against float64.",
    ),
    "ease": (
        "EASE",
        "From sparse data to dense weights, of the most popular items; scipy forms X'X by its sparse product, on the "
        "one thread that it has, and inverts it by LAPACK's spotrf and spotri. GFLOP/s count n³, what the inverse "
        "takes. The equations of some items are held against float64.",
    ),
    "slim": (
        "SLIM",
        "Non-negative elastic nets of all items, from a scipy matrix to sparse weights, with the tolerance that "
        "irspack has by default; alpha and l1_ratio as irspack has them. The loss is what they "
        "minimize, recomputed in float64 from the weights. Some columns are held against their minimum.",
    ),
    "ranking_sgd": (
        "Ranking losses by SGD",
        "An epoch over all interactions at one learning rate and penalty (LightFM: its adaptive steps), of WARP with "
        "10 draws at most. Seconds are without set-up: by implicit's own clock, of cornac what more epochs take. GB/s "
        "count two vectors of items, read and written, a sample. Seeded pairs must be in order.",
    ),
    "fm": (
        "Factorization machines",
        "An epoch over all interactions, ours with products between the sides alone, which is LightFM's hybrid; both "
        "by AdaGrad at one learning rate, without penalty, WARP with 10 draws at most. Features are identities and, "
        "where named, genres, or four tags an item that are drawn and mean nothing. GB/s count the vectors of all "
        "features of a user and two items and their sums of squares, read and written once. Seeded pairs must be in "
        "order.",
    ),
    "stream": (
        "A stream of events",
        "`BPR` learns half of the events in a fit and half by `partial_fit`, batch by batch; a refit learns all anew. "
        "Users and items have planted tastes. NDCG@10 is of a tenth of each user's items, held out.",
    ),
    "nmf": (
        "NMF",
        "A fit of 15 factors in 50 epochs: ours from a scipy matrix, Surprise's from its own `Trainset`, which is made "
        "before. Parameters are the defaults, which are the same, and starts are drawn; the RMSE is of the ratings "
        "fitted to. Those of synth data are drawn: biases, 16 factors and noise.",
    ),
    "explicit_als": (
        "Explicit ALS",
        "Seconds of an iteration over users and items at k factors: those of a fit of six or more less those of one of "
        "one, by how many more. Three steps of conjugate gradients at most, the same penalties (weighted by the number "
        "of ratings) and "
        "the biases of both sides; the RMSE after six iterations is of the fifth of the ratings held out. The ratings "
        "of synth data are drawn: biases, 16 factors and noise.",
    ),
    "svd": (
        "PureSVD",
        "Truncated singular value decompositions, from a scipy matrix to the vectors of both sides; k is their number. "
        "scikit-learn's `randomized_svd` takes 5 power iterations and likewise 6, both with 16 more directions; "
        "scipy's `svds` is exact. Captured is the share of the squared values that the projection leaves, in float64.",
    ),
    "ratings": (
        "Models of ratings",
        "A fit to four fifths of the ratings, and the prediction of the others: ours from a scipy matrix to an array, "
        "Surprise's from its own `Trainset`, which is made before, to its list of predictions. Parameters are the "
        "defaults, which are the same; the RMSE is of the ratings held out. MovieTweetings has 141,695 ratings; those "
        "of synth-1M are drawn.",
    ),
    "rating_sgd": (
        "Factorizations of ratings by stochastic gradient descent",
        "A fit of 20 epochs to four fifths of the ratings at equal step lengths, penalties and scales of starting "
        "values, each library from its own form of the data; ratings/s are those of all epochs over the seconds of "
        "the whole fit, and the RMSE is of the ratings held out. Surprise runs on one thread. cornac's threads write "
        "over one another's steps; ours do not, and end with the same bits at any number of them. Ratings of "
        "synthetic data are drawn from biases, 8 factors and noise.",
    ),
    "evaluate": (
        "Evaluation",
        "Ranking for every user of a test set and the metrics of that, for one model of k factors: ten metrics for "
        "likewise, the four that it has for implicit.",
    ),
    "rankings": (
        "Metrics of ready lists",
        "Precision, recall, NDCG and MAP at k of ranked lists of 20, in each library's own form: arrays "
        "or a data frame for likewise, data frames for RecTools, its own objects for ranx, whose making is not timed.",
    ),
    "ranking_metrics": ("Metrics alone", "Ten metrics of ranked lists of length k that are there already."),
}


_QUALITY = (
    "Ranking quality: published splits",
    "Every number of factors with the setting that was best on the validation part of train by NDCG@20, fitted again "
    "to the whole of train and held against test. All that was tried stands in `bench/results/quality.jsonl`; the "
    "seconds are those of the fit to train, run once and with whatever else the machine did.",
)
_PROFILE = (
    "Implicit ALS: where the time of an epoch goes",
    "Shares of the samples that perf took inside the extension, by function. `gather` and `gather_bf16` copy the rows "
    "that a system needs; `panel_residual` and `panel_apply` multiply them by a vector, with the sums of `block_dots`; "
    "`syrk_upper_bf16` forms matrices on tiles, of what `pack_panel` rounded; `register_tile` is the dense product: "
    "Gramians, rotations, duals, factorizations.",
)
_NO_ROWS = "Nothing has been measured yet: `python -m bench.run --help`."

_PER_USER = {"fold_in", "evaluate", "rankings", "ranking_metrics"}


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _share(row: Row) -> str:
    share = row.get("share_of_ceiling")
    return "–" if share is None else f"{_percent(share)} of {row['ceiling']}"


def _loss(row: Row) -> str:
    loss = row.get("loss")
    return "–" if loss is None else f"{loss:.9g}" if row["bench"] == "slim" else _number(loss, 5)


def _columns(bench: str, rows: Sequence[Row]) -> list[Column]:
    """Columns of a table, without those that are empty for every row."""
    time_column: Column = ("seconds", lambda row: _number(row["seconds"]))
    if bench == "fold_in_one":
        time_column = ("µs a user", lambda row: _number(row["seconds"] * 1e6))
    columns: list[Column] = [
        ("contestant", lambda row: row["contestant"]),
        ("version", lambda row: row["version"] or "–"),
        time_column,
        ("spread", lambda row: _percent(row["spread"])),
        ("µs, 99th percentile", lambda row: _number(1e6 * row["p99_seconds"]) if "p99_seconds" in row else "–"),
        ("× likewise", lambda row: _ratio(row, rows, "seconds")),
        ("users/s", lambda row: _number(row["n_users"] / row["seconds"]) if bench in _PER_USER else "–"),
        ("queries/s", lambda row: _number(row.get("queries_per_second"))),
        ("ratings/s", lambda row: _number(row.get("ratings_per_second"))),
        ("recall", lambda row: _number(row.get("recall"), 4)),
        ("seconds to build", lambda row: _number(row.get("build_seconds"))),
        ("loss", _loss),
        ("captured", lambda row: f"{100 * row['captured']:.3f} %" if "captured" in row else "–"),
        ("events/s", lambda row: _number(row["n_events"] / row["seconds"]) if "n_events" in row else "–"),
        ("NDCG@10", lambda row: _number(row.get("ndcg"), 4)),
        ("RMSE", lambda row: _number(row.get("rmse"), 5)),
        ("weights", lambda row: f"{row['n_weights']:,}" if "n_weights" in row else "–"),
        ("epochs", lambda row: _number(row.get("epochs"))),
        ("peak MB", lambda row: _number(row.get("peak_rss_mb"))),
        ("MB × likewise", lambda row: _ratio(row, rows, "peak_rss_mb")),
        ("GFLOP/s", lambda row: _number(row["gflops"])),
        ("GB/s", lambda row: _number(row["gbs"])),
        ("share of ceiling", _share),
    ]
    return [column for column in columns if any(column[1](row) != "–" for row in rows)]


def is_ours(row: Row) -> bool:
    """Whether a row is likewise's own."""
    return str(row["contestant"]).startswith("likewise")


def counterpart(row: Row, rows: Iterable[Row]) -> Row | None:
    """The row of likewise that a peer's row is compared with: exact solves with exact solves, else the default."""
    ours = {other["contestant"]: other for other in rows if is_ours(other)}
    if "Cholesky" in row["contestant"] and "likewise Cholesky" in ours:
        return ours["likewise Cholesky"]
    return ours.get("likewise") or next(iter(ours.values()), None)


def _ratio(row: Row, rows: Sequence[Row], field: str) -> str:
    other = counterpart(row, rows)
    if other is None or row.get(field) is None or other.get(field) is None:
        return "–"
    return f"{row[field] / other[field]:.2f}"


def latest(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """For every comparison, exact solves apart from others, the rows of its last run, of one with likewise if any."""
    runs: dict[tuple[Key, bool], dict[str, list[Row]]] = {}
    for row in rows:
        key = Key(row["bench"], row["dataset"], row["k"], row["threads"])
        runs.setdefault((key, "Cholesky" in row["contestant"]), {}).setdefault(row["run"], []).append(row)
    chosen: dict[Key, list[Row]] = {}
    for (key, _), by_run in sorted(runs.items()):
        last = max(by_run.values(), key=lambda group: (any(map(is_ours, group)), group[0]["run"]))
        chosen.setdefault(key, []).extend(last)
    return chosen


def lost(groups: Mapping[Key, Sequence[Row]]) -> list[Lost]:
    """Every comparison in which a peer is faster, takes less memory, or ends with a lower loss."""
    found = []
    for key, rows in groups.items():
        for row in rows:
            ours = counterpart(row, rows)
            if is_ours(row) or ours is None:
                continue
            if key.bench == "als_memory":
                if row["peak_rss_mb"] < ours["peak_rss_mb"]:
                    found.append(Lost(key, row["contestant"], f"{row['peak_rss_mb']} MB to {ours['peak_rss_mb']} MB"))
                continue
            if row["seconds"] < ours["seconds"]:
                times = f"{_number(row['seconds'])} s to {_number(ours['seconds'])} s"
                found.append(Lost(key, row["contestant"], f"{times} of {ours['contestant']}"))
            if row.get("loss") is not None and row["loss"] < ours["loss"] * (1 - _EQUAL_LOSS):
                losses = f"loss {_number(row['loss'], 5)} to {_number(ours['loss'], 5)}"
                found.append(Lost(key, row["contestant"], f"{losses} of {ours['contestant']}"))
    return found


def table(rows: Sequence[Row]) -> str:
    """Rows of one comparison as a Markdown table, fastest first."""
    ordered = sorted(rows, key=lambda row: row["seconds"])
    columns = _columns(ordered[0]["bench"], ordered)
    lines = [[title for title, _ in columns]] + [[cell(row) for _, cell in columns] for row in ordered]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    text = [f"| {' | '.join(line)} |" for line in padded]
    rule = "|" + "|".join("-" * (width + 1) + (":" if i > 1 else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([text[0], rule, *text[1:]])


def text(rows: Sequence[Row]) -> str:
    """Rows of one run of the runner, for people."""
    if rows[0]["bench"] in _OTHER_TABLES:
        return _OTHER_TABLES[rows[0]["bench"]](rows)
    tables = [f"{key.bench}: {_describe(key)}\n{table(group)}" for key, group in latest(rows).items()]
    return "\n\n".join(tables)


def quality_table(rows: Iterable[Row]) -> str:
    """What was chosen on validation, and what it reaches on test: a line a data set and number of factors."""
    lines = [
        "| data set | factors | regularization | unobserved_weight | regularization_exponent | iterations | tried "
        "| Recall@20, validation | NDCG@20, validation | Recall@20, test | NDCG@20, test | seconds |",
        "|---|" + "---:|" * 11,
    ]
    by_place: dict[tuple[str, int], dict[str, list[Row]]] = {}
    for row in rows:
        by_place.setdefault((row["dataset"], row["k"]), {}).setdefault(row["run"], []).append(row)
    for (dataset, factors), by_run in sorted(by_place.items()):
        last = by_run[max(by_run)]
        (test,) = (row for row in last if row["part"] == "test")
        tried = [row for row in last if row["part"] == "validation"]
        setting = [test[name] for name in ("regularization", "unobserved_weight", "regularization_exponent")]
        best = max(tried, key=lambda row: row["ndcg@20"])
        figures = [f"{row[name]:.4f}" for row in (best, test) for name in ("recall@20", "ndcg@20")]
        cells = [dataset, factors, *setting, test["iterations"], len(tried), *figures, _number(test["seconds"])]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def profile_table(rows: Iterable[Row]) -> str:
    """The last profile of every data set, number of factors and solver: a column each, a line a function."""
    last = {(row["dataset"], row["k"], row["solver"], row["threads"]): row["functions"] for row in rows}
    names = dict.fromkeys(name for functions in last.values() for name in functions if name != "other")
    order = sorted(names, key=lambda name: -max(functions.get(name, 0) for functions in last.values()))
    titles = [f"{dataset}, {solver}, k = {k}, {n} thread{'s' * (n > 1)}" for dataset, k, solver, n in last]
    lines = [
        f"| {name} | {' | '.join(_percent(functions.get(name)) for functions in last.values())} |"
        for name in [*order, "other"]
    ]
    return "\n".join([f"| | {' | '.join(titles)} |", "|---|" + "---:|" * len(last), *lines])


_OTHER_TABLES: dict[str, Callable[[Sequence[Row]], str]] = {"quality": quality_table, "als_profile": profile_table}


def _machine(rows: Sequence[Row]) -> str:
    isa = next((row["isa"] for row in rows if row.get("isa")), None)
    return "; ".join(filter(None, [rows[0]["cpu"], rows[0]["machine"], isa and f"likewise on {isa}"]))


def _where(rows: Sequence[Row]) -> str:
    row = rows[0]
    measured = f"median of {len(row['samples'])} after a warm-up of {row['warmup']}" if "samples" in row else None
    return "; ".join(filter(None, [_machine(rows), f"commit {row['commit']}", row["run"][:10], measured]))


def read_all(results: Path) -> list[dict[str, Any]]:
    """All kept rows of contestants side by side: not the ceilings, nor what has a table of its own."""
    paths = [path for path in sorted(results.glob("*.jsonl")) if path.stem not in ("roof", *_OTHER_TABLES)]
    return [row for path in paths for row in harness.read_rows(path)]


def latest_ceilings(rows: Iterable[Row]) -> list[Row]:
    """The last row of every ceiling and number of threads, on the CPU measured last."""
    ordered = sorted(rows, key=lambda row: row["date"])
    newest = {(row["contestant"], row["threads"]): row for row in ordered if row["cpu"] == ordered[-1]["cpu"]}
    return list(newest.values())


def markdown(results: Path) -> str:
    """The page ``docs/benchmarks.md``."""
    groups = latest(read_all(results))
    lines = [
        "# Benchmarks",
        "",
        "Generated by `python -m bench.run report` from the rows in `bench/results/`; not edited by hand.",
        "",
        "Contestants take turns in one process, with equal threads; a row is kept only if the answer passed its check.",
        "Times are medians, the spread is (slowest − fastest) / median, and gaps smaller than the spreads are not",
        "resolved. × likewise is a contestant's figure divided by likewise's: above 1, likewise is ahead. Exact",
        "solvers are compared with likewise's exact solver.",
        "",
        "## Where a peer wins",
        "",
    ]
    behind = lost(groups)
    lines += [f"- {_TITLES[at.bench][0]}, {_describe(at)}: {peer}, {what}" for at, peer, what in behind]
    lines += [] if behind else ["In none of the comparisons below." if groups else _NO_ROWS]
    ceilings = latest_ceilings(harness.read_rows(results / "roof.jsonl"))
    if ceilings:
        lines += ["", "## What the machine allows", "", _where(ceilings), "", *_ceiling_table(ceilings)]
    for bench, (title, text) in _TITLES.items():
        chosen = {key: rows for key, rows in groups.items() if key.bench == bench}
        if chosen:
            lines += ["", f"## {title}", "", text]
        for key, rows in chosen.items():
            lines += ["", f"### {_describe(key)}", "", _where(rows), "", table(rows)]
    for bench, (title, about) in (("als_profile", _PROFILE), ("quality", _QUALITY)):
        if found := harness.read_rows(results / f"{bench}.jsonl"):
            lines += ["", f"## {title}", "", about, "", _where(found[-1:]), "", _OTHER_TABLES[bench](found)]
    return "\n".join(lines) + "\n"


def _describe(key: Key) -> str:
    length = "" if key.k is None else f", k = {key.k}"
    return f"{key.dataset}{length}, {key.threads} thread{'s' * (key.threads > 1)}"


def _ceiling_table(rows: Sequence[Row]) -> list[str]:
    threads = sorted({row["threads"] for row in rows})
    cells = {(row["contestant"], row["threads"]): row for row in rows}
    lines = ["| ceiling | " + " | ".join(f"{n} thread{'s' * (n > 1)}" for n in threads) + " |"]
    names = dict.fromkeys(row["contestant"] for row in rows)
    rates = [f"| {name} | " + " | ".join(_rate(cells.get((name, n))) for n in threads) + " |" for name in names]
    return [*lines, "|---|" + "---:|" * len(threads), *rates]


def _rate(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{_number(row['gflops'])} GFLOP/s" if row["gflops"] is not None else f"{_number(row['gbs'])} GB/s"


def plot(groups: Mapping[Key, Sequence[Row]], path: Path) -> None:
    """Bars of all comparisons of one bench, a panel each; likewise in colour. Needs matplotlib.

    Raises
    ------
    ValueError
        If there is nothing to plot.
    """
    if not groups:
        raise ValueError("plot: no rows to plot; measure something first, see python -m bench.run --help")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + sum(0.5 + 0.28 * len(rows) for rows in groups.values())), layout="constrained")
    heights = [len(rows) + 1 for rows in groups.values()]
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (key, rows) in zip(axes, groups.items(), strict=True):
        field, unit = ("peak_rss_mb", "MB") if key.bench == "als_memory" else ("seconds", "seconds")
        ordered = sorted(rows, key=lambda row: row[field], reverse=True)
        colours = ["tab:orange" if is_ours(row) else "tab:gray" for row in ordered]
        bars = axis.barh([row["contestant"] for row in ordered], [row[field] for row in ordered], color=colours)
        axis.bar_label(bars, [_number(row[field]) for row in ordered], padding=3, fontsize=8)
        axis.set_title(f"{_TITLES[key.bench][0]}: {_describe(key)}", loc="left", fontsize=9)
        axis.set_xlabel(unit, fontsize=8)
        axis.margins(x=0.12)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same rows give the same file: no date, no random ids.
    with mpl.rc_context({"svg.hashsalt": "likewise"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


# ---- README --------------------------------------------------------------------------------------------------------

# What README shows of each bench: its words, and the cell of a row.
_SUMMARIES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "als_epoch": (
        "Implicit ALS: seconds of an epoch and, in brackets, the training loss after the same number of epochs",
        lambda row: f"{_number(row['seconds'])} ({_number(row.get('loss'), 5)})",
    ),
    "als_memory": ("Implicit ALS: peak memory of a fit, in MB", lambda row: _number(row["peak_rss_mb"])),
    "fold_in": ("Fold-in: users a second, in one call", lambda row: _number(row["n_users"] / row["seconds"])),
    "fold_in_one": ("Fold-in: microseconds for a single user", lambda row: _number(row["seconds"] * 1e6)),
    "topk": ("Exact top-k: queries a second", lambda row: _number(row["queries_per_second"])),
    "similarity": ("Nearest neighbours of all items by cosine: seconds", lambda row: _number(row["seconds"])),
    "topk_sparse": ("Top-k of item-item models: queries a second", lambda row: _number(row["queries_per_second"])),
    "ease": ("EASE: seconds of a fit", lambda row: _number(row["seconds"])),
    "slim": (
        "SLIM: seconds of a fit and, in brackets, what it minimizes",
        lambda row: f"{_number(row['seconds'])} ({_loss(row)})",
    ),
    "ranking_sgd": (
        "BPR and WARP: million samples a second",
        lambda row: _number(row["n_samples"] / row["seconds"] / 1e6),
    ),
    "fm": (
        "Factorization machines on BPR and WARP: million samples a second",
        lambda row: _number(row["n_samples"] / row["seconds"] / 1e6),
    ),
    "nmf": (
        "NMF: seconds of a fit and, in brackets, the RMSE of the ratings fitted to",
        lambda row: f"{_number(row['seconds'])} ({_number(row['rmse'], 5)})",
    ),
    "explicit_als": (
        "Explicit ALS: seconds of an iteration and, in brackets, the RMSE after six",
        lambda row: f"{_number(row['seconds'])} ({_number(row['rmse'], 5)})",
    ),
    "svd": (
        "PureSVD: seconds of a fit and, in brackets, the share of the squared values that is captured",
        lambda row: f"{_number(row['seconds'])} ({100 * row['captured']:.2f} %)",
    ),
    "ratings": (
        "Models of ratings: seconds of a fit with its predictions and, in brackets, their RMSE",
        lambda row: f"{_number(row['seconds'])} ({_number(row['rmse'], 5)})",
    ),
    "rating_sgd": (
        "Factorizations of ratings by gradient descent: ratings a second and, in brackets, the RMSE",
        lambda row: f"{_number(row['ratings_per_second'])} ({_number(row['rmse'], 5)})",
    ),
    "evaluate": ("Evaluation: users a second", lambda row: _number(row["n_users"] / row["seconds"])),
    "rankings": ("Metrics of ready lists: users a second", lambda row: _number(row["n_users"] / row["seconds"])),
}


def summary(results: Path) -> str:
    """The tables of README: a line a data set and number of factors, a column a contestant."""
    groups = latest(read_all(results))
    parts: list[str] = []
    machines: dict[str, None] = {}
    for bench, (title, cell) in _SUMMARIES.items():
        chosen = {key: rows for key, rows in groups.items() if key.bench == bench}
        if chosen:
            machines |= dict.fromkeys(map(_machine, chosen.values()))
            parts.append(f"{title}:\n\n{_pivot(chosen, cell)}")
    said = f"Measured on {'. And on '.join(machines)}. The page of benchmarks has the commit and the day of each table."
    return "\n\n".join([*parts, said]) if parts else _NO_ROWS


def _pivot(groups: Mapping[Key, Sequence[Row]], cell: Callable[[Row], str]) -> str:
    cells = {(key, row["contestant"]): cell(row) for key, rows in groups.items() for row in rows}
    found = {row["contestant"]: is_ours(row) for rows in groups.values() for row in rows}
    names = sorted(found, key=lambda name: (not found[name], name))
    lines = [["", *names], *([_describe(key), *(cells.get((key, name), "–") for name in names)] for key in groups)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([text[0], "|---|" + "---:|" * len(names), *text[1:]])


def fill(text: str, marker: str, content: str) -> str:
    """`text` with `content` between ``<!-- marker -->`` and ``<!-- /marker -->``.

    Raises
    ------
    ValueError
        If the markers do not stand there, once each and in this order.
    """
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed or start in after or end in after:
        raise ValueError(f"fill: the text needs {start} and {end}, once each and in this order")
    return f"{before}{start}\n{content}\n{end}{after}"
