"""Architecture strings of the MnasNet space: ``e1666666_k3353553_l1223341_s1111111``.

Four fields of seven digits, one digit for each stage: expansion, kernel, number of blocks, and
whether blocks have squeeze-and-excitation.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError

STAGES = 7
FIELDS: Mapping[str, str] = {
    "e": "expansion",
    "k": "kernel",
    "l": "number of blocks",
    "s": "squeeze-and-excitation",
}
_MENUS = {"e": "146", "k": "35", "l": "123", "s": "01"}
_LONGEST_STAGE = 5
"""Only this stage may have four blocks."""

_FORM = "e<7 digits>_k<7 digits>_l<7 digits>_s<7 digits>"


class Stage(NamedTuple):
    """The sizes that all blocks of a stage share."""

    expansion: int
    kernel: int
    blocks: int
    excited: bool


def menu(field: str, stage: int) -> str:
    """The digits that a field may have in a stage."""
    return "1234" if (field, stage) == ("l", _LONGEST_STAGE) else _MENUS[field]


def stages(architecture: str) -> tuple[Stage, ...]:
    """The seven stages. Raises `ArchitectureError`, which names field and stage."""
    columns = _digits(architecture)
    return tuple(
        Stage(int(e), int(k), int(blocks), s == "1")
        for e, k, blocks, s in zip(*columns, strict=True)
    )


def _digits(architecture: str) -> list[str]:
    """The seven digits of each field."""
    if not isinstance(architecture, str):
        raise ArchitectureError(
            f"an architecture is a string {_FORM}, not {type(architecture).__name__}: "
            f"{architecture!r}"
        )
    parts = architecture.split("_")
    if [part[:1] for part in parts] != list(FIELDS):
        raise ArchitectureError(f"{architecture!r} has not the form {_FORM}")
    for field, part in zip(FIELDS, parts, strict=True):
        _check_field(architecture, field, part[1:])
    return [part[1:] for part in parts]


def _check_field(architecture: str, field: str, digits: str) -> None:
    where = f"{architecture!r}, {FIELDS[field]} ({field})"
    if len(digits) != STAGES:
        raise ArchitectureError(
            f"{where}: {len(digits)} digits, not one for each of {STAGES} stages"
        )
    for stage, digit in enumerate(digits):
        if digit not in menu(field, stage):
            choices = ", ".join(menu(field, stage))
            raise ArchitectureError(f"{where}: {digit!r} in stage {stage} is not among {choices}")


def format(digits: Sequence[Sequence[str]]) -> str:  # noqa: A001 - as in every space
    """The string of seven digits for each field. Raises `ArchitectureError`."""
    parts = (field + "".join(part) for field, part in zip(FIELDS, digits, strict=True))
    architecture = "_".join(parts)
    _digits(architecture)
    return architecture


def fields(architecture: str) -> list[list[str]]:
    """The digits of an architecture, to be changed and given to `format`."""
    return [list(digits) for digits in _digits(architecture)]


def parse(text: str) -> str:
    """The string of an architecture: itself, or Accel-NASBench's configuration as JSON,
    ``{"block0_e": 6, "block0_k": 3, "block0_l": 2, "block0_se": true, ...}``.

    Raises `ArchitectureError`.
    """
    text = str(text).strip()
    if not text.startswith("{"):
        stages(text)
        return text
    try:
        configuration = json.loads(text)
        digits = [
            [_digit(configuration[f"block{stage}_{name}"]) for stage in range(STAGES)]
            for name in ("e", "k", "l", "se")
        ]
    except (ValueError, KeyError) as error:
        raise ArchitectureError(f"{text!r} is no configuration of seven blocks: {error}") from error
    return format(digits)


def _digit(choice: object) -> str:
    switches = {"true": "1", "false": "0"}
    return switches.get(str(choice).lower(), str(choice))
