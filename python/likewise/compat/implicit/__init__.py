"""The interface of implicit 0.7.3 over these models: ``import likewise.compat.implicit as implicit``.

What is mended, and what differs, stands in docs/migrating-from-implicit.md.
"""

from __future__ import annotations

import sys

from . import als, approximate_als, bpr, cpu, evaluation, gpu, lmf, nearest_neighbours, recommender_base, utils

__version__ = "0.7.3"

__all__ = [
    "__version__",
    "als",
    "approximate_als",
    "bpr",
    "cpu",
    "evaluation",
    "gpu",
    "install",
    "lmf",
    "nearest_neighbours",
    "recommender_base",
    "utils",
]


def install() -> None:
    """Register this package, and every module in it, under the name ``implicit``.

    For code that cannot be changed: whatever says ``import implicit`` from then on, in this process, gets these models.
    Models of an `implicit` that was imported before stay what they are.

    Examples
    --------
    >>> import likewise.compat.implicit
    >>> likewise.compat.implicit.install()
    >>> from implicit.als import AlternatingLeastSquares
    >>> AlternatingLeastSquares(factors=8).__class__.__module__
    'likewise.compat.implicit.cpu.als'
    """
    for name in [name for name in sys.modules if name == "implicit" or name.startswith("implicit.")]:
        del sys.modules[name]
    for name, module in list(sys.modules.items()):
        if name == __name__ or name.startswith(f"{__name__}."):
            sys.modules["implicit" + name[len(__name__) :]] = module
