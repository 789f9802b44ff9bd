"""`vkdnw score MODEL ...`: score any models, of timm or of one's own, as a table."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vkdnw.runtime.memory import in_bytes
from vkdnw.search.cli import completion, console, options, output_formats
from vkdnw.search.cli.command_output import Column, Report, Row, Section, number, text
from vkdnw.search.devices import MEMORY, find_devices

if TYPE_CHECKING:
    from vkdnw.search.models.scores import ModelScore

CLASSES = 10
MODEL = "Model"
"""Heading of --help."""


def score(
    models: Annotated[
        list[str],
        typer.Argument(
            help="timm:NAME, torchvision:NAME, hf:TYPE (the transformers library, from a "
            "configuration: hf:vit?hidden_size=192), or package.module:factory, a function without "
            "arguments that returns a torch.nn.Module. Nothing is downloaded.",
            metavar="MODEL...",
            show_default=False,
        ),
    ],
    batch_size: options.BatchSize = options.DEFAULTS.batch_size,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Height and width of an image.",
            rich_help_panel=options.INPUT,
            show_default="the model's own, else 224",
        ),
    ] = None,
    classes: Annotated[
        int,
        typer.Option(
            min=2, help="Classes of the head of a library's model.", rich_help_panel=MODEL
        ),
    ] = CLASSES,
    weights: Annotated[
        str,
        typer.Option(
            help="none for random weights, or a file with a state dict (.pt, .pth, .safetensors).",
            metavar="none|FILE",
            rich_help_panel=MODEL,
        ),
    ] = "none",
    init: Annotated[
        Literal["own", "kaiming_normal"],
        typer.Option(
            help="Random weights as the model's constructor draws them, or as the paper does.",
            rich_help_panel=MODEL,
        ),
    ] = "own",
    seed: Annotated[int, typer.Option(help="Of weights and input.", rich_help_panel=MODEL)] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Score under K seeds, from --seed on; prints means and deviations.",
            metavar="K",
            rich_help_panel=MODEL,
        ),
    ] = 1,
    data: options.Data = None,
    images: options.Images = None,
    scalars: Annotated[
        str,
        typer.Option(
            help=f"Scalars that the Fisher matrix is taken over: {options.SCALARS_FORMS}.",
            rich_help_panel=options.SCORE,
        ),
    ] = "first",
    proxies: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.proxies,
            help="Values to compute besides VKDNW, separated by commas (see `vkdnw proxies`), an "
            "aggregate for its parts, or all.",
            metavar="NAMES",
            rich_help_panel=options.SCORE,
            show_default=False,
        ),
    ] = None,
    mode: options.DerivativeMode = options.DEFAULTS.mode,
    max_memory: options.MaxMemory = None,
    device: options.Device = "cpu",
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Score models by VKDNW on standard normal input, each as a line of a table.

    Every model is scored or refused with the reason; exit code 1 where one is refused. A factory is
    imported, which runs its module.
    """
    from vkdnw import FallbackWarning
    from vkdnw.search.models.named_models import Source
    from vkdnw.search.models.scores import Settings, score_model
    from vkdnw.search.requested_values import check_inputs, resolve
    from vkdnw.search.scoring import scalars as choice

    with console.usage_errors():
        sources = [Source(text) for text in models]
        names = () if proxies is None else resolve(proxies)
        check_inputs(names, images is not None)
        devices = find_devices(device)
        settings = Settings(
            batch_size=batch_size,
            resolution=resolution,
            classes=classes,
            weights=None if weights == "none" else Path(weights),
            init=init,
            choice=choice(scalars),
            proxies=tuple(name for name in names if name != "vkdnw"),
            seed=seed,
            seeds=seeds,
            max_memory=in_bytes(max_memory) or MEMORY[devices.kind],
            mode=mode,
            device=devices.names[0],
            data=data,
            images=images,
        )
    warnings.simplefilter("ignore", FallbackWarning)  # the table has a column for it
    scores = []
    for source in sources:
        found = score_model(source, settings)
        scores.append(found)
        if len(sources) > 1:
            outcome = "scored" if found.refused is None else "refused"
            console.say(f"{source.text}: {outcome} in {found.seconds:.1f} s")
    output_formats.print_report(report(scores), output_formats.chosen(form, as_json))
    if any(found.refused for found in scores):
        raise typer.Exit(1)


def report(scores: Sequence["ModelScore"]) -> Report:
    """A row for each model; below the table, why values are missing."""
    rows = [_row(found) for found in scores]
    scored = [row for row in rows if row["refused"] is None]
    names = list(dict.fromkeys(name for found in scores for name in found.values))
    columns = [
        text("model"),
        text("input"),
        number("parameters", "params (M)", "{:.2f}", 1e6),
        number("layers", "tensors", "{:.0f}"),
        *(_column(name) for name in names),
        *(_count("fallback", "no rule"), _count("unreached")),
        number("seconds", "s", "{:.1f}"),
    ]
    refused = [f"{one.model}: refused: {one.refused}" for one in scores if one.refused is not None]
    reasons = [
        f"{one.model}: {name}: {reason}" for one in scores for name, reason in one.reasons.items()
    ]
    return Report("score", Section(rows, columns, shown=scored), after=[*refused, *reasons])


def _row(found: "ModelScore") -> dict[str, Any]:
    """A model as plain data: values by name, `std_NAME` their deviations over seeds."""
    row = asdict(found)
    values, spread = row.pop("values"), row.pop("spread")
    deviations = {f"std_{name}": deviation for name, deviation in spread.items()}
    return {"model": row.pop("model"), **values, **deviations, **row}


def _column(name: str) -> Column:
    def cell(row: Row) -> str:
        told = number(name).cell(row)
        deviation = row.get(f"std_{name}")
        return told if deviation is None else f"{told} +- {deviation:.4f}"

    return Column(name, cell)


def _count(key: str, heading: str | None = None) -> Column:
    """A number as text; empty for 0."""
    return Column(heading or key, lambda row: str(row[key] or ""))
