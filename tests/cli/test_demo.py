"""`likewise demo`, as a new user runs it: nothing installed but what the package requires."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import likewise as lw
from likewise import _demo

# Modules that an installation without extras does not have.
WITHOUT_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "pandas", "polars", "pyarrow"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from likewise.cli import main
sys.exit(main(["demo", "--output", "report.html"]))
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Output of one run, and its report."""
    folder = tmp_path_factory.mktemp("demo")
    environment = os.environ | {"PYTHONPATH": str(Path(lw.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return done.stdout, (folder / "report.html").read_text(encoding="utf-8")


def test_als_clearly_beats_popularity(demo):
    line = re.compile(r"^(\S+@\d+) +(\S+) \[(\S+), (\S+)\] +(\S+) \[(\S+), (\S+)\] +(\S+)$", flags=re.MULTILINE)
    rows = {name: [float(figure) for figure in figures] for name, *figures in line.findall(demo[0])}
    assert set(rows) >= {"ndcg@10", "recall@10", "precision@10", "hit_rate@10", "map@10", "mrr@10"}
    for mean, low, high, als_mean, als_low, als_high, ratio in rows.values():
        assert low <= mean <= high < als_low <= als_mean <= als_high
        assert ratio == pytest.approx(als_mean / mean, abs=0.02)
    assert rows["ndcg@10"][3] > 0.075


def test_figures_are_those_of_the_library(demo):
    data = lw.datasets.load_online_retail()
    train, test = lw.model_selection.temporal_split(data, cutoff="2011-10-01")
    users = data.user_ids[(train.by_user.row_counts() > 0) & (test.by_user.row_counts() > 0)]
    expected = lw.evaluate(lw.Popularity().fit(train), train, test, "ndcg@10", users=users)
    low, high = expected.interval("ndcg@10")
    assert f"{expected['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]" in demo[0]
    assert f"{expected['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]" in demo[1]


def test_three_customers_get_products_that_they_did_not_have(demo):
    data = lw.datasets.load_online_retail()
    train, test = lw.model_selection.temporal_split(data, cutoff="2011-10-01")
    described = data.item_info["description"]
    stories = re.split(r"^Customer (\d+), .*$", demo[0].partition("\nSimilar to")[0], flags=re.MULTILINE)[1:]
    assert len(stories) == 6
    for user, text in zip(stories[::2], stories[1::2], strict=True):
        (row,) = data.user_index(int(user))
        had, came = ({str(described[i]) for i in part.by_user.row(int(row))[0]} for part in (train, test))
        bought, recommended = text.split("because of")
        shown = re.findall(r"^  \d{4}-\d\d-\d\d +(.+?)  +£", bought, flags=re.MULTILINE)
        assert len(shown) == 8
        assert set(shown) <= {" ".join(name.split("\n")).strip() for name in had}
        lines = re.findall(r"^  (bought)? +(.+?)  +£[\d.]+ +(.+)$", recommended, flags=re.MULTILINE)
        assert len(lines) == 10
        for mark, product, reason in lines:
            assert product not in had
            assert reason in {name.strip() for name in had}
            assert bool(mark) == (product in {name.strip() for name in came})


def test_similar_products_share_a_word(demo):
    similar = demo[0].split("\nSimilar to ")[1:]
    assert len(similar) == 2
    for text, word in zip(similar, ("CAKE|REGENCY", "JUMBO"), strict=True):
        rows = re.findall(r"^  (.+?)  +£\S+ +0\.\d\d$", text, flags=re.MULTILINE)
        assert len(rows) == 8
        assert all(re.search(word, row) for row in rows)


class _Checker(HTMLParser):
    """Holds that tags are closed in order, and collects what would be loaded from elsewhere."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.counts = [], [], {}

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.loads += [(name, value) for name, value in attrs if name in ("src", "href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_report_is_one_whole_file(demo):
    _, page = demo
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.loads == []
    assert "url(" not in page
    assert "@import" not in page
    assert checker.counts["svg"] == 5
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert ET.fromstring(svg).get("aria-label")


def test_report_says_what_was_tried_and_whose_data_it_is(demo):
    _, page = demo
    tried = re.findall(r"<tr><td>(\d+)</td>.*?<td>(0\.\d+)</td><td>(chosen)?</td></tr>", page)
    assert len(tried) == len(_demo._CANDIDATES)
    (chosen,) = [float(value) for _, value, mark in tried if mark]
    assert chosen == max(float(value) for _, value, _ in tried)
    assert "Daqing Chen" in page
    assert "CC BY 4.0" in page


def test_history_groups_cover_every_customer():
    data = lw.Interactions.from_arrays(
        np.repeat(np.arange(130), np.arange(130)), np.concatenate([np.arange(n) for n in range(130)])
    )
    model = lw.Popularity().fit(data)
    result = lw.evaluate(model, data, data, "ndcg@10", exclude_seen=False)
    groups = _demo._by_history(data, {"Popularity": result})
    assert list(groups) == ["1–9", "10–29", "30–99", "100 and more"]
    sizes = [9, 20, 70, 30]
    mean = np.average([bars["Popularity"] for bars in groups.values()], weights=sizes)
    assert mean == pytest.approx(result["ndcg@10"])
