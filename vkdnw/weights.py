"""Which scalar parameters a Jacobian is taken with respect to.

A choice is data (:class:`WeightChoice`), made by :func:`first`, :func:`spaced`, :func:`sampled`,
:func:`random`, :func:`every` or :func:`matrices`; :func:`select` applies it to a model and gives a
:class:`Selection`, whose order is the order of the Jacobian's columns: parameter tensors as in
``model.named_parameters()`` (tied tensors once, frozen ones included, those of integers or eight
bits left out), and flat indices ascending within each.
"""

from __future__ import annotations

import random as python_random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


@dataclass(frozen=True)
class WeightChoice:
    """How scalars are chosen; made by the functions of this module."""

    kind: Literal["first", "spaced", "sampled", "random", "every", "matrices"]
    tensors: int | None = None  #: only so many parameter tensors: the first, or drawn (sampled)
    count: int | None = None  #: scalars of each tensor (spaced), or in all (random)
    seed: int | None = None


def first(tensors: int = 128) -> WeightChoice:
    """The first scalar of each of the first ``tensors`` parameter tensors (VKDNW's choice)."""
    return WeightChoice("first", tensors=_positive("tensors", tensors))


def spaced(count: int, tensors: int = 128) -> WeightChoice:
    """``count`` scalars of each of the first ``tensors`` tensors, evenly spaced, ends included.

    The flat indices are ``linspace(0, n - 1, count)`` rounded down; a tensor with fewer scalars
    gives each of them once.
    """
    return WeightChoice(
        "spaced", tensors=_positive("tensors", tensors), count=_positive("count", count)
    )


def sampled(tensors: int = 128) -> WeightChoice:
    """The first scalar of ``tensors`` parameter tensors drawn from all, or of all if fewer.

    The draw is ``random.Random(n).sample(range(n), tensors)`` for a model of n parameter tensors:
    the same for all models with as many. It reaches to the end of deep models, which the first 128
    tensors do not. VKDNW's search in the MobileNetV2 space uses this choice.
    """
    return WeightChoice("sampled", tensors=_positive("tensors", tensors))


def random(count: int, seed: int) -> WeightChoice:
    """``count`` scalars drawn uniformly, without replacement, from all scalars of the model."""
    if not isinstance(seed, int):
        raise TypeError(f"seed={seed!r}: expected an integer")
    return WeightChoice("random", count=_positive("count", count), seed=seed)


def every() -> WeightChoice:
    """Every scalar parameter of the model."""
    return WeightChoice("every")


def matrices(count: int = 1, tensors: int = 128) -> WeightChoice:
    """``count`` scalars of each of the first ``tensors`` weights that multiply, evenly spaced.

    Those are the weights of convolutions, linear, bilinear, attention and recurrent layers. Biases,
    normalisation, embeddings, class tokens and tables of positions are left out: in a transformer
    the first scalars of some of them have equal derivatives, so that the Fisher matrix is singular
    whatever the weights.
    """
    return WeightChoice(
        "matrices", tensors=_positive("tensors", tensors), count=_positive("count", count)
    )


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{name}={value!r}: expected an integer")
    if value < 1:
        raise ValueError(f"{name}={value}: at least 1 is needed")
    return value


DEFAULT = first()


