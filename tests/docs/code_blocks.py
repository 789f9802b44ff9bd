"""The code in the pages: fenced blocks, and commands in the running text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]

NOT_RUN = "# not run: "
"""A Python block whose first line begins so is not run; the rest of the line says why."""

FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[\w{}:-]*)[^\n]*\n(?P<text>.*?)^(?P=fence)\s*$")
FENCED = re.compile(FENCE.pattern, re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}[^\n]*\n)+")
SPAN = re.compile(r"(?<!`)`(vkdnw [^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int  # of the page, where the text begins
    language: str
    text: str

    @property
    def end(self) -> int:
        """The line behind the text: the closing fence."""
        return self.line + self.text.count("\n")

    @property
    def reason(self) -> str:
        """Why it is not run; empty for a block that is."""
        first = self.text.partition("\n")[0]
        return first.removeprefix(NOT_RUN) if first.startswith(NOT_RUN) else ""


def fenced(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            content.count("\n", 0, found.start("text")) + 1,
            found["language"],
            found["text"],
        )
        for found in FENCED.finditer(content)
    ]


def python_blocks(page: Path) -> list[Block]:
    return [block for block in fenced(page) if block.language == "python"]


def commands(page: Path) -> list[str]:
    """Every `vkdnw ...` of a page: in blocks that are not Python, and in the running text."""
    content = page.read_text(encoding="utf-8")
    prose = FENCED.sub("", content)
    shell = [block.text for block in fenced(page) if block.language in ("", "console", "bash")]
    shell += INDENTED.findall(prose)
    lines = "\n".join(shell).replace("\\\n", " ").splitlines()
    found = [line.strip().removeprefix("$ ") for line in lines]
    found = [line.split(" # ")[0].strip() for line in found if line.startswith("vkdnw ")]
    return found + [" ".join(text.split()) for text in SPAN.findall(prose)]
