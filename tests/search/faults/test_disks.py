"""Full disks, damaged files and folders without permission: refused in words, and nothing lost."""

import ctypes
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.fakes import FakeRun, rows, wait_until
from tests.search.faults.running import COUNT, EVERYTHING, STATE, finish, scored, started


def test_a_full_disk(tmp_path: Path, undisturbed: object) -> None:
    """A limit on the size of files stands in for the disk: it works without being root."""
    run = FakeRun(str(tmp_path), COUNT)
    said = finish(replace(run, file_limit=140_000), code=1)
    assert f"{tmp_path / STATE}: " in said
    assert "finished results are safe" in said
    kept = scored(tmp_path)
    assert 0 < len(kept) < len(EVERYTHING)
    finish(run)
    assert kept.items() <= rows(tmp_path).items()
    assert rows(tmp_path) == undisturbed


def test_a_disk_that_is_full_from_the_start(tmp_path: Path, undisturbed: object) -> None:
    said = finish(FakeRun(str(tmp_path), COUNT, file_limit=10_000), code=1)
    assert STATE in said
    finish(FakeRun(str(tmp_path), COUNT))
    assert rows(tmp_path) == undisturbed


def test_a_really_full_disk(tmp_path: Path, undisturbed: object) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((4096 - 256) * 1024))
        run = FakeRun(str(disk / "run"), COUNT)
        said = finish(run, code=1)
        assert "disk is full" in said
        kept = scored(disk / "run")
        ballast.unlink()
        finish(run)
        assert kept.items() <= rows(disk / "run").items()
        assert rows(disk / "run") == undisturbed
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.99])
def test_a_truncated_database_is_refused_and_left_as_it_is(copied: Path, share: float) -> None:
    path = copied / STATE
    os.truncate(path, int(path.stat().st_size * share))
    refuses(copied)


@pytest.mark.parametrize("offset", [0, 100, 5000])
def test_an_overwritten_database_is_refused_and_left_as_it_is(copied: Path, offset: int) -> None:
    with (copied / STATE).open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(0).randbytes(4096))
    refuses(copied)


def test_a_truncated_database_with_its_journal_is_refused(tmp_path: Path) -> None:
    """As a crash of the machine may leave it: the run was killed, so the journal is still there."""
    run = FakeRun(str(tmp_path), 600, seconds=0.005)
    with started(run) as process:
        wait_until(lambda: len(scored(tmp_path)) > 20)
        process.kill()
        process.wait()
    path = tmp_path / STATE
    assert path.with_name(path.name + "-wal").exists()
    os.truncate(path, path.stat().st_size // 2)
    refuses(tmp_path)


def refuses(folder: Path) -> None:
    """The command names the damaged file and a remedy, and changes nothing."""
    path = folder / STATE
    before = hashlib.sha256(path.read_bytes()).digest()
    said = finish(FakeRun(str(folder), COUNT, workers=0), code=1)
    assert f"{path} is damaged" in said
    assert "choose another --out" in said
    assert hashlib.sha256(path.read_bytes()).digest() == before


def obey_permissions() -> None:
    """Take root's privilege to pass them from the program about to be executed."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None, use_errno=True).prctl(24, capability)  # PR_CAPBSET_DROP


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder to make read-only, in a world in which that means something."""
    folder = tmp_path / "locked"
    folder.mkdir()
    yield folder
    set_writable(folder, True)


def set_writable(folder: Path, writable: bool) -> None:
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644 if writable else 0o444)
    folder.chmod(0o755 if writable else 0o555)
    touch = ["touch", str(folder / "probe")]
    done = subprocess.run(touch, preexec_fn=obey_permissions, check=False, capture_output=True)
    if not writable and done.returncode == 0:
        (folder / "probe").unlink()
        pytest.skip("this process may write in read-only folders and cannot give that up")


def test_a_read_only_folder_is_refused_before_anything_is_scored(locked: Path) -> None:
    set_writable(locked, False)
    said = finish(FakeRun(str(locked), COUNT), code=1, preexec=obey_permissions)
    assert f"cannot write in {locked}" in said
    said = finish(FakeRun(str(locked / "run"), COUNT), code=1, preexec=obey_permissions)
    assert f"cannot make the folder {locked / 'run'}" in said
    assert list(locked.iterdir()) == []


def test_a_run_that_became_read_only_is_refused_and_can_still_be_read(
    locked: Path, undisturbed: object
) -> None:
    finish(FakeRun(str(locked), COUNT))
    set_writable(locked, False)
    said = finish(FakeRun(str(locked), COUNT + 3), code=1, preexec=obey_permissions)
    assert f"cannot write in {locked}" in said
    reader = subprocess.run(
        [sys.executable, "-c", READER, json.dumps(sys.path), str(locked)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=obey_permissions,
    )
    assert int(reader.stdout) == len(EVERYTHING)
    set_writable(locked, True)
    assert rows(locked) == undisturbed


READER = """
import json, sys
from pathlib import Path
sys.path[:] = json.loads(sys.argv[1])
from vkdnw.search.state.results import open_results
with open_results(Path(sys.argv[2])) as results:
    print(len(results.evaluations()))
"""
