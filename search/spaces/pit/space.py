"""The PiT space as a search space."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from vkdnw.search.spaces.pit import architecture as strings
from vkdnw.search.spaces.pit import stages
from vkdnw.search.spaces.pit.architecture import MENUS, read
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.sizes import check_sizes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PiT:
    """The space at given sizes: 1,600 networks, each with one string.

    Networks are scored at one size and their cost is told at another, that of the benchmark. Raises
    ValueError for sizes that no network has.
    """

    name: ClassVar[str] = "pit"

    classes: int = 10
    """Of the networks that are scored."""
    resolution: int = 64
    """Of the images that networks are scored on."""
    target_classes: int = 100
    """Of the networks that `cost` counts: CIFAR-100's."""
    target_resolution: int = 224

    def __post_init__(self) -> None:
        check_sizes(classes=self.classes, target_classes=self.target_classes)
        check_sizes(
            least=stages.PATCH,
            resolution=self.resolution,
            target_resolution=self.target_resolution,
        )

    def validate(self, architecture: str) -> None:
        strings.fields(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, or Auto-Prox's JSON."""
        return strings.parse(text)

    def architectures(self) -> Iterator[str]:
        """All strings, the first field slowest; there are no published indices."""
        return strings.enumerate_all()

    def sample(self, random: Random) -> str:
        """Uniform over the space, as in Auto-Prox."""
        return ":".join(random.choice(menu) for menu in MENUS.values())

    def mutate(self, architecture: str, random: Random) -> str:
        """Another choice for one of the four fields."""
        fields = strings.fields(architecture)
        place, menu = random.choice(list(enumerate(MENUS.values())))
        fields[place] = random.choice([one for one in menu if one != fields[place]])
        return ":".join(fields)

    def canonical(self, architecture: str) -> str:
        """Every string is a network of its own."""
        self.validate(architecture)
        return architecture

    def cost(self, architecture: str) -> Cost:
        """Of the network to be trained, with `target_classes` at `target_resolution`."""
        made = stages.stages_of(read(architecture), self.target_resolution)
        return stages.cost(made, self.target_classes)

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.pit.network import PiTNetwork

        made = stages.stages_of(read(architecture), self.resolution)
        return PiTNetwork(made, self.classes)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """Both sums of every block: tokens ``[B, L, width]``, the class token among them."""
        from vkdnw.search.spaces.shared.transformer_modules import features

        counts = enumerate(model.get_submodule("stages").children())
        return features(f"stages.{i}.{j}" for i, stage in counts for j, _ in stage.named_children())

    def describe(self, architecture: str) -> str:
        """One line for each stage."""
        made = stages.stages_of(read(architecture), self.target_resolution)
        return "\n".join(
            f"{place}: {stage.depth} blocks, width {stage.block.width}, {stage.block.heads} heads, "
            f"perceptron {stage.block.hidden}, {stage.side} x {stage.side} patches"
            for place, stage in enumerate(made)
        )
