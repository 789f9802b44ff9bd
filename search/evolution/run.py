"""A search as one command's work on a run: known children are bred again, new ones scored."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from vkdnw.search.errors import RunError
from vkdnw.search.evolution.driver import Founder, Search, Values
from vkdnw.search.evolution.mean_over_seeds import Known, OverSeeds, over_seeds
from vkdnw.search.evolution.search_plan import SearchPlan
from vkdnw.search.progress import Progress
from vkdnw.search.session import Session, begun, carry_out
from vkdnw.search.spaces.search_space import Cost, SearchSpace
from vkdnw.search.state.results import open_results
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.task_runner import Summary
from vkdnw.search.tasks import Failure
from vkdnw.search.time_remaining import Remaining


@dataclass(frozen=True, kw_only=True)
class SearchRequest(Session):
    """The space, the plan and the folder of a search; the inputs are those of the plan's seeds."""

    space: SearchSpace
    plan: SearchPlan
    founder: Founder | None = None
    """Draws networks that have no parent; None samples the space."""
    cost: Callable[[str], Cost] | None = None
    """Tells the cost of an architecture, as of a table of latencies; None for the space's own."""


def search(request: SearchRequest, progress: Progress, interruption: Interruption) -> Summary:
    """Go on with a search from wherever it is, and return the counts of this session.

    Raises:
        ValueError: the plan bounds a cost that the space does not tell.
        RunError: see `begun` and `carry_out`; or the search waits for a network that failed on this
            machine.
    """
    space, plan = request.space, request.plan
    founder = request.founder or space.sample
    plan.budget.check((request.cost or space.cost)(founder(Random(0))))
    with begun(request, progress) as store:
        known, partly = on_record(request.folder, plan)
        driver = Search(
            space,
            plan,
            founder,
            ask=lambda asked: store.ask_soon(asked, plan.score_seeds, plan.names),
            known=known,
            cost=request.cost,
        )
        proposing = OverSeeds(driver, plan.score_seeds, partly) if plan.seeds > 1 else driver
        done = min(len(known), plan.evaluations) * plan.seeds
        progress.start(total=plan.evaluations * plan.seeds, done=done)
        remaining = Remaining({plan.names: plan.evaluations * plan.seeds - done})
        most = plan.in_flight
        summary = carry_out(request, store, proposing, remaining, most, progress, interruption)
        if driver.undecided and not interruption.requested:
            network, failure = next(iter(driver.undecided.items()))
            raise RunError(
                f"the search waits for {network}, which failed for a reason of this machine "
                f"({failure.reason}): children after it depend on it. Give the same command again, "
                "with fewer workers or more memory"
            )
        if driver.exhausted:
            progress.note(
                f"the search ends after {len(driver.children)} networks: no new one within the "
                "budget was found"
            )
        return summary


def on_record(folder: Path, plan: SearchPlan) -> tuple[Mapping[str, Values | Failure], Known]:
    """The results that a search has already, by network; and those of networks that lack a seed.

    A failure of a network stands: it is not tried again, because the children after it were bred
    without it. One that was the machine's is tried again: no child was bred without it.
    """
    found: defaultdict[str, dict[int, Values | Failure]] = defaultdict(dict)
    with open_results(folder) as results:
        for evaluation in results.evaluations():
            values = evaluation.values
            if evaluation.seed in plan.score_seeds and set(plan.names) <= values.keys():
                found[evaluation.network][evaluation.seed] = values
        for failure in results.tally().failures:
            if failure.seed in plan.score_seeds and failure.blame == "network":
                found[failure.network][failure.seed] = Failure(failure.reason)
    known = {
        network: over_seeds([of_seeds[seed] for seed in plan.score_seeds])
        for network, of_seeds in found.items()
        if len(of_seeds) == plan.seeds
    }
    return known, {network: found[network] for network in found if network not in known}
