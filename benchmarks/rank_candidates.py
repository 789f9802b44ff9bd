"""The second round of rankings: candidates on halves to choose on, and on what was seen once.

    python benchmarks/rank_candidates.py --truth FOLDER

Counts and the wiring of the graph are taken from networks that are built here; other parts are read
from `results/`. `docs/ranking.md` has the protocol, which was written before any figure was seen.
"""

import argparse
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rank_spaces import TRUTHS, scores_and_accuracies
from scipy.stats import kendalltau, norm, rankdata

from vkdnw.proxies.flop_count import forward_products
from vkdnw.search.rankings.metrics import fill_undefined
from vkdnw.search.spaces import registry

Vector = NDArray[np.float64]

SIZES: Mapping[str, Mapping[str, Any]] = {
    "nb101": {"channels": 16, "resolution": 16},
    "transnas_micro": {"channels": 16, "resolution": 64, "classes": 10},
    "transnas_macro": {"channels": 16, "resolution": 64, "classes": 10},
    "darts": {"resolution": 16},
    "autoformer_t": {"network": "autoprox"},
}
"""Sizes of the networks of `results/`, where they are not the space's own."""

CHOICE = {
    "nb201": "cifar10",
    "nb101": "test_accuracy",
    "transnas_micro": "class_scene",
    "mnasnet": "top1",
    "autoformer_t": "c100_kd_acc",
}
"""The spaces to choose on, one half of each, and the data set."""

NETWORKS = 300
"""Of a space, at most: the first of the table in an order drawn at random."""


# ---- counts, and how the graph is wired --------------------------------------------------------

WEIGHTED = ("ConvolutionBackward0", "AddmmBackward0", "MmBackward0", "BmmBackward0")
Paths = tuple[float, float, float, float]


def wiring(logits: torch.Tensor, images: torch.Tensor) -> Paths:
    """Of the paths from images to logits: log of their number, mean length, greatest length, and
    mean length over random walks back that take every input of an operator alike. The length is
    the number of convolutions and matrix products.
    """
    found: dict[Any, Paths | None] = {}
    stack = [(logits.grad_fn, False)]
    while stack:
        node, ready = stack.pop()
        if node in found:
            continue
        before = [one for one, _ in node.next_functions if one is not None]
        if not ready:
            stack += [(node, True), *((one, False) for one in before if one not in found)]
        elif type(node).__name__ == "AccumulateGrad":
            found[node] = (1.0, 0.0, 0.0, 0.0) if node.variable is images else None
        else:
            found[node] = _joined([found[one] for one in before], type(node).__name__)
    number, mean, longest, walk = found[logits.grad_fn] or (1.0, 0.0, 0.0, 0.0)
    return float(np.log(number)), mean, longest, walk


def _joined(before: Sequence[Paths | None], name: str) -> Paths | None:
    reached = [one for one in before if one is not None]
    if not reached:
        return None
    own = 1.0 if name in WEIGHTED else 0.0
    number = sum(one[0] for one in reached)
    mean = sum(one[0] * one[1] for one in reached) / number
    walk = sum(one[3] for one in reached) / len(reached)
    return number, mean + own, max(one[2] for one in reached) + own, walk + own


def structure(space: Any, architecture: str) -> dict[str, float]:
    """Counts and wiring of a network."""
    torch.manual_seed(0)
    model = space.build(architecture).eval()
    images = torch.zeros(1, 3, space.resolution, space.resolution)
    rows = [(one.positions, one.fan_in, one.channels) for one in forward_products(model, images)]
    p, f, n = np.array(rows, np.float64).T
    found = {
        f"count_{a}_{b}_{c}": float((p**a * f**b * n**c).sum())
        for a, b, c in ((0.2, 0.6, 0), (0.2, 0.4, 0.2), (0.2, 0.3, 0.3), (0.2, 0.2, 0), (0.2, 0, 1))
    }
    found["log_count"] = float(np.log(p * f * n).sum())
    found["log_fan_in"] = float(np.log(f).sum())
    found["four_counts"] = float(
        np.log(len(p)) + np.log((f * n).sum()) + np.log((p * f * n).sum()) + np.log((p * n).sum())
    )
    names = ("paths", "mean_path", "longest_path", "walk")
    images.requires_grad_()
    return found | dict(zip(names, wiring(model(images), images), strict=True))


