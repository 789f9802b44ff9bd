"""Rankings of a run's values against accuracies, as one call and as one frame."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vkdnw.search.did_you_mean import meant
from vkdnw.search.rankings.aggregation import NAMED, Aggregate, known, parse
from vkdnw.search.rankings.evaluation import Ranking, Result, evaluate, rankings_of
from vkdnw.search.rankings.paper_table1 import table_1
from vkdnw.search.rankings.score_columns import Columns, columns_by_seed, mean_columns
from vkdnw.search.rankings.seed_spread import SeedSpread, over_seeds
from vkdnw.search.rankings.truth import TruthError, for_architectures
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.spaces.selection import read
from vkdnw.search.tasks import Evaluation

METRICS = ("kendall", "spearman", "ndcg", "top_share", "partial_kendall", "partial_spearman")


@dataclass(frozen=True)
class Agreements:
    """How rankings agree with accuracies."""

    results: Sequence[Result]
    """By means over seeds."""
    seeds: Sequence[SeedSpread]
    """Each seed by itself, where there are several."""


def agreements(
    evaluations: Sequence[Evaluation],
    accuracies: pd.DataFrame,
    *,
    rankings: Sequence[str] = (),
    aggregates: Sequence[str] = (),
    top: int = 1000,
    bootstrap: int = 200,
    seed: int = 0,
) -> Agreements:
    """Compare every value on record, and every aggregate whose parts are, with every data set.

    Args:
        evaluations: of a run.
        accuracies: in percent, indexed by architecture, a column for each data set.
        rankings: only these values and aggregates.
        aggregates: written out, besides the named ones.
        top: P of nDCG@P.
        bootstrap: resamples for the intervals.
        seed: of the bootstrap and of the order of ties.

    Raises:
        ValueError: nothing is scored, or a name is not known.
    """
    if not evaluations:
        raise ValueError("there are no scores yet to compare with accuracies")
    columns = mean_columns(evaluations)
    rank = ranker(columns, chosen_aggregates(aggregates, columns), rankings)
    compared = evaluate(rank(columns), accuracies, top=top, resamples=bootstrap, seed=seed)
    by_seed = columns_by_seed(evaluations)
    spread = over_seeds(by_seed, rank, accuracies, top=top, seed=seed) if len(by_seed) > 1 else ()
    return Agreements(compared, spread)


def chosen_aggregates(texts: Sequence[str], columns: Columns) -> list[Aggregate]:
    """The named aggregates that can be made of the columns, and the user's, which must be.

    Raises ValueError for one of the user's that cannot.
    """
    asked = [parse(text) for text in texts]
    taken = [*columns, *NAMED]
    for one in asked:
        if one.name in taken:
            raise ValueError(f"{one.name!r} is a value or an aggregate already")
        known_names(one.parts, columns)
        taken.append(one.name)
    return known(NAMED.values(), columns) + asked


def ranker(
    columns: Columns, aggregates: Sequence[Aggregate], names: Sequence[str]
) -> Callable[[Columns], list[Ranking]]:
    """Makes rankings of columns: all, or those named, in the order of the paper's table."""
    known_names(names, [*columns, *(one.name for one in aggregates)])
    order = list(dict.fromkeys(name for name, _ in table_1()))

    def place(ranking: Ranking) -> int:
        return order.index(ranking.name) if ranking.name in order else len(order)

    def rank(columns: Columns) -> list[Ranking]:
        made = rankings_of(columns, known(aggregates, columns))
        return sorted((one for one in made if not names or one.name in names), key=place)

    return rank


def known_names(asked: Sequence[str], there: Any) -> list[str]:
    """The names asked for. Raises ValueError for one that is not known, with a suggestion."""
    there = list(dict.fromkeys(there))
    for name in asked:
        if name not in there:
            raise ValueError(
                f"{name!r} is not known{meant(name, there)} Known are {', '.join(there)}"
            )
    return list(asked)


def truth_frame(
    truth: "str | Path | pd.DataFrame | pd.Series[float] | Mapping[str, float]",
    space: SearchSpace,
    architectures: Iterable[str],
    datasets: Sequence[str] = (),
) -> pd.DataFrame:
    """Accuracies as a frame indexed by the space's own strings, a column for each data set.

    Args:
        truth: the path of a table, a frame, a series or a dict.
        space: whose architectures they are, in any notation that it reads.
        architectures: those to compare; a table may have equal networks under other strings.
        datasets: columns of a table, as `truth.load` takes them.

    Raises:
        TruthError: a ValueError; the table is invalid.
    """
    if isinstance(truth, str | Path):
        return for_architectures(truth, architectures, space, datasets)
    if isinstance(truth, pd.Series):
        frame = truth.to_frame(truth.name or "truth")
    elif isinstance(truth, Mapping):
        frame = pd.Series(truth, name="truth", dtype=float).to_frame()
    else:
        frame = truth
    if "arch" in frame.columns:
        frame = frame.set_index("arch")
    numbers = frame.select_dtypes("number").astype("float64")
    if numbers.empty:
        raise TruthError("the accuracies have no column of numbers, or no row")
    numbers.index = pd.Index([read(space, str(text)) for text in frame.index], name="arch")
    if numbers.index.has_duplicates:
        first = numbers.index[numbers.index.duplicated()][0]
        raise TruthError(f"the accuracies name an architecture more than once, first {first}")
    return numbers


def agreement_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each ranking and data set as plain data; every metric with its interval."""
    rows = []
    for one in results:
        row: dict[str, Any] = {"ranking": one.ranking, "dataset": one.dataset, "n": one.n}
        estimates = {metric: getattr(one, metric) for metric in METRICS}
        row |= {metric: estimate.value for metric, estimate in estimates.items()}
        for metric, estimate in estimates.items():
            row |= {f"{metric}_low": estimate.low, f"{metric}_high": estimate.high}
        rows.append({**row, "top": one.top, "undefined": one.undefined, "missing": one.missing})
    return rows


def agreement_frame(found: Agreements) -> pd.DataFrame:
    """The rows as a frame; a metric that is nowhere defined has no column."""
    return pd.DataFrame(agreement_rows(found.results)).dropna(axis="columns", how="all")
