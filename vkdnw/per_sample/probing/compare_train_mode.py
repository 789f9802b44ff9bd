"""Refuses, by name, modules of any class that are in train mode and compute differently there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vkdnw.per_sample.problem import Problem

_SAME = {torch.float64: 1e-9, torch.float32: 1e-4}  # the same kernels run: more is not rounding


def check_train_mode(problem: Problem, samples: int) -> None:
    """Compares a model, where a part of it is in train mode, with itself in eval mode.

    Raises:
        ValueError: logits or derivatives differ; it names a module.
    """
    training = [module for module in problem.modules.values() if module.training]
    if not training:
        return
    problem.state.rewind()
    as_it_is = _behaviour(problem, samples)
    problem.state.rewind()
    with _in_eval_mode(training):
        if _same(as_it_is, _behaviour(problem, samples)):
            return
    for name, module in reversed(problem.modules.items()):  # the innermost first
        if module.training and _behaves_otherwise(problem, samples, as_it_is, module):
            raise _refusal(name, module)
    raise _refusal("", problem.model)


def _behaves_otherwise(
    problem: Problem, samples: int, as_it_is: list[Tensor] | None, module: nn.Module
) -> bool:
    problem.state.rewind()
    with _in_eval_mode([module]):
        return not _same(as_it_is, _behaviour(problem, samples))


def _refusal(name: str, module: nn.Module) -> ValueError:
    kind = type(module).__name__
    return ValueError(
        f"{f'{name} ({kind})' if name else kind} is in train mode and behaves otherwise there than "
        "in eval mode; call model.eval() first"
    )


@contextmanager
def _in_eval_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    changed = list(modules)
    for module in changed:
        module.training = False
    try:
        yield
    finally:
        for module in changed:
            module.training = True


def _behaviour(problem: Problem, samples: int) -> list[Tensor] | None:
    """Logits and the derivatives of a combination of them; None where the model cannot be run."""
    piece = problem.batch.chunk(slice(0, samples), None)
    chosen = [problem.parameters[name] for name in problem.selection.names]
    try:
        logits = problem.logits(piece, rewind=False)  # which would put the modes back
        generator = torch.Generator(device="cpu").manual_seed(0)
        cotangents = torch.randn(logits.shape, generator=generator, device="cpu").to(logits)
        gradients = torch.autograd.grad(
            logits, chosen, cotangents, retain_graph=problem.keeps_graphs, allow_unused=True
        )
    except Exception:
        return None
    shared = zip(chosen, gradients, strict=True)
    return [logits, *(torch.zeros_like(p) if g is None else g for p, g in shared)]


def _same(first: list[Tensor] | None, second: list[Tensor] | None) -> bool:
    if first is None or second is None:
        return False
    return all(_close(a.detach(), b.detach()) for a, b in zip(first, second, strict=True))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    a, b = (x.to_dense() if x.is_sparse else x for x in (a, b))
    allowed = _SAME.get(a.dtype, 1e-2) * max(float(a.abs().max()), float(b.abs().max()))
    return bool((a - b).abs().max() <= allowed)
