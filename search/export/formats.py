"""The forms in which a network leaves this package."""

from pathlib import Path
from typing import Literal

from vkdnw.search.errors import RunError

Format = Literal["torchscript", "onnx", "py"]

FORMATS: tuple[Format, ...] = ("torchscript", "onnx", "py")


SUFFIXES: dict[str, Format] = {
    ".py": "py",
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".torchscript": "torchscript",
}
"""The format of a file, by the ending of its name."""


def form_of(path: Path) -> Format:
    """The form of a file by its name. Raises ExportError for a name that does not say."""
    if path.suffix not in SUFFIXES:
        raise ExportError(
            f"{path}: the name tells no format; let it end in {', '.join(SUFFIXES)}, or "
            f"give --format {', '.join(FORMATS)}"
        )
    return SUFFIXES[path.suffix]


class ExportError(RunError):
    """A network that cannot be written, or that does not come back as it was written."""
