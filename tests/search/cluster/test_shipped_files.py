"""Files that the driver sent are removed: at the end, or once their process was killed."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vkdnw.search.cluster import shipped_files
from vkdnw.search.cluster.shipping import _packed

HOLDING = """
import sys
from pathlib import Path
from vkdnw.search.cluster.shipped_files import unpack
print(unpack(Path(sys.argv[1]).read_bytes()), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.png").write_bytes(b"an image")
    return _packed(tmp_path / "images")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shipped_files.remove_all()


def holding(archive: bytes, folder: Path) -> subprocess.Popen[str]:
    """Another process that has unpacked the archive, and waits."""
    file = folder.parent / "archive.tar"
    file.write_bytes(archive)
    command = [sys.executable, "-c", HOLDING, str(file)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder.parent
    )
    assert process.stdout is not None
    unpacked = Path(process.stdout.readline().strip())
    assert (unpacked / "one.png").read_bytes() == b"an image"
    return process


def test_what_was_sent_is_there_until_the_end(archive: bytes, temporary: Path) -> None:
    unpacked = shipped_files.unpack(archive)
    assert (unpacked / "one.png").read_bytes() == b"an image"
    shipped_files.unpack(archive)  # removes the files of others, and keeps its own
    assert unpacked.exists()
    shipped_files.remove_all()
    assert list(temporary.iterdir()) == []


def test_a_process_that_ends_leaves_nothing(archive: bytes, temporary: Path) -> None:
    process = holding(archive, temporary)
    process.communicate()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(archive: bytes, temporary: Path) -> None:
    living, killed = holding(archive, temporary), holding(archive, temporary)
    before = set(temporary.iterdir())
    assert len(before) == 4  # folders and locks
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    shipped_files.sweep()
    assert len(before & set(temporary.iterdir())) == 2
    living.communicate()
    assert list(temporary.iterdir()) == []
