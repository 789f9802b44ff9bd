"""Statistics of stored Fisher spectra: values that need no further scoring."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vkdnw.search.tasks import Evaluation

RANK_TOLERANCE = 1e-11
"""Eigenvalues below this share of the largest count as zero.

Jacobians in float32 are off by 1e-6 to 1e-5 of their size, which puts the smallest eigenvalues that
can be told from zero at the square of that. Between 1e-12 and 1e-9 rankings hardly change.
"""

Spectra = Mapping[tuple[str, int], Sequence[float]]
"""(network, seed) -> eigenvalues, as `Results.arrays("eigenvalues")` gives them."""


def fisher_rank(eigenvalues: Sequence[float]) -> float:
    """The numerical rank of a Fisher matrix: how many of its parameters act independently.

    Parallel layers whose parameters move the logits alike, and layers behind dead ones, add
    parameters without adding rank. 0 for a spectrum of zeros.
    """
    spectrum = np.abs(np.asarray(eigenvalues, dtype=np.float64))
    highest = spectrum.max(initial=0.0)
    return float(np.count_nonzero(spectrum > RANK_TOLERANCE * highest)) if highest > 0 else 0.0


def with_spectral_values(evaluations: Sequence[Evaluation], spectra: Spectra) -> list[Evaluation]:
    """The evaluations with `fisher_rank` among the values, where their spectrum was kept."""
    ranks = {key: fisher_rank(spectrum) for key, spectrum in spectra.items()}
    found = []
    for one in evaluations:
        rank = ranks.get((one.network, one.seed))
        more = {} if rank is None else {"fisher_rank": rank}
        found.append(replace(one, values={**one.values, **more}))
    return found
