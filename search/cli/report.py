"""`vkdnw report RUN`: a run as one page to explore in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from vkdnw.search.cli import completion, console


def report(
    run: Annotated[Path, typer.Argument(help="The folder given as --out.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="The page to write.", show_default="report.html in the run's folder"),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="Trained accuracies, as for `evaluate`.", show_default=False),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="The ranking, as for `top`.",
            autocompletion=completion.values,
            show_default="the run's own ranking",
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Serve the page to this machine alone while the run is going on."
        ),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 for any.")] = 8765,
) -> None:
    """Write a run as one HTML page: table, plots, and how it was made. It needs no network.

    Needs plotly and itables (`pip install 'vkdnw[report]'`).
    """
    from vkdnw.search.api.run import Run

    if serve:
        _serve(Run(run).folder, by, truth, port)
        return
    with console.usage_errors():
        written = Run(run).report(out or run / "report.html", by=by, truth=truth)
    console.print_line(console.stdout(), str(written))


def _serve(folder: Path, by: str | None, truth: Path | None, port: int) -> None:
    from vkdnw.search.report.page import page
    from vkdnw.search.report.page_data import payload
    from vkdnw.search.report.serve import server

    with server(lambda: page(payload(folder, by=by, truth=truth)), port) as serving:
        console.print_line(
            console.stdout(), f"http://127.0.0.1:{serving.server_port}/ (Ctrl-C ends it)"
        )
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            return
