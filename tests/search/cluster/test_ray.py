"""A real Ray cluster on this machine: machines join, a worker and a machine are killed.

One cluster serves the whole module: starting one takes most of the time.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'vkdnw[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402

from tests.search.cluster.running import TASKS, run_tasks  # noqa: E402
from tests.search.fakes import SETTINGS  # noqa: E402
from tests.search.labelled_images import write_images  # noqa: E402
from vkdnw import search  # noqa: E402
from vkdnw.search.cluster.doctor import classes, survey  # noqa: E402
from vkdnw.search.cluster.start_executor import RayStart  # noqa: E402
from vkdnw.search.configuration import Configuration  # noqa: E402
from vkdnw.search.spaces.nb201 import NB201  # noqa: E402
from vkdnw.search.state.results import open_results  # noqa: E402
from vkdnw.search.state.store import open_store  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TOKEN = "RAY_AUTH_TOKEN_PATH"
SMALL = {"object_store_memory": 80_000_000, "include_dashboard": False}


class Events:
    """A progress that does something at given counts of results."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.count = 0
        self.happens: dict[int, Any] = {}
        self.when_two_are_there: Any = None

    def advance(self, scored: int, failed: int) -> None:
        before, self.count = self.count, self.count + scored + failed
        for count in [count for count in self.happens if before < count <= self.count]:
            self.happens.pop(count)()

    def start(self, total: int, done: int) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.joined == 2 and self.when_two_are_there is not None:
            self.happens[self.count + 20] = self.when_two_are_there
            self.when_two_are_there = None

    @property
    def joined(self) -> int:
        return sum("joined" in note for note in self.notes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv(TOKEN, str(folder / "token"))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
        made.add_node(num_cpus=2, **SMALL)
        made.wait_for_nodes()
        yield made
        made.shutdown()


def pool_worker() -> int:
    """The process id of some worker of some machine of this cluster, not of another run."""
    ours = f"{TOKEN}={os.environ[TOKEN]}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"vkdnw.search.executors.worker" in command and ours in environment.split(b"\0"):
                return int(entry.name)
    raise AssertionError("no worker is there")


def test_the_survey_says_what_each_machine_is(cluster: Cluster) -> None:
    machines = survey(cluster.address)
    assert [(machine.alive, machine.problem) for machine in machines] == [(True, None)] * 2
    assert sorted(machine.cpus for machine in machines) == [0, 2]
    assert len(classes(machines)) == 1


def test_machines_join_and_die_and_every_task_is_on_record_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    events = Events()
    joined: list[Any] = []
    events.happens[10] = lambda: joined.append(cluster.add_node(num_cpus=2, **SMALL))
    events.happens[50] = lambda: os.kill(pool_worker(), signal.SIGKILL)
    events.when_two_are_there = lambda: cluster.remove_node(joined[0], allow_graceful=False)
    summary = run_tasks(cluster.address, tmp_path, events)
    with open_results(tmp_path) as results:
        recorded = [(one.network, one.seed) for one in results.evaluations()]
    assert summary.scored == len(TASKS)
    assert summary.failed == 0
    assert sorted(recorded) == sorted((task.network, 0) for task in TASKS)
    assert events.joined == 2
    assert any("killed by SIGKILL" in note for note in events.notes)
    assert any("is lost with" in note for note in events.notes)


def test_a_run_on_the_cluster_has_the_rows_of_a_run_on_one_machine(
    cluster: Cluster, tmp_path: Path
) -> None:
    images = tmp_path / "images.npz"
    write_images(images, count=16, classes=10)
    asked: dict[str, Any] = {
        "sample": 6,
        "cells": 1,
        "resolution": 8,
        "batch_size": 8,
        "images": images,
        "proxies": "vkdnw,jacov,snip",
        "progress": False,
    }
    here = search.enumerate("nb201", tmp_path / "here", workers=2, **asked)
    there = search.enumerate(
        "nb201", tmp_path / "there", executor=f"ray:{cluster.address}", **asked
    )
    columns = ["architecture", "seed", "vkdnw", "jacov", "snip"]
    pd.testing.assert_frame_equal(
        here.to_pandas()[columns], there.to_pandas()[columns], check_exact=True
    )


def greeted(cluster: Cluster, folder: Path, machines: int, mixed: bool) -> tuple[list[str], int]:
    """What is told of so many machines when a session begins, and the classes then on record."""
    space, configuration = NB201(cells=1, resolution=8), Configuration(batch_size=8)
    start = RayStart(cluster.address, space, configuration, "cpu", 1, {}, mixed)
    notes: list[str] = []
    with open_store(folder) as store:
        store.begin(SETTINGS, {}, {0: {"batch": "digest"}})
        with closing(start(store, notes.append)) as executor:
            deadline = time.monotonic() + 90
            while len(notes) < machines and time.monotonic() < deadline:
                assert not executor.wait(0.1)
        return sorted(notes), len({kind for kind, _ in store.machines()})


def test_a_machine_of_other_bits_is_refused_and_taken_into_a_mixed_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    """ATen without vector instructions rounds otherwise than with them."""
    (joined,), classes_on_record = greeted(cluster, tmp_path, 1, mixed=False)
    assert "joined" in joined
    assert classes_on_record == 1
    unlike = {"ATEN_CPU_CAPABILITY": "default"}
    node = cluster.add_node(num_cpus=1, env_vars=unlike, **SMALL)
    try:
        notes, classes_on_record = greeted(cluster, tmp_path, 2, mixed=False)
        assert [note for note in notes if "joined" in note] == [joined]
        (refusal,) = [note for note in notes if "is not used" in note]
        assert "differ from the run's in the last bits (ATen capability DEFAULT instead" in refusal
        assert "--mixed" in refusal
        assert classes_on_record == 1
        notes, classes_on_record = greeted(cluster, tmp_path, 2, mixed=True)
        assert ["joined" in note for note in notes] == [True, True]
        assert classes_on_record == 2
    finally:
        cluster.remove_node(node)
