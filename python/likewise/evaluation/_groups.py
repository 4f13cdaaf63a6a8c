"""Figures of groups of users or items, side by side."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise._validation import is_null
from likewise.data._frames import make_frame

__all__ = ["GroupedResult", "group_codes"]

_NO_GROUP = "(none)"


def group_codes(
    given: Any, ids: list[Any], subject: str, name: str, whose: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return the labels of groups in rising order, and the place of each one's group among them.

    Parameters
    ----------
    given : array-like of shape (n,) or mapping
        A label for each id, or labels by id; null ones and missing ones are the group ``"(none)"``.
    ids : list of length n
        Who is grouped.
    subject, name, whose : str
        What an error names: who asks, the argument, and what is grouped.

    Raises
    ------
    ValueError
        There is not a label for each, or a mapping has none of them.
    """
    if isinstance(given, Mapping):
        if ids and not any(one in given for one in ids):
            raise ValueError(f"{subject}: {name} has none of the {len(ids)} {whose}")
        labels = [given.get(one) for one in ids]
    else:
        labels = list(given)
        if len(labels) != len(ids):
            raise ValueError(
                f"{subject}: {name} must have a label for each of the {len(ids)} {whose}, got {len(labels)}"
            )
    names = np.array([_NO_GROUP if is_null(label) else str(label) for label in labels], dtype=object)
    distinct, codes = np.unique(names, return_inverse=True)
    return distinct, codes.astype(np.int32)


class GroupedResult(Mapping[str, npt.NDArray[Any]]):
    """Figures of each group: a mapping of names to arrays, an entry a group.

    Attributes
    ----------
    kind : str
        What is grouped: ``"user group"`` or ``"item group"``.
    groups : ndarray of shape (n_groups,), object
        Labels of the groups, in order.
    """

    def __init__(self, kind: str, groups: npt.NDArray[Any], columns: Mapping[str, npt.NDArray[Any]]) -> None:
        self.kind = kind
        self.groups = groups
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Figures of one name, an entry a group."""
        if name not in self._columns:
            raise KeyError(f"GroupedResult: {name!r} is not there; there are {', '.join(self)}")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def gap(self, name: str) -> float:
        """Return the greatest difference of two groups; NaN with fewer than two that have a figure.

        Parameters
        ----------
        name : str
            As ``"recall@10"``.

        Raises
        ------
        KeyError
            If there are no such figures.
        """
        figures = self[name].astype(np.float64)
        figures = figures[~np.isnan(figures)]
        return float(figures.max() - figures.min()) if figures.size > 1 else float("nan")

    def to_frame(self, library: str | None = None) -> Any:
        """Return a row a group.

        Parameters
        ----------
        library : {"pandas", "polars", "pyarrow"}, default=None
            None takes the first of them that is installed.

        Raises
        ------
        ImportError
            If no such library is installed.
        """
        return make_frame(
            {self.kind.replace(" ", "_"): self.groups, **self._columns}, "GroupedResult.to_frame", library
        )

    def __repr__(self) -> str:
        rows = [[self.kind, *self], *self._rows()]
        first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = []
        for group, *figures in rows:
            cells = [cell.rjust(width) for cell, width in zip(figures, widths, strict=True)]
            lines.append("  ".join([group.ljust(first), *cells]))
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in (self.kind, *self))
        body = "".join(
            f"<tr><th>{html.escape(row[0])}</th>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row[1:])}</tr>"
            for row in self._rows()
        )
        return f"<table><tr>{head}</tr>{body}</table>"

    def _rows(self) -> list[list[str]]:
        return [
            [str(group), *(_shown(column[j]) for column in self._columns.values())]
            for j, group in enumerate(self.groups)
        ]


def _shown(figure: Any) -> str:
    return str(int(figure)) if isinstance(figure, np.integer) else f"{figure:.4f}"
