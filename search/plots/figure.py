"""Making and saving figures; the only place that imports matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches.

    Raises ImportError, with what to install, where there is no matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"plots need matplotlib ({error}); install it with: pip install 'vkdnw[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> Path:
    """Write the figure; the suffix (.png, .svg, .pdf) decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date in them, equal pictures are equal files.
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}}.get(
        path.suffix.lstrip("."), {}
    )
    figure.savefig(path, dpi=DPI, metadata=metadata)
    return path
