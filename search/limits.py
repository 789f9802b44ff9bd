"""How much a file may make this package read, and how to allow more.

A limit is checked against the size that a file claims, before memory is spent on it. The defaults
are far above the needs of the published benchmarks and data sets. A command raises them with
``vkdnw --limit table-bytes=8G ...``, anything else with the environment variable
``VKDNW_LIMITS="table-bytes=8G,table-columns=5000"``, which worker processes inherit.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vkdnw.search.spaces.search_space import Cost

ENVIRONMENT = "VKDNW_LIMITS"

DEFAULTS: Mapping[str, int] = {
    "table-bytes": 2**30,
    "table-columns": 2000,
    "pickle-bytes": 2**26,
    "array-bytes": 2**33,
    "image-pixels": 10**8,
    "network-layers": 10_000,
    "network-parameters": 10**9,
    "value-bytes": 2**26,
}
"""Name -> the most that is read: bytes of a table and of an official NATS-Bench file when they are
decompressed, columns of a table, bytes of all arrays of a file of images, pixels of one image,
parameter tensors and scalars of a network, bytes of one value in a run's state."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_FORM = re.compile(r"(?P<name>[a-z-]+)=(?P<number>\d{1,18})(?P<unit>[KMG]?)", re.IGNORECASE)


class LimitExceeded(ValueError):
    """A file claims more than the limit; the message names the option that raises it."""


def limit(name: str) -> int:
    """The limit in force: the environment's, or the default. Raises ValueError as `parse` does."""
    return parse(os.environ.get(ENVIRONMENT, "")).get(name, DEFAULTS[name])


def check(name: str, claimed: int, subject: str) -> None:
    """Refuse a file or a network that claims more than the limit.

    Args:
        name: of the limit.
        claimed: how much it would take.
        subject: names the file and its large part, to begin the message with.

    Raises:
        LimitExceeded: a ValueError.
    """
    if claimed > limit(name):
        raise LimitExceeded(exceeded(name, subject, f"{claimed:,}"))


def check_network(cost: "Cost", architecture: str) -> None:
    """Refuse a network that is too large to be built. Raises LimitExceeded."""
    subject = f"the network {architecture[:200]}"
    check("network-layers", cost.layers, f"{subject} has too many parameter tensors")
    check("network-parameters", cost.parameters, f"{subject} has too many parameters")


def exceeded(name: str, subject: str, claimed: str) -> str:
    """The message about something that claims too much."""
    return (
        f"{subject}: {claimed} is more than the limit {name}={limit(name):,}; if you expect "
        f"such a file, raise it with `vkdnw --limit {name}=N` before the subcommand"
    )


def parse(text: str) -> dict[str, int]:
    """Read ``name=number`` pairs, separated by commas; K, M and G are powers of 1024.

    Raises:
        ValueError: another form, or a name that is no limit.
    """
    found: dict[str, int] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        match = _FORM.fullmatch(pair)
        if match is None:
            raise ValueError(f"a limit is given as NAME=N, such as table-bytes=8G, got {pair!r}")
        name = match["name"].lower()
        if name not in DEFAULTS:
            raise ValueError(f"no limit is called {name!r}; there are {', '.join(DEFAULTS)}")
        found[name] = int(match["number"]) * _UNITS[match["unit"].upper()]
    return found


def set_limits(text: str) -> None:
    """Put limits in force in this process and in those that it starts. Raises ValueError."""
    given = parse(text)
    if given:
        changed = {**parse(os.environ.get(ENVIRONMENT, "")), **given}
        os.environ[ENVIRONMENT] = ",".join(f"{name}={value}" for name, value in changed.items())
