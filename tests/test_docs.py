"""README and docs/: examples run, links lead somewhere, names exist, figures have rows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import likewise as lw
from bench import report
from likewise.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def marked(marker):
    text = README.read_text(encoding="utf-8")
    (found,) = re.findall(rf"<!-- {marker} -->\n(.*?)<!-- /{marker} -->", text, flags=re.DOTALL)
    return found


def test_python_of_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = code_blocks(README, "python")
    assert len(block.splitlines()) == 10
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("EvaluationResult over")
    assert "TEACUP AND SAUCER" in printed
    assert (tmp_path / "gift_shop.safetensors").is_file()


def test_commands_of_readme_are_what_they_are_said_to_be():
    assert marked("demo-command") == "```bash\npip install . && likewise demo\n```\n"
    assert marked("test-command") == '```bash\npip install ".[test]" && pytest -m "not slow"\n```\n'


def test_command_lines_of_the_docs_are_understood(tmp_path, monkeypatch):
    """Every `likewise ...` of a bash block parses: the file it names is missed, and no option is."""
    monkeypatch.chdir(tmp_path)
    lines = [line for page in PAGES for block in code_blocks(page, "bash") for line in block.splitlines()]
    commands = [line.split()[1:] for line in lines if line.startswith("likewise ")]
    assert len(commands) >= 6
    for command in commands:
        assert main([*command, "--quiet"]) == 2


@pytest.mark.parametrize("page", EXAMPLES, ids=name_of)
def test_examples_of_the_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tests = doctest.testfile(
        str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE, encoding="utf-8"
    )
    assert tests.failed == 0
    assert tests.attempted > 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_the_page_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_public_names_of_the_page_exist(page):
    for name in re.findall(r"`lw\.([\w.]+)", page.read_text(encoding="utf-8")):
        found = lw
        for part in name.rstrip(".").split("."):
            assert hasattr(found, part), f"lw.{name}"
            found = getattr(found, part)


def test_every_page_is_reached_from_the_index():
    index = ROOT / "docs" / "index.md"
    links = re.findall(r"\]\(([^)]+)\)", index.read_text(encoding="utf-8"))
    linked = {(index.parent / link).resolve() for link in links if not link.startswith("http")}
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md") if page != index}
    assert {page for page in pages if page.parent not in linked} <= linked


def test_table_of_readme_is_made_of_the_kept_rows():
    assert marked("bench-table") == report.summary(ROOT / "bench" / "results") + "\n"
