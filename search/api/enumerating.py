"""`search.enumerate`: score architectures of a space, all or some, and keep the scores."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vkdnw.search.api.finished import is_finished
from vkdnw.search.api.going import OnResult, Telling, go
from vkdnw.search.api.run import Run
from vkdnw.search.api.setup import (
    PROCESSES,
    PathLike,
    Setup,
    SpaceLike,
    refused_arguments,
    set_up,
    split_subset,
    text_of,
)
from vkdnw.search.configuration import Convention, Dtype, Init, Mode, Settings
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.evaluation import Asked
from vkdnw.search.progress import Progress
from vkdnw.search.spaces.search_space import figures
from vkdnw.search.spaces.selection import Selection, describe
from vkdnw.search.values import check_inputs, resolve


def enumerate(  # noqa: A001 - what it does
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

    The same call goes on where it was stopped; more architectures, seeds or proxies may be asked
    for at any time, and only what is missing is computed.

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
        convention: `fisher`, or `released` for what the authors' code computes.
        smoothing: share of the uniform in the probabilities; 0.05.
        dtype: precision of the networks' passes; `float32`.
        init: how weights are drawn; `kaiming_normal`.
        mode: `auto`, `reverse` or `forward` derivatives.
        max_memory: of a worker's intermediate results: bytes, or a text such as `1GiB`.
        device: `cpu`, `cuda` (every GPU of the machine) or `cuda:N`.
        workers: processes; None for one for each usable core, 0 to score in this process. On a
            cluster, processes of each machine.
        task_timeout: seconds that a network may take before its worker process is ended and it
            counts as failed; None for as long as it wants. Not for `workers=0`.
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
        Interrupted: Ctrl-C; what was finished is on disk.
    """
    out = Path(out)
    text = proxies if isinstance(proxies, str) else ",".join(proxies)
    with refused_arguments():
        own_sizes, subset = split_subset(space, sizes)
        setup = set_up(
            space,
            own_sizes,
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
        selection = Selection(sample, sample_seed, all, tuple(architectures), subset)
        if within is not None:
            from vkdnw.search.rankings.truth import known_architectures

            selection = selection.within(known_architectures(within, setup.space), setup.space)
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {seeds}")
        settings = {
            **setup.settings(),
            "architectures": str(selection),
            "seeds": seeds,
            "proxies": text,
        }
        if is_finished(out, settings):
            return Run(out, setup.space)
        request = _request(out, setup, settings, selection, text, seeds)
    if on_result is not None:
        request = replace(request, on_result=_telling(on_result, setup, request.asked))
    go(out, lambda shown, interruption: score_all(request, shown, interruption), progress)
    return Run(out, setup.space)


def _request(
    out: Path,
    setup: Setup,
    settings: Settings,
    selection: Selection,
    proxies: str,
    seeds: int,
) -> Request:
    """What is to be scored, and by what. Raises ValueError for what is wrong with it."""
    names = resolve(proxies)
    check_inputs(names, setup.configuration.images is not None)
    asked = describe(selection.architectures(setup.space), setup.space)
    session = setup.session(out, settings, range(seeds), names)
    return Request(**vars(session), asked=asked, names=names)


def _telling(callback: OnResult, setup: Setup, asked: Sequence[Asked]) -> Telling:
    by_network: defaultdict[str, list[str]] = defaultdict(list)
    for one in asked:
        by_network[one.network].append(one.architecture)

    def counts(network: str) -> Mapping[str, float]:
        return figures(setup.space.cost(by_network[network][0]))

    return Telling(callback, counts, by_network)
