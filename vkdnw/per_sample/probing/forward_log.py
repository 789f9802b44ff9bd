"""Records the operators of a forward pass: those that may mix samples, and those that draw numbers.

Not every operation is in the autograd graph: detached, index and random tensors never enter it. A
dispatch mode sees every operator of torch, whatever calls it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vkdnw.per_sample.probing.row_wise import OperatorCall, address, keeps_rows, tensors_in

_HANDING_ON = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)  # the same memory


class ForwardLog(TorchDispatchMode):
    """The operations of one forward pass that went through torch's operators."""

    def __init__(self, model: nn.Module, inputs: list[Tensor], samples: int) -> None:
        """``inputs`` are the tensors passed to the model, for this number of samples."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.mixing: str | None = None
        """The first operation that may carry numbers from one sample to another."""
        self.roundings: set[torch.dtype] = set()
        """Dtypes to which numbers of samples are rounded, also where the graph does not show it."""
        self.draws: list[str] = []
        """Operations that moved torch's own generator."""
        self.reading: str | None = None
        """The first of them whose numbers something reads."""
        self.own_generators: list[bytes] = []
        """States of generators of the model's own, before each draw from them."""
        self._samples = samples
        weights = (*model.parameters(), *model.buffers())
        self._constants = {address(tensor) for tensor in weights} - {0}
        self._known = self._constants | {address(tensor) for tensor in inputs}
        self._drawn: dict[int, str] = {}  # by address
        self._held: list[Tensor] = []  # so that no address is used again

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor was made of parameters, buffers and numbers alone."""
        return address(tensor) in self._constants

    def returned(self, logits: Tensor) -> None:
        """Adds the output of the pass to the log, since the caller reads it."""
        self._read([address(logits)])
        self._held.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = tensors_in((*args, *kwargs.values()))
        read = [address(tensor) for tensor in given]
        if self._drawn and func not in _HANDING_ON:
            self._read(read)
        random = torch.Tag.nondeterministic_seeded in func.tags
        output = self._draw(func, args, kwargs) if random else func(*args, **kwargs)
        made = tensors_in((output, *_items(output)))
        if made and given and made[0].dtype != given[0].dtype:
            self._note_rounding(given[0], made[0])
        if self.mixing is not None:
            return output
        written = [address(tensor) for tensor in made]
        if self._constants.issuperset(read):
            self._held += made
            self._constants.update(written)
            self._constants.discard(0)
        else:
            self._constants.difference_update(written)  # in place
            constants = {id(t) for t, at in zip(given, read, strict=True) if at in self._constants}
            call = OperatorCall(func, args, kwargs, output, constants, self._samples)
            # A tensor that another library made, numpy for instance, is unknown.
            if not (self._known.issuperset(read) and keeps_rows(call)):
                self.mixing = str(func)
        self._known.update(written)
        return output

    def _note_rounding(self, source: Tensor, made: Tensor) -> None:
        if not (source.is_floating_point() and made.is_floating_point()):
            return
        coarser = torch.finfo(made.dtype).eps > torch.finfo(source.dtype).eps
        if coarser and not self.is_constant(source):
            self.roundings.add(made.dtype)

    def _read(self, addresses: list[int]) -> None:
        if self.reading is None:
            drawn = [self._drawn[at] for at in addresses if at in self._drawn]
            self.reading = next(iter(drawn), None)

    def _draw(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        generator = kwargs.get("generator")
        if isinstance(generator, torch.Generator):
            self.own_generators.append(generator.get_state().numpy().tobytes())
            return func(*args, **kwargs)
        before = states()
        output = func(*args, **kwargs)
        if before != states():
            self.draws.append(str(func))
            made = tensors_in((output, *_items(output)))
            self._held += made
            self._drawn.update({address(tensor): str(func) for tensor in made})
        return output


def _items(output: Any) -> tuple[Any, ...]:
    return tuple(output) if isinstance(output, tuple | list) else ()


def states() -> list[bytes]:
    """The states of torch's own generators, of the CPU and of every GPU in use."""
    found = [torch.get_rng_state().numpy().tobytes()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found += [state.cpu().numpy().tobytes() for state in torch.cuda.get_rng_state_all()]
    return found
