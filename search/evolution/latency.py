"""How long a network takes for one image, as a value beside its scores."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.tasks import Scored, Task

LATENCY = "latency"
"""The name of the value."""
WARM_UP = 3
REPEATS = 10
"""Runs that are timed; their median is the latency."""


@dataclass(frozen=True)
class TimedScorer:
    """A scorer that measures `latency` first, and does not score networks over the bound.

    Seconds for one image of the target resolution, in eval mode on one CPU thread of the worker, as
    the machine is loaded then. So a latency is not reproducible as scores are: it is measured once
    for a network and then on record.
    """

    scorer: Callable[[Task], Scored]
    space: SearchSpace
    resolution: int
    """Of the image."""
    bound: float | None = None
    """Seconds; None scores every network."""

    def __call__(self, task: Task) -> Scored:
        rest = replace(task, names=tuple(name for name in task.names if name != LATENCY))
        seconds = latency(self.space, task.network, self.resolution)
        if self.bound is None or seconds <= self.bound:
            scored = self.scorer(rest)
            return replace(scored, values={**scored.values, LATENCY: seconds})
        from vkdnw.search.state.store import now

        reason = f"not computed: the latency of {seconds:.3g} s is over {self.bound:g} s"
        return Scored(
            values={**dict.fromkeys(rest.names, math.nan), LATENCY: seconds},
            started_at=now(),
            seconds=0.0,
            reasons=dict.fromkeys(rest.names, reason),
        )


def latency(space: SearchSpace, network: str, resolution: int) -> float:
    """The median time of a forward pass of one image, in seconds."""
    import torch

    from vkdnw.runtime.threads import one_thread

    model = space.build(network).eval()
    image = torch.zeros(1, 3, resolution, resolution)
    with one_thread(), torch.inference_mode():
        for _ in range(WARM_UP):
            model(image)
        times = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - begun)
    return median(times)
