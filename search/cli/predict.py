"""`vkdnw predict RUN --truth T`: rankings by models fitted to some of the accuracies."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vkdnw.search.cli import console, output_formats
from vkdnw.search.cli.command_output import Column, Report, Section, number, records, text
from vkdnw.search.cli.evaluate import Datasets, Source, SpaceName, Truth, load_accuracies, space_of
from vkdnw.search.cli.top import By

if TYPE_CHECKING:
    import pandas as pd

    from vkdnw.search.prediction.networks import Networks
    from vkdnw.search.tasks import Evaluation


def predict(
    run: Source,
    truth: Truth,
    dataset: Datasets = None,
    space: SpaceName = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Fit this model only (graf_m, vkdnw_m, vkdnw_zcs_m or vkdnw_zcs_graf_m); may be "
            "repeated.",
            show_default="all whose features are on record",
        ),
    ] = None,
    train: Annotated[
        str, typer.Option(metavar="K[,K...]", help="Architectures to fit on.")
    ] = "1024",
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="Choose the K networks one after the other: random, prior (the best by --by) or "
            "improve (expected improvement); may be repeated. Prints the accuracy of the best "
            "of them, and how a model of these K ranks the rest.",
            show_default=False,
        ),
    ] = None,
    following: Annotated[
        int | None,
        typer.Option(
            "--next",
            min=1,
            metavar="N",
            help="Print the N networks of RUN to train next, where T has all that are trained.",
            show_default=False,
        ),
    ] = None,
    by: By = None,
    fits: Annotated[int, typer.Option(min=1, help="Fits, each on another draw.")] = 5,
    top: Annotated[int, typer.Option("--top", min=1, help="P of nDCG@P.")] = 1000,
    paper: Annotated[
        bool, typer.Option("--paper", help="Put the paper's numbers and differences beside.")
    ] = False,
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Fit models to the accuracies of some architectures and judge them on the rest.

    Random forests see a run's values: VKDNW with its deciles, every other score on record (ZCS),
    and the graph features of the cell (GRAF). With --strategy or --next, a Gaussian process
    corrects the training-free ranking --by where few networks are trained.
    """
    from vkdnw.search.rankings.score_columns import load_evaluations

    evaluations = load_evaluations(run)
    accuracies = load_accuracies(truth, dataset, run, space, evaluations)
    about = {"run": str(run), "truth": str(truth)}
    budgets = _budgets(train)
    if following is not None:
        report = _next(_networks(run, space, by, evaluations), accuracies, following, about)
    elif strategy:
        networks = _networks(run, space, by, evaluations)
        report = _spent(networks, accuracies, strategy, budgets, fits, about)
    else:
        if len(budgets) > 1:
            raise typer.BadParameter(
                f"{train} are several: --model takes one number, --strategy takes more",
                param_hint="--train",
            )
        report = _judged(evaluations, accuracies, model, budgets[0], fits, top, paper, about)
    output_formats.print_report(report, output_formats.chosen(form, as_json))


def _budgets(train: str) -> list[int]:
    try:
        budgets = [int(part) for part in train.split(",")]
    except ValueError:
        budgets = []
    if not budgets or min(budgets) < 1:
        raise typer.BadParameter(
            f"{train!r} is no list of whole numbers from 1, such as 10,20,50", param_hint="--train"
        )
    return budgets


def _networks(
    run: Path, space: str | None, by: str | None, evaluations: Sequence["Evaluation"]
) -> "Networks":
    from vkdnw.search.prediction.networks import networks_of

    with console.usage_errors("--by"):
        return networks_of(evaluations, space_of(run, space), by)


