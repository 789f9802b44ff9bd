"""Slow and obvious: Jacobian, Fisher matrix and score, written down as the paper's formulas read.

Every fast path of the library is compared with these, and benchmarks time them as the yardstick.
Nothing here uses the library's own computation; a selection is read as plain data.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from vkdnw.weights import Selection

DECILES = torch.arange(1, 10, dtype=torch.float64) / 10


def reference_jacobian(
    model: nn.Module,
    batch: Any,
    selection: Selection,
    output: Any = None,
    *,
    chunk_size: int | None = None,
) -> Tensor:
    """d logit_c(sample n) / d theta_j by ``vmap(jacrev(functional_call))``, ``[B, C, P]``.

    ``chunk_size`` samples are differentiated at a time; None takes all at once.
    """
    fixed = {name: parameter.detach() for name, parameter in model.named_parameters()}
    buffers = dict(model.named_buffers())
    theta = torch.cat([fixed[name].flatten()[index] for name, index in _chosen(selection)])  # [P]
    args, kwargs = _arguments(batch)
    values, keys = [*args, *kwargs.values()], list(kwargs)
    sampled = [position for position, value in enumerate(values) if _has_samples(value)]

    def logits(theta: Tensor, *sample: Tensor) -> Tensor:
        parameters = dict(fixed)
        pieces = theta.split([len(index) for index in selection.indices])
        for (name, index), piece in zip(_chosen(selection), pieces, strict=True):
            flat = fixed[name].flatten().index_put((index,), piece)
            parameters[name] = flat.view_as(fixed[name])
        given = list(values)
        for position, value in zip(sampled, sample, strict=True):
            given[position] = value.unsqueeze(0)
        positional, named = given[: len(args)], dict(zip(keys, given[len(args) :], strict=True))
        returned = functional_call(model, (parameters, buffers), tuple(positional), named)
        return _logits(returned, output)[0]  # [C]

    every_sample = vmap(
        jacrev(logits), in_dims=(None, *(0 for _ in sampled)), chunk_size=chunk_size
    )
    return every_sample(theta, *(values[position] for position in sampled))


def reference_jacobian_by_loop(
    model: nn.Module,
    batch: Any,
    selection: Selection,
    output: Any = None,
    *,
    alone: bool = False,
) -> Tensor:
    """The same one number at a time, for models that ``vmap`` cannot take: a backward pass each.

    The batch is run as a whole, or with ``alone`` every sample in a batch of its own.
    """
    model = copy.deepcopy(model)
    parameters = dict(model.named_parameters())
    for name in selection.names:
        parameters[name].requires_grad_(True)
    rows = []
    for piece in _samples(batch) if alone else [batch]:
        args, kwargs = _arguments(_copied(piece))
        with torch.enable_grad():
            logits = _logits(model(*args, **kwargs), output)
        rows += [_derivatives(logit, parameters, selection) for logit in logits.flatten()]
    return torch.stack(rows).unflatten(0, (-1, logits.shape[1]))


def reference_logits(model: nn.Module, batch: Any, output: Any = None) -> Tensor:
    """The model's logits ``[B, C]``."""
    args, kwargs = _arguments(_copied(batch))
    with torch.no_grad():
        return _logits(copy.deepcopy(model)(*args, **kwargs), output)


def probabilities(logits: Tensor, smoothing: float = 0.05, convention: str = "fisher") -> Tensor:
    """``(1 - a) softmax + a / C``, ``[B, C]``; the authors' code holds ``a`` in half precision."""
    dtype = torch.float16 if convention == "released" else logits.dtype
    a = torch.tensor(smoothing, dtype=dtype)
    kept, spread = (1 - a).to(logits.dtype), (a / logits.shape[1]).to(logits.dtype)
    return kept * torch.softmax(logits, dim=1) + spread


