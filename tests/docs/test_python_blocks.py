"""Every Python block of the pages runs; the blocks of a page one after the other, as one reads.

A block that is not run begins with `# not run: ` and the reason; where it needs a library that is
here, it is run by itself. Searches are made smaller. A block of the language `text` right after a
block holds its output; digits are not compared.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pandas
import pytest
import torch
from torch import nn

import vkdnw
from tests.docs.code_blocks import PAGES, ROOT, Block, fenced, python_blocks
from vkdnw import search
from vkdnw.proxies import PROXIES

SMALLER = {
    "sample=200": "sample=3, channels=4, cells=1, workers=0",
    "sample=50": "sample=2, channels=4, cells=1, workers=0",
    "evaluations=2000": "evaluations=3, batch_size=4, workers=0",
    "epochs=3": "epochs=0",
}
"""Calls on the pages, and smaller ones in their place here."""

PAGES_WITH_PYTHON = [page for page in PAGES if python_blocks(page)]
REASONS = ("needs ", "takes ")


def names_of_a_reader() -> dict[str, Any]:
    """The names that a page takes as given: a model of the reader's own, and batches of images."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    a, b = torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32)
    labels = torch.arange(8)
    given = {"model": model, "images": a, "batch": a, "labels": labels}
    return {
        **given,
        "a": a,
        "la": labels,
        "b": b,
        "lb": labels.flip(0),
        "__name__": "page",
        "table": table_of_scores(),
    }


def write_accuracies(path: Path) -> None:
    """Of every architecture of NAS-Bench-201, at random."""
    random = Random(0)
    rows = [f"{a},{random.uniform(50, 95):.2f}" for a in search.space("nb201").architectures()]
    path.write_text("\n".join(["arch,cifar10", *rows]), encoding="utf-8")


def table_of_scores() -> pandas.DataFrame:
    """Of six networks, with the parts of the named aggregates."""
    random = Random(0)
    parts = ["layers", "flops", "vkdnw", "expressivity", "trainability", "jacov", "synflow"]
    return pandas.DataFrame({part: [random.random() for _ in range(6)] for part in parts})


def source(block: Block) -> str:
    text = block.text
    for given, smaller in SMALLER.items():
        text = text.replace(given, smaller)
    return "\n" * (block.line - 1) + text  # errors name the line of the page


def shape(output: str) -> str:
    """The output without the digits of its numbers, which differ between machines."""
    return " ".join(re.sub(r"-?\d[\d.,]*(e[+-]?\d+)?|\bnan\b", "#", output).split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run in, with accuracies; proxies of the page's own are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    write_accuracies(tmp_path / "accuracies.csv")
    known = set(PROXIES)
    yield tmp_path
    for name in set(PROXIES) - known:
        PROXIES.remove(name)
    for example in (ROOT / "examples").glob("*.py"):  # a later import registers its proxies again
        sys.modules.pop(example.stem, None)


@pytest.mark.parametrize(
    "page", PAGES_WITH_PYTHON, ids=lambda page: page.relative_to(ROOT).as_posix()
)
@pytest.mark.filterwarnings("ignore::vkdnw.LowRankWarning")
@pytest.mark.usefixtures("folder")
def test_python_blocks_run(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = names_of_a_reader()
    blocks = fenced(page)
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "python" or block.reason:
            continue
        capsys.readouterr()
        exec(compile(source(block), page.name, "exec"), names)
        printed = capsys.readouterr().out
        if after is not None and after.language == "text" and after.line < block.end + 4:
            assert shape(printed) == shape(after.text), f"{page.name}:{after.line}"


NOT_RUN = [block for page in PAGES_WITH_PYTHON for block in python_blocks(page) if block.reason]


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: f"{block.page.stem}:{block.line}")
@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.usefixtures("folder")
def test_a_block_that_needs_a_library_runs_where_it_is(block: Block) -> None:
    code = compile(source(block), block.page.name, "exec")
    library = block.reason.removeprefix("needs ").split()[0]
    if not block.reason.startswith("needs ") or find_spec(library) is None:
        pytest.skip(f"{block.page.name}:{block.line} {block.reason}; its syntax is right")
    exec(code, names_of_a_reader())


def test_a_block_that_is_not_run_says_why() -> None:
    reasons = [block.reason for page in PAGES_WITH_PYTHON for block in python_blocks(page)]
    assert [reason for reason in reasons if reason and not reason.startswith(REASONS)] == []


def test_sizes_that_are_made_smaller_stand_on_the_pages() -> None:
    text = "".join(block.text for page in PAGES_WITH_PYTHON for block in python_blocks(page))
    assert [size for size in SMALLER if size not in text] == []


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nimport vkdnw\nvkdnw.scor(1)\n```\n", encoding="utf-8")
    (block,) = python_blocks(page)
    assert block.line == 4
    with pytest.raises(AttributeError, match="scor"):
        exec(compile(source(block), "page", "exec"), {"vkdnw": vkdnw})
