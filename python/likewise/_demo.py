"""``likewise demo``: from purchases to evaluated recommendations, told on the terminal and in a report."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import __version__
from ._backend import get_backend
from ._progress import ProgressBar
from ._report import bar_chart, html_figure, html_page, html_table, html_text, text_table
from .data import Interactions, datasets
from .evaluation import Comparison, EvaluationResult, compare, evaluate, results_table
from .model_selection import temporal_split
from .models import ImplicitALS, Popularity

__all__ = ["run_demo"]

# Test is what came in from here on: ten weeks, Christmas among them. Validation is the quarter before.
_TEST_FROM = "2011-10-01"
_VALIDATION_FROM = "2011-07-01"

# What is tried on the validation part; the first is what ImplicitALS does by itself.
_CANDIDATES: tuple[dict[str, Any], ...] = (
    {"factors": 64, "unobserved_weight": 1.0, "regularization": 0.01, "regularization_exponent": 0.0},
    {"factors": 64, "unobserved_weight": 2.0, "regularization": 0.03, "regularization_exponent": 0.75},
    {"factors": 128, "unobserved_weight": 2.0, "regularization": 0.03, "regularization_exponent": 0.75},
    {"factors": 128, "unobserved_weight": 3.0, "regularization": 0.3, "regularization_exponent": 0.5},
)
_CHOSEN_BY = "ndcg@10"

_METRICS = ("ndcg@10", "recall@10", "precision@10", "hit_rate@10", "map@10", "mrr@10", "recall@50", "auc")
_CUTOFFS = (1, 2, 5, 10, 20, 50, 100)
_HISTORY_LENGTHS = (1, 10, 30, 100)

_PRODUCTS = ("REGENCY CAKESTAND 3 TIER", "JUMBO BAG RED RETROSPOT")
_N_SHOWN = 8

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Customer:
    """One customer: what was bought before the test began, and what is recommended."""

    name: str
    country: str
    why: str
    bought: list[list[str]]
    recommended: list[list[str]]


@dataclass(frozen=True)
class _Story:
    """Everything that the demo finds out, for the report to tell."""

    data: Interactions
    train: Interactions
    test: Interactions
    n_newcomers: int
    tried: list[tuple[dict[str, Any], float]]
    results: Comparison
    n_recommended: Mapping[str, int]
    customers: list[_Customer]
    similar: Mapping[str, list[list[str]]]
    machine: str
    seconds: float


def run_demo(*, say: Say, n_jobs: int | None = None, verbose: bool = False) -> str:
    """Run the demo, printing what it finds to stdout, and return its report as an HTML page.

    Parameters
    ----------
    say : callable
        Is told what is being done, a line at a time.
    n_jobs : int, default=None
        Threads; None is every CPU at hand.
    verbose : bool, default=False
        Whether to draw progress bars.
    """
    started, context = time.perf_counter(), get_backend("cpu", n_jobs, "demo").context
    with _step(say, "loading Online Retail II (Daqing Chen, CC BY 4.0)"):
        data = datasets.load_online_retail()
    train, test = temporal_split(data, cutoff=_TEST_FROM)
    known, newcomers = _known_users(train, test)
    print(
        f"{data.n_users:,} customers, {data.n_items:,} products, {data.n_events:,} purchase lines.\n"
        f"Train: {train.nnz:,} pairs of customer and product before {_TEST_FROM}. Test: what {known.size:,} of these "
        f"customers then\nbought for the first time ({newcomers.size:,} newcomers, of whom nothing is known, are "
        "left out)."
    )
    # Whether somebody buys a thing says more than how many: quantities run from 1 to 80,995.
    history = train.binarize()
    with _step(say, f"trying {len(_CANDIDATES)} settings of ImplicitALS on what came in from {_VALIDATION_FROM}"):
        tried = _try_candidates(train, n_jobs, verbose)
    chosen = max(tried, key=lambda pair: pair[1])[0]
    settings = ", ".join(f"{name}={value:g}" for name, value in chosen.items())
    with _step(say, f"fitting Popularity and ImplicitALS({settings})"):
        popularity = Popularity().fit(history)
        model = ImplicitALS(**chosen, random_state=0, n_jobs=n_jobs, verbose=verbose).fit(history)
    models = {"Popularity": popularity, "ImplicitALS": model}
    with _step(say, "evaluating both"):
        names = [*_METRICS, *(f"recall@{k}" for k in _CUTOFFS)]
        results = compare(models, history, test, names, users=known, n_jobs=n_jobs)
        recommended = {name: each.recommend(known, k=10) for name, each in models.items()}
    _print_results(results)
    story = _Story(
        data=data,
        train=train,
        test=test,
        n_newcomers=newcomers.size,
        tried=tried,
        results=results,
        n_recommended={name: len(np.unique(each.items)) for name, each in recommended.items()},
        customers=_pick_customers(model, train, test, results["ImplicitALS"]),
        similar={product: _similar(model, data, product) for product in _PRODUCTS},
        machine=f"{context.simd} kernels on {context.n_threads} threads",
        seconds=time.perf_counter() - started,
    )
    _print_examples(story)
    return _page(story)


@contextmanager
def _step(say: Say, what: str) -> Iterator[None]:
    started = time.perf_counter()
    say(f"... {what}")
    yield
    say(f"    {time.perf_counter() - started:.1f} s")


# ---------------------------------------------------------------------- finding out


def _known_users(train: Interactions, test: Interactions) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Users of test with a history in train, and those without."""
    in_test, in_train = test.by_user.row_counts() > 0, train.by_user.row_counts() > 0
    return test.user_labels(np.flatnonzero(in_test & in_train)), test.user_labels(np.flatnonzero(in_test & ~in_train))


