"""Gradients of weights by autograd, which are all there or refused by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.backward.graph import consumers
from vkdnw.error_explanations import differentiation_explained
from vkdnw.per_sample.probing.custom_functions import HIDDEN, functions, without_gradients


def weight_gradients(
    value: Tensor, leaves: Sequence[Tensor], *, create_graph: bool = False, retain_graph: bool
) -> tuple[Tensor, ...]:
    """d value / d leaves; zeros where there is no dependence, dense those of sparse embeddings.

    No leaf's ``.grad`` is changed.

    Raises:
        ValueError: autograd fails; or a function of the model's runs a backward pass of its own and
            adds the gradients of weights to ``.grad`` by itself, where they are not seen.
    """
    suspected = not retain_graph and bool(functions(consumers(value)))
    with without_gradients(leaves):
        with differentiation_explained():
            found = torch.autograd.grad(
                value,
                leaves,
                create_graph=create_graph,
                retain_graph=retain_graph or create_graph or suspected,
                allow_unused=True,
            )
        hidden = any(leaf.grad is not None for leaf in leaves)
    missing = [leaf for leaf, each in zip(leaves, found, strict=True) if each is None]
    if hidden or (missing and (retain_graph or create_graph or suspected)):
        _check_nothing_hidden(value, missing, hidden)
    return tuple(
        torch.zeros_like(leaf) if gradient is None else _dense(gradient)
        for leaf, gradient in zip(leaves, found, strict=True)
    )


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


def _check_nothing_hidden(value: Tensor, missing: list[Tensor], hidden: bool) -> None:
    """Whether ``backward()`` finds gradients that ``torch.autograd.grad`` does not."""
    users = consumers(value)
    names = functions(users)
    if not names:
        return
    leaves = [leaf for node in users if (leaf := getattr(node, "variable", None)) is not None]
    with without_gradients((*missing, *leaves)):
        if not hidden:
            value.backward(retain_graph=True)
            hidden = any(leaf.grad is not None and bool(leaf.grad.any()) for leaf in missing)
    if hidden:
        raise ValueError(f"{', '.join(names)} {HIDDEN.format('weights')}")
