"""Runs nvcc and fails where a kernel spills registers: `python refuse_spills.py nvcc ...`.

CMake calls it in front of nvcc, which must have been given -Xptxas=-v. A spill goes through memory
in the middle of a kernel whose columns were to stay in registers; it is a defect here, not a matter
of taste.
"""

from __future__ import annotations

import re
import subprocess
import sys

KERNEL = re.compile(r"Compiling entry function '(\S+)' for '(\S+)'")
SPILL = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def spills(report: str) -> list[str]:
    """A line for every kernel of a ptxas report that spills."""
    found, kernel = [], "a kernel"
    for line in report.splitlines():
        if named := KERNEL.search(line):
            kernel = f"{named[1]} for {named[2]}"
        elif (bytes_of := SPILL.search(line)) and (int(bytes_of[1]) or int(bytes_of[2])):
            found.append(f"{kernel}: {bytes_of[0]}")
    return found


def main() -> int:
    ran = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE, text=True)
    spilling = spills(ran.stderr)
    said = "\n".join(
        line
        for line in ran.stderr.splitlines()
        if "ptxas info" not in line and not SPILL.search(line)
    )
    if said:
        print(said, file=sys.stderr)
    for line in spilling:
        print(f"error: registers spill in {line}", file=sys.stderr)
    return ran.returncode or bool(spilling)


if __name__ == "__main__":
    sys.exit(main())
