"""`vkdnw export RUN --out scores.csv.gz`: a run's scores as a small table."""

from pathlib import Path
from typing import Annotated

import typer

from vkdnw.search.cli import console


def export(
    run: Annotated[Path, typer.Argument(help="The folder given as --out.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="The table to write: .csv or .csv.gz.", show_default=False)
    ],
    deciles: Annotated[
        bool, typer.Option(help="Write the spectra's deciles too (for `vkdnw predict`).")
    ] = True,
) -> None:
    """Write the scores of a run as a table, which the other commands take in place of RUN."""
    from vkdnw.search import published
    from vkdnw.search.scores import load_evaluations

    rows = published.write(out, load_evaluations(run), deciles=deciles)
    size = out.stat().st_size
    console.print_line(console.stdout(), f"{out}: {rows:,} rows, {size / 1e6:.2f} MB")
