"""The cost of an architecture of NAS-Bench-101, from its string alone.

The parameters are those of the benchmark's `trainable_parameters`, digit for digit.
"""

from collections.abc import Iterator

from vkdnw.search.spaces.nb101.architecture import KERNELS, Graph
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.counting import IMAGE_CHANNELS
from vkdnw.search.spaces.shared.layer_costs import convolution_bn, linear


def widths(graph: Graph, inputs: int, outputs: int) -> list[int]:
    """The channels of every vertex of a cell that leads from ``inputs`` to ``outputs`` channels.

    Those that the output concatenates share its channels, the first ones getting one more where the
    division has a remainder. Any other has as many as the widest that it feeds.
    """
    last = graph.output
    found = [0] * (last + 1)
    found[0], found[last] = inputs, outputs
    heads = [vertex for vertex in graph.sources(last) if vertex != 0]
    if heads:
        share, remainder = divmod(outputs, len(heads))
        for place, head in enumerate(heads):
            found[head] = share + (place < remainder)
    for vertex in reversed(range(1, last)):
        if vertex not in heads:
            found[vertex] = max(found[target] for target in graph.targets(vertex))
    return found


def stages(channels: int, stacks: int, cells: int) -> Iterator[tuple[int, int, int]]:
    """(stack, channels in, channels out) of every cell: the first cell of a stack doubles them."""
    inputs = channels
    for stack in range(stacks):
        for _ in range(cells):
            outputs = channels * 2**stack
            yield stack, inputs, outputs
            inputs = outputs


def layer_costs(
    graph: Graph, channels: int, stacks: int, cells: int, classes: int, resolution: int
) -> Iterator[Cost]:
    """The costs of the layers of the network of a pruned graph, in the order of its parameters."""
    yield convolution_bn(IMAGE_CHANNELS, channels, 3, resolution**2)
    for stack, inputs, outputs in stages(channels, stacks, cells):
        pixels = (resolution // 2**stack) ** 2
        for read, written, kernel in cell_convolutions(graph, inputs, outputs):
            yield convolution_bn(read, written, kernel, pixels)
    yield linear(channels * 2 ** (stacks - 1), classes)


def cell_convolutions(graph: Graph, inputs: int, outputs: int) -> Iterator[tuple[int, int, int]]:
    """(channels in, channels out, kernel) of the convolutions of a cell, vertex by vertex.

    Every edge out of the input has a 1x1 convolution of its own.
    """
    channels = widths(graph, inputs, outputs)
    for vertex, operation in enumerate(graph.operations, start=1):
        if (0, vertex) in graph.edges:
            yield inputs, channels[vertex], 1
        if operation in KERNELS:
            yield channels[vertex], channels[vertex], KERNELS[operation]
    if (0, graph.output) in graph.edges:
        yield inputs, outputs, 1