def _judged(
    evaluations: Sequence["Evaluation"],
    accuracies: "pd.DataFrame",
    model: list[str] | None,
    train: int,
    fits: int,
    top: int,
    paper: bool,
    about: dict[str, str],
) -> Report:
    """Random forests, each on several draws of the networks that are fitted on."""
    from vkdnw.search.cli.evaluation_report import spread_section
    from vkdnw.search.prediction.feature_groups import MODELS, FeatureError, model_features
    from vkdnw.search.prediction.forest import judge
    from vkdnw.search.rankings.run_evaluation import known_names

    with console.usage_errors("--model"):
        names = known_names(model or list(MODELS), MODELS)
    known = len({one.architecture for one in evaluations})
    found = []
    for name in names:
        try:
            features = model_features(evaluations, name)
        except FeatureError:
            if model:
                raise
            continue  # not asked for by name, and nothing on record to fit it to
        if len(features) < known:
            console.print_line(
                console.stderr(),
                f"{name}: {len(features):,} of {known:,} architectures have all its features, and "
                "it is fitted and judged on these",
            )
        found += [
            judge(name, features, accuracies[one].dropna(), train=train, seeds=range(fits), top=top)
            for one in accuracies.columns
        ]
    title = f"Fitted on {train:,} architectures, judged on the rest: mean +- deviation of {fits}"
    section = spread_section(found, title=title, paper=paper)
    return Report("predict", section, {**about, "train": train})


def _spent(
    networks: "Networks",
    accuracies: "pd.DataFrame",
    strategies: list[str],
    budgets: list[int],
    fits: int,
    about: dict[str, str],
) -> Report:
    """The best network after K trainings, for each strategy."""
    import pandas as pd

    from vkdnw.search.prediction.simulation import simulate, summary
    from vkdnw.search.prediction.train_next import STRATEGIES
    from vkdnw.search.rankings.run_evaluation import known_names

    with console.usage_errors("--strategy"):
        known_names(strategies, STRATEGIES)
    tables = []
    for dataset in accuracies.columns:
        known, values = networks.trained(accuracies[dataset])
        with console.usage_errors("--train"):
            trials = [
                trial
                for strategy in strategies
                for seed in range(fits)
                for trial in simulate(known, values, strategy=strategy, budgets=budgets, seed=seed)
            ]
        tables.append(summary(trials).assign(dataset=dataset, networks=len(values)))
    rows = records(pd.concat(tables))
    columns = [
        text("dataset"),
        text("strategy"),
        number("trained", form="{:,.0f}"),
        number("networks", "of", "{:,.0f}"),
        _with_deviation("regret"),
        _with_deviation("kendall"),
        number("prior_kendall", f"{networks.by} alone", "{:.3f}"),
        number("forest_kendall", "forest", "{:.3f}"),
    ]
    title = (
        f"Regret of the best trained network, and tau-b of the rest: mean +- deviation of {fits}"
    )
    section = Section(rows, columns, title, keys=3)
    return Report("predict", section, {**about, "by": networks.by})


def _with_deviation(name: str) -> Column:
    def cell(row: Any) -> str:
        return f"{row[name]:.3f} +- {row[f'std_{name}']:.3f}"

    return Column(name, cell)


def _next(
    networks: "Networks", accuracies: "pd.DataFrame", count: int, about: dict[str, str]
) -> Report:
    """The networks to train next."""
    from vkdnw.search.prediction.networks import next_networks

    if accuracies.shape[1] != 1:
        raise typer.BadParameter(
            f"name one of {', '.join(map(str, accuracies.columns))}", param_hint="--dataset"
        )
    column = accuracies.iloc[:, 0]
    rows = records(next_networks(networks, column, count).reset_index(names="architecture"))
    trained = int(networks.accuracies(column).notna().sum())
    columns = [
        number("order", "#", "{:.0f}"),
        text("architecture"),
        number("predicted_rank", "predicted rank", "{:,.0f}"),
        number("prior_rank", f"rank by {networks.by}", "{:,.0f}"),
    ]
    title = f"To train next, after {trained:,} of {len(networks.prior):,} networks"
    return Report(
        "predict",
        Section(rows, columns, title),
        {**about, "by": networks.by, "trained": trained},
    )
