"""The worker's side of a process pool: receive the function, then tasks, and answer each.

Run in a fresh interpreter by `child.Child`, with two inherited file descriptors: the connection
to the parent, and the lifeline, a pipe whose other end only the parent holds.
"""

import os
import signal
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pickle import PicklingError
from typing import Any

from vkdnw.search.executors.interface import Failed, Lost, carry_out_all


@dataclass(frozen=True)
class Ready:
    """The function has arrived, with everything that it imports."""


@dataclass(frozen=True)
class Answer:
    """The outcomes of the tasks that were given together; of those without one, another worker has
    to tell."""

    outcomes: Sequence[Any]
    ends: bool
    """Whether the worker ends now, because it can compute nothing any more."""


@dataclass(frozen=True)
class CannotStart:
    """The function could not be loaded here."""

    reason: str


def main(connection_fd: int, lifeline_fd: int) -> None:
    # Whether and when to stop is the parent's decision, also when a terminal signals every process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in (connection_fd, lifeline_fd):
        os.set_inheritable(fd, False)  # a child of the task's must not keep the pipes open
    threading.Thread(target=_exit_with_parent, args=(lifeline_fd,), daemon=True).start()
    with Connection(connection_fd) as connection:
        _serve(connection)


def _exit_with_parent(lifeline_fd: int) -> None:
    """Exit when the parent is gone, also during a task: its result has no use."""
    os.read(lifeline_fd, 1)  # the parent never writes, so this returns at its death
    os._exit(1)


def _serve(connection: "Connection[Any, Any]") -> None:
    try:
        function = connection.recv()
    except EOFError:
        return
    except Exception as error:
        traceback.print_exc()
        connection.send(CannotStart(f"{type(error).__name__}: {error}"))
        return
    connection.send(Ready())
    while True:
        try:
            tasks = connection.recv()
        except EOFError:
            return
        outcomes = carry_out_all(function, tasks)
        lost = any(isinstance(outcome, Lost) for outcome in outcomes)
        answer = Answer(outcomes, ends=lost or len(outcomes) < len(tasks))
        _send(connection, answer)
        if answer.ends:
            return


def _send(connection: "Connection[Any, Any]", answer: Answer) -> None:
    try:
        connection.send(answer)
    except (PicklingError, TypeError, AttributeError) as error:
        reason = f"the result cannot be sent to the parent: {error}"
        failed = [Failed(one.task, reason, traceback.format_exc()) for one in answer.outcomes]
        connection.send(Answer(failed if len(failed) == 1 else [], answer.ends))
