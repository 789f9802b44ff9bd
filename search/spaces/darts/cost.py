"""The cost of an architecture of the DARTS space, from its string alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from vkdnw.search.spaces.darts.architecture import (
    AVERAGE_POOL,
    DILATED,
    INPUTS,
    MAX_POOL,
    NODES,
    NONE,
    SEPARABLE,
    SKIP,
    Architecture,
    Cell,
)
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.counting import (
    BatchNorm,
    Convolution,
    Formula,
    GlobalPool,
    Layer,
    Linear,
    Pool,
    ReLU,
    cost,
)

Style = Literal["darts", "naslib"]
STYLES: tuple[Style, ...] = ("darts", "naslib")


@dataclass(frozen=True)
class Macro:
    """The network around the cells."""

    channels: int = 16
    """C: a normal cell before the first reduction has 4 C of them; the stem has 3 C."""
    cells: int = 8
    classes: int = 10
    style: Style = "darts"
    """Whether BatchNorms inside operations have weights (`darts`), or none, and poolings are
    followed by a BatchNorm without weights (`naslib`)."""

    @property
    def affine(self) -> bool:
        return self.style == "darts"

    @property
    def pool_bn(self) -> bool:
        return self.style == "naslib"

    @property
    def reductions(self) -> tuple[int, ...]:
        """The cells that halve the image and double the channels."""
        return tuple(sorted({self.cells // 3, 2 * self.cells // 3}))


class Step(NamedTuple):
    """The sizes of one cell."""

    inputs: tuple[int, int]
    """Channels of states 0 and 1 as the cell gets them."""
    channels: int
    """Of every state inside; its output has four times as many."""
    reduction: bool
    after_reduction: bool
    """State 0 still has twice the sides of state 1."""


def steps(macro: Macro) -> Iterator[Step]:
    before, last = 3 * macro.channels, 3 * macro.channels
    channels, after_reduction = macro.channels, False
    for index in range(macro.cells):
        reduction = index in macro.reductions
        channels *= 2 if reduction else 1
        yield Step((before, last), channels, reduction, after_reduction)
        before, last, after_reduction = last, NODES * channels, reduction


def network_cost(
    architecture: Architecture,
    macro: Macro,
    image: tuple[int, int, int] = (3, 32, 32),
    formula: Formula = "exact",
) -> Cost:
    """Parameter tensors, FLOPs and parameters for one image (channels, height, width).

    The auxiliary head is not counted. FLOPs are multiply-adds of convolutions and of the linear
    layer, or the count of NASLib's tables, `tensorwatch`; see `counting.cost`.
    """
    return cost(layers(architecture, macro, image), formula)


def layers(
    architecture: Architecture, macro: Macro, image: tuple[int, int, int]
) -> Iterator[Layer]:
    """The layers of the network, in the order of its parameters."""
    image_channels, height, width = image
    yield Convolution(image_channels, 3 * macro.channels, 3, height * width)
    yield BatchNorm(3 * macro.channels, height * width)
    outputs = 0
    for step in steps(macro):
        pixels = height * width
        if step.reduction:
            height, width = height // 2, width // 2
        cell = architecture.reduction if step.reduction else architecture.normal
        yield from _inputs(step, pixels)
        yield from _cell(cell, step, pixels, height * width, macro)
        outputs = NODES * step.channels
    yield GlobalPool(outputs, height, width)
    yield Linear(outputs, macro.classes)


def _inputs(step: Step, pixels: int) -> Iterator[Layer]:
    first, second = step.inputs
    c = step.channels
    if step.after_reduction:
        yield ReLU(first, 4 * pixels)
        yield Convolution(first, c // 2, 1, pixels)
        yield Convolution(first, c // 2, 1, pixels)
    else:
        yield ReLU(first, pixels)
        yield Convolution(first, c, 1, pixels)
    yield BatchNorm(c, pixels)
    yield ReLU(second, pixels)
    yield Convolution(second, c, 1, pixels)
    yield BatchNorm(c, pixels)


def _cell(cell: Cell, step: Step, before: int, after: int, macro: Macro) -> Iterator[Layer]:
    for node in cell:
        for source, operation in node:
            halved = step.reduction and source < INPUTS
            read = before if source < INPUTS else after
            yield from _operation(operation, step.channels, read, after, halved, macro)


def _operation(
    operation: int, c: int, before: int, after: int, halved: bool, macro: Macro
) -> Iterator[Layer]:
    if operation in (MAX_POOL, AVERAGE_POOL):
        yield Pool(c, after)
        if macro.pool_bn:
            yield BatchNorm(c, after, affine=False)
    elif operation in SEPARABLE:
        yield from _separable(c, SEPARABLE[operation], before, after, macro.affine)
        yield from _separable(c, SEPARABLE[operation], after, after, macro.affine)
    elif operation in DILATED:
        yield from _separable(c, DILATED[operation], before, after, macro.affine)
    elif operation == SKIP and halved:
        yield ReLU(c, before)
        yield Convolution(c, c // 2, 1, after)
        yield Convolution(c, c // 2, 1, after)
        yield BatchNorm(c, after, macro.affine)
    else:
        assert operation in (SKIP, NONE)


def _separable(c: int, kernel: int, before: int, after: int, affine: bool) -> Iterator[Layer]:
    yield ReLU(c, before)
    yield Convolution(c, c, kernel, after, groups=c)
    yield Convolution(c, c, 1, after)
    yield BatchNorm(c, after, affine)
