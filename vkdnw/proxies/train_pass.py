"""One forward pass in train mode, and the backward passes through it, shared by proxies.

Forward and backward passes run in the model's dtype; reductions are float64. Where
that was verified (:mod:`vkdnw.proxies.native_verification`), images are laid out channels_last
and layers have native gradients (:mod:`vkdnw.backward.layers`): always then, so that a value does
not depend on the other values of the pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from vkdnw.backward.layers import OverwrittenError, WeightGradients, native_layers
from vkdnw.backward.random_signs import Signs
from vkdnw.backward.train_tape import Input, TrainGradients, train_gradients
from vkdnw.checks import Output, check_logits, pick_logits
from vkdnw.error_explanations import differentiation_explained
from vkdnw.proxies.block_products import block_product
from vkdnw.proxies.feature_spectra import spectral_entropies
from vkdnw.proxies.features import Feature, Features, record_features
from vkdnw.proxies.inputs import check_labels
from vkdnw.proxies.relu_calls import RecordedReLUs
from vkdnw.proxies.relu_patterns import Agreement
from vkdnw.proxies.weight_gradients import weight_gradients
from vkdnw.runtime.layouts import channels_last_is_safe
from vkdnw.runtime.model_state import Parts

Observable = Literal[
    "features",
    "spectra",
    "relus",
    "relu units",
    "activations",
    "input gradient",
    "weight gradients",
]
"""The values of a pass: features with their place in the graph, spectra of features, how
images agree in the units that ReLUs switch on, patterns of single units, agreement in the signs of
all activations, and derivatives with respect to the input and to the parameters."""


@dataclass(frozen=True)
class Recording:
    """The observed values of a pass, and where they are read."""

    observed: frozenset[Observable]
    features: tuple[str, ...] | None = None  # names of modules; None: found by rule
    output: Output = None
    relus: Agreement | None = None  # observes the ReLUs, if they are requested
    activations: Agreement | None = None  # of those and of GELU and similar activations

    @property
    def agreements(self) -> list[Agreement]:
        """All observers of ReLUs."""
        return [each for each in (self.relus, self.activations) if each is not None]


class TrainPass:
    """A forward pass that has run; derivatives are computed when they are first requested."""

    def __init__(
        self,
        model: nn.Module,
        batch: Tensor,
        of_input: Input | None,
        logits: Tensor,
        features: Features,
        recording: Recording,
        weights: WeightGradients,
        native: bool,
    ) -> None:
        self.batch = batch
        self.logits = logits  # [B, C]
        self.features: list[Feature] = features.found
        self._recording = recording
        self._input = of_input
        self._input_is_requested = False
        self._cotangents: Sequence[Tensor | Signs] = ()
        self._of_logits: Tensor | None = None
        self._model = model
        self._weights = weights
        self._native = native
        self._gradients: dict[bytes, dict[str, Tensor]] = {}

    @property
    def relus(self) -> Agreement:
        """In how many ReLU units images agree, if ReLUs are observed."""
        assert self._recording.relus is not None
        return self._recording.relus

    @property
    def activations(self) -> Agreement:
        """The same in units of all activations that keep the sign, if they are observed."""
        assert self._recording.activations is not None
        return self._recording.activations

    @cached_property
    def entropies(self) -> list[float]:
        """Of the features' spectra, NaN where one is zero."""
        covariances = [feature.covariance for feature in self.features]
        return spectral_entropies([each for each in covariances if each is not None])

    def request_input_gradient(self, of_logits: Tensor | None = None) -> None:
        """Before :attr:`input_gradient` is read; the cotangent of the logits is ones by default."""
        self._input_is_requested = True
        self._of_logits = of_logits

    def request_block_products(self, cotangents: Sequence[Tensor | Signs]) -> None:
        """Before :meth:`block_product` is called, with cotangents of F_K .. F_1."""
        self._cotangents = cotangents

    @cached_property
    def input_gradient(self) -> Tensor:
        """d (sum of all logits of the batch) / d input, ``[B, ...]``: zero if there is none."""
        found = self.taped.input
        if found is not None:
            return found
        ones = torch.ones_like(self.logits) if self._of_logits is None else self._of_logits
        with differentiation_explained():
            (found,) = torch.autograd.grad(
                self.logits, self.batch, ones, retain_graph=True, allow_unused=True,
                materialize_grads=True,
            )  # fmt: skip
        assert found is not None
        return found

    def block_product(self, index: int) -> Tensor | None:
        """The product of the block that ends in feature ``index``.

        See :func:`vkdnw.proxies.block_products.block_product`.
        """
        before, after = self.features[index - 1], self.features[index]
        position = len(self.features) - 1 - index
        if self.taped.products is None:
            given = self._cotangents[position]
            device = self.batch.device
            numbers = given.numbers(device) if isinstance(given, Signs) else given
            cotangent = numbers.to(device=device, dtype=after.dtype)
            into = self.feature_gradient(before, after, cotangent)
            return block_product(into, cotangent, before, after)
        found = self.taped.products[position]
        if found is None:
            return None
        return found[:, : before.shape[1], : after.shape[1]].flatten(0, 1)

    @cached_property
    def taped(self) -> TrainGradients:
        """The requested values that tapes compute."""
        if not self._native:
            return TrainGradients()
        wanted = self._input if self._input_is_requested else None
        edges = [feature.edge for feature in self.features] if self._cotangents else []
        return train_gradients(self.logits, wanted, edges, self._cotangents, self._of_logits)

    def cross_entropy_gradients(self, labels: Tensor) -> dict[str, Tensor]:
        """d (mean cross-entropy) / d parameter, by name; zeros for parameters that are not used."""
        check_labels(labels, self.logits.shape[1])
        labels = labels.to(self.logits.device, torch.int64, copy=True)  # none of inference mode
        key = labels.cpu().numpy().tobytes()
        if key not in self._gradients:
            names = [name for name, _ in self._model.named_parameters()]
            loss = F.cross_entropy(self.logits, labels)
            self._gradients[key] = dict(
                zip(names, self._weight_gradients(loss, names), strict=True)
            )
        return self._gradients[key]

    def per_image_gradients(self, names: list[str]) -> Tensor:
        """d (sum of image n's logits) / d parameters, ``[B, number of their scalars]``.

        One backward pass an image: BatchNorm lets every image depend on all.
        """
        sizes = dict(self._model.named_parameters())
        count = sum(sizes[name].numel() for name in names)
        rows = self.logits.new_empty(len(self.logits), count)
        for row, logits in zip(rows, self.logits, strict=True):
            parts = self._weight_gradients(logits.sum(), names)
            torch.cat([part.flatten() for part in parts], out=row)
        return rows

    def _weight_gradients(self, value: Tensor, names: list[str]) -> tuple[Tensor, ...]:
        parameters = dict(self._model.named_parameters())
        return self.gradients(value, [parameters[name] for name in names])

    def gradients(self, value: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """d value / d leaves, parameters among them; zeros where there is no dependence."""
        self._weights.wanted = True
        try:
            return weight_gradients(value, leaves, retain_graph=True)
        finally:
            self._weights.wanted = False

    def feature_gradient(self, before: Feature, after: Feature, cotangent: Tensor) -> Tensor:
        """The vector-Jacobian product of a feature to the one before it, of its shape."""
        cotangent = cotangent.to(device=self.batch.device, dtype=after.dtype)
        found: tuple[Tensor | None, ...] = (None,)
        if before.edge is not None and after.edge is not None:
            with differentiation_explained():
                found = torch.autograd.grad(
                    [after.edge],
                    [before.edge],
                    [cotangent],
                    retain_graph=True,
                    allow_unused=True,
                )
        if found[0] is None:
            return torch.zeros(before.shape, dtype=before.dtype, device=self.batch.device)
        return found[0]


# ---- running ---------------------------------------------------------------------------------


@contextmanager
def train_pass(
    model: nn.Module, parts: Parts, batch: Tensor, recording: Recording, native: bool
) -> Iterator[TrainPass]:
    """Runs the model, which is in train mode, on a batch, and records the values that proxies
    request.

    The pass is valid inside the block.

    Args:
        native: whether it uses native layers and tapes, on images in channels_last; see
            :func:`vkdnw.proxies.native_verification.verified`.

    Raises:
        ValueError: the logits are not ``[B, C]`` and finite, or the features are not found.
    """
    differentiates = "weight gradients" in recording.observed
    for parameter in parts.parameters:
        parameter.requires_grad_(parameter.is_floating_point() and differentiates)
    leaf = as_leaf(batch, channels_last=native and channels_last_is_safe(model.modules()))
    forward = _Forward(model, parts, leaf, recording, native)
    state = torch.get_rng_state()
    with ExitStack() as layers:
        try:
            shared = forward.run(layers, lazy=True)
        except OverwrittenError:  # the same bits, with every feature map written down at once
            layers.close()
            torch.set_rng_state(state)
            for agreement in recording.agreements:
                agreement.restart()
            shared = forward.run(layers, lazy=False)
        yield shared


@dataclass(frozen=True)
class _Forward:
    """A forward pass that is to be run."""

    model: nn.Module
    parts: Parts
    leaf: Tensor
    recording: Recording
    native: bool
    weights: WeightGradients = field(default_factory=WeightGradients)

    def run(self, layers: ExitStack, lazy: bool) -> TrainPass:
        """Runs the model; native layers stay until ``layers`` is closed."""
        observed, agreements, leaf = self.recording.observed, self.recording.agreements, self.leaf
        square = leaf.dim() == 4 and leaf.shape[2] == leaf.shape[3]
        features = Features(spectra="spectra" in observed, square=square)
        if self.native:

            def on_relu(output: Tensor) -> None:
                for agreement in agreements:
                    agreement.see(output)

            layers.enter_context(native_layers(self.parts.modules, self.weights, on_relu, lazy))
        with ExitStack() as hooks:
            if observed & {"features", "spectra"}:
                hooks.enter_context(record_features(self.model, self.recording.features, features))
            for agreement in agreements:
                hooks.enter_context(RecordedReLUs(agreement.see, agreement.smooth))
            seen = leaf.view_as(leaf)
            of_input = Input(get_gradient_edge(seen), seen.shape) if seen.requires_grad else None
            logits = pick_logits(self.model(seen), self.recording.output)
        for agreement in agreements:
            agreement.finish()
        check_logits(logits, len(leaf))
        if not logits.requires_grad:
            logits = logits + 0 * leaf.sum()  # zero derivatives, where the input is not used
        return TrainPass(
            self.model, leaf, of_input, logits, features, self.recording, self.weights, self.native
        )


def as_leaf(batch: Tensor, channels_last: bool) -> Tensor:
    """A copy of the batch that requires a gradient, as it lies in memory or in channels_last."""
    layout = torch.channels_last if channels_last else torch.preserve_format
    leaf = batch.detach().clone(memory_format=layout)
    return leaf.requires_grad_(leaf.is_floating_point())


def as_images(batch: Tensor, model: nn.Module) -> Tensor:
    """A copy of the batch; images are in channels_last where torch computes the model rightly."""
    channels_last = batch.dim() == 4 and channels_last_is_safe(model.modules())
    return as_leaf(batch, channels_last).requires_grad_(False)
