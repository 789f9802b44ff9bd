"""Files that claim too much are refused by a limit's name, before memory is spent."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vkdnw.search import limits
from vkdnw.search.configuration import Configuration
from vkdnw.search.export.network_to_export import network
from vkdnw.search.inputs.batches import DataError, load_batch
from vkdnw.search.inputs.seeded import input_digests
from vkdnw.search.limits import LimitExceeded
from vkdnw.search.models.checkpoint_file import WeightsError, load_weights
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces.mobilenetv2 import INITIAL, MobileNetV2
from vkdnw.search.tasks import Task


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch):
    return lambda text: monkeypatch.setenv(limits.ENVIRONMENT, text)


def test_limits_are_read_from_the_environment_and_from_text(limited) -> None:
    assert limits.limit("table-columns") == limits.DEFAULTS["table-columns"]
    limited("table-columns=7, table-bytes=2K")
    assert limits.limit("table-columns") == 7
    assert limits.limit("table-bytes") == 2048
    limits.set_limits("table-columns=9")
    assert limits.limit("table-columns") == 9
    assert limits.limit("table-bytes") == 2048


@pytest.mark.parametrize(
    ("text", "message"),
    [("rows=5", "no limit is called 'rows'; there are table-bytes"), ("5", "NAME=N.*got '5'")],
)
def test_what_is_no_limit_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        limits.parse(text)


def save_large(path: Path) -> Path:
    images = np.zeros((40, 3, 16, 16), np.float32)
    images[0] = 1
    if path.suffix == ".npz":
        np.savez_compressed(path, images=images)
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(images), path)
    else:
        path.write_bytes(bytes(3073 * 10))
    return path


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".bin"])
def test_arrays_beyond_the_limit_are_refused_by_its_name(tmp_path: Path, limited, suffix) -> None:
    path = save_large(tmp_path / f"images{suffix}")
    limited("array-bytes=20K")
    with pytest.raises(DataError, match=rf"{suffix}.*--limit array-bytes=N"):
        load_batch(path, 4, 16, 0)


def test_an_array_that_claims_a_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros((2, 3, 4, 4), np.float32))
    content = path.read_bytes()
    claim = content.replace(b"(2, 3, 4, 4), }", b"(99999999999,3)}")
    assert claim != content
    path.write_bytes(claim)
    with pytest.raises(DataError, match=r"images\.npz"):
        load_batch(path, 2, 4, 0)


def test_a_tensor_that_repeats_a_few_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.pt"
    torch.save(torch.zeros(1, 3, 4, 4).expand(10**9, 3, 4, 4), path)
    with pytest.raises(DataError, match="its images are too large"):
        load_batch(path, 2, 4, 0)


@pytest.mark.parametrize(
    "images", [torch.zeros(4, 3, 4, 4, device="meta"), torch.zeros(4, 3, 4, 4).to_sparse()]
)
def test_tensors_without_plain_values_are_refused(tmp_path: Path, images: torch.Tensor) -> None:
    torch.save(images, tmp_path / "images.pt")
    with pytest.raises(DataError, match=r"images\.pt"):
        load_batch(tmp_path / "images.pt", 2, 4, 0)


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path, limited) -> None:
    for number in range(2):
        Image.effect_noise((300, 300), 50).convert("RGB").save(tmp_path / f"{number}.png")
    assert load_batch(tmp_path, 2, 8, 0).images.shape == (2, 3, 8, 8)
    limited("image-pixels=50K")
    with pytest.raises(DataError, match=r"\.png.*--limit image-pixels=N"):
        load_batch(tmp_path, 2, 8, 0)


def test_a_fifo_among_images_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png is a FIFO, not an image"):
        load_batch(tmp_path, 1, 8, 0)


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_label_out_of_range_is_found_before_the_first_network(tmp_path: Path, label: int) -> None:
    path = tmp_path / "images.npz"
    images = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    np.savez(path, images=images, labels=np.array([0, 1, 2, label]))
    configuration = Configuration(batch_size=2, images=str(path))
    with pytest.raises(DataError, match=rf"images\.npz.*{label}"):
        input_digests(configuration, 8, 0, classes=10)


def test_a_structure_of_countless_layers_is_refused_at_once() -> None:
    space = MobileNetV2(classes=4, resolution=32)
    countless = INITIAL.replace("(8,32,2,8,1)", "(8,32,2,8,999999999)")
    begun = time.monotonic()
    with pytest.raises(LimitExceeded, match="--limit network-layers=N"):
        Scorer(space, Configuration(batch_size=2))(Task(countless, 0))
    with pytest.raises(LimitExceeded, match="--limit network-layers=N"):
        network(space, countless)
    assert time.monotonic() - begun < 5.0


def test_weights_that_cannot_be_loaded_are_refused_in_one_line(tmp_path: Path, limited) -> None:
    model = torch.nn.Linear(2, 2)
    torch.save(torch.nn.Linear(3, 3).state_dict(), tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(torch.nn.Linear(3, 3), tmp_path / "module.pt")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").touch()
    os.mkfifo(tmp_path / "fifo.pt")
    for name, reason in {
        "other.pt": "weights of another network .*size mismatch",
        "list.pt": "not a state dict",
        "module.pt": "cannot be read as tensors alone",
        "text.pt": "cannot be read as tensors alone",
        "empty.pt": "cannot be read as tensors alone",
        "fifo.pt": "not a regular file",
        "missing.pt": "not a regular file",
    }.items():
        with pytest.raises(WeightsError, match=rf"{name} .*{reason}|{name}.*{reason}") as refusal:
            load_weights(model, tmp_path / name)
        assert "\n" not in str(refusal.value)
    limited("array-bytes=100")
    with pytest.raises(WeightsError, match="--limit array-bytes=N"):
        load_weights(model, tmp_path / "other.pt")
