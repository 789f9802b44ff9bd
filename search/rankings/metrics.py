"""How well a ranking agrees with accuracies: correlations of ranks, partial ones, the best networks
found, and intervals.

Every metric takes scores and accuracies, one of each per network, and is higher for a better
ranking; 1 is perfect. Of the scores only the order matters; accuracies are in percent.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]
Index = NDArray[np.intp]

TIE_DRAWS = 5
"""Over how many random orders of tied networks nDCG and the top share are averaged."""
TOP_SHARE = 0.01
"""Which share of the networks are the best ones, for `top_share`."""


@dataclass(frozen=True)
class Estimate:
    """A metric over all networks, and its bootstrap interval."""

    value: float
    low: float
    """Lower end of the interval; NaN where no bootstrap was asked for."""
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def fill_undefined(scores: Vector) -> Vector:
    """Give scores that are not finite a place in the ranking: +inf the best finite score, -inf and
    NaN the worst. Where no score is finite they all become 0, one great tie.
    """
    finite = np.isfinite(scores)
    worst, best = (scores[finite].min(), scores[finite].max()) if finite.any() else (0.0, 0.0)
    return np.where(finite, scores, np.where(scores == np.inf, best, worst))


def kendall(scores: Vector, accuracies: Vector) -> float:
    """Kendall's tau-b; NaN where all scores, or all accuracies, are equal."""
    return float(stats.kendalltau(scores, accuracies, variant="b").statistic)


def spearman(scores: Vector, accuracies: Vector) -> float:
    """Spearman's rho with average ranks for ties; NaN where all of either are equal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)  # the NaN says it
        return float(stats.spearmanr(scores, accuracies).statistic)


def ndcg(scores: Vector, accuracies: Vector, top: int = 1000, seed: int = 0) -> float:
    """Normalised discounted cumulative gain over the ``top`` best-scored networks.

    ``sum_j (2^acc(k_j) - 1) / log2(1 + j)`` for ``j = 1..top``, k_j the network with the j-th
    highest score and acc in percent, divided by the same sum for the true ranking. All networks
    count where there are fewer than ``top``. Networks of equal score are put in random order under
    ``seed``; the result is the mean over 5 such orders. NaN where all accuracies are equal, which
    any ranking would get right.
    """
    once = np.ones(len(scores), np.intp)
    return _ndcg(_gains(accuracies), _best_first(scores, seed), once, top)


def _gains(accuracies: Vector) -> Vector:
    """``2^acc - 1`` up to a factor that nDCG does not see, which keeps them in [0, 1].

    All 0, so that nDCG is undefined, for numbers that are no accuracies in percent: losses,
    similarities, fractions.
    """
    highest = accuracies.max()
    if accuracies.min() < 0 or not 1 <= highest <= 100:
        return np.zeros_like(accuracies)
    gains: Vector = np.exp2(accuracies - highest) - np.exp2(-highest)
    return gains


def _best_first(scores: Vector, seed: int) -> list[Index]:
    """Rankings of the networks, best first, ties in random order; one where there are no ties."""
    generator = np.random.default_rng(seed)
    draws = TIE_DRAWS if len(np.unique(scores)) < len(scores) else 1
    return [np.lexsort((generator.random(len(scores)), -scores)) for _ in range(draws)]


def _ndcg(gains: Vector, rankings: list[Index], counts: Index, top: int) -> float:
    """nDCG of networks that occur ``counts`` times each, mean over the rankings."""
    present = gains[counts > 0]
    if present.min() == present.max():
        return math.nan
    ideal = _dcg(gains, np.argsort(-gains), counts, top)
    return float(np.mean([_dcg(gains, ranking, counts, top) for ranking in rankings]) / ideal)


# scikit-learn's ndcg_score says the same where no scores are equal (the tests compare them). It is
# not used, for three things differ. Equal scores get the mean over all their orders there, and over
# five here, as in the published figures; a network that a resample holds several times is counted
# here and not sorted again; and where all accuracies are equal it says 1, not that it is undefined.
def _dcg(gains: Vector, ranking: Index, counts: Index, top: int) -> float:
    best = np.repeat(ranking, counts[ranking])[:top]
    return float(gains[best] @ (1 / np.log2(np.arange(2, len(best) + 2))))


def top_share(scores: Vector, accuracies: Vector, share: float = TOP_SHARE, seed: int = 0) -> float:
    """The share of the truly best networks that are among as many best-scored ones.

    The best are the given share of all networks, rounded, at least one. Networks of equal score are
    put in random order under ``seed``; the result is the mean over 5 such orders.
    """
    generator = np.random.default_rng(seed)
    count = max(1, round(share * len(scores)))
    draws = TIE_DRAWS if len(np.unique(scores)) < len(scores) else 1
    found = []
    for _ in range(draws):
        order = generator.permutation(len(scores))
        best = order[np.argsort(-scores[order], kind="stable")[:count]]
        truly = order[np.argsort(-accuracies[order], kind="stable")[:count]]
        found.append(len(np.intersect1d(best, truly)) / count)
    return float(np.mean(found))


def partial(both: float, scores_given: float, accuracies_given: float) -> float:
    """The correlation of scores and accuracies with a third variable held fixed, from the three
    pairwise ones (Kendall 1942 for tau; the same formula for rho).

    NaN where either follows from the third variable alone.
    """
    left = (1 - scores_given**2) * (1 - accuracies_given**2)
    if not left > 1e-12:
        return math.nan
    return (both - scores_given * accuracies_given) / math.sqrt(left)


@dataclass(frozen=True)
class Agreement:
    """The metrics of one ranking against one data set."""

    kendall: Estimate
    spearman: Estimate
    ndcg: Estimate
    top_share: Estimate = UNKNOWN
    """See `top_share`."""
    partial_kendall: Estimate = UNKNOWN
    """Kendall's tau-b with the given variable held fixed; NaN where none was given."""
    partial_spearman: Estimate = UNKNOWN


