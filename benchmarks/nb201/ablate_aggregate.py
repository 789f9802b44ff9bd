"""Why an aggregate ranks better than another: paired differences, parts taken out, split halves.

    python benchmarks/nb201/ablate_aggregate.py RUN --truth T --aggregate NAME [--against vkdnw_agg]

RUN is a run or a table of `vkdnw export`; NAME is a named aggregate, or one written as
`mine=expressivity+2*jacov`. Each line is a ranking and, for KT, SPR and nDCG, its value, the
difference from the other aggregate, and the 95 % percentile bootstrap interval of that difference:
both aggregates are judged on the same resampled architectures, so their common error cancels. Ranks
are taken once, over all architectures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vkdnw.search.rankings import truth
from vkdnw.search.rankings.aggregation import NAMED, Aggregate, aggregate_scores, describe, parse
from vkdnw.search.rankings.metrics import kendall, ndcg, spearman
from vkdnw.search.rankings.score_columns import complete_table, load_evaluations, mean_columns

Vector = NDArray[np.float64]


def variants(aggregate: Aggregate) -> Iterator[tuple[str, Aggregate]]:
    """The aggregate, then with each of its terms taken out."""
    yield aggregate.name, aggregate
    for place, term in enumerate(aggregate.terms):
        rest = aggregate.terms[:place] + aggregate.terms[place + 1 :]
        if rest:
            yield (
                f"without {describe(replace(aggregate, terms=(term,)))}",
                replace(aggregate, terms=rest),
            )


def metrics(scores: Vector, accuracies: Vector, top: int) -> Vector:
    """[3]: KT, SPR, nDCG."""
    return np.array(
        [kendall(scores, accuracies), spearman(scores, accuracies), ndcg(scores, accuracies, top)]
    )


def differences(
    ours: Vector, theirs: Vector, accuracies: Vector, top: int, resamples: int
) -> NDArray[np.float64]:
    """[resamples, 3]: differences of the metrics over the same resampled architectures."""
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        i = generator.integers(0, len(accuracies), len(accuracies))
        pair = (metrics(scores[i], accuracies[i], top) for scores in (ours, theirs))
        drawn.append(next(pair) - next(pair))
    return np.array(drawn)


def line(name: str, found: Vector, base: Vector, drawn: NDArray[np.float64]) -> str:
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    cells = (
        f"{found[k]:.4f} {found[k] - base[k]:+.4f} [{low[k]:+.4f}, {high[k]:+.4f}]"
        for k in range(3)
    )
    return f"{name:32} " + "   ".join(cells)


def halves(ours: Vector, theirs: Vector, accuracies: Vector, top: int, splits: int) -> Vector:
    """[3]: the share of random halves of the architectures in which ours is better."""
    generator = np.random.default_rng(1)
    better = np.zeros(3)
    for _ in range(splits):
        for half in np.array_split(generator.permutation(len(accuracies)), 2):
            pair = (metrics(scores[half], accuracies[half], top) for scores in (ours, theirs))
            better += next(pair) > next(pair)
    return better / (2 * splits)


def report(
    table: pd.DataFrame,
    accuracies: pd.Series,
    aggregate: Aggregate,
    against: Aggregate,
    options: argparse.Namespace,
) -> None:
    top = options.top
    true = accuracies.to_numpy()
    theirs = aggregate_scores(table, against).to_numpy()
    base = metrics(theirs, true, top)
    print(f"\n{accuracies.name}: {len(table):,} architectures, nDCG@{min(top, len(table))}")
    print(f"{against.name:32} " + "   ".join(f"{value:.4f}{'':27}" for value in base).rstrip())
    for name, variant in variants(aggregate):
        ours = aggregate_scores(table, variant).to_numpy()
        drawn = differences(ours, theirs, true, top, options.resamples)
        print(line(name, metrics(ours, true, top), base, drawn))
    ours = aggregate_scores(table, aggregate).to_numpy()
    shares = halves(ours, theirs, true, top, options.splits)
    print("better in random halves: " + "  ".join(f"{share:.0%}" for share in shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--aggregate", required=True)
    parser.add_argument("--against", default="vkdnw_agg")
    parser.add_argument("--dataset", action="append")
    parser.add_argument("--top", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()

    ours, theirs = (
        parse(text) if "=" in text else NAMED[text] for text in (options.aggregate, options.against)
    )
    columns = mean_columns(load_evaluations(options.run))
    table = complete_table(columns, list(dict.fromkeys(ours.parts + theirs.parts)))
    accuracies = truth.load(options.truth)
    table = table.loc[table.index.intersection(accuracies.index)]
    print(f"{ours.name} = {describe(ours)}\n{theirs.name} = {describe(theirs)}")
    for dataset in options.dataset or accuracies.columns:
        report(table, accuracies.loc[table.index, dataset], ours, theirs, options)


if __name__ == "__main__":
    main()
