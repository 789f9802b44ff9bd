"""`vkdnw evaluate RUN --truth T`: how well the scores of a run rank networks."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vkdnw.search.cli import console
from vkdnw.search.ranking import rows_by_architecture
from vkdnw.search.results import open_results

if TYPE_CHECKING:
    from vkdnw.search.evaluate import Result
    from vkdnw.search.metrics import Estimate


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder given as --out.", show_default=False)],
    truth: Annotated[
        Path,
        typer.Option(
            help="Accuracies: a table (.csv, .csv.gz, .parquet) with a column `arch` and one per "
            "data set, or a NATS-Bench folder.",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Use this data set only; may be repeated.", show_default="all"),
    ] = None,
    ranking: Annotated[
        list[str] | None,
        typer.Option(
            help="Use this value only (single, vkdnw, layers, flops, ...); may be repeated.",
            show_default="all on record",
        ),
    ] = None,
    each_seed: Annotated[
        bool,
        typer.Option(
            "--each-seed", help="Rank by every seed's scores, besides their mean over seeds."
        ),
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Bootstrap samples for the 95% intervals; 0 for none.")
    ] = 1000,
    top: Annotated[int, typer.Option("--top", min=1, help="P of nDCG@P.")] = 1000,
    bootstrap_seed: Annotated[
        int, typer.Option(help="Seed of the bootstrap and of the order of ties in nDCG.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the rankings of a run with true accuracies, over the architectures scored.

    Prints Kendall's tau-b, Spearman's rho and nDCG@P with bootstrap intervals. The run may still be
    going on.
    """
    import pandas as pd

    from vkdnw.search.evaluate import evaluate as compare
    from vkdnw.search.truth import load

    with open_results(run) as results:
        evaluations = results.evaluations()
    if not evaluations:
        raise typer.BadParameter(f"{run} has no scores yet", param_hint="RUN")
    accuracies = load(truth)
    if dataset:
        accuracies = accuracies[_known(dataset, map(str, accuracies.columns), "--dataset")]
    scores = pd.DataFrame(rows_by_architecture(evaluations, each_seed))
    if ranking:
        names = [column for column in scores.columns if column.split(" ")[0] in ranking]
        _known(ranking, (column.split(" ")[0] for column in scores.columns), "--ranking")
        scores = scores[["arch", *names]]
    compared = compare(scores, accuracies, top=top, resamples=bootstrap, seed=bootstrap_seed)
    if as_json:
        console.print_json({"run": str(run), "results": [asdict(result) for result in compared]})
    else:
        console.stdout().print(table(compared, bootstrap > 0))


def table(results: Sequence["Result"], intervals: bool) -> Table:
    """One line for each ranking and data set, each value with its interval."""
    shown = Table(header_style="bold")
    for heading in ("ranking", "data set"):
        shown.add_column(heading)
    for heading in ("n", "Kendall tau-b", "Spearman rho", "nDCG", "P", "undefined", "no accuracy"):
        shown.add_column(heading, justify="right")
    for result in results:
        shown.add_row(
            result.ranking,
            result.dataset,
            f"{result.n:,}",
            *(_cell(e, intervals) for e in (result.kendall, result.spearman, result.ndcg)),
            str(result.top),
            *(str(count or "") for count in (result.undefined, result.missing)),
        )
    return shown


def _cell(estimate: "Estimate", intervals: bool) -> str:
    if not intervals:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _known(asked: Sequence[str], known: Iterable[str], option: str) -> list[str]:
    known = list(dict.fromkeys(known))
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise typer.BadParameter(
            f"{unknown[0]!r} is not known; known are {', '.join(known)}", param_hint=option
        )
    return list(asked)