# ---- sums ------------------------------------------------------------------------------------


def log_ranks(values: Vector) -> Vector:
    return np.log(rankdata(_filled(values)))


def normal_scores(values: Vector) -> Vector:
    return np.asarray(norm.ppf((rankdata(_filled(values)) - 0.5) / len(values)), np.float64)


def _filled(values: Vector) -> Vector:
    return np.zeros_like(values) if np.isnan(values).all() else fill_undefined(values)


def agreement(places: Vector, weights: Vector, power: int = 1, anchor: bool = False) -> Vector:
    """Weights times the power of the correlation with the sum, or with the first part."""
    centred = places - places.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    found = np.where(lengths > 0, weights, 0.0)
    for _ in range(30):
        total = centred[0] if anchor else found @ centred
        scale = np.where(lengths > 0, lengths, 1.0) * np.linalg.norm(total)
        found = np.where(lengths > 0, weights * np.maximum(centred @ total / scale, 0) ** power, 0)
    return np.asarray(found @ places, np.float64)


def one_factor(places: Vector, weights: Vector) -> Vector:
    """Each part times loading / (1 - loading^2) of the model x = loading * factor + noise."""
    spread = places.std(axis=1)
    kept = places[spread > 0] / spread[spread > 0, None]
    correlation, shared = np.corrcoef(kept), np.full(len(kept), 0.5)
    for _ in range(200):
        np.fill_diagonal(correlation, shared)
        values, vectors = np.linalg.eigh(correlation)
        loading = vectors[:, -1] * np.sqrt(values[-1]) * np.sign(vectors[:, -1].sum())
        shared = np.clip(loading**2, 0.01, 0.95)
    loading = np.clip(loading, 0, 0.975)
    return np.asarray((weights[spread > 0] * loading / (1 - loading**2)) @ kept, np.float64)


def residuals(places: Vector, weights: Vector, share: float = 0.5) -> Vector:
    """The first part, and the agreement of the others' residuals against it."""
    centred = places - places.mean(axis=1, keepdims=True)
    size = centred[0] / centred[0].std()
    left = centred[1:] - np.outer(centred[1:] @ size / len(size), size)
    spread = left.std(axis=1, keepdims=True)
    left = np.divide(left, spread, out=np.zeros_like(left), where=spread > 1e-9)
    return weights[0] * size + share * agreement(left, weights[1:])


@dataclass(frozen=True)
class Sum:
    """A candidate: weights of its parts, how parts become places, and how places are summed."""

    weights: Mapping[str, float]
    combine: Callable[..., Vector] = agreement
    options: Mapping[str, Any] | None = None
    places: Callable[[Vector], Vector] = log_ranks

    def scores(self, table: pd.DataFrame) -> Vector:
        places = np.stack([self.places(table[name].to_numpy(np.float64)) for name in self.weights])
        weights = np.array(list(self.weights.values()), np.float64)
        return self.combine(places, weights, **(self.options or {}))


def parts(size: str = "capacity", patterns: str = "naswot", **more: float) -> dict[str, float]:
    """The parts of `consensus_agg`, with another count, NASWOT or weights, and more parts."""
    weights = {size: 2.0, "expressivity": 1.0, "trainability": 1.0, "jacov": 1.0, patterns: 1.0}
    return weights | more


