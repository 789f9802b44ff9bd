"""`vkdnw evaluate RUN --truth T`: how well the scores of a run rank networks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vkdnw.search.cli import completion, console, output_formats
from vkdnw.search.cli.command_output import Report

if TYPE_CHECKING:
    import pandas as pd

    from vkdnw.search.rankings.aggregation import Aggregate
    from vkdnw.search.rankings.evaluation import Ranking
    from vkdnw.search.rankings.score_columns import Columns
    from vkdnw.search.spaces.search_space import SearchSpace
    from vkdnw.search.tasks import Evaluation

Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="The folder given as --out, or a table that `vkdnw export` wrote.",
        show_default=False,
    ),
]
Truth = Annotated[
    Path,
    typer.Option(
        help="Accuracies: a published table (`vkdnw data` lists them), any table (.csv, .csv.gz, "
        ".parquet) with a column `arch` and one per data set, or a NATS-Bench folder.",
        show_default=False,
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        autocompletion=completion.datasets,
        help="Use this column only; may be repeated. NAME:lower or NAME:higher where it is no "
        "accuracy in percent (a loss, a latency).",
        show_default="all",
    ),
]
SpaceName = Annotated[
    str | None,
    typer.Option(
        "--space",
        autocompletion=completion.spaces,
        help="Whose architectures a table of scores has; a run says it itself.",
        show_default="the space of a published table, or nb201",
    ),
]
Aggregates = Annotated[
    list[str] | None,
    typer.Option(
        "--aggregate",
        help="Rank by this log-rank sum too, e.g. mine=expressivity+2*jacov+dense(layers,vkdnw); "
        "may be repeated.",
        show_default=False,
    ),
]

Sample = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Compare on this random sample of the architectures on record only: the one that "
        "`search nb201 --sample N` scores, for values that were computed for it alone.",
    ),
]
SampleSeed = Annotated[int, typer.Option(help="Seed of --sample.")]


def evaluate(
    run: Source,
    truth: Truth,
    dataset: Datasets = None,
    space: SpaceName = None,
    ranking: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=completion.values,
            help="Use this value or aggregate only (single, flops, vkdnw_agg, ...); may be "
            "repeated.",
            show_default="all on record",
        ),
    ] = None,
    aggregate: Aggregates = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Put the paper's numbers and differences beside.")
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Bootstrap samples for the 95% intervals; 0 for none.")
    ] = 200,
    sample: Sample = None,
    sample_seed: SampleSeed = 0,
    top: Annotated[int, typer.Option("--top", min=1, help="P of nDCG@P.")] = 1000,
    bootstrap_seed: Annotated[
        int, typer.Option(help="Seed of the bootstrap and of the order of ties in nDCG.")
    ] = 0,
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Compare the rankings of a run with true accuracies, over the architectures scored.

    Ranks by every value on record and by every aggregate whose parts are, and prints Kendall's
    tau-b, Spearman's rho and nDCG@P with bootstrap intervals. Under several seeds that is the
    ranking by means over seeds; the spread of the seeds' own rankings follows. The run may still be
    going on.
    """
    from vkdnw.search.cli.evaluation_report import agreement_section, spread_section
    from vkdnw.search.rankings.run_evaluation import agreements
    from vkdnw.search.rankings.score_columns import mean_columns

    evaluations = sampled_evaluations(run, sample, sample_seed)
    accuracies = load_accuracies(truth, dataset, run, space, evaluations)
    columns = mean_columns(evaluations)
    ranker(columns, chosen_aggregates(aggregate, columns), ranking)  # says which option is wrong
    found = agreements(
        evaluations,
        accuracies,
        rankings=ranking or (),
        aggregates=aggregate or (),
        top=top,
        bootstrap=bootstrap,
        seed=bootstrap_seed,
    )
    title = "Each seed by itself: mean +- deviation"
    seeds = {"seeds": spread_section(found.seeds, title=title, paper=paper)} if found.seeds else {}
    report = Report(
        "evaluate",
        agreement_section(found.results, paper=paper),
        {"run": str(run), "truth": str(truth)},
        seeds,
    )
    output_formats.print_report(report, output_formats.chosen(form, as_json))


def sampled_evaluations(run: Path, count: int | None, seed: int) -> Sequence["Evaluation"]:
    """Those of a sample of the architectures of a run, or all where `count` is None.

    A sample of networks favours strings with many equal ones; a sample of strings does not.
    """
    from vkdnw.search.rankings.score_columns import load_evaluations
    from vkdnw.search.spaces.selection import sample

    evaluations: Sequence[Evaluation] = load_evaluations(run)
    if not evaluations:
        raise typer.BadParameter(f"{run} has no scores yet", param_hint="RUN")
    if count is None:
        return evaluations
    with console.usage_errors("--sample"):
        chosen = set(sample({one.architecture for one in evaluations}, count, seed))
    return [one for one in evaluations if one.architecture in chosen]


def load_accuracies(
    path: Path,
    datasets: Sequence[str] | None,
    run: Path,
    space: str | None,
    evaluations: Sequence["Evaluation"],
) -> "pd.DataFrame":
    """The accuracies of a run's architectures, of these data sets only where any are named."""
    from vkdnw.search.rankings.truth import for_architectures

    architectures = (one.architecture for one in evaluations)
    with console.usage_errors("--truth or --dataset"):
        return for_architectures(path, architectures, space_of(run, space), datasets or ())


def space_of(run: Path, name: str | None) -> "SearchSpace | None":
    """The space of a run, at its sizes; of a table of scores, the space named."""
    from vkdnw.search.spaces import registry
    from vkdnw.search.spaces.recorded_space import recorded_space
    from vkdnw.search.state.results import open_results

    if run.is_dir() and name is None:
        with open_results(run) as results:
            settings = results.settings()
        return recorded_space(settings) if "space" in settings else None
    with console.usage_errors("--space"):
        return None if name is None else registry.space(name)


def chosen_aggregates(texts: Sequence[str] | None, columns: "Columns") -> list["Aggregate"]:
    """The named aggregates that can be made of the columns, and the user's, which must be."""
    from vkdnw.search.rankings import run_evaluation

    with console.usage_errors("--aggregate"):
        return run_evaluation.chosen_aggregates(texts or (), columns)


def ranker(
    columns: "Columns", aggregates: Sequence["Aggregate"], names: Sequence[str] | None
) -> Callable[["Columns"], list["Ranking"]]:
    """Makes rankings of columns: all, or those named, in the order of the paper's table."""
    from vkdnw.search.rankings import run_evaluation

    with console.usage_errors("--ranking"):
        return run_evaluation.ranker(columns, aggregates, names or ())
