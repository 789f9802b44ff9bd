"""Weights from a file into a model, with errors in one line that names the file."""

import pickle
import zipfile
from pathlib import Path

import torch
from torch import nn

from vkdnw.search import limits


class WeightsError(ValueError):
    """A file that holds no weights, or those of another network."""


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into a model. No file can run code: nothing else is unpickled.

    Args:
        model: takes them.
        path: a state dict that `torch.save` wrote, or a .safetensors file.

    Raises:
        WeightsError: a ValueError; the file is invalid, or the networks differ.
    """
    state = read_state_dict(path)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WeightsError(
            f"{path} holds the weights of another network ({' '.join(lines[1:3]) or lines[0]:.300})"
        ) from error


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"{path} is not a regular file")
    try:
        limits.check("array-bytes", _claimed(path), f"{path} is too large")
        loaded = _loaded(path)
    except limits.LimitExceeded as error:
        raise WeightsError(str(error)) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path} cannot be read as tensors alone ({reason:.200}); give a state dict that "
            "torch.save wrote, or a .safetensors file"
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not a state dict of tensors")
    return dict(loaded)


def _loaded(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _claimed(path: Path) -> int:
    """Bytes that the file says it takes when it is read."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())
