"""Refuses inputs that a proxy or a model cannot read, with an error of this package."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vkdnw.checks import check_parameter
from vkdnw.proxies.inputs import Inputs, given
from vkdnw.proxies.proxy import Proxy
from vkdnw.runtime.model_state import Parts


def check_inputs(proxy: Proxy, inputs: Inputs, parts: Parts) -> None:
    """Refuses inputs without a tensor that a proxy reads, or with one that the model cannot read.

    Raises ValueError.
    """
    if proxy.input == "none":
        return
    wanted = ["labels"] if proxy.labels == "real" else []
    if proxy.labels == "real" and proxy.batches == 2:
        wanted += ["second_images", "second_labels"]
    try:
        batch = inputs.read(proxy.input)
        for name in wanted:
            given(name, getattr(inputs, name))
    except ValueError as error:
        raise ValueError(f"proxy {proxy.name} reads {proxy.input}: {error}") from None
    if proxy.input != "ones":
        name = "images" if batch is inputs.images and batch is not inputs.noise else "noise"
        check_batch(name, batch, parts)
    if "second_images" in wanted and inputs.second_images is not None:
        check_batch("second_images", inputs.second_images, parts)


def check_batch(name: str, batch: Tensor, parts: Parts) -> None:
    """Refuses a batch whose dtype or device is that of no parameter of the model."""
    if batch.dtype in (torch.uint8, torch.int8, torch.bool):
        raise ValueError(
            f"{name} are {batch.dtype}, as images are stored; a model reads floating-point "
            f"numbers: pass {name}.float() / 255, normalised as in training"
        )
    devices = {parameter.device for parameter in parts.parameters}
    if devices and batch.device not in devices:
        where = " and ".join(map(str, devices))
        raise ValueError(f"{name} is on {batch.device} and the model on {where}; move one of them")
    dtypes = {each.dtype for each in parts.parameters if each.is_floating_point()}
    if batch.is_floating_point() and dtypes and batch.dtype not in dtypes:
        raise ValueError(
            f"{name} is {batch.dtype} and the model's weights are "
            f"{' and '.join(map(str, dtypes))}; convert one of them"
        )


def check_parameters(model: nn.Module, *, counted: bool) -> None:
    """Refuses a model that a forward pass would first have to complete, and, unless it is only
    ``counted``, one whose parameters have no derivatives. Raises ValueError."""
    for name, parameter in model.named_parameters():
        if is_lazy(parameter) or not counted:
            check_parameter(name, parameter)


@contextmanager
def complete(model: nn.Module) -> Iterator[None]:
    """Refuses a model to which a pass inside the block adds parameters. Raises ValueError."""

    def names() -> Set[str]:
        return dict(model.named_parameters(remove_duplicate=False)).keys()

    before = names()
    yield
    for name in names():
        if name not in before:
            raise ValueError(
                f"forward() adds {name} to the model, which is no part of it before; run the model "
                "once, model(batch), and pass it then"
            )
