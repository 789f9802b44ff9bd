"""Whole models: what is written in place, shared, frozen, permuted, or decided by the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library import models
from tests.library.case import EVERY, Case
from tests.library.layer_cases import ATTENTION_WEIGHTS
from tests.library.models import Answer, Forward


def normal(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(*shape)


def vectors() -> Tensor:
    return torch.randn(5, 4)


def images() -> Tensor:
    return torch.randn(5, 3, 6, 6)


def forward(
    name: str, run: Any, inputs: Any, parts: Callable[[], dict[str, Any]], **options: Any
) -> Case:
    """A case of :class:`Forward`: its parts are made when it is built."""
    return Case(name, lambda: Forward(run, **parts()), inputs, **options)


def linears(**sizes: tuple[int, int]) -> Callable[[], dict[str, Any]]:
    return lambda: {name: nn.Linear(*size) for name, size in sizes.items()}


# ---- networks ------------------------------------------

NETWORKS = [
    Case("residual network", models.residual_network, images, reference="loop"),
    Case(
        "residual network, 16 channels",
        partial(models.residual_network, 16),
        images,
        reference="loop",
    ),
    *(
        Case(
            f"pre-activation network, inplace={inplace}, bias={bias}",
            partial(models.pre_activation_network, 4, inplace, bias),
            images,
            reference="loop",
        )
        for inplace in (False, True)
        for bias in (False, True)
    ),
    Case(
        "window transformer",
        models.window_transformer,
        normal(5, 3, 8, 8),
        fallback=("plain.table", "shifted.table"),
    ),
    Case(
        "vision transformer",
        models.VisionTransformer,
        images,
        fallback=(
            "token",
            "positions",
            *(f"encoder.layers.0.self_attn.{name}" for name in ATTENTION_WEIGHTS),
        ),
    ),
]

# ---- in place ------------------------------------------


def relu6_in_place(m: Any, x: Tensor) -> Tensor:
    y = F.relu6(m.norm(m.conv(x)), inplace=True)
    return m.fc(y.mul_(2).flatten(1))


def added_in_place(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y += x
    y.relu_()
    z = m.second(y)
    z += y
    return m.fc(z)


def slice_in_place(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y[:, :2] *= m.second(x)[:, :2]
    return m.fc(y)


def input_in_place(m: Any, x: Tensor) -> Tensor:
    x.mul_(2)
    return m.fc(torch.tanh(m.first(x)))


IN_PLACE = [
    forward(
        "relu6 and mul_ in place",
        relu6_in_place,
        images,
        lambda: {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(64, 3)},
    ),
    forward(
        "additions in place",
        added_in_place,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    forward(
        "a slice in place",
        slice_in_place,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    forward(
        "the input in place",
        input_in_place,
        vectors,
        linears(first=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    Case(
        "relu in place after linear over positions",
        lambda: nn.Sequential(
            nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
        ),
        normal(5, 3, 4),
    ),
    Case(
        "relu in place after conv1d",
        lambda: nn.Sequential(
            nn.Conv1d(3, 4, 3),
            nn.BatchNorm1d(4),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        normal(5, 3, 6),
    ),
]

# ---- shared and repeated ------------------------------------------


def twice(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.layer(torch.tanh(m.layer(x)))))


def tied_modules() -> dict[str, Any]:
    parts = linears(first=(4, 4), second=(4, 4), fc=(4, 3))()
    parts["second"].weight = parts["first"].weight
    return parts


def tied_convolutions() -> nn.Module:
    model = models.residual_network()
    model[4].conv2.weight = model[4].conv1.weight
    model[4].bn2.bias = model[4].bn1.bias
    return model


def chain(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.second(torch.tanh(m.first(x)))))


def functional_tie(m: Any, tokens: Tensor) -> Tensor:
    h = torch.tanh(m.mix(m.embedding(tokens).mean(1)))
    return F.linear(h, m.embedding.weight)


def functional_only(m: Any, x: Tensor) -> Tensor:
    return F.linear(torch.tanh(m.layer(x)), m.unused.weight)


def doubled_by_functional_call(m: Any, x: Tensor) -> Tensor:
    weights = {"weight": 2 * m.layer.weight, "bias": m.layer.bias}
    return m.fc(torch.tanh(torch.func.functional_call(m.layer, weights, (x,))))


SHARED = [
    forward("a module called twice", twice, vectors, linears(layer=(4, 4), fc=(4, 3))),
    forward("tied weights of two modules", chain, vectors, tied_modules),
    Case("tied convolutions and norms", tied_convolutions, images, reference="loop"),
    forward(
        "an embedding tied to a functional use",
        functional_tie,
        lambda: torch.randint(6, (5, 3)),
        lambda: {"embedding": nn.Embedding(6, 4), "mix": nn.Linear(4, 4)},
        fallback=("embedding.weight",),
        reference="loop",
    ),
    forward(
        "a weight used as a function only",
        functional_only,
        vectors,
        linears(layer=(4, 4), unused=(4, 3)),
        fallback=("unused.weight",),
    ),
    forward(
        "a layer called with other weights",
        doubled_by_functional_call,
        vectors,
        linears(layer=(4, 4), fc=(4, 3)),
        fallback=("layer.weight",),
        reference="loop",
    ),
]

# ---- frozen, partial, unused ------------------------------------------


def no_grad_trunk(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = torch.tanh(m.trunk(x))
    return m.fc(x)


def two_heads(m: Any, x: Tensor) -> Tensor:
    h = torch.tanh(m.trunk(x))
    return torch.cat([m.left(h), m.right(h)], dim=1)


def detached(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x))) + m.second(x).detach()


def frozen(model: nn.Module) -> None:
    model.first.requires_grad_(False)


PARTIAL = [
    forward(
        "a frozen layer",
        chain,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        settled=frozen,
    ),
    forward("a trunk under no_grad", no_grad_trunk, vectors, linears(trunk=(4, 4), fc=(4, 3))),
    forward("two heads", two_heads, vectors, linears(trunk=(4, 4), left=(4, 2), right=(4, 3))),
    forward(
        "a detached branch", detached, vectors, linears(first=(4, 4), second=(4, 3), fc=(4, 3))
    ),
    forward("an unused layer", lambda m, x: m.fc(x), vectors, linears(unused=(4, 4), fc=(4, 3))),
]

# ---- what goes in and comes out ------------------------------------------


def by_keyword(m: Any, x: Tensor) -> Tensor:
    return m.fc(input=m.norm(input=m.conv(input=x)).flatten(1))


def two_inputs(m: Any, image: Tensor, vector: Tensor, scale: Any, flag: bool = True) -> Tensor:
    h = m.conv(image).mean((2, 3)) + m.fc(vector)
    return scale * torch.tanh(h) if flag else h


def answering(kind: str) -> Any:
    def run(m: Any, x: Tensor) -> Any:
        features = torch.tanh(m.trunk(x))
        logits = m.fc(features)
        return {
            "dict": {"features": features, "logits": logits},
            "tuple": (features, logits),
            "dataclass": Answer(logits, features),
        }[kind]

    return run


TWO_INPUTS = partial(dict, conv=None, fc=None)


def two_input_parts() -> dict[str, Any]:
    return {"conv": nn.Conv2d(3, 3, 3), "fc": nn.Linear(4, 3)}


def viewing(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.conv(x).view(len(x), -1))


def asserting(m: Any, x: Tensor) -> Tensor:
    if not x.is_contiguous():
        raise ValueError("contiguous images only")
    return m.fc(m.conv(x).flatten(1))


def squeezing(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.conv(x)).mean((2, 3), keepdim=True).squeeze())


def conv_and_fc(features: int = 64) -> Callable[[], dict[str, Any]]:
    return lambda: {"conv": nn.Conv2d(3, 4, 3), "fc": nn.Linear(features, 3)}


INTERFACES = [
    forward(
        "keyword calls",
        by_keyword,
        images,
        lambda: {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(64, 3)},
    ),
    forward("a tuple of inputs", two_inputs, lambda: (images(), vectors(), 0.7), two_input_parts),
    forward(
        "a tuple with a scalar tensor",
        two_inputs,
        lambda: (images(), vectors(), torch.tensor(0.7), False),
        two_input_parts,
    ),
    forward(
        "a dict of inputs",
        two_inputs,
        lambda: {"vector": vectors(), "image": images(), "scale": 2, "flag": True},
        two_input_parts,
    ),
    *(
        forward(
            f"a {kind} of outputs",
            answering(kind),
            vectors,
            linears(trunk=(4, 4), fc=(4, 3)),
            output=output,
        )
        for kind, output in (
            ("dict", "logits"),
            ("tuple", 1),
            ("tuple", -1),
            ("dataclass", "logits"),
            ("dataclass", lambda answer: answer.logits[:, 1:]),
        )
    ),
    forward(
        "channels-last images",
        viewing,
        lambda: images().to(memory_format=torch.channels_last),
        lambda: {"conv": nn.Conv2d(3, 4, 3), "fc": nn.Linear(64, 3)},
        reference="loop",
    )
    if False
    else forward("contiguous images that are viewed", viewing, images, conv_and_fc()),
    forward("images that must be contiguous", asserting, images, conv_and_fc()),
    Case(
        "channels-last images",
        models.residual_network,
        lambda: images().to(memory_format=torch.channels_last),
        reference="loop",
    ),
    Case(
        "non-contiguous images",
        models.residual_network,
        lambda: torch.randn(5, 6, 12, 3).permute(0, 3, 1, 2)[..., ::2],
        reference="loop",
    ),
    Case(
        "expanded vectors",
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
        lambda: torch.randn(5, 1).expand(5, 4),
    ),
    forward("squeeze", squeezing, images, conv_and_fc(4), reference="loop", needs_two=True),
    forward(
        "squeeze, with a fallback",
        lambda m, x: squeezing(m, x * m.scale),
        images,
        lambda: {**conv_and_fc(4)(), "scale": nn.Parameter(torch.ones(()))},
        fallback=("scale",),
        reference="loop",
        needs_two=True,
    ),
]

# ---- leading axes that are not the batch ------------------------------------------


def per_frame(m: Any, clips: Tensor) -> Tensor:
    frames = m.norm(m.conv(clips.flatten(0, 1)))  # [B T, C, H, W]
    return m.fc(torch.relu(frames).mean((2, 3)).unflatten(0, clips.shape[:2]).flatten(1))


def per_frame_1d(m: Any, clips: Tensor) -> Tensor:
    frames = m.norm(m.conv(clips.flatten(0, 1)))  # [B T, C, L]
    return m.fc(torch.relu(frames).mean(2).unflatten(0, clips.shape[:2]).flatten(1))


def per_clip_3d(m: Any, x: Tensor) -> Tensor:
    volumes = m.norm(m.conv(x.flatten(0, 1)))  # [B 2, C, T, H, W]
    return m.fc(torch.relu(volumes).mean((2, 3, 4)).unflatten(0, x.shape[:2]).flatten(1))


def time_first(m: Any, x: Tensor) -> Tensor:
    y = torch.tanh(m.mix(m.norm(x.transpose(0, 1))))  # [T, B, F]
    return m.fc(y.sum(0))


def time_first_tokens(m: Any, tokens: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.embedding(tokens.T)).cumsum(0)[-1])  # [T, B, F]


def two_views(m: Any, x: Tensor) -> Tensor:
    left, right = torch.tanh(m.mix(torch.cat([x, x.flip(1)]))).chunk(2)  # [2 B, F]
    return m.fc(left * right)


def two_views_of_each(m: Any, x: Tensor) -> Tensor:
    views = torch.tanh(m.mix(torch.stack([x, x.flip(1)], dim=1).flatten(0, 1)))  # [B 2, F]
    return m.fc(views.unflatten(0, (-1, 2)).prod(1))


def on_a_parameter(m: Any, x: Tensor) -> Tensor:
    return m.fc(x * m.mix(m.norm(m.vector)))


def on_latents(m: Any, x: Tensor) -> Tensor:
    return m.fc(x @ m.mix(m.norm(m.latents)))


def one_by_one(m: Any, x: Tensor) -> Tensor:
    return torch.stack([m.fc(torch.tanh(m.conv(image)).flatten()) for image in x])


def frames_parts() -> dict[str, Any]:
    return {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(8, 3)}


LEADING_AXES = [
    forward("frames", per_frame, normal(5, 2, 3, 5, 5), frames_parts),
    forward("frames of one clip", per_frame, normal(1, 2, 3, 5, 5), frames_parts),
    forward(
        "frames of a series",
        per_frame_1d,
        normal(5, 2, 3, 5),
        lambda: {"conv": nn.Conv1d(3, 4, 3), "norm": nn.GroupNorm(2, 4), "fc": nn.Linear(8, 3)},
    ),
    forward(
        "clips of volumes",
        per_clip_3d,
        normal(5, 2, 2, 3, 3, 3),
        lambda: {"conv": nn.Conv3d(2, 4, 2), "norm": nn.BatchNorm3d(4), "fc": nn.Linear(8, 3)},
        fallback=("conv.weight", "conv.bias"),
    ),
    *(
        forward(
            f"time first, {samples} samples of {times} times",
            time_first,
            normal(samples, times, 4),
            lambda: {"norm": nn.LayerNorm(4), "mix": nn.Linear(4, 4), "fc": nn.Linear(4, 3)},
            fallback=("norm.weight", "norm.bias", "mix.weight", "mix.bias") if samples > 1 else (),
        )
        for samples, times in ((2, 2), (4, 4), (5, 5), (5, 2), (2, 4), (1, 4))
    ),
    forward(
        "tokens with time first",
        time_first_tokens,
        lambda: torch.randint(6, (4, 4)),
        lambda: {"embedding": nn.Embedding(6, 4), "fc": nn.Linear(4, 3)},
        fallback=("embedding.weight",),
        reference="loop",
    ),
    forward(
        "two views, one batch after the other",
        two_views,
        vectors,
        linears(mix=(4, 4), fc=(4, 3)),
        fallback=("mix.weight", "mix.bias"),
        reference="loop",
    ),
    forward("two views of each sample", two_views_of_each, vectors, linears(mix=(4, 4), fc=(4, 3))),
    *(
        forward(
            f"layers on a vector of parameters, {samples} samples",
            on_a_parameter,
            normal(samples, 4),
            lambda: {
                "vector": nn.Parameter(torch.ones(4)),
                "norm": nn.LayerNorm(4),
                "mix": nn.Linear(4, 4),
                "fc": nn.Linear(4, 3),
            },
            fallback=("vector", "norm.weight", "norm.bias", "mix.weight", "mix.bias"),
        )
        for samples in (1, 5)
    ),
    *(
        forward(
            f"layers on a matrix of parameters, {samples} samples",
            on_latents,
            normal(samples, 4),
            lambda: {
                "latents": nn.Parameter(torch.ones(4, 4)),
                "norm": nn.LayerNorm(4),
                "mix": nn.Linear(4, 4),
                "fc": nn.Linear(4, 3),
            },
            fallback=("latents", "norm.weight", "norm.bias", "mix.weight", "mix.bias")
            if samples > 1
            else ("latents",),
        )
        for samples in (1, 5)
    ),
    *(
        forward(
            f"{samples} images one by one",
            one_by_one,
            normal(samples, 4, 5, 5),
            lambda: {"conv": nn.Conv2d(4, 4, 3), "fc": nn.Linear(36, 3)},
            fallback=EVERY,
            reference="loop",
        )
        for samples in (1, 2, 5)
    ),
]

# ---- decided by the data ------------------------------------------


# In order for the probe's two samples, out of order in every chunk of three or more.
LENGTHS = torch.tensor([5, 3, 4, 1, 2, 1, 5, 2, 4, 3, 1, 5])


def path_by_size(m: Any, x: Tensor) -> Tensor:
    y = torch.tanh(m.first(x))
    if (x[:, 0] > 1.0).any():
        y = torch.where(x[:, :1] > 1.0, m.second(y), y)
    return m.fc(y)


def late_path() -> Tensor:
    """Only the last sample takes the other path: the probe does not see it."""
    x = torch.randn(5, 4).clamp(-0.9, 0.9)
    x[4, 0] = 2.0
    return x


DECIDED = [
    Case("a mixture of experts", models.Router, vectors, fallback=EVERY, reference="loop"),
    Case(
        "a mixture that calls every expert",
        models.EmptyRouter,
        vectors,
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "a mixture of many samples", models.Router, normal(40, 4), fallback=EVERY, reference="loop"
    ),
    forward(
        "a path that few samples take",
        path_by_size,
        late_path,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "a second use that few samples make",
        models.ExtraBranch,
        late_path,
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "a call that few samples drop",
        models.DroppedCall,
        late_path,
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "samples sorted by length",
        models.SortedSequences,
        lambda: (torch.randint(9, (12, 5)), LENGTHS),
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "samples sorted by a feature",
        models.SortedFeatures,
        lambda: -LENGTHS[:, None] + torch.randn(12, 4) * 0.01,
        fallback=EVERY,
        reference="loop",
    ),
]


# ---- hooks and state ------------------------------------------


def hooked(model: nn.Module) -> None:
    model.first.register_forward_pre_hook(lambda layer, args: (args[0] + 1,))
    model.first.register_forward_hook(lambda layer, args, output: output * 3)
    model.second.register_full_backward_hook(lambda layer, given, received: None)


HOOKS = [
    forward(
        "hooks that change inputs and outputs",
        chain,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        settled=hooked,
        reference="loop",
    ),
    Case("features handed on by an attribute", models.Stateful, normal(8, 4)),
    Case("buffers that change", models.Caching, vectors, reference="loop"),
]

MODEL_CASES = [
    *NETWORKS,
    *IN_PLACE,
    *SHARED,
    *PARTIAL,
    *INTERFACES,
    *LEADING_AXES,
    *DECIDED,
    *HOOKS,
]
