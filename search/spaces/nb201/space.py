"""NAS-Bench-201 as a search space: its functions at fixed sizes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from vkdnw.search.spaces.nb201 import architecture as strings
from vkdnw.search.spaces.nb201 import cost
from vkdnw.search.spaces.nb201.all_architectures import enumerate as all_architectures
from vkdnw.search.spaces.nb201.architecture import EDGES, OPERATIONS, parse
from vkdnw.search.spaces.nb201.isomorphism import canonical
from vkdnw.search.spaces.nb201.liveness import is_live
from vkdnw.search.spaces.nb201.notations import read
from vkdnw.search.spaces.search_space import Cost, Subset

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NB201:
    """NAS-Bench-201: 15,625 cells. The defaults are the benchmark's sizes on CIFAR-10.

    CIFAR-100 has ``classes=100``, ImageNet16-120 ``classes=120, resolution=16``.

    Raises ValueError for sizes that no network has.
    """

    name: ClassVar[str] = "nb201"
    subsets: ClassVar[Mapping[str, Subset]] = {
        "live": Subset("the 9,445 without dead edges, as the paper does", is_live)
    }

    channels: int = 16
    """Of the first of the three stages."""
    cells: int = 5
    """In each stage."""
    classes: int = 10
    resolution: int = 32
    as_written: bool = False
    """Take every string for a network of its own, equal to another or not."""

    def __post_init__(self) -> None:
        cost.check_sizes(self.channels, self.cells, self.classes)
        cost.check_resolution(self.resolution, self.resolution)

    def validate(self, architecture: str) -> None:
        parse(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, NATS-Bench's index, or NASLib's tuple."""
        return read(text)

    def architectures(self) -> Iterator[str]:
        """All 15,625, in the order of the benchmark's index."""
        return iter(all_architectures())

    def sample(self, random: Random) -> str:
        """Uniform over the 15,625 strings."""
        return strings.format([random.choice(OPERATIONS) for _ in EDGES])

    def mutate(self, architecture: str, random: Random) -> str:
        """Another operation on one edge, uniform over the 24 neighbours (Real et al. 2019)."""
        operations = list(parse(architecture))
        edge = random.randrange(len(EDGES))
        operations[edge] = random.choice([op for op in OPERATIONS if op != operations[edge]])
        return strings.format(operations)

    def canonical(self, architecture: str) -> str:
        return architecture if self.as_written else canonical(architecture)

    def cost(self, architecture: str) -> Cost:
        return Cost(
            layers=cost.layers(architecture, self.cells),
            flops=cost.flops(
                architecture, self.channels, self.cells, self.classes, self.resolution
            ),
            parameters=cost.parameters(architecture, self.channels, self.cells, self.classes),
        )

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.nb201.network import build

        return build(architecture, self.channels, self.cells, self.classes)

    def rebuild(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.nb201.network import rebuild

        return rebuild(architecture, self.channels, self.cells, self.classes)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem, and every cell and reduction."""
        cells: Sequence[object] = model.get_submodule("cells")  # type: ignore[assignment]
        return ("stem", *(f"cells.{index}" for index in range(len(cells))))

    def describe(self, architecture: str) -> str:
        """One line for each edge, `1<-0 nor_conv_3x3`."""
        operations = zip(EDGES, parse(architecture), strict=True)
        return "\n".join(f"{edge} {operation}" for edge, operation in operations)

    def diagram(self, architecture: str) -> list[tuple[int, int, str]]:
        """The edges of the cell: from node, to node, operation."""
        operations = parse(architecture)
        return [
            (edge.source, edge.target, operation)
            for edge, operation in zip(EDGES, operations, strict=True)
        ]
