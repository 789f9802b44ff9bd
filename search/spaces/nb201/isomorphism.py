"""Which architecture strings build the same network.

Two architectures are equal here when their convolutions can be paired one to one so that, whatever
weights each pair shares, the two networks compute the same logits (up to rounding) and every pair
sees the same input. Parameters, tensors and FLOPs then agree too, and so does every score that does
not depend on the order of parameters.

The rule works on the values of the nodes, not on the drawing of the cell. Sums, skip connections
and average pooling are linear, so every node is a sum of *atoms*, each pooled some number of times:
the cell's input, or the output of one convolution. ``{(atom, times pooled): multiplicity}`` is a
node's *content*, and a network is the content of node 3 with, for each convolution, its kernel and
the content of its input. Hence dead edges without parameters vanish, a node reached by one skip
connection alone is its source, and the names of the nodes do not matter; while two skip connections
between the same nodes count twice, and a convolution used by two nodes stays distinct from two
convolutions of the same input. (The strings with which NAS-Bench-201 counted 6,466 unique cells
expand a shared convolution into copies, and lose that.)

A dead convolution is kept: it has parameters, which the benchmark counts. `canonical(prune(arch))`
is the representative with dead convolutions taken out as well.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from vkdnw.search.spaces.nb201.all_architectures import lexicographic
from vkdnw.search.spaces.nb201.architecture import CONVOLUTIONS, EDGES, NODES, NONE, POOL, parse

_INPUT = -1
"""The atom that is the cell's input; convolution k is atom k."""

# {(atom, times pooled): multiplicity}, frozen as sorted triples (atom, times pooled, multiplicity).
_Content = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Convolution:
    operation: str
    content: _Content  # of its input


def canonical(arch: str) -> str:
    """The representative of all architectures equal to ``arch``: the first in lexicographic order.

    Lexicographic is by `OPERATIONS`, edge by edge. As ``none`` comes first there, the
    representative has no dead edge that could be left out, and that of a live architecture is live.

    Equal networks may list their parameters in different orders. Raises `ArchitectureError`.
    """
    parse(arch)
    return _representatives()[arch]


@cache
def _representatives() -> dict[str, str]:
    """The representative of each of the 15,625 architectures."""
    first: dict[object, str] = {}
    return {arch: first.setdefault(_network(arch), arch) for arch in lexicographic()}


def _network(arch: str) -> tuple[object, ...]:
    """A value that is the same for two architectures exactly when they are equal."""
    output, convolutions = _contents(parse(arch))
    return min(_written(output, convolutions, order) for order in _orders(convolutions))


def _written(
    output: _Content, convolutions: list[_Convolution], order: tuple[int, ...]
) -> tuple[object, ...]:
    """The network with its convolutions named by their place in ``order``."""
    names = {k: name for name, k in enumerate(order)}
    return (
        _rename(output, names),
        *((convolutions[k].operation, _rename(convolutions[k].content, names)) for k in order),
    )


def _contents(operations: tuple[str, ...]) -> tuple[_Content, list[_Convolution]]:
    """The content of node 3, and the convolutions in the order of `EDGES`."""
    nodes: list[Counter[tuple[int, int]]] = [Counter() for _ in range(NODES)]
    nodes[0][_INPUT, 0] = 1
    convolutions: list[_Convolution] = []
    for edge, operation in zip(EDGES, operations, strict=True):
        source, target = nodes[edge.source], nodes[edge.target]
        if operation in CONVOLUTIONS:
            target[len(convolutions), 0] += 1
            convolutions.append(_Convolution(operation, _freeze(source)))
        elif operation != NONE:
            for (atom, pooled), multiplicity in source.items():
                target[atom, pooled + (operation == POOL)] += multiplicity
    return _freeze(nodes[NODES - 1]), convolutions


def _freeze(content: Counter[tuple[int, int]]) -> _Content:
    return tuple(sorted((*atom, multiplicity) for atom, multiplicity in content.items()))


def _rename(content: _Content, names: dict[int, int]) -> _Content:
    return tuple(
        sorted((names.get(atom, _INPUT), pooled, count) for atom, pooled, count in content)
    )


def _orders(convolutions: list[_Convolution]) -> Iterator[tuple[int, ...]]:
    """Every order of the convolutions that sorts them by their results.

    Convolutions that compute different things cannot be paired, so only those with equal
    expressions are permuted: seldom more than three, where all orders of six convolutions would be
    720.
    """
    alike: dict[str, list[int]] = {}
    expressions = _expressions(convolutions)
    for k in sorted(range(len(convolutions)), key=expressions.__getitem__):
        alike.setdefault(expressions[k], []).append(k)
    for permuted in itertools.product(*map(itertools.permutations, alike.values())):
        yield tuple(itertools.chain.from_iterable(permuted))


def _expressions(convolutions: list[_Convolution]) -> list[str]:
    """Each convolution written out down to the cell's input.

    Writing out forgets which convolutions are shared, so equal expressions are necessary for a
    pair, not sufficient.
    """
    expressions: list[str] = []
    for convolution in convolutions:
        terms = sorted(
            f"{count}*pool{pooled}({'input' if atom == _INPUT else expressions[atom]})"
            for atom, pooled, count in convolution.content
        )
        expressions.append(f"{convolution.operation}({'+'.join(terms)})")
    return expressions
