"""`vkdnw search nb201`: score architectures of NAS-Bench-201."""

from typing import Annotated

import typer

from vkdnw.search.cli import console, options, top
from vkdnw.search.cli.options import DEFAULTS, NETWORK, WHICH
from vkdnw.search.cli.working import work
from vkdnw.search.configuration import Configuration
from vkdnw.search.enumeration import Request
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.spaces.search_space import settings_of
from vkdnw.search.state.results import open_results

SIZES = NB201()


def nb201(
    out: options.Out,
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
    batch_size: options.BatchSize = DEFAULTS.batch_size,
    resolution: options.Resolution = SIZES.resolution,
    data: options.Data = None,
    images: options.Images = None,
    classes: options.Classes = SIZES.classes,
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of the first stage.", rich_help_panel=NETWORK)
    ] = SIZES.channels,
    cells: Annotated[
        int, typer.Option(min=1, help="Cells in each of the three stages.", rich_help_panel=NETWORK)
    ] = SIZES.cells,
    init: options.InitialWeights = DEFAULTS.init,
    as_written: Annotated[
        bool,
        typer.Option(
            "--as-written",
            help="Score every architecture as written, instead of equal networks once.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    proxies: options.Proxies = "vkdnw",
    weights: options.Weights = DEFAULTS.weights,
    convention: options.FisherConvention = DEFAULTS.convention,
    smoothing: options.Smoothing = DEFAULTS.smoothing,
    dtype: options.Precision = DEFAULTS.dtype,
    mode: options.DerivativeMode = DEFAULTS.mode,
    max_memory: options.MaxMemory = None,
    device: options.Device = "cpu",
    workers: options.Workers = None,
    as_json: options.AsJson = False,
) -> None:
    """Score architectures of NAS-Bench-201 without training, and rank them.

    Say which ones with --sample, --all or --arch. The folder --out keeps everything: the same
    command goes on where it was stopped, more architectures or seeds may be added at any time, and
    a command that would score differently is refused. Equal networks are scored once.
    """
    from vkdnw.search.devices import find_devices, spread
    from vkdnw.search.inputs.seeded import input_digests
    from vkdnw.search.scoring import Scorer
    from vkdnw.search.spaces.nb201.selection import Selection, describe
    from vkdnw.search.values import check_inputs, ranked_by, resolve

    with console.usage_errors():
        devices = find_devices(device)
        space = NB201(channels, cells, classes, resolution, as_written)
        configuration = Configuration(
            batch_size=batch_size,
            data=None if data is None else str(data),
            images=None if images is None else str(images),
            weights=weights,
            convention=convention,
            smoothing=smoothing,
            dtype=dtype,
            init=init,
            max_memory=options.memory(max_memory, devices),
            mode=mode,
        )
        names = resolve(proxies)
        check_inputs(names, images is not None)
        selection = Selection(sample, sample_seed, everything, tuple(arch or ()), live)
        asked = describe(selection.architectures(), space)
    workers = options.worker_count(workers, devices)
    scorers = spread(Scorer(space, configuration), devices, workers)
    work(
        Request(
            out,
            settings={
                **settings_of(space),
                **configuration.settings(),
                **devices.settings(),
                "architectures": str(selection),
                "seeds": seeds,
                "proxies": ",".join(names),
                "workers": workers,
            },
            asked=asked,
            inputs={seed: input_digests(configuration, resolution, seed) for seed in range(seeds)},
            scorers=scorers,
            names=names,
            in_this_process=workers == 0,
        )
    )
    with open_results(out) as results:
        top.show(out, results, top.COUNT, ranked_by(proxies, names), as_json)
        failed = {(failure.network, failure.seed) for failure in results.tally().failures}
    if any((one.network, seed) in failed for one in asked for seed in range(seeds)):
        raise typer.Exit(1)
