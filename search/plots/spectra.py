"""Fisher spectra of the networks with the highest and the lowest accuracy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vkdnw.search.plots.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = 20
FLOOR = 1e-16
"""Shares of the largest eigenvalue below this, rounding of float32 Jacobians, are not shown."""


def draw_spectra(
    spectra: Mapping[str, Sequence[float]], accuracies: pd.Series, networks: int = NETWORKS
) -> "Figure":
    """Eigenvalues as shares of the largest, by their quantile, one line per network.

    Equal spectra (of architectures that are one network) are drawn once, those without a positive
    eigenvalue not at all.

    Args:
        spectra: architecture -> eigenvalues, in any order.
        accuracies: one data set's, in percent, indexed by architecture.
        networks: how many of the best, and how many of the worst, are drawn.
    """
    ordered = _different(spectra, accuracies)
    count = min(networks, len(ordered) // 2)
    groups = {"worst": ordered.iloc[:count], "best": ordered.iloc[len(ordered) - count :]}
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for (name, group), colour in zip(groups.items(), ("tab:red", "tab:blue"), strict=True):
        label: str | None = f"{count} {name}, mean {group.mean():.1f} %"
        for architecture in group.index:
            values = np.sort(np.asarray(spectra[architecture], dtype=np.float64))
            quantiles = np.linspace(0, 1, len(values))
            axes.plot(
                quantiles, values / values[-1], color=colour, alpha=0.5, linewidth=0.9, label=label
            )
            label = None  # once for the group
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, 3)
    axes.set_xlabel("quantile")
    axes.set_ylabel("eigenvalue, as a share of the largest")
    axes.set_title(f"Fisher spectra at initialisation, by accuracy on {accuracies.name}")
    if count:
        axes.legend()
    return figure


def _different(spectra: Mapping[str, Sequence[float]], accuracies: pd.Series) -> pd.Series:
    """Accuracies of architectures with different spectra, lowest first."""
    firsts: dict[tuple[float, ...], str] = {}
    for architecture in accuracies.index:
        spectrum = tuple(spectra.get(architecture, ()))
        if max(spectrum, default=0.0) > 0:
            firsts.setdefault(spectrum, architecture)
    return accuracies.loc[list(firsts.values())].sort_values()
