"""The course of a search as a picture."""

from typing import TYPE_CHECKING

import numpy as np

from vkdnw.search.evolution.history import History
from vkdnw.search.plots.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEDIAN_SHARE = 20
"""The median is that of the latest twentieth of all networks."""


def draw_history(history: History, cost: str = "flops") -> "Figure":
    """Best and median aggregate against evaluations; and the front of the aggregate against cost.

    All aggregates are those among the networks of the whole search. Needs a history with networks.
    """
    scores = history.aggregates()
    figure = new_figure(11, 4.2)
    course, costs = figure.subplots(1, 2)
    evaluations = np.arange(1, len(scores) + 1)
    window = max(1, len(scores) // MEDIAN_SHARE)
    course.plot(evaluations, scores, ".", color="tab:grey", markersize=2, label="networks")
    course.plot(evaluations, scores.cummax().ffill(), color="tab:blue", label="best so far")
    course.plot(
        evaluations,
        scores.rolling(window, min_periods=1).median(),
        color="tab:orange",
        label=f"median of the last {window}",
    )
    course.set_xlabel("networks scored")
    course.set_ylabel("aggregate")
    course.legend(loc="lower right")
    unit, label = COSTS[cost]
    costs.plot(history.table[cost] / unit, scores, ".", color="tab:grey", markersize=2)
    edge = history.pareto_front(cost)
    costs.step(
        edge[cost] / unit, scores[edge.index], where="post", color="tab:blue", label="Pareto front"
    )
    costs.set_xlabel(label)
    costs.set_ylabel("aggregate")
    costs.legend(loc="lower right")
    return figure


COSTS = {
    "flops": (1e6, "MFLOPs"),
    "parameters": (1e6, "million parameters"),
    "latency": (1e-3, "milliseconds for one image"),
}
"""Cost -> unit, label."""
