"""Latencies of a device from a published table, known before a network is built.

For architectures that are not in the table a regression fitted to it can predict the latency, as an
option: a table has some thousand of 10^11 networks.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vkdnw.search.configuration import Json
from vkdnw.search.published_tables.catalogue import MS, TABLES
from vkdnw.search.published_tables.table import recognise
from vkdnw.search.rankings.truth import indexed, read_texts
from vkdnw.search.spaces.search_space import Cost, SearchSpace

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

FOLDS = 5
DRAWS = 2000
"""Networks drawn to see whether a table without a regression can be searched."""


@dataclass(frozen=True)
class LatencyCost(Cost):
    """A cost with the latency of a table."""

    latency: float
    """Seconds for one image; infinite where the table does not tell it."""


@dataclass(frozen=True)
class LatencyTable:
    """Seconds for one image on one device."""

    path: str
    """Of the file."""
    column: str
    digest: str
    """SHA-256 of the file."""
    seconds: Mapping[str, float]
    """By architecture."""
    equal: Mapping[str, float]
    """By network (the canonical string): the mean over equal ones, for strings not in `seconds`."""
    fitted: "Regression | None" = None
    """Predicts networks that are not in the table."""

    def teller(self, space: SearchSpace) -> Callable[[str], LatencyCost]:
        """A function that returns the cost of an architecture, latency included."""

        def tell(architecture: str) -> LatencyCost:
            cost, network = space.cost(architecture), space.canonical(architecture)
            known = self.seconds.get(architecture, self.equal.get(network))
            if known is None:
                known = math.inf if self.fitted is None else self.fitted.predict(network, cost)
            told = {name: asdict(cost)[name] for name in ("layers", "flops", "parameters")}
            return LatencyCost(**told, latency=known)

        return tell

    def settings(self) -> dict[str, Json]:
        """As a run records it."""
        return {
            "latency_file": self.path,
            "latency_table": f"{self.column} of {self.digest}",
            "latency_fit": self.fitted is not None,
        }


@dataclass(frozen=True)
class Regression:
    """Gradient-boosted trees on the characters of a string and on its costs.

    They are fitted to the logarithm of the latency, for strings that are all equally long.
    """

    model: "HistGradientBoostingRegressor"
    length: int
    error: float
    """The median relative error on rows that it was not fitted to, over five folds."""

    def predict(self, network: str, cost: Cost) -> float:
        """Seconds. Raises ValueError for a string of another length."""
        if len(network) != self.length:
            raise ValueError(f"{network!r} has {len(network)} characters, not {self.length}")
        return float(np.exp(self.model.predict(np.array([_features(network, cost)]))[0]))


def load(path: Path | str, column: str, space: SearchSpace, *, fit: bool = False) -> LatencyTable:
    """Read the latencies of a device.

    Args:
        path: a published table (`benchmarks.catalogue`), or any with a column ``arch``.
        column: of a published table, a latency or a throughput; of another, milliseconds.
        space: whose architectures these are.
        fit: predict networks that are not in the table by a regression.

    A figure that is not positive, or empty, is one that the device does not have. An architecture
    whose string is not in the table has the mean over the equal networks that are.

    Raises:
        ValueError: there is no such column, or it is no time; the space's networks are not in the
            table and no regression was asked for, or none can be fitted.
        TruthError: a ValueError; the table cannot be read.
    """
    path = Path(path)
    texts = read_texts(path)
    known = recognise(texts.columns, TABLES)
    table = indexed(path, texts, known, space)
    devices = {} if known is None else known.devices
    there = list(devices) if known else [name for name in table.columns if name != "arch"]
    if column not in there:
        raise ValueError(f"{path} has no device figure {column!r}; it has {', '.join(there)}")
    figures = pd.to_numeric(table[column], errors="coerce")
    figures = figures[figures > 0]
    seconds = figures * MS
    if column in devices:
        told = devices[column]
        if told.per is None:
            raise ValueError(f"{column} of {path} is no time: {told.means}")
        seconds = figures * told.per if told.direction == "lower" else told.per / figures
    equal = _by_name(seconds.groupby([space.canonical(arch) for arch in seconds.index]).mean())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fitted = _fit(equal, space) if fit else None
    return LatencyTable(str(path), column, digest, _by_name(seconds), equal, fitted)


def _by_name(seconds: "pd.Series[float]") -> dict[str, float]:
    return {str(name): float(value) for name, value in seconds.items()}


def check_covers(table: LatencyTable, draw: Callable[[], str], space: SearchSpace) -> None:
    """Raise ValueError where hardly any network of the space has a latency."""
    if table.fitted is not None:
        return
    if not any(space.canonical(draw()) in table.equal for _ in range(DRAWS)):
        raise ValueError(
            f"of {DRAWS:,} networks drawn, none is among the {len(table.equal):,} of the latency "
            "table; ask for a regression fitted to it (--latency-fit, latency_fit=True)"
        )


def _fit(seconds: Mapping[str, float], space: SearchSpace) -> Regression:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    lengths = {len(network) for network in seconds}
    if len(lengths) != 1 or len(seconds) < 10 * FOLDS:
        raise ValueError(
            f"no regression can be fitted to {len(seconds)} networks of {space.name} whose strings "
            f"have {len(lengths)} different lengths: it needs {10 * FOLDS} of one length"
        )
    features = np.array([_features(network, space.cost(network)) for network in seconds])
    logs = np.log(np.array(list(seconds.values())))
    model = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.1, random_state=0)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    predicted: NDArray[Any] = cross_val_predict(model, features, logs, cv=folds)
    error = float(np.median(np.abs(np.expm1(predicted - logs))))
    return Regression(model.fit(features, logs), lengths.pop(), error)


def _features(network: str, cost: Cost) -> Sequence[float]:
    return [*map(float, map(ord, network)), cost.flops, cost.parameters, cost.layers]
