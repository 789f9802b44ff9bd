"""A proxy as a function: ``vkdnw.proxies.naswot(model, batch)``."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from torch import Tensor, nn

from vkdnw.checks import Output
from vkdnw.proxies.compute import compute
from vkdnw.proxies.inputs import Inputs, as_inputs
from vkdnw.proxies.proxy_call import ProxyConvention
from vkdnw.proxies.registry import proxy
from vkdnw.proxies.value import Value


class Direct(Protocol):
    """The function of a proxy."""

    def __call__(
        self,
        model: nn.Module,
        batch: Tensor | Inputs | None = None,
        labels: Tensor | None = None,
        *,
        seed: int = 0,
        convention: ProxyConvention = "default",
        features: tuple[str, ...] | None = None,
        output: Output = None,
    ) -> Value: ...


@cache
def direct(name: str) -> Direct:
    """The function of the proxy of a name."""

    def value(
        model: nn.Module,
        batch: Tensor | Inputs | None = None,
        labels: Tensor | None = None,
        *,
        seed: int = 0,
        convention: ProxyConvention = "default",
        features: tuple[str, ...] | None = None,
        output: Output = None,
    ) -> Value:
        values = compute(
            [name],
            model,
            as_inputs(batch, labels),
            seed=seed,
            convention=convention,
            features=features,
            output=output,
        )
        return values[name]

    described = proxy(name)
    definition = (described.compute or described.from_pass).__doc__
    value.__name__ = value.__qualname__ = name
    value.__doc__ = f"{described.title} of a model as it is.\n\n    {definition or ''}\n{CALL}"
    return value


CALL = """
    The model is left as it was found.

    Args:
        model: an image classifier that maps ``[B, ...]`` to logits ``[B, C]``. Its weights are not
            drawn anew (``vkdnw.initialise`` does that); its mode is set for the length of the call.
        batch: the input ``[B, ...]``, or Inputs for proxies that read more than one.
        labels: of the batch, ``[B]`` int64.
        seed: of the random draws, if the proxy makes any.
        convention: ``"released"`` for the authors' code where it departs from the definition.
        features: names of the modules whose outputs are AZ-NAS's features, first to last.
        output: where the logits are in the model's output; see :func:`vkdnw.fisher`.

    Raises:
        ValueError: an input is missing or the model does not suit; the message names it.
    """
