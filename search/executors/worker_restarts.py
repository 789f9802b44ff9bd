"""When to start a worker again that died before it was ready."""

import time
from collections.abc import Callable, Sequence

from vkdnw.search.errors import ExecutorError

START_ATTEMPTS = 10
"""Workers that die in a row before any has ever been ready: starting more is pointless then."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 600.0
"""Seconds before the next attempt; each failure in a row doubles them. They are short for a few
killed workers, and long where memory is exhausted for hours."""
TOLD_PAUSE = 4.0
"""Pauses from this length on are reported."""


class Restarts:
    """The places of a pool whose workers are to be started again, and when."""

    def __init__(self, places: int, note: Callable[[str], None]) -> None:
        self._note = note
        self._deaths = [0] * places  # in a row, by place
        self._due: dict[int, float] = {}
        self._in_a_row = 0
        self._worked = False

    def ready(self, place: int) -> None:
        """The worker of this place has started."""
        self._deaths[place] = self._in_a_row = 0
        self._worked = True

    def died(self, place: int, how: str) -> ExecutorError | None:
        """The worker of this place died before it was ready. Returns the error to end with."""
        self._deaths[place] += 1
        self._in_a_row += 1
        if not self._worked:
            self._due[place] = 0.0
            if self._in_a_row < START_ATTEMPTS:
                return None
            return ExecutorError(
                f"workers die before they are ready, {START_ATTEMPTS} in a row; the last one "
                f"({how})"
            )
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._deaths[place] - 1))
        self._due[place] = time.monotonic() + pause
        if pause >= TOLD_PAUSE:
            self._note(f"a worker dies while it starts ({how}); trying again in {pause:.0f} s")
        return None

    def due(self) -> Sequence[int]:
        """The places to start a worker in now; each is told once."""
        now = time.monotonic()
        found = [place for place, moment in self._due.items() if moment <= now]
        for place in found:
            del self._due[place]
        return found
