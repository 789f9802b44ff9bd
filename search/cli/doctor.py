"""`vkdnw doctor`: the build, the running versions, and a remedy for a mismatch."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vkdnw.search.cli import console

if TYPE_CHECKING:
    from vkdnw.search.cluster.doctor import Surveyed

SHOWN = ("vkdnw", "native library", "torch", "ATen capability", "processor", "GPU")
"""Of a machine's fingerprint."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Look at the machines of a Ray cluster instead: `auto`, or its HOST:PORT.",
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the build, the versions it was built for and those running; exit 1 on a problem."""
    if ray is not None:
        _doctor_of_cluster(ray, as_json)
        return
    from vkdnw.ops import doctor as checks

    report = checks.report()
    if as_json:
        console.print_json(report)
    else:
        typer.echo(checks.render(report))
    if report["problems"]:
        raise typer.Exit(1)


def _doctor_of_cluster(address: str, as_json: bool) -> None:
    from vkdnw.search.cluster.doctor import classes, survey

    with console.usage_errors():
        machines = survey(address)
    kinds = classes(machines)
    if as_json:
        console.print_json([asdict(machine) for machine in machines])
    else:
        for machine in machines:
            typer.echo("\n".join(_lines(machine)))
        typer.echo(
            f"{len(kinds)} kinds of machines by version and hardware: a run takes one kind unless "
            "--mixed"
            if len(kinds) > 1
            else "All machines that answer are of one kind."
        )
    if any(machine.alive and machine.problem for machine in machines):
        raise typer.Exit(1)


def _lines(machine: "Surveyed") -> list[str]:
    state = "alive" if machine.alive else "gone"
    lines = [f"{machine.address}: {state}, {machine.cpus:g} cores, {machine.gpus:g} GPUs"]
    lines += [f"  {name}: {machine.fingerprint[name]}" for name in SHOWN if machine.fingerprint]
    return lines + ([f"  problem: {machine.problem}"] if machine.problem else [])
