"""The parent's side of one worker process of a process pool."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic

from vkdnw.search.executors.interface import Blame, T

# The worker must find the modules that the parent found, in the same order: a source tree in the
# current folder must not stand in for an installed package in one of the two.
BOOTSTRAP = """
import json, sys
sys.path[:] = json.loads(sys.argv[3])
from vkdnw.search.executors.worker import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""
STDERR = 2
"""A worker's prints go to stderr: the parent's stdout may be read as JSON."""
MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
    ":glibc.malloc.trim_threshold=1073741824"
)
"""Keeps freed memory, in large pages: a worker asks for the same feature maps again and again, and
the page faults of giving them back cost a tenth of the time. Other C libraries ignore it."""
FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
"""Signals that come from outside the process."""
EXIT_PATIENCE = 5.0
"""Seconds between the end of a worker's connection and the end of its process."""


class Child(Generic[T]):
    """A worker process, its connection, and the tasks it holds.

    A plain subprocess instead of `multiprocessing.Process`: it can be put in a process group of
    its own (a Ctrl-C at the terminal then reaches the parent alone, from the first instant), it
    does not import the caller's main module again, and there is no helper process to go wrong.
    """

    def __init__(self, pickled_function: bytes, lifeline_fd: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOTSTRAP, *_arguments(theirs.fileno(), lifeline_fd)],
                pass_fds=(theirs.fileno(), lifeline_fd),
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                env={"GLIBC_TUNABLES": MALLOC, **os.environ},
                process_group=0,
            )
        self.connection: Connection[Any, Any] = Connection(ours.detach())
        self.tasks: Sequence[T] = ()
        self.ready = False
        self._begun = time.monotonic()  # of the tasks, or of the process before the first one
        self._stopped_since: float | None = None
        with contextlib.suppress(OSError):  # dead already: the pool learns it from the connection
            self.connection.send_bytes(pickled_function)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def idle(self) -> bool:
        return self.ready and not self.tasks

    def give(self, tasks: Sequence[T]) -> bool:
        """Send tasks to be carried out together; False when the worker has died."""
        try:
            self.connection.send(tasks)
        except OSError:
            return False
        self.tasks = tasks
        self._begun = time.monotonic()
        return True

    @property
    def seconds(self) -> float:
        """How long it has had its tasks."""
        return time.monotonic() - self._begun

    def stopped_for(self) -> float:
        """Seconds for which the process was seen stopped (by SIGSTOP, or a debugger), to be called
        repeatedly; 0 where it runs, or where the system does not report it."""
        if _state_of(self.pid) not in ("T", "t"):
            self._stopped_since = None
            return 0.0
        if self._stopped_since is None:
            self._stopped_since = time.monotonic()
        return time.monotonic() - self._stopped_since

    def how_it_ended(self) -> tuple[str, Blame]:
        """Describe how a worker with a broken connection ended, and end it if it has not."""
        try:
            status = self._process.wait(EXIT_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return "it closed its connection without exiting", "worker"
        if status >= 0:
            return f"it exited with status {status}", "worker"
        name = _signal_name(-status)
        if -status in FROM_OUTSIDE:
            hint = " (the kernel sends it when memory runs out)" if name == "SIGKILL" else ""
            return f"killed by {name}{hint}", "system"
        return f"killed by {name}", "worker"

    def kill(self) -> None:
        """End the process, whatever it is doing, and free its connection. May be repeated."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


def _state_of(pid: int) -> str:
    """The letter that Linux gives the state of a process; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _arguments(connection_fd: int, lifeline_fd: int) -> list[str]:
    return [str(connection_fd), str(lifeline_fd), json.dumps(sys.path)]
