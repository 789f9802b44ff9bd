"""Kills, full disks and damage, round after round, in every kind of search: nothing may be lost.

    python benchmarks/soak.py --rounds 1000            # hashed values: seconds a round
    python benchmarks/soak.py --rounds 50 --networks   # small networks, scored by the real scorer

A round does something to a run, compares the record before and after, and gives the same
command again. When a run is complete, its record is compared with that of a run to which nothing
happened, to the last bit. Exit code 1 where anything is lost, changed or unnoticed. Full disks and
full inode tables are small file systems of their own where that is allowed (root), and a limit on
the size of files elsewhere.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from soaking.runs import KINDS, Record, SoakRun, record

from vkdnw.search.errors import RunError, StateWarning, StoreError

STATE = "state.sqlite"
COLUMNS = ("rounds", "rows before", "rows lost", "rows changed", "refused", "mended", "unlike")
GIVE_UP_SECONDS = 300.0


@dataclass
class Soak:
    """The rounds so far."""

    folder: Path
    networks: bool
    draws: random.Random
    table: defaultdict[tuple[str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    expected: dict[str, Record] = field(default_factory=dict)

    def undisturbed(self, kind: str) -> Record:
        """The record of a run of this kind that is not disturbed."""
        if kind not in self.expected:
            run = self.fresh(kind)
            run.here()
            self.expected[kind] = record(run.folder)
        return self.expected[kind]

    def fresh(self, kind: str) -> SoakRun:
        folder = tempfile.mkdtemp(dir=self.folder, prefix=f"{kind}-")
        return SoakRun(folder, kind, networks=self.networks)

    def round(self, fault: str, kind: str) -> None:
        """Do one thing to one run, finish it, and compare."""
        expected = self.undisturbed(kind)
        counted = self.table[fault, kind]
        counted["rounds"] += 1
        run = self.fresh(kind)
        try:
            FAULTS[fault](self, run, counted, expected)
        finally:
            shutil.rmtree(run.folder, ignore_errors=True)

    def finish(self, run: SoakRun, counted: Counter[str], expected: Record) -> None:
        """Give the same command again; a run that is refused as damaged is counted as such."""
        try:
            notes = replace(run, seconds=0.0).here()
        except StoreError as error:
            counted["refused"] += 1
            print(f"{run.kind}: {error}", file=sys.stderr)
            return
        counted["mended"] += any("was damaged" in n or "is gone" in n for n in notes)
        counted["unlike"] += record(run.folder) != expected


def kill(who: str) -> Callable[[Soak, SoakRun, Counter[str], Record], None]:
    """A fault: kill -9 of the parent, of a worker or of all at a random moment."""

    def do(soak: Soak, run: SoakRun, counted: Counter[str], expected: Record) -> None:
        process = begin(run)
        try:
            wait_for_rows(run, process, soak.draws.randrange(1, 12))
            time.sleep(soak.draws.uniform(0.0, 0.15))
            before = record(run.folder)
            workers = workers_of(process.pid)
            if who != "parent" and workers:
                chosen = workers if who == "both" else [soak.draws.choice(workers)]
                for pid in chosen:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if who != "worker":
                process.kill()
            process.wait(GIVE_UP_SECONDS)
        finally:
            process.kill()
            process.wait()
        compare(run, before, counted, expected)
        soak.finish(run, counted, expected)

    return do


def end(number: signal.Signals) -> Callable[[Soak, SoakRun, Counter[str], Record], None]:
    """A fault: a signal that asks the run to end."""

    def do(soak: Soak, run: SoakRun, counted: Counter[str], expected: Record) -> None:
        process = begin(run)
        wait_for_rows(run, process, soak.draws.randrange(1, 12))
        before = record(run.folder)
        process.send_signal(number)
        process.wait(GIVE_UP_SECONDS)
        compare(run, before, counted, expected)
        soak.finish(run, counted, expected)

    return do


def full(what: str) -> Callable[[Soak, SoakRun, Counter[str], Record], None]:
    """A fault: no space, or no inodes, for a while."""

    def do(soak: Soak, run: SoakRun, counted: Counter[str], expected: Record) -> None:
        place = Path(run.folder)
        mounted = mount(place, "size=8m" if what == "space" else "size=64m,nr_inodes=8")
        try:
            if mounted:
                fill(place, what, soak.draws)
                process = begin(run)
            else:
                limit = soak.draws.randrange(60_000, 150_000)
                process = begin(replace(run, file_limit=limit))
            process.wait(GIVE_UP_SECONDS)
            before = quietly(run)
            for ballast in place.glob("ballast*"):
                ballast.unlink()
            compare(run, before, counted, expected)
            soak.finish(run, counted, expected)
        finally:
            if mounted:
                subprocess.run(["umount", str(place)], check=False)

    return do


def damage(what: str) -> Callable[[Soak, SoakRun, Counter[str], Record], None]:
    """A fault: a flipped bit, a cut file or a lost journal, after a run was killed."""

    def do(soak: Soak, run: SoakRun, counted: Counter[str], expected: Record) -> None:
        if what == "flip":
            replace(run, seconds=0.0).here()
        else:
            process = begin(run)
            wait_for_rows(run, process, soak.draws.randrange(3, 20))
            process.kill()
            process.wait()
        before = quietly(run)
        counted["rows before"] += len(before)
        DAMAGE[what](Path(run.folder), soak.draws)
        shown = quietly(run)
        counted["rows changed"] += sum(expected.get(key) != row for key, row in shown.items())
        soak.finish(run, counted, expected)

    return do


def flip(folder: Path, draws: random.Random) -> None:
    path = folder / STATE
    content = bytearray(path.read_bytes())
    content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    path.write_bytes(content)


def cut_database(folder: Path, draws: random.Random) -> None:
    path = folder / STATE
    os.truncate(path, draws.randrange(path.stat().st_size))


def cut_journal(folder: Path, draws: random.Random) -> None:
    path = folder / f"{STATE}-wal"
    if path.exists() and path.stat().st_size:
        os.truncate(path, draws.randrange(path.stat().st_size))


def lose_journal(folder: Path, draws: random.Random) -> None:
    for suffix in ("-wal", "-shm"):
        (folder / f"{STATE}{suffix}").unlink(missing_ok=True)


DAMAGE = {
    "flip": flip,
    "cut database": cut_database,
    "cut journal": cut_journal,
    "lost journal": lose_journal,
}
FAULTS = {
    "kill parent": kill("parent"),
    "kill worker": kill("worker"),
    "kill both": kill("both"),
    "SIGTERM": end(signal.SIGTERM),
    "SIGHUP": end(signal.SIGHUP),
    "disk full": full("space"),
    "inodes out": full("inodes"),
    **{what: damage(what) for what in DAMAGE},
}
WEIGHTS = {"kill parent": 6, "kill worker": 6, "kill both": 6, "flip": 4}
"""How often a fault is drawn; the others once."""


def begin(run: SoakRun) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        run.command,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parent,
        start_new_session=True,
    )


def wait_for_rows(run: SoakRun, process: "subprocess.Popen[bytes]", count: int) -> None:
    """Wait until so many rows are on record, or the process has ended."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(StoreError):
            if len(record(run.folder)) >= count:
                return
        time.sleep(0.02)


