"""The accuracies that rankings are compared with.

A truth is a table indexed by architecture string with one column per data set: test accuracy in
percent. It comes from a file of such a table, or from the official NATS-Bench release.
"""

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from nats_bench import create

from vkdnw.search.spaces import nb201

NATS_DATASETS: Mapping[str, str] = {
    "cifar10": "ori-test",
    "cifar100": "x-test",
    "ImageNet16-120": "x-test",
}
"""The data sets of NATS-Bench, and the split whose accuracy the paper's tables use."""

_NATS_EPOCHS = "200"
_NATS_FILE = re.compile(r"(\d{6})\.pickle\.pbz2")


class TruthError(ValueError):
    """Accuracies that cannot be read, or cannot be right."""


def load(path: Path | str) -> pd.DataFrame:
    """Read accuracies: float64, indexed by ``arch``, one column per data set, in percent.

    ``path`` is a table (`.csv`, `.csv.gz` or `.parquet`) with a column ``arch`` and one column per
    data set (a column called ``index``, the benchmark's, is not one), or a folder of NATS-Bench's
    topology search space as released (`meta.pickle.pbz2` and a file per architecture): accuracy
    after 200 epochs, the mean over the benchmark's seeds, of those architectures whose file is
    there.

    The files of NATS-Bench are pickles, and reading one can run any code that its author put into
    it. Read a folder only if you trust where it comes from; tables are safe.

    Raises:
        TruthError: a ValueError; the file, column or architecture that is wrong, and how.
    """
    path = Path(path)
    if path.is_dir():
        return _load_nats_bench(path)
    if not path.is_file():
        raise TruthError(f"no table of accuracies or NATS-Bench folder at {path}")
    accuracies = _checked(path, _read_table(path))
    _check_percent(path, accuracies)
    return accuracies


def _read_table(path: Path) -> pd.DataFrame:
    try:
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path)
        if path.name.endswith(".parquet"):
            return pd.read_parquet(path)
    except (OSError, EOFError, ValueError) as error:  # the parsers' own errors are ValueErrors
        raise TruthError(f"{path} cannot be read as a table: {error}") from error
    raise TruthError(f"{path}: the name must end in .csv, .csv.gz or .parquet, or be a folder")


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


def _load_nats_bench(folder: Path) -> pd.DataFrame:
    """Read one file at a time and forget it: the whole release takes gigabytes in memory."""
    indices = sorted(int(m[1]) for f in folder.iterdir() if (m := _NATS_FILE.fullmatch(f.name)))
    if not (folder / "meta.pickle.pbz2").is_file() or not indices:
        raise TruthError(
            f"{folder} is not a NATS-Bench folder: it needs meta.pickle.pbz2 and files such as "
            "000284.pickle.pbz2"
        )
    file = "meta.pickle.pbz2"
    try:
        api = create(str(folder), "tss", fast_mode=True, verbose=False)
        rows = []
        for index in indices:
            file = f"{index:06d}.pickle.pbz2"
            rows.append({"arch": api.arch(index)} | _nats_accuracies(api, index))
            api.arch2infos_dict.clear()
    except (OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise TruthError(f"{folder / file} cannot be read by nats_bench: {error!r}") from error
    return _checked(folder, pd.DataFrame(rows))


def _nats_accuracies(api: Any, index: int) -> dict[str, float]:
    """Accuracies by data set, without the noise of summing over seeds.

    Each is a mean of a few fractions of some thousand images, so equal ones are common; the digits
    that rounding takes off would tell them apart.
    """
    results = api.query_meta_info_by_index(index, hp=_NATS_EPOCHS)
    return {
        dataset: round(float(results.get_metrics(dataset, split)["accuracy"]), 6)
        for dataset, split in NATS_DATASETS.items()
    }
