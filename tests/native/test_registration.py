"""Torch's compiler knows which functions are constant, and is loaded by nobody but its users."""

import subprocess
import sys

import torch

from vkdnw.ops import registration


def test_native_is_marked_as_the_decorator_marks_a_function() -> None:
    def decorated() -> bool:
        return True

    torch.compiler.assume_constant_result(decorated)
    assert vars(registration.native) == vars(decorated) != {}


def test_scoring_loads_without_torchs_compiler() -> None:
    """It takes a second of each process, a worker's too."""
    check = "import vkdnw.search.scoring, sys; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
