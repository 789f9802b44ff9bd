"""`vkdnw predict RUN --truth T`: rankings by models fitted to some of the accuracies."""

from typing import Annotated

import typer

from vkdnw.search.cli import console, output
from vkdnw.search.cli.evaluate import Datasets, Source, Truth, load_accuracies
from vkdnw.search.cli.report import Report


def predict(
    run: Source,
    truth: Truth,
    dataset: Datasets = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Fit this model only (graf_m, vkdnw_m, vkdnw_zcs_m or vkdnw_zcs_graf_m); may be "
            "repeated.",
            show_default="all whose features are on record",
        ),
    ] = None,
    train: Annotated[int, typer.Option(min=1, help="Architectures to fit on.")] = 1024,
    fits: Annotated[int, typer.Option(min=1, help="Fits, each on another draw.")] = 5,
    top: Annotated[int, typer.Option("--top", min=1, help="P of nDCG@P.")] = 1000,
    paper: Annotated[
        bool, typer.Option("--paper", help="Put the paper's numbers and differences beside.")
    ] = False,
    form: output.Format = "table",
    as_json: output.AsJson = False,
) -> None:
    """Fit random forests to the accuracies of some architectures and judge them on the rest.

    The features are a run's: VKDNW with its deciles, every other score on record (ZCS), and the
    graph features of the cell (GRAF). Prints mean and standard deviation over the fits.
    """
    from vkdnw.search.cli.evaluation_report import spread_section
    from vkdnw.search.prediction.features import MODELS, FeatureError, model_features
    from vkdnw.search.prediction.forest import judge
    from vkdnw.search.rankings.compare import known_names
    from vkdnw.search.rankings.scores import load_evaluations

    evaluations = load_evaluations(run)
    accuracies = load_accuracies(truth, dataset, run, None, evaluations)
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
    section = spread_section(found, title=_title(train, fits), paper=paper)
    report = Report("predict", section, {"run": str(run), "truth": str(truth), "train": train})
    output.print_report(report, output.chosen(form, as_json))


def _title(train: int, fits: int) -> str:
    return f"Fitted on {train:,} architectures, judged on the rest: mean +- deviation of {fits}"
