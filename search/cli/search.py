"""`vkdnw search SPACE`: a subcommand for each search space."""

import typer

from vkdnw.search.cli import search_mobilenetv2, search_nb201

app = typer.Typer(name="search")
app.command("nb201")(search_nb201.nb201)
app.command("mobilenetv2")(search_mobilenetv2.mobilenetv2)


@app.callback()
def spaces() -> None:
    """Score the architectures of a search space and rank them."""
