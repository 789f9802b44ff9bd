"""Slow and obvious: scores of other papers in float64, written down as their definitions read.

A model here is a Classifier of :mod:`tests.proxies.networks` in train mode.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.proxies import reference


def relu_outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The output of every ReLU, module or function, by replacing torch's functions."""
    found: list[Tensor] = []
    functions = {name: getattr(F, name) for name in ("relu", "hardtanh")}

    def recorded(name: str) -> object:
        def call(*args: object, **named: object) -> Tensor:
            out: Tensor = functions[name](*args, **named)
            found.append(out.detach().clone())
            return out

        return call

    try:
        for name in functions:
            setattr(F, name, recorded(name))
        model(images)
    finally:
        for name, function in functions.items():
            setattr(F, name, function)
    return found


def swap(model: nn.Module, images: Tensor) -> int:
    columns = np.concatenate(
        [(out > 0).flatten(1).numpy() for out in relu_outputs(model, images)], axis=1
    )
    return len({tuple(column) for column in columns.T})


def plain(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    found = reference.gradients(model, images, labels)
    return sum((w * found[name]).sum() for name, w in reference.weights(model).items())


def l2_norm(model: nn.Module) -> float:
    return sum(float(np.sqrt((w**2).sum())) for w in reference.weights(model).values())


def epe_nas(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf).sum(), leaf)
    rows = gradient.flatten(1).numpy()
    sums = []
    classes = sorted(set(labels.tolist()))
    for label in classes:
        own = rows[labels.numpy() == label]
        value = 0.0
        if len(own) > 1:
            for i in range(len(own)):
                for j in range(len(own)):
                    value += math.log(abs(np.corrcoef(own[i], own[j])[0, 1]) + 1e-5)
        sums.append(value / len(own) if len(classes) > 100 else value)
    if len(classes) > 100:
        return sum(abs(a - b) for a in sums for b in sums) / len(sums) ** 2
    return sum(abs(value) for value in sums)


def outputs_of(model: nn.Module, images: Tensor, kinds: tuple[type, ...]) -> list[Tensor]:
    """The outputs of modules of some kinds, in the graph."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, args, out: found.append(out))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    return [*found, logits]


def fisher(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    *outputs, logits = outputs_of(model, images, (nn.Conv2d, nn.Linear))
    total = 0.0
    loss = F.cross_entropy(logits, labels, reduction="sum")
    for out in outputs:
        (gradient,) = torch.autograd.grad(loss, out, retain_graph=True)
        for n in range(len(images)):
            for c in range(out.shape[1] if out.dim() == 4 else out.shape[-1]):
                z, g = (t[n, c] if out.dim() == 4 else t[n, ..., c] for t in (out, gradient))
                total += float((z * g).sum().detach()) ** 2 / (2 * len(images))
    return total


def meco(model: nn.Module, images: Tensor) -> float:
    leaves = tuple({type(m) for m in model.modules() if not list(m.children())})
    total = 0.0
    outputs: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, leaves):
            module.register_forward_hook(lambda _, args, out: outputs.append(out.detach().clone()))
    model(images[:1])
    for out in outputs:
        rows = out[0].reshape(len(out[0]), -1).numpy()
        if len(rows) > 1 and rows.shape[1] > 1 and (rows.std(1) > 0).all():
            total += max(0.0, float(np.linalg.eigvalsh(np.corrcoef(rows)).min()))
    return total


def effective_rank(matrix: np.ndarray) -> float:
    values = np.linalg.svd(matrix, compute_uv=False)
    shares = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def dss(model: nn.Module, shape: tuple[int, ...], attention: set[str]) -> float:
    """Weights are changed."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.abs_()
    model.zero_grad()
    model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
    total = 0.0
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            continue
        w, g = weight.detach().flatten(1).numpy(), weight.grad.flatten(1).numpy()
        if name in attention:
            total += np.linalg.svd(w)[1].sum() * np.linalg.svd(g)[1].sum()
        else:
            total += np.abs(w * g).sum()
    return float(total)


def fisher_matrix(model: nn.Module, images: Tensor, names: list[tuple[str, int]]) -> np.ndarray:
    """In eval mode: mean over images of J^T (diag p - p p^T) J, p smoothed by 0.05; by autograd."""
    parameters = dict(model.named_parameters())
    total = np.zeros((len(names), len(names)))
    for image in images:
        logits = model(image[None])[0]
        rows = []
        for logit in logits:
            found = torch.autograd.grad(
                logit, list(parameters.values()), retain_graph=True, allow_unused=True
            )
            flat = dict(zip(parameters, found, strict=True))
            rows.append([float(flat[name].flatten()[index]) for name, index in names])
        p = 0.95 * logits.detach().softmax(0).numpy() + 0.05 / len(logits)
        jacobian = np.array(rows)
        total += jacobian.T @ (np.diag(p) - np.outer(p, p)) @ jacobian
    return total / len(images)


def naswot_layers(model: nn.Module, images: Tensor, kinds: tuple[type[nn.Module], ...]) -> float:
    """Sum over modules of some kinds of log det(I + K), one unit and pair of images at a time."""
    signs: list[np.ndarray] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda _, given: signs.append((given[0].detach() > 0).flatten(1).numpy())
        )
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    total = 0.0
    for on in signs:
        kernel = np.array([[np.sum(one == other) for other in on] for one in on], np.float64)
        total += float(np.linalg.slogdet(np.eye(len(on)) + kernel)[1])
    return total
