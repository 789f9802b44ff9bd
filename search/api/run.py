"""A run as an object: its settings, its results, and the networks themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkdnw.search.api.network import Network
from vkdnw.search.api.options import (
    EnumerationOptions,
    EvolutionOptions,
    PathLike,
    options_of,
)
from vkdnw.search.api.recorded_arguments import recorded_arguments
from vkdnw.search.configuration import Json, own_code
from vkdnw.search.errors import StoreError, argument_errors
from vkdnw.search.rankings.run_ranking import RunRanking, ranking_of
from vkdnw.search.spaces.recorded_space import recorded_space
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.results import Tally, open_results
from vkdnw.search.tasks import Evaluation

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """The run in a folder, read anew at every call, also while the search is going on.

    Raises:
        StoreError: the folder holds no run.
    """

    folder: Path
    known_space: SearchSpace | None = field(default=None, repr=False)
    """The space where the caller has it; otherwise it is made from the run's record."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        with open_results(self.folder):
            pass

    @property
    def settings(self) -> dict[str, Json]:
        """Everything that the last session was asked for, by name."""
        with open_results(self.folder) as results:
            return results.settings()

    @property
    def own_code(self) -> dict[str, str]:
        """Where the space and the proxies come from that are not of this package: module, package
        and version, file and its SHA-256, as of the last session that used them."""
        with open_results(self.folder) as results:
            return own_code(results.versions())

    @cached_property
    def space(self) -> SearchSpace:
        """The space, at the sizes at which its networks were scored.

        Raises RunError where it is a space that cannot be found here.
        """
        return recorded_space(self.settings) if self.known_space is None else self.known_space

    @property
    def is_evolution(self) -> bool:
        """Whether `evolve` made it, rather than `enumerate`."""
        return "strategy" in self.settings

    @property
    def ranked_by(self) -> str:
        """The value or aggregate that ranks its networks by default."""
        return ranking_of(self.folder).by

    def arguments(self) -> dict[str, Any]:
        """The arguments of the call that made it: of `enumerate`, or of `evolve`."""
        return recorded_arguments(self.folder)

    def resume(self, **changes: Any) -> "Run":
        """Go on with it, as the same call would.

        Args:
            **changes: arguments that are to be other ones: `workers`, `progress`, `on_result`, more
                `evaluations` or `seeds`.
        """
        from vkdnw.search.api.enumerating import enumerate_with
        from vkdnw.search.api.evolving import evolve_with  # loads pandas

        arguments = {**self.arguments(), **changes}
        if self.known_space is not None:
            sizes = [field.name for field in fields(type(self.known_space))]  # type: ignore[arg-type]
            arguments = {key: value for key, value in arguments.items() if key not in sizes}
            arguments["space"] = self.known_space
        if self.is_evolution:
            space = evolve_with(options_of(EvolutionOptions, arguments))
        else:
            space = enumerate_with(options_of(EnumerationOptions, arguments))
        return Run(self.folder, space)

    def tally(self) -> Tally:
        """How far the run is, and its failures."""
        with open_results(self.folder) as results:
            return results.tally()

    def evaluations(self) -> list[Evaluation]:
        """Every architecture under every seed, with statistics of its spectrum."""
        from vkdnw.search.rankings.score_columns import load_evaluations

        return load_evaluations(self.folder)

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each architecture and seed: `architecture`, `seed`, a column for each value,
        and `network` (which equal architectures share) and `seconds`. A value that was not
        computed is missing (NaN), as is one that is undefined.
        """
        import pandas as pd

        rows = [
            {
                "architecture": one.architecture,
                "seed": one.seed,
                **one.values,  # noqa: PD011 - no data frame
                "network": one.network,
                "seconds": one.seconds,
            }
            for one in self.evaluations()
        ]
        table = pd.DataFrame(rows)
        last = [name for name in ("network", "seconds") if name in table]
        return table[[name for name in table if name not in last] + last]

    def ranking(self, by: str | None = None) -> RunRanking:
        """Every network, best first; see :meth:`top`."""
        with argument_errors():
            return ranking_of(self.folder, by)

    def top(self, n: int = 10, by: str | None = None) -> "pd.DataFrame":
        """The best networks, a row each: the architecture, the value that ranks, other values.

        Args:
            n: how many.
            by: a value (`single`), an aggregate (`flow_agg`) or one written out
                (`mine=jacov+2*flops`); None for the run's own ranking. `top.attrs["by"]` says
                which.

        Values are means over seeds; under several, `std` is the deviation of the value that ranks.
        """
        import pandas as pd

        found = self.ranking(by)
        rows = [
            {
                "architecture": row.architecture,
                found.by: row.values.get(found.by),  # noqa: PD011 - no data frame
                **({"std": row.spread.get(found.by)} if len(row.seeds) > 1 else {}),
                **row.values,  # noqa: PD011 - no data frame
                "equal": len(row.equal),
            }
            for row in found.rows[:n]
        ]
        index = pd.RangeIndex(1, len(rows) + 1, name="rank")
        table = pd.DataFrame(rows, index=index)
        table.attrs["by"] = found.by
        return table

    def best(self, by: str | None = None) -> Network:
        """The best network, which can be built. Raises StoreError where nothing is scored yet."""
        found = self.ranking(by)
        if not found.rows:
            raise StoreError(f"{self.folder} has no scores yet")
        first = found.rows[0]
        return Network(first.architecture, self.space, first.values, found.by)

    def network(self, architecture: str) -> Network:
        """The network of an architecture of the run's space, scored or not."""
        from vkdnw.search.spaces.selection import read

        with argument_errors():
            text = read(self.space, architecture)
        rows = [row for row in self.ranking().rows if text in (row.architecture, *row.equal)]
        return Network(text, self.space, rows[0].values if rows else {}, None)  # noqa: PD011

    def evaluate(
        self,
        truth: "PathLike | pd.DataFrame | pd.Series[float] | Mapping[str, float]",
        *,
        datasets: Sequence[str] = (),
        rankings: Sequence[str] = (),
        aggregates: Sequence[str] = (),
        top: int = 1000,
        bootstrap: int = 200,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """How well every ranking agrees with accuracies: a row for each ranking and data set.

        Args:
            truth: a table's path, a frame indexed by architecture with a column for each data set,
                a series or a dict of accuracies in percent.
            datasets: only these columns of a table, with `:lower` or `:higher` after the name of
                one that is no accuracy in percent.
            rankings: only these values and aggregates; all on record otherwise.
            aggregates: written out, `mine=jacov+2*flops`.
            top: P of nDCG@P.
            bootstrap: resamples for the 95 % intervals (`kendall_low`, ...); 0 for none.
            seed: of the bootstrap and of the order of ties.

        Returns:
            `ranking`, `dataset`, `n`, `kendall` (tau-b), `spearman`, `ndcg`, `top_share` (of the
            true best 1 %, those among the ranking's), `partial_kendall` and `partial_spearman`
            (parameters held fixed), their intervals, `undefined` and `missing` architectures.
        """
        from vkdnw.search.rankings.run_evaluation import agreement_frame, agreements, truth_frame

        evaluations = self.evaluations()
        architectures = [one.architecture for one in evaluations]
        with argument_errors():
            return agreement_frame(
                agreements(
                    evaluations,
                    truth_frame(truth, self.space, architectures, datasets),
                    rankings=rankings,
                    aggregates=aggregates,
                    top=top,
                    bootstrap=bootstrap,
                    seed=seed,
                )
            )

    def history(self) -> "pd.DataFrame":
        """The networks of an evolution in the order in which they were bred.

        `aggregate`, `best_so_far`, `within_budget`, and every value; `front` where a Pareto front
        is sought. Raises StoreError for a run of listed architectures.
        """
        from vkdnw.search.evolution.history import load

        return load(self.folder).in_order()

    def __len__(self) -> int:
        """Networks scored under every seed."""
        return self.tally().scored

    def __repr__(self) -> str:
        settings, tally = self.settings, self.tally()
        kind = f"{settings['strategy']}" if "strategy" in settings else "scores"
        failed = f", {len(tally.failures)} failed" if tally.failures else ""
        return (
            f"Run({str(self.folder)!r}: {kind} of {settings.get('space', 'a space')}, "
            f"{tally.scored:,} of {tally.tasks:,} scored{failed})"
        )

    def report(
        self,
        path: PathLike,
        *,
        by: str | None = None,
        truth: "PathLike | pd.DataFrame | pd.Series[float] | Mapping[str, float] | None" = None,
    ) -> Path:
        """Write the run as one HTML page to explore, which needs no network.

        Args:
            path: of the page.
            by: as in :meth:`top`.
            truth: as in :meth:`evaluate`; the page then shows accuracies too.

        Raises ImportError where plotly or itables is missing (`pip install 'vkdnw[report]'`).
        """
        from vkdnw.search.report.page import write
        from vkdnw.search.report.page_data import payload

        with argument_errors():
            return write(payload(self.folder, self.known_space, by, truth), Path(path))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>{self.top(5).to_html(max_cols=8)}"


def open(path: PathLike) -> Run:  # noqa: A001
    """The run in a folder, for looking at; nothing is computed and nothing written.

    Raises:
        StoreError: there is no run; or the file is damaged, or a later version's.
    """
    return Run(Path(path))


__all__ = ["Run", "open"]
