"""The networks of NATS-Bench's size space as PyTorch modules.

They are made of the stem, cells, reductions and head of NAS-Bench-201, one cell a stage.
Parameters are named as there: ``cells.0.edge.3<-1.conv.weight``, ``cells.1.reduce.conv_a.conv...``.
"""

from torch import Tensor, fx, nn

from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nats_sss.architecture import CELL, parse
from vkdnw.search.spaces.nats_sss.cost import REDUCTIONS, steps
from vkdnw.search.spaces.nb201.network import Cell, Reduction, check_sides, head
from vkdnw.search.spaces.shared.counting import IMAGE_CHANNELS
from vkdnw.search.spaces.shared.layers import convolution_bn
from vkdnw.search.spaces.shared.sizes import check_sizes

fx.wrap("check_sides")  # one call to a tracer


def build(arch: str, classes: int = 10) -> nn.Module:
    """The network of ``arch``: images ``[B, 3, H, W]`` to logits ``[B, classes]``.

    H and W are multiples of 4. The weights are PyTorch's defaults, drawn from the global generator;
    the module is in train mode. Raises `ArchitectureError` for a bad string and `ValueError` for a
    bad size.
    """
    check_sizes(classes=classes)
    return SizeNetwork(parse(arch), classes)


class SizeNetwork(nn.Module):
    """Stem, cells and head; see `build`."""

    static_graph = True

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.stem = convolution_bn(IMAGE_CHANNELS, channels[0], 3)
        operations = nb201.parse(CELL)
        self.cells = nn.Sequential(
            *(
                Reduction(inputs, outputs)
                if layer in REDUCTIONS
                else Cell(operations, inputs, outputs)
                for layer, (inputs, outputs) in enumerate(steps(channels))
            )
        )
        self.head = head(channels[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        check_sides(images)
        logits: Tensor = self.head(self.cells(self.stem(images)))
        return logits
