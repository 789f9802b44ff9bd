"""The command `vkdnw`: one file per subcommand, put together here.

No subcommand imports torch before it runs, so that `--help` answers at once.
"""

import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from vkdnw.search import limits
from vkdnw.search.cli import (
    compare,
    console,
    data,
    doctor,
    evaluate,
    export,
    history,
    plot,
    predict,
    proxies,
    report,
    resume,
    score,
    search,
    top,
)
from vkdnw.search.cli.exit_codes import open_standard_streams, run, tell_warnings_in_one_line

__all__ = ["app", "main"]

app = typer.Typer(
    name="vkdnw",
    help="Score untrained networks by their Fisher information, and rank search spaces with it.",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(search.app)
app.command("score")(score.score)
app.command("top")(top.top)
app.command("evaluate")(evaluate.evaluate)
app.command("history")(history.history)
app.command("resume")(resume.resume)
app.command("config")(resume.config)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("predict")(predict.predict)
app.command("plot")(plot.plot)
app.command("report")(report.report)
app.command("proxies")(proxies.proxies)
app.command("data")(data.data)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """The console command: run it and exit with its code."""
    open_standard_streams()
    tell_warnings_in_one_line()
    sys.exit(run(app, sys.argv[1:]))


def _set_limits(given: list[str]) -> list[str]:
    with console.usage_errors("--limit"):
        for text in given:
            limits.set_limits(text)
    return given


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vkdnw {installed_version('vkdnw')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def before_the_subcommand(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error as well.")
    ] = False,
    limit: Annotated[
        list[str],
        typer.Option(
            "--limit",
            help="Read more than the default of one kind: NAME=N, such as table-bytes=8G; may be "
            f"repeated. There are {', '.join(limits.DEFAULTS)}.",
            metavar="NAME=N",
            callback=_set_limits,
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer wants a list and does not change it
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options before the subcommand; without one, the help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
