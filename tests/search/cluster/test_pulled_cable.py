"""Two machines, each a network namespace: the cable between them is pulled, the head dies."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is an extra: pip install 'vkdnw[ray]'")

from tests.search.cluster.running import TASKS, run_here
from vkdnw.search.cluster.ray_cluster import SILENT_SECONDS
from vkdnw.search.state.results import open_results

ROOT = Path(__file__).resolve().parents[3]
RAY = Path(sys.executable).with_name("ray")
NOTICED_SECONDS = 15.0
PORT = 6399
SETTINGS_OF_THE_HEAD = {  # those that docs/cluster.md gives
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


def obstacle() -> str | None:
    """Why there can be no network namespaces here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and the command ip"
    name = f"vkdnw-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


pytestmark = [pytest.mark.ray, pytest.mark.slow]


@dataclass(frozen=True)
class Machine:
    """A namespace with one end of the cable."""

    name: str
    address: str
    environment: dict[str, str]

    @property
    def end(self) -> str:
        return f"{self.name}e"

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]

    def do(self, *words: str) -> None:
        """Run a command to its end."""
        subprocess.run(self.command(*words), check=True, env=self.environment, timeout=180)

    def end_processes(self, named: str = "") -> None:
        """Kill those whose program has this in its name."""
        told = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False
        )
        for pid in told.stdout.split():
            with suppress(ProcessLookupError, FileNotFoundError):
                if named.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]:
                    os.kill(int(pid), signal.SIGKILL)


@contextmanager
def joined_by_a_cable(environment: dict[str, str]) -> Iterator[tuple[Machine, Machine]]:
    """Two machines that reach each other and nothing else."""
    a, b = (
        Machine(f"vk{os.getpid()}{side}", f"10.231.77.{number}", environment)
        for number, side in enumerate("ab", 1)
    )
    try:
        for machine in (a, b):
            subprocess.run(["ip", "netns", "add", machine.name], check=True)
        ends = f"{a.end} netns {a.name} type veth peer name {b.end} netns {b.name}"
        subprocess.run(["ip", "link", "add", *ends.split()], check=True)
        for machine in (a, b):
            for words in (
                f"addr add {machine.address}/24 dev {machine.end}",
                f"link set {machine.end} up",
                "link set lo up",
            ):
                machine.do("ip", *words.split())
        yield a, b
    finally:
        for machine in (a, b):
            machine.end_processes()
            subprocess.run(["ip", "netns", "del", machine.name], check=False)


def start_ray(machine: Machine, folder: str, *words: str) -> None:
    machine.do(
        *(str(RAY), "start", *words, f"--node-ip-address={machine.address}", "--num-cpus=2"),
        *(f"--temp-dir={folder}", "--object-store-memory=80000000", "--disable-usage-stats"),
    )


def seconds_until(output: Iterator[str], told: str) -> tuple[float, list[str]]:
    """How long until a line has this text, and the lines up to it."""
    begun, lines = time.monotonic(), []
    for line in output:
        lines.append(line)
        if told in line:
            return time.monotonic() - begun, lines
    raise AssertionError(f"nothing said {told!r}: {''.join(lines[-20:])}")


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine, Path]]:
    """Joined by a cable, and a folder for Ray's files."""
    if reason := obstacle():
        pytest.skip(reason)
    short = Path(tempfile.mkdtemp(prefix="vk"))  # paths of Ray's sockets must be short
    environment = {
        **os.environ,
        **SETTINGS_OF_THE_HEAD,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    try:
        with joined_by_a_cable(environment) as (head, other):
            yield head, other, short
    finally:
        shutil.rmtree(short, ignore_errors=True)


def start_head(head: Machine, short: Path) -> None:
    start_ray(head, f"{short}/a", "--head", f"--port={PORT}", "--include-dashboard=false")


def start_driver(
    head: Machine, folder: Path, seconds: float = 0.1
) -> tuple[subprocess.Popen[str], Iterator[str]]:
    """A run of the tasks, which take so long each, and its output."""
    driver = subprocess.Popen(
        head.command(
            *(sys.executable, "-m", "tests.search.cluster.running"),
            *(f"{head.address}:{PORT}", str(folder), str(seconds)),
        ),
        env=head.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert driver.stdout is not None
    return driver, iter(driver.stdout)


def recorded(folder: Path) -> list[tuple[str, int]]:
    with open_results(folder) as results:
        return sorted((one.network, one.seed) for one in results.evaluations())


EVERYTHING = sorted((task.network, task.seed) for task in TASKS)


def test_a_machine_that_falls_silent_is_noticed_and_its_tasks_end_elsewhere(
    tmp_path: Path,
) -> None:
    with two_machines() as (head, other, short):
        start_head(head, short)
        start_ray(other, f"{short}/b", f"--address={head.address}:{PORT}")
        driver, output = start_driver(head, tmp_path)
        for _ in range(2):
            seconds_until(output, "joined with 2 workers")
        seconds_until(output, "advanced")
        other.do("ip", "link", "set", other.end, "down")
        noticed, lines = seconds_until(output, f"machine {other.address} is lost with")
        _, rest = seconds_until(output, "Summary(")
        assert driver.wait(60) == 0
    assert noticed < NOTICED_SECONDS
    assert any("advanced" in line for line in lines), "the other machine went on meanwhile"
    assert f"scored={len(TASKS)}, failed=0" in rest[-1]
    assert recorded(tmp_path) == EVERYTHING


def test_the_death_of_the_head_ends_the_run_and_the_next_session_goes_on(tmp_path: Path) -> None:
    with two_machines() as (head, _, short):
        start_head(head, short)
        driver, output = start_driver(head, tmp_path, seconds=0.5)
        seconds_until(output, "advanced")
        head.end_processes(named="gcs_server")
        silence, lines = seconds_until(output, "the head of the Ray cluster has not answered for")
        assert driver.wait(60) != 0
    assert silence < SILENT_SECONDS + 15
    assert "start the cluster and give the same command again" in lines[-1]
    before = recorded(tmp_path)
    assert 0 < len(before) < len(EVERYTHING)
    run_here(tmp_path)
    assert recorded(tmp_path) == EVERYTHING
