"""A file has its old contents or all of the new ones; links and devices are not written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vkdnw.search.atomic_files import written_whole
from vkdnw.search.errors import FileError


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.txt"
    with written_whole(path) as draft:
        draft.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def write_half(path: Path) -> None:
    with written_whole(path) as draft:
        draft.write_text("half")
        raise ZeroDivisionError


WRITER = """
import resource, sys
from pathlib import Path
from vkdnw.search.atomic_files import written_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with written_whole(Path(sys.argv[1])) as draft:
    draft.write_bytes(bytes(5000))
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(path)], capture_output=True, text=True, check=False
    )
    assert "an older file is unchanged" in done.stderr
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "folder", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.txt"
    if kind == "link":
        (tmp_path / "target").touch()
        path.symlink_to(tmp_path / "target")
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "target")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/null")
    with pytest.raises(FileError, match="not a regular file"), written_whole(path) as draft:
        draft.write_text("new")
