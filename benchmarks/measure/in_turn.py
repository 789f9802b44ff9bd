"""The costs of versions of one computation: time in turn, memory in processes of their own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Seconds of one call: on the clock, and of all processors together."""

    wall: float
    cpu: float


def cost(call: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def costs(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Cost]]:
    """The costs of every call, in turn; the first round warms up and is dropped."""
    measured: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            measured[name].append(cost(call))
    return {name: values[1:] for name, values in measured.items()}


def compared(base: str, measured: Mapping[str, list[Cost]]) -> dict[str, object]:
    """Seconds of all calls, and medians of the ratios to ``base`` within a round."""
    result: dict[str, object] = {
        "wall seconds": {name: [c.wall for c in each] for name, each in measured.items()},
        "cpu seconds": {name: [c.cpu for c in each] for name, each in measured.items()},
    }
    for name, each in measured.items():
        if name != base:
            pairs = list(zip(measured[base], each, strict=True))
            result[f"times faster, {name}"] = statistics.median(a.wall / b.wall for a, b in pairs)
            result[f"times less CPU, {name}"] = statistics.median(a.cpu / b.cpu for a, b in pairs)
    return result


def compared_memory(base: str, peaks: Mapping[str, int]) -> dict[str, object]:
    """Bytes, and shares of those of ``base``."""
    shares = {
        f"share of memory, {name}": peak / peaks[base]
        for name, peak in peaks.items()
        if name != base
    }
    return {"peak bytes": dict(peaks), **shares}


def peak_memory(script: str, *arguments: str) -> int:
    """Bytes that ``script --child ARGUMENTS`` prints, in a process of its own."""
    command = [sys.executable, script, "--child", *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_added_peak(before: Callable[[], object], call: Callable[[], object]) -> None:
    """The output of a child: bytes that a call needs beyond the process's memory before."""
    before()
    held = resident("VmHWM")
    call()
    print(resident("VmHWM") - held)


def resident(kind: str) -> int:
    """Resident bytes of this program: VmRSS now, VmHWM at the most.

    getrusage would count the parent's before exec.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024


def report(title: str, result: Mapping[str, object]) -> None:
    """Prints the numbers of a result, errors in powers of ten."""
    print(title)
    for key, value in result.items():
        if isinstance(value, float):
            print(f"  {key:38} {value:8.2g}" if "error" in key else f"  {key:38} {value:8.3f}")


def compare_networks(
    description: str,
    header: str,
    networks: Mapping[str, object],
    rounds: int,
    measure: Callable[[str, int], Mapping[str, object]],
    print_peak: Callable[[str, str], None],
) -> None:
    """The command of a script that measures some networks, one after the other.

    ``measure`` takes a network's name and the rounds; ``print_peak`` is called by the script's
    children do, for a network and a version.
    """
    parser = ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--networks", nargs="+", default=list(networks), choices=list(networks))
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--child", nargs=2, help=SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print_peak(*options.child)
        return
    print(header)
    results = []
    for name in options.networks:
        results.append(measure(name, options.rounds))
        report(name, results[-1])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
