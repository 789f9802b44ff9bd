"""From the options of `search.evolve` to a search on disk."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from vkdnw.search.api.callbacks import ResultCallback
from vkdnw.search.api.interruptible import interruptible
from vkdnw.search.api.options import EvolutionOptions, joined
from vkdnw.search.api.scoring_setup import Setup, defaults, set_up
from vkdnw.search.api.up_to_date import is_up_to_date
from vkdnw.search.configuration import Settings
from vkdnw.search.errors import argument_errors
from vkdnw.search.evolution import latency_table as latency_tables
from vkdnw.search.evolution.budget import Budget, parse_count
from vkdnw.search.evolution.latency import LATENCY, TimedScorer
from vkdnw.search.evolution.latency_table import LatencyTable
from vkdnw.search.evolution.run import SearchRequest, search
from vkdnw.search.evolution.search_plan import SearchPlan
from vkdnw.search.requested_values import check_inputs, ranked_parts
from vkdnw.search.spaces.search_space import SearchSpace, figures
from vkdnw.search.tasks import Scored, Task

if TYPE_CHECKING:
    from vkdnw.search.scoring import Scorer


def evolve_with(options: EvolutionOptions) -> SearchSpace:
    """Search with the options, and return the space.

    Raises as :func:`vkdnw.search.evolve` does.
    """
    with argument_errors():
        setup = set_up(options)
        table = _latencies(options, setup.space)
        plan = _plan(options, setup.space, latency_told=table is not None)
        if setup.address is not None and LATENCY in plan.names:
            raise ValueError(
                "latency: a worker measures it on its machine, so that times of several machines "
                "would be compared; leave out executor='ray'"
            )
        settings = {
            **setup.settings(),
            **plan.settings(),
            **({} if table is None else table.settings()),
        }
        if is_up_to_date(options.folder, settings, plan.evaluations * plan.seeds):
            return setup.space
        request = _request(options, setup, plan, settings)
    if table is not None:
        request = replace(request, cost=table.teller(setup.space), note=_note(setup, table))
    if options.on_result is not None:
        callback = ResultCallback(
            options.on_result, lambda network: figures(setup.space.cost(network))
        )
        request = replace(request, on_result=callback)
    interruptible(options.folder, partial(search, request), options.progress)
    return setup.space


def _plan(options: EvolutionOptions, space: SearchSpace, latency_told: bool) -> SearchPlan:
    """Raises ValueError for arguments that make no search."""
    depth, latency = options.depth, options.latency
    return SearchPlan(
        evaluations=options.evaluations,
        budget=Budget(
            flops=_count(options.flops),
            parameters=_count(options.parameters),
            layers=options.layers,
            depth=defaults(space).get("depth") if depth is None else depth,
            latency=None if latency is None else latency / 1000,
        ),
        keys=ranked_parts(joined(options.rank_by)),
        strategy=options.strategy,
        pareto=options.pareto,
        population=options.population,
        tournament=options.tournament,
        in_flight=options.in_flight,
        seed=options.seed,
        score_seed=options.score_seed,
        latency_told=latency_told,
        seeds=options.seeds,
    )


def _request(
    options: EvolutionOptions, setup: Setup, plan: SearchPlan, settings: Settings
) -> SearchRequest:
    """The search, and the scorers of its networks. Raises ValueError for a proxy."""
    from vkdnw.proxies.registry import proxy  # it loads torch

    proxies = tuple(name for name in plan.names if name != LATENCY)
    for name in proxies:
        proxy(name)
    check_inputs(proxies, setup.configuration.images is not None)
    session = setup.session(
        options.folder, settings, plan.score_seeds, plan.names, _finish(setup, plan)
    )
    return SearchRequest(
        **vars(session), space=setup.space, plan=plan, founder=_founder(setup, plan)
    )


def _latencies(options: EvolutionOptions, space: SearchSpace) -> LatencyTable | None:
    """The table of latencies, if one is named. Raises ValueError."""
    path, column, fit = options.latency_table, options.latency_column, options.latency_fit
    if path is None:
        if column is not None or fit:
            raise ValueError("latency_column and latency_fit are of a latency_table; name one")
        return None
    if column is None:
        raise ValueError(f"latency_table={str(path)!r}: name one of its columns as latency_column")
    table = latency_tables.load(path, column, space, fit=fit)
    random = Random(0)
    latency_tables.check_covers(table, lambda: space.sample(random), space)
    return table


def _note(setup: Setup, table: LatencyTable | None) -> str | None:
    """A remark on the run for the user."""
    if table is None or table.fitted is None:
        return setup.note
    fitted = (
        f"latencies of networks that are not among the {len(table.seconds):,} of the table are "
        f"predicted: the median error on rows that were held out is {table.fitted.error:.1%}"
    )
    return "; ".join(filter(None, (setup.note, fitted)))


def _count(text: int | str | None) -> int | None:
    return parse_count(text) if isinstance(text, str) else text


def _founder(setup: Setup, plan: SearchPlan) -> Callable[[Any], str]:
    """The paper's evolution begins with the space's founder; other strategies with samples."""
    begins: Callable[[Any], str] = (
        getattr(setup.space, "founder", setup.space.sample)
        if plan.strategy == "evolution"
        else setup.space.sample
    )
    return begins


def _finish(setup: Setup, plan: SearchPlan) -> Callable[["Scorer"], Callable[[Task], Scored]]:
    """Makes a worker's function from a scorer; it also measures latencies if they are bounded."""
    side = getattr(setup.space, "target_resolution", setup.space.resolution)

    def finish(scorer: "Scorer") -> Callable[[Task], Scored]:
        if LATENCY not in plan.names:
            return scorer
        return TimedScorer(scorer, setup.space, side, plan.budget.latency)

    return finish
