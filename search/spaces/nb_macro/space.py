"""NAS-Bench-Macro as a search space."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal

from vkdnw.search.spaces.nb_macro import architecture as strings
from vkdnw.search.spaces.nb_macro import layers
from vkdnw.search.spaces.search_space import Cost, Subset
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes

if TYPE_CHECKING:
    from torch import nn

SMALLEST = 8
"""The image is halved three times."""


def _is_canonical(architecture: str) -> bool:
    return strings.canonical(architecture) == architecture


@dataclass(frozen=True)
class NBMacro:
    """The space at given sizes; the defaults are those of the benchmark.

    6,561 strings denote 3,969 networks. Raises ValueError for sizes that no network has.
    """

    name: ClassVar[str] = "nb_macro"
    subsets: ClassVar[Mapping[str, Subset]] = {
        "distinct": Subset("one string of each of the 3,969 networks", _is_canonical)
    }

    channels: int = 32
    """Of the stem; every stage doubles them."""
    classes: int = 10
    resolution: int = 32
    draw: Literal["networks", "strings"] = "networks"
    """Whether `sample` is uniform over the 3,969 networks or over the 6,561 strings."""

    def __post_init__(self) -> None:
        check_sizes(channels=self.channels, classes=self.classes)
        check_sizes(least=SMALLEST, resolution=self.resolution)
        check_choice("draw", self.draw, ("networks", "strings"))

    def validate(self, architecture: str) -> None:
        strings.validate(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, a list of eight digits, or the row of the published table."""
        return strings.parse(text)

    def architectures(self) -> Iterator[str]:
        """All strings, in the order of the published table."""
        return strings.enumerate_all()

    def sample(self, random: Random) -> str:
        if self.draw == "strings":
            return "".join(random.choice(strings.OPERATIONS) for _ in range(strings.LAYERS))
        return "".join(random.choice(strings.canonical_stages(n)) for n in strings.STAGES)

    def mutate(self, architecture: str, random: Random) -> str:
        """Another operation in one layer, uniform over the 16 neighbours, none of them equal."""
        self.validate(architecture)
        layer = random.randrange(strings.LAYERS)
        others = strings.OPERATIONS.replace(architecture[layer], "")
        return architecture[:layer] + random.choice(others) + architecture[layer + 1 :]

    def canonical(self, architecture: str) -> str:
        return strings.canonical(architecture)

    def cost(self, architecture: str) -> Cost:
        return layers.cost(architecture, self.channels, self.classes, self.resolution)

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.nb_macro.network import MacroNetwork

        return MacroNetwork(architecture, self.channels, self.classes)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem, every layer that computes something, and the last convolution."""
        from vkdnw.search.spaces.shared.mbconv_modules import features

        return features(model)

    def describe(self, architecture: str) -> str:
        """One line for each layer."""
        stages = layers.layers_of(architecture, self.channels)
        made = (layer for stage in stages for layer in stage)
        return "\n".join(f"{place}: {layer}" for place, layer in enumerate(made))
