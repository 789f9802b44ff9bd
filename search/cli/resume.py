"""`vkdnw resume RUN` and `vkdnw config RUN`: the call that made a run, again or as a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vkdnw.search.cli import options, output_formats
from vkdnw.search.cli.interrupts import exit_when_interrupted

Folder = Annotated[Path, typer.Argument(help="The folder given as --out.", show_default=False)]


def resume(
    run: Folder,
    workers: options.Workers = None,
    evaluations: Annotated[
        int | None,
        typer.Option(min=1, help="Networks an evolution tries in all.", show_default="as before"),
    ] = None,
    latency_table: Annotated[
        Path | None,
        typer.Option(
            help="Where the table of latencies lies now.",
            metavar="TABLE",
            show_default="where it lay",
        ),
    ] = None,
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Continue a run with the same options after any interruption; finished results are kept."""
    from vkdnw.search.api.run import open as open_run
    from vkdnw.search.cli.space_command import show

    opened = open_run(run)
    changes: dict[str, Any] = {"workers": workers}
    if evaluations is not None:
        if not opened.is_evolution:
            raise typer.BadParameter(
                "this run lists architectures; a larger sample is a search with another --sample",
                param_hint="--evaluations",
            )
        changes["evaluations"] = evaluations
    if latency_table is not None:
        if "latency_table" not in opened.settings:
            raise typer.BadParameter(
                "this run was given no table of latencies", param_hint="--latency-table"
            )
        changes["latency_table"] = latency_table
    with exit_when_interrupted(run):
        opened.resume(**changes)
    show(run, opened.is_evolution, output_formats.chosen(form, as_json))


def config(
    run: Folder,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="standard output")
    ] = None,
) -> None:
    """Write the options of a run as TOML, for `vkdnw search --config FILE --out ANOTHER`."""
    from vkdnw.search.api.recorded_arguments import recorded_arguments
    from vkdnw.search.cli.config_files import as_toml

    written = as_toml(recorded_arguments(run))
    if out is None:
        typer.echo(written, nl=False)
    else:
        out.write_text(written, encoding="utf-8")
