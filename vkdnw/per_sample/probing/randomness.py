"""Refuses models that draw at random, by the name of the module that does.

A call that draws numbers has another result each time, but two calls may agree by chance. Therefore
the generators are compared: the states of torch's, numpy's and Python's must be the same before and
after a forward pass. Numbers that are drawn and never read are allowed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from vkdnw.per_sample.probing.forward_log import ForwardLog, states
from vkdnw.per_sample.problem import Problem

REMEDY = "call model.eval(), and replace random operations"

_KINDS = ("torch's generator", "numpy's generator", "Python's random")


def generators() -> tuple[Any, ...]:
    """The states of all global generators: torch's, numpy's, Python's."""
    numpy = sys.modules.get("numpy")
    of_numpy = None if numpy is None else _plain(numpy.random.get_state())
    return states(), of_numpy, random.getstate()


def _plain(state: Any) -> tuple[Any, ...]:
    name, keys, *rest = state
    return name, keys.tobytes(), *rest


def check_draws(
    model: nn.Module, log: ForwardLog | None, before: tuple[Any, ...], again: Callable[[], object]
) -> None:
    """Refuses a forward pass that has changed a generator's state.

    Args:
        log: of the pass; None where it could not be kept.
        before: the :func:`generators` before it.
        again: runs the same pass once more, to find the module.

    Raises:
        ValueError: it names the module and the generator.
    """
    moved = [kind for kind, a, b in zip(_KINDS, before, generators(), strict=True) if a != b]
    if not moved:
        return
    if moved == [_KINDS[0]] and log is not None and log.draws and log.reading is None:
        return
    said = f" ({log.reading})" if log is not None and log.reading else ""
    raise ValueError(
        f"{_drawing_module(model, again)} draws random numbers in its forward pass{said}: "
        f"{' and '.join(moved)} moved, so the logits, or their derivatives, would change by "
        f"chance from call to call; {REMEDY}"
    )


class Logged(Protocol):
    """A pass with its log, if one could be kept."""

    @property
    def log(self) -> ForwardLog | None: ...


def check_own_generators(
    problem: Problem, first: ForwardLog | None, again: Callable[[], Logged]
) -> None:
    """Refuses draws from a generator of the model's own that goes on from call to call.

    Args:
        first: the log of a pass that has just been made.
        again: runs the same pass once more, and puts nothing back before.

    Raises:
        ValueError: the second pass draws from other states than the first; names the generator.
    """
    moved = problem.state.moved_generators()
    drawn = [] if first is None else first.own_generators
    if not moved and not drawn:
        return
    second = again().log
    moved_again = problem.state.moved_generators()
    if moved_again == moved and second is not None and second.own_generators == drawn:
        return
    kinds = dict.fromkeys(kind for kind, _ in moved_again) or ["torch.Generator"]
    raise ValueError(
        f"{type(problem.model).__name__} draws random numbers from a {' and a '.join(kinds)} of "
        f"its own, which moves from call to call; {REMEDY}, or seed it in every forward pass"
    )


def _drawing_module(model: nn.Module, again: Callable[[], object]) -> str:
    """The innermost module during whose forward a generator's state changes."""
    names = {id(module): name for name, module in model.named_modules()}
    found: list[nn.Module] = []
    before: dict[int, list[Any]] = {}

    def enter(module: nn.Module, args: Any) -> None:
        before.setdefault(id(module), []).append(generators())

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        stood = before[id(module)].pop()
        if not found and stood != generators():
            found.append(module)  # those inside have left before

    handles: list[Any] = []
    try:
        for module in model.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave))
        again()
    except Exception:  # its own errors are reported elsewhere
        pass
    finally:
        for handle in handles:
            handle.remove()
    culprit = found[0] if found else model
    name, kind = names[id(culprit)], type(culprit).__name__
    return f"{name} ({kind})" if name else kind
