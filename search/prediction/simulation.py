"""The gain of trained networks: strategies tried on networks whose accuracies are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

from vkdnw.search.prediction.forest import TREES, PredictionError
from vkdnw.search.prediction.train_next import STRATEGIES, Candidates, Model, Vector
from vkdnw.search.rankings.metrics import kendall

SHARE = 0.8
"""Each trial has so much of the networks to choose from, drawn at random."""


@dataclass(frozen=True)
class Trial:
    """The result of one trial with so many trained networks."""

    strategy: str
    seed: int
    trained: int
    regret: float
    """Accuracy of the best of all networks of the trial minus that of the best trained one."""
    kendall: float
    """Tau-b of the model's ranking with the accuracies of the networks that were not trained."""
    prior_kendall: float
    """The same of the training-free ranking alone."""
    forest_kendall: float
    """The same of a random forest of 100 trees, fitted to the same networks and scores."""


def simulate(
    known: Candidates, accuracies: Vector, *, strategy: str, budgets: Sequence[int], seed: int = 0
) -> list[Trial]:
    """Spend trainings by a strategy on a random share of the networks: a trial for each budget.

    Args:
        known: the candidates, different networks.
        accuracies: of all of them, float64, higher is better.
        strategy: one of `STRATEGIES`.
        budgets: numbers of trained networks.
        seed: of the share, of random choices and of the forest.

    Raises:
        PredictionError: a budget is less than 2, or would leave fewer than two networks.
    """
    share = np.random.default_rng(seed).permutation(len(known))[: int(SHARE * len(known))]
    most = len(share) - 2
    if not budgets or not all(2 <= budget <= most for budget in budgets):
        raise PredictionError(
            f"of {len(known)} networks with an accuracy each trial has {len(share)}; numbers to "
            f"train must lie in 2 to {most}, got {', '.join(map(str, budgets)) or 'none'}"
        )
    known, accuracies = known.take(share), accuracies[share]
    order = STRATEGIES[strategy](known, accuracies, max(budgets), seed)
    trials = []
    for budget in sorted(budgets):
        trained = order[:budget]
        rest = np.setdiff1d(np.arange(len(known)), trained)
        mean, _ = Model(known).predict(trained, accuracies[trained])
        forest = RandomForestRegressor(TREES, random_state=seed)
        inputs = np.column_stack([known.scores, known.prior])
        forest.fit(inputs[trained], accuracies[trained])
        trials.append(
            Trial(
                strategy,
                seed,
                budget,
                regret=float(accuracies.max() - accuracies[trained].max()),
                kendall=kendall(mean[rest], accuracies[rest]),
                prior_kendall=kendall(known.prior[rest], accuracies[rest]),
                forest_kendall=kendall(forest.predict(inputs[rest]), accuracies[rest]),
            )
        )
    return trials


def summary(trials: Sequence[Trial]) -> pd.DataFrame:
    """Means over seeds, with `std_` deviations (n - 1) of regret and tau: a row for each strategy
    and number of trained networks, in the order of the trials."""
    table = pd.DataFrame([vars(trial) for trial in trials])
    groups = table.groupby(["strategy", "trained"], sort=False)
    means = groups[["regret", "kendall", "prior_kendall", "forest_kendall"]].mean()
    deviations = groups[["regret", "kendall"]].std().add_prefix("std_")
    return means.join(deviations).assign(trials=groups.size()).reset_index()
