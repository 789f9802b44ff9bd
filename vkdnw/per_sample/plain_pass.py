"""Plain autograd: the model as the caller gave it, on a few samples, and one backward pass.

Nothing of this package is used: no hooks, no fused layers, no change of layout, no native
kernel. The result of a call is compared with this (:mod:`vkdnw.per_sample.verification`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vkdnw.batch import Batch
from vkdnw.checks import check_logits, pick_logits
from vkdnw.error_explanations import differentiation_explained, explained
from vkdnw.per_sample.problem import Problem
from vkdnw.weights import Selection


@dataclass(frozen=True)
class PlainPass:
    """Logits of some samples, and the derivatives of D combinations of all of them."""

    logits: Tensor  # [n, C]
    gradients: tuple[dict[str, Tensor], ...]  # D times: of chosen parameters that are reached, flat

    def columns(self, selection: Selection) -> Tensor:
        """The derivatives with respect to chosen scalars, ``[D, P]`` float64."""
        device, lengths = self.logits.device, [*map(len, selection.indices)]
        there = torch.cat([*selection.indices]).to(device, non_blocking=True).split(lengths)

        def row(gradients: dict[str, Tensor]) -> Tensor:
            parts = [
                torch.zeros(len(index), device=device)
                if (gradient := gradients.get(name)) is None
                else gradient.index_select(0, index)
                for name, index in zip(selection.names, there, strict=True)
            ]
            return torch.cat(parts).double()  # in their finest dtype first

        return torch.stack([row(gradients) for gradients in self.gradients])


def plain_pass(
    problem: Problem,
    samples: Sequence[int],
    cotangents: Tensor,
    *,
    forward_only: bool = False,
) -> PlainPass:
    """One pass of the model over samples of the batch, in the order given.

    Args:
        cotangents: ``[D, n, C]``; each of the D derivatives is that of the sum over samples of
            ``cotangents[d, n] @ logits[n]``.
        forward_only: whether to leave the derivatives out.
    """
    piece = problem.batch.chunk(torch.tensor(samples, device="cpu"), None)
    names = () if forward_only else problem.selection.names
    chosen = {name: problem.parameters[name] for name in names}

    def run() -> Tensor:
        with explained(problem.model, piece, first=False):
            return problem.logits(piece)

    return _pass(
        run,
        chosen,
        len(samples),
        cotangents,
        keep_graph=problem.keeps_graphs,
    )


class Copy:
    """A copy of the model in another dtype, or with other weights.

    Raises:
        Exception: the model cannot be copied or converted.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype) -> None:
        self._problem = problem
        self._dtype = dtype
        problem.state.rewind()
        self._model: nn.Module = copy.deepcopy(problem.model).to(dtype)  # never run itself
        self._parameters = dict(self._model.named_parameters())

    def fill_zeros(self) -> None:
        """Puts small numbers where parameters are zero, since zeros hide dependences."""
        generator = torch.Generator(device="cpu").manual_seed(0)
        with torch.no_grad():
            for parameter in self._parameters.values():
                small = (
                    torch.randn(parameter.shape, generator=generator, device="cpu")
                    .mul_(0.1)
                    .to(parameter)
                )
                parameter.copy_(torch.where(parameter == 0, small, parameter))

    def set_weights(self, weights: dict[str, Tensor]) -> None:
        """Writes other numbers into the copy's parameters."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                if name in weights:
                    parameter.copy_(weights[name])

    def run(self, samples: Sequence[int], cotangents: Tensor) -> PlainPass:
        """The pass of :func:`plain_pass`, of the copy.

        The model that runs is copied once more: a pass may change its state (a count of calls, for
        example), which would look like rounding in the next pass.
        """
        model = copy.deepcopy(self._model)
        parameters = dict(model.named_parameters())
        piece = self._problem.batch.chunk(torch.tensor(samples, device="cpu"), None).to(self._dtype)
        chosen = {name: parameters[name] for name in self._problem.selection.names}
        return _pass(lambda: self._logits(model, piece), chosen, len(samples), cotangents)

    def _logits(self, model: nn.Module, piece: Batch) -> Tensor:
        return pick_logits(piece.forward(model), self._problem.options.output)


def _pass(
    run: Callable[[], Tensor],
    chosen: dict[str, nn.Parameter],
    samples: int,
    cotangents: Tensor,
    *,
    keep_graph: bool = False,
) -> PlainPass:
    with torch.enable_grad():
        logits = run()
    check_logits(logits, samples)
    classes = cotangents.shape[-1]
    if logits.shape[1] != classes:
        raise ValueError(
            f"the model returns {classes} logits for some samples and {logits.shape[1]} for "
            "others; the number of classes must not depend on the data"
        )
    gradients = _gradients(logits, chosen, cotangents, keep_graph=keep_graph)
    return PlainPass(logits.detach(), tuple(gradients))


def _gradients(
    logits: Tensor, chosen: dict[str, nn.Parameter], cotangents: Tensor, *, keep_graph: bool
) -> Iterator[dict[str, Tensor]]:
    """For each combination the gradients of the parameters it reaches, flat."""
    if not chosen or not logits.requires_grad:
        yield from ({} for _ in cotangents)
        return
    frozen = [name for name, parameter in chosen.items() if not parameter.requires_grad]
    if frozen:
        raise ValueError(
            f"forward() switches requires_grad of {frozen[0]} off, so the logits have no "
            "derivative with respect to it; freeze it before the call and leave it out with "
            "weights=, or take that line out of forward()"
        )
    for left, rows in zip(reversed(range(len(cotangents))), cotangents, strict=True):
        with differentiation_explained():
            gradients = torch.autograd.grad(
                logits,
                list(chosen.values()),
                rows.to(logits, non_blocking=True),
                retain_graph=keep_graph or left > 0,
                allow_unused=True,
            )
        yield {
            name: (gradient.to_dense() if gradient.is_sparse else gradient).flatten()
            for name, gradient in zip(chosen, gradients, strict=True)
            if gradient is not None
        }
