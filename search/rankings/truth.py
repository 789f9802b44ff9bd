"""The accuracies that rankings are compared with.

A truth is a table indexed by architecture string with one column per data set: test accuracy in
percent. It comes from a file of such a table, or from the official NATS-Bench release.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from vkdnw.search.rankings import nats_bench
from vkdnw.search.rankings.tables import TableError, read_table
from vkdnw.search.spaces import nb201


class TruthError(ValueError):
    """Accuracies that cannot be read, or cannot be right."""


def load(path: Path | str) -> pd.DataFrame:
    """Read accuracies: float64, indexed by ``arch``, one column per data set, in percent.

    ``path`` is a table (`.csv`, `.csv.gz` or `.parquet`) with a column ``arch`` and one column per
    data set (a column called ``index``, the benchmark's, is not one), or a folder of NATS-Bench's
    topology search space as released (`meta.pickle.pbz2` and a file per architecture): accuracy
    after 200 epochs, the mean over the benchmark's seeds, of those architectures whose file is
    there.

    No file can run code: NATS-Bench's pickles are read as plain data, and one that names anything
    else is refused.

    Raises:
        TruthError: a ValueError; the file, column or architecture that is wrong, and how.
    """
    path = Path(path)
    if path.is_dir():
        return _checked(path, _read_nats_bench(path))
    if not path.is_file():
        raise TruthError(f"no table of accuracies or NATS-Bench folder at {path}")
    accuracies = _checked(path, _read_table(path))
    _check_percent(path, accuracies)
    return accuracies


def _read_nats_bench(folder: Path) -> pd.DataFrame:
    try:
        return pd.DataFrame(nats_bench.load(folder))
    except (nats_bench.NatsBenchError, OSError) as error:
        raise TruthError(str(error)) from error


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return read_table(path)
    except TableError as error:
        raise TruthError(str(error)) from error


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    if "arch" not in table.columns:
        raise TruthError(f"{path} has no column 'arch'; it has {_listed(table.columns)}")
    _check_architectures(path, table["arch"])
    accuracies = table.set_index("arch").drop(columns="index", errors="ignore")
    if accuracies.empty:
        raise TruthError(f"{path} has no accuracies: {len(table)} rows, {_listed(table.columns)}")
    for name in accuracies.columns:
        _check_accuracies(path, accuracies[name])
    return accuracies.astype("float64")


def _check_architectures(path: Path, architectures: pd.Series) -> None:
    for row, arch in enumerate(architectures, start=1):
        try:
            nb201.validate(arch)
        except nb201.ArchitectureError as error:
            raise TruthError(f"{path}, row {row}: {error}") from error
    repeated = architectures[architectures.duplicated()]
    if len(repeated):
        raise TruthError(
            f"{path} names {len(repeated)} architecture(s) more than once, first {repeated.iloc[0]}"
        )


def _check_accuracies(path: Path, column: pd.Series) -> None:
    where = f"{path}, column {column.name!r}"
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        raise TruthError(f"{where}: accuracies must be numbers, not {column.dtype}")
    wrong = column[~column.between(0, 100)]  # NaN is between nothing
    if len(wrong):
        raise TruthError(
            f"{where}: {len(wrong)} accuracies are missing or not in [0, 100], first "
            f"{wrong.iloc[0]} of {wrong.index[0]}"
        )


def _check_percent(path: Path, accuracies: pd.DataFrame) -> None:
    """Refuse fractions: nDCG's gain 2^acc would take them without complaint, and mean nothing."""
    for name, highest in accuracies.max().items():
        if highest < 1:
            raise TruthError(
                f"{path}, column {name!r}: the highest accuracy is {highest}; accuracies must be "
                "in percent, not fractions"
            )


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
