"""The notebooks of the site run from the top, and show the same as the site.

The site is built from the outputs in the files; `python -m tests.docs.notebooks` writes them anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from tests.docs.code_blocks import ROOT
from tests.docs.notebooks import NOTEBOOKS, execute, read

LARGEST = 100_000
"""Bytes of a file with its pictures: a clone carries them."""
NUMBER = re.compile(r"-?\d[\d.,]*(e[+-]?\d+)?|\bnan\b")


def shown(notebook: NotebookNode) -> dict[int, list[tuple[str, list[str]]]]:
    """The output of each code cell: kinds of output, and the words of texts and tables in any
    order.

    Digits, which differ between machines, are left out, and so is the order of a sorted table.
    """
    found = {}
    for place, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            kind = " ".join([output.output_type, output.get("name", ""), *sorted(data)])
            text = output.get("text", "") or data.get("text/plain", "")
            found.setdefault(place, []).append((kind, sorted(NUMBER.sub("", text).split())))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_in_the_file(path: Path, tmp_path: Path) -> None:
    committed = shown(read(path))
    assert committed, "no outputs: run python -m tests.docs.notebooks"
    assert shown(execute(read(path), tmp_path)) == committed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_small_and_show_no_trouble(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    kinds = [kind for outputs in shown(read(path)).values() for kind, _ in outputs]
    assert [kind for kind in kinds if kind.startswith(("error", "stream stderr"))] == []


def test_there_are_notebooks_and_the_site_links_them() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 2
    assert [path.stem for path in NOTEBOOKS if f"notebooks/{path.stem}\n" not in index] == []


def test_a_cell_that_fails_is_noticed(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("import vkdnw\nvkdnw.scor")]
    with pytest.raises(CellExecutionError, match="scor"):
        execute(nbformat.v4.new_notebook(cells=cells), tmp_path)


def test_an_output_that_changed_is_noticed() -> None:
    def of(text: str) -> NotebookNode:
        cell = nbformat.v4.new_code_cell("print()")
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        return nbformat.v4.new_notebook(cells=[cell])

    assert shown(of("tau 0.5\nb 1")) == shown(of("b 2\ntau -0.25"))
    assert shown(of("tau 0.5")) != shown(of("rho 0.5"))
