"""`vkdnw search nb201`: score architectures of NAS-Bench-201."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vkdnw.search.cli import console, top
from vkdnw.search.cli.working import work
from vkdnw.search.configuration import (
    WEIGHTS_FORMS,
    Configuration,
    Convention,
    Dtype,
    Init,
    parse_size,
)
from vkdnw.search.enumeration import Request
from vkdnw.search.results import open_results

DEFAULTS = Configuration()
MAX_MEMORY = f"{DEFAULTS.max_memory // 2**30}GiB"
WHICH, INPUT, NETWORK, SCORE, WORK = "Which", "Input", "Network", "Score", "Run"
"""Headings of --help."""


def nb201(
    out: Annotated[
        Path, typer.Option(help="Folder of the run; made if need be.", show_default=False)
    ],
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Score a random sample of N architectures; a larger sample contains a smaller.",
            metavar="N",
            rich_help_panel=WHICH,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Score all architectures.", rich_help_panel=WHICH)
    ] = False,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="Score this architecture; may be repeated.",
            metavar="ARCH",
            rich_help_panel=WHICH,
            show_default=False,
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Of the 15,625 take only the 9,445 without dead edges, as the paper does.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    sample_seed: Annotated[int, typer.Option(help="Seed of --sample.", rich_help_panel=WHICH)] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Score under the seeds 0 to K-1: each has its own weights and its own input.",
            metavar="K",
            rich_help_panel=WHICH,
        ),
    ] = 1,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images in a batch.", rich_help_panel=INPUT)
    ] = DEFAULTS.batch_size,
    resolution: Annotated[
        int, typer.Option(min=4, help="Height and width of an image.", rich_help_panel=INPUT)
    ] = DEFAULTS.resolution,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Real images instead of standard normal input: an .npz or .pt batch, a folder of "
            "images, or the CIFAR binary files.",
            rich_help_panel=INPUT,
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        int, typer.Option(min=2, help="Classes.", rich_help_panel=NETWORK)
    ] = DEFAULTS.classes,
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of the first stage.", rich_help_panel=NETWORK)
    ] = DEFAULTS.channels,
    cells: Annotated[
        int, typer.Option(min=1, help="Cells in each of the three stages.", rich_help_panel=NETWORK)
    ] = DEFAULTS.cells,
    init: Annotated[
        Init, typer.Option(help="How weights are drawn.", rich_help_panel=NETWORK)
    ] = DEFAULTS.init,
    as_written: Annotated[
        bool,
        typer.Option(
            "--as-written",
            help="Score every architecture as written, instead of equal networks once.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            help=f"Scalars that the Fisher matrix is taken over: {WEIGHTS_FORMS}.",
            rich_help_panel=SCORE,
        ),
    ] = DEFAULTS.weights,
    convention: Annotated[
        Convention,
        typer.Option(
            help="The Fisher matrix of the formula, or the matrix of the authors' released code.",
            rich_help_panel=SCORE,
        ),
    ] = DEFAULTS.convention,
    smoothing: Annotated[
        float,
        typer.Option(help="Share of the uniform in the probabilities.", rich_help_panel=SCORE),
    ] = DEFAULTS.smoothing,
    dtype: Annotated[
        Dtype, typer.Option(help="Precision of the network's passes.", rich_help_panel=SCORE)
    ] = DEFAULTS.dtype,
    max_memory: Annotated[
        str,
        typer.Option(
            help="Memory of a worker's intermediate results. Fixed, and the same for the whole "
            "run, because it decides how sums are cut and so how they round.",
            metavar="SIZE",
            rich_help_panel=SCORE,
        ),
    ] = MAX_MEMORY,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Worker processes of one thread each; 0 scores in this process. "
            "Default: one for each usable core. Scores do not depend on it.",
            metavar="W",
            rich_help_panel=WORK,
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the ranking as JSON.", rich_help_panel=WORK)
    ] = False,
) -> None:
    """Score architectures of NAS-Bench-201 by VKDNW, and rank them.

    Say which ones with --sample, --all or --arch. The folder --out keeps everything: the same
    command goes on where it was stopped, more architectures or seeds may be added at any time, and
    a command that would score differently is refused. Equal networks are scored once.
    """
    from vkdnw.search.scoring import Scorer, batch_digest
    from vkdnw.search.selection import Selection, describe

    with console.usage_errors():
        configuration = Configuration(
            batch_size=batch_size,
            resolution=resolution,
            classes=classes,
            channels=channels,
            cells=cells,
            data=None if data is None else str(data),
            weights=weights,
            convention=convention,
            smoothing=smoothing,
            dtype=dtype,
            init=init,
            as_written=as_written,
            max_memory=parse_size(max_memory),
        )
        selection = Selection(sample, sample_seed, everything, tuple(arch or ()), live)
        asked = describe(selection.architectures(), configuration)
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    work(
        Request(
            out,
            settings={
                **configuration.settings(),
                "architectures": str(selection),
                "seeds": seeds,
                "workers": workers,
            },
            asked=asked,
            batches={seed: batch_digest(configuration, seed) for seed in range(seeds)},
            scorer=Scorer(configuration),
            workers=workers,
        )
    )
    with open_results(out) as results:
        top.show(out, results, top.COUNT, "single", as_json)
        failed = {(failure.network, failure.seed) for failure in results.tally().failures}
    if any((one.network, seed) in failed for one in asked for seed in range(seeds)):
        raise typer.Exit(1)
