"""What the installed package has to carry, and what it must not."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import likewise as lw

PACKAGE = Path(lw.__file__).parent


def test_version_is_that_of_the_distribution():
    try:
        installed = importlib.metadata.version("likewise")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("likewise runs from a source tree, without metadata")
    assert installed == lw.__version__


@pytest.mark.parametrize("name", ["py.typed", "_core.pyi", "_cuda.pyi"])
def test_package_is_typed(name):
    assert (PACKAGE / name).is_file()


def test_bundled_data_stays_under_four_megabytes():
    sizes = [path.stat().st_size for path in (PACKAGE / "data" / "bundled").iterdir()]
    assert sizes
    assert sum(sizes) < 4e6


def test_public_names_exist_and_are_sorted():
    assert all(hasattr(lw, name) for name in lw.__all__)
    assert len(set(lw.__all__)) == len(lw.__all__)


def test_every_public_name_is_imported_from_where_the_type_checker_looks():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert {name: module or "" for name, module in typed.items()} == lw._HOME
    for name, module in typed.items():
        home = importlib.import_module("likewise" + (f".{module}" if module else ""))
        assert getattr(lw, name) is getattr(home, name)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'likewise' has no attribute 'ImplicitSVD'"):
        lw.ImplicitSVD  # noqa: B018
    assert set(lw.__all__) <= set(dir(lw))


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        ("likewise", set()),
        ("likewise.cli", set()),
        ("likewise.data, likewise.model_selection, likewise.retrieval", {"numpy", "scipy"}),
    ],
    ids=["likewise", "cli", "data and retrieval"],
)
def test_import_brings_in_nothing_heavy(modules, allowed):
    heavy = {"numpy", "scipy", "sklearn", "pandas", "polars", "torch", "cupy", "matplotlib", "optuna"} - allowed
    code = f"import sys, {modules}; print(*{heavy} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
