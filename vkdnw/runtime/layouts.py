"""Models that torch's CPU convolutions compute correctly on images in channels_last."""

from collections.abc import Iterable

from torch import nn

AVX2_BLOCK = 8  # channels that oneDNN's kernels for AVX2 take at a time


def channels_last_is_safe(modules: Iterable[nn.Module]) -> bool:
    """False for a model with a 1x1 convolution of a stride and fewer than 8 input channels.

    With torch 2.13 on a processor without AVX-512, the weight gradient of such a convolution on
    images in channels_last writes past its memory: the process ends with "double free or
    corruption". Images that are contiguous, other kernel sizes and more channels are computed
    correctly.
    """
    return not any(map(_overruns, modules))


def _overruns(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and tuple(module.kernel_size) == (1, 1)
        and max(module.stride) > 1
        and module.in_channels // module.groups < AVX2_BLOCK
    )
