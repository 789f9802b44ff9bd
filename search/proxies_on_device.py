"""Which proxies are computed on a device, and which on the CPU whatever the device."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from vkdnw import proxies
from vkdnw.proxies import Inputs, Value
from vkdnw.search.device_transfer import moved


def compute_on(
    device: str,
    names: Sequence[str],
    model: nn.Module,
    inputs: Callable[[str], Inputs],
    **options: Any,
) -> Mapping[str, Value]:
    """:func:`vkdnw.proxies.compute` on a device, of a model that is on the CPU.

    Counts are taken on the CPU, and random draws are made there and moved. For everything else the
    model is moved to the device, where it stays.

    Args:
        device: by torch's name.
        names: of proxies.
        model: on the CPU.
        inputs: returns the inputs of proxies on a device.
        options: of :func:`vkdnw.proxies.compute`.

    Returns:
        A value for each name, in the order of the names.
    """
    if device == "cpu":
        return proxies.compute(names, model, inputs(device), **options)
    counted = [name for name in names if proxies.proxy(name).counts]
    others = [name for name in names if name not in counted]
    found = proxies.compute(counted, model, inputs("cpu"), **options)
    if others:
        found |= proxies.compute(others, moved(model, device), inputs(device), **options)
    return {name: found[name] for name in names}
