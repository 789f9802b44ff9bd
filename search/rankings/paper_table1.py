"""Table 1 of the paper (Tybl and Neumann, CVPR 2025), for comparison with the results here.

Over the 9,445 live architectures of NAS-Bench-201; means of five runs. Where the table has no
number, here is NaN.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One ranking against one data set; NaN where the paper gives no number."""

    kendall: float
    spearman: float
    ndcg: float


@cache
def table_1() -> Mapping[tuple[str, str], Published]:
    """(ranking, data set) -> the paper's numbers, under this package's names of rankings."""
    with (files("vkdnw.search.rankings") / "paper_table1.csv").open() as file:
        return {(row["ranking"], row["dataset"]): _published(row) for row in csv.DictReader(file)}


def _published(row: Mapping[str, str]) -> Published:
    return Published(*(float(row[name] or math.nan) for name in ("kendall", "spearman", "ndcg")))
