"""`vkdnw search mobilenetv2`: evolution in the MobileNetV2 space, under budgets."""

from collections.abc import Callable
from typing import Annotated

import typer

from vkdnw.search.cli import console, history, options
from vkdnw.search.cli.options import DEFAULTS, INPUT, NETWORK
from vkdnw.search.cli.working import work_on
from vkdnw.search.configuration import Configuration
from vkdnw.search.evaluation import Scored, Task
from vkdnw.search.evolution.budget import Budget, parse_count
from vkdnw.search.evolution.plan import PAPER_KEYS, Opposed, Plan, StrategyName
from vkdnw.search.spaces.mobilenetv2.cost import Formula
from vkdnw.search.spaces.mobilenetv2.mutation import Draw
from vkdnw.search.spaces.mobilenetv2.space import MobileNetV2
from vkdnw.search.spaces.search_space import settings_of

SIZES = MobileNetV2()
PLAN = Plan()
BATCH_SIZE = 8
WEIGHTS = "sampled"
"""As the paper's search: its networks have up to 400 parameter tensors, of which 128 are drawn."""
BUDGET, BREEDING = "Budget", "Search"
"""Headings of --help."""


def mobilenetv2(
    out: options.Out,
    flops: Annotated[
        str | None,
        typer.Option(
            help="At most so many multiply-adds at the target resolution, as 450M.",
            metavar="N",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(
            help="At most so many parameters, as 4M.",
            metavar="N",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="At most so many sub-layers in all blocks (the paper: 14, and 16 for 1G FLOPs).",
            rich_help_panel=BUDGET,
        ),
    ] = 14,
    latency: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="At most so many milliseconds for one image, measured in a worker. What is "
            "measured is on record and not measured again, but is not reproducible.",
            metavar="MS",
            rich_help_panel=BUDGET,
            show_default=False,
        ),
    ] = None,
    evaluations: Annotated[
        int, typer.Option(min=1, help="Networks to try, each once.", rich_help_panel=BREEDING)
    ] = PLAN.evaluations,
    strategy: Annotated[
        StrategyName,
        typer.Option(
            help="The paper's steady-state evolution, ageing evolution, or random search.",
            rich_help_panel=BREEDING,
        ),
    ] = PLAN.strategy,
    pareto: Annotated[
        Opposed | None,
        typer.Option(
            help="Seek the front of the aggregate against this cost, instead of one best network.",
            rich_help_panel=BREEDING,
            show_default=False,
        ),
    ] = None,
    rank_by: Annotated[
        str,
        typer.Option(
            help="The values whose logarithms of ranks are summed.", rich_help_panel=BREEDING
        ),
    ] = ",".join(PAPER_KEYS),
    population: Annotated[
        int,
        typer.Option(
            min=2,
            help="Parents are among so many best (the paper: 1024 of 100,000).",
            rich_help_panel=BREEDING,
        ),
    ] = PLAN.population,
    tournament: Annotated[
        int,
        typer.Option(
            min=1, help="Drawn for a parent of ageing evolution.", rich_help_panel=BREEDING
        ),
    ] = PLAN.tournament,
    in_flight: Annotated[
        int,
        typer.Option(
            min=1,
            help="Child i is bred from children 0 to i - K, so K can be scored at once; twice the "
            "workers keeps all busy. The result depends on K, not on the workers.",
            metavar="K",
            rich_help_panel=BREEDING,
        ),
    ] = PLAN.in_flight,
    seed: Annotated[
        int, typer.Option(help="Seed of the breeding.", rich_help_panel=BREEDING)
    ] = PLAN.seed,
    score_seed: Annotated[
        int,
        typer.Option(
            help="Seed of weights and inputs; a network's own weights follow from it.",
            rich_help_panel=BREEDING,
        ),
    ] = PLAN.score_seed,
    draw: Annotated[
        Draw,
        typer.Option(
            help="Replacements uniformly, or as often as the authors' code draws them.",
            rich_help_panel=BREEDING,
        ),
    ] = SIZES.draw,
    batch_size: options.BatchSize = BATCH_SIZE,
    resolution: options.Resolution = SIZES.resolution,
    data: options.Data = None,
    classes: options.Classes = SIZES.classes,
    target_classes: Annotated[
        int,
        typer.Option(min=2, help="Classes of the network searched for.", rich_help_panel=NETWORK),
    ] = SIZES.target_classes,
    target_resolution: Annotated[
        int,
        typer.Option(
            min=1, help="Resolution at which FLOPs and latency count.", rich_help_panel=INPUT
        ),
    ] = SIZES.target_resolution,
    squeeze_excitation: Annotated[
        bool,
        typer.Option(
            "--squeeze-excitation",
            help="Score and cost networks with squeeze-and-excitation.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    formula: Annotated[
        Formula,
        typer.Option(
            help="Count FLOPs and parameters exactly, or as the authors' code does.",
            rich_help_panel=BUDGET,
        ),
    ] = SIZES.formula,
    init: options.InitialWeights = DEFAULTS.init,
    weights: options.Weights = WEIGHTS,
    convention: options.FisherConvention = DEFAULTS.convention,
    smoothing: options.Smoothing = DEFAULTS.smoothing,
    dtype: options.Precision = DEFAULTS.dtype,
    mode: options.DerivativeMode = DEFAULTS.mode,
    max_memory: options.MaxMemory = None,
    device: options.Device = "cpu",
    workers: options.Workers = None,
    as_json: options.AsJson = False,
) -> None:
    """Search the MobileNetV2 space by evolution, under budgets.

    The folder --out keeps everything: the same command goes on where it was stopped, more
    --evaluations may be asked for at any time, and a command that would search otherwise is
    refused. Every network is scored once; one that fails is recorded and the search goes on.
    `vkdnw export` writes a network that was found as a file.
    """
    from vkdnw.proxies.registry import proxy
    from vkdnw.search.devices import find_devices, spread
    from vkdnw.search.evolution.latency import LATENCY, TimedScorer
    from vkdnw.search.evolution.run import SearchRequest, search
    from vkdnw.search.inputs.seeded import input_digests
    from vkdnw.search.scoring import Scorer

    with console.usage_errors():
        devices = find_devices(device)
        space = MobileNetV2(
            classes=classes,
            resolution=resolution,
            target_classes=target_classes,
            target_resolution=target_resolution,
            squeeze_excitation=squeeze_excitation,
            formula=formula,
            draw=draw,
        )
        plan = Plan(
            evaluations=evaluations,
            budget=Budget(
                flops=None if flops is None else parse_count(flops),
                parameters=None if parameters is None else parse_count(parameters),
                depth=layers,
                latency=None if latency is None else latency / 1000,
            ),
            keys=tuple(rank_by.split(",")),
            strategy=strategy,
            pareto=pareto,
            population=population,
            tournament=tournament,
            in_flight=in_flight,
            seed=seed,
            score_seed=score_seed,
        )
        for name in plan.names:
            if name != LATENCY:
                proxy(name)
        configuration = Configuration(
            batch_size=batch_size,
            data=None if data is None else str(data),
            weights=weights,
            convention=convention,
            smoothing=smoothing,
            dtype=dtype,
            init=init,
            max_memory=options.memory(max_memory, devices),
            mode=mode,
        )
    workers = options.worker_count(workers, devices)

    def finish(scorer: Scorer) -> Callable[[Task], Scored]:
        if LATENCY not in plan.names:
            return scorer
        return TimedScorer(scorer, space, target_resolution, plan.budget.latency)

    scorers = spread(Scorer(space, configuration), devices, workers, finish)
    request = SearchRequest(
        folder=out,
        space=space,
        plan=plan,
        settings={
            **settings_of(space),
            **configuration.settings(),
            **devices.settings(),
            **plan.settings(),
            "workers": workers,
        },
        inputs={score_seed: input_digests(configuration, resolution, score_seed)},
        scorers=scorers,
        in_this_process=workers == 0,
        founder=space.founder if strategy == "evolution" else space.sample,
    )
    work_on(out, lambda progress, interruption: search(request, progress, interruption))
    history.show(out, history.COUNT, as_json)
