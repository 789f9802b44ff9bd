"""`vkdnw score MODEL ...`: score any models, of timm or of one's own, as a table."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from vkdnw.search.cli import console, options
from vkdnw.search.devices import CPU

if TYPE_CHECKING:
    from vkdnw.search.models.scores import ModelScore

BATCH_SIZE, CLASSES = 8, 10
MODEL = "Model"
"""Heading of --help."""


def score(
    models: Annotated[
        list[str],
        typer.Argument(
            help="timm:NAME, or package.module:factory, a function without arguments that returns "
            "a torch.nn.Module.",
            metavar="MODEL...",
            show_default=False,
        ),
    ],
    batch_size: options.BatchSize = BATCH_SIZE,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Height and width of an image.",
            rich_help_panel=options.INPUT,
            show_default="what the model is made for, else 224",
        ),
    ] = None,
    classes: Annotated[
        int, typer.Option(min=2, help="Classes of a timm model's head.", rich_help_panel=MODEL)
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
    scalars: Annotated[
        str,
        typer.Option(
            help=f"Scalars that the Fisher matrix is taken over: {options.SCALARS_FORMS}.",
            rich_help_panel=options.SCORE,
        ),
    ] = "first",
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute this value besides VKDNW; may be repeated.",
            metavar="NAME",
            rich_help_panel=options.SCORE,
            show_default=False,
        ),
    ] = None,
    mode: options.DerivativeMode = options.DEFAULTS.mode,
    max_memory: options.MaxMemory = None,
    as_json: options.AsJson = False,
) -> None:
    """Score models by VKDNW on standard normal images, each as a line of a table.

    Every model is scored or refused with the reason; exit code 1 where one is refused. A factory is
    imported, which runs its module.
    """
    from vkdnw import FallbackWarning
    from vkdnw.proxies.registry import proxy as proxy_named
    from vkdnw.search.models.scores import Settings, score_model
    from vkdnw.search.models.source import Source
    from vkdnw.search.scoring import scalars as choice

    with console.usage_errors():
        sources = [Source(text) for text in models]
        for name in proxy or ():
            proxy_named(name)
        settings = Settings(
            batch_size=batch_size,
            resolution=resolution,
            classes=classes,
            weights=None if weights == "none" else Path(weights),
            init=init,
            choice=choice(scalars),
            proxies=tuple(proxy or ()),
            seed=seed,
            max_memory=options.memory(max_memory, CPU),
            mode=mode,
        )
    warnings.simplefilter("ignore", FallbackWarning)  # the table has a column for it
    scores = []
    for source in sources:
        found = score_model(source, settings)
        scores.append(found)
        if len(sources) > 1:
            what = "scored" if found.refused is None else "refused"
            typer.echo(f"{source.text}: {what} in {found.seconds:.1f} s", err=True)
    if as_json:
        console.print_json([asdict(found) for found in scores])
    else:
        show(scores)
    if any(found.refused for found in scores):
        raise typer.Exit(1)


def show(scores: Sequence["ModelScore"]) -> None:
    """Print the table, and below it why values are missing."""
    out = console.stdout()
    names = list(dict.fromkeys(name for found in scores for name in found.values))
    shown = Table(header_style="bold")
    shown.add_column("model", no_wrap=True)
    for heading in ("input", "params (M)", "tensors", *names, "no rule", "unreached", "s"):
        shown.add_column(heading, justify="right")
    for found in scores:
        if found.refused is None:
            shown.add_row(
                found.model,
                found.input,
                f"{found.parameters / 1e6:.2f}",
                str(found.layers),
                *(f"{found.values[name]:.4f}" for name in names),
                str(found.fallback or ""),
                str(found.unreached or ""),
                f"{found.seconds:.1f}",
            )
    if shown.row_count:
        out.print(shown)
    for found in scores:
        if found.refused is not None:
            console.print_line(out, f"{found.model}: refused: {found.refused}")
        for name, reason in found.reasons.items():
            console.print_line(out, f"{found.model}: {name}: {reason}")
