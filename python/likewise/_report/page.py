"""An HTML page that needs no other file: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["html_figure", "html_page", "html_table", "html_text"]

# The classes of charts.py are coloured here, so that a page has one palette, by day and by night.
_STYLE = """
:root { --ink: #1f2430; --quiet: #667085; --rule: #d9dde5; --paper: #ffffff; --first: #8a94a6; --second: #d9480f;
  --third: #1c7ed6; --fourth: #2b8a3e; --fifth: #9c36b5; --sixth: #b08900; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --quiet: #98a2b3; --rule: #3a4150; --paper: #171a21; --first: #8a94a6; --second: #ff8243;
    --third: #4dabf7; --fourth: #51cf66; --fifth: #da77f2; --sixth: #ffd43b; }
}
body { margin: 2.5rem auto; max-width: 58rem; padding: 0 1.2rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
p, li { max-width: 46rem; } .quiet, figcaption, footer { color: var(--quiet); font-size: .88rem; }
figure { margin: 1.2rem 0; } svg { width: 100%; height: auto; } footer { margin-top: 3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; }
th, td { padding: .28rem .9rem .28rem 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
svg text { font: 12px system-ui, sans-serif; fill: var(--quiet); } svg .name { fill: var(--ink); font-weight: 600; }
svg .axis { stroke: var(--rule); } svg .whisker { stroke-width: 2; } svg .curve { fill: none; stroke-width: 2; }
"""
for _name in ("first", "second", "third", "fourth", "fifth", "sixth"):
    _STYLE += f"svg .{_name} {{ fill: var(--{_name}); }} svg .{_name}-line {{ stroke: var(--{_name}); }}\n"
    _STYLE += f"svg .{_name}-band {{ fill: var(--{_name}); opacity: .18; }}\n"


def html_page(title: str, parts: Sequence[str]) -> str:
    """The page with its parts, which are HTML already."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def html_text(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{html.escape(text)}</p>'


def html_figure(svg: str, caption: str) -> str:
    """A chart with its caption."""
    return f"<figure>\n{svg}\n<figcaption>{html.escape(caption)}</figcaption>\n</figure>"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table; the first row is its header."""
    header, *body = rows
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return '<div class="scroll"><table>\n' + "\n".join(lines) + "\n</table></div>"
