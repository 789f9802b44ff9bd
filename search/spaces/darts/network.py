"""The networks of the DARTS space as PyTorch modules.

Stem, cells, classifier. Parameters are named after their place and role:
``cells.2.input0.conv.weight``, ``cells.2.state.4.1.depthwise_a.weight`` (the second edge of state
4), ``head.fc.weight``. Their order is that of the published implementation.
"""

from collections import OrderedDict

import torch
from torch import Tensor, fx, nn

from vkdnw.search.spaces.darts import architecture as strings
from vkdnw.search.spaces.darts.architecture import (
    AVERAGE_POOL,
    DILATED,
    INPUTS,
    NODES,
    NONE,
    SEPARABLE,
    SKIP,
    Architecture,
    Edge,
)
from vkdnw.search.spaces.darts.cost import Macro, Step, steps
from vkdnw.search.spaces.shared.edge_cell import added
from vkdnw.search.spaces.shared.layers import (
    FactorisedReduction,
    Zeros,
    convolution,
    convolution_bn,
    head,
    relu_conv_bn,
)

AUXILIARY_CHANNELS = (128, 768)


def build(
    architecture: Architecture,
    macro: Macro | None = None,
    image_channels: int = 3,
    auxiliary: bool = False,
) -> nn.Module:
    """The network: images ``[B, image_channels, H, W]`` to logits ``[B, classes]``.

    H and W must be even as often as the network halves them. With ``auxiliary`` there is a second
    classifier on the output of the second reduction, and a network in train mode returns both
    logits; it needs images of 32 x 32. Drop path belongs to training and is not included. The
    weights are PyTorch's defaults, drawn from the global generator; the module is in train mode.
    """
    return DARTSNetwork(architecture, macro or Macro(), image_channels, auxiliary)


class DARTSNetwork(nn.Module):
    """Stem, cells and head; see `build`."""

    def __init__(
        self, architecture: Architecture, macro: Macro, image_channels: int, auxiliary: bool
    ) -> None:
        super().__init__()
        self._halvings = len(macro.reductions)
        self.stem = convolution_bn(image_channels, 3 * macro.channels, 3)
        self.cells = nn.ModuleList()
        outputs = 0
        for step in steps(macro):
            self.cells.append(Cell(architecture, step, macro))
            outputs = NODES * step.channels
        self._read = 2 * macro.cells // 3
        self.auxiliary = _auxiliary(outputs, macro.classes) if auxiliary else None
        self.head = head(outputs, macro.classes)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        _check_sides(images, self._halvings)
        before = last = self.stem(images)
        second: Tensor | None = None
        for index, cell in enumerate(self.cells):
            before, last = last, cell(before, last)
            if self.auxiliary is not None and self.training and index == self._read:
                second = self.auxiliary(last)
        logits: Tensor = self.head(last)
        return logits if second is None else (logits, second)


@fx.wrap  # one call to a tracer, which could not follow the comparisons
def _check_sides(images: Tensor, halvings: int) -> None:
    height, width = images.shape[-2:]
    if height % 2**halvings or width % 2**halvings:
        raise ValueError(
            f"the network halves the image {halvings} times, so its sides must be multiples of "
            f"{2**halvings}; got {height}x{width}"
        )


class Cell(nn.Module):
    """The outputs of the two cells before to ``[B, 4 channels, H, W]``."""

    def __init__(self, architecture: Architecture, step: Step, macro: Macro) -> None:
        super().__init__()
        cell = architecture.reduction if step.reduction else architecture.normal
        first, second = step.inputs
        self.input0: nn.Module = (
            FactorisedReduction(first, step.channels)
            if step.after_reduction
            else relu_conv_bn(first, step.channels, 1)
        )
        self.input1 = relu_conv_bn(second, step.channels, 1)
        self.state = nn.ModuleDict()
        self._sources: list[list[int]] = []
        for index, kept in enumerate(_kept(cell)):
            self._sources.append([edge.source for edge in kept])
            self.state[str(index + INPUTS)] = nn.ModuleList(
                _operation(edge.operation, step.channels, _stride(edge, step), macro)
                for edge in kept
            )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.input0(before), self.input1(last)]
        for operations, sources in zip(self.state.values(), self._sources, strict=True):
            edges = zip(operations.children(), sources, strict=True)
            states.append(added([operation(states[source]) for operation, source in edges]))
        return torch.cat(states[INPUTS:], dim=1)


def _kept(cell: strings.Cell) -> list[list[Edge]]:
    """The edges of each node without those `none` that can be left out of the sums.

    One stays where a node has no other edge, or where it is the only one to read an input of the
    cell, whose gradient then is zero rather than none at all.
    """
    read = {edge.source for node in cell for edge in node if edge.operation != NONE}
    kept = []
    for node in cell:
        edges = [e for e in node if e.operation != NONE or e.source in {0, 1} - read]
        kept.append(edges or [node[0]])
    return kept


def _stride(edge: Edge, step: Step) -> int:
    return 2 if step.reduction and edge.source < INPUTS else 1


def _operation(operation: int, channels: int, stride: int, macro: Macro) -> nn.Module:
    if operation in SEPARABLE:
        return _separable(channels, SEPARABLE[operation], stride, macro.affine)
    if operation in DILATED:
        return nn.Sequential(_half(channels, DILATED[operation], stride, 2, macro.affine, ""))
    if operation == NONE:
        return Zeros(stride)
    if operation == SKIP:
        if stride == 1:
            return nn.Identity()
        return FactorisedReduction(channels, channels, affine=macro.affine)
    pool: nn.Module = nn.MaxPool2d(3, stride, padding=1)
    if operation == AVERAGE_POOL:
        pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if not macro.pool_bn:
        return pool
    return nn.Sequential(OrderedDict(pool=pool, bn=nn.BatchNorm2d(channels, affine=False)))


def _separable(channels: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    return nn.Sequential(
        _half(channels, kernel, stride, 1, affine, "_a")
        | _half(channels, kernel, 1, 1, affine, "_b")
    )


def _half(
    channels: int, kernel: int, stride: int, dilation: int, affine: bool, suffix: str
) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        {
            f"relu{suffix}": nn.ReLU(),
            f"depthwise{suffix}": convolution(
                channels, channels, kernel, stride, dilation, groups=channels
            ),
            f"pointwise{suffix}": convolution(channels, channels, 1),
            f"bn{suffix}": nn.BatchNorm2d(channels, affine=affine),
        }
    )


def _auxiliary(channels: int, classes: int) -> nn.Sequential:
    narrow, wide = AUXILIARY_CHANNELS
    return nn.Sequential(
        OrderedDict(
            relu=nn.ReLU(),
            pool=nn.AvgPool2d(5, stride=3, count_include_pad=False),
            conv_a=convolution(channels, narrow, 1),
            bn_a=nn.BatchNorm2d(narrow),
            relu_a=nn.ReLU(),
            conv_b=nn.Conv2d(narrow, wide, 2, bias=False),
            bn_b=nn.BatchNorm2d(wide),
            relu_b=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(wide, classes),
        )
    )
