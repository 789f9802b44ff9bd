"""Whatever happens to a run, nothing scored is lost, and the end result is the same to the bit.

Each test does something to a run in a process of its own, then gives the same command again and
compares with a run that nothing happened to. The scorer is a fake, so that the faults come thick;
its values fill every bit of a float64.
"""

import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.fakes import FakeRun, alive, rows, wait_until
from vkdnw.search.errors import StoreError
from vkdnw.search.state.results import open_results
from vkdnw.search.state.store import open_store

STATE = "state.sqlite"
COUNT = 60
TASKS = 80  # of COUNT architectures a third is equal to another; two seeds
Rows = dict[tuple[str, int], tuple[str, ...]]
EVERYTHING = {(f"arch {i}", seed) for i in range(COUNT) for seed in (0, 1)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to: one process, one go. To be copied, not touched."""
    folder = tmp_path_factory.mktemp("finished")
    finish(FakeRun(str(folder), COUNT, workers=0))
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> Rows:
    """What such a run comes to."""
    return rows(finished)


def finish(run: FakeRun, code: int = 0, preexec: Callable[[], None] | None = None) -> str:
    """Run the command to its end, and return what it said on stderr."""
    done = subprocess.run(
        run.command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=preexec
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def started(run: FakeRun) -> Iterator["subprocess.Popen[str]"]:
    """The command in a session of its own, as a terminal would start it; killed in the end."""
    process = subprocess.Popen(
        run.command, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def scored(folder: Path) -> Rows:
    """What is on record, possibly nothing yet."""
    try:
        return rows(folder)
    except StoreError:
        return {}


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def test_the_undisturbed_run_is_complete(undisturbed: Rows) -> None:
    assert undisturbed.keys() == EVERYTHING
    assert len({row[-1] for row in undisturbed.values()}) == TASKS  # equal networks, equal bits


@pytest.mark.parametrize("workers", [1, 5])
def test_the_number_of_workers_does_not_change_a_bit(
    tmp_path: Path, undisturbed: object, workers: int
) -> None:
    finish(FakeRun(str(tmp_path), COUNT, workers=workers))
    assert rows(tmp_path) == undisturbed


def test_several_goes_come_to_the_same_as_one(tmp_path: Path, undisturbed: object) -> None:
    for count in range(COUNT // 4, COUNT + 1, COUNT // 4):
        finish(FakeRun(str(tmp_path), count, workers=0))
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_of_the_runner_at_random_moments(
    tmp_path: Path, undisturbed: object, seed: int
) -> None:
    moments = random.Random(seed)
    run = FakeRun(str(tmp_path), COUNT, seconds=0.03)
    kept: Rows = {}
    for _ in range(4):
        with started(run) as process:
            time.sleep(moments.uniform(0.1, 0.9))
            before = scored(tmp_path)
            workers = workers_of(process.pid) if process.poll() is None else []
            process.send_signal(signal.SIGKILL)
            process.wait()
            after = scored(tmp_path)
        assert kept.items() <= before.items() <= after.items()
        kept = after
        wait_until(lambda workers=workers: not any(alive(pid) for pid in workers))  # type: ignore[misc]
    finish(replace(run, seconds=0.0))
    assert kept.items() <= rows(tmp_path).items()
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize("seed", range(2))
def test_kill_9_of_workers_at_random_moments(
    tmp_path: Path, undisturbed: object, seed: int
) -> None:
    moments = random.Random(seed)
    with started(FakeRun(str(tmp_path), COUNT, workers=3, seconds=0.03)) as process:
        for _ in range(6):
            time.sleep(moments.uniform(0.05, 0.25))
            workers = workers_of(process.pid)
            if workers:
                os.kill(moments.choice(workers), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert rows(tmp_path) == undisturbed


def test_a_network_that_kills_its_workers_is_recorded_and_may_be_scored_later(
    tmp_path: Path, undisturbed: object
) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "x").touch()
    run = FakeRun(str(tmp_path), COUNT, extra=("die:x", "raise:x"), faults=str(faults))
    finish(run)
    with open_results(tmp_path) as results:
        reasons = {failure.network: failure.reason for failure in results.tally().failures}
    assert reasons.keys() == {"die:x", "raise:x"}
    assert "4 workers lost" in reasons["die:x"]  # the last one alone
    assert "SIGKILL" in reasons["die:x"]
    assert reasons["raise:x"] == "ValueError: no score for raise:x"
    shutil.rmtree(faults)
    finish(run)
    with open_results(tmp_path) as results:
        assert results.tally().failures == ()
    healed = rows(tmp_path)
    assert {key: row for key, row in healed.items() if ":" not in key[0]} == undisturbed
    assert len(healed) == 2 * (COUNT + 2)


def test_a_full_disk(tmp_path: Path, undisturbed: object) -> None:
    """A limit on the size of files stands in for the disk: it works without being root."""
    run = FakeRun(str(tmp_path), COUNT)
    said = finish(replace(run, file_limit=140_000), code=1)
    assert f"{tmp_path / STATE}: " in said
    assert "what was finished before is safe" in said
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


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run to damage."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


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
    """The command says which file is damaged and what to do, and changes nothing."""
    path = folder / STATE
    before = hashlib.sha256(path.read_bytes()).digest()
    said = finish(FakeRun(str(folder), COUNT, workers=0), code=1)
    assert f"{path} is damaged" in said
    assert "choose another --out" in said
    assert hashlib.sha256(path.read_bytes()).digest() == before


def obey_permissions() -> None:
    """Take away what lets root pass them, from the program about to be executed."""
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


def test_two_runners_on_one_run(tmp_path: Path, undisturbed: object) -> None:
    run = FakeRun(str(tmp_path), COUNT, seconds=0.3)
    with started(run) as first:
        wait_until(lambda: scored(tmp_path))
        said = finish(run, code=1)
        assert f"{tmp_path} is in use by another runner, pid {first.pid};" in said
        before = len(scored(tmp_path))
        wait_until(lambda: len(scored(tmp_path)) > before)  # the first one works on
        first.kill()
        first.wait()
    finish(replace(run, seconds=0.0))
    assert rows(tmp_path) == undisturbed


def test_the_lock_of_a_killed_runner_is_gone_with_it(tmp_path: Path, undisturbed: object) -> None:
    run = FakeRun(str(tmp_path), COUNT, seconds=0.02)
    with started(run) as first:
        wait_until(lambda: scored(tmp_path))
        first.kill()
        first.wait()
        with open_store(tmp_path):
            pass
    finish(replace(run, seconds=0.0))
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("workers", "number", "code"),
    [
        (0, signal.SIGINT, 130),
        (2, signal.SIGINT, 130),
        (2, signal.SIGTERM, 143),
        (2, signal.SIGHUP, 129),
        (2, signal.SIGQUIT, 131),
    ],
)
def test_an_interrupt_leaves_a_run_that_goes_on(
    tmp_path: Path, undisturbed: object, workers: int, number: signal.Signals, code: int
) -> None:
    """The signal goes to every process of the session, as Ctrl-C at a terminal does."""
    run = FakeRun(str(tmp_path), COUNT, workers=workers, seconds=0.05)
    with started(run) as process:
        wait_until(lambda: scored(tmp_path))
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert "give the same command" in said
    assert "Traceback" not in said
    assert "was lost" not in said
    kept = scored(tmp_path)
    assert 0 < len(kept) < len(EVERYTHING)
    finish(replace(run, seconds=0.0))
    assert kept.items() <= rows(tmp_path).items()
    assert rows(tmp_path) == undisturbed


def test_a_network_that_hangs_is_named_and_the_run_goes_on(
    tmp_path: Path, undisturbed: object
) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "x").touch()
    run = FakeRun(
        str(tmp_path), COUNT, extra=("hang:x",), faults=str(faults), task_timeout=1.0, workers=3
    )
    finish(run)
    with open_results(tmp_path) as results:
        reasons = {failure.network: failure.reason for failure in results.tally().failures}
    assert reasons == {"hang:x": "it took more than 1 s (the task timeout); its worker was ended"}
    assert rows(tmp_path) == undisturbed


def test_a_run_whose_terminal_ignores_hangups_goes_on(tmp_path: Path, undisturbed: object) -> None:
    run = FakeRun(str(tmp_path), COUNT, workers=2, seconds=0.02)
    command = ["nohup", *run.command]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_until(lambda: scored(tmp_path))
        os.kill(process.pid, signal.SIGHUP)
        assert process.wait(60) == 0
    assert rows(tmp_path) == undisturbed


def hanging(tmp_path: Path, grace: float) -> FakeRun:
    (tmp_path / "x").touch()
    extra = ("hang:x", "hang:x and y")
    (tmp_path / "x and y").touch()
    return FakeRun(str(tmp_path), 3, extra=extra, faults=str(tmp_path), grace=grace)


def test_an_interrupt_does_not_wait_forever_for_a_worker_that_hangs(tmp_path: Path) -> None:
    with started(hanging(tmp_path, grace=0.5)) as process:
        wait_until(lambda: len(scored(tmp_path)) >= 3)
        workers = workers_of(process.pid)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130, said
    assert not any(alive(pid) for pid in workers)
    assert len(scored(tmp_path)) >= 3


def test_a_second_interrupt_does_not_wait_at_all(tmp_path: Path) -> None:
    with started(hanging(tmp_path, grace=1000.0)) as process:
        wait_until(lambda: len(scored(tmp_path)) >= 3)
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert len(scored(tmp_path)) >= 3
