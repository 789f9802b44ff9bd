"""Convolutions over their hyper-parameters."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from tests.library.cases.case import Case, layer_case

IMAGE = (4, 7, 6)


def conv(name: str, layer: Any, shape: tuple[int, ...] = IMAGE) -> Case:
    return layer_case(name, layer, shape)


CONVOLUTIONS = [
    conv("conv2d", partial(nn.Conv2d, 4, 6, 3)),
    conv("conv2d 1x1 without bias", partial(nn.Conv2d, 4, 6, 1, bias=False)),
    conv("conv2d stride and padding", partial(nn.Conv2d, 4, 6, 3, stride=2, padding=1)),
    conv(
        "conv2d every number per axis",
        partial(nn.Conv2d, 4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3)),
    ),
    conv("conv2d stride beyond kernel", partial(nn.Conv2d, 4, 6, 2, stride=3)),
    conv("conv2d padding beyond kernel", partial(nn.Conv2d, 4, 6, 2, padding=3)),
    conv("conv2d dilation", partial(nn.Conv2d, 4, 6, 3, dilation=2, padding=1)),
    conv("conv2d groups", partial(nn.Conv2d, 4, 6, 3, padding=1, groups=2)),
    conv("conv2d depthwise", partial(nn.Conv2d, 4, 4, 3, padding=1, groups=4)),
    conv("conv2d depthwise multiplier", partial(nn.Conv2d, 4, 12, 3, stride=2, groups=4)),
    conv("conv2d 16 channels", partial(nn.Conv2d, 16, 16, 3, padding=1), (16, 5, 5)),
    conv("conv2d same, even kernel", partial(nn.Conv2d, 4, 6, (4, 2), padding="same")),
    conv("conv2d same, dilation", partial(nn.Conv2d, 4, 6, 2, padding="same", dilation=3)),
    conv("conv2d valid", partial(nn.Conv2d, 4, 6, 3, padding="valid")),
    conv(
        "conv2d same, reflect",
        partial(nn.Conv2d, 4, 6, (4, 3), padding="same", padding_mode="reflect"),
    ),
    *(
        conv(
            f"conv2d {mode}",
            partial(nn.Conv2d, 4, 6, 3, stride=2, padding=(2, 1), padding_mode=mode),
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    conv("conv1d", partial(nn.Conv1d, 4, 6, 3, stride=2, padding=1), (4, 9)),
    conv("conv1d same, groups", partial(nn.Conv1d, 4, 6, 4, padding="same", groups=2), (4, 9)),
    conv(
        "conv1d circular",
        partial(nn.Conv1d, 4, 20, 3, padding=2, dilation=2, padding_mode="circular"),
        (4, 9),
    ),
    conv("conv3d", partial(nn.Conv3d, 2, 4, (2, 3, 1), stride=(1, 2, 1), padding=1), (2, 3, 5, 4)),
    conv(
        "conv3d replicate, groups",
        partial(nn.Conv3d, 2, 4, 2, padding=(0, 1, 2), padding_mode="replicate", groups=2),
        (2, 3, 4, 3),
    ),
    conv(
        "conv3d same, dilation",
        partial(nn.Conv3d, 2, 4, 2, padding="same", dilation=2),
        (2, 3, 4, 3),
    ),
    *(
        layer_case(name, layer, shape, fallback=("weight", "bias"))
        for name, layer, shape in (
            ("conv transpose 1d", partial(nn.ConvTranspose1d, 4, 3, 3, stride=2), (4, 5)),
            ("conv transpose 2d", partial(nn.ConvTranspose2d, 4, 4, 3, output_padding=0), IMAGE),
            (
                "conv transpose 3d",
                partial(nn.ConvTranspose3d, 2, 2, 2, groups=2),
                (2, 3, 3, 2),
            ),
        )
    ),
]
