"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from likewise._io import check_target, whole_file


def test_whole_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "out.txt"
    with whole_file(target, "save") as part:
        part.write_text("half")
        assert not target.exists()
        part.write_text("whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whole_file_leaves_what_stood_there_after_an_error(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("before")

    def fail():
        with whole_file(target, "save") as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_whole_file_takes_the_longest_name_that_there_may_be(tmp_path):
    with whole_file(tmp_path / ("n" * 255), "save") as part:
        part.write_text("whole")
    assert (tmp_path / ("n" * 255)).read_text() == "whole"


def test_whole_file_names_the_file_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(path, *args):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(PermissionError, match=r"save: Permission denied: .*out\.txt"),
        whole_file(tmp_path / "out.txt", "save"),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask to speak of, and links need a privilege")
def test_whole_file_has_the_usual_mode_and_follows_links(tmp_path):
    target, link = tmp_path / "out.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    before = os.umask(0o027)
    try:
        with whole_file(link, "save") as part:
            part.write_text("whole")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()


def test_whole_file_leaves_the_umask_alone(tmp_path, monkeypatch):
    """It belongs to the whole process: a file that another thread makes meanwhile would be open to everybody."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    with whole_file(tmp_path / "out.txt", "save") as part:
        part.write_text("whole")
    assert (tmp_path / "out.txt").read_text() == "whole"


def test_whole_file_of_several_threads_is_one_of_theirs(tmp_path):
    target = tmp_path / "out.txt"

    def write(number):
        with whole_file(target, "save") as part:
            part.write_text(str(number) * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10)))
    text = target.read_text()
    assert len(text) == 10_000
    assert len(set(text)) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_check_target_says_what_is_in_the_way(tmp_path):
    assert check_target(tmp_path / "new", "save") == (tmp_path / "new").resolve()
    with pytest.raises(FileNotFoundError, match=r"^save: there is no folder .*nowhere' to write to; make it first$"):
        check_target(tmp_path / "nowhere" / "new", "save")
    with pytest.raises(OSError, match=r"^save: .* is not a file and cannot be replaced by one$"):
        check_target(tmp_path, "save")
    with pytest.raises(OSError, match="is not a file"):
        check_target(os.devnull, "save")
