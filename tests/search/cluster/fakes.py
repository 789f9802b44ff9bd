"""A cluster without machines: actors are objects here, and a test says when they come and die."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vkdnw.search.cluster.interface import Greeting, MachineLostError, Unfit
from vkdnw.search.executors import Done


@dataclass
class FakeMachine:
    """Answers when it is asked; a dead one answers nothing."""

    slots: int
    answer: Greeting | Unfit
    tasks: list[Any] = field(default_factory=list)
    begun: int = 0  # tasks that cannot be taken back
    dead: bool = False
    silent: bool = False
    closed: bool = False
    replies: dict[int, Callable[[], Any]] = field(default_factory=dict)

    def _later(self, compute: Callable[[], Any]) -> Any:
        reply = (id(self), len(self.replies))
        self.replies[reply[1]] = compute
        return reply

    def greet(self) -> Any:
        return self._later(lambda: self.answer)

    def exchange(self, tasks: Sequence[Any], patience: float) -> Any:
        self.tasks += tasks

        def outcomes() -> list[Any]:
            done, self.tasks = self.tasks[: self.slots], self.tasks[self.slots :]
            return [Done(task, f"value of {task}") for task in done]

        return self._later(outcomes)

    def cancel(self) -> Any:
        def taken() -> list[Any]:
            self.tasks, dropped = self.tasks[: self.begun], self.tasks[self.begun :]
            return dropped

        return self._later(taken)

    def close(self) -> Any:
        self.closed = True
        return self._later(lambda: None)

    def kill(self) -> None:
        self.dead = True


class FakeCluster:
    """Nodes by name, each with a machine that the test made."""

    def __init__(self, **machines: FakeMachine) -> None:
        self.machines = dict(machines)
        self.alive = dict.fromkeys(machines, True)
        self.started: list[str] = []
        self.closed = False

    def nodes(self) -> Mapping[str, str]:
        return {node: node for node, alive in self.alive.items() if alive}

    def start(self, node: str) -> FakeMachine:
        self.started.append(node)
        self.machines[node].dead = False
        return self.machines[node]

    def _of(self, reply: Any) -> FakeMachine:
        return next(one for one in self.machines.values() if id(one) == reply[0])

    def ready(self, replies: Sequence[Any], timeout: float) -> Sequence[Any]:
        return [reply for reply in replies if not self._of(reply).silent]

    def take(self, reply: Any) -> Any:
        machine = self._of(reply)
        if machine.dead:
            raise MachineLostError("ActorDiedError: the actor died")
        return machine.replies[reply[1]]()

    def close(self) -> None:
        self.closed = True
