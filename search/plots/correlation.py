"""How rankings agree with each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vkdnw.search.plots.figure import new_figure
from vkdnw.search.rankings.evaluation import Ranking
from vkdnw.search.rankings.metrics import fill_undefined, kendall

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def correlations(rankings: Sequence[Ranking]) -> pd.DataFrame:
    """Kendall's tau-b of every two rankings, over the architectures that all of them score."""
    scores = [ranking.scores for ranking in rankings]
    table = pd.concat(scores, axis=1, join="inner", keys=[ranking.name for ranking in rankings])
    columns = {name: fill_undefined(table[name].to_numpy(np.float64)) for name in table}
    rows = {
        a: {b: 1.0 if a == b else kendall(columns[a], columns[b]) for b in columns} for a in columns
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def draw_correlations(rankings: Sequence[Ranking]) -> "Figure":
    """The heat map of `correlations`, with the numbers in it."""
    table = correlations(rankings)
    side = 1.5 + 0.45 * len(table)
    figure = new_figure(side + 0.8, side)
    axes = figure.add_subplot()
    image = axes.imshow(table.to_numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
    ticks = range(len(table))
    axes.set_xticks(ticks, labels=list(table.columns), rotation=90)
    axes.set_yticks(ticks, labels=list(table.index))
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, ax=axes, shrink=0.7, label="Kendall tau-b")
    return figure
