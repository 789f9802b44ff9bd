"""The DARTS space as a search space: its functions at fixed sizes."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal

from vkdnw.search.spaces.darts import sampling
from vkdnw.search.spaces.darts.architecture import format, parse  # noqa: A004
from vkdnw.search.spaces.darts.cost import STYLES, Macro, Style, network_cost
from vkdnw.search.spaces.darts.equality import canonical
from vkdnw.search.spaces.darts.notations import genotype, read
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.counting import FORMULAS, IMAGE_CHANNELS, Formula
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes

if TYPE_CHECKING:
    from torch import nn

_SAMPLERS = {"distinct": sampling.sample, "swap": sampling.sample_swap}


@dataclass(frozen=True)
class DARTS:
    """DARTS and NAS-Bench-301: a normal and a reduction cell. The default sizes are small.

    DARTS trained with 36 channels and 20 cells,
    NAS-Bench-301 with 32 and 8; NASLib scores 32 and 8 with ``style="naslib"``.

    Raises ValueError for sizes that no network has.
    """

    name: ClassVar[str] = "darts"

    channels: int = 16
    cells: int = 8
    classes: int = 10
    resolution: int = 32
    style: Style = "darts"
    """The modules that are trained (`darts`), or those of a supernet (`naslib`): BatchNorms inside
    operations without weights, and one after every pooling."""
    sampler: Literal["distinct", "swap"] = "distinct"
    """Whether the two edges of a node have different sources; see `sampling`."""
    formula: Formula = "exact"
    """How FLOPs are counted: multiply-adds, or as in NASLib's tables (`tensorwatch`)."""

    def __post_init__(self) -> None:
        check_sizes(
            channels=self.channels,
            cells=self.cells,
            classes=self.classes,
            resolution=self.resolution,
        )
        check_choice("style", self.style, STYLES)
        check_choice("sampler", self.sampler, _SAMPLERS)
        check_choice("formula", self.formula, FORMULAS)
        if self.channels % 2:
            raise ValueError(f"channels must be even, got {self.channels}")
        halvings = len(self._macro.reductions)
        if self.resolution % 2**halvings:
            raise ValueError(
                f"resolution must be a multiple of {2**halvings}, because the network halves the "
                f"image {halvings} times; got {self.resolution}"
            )

    @property
    def _macro(self) -> Macro:
        return Macro(self.channels, self.cells, self.classes, self.style)

    def validate(self, architecture: str) -> None:
        parse(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, a genotype, NASLib's tuple, or a dict of NAS-Bench-301."""
        return read(text)

    def sample(self, random: Random) -> str:
        return format(_SAMPLERS[self.sampler](random))

    def mutate(self, architecture: str, random: Random) -> str:
        return format(sampling.mutate(parse(architecture), random))

    def canonical(self, architecture: str) -> str:
        return format(canonical(parse(architecture)))

    def cost(self, architecture: str) -> Cost:
        image = (IMAGE_CHANNELS, self.resolution, self.resolution)
        return network_cost(parse(architecture), self._macro, image, self.formula)

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.darts.network import build

        return build(parse(architecture), self._macro)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem and every cell."""
        return ("stem", *(f"cells.{index}" for index in range(self.cells)))

    def describe(self, architecture: str) -> str:
        """As DARTS prints it: a genotype."""
        return genotype(parse(architecture))
