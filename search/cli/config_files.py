"""A run's options as a file: `vkdnw config RUN` writes one, `search --config FILE` reads it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

OPTION = "--config"
RENAMED = {"architectures": "arch"}
"""Arguments of the Python interface that have another name on the command line."""


def as_toml(arguments: Mapping[str, Any]) -> str:
    """Options as TOML: a line each."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in arguments.items())


def expanded(words: Sequence[str]) -> list[str]:
    """The words of a command line behind those of `--config FILE`, so that they have precedence.

    Raises:
        typer.BadParameter: the file cannot be read, or names no space where the words name none.
    """
    path, rest = _without_option(words)
    if path is None:
        return list(words)
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint=OPTION) from error
    space = options.pop("space", None)
    if rest and not rest[0].startswith("-"):
        space = rest.pop(0)
    if space is None:
        raise typer.BadParameter(f"{path} has no line `space = ...`", param_hint=OPTION)
    return [str(space), *_words(options), *rest]


def _without_option(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    for place, word in enumerate(words):
        if word == OPTION and place + 1 < len(words):
            return Path(words[place + 1]), [*words[:place], *words[place + 2 :]]
        if word.startswith(OPTION + "="):
            return Path(word.partition("=")[2]), [*words[:place], *words[place + 1 :]]
    return None, list(words)


def _words(options: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        option = "--" + RENAMED.get(name, name).replace("_", "-")
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [word for one in value for word in (option, str(one))]
        elif value is not False:
            words += [option, str(value)]
    return words


def _value(value: Any) -> str:
    """A value in TOML, whose strings are JSON's and whose booleans are too."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
