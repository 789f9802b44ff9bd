"""vkdnw::backpropagate_ on NAS-Bench-201's networks, against autograd's backward passes.

The op alone, with the tables that `vkdnw.jacobian` gives it, and `vkdnw.jacobian` with tapes and
without. Products of convolutions are counted as two operations each.

    python benchmarks/gpu/tape.py [--device cpu] [--small] [--repeats N]
"""

from __future__ import annotations

from typing import Any

import torch
from clock import Options, milliseconds, milliseconds_in_a_row, options, tell
from network import DENSE, network
from torch import Tensor, nn

import vkdnw
from vkdnw.backward import tape, tape_compiler
from vkdnw.ops.backpropagate import Layer

TAPS = {Layer.CONV3X3: 9, Layer.CONV1X1: 1}


def operations(values: Tensor, terms: Tensor, weights: list[Tensor], samples: int) -> float:
    """Of the convolutions, as if each were computed directly and no tap left the map."""
    shapes, total = values.tolist(), 0
    for layer, source, destination, weight, *_ in terms.tolist():
        if layer in (Layer.CONV3X3, Layer.CONV1X1, Layer.STRIDED_CONV):
            channels, height, width = shapes[source]
            taps = TAPS.get(Layer(layer), weights[weight].shape[:2].numel())
            total += 2 * taps * channels * shapes[destination][0] * height * width
    return float(samples * total)


def arguments_of_tape(model: nn.Module, x: Tensor) -> tuple[Any, ...]:
    """The arguments of one call of the op."""
    taken: list[tuple[Any, ...]] = []
    op = tape.backpropagate_

    def take(*arguments: Any) -> Tensor:
        taken.append(arguments)
        return op(*arguments)

    tape.backpropagate_ = take  # type: ignore[assignment]
    try:
        vkdnw.jacobian(model, x)
    finally:
        tape.backpropagate_ = op
    return taken[-1]


def measure(o: Options, name: str, model: nn.Module, x: Tensor) -> None:
    arguments = arguments_of_tape(model, x)
    _, cotangents, weights, _, values, terms, *_ = arguments
    work = operations(values, terms, weights, len(cotangents[0]))
    spent = milliseconds_in_a_row(lambda: tape.backpropagate_(*arguments), o.device, o.repeats)
    tell(f"tape, {name}: backpropagate_", spent, "ms", samples=len(cotangents[0]), operations=work)
    tell(f"tape, {name}: speed", work / spent / 1e9, "TFLOP/s", counted="convolutions")
    with_tape = milliseconds(lambda: vkdnw.jacobian(model, x), o.device, o.repeats)
    found = vkdnw.jacobian(model, x)
    devices = set(tape_compiler.TAPE_DEVICES)
    tape_compiler.TAPE_DEVICES.clear()
    try:
        without = milliseconds(lambda: vkdnw.jacobian(model, x), o.device, o.repeats)
        error = float((found - vkdnw.jacobian(model, x)).norm() / found.norm())
    finally:
        tape_compiler.TAPE_DEVICES.update(devices)
    tell(f"tape, {name}: vkdnw.jacobian", with_tape, "ms", without_tape=without)
    tell(f"tape, {name}: times faster", without / with_tape, "x", difference=error)


def main() -> None:
    o = options(__doc__ or "")
    torch.manual_seed(0)
    side = 8 if o.small else 32
    x = torch.randn(4 if o.small else 64, 3, side, side).to(o.device)
    measure(o, "all conv3x3", network(o, DENSE), x)


if __name__ == "__main__":
    main()
