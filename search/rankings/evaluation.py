"""Rankings compared with accuracies, and the rankings that need no score."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vkdnw.search.rankings.aggregation import Aggregate, aggregate_scores
from vkdnw.search.rankings.metrics import UNKNOWN, Estimate, agreement, fill_undefined
from vkdnw.search.rankings.score_columns import Columns, complete_table
from vkdnw.search.spaces import nb201

DETERMINISTIC: Mapping[str, Callable[[str], int]] = {
    "layers": nb201.layers,
    "flops": nb201.flops,
    "parameters": nb201.parameters,
}
"""Rankings that follow from the architecture string."""


GIVEN = "parameters"
"""The value that partial correlations hold fixed."""


class EvaluationError(ValueError):
    """Scores that cannot be compared with the accuracies given."""


@dataclass(frozen=True)
class Ranking:
    """Scores of architectures, higher is better."""

    name: str
    scores: pd.Series
    """Indexed by architecture, each once. Scores that are not finite are ranked: NaN and -inf with
    the worst, +inf with the best of the finite ones."""
    undefined: pd.Index
    """The architectures whose score, or a part of it, is not finite."""


@dataclass(frozen=True)
class Result:
    """How well one ranking agrees with one data set's accuracies."""

    ranking: str
    dataset: str
    n: int
    """Architectures compared: those that have a score and an accuracy."""
    missing: int
    """Architectures that have a score but no accuracy."""
    undefined: int
    """Of the n scores, those that were not finite, or had a part that was not."""
    kendall: Estimate
    spearman: Estimate
    ndcg: Estimate
    top: int
    """P of nDCG@P: the number asked for, or n where that is smaller."""
    top_share: Estimate = UNKNOWN
    """Of the true best 1 %, the share in the ranking's best 1 %."""
    partial_kendall: Estimate = UNKNOWN
    """With the number of parameters held fixed, where that is known."""
    partial_spearman: Estimate = UNKNOWN


def ranking(name: str, scores: pd.Series) -> Ranking:
    """The ranking by one value. Raises `EvaluationError` for scores that rank nothing."""
    if not pd.api.types.is_numeric_dtype(scores):
        raise EvaluationError(f"the scores called {name!r} must be numbers, not {scores.dtype}")
    repeated = scores.index[scores.index.duplicated()]
    if len(repeated):
        raise EvaluationError(
            f"{len(repeated)} architecture(s) have more than one score called {name!r}, first "
            f"{repeated[0]}; give one for each (a mean over seeds, say)"
        )
    return Ranking(name, scores, scores.index[~np.isfinite(scores.to_numpy(np.float64))])


def rankings_of(columns: Columns, aggregates: Iterable[Aggregate] = ()) -> list[Ranking]:
    """The ranking by every value, then by every aggregate, over the architectures with its parts.

    Raises:
        EvaluationError: see `ranking`.
        AggregationError: an aggregate has a part that is not among the columns.
    """
    single = [ranking(name, scores) for name, scores in columns.items()]
    return single + [aggregate_ranking(columns, aggregate) for aggregate in aggregates]


def aggregate_ranking(columns: Columns, aggregate: Aggregate) -> Ranking:
    """The ranking by an aggregate, over the architectures that have all its parts."""
    table = complete_table(columns, [part for part in aggregate.parts if part in columns])
    scores = aggregate_scores(table, aggregate)
    finite = np.isfinite(table.to_numpy(np.float64)).all(axis=1)
    return Ranking(aggregate.name, scores, table.index[~finite])


def evaluate(
    rankings: Sequence[Ranking],
    truth: pd.DataFrame,
    *,
    top: int = 1000,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Result, ...]:
    """Compare every ranking with every data set, over the architectures that have both.

    Args:
        rankings: as `rankings_of` makes them. The partial correlations hold the ranking called
            `parameters` fixed; they are NaN where there is none.
        truth: accuracies indexed by ``arch``, as `truth.load` gives them; higher is better. NaN
            where one is not known.
        top: P of nDCG@P.
        resamples: bootstrap samples for the intervals; 0 leaves the intervals NaN.
        seed: of the order of ties in nDCG and of the bootstrap.
        confidence: of the intervals.

    Returns:
        One result for each pair, ranking by ranking.

    Raises:
        EvaluationError: a ValueError; that fewer than two architectures of a ranking have an
            accuracy.
    """
    if top < 1 or resamples < 0 or not 0 < confidence < 1:
        raise ValueError(
            f"top must be at least 1, resamples at least 0 and confidence in (0, 1); got "
            f"{top}, {resamples}, {confidence}"
        )
    sizes = next((one.scores for one in rankings if one.name == GIVEN), None)
    results = []
    for one in rankings:
        for dataset in truth.columns:
            accuracies = truth[dataset].dropna()
            known = one.scores.index.intersection(accuracies.index, sort=False)
            if len(known) < 2:
                raise EvaluationError(
                    f"{len(known)} of the {len(one.scores)} architectures scored by {one.name} "
                    f"have an accuracy in {dataset}; a ranking needs two or more"
                )
            metrics = agreement(
                fill_undefined(one.scores.loc[known].to_numpy(np.float64)),
                accuracies.loc[known].to_numpy(np.float64),
                given=_given(sizes, known),
                top=top,
                resamples=resamples,
                seed=seed,
                confidence=confidence,
            )
            results.append(
                Result(
                    ranking=one.name,
                    dataset=str(dataset),
                    n=len(known),
                    missing=len(one.scores) - len(known),
                    undefined=len(one.undefined.intersection(known)),
                    top=min(top, len(known)),
                    **vars(metrics),
                )
            )
    return tuple(results)


def _given(sizes: pd.Series | None, known: pd.Index) -> NDArray[np.float64] | None:
    """The numbers of parameters, where all of these architectures have one."""
    if sizes is None or not known.isin(sizes.index).all():
        return None
    return sizes.loc[known].to_numpy(np.float64)


def deterministic(architectures: Iterable[str]) -> Columns:
    """The rankings by layers, FLOPs and parameters, as columns.

    At the sizes of the benchmark: 16 channels, 5 cells, CIFAR-10. Raises
    `nb201.ArchitectureError` for a bad string.
    """
    index = pd.Index(architectures, name="arch")
    return {
        name: pd.Series([cost(arch) for arch in index], index, np.float64, name)
        for name, cost in DETERMINISTIC.items()
    }
