"""Which architectures of a space are scored: a sample, all, or a list."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from vkdnw.search.spaces.search_space import SearchSpace, Subset, figures
from vkdnw.search.tasks import Asked

DRAWS_FOR_ONE = 1000
"""Draws in a row that give nothing new, after which a space has no more to give."""


@dataclass(frozen=True)
class Selection:
    """A sample, all, or a list: one of the three."""

    sample: int | None = None
    sample_seed: int = 0
    everything: bool = False
    listed: tuple[str, ...] = ()
    subset: str | None = None
    """Draw the sample from, or take all of, the architectures in this subset of the space."""

    def __post_init__(self) -> None:
        if [self.sample is not None, self.everything, bool(self.listed)].count(True) != 1:
            raise ValueError(
                "say which architectures: a sample, all, or a list, and one of the three (--sample "
                "N, --all or --arch ARCH; in Python sample=, all=True or architectures=)"
            )
        if self.subset and self.listed:
            raise ValueError(
                f"{self.subset} restricts a sample, or all; a list names its architectures itself"
            )

    def __str__(self) -> str:
        if self.listed:
            return f"{len(self.listed)} listed"
        whole = self.subset or "all"
        if self.sample is None:
            return whole
        return f"sample of {self.sample}, {whole}, seed {self.sample_seed}"

    def within(self, architectures: Sequence[str], space: SearchSpace) -> "Selection":
        """The same choice among these architectures, written out as a list. Raises ValueError."""
        if self.listed:
            raise ValueError("a table restricts a sample, or all; a list names its architectures")
        members = subset(space, self.subset)
        chosen = [one for one in architectures if members is None or members.contains(one)]
        if self.sample is not None:
            chosen = sample(chosen, self.sample, self.sample_seed)
        return Selection(listed=tuple(chosen))

    def architectures(self, space: SearchSpace) -> list[str]:
        """The architecture strings. Raises ArchitectureError and ValueError."""
        if self.listed:
            return list(dict.fromkeys(read(space, text) for text in self.listed))
        members = subset(space, self.subset)
        if not is_enumerable(space):
            if self.sample is None:
                raise ValueError(f"{space.name} is too large to list; give --sample N")
            return drawn(space, self.sample, self.sample_seed, members)
        listed: Iterable[str] = cast("Any", space).architectures()
        if members is not None:
            listed = filter(members.contains, listed)
        return (
            list(listed) if self.sample is None else sample(listed, self.sample, self.sample_seed)
        )


def parse(text: str) -> Selection | None:
    """The selection that `str` wrote, as a run has it on record; None for a list."""
    if text.endswith("listed"):
        return None
    match = re.fullmatch(r"sample of (\d+), (.+), seed (-?\d+)", text)
    whole = match[2] if match else text
    return Selection(
        sample=int(match[1]) if match else None,
        sample_seed=int(match[3]) if match else 0,
        everything=match is None,
        subset=None if whole == "all" else whole,
    )


def is_enumerable(space: SearchSpace) -> bool:
    """Whether the space lists its architectures."""
    return hasattr(space, "architectures")


def subsets(space: SearchSpace | type[Any]) -> dict[str, Subset]:
    """The subsets that a space offers by name."""
    return dict(getattr(space, "subsets", {}))


def subset(space: SearchSpace, name: str | None) -> Subset | None:
    """The subset of a name. Raises ValueError where the space offers none of that name."""
    if name is None:
        return None
    offered = subsets(space)
    if name not in offered:
        raise ValueError(
            f"{space.name} has no subset {name!r}; it has {', '.join(offered) or 'none'}"
        )
    return offered[name]


def read(space: SearchSpace, text: str) -> str:
    """The space's own string for a text in any notation that the space reads.

    Raises ArchitectureError.
    """
    architecture: str = space.parse(text) if hasattr(space, "parse") else text
    space.validate(architecture)
    return architecture


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


def drawn(space: SearchSpace, count: int, seed: int, members: Subset | None = None) -> list[str]:
    """`count` different architectures as the space draws them; a larger sample begins so too.

    Raises:
        ValueError: the space gives nothing new any more.
    """
    if count < 1:
        raise ValueError(f"a sample has 1 architecture or more, asked were {count}")
    random = Random(f"sample/{seed}")
    found: dict[str, None] = {}
    in_vain = 0
    while len(found) < count:
        architecture = space.sample(random)
        if architecture in found or (members and not members.contains(architecture)):
            in_vain += 1
            if in_vain == DRAWS_FOR_ONE:
                raise ValueError(
                    f"{space.name} gave {len(found)} different architectures and then none in "
                    f"{DRAWS_FOR_ONE} draws, asked were {count}"
                )
            continue
        in_vain = 0
        found[architecture] = None
    return list(found)


def describe(architectures: Sequence[str], space: SearchSpace) -> list[Asked]:
    """The network to score for each architecture, and the counts of its string."""
    return [
        Asked(
            architecture,
            network=space.canonical(architecture),
            counts=figures(space.cost(architecture)),
        )
        for architecture in architectures
    ]


def _place(architecture: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{architecture}".encode()).digest()
