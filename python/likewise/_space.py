"""What a search tries: ranges of numbers and lists of choices, by name of parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Range", "Space", "default_space"]


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included: whole ones where both are ints.

    Examples
    --------
    >>> from likewise.model_selection import Range
    >>> space = {"factors": Range(16, 256, log=True), "regularization": Range(1e-4, 1.0, log=True)}
    """

    low: float
    high: float
    log: bool = False
    """Whether as many are tried between 1 and 10 as between 10 and 100."""


Space = Mapping[str, Range | Sequence[Any]]
"""A `Range`, or a list of choices, for each parameter."""


def default_space(model: Any) -> dict[str, Any]:
    """Return what `tune` tries of a model where it is told nothing else; empty where there is nothing to choose.

    Parameters
    ----------
    model : Recommender

    Examples
    --------
    >>> import likewise as lw
    >>> space = lw.model_selection.default_space(lw.RP3Beta())
    >>> {**space, "k": [50, 100]}["beta"]
    Range(low=0.0, high=1.2, log=False)
    """
    return dict(model._search_space)