def _try_candidates(train: Interactions, n_jobs: int | None, verbose: bool) -> list[tuple[dict[str, Any], float]]:
    """Each candidate with its NDCG@10 on the last quarter of train, fitted to what was before."""
    earlier, validation = temporal_split(train, cutoff=_VALIDATION_FROM)
    history = earlier.binarize()
    users, _ = _known_users(earlier, validation)
    tried = []
    bar = ProgressBar(_CANDIDATES, verbose=verbose, description="Settings", unit="setting")
    for candidate in bar:
        model = ImplicitALS(**candidate, random_state=0, n_jobs=n_jobs).fit(history)
        result = evaluate(model, history, validation, _CHOSEN_BY, users=users, n_bootstrap=0, n_jobs=n_jobs)
        tried.append((candidate, result[_CHOSEN_BY]))
        bar.set(**{_CHOSEN_BY: result[_CHOSEN_BY]})
    return tried


def _pick_customers(
    model: ImplicitALS, train: Interactions, test: Interactions, result: EvaluationResult
) -> list[_Customer]:
    """One customer of whom nothing was guessed, one with a middling result, one with one of the best.

    Of those with enough purchases to look at, and the first of equals.
    """
    rows = train.user_index(result.users)
    n_bought = train.by_user.row_counts()[rows]
    ndcg = np.where((n_bought >= 15) & (n_bought <= 60), result.per_user["ndcg@10"], np.nan)
    guessed = ndcg[ndcg > 0]
    wanted = {
        f"one of the {np.mean(result.per_user['ndcg@10'] == 0):.0%} of whom no purchase is among the ten": 0.0,
        "a middling one among the others": float(np.quantile(guessed, 0.5, method="nearest")),
        "one of the best": float(np.quantile(guessed, 0.95, method="nearest")),
    }
    return [
        _describe_customer(model, train, test, result.users[int(np.argmax(ndcg == value))], why)
        for why, value in wanted.items()
    ]


def _describe_customer(model: ImplicitALS, train: Interactions, test: Interactions, user: Any, why: str) -> _Customer:
    (row,) = train.user_index(user)
    items, _ = train.by_user.row(int(row))
    assert train.timestamps is not None  # the data set has them
    times = train.timestamps[train.by_user.indptr[row] : train.by_user.indptr[row + 1]]
    latest = np.lexsort((items, -times))[:_N_SHOWN]
    recommended = model.recommend(user, k=10).items
    came = set(test.item_labels(test.by_user.row(int(row))[0]).tolist())
    return _Customer(
        name=f"Customer {user}",
        country=str(train.user_info["country"][row]),
        why=why,
        bought=[
            [str(np.datetime64(int(time), "ns").astype("datetime64[D]")), *_product(train, item)]
            for time, item in zip(times[latest], train.item_labels(items[latest]), strict=True)
        ],
        recommended=[
            [
                "bought" if item in came else "",
                *_product(train, item),
                str(model.explain(user, item, k=1).items[0]).strip(),
            ]
            for item in recommended
        ],
    )


def _similar(model: ImplicitALS, data: Interactions, product: str) -> list[list[str]]:
    items, cosines = model.similar_items(product, k=_N_SHOWN)
    return [[*_product(data, item), f"{cosine:.2f}"] for item, cosine in zip(items, cosines, strict=True)]


def _product(data: Interactions, item: Any) -> list[str]:
    """Description and price."""
    (row,) = data.item_index(item)
    return [str(data.item_info["description"][row]).strip(), f"£{data.item_info['median_price_gbp'][row]:.2f}"]


# ---------------------------------------------------------------------- telling it on the terminal


def _print_results(results: Mapping[str, EvaluationResult]) -> None:
    ours, baseline = results["ImplicitALS"], results["Popularity"]
    table = [row for row in results_table(results) if row[0] in ("metric", *_METRICS)]
    ratio = ["ratio", *(f"{ours[row[0]] / baseline[row[0]]:.2f}" for row in table[1:])]
    print(f"\n{text_table([[*row, cell] for row, cell in zip(table, ratio, strict=True)])}")
    print(f"Means over {ours.n_users:,} customers, with {100 * ours.confidence:g}% bootstrap intervals.")


