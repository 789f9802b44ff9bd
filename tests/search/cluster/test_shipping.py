"""What is sent to a machine makes its workers there: how many, and with the driver's files."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.search.labelled_images import write_images
from vkdnw.ops import library
from vkdnw.search.cluster import shipped_files
from vkdnw.search.cluster.shipping import Shipment, shipment
from vkdnw.search.configuration import Configuration
from vkdnw.search.devices import find_devices, spread
from vkdnw.search.errors import ExecutorError
from vkdnw.search.inputs.seeded import batch, input_digests
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces.nb201.space import NB201

SPACE = NB201(channels=4, cells=1, classes=3, resolution=8)
CONFIGURATION = Configuration(batch_size=2)
WITHOUT_TORCH = """
import pickle, sys
made = pickle.load(sys.stdin.buffer)(4)
pickle.dumps(made)
sys.exit('torch' in sys.modules)
"""


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    shipped_files.remove_all()


def sent(device: str = "cpu", workers: int | None = None) -> Shipment:
    return shipment(SPACE, CONFIGURATION, device, workers, {})


def test_workers_are_so_many_on_each_machine_or_one_a_core() -> None:
    assert len(sent(workers=3)(cores=64)) == 3
    assert len(sent()(cores=64)) == 64


def test_a_gpu_has_as_many_workers_as_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(library, "require_cuda_kernels", lambda: None)
    for workers, cores in ((None, 64), (None, 6), (3, 64)):
        functions = pickle.loads(pickle.dumps(list(sent("cuda", workers)(cores))))
        devices = find_devices("cuda")
        assert [f.device for f in functions] == spread(devices, devices.workers(workers, cores))
        assert {f.at_once for f in functions} == {devices.at_once}
    assert spread(devices, devices.workers(None, 64)) == ["cuda:0", "cuda:1"] * 8


def test_a_worker_receives_the_scorer_of_one_machine() -> None:
    (function,) = pickle.loads(pickle.dumps(list(sent(workers=1)(cores=1))))
    assert function == Scorer(SPACE, CONFIGURATION)


def test_the_machine_makes_workers_without_loading_torch() -> None:
    """A joining machine would otherwise load it twice, one time after the other."""
    program = [sys.executable, "-c", WITHOUT_TORCH]
    assert subprocess.run(program, input=pickle.dumps(sent()), check=False).returncode == 0


def test_files_are_the_drivers_and_are_read_once(tmp_path: Path) -> None:
    images = tmp_path / "images.npz"
    write_images(images, count=4, classes=3)
    configuration = replace(CONFIGURATION, data=str(images), images=str(images))
    here = batch(configuration, SPACE.resolution, 0)
    inputs = {0: input_digests(configuration, SPACE.resolution, 0)}
    travelling = shipment(SPACE, configuration, "cpu", 1, inputs)
    images.unlink()  # the machine has not the driver's files
    (function,) = pickle.loads(pickle.dumps(list(travelling(cores=1))))
    assert function.configuration.data != str(images)
    assert torch.equal(batch(function.configuration, SPACE.resolution, 0), here)


def test_a_worker_refuses_inputs_that_differ_from_the_drivers() -> None:
    others = shipment(SPACE, CONFIGURATION, "cpu", 1, {0: {"batch": "another digest"}})
    (function,) = others(cores=1)
    with pytest.raises(ExecutorError, match="inputs of seed 0 differ from the driver's"):
        pickle.loads(pickle.dumps(function))
