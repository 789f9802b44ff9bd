"""The command's frame: subcommands, global options, and how errors are told.

Exit codes: 0 done, 1 failure, 2 usage, 130 interrupted (143 by SIGTERM).
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from vkdnw.search.cli import doctor, evaluate, search, top
from vkdnw.search.errors import RunError

app = typer.Typer(
    name="vkdnw",
    help="Score untrained networks by their Fisher information, and rank search spaces with it.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(search.app)
app.command("top")(top.top)
app.command("evaluate")(evaluate.evaluate)
app.command("doctor")(doctor.doctor)

# Typer carries its own copy of click, and where it lies has changed between versions.
ClickException = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
EXPECTED = (RunError, ValueError, OSError, ImportError)
"""Errors whose message was written for the user; any other is a defect and is told as such."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vkdnw {version('vkdnw')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def frame(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error as well.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options before the subcommand."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="vkdnw", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:
        # The reader of our output has left (`vkdnw top RUN | head`): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _debugging(arguments):
            traceback.print_exc()
        message, code = _describe(error)
        print(f"vkdnw: {message}", file=sys.stderr)
        return code


def _describe(error: Exception) -> tuple[str, int]:
    """One line, and the exit code."""
    if isinstance(error, ClickException):
        message = error.format_message()  # type: ignore[attr-defined]
        return f"{_one_line(message)} (see --help)", 2
    if isinstance(error, EXPECTED):
        return _one_line(str(error)) or type(error).__name__, 1
    message = f"unexpected {type(error).__name__}: {_one_line(str(error))}"
    return f"{message} (vkdnw --debug ... shows the traceback)", 1


def _debugging(arguments: Sequence[str]) -> bool:
    """Whether --debug stands among the options before the subcommand."""
    options = [*arguments[: next((i for i, a in enumerate(arguments) if a[:1] != "-"), None)]]
    return "--debug" in options


def _one_line(text: str) -> str:
    return " ".join(text.split())
