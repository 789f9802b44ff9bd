"""The MnasNet space as a search space."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal

from vkdnw.search.spaces.mnasnet import architecture as strings
from vkdnw.search.spaces.mnasnet import blocks
from vkdnw.search.spaces.mnasnet.blocks import FORMULAS, Formula
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes

if TYPE_CHECKING:
    from torch import nn

SMALLEST = 32
"""The image is halved five times."""


@dataclass(frozen=True)
class MnasNet:
    """The space at given sizes: 1.04e11 networks, each with one string.

    Networks are scored at one size and their cost is told at another, that of the benchmark. Raises
    ValueError for sizes or options that there are not.
    """

    name: ClassVar[str] = "mnasnet"

    classes: int = 10
    """Of the networks that are scored."""
    resolution: int = 64
    """Of the images that networks are scored on."""
    target_classes: int = 1000
    """Of the networks that `cost` counts."""
    target_resolution: int = 224
    activation: Literal["relu", "silu"] = "relu"
    """ReLU and hard sigmoid, as in the benchmark's data, or SiLU and sigmoid (EfficientNet)."""
    formula: Formula = "exact"
    """How FLOPs are counted: multiply-adds, or as in the benchmark's table."""

    def __post_init__(self) -> None:
        check_sizes(classes=self.classes, target_classes=self.target_classes)
        check_sizes(
            least=SMALLEST, resolution=self.resolution, target_resolution=self.target_resolution
        )
        check_choice("activation", self.activation, ("relu", "silu"))
        check_choice("formula", self.formula, FORMULAS)

    def validate(self, architecture: str) -> None:
        strings.stages(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, or Accel-NASBench's configuration as JSON."""
        return strings.parse(text)

    def sample(self, random: Random) -> str:
        """Uniform over the space: all 28 digits are independent."""
        return strings.format(
            [
                [random.choice(strings.menu(field, stage)) for stage in range(strings.STAGES)]
                for field in strings.FIELDS
            ]
        )

    def mutate(self, architecture: str, random: Random) -> str:
        """Another choice for one of the 28 digits (the benchmark's ageing evolution)."""
        digits = strings.fields(architecture)
        place, stage = random.randrange(len(strings.FIELDS)), random.randrange(strings.STAGES)
        choices = strings.menu(list(strings.FIELDS)[place], stage)
        digits[place][stage] = random.choice(choices.replace(digits[place][stage], ""))
        return strings.format(digits)

    def canonical(self, architecture: str) -> str:
        """Every string is a network of its own."""
        self.validate(architecture)
        return architecture

    def cost(self, architecture: str) -> Cost:
        """Of the network to be trained, with `target_classes` at `target_resolution`."""
        return blocks.cost(architecture, self.target_classes, self.target_resolution, self.formula)

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.mnasnet.network import MnasNetwork
        from vkdnw.search.spaces.shared.mbconv_modules import RELU, SILU

        return MnasNetwork(architecture, self.classes, RELU if self.activation == "relu" else SILU)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem, every block, and the last convolution."""
        from vkdnw.search.spaces.shared.mbconv_modules import features

        return features(model)

    def describe(self, architecture: str) -> str:
        """One line for each stage."""
        return "\n".join(
            f"{place}: {len(stage)} x {stage[0]}"
            for place, stage in enumerate(blocks.blocks_of(architecture))
        )
