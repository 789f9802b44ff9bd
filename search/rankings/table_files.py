"""Reads foreign tables within limits, with errors that name the file."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from vkdnw.search import limits

SUFFIXES = (".csv", ".csv.gz", ".parquet")


class TableError(ValueError):
    """A file that cannot be read as a table, or claims to be too large."""


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """The table in a `.csv`, `.csv.gz` or `.parquet` file; ``options`` go to pandas' CSV reader.

    Raises:
        TableError: a ValueError that names the file, the fault, and a remedy.
    """
    if not path.name.endswith(SUFFIXES):
        raise TableError(f"{path}: the name must end in {', '.join(SUFFIXES[:-1])} or .parquet")
    if not path.is_file():
        raise TableError(f"{path} is not a regular file")
    try:
        if path.name.endswith(".parquet"):
            return _read_parquet(path)
        return _read_csv(path, options)
    except limits.LimitExceeded as error:
        raise TableError(str(error)) from error
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        # The parsers' own errors are ValueErrors, pyarrow's too.
        message = " ".join(str(error).split())
        raise TableError(f"{path} cannot be read as a table: {message}") from error


def _read_csv(path: Path, options: dict[str, Any]) -> pd.DataFrame:
    most = limits.limit("table-bytes")
    with path.open("rb") as file, gzip.open(file) as unpacked:
        content = (unpacked if path.suffix == ".gz" else file).read(most + 1)
    if len(content) > most:
        message = limits.exceeded("table-bytes", str(path), "its decompressed size")
        raise limits.LimitExceeded(message)
    header = content[: content.find(b"\n") + 1] or content
    limits.check("table-columns", header.count(b",") + 1, f"{path} has too many columns")
    table: pd.DataFrame = pd.read_csv(io.BytesIO(content), **options)
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        told = file.metadata
        groups = range(told.num_row_groups)
        size = sum(told.row_group(group).total_byte_size for group in groups)
        limits.check("table-columns", told.num_columns, f"{path} has too many columns")
        limits.check("table-bytes", max(size, 8 * told.num_rows), f"{path} is too large")
        table: pd.DataFrame = file.read().to_pandas()
        return table
