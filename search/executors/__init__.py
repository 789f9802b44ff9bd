"""Where tasks run.

A runner submits tasks and takes outcomes in whatever order they come; an executor knows nothing of
networks, scores or the store. `InProcess` runs them here, `ProcessPool` in processes of this
machine. A cluster engine has to offer the four methods of `Executor` and nothing else.
"""

from collections.abc import Callable, Sequence

from vkdnw.search.executors.in_process import InProcess
from vkdnw.search.executors.interface import Done, Executor, Failed, Lost, Outcome, R, T
from vkdnw.search.executors.process_pool import ProcessPool

__all__ = ["Done", "Executor", "Failed", "InProcess", "Lost", "Outcome", "ProcessPool", "start"]


def start(
    functions: Sequence[Callable[[T], R]],
    in_this_process: bool,
    task_timeout: float | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Executor[T, R]:
    """A process for each function; or this process, which applies the first.

    Args:
        functions: of tasks, one for each worker.
        in_this_process: start no worker. A task then cannot be ended from outside.
        task_timeout: see `ProcessPool`.
        note: receives messages about problems with workers.
    """
    if in_this_process:
        return InProcess(functions[0])
    return ProcessPool(functions, task_timeout=task_timeout, note=note)
