"""The page: one HTML file with everything in it, which opens without a network."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from vkdnw.search.atomic_files import written_whole

PLACE = re.compile(r"\{\{ (\w+) \}\}")


def page(content: dict[str, Any]) -> str:
    """The HTML of a payload.

    Raises:
        ImportError: plotly or itables is missing; names the command to install them.
    """
    plotly, table_module, table_css = _libraries()
    own = files("vkdnw.search.report")
    parts = {
        "title": _escaped(str(content["title"])),
        "table_css": table_css,
        "css": own.joinpath("report.css").read_text(encoding="utf-8"),
        "payload": json.dumps(content, allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
        "plotly": plotly,
        "table_module": table_module.replace("</script", "<\\/script"),
        "script": own.joinpath("report.js").read_text(encoding="utf-8"),
    }
    html = own.joinpath("template.html").read_text(encoding="utf-8")
    return PLACE.sub(lambda found: parts[found[1]], html)


def write(content: dict[str, Any], path: Path) -> Path:
    """Write the page, whole or not at all."""
    text = page(content)
    with written_whole(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def _libraries() -> tuple[str, str, str]:
    """plotly.js, and the module and style of DataTables."""
    try:
        import itables
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            f"a report needs plotly and itables ({error}); install them with: "
            "pip install 'vkdnw[report]'"
        ) from error
    bundle = Path(itables.__file__).parent / "html" / "dt_bundle.js"
    return (
        get_plotlyjs(),
        bundle.read_text(encoding="utf-8"),
        bundle.with_suffix(".css").read_text(encoding="utf-8"),
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
