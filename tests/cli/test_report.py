"""Tables and charts: what is drawn, and where."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import likewise as lw
from likewise._report import (
    Band,
    bar_chart,
    html_page,
    html_table,
    interval_chart,
    line_chart,
    text_table,
)
from likewise._report.charts import _ticks
from likewise.evaluation import results_table


@pytest.fixture
def result():
    train, test = np.array([[1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 0], [0, 0, 1]])
    return lw.evaluate(lw.Popularity().fit(train), train, test, ["mrr@3", "auc"])


def test_results_table_has_a_row_a_metric(result):
    assert results_table({"a": result, "b": result}) == [
        ["metric", "a", "b"],
        *([name, *[f"{result[name]:.4f} [{low:.4f}, {high:.4f}]"] * 2] for name, (low, high) in intervals(result)),
    ]


def intervals(result):
    return [(name, result.interval(name)) for name in result]


def test_results_table_without_intervals():
    X = np.eye(2)
    result = lw.evaluate(lw.Popularity().fit(X), X, 1 - X, "mrr@2", n_bootstrap=0)
    assert results_table({"a": result}) == [["metric", "a"], ["mrr@2", "1.0000"]]


def test_text_table_lines_columns_up():
    assert (
        text_table([["a", "long name"], ["wide cell", "1"]])
        == "a          long name\n---------  ---------\nwide cell  1"
    )


def test_html_escapes_what_it_is_given():
    assert "<td>&lt;b&gt; &amp; co</td>" in html_table([["head"], ["<b> & co"]])
    assert "<title>1 &lt; 2</title>" in html_page("1 < 2", [])


CHARTS = {
    "intervals": lambda a, b: interval_chart({"m<1>": {"A&B": a, "C": b}, "other": {"A&B": b, "C": a}}, "both"),
    "lines": lambda a, b: line_chart((1, 10, 100), {"A&B": [a, b, a], "C": [b, b, b]}, "x<1>", "y", "both"),
    "bars": lambda a, b: bar_chart({"g<1>": {"A&B": a.value, "C": b.value}, "h": {"C": b.high}}, "y", "both"),
}
figures = st.floats(0, 1e6, allow_subnormal=False).map(lambda value: Band(value, 0.9 * value, 1.2 * value))


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
@given(a=figures, b=figures)
def test_charts_are_well_formed_and_stay_on_the_canvas(draw, a, b):
    svg = ET.fromstring(draw(a, b))
    _, _, width, height = map(float, svg.get("viewBox").split())
    for element in svg.iter():
        for axis, size in (("x", width), ("y", height)):
            places = [
                float(element.get(name)) for name in (axis, f"{axis}1", f"{axis}2", f"c{axis}") if element.get(name)
            ]
            assert all(0 <= place <= size for place in places), ET.tostring(element)
        for pair in (element.get("points") or "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_intervals_stand_at_their_figures():
    svg = ET.fromstring(interval_chart({"m": {"A": Band(0.5, 0.25, 1.0), "B": Band(0, 0, 0)}}, "one"))
    whisker, _ = svg.findall("line[@class='first-line whisker']"), svg.findall("line")
    _, dot = svg.findall("circle[@class='first']")  # the first is the legend's
    zero = float(svg.findall("circle[@class='second']")[1].get("cx"))
    low, high = float(whisker[0].get("x1")), float(whisker[0].get("x2"))
    assert (low - zero) / (high - zero) == pytest.approx(0.25, abs=1e-2)
    assert (float(dot.get("cx")) - zero) / (high - zero) == pytest.approx(0.5, abs=1e-2)
    assert dot.find("title").text == "A: 0.5000 [0.2500, 1.0000]"


def test_bars_are_as_high_as_their_figures():
    svg = ET.fromstring(bar_chart({"g": {"A": 1.0, "B": 3.0}}, "y", "two"))
    heights = [float(box.get("height")) for box in svg.findall("rect")]
    assert heights[1] == pytest.approx(3 * heights[0], rel=1e-2)


@given(high=st.floats(0, 1e9, allow_subnormal=False), n=st.integers(2, 8))
def test_ticks_are_round_and_reach_the_top(high, n):
    ticks = _ticks(high, n)
    assert ticks[0] == 0
    assert ticks[-1] >= high * (1 - 1e-8)
    assert ticks[-1] > 0
    assert 2 <= len(ticks) <= n + 2
    digits = f"{ticks[1]:.6e}".replace(".", "").partition("e")[0].rstrip("0")
    assert digits in ("1", "2", "25", "5")
