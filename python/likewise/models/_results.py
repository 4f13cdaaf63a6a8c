"""What `recommend`, `similar_items`, `similar_users` and `explain` return: ids beside scores; all print and unpack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise._report import html_table
from likewise.data._frames import make_frame

__all__ = ["Explanation", "Recommendations", "SimilarItems", "SimilarUsers"]

_SHOWN_ROWS = 10
_SHOWN_COLUMNS = 10


@dataclass(frozen=True, eq=False, repr=False)
class _Ranking:
    """For each query a row of ids, best first, and their scores. An empty slot is -1 (None) with score -inf."""

    queries: npt.NDArray[Any]
    ids: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]

    _query_name: ClassVar[str] = "query"
    _id_name: ClassVar[str] = "id"

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Unpack as ``ids, scores``."""
        return iter((self.ids, self.scores))

    def __len__(self) -> int:
        """Number of queries."""
        return 1 if self.ids.ndim == 1 else len(self.ids)

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Return columns with an entry for each id given: query, id, score and rank (from 1), empty slots left out.

        Returns
        -------
        dict of str to ndarray of shape (n,)
        """
        ids, scores = np.atleast_2d(self.ids), np.atleast_2d(self.scores)
        filled = scores > -np.inf
        ranks = np.broadcast_to(np.arange(1, ids.shape[1] + 1), ids.shape)
        return {
            self._query_name: np.repeat(np.atleast_1d(self.queries), filled.sum(axis=1)),
            self._id_name: ids[filled],
            "score": scores[filled],
            "rank": ranks[filled],
        }

    def to_frame(self, library: str | None = None) -> Any:
        """Return the columns of `to_dict` as a data frame.

        Parameters
        ----------
        library : {"pandas", "polars", "pyarrow"}, default=None
            Library of the frame; None takes the first of them that is installed.

        Raises
        ------
        ImportError
            If the library, or each of the three, is missing.
        """
        return make_frame(self.to_dict(), "to_frame", library)

    def __repr__(self) -> str:
        ids, scores = np.atleast_2d(self.ids), np.atleast_2d(self.scores)
        lines = [f"{type(self).__name__}({len(ids)} x {ids.shape[1]})"]
        for query, row, row_scores in zip(np.atleast_1d(self.queries)[:_SHOWN_ROWS], ids, scores, strict=False):
            filled = row_scores > -np.inf
            shown = [f"{item} ({score:.3g})" for item, score in zip(row[filled], row_scores[filled], strict=True)]
            lines.append(f"  {query}: {', '.join(shown[:5]) or 'nothing'}{', ...' if len(shown) > 5 else ''}")
        if len(ids) > _SHOWN_ROWS:
            lines.append(f"  ... {len(ids) - _SHOWN_ROWS} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        ids, scores = np.atleast_2d(self.ids), np.atleast_2d(self.scores)
        n_shown = min(ids.shape[1], _SHOWN_COLUMNS)
        rows = [[self._query_name, *(str(rank + 1) for rank in range(n_shown))]]
        for query, row, row_scores in zip(np.atleast_1d(self.queries)[:_SHOWN_ROWS], ids, scores, strict=False):
            cells = [
                f"{item} ({score:.3g})" if score > -np.inf else ""
                for item, score in zip(row[:n_shown], row_scores[:n_shown], strict=True)
            ]
            rows.append([str(query), *cells])
        size = f"{len(ids)} x {ids.shape[1]}"
        note = f"<small>{size}; the first of each are shown</small>" if (len(rows) - 1, n_shown) != ids.shape else ""
        return f"{html_table(rows)}{note}"


class Recommendations(_Ranking):
    """Items for users.

    Attributes
    ----------
    users : ndarray of shape (n,)
        Whom the rows are for, as asked.
    items : ndarray of shape (n, k), or (k,) for a single user
        Item ids (row numbers where the model speaks those), best first; -1 or None in an empty slot.
    scores : ndarray of shape (n, k) or (k,), float32
        ``-inf`` in an empty slot.
    """

    _query_name = "user"
    _id_name = "item"

    @property
    def users(self) -> npt.NDArray[Any]:
        """Whom the rows are for."""
        return self.queries

    @property
    def items(self) -> npt.NDArray[Any]:
        """The recommended items."""
        return self.ids


class SimilarItems(_Ranking):
    """Items like other items; attributes ``queries``, ``items`` and ``scores``, shaped as in `Recommendations`."""

    _query_name = "query"
    _id_name = "item"

    @property
    def items(self) -> npt.NDArray[Any]:
        """The similar items."""
        return self.ids


class SimilarUsers(_Ranking):
    """Users like other users; attributes ``queries``, ``users`` and ``scores``, shaped as in `Recommendations`."""

    _query_name = "query"
    _id_name = "user"

    @property
    def users(self) -> npt.NDArray[Any]:
        """The similar users."""
        return self.ids


class Explanation(NamedTuple):
    """Why a user gets an item: the score, and what each item of the user's history adds to it."""

    score: float
    """The sum of all contributions: what `predict` gives, and of a model of vectors its score after a fold-in."""
    items: npt.NDArray[Any]
    """Items of the user's history, greatest contribution first."""
    contributions: npt.NDArray[np.float64]
    """What each adds; over the whole history they sum to `score`."""

    def to_frame(self, library: str | None = None) -> Any:
        """Return items and contributions as a data frame.

        Parameters
        ----------
        library : {"pandas", "polars", "pyarrow"}, default=None
            Library of the frame; None takes the first of them that is installed.

        Raises
        ------
        ImportError
            If the library, or each of the three, is missing.
        """
        return make_frame({"item": self.items, "contribution": self.contributions}, "Explanation.to_frame", library)
