"""A proxy as data: what it is, what it reads, and the functions that compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from vkdnw.checks import Output
from vkdnw.proxies.draws import generator
from vkdnw.proxies.inputs import Inputs, Source, as_inputs, given
from vkdnw.proxies.proxy_state import Init, Mode
from vkdnw.proxies.value import Value

if TYPE_CHECKING:
    from vkdnw.proxies.train_pass import Observable, TrainPass

Convention = Literal["default", "released"]
Labels = Literal["none", "random", "real"]
Cost = Literal["none", "forward", "backward", "backwards", "backward per sample"]


@dataclass(frozen=True)
class Call:
    """One computation of a proxy: on what, and how."""

    model: nn.Module
    inputs: Inputs
    seed: int
    convention: Convention = "default"
    features: tuple[str, ...] | None = None
    """Names of the modules whose outputs are F_0 .. F_K; None: found by rule."""
    output: Output = None
    shared: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What proxies outside the shared pass have computed for each other."""

    @property
    def released(self) -> bool:
        return self.convention == "released"

    def generator(self, name: str) -> torch.Generator:
        """The generator of the draws of a proxy."""
        return generator(self.seed, name)


@dataclass(frozen=True)
class Proxy:
    """A training-free score; higher ranks better.

    Calling it computes it alone, on the model's weights as they are.
    """

    name: str
    title: str
    reference: str  # where it was published
    input: Source
    mode: Mode
    init: Init  # how its paper draws the weights; direct calls never do
    cost: Cost
    undefined: str  # when there is no finite value, and what there is then
    labels: Labels = "none"
    batches: int = 1
    released: str | None = None  # what convention="released" changes
    observes: tuple[Observable, ...] = ()
    """What it takes from a train-mode pass over its input that other proxies share."""
    ask: Callable[[TrainPass, Call], None] | None = None
    """Says what it will want of the pass, before any value is computed: backward passes that are
    asked for by several proxies run together."""
    reduce: Callable[[TrainPass, Call], Value] | None = None
    """Computes it from the shared pass."""
    alone: Callable[[Call], Value] | None = None
    """Computes it by passes of its own. One of the two is set."""

    def __post_init__(self) -> None:
        if (self.reduce is None) == (self.alone is None):
            raise ValueError(f"proxy {self.name}: set one of reduce= and alone=")

    def __call__(
        self,
        model: nn.Module,
        batch: Tensor | Inputs | None = None,
        labels: Tensor | None = None,
        *,
        seed: int = 0,
        convention: Convention = "default",
        features: tuple[str, ...] | None = None,
        output: Output = None,
    ) -> Value:
        """The value for a model as it is, which is left as it was found.

        Args:
            model: an image classifier that maps ``[B, ...]`` to logits ``[B, C]``. Its weights are
                not drawn anew (``vkdnw.initialise`` does that); its mode is set for the length of
                the call.
            batch: the input ``[B, ...]``, or :class:`Inputs` for proxies that read more than one.
            labels: of the batch, ``[B]`` int64.
            seed: of the random draws, if the proxy makes any.
            convention: ``"released"`` for the authors' code where it departs from the definition.
            features: names of the modules whose outputs are AZ-NAS's features, first to last.
            output: where the logits are in what the model returns; see :func:`vkdnw.fisher`.

        Raises:
            ValueError: an input is missing or the model does not suit; the message names it.
        """
        from vkdnw.proxies.compute import compute

        values = compute(
            [self.name],
            model,
            as_inputs(batch, labels),
            seed=seed,
            convention=convention,
            features=features,
            output=output,
        )
        return values[self.name]

    def check(self, inputs: Inputs) -> None:
        """Refuses inputs that lack what this proxy reads. Raises ValueError."""
        if self.input == "none":
            return
        wanted = ["labels"] if self.labels == "real" else []
        if self.labels == "real" and self.batches == 2:
            wanted += ["second_images", "second_labels"]
        try:
            inputs.read(self.input)
            for name in wanted:
                given(name, getattr(inputs, name))
        except ValueError as error:
            raise ValueError(f"proxy {self.name} reads {self.input}: {error}") from None

    def renamed(self, name: str, title: str, reference: str) -> Proxy:
        """The same computation under another name."""
        return replace(self, name=name, title=title, reference=reference)
