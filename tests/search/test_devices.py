"""Which devices score, how many workers each has, and the device as a setting of a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vkdnw.ops import library
from vkdnw.proxies import Inputs
from vkdnw.search import scoring
from vkdnw.search.configuration import Configuration, differences
from vkdnw.search.devices import CPU, Devices, find_devices, spread
from vkdnw.search.proxies_on_device import compute_on
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.tasks import Task

ARCHITECTURE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
SPACE = NB201(channels=4, cells=1, classes=3, resolution=8)
TWO = Devices("cuda", ("cuda:0", "cuda:1"))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    def have(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(library, "require_cuda_kernels", lambda: None)

    return have


def test_cuda_means_every_gpu(gpus) -> None:
    gpus(3)
    assert find_devices("cpu") == Devices("cpu", ("cpu",))
    assert find_devices("cuda").names == ("cuda:0", "cuda:1", "cuda:2")
    assert find_devices("cuda:1").names == ("cuda:1",)


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cudas", "", "cpu:0", "mps"])
def test_other_names_are_refused(text: str, gpus) -> None:
    gpus(2)
    with pytest.raises(ValueError, match="cpu, cuda or cuda:N"):
        find_devices(text)


def test_a_device_that_is_not_there_is_refused(gpus) -> None:
    gpus(0)
    with pytest.raises(ValueError, match=f"cuda: torch {torch.__version__.split('+')[0]}"):
        find_devices("cuda")
    gpus(2)
    with pytest.raises(ValueError, match="cuda:2: this machine has 2 CUDA devices, from cuda:0 on"):
        find_devices("cuda:2")


def test_a_library_without_kernels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise library.NativeLibraryError("built for the CPU alone")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(library, "require_cuda_kernels", refuse)
    with pytest.raises(ValueError, match="cuda: built for the CPU alone"):
        find_devices("cuda")


def test_the_kind_of_device_binds_a_run_and_its_number_does_not() -> None:
    cpu = Devices("cpu", ("cpu",)).settings()
    assert differences({}, cpu) == []  # a run from before there was a choice
    assert differences(TWO.settings(), Devices("cuda", ("cuda:1",)).settings()) == []
    assert [str(found) for found in differences(cpu, TWO.settings())] == [
        'device: stored null, asked "cuda"'
    ]


def test_workers_are_so_many_on_each_device() -> None:
    assert spread(TWO, 3) == ["cuda:0", "cuda:1"] * 3
    assert spread(TWO, 0) == ["cuda:0"]


def test_a_worker_of_a_gpu_takes_several_tasks_together() -> None:
    assert (CPU.at_once, TWO.at_once) == (1, 32)


def test_workers_by_default_are_what_the_cores_keep_busy() -> None:
    assert Devices("cpu", ("cpu",)).workers(None, cores=6) == 6
    assert TWO.workers(None, cores=64) == 8
    assert TWO.workers(None, cores=6) == 3
    assert TWO.workers(None, cores=1) == 1
    assert TWO.workers(5, cores=1) == 5


def test_counts_are_taken_on_the_cpu_and_the_rest_on_the_device() -> None:
    model, asked = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), []

    def inputs(device: str) -> Inputs:
        asked.append(device)
        return Inputs(noise=torch.zeros(2, 3, 8, 8, device=device))

    found = compute_on("meta", ("layers", "flops", "parameters"), model, inputs, seed=0)
    assert list(found) == ["layers", "flops", "parameters"]
    assert (asked, next(model.parameters()).device.type) == (["cpu"], "cpu")
    with pytest.raises(ValueError, match="jacov"):  # tensors on meta hold no numbers
        compute_on("meta", ("layers", "jacov"), model, inputs, seed=0)
    assert (asked, next(model.parameters()).device.type) == (["cpu", "cpu", "meta"], "meta")


def test_a_scorer_moves_network_and_batch_to_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[tuple[str, torch.device]] = []
    score = scoring.vkdnw.score

    def on_device(model, batch, **options):
        moved.append((next(model.parameters()).device.type, batch.device.type))
        return score(model.cpu(), torch.zeros(batch.shape), **options)

    monkeypatch.setattr(scoring.vkdnw, "score", on_device)
    task = Task(SPACE.canonical(ARCHITECTURE), 0, ("vkdnw",))
    with pytest.raises(NotImplementedError):  # a meta tensor has no data to come back with
        Scorer(SPACE, Configuration(batch_size=2), device="meta")(task)
    assert moved == [("meta", "meta")]
