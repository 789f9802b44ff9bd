"""The manifest for KubeRay agrees with itself, with the commands, and with the SLURM script.

Its fields are not checked here: that takes KubeRay's and Kubernetes' own schemas.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_commands import refusal

yaml = pytest.importorskip("yaml", reason="PyYAML comes with Ray: pip install 'vkdnw[ray]'")

FOLDER = Path(__file__).parents[3] / "examples" / "cluster"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())["spec"]
    return spec


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_its_command_is_one_of_this_version(job: dict[str, Any]) -> None:
    assert refusal(job["entrypoint"]) == ""


def test_the_run_is_on_a_volume(job: dict[str, Any]) -> None:
    words = shlex.split(job["entrypoint"])
    out = Path(words[words.index("--out") + 1])
    head, *_ = pods(job)
    mounts = {mount["name"]: mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    assert Path(mounts["runs"]) in out.parents
    assert mounts.keys() == {volume["name"] for volume in head["volumes"]}


def test_every_pod_runs_the_same_image_with_the_settings_of_the_slurm_script(
    job: dict[str, Any],
) -> None:
    containers = [pod["containers"][0] for pod in pods(job)]
    assert len({container["image"] for container in containers}) == 1
    health = re.compile(r"(RAY_health_check_\w+)=(\d+)")
    expected = set(health.findall((FOLDER / "slurm.sh").read_text()))
    assert len(expected) == 4
    for container in containers:
        assert expected <= {(one["name"], one["value"]) for one in container["env"]}


def test_it_names_the_ray_that_is_tested(job: dict[str, Any]) -> None:
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'vkdnw[ray]'")
    assert job["rayClusterSpec"]["rayVersion"] == ray.__version__