LAYERS = "naswot_layers"
SUMS: Mapping[str, Sum] = {
    "consensus_agg": Sum(parts()),
    "count equal": Sum(parts(capacity=1)),
    "agreement^2": Sum(parts(), options={"power": 2}),
    "agreement^3": Sum(parts(), options={"power": 3}),
    "agreement with capacity": Sum(parts(), options={"anchor": True}),
    "one factor": Sum(parts(), one_factor),
    "normal scores": Sum(parts(), places=normal_scores),
    "residuals": Sum(parts(), residuals),
    **{
        f"count {name}": Sum(parts(name))
        for name in ("count_0.2_0.6_0", "count_0.2_0.4_0.2", "count_0.2_0.3_0.3")
    },
    **{
        f"count {name}": Sum(parts(name))
        for name in ("count_0.2_0.2_0", "count_0.2_0_1", "log_count", "log_fan_in", "four_counts")
    },
    **{
        f"plus {name}": Sum(parts(**{name: 1}))
        for name in ("paths", "mean_path", "longest_path", "walk", "layers", "parameters")
    },
    "layers": Sum(parts(patterns=LAYERS)),
    "layers, count equal": Sum(parts(patterns=LAYERS, capacity=1)),
    "layers, agreement^2": Sum(parts(patterns=LAYERS), options={"power": 2}),
    "layers, one factor": Sum(parts(patterns=LAYERS), one_factor),
    "layers, residuals": Sum(parts(patterns=LAYERS), residuals),
    "layers, twice": Sum(parts(patterns=LAYERS) | {LAYERS: 2}),
    "layers, count_0.2_0.6_0": Sum(parts("count_0.2_0.6_0", LAYERS)),
    "layers, count_0.2_0.6_0 equal": Sum(parts("count_0.2_0.6_0", LAYERS) | {"count_0.2_0.6_0": 1}),
    "layers and naswot": Sum(parts(**{LAYERS: 1})),
    "layers and naswot, half each": Sum(parts(naswot=0.5, **{LAYERS: 0.5})),
}
"""Every sum of the second round that the columns of `results/` can make."""

SINGLE = ("capacity", "naswot", LAYERS, "flops", "parameters", "layers", "log_count", "log_fan_in")
WIRING = ("paths", "mean_path", "longest_path", "walk")
COUNTS = ("count_0.2_0.6_0", "count_0.2_0.4_0.2", "count_0.2_0.3_0.3", "count_0.2_0_1")


# ---- the two looks ---------------------------------------------------------------------------


def table_of(space: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All parts of a space's networks, and accuracies."""
    columns, accuracies = scores_and_accuracies(space, folder)
    known = pd.DataFrame(dict(columns)).reindex(accuracies.index)
    known = known[known[LAYERS].notna() | known["naswot"].isna()] if LAYERS in known else known
    known = known.sample(min(NETWORKS, len(known)), random_state=0)
    built = registry.space(space, **SIZES.get(space, {}))
    shape = pd.DataFrame({arch: structure(built, arch) for arch in known.index}).T
    return known.join(shape), accuracies.loc[known.index]


def mean_tau(scores: Vector, accuracies: pd.DataFrame) -> float:
    """Over the data sets, of the networks with an accuracy."""
    found = []
    for name in accuracies:
        there = accuracies[name].notna().to_numpy()
        found.append(kendalltau(_filled(scores[there]), accuracies[name][there]).statistic)
    return float(np.mean(found))


def looks(space: str, accuracies: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The parts of a space's accuracies: those to choose on, and those to look at once."""
    chosen = CHOICE.get(space)
    if chosen is None:
        return {("once", space): accuracies}
    even = [zlib.crc32(arch.encode()) % 2 == 0 for arch in accuracies.index]
    odd = [not one for one in even]
    found = {
        ("choose", space): accuracies.loc[even, [chosen]],
        ("once", f"{space}, other half"): accuracies.loc[odd, [chosen]],
    }
    others = accuracies.drop(columns=chosen)
    return found | ({("once", f"{space}, other data"): others} if others.shape[1] else {})


def compared(table: pd.DataFrame, parted: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Tau-b of every candidate, a column for each look. Ranks are among all of the networks."""
    names = [n for n in (*SINGLE, *WIRING, *COUNTS) if n in table]
    scores = {f"only {n}": table[n].to_numpy(np.float64) for n in names}
    scores |= {name: one.scores(table) for name, one in SUMS.items()}
    rows = {}
    for name, one in scores.items():
        whole = pd.Series(one, table.index)
        rows[name] = {
            look: mean_tau(whole[part.index].to_numpy(), part) for look, part in parted.items()
        }
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True, help="folder of published tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for space in TRUTHS:
        table, accuracies = table_of(space, options.truth)
        found.append(compared(table, looks(space, accuracies)))
        print(f"{space}: {len(table)} networks", flush=True)
    whole = pd.concat(found, axis=1)
    for look, title in (("choose", "to choose on"), ("once", "looked at once")):
        one = whole[look].copy()
        one.insert(0, "mean", one.mean(axis=1, skipna=False))
        print(f"{title}:\n{one.sort_values('mean', ascending=False).round(3).to_string()}")


if __name__ == "__main__":
    main()
