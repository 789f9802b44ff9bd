"""The arguments of `search.enumerate` and `search.evolve`, as data.

The public functions spell them out and document them; everything behind them takes one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from vkdnw.search.api.callbacks import OnResult
from vkdnw.search.configuration import Configuration, Convention, Dtype, Init, Mode
from vkdnw.search.evolution.search_plan import PAPER_KEYS, Opposed, SearchPlan, StrategyName
from vkdnw.search.progress import Progress
from vkdnw.search.spaces.search_space import SearchSpace

SpaceLike = str | type[Any] | SearchSpace
"""A name, `module:class`, a class, or a space."""
PathLike = str | Path
PROCESSES = "processes"
"""The executor of one machine."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The arguments that both functions take; :func:`vkdnw.search.enumerate` documents each."""

    space: SpaceLike
    out: PathLike
    batch_size: int | None = None
    data: PathLike | None = None
    images: PathLike | None = None
    scalars: str | None = None
    convention: Convention | None = None
    smoothing: float | None = None
    dtype: Dtype | None = None
    init: Init | None = None
    mode: Mode | None = None
    max_memory: int | str | None = None
    device: str = "cpu"
    workers: int | None = None
    task_timeout: float | None = None
    executor: str = PROCESSES
    mixed: bool = False
    progress: Progress | bool = True
    on_result: OnResult | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """Of the space; an enumeration's name its subsets too."""

    @property
    def folder(self) -> Path:
        """The run's."""
        return Path(self.out)


@dataclass(frozen=True, kw_only=True)
class EnumerationOptions(SearchOptions):
    """The arguments of :func:`vkdnw.search.enumerate`."""

    sample: int | None = None
    all: bool = False
    architectures: Sequence[str] = ()
    within: PathLike | None = None
    sample_seed: int = 0
    seeds: int = 1
    proxies: str | Sequence[str] = "vkdnw"


@dataclass(frozen=True, kw_only=True)
class EvolutionOptions(SearchOptions):
    """The arguments of :func:`vkdnw.search.evolve`, which documents them."""

    evaluations: int = SearchPlan.evaluations
    flops: int | str | None = None
    parameters: int | str | None = None
    layers: int | None = None
    depth: int | None = None
    latency: float | None = None
    latency_table: PathLike | None = None
    latency_column: str | None = None
    latency_fit: bool = False
    rank_by: str | Sequence[str] = PAPER_KEYS
    strategy: StrategyName = SearchPlan.strategy
    pareto: Opposed | None = None
    population: int = SearchPlan.population
    tournament: int = SearchPlan.tournament
    in_flight: int = SearchPlan.in_flight
    seed: int = SearchPlan.seed
    score_seed: int = SearchPlan.score_seed
    seeds: int = SearchPlan.seeds


def names_of(kind: type[SearchOptions]) -> frozenset[str]:
    """The names of the arguments, without those of sizes."""
    return frozenset(one.name for one in fields(kind)) - {"sizes"}


ONLY_EVOLUTION = names_of(EvolutionOptions) - names_of(EnumerationOptions)
"""Arguments that only `evolve` has."""

RESERVED = frozenset(
    {
        *names_of(EnumerationOptions),
        *names_of(EvolutionOptions),
        *(one.name for one in fields(Configuration)),
        *SearchPlan().settings(),
        *("space_from", "arch", "evolve", "latency_file", "kernels"),
    }
) - {"space"}  # among the settings of a space, its name
"""Arguments of a search and settings of a run, which a space cannot have as names of sizes."""

O = TypeVar("O", bound=SearchOptions)  # noqa: E741


def options_of(kind: type[O], arguments: Mapping[str, Any]) -> O:
    """The options of a call by keywords; those that are no argument are sizes of the space."""
    names = names_of(kind)
    own = {name: value for name, value in arguments.items() if name in names}
    sizes = {name: value for name, value in arguments.items() if name not in names}
    return kind(**own, sizes=sizes)


def joined(names: str | Sequence[str]) -> str:
    """Names as the list with commas that a run records."""
    return names if isinstance(names, str) else ",".join(names)
