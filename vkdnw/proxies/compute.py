"""Computes several proxies of one model in as few passes as possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from vkdnw.checks import Output
from vkdnw.error_explanations import proxies_explained
from vkdnw.per_sample.known_layers import unwritten_parts
from vkdnw.proxies.bare_weights import check_bare_weights
from vkdnw.proxies.input_checks import check_inputs, check_parameters, complete
from vkdnw.proxies.inputs import Inputs
from vkdnw.proxies.native_verification import verified
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call, ProxyConvention
from vkdnw.proxies.proxy_state import Init, proxy_state
from vkdnw.proxies.registry import proxy
from vkdnw.proxies.relu_patterns import Agreement, probe_relus
from vkdnw.proxies.train_pass import Observable, Recording, train_pass
from vkdnw.proxies.value import Value
from vkdnw.runtime.call_lock import one_call
from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.runtime.members import Members
from vkdnw.runtime.model_state import Parts, State, preserved


def compute(
    names: Iterable[str],
    model: nn.Module,
    inputs: Inputs,
    *,
    seed: int,
    features: Sequence[str] | None = None,
    convention: ProxyConvention = "default",
    initialise: bool = False,
    output: Output = None,
) -> dict[str, Value]:
    """The values of several proxies; a value does not depend on which others are asked for.

    Proxies that agree on input, mode and initialisation share one forward pass, and their
    common derivatives are computed once.

    Args:
        names: of proxies, see :func:`vkdnw.proxies.names`.
        model: an image classifier that maps ``[B, ...]`` to logits ``[B, C]``. It is left as it
            was found, also when an error is raised.
        inputs: of the proxies.
        seed: of weights that are drawn and of random draws, each with the proxy's name.
        features: names of the modules whose outputs are AZ-NAS's features F_0 .. F_K; by default
            found by rule (:func:`vkdnw.proxies.blocks.blocks`).
        convention: ``"released"`` for the authors' code where it departs from the definition.
        initialise: draws the weights anew for each proxy as its paper does; otherwise every proxy
            sees the model's weights as they are.
        output: where the logits are in the model's output; see :func:`vkdnw.fisher`.

    Returns:
        A :class:`Value` for each name, in the order of the names.

    Raises:
        ValueError: an unknown name, an input that is missing, or a model that does not suit.
    """
    if isinstance(names, str):
        raise ValueError(f"names={names!r} is one string: pass a list of names, [{names!r}]")
    chosen = [proxy(name) for name in dict.fromkeys(names)]
    if convention not in ("default", "released"):
        raise ValueError(f"convention={convention!r}: choose from 'default' and 'released'")
    model = getattr(model, "_orig_mod", model)  # torch.compile hides layers from hooks
    check_parameters(model, counted=all(each.counts for each in chosen))
    parts = Parts.of(model)
    for each in chosen:
        check_inputs(each, inputs, parts)
    call = Call(
        model, inputs, seed, convention, None if features is None else tuple(features), output
    )
    values: dict[str, Value] = {}
    with one_call("vkdnw.proxies"), preserved(model) as state:
        for group in _groups(chosen, inputs):
            if values:
                state.restore()  # a pass in train mode may have moved statistics
            values |= _compute_group(group, call, initialise, state)
    return {each.name: values[each.name] for each in chosen}


def _groups(chosen: list[Proxy], inputs: Inputs) -> list[list[Proxy]]:
    """Proxies that share a pass; every other proxy by itself."""

    def key(each: Proxy) -> tuple[str, ...]:
        if each.from_pass is None:
            return ("by itself", each.name)
        noise = inputs.read(each.input) is inputs.noise
        return ("shared", each.init, "noise" if noise else "images")

    return [list(group) for _, group in groupby(sorted(chosen, key=key), key)]


def _compute_group(
    group: list[Proxy], call: Call, initialise: bool, state: State
) -> dict[str, Value]:
    first = group[0]
    if first.compute is not None and first.cost == "none":
        return {first.name: first.compute(call)}  # nothing is run, so nothing can change
    init: Init = first.init if initialise else "none"
    with (
        proxies_explained([each.name for each in group], call.model),
        proxy_state(call.model, state.parts, first.mode, init, call.seed),
    ):
        if any(each.sums_weights for each in group):
            check_bare_weights(call.model, call.inputs.read(first.input)[:2])
        with complete(call.model):
            if first.compute is not None:
                return {first.name: first.compute(call)}
            with gc_disabled():  # until the thousands of small objects of the pass are freed
                return _from_passes(group, call)


def _from_passes(group: list[Proxy], call: Call) -> dict[str, Value]:
    """The values of proxies that share a pass, or a native and a plain one where they differ."""
    batch = call.inputs.read(group[0].input)
    # With the weights and the mode of these proxies.
    state = State(call.model, unwritten=unwritten_parts(Members.of(call.model)))
    recording = Recording(_observed(group), call.features, call.output)
    agrees = verified(call.model, state, batch, recording, call.seed)
    values: dict[str, Value] = {}
    for native in (True, False):
        part = [each for each in group if agrees.cover(each.requires) == native]
        if part:
            values |= _of_one_pass(part, call, state, batch, native)
    return values


def _of_one_pass(
    part: list[Proxy], call: Call, state: State, batch: Tensor, native: bool
) -> dict[str, Value]:
    observed = _observed(part)
    units, relus, activations = "relu units" in observed, None, None
    if units or "relus" in observed:
        relus = _agreement(call, state, batch, units=units)
    if "activations" in observed:
        activations = _agreement(call, state, batch, smooth=True)
    recording = Recording(observed, call.features, call.output, relus, activations)
    state.rewind()
    with (
        torch.random.fork_rng(_cuda(batch), device_type="cuda"),
        train_pass(call.model, state.parts, batch, recording, native) as shared,
    ):
        for each in part:
            if each.request is not None:
                each.request(shared, call)
        return {each.name: each.from_pass(shared, call) for each in part if each.from_pass}


def _observed(some: list[Proxy]) -> frozenset[Observable]:
    return frozenset(name for each in some for name in each.requires)


def _cuda(batch: Tensor) -> list[torch.device]:
    return [batch.device] if batch.is_cuda else []


def _agreement(
    call: Call, state: State, batch: Tensor, units: bool = False, smooth: bool = False
) -> Agreement:
    """Counts the ReLU units in which images agree; a pass over copies of one locates images."""
    copies = 3 if len(batch) == 2 else 2
    with torch.random.fork_rng(_cuda(batch), device_type="cuda"):
        try:
            probed = probe_relus(call.model, batch[-1:].repeat_interleave(copies, 0), smooth)
        except Exception as error:  # the model does not take so few images
            return Agreement(len(batch), copies, f"on {copies} images the model fails: {error}")
    return Agreement(len(batch), copies, probed, units, smooth)
