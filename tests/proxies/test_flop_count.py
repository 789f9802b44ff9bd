"""FLOPs counted without running a model, against torch's counter, which runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tests.proxies.networks import NETWORKS, network
from vkdnw import proxies
from vkdnw.proxies.flop_count import PUT_OFF, forward_flops
from vkdnw.search.spaces import nb201

SIZE = 16
CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"


def sample(channels: int = 3) -> Tensor:
    return torch.randn(1, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def counted_by_torch(model: nn.Module, images: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    return int(counter.get_total_flops())


class Run(TorchDispatchMode):
    """Counts the operators that are run, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.operators[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_networks_of_any_kind(name: str, dtype: torch.dtype) -> None:
    model, images = network(name).to(dtype).eval(), sample()[..., :8, :8].to(dtype)
    expected = counted_by_torch(model, images)
    assert forward_flops(model, images) == expected
    assert forward_flops(model, images) == expected  # with every size known
    assert forward_flops(model, images, put_off=False) == expected


def test_a_network_of_known_sizes_is_not_run() -> None:
    model = nb201.build(CELL, channels=16, cells=1).eval()
    expected = counted_by_torch(model, sample())
    forward_flops(model, sample())
    with Run() as run:
        assert forward_flops(model, sample()) == expected
    assert not {str(operator) for operator in PUT_OFF} & run.operators.keys()


class Looking(nn.Module):
    """Convolves what it reads, then a second time if the numbers tell it to."""

    def __init__(self, act: Callable[[nn.Conv2d, Tensor], Tensor | float | bool]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        told = self.act(self.conv, x)
        self.told = float(told)
        return F.relu(self.conv(y)) if told else y


def overwrites_what_was_read(conv: nn.Conv2d, x: Tensor) -> bool:
    y = conv(x)
    before = y + 0
    x.zero_()
    return bool((y == before).all() and (conv(x) != y).any())


def overwrites_what_was_returned(conv: nn.Conv2d, x: Tensor) -> bool:
    y = conv(x)
    rows = y.view(-1)
    once = y + 1
    y.mul_(0)
    return bool(rows.eq(0).all() and once.ne(1).any())


def normalises_by_the_batch(conv: nn.Conv2d, x: Tensor) -> bool:
    norm = nn.BatchNorm2d(16).eval()
    before = norm(x)
    norm.train()(x + 1)
    after = norm.eval()(x)
    return bool((before != after).any() and torch.equal(before, x / (1 + norm.eps) ** 0.5))


def changes_sizes_in_place(conv: nn.Conv2d, x: Tensor) -> bool:
    y = conv(x)
    return y.squeeze_(0).dim() == 3 and y.shape[0] == 16


def has_a_gradient(conv: nn.Conv2d, x: Tensor) -> bool:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        F.conv2d(leaf, conv.weight.detach()).square().sum().backward()
    return bool((leaf.grad != 0).any())


def infers(conv: nn.Conv2d, x: Tensor) -> bool:
    with torch.inference_mode():
        return bool(conv(x).sum() != 0)


ACTS: dict[str, Callable[[nn.Conv2d, Tensor], Tensor | float | bool]] = {
    "nothing is looked at": lambda conv, x: True,
    "a sum is positive": lambda conv, x: conv(x).square().sum() > 0,
    "a sum is negative": lambda conv, x: conv(x).square().sum() < 0,
    "one number": lambda conv, x: conv(x).abs().amax().item() > 1e3,
    "memory": lambda conv, x: float(conv(x).numpy().std()) > 0,
    "of a list": lambda conv, x: torch.cat([x, conv(x)], 1).std() > 0,
    "a gradient": has_a_gradient,
    "in inference mode": infers,
    "what was read is overwritten": overwrites_what_was_read,
    "what was returned is overwritten": overwrites_what_was_returned,
    "statistics are overwritten": normalises_by_the_batch,
    "sizes are changed": changes_sizes_in_place,
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_a_model_sees_its_numbers(act: Callable[[nn.Conv2d, Tensor], Any]) -> None:
    model = Looking(act).eval()
    expected = counted_by_torch(model, sample(16))
    told = model.told
    for _ in range(2):
        assert proxies.flops(model, sample(16)).value == expected / 2
        assert model.told == told


class Keeping(nn.Module):
    """Keeps feature maps: one that is read again, one that is not, and one with a view of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.maps = self.conv(x)
        self.unread = self.maps * 2
        self.rows = (self.maps + 1).view(16, -1)
        self.both = [self.maps * 2]
        self.both.append(self.both[0].view(16, -1))
        return F.relu(self.maps)


def test_what_a_model_keeps_has_its_numbers() -> None:
    model = Keeping().eval()
    expected = model.conv(sample()).detach()
    for _ in range(2):
        forward_flops(model, sample())
        assert type(model.maps) is type(model.unread) is type(model.rows) is Tensor
        assert torch.equal(model.maps, expected)
        assert torch.equal(model.unread, expected * 2)
        assert torch.equal(model.rows, (expected + 1).view(16, -1))
        model.both[0].mul_(2)  # both see it
        for map_ in model.both:
            assert torch.equal(map_.flatten(), expected.flatten() * 4)


def test_a_model_fails_as_it_would() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(15, 16, 3)).eval()
    with pytest.raises(RuntimeError, match=r"expected input.* to have 15 channels, but got 16"):
        proxies.flops(model, sample())
