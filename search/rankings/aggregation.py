"""Aggregates: one ranking made of several, by sums of logarithms of ranks.

A network's rank under a value is its place among the networks of the table, 1 the worst; a sum of
logarithms of ranks punishes a low place under any part more than it rewards a high one (Lee and Ham
2024, "AZ-NAS", Section 3.3). The sum is data, a tuple of terms; `NAMED` holds the aggregates
of the paper's Table 1 and this package's own.

Ranks are taken over the rows of the table given: an aggregate is a property of a set of networks.
Undefined values are ranked, not dropped: NaN as the least value of its column. Infinities are
values like others here, below and above all finite ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vkdnw.search.rankings.term_weights import agreeing_weights, residual_weights

if TYPE_CHECKING:  # a command that ranks by a value need not wait for it
    import pandas as pd

Vector = NDArray[np.float64]
Weighing = Literal["fixed", "agreement", "residual"]


class AggregationError(ValueError):
    """An aggregate that is written wrongly, or that the table has no values for."""


@dataclass(frozen=True)
class Term:
    """One ranking of a sum."""

    columns: tuple[str, ...]
    """Names of values; of several, the later ones decide between networks equal in the earlier."""
    weight: float = 1.0
    dense: bool = False
    """Rank 1, 2, 3, ... by distinct values, rather than ties sharing the mean of their places."""


@dataclass(frozen=True)
class Aggregate:
    """A ranking made of several."""

    name: str
    terms: tuple[Term, ...]
    source: str = "named by the user"
    logarithm: bool = True
    """Sum log(rank); otherwise the ranks themselves."""
    share: bool = False
    """Divide ranks by the number of networks first, which changes the sum and not its order."""
    weighing: Weighing = "fixed"
    """Whether weights are taken as they are, times each term's agreement with the sum
    (`agreeing_weights`), or follow from the terms, the first of which is the size
    (`residual_weights`)."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The columns it needs, each once."""
        return tuple(dict.fromkeys(column for term in self.terms for column in term.columns))


VKDNW_SINGLE = Term(("layers", "vkdnw"), dense=True)
"""VKDNW_single as a part: VKDNW decides between networks of equal layer count."""

NAMED: Mapping[str, Aggregate] = {
    aggregate.name: aggregate
    for aggregate in (
        Aggregate(
            "te_nas",
            (Term(("ntk",)), Term(("linear_region",))),
            "Chen et al. 2021, TE-NAS: sum of ranks",
            logarithm=False,
        ),
        Aggregate(
            "az_nas",
            tuple(
                Term((part,)) for part in ("flops", "expressivity", "progressivity", "trainability")
            ),
            "Lee and Ham 2024, AZ-NAS, with FLOPs for complexity",
            share=True,
        ),
        Aggregate(
            "vkdnw_agg",
            (
                VKDNW_SINGLE,
                *(Term((part,)) for part in ("expressivity", "trainability", "flops", "jacov")),
            ),
            "Table 1 of the paper of VKDNW",
        ),
        Aggregate(
            "flow_agg",
            tuple(
                Term((part,))
                for part in ("flops", "expressivity", "trainability", "jacov", "synflow")
            ),
            "this package (docs/ranking.md): VKDNW_agg with SynFlow in VKDNW_single's place",
        ),
        Aggregate(
            "consensus_agg",
            (
                Term(("capacity",), 2.0),
                *(Term((part,)) for part in ("expressivity", "trainability", "jacov", "naswot")),
            ),
            "this package (docs/ranking.md): the agreement of the parts, in any search space",
            weighing="agreement",
        ),
        Aggregate(
            "residual_agg",
            tuple(
                Term((part,))
                for part in ("capacity", "expressivity", "trainability", "jacov", "naswot")
            ),
            "this package (docs/ranking.md): capacity, and what the other parts share beyond it",
            weighing="residual",
        ),
    )
}
"""The aggregates that `vkdnw evaluate` prints wherever their parts are on record."""


