"""Tapes that are compiled from graphs of single operations, compared with autograd in float64.

A score is compared with plain autograd before it is returned, and would hide a tape that is wrong.
Here tapes are compiled and run by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vkdnw.backward.graph import Node, consumers
from vkdnw.backward.tape import Region, Tape, cotangents_at, filled
from vkdnw.backward.tape_compiler import compile_tape
from vkdnw.backward.tape_gradients import make_tape_readings

SAMPLES, CHANNELS, SIDE = 2, 16, 6
ROUNDING = 1e-5
"""Of the largest number: sums of some hundreds of float32 products."""


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


WEIGHT = drawn(CHANNELS, CHANNELS, 3, 3) / 12
SCALE, SHIFT, MEAN = (drawn(n)[:CHANNELS] for n in (16, 17, 18))
VARIANCE = torch.full((CHANNELS,), 0.25)


def conv(x: Tensor) -> Tensor:
    return F.conv2d(x, WEIGHT.to(x), padding=1)


def norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    known = [each.to(x) for each in (MEAN, VARIANCE, SCALE, SHIFT)]
    return F.batch_norm(x, *known, eps=eps)


def convolved_and_pooled(x: Tensor) -> Tensor:
    return F.avg_pool2d(conv(x), 2) + F.avg_pool2d(x, 2)


def squared_and_convolved(x: Tensor) -> Tensor:
    return conv(x) * x


def taped(tape: Tape, end: Tensor, goals: list[Node]) -> dict[Node, Tensor]:
    """The gradients of ``end`` at goals of the first region."""
    edges = [torch.autograd.graph.GradientEdge(node, 0) for node in tape.entries]
    given = torch.autograd.grad(end, edges, retain_graph=True)
    cotangents = [
        cotangents_at(node, each[None], 1) for node, each in zip(tape.entries, given, strict=True)
    ]
    every = torch.arange(CHANNELS)
    read = {number: (tape.numbers[0][node], every) for number, node in enumerate(goals)}
    found = make_tape_readings(tape, read).gradients(cotangents)
    return {node: found[number] for number, node in enumerate(goals)}


Between = Callable[[Tensor], Tensor]

ON_THE_TAPE: dict[str, Between] = {
    "a sum": lambda x: conv(x) + x,
    "a map twice": lambda x: conv(x + x),
    "BatchNorm of its own eps": lambda x: conv(norm(x, eps=0.5)),
    "a product with a number": lambda x: conv(x * torch.tensor(0.3).to(x)),
    "means over squares": lambda x: conv(F.avg_pool2d(x, 2)),
    "means around each number": lambda x: conv(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    "the mean of all": lambda x: conv(x).mean((2, 3), keepdim=True),
    "a ReLU that convolution and pooling read": lambda x: convolved_and_pooled(x.relu()),
}

OFF_THE_TAPE: dict[str, Between] = {
    "a sum with a factor": lambda x: torch.add(conv(x), x, alpha=2),
    "a difference": lambda x: torch.sub(conv(x), x),
    "a broadcast sum": lambda x: conv(x) + x.mean((2, 3), keepdim=True),
    "a product of maps": lambda x: conv(x) * x,
    "a product and a layer that read one map": lambda x: squared_and_convolved(conv(x)) + conv(x),
    "means of other windows": lambda x: conv(F.avg_pool2d(x, 3, 2)),
    "means of padded windows": lambda x: conv(F.avg_pool2d(x, 2, padding=1)),
    "means that count the padding": lambda x: conv(F.avg_pool2d(x, 3, 1, 1)),
    "a dilated convolution": lambda x: F.conv2d(x, WEIGHT.to(x), padding=2, dilation=2),
    "the mean of a row": lambda x: conv(x).mean((2,), keepdim=True),
}
"""One operation of each is not known, and nothing above it may be on the tape."""


def graph(between: Between, dtype: torch.dtype, width: int = SIDE) -> tuple[Tensor, Tensor]:
    """The map at which the gradient is wanted, and a number that depends on it."""
    leaf = drawn(SAMPLES, CHANNELS, SIDE, width).to(dtype).requires_grad_()
    first = conv(leaf)
    return first, conv(between(first)).relu().square().sum()


def top(end: Tensor) -> Node:
    """The ReLU, the last operation on maps."""
    return end.grad_fn.next_functions[0][0].next_functions[0][0]


def summed(end: Tensor) -> Node:
    """The operation whose result the last convolution reads."""
    return top(end).next_functions[0][0].next_functions[0][0]


def assert_right(tape: Tape, end: Tensor, goal: Node, between: Between) -> None:
    """Compares the gradient at the goal with that of the same graph in float64."""
    found = taped(tape, end, [goal])[goal].double()
    first, end = graph(between, torch.float64)
    (expected,) = torch.autograd.grad(end, first)
    assert (found - expected).abs().max() <= ROUNDING * expected.abs().max()


@pytest.mark.parametrize("name", ON_THE_TAPE)
def test_a_tape_computes_the_gradient(name: str) -> None:
    first, end = graph(ON_THE_TAPE[name], torch.float32)
    goal = first.grad_fn
    tape = compile_tape([Region((goal,))], consumers(end))
    assert tape is not None
    assert_right(tape, end, goal, ON_THE_TAPE[name])


@pytest.mark.parametrize("name", OFF_THE_TAPE)
def test_what_no_layer_computes_is_left_to_autograd(name: str) -> None:
    first, end = graph(OFF_THE_TAPE[name], torch.float32)
    goal = first.grad_fn
    tape = compile_tape([Region((goal,))], consumers(end))
    assert tape is None or top(end) not in tape.numbers[0]
    if tape is not None and goal in tape.numbers[0]:
        assert_right(tape, end, goal, OFF_THE_TAPE[name])


def test_the_mean_of_a_map_that_is_not_square_is_left_to_autograd() -> None:
    first, end = graph(ON_THE_TAPE["the mean of all"], torch.float32, width=2 * SIDE)
    tape = compile_tape([Region((first.grad_fn,))], consumers(end))
    assert tape is None or top(end) not in tape.numbers[0]


def test_regions_on_one_tape_are_those_of_tapes_of_their_own() -> None:
    first, end = graph(lambda x: norm(conv(x)).relu() + x, torch.float32)
    middle = summed(end)
    users = consumers(end)
    goal = first.grad_fn
    whole, block = Region((goal,)), Region((goal,), start=middle)
    both = compile_tape([whole, block], users)
    assert both is not None
    assert [goal in numbers for numbers in both.numbers] == [True, True]
    assert both.numbers[0][goal] != both.numbers[1][goal]
    alone = compile_tape([block], users)
    assert alone is not None
    assert alone.entries == ()  # the graph's own gradients have no use
    cotangent = filled(drawn(SAMPLES, CHANNELS, SIDE, SIDE))
    plane = SIDE * SIDE
    results = []
    for tape, before in ((both, [torch.zeros_like(cotangent)]), (alone, [])):
        planes = torch.empty(SAMPLES * CHANNELS * plane)
        number = tape.numbers[-1][goal]
        readings = [(number, c, c * plane, CHANNELS * plane) for c in range(CHANNELS)]
        tape.run(planes, [*before, cotangent], torch.tensor(readings))
        results.append(planes)
    assert torch.equal(*results)


def test_a_goal_behind_its_start_has_no_number() -> None:
    first, end = graph(lambda x: conv(x).relu() + x, torch.float32)
    middle = summed(end)
    tape = compile_tape([Region((middle,), start=first.grad_fn)], consumers(end))
    assert tape is not None
    assert middle not in tape.numbers[0]


def test_a_start_above_the_tape_leaves_none() -> None:
    first, end = graph(lambda x: conv(x).relu() + x, torch.float32)
    region = Region((first.grad_fn,), start=end.grad_fn)
    assert compile_tape([region], consumers(end * 1.0)) is None
