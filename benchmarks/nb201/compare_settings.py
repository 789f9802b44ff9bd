"""Runs of NAS-Bench-201 under different settings: how well each ranks, and its cost.

    python benchmarks/nb201/compare_settings.py --truth accuracies.csv.gz BASE RUN [RUN ...]

Every run is compared with BASE over the networks and seeds that both scored. Agreement is Kendall's
tau-b between the two runs' VKDNW; cost is the median over networks of the ratio of their times, so
runs should be made one after the other on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import pandas as pd
from scipy.stats import kendalltau, spearmanr

from vkdnw.search.rankings import truth
from vkdnw.search.state.results import open_results

COLUMNS = ("vkdnw", "single", "layers")


def scores(folder: Path) -> pd.DataFrame:
    """One row per architecture and seed: values, and seconds of the network's score."""
    with open_results(folder) as results:
        rows = [
            {
                "arch": evaluation.architecture,
                "seed": evaluation.seed,
                "seconds": evaluation.seconds,
            }
            | {name: evaluation.values[name] for name in COLUMNS}  # noqa: PD011 - a dict, not a frame
            for evaluation in results.evaluations()
        ]
    return pd.DataFrame(rows).set_index(["arch", "seed"])


def compare(base: pd.DataFrame, run: pd.DataFrame, accuracies: pd.DataFrame) -> list[str]:
    """Agreement and cost against the base, then tau-b / rho of each column on each data set."""
    both = base.join(run.add_suffix("_run"), how="inner")
    agreement = kendalltau(both["vkdnw"], both["vkdnw_run"]).statistic
    ratio = statistics.median(both["seconds_run"] / both["seconds"])
    cells = [f"{len(both):5}", f"{agreement:9.3f}", f"{ratio:6.2f}"]
    by_architecture = both.groupby("arch").mean(numeric_only=True).join(accuracies, how="inner")
    for dataset in accuracies.columns:
        for column in COLUMNS:
            values = by_architecture[f"{column}_run"], by_architecture[dataset]
            tau, rho = kendalltau(*values).statistic, spearmanr(*values).statistic
            cells.append(f"{tau:6.3f}/{rho:5.3f}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("base", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    options = parser.parse_args()
    accuracies = truth.load(options.truth)
    base = scores(options.base)
    heads = [f"{column} {dataset}" for dataset in accuracies.columns for column in COLUMNS]
    print("run              n agreement   cost  " + "  ".join(f"{head:>12}" for head in heads))
    for folder in [options.base, *options.runs]:
        print(f"{folder.name:14}", *compare(base, scores(folder), accuracies))


if __name__ == "__main__":
    main()
