"""The calls of Ray that are used, without Ray: actors are objects of this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """The base of Ray's errors."""


class ActorDiedError(RayError):
    """What a call to a dead actor ends with."""


@dataclass
class Actor:
    """A handle: each method has `remote`, which answers at once."""

    instance: Any
    dead: bool = False

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Callable[[], Any]:
            def answer() -> Any:
                if self.dead:
                    raise ActorDiedError("The actor died.\nMore about it.")
                return getattr(self.instance, name)(*arguments)

            return answer

        return SimpleNamespace(remote=remote)


@dataclass
class FakeRay:
    """Stands for the module; a test changes its nodes."""

    known: list[dict[str, Any]]
    stored: list[Any] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    closed: bool = False
    exceptions = SimpleNamespace(RayError=RayError)
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(
            NodeAffinitySchedulingStrategy=lambda node_id, soft: (node_id, soft)
        )
    )

    def nodes(self) -> list[dict[str, Any]]:
        return self.known

    def put(self, value: Any) -> Any:
        self.stored.append(value)
        return value

    def remote(self, made: type) -> Any:
        def options(**chosen: Any) -> Any:
            self.options.append(chosen)

            def start(*arguments: Any) -> Actor:
                self.actors.append(Actor(made(*arguments)))
                return self.actors[-1]

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)

    def wait(
        self, replies: Sequence[Any], num_returns: int, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        return list(replies[:num_returns]), list(replies[num_returns:])

    def get(self, reply: Callable[[], Any]) -> Any:
        return reply()

    def kill(self, actor: Actor, no_restart: bool) -> None:
        assert no_restart
        actor.dead = True

    def shutdown(self) -> None:
        self.closed = True


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": f"id of {name}",
        "NodeManagerAddress": name,
        "Alive": alive,
        "Resources": resources,
    }
