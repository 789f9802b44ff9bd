"""Models that write in place."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library.cases.case import Case, forward, images, linears, normal, vectors


def relu6_in_place(m: Any, x: Tensor) -> Tensor:
    y = F.relu6(m.norm(m.conv(x)), inplace=True)
    return m.fc(y.mul_(2).flatten(1))


def added_in_place(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y += x
    y.relu_()
    z = m.second(y)
    z += y
    return m.fc(z)


def slice_in_place(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y[:, :2] *= m.second(x)[:, :2]
    return m.fc(y)


def input_in_place(m: Any, x: Tensor) -> Tensor:
    x.mul_(2)
    return m.fc(torch.tanh(m.first(x)))


IN_PLACE = [
    forward(
        "relu6 and mul_ in place",
        relu6_in_place,
        images,
        lambda: {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(64, 3)},
    ),
    forward(
        "additions in place",
        added_in_place,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    forward(
        "a slice in place",
        slice_in_place,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    forward(
        "the input in place",
        input_in_place,
        vectors,
        linears(first=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    Case(
        "relu in place after linear over positions",
        lambda: nn.Sequential(
            nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
        ),
        normal(5, 3, 4),
    ),
    Case(
        "relu in place after conv1d",
        lambda: nn.Sequential(
            nn.Conv1d(3, 4, 3),
            nn.BatchNorm1d(4),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        normal(5, 3, 6),
    ),
]
