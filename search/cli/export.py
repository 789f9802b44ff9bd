"""`vkdnw export RUN`: a run's scores as a small table, or a network that it found as a file."""

from pathlib import Path
from typing import Annotated

import typer

from vkdnw.search.cli import completion, console
from vkdnw.search.export.formats import Format

NETWORK = "A network"
"""Heading of --help."""


def export(
    run: Annotated[Path, typer.Argument(help="The folder given as --out.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            help="The file to write: a table (.csv or .csv.gz), or the network.",
            show_default=False,
        ),
    ],
    deciles: Annotated[
        bool, typer.Option(help="Write the spectra's deciles too (for `vkdnw predict`).")
    ] = True,
    best: Annotated[
        bool,
        typer.Option(
            "--best", help="Write the best network instead of a table.", rich_help_panel=NETWORK
        ),
    ] = False,
    arch: Annotated[
        str | None,
        typer.Option(
            help="Write this network instead of a table.",
            rich_help_panel=NETWORK,
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="A TorchScript or ONNX file with its weights, or Python source of the network.",
            rich_help_panel=NETWORK,
            show_default="by the ending of --out: .py, .onnx, .pt",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.values,
            help="The ranking: a value, an aggregate, or one of your own, as in `vkdnw top`.",
            rich_help_panel=NETWORK,
            show_default="the run's own ranking",
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Classes of the network.",
            show_default="those it was searched for",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the images that the file is checked with.",
            show_default="that it was searched for",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    squeeze_excitation: Annotated[
        bool | None,
        typer.Option(
            help="With or without squeeze-and-excitation (MobileNetV2).",
            show_default="as searched",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="A state dict to load before writing; without one, weights are drawn.",
            show_default=False,
            rich_help_panel=NETWORK,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the weights that are drawn.", rich_help_panel=NETWORK)
    ] = 0,
) -> None:
    """Write the scores of a run as a table, which the other commands take in place of RUN.

    With --best or --arch, write a network instead, as a file that needs no part of this package. It
    is loaded again in a fresh process and its logits are compared before the file appears.
    """
    if best and arch is not None:
        raise typer.BadParameter("--best and --arch name two networks; give one of them")
    if best or arch is not None:
        _export_network(
            run, out, arch, form, by, classes, resolution, squeeze_excitation, weights, seed
        )
        return
    from vkdnw.search.rankings import exported_scores
    from vkdnw.search.rankings.score_columns import load_evaluations

    rows = exported_scores.write(out, load_evaluations(run), deciles=deciles)
    size = out.stat().st_size
    console.print_line(console.stdout(), f"{out}: {rows:,} rows, {size / 1e6:.2f} MB")


def _export_network(
    run: Path,
    out: Path,
    arch: str | None,
    form: Format | None,
    by: str | None,
    classes: int | None,
    resolution: int | None,
    squeeze_excitation: bool | None,
    weights: Path | None,
    seed: int,
) -> None:
    import vkdnw
    from vkdnw.search.api.run import open as open_run
    from vkdnw.search.export import network_to_export
    from vkdnw.search.export.formats import form_of
    from vkdnw.search.export.write import write
    from vkdnw.search.models.checkpoint_file import load_weights

    opened = open_run(run)
    space = opened.space
    with console.usage_errors():
        network = opened.best(by) if arch is None else opened.network(arch)
        architecture = network.architecture
        form = form or form_of(out)
        model = network_to_export.network(space, architecture, classes, squeeze_excitation)
    if weights is None:
        vkdnw.initialise(model, "kaiming_normal", seed=seed)
    else:
        load_weights(model, weights)
    side = resolution or int(getattr(space, "target_resolution", space.resolution))
    write(model, out, form, side, title=f"{architecture}\n\nA network of the space {space.name}.")
    best = f"best by {network.by}: " if network.by else ""
    console.print_line(console.stdout(), f"{best}{architecture}")
    checked = f"checked in a fresh process at {side} x {side}"
    console.print_line(console.stdout(), f"{out}: {form}, {checked}")
