"""Runs the model on two samples, and checks that samples do not mix.

Gradients say so exactly: what one sample's logits depend on must vanish, to the bit, on every row
that belongs to the other sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from vkdnw.backward.graph import Node
from vkdnw.checks import check_logits, pick_logits
from vkdnw.explained import explained
from vkdnw.per_sample.capture import CallSite, Record, Recorder, Records
from vkdnw.per_sample.probing.batch_axis import entries
from vkdnw.per_sample.problem import Problem

LAYOUTS = (torch.channels_last, torch.contiguous_format)


@dataclass(frozen=True)
class Probe:
    """What the model did with two samples (one, if the batch has no more)."""

    samples: int
    layout: torch.memory_format  # of images
    inputs: tuple[Tensor, ...]  # the leaves of the floating-point inputs
    logits: Tensor
    records: Records
    activations: int  # bytes of one sample that are kept between forward and backward
    kept: list[Tensor]  # the activations themselves

    def released(self) -> Probe:
        """The probe without values, once no gradient will be asked of it any more.

        The graph stays for what it tells, and would hold two samples' activations all the while.
        """
        self.kept.clear()
        records = {site: record.without_values() for site, record in self.records.items()}
        return replace(self, inputs=(), records=records)


def run_probe(problem: Problem, recorder: Recorder) -> Probe:
    """Runs two samples, in channels-last if the model can take it."""
    has_images = any(tensor.dim() == 4 for _, tensor in problem.batch.tensors())
    for layout in LAYOUTS if has_images else LAYOUTS[1:]:
        try:
            return _probe_in(layout, problem, recorder)
        except Exception:
            # A model may call .view() on what it takes for contiguous images, or check that they
            # are; another error will come again in the plain layout, and be the caller's.
            if layout == LAYOUTS[-1]:
                raise
    raise AssertionError("unreachable: the last layout returns or raises")


def _probe_in(layout: torch.memory_format, problem: Problem, recorder: Recorder) -> Probe:
    samples = min(2, problem.batch.size)
    piece = problem.batch.chunk(slice(0, samples), layout)
    leaves: list[Tensor] = []
    piece = piece.with_leaves(leaves)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> int:
        kept.append(tensor.detach())  # an output kept by its own node would never be freed
        return len(kept) - 1

    with (
        explained(problem.model, piece),
        recorder.recording() as records,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda place: kept[place]),
    ):
        logits = pick_logits(piece.forward(problem.model), problem.output)
    check_logits(logits, samples)
    weights = {p.untyped_storage().data_ptr() for p in problem.parameters.values()}
    storages = {s.data_ptr(): s.nbytes() for s in (tensor.untyped_storage() for tensor in kept)}
    activations = sum(size for pointer, size in storages.items() if pointer not in weights)
    return Probe(
        samples,
        layout,
        tuple(leaves),
        logits,
        records,
        activations=activations // samples + 1,
        kept=kept,
    )


# Two forwards of the same shapes run the same kernels: what differs is more than rounding.
_REPEATABLE = {torch.float64: 1e-9, torch.float32: 1e-4}


def check_repeatable(problem: Problem, probe: Probe) -> None:
    """Runs the first sample again beside another companion; its logits must stay."""
    companion = 2 if problem.batch.size > 2 else 0
    piece = problem.batch.chunk(
        torch.tensor([0, companion][: probe.samples], device="cpu"), probe.layout
    )
    # With gradients, as before: without them torch's attention computes padding otherwise.
    again = pick_logits(piece.forward(problem.model), problem.output)[0].detach()
    before = probe.logits.detach()[0]
    difference = float((again - before).abs().max())
    scale = float(before.abs().max())
    if difference > _REPEATABLE.get(before.dtype, 1e-2) * scale:
        raise ValueError(
            f"the logits of one sample change by {difference:.3g} (of {scale:.3g}) with the other "
            "samples of the batch or from call to call; per-sample derivatives need a model that "
            "treats samples apart: call model.eval(), and replace batch statistics and random "
            "operations"
        )


def fewest_samples(problem: Problem, probe: Probe) -> int:
    """Samples that a forward pass needs: 2 where a ``squeeze()`` drops the axis of a lone one."""
    if probe.samples == 1:
        return 1
    alone = problem.batch.chunk(slice(0, 1), probe.layout)
    try:
        with torch.no_grad():
            logits = pick_logits(alone.forward(problem.model), problem.output)
    except Exception:
        return 2  # it took two samples, so their number is what it cannot take
    return 1 if logits.shape == (1, probe.logits.shape[1]) else 2


def sample_rows(probe: Probe, ruled: Records, users: dict[Node, list[Node]]) -> dict[CallSite, int]:
    """Rows of each call that belong to one sample; calls not laid out by sample are left out.

    The gradient of one sample's logits must vanish exactly on the rows of the other sample. Where
    nodes of the graph keep rows apart by their kind, it is enough to look at what enters there.

    Args:
        users: the probe's graph.

    Raises:
        ValueError: it does not vanish on the other sample's input, so samples mix.
    """
    rows = {
        site: count
        for site, record in ruled.items()
        if record.edge is not None and (count := _rows(record, probe.samples)) is not None
    }
    if probe.samples == 1 or not probe.logits.requires_grad:
        return rows
    edges = [edge for site in rows if (edge := ruled[site].edge) is not None]
    inputs = [get_gradient_edge(leaf) for leaf in probe.inputs]
    above = entries([e for e in (*edges, *inputs) if e.node in users], users, probe.samples)
    if not any(_reached(probe, above)):
        return rows
    reached = _reached(probe, [*edges, *inputs])
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
        gradients = torch.autograd.grad(
            probe.logits,
            edges,
            cotangent.to(probe.logits),
            retain_graph=True,
            allow_unused=True,
        )
        for position, gradient in enumerate(gradients):
            if gradient is not None:
                others = gradient.reshape(2, -1)[1 - sample]
                arrives.setdefault(position, []).append(_is_there(others))
    hits = _numbers([torch.stack(flags).any() for flags in arrives.values()])
    reached = {position for position, hit in zip(arrives, hits, strict=True) if hit}
    return [position in reached for position in range(len(edges))]


def _is_there(gradient: Tensor) -> Tensor:
    """Whether a gradient arrives: NaN is what an infinite derivative makes of none."""
    return ((gradient != 0) & ~gradient.isnan()).any()


def _numbers(flags: list[Tensor]) -> list[bool]:
    """Answers of a device, which is waited for once."""
    return torch.stack(flags).tolist() if flags else []


def _rows(record: Record, samples: int) -> int | None:
    """Leading rows of a call per sample, if its input and output agree on them."""
    count = record.input.shape[0]
    if count == 0 or count != record.output.shape[0] or count % samples:
        return None
    return count // samples
