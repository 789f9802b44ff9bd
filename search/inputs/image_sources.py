"""Images in files: NumPy archives, tensors, folders and CIFAR's binary records.

Whatever the format, an `ImageSource` knows how many images there are and reads those it is asked
for. Nothing is unpickled.
"""

import hashlib
import math
import pickle
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vkdnw.search import limits
from vkdnw.search.atomic_files import kind_of
from vkdnw.search.inputs import cifar_pickles

CHANNELS = 3
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

# CIFAR's binary version: labels, then 32x32 red, green and blue values (the data sets' home page).
_CIFAR_PIXELS = CHANNELS * 32 * 32
_CIFAR_LABELS = {"CIFAR-10": (10,), "CIFAR-100": (20, 100)}


class DataError(ValueError):
    """Images that cannot be read, or do not fit the request."""


@dataclass(frozen=True)
class ImageSource:
    """Images that can be read one by one."""

    count: int
    read: Callable[[int], Tensor]
    """The image of an index: ``[3, H, W]`` float32, in the file's own scale."""
    labels: Tensor | None
    """``[count]`` int64, where the source has labels."""
    description: str
    sha256: str
    """Of the file; of a folder, of the names and sizes of its images."""


def open_source(path: Path) -> ImageSource:
    """Open the images at ``path``, by its kind: a folder of images, CIFAR as torchvision lays it
    out, `.npz`, `.pt` or `.bin`.

    Raises:
        DataError: there is nothing there, or it is damaged, or not of a known form.
    """
    if path.is_dir():
        found = cifar_pickles.find(path)
        return _open_folder(path) if found is None else _open_cifar_folder(*found)
    if not path.is_file():
        raise DataError(f"no file or folder of images at {path}")
    _check_size(path.stat().st_size, f"{path} is too large")
    openers = {".npz": _open_npz, ".pt": _open_pt, ".bin": _open_cifar}
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise DataError(
            f"{path}: the suffix {path.suffix!r} is not known; give a folder of images or a file "
            f"that ends in {', '.join(openers)}"
        )
    return opener(path)


def _open_npz(path: Path) -> ImageSource:
    try:
        # np.load would take a single array for an archive; an archive is a zip file.
        with zipfile.ZipFile(path) as file:
            _check_size(_claimed_by_npz(file), f"{path}: its arrays are too large")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in ("images", "labels") if key in archive}
            keys = archive.files
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a NumPy archive: {error}") from error
    if "images" not in arrays:
        raise DataError(f"{path} has no array 'images'; it has {', '.join(keys) or 'none'}")
    return _from_arrays(path, arrays["images"], arrays.get("labels"))


def _open_pt(path: Path) -> ImageSource:
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} cannot be read as tensors: it is damaged, or of a torch before 1.6; load it "
            "and save it again"
        )
    try:
        with zipfile.ZipFile(path) as file:
            claimed = sum(entry.file_size for entry in file.infolist())
        _check_size(claimed, f"{path}: its tensors are too large")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except (
        zipfile.BadZipFile,
        KeyError,
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise DataError(
            f"{path} cannot be read as tensors alone (weights_only=True): {_first_line(error)}"
        ) from error
    match content:
        case Tensor():
            images, labels = content, None
        case {"images": Tensor() as images}:
            labels = content.get("labels")
        case [Tensor() as images, Tensor() as labels]:
            pass
        case _:
            raise DataError(
                f"{path} holds a {type(content).__name__}; expected a tensor of images, a pair "
                "(images, labels), or a dict with 'images' and perhaps 'labels'"
            )
    # A few numbers may be repeated along an axis, and claim to be as many as one likes.
    _check_size(images.numel() * images.element_size(), f"{path}: its images are too large")
    if images.dtype == torch.bfloat16:
        images = images.float()
    try:
        arrays = _to_numpy(images), None if labels is None else _to_numpy(labels)
    except (TypeError, ValueError, RuntimeError) as error:  # sparse, or without values
        raise DataError(f"{path} holds tensors of no use here: {_first_line(error)}") from error
    return _from_arrays(path, *arrays)


def _to_numpy(value: Any) -> np.ndarray[Any, Any]:
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _open_cifar(path: Path) -> ImageSource:
    content = path.read_bytes()
    for name, classes in _CIFAR_LABELS.items():
        record = len(classes) + _CIFAR_PIXELS
        if content and len(content) % record == 0:
            records = np.frombuffer(content, np.uint8).reshape(-1, record)
            labels = records[:, : len(classes)]
            if (labels < classes).all():
                images = records[:, len(classes) :].reshape(-1, CHANNELS, 32, 32)
                return _from_arrays(path, images, labels[:, -1], form=f"{name} binary, ")
    raise DataError(
        f"{path} is not CIFAR's binary form: {len(content)} bytes are not whole records of 3073 "
        "(CIFAR-10) or 3074 (CIFAR-100) bytes with labels in range"
    )


def _open_cifar_folder(layout: cifar_pickles.Layout, folder: Path) -> ImageSource:
    """The training set as torchvision lays it out."""
    try:
        images, labels = cifar_pickles.read(layout, folder)
    except cifar_pickles.CifarError as error:
        raise DataError(str(error)) from error
    digests = "".join(_file_digest(folder / name) for name in layout.training)
    digest = hashlib.sha256(digests.encode()).hexdigest()
    return _from_arrays(folder, images, labels, form=f"{layout.title}, ", digest=digest)


def _from_arrays(
    path: Path,
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any] | None,
    form: str = "",
    digest: str | None = None,
) -> ImageSource:
    layout = _layout(path, images)
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{path}: images must be uint8 or floating point, not {images.dtype}")
    channels_first = images if layout == "NCHW" else images.transpose(0, 3, 1, 2)

    def read(index: int) -> Tensor:
        return torch.from_numpy(channels_first[index].astype(np.float32))

    return ImageSource(
        count=len(images),
        read=read,
        labels=None if labels is None else _checked_labels(path, labels, len(images)),
        description=f"{path.name} ({form}{len(images)} images, {layout}, {images.dtype})",
        sha256=digest or _file_digest(path),
    )


