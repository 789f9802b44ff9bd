"""The interface between the cluster executor and an engine such as Ray that knows the machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Reply = Any
"""An answer that is still to come; the engine's own object, hashable."""


class MachineLostError(Exception):
    """The machine that was asked is gone, or its actor is; says how it was noticed."""


@dataclass(frozen=True)
class Greeting:
    """A machine's first answer."""

    slots: int
    """Tasks that it works on at once."""
    fingerprint: Mapping[str, str]
    """Versions, build and hardware; see `identity.fingerprint`."""
    probe: tuple[str, ...]
    """Values of the probe tasks to the last bit, as hexadecimal numbers. Machines with equal probes
    are of one class."""


@dataclass(frozen=True)
class Unfit:
    """A machine's first answer where it cannot score."""

    reason: str


class Machine(Protocol):
    """One machine's actor. Calls return at once; answers are taken from the `Cluster`."""

    def greet(self) -> Reply:
        """Answered by a `Greeting`, or by `Unfit`."""

    def exchange(self, tasks: Sequence[Any], patience: float) -> Reply:
        """Hand over tasks; answered by the outcomes that came in within about `patience` s."""

    def cancel(self) -> Reply:
        """Answered by the tasks that no worker had begun, which the machine then forgets."""

    def close(self) -> Reply:
        """Answered once the workers are ended and files that were sent are removed."""

    def kill(self) -> None:
        """End the actor and its workers, at once."""


class Cluster(Protocol):
    """The engine: which machines there are, and the answers of their actors."""

    def nodes(self) -> Mapping[str, str]:
        """The machines that are alive: the engine's id of each, and a name for people.

        Raises `ExecutorError` where the engine itself does not answer.
        """

    def start(self, node: str) -> Machine:
        """Begin to start the actor of a machine."""

    def ready(self, replies: Sequence[Reply], timeout: float) -> Sequence[Reply]:
        """Those that can be taken, as soon as there is one, or none after `timeout` s."""

    def take(self, reply: Reply) -> Any:
        """The answer. Raises MachineLostError where there will be none."""

    def close(self) -> None:
        """Leave the cluster; its machines go on without this driver."""
