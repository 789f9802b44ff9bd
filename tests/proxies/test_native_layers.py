"""Native layers of a train-mode pass are torch's own to whoever looks, and however."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw import proxies
from vkdnw.backward.layers import OverwrittenError, WeightGradients, native_layers
from vkdnw.backward.layers.lazy_tensor import LazyTensor
from vkdnw.proxies import Inputs

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
ROUNDING = 1e-4
"""Of the largest gradient: float32 through batch statistics, see test_compute."""


def images() -> Tensor:
    return torch.randn(3, 16, 6, 6, generator=torch.Generator().manual_seed(0))


class Doubling(torch.autograd.Function):
    """A function that hands its input to C++ without a torch function in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


def doubled(x: Tensor) -> Tensor:
    result: Tensor = Doubling.apply(x)  # type: ignore[no-untyped-call]
    return result


def in_place(x: Tensor) -> Tensor:
    x += 1
    return x * x


def through_a_view(x: Tensor) -> Tensor:
    x[:, 2].mul_(3)
    return x * x


READERS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x + torch.ones_like(x),
    "sum with a number": lambda x: x + 1,
    "sum with weights": lambda x: torch.add(x, x.detach(), alpha=3),
    "sum with itself": lambda x: x + x,
    "sum from the left": lambda x: torch.ones(1) + x,
    "product": lambda x: 2 * x,
    "function of torch's": torch.sigmoid,
    "method": lambda x: x.clamp(min=0.2),
    "function of Python's": doubled,
    "scripted": torch.jit.script(nn.Sequential(nn.Softplus())),
    "in place": in_place,
    "through a view": through_a_view,
    "relu in place": lambda x: F.relu_(x) * 2,
    "list of tensors": lambda x: torch.cat([x, x], dim=1),
    "data": lambda x: x * x.data,
    "detached": lambda x: x * x.detach().exp(),
    "numpy": lambda x: x * float(x.detach().numpy().max()),
    "item": lambda x: x * x.max().item(),
    "pooling": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "convolution": nn.Conv2d(16, 16, 3, padding=1, bias=False),
    "narrow convolution": nn.Conv2d(16, 3, 3),
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "BatchNorm": lambda: nn.BatchNorm2d(16),
    "ReLU": nn.ReLU,
    "pooling": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "pooling a ReLU": lambda: nn.Sequential(
        nn.ReLU(), nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    ),
    "both": lambda: nn.Sequential(nn.BatchNorm2d(16), nn.ReLU()),
    "other way": lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(16)),
    "behind a convolution": lambda: nn.Sequential(
        nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
    ),
    "behind a point": lambda: nn.Sequential(
        nn.ReLU(), nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16, affine=False)
    ),
    "behind a stride": lambda: nn.Sequential(
        nn.ReLU(), nn.Conv2d(16, 32, 3, 2, padding=1, bias=False), nn.BatchNorm2d(32)
    ),
}


