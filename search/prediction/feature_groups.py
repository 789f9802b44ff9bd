"""The features of a model: spectra, training-free scores, graph features."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from vkdnw.search.prediction.graf import graf_features
from vkdnw.search.rankings.metrics import fill_undefined
from vkdnw.search.rankings.score_columns import complete_table, mean_columns
from vkdnw.search.tasks import Evaluation

SPECTRAL = ("vkdnw", "layers", "single", "fisher_rank")
"""The values that belong to VKDNW; all others on record are zero-cost scores (ZCS)."""

MODELS: Mapping[str, tuple[str, ...]] = {
    "graf_m": ("graf",),
    "vkdnw_m": ("vkdnw",),
    "vkdnw_zcs_m": ("vkdnw", "zcs"),
    "vkdnw_zcs_graf_m": ("vkdnw", "zcs", "graf"),
}
"""The model-driven rankings of the paper's Table 1, and the groups of features each sees."""


class FeatureError(ValueError):
    """Features that were asked for and are not on record."""


def model_features(evaluations: Sequence[Evaluation], model: str) -> pd.DataFrame:
    """The features of one of `MODELS`: finite float64, a row per architecture that has them all.

    Values are means over seeds; those that are not finite take the place that they have in a
    ranking (see `fill_undefined`).

    Raises:
        FeatureError: a group of features has nothing on record, or no architecture has them all.
    """
    groups = [_GROUPS[group](evaluations) for group in MODELS[model]]
    table = pd.concat(groups, axis=1, join="inner")
    if table.empty:
        raise FeatureError(f"no architecture has all the features of {model}")
    filled = {name: fill_undefined(table[name].to_numpy(np.float64)) for name in table.columns}
    return pd.DataFrame(filled, index=table.index)


def _vkdnw(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """VKDNW, the layer count, the spectrum's deciles, and the deciles as shares of their sum."""
    deciles = _mean_deciles(evaluations)
    values = _values(evaluations, lambda name: name in ("vkdnw", "layers"))
    if deciles.empty or "vkdnw" not in values:
        raise FeatureError("no VKDNW with its deciles is on record: score with the proxy vkdnw")
    total = deciles.sum(axis=1)
    shares = deciles.div(total.where(total > 0, 1), axis=0).add_prefix("share_")
    return pd.concat([values, deciles, shares], axis=1, join="inner")


def _zcs(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Every other value on record."""
    values = _values(evaluations, lambda name: name not in SPECTRAL)
    if values.empty:
        raise FeatureError("no training-free score besides VKDNW is on record")
    return values


def _graf(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    return graf_features(dict.fromkeys(e.architecture for e in evaluations))


_GROUPS = {"vkdnw": _vkdnw, "zcs": _zcs, "graf": _graf}


def _values(evaluations: Sequence[Evaluation], chosen: Callable[[str], bool]) -> pd.DataFrame:
    columns = mean_columns(evaluations)
    names = [name for name in columns if chosen(name)]
    return complete_table(columns, names) if names else pd.DataFrame()


def _mean_deciles(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    by_arch: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.deciles:
            by_arch[evaluation.architecture].append(evaluation.deciles)
    means = {arch: np.mean(rows, axis=0) for arch, rows in by_arch.items()}
    table = pd.DataFrame.from_dict(means, orient="index").rename_axis("arch")
    return table.set_axis([f"decile_{k}" for k in range(1, table.shape[1] + 1)], axis=1)
