"""Architecture strings of TransNAS-Bench-101, the official ones: ``64-41414-1_23_103``.

The channels of the stem's output; a digit for each module; the cell, or ``basic`` for residual
blocks. The micro space has the modules 41414 and any cell; the macro space has basic blocks and 4
to 6 modules that halve the image 1 to 4 times and double the channels 1 to 3 times.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product
from typing import Literal, NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.shared.notation import integers

Kind = Literal["micro", "macro"]

CHANNELS = 64
MICRO_MODULES = (4, 1, 4, 1, 4)
MODULES = ("keep", "double channels", "halve image", "double channels, halve image")
"""The effect of a module, by its digit, 1 to 4."""

NONE, SKIP, CONV_1X1, CONV_3X3 = range(4)
OPERATIONS = ("none", "skip", "conv1x1", "conv3x3")
"""By their digit."""
KERNELS = {CONV_1X1: 1, CONV_3X3: 3}

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(target, source) in the order of the cell's digits a_bc_def."""

LENGTHS = range(4, 7)
HALVINGS = range(1, 5)
DOUBLINGS = range(1, 4)

_CELL = re.compile(r"([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")


class Architecture(NamedTuple):
    modules: tuple[int, ...]
    cell: tuple[int, ...] | None
    """An operation for each of `EDGES`; None for basic blocks."""


def parse(arch: str, kind: Kind) -> Architecture:
    """The modules and the cell of a string of the micro or the macro space.

    Raises `ArchitectureError` with the first thing that is wrong.
    """
    parts = arch.split("-") if isinstance(arch, str) else []
    if len(parts) != 3:
        raise ArchitectureError(f"{arch!r}: expected {_example(kind)}")
    channels, modules, cell = parts
    if channels != str(CHANNELS):
        raise ArchitectureError(f"{arch!r}: {channels!r} must be {CHANNELS}, the stem's channels")
    for place, digit in enumerate(modules):
        if digit not in "1234":
            raise ArchitectureError(
                f"{arch!r}: module {place} at position {place + 3} is {digit!r}, not a digit 1 to 4"
            )
    found = tuple(map(int, modules))
    if kind == "macro":
        _check_macro(arch, found, cell)
        return Architecture(found, None)
    if found != MICRO_MODULES:
        raise ArchitectureError(f"{arch!r}: the modules of a cell's network are 41414")
    match = _CELL.fullmatch(cell)
    if match is None:
        raise ArchitectureError(
            f"{arch!r}: the cell at position 9 is {cell!r}; expected six digits 0 to 3 as in "
            f"{_example(kind)}"
        )
    return Architecture(found, tuple(map(int, match.groups())))


def _check_macro(arch: str, modules: Sequence[int], blocks: str) -> None:
    if blocks != "basic":
        raise ArchitectureError(f"{arch!r}: {blocks!r} must be 'basic'")
    halvings, doublings = _halvings(modules), _doublings(modules)
    for counted, count, possible in (
        ("modules", len(modules), LENGTHS),
        ("modules that halve the image (3 and 4)", halvings, HALVINGS),
        ("modules that double the channels (2 and 4)", doublings, DOUBLINGS),
    ):
        if count not in possible:
            raise ArchitectureError(
                f"{arch!r} has {count} {counted}; {possible[0]} to {possible[-1]} are possible"
            )


def _example(kind: Kind) -> str:
    return "'64-41414-1_23_103'" if kind == "micro" else "'64-123411-basic'"


def _halvings(modules: Sequence[int]) -> int:
    return sum(digit > 2 for digit in modules)


def _doublings(modules: Sequence[int]) -> int:
    return sum(digit % 2 == 0 for digit in modules)


def format(architecture: Architecture) -> str:  # noqa: A001 - the counterpart of parse
    """The string of modules and a cell. Raises `ArchitectureError` for those of neither space."""
    modules, cell = architecture
    blocks = "basic"
    if cell is not None:
        a, b, c, d, e, f = cell
        blocks = f"{a}_{b}{c}_{d}{e}{f}"
    arch = f"{CHANNELS}-{''.join(map(str, modules))}-{blocks}"
    parse(arch, "macro" if cell is None else "micro")
    return arch


