"""The networks of a search in the order of their numbers, and which are best."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vkdnw.search.configuration import Json, own_code
from vkdnw.search.errors import StoreError
from vkdnw.search.evolution.mean_over_seeds import means
from vkdnw.search.evolution.pareto import front
from vkdnw.search.rankings.aggregation import log_rank_sum
from vkdnw.search.state.results import Tally, open_results


@dataclass(frozen=True)
class History:
    """The networks that a search has scored; failed ones are in the tally alone."""

    settings: dict[str, Json]
    """Of the run."""
    table: pd.DataFrame
    """A row for each network: `architecture`, the counts of its string and its values."""
    tally: Tally
    own_code: Mapping[str, str] = field(default_factory=dict)
    """Where the space and the proxies come from that are not of this package."""

    @property
    def ranked(self) -> tuple[str, ...]:
        """The values that the aggregate is made of."""
        keys = str(self.settings["keys"]).split(",")
        return tuple(key for key in keys if key != self.settings["pareto"])

    @property
    def within_budget(self) -> "pd.Series[bool]":
        """False where a network was measured to be over the budget."""
        bound = self.settings["budget_latency"]
        if bound is None:
            return pd.Series(True, index=self.table.index)
        return self.table["latency"] <= bound

    def aggregates(self) -> pd.Series:
        """The sum of ``log(rank / n)`` over the ranked values: at most 0, higher is better.

        Ranks are among all networks of the search that are within the budget, so an aggregate
        belongs to a set of networks; the others are NaN.
        """
        return aggregate(self.table[self.within_budget], self.ranked).reindex(self.table.index)

    def in_order(self) -> pd.DataFrame:
        """The table with `aggregate`, `best_so_far` and `within_budget`, and with `front` where a
        Pareto front is sought."""
        if self.table.empty:
            return self.table
        scores = self.aggregates()
        table = self.table.assign(
            aggregate=scores, best_so_far=scores.cummax().ffill(), within_budget=self.within_budget
        )
        cost = self.settings["pareto"]
        if cost:
            table["front"] = table.index.isin(self.pareto_front(str(cost)).index)
        return table

    def best(self) -> str:
        """The architecture with the highest aggregate, of equals the oldest.

        Raises StoreError where nothing within the budget has been scored.
        """
        scores = self.aggregates().to_numpy(np.float64)
        if np.isnan(scores).all():
            raise StoreError("no network of this search has been scored within the budget yet")
        return str(self.table["architecture"].iloc[int(np.nanargmax(scores))])

    def pareto_front(self, cost: str) -> pd.DataFrame:
        """The rows that none betters in both the aggregate and the cost, cheapest first."""
        scores = self.aggregates()
        benefit = -self.table[cost].to_numpy(np.float64)
        return self.table.iloc[front(scores.to_numpy(np.float64), benefit)]


def load(folder: Path) -> History:
    """Read the history of the search in `folder`, also while it is going on.

    Raises StoreError where there is no run, or one that is no search.
    """
    with open_results(folder) as results:
        settings, tally = results.configuration(), results.tally()
        own = own_code(results.versions())
        found: dict[str, list[Mapping[str, float]]] = {}
        for one in results.evaluations():
            found.setdefault(one.architecture, []).append(one.values)
    if "strategy" not in settings:
        raise StoreError(f"{folder} holds scores of listed architectures, not a search")
    seeds = settings.get("score_seeds", 1)
    rows = [
        {"architecture": architecture, **means(values)}
        for architecture, values in found.items()
        if len(values) == seeds
    ]
    return History(settings, pd.DataFrame(rows), tally, own)


def aggregate(table: pd.DataFrame, keys: tuple[str, ...]) -> pd.Series:
    """The sum of ``log(rank / n)`` over the keys, among the rows of the table; NaN counts as -inf.

    To compare searches, give the rows of all of them: ranks are then among one reference set.
    """
    if table.empty:
        return pd.Series(dtype=np.float64)
    filled = table[list(keys)].fillna(-np.inf)
    sums: pd.Series = log_rank_sum(filled, dict.fromkeys(keys, 1.0))
    return sums.sub(len(keys) * float(np.log(len(table))))
