"""Where the command writes: results to stdout, everything else to stderr."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

PIPE_WIDTH = 200
"""Columns of a table that no terminal limits: an architecture stays on one line."""


def stdout() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def stderr() -> Console:
    return Console(stderr=True)


def print_line(console: Console, text: str) -> None:
    """Print a line as it is: not wrapped, so that it can be copied, and no part of it coloured."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print strict JSON: JSON has no NaN and no infinities, so these become strings."""
    json.dump(_strict(content), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


@contextmanager
def usage_errors(option: str | None = None) -> Iterator[None]:
    """What is wrong with an argument's value is wrong usage: exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _strict(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _strict(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [_strict(item) for item in content]
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content
