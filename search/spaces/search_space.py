"""The interface of a search space: a handful of functions of architecture strings.

A space is a frozen dataclass of the sizes that its networks share (channels, classes, resolution),
small enough to be sent to every worker; an architecture is a string. With these methods a space
gets scoring, storage, resumption, workers, evolution and evaluation. `vkdnw.search.testing` has the
tests that a space must pass.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from vkdnw.search.configuration import Json

if TYPE_CHECKING:  # a command that only lists architectures imports no torch
    from torch import nn


class ArchitectureError(ValueError):
    """A string that names no architecture of the space; the message says where it goes wrong."""


@dataclass(frozen=True)
class Cost:
    """The cost of an architecture, for one input."""

    layers: int
    """Parameter tensors: the paper's number of trainable layers."""
    flops: int
    """Multiply-adds."""
    parameters: int
    """Trainable scalars."""


def figures(cost: Cost) -> dict[str, Any]:
    """The fields of a cost by name. (`dataclasses.asdict` copies deeply, ten times slower.)"""
    return {field.name: getattr(cost, field.name) for field in fields(cost)}


class SearchSpace(Protocol):
    """Architectures as strings, and the networks they denote.

    Every method that takes an architecture raises `ArchitectureError` for one that is none.
    """

    name: ClassVar[str]

    @property
    def classes(self) -> int:
        """The number of logits."""

    @property
    def resolution(self) -> int:
        """Height and width of the images, which have three channels."""

    def validate(self, architecture: str) -> None:
        """Return where the string is an architecture of the space, raise where it is not."""

    def sample(self, random: Random) -> str:
        """An architecture drawn at random."""

    def mutate(self, architecture: str, random: Random) -> str:
        """A neighbour of the architecture, drawn at random."""

    def canonical(self, architecture: str) -> str:
        """The string that stands for all architectures with the same network."""

    def cost(self, architecture: str) -> Cost:
        """The cost of the network, from the string alone: no module is built."""

    def build(self, architecture: str) -> "nn.Module":
        """The network, in train mode, with PyTorch's default weights."""

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The modules of a built network whose outputs are its features, in order (AZ-NAS)."""

    def describe(self, architecture: str) -> str:
        """The architecture for people, in one or a few lines."""


class EnumerableSpace(SearchSpace, Protocol):
    """A space that is small enough to list."""

    def architectures(self) -> Iterator[str]:
        """Every architecture once, in the order of the published indices where there are any."""


class ReadsOtherFormats(Protocol):
    """A space whose architectures are published in several notations."""

    def parse(self, text: str) -> str:
        """The space's own string for an architecture in any notation that the space knows: its own,
        a NASLib tuple, a published index. Raises `ArchitectureError`."""


@dataclass(frozen=True)
class Subset:
    """Architectures of a space that go by a name."""

    title: str
    """Their common property, to follow "only those": `without dead edges`."""
    contains: Callable[[str], bool]
    """Whether an architecture is among them."""


class OffersSubsets(Protocol):
    """A space with subsets that are searched by name: `--live`, or `live=True`."""

    subsets: ClassVar[Mapping[str, Subset]]


class HasDefaults(Protocol):
    """A space that is searched otherwise than others unless told differently."""

    defaults: ClassVar[Mapping[str, Json]]
    """Arguments of `vkdnw.search.enumerate` and `evolve` by name: `depth`, `scalars`."""


class CostsAnotherSize(Protocol):
    """A space whose networks are scored small, and whose costs are those of the trained size."""

    @property
    def target_resolution(self) -> int:
        """Height and width at which FLOPs and latency count."""

    @property
    def target_classes(self) -> int:
        """The classes of the network that is searched for."""


class HasFounders(Protocol):
    """A space whose evolution begins elsewhere than at samples."""

    def founder(self, random: Random) -> str:
        """A network without parents."""


def settings_of(space: SearchSpace) -> dict[str, Json]:
    """The space's name and sizes, as a run records them."""
    sizes = asdict(cast("Any", space))  # a protocol cannot ask for a dataclass
    return {"space": space.name, **sizes}
