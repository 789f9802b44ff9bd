"""Options that the subcommands of `vkdnw search` share, with their help."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vkdnw.runtime.memory import parse_size
from vkdnw.search.configuration import (
    WEIGHTS_FORMS,
    Configuration,
    Convention,
    Dtype,
    Init,
    Mode,
)
from vkdnw.search.devices import MEMORY, WORKERS_OF_A_GPU, Devices

DEFAULTS = Configuration()
WHICH, INPUT, NETWORK, SCORE, WORK = "Which", "Input", "Network", "Score", "Run"
"""Headings of --help."""

Out = Annotated[Path, typer.Option(help="Folder of the run; made if need be.", show_default=False)]

BatchSize = Annotated[int, typer.Option(min=1, help="Images in a batch.", rich_help_panel=INPUT)]
Resolution = Annotated[
    int, typer.Option(min=4, help="Height and width of an image.", rich_help_panel=INPUT)
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Real images instead of standard normal input: an .npz or .pt batch, a folder of "
        "images, or the CIFAR binary files.",
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

Classes = Annotated[int, typer.Option(min=2, help="Classes.", rich_help_panel=NETWORK)]
Proxies = Annotated[
    str,
    typer.Option(
        help="Values to compute: proxies separated by commas (see `vkdnw proxies`), an aggregate "
        "for its parts, or all. What is on record is not computed again.",
        metavar="NAMES",
        rich_help_panel=SCORE,
    ),
]
InitialWeights = Annotated[
    Init, typer.Option(help="How weights are drawn.", rich_help_panel=NETWORK)
]

Weights = Annotated[
    str,
    typer.Option(
        help=f"Scalars that the Fisher matrix is taken over: {WEIGHTS_FORMS}.",
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
        "(forward, one for each scalar), or by what takes fewer passes through the network.",
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
        help="What computes vkdnw: cpu, cuda (every GPU of the machine) or cuda:N. Scores of the "
        "two kinds round differently, so a run keeps to one.",
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
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the ranking as JSON.", rich_help_panel=WORK)
]


def worker_count(workers: int | None, devices: Devices) -> int:
    """Workers on each device: the number asked for, or what the cores can keep busy."""
    return devices.workers(workers, len(os.sched_getaffinity(0)))


def memory(size: str | None, devices: Devices) -> int:
    """Bytes for a worker: what was asked for, or what suits the devices. Raises ValueError."""
    return MEMORY[devices.kind] if size is None else parse_size(size)
