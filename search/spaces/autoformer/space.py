"""The AutoFormer spaces T, S and B as search spaces."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar

from vkdnw.search.spaces.autoformer import blocks, sampling
from vkdnw.search.spaces.autoformer.architecture import (
    BASE,
    SMALL,
    TINY,
    WIDE_BASE,
    WIDE_TINY,
    Architecture,
    Menu,
    parse,
    read,
)
from vkdnw.search.spaces.autoformer.blocks import FORMULAS, PATCH, VARIANTS, Formula, Network
from vkdnw.search.spaces.autoformer.sampling import DRAWS, Draw
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class AutoFormer:
    """The common part of the three spaces; `AutoFormerT`, `AutoFormerS` and `AutoFormerB` have the
    menus.

    Networks are scored at one size and their cost is told at another. Every string is a network of
    its own. Raises ValueError for sizes or options that there are not.
    """

    name: ClassVar[str]
    menu: ClassVar[Menu]
    wide: ClassVar[Menu]

    classes: int = 10
    """Of the networks that are scored."""
    resolution: int = 64
    """Of the images that networks are scored on: a multiple of 16, at least 32."""
    target_classes: int = 1000
    """Of the networks that `cost` counts."""
    target_resolution: int = 224
    network: Network = "autoformer"
    """Which of the networks that share the encoding; see `blocks.VARIANTS`."""
    formula: Formula = "exact"
    """How FLOPs are counted: multiply-adds, or as AutoFormer's code does."""
    draw: Draw = "uniform"
    """How `sample` draws; see `sampling.sample`."""
    wide_menu: bool = False
    """Accept the choices of the published networks beside the search's menu: ratio 3 in T, 8 heads
    in B. They are never drawn."""

    def __post_init__(self) -> None:
        check_sizes(classes=self.classes, target_classes=self.target_classes)
        for name in ("resolution", "target_resolution"):
            side = getattr(self, name)
            check_sizes(least=2 * PATCH, **{name: side})
            if side % PATCH:
                raise ValueError(f"{name} must be a multiple of {PATCH}, got {side}")
        check_choice("network", self.network, VARIANTS)
        check_choice("formula", self.formula, FORMULAS)
        check_choice("draw", self.draw, DRAWS)
        if self.formula == "released" and self.network != "autoformer":
            raise ValueError(
                f"formula 'released' counts the network 'autoformer' only, not {self.network!r}"
            )

    def validate(self, architecture: str) -> None:
        self._read(architecture)

    def parse(self, text: str) -> str:
        """Reads a string, AutoFormer's candidate, or the JSON of Auto-Prox or OoD-ViT-NAS."""
        return parse(text, self._accepted)

    def sample(self, random: Random) -> str:
        return str(sampling.sample(self.menu, random, self.draw))

    def mutate(self, architecture: str, random: Random) -> str:
        """The mutation of AutoFormer's search, repeated until the child differs."""
        return str(sampling.mutate(self._read(architecture), self.menu, random))

    def canonical(self, architecture: str) -> str:
        """Every string is a network of its own."""
        self.validate(architecture)
        return architecture

    def cost(self, architecture: str) -> Cost:
        """Of the network to be trained, with `target_classes` at `target_resolution`."""
        choices, variant = self._read(architecture), VARIANTS[self.network]
        sizes = self.target_classes, self.target_resolution
        exact = blocks.cost(choices, variant, *sizes)
        if self.formula == "exact":
            return exact
        return Cost(exact.layers, blocks.released_flops(choices, *sizes), exact.parameters)

    def build(self, architecture: str) -> "nn.Module":
        from vkdnw.search.spaces.autoformer.network import AutoFormerNetwork

        choices, variant = self._read(architecture), VARIANTS[self.network]
        return AutoFormerNetwork(choices, variant, self.classes, self.resolution)

    def features(self, model: "nn.Module") -> tuple[str, ...]:
        """Both sums of every block: tokens ``[B, L, width]``, the class token among them."""
        from vkdnw.search.spaces.shared.transformer_modules import features

        depth = len(list(model.get_submodule("blocks").children()))
        return features(f"blocks.{i}" for i in range(depth))

    def describe(self, architecture: str) -> str:
        """One line for each block."""
        choices = self._read(architecture)
        return "\n".join(
            f"{place}: width {choices.width}, {block.heads} heads, "
            f"perceptron {choices.hidden(block)}"
            for place, block in enumerate(choices.blocks)
        )

    @property
    def _accepted(self) -> Menu:
        return self.wide if self.wide_menu else self.menu

    def _read(self, architecture: str) -> Architecture:
        return read(architecture, self._accepted)


@dataclass(frozen=True)
class AutoFormerT(AutoFormer):
    """Tiny: 1.06e9 networks of 5.4 to 10.5 million parameters."""

    name: ClassVar[str] = "autoformer_t"
    menu: ClassVar[Menu] = TINY
    wide: ClassVar[Menu] = WIDE_TINY


@dataclass(frozen=True)
class AutoFormerS(AutoFormer):
    """Small: 7.7e13 networks of 13 to 35 million parameters."""

    name: ClassVar[str] = "autoformer_s"
    menu: ClassVar[Menu] = SMALL
    wide: ClassVar[Menu] = SMALL


@dataclass(frozen=True)
class AutoFormerB(AutoFormer):
    """Base: 1.0e13 networks of 42 to 77 million parameters."""

    name: ClassVar[str] = "autoformer_b"
    menu: ClassVar[Menu] = BASE
    wide: ClassVar[Menu] = WIDE_BASE
