"""Rankings compared with accuracies, and the rankings that need no score."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vkdnw.search import nb201
from vkdnw.search.metrics import Estimate, agreement, fill_undefined

DETERMINISTIC: Mapping[str, Callable[[str], int]] = {
    "layers": nb201.layers,
    "flops": nb201.flops,
    "parameters": nb201.parameters,
}
"""Rankings that follow from the architecture string."""


class EvaluationError(ValueError):
    """Scores that cannot be compared with the accuracies given."""


@dataclass(frozen=True)
class Result:
    """How well one ranking agrees with one data set's accuracies."""

    ranking: str
    dataset: str
    n: int
    """Architectures compared: those that have a score row and an accuracy."""
    missing: int
    """Architectures that have a score row but no accuracy."""
    undefined: int
    """Of the n scores, those that were NaN or infinite and were given a place at an end."""
    kendall: Estimate
    spearman: Estimate
    ndcg: Estimate
    top: int
    """P of nDCG@P: the number asked for, or n where that is smaller."""


def evaluate(
    scores: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    top: int = 1000,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Result, ...]:
    """Compare every ranking with every data set, over the architectures that have both.

    Args:
        scores: a column ``arch`` and one column of numbers per ranking, higher is better. Scores
            that are not finite are counted and ranked: NaN and -inf with the worst, +inf with the
            best of the finite scores of their column.
        truth: accuracies in percent, indexed by ``arch``, as `truth.load` gives them.
        top: P of nDCG@P.
        resamples: bootstrap samples for the intervals; 0 leaves the intervals NaN.
        seed: of the order of ties in nDCG and of the bootstrap.
        confidence: of the intervals.

    Returns:
        One result for each pair, ranking by ranking.

    Raises:
        EvaluationError: a ValueError; what is wrong with the scores, or that fewer than two
            architectures have an accuracy.
    """
    rankings = _checked(scores)
    if top < 1 or resamples < 0 or not 0 < confidence < 1:
        raise ValueError(
            f"top must be at least 1, resamples at least 0 and confidence in (0, 1); got "
            f"{top}, {resamples}, {confidence}"
        )
    known = rankings.index.intersection(truth.index, sort=False)
    if len(known) < 2:
        raise EvaluationError(
            f"{len(known)} of the {len(rankings)} scored architectures have an accuracy; a "
            "ranking needs two or more"
        )
    results = []
    for ranking in rankings.columns:
        filled = fill_undefined(rankings.loc[known, ranking].to_numpy(np.float64))
        for dataset in truth.columns:
            metrics = agreement(
                filled.scores,
                truth.loc[known, dataset].to_numpy(np.float64),
                top=top,
                resamples=resamples,
                seed=seed,
                confidence=confidence,
            )
            results.append(
                Result(
                    ranking=str(ranking),
                    dataset=str(dataset),
                    n=len(known),
                    missing=len(rankings) - len(known),
                    undefined=filled.undefined,
                    kendall=metrics.kendall,
                    spearman=metrics.spearman,
                    ndcg=metrics.ndcg,
                    top=min(top, len(known)),
                )
            )
    return tuple(results)


def deterministic(architectures: Iterable[str]) -> pd.DataFrame:
    """The rankings by layers, FLOPs and parameters: columns ``arch`` and those of `DETERMINISTIC`.

    At the sizes of the benchmark: 16 channels, 5 cells, CIFAR-10. Raises
    `nb201.ArchitectureError` for a bad string.
    """
    listed = list(architectures)
    columns = {name: [cost(arch) for arch in listed] for name, cost in DETERMINISTIC.items()}
    return pd.DataFrame({"arch": listed, **columns})


def _checked(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores indexed by architecture."""
    if "arch" not in scores.columns:
        raise EvaluationError(
            f"the scores have no column 'arch'; they have {', '.join(map(str, scores.columns))}"
        )
    repeated = scores["arch"][scores["arch"].duplicated()]
    if len(repeated):
        raise EvaluationError(
            f"{len(repeated)} architecture(s) have more than one row of scores, first "
            f"{repeated.iloc[0]}; give one score for each (a mean over seeds, say)"
        )
    rankings = scores.set_index("arch")
    if rankings.columns.empty:
        raise EvaluationError("the scores have no column besides 'arch'")
    for name in rankings.columns:
        if not pd.api.types.is_numeric_dtype(rankings[name]):
            raise EvaluationError(
                f"the scores in column {name!r} must be numbers, not {rankings[name].dtype}"
            )
    return rankings