def _print_examples(story: _Story) -> None:
    for customer in story.customers:
        print(f"\n{customer.name}, {customer.country} ({customer.why})")
        print(_indented(text_table([["last bought", "product", "price"], *customer.bought])))
        print(_indented(text_table([["then", "recommended", "price", "because of"], *customer.recommended])))
    for product, rows in story.similar.items():
        print(f"\nSimilar to {product}")
        print(_indented(text_table([["product", "price", "cosine"], *rows])))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


# ---------------------------------------------------------------------- telling it in the report


def _page(story: _Story) -> str:
    return html_page("likewise: a gift shop, from purchases to recommendations", list(_parts(story)))


def _parts(story: _Story) -> Iterator[str]:
    data, train, test, results = story.data, story.train, story.test, story.results
    ours, baseline = results["ImplicitALS"], results["Popularity"]
    gain = ours["ndcg@10"] / baseline["ndcg@10"] - 1
    yield html_text(
        f"{data.n_users:,} customers, {data.n_items:,} products and {data.n_events:,} purchase lines. Two models "
        f"learn from what was bought before {_TEST_FROM} and rank, for each of the {ours.n_users:,} customers who came "
        "back, all products that the customer had not bought yet. Counted is what the customer then bought for the "
        f"first time; {story.n_newcomers:,} newcomers, of whom nothing is known, are left out. "
        f"ImplicitALS ranks {gain:.0%} better than popularity, by NDCG@10."
    )
    yield "<h2>How well do they rank?</h2>"
    yield from results.html_parts()
    yield html_figure(
        bar_chart(_by_history(train, results), "NDCG@10", "NDCG@10 by length of history"),
        "NDCG@10 by the number of products that a customer had bought before.",
    )
    counts = story.n_recommended
    yield html_text(
        f"In everybody's first ten products, popularity shows {counts['Popularity']:,} different ones, ImplicitALS "
        f"{counts['ImplicitALS']:,}."
    )
    yield "<h2>Three customers</h2>"
    for customer in story.customers:
        yield f"<h3>{html.escape(customer.name)}, {html.escape(customer.country)}</h3>"
        yield html_text(f"{customer.why[0].upper()}{customer.why[1:]}.", "quiet")
        yield html_table([["last bought", "product", "price"], *customer.bought])
        yield html_table([["then", "recommended", "price", "because of"], *customer.recommended])
    yield "<h2>Similar products</h2>"
    for product, rows in story.similar.items():
        yield f"<h3>{html.escape(product)}</h3>"
        yield html_table([["product", "price", "cosine"], *rows])
    yield "<h2>How it was done</h2>"
    yield html_figure(
        bar_chart(_by_month(train, test), "pairs", "new pairs of customer and product by month"),
        "Pairs of customer and product by the month of the first purchase: train and test.",
    )
    yield html_text(
        f"The settings of ImplicitALS were chosen on the part of train from {_VALIDATION_FROM} on, fitted to what was "
        "before; test was looked at once, with the best of them. Values are not used: each pair counts as one."
    )
    yield html_table(_tried_table(story.tried))
    yield (
        f"<footer>likewise {__version__}, {story.machine}, {story.seconds:.1f} s from loading to the last table. "
        "Data: Online Retail II by Daqing Chen, doi:10.24432/C5CG6D, CC BY 4.0.</footer>"
    )


def _by_history(train: Interactions, results: Mapping[str, EvaluationResult]) -> dict[str, dict[str, float]]:
    """Mean NDCG@10 of customers by the number of products in train."""
    groups: dict[str, dict[str, float]] = {}
    counts = train.by_user.row_counts()
    ends = (*_HISTORY_LENGTHS[1:], None)
    for start, end in zip(_HISTORY_LENGTHS, ends, strict=True):
        name = f"{start} and more" if end is None else f"{start}–{end - 1}"
        groups[name] = {}
        for model, result in results.items():
            n_bought = counts[train.user_index(result.users)]
            chosen = (n_bought >= start) if end is None else (n_bought >= start) & (n_bought < end)
            groups[name][model] = float(result.per_user["ndcg@10"][chosen].mean())
    return groups


def _by_month(train: Interactions, test: Interactions) -> dict[str, dict[str, float]]:
    groups: dict[str, dict[str, float]] = {}
    for name, part in (("train", train), ("test", test)):
        months, counts = np.unique(_months(part), return_counts=True)
        groups |= {str(month): {name: float(count)} for month, count in zip(months, counts, strict=True)}
    return groups


def _months(data: Interactions) -> npt.NDArray[Any]:
    assert data.timestamps is not None  # the data set has them
    return data.timestamps.astype("datetime64[ns]").astype("datetime64[M]")


def _tried_table(tried: Sequence[tuple[dict[str, Any], float]]) -> list[list[str]]:
    best = max(value for _, value in tried)
    rows = [
        [*(f"{setting:g}" for setting in settings.values()), f"{value:.4f}", "chosen" if value == best else ""]
        for settings, value in tried
    ]
    return [[*tried[0][0], f"{_CHOSEN_BY} on validation", ""], *rows]
