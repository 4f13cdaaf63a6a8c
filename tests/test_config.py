"""`likewise.show_config`, the page that belongs into a bug report."""

from __future__ import annotations

import json

import numpy as np
import pytest

import likewise as lw
from likewise import _core


def test_show_config_returns_a_dictionary(capsys):
    config = lw.show_config(mode="dict")
    assert capsys.readouterr().out == ""
    assert config["likewise"] == lw.__version__
    assert config["simd"]["available"] == _core.available_simd()
    assert config["simd"]["in_use"] in _core.available_simd()
    assert config["threads"] >= 1
    assert config["dependencies"]["numpy"] == np.__version__
    assert all(config["dependencies"].values())
    json.dumps(config)


def test_show_config_prints_the_same(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert lw.show_config() is None
    out = capsys.readouterr().out
    config = lw.show_config(mode="dict")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line)
    assert lines["likewise"] == lw.__version__
    assert lines["threads"] == "1 (n_jobs=None)"
    assert lines["CUDA"] == config["cuda"]
    assert lines["instructions"].startswith(config["simd"]["in_use"])
    for name, version in {**config["dependencies"], **config["optional"]}.items():
        assert lines[name] == (version or "not installed")


def test_show_config_refuses_another_mode():
    with pytest.raises(ValueError, match=r"^show_config: mode must be one of 'print', 'dict', got 'html'$"):
        lw.show_config(mode="html")
