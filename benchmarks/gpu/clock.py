"""Time and memory of a computation on a device, and how a measurement is told.

Every script here prints one JSON object a line, `{"figure": ..., "value": ..., "unit": ...}` and
the other parts of the line, and takes `--device cpu` for a rehearsal where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Options:
    device: torch.device
    small: bool  # sizes for a rehearsal: seconds on a CPU
    repeats: int


def options(description: str) -> Options:
    """Reads the options that all scripts share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a rehearsal")
    parser.add_argument("--small", action="store_true", help="small sizes, for a rehearsal")
    parser.add_argument("--repeats", type=int, default=20, help="timed calls")
    given = parser.parse_args()
    return Options(torch.device(given.device), given.small, given.repeats)


def tell(figure: str, value: float | None, unit: str, **details: object) -> None:
    """Prints one figure."""
    print(json.dumps({"figure": figure, "value": value, "unit": unit, **details}), flush=True)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median of single calls, from an idle device to an idle device, after two to warm up."""
    for _ in range(2):
        call()
    times = []
    for _ in range(repeats):
        wait(device)
        begun = time.perf_counter()
        call()
        wait(device)
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def milliseconds_in_a_row(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Mean of calls that follow one another, so that launching hides behind computing."""
    for _ in range(2):
        call()
    wait(device)
    begun = time.perf_counter()
    for _ in range(repeats):
        call()
    wait(device)
    return 1e3 * (time.perf_counter() - begun) / repeats


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most that torch's allocator held during a call, less its memory before."""
    if device.type != "cuda":
        call()
        return 0
    wait(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    wait(device)
    return torch.cuda.max_memory_allocated(device) - before
