"""The result of scoring a network: its score, and the numbers it was computed from."""

from __future__ import annotations

import html
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Score:
    """A network's score and the numbers it was computed from.

    Scores are ordered by ``single``, so ``max``, ``sorted`` and ``<`` rank networks of one search
    space; ``float(score)`` is ``single`` too. They are equal where all their numbers are, to the
    last bit: two networks with one ``single`` are neither equal nor one better than the other.
    """

    vkdnw: float  #: entropy of the deciles in nats, 0 .. log 9
    layers: int  #: parameter tensors of the model, trainable layers in the paper's words
    eigenvalues: Tensor  #: [P] float64, ascending, on the CPU
    deciles: Tensor  #: [9] float64: quantiles 0.1 .. 0.9 of the eigenvalues
    fallback: tuple[
        str, ...
    ]  #: parameters without a layer rule; reverse mode takes one sample at a time
    unreached: tuple[str, ...]  #: chosen parameters that the logits do not depend on
    mode: Literal["reverse", "forward"]  #: in which the derivatives were taken
    mode_reason: str  #: why in this one
    fallback_reason: str = ""  #: why a slower method was used; empty if none was

    @property
    def single(self) -> float:
        """VKDNW_single of the paper: VKDNW orders networks of equal layer count."""
        return self.layers + self.vkdnw

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values (floats, lists, strings) for ``json.dumps``."""
        numbers = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {"single": self.single, **numbers}

    def __float__(self) -> float:
        return self.single

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Score):
            return NotImplemented
        return all(
            _same(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
            if field.compare
        )

    def __hash__(self) -> int:
        return hash((self.vkdnw, self.layers))

    def __lt__(self, other: object) -> bool:
        return self.single < other.single if isinstance(other, Score) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.single <= other.single if isinstance(other, Score) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.single > other.single if isinstance(other, Score) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.single >= other.single if isinstance(other, Score) else NotImplemented

    def __repr__(self) -> str:
        return f"Score({', '.join(f'{name}={value}' for name, value in self._lines())})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = "".join(
            f"<tr><th style='text-align: left'>{name}</th>"
            f"<td style='text-align: left'>{html.escape(value)}</td></tr>"
            for name, value in [*self._lines(), ("deciles", _numbers(self.deciles))]
        )
        return f"<table>{rows}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        """Names and short values, the value that ranks first; names of parameters are counted."""
        lowest, highest = (
            _numbers(self.eigenvalues[[0, -1]]).split() if len(self.eigenvalues) else ("", "")
        )
        lines = [
            ("single", f"{self.single:.4f}"),
            ("vkdnw", f"{self.vkdnw:.4f}"),
            ("layers", f"{self.layers}"),
            ("eigenvalues", f"{len(self.eigenvalues)} from {lowest} to {highest}"),
            ("mode", self.mode),
        ]
        lines += [("fallback", _count(self.fallback))] if self.fallback else []
        lines += [("unreached", _count(self.unreached))] if self.unreached else []
        return lines


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return torch.equal(left, right)
    return bool(left == right)


def _numbers(tensor: Tensor) -> str:
    return " ".join(f"{number:.3g}" for number in tensor.tolist())


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} parameter{'s' * (len(names) > 1)}"
