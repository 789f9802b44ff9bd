"""Which architectures of NAS-Bench-201 a command asks for."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from vkdnw.search.evaluation import Asked
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.search_space import SearchSpace


@dataclass(frozen=True)
class Selection:
    """A sample, all, or a list: one of the three."""

    sample: int | None = None
    sample_seed: int = 0
    everything: bool = False
    listed: tuple[str, ...] = ()
    live: bool = False
    """Draw the sample from, or take all of, the 9,445 without dead edges."""

    def __post_init__(self) -> None:
        if [self.sample is not None, self.everything, bool(self.listed)].count(True) != 1:
            raise ValueError("say which architectures with one of --sample N, --all or --arch ARCH")
        if self.live and self.listed:
            raise ValueError("--live restricts --sample and --all; --arch names architectures")

    def __str__(self) -> str:
        if self.listed:
            return f"{len(self.listed)} listed"
        space = "live" if self.live else "all"
        return (
            f"sample of {self.sample}, {space}, seed {self.sample_seed}" if self.sample else space
        )

    def architectures(self) -> list[str]:
        """The architecture strings. Raises ArchitectureError and ValueError."""
        if self.listed:
            for architecture in self.listed:
                nb201.validate(architecture)
            return list(dict.fromkeys(self.listed))
        space = nb201.live() if self.live else nb201.enumerate()
        return list(space) if self.sample is None else sample(space, self.sample, self.sample_seed)


def sample(architectures: Iterable[str], count: int, seed: int) -> list[str]:
    """`count` architectures in a random order fixed by the seed.

    Each architecture draws its place by hashing, on its own: a sample of 100 is the beginning of
    the sample of 1,000, whatever the library versions, and restricting the list keeps the order of
    the rest.

    Raises:
        ValueError: there are fewer.
    """
    shuffled = sorted(architectures, key=lambda architecture: _place(architecture, seed))
    if not 0 < count <= len(shuffled):
        raise ValueError(f"a sample has 1 to {len(shuffled)} architectures, asked were {count}")
    return shuffled[:count]


def describe(architectures: Sequence[str], space: SearchSpace) -> list[Asked]:
    """What to score for each architecture, and what its string alone tells."""
    return [
        Asked(
            architecture,
            network=space.canonical(architecture),
            counts=asdict(space.cost(architecture)),
        )
        for architecture in architectures
    ]


def _place(architecture: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{architecture}".encode()).digest()
