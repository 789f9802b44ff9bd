"""The accuracies that rankings are compared with.

A truth is a table indexed by architecture string with one column per data set, higher is better. It
comes from a published table, from a user's own, or from the official NATS-Bench release.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pandas as pd

from vkdnw.search.published_tables.catalogue import TABLES
from vkdnw.search.published_tables.table import DIRECTIONS, Direction, Table, recognise
from vkdnw.search.rankings import nats_bench
from vkdnw.search.rankings.table_files import TableError, read_table
from vkdnw.search.spaces.search_space import ArchitectureError, SearchSpace

ARCH = "arch"
NOT_DATA = ("index", "idx")
"""Columns of numbers that say where a row was, in tables that are not known."""


class TruthError(ValueError):
    """Accuracies that cannot be read, or cannot be right."""


def load(
    path: Path | str, space: SearchSpace | None = None, columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Read accuracies: float64, indexed by ``arch``, one column per data set; higher is better.

    ``path`` is a table (`.csv`, `.csv.gz` or `.parquet`) with a column ``arch`` and one column per
    data set, a published table, which is known by its columns (`benchmarks.catalogue`), or a folder
    of NATS-Bench's topology space as released (`meta.pickle.pbz2` and a file per architecture):
    accuracy after 200 epochs, the mean over the benchmark's seeds, of those architectures whose
    file is there.

    An architecture may be written in any notation that the space reads. An empty cell is an
    accuracy that is not known, and becomes NaN.

    No file can run code: NATS-Bench's pickles are read as plain data, and one that names anything
    else is refused.

    Args:
        path: the table or folder.
        space: whose architectures these are; None for that of a published table, else NB201.
        columns: the data sets to take, each a column's name, with ``:higher`` or ``:lower`` after
            it where it is no accuracy in percent and more or less is better. A column where lower
            is better is negated. None named: the accuracies of a published table, all columns of
            another.

    Raises:
        TruthError: a ValueError; the file, column or architecture that is wrong, and how.
    """
    path = Path(path)
    if path.is_dir():
        table, known = _read_nats_bench(path), None
    elif path.is_file():
        table = read_texts(path)
        known = recognise(table.columns, TABLES)
    else:
        raise TruthError(f"no table of accuracies or NATS-Bench folder at {path}")
    space = _space_of(path, known) if space is None else space
    table = indexed(path, table, known, space)
    return pd.DataFrame(
        {
            name: _checked(path, table, name, direction)
            for name, direction in _wanted(path, table, known, space, columns).items()
        },
        index=table.index,
    )


def indexed(
    path: Path, table: pd.DataFrame, known: Table | None, space: SearchSpace
) -> pd.DataFrame:
    """The rows of a space's architectures, indexed by its own strings for them.

    Raises TruthError for a bad architecture, or one that is there twice and may not be.
    """
    if known is not None and space.name not in known.spaces:
        raise TruthError(
            f"{path} has architectures of {' and '.join(known.spaces)} ({known.title}), and these "
            f"scores are of {space.name}"
        )
    if known is not None and space.name in known.rows_of:
        column, value = known.rows_of[space.name]
        table = table[table[column] == value]
    pattern = f"{{{ARCH}}}" if known is None else known.architecture
    if known is None and ARCH not in table.columns:
        raise TruthError(f"{path} has no column 'arch'; it has {_listed(table.columns)}")
    if table.empty or len(table.columns) == 1:
        raise TruthError(f"{path} has no accuracies: {len(table)} rows, {_listed(table.columns)}")
    table = table.set_axis(_read_architectures(path, table, pattern, space))
    repeated = table.index[table.index.duplicated()]
    if not len(repeated):
        return table
    if known is not None and known.averaged:
        return table.groupby(level=0, sort=False).mean(numeric_only=True)
    raise TruthError(
        f"{path} names {len(repeated)} architecture(s) more than once, first {repeated[0]}"
    )


def for_architectures(
    path: Path | str,
    architectures: Iterable[str],
    space: SearchSpace | None = None,
    columns: Sequence[str] = (),
) -> pd.DataFrame:
    """The result of `load`, which `with_equal_networks` completes where the space is known."""
    found = load(path, space, columns)
    return found if space is None else with_equal_networks(found, architectures, space)


def known_architectures(path: Path | str, space: SearchSpace) -> list[str]:
    """The architectures of a table of which an accuracy is known, in the table's order."""
    return list(load(path, space).dropna(how="all").index)


