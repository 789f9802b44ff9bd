"""MBConv blocks (Sandler et al. 2018, MobileNetV2; Tan et al. 2019, MnasNet) as sizes.

Expansion, depthwise convolution, squeeze-and-excitation, linear projection; the input is added
where it has the shape of the output. `mbconv_modules` has the modules.
"""

from dataclasses import dataclass

from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.layer_costs import convolution, convolution_bn, strided, total


@dataclass(frozen=True, slots=True)
class MBConv:
    """The sizes of a block."""

    inputs: int
    outputs: int
    expansion: int
    """Of the block's own input. 1 leaves the first convolution out."""
    kernel: int
    stride: int = 1
    excited: bool = False
    """Whether it has squeeze-and-excitation."""

    @property
    def expanded(self) -> int:
        return self.inputs * self.expansion

    @property
    def squeezed(self) -> int:
        """Channels inside squeeze-and-excitation: a quarter of the input's, not of `expanded`."""
        return max(1, self.inputs // 4)

    @property
    def shortcut(self) -> bool:
        return self.stride == 1 and self.inputs == self.outputs

    def __str__(self) -> str:
        excited = " SE" if self.excited else ""
        name = f"MB{self.expansion}_K{self.kernel}{excited} {self.inputs} -> {self.outputs}"
        return name if self.stride == 1 else f"{name} /{self.stride}"


def cost(block: MBConv, side: int) -> Cost:
    """The cost of a block that reads square feature maps of this side."""
    wide, squeezed = block.expanded, block.squeezed
    before, after = side**2, strided(side, block.stride) ** 2
    layers = [
        convolution_bn(wide, wide, block.kernel, after, groups=wide),
        convolution_bn(wide, block.outputs, 1, after),
    ]
    if block.expansion != 1:
        layers.append(convolution_bn(block.inputs, wide, 1, before))
    if block.excited:
        layers += [
            convolution(wide, squeezed, 1, pixels=1, bias=True),
            convolution(squeezed, wide, 1, pixels=1, bias=True),
        ]
    return total(layers)
