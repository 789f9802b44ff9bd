"""Compares installs of vkdnw in two environments: CPU time of a score, in turns.

    make wheel-test                                  # installs the wheel into build/wheel/venv
    python benchmarks/builds.py                      # this environment, and that one
    python benchmarks/builds.py PYTHON PYTHON        # two others

Each interpreter runs one process that scores three networks of NAS-Bench-201, batch 64, on one
thread. The processes take turns, network by network, so that both see the same machine. The table
has the least CPU time of each, and their ratio.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

WHEEL = "build/wheel/venv/bin/python"
NETWORKS = {
    "all conv3x3": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "mixed": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|"
    "+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "light": "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|",
}


def serve() -> None:
    """Scores the network that each line names, and answers with the CPU seconds it took."""
    import time
    import warnings

    import torch

    import vkdnw
    from vkdnw.ops import library
    from vkdnw.search.spaces import nb201

    warnings.simplefilter("ignore", vkdnw.LowRankWarning)
    torch.set_num_threads(1)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    print(library.fastest() if library.native() else "plain torch", flush=True)
    for line in sys.stdin:
        model = nb201.build(line.strip(), 16, 5, 10).eval()
        vkdnw.initialise(model, "kaiming_normal", seed=0)
        begun = time.process_time()
        score = vkdnw.score(model, images)
        print(time.process_time() - begun, score.vkdnw, flush=True)


def start(python: str) -> subprocess.Popen[str]:
    """A process of this interpreter, outside of any source tree."""
    command = [str(Path(python).absolute()), str(Path(__file__).resolve()), "--serve"]
    process = subprocess.Popen(
        command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    print(f"{python}: {process.stdout.readline().strip()}")
    return process


def ask(process: subprocess.Popen[str], network: str) -> tuple[float, float]:
    """CPU seconds and the score."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(network + "\n")
    process.stdin.flush()
    seconds, score = map(float, process.stdout.readline().split())
    return seconds, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="*", default=[sys.executable, WHEEL], metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    if len(arguments.pythons) != 2:
        parser.error("give two interpreters")
    missing = [python for python in arguments.pythons if not Path(python).exists()]
    if missing:
        print(f"left out: there is no {missing[0]}; make wheel-test makes {WHEEL}")
        return
    first, second = map(start, arguments.pythons)
    print(f"{'network':<12} {'first (s)':>10} {'second (s)':>10} {'second/first':>13}  score")
    for name, network in NETWORKS.items():
        ask(first, network), ask(second, network)  # the first pass of a process is slow
        turns = [(ask(first, network), ask(second, network)) for _ in range(arguments.rounds)]
        ours, theirs = (min(turn[side][0] for turn in turns) for side in range(2))
        scores = ", ".join(str(score) for _, score in turns[0])
        print(f"{name:<12} {ours:>10.3f} {theirs:>10.3f} {theirs / ours:>13.3f}  {scores}")


if __name__ == "__main__":
    main()
