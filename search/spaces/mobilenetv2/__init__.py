"""The MobileNetV2 space of Zen-NAS, ZiCo, AZ-NAS and VKDNW (Section 4.2 of the paper).

Structures are strings of blocks, and the rest are functions of them.
"""

from typing import TYPE_CHECKING, Any

from vkdnw.search.spaces.mobilenetv2.cost import FORMULAS, Formula, StructureCost, cost
from vkdnw.search.spaces.mobilenetv2.menus import TYPES, depths, replacements, round_width, widths
from vkdnw.search.spaces.mobilenetv2.mutation import Draw, mutate, sample, split
from vkdnw.search.spaces.mobilenetv2.space import MobileNetV2
from vkdnw.search.spaces.mobilenetv2.structure import (
    INITIAL,
    Block,
    Convolutions,
    InvertedResiduals,
    canonical,
    format,  # noqa: A004 - the counterpart of parse
    parse,
    validate,
)
from vkdnw.search.spaces.search_space import ArchitectureError

if TYPE_CHECKING:
    from vkdnw.search.spaces.mobilenetv2.network import build, features

__all__ = [
    "FORMULAS",
    "INITIAL",
    "TYPES",
    "ArchitectureError",
    "Block",
    "Convolutions",
    "Draw",
    "Formula",
    "InvertedResiduals",
    "MobileNetV2",
    "StructureCost",
    "build",
    "canonical",
    "cost",
    "depths",
    "features",
    "format",
    "mutate",
    "parse",
    "replacements",
    "round_width",
    "sample",
    "split",
    "validate",
    "widths",
]


def __getattr__(name: str) -> Any:
    if name in ("build", "features"):  # all but the networks themselves does without torch
        from vkdnw.search.spaces.mobilenetv2 import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
