"""Breeding networks while others are scored, with one result for any number of workers.

Children have numbers, and child i is bred from the results of children 0 to i - k alone, k being
`SearchPlan.in_flight`, with a generator seeded by the search's seed and i. Results are taken in the
order of numbers, whatever the order in which they come in. So every child is a function of the plan
and of earlier results: the same for one worker or a hundred, and for a search that was killed and
goes on. A run stores scores and nothing else; breeding it again finds the same children, whose
results are then on record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from vkdnw.search.evolution.search_plan import SearchPlan
from vkdnw.search.spaces.search_space import Cost, SearchSpace, figures
from vkdnw.search.tasks import Asked, Failure, Scored, Task

DRAWS = 10_000
"""Draws in a row that are over the budget or known already, after which there is nothing left."""

AT_ONCE = 250
"""Children proposed at once at most: workers get no tasks while children are bred."""

Values = Mapping[str, float]
Founder = Callable[[Random], str]


@dataclass(frozen=True)
class Child:
    """A network of a search."""

    architecture: str
    network: str
    cost: Cost


class Search:
    """The driver that breeds.

    Every child is a network that the search has not had before, within the budget as far as its
    string tells. A failed child has its number, counts as an evaluation, and never becomes a
    parent; unless the machine was at fault, which leaves it undecided.
    """

    def __init__(
        self,
        space: SearchSpace,
        plan: SearchPlan,
        founder: Founder,
        ask: Callable[[Sequence[Asked]], None],
        known: Mapping[str, Values | Failure],
        cost: Callable[[str], Cost] | None = None,
    ) -> None:
        """Search `space`.

        Args:
            space: to search.
            plan: how.
            founder: draws a network that has no parent.
            ask: records architectures before they are scored.
            known: the results on record already, by network.
            cost: tells the cost of an architecture; None for the space's own.
        """
        self.exhausted = False
        """Whether the search ended because no new network within the budget was found."""
        self.undecided: dict[str, Failure] = {}
        """Networks that failed for a reason of the machine. Nothing is bred past them: to breed
        without them would make another search than one that nothing happened to."""
        self._space, self._plan, self._founder, self._ask = space, plan, founder, ask
        self._known = known
        self._cost = cost or space.cost
        self._names, self._ranked = plan.names, plan.ranked
        self._strategy = plan.begin()
        self._children: list[Child] = []
        self._numbers: dict[str, int] = {}
        self._results: dict[int, Values | Failure] = {}  # not yet shown to the strategy
        self._shown = 0

    @property
    def children(self) -> Sequence[Child]:
        """All so far, by number."""
        return self._children

    def propose(self, room: int) -> Sequence[Task]:
        tasks: list[Task] = []
        asked: list[Asked] = []
        while len(tasks) < min(room, AT_ONCE) and (child := self._next()):
            if child.network in self._known:
                self._take(child.network, self._known[child.network])
                continue
            tasks.append(Task(child.network, self._plan.score_seed, self._names))
            asked.append(Asked(child.architecture, child.network, figures(child.cost)))
        if asked:
            self._ask(asked)
        return tasks

    def observe(self, task: Task, result: Scored | Failure) -> None:
        if isinstance(result, Failure) and result.blame == "machine":
            self.undecided[task.network] = result
        else:
            self._take(task.network, result.values if isinstance(result, Scored) else result)

    def _take(self, network: str, result: Values | Failure) -> None:
        self._results[self._numbers[network]] = result

    def _next(self) -> Child | None:
        """The next child, once the results of its possible parents are known."""
        number = len(self._children)
        if self.exhausted or number == self._plan.evaluations:
            return None
        if not self._show_until(number - self._plan.in_flight + 1):
            return None
        child = self._breed(number)
        if child is None:
            self.exhausted = True
            return None
        self._numbers[child.network] = number
        self._children.append(child)
        return child

    def _show_until(self, number: int) -> bool:
        """Show the strategy all results of children before `number`; False if one is missing."""
        while self._shown < number:
            if self._shown not in self._results:
                return False
            result = self._results.pop(self._shown)
            if not isinstance(result, Failure) and self._plan.budget.admits_measured(result):
                self._strategy.show(self._shown, self._row(self._children[self._shown], result))
            self._shown += 1
        return True

    def _breed(self, number: int) -> Child | None:
        random = Random(f"{self._plan.seed}/{number}")
        for _ in range(DRAWS):
            parent = self._strategy.parent(random)
            architecture = (
                self._founder(random)
                if parent is None
                else self._space.mutate(self._children[parent].architecture, random)
            )
            cost = self._cost(architecture)
            if not self._plan.budget.admits(cost):
                continue
            network = self._space.canonical(architecture)
            if network not in self._numbers:
                return Child(architecture, network, cost)
        return None

    def _row(self, child: Child, values: Values) -> list[float]:
        """The values that the strategy ranks, and last the cost that it opposes, if any, as a
        benefit."""
        told = {**figures(child.cost), **values}
        row = [told[key] for key in self._ranked]
        if self._plan.pareto:
            row.append(-told[self._plan.pareto])
        return row
