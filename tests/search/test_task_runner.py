"""The runner writes results, retries lost tasks, stops when asked, and feeds a driver."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import SETTINGS, FakeScorer
from vkdnw.search import task_runner
from vkdnw.search.enumeration import Enumeration
from vkdnw.search.errors import ExecutorError, RunError
from vkdnw.search.executors import Done, Failed, InProcess, Lost, Outcome
from vkdnw.search.state.results import open_results
from vkdnw.search.state.store import Store, open_store
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.task_runner import ATTEMPTS, DEPTH, HOPELESS, Runner
from vkdnw.search.tasks import Asked, Failure, Scored, Task

TASKS = [Task(f"net {i}", 0) for i in range(10)]


class Quiet:
    """A progress that only remembers."""

    def __init__(self) -> None:
        self.advanced = [0, 0]
        self.notes: list[str] = []

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, total: int, done: int) -> None: ...

    def advance(self, scored: int, failed: int) -> None:
        self.advanced[0] += scored
        self.advanced[1] += failed

    def note(self, text: str) -> None:
        self.notes.append(text)


class Scripted(InProcess[Task, Scored]):
    """An executor with two slots that loses or fails a task as often as it is told to."""

    def __init__(self, lose: dict[str, int] | None = None, fail: Sequence[str] = ()) -> None:
        super().__init__(FakeScorer())
        self.lose = dict(lose or {})
        self.fail = fail
        self.deepest = 0

    @property
    def slots(self) -> int:
        return 2

    def submit(self, task: Task) -> None:
        super().submit(task)
        self.deepest = max(self.deepest, len(self._queue))

    def wait(self, timeout: float) -> Sequence[Outcome[Task, Scored]]:
        if not self._queue:
            return []
        task = self._queue.pop()  # the newest first: results come in any order
        if self.lose.get(task.network, 0):
            self.lose[task.network] -= 1
            return [Lost(task, "worker 1 was lost")]
        if task.network in self.fail:
            return [Failed(task, "ValueError: told to", "Traceback")]
        return [Done(task, FakeScorer()(task))]


def recorded(store: Store) -> set[Task]:
    """The tasks of which every value is on record."""
    known = store.recorded()
    return {task for task in TASKS if known.get((task.network, task.seed), set()) >= {*task.names}}


@contextmanager
def runner_of(folder: Path, executor: Any) -> Iterator[Runner]:
    with open_store(folder) as store:
        store.begin(SETTINGS, {}, {0: {"batch": "digest"}})
        store.ask([Asked(task.network, task.network) for task in TASKS], [0], ["vkdnw"])
        yield Runner(executor, store, Quiet(), Interruption())


def test_everything_is_scored_and_only_so_much_is_in_flight(tmp_path: Path) -> None:
    executor = Scripted()
    with runner_of(tmp_path, executor) as runner:
        summary = runner.run(Enumeration(TASKS))
        assert recorded(runner.store) == set(TASKS)
    assert (summary.scored, summary.failed, summary.lost, summary.dropped) == (10, 0, 0, 0)
    assert executor.deepest == DEPTH * executor.slots


def test_a_task_lost_with_its_worker_is_tried_again(tmp_path: Path) -> None:
    with runner_of(tmp_path, Scripted(lose={"net 3": ATTEMPTS - 1})) as runner:
        summary = runner.run(Enumeration(TASKS))
        assert recorded(runner.store) == set(TASKS)
        assert runner.store.failed() == set()
    assert summary.lost == ATTEMPTS - 1


def test_a_task_that_costs_too_many_workers_is_recorded_as_failed(tmp_path: Path) -> None:
    with runner_of(tmp_path, Scripted(lose={"net 3": ATTEMPTS})) as runner:
        summary = runner.run(Enumeration(TASKS))
        assert runner.store.failed() == {(TASKS[3].network, 0)}
        assert recorded(runner.store) == set(TASKS) - {TASKS[3]}
    assert (summary.scored, summary.failed) == (9, 1)


class ComingAndGoing(Scripted):
    """An executor whose workers all leave for a while, and take their tasks with them."""

    def __init__(self, slots: Sequence[int]) -> None:
        super().__init__()
        self.script = list(slots)

    @property
    def slots(self) -> int:
        return self.script[0]

    def wait(self, timeout: float) -> Sequence[Outcome[Task, Scored]]:
        if len(self.script) > 1:
            self.script.pop(0)
        if self.slots == 0:
            held, self._queue = list(self._queue), type(self._queue)()
            return [Lost(task, "machine b is gone", blame="machine") for task in held]
        return super().wait(timeout)


def test_a_run_without_a_worker_waits_for_one(tmp_path: Path) -> None:
    with runner_of(tmp_path, ComingAndGoing([0, 0, 3, 0, 0, 2])) as runner:
        runner.run(Enumeration(TASKS))
        assert recorded(runner.store) == set(TASKS)
        notes = runner.progress.notes  # type: ignore[attr-defined]
    assert notes == ["no worker is there; waiting for a machine to join"]


def test_a_machine_that_leaves_is_no_attempt_of_its_tasks(tmp_path: Path) -> None:
    with runner_of(tmp_path, ComingAndGoing([2, 2, 0] * (ATTEMPTS + 2) + [2])) as runner:
        summary = runner.run(Enumeration(TASKS))
        assert recorded(runner.store) == set(TASKS)
    assert summary.failed == 0
    assert summary.lost > ATTEMPTS


def test_a_failure_does_not_stop_the_run(tmp_path: Path) -> None:
    with runner_of(tmp_path, Scripted(fail=["net 0", "net 9"])) as runner:
        summary = runner.run(Enumeration(TASKS))
        assert runner.store.failed() == {(TASKS[0].network, 0), (TASKS[9].network, 0)}
    assert (summary.scored, summary.failed) == (8, 2)


def test_when_everything_fails_the_run_stops_with_the_reason(tmp_path: Path) -> None:
    everything = [Task(f"net {i}", 0) for i in range(10 * HOPELESS)]
    executor = Scripted(fail=[task.network for task in everything])
    with runner_of(tmp_path, executor) as runner:
        runner.store.ask([Asked(task.network, task.network) for task in everything], [0], ["vkdnw"])
        with pytest.raises(RunError, match=r"first 20 tasks all failed.*ValueError: told to"):
            runner.run(Enumeration(everything))
        assert len(runner.store.failed()) == HOPELESS


def test_a_run_with_scores_goes_on_however_many_fail(tmp_path: Path) -> None:
    rest = [Task(f"bad {i}", 0) for i in range(2 * HOPELESS)]
    executor = Scripted(fail=[task.network for task in rest])
    with runner_of(tmp_path, executor) as runner:
        runner.store.ask([Asked(task.network, task.network) for task in rest], [0], ["vkdnw"])
        summary = runner.run(Enumeration([*TASKS, *rest]))
    assert summary.failed == len(rest)


class Killing(Scripted):
    """Workers are killed over a task, unless it is alone."""

    def wait(self, timeout: float) -> Sequence[Outcome[Task, Scored]]:
        if not self._queue:
            return []
        task = self._queue.pop()
        alone = not self._queue and not self.lose[""]
        if task.network == "net 3" and (self.lose["net 3"] or not alone):
            self.lose["net 3"] = max(0, self.lose["net 3"] - 1)
            return [Lost(task, "worker 1 was lost: killed by SIGKILL", "system")]
        return [Done(task, FakeScorer()(task))]


def test_a_task_whose_workers_the_system_took_is_tried_once_more_alone(tmp_path: Path) -> None:
    with runner_of(tmp_path, Killing(lose={"net 3": ATTEMPTS, "": 0})) as runner:
        summary = runner.run(Enumeration(TASKS))
        assert recorded(runner.store) == set(TASKS)
        assert any("net 3 is tried once more alone" in note for note in notes_of(runner))
    assert (summary.scored, summary.failed, summary.lost) == (10, 0, ATTEMPTS)


def test_a_task_that_costs_workers_even_alone_is_the_machines_failure(tmp_path: Path) -> None:
    with runner_of(tmp_path, Killing(lose={"net 3": ATTEMPTS + 1, "": 0})) as runner:
        summary = runner.run(Enumeration(TASKS))
    assert (summary.scored, summary.failed) == (9, 1)
    with open_results(tmp_path) as results:
        (failure,) = results.tally().failures
    assert failure.blame == "machine"
    assert failure.reason == "4 workers lost: worker 1 was lost: killed by SIGKILL"


def test_what_a_network_does_to_its_workers_is_its_own_failure(tmp_path: Path) -> None:
    with runner_of(tmp_path, Scripted(lose={"net 3": ATTEMPTS})) as runner:
        runner.run(Enumeration(TASKS))
    with open_results(tmp_path) as results:
        (failure,) = results.tally().failures
    assert failure.blame == "network"


def notes_of(runner: Runner) -> list[str]:
    assert isinstance(runner.progress, Quiet)
    return runner.progress.notes


class Evolution:
    """A driver that proposes a child of the best result seen; three founders first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.proposed = 0
        self.seen: dict[Task, float] = {}

    def propose(self, room: int) -> Sequence[Task]:
        if self.proposed == len(TASKS) or (self.proposed >= 3 and not self.seen):
            return []
        self.proposed += 1
        return [TASKS[self.proposed - 1]]

    def observe(self, task: Task, result: Scored | Failure) -> None:
        assert isinstance(result, Scored)
        assert task in recorded(self.store), "told before it was on disk"
        self.seen[task] = result.values["vkdnw"]


