"""A search as one command's work on a run: what is on record is bred again, the rest is scored."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from vkdnw.search.configuration import Settings, versions
from vkdnw.search.errors import RunError
from vkdnw.search.evaluation import Failure, Scored, Task
from vkdnw.search.evolution.driver import Founder, Search, Values
from vkdnw.search.evolution.over_seeds import Known, OverSeeds, over_seeds
from vkdnw.search.evolution.plan import Plan
from vkdnw.search.executors import Executor, start
from vkdnw.search.interruption import Interruption
from vkdnw.search.progress import Expecting, Progress
from vkdnw.search.remaining import Remaining
from vkdnw.search.runner import Runner, Summary
from vkdnw.search.spaces.search_space import Cost, SearchSpace
from vkdnw.search.state.results import open_results
from vkdnw.search.state.store import Inputs, Store, open_store
from vkdnw.search.watching import OnOutcome, kept, watched


@dataclass(frozen=True)
class SearchRequest:
    """What to search, how, and where to keep it."""

    folder: Path
    space: SearchSpace
    plan: Plan
    settings: Settings
    """Everything that results depend on: of the space, of the plan, of the scoring."""
    inputs: Inputs
    """The plan's `score_seed`, with the SHA-256 of what networks see under it."""
    scorers: Sequence[Callable[[Task], Scored]]
    """What each worker process applies; they differ by their devices at most."""
    founder: Founder | None = None
    """Draws networks that have no parent; None samples the space."""
    cost: Callable[[str], Cost] | None = None
    """Tells the cost of an architecture, as of a table of latencies; None for the space's own."""
    in_this_process: bool = False
    """Score here, by the first of the scorers, and start no worker."""
    on_result: OnOutcome | None = None
    """Is told of every result, once it is on disk."""
    note: str | None = None
    """What the user should know of how it is run."""
    task_timeout: float | None = None
    """Seconds that a task may take in a worker of this machine; None for as long as it wants."""
    cluster: Callable[[Store, Callable[[str], None]], Executor[Task, Scored]] | None = None
    """Makes the executor of a cluster, which then scores instead of this machine."""
    own_code: Settings = field(default_factory=dict)
    """Where the space and the proxies come from that are not of this package (`provenance`)."""


def search(request: SearchRequest, progress: Progress, interruption: Interruption) -> Summary:
    """Go on with a search from wherever it is, and return what was done.

    Raises:
        ValueError: the plan bounds a cost that the space does not tell.
        RunError: see `open_store`, `Store.begin` and `Runner.run`.
    """
    space, plan = request.space, request.plan
    founder = request.founder or space.sample
    plan.budget.check((request.cost or space.cost)(founder(Random(0))))
    with open_store(request.folder) as store:
        for note in store.notes:
            progress.note(f"note: {note}")
        running = {**versions(), **request.own_code}
        for change in store.begin(request.settings, running, request.inputs):
            progress.note(f"note: since the last session, {change}; scores may differ")
        known, begun = on_record(request.folder, plan)
        driver = Search(
            space,
            plan,
            founder,
            ask=lambda asked: store.ask_soon(asked, plan.score_seeds, plan.names),
            known=known,
            cost=request.cost,
        )
        proposing = OverSeeds(driver, plan.score_seeds, begun) if plan.seeds > 1 else driver
        done = min(len(known), plan.evaluations) * plan.seeds
        progress.start(total=plan.evaluations * plan.seeds, done=done)
        remaining = Remaining({plan.names: plan.evaluations * plan.seeds - done})
        if isinstance(progress, Expecting):
            progress.expect(remaining)
        if request.note:
            progress.note(request.note)
        if request.cluster is not None:
            carrying_out = request.cluster(store, progress.note)
        else:
            carrying_out = start(
                request.scorers[: plan.in_flight],
                request.in_this_process,
                request.task_timeout,
                progress.note,
            )
        with closing(carrying_out) as executor:
            runner = Runner(executor, store, progress, interruption)
            summary = runner.run(watched(proposing, kept(remaining, request.on_result)))
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


def on_record(folder: Path, plan: Plan) -> tuple[Mapping[str, Values | Failure], Known]:
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
