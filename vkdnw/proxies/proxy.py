"""A proxy as data: its name, its inputs, and the function that computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from vkdnw.proxies.inputs import Source
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.proxy_state import Init, ModelMode
from vkdnw.proxies.train_pass import Observable, TrainPass
from vkdnw.proxies.value import Value

Labels = Literal["none", "random", "real"]
Cost = Literal["none", "weights", "forward", "backward", "backwards", "backward per sample"]


@dataclass(frozen=True)
class Proxy:
    """A training-free score; higher ranks better. Its value is :func:`vkdnw.proxies.compute`'s.

    One of ``compute`` and ``from_pass`` is set.
    """

    name: str
    title: str
    reference: str  #: where it was published
    input: Source
    mode: ModelMode
    init: Init  #: how its paper draws the weights; direct calls never do
    cost: Cost
    undefined: str  #: when there is no finite value, and the value then
    labels: Labels = "none"
    batches: int = 1
    released: str | None = None  #: the change by convention="released"
    sums_weights: bool = False
    """Whether it sums over the weights of layers; then no weight may be outside of a layer."""
    compute: Callable[[Call], Value] | None = None
    """Computes it by passes of its own."""
    from_pass: Callable[[TrainPass, Call], Value] | None = None
    """Computes it from a train-mode pass over its input that other proxies share."""
    requires: tuple[Observable, ...] = ()
    """The values that have to be observed in that pass."""
    request: Callable[[TrainPass, Call], None] | None = None
    """Makes its requests of the pass before any value is computed: backward passes that are
    requested by several proxies run together."""

    def __post_init__(self) -> None:
        if (self.compute is None) == (self.from_pass is None):
            raise ValueError(f"proxy {self.name}: set one of compute= and from_pass=")

    def renamed(self, name: str, title: str, reference: str) -> Proxy:
        """The same computation under another name."""
        return replace(self, name=name, title=title, reference=reference)

    @property
    def counts(self) -> bool:
        """Whether it is a count: it depends neither on weights nor on the numbers of a batch.

        A search counts on the CPU whatever its device, because operators of a GPU may pad
        their arguments, and a count must not depend on it.
        """
        return self.input in ("none", "shape") and self.init == "none"

    @property
    def origin(self) -> str:
        """The module that computes it."""
        return (self.compute or self.from_pass).__module__
