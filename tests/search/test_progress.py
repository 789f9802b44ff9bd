"""Progress: the recent rate, and lines that neither flood a log nor move its cursor."""

import io

import pytest
from rich.console import Console

from tests.search.clock import Clock
from vkdnw.search import progress as progress_module
from vkdnw.search.progress import Bar, Lines, Meter, progress_on


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_rate_and_remaining_time(clock: Clock) -> None:
    meter = Meter(total=100, done=20)
    assert meter.pace == "starting"
    clock.now += 10
    meter.advance(scored=4, failed=1)
    assert meter.rate == 0.5
    assert meter.pace == "0.50/s, ETA 2m30s, 1 failed"


def test_the_rate_is_that_of_the_recent_past(clock: Clock) -> None:
    meter = Meter(total=10_000, done=0)
    for _ in range(100):
        clock.now += 1
        meter.advance(10, 0)
    for _ in range(1000):
        clock.now += 1
        meter.advance(1, 0)
    assert meter.rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("per_second", "left", "pace"),
    [(0.05, 10, "20.0 s each, ETA 3m20s"), (2.0, 20_000, "2.00/s, ETA 2h46m")],
)
def test_slow_and_long(clock: Clock, per_second: float, left: int, pace: str) -> None:
    meter = Meter(total=left + 1, done=0)
    clock.now += 1 / per_second
    meter.advance(1, 0)
    assert meter.pace == pace


def test_plain_lines_come_seldom_and_the_last_one_always(clock: Clock) -> None:
    out = io.StringIO()
    with Lines(Console(file=out, width=200)) as progress:
        progress.start(total=100, done=0)
        for _ in range(100):
            clock.now += 0.11
            progress.advance(1, 0)
        progress.note("and done")
    lines = out.getvalue().splitlines()
    assert len(lines) == 4  # at 5 s, 10 s, the end, and the note
    assert lines[-2].startswith("100/100  ")
    assert lines[-1] == "and done"
    assert "\r" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_a_bar_and_a_file_gets_lines() -> None:
    assert isinstance(progress_on(Console(file=io.StringIO(), force_terminal=True)), Bar)
    assert isinstance(progress_on(Console(file=io.StringIO())), Lines)


def test_the_bar_shows_counts_rate_and_notes(clock: Clock) -> None:
    out = io.StringIO()
    with Bar(Console(file=out, force_terminal=True, width=120)) as progress:
        progress.start(total=10, done=5)
        clock.now += 2
        progress.advance(1, 0)
        progress.note("[worker] 7 was lost")
    assert "6/10" in out.getvalue()
    assert "0.50/s, ETA 8s" in out.getvalue()
    assert "[worker] 7 was lost" in out.getvalue()
