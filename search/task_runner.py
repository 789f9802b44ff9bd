"""Runs tasks until a driver has no more: submit, wait, write, tell the driver."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from vkdnw.runtime.garbage_collection import gc_seldom
from vkdnw.search.errors import RunError
from vkdnw.search.executors import Done, Executor, Failed, Lost, Outcome
from vkdnw.search.progress import Progress
from vkdnw.search.state.store import Store
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.tasks import Failure, Scored, Task

ATTEMPTS = 3
"""Workers that a task may cost before it counts as failed: a task that kills them must end. One
whose workers the system took (memory) is tried once more, alone; its failure is then the
machine's, and the same command tries it again."""
DEPTH = 2
"""Tasks in flight for each slot, so that a worker finds its next task waiting."""
HOPELESS = 20
"""After so many failures without any success the cause is not the networks."""
BATCH = 2000
"""Results written in one transaction at most, and tasks proposed at once: the rest is taken in
the next round, so that the executor never waits long."""
POLL_SECONDS = 0.2
"""How long an interrupt may go unnoticed."""
NO_WORKER_SECONDS = 30.0
"""How often a run that waits for a worker says so."""
GRACE_SECONDS = 10.0
"""How long an interrupted run waits for tasks in flight."""


class Driver(Protocol):
    """Decides which tasks come next.

    An enumeration proposes a list; an evolution proposes children and learns from results, which
    it receives only when they are on disk.
    """

    def propose(self, room: int) -> Sequence[Task]:
        """At most `room` tasks to begin now. Nothing, with no task in flight, ends the run."""

    def observe(self, task: Task, result: Scored | Failure) -> None:
        """Take the result of a task proposed before; results come in any order."""


OnResult = Callable[[Task, Scored | Failure], None]
"""Takes a task and its result, which is on disk. An error that it raises ends the run."""


@dataclass
class Summary:
    """Counts of one session of a run."""

    scored: int = 0
    failed: int = 0
    lost: int = 0
    """Workers that died with a task in hand."""
    dropped: int = 0
    """Tasks that an interrupt left undone although they had been submitted."""


