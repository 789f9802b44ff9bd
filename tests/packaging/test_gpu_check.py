"""`make gpu-check` runs its steps one after the other and ends those that take too long."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

GPU = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; modules beside it have common names."""
    monkeypatch.syspath_prepend(str(GPU))
    for name in ("check", "report", "targets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import check  # type: ignore[import-not-found]

    return check


def test_a_step_that_takes_too_long_ends_with_all_that_it_started(
    check: ModuleType, tmp_path: Path
) -> None:
    steps = check.Check("cpu", tmp_path, 60.0)
    begun = time.monotonic()
    step = steps.run("late", ["bash", "-c", "echo hello; sleep 50 & sleep 50"], 1.0)
    assert time.monotonic() - begun < 20  # its output ends with the last process that has it
    assert (step.status, step.note) == ("out of time", "hello")


def test_a_step_has_its_figures_and_its_status(check: ModuleType, tmp_path: Path) -> None:
    steps = check.Check("cpu", tmp_path, 60.0)
    figure = '{"figure": "a", "value": 1.5, "unit": "ms"}'
    assert steps.run("good", ["bash", "-c", f"echo '{figure}'"], 10.0).figures == [
        {"figure": "a", "value": 1.5, "unit": "ms"}
    ]
    assert not steps.record.failed
    assert steps.run("bad", ["bash", "-c", "exit 3"], 10.0).status == "failed"
    assert steps.record.failed
    assert (tmp_path / "rehearsal-on-a-cpu.md").read_text().count("## ") >= 3
