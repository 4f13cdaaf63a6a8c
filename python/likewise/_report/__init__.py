"""Results on paper: tables as text and HTML, charts as SVG, and a page that needs no other file."""

from .charts import Band, bar_chart, difference_chart, interval_chart, line_chart
from .page import html_figure, html_page, html_table, html_text
from .tables import text_table

__all__ = [
    "Band",
    "bar_chart",
    "difference_chart",
    "html_figure",
    "html_page",
    "html_table",
    "html_text",
    "interval_chart",
    "line_chart",
    "text_table",
]
