"""Times several versions of one computation in turn, and prints them side by side."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch


def arguments(description: str) -> argparse.Namespace:
    """The options that all op benchmarks share; sets the number of threads."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads (default 1)")
    parser.add_argument("--repeats", type=int, default=15, help="timed calls of each version")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def medians(versions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each version; they take turns, so that all see the same machine."""
    for call in versions.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(repeats):
        for name, call in versions.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}


class Table:
    """Rows of one benchmark, printed as they come: columns of text, or JSON lines."""

    def __init__(self, columns: Sequence[str], as_json: bool) -> None:
        self.columns = columns
        self.as_json = as_json
        self.widths = [max(9, len(name)) for name in columns]
        if not as_json:
            print("  ".join(f"{c:>{w}}" for c, w in zip(columns, self.widths, strict=True)))

    def add(self, *values: object) -> None:
        if self.as_json:
            print(json.dumps(dict(zip(self.columns, values, strict=True))))
            return
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)
        print("  ".join(f"{c:>{w}}" for c, w in zip(cells, self.widths, strict=True)))
