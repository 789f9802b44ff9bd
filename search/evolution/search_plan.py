"""The plan of a search: its ranking, its breeding, its budget."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from vkdnw.search.configuration import Json
from vkdnw.search.evolution.budget import Budget

if TYPE_CHECKING:
    from vkdnw.search.evolution.strategy import Strategy

StrategyName = Literal["evolution", "ageing", "random"]
Opposed = Literal["flops", "parameters", "latency"]

COSTS = ("flops", "parameters", "layers", "depth")
"""Keys that an architecture's string tells; every other key is a value that is computed."""
PAPER_KEYS = ("flops", "expressivity", "progressivity", "trainability", "vkdnw")
"""The ranking of the paper's search in the MobileNetV2 space; FLOPs are its complexity."""


@dataclass(frozen=True)
class SearchPlan:
    """A search, apart from its space and from how networks are scored.

    Raises ValueError for fields that make no search.
    """

    evaluations: int = 1000
    """Distinct networks that are tried, failed ones included. More may be asked for later."""
    budget: Budget = field(default_factory=Budget)
    keys: tuple[str, ...] = PAPER_KEYS
    """The values that are ranked, higher is better; the aggregate is the sum of logarithms of
    ranks."""
    strategy: StrategyName = "evolution"
    pareto: Opposed | None = None
    """Seek the front of the aggregate against this cost, instead of the best aggregate. The cost
    is then not ranked."""
    population: int = 64
    tournament: int = 8
    """How many are drawn for a parent of ageing evolution."""
    in_flight: int = 16
    """Child i is bred from children 0 .. i - in_flight, so that many are scored at once. The
    result depends on it, and not on the number of workers."""
    seed: int = 0
    """Of the breeding."""
    latency_told: bool = False
    """Whether latencies come with the costs, from a table, and are not measured."""
    score_seed: int = 0
    """Of weights and inputs: searches that share it have comparable scores."""
    seeds: int = 1
    """Every network is scored under `score_seed` and so many seeds in all; means are ranked."""

    def __post_init__(self) -> None:
        for name, least in (("evaluations", 1), ("population", 2), ("tournament", 1), ("seeds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, got {self.in_flight}")
        if not self.ranked:
            raise ValueError(f"nothing is left to rank by; keys are {', '.join(self.keys)}")
        if len(set(self.keys)) < len(self.keys):
            raise ValueError(f"every key is ranked once; got {', '.join(self.keys)}")
        if self.pareto and self.strategy != "evolution":
            raise ValueError(f"a Pareto front is sought by evolution, not by {self.strategy!r}")

    @property
    def ranked(self) -> tuple[str, ...]:
        """The keys of the aggregate."""
        return tuple(key for key in self.keys if key != self.pareto)

    @property
    def score_seeds(self) -> range:
        """The seeds under which every network is scored."""
        return range(self.score_seed, self.score_seed + self.seeds)

    @property
    def names(self) -> tuple[str, ...]:
        """The values to compute for each network."""
        told = (*COSTS, "latency") if self.latency_told else COSTS
        measured = self.budget.latency is not None or self.pareto == "latency"
        measured = measured and not self.latency_told
        computed = tuple(key for key in self.ranked if key not in told)
        return (*computed, "latency") if measured and "latency" not in computed else computed

    def settings(self) -> dict[str, Json]:
        """As a run records it."""
        return {
            "strategy": self.strategy,
            "keys": ",".join(self.keys),
            "pareto": self.pareto,
            "population": self.population,
            "tournament": self.tournament,
            "in_flight": self.in_flight,
            "search_seed": self.seed,
            "score_seed": self.score_seed,
            "evaluations": self.evaluations,
            **({} if self.seeds == 1 else {"score_seeds": self.seeds}),
            **self.budget.settings(),
        }

    def begin(self) -> "Strategy":
        """The strategy, with nothing shown to it yet."""
        from vkdnw.search.evolution.strategy import Ageing, Pareto, RandomSearch, SteadyState

        if self.pareto:
            return Pareto(self.population)
        if self.strategy == "ageing":
            return Ageing(len(self.ranked), self.population, self.tournament)
        if self.strategy == "random":
            return RandomSearch()
        return SteadyState(len(self.ranked), self.population)
