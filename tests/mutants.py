"""How many faults the tests notice: breaks lines one at a time and runs the tests of their area.

A mutant is one changed line of the Python package. Each is put into a copy of the package made of
links, and the tests named beside it run against that copy until the first one fails. A mutant that
no test notices is printed; its line needs a test, or is not needed.

    python tests/mutants.py [--only TEXT]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TAPE = "tests/library/test_tape_compiler.py", "tests/library/test_tape.py"
SPECTRUM = ("tests/library/test_spectrum.py",)


def exact(cases: str) -> tuple[str, ...]:
    """The comparisons with `vmap(jacrev)` of the cases whose names hold a word."""
    return "tests/library/test_exact.py", "-k", cases


@dataclass(frozen=True)
class Mutant:
    """A line that is changed, and the tests that should notice."""

    path: str
    line: str  # a part of one line, which occurs once in the file
    broken: str
    tests: tuple[str, ...]  # arguments of pytest


MUTANTS = (
    Mutant("vkdnw/spectrum.py", "(len(ascending) - 1)\n", "len(ascending)\n", SPECTRUM),
    Mutant("vkdnw/spectrum.py", "position - below)", "below - position)", SPECTRUM),
    Mutant("vkdnw/spectrum.py", ".abs().sum() + EPSILON", ".abs().max() + EPSILON", SPECTRUM),
    Mutant("vkdnw/fisher_information.py", "columns - len(nonzero)", "0 * columns", SPECTRUM),
    Mutant(
        "vkdnw/fisher_information.py", "scale = 1.0 / problem", "scale = 2.0 / problem", SPECTRUM
    ),
    Mutant("vkdnw/rules/conv.py", "offset * dilation -", "offset -", exact("conv")),
    Mutant(
        "vkdnw/rules/conv.py",
        "    before = layer._reversed_padding_repeated_twice[0::2]",
        "    before = layer._reversed_padding_repeated_twice[1::2]",
        exact("conv"),
    ),
    Mutant("vkdnw/rules/conv.py", "out_channel // geometry.group_outputs *", "0 *", exact("conv")),
    Mutant("vkdnw/rules/conv.py", "tap // kernel[2] % kernel[1]", "tap % kernel[1]", exact("conv")),
    Mutant("vkdnw/rules/batch_norm.py", "variance + layer.eps", "variance", exact("batch")),
    Mutant(
        "vkdnw/rules/linear.py", "indices % layer.in_features)", "indices * 0)", exact("linear")
    ),
    Mutant(
        "vkdnw/rules/layer_norm.py", "None, None, layer.eps", "None, None, 1e-5", exact("layer")
    ),
    Mutant("vkdnw/rules/embedding.py", "matches &= ", "matches |= ", exact("embedding")),
    Mutant("vkdnw/backward/tape_nodes.py", "if node._saved_alpha == 1 else", "if True else", TAPE),
    Mutant("vkdnw/backward/tape_nodes.py", "+ node._saved_eps)", ")", TAPE),
    Mutant("vkdnw/backward/tape_nodes.py", "or sizes[2] != sizes[3]", "", TAPE),
    Mutant("vkdnw/backward/tape_nodes.py", " or any(padding):", ":", TAPE),
    Mutant(
        "vkdnw/backward/tape_nodes.py",
        "!= {1}\n        or len(stride)",
        "!= {0}\n        or len(stride)",
        TAPE,
    ),
    Mutant("vkdnw/backward/tape_compiler.py", "return same_shape", "return True", TAPE),
    Mutant("vkdnw/backward/tape_compiler.py", "return is_relu and all(", "return any(", TAPE),
    Mutant("vkdnw/backward/tape_compiler.py", "any(len(kinds) > 1", "any(len(kinds) > 2", TAPE),
    Mutant(
        "vkdnw/ops/library.py", "if missing:", "if False:", ("tests/packaging/test_library.py",)
    ),
    Mutant(
        "vkdnw/weights.py",
        "range(count), min(choice",
        "range(1, count), min(choice",
        ("tests/library/test_weights.py",),
    ),
    Mutant(
        "search/task_runner.py",
        "                call(task, result)",
        "                pass",
        ("tests/search/api/test_searching.py", "-k", "told"),
    ),
    Mutant(
        "search/time_remaining.py",
        "            self.failed(task.names)",
        "            pass",
        ("tests/search/test_time_remaining.py",),
    ),
    Mutant(
        "search/inputs/preprocessing.py",
        "(width - side) // 2",
        "0",
        ("tests/search/inputs/test_batches.py",),
    ),
    Mutant(
        "search/api/entry_points.py",
        "        tournament=tournament,\n",
        "",
        ("tests/search/api/test_options.py",),
    ),
    Mutant(
        "search/api/up_to_date.py",
        'settings.get("proxies") == ALL',
        "False",
        ("tests/search/api/test_up_to_date.py",),
    ),
    Mutant(
        "search/evolution/history.py",
        "scores.cummax()",
        "scores",
        ("tests/search/api/test_searching.py", "-k", "budget"),
    ),
    Mutant(
        "search/state/rows.py",
        "crc32(text.encode(), start)",
        "0",
        ("tests/search/state/test_damage.py",),
    ),
)


def noticed(mutant: Mutant) -> str | None:
    """The first test that fails with the mutant; None where all pass."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "vkdnw"
        for source, target in ((ROOT / "vkdnw", package), (ROOT / "search", package / "search")):
            shutil.copytree(source, target, copy_function=os.symlink)
        file = package / mutant.path.removeprefix("vkdnw/")
        text = file.read_text(encoding="utf-8")
        assert text.count(mutant.line) == 1, f"{mutant.path}: {mutant.line!r} is not there once"
        file.unlink()
        file.write_text(text.replace(mutant.line, mutant.broken), encoding="utf-8")
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": folder, "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
        )
    if ran.returncode == 0:
        return None
    failed = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else ran.stdout[-300:] + ran.stderr[-300:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose path or line holds this")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in mutant.path + mutant.line]
    for mutant in {mutant.tests: mutant for mutant in chosen}.values():
        unchanged = replace(mutant, broken=mutant.line)
        assert noticed(unchanged) is None, f"{mutant.tests} fail without a mutant"
    survivors = 0
    for mutant in chosen:
        test = noticed(mutant)
        survivors += test is None
        change = f"{mutant.path}: {mutant.line.strip()} -> {mutant.broken.strip()}"
        print(f"{'survived' if test is None else 'noticed '}  {change}", flush=True)
        if test is not None:
            print(f"          {test[:120]}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} noticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
