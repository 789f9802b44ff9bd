"""Refuses models whose graph hides work from autograd: functions that run a backward of their own.

A reentrant checkpoint, or a reversible block, keeps no graph of its operations. It runs them again
when a gradient comes, and adds the gradients of its weights to ``.grad`` by itself: ``backward()``
finds them there, and ``torch.autograd.grad``, by which derivatives are taken here, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vkdnw.backward.graph import Node
from vkdnw.per_sample.problem import Problem

HIDDEN = (
    "runs a backward pass of its own and adds the gradient of {} to .grad by itself, where "
    "torch.autograd.grad does not see it; use functions that return all gradients, and "
    "torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"
)

_SAME = {torch.float64: 1e-9, torch.float32: 1e-3}


def functions(users: dict[Node, list[Node]]) -> list[str]:
    """Names of the functions written in Python in a graph, this package's own left out."""
    classes = (getattr(node, "_forward_cls", None) for node in users)
    names = {c.__name__ for c in classes if c is not None and not _is_own(c)}
    return sorted(names)


def _is_own(function: type) -> bool:
    return function.__module__.startswith("vkdnw.")


def check_functions(problem: Problem, users: dict[Node, list[Node]], samples: int) -> None:
    """Compares ``backward()`` with ``torch.autograd.grad``, where functions are in a graph.

    Raises:
        ValueError: they differ; it names the functions and a parameter.
    """
    names = functions(users)
    if not names:
        return
    chosen = {name: problem.parameters[name] for name in problem.selection.names}
    leaves = [getattr(node, "variable", None) for node in users]
    others = [leaf for leaf in leaves if leaf is not None]
    with without_gradients((*problem.model.parameters(), *others)):
        asked = _asked(problem, list(chosen.values()), samples)
    with without_gradients((*problem.model.parameters(), *others)):
        logits, cotangents = _logits(problem, samples)
        logits.backward(cotangents, retain_graph=problem.keeps_graphs)
        accumulated = [parameter.grad for parameter in chosen.values()]
    for name, first, second in zip(chosen, asked, accumulated, strict=True):
        if not _close(first, second):
            raise ValueError(f"{', '.join(names)} {HIDDEN.format(name)}")


def _asked(
    problem: Problem, parameters: list[nn.Parameter], samples: int
) -> Sequence[Tensor | None]:
    logits, cotangents = _logits(problem, samples)
    try:
        return torch.autograd.grad(
            logits, parameters, cotangents, retain_graph=problem.keeps_graphs, allow_unused=True
        )
    except RuntimeError:  # a reentrant checkpoint refuses autograd.grad
        return [None] * len(parameters)


def _logits(problem: Problem, samples: int) -> tuple[Tensor, Tensor]:
    piece = problem.batch.chunk(slice(0, samples), None)
    logits = problem.logits(piece)
    generator = torch.Generator(device="cpu").manual_seed(0)
    return logits, torch.randn(logits.shape, generator=generator, device="cpu").to(logits)


@contextmanager
def without_gradients(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Inside the block leaves have no ``.grad``, and no hooks that act on gradients."""
    kept = [(leaf, leaf.grad, leaf._post_accumulate_grad_hooks) for leaf in leaves]
    hooks = [(held, dict(held)) for _, _, held in kept if held]
    for leaf, _, _ in kept:
        leaf.grad = None
    for held, _ in hooks:
        held.clear()
    try:
        yield
    finally:
        for leaf, gradient, _ in kept:
            leaf.grad = gradient
        for held, entries in hooks:
            held.update(entries)


def _close(first: Tensor | None, second: Tensor | None) -> bool:
    one, other = (
        None if g is None else g.to_dense() if g.is_sparse else g for g in (first, second)
    )
    if one is None or other is None:
        present = one if other is None else other
        return present is None or not present.any()
    allowed = _SAME.get(one.dtype, 5e-2) * float(torch.maximum(one.abs().max(), other.abs().max()))
    return bool((one - other).abs().max() <= allowed)
