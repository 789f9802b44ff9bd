"""One command's work on a run: how it begins, and how the tasks of a driver are carried out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vkdnw.search.configuration import Settings, versions
from vkdnw.search.executors import Executor, start
from vkdnw.search.progress import Expecting, Progress
from vkdnw.search.state.store import Inputs, Store, open_store
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.task_runner import Driver, OnResult, Runner, Summary
from vkdnw.search.tasks import Scored, Task
from vkdnw.search.time_remaining import Remaining


@dataclass(frozen=True, kw_only=True)
class Session:
    """The folder of a run, the settings of its results, and its scorers."""

    folder: Path
    settings: Settings
    """Everything that results depend on: of the space, of the plan, of the scoring."""
    inputs: Inputs
    """The seeds to score under, each with the SHA-256 of the networks' inputs."""
    scorers: Sequence[Callable[[Task], Scored]]
    """One for each worker process; they differ by their devices at most."""
    in_this_process: bool = False
    """Score here, by the first of the scorers, and start no worker."""
    on_result: OnResult | None = None
    """Called with every result, once it is on disk."""
    note: str | None = None
    """A remark on the run for the user."""
    task_timeout: float | None = None
    """Seconds that a task may take in a worker of this machine; None for no limit."""
    cluster: Callable[[Store, Callable[[str], None]], Executor[Task, Scored]] | None = None
    """Makes the executor of a cluster, which then scores instead of this machine."""
    own_code: Settings = field(default_factory=dict)
    """Where the space and the proxies come from that are not of this package (`provenance`)."""

    def executor(
        self, store: Store, most: int, note: Callable[[str], None]
    ) -> Executor[Task, Scored]:
        """Of the cluster if there is one, or of this machine, which keeps at most so many busy."""
        if self.cluster is not None:
            return self.cluster(store, note)
        return start(self.scorers[:most], self.in_this_process, self.task_timeout, note)


@contextmanager
def begun(session: Session, progress: Progress) -> Iterator[Store]:
    """The store of a session that has begun.

    Raises:
        RunError: see `open_store` and `Store.begin`.
    """
    with open_store(session.folder) as store:
        for note in store.notes:
            progress.note(f"note: {note}")
        running = {**versions(), **session.own_code}
        for change in store.begin(session.settings, running, session.inputs):
            progress.note(f"note: since the last session, {change}; scores may differ")
        yield store


def carry_out(
    session: Session,
    store: Store,
    driver: Driver,
    remaining: Remaining,
    most: int,
    progress: Progress,
    interruption: Interruption,
) -> Summary:
    """Run a driver until it is done, or until interrupted.

    Args:
        session: says who computes.
        store: of the session.
        driver: proposes tasks.
        remaining: the tasks that are left.
        most: tasks that may be computed at once; more workers are not started here.
        progress: receives results and the remaining time.
        interruption: ends it early.

    Raises:
        RunError: see `Runner.run`.
    """
    if isinstance(progress, Expecting):
        progress.expect(remaining)
    if session.note:
        progress.note(session.note)
    with closing(session.executor(store, most, progress.note)) as executor:
        on_result = (remaining.observe, *filter(None, [session.on_result]))
        return Runner(executor, store, progress, interruption, on_result).run(driver)
