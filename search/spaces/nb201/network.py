"""The networks of NAS-Bench-201 as PyTorch modules.

Stem, three stages of cells with a reduction block between each two, head. Parameters are named
after what they are: ``stem.conv.weight``, ``cells.4.edge.3<-1.bn.bias``,
``cells.5.reduce.conv_a.conv.weight``, ``head.fc.weight``; cells and reductions are numbered
together. Their order is that of the published implementation: stem, cell by cell with the edges in
the order of the string, head.

Every layer is a module that is called exactly once, and nothing works in place, so forward hooks
see all.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, fx, nn

from vkdnw.search.spaces.nb201.architecture import (
    CONVOLUTIONS,
    EDGES,
    NODES,
    NONE,
    POOL,
    SKIP,
    Edge,
    parse,
)
from vkdnw.search.spaces.nb201.cost import IMAGE_CHANNELS, STAGES, check_resolution, check_sizes


def build(arch: str, channels: int = 16, cells: int = 5, classes: int = 10) -> nn.Module:
    """The network of ``arch``: images ``[B, 3, H, W]`` to logits ``[B, classes]``.

    ``channels`` are those of the first stage (doubled by each reduction), ``cells`` is the number
    of cells in each of the three stages; H and W are any multiples of 4. The weights are PyTorch's
    defaults, drawn from the global generator; the module is in train mode.

    Raises `ArchitectureError` for a bad string and `ValueError` for a bad size.
    """
    check_sizes(channels, cells, classes)
    return TinyNetwork(parse(arch), channels, cells, classes)


class TinyNetwork(nn.Module):
    """Stem, cells and head; see `build`."""

    def __init__(self, operations: Sequence[str], channels: int, cells: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(IMAGE_CHANNELS, channels, 3, padding=1, bias=False),
                bn=nn.BatchNorm2d(channels),
            )
        )
        body: list[nn.Module] = []
        for stage in range(STAGES):
            if stage:
                body.append(Reduction(channels))
                channels *= 2
            body += [Cell(operations, channels) for _ in range(cells)]
        self.cells = nn.Sequential(*body)
        self.head = nn.Sequential(
            OrderedDict(
                bn=nn.BatchNorm2d(channels),
                relu=nn.ReLU(),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc=nn.Linear(channels, classes),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        _check_sides(images)
        logits: Tensor = self.head(self.cells(self.stem(images)))
        return logits


@fx.wrap  # one call to a tracer, which could not follow the comparisons
def _check_sides(images: Tensor) -> None:
    check_resolution(*images.shape[-2:])


class Cell(nn.Module):
    """A cell: ``[B, channels, H, W]`` to the same shape."""

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        kept = _kept_none_edges(operations)
        self.edge = nn.ModuleDict()
        for edge, operation in zip(EDGES, operations, strict=True):
            if operation != NONE or edge in kept:
                self.edge[str(edge)] = _operation(operation, channels)
        self._edges = [(edge, str(edge)) for edge in EDGES if str(edge) in self.edge]

    def forward(self, x: Tensor) -> Tensor:
        nodes = {0: x}
        for (target, source), name in self._edges:
            term = self.edge[name](nodes[source])
            nodes[target] = nodes[target] + term if target in nodes else term
        return nodes[NODES - 1]


class Reduction(nn.Module):
    """The block between two stages: ``[B, channels, H, W]`` to ``[B, 2 channels, H/2, W/2]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.reduce = nn.ModuleDict(
            {
                "conv_a": _convolution(channels, wide, kernel=3, stride=2),
                "conv_b": _convolution(wide, wide, kernel=3),
                "shortcut": nn.Sequential(
                    OrderedDict(pool=nn.AvgPool2d(2), conv=nn.Conv2d(channels, wide, 1, bias=False))
                ),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.reduce["conv_b"](self.reduce["conv_a"](x))
        reduced: Tensor = residual + self.reduce["shortcut"](x)
        return reduced


class Zero(nn.Module):
    """Zeros of the input's shape that stay connected to it, with gradient zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


def _operation(operation: str, channels: int) -> nn.Module:
    if operation in CONVOLUTIONS:
        return _convolution(channels, channels, kernel=CONVOLUTIONS[operation])
    if operation == POOL:
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity() if operation == SKIP else Zero()


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            bn=nn.BatchNorm2d(outputs),
        )
    )


def _kept_none_edges(operations: Sequence[str]) -> set[Edge]:
    """The ``none`` edges that cannot be left out of the sums.

    The published network adds ``0 * x`` for each ``none``, which costs time and changes nothing,
    except where a node has no other input (it holds zeros) or no other way out (what leads to it
    then has gradients of zero rather than none at all).
    """
    used = [edge for edge, operation in zip(EDGES, operations, strict=True) if operation != NONE]
    fed = {edge.target for edge in used}
    read = {edge.source for edge in used}
    output = NODES - 1
    kept = {Edge(node, 0) for node in {*read, output} - fed - {0}}
    return kept | {Edge(output, node) for node in fed - read - {output}}
