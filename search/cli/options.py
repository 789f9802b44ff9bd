"""Options that the subcommands of `vkdnw search` share, with their help."""

from pathlib import Path
from typing import Annotated

import typer

from vkdnw.search.cli import completion
from vkdnw.search.configuration import (
    SCALARS_FORMS,
    Configuration,
    Convention,
    Dtype,
    Init,
    Mode,
)
from vkdnw.search.devices import MEMORY, WORKERS_OF_A_GPU
from vkdnw.search.evolution.search_plan import Opposed, SearchPlan, StrategyName

DEFAULTS = Configuration()
PLAN = SearchPlan()
WHICH, BUDGET, BREEDING = "Which", "Evolution: budget", "Evolution: breeding"
INPUT, NETWORK, SCORE, WORK = "Input", "Network", "Score", "Run"
"""Headings of --help."""


def folder(text: str) -> Path:
    """A folder to write into; the empty text, which a shell makes of an unset variable, is none."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; name a folder (. for the current one)")
    return Path(text)


Out = Annotated[
    Path,
    typer.Option(
        help="Folder of the run; made if need be.",
        show_default=False,
        parser=folder,
        metavar="PATH",
    ),
]

Sample = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Score a random sample of N architectures; a larger sample contains a smaller.",
        metavar="N",
        rich_help_panel=WHICH,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Score all.", rich_help_panel=WHICH)]
Arch = Annotated[
    list[str] | None,
    typer.Option(
        help="Score this architecture; may be repeated.",
        metavar="ARCH",
        rich_help_panel=WHICH,
        show_default=False,
    ),
]
Within = Annotated[
    Path | None,
    typer.Option(
        help="Draw --sample from, or take --all of, the architectures of this table of accuracies "
        "(as `vkdnw evaluate` takes it) of which one is known.",
        metavar="TABLE",
        rich_help_panel=WHICH,
        show_default=False,
    ),
]
SampleSeed = Annotated[int, typer.Option(help="Seed of --sample.", rich_help_panel=WHICH)]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Score under the seeds 0 to K-1: each has its own weights and its own input. Means "
        "over seeds are ranked.",
        metavar="K",
        rich_help_panel=WHICH,
        show_default="1",
    ),
]

Evolve = Annotated[
    bool,
    typer.Option(
        "--evolve",
        help="Breed networks instead of scoring given ones; any option of the evolution says so "
        "too.",
        rich_help_panel=BUDGET,
    ),
]
FlopsBudget = Annotated[
    str | None,
    typer.Option(
        help="At most so many multiply-adds, as 450M.",
        metavar="N",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
ParametersBudget = Annotated[
    str | None,
    typer.Option(
        help="At most so many parameters, as 4M.",
        metavar="N",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
LayersBudget = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="At most so many parameter tensors.",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
LatencyBudget = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="At most so many milliseconds for one image, measured in a worker. A latency on "
        "record is not measured again, but it is not reproducible.",
        metavar="MS",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
LatencyTable = Annotated[
    Path | None,
    typer.Option(
        help="Take latencies from this table of a device's figures (`vkdnw data` lists the "
        "published ones; of another, milliseconds) instead of measuring. Networks that it does not "
        "have are left out.",
        metavar="TABLE",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
LatencyColumn = Annotated[
    str | None,
    typer.Option(
        autocompletion=completion.device_columns,
        help="The column of --latency-table.",
        metavar="NAME",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
LatencyFit = Annotated[
    bool | None,
    typer.Option(
        "--latency-fit",
        help="Let a regression fitted to --latency-table stand in for networks that it does not "
        "have; its error on rows held out is told.",
        rich_help_panel=BUDGET,
        show_default=False,
    ),
]
Evaluations = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Networks to try, each once.",
        rich_help_panel=BREEDING,
        show_default=str(PLAN.evaluations),
    ),
]
Strategy = Annotated[
    StrategyName | None,
    typer.Option(
        help="The paper's steady-state evolution, ageing evolution, or random search.",
        rich_help_panel=BREEDING,
        show_default=PLAN.strategy,
    ),
]
ParetoCost = Annotated[
    Opposed | None,
    typer.Option(
        help="Seek the front of the aggregate against this cost, instead of one best network.",
        rich_help_panel=BREEDING,
        show_default=False,
    ),
]
RankBy = Annotated[
    str | None,
    typer.Option(
        autocompletion=completion.proxies,
        help="The values whose logarithms of ranks are summed, or an aggregate of such (flow_agg).",
        metavar="NAMES",
        rich_help_panel=BREEDING,
        show_default=",".join(PLAN.keys),
    ),
]
Population = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Parents are among so many best (the paper: 1024 of 100,000).",
        rich_help_panel=BREEDING,
        show_default=str(PLAN.population),
    ),
]
Tournament = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Drawn for a parent of ageing evolution.",
        rich_help_panel=BREEDING,
        show_default=str(PLAN.tournament),
    ),
]
InFlight = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Child i is bred from children 0 to i - K, so K can be scored at once; twice the "
        "workers keeps all busy. The result depends on K, not on the workers.",
        metavar="K",
        rich_help_panel=BREEDING,
        show_default=str(PLAN.in_flight),
    ),
]
BreedingSeed = Annotated[
    int | None,
    typer.Option(
        help="Seed of the breeding.", rich_help_panel=BREEDING, show_default=str(PLAN.seed)
    ),
]
ScoreSeed = Annotated[
    int | None,
    typer.Option(
        help="Seed of weights and inputs; a network's own weights follow from it.",
        rich_help_panel=BREEDING,
        show_default=str(PLAN.score_seed),
    ),
]

BatchSize = Annotated[int, typer.Option(min=1, help="Images in a batch.", rich_help_panel=INPUT)]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Real images instead of standard normal input: an .npz or .pt batch, a folder of "
        "images, CIFAR as torchvision lays it out, or its binary files.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Labelled images for the proxies that are defined on labels, in the same forms as "
        "--data; the others keep their input.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Proxies = Annotated[
    str | None,
    typer.Option(
        autocompletion=completion.proxies,
        help="Values to compute: proxies separated by commas (see `vkdnw proxies`), an aggregate "
        "for its parts, or all. Values on record are not computed again.",
        metavar="NAMES",
        rich_help_panel=SCORE,
        show_default="vkdnw",
    ),
]
InitialWeights = Annotated[
    Init, typer.Option(help="How weights are drawn.", rich_help_panel=NETWORK)
]

Scalars = Annotated[
    str,
    typer.Option(
        help=f"Scalars that the Fisher matrix is taken over: {SCALARS_FORMS}.",
        rich_help_panel=SCORE,
    ),
]
FisherConvention = Annotated[
    Convention,
    typer.Option(
        help="The Fisher matrix, and every other proxy, as defined, or as the authors' released "
        "code computes it.",
        rich_help_panel=SCORE,
    ),
]
Smoothing = Annotated[
    float,
    typer.Option(help="Share of the uniform in the probabilities.", rich_help_panel=SCORE),
]
Precision = Annotated[
    Dtype, typer.Option(help="Precision of the network's passes.", rich_help_panel=SCORE)
]
DerivativeMode = Annotated[
    Mode,
    typer.Option(
        help="Derivatives by backward passes (reverse, one for each class but one), by tangents "
        "(forward, one for each scalar), or whichever takes fewer passes through the network.",
        rich_help_panel=SCORE,
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        help="Memory of a worker's intermediate results. Fixed, and the same for the whole "
        "run, because it decides how sums are cut and so how they round. "
        f"Default: {MEMORY['cpu'] // 2**30}GiB on the CPU, {MEMORY['cuda'] // 2**30}GiB on a GPU.",
        show_default=False,
        metavar="SIZE",
        rich_help_panel=SCORE,
    ),
]

Device = Annotated[
    str,
    typer.Option(
        help="Where values are computed: cpu, cuda (every GPU of the machine) or cuda:N; counts of "
        "layers and FLOPs always on the CPU. The two kinds round differently, so a run keeps to "
        "one.",
        rich_help_panel=WORK,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Score two networks, estimate the time and the disk space of all, and keep nothing.",
        rich_help_panel=WORK,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Worker processes of one thread each, on every GPU so many; 0 scores in this process. "
        f"Default: one for each usable core, on a GPU up to {WORKERS_OF_A_GPU}. Scores do not "
        "depend on it.",
        metavar="W",
        rich_help_panel=WORK,
        show_default=False,
    ),
]
TaskTimeout = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Seconds that a network may take before its worker is ended and it counts as failed; "
        "0 for as long as it wants. Not for --workers 0.",
        metavar="S",
        rich_help_panel=WORK,
    ),
]
TASK_TIMEOUT = 3600.0
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Score on every machine of a Ray cluster: `auto` for that of RAY_ADDRESS or of this "
        "machine, or its HOST:PORT. Machines may join and leave. --workers is then for each.",
        metavar="ADDRESS",
        rich_help_panel=WORK,
        show_default=False,
    ),
]
Mixed = Annotated[
    bool,
    typer.Option(
        "--mixed",
        help="Of a cluster, take also machines whose scores differ in the last bits.",
        rich_help_panel=WORK,
    ),
]
