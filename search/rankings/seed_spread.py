"""How much a ranking's agreement with accuracies changes from seed to seed."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vkdnw.search.rankings.evaluation import Ranking, evaluate
from vkdnw.search.rankings.metrics import Agreement
from vkdnw.search.rankings.score_columns import Columns


@dataclass(frozen=True)
class Spread:
    """A metric over seeds, each of which ranked the networks by itself."""

    mean: float
    deviation: float
    """Standard deviation (n - 1); 0 under one seed. NaN, as the mean, where one seed's is."""


@dataclass(frozen=True)
class SeedSpread:
    """One ranking against one data set, seed by seed."""

    ranking: str
    dataset: str
    seeds: int
    n: tuple[int, ...]
    """Architectures compared under each seed."""
    kendall: Spread
    spearman: Spread
    ndcg: Spread


def over_seeds(
    columns: Mapping[int, Columns],
    rank: Callable[[Columns], Sequence[Ranking]],
    truth: pd.DataFrame,
    *,
    top: int = 1000,
    seed: int = 0,
) -> tuple[SeedSpread, ...]:
    """Rank under each seed, compare with the accuracies, and summarise over seeds.

    Args:
        columns: seed -> the columns of that seed alone, as `columns_by_seed` gives them.
        rank: the rankings to make of a seed's columns.
        truth, top, seed: see `evaluate`.

    Raises `EvaluationError` as `evaluate` does.
    """
    by_pair: defaultdict[tuple[str, str], list[tuple[int, Agreement]]] = defaultdict(list)
    for one in columns.values():
        for result in evaluate(rank(one), truth, top=top, resamples=0, seed=seed):
            metrics = Agreement(result.kendall, result.spearman, result.ndcg)
            by_pair[result.ranking, result.dataset].append((result.n, metrics))
    return tuple(summarise(*pair, group) for pair, group in by_pair.items())


def summarise(ranking: str, dataset: str, found: Sequence[tuple[int, Agreement]]) -> SeedSpread:
    """The spread of ``found``: for each seed the number of networks compared, and the metrics."""
    return SeedSpread(
        ranking=ranking,
        dataset=dataset,
        seeds=len(found),
        n=tuple(n for n, _ in found),
        kendall=_spread([metrics.kendall.value for _, metrics in found]),
        spearman=_spread([metrics.spearman.value for _, metrics in found]),
        ndcg=_spread([metrics.ndcg.value for _, metrics in found]),
    )


def _spread(values: list[float]) -> Spread:
    # NumPy's, since a metric is NaN where all scores are equal, on which statistics.stdev fails.
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return Spread(float(np.mean(values)), float(deviation))
