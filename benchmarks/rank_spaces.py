"""One ranking for every search space: candidates side by side, leave-one-space-out, and ceilings.

    python benchmarks/rank_spaces.py --truth FOLDER [--scores fresh] [--picture FILE] [--json FILE]

Reads the tables of scores in `results/` (`scores.csv.gz` of each space, or another) and the
published accuracies in FOLDER (`vkdnw data` names the tables). Prints Kendall's tau-b of every
candidate in every space; how the sums differ from `consensus_agg` on the mean; for each space the
candidate that is best on the mean of the other spaces; and what a random forest reaches that knows
four fifths of the accuracies. Equal networks are one.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from vkdnw.search.prediction.networks import networks_of
from vkdnw.search.rankings import exported_scores, truth
from vkdnw.search.rankings.aggregation import (
    NAMED,
    Aggregate,
    aggregate_scores,
    parse,
    places_and_weights,
)
from vkdnw.search.rankings.metrics import fill_undefined, kendall
from vkdnw.search.rankings.score_columns import Columns, complete_table, mean_columns
from vkdnw.search.spaces import registry

RESULTS = Path(__file__).parents[1] / "results"

TRUTHS = {
    "nb201": ("nats_tss_test_accuracy.csv.gz", ("cifar10", "cifar100", "ImageNet16-120")),
    "nb101": ("nasbench101_sample.csv.gz", ("test_accuracy",)),
    "transnas_micro": ("transnas101_micro.csv.gz", ("class_scene", "jigsaw")),
    "transnas_macro": ("transnas101_macro.csv.gz", ("class_scene", "jigsaw")),
    "darts": ("nasbench301_new_tasks.csv.gz", ("val_svhn",)),
    "nb_macro": ("nb_macro_cifar10.csv.gz", ("test_accuracy",)),
    "mnasnet": ("mnasnet_imagenet.csv.gz", ("top1",)),
    "autoformer_t": ("vit_autoprox.csv.gz", ("c100_kd_acc",)),
    "pit": ("vit_autoprox.csv.gz", ("c100_kd_acc",)),
}
"""The published table of each space, and its data sets; the mean over these stands for the space.

Left out are data sets that no ranking orders: TransNAS's autoencoder, two of DARTS's tasks."""

COUNTS = ("parameters", "flops", "layers", "capacity")
PROXIES = (
    *("vkdnw", "single", "expressivity", "progressivity", "trainability", "jacov", "synflow"),
    *("naswot", "grad_norm", "snip", "swap", "meco", "l2_norm", "token_mixing", "naswot_layers"),
)
FLOW = "flops+expressivity+trainability+jacov+synflow"
CONSENSUS = {"capacity": 2, "expressivity": 1, "trainability": 1, "jacov": 1, "naswot": 1}

Spaces = Mapping[str, tuple[Columns, pd.DataFrame]]


def _sum(weights: Mapping[str, int]) -> str:
    return "+".join(name if one == 1 else f"{one}*{name}" for name, one in weights.items())


RESIDUAL = "+".join(CONSENSUS)


def _size(count: str) -> str:
    return RESIDUAL.replace("capacity", count)


def _without(part: str) -> Mapping[str, int]:
    return {name: weight for name, weight in CONSENSUS.items() if name != part}


AGGREGATES: Mapping[str, Aggregate] = {
    **{
        name: NAMED[name]
        for name in ("az_nas", "vkdnw_agg", "flow_agg", "consensus_agg", "residual_agg")
    },
    **{
        one.name: one
        for one in (
            parse(f"flow_agreement=agreement({FLOW})"),
            parse(f"consensus_plain={_sum(CONSENSUS)}"),
            parse(f"consensus_equal=agreement({_sum(dict.fromkeys(CONSENSUS, 1))})"),
            parse(f"consensus_synflow=agreement({_sum(CONSENSUS)}+synflow)"),
            parse(f"consensus_vkdnw=agreement({_sum(CONSENSUS)}+dense(layers,vkdnw))"),
            *(parse(f"without_{part}=agreement({_sum(_without(part))})") for part in CONSENSUS),
            parse(f"residual_progressivity=residual({RESIDUAL}+progressivity)"),
            parse(f"residual_layers=residual({RESIDUAL}+naswot_layers)"),
            parse(f"residual_vkdnw=residual({RESIDUAL}+dense(layers,vkdnw))"),
            *(parse(f"residual_of_{size}=residual({_size(size)})") for size in ("flops", "layers")),
            *(
                parse(f"residual_without_{part}=residual({'+'.join(_without(part))})")
                for part in list(CONSENSUS)[1:]
            ),
        )
    },
}
"""Every sum that is reported: those of others, this package's, and the ablations of the last."""


