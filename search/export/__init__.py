"""Writing a network that a run has found as a file that needs no part of this package."""

from vkdnw.search.export.formats import FORMATS, ExportError, Format

__all__ = ["FORMATS", "ExportError", "Format"]
