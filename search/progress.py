"""How far a run is, on a terminal or as plain lines."""

import sys
import time
from collections import deque
from contextlib import suppress
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar

from vkdnw.search.control_characters import printable
from vkdnw.search.time_remaining import Remaining

WINDOW_SECONDS = 120.0
"""The rate is that of the recent past, so that it follows a change of the machine's load."""
LINE_SECONDS = 5.0
"""Plain lines come no more often than this."""


class Progress(Protocol):
    """Receives the reports of a runner; a context."""

    def __enter__(self) -> "Progress": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def start(self, total: int, done: int) -> None:
        """There are `total` tasks in all, `done` of them from earlier sessions."""

    def advance(self, scored: int, failed: int) -> None:
        """So many more have come in."""

    def note(self, text: str) -> None:
        """Show a message."""


def progress_here() -> Progress:
    """The display for the caller's place: a notebook's cell, a terminal, or a log."""
    return InNotebook() if in_notebook() else progress_on(Console(stderr=True))


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose cells can display widgets."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def progress_on(console: Console) -> Progress:
    """A bar where the console is a terminal, else plain lines."""
    return Bar(console) if console.is_terminal else Lines(console)


@runtime_checkable
class Expecting(Protocol):
    """A progress that shows how long the rest takes by the times of tasks of its kinds."""

    def expect(self, remaining: Remaining) -> None:
        """Estimate the remaining time by this from now on; it receives every finished task."""


class Meter:
    """Counts, rate and remaining time."""

    def __init__(self, total: int, done: int) -> None:
        self.remaining: Remaining | None = None
        """Tells the time of the rest, where somebody keeps it; else the rate of all tasks does."""
        self.total = total
        self.done = done
        self.failed = 0
        self._recent = deque([(time.monotonic(), done)])

    def advance(self, scored: int, failed: int) -> None:
        self.done += scored + failed
        self.failed += failed
        moment = time.monotonic()
        self._recent.append((moment, self.done))
        while len(self._recent) > 2 and moment - self._recent[0][0] > WINDOW_SECONDS:
            self._recent.popleft()

    @property
    def rate(self) -> float:
        """Tasks per second; 0 before the first."""
        (begin, before), (end, after) = self._recent[0], self._recent[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    @property
    def pace(self) -> str:
        """The rate and the remaining time, in words, and the failures if any."""
        failed = f", {self.failed} failed" if self.failed else ""
        if self.remaining is not None:
            if not self.remaining.known:
                return f"starting{failed}"
            rate = self.remaining.rate
            # It receives a result a moment after the counts.
            left = self.remaining.seconds if self.done < self.total else 0.0
        elif self.rate:
            rate, left = self.rate, (self.total - self.done) / self.rate
        else:
            return "starting"
        return f"{_rate(rate)}, ETA {_duration(left)}{failed}"


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def start(self, total: int, done: int) -> None:
        """Not shown."""

    def advance(self, scored: int, failed: int) -> None:
        """Not shown."""

    def note(self, text: str) -> None:
        """Not shown."""


class Metered(Silent):
    """Keeps the counts of a run and draws them after every change."""

    def __init__(self) -> None:
        self._meter = Meter(0, 0)

    def start(self, total: int, done: int) -> None:
        self._meter = Meter(total, done)
        self._draw()

    def expect(self, remaining: Remaining) -> None:
        self._meter.remaining = remaining

    def advance(self, scored: int, failed: int) -> None:
        self._meter.advance(scored, failed)
        self._draw()

    def _draw(self) -> None:
        raise NotImplementedError


class Bar(Metered):
    """A bar that redraws itself."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._bar = RichBar(
            TextColumn("scoring"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        with suppress(OSError):  # the terminal, or the reader of a pipe, may be gone
            self._bar.console.print(printable(text), markup=False, emoji=False, highlight=False)

    def _draw(self) -> None:
        meter = self._meter
        self._bar.update(
            self._task, total=meter.total, completed=meter.done, description=meter.pace
        )


class InNotebook(Metered):
    """A bar below the cell, redrawn in place; notes stand above it."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: list[str] = []
        self._handle: Any = None

    def __enter__(self) -> Self:
        # A notebook's kernel has loaded IPython: no import, and no dependency.
        self._handle = sys.modules["IPython.display"].display(self, display_id=True)
        return self

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._draw()

    def _draw(self) -> None:
        if self._handle is not None:
            self._handle.update(self)

    def __repr__(self) -> str:
        meter = self._meter
        return "\n".join([*self._notes, f"{meter.done}/{meter.total}  {meter.pace}"])

    def _repr_html_(self) -> str:
        meter = self._meter
        notes = "".join(f"<div>{escape(note)}</div>" for note in self._notes)
        bar = f'<progress value="{meter.done}" max="{max(meter.total, 1)}"></progress>'
        return f"{notes}<div>{bar} {meter.done}/{meter.total} {escape(meter.pace)}</div>"


class Lines(Metered):
    """One line every few seconds, for logs and pipes; nothing that moves the cursor."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._last_line = 0.0

    def start(self, total: int, done: int) -> None:
        self._meter = Meter(total, done)
        self._last_line = time.monotonic()

    def note(self, text: str) -> None:
        with suppress(OSError):  # the terminal, or the reader of a pipe, may be gone
            self._console.print(
                printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True
            )

    def _draw(self) -> None:
        moment = time.monotonic()
        if moment - self._last_line >= LINE_SECONDS or self._meter.done == self._meter.total:
            self._last_line = moment
            self.note(f"{self._meter.done}/{self._meter.total}  {self._meter.pace}")


def _rate(per_second: float) -> str:
    return f"{per_second:.2f}/s" if per_second >= 0.1 else f"{1 / per_second:.1f} s each"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
