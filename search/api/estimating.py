"""`search.estimate`: what a call would compute, how long that may take, and what it will keep.

Nothing is written to the run: two of its networks are scored in a folder that is thrown away.
"""

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from vkdnw.search.api.enumerating import enumerate as enumerate_space
from vkdnw.search.api.evolving import evolve
from vkdnw.search.api.setup import (
    PathLike,
    SpaceLike,
    refused_arguments,
    set_up,
    split_subset,
)
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.spaces.selection import Selection
from vkdnw.search.state.database import STATE_NAME
from vkdnw.search.state.results import open_results
from vkdnw.search.values import ranked_parts, resolve

MEASURED = 2
"""Networks that are scored to see how long one takes."""
BYTES_OF_A_TASK, BYTES_OF_A_VALUE, BYTES_OF_AN_ARCHITECTURE = 450, 110, 350
"""In the state of a run, as it is on disk; spectra come on top, 8 bytes a number."""


@dataclass(frozen=True)
class Estimate:
    """What a call would do."""

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
    """What `enumerate` or `evolve` would do with these arguments: `evolve` where one is its own.

    Scores two networks in this process to see how long they take, and keeps nothing.

    Raises ArgumentError as they do.
    """
    evolution = inspect.signature(evolve).parameters.keys()
    own = evolution - inspect.signature(enumerate_space).parameters.keys()
    if own & arguments.keys():
        return _of_evolution(space, Path(out), arguments)
    return _of_enumeration(space, Path(out), arguments)


def _of_enumeration(space: SpaceLike, out: Path, arguments: Mapping[str, Any]) -> Estimate:
    scoring = {
        name: value
        for name, value in arguments.items()
        if name not in ("sample", "all", "architectures", "within", "sample_seed", "seeds")
    }
    words = _beyond(scoring)
    with refused_arguments():
        sizes, subset = split_subset(space, words)
        made = registry.space(space, **sizes)
        selection = Selection(
            arguments.get("sample"),
            arguments.get("sample_seed", 0),
            arguments.get("all", False),
            tuple(arguments.get("architectures", ())),
            subset,
        )
        if arguments.get("within") is not None:
            from vkdnw.search.rankings.truth import known_architectures

            selection = selection.within(known_architectures(arguments["within"], made), made)
        chosen = selection.architectures(made)
        proxies = arguments.get("proxies", "vkdnw")
        names = resolve(proxies if isinstance(proxies, str) else ",".join(proxies))
    for word in words.keys() - sizes.keys():
        scoring.pop(word)  # a subset: the two are named
    return _estimate(
        space, made, out, chosen, list(range(arguments.get("seeds", 1))), names, scoring
    )


def _of_evolution(space: SpaceLike, out: Path, arguments: Mapping[str, Any]) -> Estimate:
    evolution = inspect.signature(evolve).parameters.keys()
    plain = inspect.signature(enumerate_space).parameters.keys()
    scoring = {k: v for k, v in arguments.items() if k in plain or k not in evolution}
    seeds = scoring.pop("seeds", 1)
    rank_by = arguments.get("rank_by", inspect.signature(evolve).parameters["rank_by"].default)
    with refused_arguments():
        made = registry.space(space, **_beyond(scoring))
        parts = ranked_parts(rank_by if isinstance(rank_by, str) else ",".join(rank_by))
        names = resolve(",".join(parts))
        founder = getattr(made, "founder", made.sample)
        random = Random("estimate")
        measured = [founder(random), made.mutate(founder(random), random)]
    count = arguments.get(
        "evaluations", inspect.signature(evolve).parameters["evaluations"].default
    )
    scoring["proxies"] = ",".join(names)
    return _estimate(space, made, out, measured, list(range(seeds)), names, scoring, count)


def _estimate(
    which: SpaceLike,
    space: SearchSpace,
    out: Path,
    architectures: Sequence[str],
    seeds: Sequence[int],
    names: tuple[str, ...],
    scoring: Mapping[str, Any],
    evaluations: int | None = None,
) -> Estimate:
    """Measure, and count; an evolution tries so many networks that are not known yet."""
    networks = list(dict.fromkeys(space.canonical(one) for one in architectures))
    count = len(networks) if evaluations is None else evaluations
    with refused_arguments():
        sizes = _beyond(scoring)
        setup = set_up(which, sizes, scoring.get("device", "cpu"), scoring.get("workers"), None)
    with tempfile.TemporaryDirectory() as folder:
        chosen = [architectures[0], architectures[len(architectures) // 2]]
        measured = enumerate_space(
            which,
            folder,
            architectures=chosen[:MEASURED],
            **{**scoring, "workers": 0, "progress": False, "on_result": None},
        )
        evaluated = measured.evaluations()
        with open_results(measured.folder) as results:
            spectrum = max((len(v) for v in results.arrays("eigenvalues").values()), default=0)
    tasks = count * len(seeds)
    each = BYTES_OF_A_TASK + BYTES_OF_A_VALUE * len(names) + 8 * (spectrum + 9 * bool(spectrum))
    listed = len(architectures) if evaluations is None else evaluations
    return Estimate(
        architectures=listed,
        networks=count,
        seeds=len(seeds),
        tasks=tasks,
        done=_done(out, None if evaluations is not None else set(networks), seeds, names),
        values=names,
        workers=setup.workers,
        seconds_each=fmean(one.seconds for one in evaluated),
        bytes=tasks * each + listed * BYTES_OF_AN_ARCHITECTURE,
    )


def _done(
    out: Path, networks: set[str] | None, seeds: Sequence[int], names: tuple[str, ...]
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


def _beyond(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What is no argument of `enumerate`: sizes of the space, and subsets."""
    known = inspect.signature(enumerate_space).parameters.keys() - {"sizes"}
    return {name: value for name, value in arguments.items() if name not in known}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