def _layout(path: Path, images: np.ndarray[Any, Any]) -> str:
    """`NCHW` or `NHWC`, by which axis has the three channels."""
    first, last = (
        images.ndim == 4 and images.shape[axis] == CHANNELS and images.size > 0 for axis in (1, 3)
    )
    if first == last:
        reason = "both could be the channels" if first else "neither axis 1 nor axis 3 is 3"
        raise DataError(
            f"{path}: images must be [N, 3, H, W] or [N, H, W, 3], not {list(images.shape)}, where "
            f"{reason}"
        )
    return "NCHW" if first else "NHWC"


def _checked_labels(path: Path, labels: np.ndarray[Any, Any], count: int) -> Tensor:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path}: labels must be {count} integers, one for each image; got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    if count and labels.min() < 0:
        raise DataError(f"{path}: labels are numbers from 0 on; one is {labels.min()}")
    return torch.from_numpy(labels.astype(np.int64))


def _claimed_by_npz(file: zipfile.ZipFile) -> int:
    """Bytes of the arrays that are read, by their own headers."""
    claimed = 0
    for name in ("images.npy", "labels.npy"):
        if name not in file.namelist():
            continue
        with file.open(name) as member:
            major, _ = np.lib.format.read_magic(member)
            read = (
                np.lib.format.read_array_header_1_0
                if major == 1
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(member)
        claimed += max(math.prod(shape) * dtype.itemsize, file.getinfo(name).file_size)
    return claimed


def _check_size(claimed: int, subject: str) -> None:
    try:
        limits.check("array-bytes", claimed, subject)
    except limits.LimitExceeded as error:
        raise DataError(str(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _open_folder(path: Path) -> ImageSource:
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.is_dir()
    )
    if not files:
        raise DataError(
            f"no images below {path}; known suffixes are {', '.join(IMAGE_SUFFIXES)} (of CIFAR's "
            "binary version, name one of the .bin files)"
        )
    names = [file.relative_to(path) for file in files]
    try:
        told = [file.stat() for file in files]
    except OSError as error:
        raise DataError(f"an image below {path} cannot be opened: {error}") from error
    for file, status in zip(files, told, strict=True):
        if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for ever
            raise DataError(f"{file} is {kind_of(status.st_mode)}, not an image; move it away")
    sizes = [
        f"{name.as_posix()} {status.st_size}\n" for name, status in zip(names, told, strict=True)
    ]
    return ImageSource(
        count=len(files),
        read=lambda index: _read_image(files[index]),
        labels=_folder_labels(names),
        description=f"{path.name} (folder of {len(files)} images)",
        sha256=hashlib.sha256("".join(sizes).encode()).hexdigest(),
    )


def _folder_labels(names: Iterable[Path]) -> Tensor | None:
    """Labels by the folder right below the root, numbered in sorted order, if all images have
    one."""
    classes = [name.parts[0] if len(name.parts) > 1 else None for name in names]
    if None in classes:
        return None
    number = {name: index for index, name in enumerate(sorted(set(filter(None, classes))))}
    return torch.tensor([number[name] for name in classes if name is not None])


def _read_image(file: Path) -> Tensor:
    try:
        with _pixels_limited(), Image.open(file) as image:
            limits.check("image-pixels", image.width * image.height, f"{file} is too large")
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    except limits.LimitExceeded as error:
        raise DataError(str(error)) from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{file} cannot be read as an image: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)  # [3, H, W]


@contextmanager
def _pixels_limited() -> Iterator[None]:
    """Let Pillow's own limit be ours while an image is read."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limits.limit("image-pixels")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we refuse instead
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