def agreement(
    scores: Vector,
    accuracies: Vector,
    *,
    given: Vector | None = None,
    top: int = 1000,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Agreement:
    """All metrics with percentile bootstrap intervals (Efron 1979) over the networks.

    ``scores`` and ``accuracies`` are finite, one of each for at least 2 networks, and so is
    ``given``, the variable that the partial correlations hold fixed. Each of the ``resamples``
    draws as many networks as there are, with replacement, under ``seed``; all metrics see the same
    draws. Draws in which a metric is undefined (all networks alike) do not count for its interval.
    ``resamples=0`` leaves the intervals NaN. 1,000 resamples take a second or two for 1,000
    networks.
    """
    gains, rankings = _gains(accuracies), _best_first(scores, seed)

    def metrics(chosen: Index) -> tuple[float, ...]:
        x, y = scores[chosen], accuracies[chosen]
        tau, rho = kendall(x, y), spearman(x, y)
        counts = np.bincount(chosen, minlength=len(scores))
        found = (tau, rho, _ndcg(gains, rankings, counts, top), top_share(x, y, seed=seed))
        if given is None:
            return found
        z = given[chosen]
        partial_tau = partial(tau, kendall(x, z), kendall(y, z))
        return (*found, partial_tau, partial(rho, spearman(x, z), spearman(y, z)))

    values = metrics(np.arange(len(scores)))
    intervals = _bootstrap(metrics, len(scores), resamples, seed, confidence)
    if resamples == 0:
        intervals = [(math.nan, math.nan)] * len(values)
    return Agreement(
        *(Estimate(value, low, high) for value, (low, high) in zip(values, intervals, strict=True))
    )


def _bootstrap(
    metrics: Callable[[Index], tuple[float, ...]],
    networks: int,
    resamples: int,
    seed: int,
    confidence: float,
) -> list[tuple[float, float]]:
    """The percentile interval of each metric; none where there are no resamples."""
    generator = np.random.default_rng(seed)
    drawn = [metrics(generator.integers(0, networks, networks)) for _ in range(resamples)]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return [_quantiles(column, tails) for column in zip(*drawn, strict=True)]


def _quantiles(values: Sequence[float], tails: list[float]) -> tuple[float, float]:
    """Quantiles of the values that are defined; NaN where none is."""
    defined = [value for value in values if not math.isnan(value)]
    low, high = np.quantile(defined, tails) if defined else (math.nan, math.nan)
    return float(low), float(high)
