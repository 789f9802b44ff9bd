"""The networks of NAS-Bench-101 as PyTorch modules.

A stem, stacks of cells with a maximum over 2x2 pixels between each two, a classifier. Parameters
are named after their place and role: ``stem.conv.weight``,
``cells.4.vertex.2.project.conv.weight``, ``cells.4.vertex.2.op.bn.bias``,
``cells.4.project.conv.weight`` (input to output), ``head.fc.weight``. Their order is that in which
the benchmark's code creates its variables: vertex by vertex, the projection before the operation.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from vkdnw.search.spaces.nb101.architecture import KERNELS, Graph, pruned
from vkdnw.search.spaces.nb101.cost import stages, widths
from vkdnw.search.spaces.shared.counting import IMAGE_CHANNELS
from vkdnw.search.spaces.shared.edge_cell import added
from vkdnw.search.spaces.shared.layers import convolution_bn, head
from vkdnw.search.spaces.shared.sizes import check_sizes

PUBLISHED_MOMENTUM = 0.003
"""Of BatchNorm when the benchmark was trained: TensorFlow's decay of 0.997."""


def build(
    arch: str,
    channels: int = 128,
    stacks: int = 3,
    cells: int = 3,
    classes: int = 10,
    momentum: float = 0.1,
) -> nn.Module:
    """The network of ``arch``: images ``[B, 3, H, W]`` to logits ``[B, classes]``.

    ``channels`` are those of the stem and the first stack, ``cells`` is the number of cells in each
    stack; H and W are multiples of ``2 ** (stacks - 1)``. ``momentum`` is that of BatchNorm: with
    that of the benchmark, `PUBLISHED_MOMENTUM`, running statistics need hundreds of steps. The
    weights are PyTorch's defaults, drawn from the global generator; the module is in train mode.

    Raises `ArchitectureError` for a bad string and `ValueError` for a bad size.
    """
    check_sizes(channels=channels, stacks=stacks, cells=cells, classes=classes)
    network = NASBench101Network(pruned(arch), channels, stacks, cells, classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
    return network


class NASBench101Network(nn.Module):
    """Stem, cells and head; see `build`."""

    def __init__(self, graph: Graph, channels: int, stacks: int, cells: int, classes: int) -> None:
        super().__init__()
        self.stem = convolution_bn_relu(IMAGE_CHANNELS, channels, 3)
        body: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (stack, inputs, outputs) in enumerate(stages(channels, stacks, cells)):
            if stack and index % cells == 0:
                body[f"pool{stack}"] = nn.MaxPool2d(2)
            body[str(index)] = Cell(graph, inputs, outputs)
        self.cells = nn.Sequential(body)
        self.head = head(channels * 2 ** (stacks - 1), classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.cells(self.stem(images)))
        return logits


class Cell(nn.Module):
    """A cell: ``[B, inputs, H, W]`` to ``[B, outputs, H, W]``."""

    def __init__(self, graph: Graph, inputs: int, outputs: int) -> None:
        super().__init__()
        self._widths = channels = widths(graph, inputs, outputs)
        self._sources = {
            vertex: [source for source in graph.sources(vertex) if source]
            for vertex in range(1, graph.output + 1)
        }
        self._output = graph.output
        self.vertex = nn.ModuleDict()
        for vertex, operation in enumerate(graph.operations, start=1):
            read = inputs if (0, vertex) in graph.edges else None
            self.vertex[str(vertex)] = Vertex(operation, read, channels[vertex])
        straight = (0, graph.output) in graph.edges
        self.project = convolution_bn_relu(inputs, outputs, 1) if straight else None

    def forward(self, x: Tensor) -> Tensor:
        states: dict[int, Tensor] = {}
        for vertex in range(1, self._output):
            # a source may have one channel more than its target, which then leaves it out
            terms = [self._cut(states[u], u, vertex) for u in self._sources[vertex]]
            states[vertex] = self.vertex[str(vertex)](terms, x)
        heads = [states[vertex] for vertex in self._sources[self._output]]
        joined = [torch.cat(heads, dim=1) if len(heads) > 1 else heads[0]] if heads else []
        if self.project is not None:
            joined.append(self.project(x))
        return added(joined)

    def _cut(self, state: Tensor, source: int, target: int) -> Tensor:
        width = self._widths[target]
        return state if self._widths[source] == width else torch.narrow(state, 1, 0, width)


class Vertex(nn.Module):
    """An operation on the sum of the edges into a vertex, the cell's input projected."""

    def __init__(self, operation: int, inputs: int | None, channels: int) -> None:
        super().__init__()
        self.project = None if inputs is None else convolution_bn_relu(inputs, channels, 1)
        self.op = _operation(operation, channels)

    def forward(self, terms: list[Tensor], x: Tensor) -> Tensor:
        projected = [] if self.project is None else [self.project(x)]
        state: Tensor = self.op(added([*terms, *projected]))
        return state


def _operation(operation: int, channels: int) -> nn.Module:
    if operation in KERNELS:
        return convolution_bn_relu(channels, channels, KERNELS[operation])
    return nn.MaxPool2d(3, stride=1, padding=1)


def convolution_bn_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return convolution_bn(inputs, outputs, kernel, activation=nn.ReLU)
