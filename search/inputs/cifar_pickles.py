"""CIFAR as torchvision lays it out: folders of pickles, the data sets' "python version".

Only the types of such files are unpickled: containers, numbers, strings, and arrays of bytes.
Anything else that a file names is refused, not looked up.
"""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Layout:
    """Where a data set lies below the folder that torchvision is given, and the contents of a
    file."""

    title: str
    folder: str
    training: tuple[str, ...]
    labels: bytes


LAYOUTS = (
    Layout(
        "CIFAR-10",
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        b"labels",
    ),
    Layout("CIFAR-100", "cifar-100-python", ("train",), b"fine_labels"),
)


class CifarError(ValueError):
    """A file that is not CIFAR's."""


def find(folder: Path) -> tuple[Layout, Path] | None:
    """The layout of a folder, and the folder of the files: either may be given, the one that
    torchvision calls its root or the one in it."""
    for layout in LAYOUTS:
        for place in (folder, folder / layout.folder):
            if all((place / name).is_file() for name in layout.training):
                return layout, place
    return None


def read(layout: Layout, folder: Path) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """The training images, uint8 [N, 3, 32, 32], and their labels, int64 [N].

    Raises:
        CifarError: a file is damaged, or holds something else.
    """
    parts = [_read(folder / name, layout.labels) for name in layout.training]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _read(file: Path, name: bytes) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    try:
        content = _Unpickler(io.BytesIO(file.read_bytes()), encoding="bytes").load()
        pixels, labels = content[b"data"], np.asarray(content[name], dtype=np.int64)
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * 32 * 32):
            raise CifarError(f"{pixels.dtype} {list(pixels.shape)} for {len(labels)} labels")
    except (
        AttributeError,
        EOFError,
        ImportError,
        IndexError,
        KeyError,
        OSError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise CifarError(f"{file} is no file of CIFAR's python version: {error}") from error
    return pixels.reshape(-1, 3, 32, 32), labels


class _Unpickler(pickle.Unpickler):
    """Finds the parts of an array of bytes, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("_codecs", "encode"):  # bytes, as Python 3 writes them for Python 2
            return _encode
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> "np.ndarray[Any, Any]":
    """An array while it is unpickled; its state gives shape, type and bytes."""
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")