def workers_of(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def compare(run: SoakRun, before: Record, counted: Counter[str], expected: Record) -> None:
    """Count rows that were lost, and rows that differ from those of an undisturbed run."""
    after = quietly(run)
    counted["rows before"] += len(before)
    counted["rows lost"] += sum(key not in after for key in before)
    counted["rows changed"] += sum(expected.get(key) != row for key, row in after.items())


def quietly(run: SoakRun) -> Record:
    """The rows that readers get; nothing where they are refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StateWarning)
        try:
            return record(run.folder)
        except StoreError:
            return {}


def mount(place: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(command, check=False, capture_output=True) if shutil.which("mount") else 0
    return not isinstance(done, int) and done.returncode == 0


def fill(place: Path, what: str, draws: random.Random) -> None:
    """Leave room for a part of a run, or for none."""
    if what == "space":
        (place / "ballast").write_bytes(bytes((8192 - draws.randrange(40, 400)) * 1024))
    else:
        for number in range(draws.randrange(3, 8)):
            with suppress(OSError):
                (place / f"ballast-{number}").touch()


def show(soak: Soak, seconds: float) -> bool:
    """Print the table; whether all is well."""
    print(f"| fault | search | {' | '.join(COLUMNS)} |")
    print(f"|---|---|{'---:|' * len(COLUMNS)}")
    total: Counter[str] = Counter()
    for fault in FAULTS:
        for kind in KINDS:
            if (fault, kind) in soak.table:
                counted = soak.table[fault, kind]
                total += counted
                cells = " | ".join(f"{counted[column]:,}" for column in COLUMNS)
                print(f"| {fault} | {kind} | {cells} |")
    print(f"| all | all | {' | '.join(f'{total[column]:,}' for column in COLUMNS)} |")
    print(f"\n{total['rounds']:,} rounds in {seconds:,.0f} s")
    return not (total["rows lost"] or total["rows changed"] or total["unlike"])


def main() -> int:
    """Read the arguments, do the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=22)
    parser.add_argument("--networks", action="store_true", help="score small networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so long, and print the table")
    arguments = parser.parse_args()
    begun = time.monotonic()
    faults = [fault for fault in FAULTS for _ in range(WEIGHTS.get(fault, 1))]
    kinds = list(KINDS)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", StateWarning)
        soak = Soak(Path(folder), arguments.networks, random.Random(arguments.seed))
        for number in range(arguments.rounds):
            spent = (time.monotonic() - begun) / 60
            if arguments.minutes is not None and spent > arguments.minutes:
                break
            fault = faults[number % len(faults)]
            kind = kinds[(number // len(faults)) % len(kinds)]
            try:
                soak.round(fault, kind)
            except (RunError, OSError, subprocess.SubprocessError) as error:
                soak.table[fault, kind]["unlike"] += 1
                print(f"{fault}, {kind}: {error}", file=sys.stderr)
        return 0 if show(soak, time.monotonic() - begun) else 1


if __name__ == "__main__":
    sys.exit(main())
