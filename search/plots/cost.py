"""The agreement of rankings with accuracies against their costs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vkdnw.search.plots.figure import new_figure
from vkdnw.search.rankings.evaluation import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNTS = ("layers", "flops", "parameters")
"""Follow from the architecture string, and take no time."""
MILLISECONDS = "milliseconds per network"
RELATIVE = "cost of a network, in those of VKDNW"
METRICS = {"kendall": "Kendall tau-b", "spearman": "Spearman rho", "ndcg": "nDCG"}


def read_costs(path: Path) -> dict[str, float]:
    """Ranking -> its cost in times VKDNW's, of the JSON that `benchmarks/proxies.py` writes.

    Raises:
        ValueError: the file cannot be read, or is something else.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        times = {str(row["proxy"]): float(row["times vkdnw"]) for row in rows}
        if not times:
            raise ValueError("no rows")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} holds no costs of proxies: {error!r}") from error
    if "vkdnw_single" in times:
        times["single"] = times["vkdnw_single"]
    return times | dict.fromkeys(COUNTS, 0.0)


LABEL_HEIGHT = 0.03
"""Of an axis; labels of lines that are closer would lie on one another."""


def draw_cost(
    results: Sequence[Result], costs: Mapping[str, float], unit: str = MILLISECONDS
) -> "Figure":
    """Each metric of one data set against the cost of a network, a point per ranking.

    ``costs`` holds the cost of every ranking drawn, in the unit that the axis names; one that costs
    nothing (a count) is drawn as a line across.
    """
    drawn = [result for result in results if result.ranking in costs]
    figure = new_figure(5 * len(METRICS), 4.5)
    for place, (metric, label) in enumerate(METRICS.items(), start=1):
        axes = figure.add_subplot(1, len(METRICS), place)
        values = {result.ranking: getattr(result, metric).value for result in drawn}
        for name, value in values.items():
            if costs[name] > 0:
                axes.scatter(costs[name], value, color="tab:blue", s=18)
                axes.annotate(
                    name, (costs[name], value), (4, 2), textcoords="offset points", fontsize=7
                )
        _draw_counts(axes, {name: value for name, value in values.items() if not costs[name] > 0})
        axes.set_xscale("log")
        axes.set_xlim(_limits([costs[result.ranking] for result in drawn]))
        axes.set_xlabel(unit)
        axes.set_ylabel(label)
    if drawn:
        figure.suptitle(f"Quality against cost on {drawn[0].dataset}")
    return figure


def _draw_counts(axes: "Axes", values: Mapping[str, float]) -> None:
    """A line for each; lines that nearly coincide have one label."""
    for value in values.values():
        axes.axhline(value, color="tab:grey", linewidth=0.8, linestyle="--")
    low, high = axes.get_ylim()
    labels: list[list[str]] = []
    for name in sorted(values, key=lambda name: values[name]):
        if labels and values[name] - values[labels[-1][-1]] < LABEL_HEIGHT * (high - low):
            labels[-1].append(name)
        else:
            labels.append([name])
    for names in labels:
        place = (0.01, values[names[-1]])
        axes.annotate(", ".join(names), place, xycoords=("axes fraction", "data"), fontsize=7)


def _limits(times: Sequence[float]) -> tuple[float, float]:
    """More than a decade, so that the scale has round numbers, and room for names to the right."""
    positive = [time for time in times if time > 0] or [1.0]
    return min(positive) / 3, max(positive) * 6
