"""TransNAS-Bench-101 as two search spaces: its functions at fixed sizes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal

from vkdnw.search.spaces.search_space import Cost, Subset
from vkdnw.search.spaces.shared.counting import FORMULAS, Formula
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes
from vkdnw.search.spaces.transnas import architecture as strings
from vkdnw.search.spaces.transnas import sampling
from vkdnw.search.spaces.transnas.architecture import (
    EDGES,
    MICRO_MODULES,
    MODULES,
    OPERATIONS,
    Architecture,
    Kind,
    canonical_cell,
    parse,
)
from vkdnw.search.spaces.transnas.cost import TILES, network_cost

if TYPE_CHECKING:
    from torch import nn

_MACRO_SAMPLERS = {"uniform": sampling.sample_macro, "naslib": sampling.sample_macro_naslib}


@dataclass(frozen=True)
class _TransNAS:
    """The sizes and methods of both spaces; the defaults are those of the object task in NASLib.

    The scene task has 63 classes there; the benchmark itself trained 75 and 47. The jigsaw task has
    1,000 classes and 9 tiles of 64 pixels: ``classes=1000, tiles=9, resolution=192``.

    Raises ValueError for sizes that no network has.
    """

    kind: ClassVar[Kind]

    channels: int = 64
    """Of the stem's output."""
    classes: int = 100
    resolution: int = 256
    tiles: int = 1
    """9 cuts every image into 3 x 3 tiles, which the encoder reads one by one."""
    formula: Formula = "exact"
    """How FLOPs are counted: multiply-adds, or as in NASLib's tables (`tensorwatch`)."""

    def __post_init__(self) -> None:
        check_sizes(channels=self.channels, classes=self.classes, resolution=self.resolution)
        check_choice("tiles", self.tiles, TILES)
        check_choice("formula", self.formula, FORMULAS)
        if self.channels % 2:
            raise ValueError(f"channels must be even, got {self.channels}")
        if self.tiles == 9 and self.resolution % 3:
            raise ValueError(
                f"resolution must be a multiple of 3 with 9 tiles, got {self.resolution}"
            )

    def validate(self, architecture: str) -> None:
        parse(architecture, self.kind)

    def parse(self, text: str) -> str:
        """Reads a string, the official index, or NASLib's tuple."""
        return strings.read(text, self.kind)

    def cost(self, architecture: str) -> Cost:
        return network_cost(
            parse(architecture, self.kind),
            self.channels,
            self.classes,
            self.resolution if self.tiles == 1 else self.resolution // 3,
            self.tiles,
            self.formula,
        )

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """The stem and every module of the encoder. With 9 tiles each is called 9 times."""
        encoder = model.get_submodule("encoder")
        return tuple(f"encoder.{name}" for name, _ in encoder.named_children())


@dataclass(frozen=True)
class TransNASMicro(_TransNAS):
    """TransNAS-Bench-101, micro: 4,096 cells, 2,952 different networks."""

    name: ClassVar[str] = "transnas_micro"
    kind: ClassVar[Kind] = "micro"
    subsets: ClassVar[Mapping[str, Subset]] = {
        "connected": Subset("the 3,927 in which a path leads to the output", strings.is_connected)
    }

    as_written: bool = False
    """Take every string for a network of its own, as the benchmark does, equal or not."""

    def architectures(self) -> Iterator[str]:
        """The 4,096 cells, in the official order."""
        return iter(strings.micro_architectures())

    def sample(self, random: Random) -> str:
        """Uniform over the 4,096 cells, the 169 without a connection included."""
        return random.choice(strings.micro_architectures())

    def mutate(self, architecture: str, random: Random) -> str:
        """Another operation on one edge, uniform over the 18 neighbours, connected or not."""
        cell = list(self._cell(architecture))
        edge = random.randrange(len(EDGES))
        others = [code for code in range(len(OPERATIONS)) if code != cell[edge]]
        cell[edge] = random.choice(others)
        return strings.format(Architecture(MICRO_MODULES, tuple(cell)))

    def canonical(self, architecture: str) -> str:
        cell = self._cell(architecture)
        if self.as_written:
            return architecture
        return strings.format(Architecture(MICRO_MODULES, canonical_cell(cell)))

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.transnas.network import build

        return build(parse(architecture, "micro"), self.channels, self.classes, self.tiles)

    def describe(self, architecture: str) -> str:
        """One line for each edge, `1<-0 conv3x3`."""
        edges = zip(EDGES, self._cell(architecture), strict=True)
        return "\n".join(
            f"{target}<-{source} {OPERATIONS[code]}" for (target, source), code in edges
        )

    def _cell(self, architecture: str) -> tuple[int, ...]:
        return parse(architecture, "micro").cell or ()


@dataclass(frozen=True)
class TransNASMacro(_TransNAS):
    """TransNAS-Bench-101, macro: 3,256 structures of residual blocks."""

    name: ClassVar[str] = "transnas_macro"
    kind: ClassVar[Kind] = "macro"

    shortcut_norm: Literal["benchmark", "usual"] = "benchmark"
    """BatchNorm of shortcuts: as the benchmark has it by mistake, or as was meant."""
    sampler: Literal["uniform", "naslib"] = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("shortcut_norm", self.shortcut_norm, ("benchmark", "usual"))
        check_choice("sampler", self.sampler, _MACRO_SAMPLERS)

    def architectures(self) -> Iterator[str]:
        """The 3,256 structures, in the official order."""
        return iter(strings.macro_architectures())

    def sample(self, random: Random) -> str:
        return _MACRO_SAMPLERS[self.sampler](random)

    def mutate(self, architecture: str, random: Random) -> str:
        return sampling.mutate_macro(architecture, random)

    def canonical(self, architecture: str) -> str:
        """Every string is a network of its own."""
        self.validate(architecture)
        return architecture

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.transnas.network import build

        return build(
            parse(architecture, "macro"),
            self.channels,
            self.classes,
            self.tiles,
            self.shortcut_norm,
        )

    def describe(self, architecture: str) -> str:
        """One line for each module, `2 residual blocks: double channels`."""
        modules = parse(architecture, "macro").modules
        return "\n".join(f"2 residual blocks: {MODULES[digit - 1]}" for digit in modules)
