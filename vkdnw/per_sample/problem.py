"""One call's model, batch and options, checked and ready to be differentiated."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vkdnw.batch import Batch, BatchLike, as_batch
from vkdnw.checks import check_batch, check_device, check_kind, check_model, pick_logits
from vkdnw.options import Options, check_options
from vkdnw.per_sample.known_layers import unwritten_parts
from vkdnw.runtime import memory
from vkdnw.runtime.bfloat16 import warn_of_slow_bfloat16
from vkdnw.runtime.call_lock import one_call
from vkdnw.runtime.host_copies import constants_copied
from vkdnw.runtime.members import Members
from vkdnw.runtime.model_state import State, preserved
from vkdnw.runtime.precision import float32_on
from vkdnw.runtime.threads import one_thread
from vkdnw.weights import Selection, select

KEPT_OUT_OF_REACH = (
    "the model keeps a tensor of one forward pass, with its graph, and uses it in the next, in a "
    "place that vkdnw does not look into (a context variable, a generator, an object of C), so the "
    "logits have other derivatives from call to call; keep it in an attribute or a dict of the "
    "model's, or compute it in every pass"
)

_ROOM = 2**22  # bytes that copies of weights may take in any case


@dataclass(frozen=True)
class Problem:
    """The logits of ``batch``, to be differentiated with respect to ``selection``."""

    model: nn.Module
    members: Members  # of the model
    batch: Batch
    options: Options
    selection: Selection
    max_memory: int  # bytes, as the options say or as are free
    threads: int  # that the caller gave torch
    state: State  # of the model as it was given; see State.rewind

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The model's modules by name, each once."""
        return self.members.modules

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The model's parameters by name, each once."""
        return self.members.parameters

    def logits(self, piece: Batch, *, rewind: bool = True) -> Tensor:
        """The model's logits for some samples, ``[b, C]`` unless the model is at fault.

        Args:
            rewind: whether the model is first put back to its state when it was given, so that
                nothing of an earlier pass is left in it; not while another thread runs it.
        """
        if rewind:
            self.state.rewind()
        return pick_logits(piece.forward(self.model), self.options.output)

    @property
    def keeps_graphs(self) -> bool:
        """Whether the model holds a graph of the caller's, which no backward pass may free."""
        return bool(self.state.kept_graphs)

    @property
    def names(self) -> dict[int, str]:
        """The names of the model's parameters by their ids."""
        return {id(parameter): name for name, parameter in self.parameters.items()}

    @property
    def device(self) -> torch.device:
        """Where the model and the batch are."""
        return self.members.device


@contextmanager
def prepared(model: nn.Module, batch: BatchLike, options: Options) -> Iterator[Problem]:
    """Checks the arguments and opens a problem; the caller's model is unchanged afterwards.

    With a ``dtype`` other than the model's, a copy of the model is converted.

    Raises:
        ValueError, TypeError: an argument cannot be used; the message names it and the remedy.
    """
    check_options(options)
    dtype = options.dtype
    model = getattr(model, "_orig_mod", model)  # torch.compile hides layers from hooks
    with (
        one_call("vkdnw"),
        one_thread() as threads,
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        check_kind(model)
        members = Members.of(model)
        check_device(members)
        check_model(model, members)
        selection = select(model, options.weights, members.parameters)
        asked = memory.in_bytes(options.max_memory)
        samples = as_batch(batch).to(dtype)
        if dtype is not None and any(
            p.dtype != dtype for p in members.parameters.values() if p.is_floating_point()
        ):
            model = _converted(model, dtype)
            members = Members.of(model)
        check_batch(members, samples)
        warn_of_slow_bfloat16(members.parameters.values())
        device = members.device
        budget = memory.available(device) if asked is None else asked
        unwritten = unwritten_parts(members)
        # Autocast would change dtypes behind the caller's back; dtype= asks for one openly.
        with (
            preserved(model, max(budget // 4, _ROOM), unwritten) as state,
            constants_copied(members.modules.values() if device.type != "cpu" else ()),
            float32_on(device, tf32=options.tf32),
            torch.autocast(device.type, enabled=False),
        ):
            try:
                yield Problem(model, members, samples, options, selection, budget, threads, state)
            except RuntimeError as error:
                if "a second time" not in str(error):
                    raise
                if not state.kept_graphs:
                    raise ValueError(KEPT_OUT_OF_REACH) from error
                raise ValueError(
                    f"{state.kept_graphs[0]} holds a tensor of an earlier forward pass, and a "
                    "backward pass has freed its graph since, so torch cannot go through it again; "
                    "empty that cache of the model's before the call, or build the model anew"
                ) from error


def _converted(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    try:
        return copy.deepcopy(model).to(dtype)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"dtype={dtype} computes on a converted copy of the model, and it cannot be copied: "
            f"{lines[0]}; leave dtype= out and pass a model and a batch of this dtype, "
            "model.to(dtype) and batch.to(dtype). Where a module keeps a tensor that it computed "
            "(torch.nn.utils.weight_norm and spectral_norm do), remove that, or use "
            "torch.nn.utils.parametrizations"
        ) from error
