"""`make` sets up with a Python that is new enough, or says which ones it tried."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "build_backend" / "find_python.sh"


def find_python(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT)], env=os.environ | environment, capture_output=True, text=True
    )


@pytest.fixture
def old_python(tmp_path) -> Path:
    """Answers every question as a Python of the wrong version does."""
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return program


def test_the_one_that_is_named_is_taken():
    assert find_python(PYTHON=sys.executable).stdout.strip() == sys.executable


def test_one_that_is_too_old_is_refused_by_name(old_python):
    ran = find_python(PYTHON=str(old_python))
    assert ran.returncode == 1
    assert str(old_python) in ran.stderr
    assert "make PYTHON=" in ran.stderr


def test_usual_names_are_tried_until_one_will_do(old_python):
    good = old_python.with_name("python3.12")
    good.symlink_to(sys.executable)
    old_python.with_name("python3.11").symlink_to(old_python)
    path = f"{old_python.parent}:/usr/bin:/bin"
    assert find_python(PYTHON="", PATH=path).stdout.strip() == "python3.12"