def scores_and_accuracies(
    space: str, folder: Path, scores: str = "scores"
) -> tuple[Columns, pd.DataFrame]:
    """Different networks of a space with an accuracy: values on record, and accuracies."""
    table, datasets = TRUTHS[space]
    evaluations = exported_scores.read(RESULTS / space / f"{scores}.csv.gz")
    made = registry.space(space)
    networks = networks_of(evaluations, made, by="flops")
    archs = [arch for row, equal in networks.equal.items() for arch in (row, *equal)]
    known = truth.for_architectures(folder / table, archs, made, datasets)
    accuracies = pd.DataFrame({name: networks.accuracies(known[name]) for name in datasets})
    accuracies = accuracies.dropna(how="all")
    columns = mean_columns(evaluations)
    return {
        name: one[one.index.isin(accuracies.index)] for name, one in columns.items()
    }, accuracies


def rankings(columns: Columns) -> dict[str, pd.Series]:
    """The scores of every candidate that is on record for a third of the networks or more."""
    most = max(map(len, columns.values()))
    columns = {name: one for name, one in columns.items() if len(one) >= most / 3}
    found = {name: columns[name] for name in (*COUNTS, *PROXIES) if name in columns}
    for name, aggregate in AGGREGATES.items():
        if columns.keys() >= set(aggregate.parts):
            found[name] = aggregate_scores(complete_table(columns, aggregate.parts), aggregate)
    return found


def taus(columns: Columns, accuracies: pd.DataFrame) -> dict[str, float]:
    """Tau-b of every candidate on record, the mean over the data sets."""
    return {name: _mean_tau(one, accuracies) for name, one in rankings(columns).items()}


def _mean_tau(scores: pd.Series, accuracies: pd.DataFrame) -> float:
    found = []
    for name in accuracies:
        true = accuracies[name].reindex(scores.index).dropna()
        filled = fill_undefined(scores.loc[true.index].to_numpy(np.float64))
        found.append(kendall(filled, true.to_numpy(np.float64)))
    return float(np.mean(found))


def weights(columns: Columns, aggregate: Aggregate) -> dict[str, float]:
    """The weights that follow from the parts: shares of their sum by agreement, and otherwise those
    of parts of deviation 1."""
    table = complete_table(columns, aggregate.parts)
    places, found = places_and_weights(table, aggregate)
    shown = found / found.sum() if aggregate.weighing == "agreement" else found * places.std(axis=1)
    names = (",".join(term.columns) for term in aggregate.terms)
    return dict(zip(names, shown, strict=True))