def aggregate_scores(table: pd.DataFrame, aggregate: Aggregate) -> pd.Series:
    """The aggregate of every row: float64, indexed as the table is, higher is better.

    Args:
        table: a column of numbers per value, a row per network. Every rank is among these rows.
        aggregate: the terms to sum.

    Raises:
        AggregationError: the table has no row, or not all the columns; the first that is missing.
    """
    for part in aggregate.parts:
        if part not in table.columns:
            raise AggregationError(
                f"{aggregate.name} needs {part!r}, which is not on record; known are "
                f"{', '.join(map(str, table.columns))}"
            )
    if table.empty:
        raise AggregationError(f"{aggregate.name} ranks the rows of a table, and this has none")
    import pandas as pd

    places, weights = places_and_weights(table, aggregate)
    # One term after the other: equal networks get equal sums whatever else is in the table.
    total = np.zeros(len(table))
    for weight, of_term in zip(weights, places, strict=True):
        total += weight * of_term
    return pd.Series(total, index=table.index, name=aggregate.name)


def places_and_weights(table: pd.DataFrame, aggregate: Aggregate) -> tuple[Vector, Vector]:
    """The summand of each term, ``[terms, networks]``, and the weights ``[terms]``; float64."""
    ranks = np.stack([term_ranks(table, term) for term in aggregate.terms])
    if aggregate.share:
        ranks /= len(table)
    places = np.log(ranks) if aggregate.logarithm else ranks
    weights = np.array([term.weight for term in aggregate.terms])
    if aggregate.weighing == "agreement":
        weights = agreeing_weights(places, weights)
    elif aggregate.weighing == "residual":
        weights = residual_weights(places)
    return places, weights


def scores_of_complete(
    networks: Sequence[Mapping[str, float]], aggregate: Aggregate
) -> dict[int, float]:
    """The aggregate of those networks that have all its parts, by their places in the list.

    Raises `AggregationError` for a part that no network has.
    """
    known = dict.fromkeys(name for network in networks for name in network)
    complete = [
        place for place, network in enumerate(networks) if network.keys() >= set(aggregate.parts)
    ]
    import pandas as pd

    table = pd.DataFrame([networks[place] for place in complete], complete, columns=list(known))
    return dict(zip(complete, map(float, aggregate_scores(table, aggregate)), strict=True))


def log_rank_sum(table: pd.DataFrame, weights: Mapping[str, float]) -> pd.Series:
    """``sum_v weights[v] * log(rank of v)``: any columns, ties sharing the mean of their places.

    Raises `AggregationError` as `aggregate_scores` does, and for weights that are 0 or not finite.
    """
    terms = tuple(Term((value,), _checked_weight(weight)) for value, weight in weights.items())
    if not terms:
        raise AggregationError("a log-rank sum needs at least one value; weights is empty")
    return aggregate_scores(table, Aggregate("log_rank_sum", terms))


def term_ranks(table: pd.DataFrame, term: Term) -> Vector:
    """Ranks of all rows under a term, 1 the worst; float64."""
    from scipy.stats import rankdata

    filled = [_without_nan(table[column].to_numpy(np.float64)) for column in term.columns]
    # Rows of distinct values come out in lexicographic order, the first column the slowest.
    _, below = np.unique(np.stack(filled, axis=1), axis=0, return_inverse=True)
    dense = below.ravel().astype(np.float64) + 1
    return dense if term.dense else np.asarray(rankdata(dense), np.float64)


def _without_nan(values: Vector) -> Vector:
    """The values with the least of them for NaN; all 0 where every one is NaN."""
    undefined = np.isnan(values)
    if undefined.all():
        return np.zeros_like(values)
    return np.where(undefined, values[~undefined].min(), values)


def undefined_rows(table: pd.DataFrame, aggregate: Aggregate) -> int:
    """How many rows have a part that is not finite."""
    parts = table[list(aggregate.parts)].to_numpy(np.float64)
    return int((~np.isfinite(parts)).any(axis=1).sum())


