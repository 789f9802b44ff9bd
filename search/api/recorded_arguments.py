"""The arguments of the call that made a run, from the run's record."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from vkdnw.search.configuration import RENAMED, Configuration, Json
from vkdnw.search.errors import StoreError
from vkdnw.search.evolution.budget import Budget
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.selection import parse
from vkdnw.search.state.results import open_results

PLAN = {
    "evaluations": "evaluations",
    "strategy": "strategy",
    "pareto": "pareto",
    "population": "population",
    "tournament": "tournament",
    "in_flight": "in_flight",
    "search_seed": "seed",
    "score_seed": "score_seed",
    "score_seeds": "seeds",
    "keys": "rank_by",
}
"""Settings of an evolution -> arguments of `evolve`."""


def recorded_arguments(folder: Path) -> dict[str, Any]:
    """The arguments of `enumerate`, or of `evolve` where the run has a strategy.

    `space`, `out`, which architectures, the sizes of the space and how they are scored;
    arguments of None are left out. Calling it again goes on with the run.
    """
    with open_results(folder) as results:
        settings = {RENAMED.get(key, key): value for key, value in results.settings().items()}
        architectures = results.architectures()
    place = str(settings.get("space_from") or settings["space"])
    found: dict[str, Any] = {"space": place, "out": str(folder)}
    found |= _evolution(settings) if "strategy" in settings else _which(settings, architectures)
    sizes = fields(registry.space_class(place))
    found |= {field.name: settings[field.name] for field in sizes if field.name in settings}
    configured = (field.name for field in fields(Configuration))
    found |= {name: settings[name] for name in configured if name in settings}
    if "device" in settings:
        found["device"] = settings["device"]
    return {name: value for name, value in found.items() if value is not None}


def _which(settings: Mapping[str, Json], architectures: Sequence[str]) -> dict[str, Any]:
    selection = parse(str(settings.get("architectures", "listed")))
    if selection is None:
        found: dict[str, Any] = {"architectures": list(architectures)}
    else:
        found = {"sample": selection.sample, "all": selection.everything or None}
        if selection.sample is not None:
            found["sample_seed"] = selection.sample_seed
        if selection.subset:
            found[selection.subset] = True
    return {**found, "seeds": settings.get("seeds"), "proxies": settings.get("proxies")}


def _evolution(settings: Mapping[str, Json]) -> dict[str, Any]:
    found = {argument: settings.get(key) for key, argument in PLAN.items()}
    budget: dict[str, Any] = {
        field.name: settings.get(f"budget_{field.name}") for field in fields(Budget)
    }
    if budget["latency"] is not None:
        # In milliseconds; twelve digits leave out the rounding of the division by 1000.
        budget["latency"] = float(f"{budget['latency'] * 1000:.12g}")
    return {**found, **budget, **_latencies(settings)}


def _latencies(settings: Mapping[str, Json]) -> dict[str, Any]:
    """The table of latencies, if the run was given one.

    Raises StoreError for a run without the table's path on record.
    """
    recorded = settings.get("latency_table")
    if recorded is None:
        return {}
    file, column = settings.get("latency_file"), str(recorded).rpartition(" of ")[0]
    if file is None:
        raise StoreError(
            f"the run was given the latencies {column!r} of a table and did not record its file: "
            "give the whole command again, with --latency-table and --latency-column"
        )
    fit = bool(settings.get("latency_fit"))
    return {"latency_table": file, "latency_column": column, "latency_fit": fit}
