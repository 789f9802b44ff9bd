"""`vkdnw doctor`: what was built, what runs, and what to do about a mismatch."""

from typing import Annotated

import typer

from vkdnw.search.cli import console


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what was built, against what, and what is running; exit 1 if there is a problem."""
    from vkdnw.ops import doctor as checks

    report = checks.report()
    if as_json:
        console.print_json(report)
    else:
        typer.echo(checks.render(report))
    if report["problems"]:
        raise typer.Exit(1)
