"""The data of the page of a run, as one JSON value.

Columns instead of rows, and numbers of six digits: 15,625 architectures take a few megabytes.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from vkdnw.search.configuration import Settings
from vkdnw.search.errors import RunError
from vkdnw.search.evolution.history import load
from vkdnw.search.plots.correlation import correlations
from vkdnw.search.rankings.run_evaluation import agreement_rows, agreements, ranker, truth_frame
from vkdnw.search.rankings.run_ranking import ranking_of
from vkdnw.search.rankings.score_columns import load_evaluations, mean_columns
from vkdnw.search.report.diagram import Diagram, diagram_of
from vkdnw.search.spaces.recorded_space import recorded_space
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.results import Tally, open_results
from vkdnw.search.tasks import Evaluation

if TYPE_CHECKING:
    Truth: TypeAlias = str | Path | pd.DataFrame | pd.Series[float] | Mapping[str, float]

SPECTRA = 200
"""So many of the best networks keep their whole spectra; all others have their deciles."""
DIGITS = 6


def payload(
    folder: Path,
    space: SearchSpace | None = None,
    by: str | None = None,
    truth: Truth | None = None,
) -> dict[str, Any]:
    """The page's content.

    Args:
        folder: of a run with at least one score.
        space: of the run; None: the one that the run has on record.
        by: a value to rank by; see :meth:`vkdnw.search.Run.top`.
        truth: trained accuracies; see :meth:`vkdnw.search.Run.evaluate`.

    Raises:
        RunError: nothing is scored yet; or accuracies are given, and the space cannot be found.
    """
    evaluations = load_evaluations(folder)
    if not evaluations:
        raise RunError(f"{folder} has no scores yet")
    with open_results(folder) as results:
        settings, versions, tally = results.settings(), results.versions(), results.tally()
    ranked = ranking_of(folder, by)
    frame = pd.DataFrame({row.architecture: row.values for row in ranked.rows}).T  # noqa: PD011
    columns = {str(name): _numbers(frame[name]) for name in frame}
    architectures = [str(name) for name in frame.index]
    accuracies = None
    if truth is not None:
        accuracies = truth_frame(truth, space or recorded_space(settings), architectures)
    if accuracies is not None:
        known = accuracies.reindex(frame.index)
        columns |= {f"truth: {name}": _numbers(known[name]) for name in known}
    return {
        "title": f"{settings.get('space', 'networks')}: {len(frame):,} networks",
        "by": ranked.by,
        "architectures": architectures,
        "columns": columns,
        "costs": [name for name in ("flops", "parameters", "layers", "latency") if name in columns],
        "truths": [] if accuracies is None else [f"truth: {name}" for name in accuracies],
        "diagrams": _diagrams(space or _importable_space(settings), architectures),
        "spectra": _spectra(folder, evaluations, architectures[:SPECTRA]),
        "deciles": _deciles(evaluations, architectures),
        "correlation": _correlation(evaluations),
        "agreement": [] if accuracies is None else _agreement(evaluations, accuracies),
        "course": _course(folder) if "strategy" in settings else {},
        "settings": {name: _text(value) for name, value in sorted(settings.items())},
        "versions": {name: _text(value) for name, value in sorted(versions.items())}
        | _mixed(tally),
        "command": command(folder, settings),
        "tally": _progress(tally),
    }


def command(folder: Path, settings: Settings) -> str:
    """The command that goes on with the run, and repeats it elsewhere with another --out."""
    how = "--evolve" if "strategy" in settings else str(settings.get("architectures", ""))
    words = ["vkdnw", "search", str(settings.get("space", "")), "--out", str(folder)]
    return f"{shlex.join(words)} {how}".rstrip()


def _importable_space(settings: Settings) -> SearchSpace | None:
    """None for a space of the user's own that cannot be imported here."""
    try:
        return recorded_space(settings)
    except RunError:
        return None


def _numbers(column: pd.Series[Any]) -> list[float | None]:
    return [_number(value) for value in column]


def _number(value: Any) -> float | None:
    """Six digits; None where there is no number. Infinities are shown as texts are: not at all."""
    number = float(value) if value is not None else math.nan
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _diagrams(space: SearchSpace | None, architectures: Sequence[str]) -> list[Diagram]:
    return [] if space is None else [diagram_of(space, one) for one in architectures]


def _spectra(
    folder: Path, evaluations: Sequence[Evaluation], architectures: Sequence[str]
) -> dict[str, list[float | None]]:
    with open_results(folder) as results:
        kept = results.arrays("eigenvalues")
    networks = {one.architecture: (one.network, one.seed) for one in reversed(evaluations)}
    return {
        one: [_number(value) for value in kept[networks[one]]]
        for one in architectures
        if networks.get(one) in kept
    }


def _deciles(
    evaluations: Sequence[Evaluation], architectures: Sequence[str]
) -> list[list[float | None]]:
    known = {one.architecture: one.deciles for one in reversed(evaluations)}
    return [[_number(value) for value in known.get(one, ())] for one in architectures]


def _correlation(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Kendall's tau between every two values."""
    columns = mean_columns(evaluations)
    rankings = ranker(columns, [], ())(columns)
    if len(rankings) < 2 or len(evaluations) < 2:
        return {}
    table = correlations(rankings)
    return {
        "names": [str(name) for name in table.columns],
        "tau": [[_number(value) for value in row] for row in table.to_numpy()],
    }


def _agreement(evaluations: Sequence[Evaluation], accuracies: pd.DataFrame) -> list[dict[str, Any]]:
    rows = agreement_rows(agreements(evaluations, accuracies, bootstrap=0).results)
    kept = ("ranking", "dataset", "n", "kendall", "spearman", "ndcg")
    return [
        {key: value if isinstance(value, str) else _number(value) for key, value in row.items()}
        for row in ({key: row[key] for key in kept if key in row} for row in rows)
    ]


def _course(folder: Path) -> dict[str, Any]:
    """The aggregate of each child of an evolution, and the best so far."""
    table = load(folder).in_order()
    if table.empty:
        return {}
    return {
        "aggregate": _numbers(table["aggregate"]),
        "best": _numbers(table["best_so_far"]),
        "architectures": [str(name) for name in table.index],
    }


def _mixed(tally: Tally) -> dict[str, str]:
    kinds = tally.machine_classes
    return {"machines": f"{kinds} kinds, which differ in the last bits"} if kinds > 1 else {}


def _progress(tally: Tally) -> dict[str, Any]:
    return {
        "scored": tally.scored,
        "tasks": tally.tasks,
        "failures": [
            {"network": failure.network, "reason": failure.reason} for failure in tally.failures
        ],
    }
