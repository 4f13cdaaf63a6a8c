"""Progress of long loops: a tqdm bar when `verbose` asks for one, otherwise nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tqdm.auto import tqdm

__all__ = ["ProgressBar"]


class ProgressBar:
    """An iterable with a progress bar; `set` shows figures (a loss, a metric) beside it.

    Parameters
    ----------
    steps : iterable
        What is iterated over.
    verbose : bool or int
        Whether a bar is drawn at all.
    description, unit : str
        What the bar counts.
    total : int, default=None
        Number of steps where `steps` has no length.
    """

    def __init__(
        self, steps: Iterable[Any], *, verbose: bool | int, description: str, unit: str = "it", total: int | None = None
    ) -> None:
        self._bar = tqdm(steps, desc=description, unit=unit, total=total, disable=not verbose, leave=False)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._bar)

    def set(self, **figures: float) -> None:
        """Show named figures at the end of the bar."""
        self._bar.set_postfix({name: f"{value:.6g}" for name, value in figures.items()}, refresh=False)
