"""The notebooks of the site. `python -m tests.docs.notebooks` runs them, and writes outputs."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.docs.code_blocks import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: NotebookNode, folder: Path, timeout: int = 300) -> NotebookNode:
    """The notebook with its outputs, run from the top in a new kernel of this Python.

    A cell that raises an error ends it with `nbclient.exceptions.CellExecutionError`.
    """
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=timeout, resources=resources, record_timing=False, kernel_name="python3"
    )
    return client.execute()


def main() -> None:
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            done = execute(read(path), Path(folder))
        done.metadata.language_info = {"name": "python"}
        path.write_text(nbformat.writes(done) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
