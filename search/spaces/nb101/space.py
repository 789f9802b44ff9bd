"""NAS-Bench-101 as a search space: its functions at fixed sizes."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal

from vkdnw.search.spaces.nb101 import sampling
from vkdnw.search.spaces.nb101.architecture import OPERATIONS, parse, pruned, read
from vkdnw.search.spaces.nb101.cost import layer_costs
from vkdnw.search.spaces.nb101.isomorphism import canonical
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.layer_costs import total
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes

if TYPE_CHECKING:
    from torch import nn

_SAMPLERS = {"uniform": sampling.sample, "official": sampling.sample_official}


@dataclass(frozen=True)
class NB101:
    """NAS-Bench-101: 423,624 graphs. The defaults are the benchmark's sizes.

    Raises ValueError for sizes that no network has, or a sampler that there is not.
    """

    name: ClassVar[str] = "nb101"

    channels: int = 128
    """Of the stem and the first stack; each further stack doubles them."""
    stacks: int = 3
    cells: int = 3
    """In each stack."""
    classes: int = 10
    resolution: int = 32
    sampler: Literal["uniform", "official"] = "uniform"
    """Over the benchmark's entries, or as its own code draws."""
    isomorphic: bool = False
    """Take isomorphic graphs for one network, as the benchmark does, also where the numbering of
    the vertices decides the channels; see `canonical`."""

    def __post_init__(self) -> None:
        check_sizes(
            channels=self.channels,
            stacks=self.stacks,
            cells=self.cells,
            classes=self.classes,
            resolution=self.resolution,
        )
        halvings = 2 ** (self.stacks - 1)
        if self.resolution % halvings:
            raise ValueError(
                f"resolution must be a multiple of {halvings}, because the network halves the "
                f"image {self.stacks - 1} times; got {self.resolution}"
            )
        check_choice("sampler", self.sampler, _SAMPLERS)

    def validate(self, architecture: str) -> None:
        parse(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, NASLib's tuple, or the official pair of matrix and operations."""
        return read(text)

    def sample(self, random: Random) -> str:
        return _SAMPLERS[self.sampler](random)

    def mutate(self, architecture: str, random: Random) -> str:
        return sampling.mutate(architecture, random)

    def canonical(self, architecture: str) -> str:
        return canonical(architecture, self.channels, self.isomorphic)

    def cost(self, architecture: str) -> Cost:
        graph = pruned(architecture)
        return total(
            layer_costs(
                graph, self.channels, self.stacks, self.cells, self.classes, self.resolution
            )
        )

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.nb101.network import build

        return build(architecture, self.channels, self.stacks, self.cells, self.classes)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem and every cell."""
        count = self.stacks * self.cells
        return ("stem", *(f"cells.{index}" for index in range(count)))

    def describe(self, architecture: str) -> str:
        """A line for each vertex of the pruned graph: ``2 maxpool3x3 <- 0 1``."""
        graph = pruned(architecture)
        lines = [
            f"{vertex} {OPERATIONS[operation]} <- {' '.join(map(str, graph.sources(vertex)))}"
            for vertex, operation in enumerate(graph.operations, start=1)
        ]
        heads = [str(vertex) for vertex in graph.sources(graph.output) if vertex]
        if (0, graph.output) in graph.edges:
            heads.append("(+ 0)" if heads else "0")
        return "\n".join([*lines, f"out <- {' '.join(heads)}"])
