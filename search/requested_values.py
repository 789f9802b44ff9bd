"""Which values a command asks for: proxies by name, all of them, or the parts of an aggregate."""

from vkdnw.search.did_you_mean import meant
from vkdnw.search.rankings.aggregation import NAMED

COUNTED = frozenset({"layers", "flops", "parameters", "complexity"})
"""Told by an architecture's string, and on record for every run."""
DERIVED = frozenset({"vkdnw_single"})
"""Follows from other values: the layer count and VKDNW."""
ALL = "all"


def resolve(text: str) -> tuple[str, ...]:
    """The values that a list such as `vkdnw,naswot`, `vkdnw_agg` or `all` stands for, each once.

    Raises:
        ValueError: a name that is neither a proxy nor an aggregate; those that there are.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    found = dict.fromkeys(part for name in names for part in _parts(name))
    computed = tuple(name for name in found if name not in COUNTED | DERIVED)
    if not computed:
        raise ValueError(
            f"{text!r} names nothing to compute: {', '.join(sorted(COUNTED))} are known"
        )
    return computed


def check_inputs(names: tuple[str, ...], images: bool) -> None:
    """Refuse proxies that are defined on labels where there are no images. Raises ValueError."""
    from vkdnw.proxies import PROXIES

    wanting = [name for name in names if PROXIES[name].labels == "real"]
    if wanting and not images:
        raise ValueError(
            f"{', '.join(wanting)} read labelled images: name some with --images, or leave "
            "them out of --proxies"
        )


def ranked_by(text: str) -> str:
    """The ranking of a run that was asked for these values: an aggregate that was named
    alone, VKDNW_single where VKDNW is among them, else the first."""
    if text.strip() in NAMED:
        return text.strip()
    names = [name.strip() for name in text.split(",") if name.strip()]
    parts = {part for name in names for part in (NAMED[name].parts if name in NAMED else (name,))}
    return "single" if parts & {"vkdnw", "vkdnw_single", ALL} else names[0]


def ranked_parts(text: str) -> tuple[str, ...]:
    """The values that an evolution sums the logarithms of ranks of: a list, or an aggregate's.

    Raises:
        ValueError: an aggregate that is another sum.
    """
    aggregate = NAMED.get(text.strip())
    if aggregate is None:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    plain = all(len(term.columns) == 1 and term.weight == 1 for term in aggregate.terms)
    if not (plain and aggregate.logarithm) or aggregate.weighing != "fixed":
        raise ValueError(
            f"{text!r} is no plain sum of logarithms of ranks, which an evolution ranks by; name "
            f"values instead, such as {','.join(aggregate.parts)}"
        )
    return aggregate.parts


def _parts(name: str) -> tuple[str, ...]:
    from vkdnw.proxies import PROXIES  # loads torch, which nothing else here needs

    if name == ALL:
        return tuple(PROXIES)
    if name in PROXIES:
        return ("vkdnw",) if name in DERIVED else (name,)
    if name in NAMED:
        return NAMED[name].parts
    raise ValueError(
        f"no proxy is called {name!r}{meant(name, [*PROXIES, *NAMED])} There are "
        f"{', '.join(PROXIES)}, the aggregates {', '.join(NAMED)}, and {ALL!r}"
    )