@dataclass
class Runner:
    """One go at a run: several drivers may use it in turn."""

    executor: Executor[Task, Scored]
    store: Store
    progress: Progress
    interruption: Interruption
    on_result: Sequence[OnResult] = ()
    """Called with every result, before the driver is."""
    summary: Summary = field(default_factory=Summary)

    def __post_init__(self) -> None:
        self._in_flight: set[Task] = set()
        self._losses: Counter[Task] = Counter()
        self._set_aside: deque[Task] = deque()
        self._unwritten: deque[tuple[Task, Scored | Failure]] = deque()
        self._last_tries: set[Task] = set()
        self._next_notice = 0.0

    def run(self, driver: Driver) -> Summary:
        """Run until the driver is done, or until interrupted.

        Everything finished is on disk when it returns or raises.

        Raises:
            StoreError: the results cannot be written.
            ExecutorError: workers cannot be started.
            RunError: everything fails, so that going on is pointless.
        """
        try:
            with gc_seldom():
                while not self.interruption.requested:
                    if not self._submit_more(driver):
                        return self.summary
                    if self.executor.slots == 0:
                        self._note_missing_workers()
                    self._take(driver)
                self._drain(driver)
                return self.summary
        finally:  # of an executor or a driver that raised
            self._record(self._unwritten)
            self._unwritten.clear()

    def _submit_more(self, driver: Driver) -> bool:
        """Keep the workers busy; False where all is done."""
        working = len(self._in_flight) - len(self._set_aside)
        room = DEPTH * self.executor.slots - working
        proposed = driver.propose(min(room, BATCH)) if room > 0 else ()
        for task in proposed:
            self._in_flight.add(task)
            self.executor.submit(task)
        if not working and not proposed and room > 0:  # asked for more, and there is none
            if not self._set_aside:
                return False
            self._try_alone(self._set_aside.popleft())
        return True

    def _note_missing_workers(self) -> None:
        """Now and then: machines may join at any time, so the run waits for them."""
        now = time.monotonic()
        if now >= self._next_notice:
            self.progress.note("no worker is there; waiting for a machine to join")
            self._next_notice = now + NO_WORKER_SECONDS

    def _take(self, driver: Driver) -> None:
        """Wait for outcomes, write them down, then let the driver know."""
        self._unwritten += self._settle(self.executor.wait(0 if self._unwritten else POLL_SECONDS))
        self._write(driver)
        self.store.tend()

    def _write(self, driver: Driver) -> None:
        """Write a batch of results to disk."""
        count = min(len(self._unwritten), BATCH)
        finished = [self._unwritten.popleft() for _ in range(count)]
        scored, failed = self._record(finished)
        self._in_flight.difference_update(task for task, _ in finished)
        self.summary.scored += len(scored)
        self.summary.failed += len(failed)
        self.progress.advance(len(scored), len(failed))
        for task, result in finished:
            for call in self.on_result:
                call(task, result)
            driver.observe(task, result)
        self._stop_if_hopeless(failed)

    def _record(
        self, finished: Iterable[tuple[Task, Scored | Failure]]
    ) -> tuple[list[tuple[Task, Scored]], list[tuple[Task, Failure]]]:
        """Put results on disk, and return them as scores and failures."""
        scored: list[tuple[Task, Scored]] = []
        failed: list[tuple[Task, Failure]] = []
        for task, result in finished:
            if isinstance(result, Scored):
                scored.append((task, result))
            else:
                failed.append((task, result))
        self.store.record(scored, failed)
        return scored, failed

    def _settle(
        self, outcomes: Sequence[Outcome[Task, Scored]]
    ) -> list[tuple[Task, Scored | Failure]]:
        """The outcomes as results; a task lost with its worker is submitted again, if it may be."""
        settled: list[tuple[Task, Scored | Failure]] = []
        for outcome in outcomes:
            match outcome:
                case Done(task, result):
                    settled.append((task, result))
                case Failed(task, reason, details):
                    settled.append((task, Failure(reason, details)))
                case Lost() if self._submit_again(outcome):
                    pass
                case Lost(task, reason, blame):
                    lost = f"{self._losses[task]} workers lost: {reason}"
                    at_fault: Literal["network", "machine"] = (
                        "machine" if blame == "system" else "network"
                    )
                    settled.append((task, Failure(lost, blame=at_fault)))
        return settled

    def _submit_again(self, lost: Lost[Task]) -> bool:
        task = lost.task
        self.summary.lost += 1
        if lost.blame == "worker":
            self.progress.note(lost.reason)
            self._losses[task] += 1
            if self._losses[task] >= ATTEMPTS:
                return False
        elif lost.blame == "system":
            self.progress.note(lost.reason)
            self._losses[task] += 1
            if task in self._last_tries:
                return False
            if self._losses[task] >= ATTEMPTS and not self.interruption.requested:
                self.progress.note(
                    f"{task.network} is tried once more alone, when all else is done"
                )
                self._set_aside.append(task)
                return True
        if self.interruption.requested:
            self._in_flight.discard(task)
            self.summary.dropped += 1
        else:
            self.executor.submit(task)
        return True

    def _try_alone(self, task: Task) -> None:
        """Submit a task while nothing else is worked on: memory may have been short for all."""
        self._last_tries.add(task)
        self.executor.submit(task)

    def _stop_if_hopeless(self, failed: Sequence[tuple[Task, Failure]]) -> None:
        if failed and self.summary.failed >= HOPELESS and not self.store.has_scores():
            raise RunError(
                f"the first {self.summary.failed} tasks all failed, the last one with: "
                f"{failed[-1][1].reason}"
            )

    def _drain(self, driver: Driver) -> None:
        """Submit nothing more; give tasks in flight a while to finish."""
        self._in_flight.difference_update(self._set_aside)
        self.summary.dropped += len(self._set_aside)
        self._set_aside.clear()
        for task in self.executor.cancel():
            self._in_flight.discard(task)
            self.summary.dropped += 1
        self.progress.note(
            f"{self.interruption.name}: finishing tasks in flight "
            f"({len(self._in_flight)}, at most {GRACE_SECONDS:.0f} s; again to drop it)"
        )
        deadline = time.monotonic() + GRACE_SECONDS
        while self._in_flight and time.monotonic() < deadline:
            self._take(driver)
        while self._unwritten:
            self._write(driver)
        self.summary.dropped += len(self._in_flight)