_NAME = r"[A-Za-z_][\w.]*"
_WEIGHING = re.compile(r"\s*(?P<weighing>agreement|residual)\((?P<terms>.*)\)\s*")
_TERM = re.compile(
    rf"\s*(?P<sign>[+-])?\s*(?:(?P<weight>\d+(?:\.\d*)?|\.\d+)\s*\*)?\s*"
    rf"(?:dense\((?P<dense>\s*{_NAME}(?:\s*,\s*{_NAME})*)\s*\)|(?P<value>{_NAME}))\s*"
)
FORM = (
    "NAME=TERM+TERM+..., NAME=agreement(TERM+TERM+...) or NAME=residual(SIZE+TERM+TERM+...), a "
    "term being VALUE, WEIGHT*VALUE or dense(VALUE,VALUE)"
)


def parse(text: str) -> Aggregate:
    """Read an aggregate such as ``mine=expressivity+2*jacov-0.5*flops+dense(layers,vkdnw)``.

    ``dense(a,b)`` is the dense rank by a, and by b between networks of equal a. A term after a
    minus sign is subtracted. ``agreement(...)`` around the terms weighs them by `agreeing_weights`,
    ``residual(size+...)`` by `residual_weights`.

    Raises `AggregationError` that names the position of the error.
    """
    name, equals, body = text.partition("=")
    weighed = _WEIGHING.fullmatch(body)
    start = len(name) + 1 + (weighed.start("terms") if weighed else 0)
    if weighed:
        body = weighed["terms"]
    if not equals or not re.fullmatch(_NAME, name.strip()):
        raise AggregationError(f"an aggregate is {FORM}; got {text!r}")
    terms: list[Term] = []
    position = 0
    while position < len(body) or not terms:
        match = _TERM.match(body, position)
        if match is None or (terms and not match["sign"]):
            at = start + position
            raise AggregationError(f"position {at} of {text!r} has no term; the form is {FORM}")
        terms.append(_term(match))
        position = match.end()
    weighing = _weighing(weighed["weighing"] if weighed else "fixed", terms, text)
    return Aggregate(name.strip(), tuple(terms), weighing=weighing)


def _weighing(name: str, terms: Sequence[Term], text: str) -> Weighing:
    if name == "agreement":
        if any(term.weight < 0 for term in terms):
            raise AggregationError(f"agreement() takes no term after a minus sign, got {text!r}")
        return "agreement"
    if name == "residual":
        if any(term.weight != 1 for term in terms):
            raise AggregationError(
                f"residual() sets all weights itself; it takes none, got {text!r}"
            )
        if len(terms) < 3:
            raise AggregationError(
                f"residual() needs a size and two terms or more beside it, got {text!r}"
            )
        return "residual"
    return "fixed"


def _term(match: re.Match[str]) -> Term:
    weight = _checked_weight(float(match["weight"] or 1) * (-1 if match["sign"] == "-" else 1))
    if match["dense"]:
        return Term(tuple(map(str.strip, match["dense"].split(","))), weight, dense=True)
    return Term((match["value"],), weight)


def describe(aggregate: Aggregate) -> str:
    """The terms as `parse` reads them."""
    terms = "+".join(map(_written, aggregate.terms)).replace("+-", "-")
    return terms if aggregate.weighing == "fixed" else f"{aggregate.weighing}({terms})"


def _written(term: Term) -> str:
    values = f"dense({','.join(term.columns)})" if term.dense else "".join(term.columns)
    return values if term.weight == 1 else f"{term.weight:g}*{values}"


def _checked_weight(weight: float) -> float:
    if weight == 0 or not math.isfinite(weight):
        raise AggregationError(f"a weight must be finite and not 0, got {weight}")
    return weight


def known(aggregates: Iterable[Aggregate], columns: Iterable[str]) -> list[Aggregate]:
    """Those of the aggregates whose parts are all among the columns."""
    names = set(columns)
    return [aggregate for aggregate in aggregates if names.issuperset(aggregate.parts)]