def test_a_driver_learns_from_results_on_disk_and_proposes_more(tmp_path: Path) -> None:
    with runner_of(tmp_path, Scripted()) as runner:
        evolution = Evolution(runner.store)
        runner.run(evolution)
    assert set(evolution.seen) == set(TASKS)


def test_what_an_executor_gave_before_it_failed_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Scripted):
        """Gives more at once than a batch, and then loses its head."""

        def wait(self, timeout: float) -> Sequence[Outcome[Task, Scored]]:
            if not self._queue:
                raise ExecutorError("the head of the cluster is gone")
            count = 4 if len(self._queue) == 4 else 0
            return [outcome for _ in range(count) for outcome in super(Failing, self).wait(timeout)]

    monkeypatch.setattr(task_runner, "BATCH", 3)
    with runner_of(tmp_path, Failing()) as runner:
        with pytest.raises(ExecutorError, match="head"):
            runner.run(Enumeration(TASKS[:4]))
        assert recorded(runner.store) == set(TASKS[:4])


class InterruptsAfter(Interruption):
    """An interruption that comes after so many looks at it."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def requested(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_an_interrupt_finishes_what_is_begun_and_drops_the_rest(tmp_path: Path) -> None:
    with runner_of(tmp_path, Scripted()) as runner:
        runner.interruption = InterruptsAfter(3)
        summary = runner.run(Enumeration(TASKS))
        assert len(recorded(runner.store)) == summary.scored == 3
    assert summary.dropped == DEPTH * 2 - 1


def test_an_interrupted_run_waits_no_longer_than_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Scripted):
        def wait(self, timeout: float) -> Sequence[Outcome[Task, Scored]]:
            return []

        def cancel(self) -> Sequence[Task]:
            return []

    monkeypatch.setattr(task_runner, "GRACE_SECONDS", 0.05)
    with runner_of(tmp_path, Hanging()) as runner:
        runner.interruption = InterruptsAfter(1)
        summary = runner.run(Enumeration(TASKS))
    assert (summary.scored, summary.dropped) == (0, 4)
