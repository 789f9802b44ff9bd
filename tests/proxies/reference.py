"""Slow and obvious: each proxy in float64, written down as its definition reads.

A model here is a stem, blocks and a head in train mode; nothing of the library's own computation
is used.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.proxies.networks import Classifier


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Of the mean cross-entropy, by parameter name."""
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    found = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
    model.zero_grad()
    return found


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Of convolutions, linear layers and attention: matrices and kernels."""
    return {name: p.detach().numpy() for name, p in model.named_parameters() if p.dim() > 1}


def grad_norm(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    found = gradients(model, images, labels)
    return sum(np.linalg.norm(found[name].ravel()) for name in weights(model))


def snip(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    found = gradients(model, images, labels)
    return sum(np.abs(w * found[name]).sum() for name, w in weights(model).items())


def grasp(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """-w^T H g with H g from central differences of the gradient along g."""
    found, chosen = gradients(model, images, labels), weights(model)
    step = 1e-6
    parameters = dict(model.named_parameters())

    def moved(sign: float) -> dict[str, np.ndarray]:
        with torch.no_grad():
            for name in chosen:
                parameters[name] += sign * step * torch.from_numpy(found[name])
        return gradients(model, images, labels)

    ahead = moved(1.0)
    behind = moved(-2.0)
    moved(1.0)
    return -sum(
        float((w * (ahead[name] - behind[name])).sum() / (2 * step)) for name, w in chosen.items()
    )


def zico(model: nn.Module, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> float:
    one, two = gradients(model, *first), gradients(model, *second)
    total = 0.0
    for name in weights(model):
        sizes = np.abs(np.stack([one[name], two[name]]))  # [2, ...]
        mean, deviation = sizes.mean(0), sizes.std(0)
        ratios = [m / d for m, d in zip(mean.ravel(), deviation.ravel(), strict=True) if d > 0]
        if ratios:
            total += math.log(sum(ratios))
    return total


def gradsign(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    signs: dict[str, np.ndarray] = {}
    for image, label in zip(images, labels, strict=True):
        found = gradients(model, image[None], label[None])
        for name in weights(model):
            signs[name] = signs.get(name, 0) + np.sign(found[name])
    return float(sum(np.abs(s).sum() for s in signs.values()))


def ntk(model: nn.Module, images: Tensor) -> float:
    rows = []
    for n in range(len(images)):
        found = torch.autograd.grad(model(images)[n].sum(), list(model.parameters()))
        rows.append(np.concatenate([g.numpy().ravel() for g in found]))
    jacobian = np.stack(rows)
    values = np.linalg.svd(jacobian, compute_uv=False) ** 2
    return -float(values.max() / values.min())


def jacov(model: nn.Module, images: Tensor) -> float:
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf).sum(), leaf)
    correlation = np.corrcoef(gradient.flatten(1).numpy())
    values = np.linalg.eigvalsh(correlation)
    return -float(np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5)))


def features(model: Classifier, images: Tensor) -> list[Tensor]:
    """F_0 .. F_K, each from a copy of the one before: blocks may overwrite their input."""
    found = [model.stem(images).detach()]
    for block in model.blocks:
        found.append(block(found[-1].clone()).detach())
    return found


def samples(feature: Tensor) -> np.ndarray:
    """``[pixels or tokens, channels]``."""
    return (feature.movedim(1, -1) if feature.dim() == 4 else feature).flatten(0, -2).numpy()


def entropies(model: Classifier, images: Tensor) -> list[float]:
    found = []
    for feature in features(model, images):
        values = np.linalg.eigvalsh(np.cov(samples(feature), rowvar=False, bias=True))
        shares = np.array([value for value in values / values.sum() if value > 0])
        found.append(float(-np.sum(shares * np.log(shares))))
    return found


def trainability(model: Classifier, images: Tensor, signs: list[Tensor]) -> float:
    """``signs`` from the last feature to the second."""
    found, total = features(model, images), 0.0
    for k, block in enumerate(model.blocks, start=1):
        before = found[k - 1].clone().requires_grad_()
        out = signs[len(found) - 1 - k]
        (into,) = torch.autograd.grad(block(before.clone()), before, out)
        if into.dim() == 4 and into.shape[2:] != out.shape[2:]:
            into = F.pixel_unshuffle(into, into.shape[2] // out.shape[2])
        matrix = samples(into).T @ samples(out) / len(samples(out))
        sigma = np.linalg.svd(matrix, compute_uv=False).max()
        total += 2 - sigma - 1 / (sigma + 1e-6)
    return total / len(model.blocks)


def zen(model: Classifier, images: Tensor, step: Tensor) -> float:
    """For networks whose head begins with the last module that returns a map."""
    terms = []
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args: terms.append(args[0].var((0, 2, 3), correction=0).mean().item())
        )
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        plain = model.head[0](model.blocks(model.stem(images)))
        for hook in hooks:
            hook.remove()
        moved = model.head[0](model.blocks(model.stem(images + 0.01 * step)))
    distance = (plain - moved).abs().flatten(1).sum(1).mean().item()
    return math.log(distance) + sum(0.5 * math.log(variance) for variance in terms)


def synflow(model: nn.Module, shape: tuple[int, ...]) -> float:
    """For networks without normalisation; their weights are changed."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    model.zero_grad()
    model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
    named = dict(model.named_parameters())
    return sum(float((named[n] * named[n].grad).detach().abs().sum()) for n in weights(model))
