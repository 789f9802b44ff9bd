"""Runs the model on two samples, and checks that samples do not mix.

Gradients show this exactly: the gradient of one sample's logits must be zero, to the bit, on every
row that belongs to the other sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from vkdnw.backward.graph import Node
from vkdnw.checks import check_logits
from vkdnw.error_explanations import explained
from vkdnw.per_sample.capture import CallSite, Record, Recorder, Records
from vkdnw.per_sample.plain_pass import plain_pass
from vkdnw.per_sample.probing.forward_log import ForwardLog
from vkdnw.per_sample.probing.randomness import check_draws, check_own_generators, generators
from vkdnw.per_sample.probing.row_wise import address
from vkdnw.per_sample.problem import KEPT_OUT_OF_REACH, Problem
from vkdnw.runtime.layouts import channels_last_is_safe

Attempt = tuple[torch.memory_format, bool]  # of images, and whether the pass is looked into

ATTEMPTS: tuple[Attempt, ...] = (
    (torch.channels_last, True),
    (torch.contiguous_format, True),
    (torch.contiguous_format, False),
)


@dataclass(frozen=True)
class Probe:
    """A run of the model on two samples (one, if the batch has no more)."""

    samples: int
    layout: torch.memory_format  # of images
    inputs: tuple[Tensor, ...]  # the leaves of the floating-point inputs
    logits: Tensor
    records: Records
    activations: int  # bytes of one sample that are kept between forward and backward
    log: ForwardLog | None  # None where the pass could not be looked into
    kept: list[Tensor]  # the activations themselves

    def released(self) -> Probe:
        """The probe without values, when no further gradient is needed.

        The graph is read later, and would keep two samples' activations until then.
        """
        self.kept.clear()
        records = {site: record.without_values() for site, record in self.records.items()}
        return replace(self, inputs=(), records=records)

    @property
    def mixing(self) -> str | None:
        """An operation that may carry numbers between samples; None if all keep them apart."""
        return "operations out of sight" if self.log is None else self.log.mixing


def run_probe(problem: Problem, recorder: Recorder) -> Probe:
    """Runs two samples, in channels-last if the model can take it.

    Raises:
        ValueError: the logits are unfit, or the model draws at random.
    """
    has_images = any(tensor.dim() == 4 for _, tensor in problem.batch.tensors())
    in_channels_last = has_images and channels_last_is_safe(problem.modules.values())
    for attempt in ATTEMPTS if in_channels_last else ATTEMPTS[1:]:
        before = generators()
        try:
            probe = _run(attempt, problem, recorder)
        except Exception:
            # A model may call .view() on images that it takes to be contiguous, or differentiate
            # within, where tensors that are saved cannot be looked at; another error will come
            # again in the last attempt, and be the caller's.
            if attempt == ATTEMPTS[-1]:
                raise
            continue
        again = partial(_run, attempt, problem, recorder)
        check_draws(problem.model, probe.log, before, again)
        check_own_generators(problem, probe.log, partial(again, rewind=False))
        return probe
    raise AssertionError("unreachable: the last attempt returns or raises")


def _run(attempt: Attempt, problem: Problem, recorder: Recorder, rewind: bool = True) -> Probe:
    layout, looked_into = attempt
    samples = min(2, problem.batch.size)
    piece = problem.batch.chunk(slice(0, samples), layout)
    leaves: list[Tensor] = []
    piece = piece.with_leaves(leaves)
    kept: list[Tensor] = []
    log = None

    def keep(tensor: Tensor) -> int:
        # An output kept by its own node would never be freed. The log need not see that: most
        # operators of a pass would be these, and each look of Python costs some microseconds.
        plain = type(tensor) in (Tensor, nn.Parameter)
        with torch._C._DisableTorchDispatch() if plain else nullcontext():
            kept.append(tensor.detach())
        return len(kept) - 1

    def kept_at(place: int) -> Tensor:
        if not kept:  # released: a later pass has come upon this one's graph
            raise ValueError(KEPT_OUT_OF_REACH)
        return kept[place]

    if rewind:
        problem.state.rewind()
    with explained(problem.model, piece), ExitStack() as looking, recorder.recording() as records:
        if looked_into:
            given = [tensor for _, tensor in piece.tensors()]
            log = looking.enter_context(ForwardLog(problem.model, given, samples))
            hooks = torch.autograd.graph.saved_tensors_hooks(keep, kept_at)
            looking.enter_context(hooks)
        logits = problem.logits(piece, rewind=False)
    check_logits(logits, samples)
    if log is not None:
        log.returned(logits)
    activations = _activations(problem, kept) if looked_into else _of_records(records)
    return Probe(
        samples,
        layout,
        tuple(leaves),
        logits,
        records,
        activations // samples + 1,
        log,
        kept,
    )


def _activations(problem: Problem, kept: list[Tensor]) -> int:
    """Bytes that the graph keeps, weights left out."""
    weights = {address(parameter) for parameter in problem.parameters.values()}
    sizes = {at: tensor.untyped_storage().nbytes() for tensor in kept if (at := address(tensor))}
    return sum(size for at, size in sizes.items() if at not in weights)


_UNSEEN = 4  # tensors that a layer's neighbours keep for each that it reads, where none is seen


def _of_records(records: Records) -> int:
    return _UNSEEN * sum(record.input.nbytes for record in records.values())


def fewest_samples(
    problem: Problem, shape: torch.Size, layout: torch.memory_format, nodes: Iterable[Node]
) -> int:
    """Samples that a correct pass needs: 1, or 2, of which one may be the other's copy.

    Two where a ``squeeze()`` drops the axis of a lone one, and where torch's derivatives of a lone
    one are wrong: those of an eval-mode BatchNorm on a CPU are (torch 2.13), if the gradient that
    comes to it is that of a channels-last map, by a transposition for instance.

    Args:
        shape: of the logits of two samples, or of one if the batch has no more.
        layout: of images.
        nodes: of the graph.
    """
    samples, classes = shape
    if samples > 1:
        alone = problem.batch.chunk(slice(0, 1), layout)
        try:
            # With a graph: a cache filled without one would be used by the passes that follow.
            with torch.enable_grad():
                logits = problem.logits(alone)
        except Exception:
            return 2  # it took two samples, so it refuses their number
        if logits.shape != (1, classes):
            return 2
    on_cpu = problem.device.type == "cpu"
    if not on_cpu or not any(node.name() == "NativeBatchNormBackward0" for node in nodes):
        return 1
    return 1 if _has_lone_derivatives(problem, classes) else 2


_SAME_ALONE = 1e-3  # of a parameter's largest derivative; torch's fault is no matter of rounding


def _has_lone_derivatives(problem: Problem, classes: int) -> bool:
    """Whether a sample's derivatives alone are those beside a copy of itself."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    cotangent = torch.randn(1, 1, classes, generator=generator, device="cpu", dtype=torch.float64)
    beside = torch.cat([cotangent, torch.zeros_like(cotangent)], 1)
    (one,) = plain_pass(problem, (0,), cotangent).gradients
    (other,) = plain_pass(problem, (0, 0), beside).gradients
    return one.keys() == other.keys() and all(
        bool((gradient - other[name]).abs().max() <= _SAME_ALONE * other[name].abs().max())
        for name, gradient in one.items()
        if gradient.numel()
    )


