"""Scores models of the transformers library, from small configurations with random weights.

Every one is scored and compared with autograd in float64, or refused with a reason; prints the
table of docs/models.md. The comparison is of a random combination of all classes, sample by sample.
Nothing is downloaded. Needs `pip install transformers`.

Run as: python benchmarks/transformers_architectures.py [NAME ...]
"""

import copy
import importlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers_configurations import CLASSES, FAMILIES, SAMPLES, Architecture, Batch

import vkdnw
from vkdnw.weights import Selection, select

transformers: Any = importlib.import_module("transformers")  # it is no dependency

COMPARED = vkdnw.weights.spaced(4)  # scalars of each tensor, for the comparison with autograd
SCORED = vkdnw.weights.first()  # and those of a score
REPETITIONS = 3


def built(architecture: Architecture) -> nn.Module:
    """The model with random weights, in eval mode."""
    classes = {} if architecture.head in ("CausalLM", "Seq2SeqLM") else {"num_labels": CLASSES}
    config = transformers.AutoConfig.for_model(
        architecture.kind, **{**architecture.options, **classes}
    )
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    auto = getattr(transformers, f"AutoModelFor{architecture.head}")
    torch.manual_seed(0)
    model: nn.Module = auto.from_config(config)
    return model.eval()


def in_double(model: nn.Module, batch: Batch) -> tuple[nn.Module, Batch]:
    return copy.deepcopy(model).double(), {
        key: value.double() if value.is_floating_point() else value for key, value in batch.items()
    }


def logits_of_one(model: nn.Module, batch: Batch, n: int, output: Any) -> Tensor:
    """``[C]``. Beside a copy of itself: torch's BatchNorm may be wrong about a lone image."""
    pair = {key: value[[n, n]] for key, value in batch.items()}
    returned = model(**pair)
    logits: Tensor = returned.logits if output == "logits" else output(returned)
    return logits[0]


def gradients(value: Tensor, model: nn.Module, selection: Selection) -> Tensor:
    """Autograd's derivatives of a number with respect to chosen scalars, ``[P]`` float64."""
    parameters = dict(model.named_parameters())
    chosen = [parameters[name] for name in selection.names]
    found = torch.autograd.grad(value, chosen, retain_graph=True, allow_unused=True)
    parts = [
        torch.zeros(len(index)) if gradient is None else gradient.flatten()[index]
        for gradient, index in zip(found, selection.indices, strict=True)
    ]
    return torch.cat([part.double() for part in parts])


def error(model: nn.Module, batch: Batch, architecture: Architecture, found: Tensor) -> float:
    """Of a random combination of the classes, relative to each column's size, at most.

    Args:
        found: the Jacobian ``[B, C, P]`` of the float32 model.
    """
    selection = select(model, COMPARED)
    model = copy.deepcopy(model).requires_grad_()
    if architecture.in_double:
        model, batch = in_double(model, batch)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(found.shape[:2], generator=generator, dtype=torch.float64)
    ours = torch.einsum("bc,bcp->bp", factors, found.double())
    sizes = torch.einsum("bc,bcp->bp", factors.abs(), found.double().abs())
    rows = []
    for n in range(SAMPLES):
        logits = logits_of_one(model, batch, n, architecture.output)
        rows.append(gradients(logits.double() @ factors[n], model, selection))
    floor = 1e-3 * sizes.max()  # columns that cancel to zero
    return float(((ours - torch.stack(rows)).abs() / (sizes + floor)).max())


def loop(model: nn.Module, batch: Batch, output: Any) -> None:
    """The naive alternative to a score: a backward pass for every sample and class but one."""
    selection = select(model, SCORED)
    for n in range(SAMPLES):
        one = {key: value[n : n + 1] for key, value in batch.items()}
        returned = model(**one)
        logits = returned.logits if output == "logits" else output(returned)
        for c in range(logits.shape[1] - 1):
            gradients(logits[0, c], model, selection)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def cost(model: nn.Module, batch: Batch, architecture: Architecture) -> float:
    """A score's time divided by the loop's; the median of several in turn."""
    output = architecture.output
    unfrozen = copy.deepcopy(model).requires_grad_()  # as a score takes frozen weights
    ratios = []
    for _ in range(REPETITIONS):
        ours = seconds(lambda: vkdnw.score(model, batch, output=output, weights=SCORED))
        ratios.append(ours / seconds(lambda: loop(unfrozen, batch, output)))
    return sorted(ratios)[REPETITIONS // 2]


def row(family: str, architecture: Architecture) -> str:
    model = built(architecture)
    torch.manual_seed(1)
    batch = architecture.batch()
    start = f"| {architecture.kind} | {family} | {sum(p.numel() for p in model.parameters()):,} | "
    try:
        score = vkdnw.score(model, batch, output=architecture.output, weights=SCORED)
        found = vkdnw.jacobian(model, batch, output=architecture.output, weights=COMPARED)
    except ValueError as refusal:
        return f"{start} | | | | refused: {refusal} |"
    off = error(model, batch, architecture, found)
    fallback = f"{len(score.fallback)} of {score.layers}"
    ratio = cost(model, batch, architecture)
    said = f" ({score.fallback_reason})" if score.fallback_reason else ""
    return f"{start}{score.mode} | {off:.0e} | {fallback}{said} | {ratio:.2f} |"


def main(names: list[str]) -> int:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    print("| model | kind | scalars | mode | error | without a rule | time |")
    print("|---|---|---|---|---|---|---|")
    for family, architectures in FAMILIES.items():
        for architecture in architectures:
            if not names or architecture.kind in names:
                print(row(family, architecture), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
