"""Options of `vkdnw search SPACE` that follow from the space: sizes, subsets, budgets."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from itertools import pairwise
from random import Random
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from vkdnw.search.cli.options import BUDGET, NETWORK, WHICH
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.spaces.selection import subsets

SIMPLE = (int, float, str, bool)
"""Types of sizes that a command line can say."""


@dataclass(frozen=True)
class SpaceOption:
    """One option: the name of the argument, its annotation for Typer, and its default."""

    name: str
    annotation: Any
    default: Any


def sizes(kind: type[Any]) -> list[SpaceOption]:
    """An option for each size that a command line can say, with the field's docstring as help."""
    hints, told = get_type_hints(kind), field_docstrings(kind)
    return [
        SpaceOption(
            field.name,
            Annotated[
                hints[field.name],
                typer.Option(help=told.get(field.name, "Size."), rich_help_panel=NETWORK),
            ],
            field.default,
        )
        for field in fields(kind)
        if _sayable(field, hints[field.name])
    ]


def subset_flags(kind: type[Any]) -> list[SpaceOption]:
    """A flag for each subset that the space offers."""
    return [
        SpaceOption(
            name,
            Annotated[
                bool,
                typer.Option(
                    f"--{name.replace('_', '-')}",
                    help=f"Take only {subset.title}.",
                    rich_help_panel=WHICH,
                ),
            ],
            False,
        )
        for name, subset in subsets(kind).items()
    ]


def depth_bound(space: SearchSpace) -> list[SpaceOption]:
    """An option that bounds the depth, where the costs of a space tell one."""
    if not tells_depth(space):
        return []
    default = getattr(space, "defaults", {}).get("depth")
    said = "no bound" if default is None else str(default)
    help_ = "At most so deep: of MobileNetV2, sub-layers in all blocks (the paper: 14, 16 for 1G)."
    option = typer.Option(min=1, help=help_, rich_help_panel=BUDGET, show_default=said)
    return [SpaceOption("depth", Annotated[int | None, option], None)]


def tells_depth(space: SearchSpace) -> bool:
    """Whether the cost of an architecture has a depth."""
    return hasattr(space.cost(space.sample(Random(0))), "depth")


def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The strings below the fields of a class; none where its source is not available."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    return dict(_documented(body))


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            yield statement.target.id, inspect.cleandoc(following.value.value)


def _sayable(field: "Field[Any]", hint: Any) -> bool:
    simple = hint in SIMPLE or (
        get_origin(hint) is Literal and all(isinstance(word, str) for word in get_args(hint))
    )
    return simple and field.default is not MISSING
