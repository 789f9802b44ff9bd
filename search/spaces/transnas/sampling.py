"""Drawing and mutating the macro structures of TransNAS-Bench-101."""

from collections.abc import Iterator
from random import Random

from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.transnas.architecture import (
    DOUBLINGS,
    HALVINGS,
    LENGTHS,
    Architecture,
    format,  # noqa: A004
    macro_architectures,
    parse,
)


def sample_macro(random: Random) -> str:
    """Uniform over the 3,256 structures."""
    return random.choice(macro_architectures())


def sample_macro_naslib(random: Random) -> str:
    """As NASLib draws: numbers of modules, halvings and doublings first, then their places.

    Not uniform over structures: those of few modules come more often.
    """
    length = random.choice(LENGTHS)
    halving = random.sample(range(length), random.choice(HALVINGS))
    doubling = random.sample(range(length), random.choice(DOUBLINGS))
    modules = (1 + (i in doubling) + 2 * (i in halving) for i in range(length))
    return format(Architecture(tuple(modules), None))


def mutate_macro(arch: str, random: Random) -> str:
    """Another digit for a module, a module more, or one less: uniform over these neighbours."""
    return random.choice(sorted(set(_neighbours(parse(arch, "macro").modules)) - {arch}))


def _neighbours(modules: tuple[int, ...]) -> Iterator[str]:
    changes = [modules[:place] + modules[place + 1 :] for place in range(len(modules))]
    for digit in range(1, 5):
        for place in range(len(modules) + 1):
            changes.append((*modules[:place], digit, *modules[place:]))
            changes.append((*modules[:place], digit, *modules[place + 1 :]))
    for changed in changes:
        try:
            yield format(Architecture(changed, None))
        except ArchitectureError:
            continue
