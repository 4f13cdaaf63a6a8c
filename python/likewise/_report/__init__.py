"""Results on paper: tables as text and HTML, charts as SVG, and a page that needs no other file."""

from .charts import Band, bar_chart, interval_chart, line_chart
from .page import html_page, html_table
from .tables import results_table, text_table

__all__ = [
    "Band",
    "bar_chart",
    "html_page",
    "html_table",
    "interval_chart",
    "line_chart",
    "results_table",
    "text_table",
]
