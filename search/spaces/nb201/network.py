"""The networks of NAS-Bench-201 as PyTorch modules.

Stem, three stages of cells with a reduction block between each two, head. Parameters are named
after their place and role: ``stem.conv.weight``, ``cells.4.edge.3<-1.bn.bias``,
``cells.5.reduce.conv_a.conv.weight``, ``head.fc.weight``; cells and reductions are numbered
together. Their order is that of the published implementation: stem, cell by cell with the edges in
the order of the string, head.

Every layer is a module that is called exactly once, and nothing works in place, so forward hooks
see all.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial

from torch import Tensor, fx, nn

from vkdnw.search.spaces.nb201.architecture import (
    CONVOLUTIONS,
    EDGES,
    NODES,
    NONE,
    POOL,
    SKIP,
    parse,
)
from vkdnw.search.spaces.nb201.cost import IMAGE_CHANNELS, STAGES, check_resolution, check_sizes
from vkdnw.search.spaces.shared.edge_cell import EdgeCell, kept_empty_edges
from vkdnw.search.spaces.shared.layers import Zeros, convolution, convolution_bn, relu_conv_bn


def build(arch: str, channels: int = 16, cells: int = 5, classes: int = 10) -> nn.Module:
    """The network of ``arch``: images ``[B, 3, H, W]`` to logits ``[B, classes]``.

    ``channels`` are those of the first stage (doubled by each reduction), ``cells`` is the number
    of cells in each of the three stages; H and W are any multiples of 4. The weights are PyTorch's
    defaults, drawn from the global generator; the module is in train mode.

    Raises `ArchitectureError` for a bad string and `ValueError` for a bad size.
    """
    check_sizes(channels, cells, classes)
    return TinyNetwork(parse(arch), channels, cells, classes, Parts())


def rebuild(arch: str, channels: int, cells: int, classes: int) -> nn.Module:
    """The network of ``arch`` in eval mode, out of modules that this thread has built before.

    Their weights are left in it, so all of them have to be drawn anew. Networks that were built
    before share modules with it, and are not to be used any more.
    """
    kept = vars(_kept).setdefault("parts", {})
    parts = kept.setdefault((channels, cells, classes), Parts())
    network = TinyNetwork(parse(arch), channels, cells, classes, parts)
    for module in network.modules():  # of which eval() would set every one
        if module.training:
            module.training = False
    return network


_kept = threading.local()


class Parts:
    """The modules of networks of one size, by their place: the common ones, and edges."""

    def __init__(self) -> None:
        self._made: dict[Hashable, nn.Module] = {}

    def at(self, place: Hashable, make: Callable[[], nn.Module]) -> nn.Module:
        """The module at a place, made for the first network that has it there."""
        if place not in self._made:
            self._made[place] = make()
        return self._made[place]


class TinyNetwork(nn.Module):
    """Stem, cells and head; see `build`."""

    static_graph = True

    def __init__(
        self, operations: Sequence[str], channels: int, cells: int, classes: int, parts: Parts
    ) -> None:
        super().__init__()
        self.stem = parts.at("stem", partial(convolution_bn, IMAGE_CHANNELS, channels, 3))
        body: list[nn.Module] = []
        for stage in range(STAGES):
            if stage:
                reduction = partial(Reduction, channels, 2 * channels)
                body.append(parts.at(len(body), reduction))
                channels *= 2
            for _ in range(cells):
                body.append(Cell(operations, channels, channels, parts, len(body)))
        self.cells = nn.Sequential(*body)
        self.head = parts.at("head", partial(head, channels, classes))

    def forward(self, images: Tensor) -> Tensor:
        check_sides(images)
        logits: Tensor = self.head(self.cells(self.stem(images)))
        return logits


def head(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(channels, classes),
        )
    )


@fx.wrap  # one call to a tracer, which could not follow the comparisons
def check_sides(images: Tensor) -> None:
    check_resolution(*images.shape[-2:])


class Cell(EdgeCell):
    """A cell: ``[B, inputs, H, W]`` to ``[B, outputs, H, W]``; only edges from node 0 widen."""

    def __init__(
        self,
        operations: Sequence[str],
        inputs: int,
        outputs: int,
        parts: Parts | None = None,
        place: int = 0,
    ) -> None:
        parts = Parts() if parts is None else parts
        named = dict(zip(EDGES, operations, strict=True))
        used = [edge for edge, operation in named.items() if operation != NONE]
        kept = kept_empty_edges(used, NODES - 1)
        super().__init__(
            {
                edge: parts.at(
                    (place, edge, operation),
                    partial(_operation, operation, outputs if edge.source else inputs, outputs),
                )
                for edge, operation in named.items()
                if operation != NONE or edge in kept
            },
            output=NODES - 1,
        )


class Reduction(nn.Module):
    """The block between two stages: ``[B, inputs, H, W]`` to ``[B, outputs, H/2, W/2]``."""

    static_graph = True

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.ModuleDict(
            {
                "conv_a": relu_conv_bn(inputs, outputs, kernel=3, stride=2),
                "conv_b": relu_conv_bn(outputs, outputs, kernel=3),
                "shortcut": nn.Sequential(
                    OrderedDict(pool=nn.AvgPool2d(2), conv=convolution(inputs, outputs, kernel=1))
                ),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.reduce["conv_b"](self.reduce["conv_a"](x))
        reduced: Tensor = residual + self.reduce["shortcut"](x)
        return reduced


def _operation(operation: str, inputs: int, outputs: int) -> nn.Module:
    if operation in CONVOLUTIONS:
        return relu_conv_bn(inputs, outputs, kernel=CONVOLUTIONS[operation])
    if inputs != outputs:
        if operation == SKIP:
            return convolution_bn(inputs, outputs, kernel=1)
        raise ValueError(f"{operation} cannot lead from {inputs} to {outputs} channels")
    if operation == POOL:
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity() if operation == SKIP else Zeros()
