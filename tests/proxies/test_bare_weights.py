"""Parameters outside of layers that multiply as weights do: sums over weights refuse them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library.cases.case import Forward
from vkdnw import proxies

BATCH, CLASSES = 5, 3
SUMS = ["snip", "grad_norm", "zico", "gradsign", "grasp", "synflow", "plain"]


def network(run: Callable[..., Any], **parts: Any) -> nn.Module:
    return Forward(run, stem=nn.Linear(4, 6), head=nn.Linear(6, CLASSES), **parts)


def bare(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape))


def inputs() -> proxies.Inputs:
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 7, 4), torch.arange(BATCH) % CLASSES
    return proxies.Inputs(images, labels, None, None, images, labels, images.flip(0), labels)


def by_function(m: Any, x: Tensor) -> Tensor:
    return m.head(F.linear(m.stem(x).relu(), m.bare).mean(1))


def by_einsum(m: Any, x: Tensor) -> Tensor:
    """As stacked experts: the bare one is laid out anew."""
    return m.head(torch.einsum("btc,eco->bteo", m.stem(x).relu(), m.bare).mean((1, 2)))


def mixed_first(m: Any, x: Tensor) -> Tensor:
    """Kernels of which each sample has a mixture."""
    shares = m.stem(x).mean(1).softmax(1)
    mixture = (shares @ m.bare.flatten(1)).view(-1, 6, 6)
    return m.head((m.stem(x).relu() @ mixture).mean(1))


def by_another_layer(m: Any, x: Tensor) -> Tensor:
    """A table of embeddings that is the classifier as well."""
    return m.head(m.stem(x).mean(1)) + F.linear(m.stem(x).mean(1), m.table.weight)


MULTIPLYING = {
    "F.linear": lambda: network(by_function, bare=bare(6, 6)),
    "einsum": lambda: network(by_einsum, bare=bare(2, 6, 6)),
    "a mixture": lambda: network(mixed_first, bare=bare(6, 6, 6)),
    "another layer's": lambda: network(by_another_layer, table=nn.Embedding(CLASSES, 6)),
}


@pytest.mark.parametrize("proxy", SUMS)
@pytest.mark.parametrize("name", MULTIPLYING)
def test_one_that_multiplies_is_refused_by_name(name: str, proxy: str) -> None:
    with pytest.raises(ValueError, match=r"^(bare|table\.weight), a parameter of a .*multiplies"):
        proxies.compute([proxy], MULTIPLYING[name](), inputs(), seed=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_the_weights_of_a_scripted_layer_are_as_much_out_of_sight() -> None:
    model = nn.Sequential(torch.jit.script(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, CLASSES))
    with pytest.raises(ValueError, match=r"^0.weight, a parameter of a .*before torch.jit"):
        proxies.snip(model, torch.randn(BATCH, 4), torch.arange(BATCH) % CLASSES)


def added(m: Any, x: Tensor) -> Tensor:
    return m.head((m.stem(x) + m.bare).relu().mean(1))


def looked_up(m: Any, x: Tensor) -> Tensor:
    return m.head((m.stem(x) + m.table.weight[:1]).relu().mean(1))


def shared_bias(m: Any, x: Tensor) -> Tensor:
    """A product of parameters alone, as a table of positions may be made."""
    return m.head((m.stem(x) + m.bare @ m.other).relu().mean(1))


OTHERS = {
    "a table of positions": lambda: network(added, bare=bare(1, 6)),
    "a row of embeddings": lambda: network(looked_up, table=nn.Embedding(2, 6)),
    "a product without images": lambda: network(shared_bias, bare=bare(1, 6), other=bare(6, 6)),
}


@pytest.mark.parametrize("proxy", SUMS)
@pytest.mark.parametrize("name", OTHERS)
def test_one_that_does_not_is_no_weight(name: str, proxy: str) -> None:
    assert proxies.compute([proxy], OTHERS[name](), inputs(), seed=0)[proxy].reason is None
