"""Printing a report in the format that was asked for; results to stdout, nothing else."""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vkdnw.search.cli import console, table_layout
from vkdnw.search.cli.command_output import Report, Row

Form = Literal["table", "json", "csv", "parquet", "yaml"]

Format = Annotated[
    Form,
    typer.Option(
        "--format",
        help="A table for people; JSON or YAML with everything; or the rows as CSV or Parquet.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def chosen(form: Form, as_json: bool) -> Form:
    """The format, by either of the two options."""
    return "json" if as_json else form


def print_report(report: Report, form: Form = "table") -> None:
    """Print a report to stdout.

    Raises:
        typer.BadParameter: Parquet for a terminal.
        ImportError: YAML without PyYAML.
    """
    if form == "json":
        console.print_json(report.data())
    elif form == "yaml":
        sys.stdout.write(_yaml(report.data()))
    elif form == "csv":
        _write_csv(report.rows.rows)
    elif form == "parquet":
        _write_parquet(report.rows.rows)
    else:
        _print_tables(report)


def _print_tables(report: Report) -> None:
    out = console.stdout()
    sections = [report.rows, *report.more.values()]
    for line in report.before:
        console.print_line(out, line)
    for section in sections:
        if not table_layout.rows(section):
            continue
        if out.is_terminal:
            table_layout.show(out, section)
        else:
            for line in table_layout.plain(section):
                console.print_line(out, line)
    for line in report.after:
        console.print_line(out, line)


def _write_csv(rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: _flat(value) for key, value in row.items()} for row in rows)
    sys.stdout.write(text.getvalue())


def _write_parquet(rows: Sequence[Row]) -> None:
    if sys.stdout.isatty():
        raise typer.BadParameter("Parquet is binary; send it to a file", param_hint="--format")
    import pandas as pd

    table = pd.DataFrame([{key: _flat(value) for key, value in row.items()} for row in rows])
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    sys.stdout.buffer.write(buffer.getvalue())
    sys.stdout.buffer.flush()


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _flat(value: Any) -> Any:
    """A cell: lists as words, mappings as JSON."""
    if isinstance(value, str) or not isinstance(value, Sequence | Mapping):
        return str(value) if isinstance(value, Path) else value
    if isinstance(value, Mapping):
        return json.dumps(console.strict(value))
    return " ".join(map(str, value))


def _yaml(content: Any) -> str:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "--format yaml needs PyYAML, which is not installed; install it with: "
            "pip install 'vkdnw[yaml]'"
        ) from error
    return str(yaml.safe_dump(console.strict(content), sort_keys=False, allow_unicode=True))