def sample_rows(probe: Probe, ruled: Records) -> dict[CallSite, int]:
    """Rows of each call that belong to one sample; calls not laid out by sample are left out.

    Where all operations keep samples apart, this holds for every call that reads a sample. Else the
    gradient of one sample's logits must vanish exactly on the rows of the other sample.

    The result is empty where an operation has no derivative.

    Raises:
        ValueError: it does not vanish on the other sample's input, so samples mix; or it cannot be
            computed, as with a reentrant checkpoint.
    """
    rows = {
        site: count
        for site, record in ruled.items()
        if record.edge is not None and (count := _rows(record, probe.samples)) is not None
    }
    if probe.samples == 1 or not probe.logits.requires_grad:
        return rows
    if probe.log is not None and probe.mixing is None:
        return {site: n for site, n in rows.items() if not probe.log.is_constant(ruled[site].input)}
    edges = [edge for site in rows if (edge := ruled[site].edge) is not None]
    try:
        reached = _reached(probe, [*edges, *map(get_gradient_edge, probe.inputs)])
    except NotImplementedError:  # of an operation on the batch alone, perhaps: verification tells
        return {}
    if any(reached[len(edges) :]):
        raise ValueError(
            "samples mix: the logits of one sample depend on another sample's input; "
            "per-sample derivatives do not exist (batch statistics? attention across "
            "the batch?)"
        )
    mixed = {site for site, hit in zip(rows, reached, strict=False) if hit}
    return {site: count for site, count in rows.items() if site not in mixed}


def _reached(probe: Probe, edges: list[GradientEdge]) -> list[bool]:
    """For each edge whether a gradient of one sample's logits arrives in the other's rows."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    arrives: dict[int, list[Tensor]] = {}
    for sample in range(2 if edges else 0):
        cotangent = torch.zeros(probe.logits.shape, dtype=torch.float64, device="cpu")
        cotangent[sample] = torch.randn(
            cotangent.shape[1], generator=generator, device="cpu"
        ).double()
        try:
            gradients = torch.autograd.grad(
                probe.logits,
                edges,
                cotangent.to(probe.logits),
                retain_graph=True,
                allow_unused=True,
            )
        except NotImplementedError:
            raise
        except RuntimeError as error:  # a reentrant checkpoint says that it cannot be asked
            raise ValueError(
                "torch.autograd.grad cannot differentiate the logits by values of the layers "
                f"and of the batch, which tells whether samples mix: {error}"
            ) from error
        for position, gradient in enumerate(gradients):
            if gradient is not None:
                others = gradient.reshape(2, -1)[1 - sample]
                arrives.setdefault(position, []).append(_is_there(others))
    hits = _numbers([torch.stack(flags).any() for flags in arrives.values()])
    reached = {position for position, hit in zip(arrives, hits, strict=True) if hit}
    return [position in reached for position in range(len(edges))]


def _is_there(gradient: Tensor) -> Tensor:
    """Whether a gradient arrives: an infinite derivative times zero is NaN."""
    return ((gradient != 0) & ~gradient.isnan()).any()


def _numbers(flags: list[Tensor]) -> list[bool]:
    """Numbers from a device, in one transfer."""
    return torch.stack(flags).tolist() if flags else []


def _rows(record: Record, samples: int) -> int | None:
    """Leading rows of a call per sample, if its input and output agree on them."""
    count = record.input.shape[0]
    if count == 0 or count != record.output.shape[0] or count % samples:
        return None
    return count // samples
