"""Runs of the fake scorer in processes of their own, to which a test does something.

Each test then gives the same command again and compares with a run that nothing happened to. The
scorer is a fake, so that the faults come thick; its values fill every bit of a float64.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.search.fakes import rows
from vkdnw.search.errors import StoreError

STATE = "state.sqlite"
COUNT = 60
TASKS = 80  # of COUNT architectures a third is equal to another; two seeds
Rows = dict[tuple[str, int], tuple[str, ...]]
EVERYTHING = {(f"arch {i}", seed) for i in range(COUNT) for seed in (0, 1)}


class Command(Protocol):
    """A run, or a search by evolution, that can be given as a command."""

    @property
    def command(self) -> list[str]: ...


def finish(run: Command, code: int = 0, preexec: Callable[[], None] | None = None) -> str:
    """Run the command to its end, and return its stderr."""
    done = subprocess.run(
        run.command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=preexec
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def started(run: Command) -> Iterator["subprocess.Popen[str]"]:
    """The command as a terminal would start it; killed in the end."""
    process = at_a_terminal(run.command)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def at_a_terminal(command: list[str]) -> "subprocess.Popen[str]":
    """In a session of its own. No signal is ignored, as some are where the tests run with `&`."""
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def scored(folder: Path) -> Rows:
    """The record, possibly empty yet."""
    try:
        return rows(folder)
    except StoreError:
        return {}


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]
