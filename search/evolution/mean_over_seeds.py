"""Scoring every child of a search under several seeds: parents are chosen by the means."""

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from vkdnw.search.task_runner import Driver
from vkdnw.search.tasks import Failure, Scored, Task

Values = Mapping[str, float]
Known = Mapping[str, Mapping[int, Values | Failure]]
"""Network -> seed -> the result on record."""


class OverSeeds:
    """A driver that turns each task of another one into a task for each seed.

    The other driver gets a network's result when it is scored under all seeds: the means, or a
    failure if one of them failed.
    """

    def __init__(self, driver: Driver, seeds: Sequence[int], known: Known) -> None:
        """Expand the tasks of `driver`, whose own seed is the first of `seeds`.

        Args:
            driver: proposes networks.
            seeds: to score each under.
            known: the results on record of networks that are not complete.
        """
        self._driver, self._seeds = driver, tuple(seeds)
        self._results: defaultdict[str, dict[int, Values | Failure]] = defaultdict(dict)
        for network, of_seeds in known.items():
            self._results[network].update(of_seeds)
        self._waiting: deque[Task] = deque()

    def propose(self, room: int) -> Sequence[Task]:
        while len(self._waiting) < room and (tasks := self._driver.propose(1)):
            for task in tasks:
                done = self._results[task.network]
                self._waiting.extend(replace(task, seed=s) for s in self._seeds if s not in done)
        return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def observe(self, task: Task, result: Scored | Failure) -> None:
        done = self._results[task.network]
        done[task.seed] = result.values if isinstance(result, Scored) else result
        if len(done) < len(self._seeds):
            return
        merged = over_seeds([done[seed] for seed in self._seeds])
        if isinstance(merged, Failure):
            self._driver.observe(replace(task, seed=self._seeds[0]), merged)
            return
        reasons = {name: "undefined under a seed" for name, v in merged.items() if math.isnan(v)}
        told = Scored(merged, started_at="", seconds=0.0, reasons=reasons)
        self._driver.observe(replace(task, seed=self._seeds[0]), told)


def over_seeds(results: Sequence[Values | Failure]) -> Values | Failure:
    """The means of values over seeds, NaN where one is; or the first failure, a machine's first."""
    failures = [result for result in results if isinstance(result, Failure)]
    if failures:
        return min(failures, key=lambda failure: failure.blame != "machine")
    return means([result for result in results if not isinstance(result, Failure)])


def means(values: Sequence[Values]) -> dict[str, float]:
    """The mean of each value that all have; NaN where one is."""
    known = [name for name in values[0] if all(name in one for one in values)]
    return {name: _mean([one[name] for one in values]) for name in known}


def _mean(column: Sequence[float]) -> float:
    if math.inf in column and -math.inf in column:
        return math.nan
    return fmean(column)
