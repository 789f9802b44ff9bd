"""Every `vkdnw` command of the pages is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from tests.docs.code_blocks import PAGES, ROOT, commands
from vkdnw.search.cli import app

UsageError = typer.BadParameter.__bases__[0]  # click's, wherever typer has it from

LEFT_OUT = {"...", "SUBCOMMAND"}
"""The sign for more words, in a command that is not written out."""
STAND_INS = {
    "SPACE": "nb201",
    "search ...": "search nb201 ...",
    "my_module:MySpace": "staircase_space:Staircase",
    "search staircase": "search custom --space staircase_space:Staircase",
    "NAME=N": "table-bytes=1G",
}
MESSAGES = {"vkdnw has no compiled library"}  # begins like a command, and is none


ACTING = {"--install-completion"}
"""Options that act while they are parsed: this one writes into the home of who runs the tests."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the commands read while they are parsed."""
    (tmp_path / "run.toml").write_text('space = "nb201"\nsample = 3\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))


def parse(words: list[str]) -> None:
    """Parses a command as `vkdnw` does, without running it."""
    command: Any = get_command(app)
    context: Any = command.make_context("vkdnw", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, list(arguments), parent=context)


def refusal(text: str) -> str:
    """Why the command line would refuse a command of a page; empty where it would not."""
    for given, stand_in in STAND_INS.items():
        text = text.replace(given, stand_in)
    words = shlex.split(re.sub(r"[\[\]]", "", text))[1:]  # [--optional] words are given
    shortened = bool(LEFT_OUT & set(words))
    try:
        parse([word for word in words if word not in LEFT_OUT | ACTING])
    except UsageError as error:
        message = str(error.format_message())
        return "" if shortened and message.startswith("Missing") else message
    except typer.Exit:
        return ""  # --help, --version
    return ""


def is_complete(page: Path, text: str) -> bool:
    return f"`{text}`" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_command_line_takes_every_command(page: Path) -> None:
    refused = {
        text: message
        for text in commands(page)
        if text not in MESSAGES
        and (message := refusal(text if is_complete(page, text) else f"{text} ..."))
    }
    assert refused == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vkdnw search nb201 --out RUN --sampel 3", "No such option"),
        ("vkdnw rank RUN", "No such command"),
        ("vkdnw top", "Missing argument"),
        ("vkdnw search nb201 --out RUN --sample many", "Invalid value"),
    ],
)
def test_a_command_that_is_none_is_found(text: str, message: str) -> None:
    assert message in refusal(text)
