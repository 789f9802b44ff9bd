"""A compilation fails where a kernel spills, and passes on the compiler's other messages."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "cmake" / "refuse_spills.py"
REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4goodPf' for 'sm_90'
ptxas info    : Function properties for _Z4goodPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, used 1 barriers
ptxas info    : Compiling entry function '_Z5{name}Pf' for 'sm_90'
ptxas info    : Function properties for _Z5{name}Pf
    48 bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
"""


def compile_with(report: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the script in front of a compiler that prints `report`."""
    compiler = f"import sys; sys.stderr.write({report!r}); sys.exit({status})"
    command = [sys.executable, str(SCRIPT), sys.executable, "-c", compiler]
    return subprocess.run(command, capture_output=True, text=True)


def test_no_spill_passes_in_silence():
    ran = compile_with(REPORT.format(name="clean", stores=0, loads=0))
    assert ran.returncode == 0
    assert ran.stderr.strip() == ""


def test_a_spill_fails_and_names_the_kernel():
    for stores, loads in ((4, 8), (0, 8)):
        ran = compile_with(REPORT.format(name="leaky", stores=stores, loads=loads))
        assert ran.returncode == 1
        assert f"_Z5leakyPf for sm_90: {stores} bytes spill stores" in ran.stderr
        assert "good" not in ran.stderr


def test_the_compilers_own_messages_and_status_come_through():
    ran = compile_with("file.cu(3): error: expected a ;\n", status=2)
    assert ran.returncode == 2
    assert "expected a ;" in ran.stderr
