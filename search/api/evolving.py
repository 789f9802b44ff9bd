"""`search.evolve`: breed architectures of a space under budgets, and keep what was found."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from vkdnw.search.api.finished import is_finished
from vkdnw.search.api.going import OnResult, Telling, go
from vkdnw.search.api.run import Run
from vkdnw.search.api.setup import (
    PROCESSES,
    PathLike,
    Setup,
    SpaceLike,
    defaults,
    refused_arguments,
    set_up,
    text_of,
)
from vkdnw.search.configuration import Convention, Dtype, Init, Mode, Settings
from vkdnw.search.evaluation import Scored, Task
from vkdnw.search.evolution import latency_table as latency_tables
from vkdnw.search.evolution.budget import Budget, parse_count
from vkdnw.search.evolution.latency import LATENCY, TimedScorer
from vkdnw.search.evolution.latency_table import LatencyTable
from vkdnw.search.evolution.plan import PAPER_KEYS, Opposed, Plan, StrategyName
from vkdnw.search.evolution.run import SearchRequest, search
from vkdnw.search.progress import Progress
from vkdnw.search.spaces.search_space import figures
from vkdnw.search.values import check_inputs, ranked_parts

if TYPE_CHECKING:
    from vkdnw.search.scoring import Scorer


def evolve(
    space: SpaceLike,
    out: PathLike,
    *,
    evaluations: int = Plan.evaluations,
    flops: int | str | None = None,
    parameters: int | str | None = None,
    layers: int | None = None,
    depth: int | None = None,
    latency: float | None = None,
    latency_table: PathLike | None = None,
    latency_column: str | None = None,
    latency_fit: bool = False,
    rank_by: str | Sequence[str] = PAPER_KEYS,
    strategy: StrategyName = Plan.strategy,
    pareto: Opposed | None = None,
    population: int = Plan.population,
    tournament: int = Plan.tournament,
    in_flight: int = Plan.in_flight,
    seed: int = Plan.seed,
    score_seed: int = Plan.score_seed,
    seeds: int = Plan.seeds,
    batch_size: int | None = None,
    data: PathLike | None = None,
    images: PathLike | None = None,
    scalars: str | None = None,
    convention: Convention | None = None,
    smoothing: float | None = None,
    dtype: Dtype | None = None,
    init: Init | None = None,
    mode: Mode | None = None,
    max_memory: int | str | None = None,
    device: str = "cpu",
    workers: int | None = None,
    task_timeout: float | None = None,
    executor: str = PROCESSES,
    mixed: bool = False,
    progress: Progress | bool = True,
    on_result: OnResult | None = None,
    **sizes: Any,
) -> Run:
    """Search a space by evolution, under budgets, and keep what was scored in a folder.

    The same call goes on where it was stopped, and more evaluations may be asked for at any time.
    Children depend on the seeds and on results, not on the number of workers.

    Args:
        space: a name (`mobilenetv2`), `module:class`, a class, or a space.
        out: the folder of the run, made if need be.
        evaluations: networks to try, each once.
        flops: at most so many multiply-adds: a number, or a text such as `450M`.
        parameters: at most so many parameters: a number, or a text such as `4M`.
        layers: at most so many parameter tensors.
        depth: at most so many of what the space calls its depth; None for the space's default.
        latency: at most so many milliseconds for one image, measured in a worker, or from a table.
        latency_table: a published table of a device's figures, or any with a column `arch` and
            milliseconds; latencies are then known before scoring. Networks that are not in it are
            left out.
        latency_column: of the table.
        latency_fit: let a regression fitted to the table stand in for networks that are not in it.
        rank_by: the values whose logarithms of ranks are summed, or an aggregate (`flow_agg`).
        strategy: the paper's steady-state `evolution`, `ageing` evolution, or `random` search.
        pareto: seek the front of the aggregate against this cost, instead of one best network.
        population: parents are among so many best.
        tournament: drawn for a parent of ageing evolution.
        in_flight: child i is bred from children 0 to i - in_flight, so that many can be scored at
            once. The result depends on it.
        seed: of the breeding.
        score_seed: of weights and inputs.
        seeds: score every network under so many seeds, from `score_seed` on; means are ranked.
        **sizes: of the space (`target_resolution=192`).

    The others (`batch_size`, `data`, `images`, `scalars`, `convention`, `smoothing`, `dtype`,
    `init`, `mode`, `max_memory`, `device`, `workers`, `task_timeout`, `executor`, `mixed`,
    `progress`, `on_result`) are those of :func:`vkdnw.search.enumerate`.

    Returns:
        The :class:`Run`, with everything that the folder holds.

    Raises:
        ArgumentError: a ValueError; an argument is refused, and nothing was begun.
        RunError: the run cannot go on: another configuration, a full disk, everything fails.
        Interrupted: Ctrl-C; what was finished is on disk.
    """
    out = Path(out)
    with refused_arguments():
        setup = set_up(
            space,
            sizes,
            device,
            workers,
            max_memory,
            executor,
            mixed,
            task_timeout,
            batch_size=batch_size,
            data=text_of(data),
            images=text_of(images),
            scalars=scalars,
            convention=convention,
            smoothing=smoothing,
            dtype=dtype,
            init=init,
            mode=mode,
        )
        table = _latencies(setup, latency_table, latency_column, latency_fit)
        plan = Plan(
            evaluations=evaluations,
            budget=Budget(
                flops=_count(flops),
                parameters=_count(parameters),
                layers=layers,
                depth=defaults(setup.space).get("depth") if depth is None else depth,
                latency=None if latency is None else latency / 1000,
            ),
            keys=ranked_parts(rank_by if isinstance(rank_by, str) else ",".join(rank_by)),
            strategy=strategy,
            pareto=pareto,
            population=population,
            tournament=tournament,
            in_flight=in_flight,
            seed=seed,
            score_seed=score_seed,
            latency_told=table is not None,
            seeds=seeds,
        )
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
        if is_finished(out, settings, evaluations * seeds):
            return Run(out, setup.space)
        request = _request(out, setup, plan, settings)
    if table is not None:
        request = replace(request, cost=table.teller(setup.space), note=_note(setup, table))
    if on_result is not None:
        request = replace(request, on_result=_telling(on_result, setup))
    go(out, lambda shown, interruption: search(request, shown, interruption), progress)
    return Run(out, setup.space)


def _request(
    out: Path,
    setup: Setup,
    plan: Plan,
    settings: Settings,
) -> SearchRequest:
    """What is to be searched, and by what scored. Raises ValueError for what is wrong with it."""
    from vkdnw.proxies.registry import proxy  # it loads torch

    proxies = tuple(name for name in plan.names if name != LATENCY)
    for name in proxies:
        proxy(name)
    check_inputs(proxies, setup.configuration.images is not None)
    session = setup.session(out, settings, plan.score_seeds, plan.names, _finish(setup, plan))
    return SearchRequest(
        **vars(session), space=setup.space, plan=plan, founder=_founder(setup, plan)
    )


def _latencies(
    setup: Setup, path: PathLike | None, column: str | None, fit: bool
) -> LatencyTable | None:
    """The table of latencies, if one is named. Raises ValueError."""
    if path is None:
        if column is not None or fit:
            raise ValueError("latency_column and latency_fit are of a latency_table; name one")
        return None
    if column is None:
        raise ValueError(f"latency_table={str(path)!r}: name one of its columns as latency_column")
    table = latency_tables.load(path, column, setup.space, fit=fit)
    random = Random(0)
    latency_tables.check_covers(table, lambda: setup.space.sample(random), setup.space)
    return table


def _note(setup: Setup, table: LatencyTable | None) -> str | None:
    """What the user should know of how it is run."""
    if table is None or table.fitted is None:
        return setup.note
    fitted = (
        f"latencies of networks that are not among the {len(table.seconds):,} of the table are "
        f"predicted: the median error on rows that were held out is {table.fitted.error:.1%}"
    )
    return "; ".join(filter(None, (setup.note, fitted)))


def _count(text: int | str | None) -> int | None:
    return parse_count(text) if isinstance(text, str) else text


def _founder(setup: Setup, plan: Plan) -> Callable[[Any], str]:
    """The paper's evolution begins where the space says; other strategies at samples."""
    begins: Callable[[Any], str] = (
        getattr(setup.space, "founder", setup.space.sample)
        if plan.strategy == "evolution"
        else setup.space.sample
    )
    return begins


def _finish(setup: Setup, plan: Plan) -> Callable[["Scorer"], Callable[[Task], Scored]]:
    """What makes the function of a worker: it measures latencies too where they count."""
    side = getattr(setup.space, "target_resolution", setup.space.resolution)

    def finish(scorer: "Scorer") -> Callable[[Task], Scored]:
        if LATENCY not in plan.names:
            return scorer
        return TimedScorer(scorer, setup.space, side, plan.budget.latency)

    return finish


def _telling(callback: OnResult, setup: Setup) -> Telling:
    return Telling(callback, lambda network: figures(setup.space.cost(network)))
