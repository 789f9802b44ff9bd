"""Scores as a small table, to be published beside the commands that made them.

A row per architecture and seed: ``arch, seed``, a column per value, ``decile_1`` to ``decile_9``.
A value that was not computed is an empty cell, an undefined one ``nan``, ``inf`` or ``-inf``.
Values are written with nine significant digits, which tell any two float32 numbers apart. Names
that a spreadsheet would take for formulas are quoted (`spreadsheet`), and read back unchanged.
"""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from vkdnw.search.atomic_files import written_whole
from vkdnw.search.rankings.spreadsheet import quoted, unquoted
from vkdnw.search.rankings.table_files import TableError, read_table
from vkdnw.search.tasks import Evaluation

DIGITS = 9
DECILES = tuple(f"decile_{k}" for k in range(1, 10))
DERIVED = ("single",)
"""Values that follow from others, and are not written."""
SUFFIXES = (".csv", ".csv.gz")


class ScoreTableError(ValueError):
    """A file that is no table of scores."""


def write(path: Path, evaluations: Iterable[Evaluation], *, deciles: bool = True) -> int:
    """Write the table and return its number of rows.

    Rows are sorted by seed and network: architectures that share one, hence their values, lie side
    by side, which compression likes. ``path`` ends in ``.csv`` or ``.csv.gz``; the same scores give
    the same bytes.

    Raises:
        ScoreTableError: another suffix, or nothing to write.
        FileError: the file cannot be written; an older file is unchanged.
    """
    _check_suffix(path)
    ordered = sorted(evaluations, key=lambda e: (e.seed, e.network, e.architecture))
    if not ordered:
        raise ScoreTableError(f"there are no scores to write to {path}")
    table = pd.DataFrame([_row(evaluation, deciles) for evaluation in ordered])
    table.columns = pd.Index([quoted(name) for name in table.columns])
    with written_whole(path) as draft:
        content = table.to_csv(index=False, lineterminator="\n").encode()
        # Without a name and a date in it, equal tables are equal files.
        draft.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return len(table)


def read(path: Path) -> list[Evaluation]:
    """The table that `write` wrote: an evaluation per row, without times, networks named as
    architectures.

    Raises:
        ScoreTableError: the file cannot be read, or the row and column that is wrong.
    """
    _check_suffix(path)
    try:
        table = read_table(path, dtype=str, keep_default_na=False)
    except TableError as error:
        raise ScoreTableError(str(error)) from error
    table = table.rename(columns=unquoted)
    missing = [name for name in ("arch", "seed") if name not in table.columns]
    if missing:
        raise ScoreTableError(f"{path} has no column {missing[0]!r}: it is no table of scores")
    repeated = table[table.duplicated(["arch", "seed"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise ScoreTableError(f"{path} has {first['arch']} under seed {first['seed']} twice")
    seeds = _seeds(path, table["seed"])
    numbers = {
        name: _numbers(path, table[name]) for name in table.columns if name not in ("arch", "seed")
    }
    on_record = {name: (table[name] != "").to_numpy() for name in numbers}
    return [
        _evaluation(
            unquoted(arch),
            seeds[row],
            {name: float(numbers[name][row]) for name in numbers if on_record[name][row]},
        )
        for row, arch in enumerate(table["arch"])
    ]


def _row(evaluation: Evaluation, deciles: bool) -> dict[str, str]:
    values = evaluation.values  # noqa: PD011 - no data frame's
    numbers = {name: value for name, value in values.items() if name not in DERIVED}
    if deciles:
        numbers |= dict(zip(DECILES, evaluation.deciles, strict=False))
    written = {name: f"{value:.{DIGITS}g}" for name, value in numbers.items()}
    return {"arch": quoted(evaluation.architecture), "seed": str(evaluation.seed), **written}


def _evaluation(arch: str, seed: int, numbers: dict[str, float]) -> Evaluation:
    deciles = tuple(numbers.pop(name) for name in DECILES if name in numbers)
    if "layers" in numbers and "vkdnw" in numbers:
        numbers["single"] = numbers["layers"] + numbers["vkdnw"]
    return Evaluation(arch, arch, seed, numbers, deciles, seconds=float("nan"))


def _numbers(path: Path, column: pd.Series) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    try:
        return np.array([float(cell or "nan") for cell in column], dtype=np.float64)
    except ValueError as error:
        raise ScoreTableError(f"{path}, column {column.name!r}: {error}") from error


def _seeds(path: Path, column: pd.Series) -> list[int]:
    try:
        return [int(cell) for cell in column]
    except ValueError as error:
        raise ScoreTableError(f"{path}, column 'seed': {error}") from error


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(SUFFIXES):
        raise ScoreTableError(f"{path}: the name of a table of scores ends in .csv or .csv.gz")
