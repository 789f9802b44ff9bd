"""The forms in which a network leaves this package."""

from typing import Literal

from vkdnw.search.errors import RunError

Format = Literal["torchscript", "onnx", "py"]

FORMATS: tuple[Format, ...] = ("torchscript", "onnx", "py")


class ExportError(RunError):
    """A network that cannot be written, or that does not come back as it was written."""
