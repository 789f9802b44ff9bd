"""Scores as columns: one series per value, over the architectures that have it.

A value that is undefined (NaN) is in its series; an architecture for which a value was not computed
(yet) is not. A table with gaps could not tell the two apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vkdnw.search.rankings.spectrum_statistics import with_spectral_values
from vkdnw.search.state.results import open_results
from vkdnw.search.tasks import Evaluation

Columns = Mapping[str, pd.Series]
"""Value -> its scores: float64, indexed by ``arch``."""


def load_evaluations(source: Path) -> list[Evaluation]:
    """The values of every architecture under every seed, statistics of its spectrum included.

    ``source`` is the folder of a run or a table that `published.write` made.

    Raises:
        StoreError: there is no run, or it cannot be read.
        exported_scores.ScoreTableError: a ValueError; the table is invalid.
    """
    from vkdnw.search.rankings import exported_scores

    if source.is_file():
        return exported_scores.read(source)
    with open_results(source) as results:
        return with_spectral_values(results.evaluations(), results.arrays("eigenvalues"))


def mean_columns(evaluations: Iterable[Evaluation]) -> Columns:
    """Each value's mean over the seeds it is known under; NaN where it is undefined under one."""
    readings: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for evaluation in evaluations:
        values = evaluation.values  # noqa: PD011 - no data frame's
        for name, value in values.items():
            readings[name][evaluation.architecture].append(value)
    return {name: _series(name, by_arch) for name, by_arch in readings.items()}


def columns_by_seed(evaluations: Iterable[Evaluation]) -> dict[int, Columns]:
    """The columns of each seed by itself."""
    by_seed: defaultdict[int, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        by_seed[evaluation.seed].append(evaluation)
    return {seed: mean_columns(group) for seed, group in sorted(by_seed.items())}


def complete_table(columns: Columns, names: Sequence[str]) -> pd.DataFrame:
    """The named columns side by side, over the architectures that have all of them."""
    return pd.concat([columns[name] for name in names], axis=1, join="inner", keys=list(names))


def _series(name: str, by_arch: Mapping[str, list[float]]) -> pd.Series:
    with np.errstate(invalid="ignore"):  # inf - inf is NaN: undefined
        means = [np.mean(values) for values in by_arch.values()]
    index = pd.Index(by_arch.keys(), name="arch")
    return pd.Series(means, index=index, name=name, dtype=np.float64)
