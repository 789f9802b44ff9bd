"""`search.estimate`: the work, the time and the disk space of a call.

Nothing is written to the run: two of its networks are scored in a temporary folder.
"""

import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from vkdnw.search.api.enumerating import enumerate_with, set_up_enumeration
from vkdnw.search.api.options import (
    ONLY_EVOLUTION,
    PROCESSES,
    EnumerationOptions,
    EvolutionOptions,
    PathLike,
    SearchOptions,
    SpaceLike,
    joined,
    options_of,
)
from vkdnw.search.api.scoring_setup import Setup, set_up
from vkdnw.search.errors import argument_errors
from vkdnw.search.requested_values import ranked_parts, resolve
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.database import STATE_NAME
from vkdnw.search.state.results import open_results

BYTES_OF_A_TASK, BYTES_OF_A_VALUE, BYTES_OF_AN_ARCHITECTURE = 450, 110, 350
"""In the state of a run on disk, without spectra, which take 8 bytes a number."""
DECILES = 9


@dataclass(frozen=True)
class Estimate:
    """The size of a call."""

    architectures: int
    networks: int
    """Different ones; equal architectures are scored once."""
    seeds: int
    tasks: int
    """Networks under seeds."""
    done: int
    """Those on record already."""
    values: tuple[str, ...]
    workers: int
    seconds_each: float
    """Of a worker for a network, the mean of two."""
    bytes: int
    """That the run's state will take in all."""

    @property
    def seconds(self) -> float:
        """That the rest takes, start-up apart."""
        return (self.tasks - self.done) * self.seconds_each / max(1, self.workers)

    def __str__(self) -> str:
        return (
            f"{self.architectures:,} architectures, {self.networks:,} different networks, "
            f"{self.seeds} seed(s): {self.tasks:,} to score, {self.done:,} of them on record\n"
            f"values: {', '.join(self.values)}\n"
            f"about {self.seconds_each:.2f} s a network (two were measured), {self.workers} "
            f"worker(s): about {_duration(self.seconds)}\n"
            f"disk: about {self.bytes / 1e6:.1f} MB"
        )


def estimate(space: SpaceLike, out: PathLike, **arguments: Any) -> Estimate:
    """The work of `enumerate` with these arguments, or of `evolve` where one is its own.

    Scores two networks in this process to measure their time, and keeps nothing.

    Raises ArgumentError as they do.
    """
    arguments = {**arguments, "space": space, "out": out}
    if ONLY_EVOLUTION & arguments.keys():
        return _of_evolution(options_of(EvolutionOptions, arguments))
    return _of_enumeration(options_of(EnumerationOptions, arguments))


def _of_enumeration(options: EnumerationOptions) -> Estimate:
    with argument_errors():
        setup, selection = set_up_enumeration(options)
        architectures = selection.architectures(setup.space)
        names = resolve(joined(options.proxies))
    two = [architectures[0], architectures[len(architectures) // 2]]
    networks = set(map(setup.space.canonical, architectures))
    return _estimate(options, setup, names, two, len(architectures), networks)


def _of_evolution(options: EvolutionOptions) -> Estimate:
    with argument_errors():
        setup = set_up(options)
        names = resolve(",".join(ranked_parts(joined(options.rank_by))))
    space, random = setup.space, Random("estimate")
    founder = getattr(space, "founder", space.sample)
    two = [founder(random), space.mutate(founder(random), random)]
    return _estimate(options, setup, names, two, options.evaluations)


def _estimate(
    options: EnumerationOptions | EvolutionOptions,
    setup: Setup,
    names: tuple[str, ...],
    measured: Sequence[str],
    architectures: int,
    networks: Set[str] | None = None,
) -> Estimate:
    """Measure and count; `networks` is None where they are not known yet and are all different."""
    seeds = range(options.seeds)
    seconds, eigenvalues = _measure(options, setup.space, measured, names)
    count = architectures if networks is None else len(networks)
    tasks = count * len(seeds)
    spectrum = eigenvalues + DECILES * bool(eigenvalues)
    each = BYTES_OF_A_TASK + BYTES_OF_A_VALUE * len(names) + 8 * spectrum
    return Estimate(
        architectures=architectures,
        networks=count,
        seeds=len(seeds),
        tasks=tasks,
        done=_done(options.folder, networks, seeds, names),
        values=names,
        workers=setup.workers,
        seconds_each=seconds,
        bytes=tasks * each + architectures * BYTES_OF_AN_ARCHITECTURE,
    )


def _measure(
    options: SearchOptions, space: SearchSpace, architectures: Sequence[str], names: tuple[str, ...]
) -> tuple[float, int]:
    """Score architectures in a temporary folder.

    Returns:
        The seconds for one, and the number of eigenvalues that are kept of it.
    """
    shared = {one.name: getattr(options, one.name) for one in fields(SearchOptions)}
    with tempfile.TemporaryDirectory() as folder:
        shared |= {"space": space, "sizes": {}, "out": folder, "workers": 0}
        shared |= {"executor": PROCESSES, "progress": False, "on_result": None}
        enumerate_with(EnumerationOptions(**shared, architectures=architectures, proxies=names))
        with open_results(Path(folder)) as results:
            seconds = fmean(one.seconds for one in results.evaluations())
            spectra = results.arrays("eigenvalues").values()
    return seconds, max(map(len, spectra), default=0)


def _done(
    out: Path, networks: Set[str] | None, seeds: Sequence[int], names: tuple[str, ...]
) -> int:
    """How many of these networks under these seeds have all the values; None for any network."""
    if not (out / STATE_NAME).is_file():
        return 0
    with open_results(out) as results:
        evaluations = results.evaluations()
    return len(
        {
            (one.network, one.seed)
            for one in evaluations
            if (networks is None or one.network in networks)
            and one.seed in seeds
            and set(names) <= one.values.keys()
        }
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
