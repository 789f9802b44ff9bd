"""Which published tables are in a folder, and whether they are complete and unchanged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vkdnw.search.published_tables.catalogue import TABLES
from vkdnw.search.published_tables.table import Table, recognise
from vkdnw.search.rankings import nats_bench
from vkdnw.search.rankings.table_files import SUFFIXES
from vkdnw.search.rankings.truth import TruthError, indexed, read_texts
from vkdnw.search.spaces import registry


@dataclass(frozen=True)
class Checked:
    """One file, or a folder of NATS-Bench's release."""

    path: Path
    title: str
    """Of the table; empty for one that is not known."""
    spaces: tuple[str, ...] = ()
    """Those that can use it."""
    rows: int = 0
    expected: tuple[int, ...] = ()
    """Rows of the published table."""
    columns: Mapping[str, int] = field(default_factory=dict)
    """Every column to compare with, and how many networks it has a number of."""
    problem: str = ""
    """Why it cannot be used; empty where it can."""


def check(place: Path) -> list[Checked]:
    """Read every table at a place: a file, or a folder and the folders in it.

    Raises:
        FileNotFoundError: there is nothing.
    """
    if not place.exists():
        raise FileNotFoundError(f"there is no {place}")
    return [_checked(path) for path in _candidates(place)]


def _candidates(place: Path) -> Iterator[Path]:
    if place.is_file() or (place / nats_bench.META).is_file():
        yield place
        return
    for path in sorted(place.iterdir()):
        if path.name.endswith(SUFFIXES) or (path / nats_bench.META).is_file():
            yield path


def _checked(path: Path) -> Checked:
    if path.is_dir():
        trained = len(list(path.glob("*.pickle.pbz2"))) - 1  # one is the list of architectures
        title = "NATS-Bench, topology space, as released"
        return Checked(path, title, ("nb201",), trained, (15_625,))
    try:
        texts = read_texts(path)
    except TruthError as error:
        return Checked(path, "", problem=str(error))
    known = recognise(texts.columns, TABLES)
    if known is None:
        return Checked(path, "", rows=len(texts))
    columns = {name: int(texts[name].notna().sum()) for name in (*known.accuracies, *known.devices)}
    told = Checked(path, known.title, known.spaces, len(texts), known.rows, columns)
    problems = {name: _problem(path, known, name) for name in known.spaces}
    usable = tuple(name for name, problem in problems.items() if not problem)
    if usable:
        return Checked(path, known.title, usable, len(texts), known.rows, columns)
    return Checked(**{**vars(told), "problem": next(iter(problems.values()))})


def _problem(path: Path, known: Table, space: str) -> str:
    """Why a space cannot use the table."""
    if space not in registry.SPACES:
        return f"this version has no space {space}"
    try:
        indexed(path, read_texts(path), known, registry.space(space))
    except TruthError as error:
        return str(error)
    return ""
