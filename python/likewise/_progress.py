"""Progress of long loops: a tqdm bar when `verbose` asks for one, otherwise nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
        Number of steps where `steps` has no length; of units where `size` is given.
    size : callable, default=None
        How many units a step is, where that is not one.
    """

    def __init__(
        self,
        steps: Iterable[Any],
        *,
        verbose: bool | int,
        description: str,
        unit: str = "it",
        total: int | None = None,
        size: Callable[[Any], int] | None = None,
    ) -> None:
        counted = steps if size is None else None
        self._bar = tqdm(counted, desc=description, unit=unit, total=total, disable=not verbose, leave=False)
        self._steps, self._size = steps, size

    def __iter__(self) -> Iterator[Any]:
        if self._size is None:
            yield from self._bar
            return
        with self._bar:
            for step in self._steps:
                yield step
                self._bar.update(self._size(step))

    def set(self, **figures: float) -> None:
        """Show named figures at the end of the bar."""
        self._bar.set_postfix({name: f"{value:.6g}" for name, value in figures.items()}, refresh=False)
