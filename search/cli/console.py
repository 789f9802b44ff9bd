"""Where the command writes: results to stdout, everything else to stderr."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from vkdnw.search.control_characters import printable


class PlainConsole(Console):
    """A console that spells out control characters in names and reasons."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def stdout() -> Console:
    """For results: plain text without markup, emoji or automatic colours."""
    return PlainConsole(markup=False, emoji=False, highlight=False)


def stderr() -> Console:
    """For everything else: progress, notes, errors."""
    return PlainConsole(stderr=True, markup=False, emoji=False, highlight=False)


def say(text: str) -> None:
    """Print a line on stderr; a closed stderr is no error."""
    with suppress(OSError):
        typer.echo(printable(text), err=True)


def print_line(console: Console, text: str) -> None:
    """Print a line without wrapping or colours, so that it can be copied."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print strict JSON: JSON has no NaN and no infinities, so these become strings."""
    json.dump(strict(content), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


@contextmanager
def usage_errors(option: str | None = None) -> Iterator[None]:
    """Report a ValueError about an argument as wrong usage: exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def strict(content: Any) -> Any:
    """The content as JSON can say it: NaN and infinities as strings."""
    if isinstance(content, Mapping):
        return {str(key): strict(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [strict(item) for item in content]
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content