def differences(spaces: Spaces, resamples: int, seed: int = 0) -> pd.DataFrame:
    """The mean over the spaces of each sum's tau-b less that of `consensus_agg`: 95 % intervals.

    Networks are resampled in every space, the same for all candidates, whose scores stay what they
    are among all networks.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[list[float]]] = {name: [] for name in AGGREGATES}
    for columns, accuracies in spaces.values():
        scores = {name: one for name, one in rankings(columns).items() if name in AGGREGATES}
        common = sorted(set.intersection(*(set(one.index) for one in scores.values())))
        for name in drawn:
            drawn[name].append([])
        for _ in range(resamples):
            again = random.choice(common, len(common))
            true = accuracies.loc[again].reset_index(drop=True)
            for name, one in scores.items():
                drawn[name][-1].append(_mean_tau(one.loc[again].reset_index(drop=True), true))
    known = {name: found for name, found in drawn.items() if all(found)}  # in every space
    means = {name: np.mean(found, axis=0) for name, found in known.items()}
    less = {name: means[name] - means["consensus_agg"] for name in means if name != "consensus_agg"}
    return pd.DataFrame(
        {name: np.quantile(one, [0.025, 0.5, 0.975]) for name, one in less.items()}
    ).T


def ceiling(columns: Columns, accuracies: pd.DataFrame, trees: int = 300) -> float:
    """Tau-b of a random forest on all values, predicted in five folds, mean over the data sets."""
    whole = complete_table(columns, [n for n in columns if len(columns[n]) == len(accuracies)])
    ranks = whole.apply(lambda one: rankdata(fill_undefined(one.to_numpy(np.float64))))
    found = []
    for name in accuracies:
        true = accuracies[name].dropna()
        X, y = ranks.loc[true.index].to_numpy(np.float64), true.to_numpy(np.float64)
        predicted = np.zeros(len(y))
        for fitted, rest in KFold(5, shuffle=True, random_state=0).split(X):
            forest = RandomForestRegressor(trees, min_samples_leaf=2, random_state=0)
            predicted[rest] = forest.fit(X[fitted], y[fitted]).predict(X[rest])
        found.append(kendall(predicted, y))
    return float(np.mean(found))


def left_out(table: pd.DataFrame) -> pd.DataFrame:
    """For each space the candidate that is best on the mean of the others, and its tau there."""
    whole = table.dropna()
    rows = {}
    for space in table:
        chosen = whole.drop(columns=space).mean(axis=1).idxmax()
        rows[space] = {"chosen on the others": chosen, "tau": table.loc[chosen, space]}
    return pd.DataFrame(rows).T


def draw(table: pd.DataFrame, path: Path) -> None:
    """The table as a picture: a row for each candidate, the best on the mean first."""
    from matplotlib import pyplot as plt

    shown = table.drop(
        index=[n for n in table.index if n.startswith(("without", "consensus_", "residual_"))]
    )
    shown = pd.concat([table.loc[["residual_agg", "consensus_agg"]], shown])
    figure, axes = plt.subplots(figsize=(8.5, 0.32 * len(shown) + 1.2), layout="constrained")
    image = axes.imshow(shown, cmap="RdBu", vmin=-0.8, vmax=0.8, aspect="auto")
    axes.set_xticks(range(shown.shape[1]), shown.columns, rotation=30, ha="left")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(shown)), shown.index)
    for (row, column), value in np.ndenumerate(shown.to_numpy()):
        best = value == shown.iloc[:, column].max()
        ink = "white" if abs(value) > 0.55 else "black"
        text = "" if np.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8,
                  fontweight="bold" if best else "normal")  # fmt: skip
    figure.colorbar(image, label="Kendall's tau-b", shrink=0.5)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True, help="folder of published tables")
    parser.add_argument("--scores", default="scores", help="which table of each space that has it")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--picture", type=Path, help="draw the table here")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    spaces = {
        space: scores_and_accuracies(space, options.truth, options.scores)
        for space in TRUTHS
        if (RESULTS / space / f"{options.scores}.csv.gz").exists()
    }
    table = pd.DataFrame({space: taus(*found) for space, found in spaces.items()})
    table.insert(0, "mean", table.mean(axis=1, skipna=False))
    bounds = {space: ceiling(*found) for space, found in spaces.items() if space != "nb201"}
    counts = {space: len(accuracies) for space, (_, accuracies) in spaces.items()}
    print("networks:", counts)
    table = table.sort_values("mean", ascending=False)
    print(table.round(3).to_string())
    print("mean tau less that of consensus_agg: 2.5 %, median, 97.5 %")
    print(differences(spaces, options.resamples).round(3).to_string(header=False))
    for name in ("consensus_agg", "residual_agg"):
        of_parts = {space: weights(one[0], NAMED[name]) for space, one in spaces.items()}
        print(f"weights in {name}:")
        print(pd.DataFrame(of_parts).round(2).to_string())
    print(left_out(table.drop(columns="mean")).to_string())
    print("random forest, four fifths of the accuracies known:")
    print(pd.Series(bounds).round(3).to_frame().T.to_string())
    if options.picture:
        draw(table, options.picture)
    if options.json:
        found = {"networks": counts, "tau": table.to_dict(), "ceiling": bounds}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
