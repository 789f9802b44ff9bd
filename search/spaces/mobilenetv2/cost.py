"""The cost of a structure, from its string alone: no module is built.

FLOPs are multiply-adds. The `exact` formula counts those of convolutions and of the linear layer,
as ptflops and fvcore do, and every trainable scalar. The `released` formula is that of the authors'
search, for budgets that must mean the same: it adds one operation for each value that a BatchNorm
puts out, divides a strided projection by its stride twice, rounds odd resolutions down, and counts
half of each BatchNorm's parameters, none of a projection's BatchNorm, and one bias of the linear
layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from vkdnw.search.spaces.mobilenetv2.halves import Half, halves, squeezed
from vkdnw.search.spaces.mobilenetv2.structure import Block, Convolutions, parse
from vkdnw.search.spaces.search_space import Cost

Formula = Literal["exact", "released"]

FORMULAS: tuple[Formula, ...] = ("exact", "released")


@dataclass(frozen=True)
class StructureCost(Cost):
    """The cost of a structure; `layers` are parameter tensors, as in every space."""

    depth: int
    """Sub-layers of all blocks, which the paper's search bounds by 14 (16 for 1G FLOPs)."""


def cost(
    structure: str,
    classes: int = 1000,
    resolution: int = 224,
    squeeze_excitation: bool = False,
    residual: bool = True,
    formula: Formula = "exact",
) -> StructureCost:
    """Layers, FLOPs, parameters and depth of the network that `build` makes, for one image.

    Raises `ArchitectureError` for a bad structure, `ValueError` for a bad size or formula.
    """
    check_sizes(classes, resolution, formula)
    blocks = parse(structure)
    layers, flops, parameters, depth = 0, 0, 0, 0
    for block in blocks:
        size, resolution = _block_size(block, resolution, squeeze_excitation, residual, formula)
        layers += size.layers
        flops += size.flops
        parameters += size.parameters
        depth += block.sublayers
    width = blocks[-1].outputs
    return StructureCost(
        layers=layers + 2,
        flops=flops + width * classes,
        parameters=parameters + width * classes + (classes if formula == "exact" else 1),
        depth=depth,
    )


class _Convolution(NamedTuple):
    """Convolution, BatchNorm and ReLU."""

    inputs: int
    outputs: int
    kernel: int
    stride: int


class _Pixels(NamedTuple):
    """The side of the square feature map before and after a unit."""

    before: int
    after: int


class _Size(NamedTuple):
    layers: int
    flops: int
    parameters: int


_Unit = _Convolution | Half


@lru_cache(maxsize=65536)  # a child has most of its blocks from its parent
def _block_size(
    block: Block, resolution: int, squeeze_excitation: bool, residual: bool, formula: Formula
) -> tuple[_Size, int]:
    """The cost of a block at a resolution, and the resolution behind it."""
    stride = block.stride
    after = -(-resolution // stride) if formula == "exact" else resolution // stride
    rule = _exact_size if formula == "exact" else _released_size
    layers, flops, parameters = 0, 0, 0
    for unit, times, pixels in _units(block, resolution, after):
        size = rule(unit, pixels, squeeze_excitation, residual)
        layers += times * size.layers
        flops += times * size.flops
        parameters += times * size.parameters
    return _Size(layers, flops, parameters), after


def _units(block: Block, before: int, after: int) -> Iterator[tuple[_Unit, int, _Pixels]]:
    """The units of a block, how often each is there, and at which resolution."""
    strided, plain = _Pixels(before, after), _Pixels(after, after)
    first: _Unit
    if isinstance(block, Convolutions):
        first = _Convolution(block.inputs, block.outputs, block.kernel, block.stride)
        more: _Unit = _Convolution(block.outputs, block.outputs, block.kernel, 1)
    else:
        first, more, second = halves(block)
        yield second, block.sublayers, plain
    yield first, 1, strided
    if block.sublayers > 1:
        yield more, block.sublayers - 1, plain


def _exact_size(unit: _Unit, pixels: _Pixels, squeeze_excitation: bool, residual: bool) -> _Size:
    before, after = pixels.before**2, pixels.after**2
    if isinstance(unit, _Convolution):
        weights = unit.inputs * unit.outputs * unit.kernel**2
        return _Size(3, weights * after, weights + 2 * unit.outputs)
    inputs, expanded, outputs, kernel, _, projected = unit
    expand, depthwise, project = inputs * expanded, expanded * kernel**2, expanded * outputs
    layers = 9
    flops = expand * before + (depthwise + project) * after
    parameters = expand + depthwise + project + 4 * expanded + 2 * outputs
    if squeeze_excitation:
        middle = squeezed(expanded)
        layers += 6
        flops += 2 * expanded * middle
        parameters += 2 * expanded * middle + 2 * middle + 2 * expanded
    if residual and projected:
        layers += 4
        flops += inputs * outputs * after
        parameters += inputs * outputs + 3 * outputs
    return _Size(layers, flops, parameters)


def _released_size(unit: _Unit, pixels: _Pixels, squeeze_excitation: bool, residual: bool) -> _Size:
    layers = _exact_size(unit, pixels, squeeze_excitation, residual).layers
    before, after = pixels.before**2, pixels.after**2
    if isinstance(unit, _Convolution):
        weights = unit.inputs * unit.outputs * unit.kernel**2
        flops = weights * before // unit.stride**2 + unit.outputs * after
        return _Size(layers, flops, weights + unit.outputs)
    inputs, expanded, outputs, kernel, stride, projected = unit
    expand, depthwise, project = inputs * expanded, expanded * kernel**2, expanded * outputs
    flops = (
        (expand + expanded) * before
        + depthwise * before // stride**2
        + (expanded + project + outputs) * after
    )
    parameters = expand + depthwise + project + 2 * expanded + outputs
    if squeeze_excitation:
        middle = squeezed(expanded)
        flops += 2 * expanded * middle + expanded + expanded * after
        parameters += 2 * expanded * middle + 2 * middle + 2 * expanded
    if residual and projected:
        projection = inputs * outputs + outputs
        flops += after * projection // stride**2
        parameters += projection
    return _Size(layers, flops, parameters)


def check_sizes(classes: int, resolution: int, formula: str) -> None:
    """Raise `ValueError` unless sizes are positive integers and the formula is known."""
    for name, size in (("classes", classes), ("resolution", resolution)):
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a positive integer, got {size!r}")
    if formula not in FORMULAS:
        raise ValueError(f"formula must be {' or '.join(FORMULAS)}, got {formula!r}")
