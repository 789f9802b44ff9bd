"""Carries out tasks on every machine of a cluster, while machines join and leave.

The executor keeps the tasks. A machine is given twice as many as it has workers, so that each
worker finds its next task waiting, and is asked again and again for its results. Tasks of a
machine that leaves are lost, and blamed on the machine.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from vkdnw.search.cluster.interface import (
    Cluster,
    Greeting,
    Machine,
    MachineLostError,
    Reply,
    Unfit,
)
from vkdnw.search.executors.interface import Lost, Outcome, R, T

DEPTH = 2
"""Tasks that a machine holds for each of its workers."""
PATIENCE_SECONDS = 0.2
"""How long a machine waits for outcomes before it answers."""
MEMBERSHIP_SECONDS = 0.2
"""How often the engine is asked which machines there are."""
CANCEL_SECONDS = 5.0
"""How long machines are waited for when tasks are taken back."""
CLOSE_SECONDS = 5.0
"""How long machines are waited for at the end, to remove the files that were sent to them."""
FIRST_PAUSE_SECONDS = 1.0
"""Before the actor of a machine that is still there is started again; doubled each time."""
LONGEST_PAUSE_SECONDS = 60.0
MOST_OUTCOMES = 2000
"""Outcomes that are handed over at once: they become one commit, which must not take seconds."""

Admit = Callable[[Greeting], str | None]
"""Why a machine is not used, or None where it is."""


@dataclass
class _Member(Generic[T]):
    """A machine of the cluster as the driver sees it."""

    name: str
    machine: Machine
    asked: Reply | None  # the one answer that is awaited
    slots: int = 0  # none until it has greeted and is admitted
    admitted: bool = False
    held: dict[T, None] = field(default_factory=dict)


@dataclass
class _Pause:
    """Before the next start of a machine's actor."""

    seconds: float
    until: float


class ClusterExecutor(Generic[T, R]):
    """The executor of a cluster; see `Executor` for the four methods.

    Args:
        cluster: the engine.
        admit: decides on each machine that joins, from its greeting.
        note: takes one line for people about machines that join, leave or are refused.
    """

    def __init__(self, cluster: Cluster, admit: Admit, note: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._admit = admit
        self._note = note
        self._queue: deque[T] = deque()
        self._arrived: deque[Outcome[T, R]] = deque()
        self._members: dict[str, _Member[T]] = {}
        self._refused: set[str] = set()
        self._pauses: dict[str, _Pause] = {}  # of machines whose actor died
        self._next_look = 0.0

    @property
    def slots(self) -> int:
        self._look_around()
        return sum(member.slots for member in self._members.values())

    def submit(self, task: T) -> None:
        self._queue.append(task)

    def wait(self, timeout: float) -> Sequence[Outcome[T, R]]:
        self._look_around()
        self._ask()
        awaited = {member.asked: node for node, member in self._members.items() if member.asked}
        if not awaited and not self._arrived:
            time.sleep(timeout)  # no machine is there
        patience = 0.0 if self._arrived else timeout
        for reply in self._cluster.ready(list(awaited), patience) if awaited else ():
            self._take(awaited[reply], reply)
        count = min(len(self._arrived), MOST_OUTCOMES)
        return [self._arrived.popleft() for _ in range(count)]

    def cancel(self) -> Sequence[T]:
        dropped = list(self._queue)
        self._queue.clear()
        asked = {member.machine.cancel(): node for node, member in self._members.items()}
        for reply in self._answers(list(asked), CANCEL_SECONDS):
            node = asked[reply]
            try:
                taken = self._cluster.take(reply)
            except MachineLostError as error:
                self._lose(node, str(error))
                continue
            for task in taken:
                self._members[node].held.pop(task, None)
            dropped += taken
        return dropped

    def close(self) -> None:
        self._queue.clear()
        asked = [member.machine.close() for member in self._members.values()]
        deque(self._answers(asked, CLOSE_SECONDS), maxlen=0)
        for member in self._members.values():
            member.machine.kill()
        self._members.clear()
        self._cluster.close()

    def _answers(self, replies: list[Reply], seconds: float) -> Iterator[Reply]:
        """Those that can be taken within so many seconds."""
        deadline = time.monotonic() + seconds
        while replies and (left := deadline - time.monotonic()) > 0:
            for reply in self._cluster.ready(replies, left):
                replies.remove(reply)
                yield reply

    def _look_around(self) -> None:
        """Begin with machines that have joined, and give up those that have left."""
        if time.monotonic() < self._next_look:
            return
        alive = self._cluster.nodes()
        for node in list(self._members.keys() - alive.keys()):
            self._lose(node, "it left the cluster")
        for node, name in alive.items():
            if self._may_start(node):
                machine = self._cluster.start(node)
                self._members[node] = _Member(name, machine, machine.greet())
        self._refused &= alive.keys()
        self._pauses = {node: self._pauses[node] for node in self._pauses.keys() & alive.keys()}
        self._next_look = time.monotonic() + MEMBERSHIP_SECONDS

    def _may_start(self, node: str) -> bool:
        pause = self._pauses.get(node)
        known = node in self._members or node in self._refused
        return not known and (pause is None or time.monotonic() >= pause.until)

    def _ask(self) -> None:
        """Send tasks to each machine that is awaited for nothing."""
        for member in self._members.values():
            if member.asked is not None or not member.admitted:
                continue
            room = DEPTH * member.slots - len(member.held)
            tasks = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
            member.held.update(dict.fromkeys(tasks))
            if member.held:
                member.asked = member.machine.exchange(tasks, PATIENCE_SECONDS)

    def _take(self, node: str, reply: Reply) -> None:
        member = self._members[node]
        member.asked = None
        try:
            answer = self._cluster.take(reply)
        except MachineLostError as error:
            self._lose(node, str(error))
            return
        if isinstance(answer, Greeting | Unfit):
            self._greet(node, member, answer)
            return
        for outcome in answer:
            if outcome.task in member.held:
                del member.held[outcome.task]
                self._arrived.append(outcome)

    def _greet(self, node: str, member: _Member[T], greeting: Greeting | Unfit) -> None:
        reason = greeting.reason if isinstance(greeting, Unfit) else self._admit(greeting)
        if isinstance(greeting, Greeting) and reason is None:
            self._pauses.pop(node, None)
            member.slots, member.admitted = greeting.slots, True
            self._note(f"machine {member.name} joined with {greeting.slots} workers")
            return
        self._note(f"machine {member.name} is not used: {reason}")
        member.machine.kill()
        self._refused.add(node)
        del self._members[node]

    def _lose(self, node: str, how: str) -> None:
        member = self._members.pop(node)
        member.machine.kill()
        before = self._pauses.get(node)
        seconds = min(2 * before.seconds, LONGEST_PAUSE_SECONDS) if before else FIRST_PAUSE_SECONDS
        self._pauses[node] = _Pause(seconds, time.monotonic() + seconds)
        self._note(f"machine {member.name} is lost with {len(member.held)} tasks in hand: {how}")
        reason = f"machine {member.name} was lost: {how}"
        self._arrived.extend(Lost(task, reason, blame="machine") for task in member.held)