@cache
def macro_architectures() -> tuple[str, ...]:
    """The 3,256 structures in the official order: official index 0 to 3255."""
    return tuple(
        format(
            Architecture(
                tuple(1 + (i in doubling) + 2 * (i in halving) for i in range(length)), None
            )
        )
        for length in LENGTHS
        for doublings in DOUBLINGS
        for halvings in HALVINGS
        for doubling in combinations(range(length), doublings)
        for halving in combinations(range(length), halvings)
    )


@cache
def micro_architectures() -> tuple[str, ...]:
    """The 4,096 cells in the official order: official index 3256 to 7351."""
    cells = product(range(len(OPERATIONS)), repeat=len(EDGES))
    return tuple(format(Architecture(MICRO_MODULES, cell)) for cell in cells)


def official_index(arch: str) -> int:
    """The index of a structure, 0 to 3255, or of a cell, 3256 to 7351.

    Raises `ArchitectureError`.
    """
    if str(arch).endswith("-basic"):
        parse(arch, "macro")
        return macro_architectures().index(arch)
    cell = parse(arch, "micro").cell or ()
    return len(macro_architectures()) + int("".join(map(str, cell)), base=len(OPERATIONS))


def read(text: str, kind: Kind) -> str:
    """The string of an architecture in any known notation.

    Its own; the official index; or NASLib's tuple, the digits of the cell or of the modules, which
    may be padded with zeros to six. (NASLib's tables number the architectures in another, random
    order: its `idx` is not the official index. And its tuples for the data sets svhn, scifar100 and
    ninapro look the same and name other networks.)

    Raises `ArchitectureError`.
    """
    numbers = integers(text)
    if numbers is not None:
        return _of_naslib(text, numbers, kind)
    if isinstance(text, str) and text.isascii() and text.isdigit():
        every = macro_architectures() + micro_architectures()
        first, last = (0, 3255) if kind == "macro" else (3256, 7351)
        if not first <= int(text) <= last:
            raise ArchitectureError(f"index {text}: those of this space are {first} to {last}")
        return every[int(text)]
    parse(text, kind)
    return text


def _of_naslib(text: str, numbers: tuple[int, ...], kind: Kind) -> str:
    if kind == "macro":
        modules = tuple(number for number in numbers if number != 0)
        if numbers[: len(modules)] != modules or not all(1 <= digit <= 4 for digit in modules):
            raise ArchitectureError(f"{text!r}: expected digits 1 to 4, and zeros only at the end")
        return format(Architecture(modules, None))
    if len(numbers) != len(EDGES) or not all(0 <= n < len(OPERATIONS) for n in numbers):
        raise ArchitectureError(f"{text!r}: expected six operations 0 to 3")
    return format(Architecture(MICRO_MODULES, numbers))


def canonical_cell(cell: Sequence[int]) -> tuple[int, ...]:
    """The cell that stands for all with the same network: 2,952 of the 4,096 do.

    Nodes 1 and 2 can be exchanged where no edge joins them, and a skip connection out of a node
    that nothing reaches is none. One that leads nowhere is none as well, unless it comes from node
    0: where the module halves the image it has parameters. Dead convolutions have, too, and stay.
    """
    cells = [_pruned_skips(cell)]
    a, b, c, d, e, f = cells[0]
    if c == NONE:
        cells.append((b, a, c, d, f, e))
    return min(cells)


def _pruned_skips(cell: Sequence[int]) -> tuple[int, ...]:
    """Without the skip connections out of nodes 1 and 2 that lie on no path from node 0 to 3."""
    kept = list(cell)
    fed, used = _reached(kept)
    for edge, (target, source) in enumerate(EDGES):
        if kept[edge] == SKIP and source != 0 and (source not in fed or target not in used):
            kept[edge] = NONE
    return tuple(kept)


def is_connected(arch: str) -> bool:
    """Whether a path of operations other than none leads through the cell.

    169 cells have none: their networks compute the same logits for every image.
    """
    cell = parse(arch, "micro").cell or ()
    return 3 in _reached(cell)[0]


def _reached(cell: Sequence[int]) -> tuple[set[int], set[int]]:
    """The nodes that node 0 reaches, and those that reach node 3."""
    edges = [edge for edge, operation in zip(EDGES, cell, strict=True) if operation != NONE]
    fed, used = {0}, {3}
    for target, source in edges:  # sources come before their targets
        if source in fed:
            fed.add(target)
    for target, source in reversed(edges):
        if target in used:
            used.add(source)
    return fed, used