@dataclass(frozen=True)
class Selection:
    """Chosen scalars: for each parameter, by its name, ascending flat indices (int64)."""

    names: tuple[str, ...]
    indices: tuple[Tensor, ...]

    def __len__(self) -> int:
        """The number P of scalars, i.e. of the Jacobian's columns."""
        return self._length

    @cached_property
    def _length(self) -> int:
        return sum(self.counts)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """The number of scalars of each parameter."""
        return tuple(index.shape[0] for index in self.indices)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first column of each parameter."""
        return tuple(accumulate(self.counts[:-1], initial=0))

    def blocks(self, columns: int) -> Iterator[Selection]:
        """Consecutive pieces of at most ``columns`` scalars each, in order."""
        names: list[str] = []
        pieces: list[Tensor] = []
        room = columns
        for name, index in zip(self.names, self.indices, strict=True):
            while len(index):
                piece, index = index[:room], index[room:]
                names.append(name)
                pieces.append(piece)
                room -= len(piece)
                if room == 0:
                    yield Selection(tuple(names), tuple(pieces))
                    names, pieces, room = [], [], columns
        if names:
            yield Selection(tuple(names), tuple(pieces))


Weights = WeightChoice | Mapping[str, Sequence[int]]


def has_derivative(parameter: Tensor) -> bool:
    """Whether derivatives with respect to a parameter are accurate: torch rounds them to its
    dtype, and integers and numbers of eight bits are for storage."""
    return parameter.is_floating_point() and parameter.itemsize > 1


def select(
    model: nn.Module, weights: Weights, parameters: Mapping[str, nn.Parameter] | None = None
) -> Selection:
    """Applies a choice, or an explicit ``{parameter name: flat indices}``, to a model.

    Args:
        parameters: the model's, by name, where they are known: listing them takes time.

    Raises:
        ValueError: the model has no parameters, or the choice does not fit it.
    """
    parameters = dict(model.named_parameters()) if parameters is None else parameters
    sizes = {name: p.numel() for name, p in parameters.items() if has_derivative(p)}
    if not any(sizes.values()):
        raise ValueError(f"model={type(model).__name__} has no parameters to differentiate")
    if isinstance(weights, WeightChoice):
        if weights.kind == "matrices":
            sizes = _multiplying(model, sizes)
        chosen = _CHOOSE[weights.kind](sizes, weights)
    elif isinstance(weights, Mapping):
        chosen = _explicit(sizes, weights)
    else:
        raise TypeError(
            f"weights={weights!r}: expected vkdnw.weights.first(), .spaced(), .sampled(), "
            ".random(), .every(), .matrices(), or a mapping of parameter names to flat indices"
        )
    return Selection(tuple(chosen), tuple(chosen.values()))


def _leading(sizes: dict[str, int], choice: WeightChoice) -> dict[str, int]:
    """The first tensors of the choice, empty ones left out."""
    names = list(sizes)[: choice.tensors]
    return {name: sizes[name] for name in names if sizes[name]}


def _choose_first(sizes: dict[str, int], choice: WeightChoice) -> dict[str, Tensor]:
    return {
        name: torch.zeros(1, dtype=torch.int64, device="cpu") for name in _leading(sizes, choice)
    }


def _choose_spaced(sizes: dict[str, int], choice: WeightChoice) -> dict[str, Tensor]:
    assert choice.count is not None
    return {
        name: torch.linspace(
            0, size - 1, min(choice.count, size), dtype=torch.float64, device="cpu"
        ).long()
        for name, size in _leading(sizes, choice).items()
    }


def _choose_sampled(sizes: dict[str, int], choice: WeightChoice) -> dict[str, Tensor]:
    assert choice.tensors is not None
    count = len(sizes)
    drawn = set(python_random.Random(count).sample(range(count), min(choice.tensors, count)))
    return {
        name: torch.zeros(1, dtype=torch.int64, device="cpu")
        for place, (name, size) in enumerate(sizes.items())
        if place in drawn and size
    }


def _choose_random(sizes: dict[str, int], choice: WeightChoice) -> dict[str, Tensor]:
    assert choice.count is not None
    total = sum(sizes.values())
    if choice.count > total:
        raise ValueError(f"weights=random(count={choice.count}): the model has {total} scalars")
    drawn = python_random.Random(choice.seed).sample(range(total), choice.count)
    flat = torch.tensor(sorted(drawn), device="cpu")
    chosen, start = {}, 0
    for name, size in sizes.items():
        inside = flat[(flat >= start) & (flat < start + size)] - start
        if len(inside):
            chosen[name] = inside
        start += size
    return chosen


def _choose_every(sizes: dict[str, int], choice: WeightChoice) -> dict[str, Tensor]:
    return {name: torch.arange(size, device="cpu") for name, size in sizes.items() if size}


_CHOOSE = {
    "first": _choose_first,
    "spaced": _choose_spaced,
    "sampled": _choose_sampled,
    "random": _choose_random,
    "every": _choose_every,
    "matrices": _choose_spaced,
}

MULTIPLYING = (
    _ConvNd,
    nn.Linear,
    nn.Bilinear,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
)
"""Layers whose weights multiply their inputs."""


def multiplying(module: nn.Module) -> list[str]:
    """The names in a module of its parameters that multiply, computed ones by their parts."""
    if not isinstance(module, MULTIPLYING):
        return []
    parts = getattr(module, "parametrizations", None)
    computed = [] if parts is None else parts.named_parameters(prefix="parametrizations")
    return [
        name
        for name, parameter in (*module.named_parameters(recurse=False), *computed)
        if "weight" in name and parameter.dim() > 1
    ]


def _multiplying(model: nn.Module, sizes: dict[str, int]) -> dict[str, int]:
    """Those of the parameters that multiply, in the order of the model's parameters."""
    names = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name in multiplying(module)
    }
    found = {name: size for name, size in sizes.items() if name in names}
    if not found:
        raise ValueError(
            f"weights=matrices(): {type(model).__name__} has no convolution, linear or recurrent "
            "layer with a weight"
        )
    return found


def _explicit(sizes: dict[str, int], weights: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    unknown = [name for name in weights if name not in sizes]
    if unknown:
        raise ValueError(
            f"weights names {unknown[0]!r}, which is no parameter of the model, or one of integers "
            "or of eight bits"
        )
    chosen = {}
    for name, size in sizes.items():
        if name not in weights:
            continue
        given = _indices(name, weights[name])
        index = torch.unique(given)
        if len(index) != len(given):
            raise ValueError(f"weights[{name!r}] names a flat index twice")
        if len(index) and (index[0] < 0 or index[-1] >= size):
            wrong = int(index[0] if index[0] < 0 else index[-1])
            raise ValueError(
                f"weights[{name!r}] holds the index {wrong}, outside 0..{size - 1} of "
                "the flat parameter"
            )
        if len(index):
            chosen[name] = index
    if not chosen:
        raise ValueError("weights chooses no scalar")
    return chosen


def _indices(name: str, given: Sequence[int]) -> Tensor:
    try:
        found = torch.as_tensor(given, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty((), device="cpu")
    whole = found.numel() == 0 or not (found.is_floating_point() or found.is_complex())
    if found.dim() != 1 or not whole or found.dtype == torch.bool:
        raise TypeError(f"weights[{name!r}]={given!r}: expected a list of flat indices, integers")
    return found.long()
