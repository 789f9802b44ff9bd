"""The networks of a run as rows for a model fitted to few accuracies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from vkdnw.search.prediction.feature_groups import FeatureError
from vkdnw.search.prediction.train_next import (
    Candidates,
    Model,
    Vector,
    candidates,
    next_to_train,
)
from vkdnw.search.rankings.aggregation import NAMED
from vkdnw.search.rankings.best_networks import Ranked, rank
from vkdnw.search.rankings.metrics import fill_undefined
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.tasks import Evaluation

PREFERRED = ("residual_agg", "consensus_agg", "flow_agg", "vkdnw_agg", "az_nas", "single")
"""The ranking of the networks before any is trained: the first of these on record."""


@dataclass(frozen=True)
class Networks:
    """Different networks, the best by a training-free ranking first."""

    by: str
    """The ranking of the networks."""
    features: pd.DataFrame
    """Finite float64, a row per network, indexed by architecture: every value that all have."""
    prior: pd.Series
    """The training-free ranking, finite, higher is better; the same index."""
    equal: dict[str, tuple[str, ...]]
    """Architectures on record that are the same network, by that of the row."""

    def accuracies(self, truth: "pd.Series[float]") -> "pd.Series[float]":
        """The mean accuracy of each network under its strings; NaN where none is known."""
        row_of = {one: arch for arch, equal in self.equal.items() for one in (arch, *equal)}
        means = truth.groupby(truth.index.map(row_of)).mean()
        return means.reindex(self.features.index).astype(np.float64)

    def trained(self, truth: "pd.Series[float]") -> tuple[Candidates, Vector]:
        """Those with an accuracy as `Candidates`, and their accuracies."""
        accuracies = self.accuracies(truth).dropna()
        rows = self.prior.index.get_indexer(accuracies.index)
        return candidates(self.features, self.prior).take(rows), _numbers(accuracies)


def networks_of(
    evaluations: Sequence[Evaluation], space: SearchSpace | None = None, by: str | None = None
) -> Networks:
    """The networks on record that have the ranking asked for.

    Args:
        evaluations: of a run, or read from a table.
        space: finds equal networks among architectures that a table has as strings only.
        by: a value, an aggregate's name, or an aggregate written out; the first of `PREFERRED`.

    Raises:
        FeatureError: no network is on record, or none has the ranking.
        ValueError: nothing is called `by`.
    """
    if space is not None:
        evaluations = [replace(one, network=space.canonical(one.network)) for one in evaluations]
    by = by or _preferred(evaluations)
    name = by.partition("=")[0].strip()
    rows = [row for row in rank(evaluations, by) if name in row.values]  # noqa: PD011
    if not rows:
        raise FeatureError(f"no network has all that {name} needs")
    return Networks(
        name,
        features=_features(rows, _recorded(evaluations)),
        prior=_filled(pd.Series({row.architecture: row.values[name] for row in rows})),  # noqa: PD011
        equal={row.architecture: row.equal for row in rows},
    )


def _preferred(evaluations: Sequence[Evaluation]) -> str:
    on_record = _recorded(evaluations)
    for name in PREFERRED:
        parts = NAMED[name].parts if name in NAMED else (name,)
        if set(parts).issubset(on_record):
            return name
    raise FeatureError(
        f"none of {', '.join(PREFERRED)} is on record; name a value to rank by: "
        f"{', '.join(on_record) or 'there is none'}"
    )


def _features(rows: Sequence[Ranked], recorded: Iterable[str]) -> pd.DataFrame:
    """The recorded values that every row has."""
    names = [name for name in recorded if all(name in row.values for row in rows)]  # noqa: PD011
    table = pd.DataFrame([row.values for row in rows], [row.architecture for row in rows])  # noqa: PD011
    return table[names].apply(_filled)


def _recorded(evaluations: Iterable[Evaluation]) -> list[str]:
    return sorted({name for one in evaluations for name in one.values})  # noqa: PD011


def _numbers(column: "pd.Series[float]") -> Vector:
    return np.asarray(column.to_numpy(np.float64), np.float64)


def _filled(column: "pd.Series[float]") -> "pd.Series[float]":
    return pd.Series(fill_undefined(_numbers(column)), column.index)


def next_networks(networks: Networks, truth: "pd.Series[float]", count: int) -> pd.DataFrame:
    """The networks to train next at once, of those whose accuracy is not known.

    Args:
        networks: of a run.
        truth: accuracies of those that are trained, indexed by architecture, higher is better; none
            is a beginning.
        count: how many.

    Returns:
        Indexed by architecture, the first to train first: `order` from 1, `predicted_rank` among
        all networks given the accuracies, and `prior_rank` without them, 1 the best.
    """
    known = candidates(networks.features, networks.prior)
    accuracies = _numbers(networks.accuracies(truth))
    trained = np.flatnonzero(~np.isnan(accuracies))
    chosen = next_to_train(known, trained, accuracies[trained], count)
    predicted, _ = Model(known).predict(trained, accuracies[trained])
    ranks = {"predicted_rank": predicted, "prior_rank": known.prior}
    table = pd.DataFrame(
        {name: rankdata(-values, method="min") for name, values in ranks.items()},
        networks.features.index,
    ).iloc[chosen]
    table.insert(0, "order", np.arange(1, len(table) + 1))
    return table
