"""Breeding: the same children for any order of results, within the budget, each once."""

import time
from dataclasses import replace
from random import Random

import pytest

from tests.search.evolution.fakes import PLAN, SPACE, FakeProxies
from vkdnw.search.evolution import Budget, SearchPlan
from vkdnw.search.evolution.driver import Search
from vkdnw.search.executors.interface import Done, carry_out
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.tasks import Failure

BUDGET = Budget(flops=450_000_000, depth=14)


def bred(plan, order="first", room=100, known=None, space=SPACE):
    """Run a search whose results come in some order; returns the architectures asked for, and the
    driver."""
    asked, waiting, random = [], [], Random(1)
    founder = getattr(space, "founder", space.sample)
    driver = Search(space, plan, founder, asked.extend, known or {})
    while True:
        waiting += driver.propose(room - len(waiting))
        if not waiting:
            return driver, asked
        assert len(waiting) <= plan.in_flight
        place = {"first": 0, "last": -1}.get(order, random.randrange(len(waiting)))
        outcome = carry_out(FakeProxies(), waiting.pop(place))
        result = outcome.result if isinstance(outcome, Done) else Failure(outcome.reason)
        driver.observe(outcome.task, result)


def plan_of(**changes):
    return SearchPlan(**{**PLAN, "budget": BUDGET, **changes})


STRATEGIES = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategy": "ageing", "population": 8},
        {"strategy": "random"},
        {"pareto": "flops"},
        {"in_flight": 1},
        {"in_flight": 100},
    ],
    ids=str,
)


@STRATEGIES
def test_children_do_not_depend_on_how_results_come_in(changes):
    plan = plan_of(**changes)
    children = bred(plan)[0].children
    assert len(children) == plan.evaluations
    for order, room in (("last", 100), ("random", 3), ("random", 1)):
        assert bred(plan, order, room)[0].children == children


@STRATEGIES
def test_what_is_on_record_is_not_asked_for_again(changes):
    plan = plan_of(**changes)
    children = bred(plan)[0].children
    values = {}
    for child in children[::2]:
        outcome = carry_out(FakeProxies(), _task(plan, child.network))
        values[child.network] = (
            outcome.result.values if isinstance(outcome, Done) else Failure(outcome.reason)
        )
    driver, asked = bred(plan, "random", known=values)
    assert driver.children == children
    assert {one.network for one in asked} == {child.network for child in children[1::2]}


def _task(plan, network):
    from vkdnw.search.tasks import Task

    return Task(network, plan.score_seed, plan.names)


def test_a_longer_search_begins_as_the_shorter():
    short, long = plan_of(evaluations=30), plan_of(evaluations=60)
    assert bred(long)[0].children[:30] == bred(short)[0].children


def test_seeds_make_different_searches():
    first, second = (bred(plan_of(seed=seed))[0].children for seed in (0, 1))
    assert {c.network for c in first} != {c.network for c in second}


def test_every_child_is_new_and_within_the_budget():
    children = bred(plan_of(evaluations=200))[0].children
    assert len({child.network for child in children}) == 200
    for child in children:
        assert SPACE.cost(child.architecture) == child.cost
        assert BUDGET.admits(child.cost)


def test_a_child_is_bred_from_those_scored_k_before_it():
    # The strategy of a search is shown exactly children 0 .. i - k before child i is bred.
    plan = plan_of(in_flight=3, evaluations=12)
    driver = Search(SPACE, plan, SPACE.founder, lambda asked: None, {})
    first = driver.propose(100)
    assert len(first) == 3
    driver.observe(first[1], FakeProxies()(first[1]))
    assert driver.propose(100) == []
    driver.observe(first[0], FakeProxies()(first[0]))
    assert len(driver.propose(100)) == 2


