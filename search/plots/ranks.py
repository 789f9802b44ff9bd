"""Predicted rank against true rank, a panel for each ranking."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from vkdnw.search.plots.figure import new_figure
from vkdnw.search.rankings.evaluation import Ranking
from vkdnw.search.rankings.metrics import fill_undefined, kendall

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS_A_ROW = 4
BINS = 40


def draw_ranks(rankings: Sequence[Ranking], accuracies: pd.Series) -> "Figure":
    """How many networks have a true rank (across) and a predicted rank (up); 1 is the best.

    ``accuracies`` are one data set's, indexed by architecture; each panel shows the architectures
    that have a score and an accuracy.
    """
    columns = min(PANELS_A_ROW, len(rankings))
    rows = math.ceil(len(rankings) / columns)
    figure = new_figure(3.2 * columns, 3.4 * rows)
    for place, ranking in enumerate(rankings, start=1):
        known = ranking.scores.index.intersection(accuracies.index, sort=False)
        scores = fill_undefined(ranking.scores.loc[known].to_numpy(np.float64))
        true = accuracies.loc[known].to_numpy(np.float64)
        axes = figure.add_subplot(rows, columns, place)
        axes.hist2d(rankdata(-true), rankdata(-scores), bins=BINS, cmin=1, cmap="viridis")
        axes.set_title(f"{ranking.name}: tau {kendall(scores, true):.3f}")
        axes.set_xlim(1, len(known))
        axes.set_ylim(1, len(known))
        axes.set_box_aspect(1)
    figure.supxlabel(f"true rank on {accuracies.name}")
    figure.supylabel("predicted rank")
    return figure