def with_equal_networks(
    truth: pd.DataFrame, architectures: Iterable[str], space: SearchSpace
) -> pd.DataFrame:
    """Accuracies of these architectures that are in the truth under another string only.

    A network may have several strings, of which a table has one or some; an architecture that is
    not among them gets their mean.
    """
    missing = [arch for arch in dict.fromkeys(architectures) if arch not in truth.index]
    if not missing:
        return truth
    networks = truth.groupby([space.canonical(arch) for arch in truth.index], sort=False).mean()
    equal = {arch: space.canonical(arch) for arch in missing}
    found = {arch: network for arch, network in equal.items() if network in networks.index}
    added = networks.loc[list(found.values())].set_axis(pd.Index(found, name=ARCH))
    return pd.concat([truth, added])


def _space_of(path: Path, known: Table | None) -> SearchSpace:
    from vkdnw.search.spaces import registry

    if known is None:
        return registry.space("nb201")
    if len(known.spaces) > 1:
        raise TruthError(f"{path} is of {' and '.join(known.spaces)}: say of which space it is")
    return registry.space(known.spaces[0])


def _read_nats_bench(folder: Path) -> pd.DataFrame:
    try:
        return pd.DataFrame(nats_bench.load(folder))
    except (nats_bench.NatsBenchError, OSError) as error:
        raise TruthError(str(error)) from error


def read_texts(path: Path) -> pd.DataFrame:
    """A table as it is, architectures as texts: `00000012` is no number. Raises TruthError."""
    texts = {ARCH, *(name for table in TABLES for name in table.architecture_columns)}
    try:
        return read_table(path, dtype=dict.fromkeys(texts, str))
    except TableError as error:
        raise TruthError(str(error)) from error


def _read_architectures(
    path: Path, table: pd.DataFrame, pattern: str, space: SearchSpace
) -> pd.Index:
    read = getattr(space, "parse", None)
    found = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        try:
            text = row[ARCH] if pattern == f"{{{ARCH}}}" else pattern.format_map(row)
            if read is not None and isinstance(text, str):
                text = read(text)
            space.validate(text)
        except ArchitectureError as error:
            raise TruthError(f"{path}, row {number}: {error}") from error
        found.append(text)
    return pd.Index(found, name=ARCH)


def _wanted(
    path: Path,
    table: pd.DataFrame,
    known: Table | None,
    space: SearchSpace,
    columns: Sequence[str],
) -> Mapping[str, Direction]:
    """The columns to take, and whether higher or lower is better in them."""
    told = {} if known is None else {**known.accuracies, **known.devices}
    if columns:
        found = {}
        for text in columns:
            name, direction = _column(path, text, table.columns)
            default = told[name].direction if name in told else "percent"
            found[name] = direction or default
        return found
    if known is None:
        others = [name for name in table.columns if name not in (ARCH, *NOT_DATA)]
        return dict.fromkeys(map(str, others), "percent")
    network = getattr(space, "network", None)
    accuracies = {
        name: column.direction
        for name, column in known.accuracies.items()
        if network is None or column.network in (None, network)
        if not table[name].isna().all()
    }
    if not accuracies:
        raise TruthError(
            f"{path} ({known.title}) has no accuracies of the network {network!r} of {space.name}; "
            f"{known.note or 'it has device figures, which are chosen by name'}"
        )
    return accuracies


def _column(path: Path, text: str, there: Iterable[object]) -> tuple[str, Direction | None]:
    """Name and direction of a column as it is asked for."""
    names = list(map(str, there))
    if text in names:
        return text, None
    name, colon, direction = text.rpartition(":")
    if colon and direction not in DIRECTIONS:
        raise TruthError(f"{text!r}: after ':' comes {', '.join(DIRECTIONS)}, not {direction!r}")
    if not colon or name not in names:
        raise TruthError(f"{path} has no column {name or text!r}; it has {_listed(names)}")
    return name, cast("Direction", direction)


def _checked(
    path: Path, table: pd.DataFrame, name: str, direction: Direction
) -> "pd.Series[float]":
    column = table[name]
    where = f"{path}, column {name!r}"
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        raise TruthError(f"{where}: accuracies must be numbers, not {column.dtype}")
    numbers = column.astype("float64")
    if numbers.isna().all():
        raise TruthError(f"{where}: all {len(numbers)} accuracies are missing")
    if direction == "percent":
        _check_percent(where, numbers.dropna())
    return -numbers if direction == "lower" else numbers


def _check_percent(where: str, numbers: "pd.Series[float]") -> None:
    """Refuse fractions: nDCG's gain 2^acc would take them without complaint, and mean nothing."""
    wrong = numbers[~numbers.between(0, 100)]
    if len(wrong):
        raise TruthError(
            f"{where}: {len(wrong)} accuracies are not in [0, 100], first {wrong.iloc[0]} of "
            f"{wrong.index[0]}; {_SAY}"
        )
    if numbers.max() < 1:
        raise TruthError(
            f"{where}: the highest accuracy is {numbers.max()}; accuracies must be in percent, not "
            f"fractions; {_SAY}"
        )


_SAY = "of other numbers say which is better: NAME:higher or NAME:lower"


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