def softmax_factor(p: Tensor) -> Tensor:
    """Lower-triangular L with ``L L^T = diag(p) - p p^T`` where p sums to 1, ``[B, C, C]``.

    L_jj = sqrt(p_j q_j / q_{j-1}) and L_ij = -p_i sqrt(p_j / (q_{j-1} q_j)) for i > j, where
    q_j = 1 - (p_0 + ... + p_j). The last column is zero.
    """
    q = (1 - p.cumsum(1))[:, :-1]  # [B, C - 1]: q_0 .. q_{C-2}
    before = torch.cat([torch.ones_like(q[:, :1]), q[:, :-1]], dim=1)
    factor = torch.zeros(*p.shape, p.shape[1], dtype=p.dtype)
    factor[:, :, :-1] = torch.tril(
        -p[:, :, None] * torch.sqrt(p[:, :-1] / (before * q))[:, None, :], diagonal=-1
    )
    factor.diagonal(dim1=1, dim2=2)[:, :-1] = torch.sqrt(p[:, :-1] * q / before)
    return factor


def reference_fisher(
    jacobian: Tensor, logits: Tensor, smoothing: float = 0.05, convention: str = "fisher"
) -> Tensor:
    """mean_n J_n^T (diag p_n - p_n p_n^T) J_n, or for ``released`` mean_n (L_n J_n)^T L_n J_n."""
    p = probabilities(logits, smoothing, convention)
    if convention == "released":
        weighted = softmax_factor(p) @ jacobian
        products = weighted.mT @ weighted
    else:
        covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        products = jacobian.mT @ covariance @ jacobian
    return products.mean(dim=0)


@dataclass(frozen=True)
class ReferenceScore:
    """The score and the numbers it was made of."""

    vkdnw: float
    eigenvalues: Tensor  # [P] ascending
    deciles: Tensor  # [9]


def reference_score(
    model: nn.Module,
    batch: Any,
    selection: Selection,
    output: Any = None,
    *,
    smoothing: float = 0.05,
    convention: str = "fisher",
    chunk_size: int | None = None,
) -> ReferenceScore:
    """VKDNW step by step in the model's dtype: Jacobian, factor, product, SVD, deciles, entropy."""
    jacobian = reference_jacobian(model, batch, selection, output, chunk_size=chunk_size)
    logits = reference_logits(model, batch, output)
    return spectrum_score(reference_fisher(jacobian, logits, smoothing, convention))


def spectrum_score(fisher: Tensor) -> ReferenceScore:
    """From a Fisher matrix to the entropy of the deciles of its eigenvalues."""
    eigenvalues = torch.linalg.svdvals(fisher).flip(0)
    deciles = torch.quantile(eigenvalues, DECILES.to(fisher))
    share = deciles / (deciles.sum() + 1e-10)
    return ReferenceScore(float(-(share * torch.log(share + 1e-10)).sum()), eigenvalues, deciles)


def _chosen(selection: Selection) -> list[tuple[str, Tensor]]:
    return list(zip(selection.names, selection.indices, strict=True))


def _derivatives(logit: Tensor, parameters: dict[str, Tensor], selection: Selection) -> Tensor:
    """The gradient of one logit with respect to the chosen scalars, ``[P]``."""
    chosen = [parameters[name] for name in selection.names]
    gradients = [None] * len(chosen)
    if logit.requires_grad:
        gradients = torch.autograd.grad(logit, chosen, retain_graph=True, allow_unused=True)
    pieces = []
    for parameter, gradient, index in zip(chosen, gradients, selection.indices, strict=True):
        dense = torch.zeros_like(parameter) if gradient is None else gradient
        pieces.append((dense.to_dense() if dense.is_sparse else dense).flatten()[index])
    return torch.cat(pieces).detach()


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (tuple(batch), {}) if isinstance(batch, tuple | list) else ((batch,), {})


def _has_samples(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _mapped(batch: Any, function: Any) -> Any:
    """The batch with a function applied to every tensor that has a sample axis."""
    if isinstance(batch, Mapping):
        return {key: _mapped(value, function) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(_mapped(value, function) for value in batch)
    return function(batch) if _has_samples(batch) else batch


def _copied(batch: Any) -> Any:
    return _mapped(batch, Tensor.clone)


def _samples(batch: Any) -> list[Any]:
    args, kwargs = _arguments(batch)
    size = next(len(value) for value in (*args, *kwargs.values()) if _has_samples(value))
    return [_mapped(batch, lambda value, n=n: value[n : n + 1]) for n in range(size)]


def _logits(returned: Any, output: Any) -> Tensor:
    if output is None:
        return returned
    if callable(output):
        return output(returned)
    if isinstance(output, str) and not isinstance(returned, Mapping):
        return getattr(returned, output)
    return returned[output]