class Model(nn.Module):
    """Layers and a function of their output."""

    def __init__(self, layers: nn.Module, reader: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = layers
        self.reader = reader

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(self.layers(x))


def random_model(layer: str, reader: Callable[[Tensor], Tensor]) -> Model:
    torch.manual_seed(1)
    model = Model(LAYERS[layer](), copy.deepcopy(reader))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def differentiated(model: nn.Module, x: Tensor, **options: bool) -> list[Tensor]:
    """The output, and gradients of input and parameters, by native layers."""
    leaf = x.clone(memory_format=torch.channels_last).requires_grad_()
    with native_layers(model.modules(), WeightGradients(wanted=True), lambda _: None, **options):
        return _gradients(model, leaf)


def _gradients(model: nn.Module, leaf: Tensor) -> list[Tensor]:
    output = model(leaf.view_as(leaf))
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    leaves = [leaf, *(p for p in model.parameters() if p.requires_grad)]
    return [output.detach(), *torch.autograd.grad(output, leaves, cotangent.to(output))]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_sees_what_torch_computes(reader: str, layer: str) -> None:
    """A value that torch refuses to differentiate, because it was overwritten, is refused."""
    if "convolution" in reader and layer == "behind a stride":
        pytest.skip("it reads 16 channels")
    model = random_model(layer, READERS[reader])
    try:
        expected = _gradients(copy.deepcopy(model).double(), images().double().requires_grad_())
    except RuntimeError:
        with pytest.raises(RuntimeError, match="overwritten in place after a layer had read it"):
            differentiated(model, images(), lazy=True)
        return
    found = differentiated(model, images(), lazy=True)
    scale = max(float(each.abs().max()) for each in expected[1:])  # some gradients are zero
    for ours, theirs in zip(found, expected, strict=True):
        assert not isinstance(ours, LazyTensor)
        assert float((ours - theirs).abs().max()) <= ROUNDING * scale
    at_once = differentiated(model, images(), lazy=False)
    for ours, same in zip(found, at_once, strict=True):
        assert torch.equal(ours, same)


class Accumulating(nn.Module):
    """Adds to a map in place after a ReLU has read it, and reads the ReLU again afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.drop(self.stem(images))
        rectified = self.relu(x)
        x += self.norm(self.conv(rectified))
        logits: Tensor = self.head((x + rectified).mean((2, 3)))
        return logits


def test_what_is_overwritten_before_it_is_needed_is_computed_at_once() -> None:
    torch.manual_seed(0)
    model = Accumulating()
    read = Inputs(noise=torch.randn(4, 3, 8, 8))
    leaf = read.noise.contiguous(memory_format=torch.channels_last).requires_grad_()
    with (
        native_layers(model.modules(), WeightGradients(), lambda _: None, lazy=True),
        pytest.raises(OverwrittenError, match="a feature map was overwritten in place"),
    ):
        model(leaf)
    names, features = ["jacov", "expressivity", "trainability", "naswot"], ("stem", "norm")
    single = proxies.compute(names, model, read, seed=0, features=features)
    double = Inputs(noise=read.noise.double())
    expected = proxies.compute(names, model.double(), double, seed=0, features=features)
    for name in names:
        assert single[name].value == pytest.approx(expected[name].value, rel=ROUNDING), name


def test_gradients_that_are_lost_are_refused() -> None:
    """As torch does: BatchNorm needs its input."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x: Tensor) -> Tensor:
            x = 2 * x
            y = self.norm(x).clone()
            x.zero_()
            return y

    with pytest.raises(RuntimeError, match="overwritten in place after a layer had read it"):
        differentiated(Overwriting(), images(), lazy=False)


def test_a_map_may_be_written_to_between_a_convolution_and_its_batch_norm() -> None:
    """The gradient of BatchNorm goes to the map that the ReLU has read, not to the one after it."""

    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.norm = nn.ReLU(), nn.BatchNorm2d(16)
            self.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = 2 * x
            convolved = self.conv(self.relu(x))
            x *= 3
            return x + self.norm(convolved)

    torch.manual_seed(0)
    model = Writing()
    found = differentiated(model, images(), lazy=False)
    expected = _gradients(model.double(), images().double().requires_grad_())
    scale = max(float(each.abs().max()) for each in expected[1:])
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).abs().max()) <= ROUNDING * scale


def test_gradients_end_where_the_model_ends_them() -> None:
    class Detaching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.norm = nn.ReLU(), nn.BatchNorm2d(16)
            self.conv = nn.Conv2d(16, 16, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                fixed = self.conv(self.relu(x))
            return x + self.norm(fixed)

    torch.manual_seed(0)
    model = Detaching().requires_grad_(False)
    _, found = differentiated(model, images(), lazy=True)
    _, expected = _gradients(model.double(), images().double().requires_grad_())
    assert torch.equal(found.double(), expected.float().double())


def test_memory_is_not_read_behind_torchs_back() -> None:
    model = random_model("BatchNorm", lambda x: x)
    leaf = images().contiguous(memory_format=torch.channels_last).requires_grad_()
    with native_layers(model.modules(), WeightGradients(), lambda _: None, lazy=True):
        lazy = model(leaf)
    assert isinstance(lazy, LazyTensor)
    assert not lazy.op.is_made
    assert torch.equal(lazy.detach(), lazy.op.value())
    assert lazy.data_ptr() == 0
