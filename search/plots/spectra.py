"""Fisher spectra of the networks with the highest and the lowest accuracy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vkdnw.search.plots.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = 20
FLOOR = 1e-12
"""Eigenvalues are shown down to this share of the largest in the picture."""


def draw_spectra(
    spectra: Mapping[str, Sequence[float]], accuracies: pd.Series, networks: int = NETWORKS
) -> "Figure":
    """Eigenvalues by their quantile, on a logarithmic scale, one line per network.

    Args:
        spectra: architecture -> eigenvalues, in any order.
        accuracies: one data set's, in percent, indexed by architecture.
        networks: how many of the best, and how many of the worst, are drawn.
    """
    ordered = accuracies.loc[[a for a in accuracies.index if a in spectra]].sort_values()
    count = min(networks, len(ordered) // 2)
    groups = {"best": ordered.index[len(ordered) - count :], "worst": ordered.index[:count]}
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    highest = max((max(spectra[a]) for group in groups.values() for a in group), default=1.0)
    for (name, group), colour in zip(groups.items(), ("tab:blue", "tab:red"), strict=True):
        for place, architecture in enumerate(group):
            values = np.sort(np.asarray(spectra[architecture], dtype=np.float64))
            label = f"{count} {name}, mean {ordered[group].mean():.1f} %" if place == 0 else None
            quantiles = np.linspace(0, 1, len(values))
            axes.plot(quantiles, values, color=colour, alpha=0.4, linewidth=0.9, label=label)
    axes.set_yscale("log")
    axes.set_ylim(highest * FLOOR, highest * 3)
    axes.set_xlabel("quantile")
    axes.set_ylabel("eigenvalue of the Fisher matrix")
    axes.set_title(f"Spectra at initialisation, by accuracy on {accuracies.name}")
    axes.legend()
    return figure
