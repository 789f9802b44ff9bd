"""`search.enumerate` and `search.evolve`: their signatures and their documentation."""

from collections.abc import Sequence
from typing import Any

from vkdnw.search.api.callbacks import OnResult
from vkdnw.search.api.enumerating import enumerate_with
from vkdnw.search.api.evolving import evolve_with
from vkdnw.search.api.options import (
    PROCESSES,
    EnumerationOptions,
    EvolutionOptions,
    PathLike,
    SpaceLike,
)
from vkdnw.search.api.run import Run
from vkdnw.search.configuration import Convention, Dtype, Init, Mode
from vkdnw.search.evolution.search_plan import PAPER_KEYS, Opposed, SearchPlan, StrategyName
from vkdnw.search.progress import Progress


def enumerate(  # noqa: A001
    space: SpaceLike,
    out: PathLike,
    *,
    sample: int | None = None,
    all: bool = False,  # noqa: A002 - the word of the command line
    architectures: Sequence[str] = (),
    within: PathLike | None = None,
    sample_seed: int = 0,
    seeds: int = 1,
    proxies: str | Sequence[str] = "vkdnw",
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
    """Score architectures of a search space without training, and keep the scores in a folder.

    The same call continues a stopped run. More architectures, seeds or proxies may be requested
    at any time, and only missing values are computed.

    Args:
        space: a name (`nb201`), `module:class`, a class, or a space.
        out: the folder of the run, made if need be.
        sample: so many architectures drawn at random; a larger sample contains a smaller one.
        all: every architecture, of a space that can list them.
        architectures: these. One of the three says which.
        within: draw the sample from, or take all of, the architectures of this table of accuracies
            (as `Run.evaluate` takes it) of which one is known.
        sample_seed: of the sample.
        seeds: score under the seeds 0 to seeds - 1: each has its own weights and its own input.
        proxies: values to compute: names, an aggregate for its parts, or `all`.
        batch_size: images in a batch; 64.
        data: real images instead of standard normal input (a file or a folder).
        images: labelled images for the proxies that are defined on labels.
        scalars: over which scalars the Fisher matrix is taken: `first[:TENSORS]`,
            `spaced:COUNT[:TENSORS]`, `sampled[:TENSORS]`, `random:COUNT:SEED` or `every`.
        convention: `fisher`, or `released` for the numbers of the authors' code.
        smoothing: share of the uniform in the probabilities; 0.05.
        dtype: precision of the networks' passes; `float32`.
        init: how weights are drawn; `kaiming_normal`.
        mode: `auto`, `reverse` or `forward` derivatives.
        max_memory: of a worker's intermediate results: bytes, or a text such as `1GiB`.
        device: `cpu`, `cuda` (every GPU of the machine) or `cuda:N`.
        workers: processes; None for one for each usable core, 0 to score in this process. On a
            cluster, processes of each machine.
        task_timeout: seconds that a network may take before its worker process is ended and it
            counts as failed; None for no limit. Not for `workers=0`.
        executor: `processes` of this machine, or `ray`: every machine of the Ray cluster that
            RAY_ADDRESS names or that this machine belongs to; `ray:HOST:PORT` for another one.
        mixed: of a cluster, take also machines whose scores differ in the last bits.
        progress: False for none; or an object of one's own (`vkdnw.search.progress.Progress`).
        on_result: called with a :class:`Result` for every network scored, when it is on disk.
        **sizes: of the space (`channels=8`), and its subsets (`live=True`).

    Returns:
        The :class:`Run`, with everything that the folder holds.

    Raises:
        ArgumentError: a ValueError; an argument is refused, and nothing was begun.
        RunError: the run cannot go on: another configuration, a full disk, everything fails.
        Interrupted: Ctrl-C; finished results are on disk.
    """
    options = EnumerationOptions(
        space=space,
        out=out,
        sample=sample,
        all=all,
        architectures=architectures,
        within=within,
        sample_seed=sample_seed,
        seeds=seeds,
        proxies=proxies,
        batch_size=batch_size,
        data=data,
        images=images,
        scalars=scalars,
        convention=convention,
        smoothing=smoothing,
        dtype=dtype,
        init=init,
        mode=mode,
        max_memory=max_memory,
        device=device,
        workers=workers,
        task_timeout=task_timeout,
        executor=executor,
        mixed=mixed,
        progress=progress,
        on_result=on_result,
        sizes=sizes,
    )
    return Run(options.folder, enumerate_with(options))


def evolve(
    space: SpaceLike,
    out: PathLike,
    *,
    evaluations: int = SearchPlan.evaluations,
    flops: int | str | None = None,
    parameters: int | str | None = None,
    layers: int | None = None,
    depth: int | None = None,
    latency: float | None = None,
    latency_table: PathLike | None = None,
    latency_column: str | None = None,
    latency_fit: bool = False,
    rank_by: str | Sequence[str] = PAPER_KEYS,
    strategy: StrategyName = SearchPlan.strategy,
    pareto: Opposed | None = None,
    population: int = SearchPlan.population,
    tournament: int = SearchPlan.tournament,
    in_flight: int = SearchPlan.in_flight,
    seed: int = SearchPlan.seed,
    score_seed: int = SearchPlan.score_seed,
    seeds: int = SearchPlan.seeds,
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
    """Search a space by evolution, under budgets, and keep the scores in a folder.

    The same call goes on where it was stopped, and more evaluations may be asked for at any time.
    Children depend on the seeds and on results, not on the number of workers.

    Args:
        space: a name (`mobilenetv2`), `module:class`, a class, or a space.
        out: the folder of the run, made if need be.
        evaluations: networks to try, each once.
        flops: at most so many multiply-adds: a number, or a text such as `450M`.
        parameters: at most so many parameters: a number, or a text such as `4M`.
        layers: at most so many parameter tensors.
        depth: a bound on the depth, as the space defines it; None for the space's default.
        latency: at most so many milliseconds for one image, measured in a worker, or from a table.
        latency_table: a published table of a device's figures, or any with a column `arch` and
            milliseconds; latencies are then known before scoring. Networks that are not in it are
            left out.
        latency_column: of the table.
        latency_fit: predict the latencies of networks that are not in the table by a regression.
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
        Interrupted: Ctrl-C; finished results are on disk.
    """
    options = EvolutionOptions(
        space=space,
        out=out,
        evaluations=evaluations,
        flops=flops,
        parameters=parameters,
        layers=layers,
        depth=depth,
        latency=latency,
        latency_table=latency_table,
        latency_column=latency_column,
        latency_fit=latency_fit,
        rank_by=rank_by,
        strategy=strategy,
        pareto=pareto,
        population=population,
        tournament=tournament,
        in_flight=in_flight,
        seed=seed,
        score_seed=score_seed,
        seeds=seeds,
        batch_size=batch_size,
        data=data,
        images=images,
        scalars=scalars,
        convention=convention,
        smoothing=smoothing,
        dtype=dtype,
        init=init,
        mode=mode,
        max_memory=max_memory,
        device=device,
        workers=workers,
        task_timeout=task_timeout,
        executor=executor,
        mixed=mixed,
        progress=progress,
        on_result=on_result,
        sizes=sizes,
    )
    return Run(options.folder, evolve_with(options))
