"""`vkdnw plot RUN --truth T --out FOLDER`: pictures of how a run's scores rank networks."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vkdnw.search.cli import console
from vkdnw.search.cli.evaluate import (
    Aggregates,
    Datasets,
    Sample,
    SampleSeed,
    Source,
    SpaceName,
    Truth,
    chosen_aggregates,
    load_accuracies,
    ranker,
    sampled_evaluations,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from vkdnw.search.rankings.aggregation import Aggregate
    from vkdnw.search.rankings.evaluation import Ranking
    from vkdnw.search.tasks import Evaluation


def plot(
    run: Source,
    truth: Truth,
    out: Annotated[
        Path, typer.Option(help="The folder to draw into, made if need be.", show_default=False)
    ],
    dataset: Datasets = None,
    space: SpaceName = None,
    ranking: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw this value or aggregate only; may be repeated.",
            show_default="all on record",
        ),
    ] = None,
    aggregate: Aggregates = None,
    sample: Sample = None,
    sample_seed: SampleSeed = 0,
    costs: Annotated[
        Path | None,
        typer.Option(
            help="Costs of proxies, measured by `benchmarks/proxies.py --json`.",
            show_default="the run's own times",
        ),
    ] = None,
    suffix: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
) -> None:
    """Draw predicted against true ranks, spectra, correlations, and quality against cost.

    Writes `ranks_DATASET`, `spectra_DATASET` and `cost_DATASET` for every data set, and
    `correlation`. Spectra and the run's own times need the run itself: a published table holds
    neither. Needs matplotlib (`pip install 'vkdnw[plot]'`).
    """
    from vkdnw.search.plots.correlation import draw_correlations
    from vkdnw.search.plots.cost import MILLISECONDS, RELATIVE
    from vkdnw.search.plots.figure import save
    from vkdnw.search.plots.ranks import draw_ranks
    from vkdnw.search.rankings.score_columns import mean_columns

    if suffix not in ("png", "svg", "pdf"):
        raise typer.BadParameter(f"{suffix!r} is not png, svg or pdf", param_hint="--format")
    evaluations = sampled_evaluations(run, sample, sample_seed)
    accuracies = load_accuracies(truth, dataset, run, space, evaluations)
    columns = mean_columns(evaluations)
    aggregates = chosen_aggregates(aggregate, columns)
    rankings = ranker(columns, aggregates, ranking)(columns)
    figures = {"correlation": draw_correlations(rankings)}
    for name in accuracies.columns:
        figures[f"ranks_{name}"] = draw_ranks(rankings, accuracies[name].dropna())
    if costs is not None:
        figures |= _cost_figures(rankings, _measured(costs), RELATIVE, accuracies)
    elif run.is_dir():
        times = _run_times(run, rankings, aggregates)
        figures |= _cost_figures(rankings, times, MILLISECONDS, accuracies)
    if run.is_dir():
        figures |= _spectra_figures(run, evaluations, accuracies)
    for name, figure in figures.items():
        console.print_line(console.stdout(), str(save(figure, out / f"{name}.{suffix}")))
    if not run.is_dir():
        console.print_line(
            console.stderr(),
            f"{run} is a table: spectra, and costs without --costs, are drawn from a run's folder",
        )


def _measured(costs: Path) -> dict[str, float]:
    from vkdnw.search.plots.cost import read_costs

    with console.usage_errors("--costs"):
        return read_costs(costs)


def _run_times(
    run: Path, rankings: Sequence["Ranking"], aggregates: Sequence["Aggregate"]
) -> dict[str, float]:
    """Milliseconds per network that the run took for each ranking's parts."""
    from vkdnw.search.state.results import open_results

    parts = {"single": ("layers", "vkdnw")} | {one.name: one.parts for one in aggregates}
    with open_results(run) as results:
        seconds = {one.name: results.seconds(parts.get(one.name, (one.name,))) for one in rankings}
    # No evaluation computed a count: it follows from the string.
    return {name: 0.0 if isnan(second) else 1e3 * second for name, second in seconds.items()}


def _cost_figures(
    rankings: Sequence["Ranking"],
    costs: Mapping[str, float],
    unit: str,
    accuracies: "pd.DataFrame",
) -> dict[str, "Figure"]:
    from vkdnw.search.plots.cost import draw_cost
    from vkdnw.search.rankings.evaluation import evaluate

    compared = evaluate(rankings, accuracies, resamples=0)
    return {
        f"cost_{name}": draw_cost([one for one in compared if one.dataset == name], costs, unit)
        for name in accuracies.columns
    }


def _spectra_figures(
    run: Path, evaluations: Sequence["Evaluation"], accuracies: "pd.DataFrame"
) -> dict[str, "Figure"]:
    """Of the first seed; nothing where spectra were too long to be kept."""
    from vkdnw.search.plots.spectra import draw_spectra
    from vkdnw.search.state.results import open_results

    with open_results(run) as results:
        arrays = results.arrays("eigenvalues")
    first = min(one.seed for one in evaluations)
    spectra = {
        one.architecture: arrays[one.network, first]
        for one in evaluations
        if one.seed == first and (one.network, first) in arrays
    }
    if not spectra:
        return {}
    return {
        f"spectra_{name}": draw_spectra(spectra, accuracies[name]) for name in accuracies.columns
    }
