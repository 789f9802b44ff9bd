"""`vkdnw compare RUN RUN`: runs side by side, and how their rankings agree."""

from pathlib import Path
from typing import Annotated

import typer

from vkdnw.search.cli import console, output_formats
from vkdnw.search.cli.command_output import Column, Report, Section, number, records, text
from vkdnw.search.cli.top import By


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Folders of runs.", show_default=False),
    ],
    by: By = None,
    top: Annotated[int, typer.Option(min=1, help="So many best networks are compared.")] = 10,
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Compare runs: their costs, their best networks, and how their rankings agree.

    Pairs are compared over the networks that both have scored. Evolutions are also ranked together:
    an aggregate of ranks belongs to a set of networks.
    """
    from vkdnw.search.api.comparing import compare as compare_runs

    with console.usage_errors():
        found = compare_runs(runs, by, top)
    columns: list[Column] = [
        text("run"),
        text("kind"),
        text("by"),
        number("networks", form="{:,.0f}"),
        number("seconds", "s each", "{:.3f}"),
        number("best", form="{:.6g}"),
    ]
    if "best_together" in found.runs:
        columns += [
            number("best_together", "best of all"),
            number("mean_together", f"mean of its {top} best"),
        ]
    columns.append(text("architecture"))
    agreement = [
        text("a", "run"),
        text("b", "and run"),
        number("shared", form="{:,.0f}"),
        number("kendall", "Kendall tau-b", "{:.3f}"),
        number("spearman", "Spearman rho", "{:.3f}"),
        number("overlap", f"best {top} in common", "{:.0%}"),
    ]
    report = Report(
        "compare",
        Section(records(found.runs), columns),
        {"by": by, "top": top},
        {"pairs": Section(records(found.pairs), agreement, keys=2)},
    )
    output_formats.print_report(report, output_formats.chosen(form, as_json))
