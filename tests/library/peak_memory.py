"""The peak of resident memory of a script in a process of its own, as the system counts it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MEBIBYTE = 2**20

# The system's allocator keeps freed memory for later, up to several feature maps; here it is to
# give it back, so that only memory in use is counted.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def peak(script: str, *arguments: object) -> int:
    """The bytes that the script prints."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    finished = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **ALLOCATOR}
    )
    if "Permission denied: '/proc/self/clear_refs'" in finished.stderr:
        pytest.skip("the system does not let a process reset its peak")
    assert finished.returncode == 0, finished.stderr
    return int(finished.stdout)
