"""Making and saving figures; the only place that imports matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkdnw.search.atomic_files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches.

    Raises ImportError, with the command to install it, where there is no matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"plots need matplotlib ({error}); install it with: pip install 'vkdnw[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> Path:
    """Write the figure, whole or not at all; the suffix (.png, .svg, .pdf) decides the format."""
    # Without a date in them, equal pictures are equal files.
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}}.get(
        path.suffix.lstrip("."), {}
    )
    with written_whole(path) as draft:
        figure.savefig(draft, dpi=DPI, metadata=metadata)
    return path
