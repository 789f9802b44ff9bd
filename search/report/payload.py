"""Everything that the page shows of a run, as one JSON value.

Columns instead of rows, and numbers of six digits: 15,625 architectures take a few megabytes.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from vkdnw.search.errors import RunError
from vkdnw.search.evaluation import Evaluation
from vkdnw.search.plots.correlation import correlations
from vkdnw.search.rankings.compare import agreement_rows, agreements, ranker, truth_frame
from vkdnw.search.rankings.scores import mean_columns
from vkdnw.search.report.diagram import Diagram, diagram_of
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.results import open_results

if TYPE_CHECKING:
    from vkdnw.search.api.run import Run
    from vkdnw.search.api.setup import PathLike

    Truth: TypeAlias = PathLike | pd.DataFrame | pd.Series[float] | Mapping[str, float]

SPECTRA = 200
"""So many of the best networks keep their whole spectra; all others have their deciles."""
DIGITS = 6


def payload(run: Run, by: str | None = None, truth: Truth | None = None) -> dict[str, Any]:
    """The page's content.

    Args:
        run: with at least one score.
        by: what the table is ranked by; see :meth:`Run.top`.
        truth: trained accuracies; see :meth:`Run.evaluate`.

    Raises:
        RunError: nothing is scored yet.
    """
    evaluations = run.evaluations()
    if not evaluations:
        raise RunError(f"{run.folder} has no scores yet")
    ranked = run.ranking(by)
    frame = pd.DataFrame({row.architecture: row.values for row in ranked.rows}).T  # noqa: PD011
    columns = {str(name): _numbers(frame[name]) for name in frame}
    architectures = [str(name) for name in frame.index]
    space = _space_of(run)
    accuracies = None if truth is None else truth_frame(truth, run.space, architectures)
    if accuracies is not None:
        known = accuracies.reindex(frame.index)
        columns |= {f"truth: {name}": _numbers(known[name]) for name in known}
    return {
        "title": f"{run.settings.get('space', 'networks')}: {len(frame):,} networks",
        "by": ranked.by,
        "architectures": architectures,
        "columns": columns,
        "costs": [name for name in ("flops", "parameters", "layers", "latency") if name in columns],
        "truths": [] if accuracies is None else [f"truth: {name}" for name in accuracies],
        "diagrams": _diagrams(space, architectures),
        "spectra": _spectra(run, architectures[:SPECTRA]),
        "deciles": _deciles(evaluations, architectures),
        "correlation": _correlation(evaluations),
        "agreement": [] if accuracies is None else _agreement(evaluations, accuracies),
        "course": _course(run),
        "settings": {name: _text(value) for name, value in sorted(run.settings.items())},
        "versions": {name: _text(value) for name, value in sorted(_versions(run).items())},
        "command": command(run),
        "tally": _tally(run),
    }


def command(run: Run) -> str:
    """The command that goes on with the run, and repeats it elsewhere with another --out."""
    settings = run.settings
    how = "--evolve" if run.is_evolution else str(settings.get("architectures", ""))
    words = ["vkdnw", "search", str(settings.get("space", "")), "--out", str(run.folder)]
    return f"{shlex.join(words)} {how}".rstrip()


def _space_of(run: Run) -> SearchSpace | None:
    try:
        return run.space
    except RunError:  # a space of the user's own that is not importable here
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


def _spectra(run: Run, architectures: Sequence[str]) -> dict[str, list[float | None]]:
    with open_results(run.folder) as results:
        kept = results.arrays("eigenvalues")
    networks = {one.architecture: (one.network, one.seed) for one in run.evaluations()[::-1]}
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


def _course(run: Run) -> dict[str, Any]:
    """The aggregate of each child of an evolution, and the best so far."""
    if not run.is_evolution:
        return {}
    table = run.history()
    if table.empty:
        return {}
    return {
        "aggregate": _numbers(table["aggregate"]),
        "best": _numbers(table["best_so_far"]),
        "architectures": [str(name) for name in table.index],
    }


def _versions(run: Run) -> Mapping[str, Any]:
    with open_results(run.folder) as results:
        return results.versions()


def _tally(run: Run) -> dict[str, Any]:
    tally = run.tally()
    return {
        "scored": tally.scored,
        "tasks": tally.tasks,
        "failures": [
            {"network": failure.network, "reason": failure.reason} for failure in tally.failures
        ],
    }