def test_what_failed_or_took_too_long_is_nobodys_parent():
    shown = []

    class Strategy:
        def show(self, child, row):
            shown.append((child, row))

        def parent(self, random):
            return None

    plan = plan_of(keys=("vkdnw", "flops"), evaluations=3, in_flight=1, budget=Budget(latency=0.5))
    driver = Search(SPACE, plan, SPACE.founder, lambda asked: None, {})
    driver._strategy = Strategy()
    scored = FakeProxies()(_task(plan, "x"))
    results = [
        Failure("no room"),
        replace(scored, values={"vkdnw": 1.0, "latency": 0.51}),
        replace(scored, values={"vkdnw": 2.0, "latency": 0.5}),
    ]
    for result in results:
        (task,) = driver.propose(1)
        assert task.names == ("vkdnw", "latency")
        driver.observe(task, result)
    assert driver.propose(1) == []
    driver._show_until(3)
    assert shown == [(2, [2.0, driver.children[2].cost.flops])]


def test_a_search_ends_where_the_budget_leaves_nothing_new(monkeypatch):
    monkeypatch.setattr("vkdnw.search.evolution.driver.DRAWS", 200)
    plan = plan_of(budget=Budget())
    driver, asked = bred(plan, space=Tiny())
    assert driver.exhausted
    assert 0 < len(asked) == len(driver.children) <= 6


class Tiny(NB201):
    """Six cells of NAS-Bench-201, too few for any search."""

    def sample(self, random):
        from vkdnw.search.spaces.nb201 import enumerate as every

        return random.choice(every()[:6])

    def mutate(self, architecture, random):
        return self.sample(random)


def test_a_budget_on_what_a_space_does_not_tell_is_refused():
    with pytest.raises(ValueError, match="does not tell the depth"):
        Budget(depth=3).check(NB201().cost(NB201().sample(Random(0))))
    with pytest.raises(ValueError, match="budget of flops must be positive, got 0"):
        Budget(flops=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluations": 0}, "evaluations must be at least 1, got 0"),
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"in_flight": 0}, "in_flight must be at least 1, got 0"),
        ({"keys": ("flops",), "pareto": "flops"}, "nothing is left to rank by"),
        ({"keys": ("flops", "flops")}, "ranked once"),
        ({"pareto": "flops", "strategy": "random"}, "not by 'random'"),
    ],
)
def test_a_bad_plan_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plan_of(**changes)


@pytest.mark.parametrize("changes", [{}, {"strategy": "ageing", "tournament": 6}], ids=str)
def test_evolution_climbs_where_random_search_does_not(changes):
    # As many parameters as the budget of FLOPs allows: the values to rank by follow from the
    # string.
    climbing = {"keys": ("parameters",), "evaluations": 300, "population": 20}
    found = [child.cost.parameters for child in bred(plan_of(**climbing, **changes))[0].children]
    random = bred(plan_of(**{**climbing, "strategy": "random"}))[0].children
    assert max(found) > max(child.cost.parameters for child in random)
    assert sum(found[-100:]) > 1.2 * sum(found[:100])


def test_a_pareto_search_spreads_over_the_front():
    plan = plan_of(keys=("parameters", "flops"), pareto="flops", evaluations=300, population=40)
    costs = [child.cost for child in bred(plan)[0].children]
    single = plan_of(keys=("parameters",), evaluations=300, population=40)
    for share in (0.25, 0.5):  # cheaper than the budget, but for their FLOPs better
        bound = share * 450e6
        ours = max(cost.parameters for cost in costs if cost.flops <= bound)
        others = [child.cost for child in bred(single)[0].children]
        assert ours >= max(cost.parameters for cost in others if cost.flops <= bound)


def test_a_rejected_candidate_costs_a_small_part_of_building_its_network():
    """CPU times of one run, the least of three: other programs on the machine slow both."""
    random, draws = Random(0), 200
    parents = [child.architecture for child in bred(plan_of(evaluations=20))[0].children]
    budget = Budget(flops=1)

    def cpu_seconds(work) -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    def reject() -> None:
        for _ in range(draws):
            assert not budget.admits(SPACE.cost(SPACE.mutate(random.choice(parents), random)))

    rejected = min(cpu_seconds(reject) for _ in range(3)) / draws
    built = min(cpu_seconds(lambda: SPACE.build(parents[0])) for _ in range(3))
    assert rejected < built / 10
