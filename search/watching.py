"""A driver whose results are told to somebody else as well."""

from collections.abc import Callable, Sequence

from vkdnw.search.runner import Driver
from vkdnw.search.tasks import Failure, Scored, Task
from vkdnw.search.time_remaining import Remaining

OnOutcome = Callable[[Task, Scored | Failure], None]
"""Takes a task and its result, which is on disk."""


class Watched:
    """Passes everything on to a driver, and results to a function first.

    An error of the function ends the run, as one of the driver would; the result is on disk.
    """

    def __init__(self, driver: Driver, tell: OnOutcome) -> None:
        self._driver = driver
        self._tell = tell

    def propose(self, room: int) -> Sequence[Task]:
        return self._driver.propose(room)

    def observe(self, task: Task, result: Scored | Failure) -> None:
        self._tell(task, result)
        self._driver.observe(task, result)


def watched(driver: Driver, tell: OnOutcome | None) -> Driver:
    """The driver, told of if somebody wants to hear."""
    return driver if tell is None else Watched(driver, tell)


def kept(remaining: Remaining, tell: OnOutcome | None) -> OnOutcome:
    """Tells what is left of every result, and then whoever else wants to hear."""

    def told(task: Task, result: Scored | Failure) -> None:
        if isinstance(result, Scored):
            remaining.took(task.names, result.seconds)
        else:
            remaining.failed(task.names)
        if tell is not None:
            tell(task, result)

    return told
