"""Completion with Tab in a shell: names of proxies, values of a run, columns of a table.

`vkdnw --install-completion` registers it. Options and spaces are completed by Typer.
"""

from collections.abc import Iterable
from pathlib import Path

import typer

from vkdnw.search.errors import RunError


def proxies(incomplete: str) -> list[str]:
    """The last name of a list separated by commas: proxies, aggregates, `all`."""
    from vkdnw.proxies import PROXIES
    from vkdnw.search.rankings.aggregation import NAMED
    from vkdnw.search.requested_values import ALL

    return _last_of_list([*PROXIES, *NAMED, ALL], incomplete)


def spaces(incomplete: str) -> list[str]:
    """The spaces known by name."""
    from vkdnw.search.spaces import registry

    return [name for name in registry.names() if name.startswith(incomplete)]


def values(context: typer.Context, incomplete: str) -> list[str]:
    """The values of the run, or of the exported table, that is named before; aggregates."""
    from vkdnw.search.rankings.aggregation import NAMED

    # An option that still lacks its value ends the parsing, and arguments before it are left over.
    named = [context.params.get("run"), *(context.params.get("runs") or ()), *context.args]
    names = [*_values_of(next((one for one in named if one is not None), None)), *NAMED]
    return [name for name in names if name.startswith(incomplete)]


def device_columns(context: typer.Context, incomplete: str) -> list[str]:
    """The device figures in the table of latencies that is named before."""
    path = context.params.get("latency_table")
    names = [] if path is None else _figures_of(Path(str(path)))
    return [name for name in names if name.startswith(incomplete)]


def datasets(context: typer.Context, incomplete: str) -> list[str]:
    """The columns of the table of accuracies that is named before."""
    path = context.params.get("truth")
    names = [] if path is None else _columns_of(Path(str(path)))
    return [name for name in names if name != "arch" and name.startswith(incomplete)]


def _last_of_list(names: Iterable[str], incomplete: str) -> list[str]:
    given, comma, begun = incomplete.rpartition(",")
    taken = given.split(",")
    return [given + comma + name for name in names if name.startswith(begun) and name not in taken]


def _values_of(source: str | Path | None) -> list[str]:
    """Empty where there is no run yet: completion shows no errors."""
    from vkdnw.search.rankings.run_ranking import ranking_of

    if source is None:
        return []
    try:
        rows = ranking_of(Path(source)).rows
    except (RunError, ValueError, OSError):
        return []
    return sorted(set().union(*(row.values for row in rows)))


def _figures_of(path: Path) -> list[str]:
    """The device figures of a published table; of another table every column."""
    from vkdnw.search.published_tables.catalogue import TABLES
    from vkdnw.search.published_tables.table import recognise

    columns = _columns_of(path)
    known = recognise(columns, TABLES)
    return list(known.devices) if known else [name for name in columns if name != "arch"]


def _columns_of(path: Path) -> list[str]:
    """The columns in the head of a CSV file."""
    import pandas as pd

    try:
        return list(map(str, pd.read_csv(path, nrows=0).columns))
    except (ValueError, OSError):
        return []
