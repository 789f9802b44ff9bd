"""Work on a run that shows its progress and stops on Ctrl-C."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vkdnw.search.errors import Interrupted
from vkdnw.search.progress import Progress, Silent, progress_here
from vkdnw.search.stop_signals import Interruption

T = TypeVar("T")


def interruptible(
    folder: Path, work: Callable[[Progress, Interruption], T], progress: Progress | bool = True
) -> T:
    """Do the work on a run, and return its result.

    Args:
        folder: of the run.
        work: stops early when it is interrupted.
        progress: shows how far the work is; True chooses a display for a terminal, a notebook or a
            log.

    Raises:
        Interrupted: after the first Ctrl-C or SIGTERM, when the tasks in flight are finished, or
            at once after the second. Finished results are on disk.
    """
    interruption = Interruption()
    shown = (progress_here() if progress else Silent()) if isinstance(progress, bool) else progress
    try:
        with interruption, shown:
            result = work(shown, interruption)
    except KeyboardInterrupt as error:
        if not interruption.requested:
            raise
        raise Interrupted(_message(folder)) from error
    if interruption.requested:
        stopped = Interrupted(_message(folder))
        stopped.signal = interruption.signal
        raise stopped
    return result


def _message(folder: Path) -> str:
    return f"stopped; finished results are in {folder}, and the same call goes on"
