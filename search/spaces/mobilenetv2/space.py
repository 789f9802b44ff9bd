"""The MobileNetV2 space as a search space: its functions at fixed sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from vkdnw.search.configuration import Json
from vkdnw.search.spaces.mobilenetv2 import mutation
from vkdnw.search.spaces.mobilenetv2.cost import Formula, StructureCost, check_sizes, cost
from vkdnw.search.spaces.mobilenetv2.mutation import DRAWS, Draw
from vkdnw.search.spaces.mobilenetv2.structure import INITIAL, canonical, parse

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MobileNetV2:
    """The space at given sizes.

    Networks are scored at one size and their cost is told at another: scoring with 10 classes on
    small images is a fraction of the work, while a budget is about the trained network.

    Raises ValueError for sizes, a formula or a draw that there are not.
    """

    name: ClassVar[str] = "mobilenetv2"
    defaults: ClassVar[Mapping[str, Json]] = {"depth": 14, "scalars": "sampled"}
    """As in the paper's search: at most 14 sub-layers; 128 of up to 400 tensors, drawn."""

    classes: int = 10
    """Of the networks that are scored."""
    resolution: int = 64
    """Of the images that networks are scored on."""
    target_classes: int = 1000
    """Of the network that is searched for, whose costs `cost` counts."""
    target_resolution: int = 224
    squeeze_excitation: bool = False
    """In the networks scored and in the cost. The paper's search has none, its training has."""
    residual: bool = True
    formula: Formula = "exact"
    """How FLOPs and parameters are counted; see `cost`."""
    draw: Draw = "uniform"
    """How replacements are drawn; see `mutate`."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, got {self.classes}")
        if self.resolution < 1:
            raise ValueError(f"resolution must be at least 1, got {self.resolution}")
        check_sizes(self.target_classes, self.target_resolution, self.formula)
        if self.draw not in DRAWS:
            raise ValueError(f"draw must be {' or '.join(DRAWS)}, got {self.draw!r}")

    def validate(self, architecture: str) -> None:
        parse(architecture)

    def sample(self, random: Random) -> str:
        """The initial structure, far mutated; see `mutation.sample`."""
        return mutation.sample(random, self.draw)

    def founder(self, random: Random) -> str:
        """The initial structure with one block replaced: how the paper's search begins."""
        return mutation.mutate(INITIAL, random, 1, self.draw)

    def mutate(self, architecture: str, random: Random) -> str:
        """Two draws of a block to replace, as in the paper's search."""
        return mutation.mutate(architecture, random, 2, self.draw)

    def canonical(self, architecture: str) -> str:
        return canonical(architecture)

    def cost(self, architecture: str) -> StructureCost:
        """Of the network to be trained, with `target_classes` at `target_resolution`."""
        return cost(
            architecture,
            self.target_classes,
            self.target_resolution,
            self.squeeze_excitation,
            self.residual,
            self.formula,
        )

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.mobilenetv2.network import build

        return build(architecture, self.classes, self.squeeze_excitation, self.residual)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The ReLUs at the top level: stem, both halves of every sub-layer, final convolution."""
        from vkdnw.search.spaces.mobilenetv2.network import features

        return features(model)

    def describe(self, architecture: str) -> str:
        """One line for each block."""
        return "\n".join(map(str, parse(architecture)))
