"""Every example in a docstring of the package runs, as a reader would type it."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import likewise

MODULES = [
    info.name
    for info in pkgutil.walk_packages(likewise.__path__, "likewise.")
    if info.name.rpartition(".")[2] not in ("_core", "_cuda")  # extensions: their headers document them
]


# Examples that need a library of an extra, any of these.
OPTIONAL = {"likewise.retrieval.approximate": ("usearch", "faiss", "hnswlib")}


def _is_installed(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _examples(name):
    return [test for test in doctest.DocTestFinder().find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", ["likewise", *MODULES])
def test_examples_of_the_module_run(name):
    wanted = OPTIONAL.get(name, ())
    if wanted and not any(map(_is_installed, wanted)):
        pytest.skip(f"none of {', '.join(wanted)} is installed")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in _examples(name):
        assert runner.run(test).failed == 0, f"the example of {test.name} gives something else"


@pytest.mark.parametrize("name", ["ImplicitALS", "Popularity", "load", "Interactions", "evaluate"])
def test_what_a_user_meets_first_has_an_example(name):
    documented = getattr(likewise, name)
    assert any(test.examples for test in doctest.DocTestFinder().find(documented, name, module=False))
