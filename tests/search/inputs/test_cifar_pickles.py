"""CIFAR as torchvision lays it out, and files that only look like it."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from vkdnw.search.inputs.batches import DataError, load_batch
from vkdnw.search.inputs.image_sources import open_source


def written(root: Path, protocol: int = 2, count: int = 4) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(1, 6):
        content = {
            b"data": generator.integers(0, 256, (count, 3072), dtype=np.uint8),
            b"labels": [int(label) for label in generator.integers(0, 10, count)],
        }
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(content, protocol))
    return root


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_root_and_the_folder_in_it_are_the_training_set(tmp_path: Path, protocol: int) -> None:
    root = written(tmp_path, protocol)
    source = open_source(root)
    assert source.count == 20
    assert source.labels is not None
    content = pickle.loads((root / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert (source.read(4).numpy().ravel() == content[b"data"][0]).all()
    assert source.labels[4] == content[b"labels"][0]
    inner = open_source(root / "cifar-10-batches-py")
    assert inner.sha256 == source.sha256
    assert load_batch(root, 8, 16, seed=0).images.shape == (8, 3, 16, 16)


class Runs:
    def __reduce__(self):
        return (os.system, ("echo this must not run",))


def test_a_file_that_names_a_function_is_refused(tmp_path: Path, capsys) -> None:
    root = written(tmp_path)
    (root / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(DataError, match=r"data_batch_3 is no file .*it names posix.system"):
        open_source(root)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"\x80\x02", pickle.dumps({b"data": 1, b"labels": []})])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    root = written(tmp_path)
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_1"):
        open_source(root)
