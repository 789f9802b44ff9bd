"""NATS-Bench's size space as a search space: its functions at fixed sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from vkdnw.search.spaces.nats_sss import architecture as strings
from vkdnw.search.spaces.nats_sss.architecture import CHANNELS, LAYERS, parse, read
from vkdnw.search.spaces.nats_sss.cost import REDUCTIONS, size_cost
from vkdnw.search.spaces.nb201.cost import check_resolution
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.sizes import check_sizes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NATSSize:
    """NATS-Bench's size space: channels of five layers. The defaults are CIFAR-10's sizes.

    Raises ValueError for sizes that no network has.
    """

    name: ClassVar[str] = "nats_sss"

    classes: int = 10
    resolution: int = 32

    def __post_init__(self) -> None:
        check_sizes(classes=self.classes)
        check_resolution(self.resolution, self.resolution)

    def validate(self, architecture: str) -> None:
        parse(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, or a tuple of five channel counts."""
        return read(text)

    def architectures(self) -> Iterator[str]:
        return strings.architectures()

    def sample(self, random: Random) -> str:
        """Uniform over the 32,768 architectures."""
        return strings.format([random.choice(CHANNELS) for _ in range(LAYERS)])

    def mutate(self, architecture: str, random: Random) -> str:
        """Other channels of one layer, uniform over the 35 neighbours."""
        channels = list(parse(architecture))
        layer = random.randrange(LAYERS)
        channels[layer] = random.choice([count for count in CHANNELS if count != channels[layer]])
        return strings.format(channels)

    def canonical(self, architecture: str) -> str:
        """Every string is a network of its own."""
        parse(architecture)
        return architecture

    def cost(self, architecture: str) -> Cost:
        return size_cost(architecture, self.classes, self.resolution)

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.nats_sss.network import build

        return build(architecture, self.classes)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem, and every cell and reduction."""
        return ("stem", *(f"cells.{layer}" for layer in range(LAYERS)))

    def describe(self, architecture: str) -> str:
        """One line for each layer, `reduction to 16 channels`."""
        return "\n".join(
            f"{'reduction' if layer in REDUCTIONS else 'cell'} to {channels} channels"
            for layer, channels in enumerate(parse(architecture))
        )
