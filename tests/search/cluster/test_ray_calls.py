"""Ray as it is called: one actor a machine with all that it has, restarted by nobody but us."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.search.clock import Clock
from tests.search.cluster.fake_ray import FakeRay, node
from vkdnw.search.cluster import ray_cluster as module
from vkdnw.search.cluster.interface import MachineLostError, Unfit
from vkdnw.search.cluster.ray_cluster import INLINE_BYTES, SILENT_SECONDS, RayCluster
from vkdnw.search.errors import ExecutorError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def cluster_of(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RayCluster]:
    monkeypatch.setattr(RayCluster, "_keep_looking", lambda self: None)  # a test looks itself

    def make(ray: FakeRay, *arguments: Any) -> RayCluster:
        monkeypatch.setattr(module, "connect", lambda address: ray)
        return RayCluster("auto", arguments)

    return make


def test_machines_are_the_nodes_that_live_and_lend_cores(
    cluster_of: Callable[..., RayCluster],
) -> None:
    ray = FakeRay([node("a", CPU=4), node("b", alive=False, CPU=4), node("head", CPU=0)])
    cluster = cluster_of(ray)
    assert cluster.nodes() == {"id of a": "a"}
    ray.known.append(node("c", CPU=2))
    cluster._look()
    assert cluster.nodes() == {"id of a": "a", "id of c": "c"}


def test_an_actor_has_all_of_its_machine_and_is_never_restarted_by_ray(
    cluster_of: Callable[..., RayCluster],
) -> None:
    ray = FakeRay([node("a", CPU=64, GPU=8)])
    cluster_of(ray).start("id of a")
    assert ray.options == [
        {
            "num_cpus": 64,
            "num_gpus": 8,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": ("id of a", False),
        }
    ]


@pytest.mark.parametrize(("lent", "allowed"), [(6, 64), (64, 6)])
def test_a_machine_has_workers_for_the_cores_that_it_may_use(
    lent: int, allowed: int, cluster_of: Callable[..., RayCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has a quota, which Ray knows; a batch system allows some of the cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)))
    cluster = cluster_of(FakeRay([node("a", CPU=lent)]), only_asked, [], str)
    answer = cluster.take(cluster.start("id of a").greet())
    assert answer == Unfit("asked for 6 cores")


def only_asked(cores: int) -> list[Any]:
    raise ValueError(f"asked for {cores} cores")


def test_a_module_that_is_missing_there_is_an_answer(cluster_of: Callable[..., RayCluster]) -> None:
    cluster = cluster_of(FakeRay([node("a", CPU=1)]), Missing())
    answer = cluster.take(cluster.start("id of a").greet())
    assert answer == Unfit("ModuleNotFoundError: No module named 'a_space_that_is_not_there'")


class Missing:
    """Unpickled, it imports a module that there is not."""

    def __reduce__(self) -> Any:
        return __import__, ("a_space_that_is_not_there",)


@pytest.mark.parametrize(("size", "times_put"), [(100, 0), (2 * INLINE_BYTES, 1)])
def test_files_are_put_once_and_little_travels_with_the_call(
    size: int, times_put: int, cluster_of: Callable[..., RayCluster]
) -> None:
    """A machine that joins asks for what was put, for a while even a machine that is dead."""
    ray = FakeRay([node("a", CPU=1), node("b", CPU=1), node("c", CPU=1)])
    cluster = cluster_of(ray, b"x" * size)
    for name in cluster.nodes():
        cluster.start(name)
    assert len(ray.stored) == times_put
    assert len(ray.actors) == 3


def test_a_dead_actor_is_a_lost_machine_in_one_line(cluster_of: Callable[..., RayCluster]) -> None:
    cluster = cluster_of(FakeRay([node("a", CPU=1)]), only_asked, [], str)
    machine = cluster.start("id of a")
    reply = machine.greet()
    machine.kill()
    assert cluster.ready([reply], 0.0) == [reply]
    with pytest.raises(MachineLostError, match=r"^ActorDiedError: The actor died\.$"):
        cluster.take(reply)


def test_a_head_that_is_silent_ends_the_driver_with_a_remedy(
    clock: Clock, cluster_of: Callable[..., RayCluster]
) -> None:
    ray = FakeRay([node("a", CPU=1)])
    cluster = cluster_of(ray)
    clock.now += SILENT_SECONDS - 1
    cluster.nodes()
    clock.now += 2
    with pytest.raises(ExecutorError, match=r"recorded results are kept: .* same command again"):
        cluster.nodes()


def test_closing_leaves_the_cluster(cluster_of: Callable[..., RayCluster]) -> None:
    ray = FakeRay([node("a", CPU=1)])
    cluster_of(ray).close()
    assert ray.closed


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, None),
        ({"RAY_AUTH_TOKEN": "secret"}, "token"),
        ({"RAY_AUTH_TOKEN_PATH": "{home}/elsewhere"}, "token"),
        ({"HOME": "{home}"}, "token"),
        ({"HOME": "{home}", "RAY_AUTH_MODE": "disabled"}, "disabled"),
    ],
)
def test_a_token_that_is_there_is_used(
    given: dict[str, str], mode: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray start` asks for a token as soon as there is one; `ray.init` alone would send none."""
    for file in (tmp_path / "elsewhere", tmp_path / ".ray" / "auth_token"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("secret")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # put back afterwards, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    for name, value in given.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    modes: list[str | None] = []
    ray = ModuleType("ray")
    ray.init = lambda **_: modes.append(os.environ.get("RAY_AUTH_MODE"))  # type: ignore[attr-defined]
    for name in ("ray", "ray.util", "ray.util.scheduling_strategies"):
        monkeypatch.setitem(sys.modules, name, ray)
    module.connect("auto")
    assert modes == [mode]
