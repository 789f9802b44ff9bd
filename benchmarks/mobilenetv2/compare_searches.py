"""Compares searches that share a space, a scoring and a score seed, under one reference set.

An aggregate of ranks belongs to a set of networks, so those that two searches print of themselves
cannot be compared. Here every network that any of the searches has scored is ranked among all of
them, once, and each search is told by its best and by its ten best. A search that scored more
networks than another is cut to as many, its first ones.

    python benchmarks/mobilenetv2/compare_searches.py RUN RUN ...
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from vkdnw.search.evolution.history import History, aggregate, load

TOP = 10
FREE = ("strategy", "search_seed", "population", "tournament", "in_flight")
"""Settings that may differ between the searches: how they breed."""


def main(folders: list[Path]) -> None:
    searches = {folder: load(folder) for folder in folders}
    check_comparable(list(searches.values()))
    shortest = min(len(search.table) for search in searches.values())
    searches = {
        folder: replace(search, table=search.table.iloc[:shortest])
        for folder, search in searches.items()
    }
    every = pd.concat([search.table[search.within_budget] for search in searches.values()])
    reference = every.drop_duplicates("architecture").set_index("architecture")
    scores = aggregate(reference, next(iter(searches.values())).ranked)
    table = Table(title=f"Aggregates among {len(reference):,} networks", title_justify="left")
    for heading in ("run", "strategy", "seed", "networks", "best", f"mean of {TOP}", "MFLOPs"):
        table.add_column(heading, justify="left" if heading in ("run", "strategy") else "right")
    winners = []
    for folder, search in searches.items():
        own = scores[search.table.loc[search.within_budget, "architecture"]]
        best = own.sort_values(ascending=False, kind="stable")
        winners.append((folder, best.index[0]))
        table.add_row(
            folder.name,
            str(search.settings["strategy"]),
            str(search.settings["search_seed"]),
            f"{len(search.table):,}",
            f"{best.iloc[0]:.4f}",
            f"{best.iloc[:TOP].mean():.4f}",
            f"{reference.loc[best.index[0], 'flops'] / 1e6:.2f}",
        )
    console = Console(width=120)
    console.print(table)
    for folder, architecture in winners:
        print(f"{folder.name}: {architecture}")


def check_comparable(searches: list[History]) -> None:
    """Raise ValueError where two searches differ in more than how they breed."""
    first = searches[0].settings
    for other in searches[1:]:
        for key in first:
            if key not in FREE and first[key] != other.settings[key]:
                raise ValueError(
                    f"the searches differ in {key}: {first[key]!r} and {other.settings[key]!r}"
                )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
