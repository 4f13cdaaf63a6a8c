"""Charts as inline SVG, drawn by hand so that every installation has them.

Colours come from the page: what belongs to the n-th name has the n-th of the classes in `_CLASSES`, in turn.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Band", "bar_chart", "difference_chart", "interval_chart", "line_chart"]

_WIDTH = 720
_CLASSES = ("first", "second", "third", "fourth", "fifth", "sixth")


class Band(NamedTuple):
    """A figure with the ends of its interval."""

    value: float
    low: float
    high: float


class _Canvas:
    """The elements of a drawing, coordinates in pixels from the upper left corner."""

    def __init__(self, height: float, label: str) -> None:
        self._height = height
        self._label = label
        self._elements: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> None:
        self._elements.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> None:
        self._elements.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
        )

    def dot(self, x: float, y: float, kind: str, tip: str) -> None:
        self._elements.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{html.escape(tip)}</title></circle>'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str, tip: str) -> None:
        self._elements.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{html.escape(tip)}</title></rect>"
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str, element: str = "polyline") -> None:
        listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._elements.append(f'<{element} class="{kind}" points="{listed}"/>')

    def legend(self, names: Sequence[str], x: float, y: float) -> None:
        for name, colour in zip(names, _colours(), strict=False):
            self.dot(x + 4, y - 4, colour, name)
            self.text(x + 14, y, name, kind="name")
            x += 34 + 7.5 * len(name)

    def svg(self) -> str:
        body = "\n".join(self._elements)
        return (
            f'<svg viewBox="0 0 {_WIDTH} {self._height:.0f}" role="img" aria-label="{html.escape(self._label)}">\n'
            f"{body}\n</svg>"
        )


def interval_chart(panels: Mapping[str, Mapping[str, Band]], label: str) -> str:
    """One small panel a metric, each with its own scale from 0: a dot a model, a line for its interval.

    Parameters
    ----------
    panels : mapping of metric to mapping of model name to Band
        The models of every panel are the same.
    label : str
        What the chart shows, for those who cannot see it.
    """
    names = list(next(iter(panels.values())))
    n_columns, panel_height = 3, 34 + 22 * len(names)
    n_rows = math.ceil(len(panels) / n_columns)
    canvas = _Canvas(28 + n_rows * panel_height, label)
    canvas.legend(names, 8, 16)
    span = _WIDTH / n_columns
    for place, (metric, bands) in enumerate(panels.items()):
        left, top = 8 + span * (place % n_columns), 28 + panel_height * (place // n_columns)
        right, bottom = left + span - 44, top + 18 + 22 * len(names)
        ticks = _ticks(max(band.high for band in bands.values()), 3)
        scale = _scale(0, ticks[-1], left, right)
        canvas.text(left, top + 14, metric, kind="name")
        canvas.line(left, bottom, right, bottom)
        for tick in ticks:
            canvas.text(scale(tick), bottom + 13, _shown(tick), "middle")
        for row, (band, colour) in enumerate(zip(bands.values(), _colours(), strict=False)):
            y = top + 30 + 20 * row
            canvas.line(scale(band.low), y, scale(band.high), y, f"{colour}-line whisker")
            tip = f"{names[row]}: {band.value:.4f} [{band.low:.4f}, {band.high:.4f}]"
            canvas.dot(scale(band.value), y, colour, tip)
    return canvas.svg()


def line_chart(x: Sequence[float], curves: Mapping[str, Sequence[Band]], x_label: str, y_label: str, label: str) -> str:
    """A curve a model over `x` on a logarithmic scale, with its interval as a band; `y` starts at 0."""
    canvas, height = _Canvas(300, label), 300
    left, right, top, bottom = 52, _WIDTH - 16, 34, height - 40
    ticks = _ticks(max(band.high for curve in curves.values() for band in curve), 5)
    to_x = _scale(math.log(x[0]), math.log(x[-1]), left + 10, right - 10)
    to_y = _scale(0, ticks[-1], bottom, top)
    _frame(canvas, ticks, to_y, left, right, y_label)
    canvas.legend(list(curves), left + 90, 16)
    for value in x:
        canvas.text(to_x(math.log(value)), bottom + 16, _shown(value), "middle")
    canvas.text((left + right) / 2, height - 6, x_label, "middle")
    for (name, curve), colour in zip(curves.items(), _colours(), strict=False):
        places = [to_x(math.log(value)) for value in x]
        upper = [(place, to_y(band.high)) for place, band in zip(places, curve, strict=True)]
        lower = [(place, to_y(band.low)) for place, band in zip(places, curve, strict=True)]
        canvas.path([*upper, *reversed(lower)], f"{colour}-band", "polygon")
        canvas.path([(place, to_y(b.value)) for place, b in zip(places, curve, strict=True)], f"curve {colour}-line")
        for place, value, band in zip(places, x, curve, strict=True):
            canvas.dot(place, to_y(band.value), colour, f"{name}, {_shown(value)}: {band.value:.4f}")
    return canvas.svg()


def bar_chart(groups: Mapping[str, Mapping[str, float]], y_label: str, label: str) -> str:
    """Bars from 0: a group a label, and in each a bar a name."""
    canvas, height = _Canvas(280, label), 280
    left, right, top, bottom = 52, _WIDTH - 16, 34, height - 28
    ticks = _ticks(max(value for bars in groups.values() for value in bars.values()), 5)
    to_y = _scale(0, ticks[-1], bottom, top)
    _frame(canvas, ticks, to_y, left, right, y_label)
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    canvas.legend(names, left + 90, 16)
    span = (right - left) / len(groups)
    # Every n-th label, where they would run into one another.
    n_apart = math.ceil(7.5 * max(map(len, groups)) / span)
    for place, (group, bars) in enumerate(groups.items()):
        width = 0.72 * span / len(bars)
        start = left + span * (place + 0.14)
        if place % n_apart == 0:
            canvas.text(left + span * (place + 0.5), bottom + 16, group, "middle")
        for row, (name, value) in enumerate(bars.items()):
            tip = f"{group}, {name}: {_shown(value)}"
            canvas.box(
                start + row * width,
                to_y(value),
                0.92 * width,
                bottom - to_y(value),
                _CLASSES[names.index(name) % len(_CLASSES)],
                tip,
            )
    return canvas.svg()


def difference_chart(bands: Mapping[str, Band], label: str) -> str:
    """A row a difference, on one scale around 0: a dot with a line for its interval."""
    canvas = _Canvas(40 + 24 * len(bands), label)
    left, right, bottom = 16 + 7.5 * max(map(len, bands)), _WIDTH - 24, 12 + 24 * len(bands)
    reach = max(max(abs(band.low), abs(band.high), abs(band.value)) for band in bands.values())
    ticks = _ticks(reach, 2)
    scale = _scale(-ticks[-1], ticks[-1], left, right)
    for tick in sorted({-tick for tick in ticks} | set(ticks)):
        canvas.line(scale(tick), 4, scale(tick), bottom)
        canvas.text(scale(tick), bottom + 16, _shown(tick), "middle")
    for row, (name, band) in enumerate(bands.items()):
        y = 18 + 24 * row
        canvas.text(8, y + 4, name, kind="name")
        canvas.line(scale(band.low), y, scale(band.high), y, "second-line whisker")
        canvas.dot(scale(band.value), y, "second", f"{name}: {band.value:+.4f} [{band.low:+.4f}, {band.high:+.4f}]")
    return canvas.svg()


def _colours() -> Iterator[str]:
    return itertools.cycle(_CLASSES)


def _frame(
    canvas: _Canvas, ticks: Sequence[float], to_y: Callable[[float], float], left: float, right: float, y_label: str
) -> None:
    canvas.text(8, 16, y_label)
    for tick in ticks:
        canvas.line(left, to_y(tick), right, to_y(tick))
        canvas.text(left - 6, to_y(tick) + 4, _shown(tick), "end")


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(high: float, n: int) -> list[float]:
    """About `n` round numbers from 0; the last is at least `high`, and above 0 also where `high` is not."""
    rough = max(high, 1e-9) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    n_steps = max(1, math.ceil(high / step - 1e-9))
    return [step * i for i in range(n_steps + 1)]


def _shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
