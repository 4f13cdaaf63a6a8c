"""Names and shares from what perf prints; no sample is taken."""

from __future__ import annotations

import shutil

import pytest

from bench import profile, run

REPORT = """
# Overhead  Symbol
    30.00%  [.] likewise::simd::Micro<likewise::simd::(anonymous namespace)::Avx512>::register_tile<8, 2, (Update)0>
    20.00%  [.] likewise::simd::Micro<likewise::simd::(anonymous namespace)::Avx512>::register_tile<8, 2, (Update)1>
    20.00%  [.] likewise::cpu::(anonymous namespace)::RowEngine::solve_cg
     9.80%  [.] likewise::simd::(anonymous namespace)::pack_tiles
     0.20%  [.] likewise::cpu::gramian
    20.00%  [.] 0x000000000000abcd
"""


def test_shares_are_summed_by_function() -> None:
    assert profile.shares(REPORT) == {
        "register_tile": 0.5,
        "RowEngine::solve_cg": 0.2,
        "pack_tiles": 0.098,
        "other": 0.202,
    }


def test_an_extension_without_symbols_is_an_error() -> None:
    with pytest.raises(profile.ProfileUnavailableError, match="no symbols; build it with"):
        profile.shares("    99.00%  [.] 0x000000000000abcd\n")


def test_a_machine_without_perf_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert run.main(["profile", "--dataset", "synth-20k", "--no-keep"]) == 1
    assert capsys.readouterr().err == "profile: Linux's perf is not installed\n"
