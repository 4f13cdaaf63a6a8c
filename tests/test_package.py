"""What the installed package has to carry, and what it must not."""

from __future__ import annotations

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
    assert sorted(lw.__all__) == list(lw.__all__)


def test_import_brings_in_no_heavy_extra():
    code = "import sys, likewise; print(*{'torch', 'cupy', 'polars', 'matplotlib', 'optuna'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
